"""ONNX's own node tests, run through the frontend and the numpy meaning of its IR.

Every case can run in three ways, and must give the standard's answer in each that is supported: as it is
written; with small inputs (shapes, axes, indices, scales) made constants, as exporters write them; and with
every input dimension unknown.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pkgutil
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from iree_base.element_types import from_dtype
from iree_base.errors import IreeError
from iree_base.records import record
from iree_input_onnx.errors import UNSUPPORTED, UNSUPPORTED_TYPE, VERSION, OnnxError
from iree_input_onnx.testing import ImportedModel

AS_WRITTEN, CONSTANT_INPUTS, DYNAMIC_DIMS = "as written", "constant inputs", "dynamic dims"
MODES = (AS_WRITTEN, CONSTANT_INPUTS, DYNAMIC_DIMS)
MAX_CONSTANT_ELEMENTS = 64


@record(frozen=True)
class Outcome:
    """What became of one case: ``status`` is ``pass``, ``unsupported`` or ``wrong``."""

    case: str
    op: str
    status: str
    reason: str = ""


COSTLY = ("averagepool", "image_decoder", "lppool", "maxpool")
"""Modules of cases that take seconds to make their data."""


@lru_cache(maxsize=2)
def node_cases(quick: bool = False) -> tuple[Any, ...]:
    """All node cases of the installed onnx, by name; ``quick`` leaves out those that are costly to make.

    A case's data is made when its module is imported, and collected in the package's list.
    """
    from onnx.backend.test.case import node as package

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not (quick and module.name.endswith(COSTLY)):
                importlib.import_module(module.name)
    cases = {case.name: case for case in package._NodeTestCases}
    return tuple(cases[name] for name in sorted(cases))


def op_of(case: Any) -> str:
    """The op that a case is about: that of its only node, or, for an expanded function, the function's."""
    nodes = case.model.graph.node
    if len(nodes) == 1:
        domain = nodes[0].domain
        return f"{domain}.{nodes[0].op_type}" if domain not in ("", "ai.onnx") else str(nodes[0].op_type)
    return "several"


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _constant_inputs(model: Any, arrays: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The model with small inputs as initializers, and the arrays of those that are left.

    That is every short vector of integers, and of anything behind the first input.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.input[:]
    kept = []
    for position, (value, array) in enumerate(zip(model.graph.input, arrays, strict=False)):
        known = isinstance(array, (np.ndarray, np.generic)) and array.dtype.kind in "iubf"
        small = known and array.ndim <= 1 and array.size <= MAX_CONSTANT_ELEMENTS
        if small and (position > 0 or array.dtype.kind != "f"):
            changed.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
        else:
            changed.graph.input.append(value)
            kept.append(array)
    return changed, kept


def _dynamic_dims(model: Any) -> Any:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in changed.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
    return changed


def _differs(got: Any, wanted: Any, case: Any) -> str:
    """Why ``got`` is not the wanted array; empty when it is. Narrow floats may differ by few units."""
    wanted = np.asarray(wanted)
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} for {wanted.dtype}{list(wanted.shape)}"
    if from_dtype(got.dtype).kind != "f":
        return "" if np.array_equal(got, wanted) else f"{np.sum(got != wanted)} of {got.size} elements differ"
    narrow = 2.0**-9 if got.dtype == np.float16 else {2: 2.0**-6, 1: 2.0**-1}.get(got.dtype.itemsize, 0.0)
    relative = max(case.rtol, narrow)
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    if np.allclose(a, b, rtol=relative, atol=max(case.atol, 1e-6), equal_nan=True):
        return ""
    with np.errstate(all="ignore"):
        return f"the largest difference is {np.nanmax(np.abs(a - b)):.3g}"


Load = Callable[[Any], Callable[..., Sequence[Any]]]
"""Makes a model callable with arrays in the order of its inputs."""


def run_case(
    case: Any, mode: str = AS_WRITTEN, load: Load = ImportedModel, refusals: Collection[str] = ()
) -> Outcome:
    """Run one case. A coded refusal is ``unsupported``; anything else but the right numbers is ``wrong``.

    ``load`` runs models in another way than the numpy meaning; ``refusals`` are the error codes by which it
    refuses one.
    """
    op = op_of(case)
    try:
        for given, wanted in case.data_sets:
            arrays = [_array(v) for v in given]
            model = case.model
            if mode == CONSTANT_INPUTS:
                model, arrays = _constant_inputs(model, arrays)
            elif mode == DYNAMIC_DIMS:
                model = _dynamic_dims(model)
            results = load(model)(*arrays)
            for got, expected in zip(results, (_array(v) for v in wanted), strict=True):
                reason = _differs(got, expected, case)
                if reason:
                    return Outcome(case.name, op, "wrong", reason)
    except OnnxError as error:
        refused = error.number in (UNSUPPORTED, UNSUPPORTED_TYPE, VERSION)
        return Outcome(case.name, op, "unsupported" if refused else "wrong", str(error))
    except IreeError as error:
        return Outcome(case.name, op, "unsupported" if error.code in refusals else "wrong", str(error))
    return Outcome(case.name, op, "pass")


def run_cases(mode: str = AS_WRITTEN, every: int = 1, quick: bool = False) -> Iterator[Outcome]:
    """The outcomes of all cases (all but the costly ones), or of every ``every``-th."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns about the infinities that cases are made of
        for case in node_cases(quick)[::every]:
            yield run_case(case, mode)


def has_unknown_op(case: Any) -> bool:
    """True when a node of the case is in no table and has no function body."""
    from iree_input_onnx.importer import domain_of
    from iree_input_onnx.node import find_schema
    from iree_input_onnx.table import find

    opsets = {domain_of(o.domain): o.version for o in case.model.opset_import}
    for node in case.model.graph.node:
        domain = domain_of(node.domain)
        schema = find_schema(node.op_type, domain, opsets.get(domain, 1))
        if schema is None or (
            find(domain, node.op_type, schema.since_version) is None and not schema.has_body
        ):
            return True
    return False
