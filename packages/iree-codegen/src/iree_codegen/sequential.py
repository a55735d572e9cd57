"""Ops that walk along a dim in order: scans, sorts, top-k, scatters. Scalar code over stored memory.

Sorting is a heap sort in the results' own memory, on (value, position) pairs; positions make the order
total, so equal elements keep theirs. NaN counts as greater than every number. Where positions alone are
stored, values are read from the input; where values alone are, zeros and NaN (all that equal numbers can
differ in) are put in the input's order afterwards. So there is no scratch memory, whatever the extents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.element_moves import ERROR_INDEX
from iree_codegen.elements import Elements, Memory, Point
from iree_codegen.errors import UNSUPPORTED_TYPE, CodegenError
from iree_codegen.indexing import Affine, Bindings, Var
from iree_codegen.kernel_builder import Index
from iree_codegen.scalars import ScalarEvaluator
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, element_of, f32, i1, index

ERROR_SHAPE = 2
"""Error kind of the dispatch ABI: extents do not fit each other."""
ALONG_A_DIM = frozenset({"linalg_ext.scan", "linalg_ext.sort", "linalg_ext.topk"})
SEQUENTIAL = ALONG_A_DIM | {"linalg_ext.scatter"}

_SCAN_FLOAT = {"add": "arith.addf", "mul": "arith.mulf", "max": "arith.maximumf", "min": "arith.minimumf"}
_SCAN_INTEGER = {"add": "arith.addi", "mul": "arith.muli", "max": "arith.maxsi", "min": "arith.minsi"}


def is_sequential(value: Value) -> bool:
    """True when ``value`` is a result of such an op."""
    op = value.defining_op
    return op is not None and op.name in SEQUENTIAL


def serial_axes(value: Value) -> tuple[int, ...]:
    """Dims of ``value`` that one workgroup must own whole."""
    op: Any = value.defining_op
    if op is None or op.name not in SEQUENTIAL:
        return ()
    return (op.dimension.value,) if op.name in ALONG_A_DIM else tuple(op.dimension_map.values)


def walked_extent(op: Any, dispatch: Dispatch) -> Dim:
    """How many steps the walk has."""
    dims = dispatch.dims(op.inputs[0])
    if op.name in ALONG_A_DIM:
        axis: int = op.dimension.value
        return dims[axis]
    return dim_ops.total(dims[: op.inputs[1].type.rank - 1])


class SequentialEmitter:
    """Emits ``op`` with its results (those that are stored) in ``memories``."""

    def __init__(self, elements: Elements, op: Any, memories: Mapping[Value, Memory]) -> None:
        self.elements = elements
        self.kernel = elements.kernel
        self.dispatch = elements.dispatch
        self.op = op
        self.memories = [memories.get(result) for result in op.results]
        self.owned: tuple[Index, Index] | None = None
        """The part of the scattered dims, in row-major order, that is written here; None: all."""

    @property
    def loops_inside(self) -> bool:
        """True when ``emit`` itself loops over the other dims."""
        return bool(self.op.name == "linalg_ext.scatter")

    def emit(
        self, at: Bindings, forms: Sequence[Affine], loops: Sequence[tuple[Var, Index, Index]] = ()
    ) -> None:
        """At one index of the other dims; ``forms`` gives those (the serial ones are replaced)."""
        name = self.op.name
        if name == "linalg_ext.scan":
            self._scan(at, forms)
        elif name == "linalg_ext.scatter":
            self._scatter(at, forms, loops)
        else:
            self._sort(at, forms, name == "linalg_ext.topk")

    def memory(self, result: int) -> Memory:
        found = self.memories[result]
        assert found is not None
        return found

    def place(self, forms: Sequence[Affine], i: Index) -> tuple[Affine, ...]:
        axis = self.op.dimension.value
        here = indexing.constant(i) if isinstance(i, int) else indexing.opaque(i)
        return tuple(here if n == axis else f for n, f in enumerate(forms))

    def _extent(self, value: Value) -> Index:
        return self.kernel.dim(self.dispatch.dims(value)[self.op.dimension.value])

    # -- scan ----------------------------------------------------------------------------------

    def _scan(self, at: Bindings, forms: Sequence[Affine]) -> None:
        self.scan_part(at, forms, 0, self._extent(self.op.inputs[0]), self.scan_start())

    @property
    def scan_type(self) -> Any:
        """What a scan accumulates in: narrow floats in f32, rounded where they are stored."""
        element: Any = element_of(self.op.outputs[0].type)
        return f32 if isinstance(element, FloatType) and element.width < 32 else element

    def scan_start(self) -> Value:
        """What combines to the other operand."""
        element = element_of(self.op.outputs[0].type)
        return self.kernel.constant(neutral(self.op.kind.value, element), self.scan_type)

    def scan_combine(self, a: Value, b: Value) -> Value:
        table = _SCAN_FLOAT if isinstance(self.scan_type, FloatType) else _SCAN_INTEGER
        return self.kernel.pure(table[self.op.kind.value], (a, b), self.scan_type)

    def scan_part(
        self,
        at: Bindings,
        forms: Sequence[Affine],
        low: Index,
        high: Index,
        start: Value,
        *,
        stores: bool = True,
    ) -> Value:
        """Walk steps ``low`` to ``high``, on from ``start``; what they combine to with it."""
        k, op = self.kernel, self.op
        source = op.inputs[0]
        element: Any = element_of(op.outputs[0].type)
        wide = self.scan_type
        extent = self._extent(source)

        def step(i: Index, current: Value) -> list[Value]:
            at_index = k.sub(k.sub(extent, 1), i) if op.reverse is not None else i
            point = Point(at)
            place = self.place(forms, at_index)
            loaded = self.elements.element(source, place, point)
            value = self._converted(loaded, element_of(source.type), element)
            value = value if wide is element else k.cast("arith.extf", value, wide)
            following = self.scan_combine(current, value)
            if stores:
                result = current if op.exclusive is not None else following
                result = result if wide is element else k.cast("arith.truncf", result, element)
                self.elements.store(result, self.memory(0), place, point)
            return [following]

        return k.loop(low, high, 1, [start], step)[0]

    def _converted(self, value: Value, source: Any, target: Any) -> Value:
        """A number of one type as another; integers are signed (i1: 0 or 1)."""
        k = self.kernel
        if source is target:
            return value
        if isinstance(target, FloatType):
            if isinstance(source, FloatType):
                return k.cast("arith.extf" if source.width < target.width else "arith.truncf", value, target)
            return k.cast("arith.uitofp" if source is i1 else "arith.sitofp", value, target)
        if isinstance(source, FloatType):
            return k.cast("arith.fptosi", value, target)
        narrow = 64 if isinstance(target, IndexType) else target.width
        wide = 64 if isinstance(source, IndexType) else source.width
        if isinstance(source, IndexType) or isinstance(target, IndexType):
            name = "arith.index_castui" if source is i1 else "arith.index_cast"
            return k.cast(name, value, target)
        if wide < narrow:
            return k.cast("arith.extui" if source is i1 else "arith.extsi", value, target)
        return k.cast("arith.trunci", value, target)

    # -- sort and top-k --------------------------------------------------------------------------

    def _sort(self, at: Bindings, forms: Sequence[Affine], partial: bool) -> None:
        k, op = self.kernel, self.op
        source = op.inputs[0]
        extent = self._extent(source)
        kept = self._extent(op.outputs[0]) if partial else extent
        descending = (op.smallest is None) if partial else (op.descending is not None)
        heap = _Heap(self, at, forms, descending)
        if partial and kept != extent:
            fits = k.compare("sle", kept, extent)
            k.check(fits, ERROR_SHAPE, f"takes more elements than there are in {op.location.user_text()}")

        def put(i: Index) -> None:
            heap.store(i, self.elements.element(source, self.place(forms, i), Point(at)), k.value(i))

        k.loop(0, kept, 1, (), put)
        half = k.floordiv(kept, 2)
        k.loop(0, half, 1, (), lambda i: heap.sift(k.sub(k.sub(half, 1), i), kept))
        if partial:

            def offer(i: Index) -> None:
                value = self.elements.element(source, self.place(forms, i), Point(at))
                better = heap.before((value, k.value(i)), heap.load(0))

                def replace() -> None:
                    heap.store(0, value, k.value(i))
                    heap.sift(0, kept)

                k.if_(better, replace)

            k.if_(k.compare("sgt", kept, 0), lambda: k.loop(kept, extent, 1, (), offer) and None)

        def shrink(i: Index) -> None:
            last = k.sub(k.sub(kept, 1), i)
            heap.swap(0, last)
            heap.sift(0, last)

        k.loop(0, k.max(k.sub(kept, 1), 0), 1, (), shrink)
        if heap.positions is None and isinstance(heap.element, FloatType):
            self._restore_order(heap, at, forms, kept, extent)

    def _restore_order(
        self, heap: _Heap, at: Bindings, forms: Sequence[Affine], kept: Index, extent: Index
    ) -> None:
        """Zeros (of either sign) and NaN, adjacent in the sorted values, in the order of the input."""
        k = self.kernel
        source = self.op.inputs[0]
        zero, one, nothing = k.constant(0.0, heap.element), k.constant(1, index), k.constant(0, index)

        def count(i: Index, *found: Value) -> list[Value]:
            value = heap.value_at(i)
            is_zero, is_nan = k.cmpf("oeq", value, zero), k.cmpf("uno", value, value)
            below = heap.before((value, None), (zero, None))
            flags = (below, is_zero, is_nan)
            return [
                k.binary("arith.addi", n, k.select(f, one, nothing))
                for n, f in zip(found, flags, strict=True)
            ]

        before_zero, zeros, nans = k.loop(0, kept, 1, [nothing] * 3, count)
        zero_end = k.add(before_zero, zeros)
        first_nan = nothing if heap.descending else k.value(k.sub(k.value(kept), nans))
        nan_end = k.add(first_nan, nans)

        def put(i: Index, *cursors: Value) -> list[Value]:
            value = self.elements.element(source, self.place(forms, i), Point(at))
            tests = (k.cmpf("oeq", value, zero), k.cmpf("uno", value, value))
            following = []
            for cursor, end, test in zip(cursors, (zero_end, nan_end), tests, strict=True):
                here = k.binary("arith.andi", test, k.compare("slt", cursor, end))
                k.if_(here, lambda cursor=cursor: heap.store(cursor, value, None))  # type: ignore[misc]
                following.append(k.binary("arith.addi", cursor, k.select(here, one, nothing)))
            return following

        k.loop(0, extent, 1, [before_zero, first_nan], put)

    # -- scatter -------------------------------------------------------------------------------------

    def _scatter(
        self, at: Bindings, forms: Sequence[Affine], loops: Sequence[tuple[Var, Index, Index]]
    ) -> None:
        k, op = self.kernel, self.op
        updates, indices = op.inputs[0], op.inputs[1]
        original = op.outputs[0]
        dims = list(op.dimension_map.values)
        memory = self.memory(0)
        batch = self.dispatch.dims(indices)[:-1]
        sizes = self.dispatch.dims(original)
        free = [i for i in range(len(sizes)) if i not in dims]
        own = self.elements.memory.get(original)
        if own is None or own.memory is not memory.memory:

            def copy(where: list[Index]) -> None:
                full = list(forms)
                for dim, i in zip(dims, where, strict=True):
                    full[dim] = _form(i)

                def element(at: Bindings) -> None:
                    point = Point(at)
                    self.elements.store(self.elements.element(original, full, point), memory, full, point)

                self._nest(loops, at, element)

            scattered = [sizes[d] for d in dims]
            if self.owned is None:
                self._box(scattered, copy)
            else:
                k.loop(*self.owned, 1, (), lambda i: copy(self._place_in(scattered, i)))

        def one(where: list[Index]) -> None:
            point = Point(at)
            target = list(forms)
            here: Index = 0
            for number, dim in enumerate(dims):
                place = (*[_form(i) for i in where], indexing.constant(number))
                found = self.elements.element(indices, place, point)
                position, valid = self.elements.checked_index(found, sizes[dim])
                k.check(valid, ERROR_INDEX, f"index out of range in {op.location.user_text()}")
                target[dim] = indexing.opaque(position)
                here = k.add(k.mul(here, k.dim(sizes[dim])), position)
            source = (*[_form(i) for i in where], *[forms[d] for d in free])

            def combine(at: Bindings) -> None:
                inner = Point(at)
                block = op.body
                known: dict[Value, Value] = {}
                if block.args[0].uses:
                    known[block.args[0]] = self.elements.element(updates, source, inner)
                if block.args[1].uses:
                    known[block.args[1]] = self.elements.load(memory, target, inner)
                evaluator = ScalarEvaluator(k, lambda o, lookup: None)
                evaluator.outside = self.elements.scalar  # type: ignore[method-assign]
                self.elements.store(evaluator.run(block, known)[0], memory, target, inner)

            if self.owned is None:
                self._nest(loops, at, combine)
                return
            low, high = self.owned
            inside = k.binary("arith.andi", k.compare("uge", here, low), k.compare("ult", here, high))
            k.if_(inside, lambda: self._nest(loops, at, combine))

        self._box(batch, one)

    def _place_in(self, extents: Sequence[Dim], i: Index) -> list[Index]:
        """The indices in a box at row-major position ``i``."""
        found: list[Index] = []
        for extent in reversed(extents[1:]):
            found.append(self.kernel.mod(i, self.kernel.dim(extent)))
            i = self.kernel.floordiv(i, self.kernel.dim(extent))
        return [i, *reversed(found)]

    def _box(self, extents: Sequence[Dim], body: Callable[[list[Index]], None]) -> None:
        """Loops over all indices of a box, the last dim fastest."""
        k = self.kernel

        def nest(found: list[Index]) -> None:
            if len(found) == len(extents):
                body(found)
                return
            k.loop(0, k.dim(extents[len(found)]), 1, (), lambda i: nest([*found, i]))

        nest([])

    def _nest(
        self, loops: Sequence[tuple[Var, Index, Index]], at: Bindings, body: Callable[[Bindings], None]
    ) -> None:
        if not loops:
            body(at)
            return
        (var, low, high), *rest = loops
        self.kernel.loop(low, high, 1, (), lambda i: self._nest(rest, at.child({var: i}), body))


def _form(i: Index) -> Affine:
    return indexing.constant(i) if isinstance(i, int) else indexing.opaque(i)


class _Heap:
    """A heap in the results' memory whose root comes last in the wanted order."""

    def __init__(
        self, owner: SequentialEmitter, at: Bindings, forms: Sequence[Affine], descending: bool
    ) -> None:
        self.owner = owner
        self.kernel = owner.kernel
        self.at = at
        self.forms = forms
        self.descending = descending
        self.element = element_of(owner.op.outputs[0].type)
        self.values = owner.memories[0]
        self.positions = owner.memories[1] if len(owner.memories) > 1 else None
        if self.positions is not None:
            self._check_positions()

    def _check_positions(self) -> None:
        """Positions decide between equal elements, so they must not wrap."""
        op = self.owner.op
        type: Any = element_of(op.outputs[1].type)
        extent = self.owner.dispatch.dims(op.inputs[0])[op.dimension.value]
        if isinstance(type, IndexType) or type.width >= 32:
            return
        if not isinstance(extent, int) or extent > 1 << (type.width - 1):
            raise CodegenError(
                UNSUPPORTED_TYPE,
                f"positions of type {type} in a dim of {extent} elements",
                source=op.location.user_text(),
            )

    def value_at(self, i: Index) -> Value:
        """The stored value at heap index ``i``."""
        assert self.values is not None
        elements = self.owner.elements
        return elements.load(self.values, self.owner.place(self.forms, i), Point(self.at))

    def load(self, i: Index) -> tuple[Value, Value | None]:
        """(value, position) at heap index ``i``."""
        elements, place = self.owner.elements, self.owner.place(self.forms, i)
        if self.positions is None:
            return self.value_at(i), None
        position = elements.load(self.positions, place, Point(self.at))
        if not isinstance(position.type, IndexType):
            position = self.kernel.cast("arith.index_cast", position, index)
        if self.values is not None:
            return self.value_at(i), position
        place = self.owner.place(self.forms, position)
        return elements.element(self.owner.op.inputs[0], place, Point(self.at)), position

    def store(self, i: Index, value: Value, position: Value | None) -> None:
        place, point = self.owner.place(self.forms, i), Point(self.at)
        if self.values is not None:
            self.owner.elements.store(value, self.values, place, point)
        if self.positions is not None and position is not None:
            type = element_of(self.owner.op.outputs[1].type)
            if not isinstance(type, IndexType):
                position = self.kernel.cast("arith.index_cast", position, type)
            self.owner.elements.store(position, self.positions, place, point)

    def swap(self, i: Index, j: Index) -> None:
        a, b = self.load(i), self.load(j)
        self.store(i, *b)
        self.store(j, *a)

    def _less(self, a: Value, b: Value) -> Value:
        k = self.kernel
        if not isinstance(self.element, FloatType):
            unsigned = self.element is i1 or (
                isinstance(self.element, IntegerType) and self.element.signedness == "u"
            )
            return k.cmpi("ult" if unsigned else "slt", a, b)
        below = k.cmpf("olt", a, b)
        last = k.binary("arith.andi", k.cmpf("uno", b, b), k.cmpf("ord", a, a))
        return k.binary("arith.ori", below, last)

    def before(self, a: tuple[Value, Value | None], b: tuple[Value, Value | None]) -> Value:
        """Whether pair ``a`` comes before ``b`` in the wanted order."""
        k = self.kernel
        first, second = (b[0], a[0]) if self.descending else (a[0], b[0])
        less = self._less(first, second)
        if a[1] is None or b[1] is None:
            return less
        more = self._less(second, first)
        earlier = k.cmpi("slt", a[1], b[1])
        tie = k.binary("arith.andi", k.binary("arith.xori", more, k.constant(1, i1)), earlier)
        return k.binary("arith.ori", less, tie)

    def sift(self, start: Index, end: Index) -> None:
        """Move the entry at ``start`` down until both its children come before it."""
        k = self.kernel

        def condition(root: Value) -> list[Value]:
            child = k.add(k.mul(root, 2), 1)
            inside = k.compare("slt", child, end)
            left = k.select(inside, k.value(child), root)
            right_raw = k.add(left, 1)
            both = k.binary("arith.andi", inside, k.compare("slt", right_raw, end))
            right = k.select(both, k.value(right_raw), left)
            larger = k.select(self.before(self.load(left), self.load(right)), right, left)
            go = k.binary("arith.andi", inside, self.before(self.load(root), self.load(larger)))
            return [go, root, larger]

        def body(root: Value, larger: Value) -> list[Value]:
            self.swap(root, larger)
            return [larger]

        guard = k.compare("slt", start, end)
        k.if_(guard, lambda: k.while_([k.value(start)], [index, index], condition, body) and None)


def neutral(kind: str, type: Any) -> Any:
    """The number that changes nothing when combined."""
    if kind in ("add", "mul"):
        # -0.0 + x is x for every x, zeros included.
        return (-0.0 if isinstance(type, FloatType) else 0) if kind == "add" else 1
    if isinstance(type, FloatType):
        return float("-inf") if kind == "max" else float("inf")
    width = 64 if isinstance(type, IndexType) else type.width
    if width == 1:
        return int(kind == "max")
    return -(1 << (width - 1)) if kind == "max" else (1 << (width - 1)) - 1


__all__ = ["SEQUENTIAL", "SequentialEmitter", "is_sequential", "serial_axes", "walked_extent"]
