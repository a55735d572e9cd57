"""If that is decided when the model runs -> ``scf.if``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from iree_core_ir.dialects import cf, scf
from iree_core_ir.ir.operation import Block, Region
from iree_input_onnx.carried import Carried, Run, discard, kept_if_done, truth
from iree_input_onnx.dims import known_at
from iree_input_onnx.elements import I1
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import INVALID_NODE, OnnxError
from iree_input_onnx.node import Node
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.values import Tensor


def lower_if(e: Emitter, node: Node, run: Run) -> list[Tensor]:
    """One of two subgraphs. Raises Unsupported, or RanksDiffer for an output of different ranks."""
    graphs = [node.attributes["then_branch"], node.attributes["else_branch"]]
    condition = truth(e, node.input(0))
    if isinstance(condition, bool):
        return run(graphs[0 if condition else 1], [])
    return choose(e, node, condition, [partial(run, graph, []) for graph in graphs])


def lower_if_and_rest(
    e: Emitter, node: Node, run: Run, rest: Callable[[Sequence[Tensor]], list[Tensor]]
) -> list[Tensor]:
    """An If whose outputs differ in rank, with what uses them: ``rest`` of the outputs, for either branch."""
    graphs = [node.attributes["then_branch"], node.attributes["else_branch"]]
    condition = truth(e, node.input(0))
    assert isinstance(condition, Scalar)

    def branch(graph: Any) -> list[Tensor]:
        return rest(run(graph, []))

    return choose(e, node, condition, [partial(branch, graph) for graph in graphs])


def choose(
    e: Emitter, node: Node, condition: Scalar, branches: Sequence[Callable[[], list[Tensor]]]
) -> list[Tensor]:
    """What the first of two branches gives when ``condition`` holds, else what the second does.

    A branch that no input of the shapes given can run (where a node is invalid for them) stops the program.
    """
    blocks = [Block(), Block()]
    with kept_if_done(*blocks):
        return _chosen(e, node, condition, branches, blocks)


def _chosen(
    e: Emitter,
    node: Node,
    condition: Scalar,
    branches: Sequence[Callable[[], list[Tensor]]],
    blocks: Sequence[Block],
) -> list[Tensor]:
    mark = e.space.mark
    found: list[list[Tensor] | OnnxError] = []
    for branch, block in zip(branches, blocks, strict=True):
        with e.inside(block):
            try:
                found.append(branch())
            except OnnxError as error:
                if error.number != INVALID_NODE:
                    raise
                discard(block)
                _stop(e, error)
                found.append(error)
    sides = [given for given in found if not isinstance(given, OnnxError)]
    if not sides:
        raise next(error for error in found if isinstance(error, OnnxError))
    if len(sides) == 1:
        nothing = [_nothing_like(e, t, mark) for t in sides[0]]
        sides = [nothing if isinstance(given, OnnxError) else given for given in found]
    outputs = [Carried.either(e, node, pair, mark) for pair in zip(*sides, strict=True)]
    for given, block in zip(sides, blocks, strict=True):
        with e.inside(block):
            values = [v for output, t in zip(outputs, given, strict=True) for v in output.values(e, t)]
            e.builder.create(scf.Yield, values)
    types = [type for output in outputs for type in output.types]
    op = e.builder.insert(scf.If((condition.value,), types, {}, [Region([block]) for block in blocks]))
    rest = list(op.results)
    results = []
    for output in outputs:
        results.append(output.bind(e, rest[: len(output.types)]))
        rest = rest[len(output.types) :]
    return results


def _stop(e: Emitter, error: OnnxError) -> None:
    e.builder.create(cf.Assert, e.number(False, I1).value, f"a branch that cannot run: {error}")


def _nothing_like(e: Emitter, t: Tensor, mark: int) -> Tensor:
    """What stands for ``t`` where it is never computed."""
    return e.splat(0, [dim if known_at(dim, mark) else 0 for dim in t.shape], t.element)
