"""Random tensor programs: DAGs of what frontends make, with static and dynamic dims (0 and 1 included).

Values stay small (every product and sum is scaled or clamped), so that two orders of evaluation agree to a
tight tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, linalg_ext, linalg_named, math, tensor
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import ArrayAttr, DenseResourceAttr, DictAttr, StringAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Region, Value
from iree_core_ir.ir.types import TensorType, f32

Axis = int | str | tuple["Axis", ...]
"""A static size, a named dim, or the product of several (a collapsed group)."""
Array = np.ndarray[Any, Any]

STATIC = (1, 2, 3, 4, 6)
NAMED = ("batch", "seq")


@dataclass
class RandomProgram:
    """The module, its constants, and the inputs of one call."""

    module: ModuleOp
    constants: ConstantStore
    inputs: list[Array]
    steps: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        shapes = [a.shape for a in self.inputs]
        return f"inputs {shapes}\n{self.module}"


@dataclass(eq=False)
class _Tensor:
    value: Value
    axes: tuple[Axis, ...]


class _Maker:
    def __init__(self, draw: Callable[[Any], Any], max_steps: int) -> None:
        self.draw = draw
        self.constants = ConstantStore()
        self.rng = np.random.default_rng(draw(st.integers(0, 1 << 16)))
        self.sizes = {name: draw(st.sampled_from((0, 1, 2, 5))) for name in NAMED}
        self.named: dict[str, Value] = {}
        self.tensors: list[_Tensor] = []
        self.steps: list[str] = []
        self.block = Block()
        self.builder = Builder.at_end(self.block)
        self.max_steps = max_steps

    # -- the pieces --------------------------------------------------------------------------------

    def extent(self, axis: Axis) -> int:
        if isinstance(axis, int):
            return axis
        if isinstance(axis, str):
            return self.sizes[axis]
        return int(np.prod([self.extent(a) for a in axis]))

    def is_static(self, axis: Axis) -> bool:
        return isinstance(axis, int) or (isinstance(axis, tuple) and all(self.is_static(a) for a in axis))

    def size(self, axis: Axis) -> int | Value:
        """A mixed size: an integer when static, else an index value."""
        if self.is_static(axis):
            return self.extent(axis)
        if isinstance(axis, str):
            return self.named[axis]
        assert isinstance(axis, tuple)
        total: Value | None = None
        for part in axis:
            size = self.size(part)
            value = self.index(size) if isinstance(size, int) else size
            total = value if total is None else self.builder.create(arith.MulI, total, value).result
        assert total is not None
        return total

    def index(self, value: int) -> Value:
        return self.builder.insert(arith.Constant.index(value)).result

    def scalar(self, value: float) -> Value:
        return self.builder.insert(arith.Constant.of(value, f32)).result

    def empty(self, axes: Sequence[Axis]) -> Value:
        return self.builder.create(tensor.Empty, [self.size(a) for a in axes], f32).result

    def filled(self, axes: Sequence[Axis], value: float) -> Value:
        return linalg.fill(self.builder, self.scalar(value), self.empty(axes))

    def pick(self, accept: Callable[[_Tensor], bool] = lambda t: True) -> _Tensor | None:
        found = [t for t in self.tensors if accept(t)]
        # Recent values more often, so that chains grow.
        if not found:
            return None
        return found[-1 - min(self.draw(st.integers(0, 4)), len(found) - 1)]

    def keep(self, kind: str, value: Value, axes: Sequence[Axis]) -> None:
        self.steps.append(kind)
        self.tensors.append(_Tensor(value, tuple(axes)))

    def pointwise(
        self,
        inputs: Sequence[tuple[Value, AffineMap]],
        axes: Sequence[Axis],
        body: Callable[..., Any],
        output: Value | None = None,
    ) -> Value:
        rank = len(axes)
        target = self.empty(axes) if output is None else output
        made = linalg.generic(
            self.builder,
            [v for v, _ in inputs],
            [target],
            [*[m for _, m in inputs], AffineMap.identity(rank)],
            ["parallel"] * rank,
            body,
        )
        return made.results[0]

    # -- the steps ---------------------------------------------------------------------------------

    def unary(self) -> None:
        a = self.pick()
        assert a is not None
        kind = self.draw(st.sampled_from(("neg", "tanh", "scale", "named", "arith")))
        rank = len(a.axes)
        identity = AffineMap.identity(rank)
        if kind == "named":
            value = linalg.generic(
                self.builder, [a.value], [self.empty(a.axes)], [identity, identity], ["parallel"] * rank,
                lambda b, x, o: b.create(math.AbsF, x).results[0],
            ).results[0]  # fmt: skip
        elif kind == "arith":
            value = self.builder.create(arith.NegF, a.value).results[0]
        elif kind == "scale":
            factor = self.scalar(0.5)
            value = self.pointwise(
                [(a.value, identity)], a.axes, lambda b, x, o: b.create(arith.MulF, x, factor).result
            )
        else:
            cls = arith.NegF if kind == "neg" else math.Tanh
            value = self.pointwise([(a.value, identity)], a.axes, lambda b, x, o: b.create(cls, x).results[0])
        self.keep(kind, value, a.axes)

    def binary(self) -> None:
        a = self.pick()
        assert a is not None
        b = self.pick(lambda t: self._broadcasts(t.axes, a.axes))
        assert b is not None
        maps = [AffineMap.identity(len(a.axes)), self._broadcast_map(b.axes, a.axes)]
        cls: Any = self.draw(st.sampled_from((arith.AddF, arith.SubF, arith.MaximumF)))
        half = self.scalar(0.5)

        def body(inner: Builder, x: Value, y: Value, o: Value) -> Value:
            joined = inner.create(cls, x, y).result
            return inner.create(arith.MulF, joined, half).result

        value = self.pointwise([(a.value, maps[0]), (b.value, maps[1])], a.axes, body)
        self.keep("binary", value, a.axes)

    def _broadcasts(self, small: Sequence[Axis], large: Sequence[Axis]) -> bool:
        tail = large[len(large) - len(small) :] if small else ()
        return len(small) <= len(large) and all(s in (1, b) for s, b in zip(small, tail, strict=True))

    def _broadcast_map(self, small: Sequence[Axis], large: Sequence[Axis]) -> AffineMap:
        shift = len(large) - len(small)
        results: list[AffineExpr] = [
            AffineDim(i + shift) if s == large[i + shift] else AffineConstant(0) for i, s in enumerate(small)
        ]
        return AffineMap(len(large), 0, results)

    def in_place(self) -> None:
        """A destination that is read too."""
        a = self.pick()
        assert a is not None
        b = self.pick(lambda t: t.axes == a.axes)
        assert b is not None
        half = self.scalar(0.5)

        def body(inner: Builder, x: Value, o: Value) -> Value:
            return inner.create(arith.MulF, inner.create(arith.SubF, o, x).result, half).result

        value = self.pointwise([(a.value, AffineMap.identity(len(a.axes)))], a.axes, body, b.value)
        self.keep("in-place", value, a.axes)

    def transpose(self) -> None:
        a = self.pick(lambda t: len(t.axes) > 1)
        if a is None:
            return
        order = self.draw(st.permutations(range(len(a.axes))))
        axes = [a.axes[i] for i in order]
        made = self.builder.create(linalg.Transpose, a.value, self.empty(axes), list(order))
        self.keep("transpose", made.results[0], axes)

    def broadcast(self) -> None:
        a = self.pick(lambda t: len(t.axes) < 4)
        if a is None:
            return
        position = self.draw(st.integers(0, len(a.axes)))
        axes = (*a.axes[:position], self.axis(), *a.axes[position:])
        made = self.builder.create(linalg.Broadcast, a.value, self.empty(axes), [position])
        self.keep("broadcast", made.results[0], axes)

    def axis(self) -> Axis:
        found: Axis = self.draw(st.sampled_from((*STATIC, *NAMED)))
        return found

    def unit_axis(self) -> None:
        a = self.pick(lambda t: 0 < len(t.axes) < 5)
        if a is None:
            return
        position = self.draw(st.integers(0, len(a.axes)))
        axes = (*a.axes[:position], 1, *a.axes[position:])
        groups = [[i] for i in range(len(axes))]
        at = min(position, len(axes) - 2)
        groups[at : at + 2] = [[at, at + 1]]
        made = self.builder.create(tensor.ExpandShape, a.value, groups, [self.size(x) for x in axes])
        self.keep("add unit", made.result, axes)

    def collapse(self) -> None:
        a = self.pick(lambda t: len(t.axes) > 1)
        if a is None:
            return
        at = self.draw(st.integers(0, len(a.axes) - 2))
        pair = a.axes[at : at + 2]
        joined: Axis = pair[0] if pair[1] == 1 else pair[1] if pair[0] == 1 else pair
        if isinstance(joined, tuple) and self.is_static(joined):
            pass  # stays a tuple, so that it can be expanded again
        axes = (*a.axes[:at], joined, *a.axes[at + 2 :])
        groups = [[i] for i in range(at)] + [[at, at + 1]] + [[i] for i in range(at + 2, len(a.axes))]
        shape = [self.extent(x) if self.is_static(x) else -1 for x in axes]
        made = self.builder.create(tensor.CollapseShape, a.value, groups, TensorType(shape, f32))
        self.keep("collapse", made.result, axes)

    def expand(self) -> None:
        a = self.pick(lambda t: any(isinstance(x, tuple) for x in t.axes) and len(t.axes) < 5)
        if a is None:
            return
        at = next(i for i, x in enumerate(a.axes) if isinstance(x, tuple))
        parts = a.axes[at]
        assert isinstance(parts, tuple)
        axes = (*a.axes[:at], *parts, *a.axes[at + 1 :])
        groups = [[i] for i in range(at)] + [list(range(at, at + len(parts)))]
        groups += [[i + len(parts) - 1] for i in range(at + 1, len(a.axes))]
        made = self.builder.create(tensor.ExpandShape, a.value, groups, [self.size(x) for x in axes])
        self.keep("expand", made.result, axes)

    def reduce(self) -> None:
        a = self.pick(lambda t: len(t.axes) > 0)
        if a is None:
            return
        rank = len(a.axes)
        trailing = self.draw(st.booleans())
        count = self.draw(st.integers(1, rank))
        reduced = set(range(rank - count, rank)) if trailing else {self.draw(st.integers(0, rank - 1))}
        maximum = self.draw(st.booleans())
        kept = [i for i in range(rank) if i not in reduced]
        axes = [a.axes[i] for i in kept]
        scale = self.scalar(0.25)

        def body(inner: Builder, x: Value, o: Value) -> Value:
            if maximum:
                return inner.create(arith.MaximumF, o, x).result
            return inner.create(arith.AddF, o, inner.create(arith.MulF, x, scale).result).result

        made = linalg.generic(
            self.builder,
            [a.value],
            [self.filled(axes, -4.0 if maximum else 0.0)],
            [AffineMap.identity(rank), AffineMap.select(rank, kept)],
            ["reduction" if i in reduced else "parallel" for i in range(rank)],
            body,
        )
        self.keep("reduce", made.results[0], axes)

    def matmul(self) -> None:
        a = self.pick(lambda t: len(t.axes) == 2 and self.is_static(t.axes[1]))
        if a is None:
            return
        n = self.draw(st.sampled_from(STATIC))
        key = self.constants.add_array(
            (self.rng.standard_normal((self.extent(a.axes[1]), n)) / 4).astype(np.float32)
        )
        type = TensorType([self.extent(a.axes[1]), n], f32)
        weight = self.builder.insert(arith.Constant.make(DenseResourceAttr(key, type))).result
        axes = (a.axes[0], n)
        made = self.builder.create(linalg_named.MatMul, [a.value, weight], [self.filled(axes, 0.0)])
        self.keep("matmul", made.results[0], axes)

    def batch_matmul(self) -> None:
        a = self.pick(lambda t: len(t.axes) == 3)
        if a is None:
            return
        b = self.pick(lambda t: len(t.axes) == 3 and t.axes[0] == a.axes[0] and t.axes[1] == a.axes[2])
        if b is None:
            return
        axes = (a.axes[0], a.axes[1], b.axes[2])
        made = self.builder.create(linalg_named.BatchMatMul, [a.value, b.value], [self.filled(axes, 0.0)])
        eighth = self.scalar(0.125)
        value = self.pointwise(
            [(made.results[0], AffineMap.identity(3))],
            axes,
            lambda inner, x, o: inner.create(arith.MulF, x, eighth).result,
        )
        self.keep("batch_matmul", value, axes)

    def softmax(self) -> None:
        a = self.pick(lambda t: len(t.axes) > 0)
        if a is None:
            return
        made = self.builder.create(linalg_ext.Softmax, a.value, self.empty(a.axes), len(a.axes) - 1)
        self.keep("softmax", made.results[0], a.axes)

    def concat(self) -> None:
        a = self.pick(lambda t: any(isinstance(x, int) for x in t.axes))
        if a is None:
            return
        at = self.draw(st.sampled_from([i for i, x in enumerate(a.axes) if isinstance(x, int)]))

        def fits(t: _Tensor) -> bool:
            return (
                len(t.axes) == len(a.axes)
                and isinstance(t.axes[at], int)
                and all(x == y for i, (x, y) in enumerate(zip(t.axes, a.axes, strict=True)) if i != at)
            )

        b = self.pick(fits)
        assert b is not None
        joined = self.extent(a.axes[at]) + self.extent(b.axes[at])
        axes = (*a.axes[:at], joined, *a.axes[at + 1 :])
        self.keep("concat", self.builder.create(tensor.Concat, at, [a.value, b.value]).result, axes)

    def slice(self) -> None:
        a = self.pick(lambda t: any(isinstance(x, int) for x in t.axes))
        if a is None:
            return
        at = self.draw(st.sampled_from([i for i, x in enumerate(a.axes) if isinstance(x, int)]))
        total = self.extent(a.axes[at])
        if total < 1:
            return
        start = self.draw(st.integers(0, total - 1))
        size = self.draw(st.integers(1, total - start))
        axes = (*a.axes[:at], size, *a.axes[at + 1 :])
        offsets = [0] * len(axes)
        offsets[at] = start
        made = self.builder.create(tensor.ExtractSlice, a.value, offsets, [self.size(x) for x in axes])
        self.keep("slice", made.result, axes)

    def pad(self) -> None:
        a = self.pick(lambda t: any(isinstance(x, int) for x in t.axes))
        if a is None:
            return
        at = self.draw(st.sampled_from([i for i, x in enumerate(a.axes) if isinstance(x, int)]))
        low, high = [0] * len(a.axes), [0] * len(a.axes)
        low[at], high[at] = self.draw(st.integers(0, 2)), self.draw(st.integers(0, 2))
        zero = self.scalar(0.25)
        made = self.builder.create(tensor.Pad, a.value, low, high, zero)
        axes = (*a.axes[:at], self.extent(a.axes[at]) + low[at] + high[at], *a.axes[at + 1 :])
        self.keep("pad", made.result, axes)

    # -- the whole ------------------------------------------------------------------------------------

    def run(self) -> RandomProgram:
        inputs: list[tuple[Axis, ...]] = [
            tuple(self.axis() for _ in range(self.draw(st.integers(1, 3))))
            for _ in range(self.draw(st.integers(1, 3)))
        ]
        # Every named dim is the size of some input.
        inputs[0] = ("batch", *inputs[0][:2])
        inputs.append(("seq", 4))
        types = [TensorType([x if isinstance(x, int) else -1 for x in axes], f32) for axes in inputs]
        for type, axes in zip(types, inputs, strict=True):
            arg = self.block.add_arg(type)
            self.tensors.append(_Tensor(arg, axes))
        for name, at in (("batch", 0), ("seq", len(inputs) - 1)):
            self.named[name] = self.builder.create(tensor.Dim, self.block.args[at], self.index(0)).result
        self.constant()
        steps = (
            self.unary, self.unary, self.binary, self.binary, self.in_place, self.transpose, self.broadcast,
            self.unit_axis, self.collapse, self.expand, self.reduce, self.reduce, self.matmul, self.matmul,
            self.batch_matmul, self.softmax, self.concat, self.slice, self.slice, self.pad,
        )  # fmt: skip
        for _ in range(self.draw(st.integers(1, self.max_steps))):
            self.draw(st.sampled_from(steps))()
        return self.finish(inputs, types)

    def constant(self) -> None:
        array = self.rng.standard_normal((4,)).astype(np.float32)
        type = TensorType([4], f32)
        key = self.constants.add_array(array)
        made = self.builder.insert(arith.Constant.make(DenseResourceAttr(key, type)))
        self.tensors.append(_Tensor(made.result, (4,)))

    def finish(self, inputs: Sequence[tuple[Axis, ...]], types: Sequence[TensorType]) -> RandomProgram:
        results = [self.tensors[-1]]
        for _ in range(self.draw(st.integers(0, 2))):
            found = self.pick()
            assert found is not None
            results.append(found)
        self.builder.create(ReturnOp, *[t.value for t in results])
        function = FuncOp.make("main", list(types), [t.value.type for t in results])
        function.regions[0].blocks[:] = []
        function.regions[0].append(self.block)
        function.attributes["arg_attrs"] = ArrayAttr(
            [
                DictAttr(
                    {
                        "iree.name": StringAttr(f"x{i}"),
                        "iree.dims": ArrayAttr([StringAttr(x if isinstance(x, str) else "") for x in axes]),
                    }
                )
                for i, axes in enumerate(inputs)
            ]
        )
        module = ModuleOp(regions=[Region([Block()])])
        module.regions[0].block.append(function)
        arrays = [
            self.rng.standard_normal([self.extent(x) for x in axes]).astype(np.float32) for axes in inputs
        ]
        return RandomProgram(module, self.constants, arrays, self.steps)


@st.composite
def programs(draw: Any, max_steps: int = 12) -> RandomProgram:
    """A program of up to ``max_steps`` ops and the inputs of a call."""
    return _Maker(draw, max_steps).run()
