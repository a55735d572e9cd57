"""The pipeline, top to bottom: source -> linalg -> dispatches -> stream -> executables -> artefact.

Each phase takes the module and the session and changes the module in place. With several targets the phases
behind placement see one clone a target, and the session that target alone. What a phase leaves behind can
be printed, parsed and continued from (``compile_to``, ``compile_from``, ``dump_phases_to``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.passes.canonicalize import Canonicalize
from iree_core_ir.passes.cse import Cse
from iree_core_ir.passes.inline import Inline
from iree_core_ir.passes.licm import Licm
from iree_core_ir.passes.symbol_dce import SymbolDce
from iree_flow import executables
from iree_flow.passes.apply_constant_layouts import ApplyConstantLayouts
from iree_flow.passes.block_channels import BlockChannels
from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg
from iree_flow.passes.convert_to_hal import ConvertToHal
from iree_flow.passes.drop_unit_dims import DropUnitDims
from iree_flow.passes.fold_dim_ranges import FoldDimRanges
from iree_flow.passes.form_dispatch_regions import FormDispatchRegions
from iree_flow.passes.fuse_elementwise import FuseElementwise
from iree_flow.passes.gather_first import GatherFirst
from iree_flow.passes.integer_products import IntegerProducts
from iree_flow.passes.join_siblings import JoinSiblings
from iree_flow.passes.lower_control_flow import LowerControlFlow
from iree_flow.passes.narrow_results import NarrowResults
from iree_flow.passes.outline_dispatch_regions import OutlineDispatchRegions
from iree_flow.passes.patch_products import PatchProducts
from iree_flow.passes.place import Place
from iree_flow.passes.raise_attention import RaiseAttention
from iree_flow.passes.read_on_host import ReadOnHost
from iree_flow.passes.requantize import Requantize
from iree_flow.passes.resolve_dims import ResolveDims
from iree_flow.passes.schedule_stream import ScheduleStream
from iree_flow.passes.simplify_element_reads import SimplifyElementReads
from iree_flow.passes.sink_reshapes import SinkReshapes
from iree_flow.passes.tune_dispatches import TuneDispatches
from iree_flow.session import Session

Phase = Callable[[Any, Session], None]


def input(module: Any, session: Session) -> None:
    """What the frontend made, cleaned up: linalg on tensors, weights in the constant store."""
    session.run(module, Inline(), SymbolDce(), Canonicalize(), Cse())


def placement(module: Any, session: Session) -> None:
    """Host control flow becomes blocks; sizes are resolved and compared; every dense op gets a target, or an
    error names its source.
    """
    session.run(module, Licm(), LowerControlFlow(), Canonicalize(), Cse())
    session.run(module, ConvertElementwiseToLinalg(), ResolveDims(), Canonicalize(), Cse())
    session.run(module, ReadOnHost(), FoldDimRanges(), Canonicalize(), ResolveDims(), SimplifyElementReads())
    session.run(module, Canonicalize(), Cse(), Place())


def global_optimization(module: Any, session: Session) -> None:
    """Whole-program rewrites that keep the meaning: images in the layout the target asks for, reshapes out of
    the way, elementwise chains merged.
    """
    session.run(module, GatherFirst(), IntegerProducts(), Requantize(), Canonicalize(), Cse())
    session.run(module, PatchProducts(), Canonicalize(), Cse())
    session.run(module, BlockChannels(), Canonicalize(), Cse())
    session.run(module, DropUnitDims(), Canonicalize(), Requantize(floats=True), Canonicalize(), Cse())
    session.run(module, FuseElementwise(), Canonicalize(), Cse(), ResolveDims())
    session.run(module, RaiseAttention(), Canonicalize(), Cse(), ResolveDims())
    session.run(module, JoinSiblings(), Canonicalize(), Cse(), ResolveDims())
    session.run(module, SinkReshapes(), FuseElementwise(), Canonicalize(), Cse(), ResolveDims())


def dispatch_creation(module: Any, session: Session) -> None:
    """Ops that run together are outlined into executables; results take the types that readers round to,
    constants the layouts that targets ask for.
    """
    session.run(
        module,
        FormDispatchRegions(fusion=session.options.fusion),
        OutlineDispatchRegions(),
        NarrowResults(),
        TuneDispatches(),
        ApplyConstantLayouts(),
        Cse(),
    )


def stream(module: Any, session: Session) -> None:
    """Dispatches become recorded regions over one arena each; constants lie in segments."""
    session.run(module, ScheduleStream(), Canonicalize(), Cse())


def executable(module: Any, session: Session) -> None:
    """Every executable is compiled by its target, in parallel and through the cache."""
    executables.compile_executables(module, session)
    session.changed()


def hal(module: Any, session: Session) -> None:
    """Regions become command buffers with parameter programs; functions work on buffer views."""
    session.run(module, ConvertToHal(), Canonicalize(), Cse())


PHASES: dict[str, Phase] = {
    "input": input,
    "placement": placement,
    "global-optimization": global_optimization,
    "dispatch-creation": dispatch_creation,
    "stream": stream,
    "executable": executable,
    "hal": hal,
}
"""The phases in order; behind the last one the artefact is written."""

PHASE_NAMES = tuple(PHASES)

COMMON_PHASES = ("input", "placement")
"""The first phases: with several targets they run once, the others for each target on a clone."""
