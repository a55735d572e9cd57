"""Loop and Scan -> ``scf.for`` and ``scf.while``.

What goes round a loop is found by lowering its body until nothing changes: a variable starts out as the
same in every iteration, is a few numbers of the host (a counter, a size) when that does not hold, and a
tensor when it is none of the host's; a dim of it that differs between iterations is dynamic. Scan outputs of
known size are written into their place; others are appended to a row of elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from iree_base.records import field, record
from iree_core_ir.dialects import arith, scf, tensor
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Region, Value
from iree_core_ir.ir.types import DYNAMIC, TensorType, i1, index
from iree_input_onnx.carried import Carried, Run, cast, discard, kept_if_done, tensor_type, truth
from iree_input_onnx.dims import Dim, known_at, maximum, product
from iree_input_onnx.elements import I1, I64, ir_type
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.reader import MAX_RANK
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.values import Tensor


@record
class Collected:
    """A scan output: its elements in place (``whole``) or appended to a row, with the last one's dims."""

    element: Tensor
    whole: bool
    types: list[Any]
    own: list[int]
    """The axes whose size is known inside the loop only."""
    declared: Sequence[int]
    """What they are when there is no iteration: as the body declares them, else 0."""


@record
class Loop:
    """What the three kinds of loop have in common.

    ``trips`` is the number of iterations, or None; ``start`` whether there is a first; ``step`` lowers the
    body for an iteration number and the variables and gives the condition to go on, the variables and what is
    to be collected; ``backwards`` says which outputs are collected last first.
    """

    e: Emitter
    node: Node
    trips: Dim | None
    start: bool | Scalar
    carried: list[Carried]
    step: Callable[[Tensor, list[Tensor]], tuple[Tensor | None, list[Tensor], list[Tensor]]]
    backwards: Sequence[bool] = ()
    declared: Sequence[Any] = ()
    """Per collected output the shape that the body declares, 0 where it says nothing."""
    upper: Dim = field(default=0, init=False)
    """Of a loop that only counts: the trips, 0 when there is no first."""

    def lower(self) -> tuple[list[Tensor], list[Tensor]]:
        """The variables behind the loop and the collected outputs, one behind the other along axis 0."""
        counted = self.trips is not None
        if self.trips is not None:
            self.upper = maximum(self.trips, 0)
            if isinstance(self.start, Scalar):
                e = self.e
                chosen = e.builder.create(arith.Select, self.start.value, e.index(self.upper), e.index(0))
                self.upper = e.space.symbol("trips", chosen.result)
        while True:
            tried = self._try(counted)
            if isinstance(tried, tuple):
                return tried
            counted = counted and tried

    def _try(self, counted: bool) -> tuple[list[Tensor], list[Tensor]] | bool:
        """One attempt; else whether the next may still count."""
        head = [] if counted else [i1]
        block = Block([index, *head, *(type for c in self.carried for type in c.types)])
        with kept_if_done(block):
            return self._written(block, head, counted)

    def _written(
        self, block: Block, head: Sequence[Any], counted: bool
    ) -> tuple[list[Tensor], list[Tensor]] | bool:
        e, node = self.e, self.node
        mark = e.space.mark
        collected: list[Collected] = []
        count = e.space.symbol("iteration", block.args[0])
        with e.inside(block):
            rest: list[Value] = list(block.args[1 + len(head) :])
            variables = []
            for c in self.carried:
                variables.append(c.bind(e, rest[: len(c.types)]))
                rest = rest[len(c.types) :]
            goes_on, after, outputs = self.step(Tensor.host([count], (), I64), variables)
            known = None if goes_on is None else truth(e, goes_on)
            widened = [
                c.widen(e, node, now, before, mark)
                for c, now, before in zip(self.carried, after, variables, strict=True)
            ]
            retry = counted and not (known is None or known is True)
            if not any(widened) and not retry:
                values = [v for c, t in zip(self.carried, after, strict=True) for v in c.values(e, t)]
                for number, output in enumerate(outputs):
                    backwards = bool(self.backwards) and self.backwards[number]
                    declared = self.declared[number] if self.declared else [0] * output.rank
                    part, more = self._collect(block, count, output, counted, backwards, mark, declared)
                    collected.append(part)
                    values += more
                if not counted:
                    cond = known if isinstance(known, Scalar) else e.number(known is not False, I1)
                    following = e.builder.create(arith.AddI, block.args[0], e.index(1)).result
                    values = [following, cond.value, *values]
                e.builder.create(scf.Yield, values)
        if any(widened) or retry:
            discard(block)
            return not retry
        inits = [v for c in self.carried for v in c.values(e, c.init)]
        for part in collected:
            inits += self._room(part)
        n_trips, results = self._for(block, inits) if counted else self._while(block, inits)
        return self._results(collected, n_trips, results)

    # -- scan outputs ----------------------------------------------------------------------------

    def _collect(
        self,
        block: Block,
        count: Dim,
        output: Tensor,
        counted: bool,
        backwards: bool,
        mark: int,
        declared: Sequence[int],
    ) -> tuple[Collected, list[Value]]:
        """Take ``output`` of this iteration: what is passed on for it."""
        e = self.e
        own = [axis for axis, dim in enumerate(output.shape) if not known_at(dim, mark)]
        type = ir_type(output.element)
        if counted and not own:
            shape = [self.upper, *output.shape]
            whole = Collected(output, True, [tensor_type(output, shape)], own, declared)
            room = block.add_arg(whole.types[0])
            at = self.upper - 1 - count if backwards else count
            row = e.unsqueeze(output, [0])
            offsets = e.mixed([at, *[0] * output.rank])
            op = e.builder.create(tensor.InsertSlice, e.value(row), room, offsets, e.mixed(row.shape))
            return whole, [op.results[0]]
        if backwards:
            raise Unsupported("a scan output in reverse whose size is known in the loop only")
        row_type = TensorType([DYNAMIC], type)
        part = Collected(output, False, [row_type, *[index] * len(own)], own, declared)
        before, *_ = [block.add_arg(type) for type in part.types]
        flat = cast(e, e.reshape(output, [product(output.shape)]), TensorType([DYNAMIC], type))
        longer = e.builder.create(tensor.Concat, 0, [before, flat], row_type).result
        return part, [longer, *(e.index(output.shape[axis]) for axis in own)]

    def _room(self, part: Collected) -> list[Value]:
        """What is passed for an output before the first iteration."""
        e = self.e
        if part.whole:
            return [e.empty([self.upper, *part.element.shape], part.element.element)]
        nothing = tensor.cast_to(e.builder, e.empty([0], part.element.element), part.types[0])
        return [nothing, *(e.index(part.declared[axis]) for axis in part.own)]

    def _results(
        self, collected: Sequence[Collected], n_trips: Dim, rest: Sequence[Value]
    ) -> tuple[list[Tensor], list[Tensor]]:
        e = self.e
        variables = []
        for c in self.carried:
            variables.append(c.bind(e, rest[: len(c.types)]))
            rest = rest[len(c.types) :]
        outputs = []
        for part in collected:
            own, rest = rest[: len(part.types)], rest[len(part.types) :]
            shape: list[Dim] = [n_trips, *part.element.shape]
            for axis, value in zip(part.own, own[1:], strict=False):
                shape[1 + axis] = e.space.symbol(f"dim{axis}", value)
            value = own[0]
            if not part.whole and part.element.rank:
                groups = [list(range(1 + part.element.rank))]
                value = e.builder.create(tensor.ExpandShape, value, groups, e.mixed(shape)).result
            elif not part.whole and isinstance(n_trips, int):
                value = tensor.cast_to(e.builder, value, tensor_type(part.element, shape))
            outputs.append(Tensor(part.element.element, shape, value=value))
        return variables, outputs

    # -- the ops ---------------------------------------------------------------------------------

    def _for(self, body: Block, inits: list[Value]) -> tuple[Dim, list[Value]]:
        e = self.e
        operands = (e.index(0), e.index(self.upper), e.index(1), *inits)
        op = e.builder.insert(scf.For(operands, [v.type for v in inits], {}, [Region([body])]))
        return self.upper, list(op.results)

    def _while(self, body: Block, inits: list[Value]) -> tuple[Dim, list[Value]]:
        e = self.e
        start = self.start if isinstance(self.start, Scalar) else e.number(self.start, I1)
        operands = [e.index(0), start.value, *inits]
        types = [v.type for v in operands]
        before = Block(types)
        limit = None if self.trips is None else e.index(self.trips)
        goes_on: Value = before.args[1]
        builder = Builder.at_end(before, e.builder.location)
        if limit is not None:
            below = builder.create(arith.CmpI, "slt", before.args[0], limit).result
            goes_on = builder.create(arith.AndI, below, goes_on).result
        builder.create(scf.Condition, goes_on, list(before.args))
        op = e.builder.insert(scf.While(operands, types, {}, [Region([before]), Region([body])]))
        trips = e.space.symbol("trips", op.results[0])
        return trips, list(op.results[2:])


def lower_loop(e: Emitter, node: Node, run: Run) -> list[Tensor]:
    """ONNX's general loop: counted, conditional or both."""
    limit, condition = node.optional(0), node.optional(1)
    inits = [node.input(i) for i in range(2, len(node.inputs))]
    graph = node.attributes["body"]
    if len(graph.input) != 2 + len(inits) or len(graph.output) < 1 + len(inits):
        raise node.error(f"a body of {len(graph.input)} inputs for {len(inits)} variables")
    trips: Dim | None = None
    if limit is not None:
        if limit.n_elements != 1:
            raise node.error("the trip count is one number")
        trips = e.dims(limit)[0]
    start = True if condition is None else truth(e, condition)
    if start is False:
        trips, start = 0, True

    def step(count: Tensor, variables: list[Tensor]) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        true = e.constant(np.array(True), I1)
        outputs = run(graph, [count, true, *variables])
        n = 1 + len(inits)
        goes_on = None if outputs[0] is true else outputs[0]
        return goes_on, outputs[1:n], outputs[n:]

    declared = [_declared(value) for value in graph.output[1 + len(inits) :]]
    loop = Loop(e, node, trips, start, [Carried(t) for t in inits], step, declared=declared)
    variables, outputs = loop.lower()
    return [*variables, *outputs]


def _declared(value: Any) -> list[int]:
    """The sizes that a graph gives for an output, 0 where it gives none; more than there are axes."""
    dims = [max(0, d.dim_value) for d in value.type.tensor_type.shape.dim]
    return dims + [0] * (MAX_RANK - len(dims))


def lower_scan(e: Emitter, node: Node, run: Run) -> list[Tensor]:
    """ONNX's loop over slices; before version 9 it had a batch dimension and is refused."""
    if node.since < 9:
        raise Unsupported("the definition of version 8, with a batch dimension")
    graph = node.attributes["body"]
    n_inputs = node.int("num_scan_inputs")
    given = node.variadic
    n_states = len(given) - n_inputs
    if n_states < 0 or n_inputs < 1 or len(graph.input) != len(given) or len(graph.output) < n_states:
        raise node.error(f"a body of {len(graph.input)} inputs for {len(given)}")
    n_outputs = len(graph.output) - n_states
    axes = [
        a % t.rank for a, t in zip(_many(node, "scan_input_axes", n_inputs), given[n_states:], strict=True)
    ]
    reverse = _many(node, "scan_input_directions", n_inputs)
    sizes = [t.shape[axis] for t, axis in zip(given[n_states:], axes, strict=True)]
    trips = next((size for size in sizes if isinstance(size, int)), sizes[0])
    if any(isinstance(size, int) and size != trips for size in sizes):
        raise node.error(f"sequences of {sizes}")

    def step(count: Tensor, variables: list[Tensor]) -> tuple[Tensor | None, list[Tensor], list[Tensor]]:
        number = e.dims(count)[0]
        slices = []
        for t, axis, backwards in zip(given[n_states:], axes, reverse, strict=True):
            offsets: list[Dim] = [0] * t.rank
            box = list(t.shape)
            offsets[axis], box[axis] = (trips - 1 - number if backwards else number), 1
            slices.append(e.squeeze(e.slice(t, offsets, box), [axis]))
        outputs = run(graph, [*variables, *slices])
        return None, outputs[:n_states], outputs[n_states:]

    carried = [Carried(t) for t in given[:n_states]]
    last_first = [bool(b) for b in _many(node, "scan_output_directions", n_outputs)]
    variables, outputs = Loop(e, node, trips, True, carried, step, last_first).lower()
    placed = []
    for t, axis in zip(outputs, _many(node, "scan_output_axes", n_outputs), strict=True):
        axis = axis % t.rank
        placed.append(e.transpose(t, [*range(1, axis + 1), 0, *range(axis + 1, t.rank)]))
    return [*variables, *placed]


def _many(node: Node, name: str, count: int) -> list[int]:
    values: list[int] = node.ints(name, [0] * count)
    if len(values) != count:
        raise node.error(f"{len(values)} {name} for {count}")
    return values
