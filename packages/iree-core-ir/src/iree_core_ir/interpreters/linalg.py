"""Numpy meanings of ``linalg``: a structured op's body runs on whole arrays wherever that is possible.

Ways to run, first that fits: parallel loops only, body once on broadcast views; sums of products as matrix
products; known combiners as axis reductions; other reductions one step after the other, each on whole
arrays; and, for bodies with control flow, one iteration after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects import linalg
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, find_meaning, implements
from iree_core_ir.interpreters.reductions import reduce, sum_of_products
from iree_core_ir.interpreters.structured_bodies import combinations, runs_on_arrays
from iree_core_ir.interpreters.structured_views import (
    check_bounds,
    grids,
    linear,
    loop_sizes,
    read_view,
    write_view,
)
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import MemRefType, ShapedType, element_of

Array = np.ndarray[Any, Any]
_INDICES = "linalg.index"
"""Key of the interpreter's state: a stack of the loop indices of the structured ops being run."""


@implements(linalg.Index)
def index(frame: Frame, op: linalg.Index) -> Any:
    return frame.interpreter.state[_INDICES][-1][op.dim.value]


@implements(StructuredOp)
def structured(frame: Frame, op: StructuredOp, *operands: Any) -> Any:
    """The outputs; memref outputs are written in place."""
    return _Run(frame, op, operands).run()


@implements(linalg.Fill)
def fill(frame: Frame, op: linalg.Fill, value: Any, output: Array) -> Any:
    cast = _Run(frame, op, (value, output)).scalars(
        [value, output[(0,) * output.ndim] if output.size else None]
    )
    if isinstance(op.outputs[0].type, MemRefType):
        output[...] = cast
        return None
    return np.broadcast_to(np.asarray(cast, output.dtype), output.shape)


class _Run:
    """One execution of a structured op."""

    def __init__(self, frame: Frame, op: StructuredOp, operands: Sequence[Any]) -> None:
        self.frame = frame
        self.op = op
        self.block: Block = op.body
        self.operands = operands
        self.maps = op.indexing_maps
        self.n_inputs = len(operands) - len(op.outputs)
        self.shaped = [isinstance(v.type, ShapedType) for v in op.operands]
        arguments: list[Value | None] = [None] * len(operands)
        for argument, position in zip(self.block.args, op.body_arguments(), strict=True):
            arguments[position] = argument
        self.arguments = arguments
        """Per operand its body argument, None when the body does not take it."""

    # -- choosing ------------------------------------------------------------------------------

    def run(self) -> Any:
        sizes = loop_sizes(
            [m for m, s in zip(self.maps, self.shaped, strict=True) if s],
            [o for o, s in zip(self.operands, self.shaped, strict=True) if s],
            self.op.n_loops,
        )
        if 0 in sizes:
            return self.finish([self.target(i) for i in range(len(self.op.outputs))])
        for i, (map, operand) in enumerate(zip(self.maps, self.operands, strict=True)):
            if self.shaped[i]:
                check_bounds(map, operand.shape, sizes, i)
        output_maps = self.maps[self.n_inputs :]
        sequential = [
            d
            for d in range(len(sizes))
            if not all(any(d in e.dims_used() for e in m.results) for m in output_maps)
        ]
        parallel = [d for d in range(len(sizes)) if d not in sequential]
        if not runs_on_arrays(self.block) or not all(_separates(m, parallel) for m in output_maps):
            return self.finish(self.one_by_one(sizes))
        if not sequential:
            return self.finish(self.at_once(sizes))
        reduced = self.reduced(sizes, sequential, parallel)
        return self.finish(self.step_by_step(sizes, sequential, parallel) if reduced is None else reduced)

    def finish(self, outputs: list[Array]) -> Any:
        """The results; memrefs have been written."""
        results = [
            o for o, v in zip(outputs, self.op.outputs, strict=True) if not isinstance(v.type, MemRefType)
        ]
        return results[0] if len(results) == 1 else tuple(results)

    def target(self, output: int) -> Array:
        """The array that holds output ``output``: the memref itself, a copy of the tensor."""
        operand: Array = self.operands[self.n_inputs + output]
        return operand if isinstance(self.op.outputs[output].type, MemRefType) else operand.copy()

    # -- the body --------------------------------------------------------------------------------

    def evaluate(
        self, arguments: Sequence[Any], indices: Sequence[Any], skip: frozenset[Op] = frozenset()
    ) -> None:
        """Run the body's ops (all but ``skip``) on ``arguments``; values are left in the frame."""
        values = self.frame.values
        for argument, value in zip(self.arguments, arguments, strict=True):
            if argument is not None:
                values[argument] = value
        stack = self.frame.interpreter.state.setdefault(_INDICES, [])
        stack.append(indices)
        try:
            last = self.block.last
            for op in self.block:
                if op is last or op in skip:
                    continue
                function = find_meaning(op.__class__)
                if function is None:
                    raise CoreIrError(5, f"'{op.name}'", source=op.location.user_text())
                outcome = function(self.frame, op, *[values[v] for v in op.operands])
                if len(op.results) == 1:
                    values[op.results[0]] = outcome
                else:
                    for result, item in zip(op.results, outcome, strict=True):
                        values[result] = item
        finally:
            stack.pop()

    def yielded(self) -> list[Any]:
        return [self.frame.values[v] for v in self.block.terminator.operands]

    def scalars(self, arguments: Sequence[Any]) -> Any:
        """The single value the body yields for scalars."""
        self.evaluate(arguments, ())
        return self.yielded()[0]

    def views(self, sizes: Sequence[int], n: int | None = None) -> list[Any]:
        """Read views of the first ``n`` operands; scalars as they are."""
        return [
            read_view(operand, map, sizes) if shaped else operand
            for operand, map, shaped in zip(self.operands[:n], self.maps[:n], self.shaped[:n], strict=True)
        ]

    # -- ways to run -------------------------------------------------------------------------------

    def at_once(self, sizes: Sequence[int]) -> list[Array]:
        """Parallel loops only: evaluate the body once."""
        self.evaluate(self.views(sizes), grids(sizes) if self.op.has_index else ())
        outputs = []
        for i, value in enumerate(self.yielded()):
            map = self.maps[self.n_inputs + i]
            old = self.operands[self.n_inputs + i]
            is_tensor = not isinstance(self.op.outputs[i].type, MemRefType)
            full = np.broadcast_to(np.asarray(value, old.dtype), sizes)
            if is_tensor and map.is_permutation:
                positions = [p for p in map.dim_positions() if p is not None]
                outputs.append(full.transpose(positions))
                continue
            outputs.append(self.store(i, full, sizes))
        return outputs

    def store(self, output: int, value: Array, sizes: Sequence[int]) -> Array:
        """Write ``value`` (one element an iteration) through the output's map."""
        target = self.target(output)
        map = self.maps[self.n_inputs + output]
        view = write_view(target, map, sizes)
        if view is None:
            target[tuple(e.evaluate(grids(sizes)) for e in map.results)] = value
        else:
            # The value may be a view of the memory written.
            view[...] = value.copy() if np.may_share_memory(view, value) else value
        return target

    def reduced(
        self, sizes: Sequence[int], sequential: Sequence[int], parallel: Sequence[int]
    ) -> list[Array] | None:
        """Known combiners on outputs that only parallel loops index."""
        output_maps = self.maps[self.n_inputs :]
        if any(d in e.dims_used() for m in output_maps for e in m.results for d in sequential):
            return None
        found = combinations(self.block, self.arguments[self.n_inputs :])
        if found is None:
            return None
        skip = {c.op for c in found}
        for c in found:
            if c.kind == "add" and c.factors is not None:
                product_op = c.value.defining_op
                assert product_op is not None
                skip.add(product_op)
        arguments = [*self.views(sizes, self.n_inputs), *[None] * len(found)]
        self.evaluate(arguments, grids(sizes) if self.op.has_index else (), frozenset(skip))
        values = self.frame.values
        kept = [sizes[d] for d in parallel]
        outputs = []
        for i, c in enumerate(found):
            type = element_of(self.op.outputs[i].type)
            dtype = element_type(str(type).removeprefix("s")).dtype
            if dtype.kind == "V" and type.width < 8:  # type: ignore[attr-defined]
                return None
            old = read_view(self.operands[self.n_inputs + i], output_maps[i], sizes)
            initial = np.broadcast_to(old.reshape([old.shape[d] for d in parallel]), kept)
            if c.kind == "add" and c.factors is not None:
                a, b = (_spread(values[v], len(sizes), dtype) for v in c.factors)
                total = sum_of_products(a, b, sizes, sequential, initial, type)
            else:
                value = np.broadcast_to(_spread(values[c.value], len(sizes), dtype), sizes)
                total = reduce(c.kind, value, tuple(sequential), initial, type)
            total = np.broadcast_to(total, kept).reshape(
                [1 if d in sequential else size for d, size in enumerate(sizes)]
            )
            outputs.append(self.store(i, total, [1 if d in sequential else s for d, s in enumerate(sizes)]))
        return outputs

    def step_by_step(
        self, sizes: Sequence[int], sequential: Sequence[int], parallel: Sequence[int]
    ) -> list[Array]:
        """Each step of the reduction in turn, on all parallel iterations at once."""
        n = len(self.op.outputs)
        targets = [self.target(i) for i in range(n)]
        operands = [*self.operands[: self.n_inputs], *targets]
        inputs = self.views(sizes, self.n_inputs)
        outputs = []
        for target, map in zip(targets, self.maps[self.n_inputs :], strict=True):
            view = write_view(target, map, sizes)
            if view is None:
                return self.one_by_one(sizes)
            outputs.append(view)
        all_grids: list[Any] = list(grids(sizes))
        for point in product(*(range(sizes[d]) for d in sequential)):
            where = dict(zip(sequential, point, strict=True))
            arguments = [
                _at(view, where) if isinstance(view, np.ndarray) and shaped else view
                for view, shaped in zip([*inputs, *outputs], self.shaped, strict=True)
            ]
            indices = [where[d] if d in where else _at(g, where) for d, g in enumerate(all_grids)]
            self.evaluate(arguments, indices)
            # All outputs are computed from the old values before any is written.
            news = [np.array(value) for value in self.yielded()]
            for i, new in enumerate(news):
                arguments[self.n_inputs + i][...] = new
        return operands[self.n_inputs :]

    def one_by_one(self, sizes: Sequence[int]) -> list[Array]:
        """Every iteration in turn, on scalars."""
        targets = [self.target(i) for i in range(len(self.op.outputs))]
        operands = [*self.operands[: self.n_inputs], *targets]
        stack = self.frame.interpreter.state.setdefault(_INDICES, [])
        positions = self.op.body_arguments()
        for point in _points(sizes):
            at = [
                tuple(m.evaluate(point)) if shaped else ()
                for m, shaped in zip(self.maps, self.shaped, strict=True)
            ]
            arguments = [
                _scalar(operands[i], at[i], self.op.operands[i].type) if self.shaped[i] else operands[i]
                for i in positions
            ]
            stack.append(point)
            try:
                results = self.frame.run_block(self.block, arguments)
            finally:
                stack.pop()
            for i, value in enumerate(results):
                targets[i][at[self.n_inputs + i]] = value
        return targets


def _points(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(*map(range, sizes))


def _scalar(array: Array, at: tuple[int, ...], type: Any) -> Any:
    value = array[at]
    return int(value) if str(type.element_type) == "index" else value


def _at(view: Array, where: dict[int, int]) -> Array:
    """The part of a view at a point of some loops (those of size 1 do not depend on them); a view."""
    selection = tuple(
        (where[d] if view.shape[d] != 1 else 0) if d in where else slice(None) for d in range(view.ndim)
    )
    # The ellipsis keeps a rank-0 array an array.
    return view[(*selection, ...)]


def _spread(value: Any, rank: int, dtype: np.dtype[Any]) -> Array:
    """A body value as an array with an axis a loop."""
    array = np.asarray(value, dtype)
    return array if array.ndim == rank else array.reshape([1] * (rank - array.ndim) + list(array.shape))


def _separates(map: AffineMap, dims: Sequence[int]) -> bool:
    """Different points of ``dims`` address different elements: each dim alone moves some result."""
    alone = set()
    for expr in map.results:
        form = linear(expr, map.n_dims)
        if form is None:
            return map.is_permutation
        used = [d for d in dims if form[0][d]]
        if len(used) == 1:
            alone.add(used[0])
    return alone.issuperset(dims)
