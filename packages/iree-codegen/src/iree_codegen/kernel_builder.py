"""Builds kernel IR: index arithmetic folded, equal ops shared, invariants hoisted as they are made.

No pass cleans up after the strategies (compile time is most of the budget), so the builder does it while
it builds (``index_builder``). Here are the ops of kernels: arithmetic, vectors, memory, control.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.index_builder import Index, IndexBuilder, Scope, op_class
from iree_core_ir.ir.attributes import (
    Attribute,
    DenseArrayAttr,
    DenseElementsAttr,
    IntegerAttr,
    StringAttr,
    Type,
)
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import (
    DYNAMIC,
    MemRefType,
    VectorType,
    i1,
    i32,
    i64,
    index,
)

CMPI = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
CMPF = (
    "false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord",
    "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true",
)  # fmt: skip

ERROR_KIND = "iree.error_kind"


def vector_of(lanes: int, element: Type) -> Type:
    """``vector<lanes x element>``; the scalar type for one lane."""
    return element if lanes == 1 else VectorType((lanes,), element)


def memref_of(element: Type) -> MemRefType:
    """Flat memory of ``element``: how kernels see bindings and scratch."""
    return MemRefType((DYNAMIC,), element)


def lanes_of(value: Value) -> int:
    """Vector lanes of a value; 1 for a scalar."""
    type = value.type
    return type.shape[0] if isinstance(type, VectorType) else 1


class KernelBuilder(IndexBuilder):
    """Builds the function ``name`` of arithmetic, vectors, memory and control."""

    # -- arithmetic --------------------------------------------------------------------------

    def compare(self, predicate: str, a: Index, b: Index) -> Value:
        """Comparison of indices as i1."""
        return self.cmpi(predicate, self.value(a), self.value(b))

    def binary(self, name: str, a: Value, b: Value, *, hoist: bool = True) -> Value:
        """``arith``/``math`` op of two values of one type; a scalar is broadcast to the other's lanes."""
        a, b = self.same_lanes(a, b)
        return self.pure(name, (a, b), a.type, hoist=hoist)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c: rounded once where the target can, else twice."""
        a, b, c = self.same_lanes(a, b, c)
        if self.fma_available:
            return self.pure("math.fma", (a, b, c), a.type)
        return self.pure("arith.addf", (self.pure("arith.mulf", (a, b), a.type), c), a.type)

    def cmpi(self, predicate: str, a: Value, b: Value) -> Value:
        a, b = self.same_lanes(a, b)
        attribute = IntegerAttr(CMPI.index(predicate), i64)
        return self.pure("arith.cmpi", (a, b), vector_of(lanes_of(a), i1), {"predicate": attribute})

    def cmpf(self, predicate: str, a: Value, b: Value) -> Value:
        a, b = self.same_lanes(a, b)
        attribute = IntegerAttr(CMPF.index(predicate), i64)
        return self.pure("arith.cmpf", (a, b), vector_of(lanes_of(a), i1), {"predicate": attribute})

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        if lanes_of(condition) > 1:
            condition, a, b = self.same_lanes(condition, a, b)
        else:
            a, b = self.same_lanes(a, b)
        return self.pure("arith.select", (condition, a, b), a.type)

    def cast(self, name: str, value: Value, element: Type) -> Value:
        """``arith`` cast to ``element``, lanes kept."""
        return self.pure(name, (value,), vector_of(lanes_of(value), element))

    # -- vectors -----------------------------------------------------------------------------

    def splat(self, value: Value, lanes: int) -> Value:
        """A scalar in every lane; a vector of that many lanes itself."""
        if lanes == 1 or isinstance(value.type, VectorType):
            return value
        known = self._constant.get(value)
        if known is not None:
            return self.constant(known, VectorType((lanes,), value.type))
        return self.pure("vector.broadcast", (value,), VectorType((lanes,), value.type))

    def same_lanes(self, *values: Value) -> tuple[Value, ...]:
        """Scalars among vectors broadcast."""
        lanes = max(lanes_of(v) for v in values)
        if lanes == 1 or all(isinstance(v.type, VectorType) for v in values):
            return values
        return tuple(self.splat(v, lanes) for v in values)

    def lane_numbers(self, lanes: int, element: Type, step: int = 1) -> Value:
        """0, step, 2 * step ... as a vector of ``element``."""
        import numpy as np

        type: Any = VectorType((lanes,), element)
        width = 64 if element is index else element.width  # type: ignore[attr-defined]
        values = (np.arange(lanes) * step).astype(f"int{width}")
        return self.pure(
            "arith.constant", (), type, {"value": DenseElementsAttr(type, values.tobytes(), False)}
        )

    def mask_below(self, count: Index, lanes: int) -> Value:
        """Lanes whose number is below ``count``."""
        if isinstance(count, int):
            return self.lane_mask([i < count for i in range(lanes)])
        limit = self.pure("arith.index_cast", (count,), i32)
        return self.cmpi("slt", self.lane_numbers(lanes, i32), self.splat(limit, lanes))

    def lane_mask(self, lanes: Sequence[bool]) -> Value:
        """A constant mask."""
        data = bytes(int(lane) for lane in lanes)
        type: Any = VectorType((len(lanes),), i1)
        splat = len(set(data)) == 1
        attribute = DenseElementsAttr(type, data[:1] if splat else data, splat)
        return self.pure("arith.constant", (), type, {"value": attribute})

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes picked from ``a`` then ``b``."""
        type = VectorType((len(lanes),), a.type.element_type)
        return self.pure("vector.shuffle", (a, b), type, {"mask": DenseArrayAttr(i64, tuple(lanes))})

    def extract(self, value: Value, lane: int) -> Value:
        """One lane as a scalar."""
        attribute = DenseArrayAttr(i64, (lane,))
        return self.pure("vector.extract", (value,), value.type.element_type, {"static_position": attribute})

    def insert(self, scalar: Value, vector: Value, lane: int) -> Value:
        """``vector`` with one lane replaced."""
        attribute = DenseArrayAttr(i64, (lane,))
        return self.pure("vector.insert", (scalar, vector), vector.type, {"static_position": attribute})

    def all_lanes(self, mask: Value) -> Value:
        """True when every lane is."""
        return self.reduction("and", mask)

    def reduction(self, kind: str, value: Value) -> Value:
        """All lanes combined: ``add mul and or xor minsi maxsi minui maxui minimumf maximumf``."""
        from iree_core_ir.dialects.vector_attributes import CombiningKindAttr

        element = value.type.element_type
        return self.pure("vector.reduction", (value,), element, {"kind": CombiningKindAttr(kind)})

    # -- memory ------------------------------------------------------------------------------

    def load(self, memory: Value, at: Index) -> Value:
        """One element."""
        return self.effect("memref.load", (memory, self.value(at)), (memory.type.element_type,)).results[0]

    def store(self, value: Value, memory: Value, at: Index) -> None:
        self.effect("memref.store", (value, memory, self.value(at)))

    def vload(
        self, memory: Value, at: Index, lanes: int, mask: Value | None = None, other: Value | None = None
    ) -> Value:
        """``lanes`` consecutive elements; where ``mask`` is false ``other`` (0) is taken and nothing read."""
        if lanes == 1:
            return self.load(memory, at)
        type = VectorType((lanes,), memory.type.element_type)
        if mask is None:
            return self.effect("vector.load", (memory, self.value(at)), (type,)).results[0]
        passed = self.constant(0, type) if other is None else self.splat(other, lanes)
        operands = (memory, self.value(at), mask, passed)
        return self.effect("vector.maskedload", operands, (type,)).results[0]

    def vstore(self, value: Value, memory: Value, at: Index, mask: Value | None = None) -> None:
        """Store consecutive elements (those where ``mask`` is true)."""
        if not isinstance(value.type, VectorType):
            self.store(value, memory, at)
        elif mask is None:
            self.effect("vector.store", (value, memory, self.value(at)))
        else:
            self.effect("vector.maskedstore", (memory, self.value(at), mask, value))

    def gather(
        self, memory: Value, at: Index, offsets: Value, mask: Value | None = None, other: Value | None = None
    ) -> Value:
        """Elements at ``at + offsets[lane]``."""
        lanes = lanes_of(offsets)
        type = VectorType((lanes,), memory.type.element_type)
        mask = self.mask_below(lanes, lanes) if mask is None else mask
        passed = self.constant(0, type) if other is None else self.splat(other, lanes)
        operands = (memory, self.value(at), offsets, mask, passed)
        return self.effect("vector.gather", operands, (type,)).results[0]

    def view(self, memory: Value, byte_offset: Index, n_elements: Index, element: Type) -> Value:
        """Bytes from ``byte_offset`` on as ``n_elements`` elements."""
        operands = (memory, self.value(byte_offset), self.value(n_elements))
        return self.pure("memref.view", operands, memref_of(element))

    def allocate(self, type: MemRefType) -> Value:
        """Fresh memory of static extent, at the top of the function."""
        segments = DenseArrayAttr(i32, (0, 0))
        attributes: dict[str, Attribute] = {"operandSegmentSizes": segments}
        op = op_class("memref.alloca")((), (type,), attributes, (), (), self.location)
        self._scopes[0].block.append(op)
        return op.results[0]

    # -- words that workgroups share ----------------------------------------------------------

    def word(self, words: Value, at: Index) -> Value:
        """A word of the workspace, as an index."""
        loaded = self.effect("sync.load", (words, self.value(at)), (i64,)).results[0]
        return self.effect("arith.index_cast", (loaded,), (index,)).results[0]

    def set_word(self, words: Value, at: Index, new: Index) -> None:
        self.effect("sync.store", (words, self.value(at), self._as_word(new)))

    def exchange_word(self, words: Value, at: Index, old: Index, new: Index) -> Value:
        """True for the one thread that turned ``old`` into ``new``."""
        operands = (words, self.value(at), self._as_word(old), self._as_word(new))
        return self.effect("sync.exchange", operands, (i1,)).results[0]

    def _as_word(self, number: Index) -> Value:
        return self.pure("arith.index_cast", (self.value(number),), i64)

    def pause(self) -> None:
        """Tell the core that this thread waits."""
        self.effect("sync.pause", ())

    # -- control -----------------------------------------------------------------------------

    def loop(
        self,
        lower: Index,
        upper: Index,
        step: Index,
        inits: Sequence[Value],
        body: Callable[..., Sequence[Value] | None],
    ) -> list[Value]:
        """``for i in range(lower, upper, step)``: ``body(i, *carried)`` returns the next carried values.

        A loop that runs once (or never) by its static bounds is not made at all.
        """
        if isinstance(lower, int) and isinstance(upper, int) and isinstance(step, int):
            if lower >= upper:
                return list(inits)
            if lower + step >= upper:
                return list(body(lower, *inits) or ())
        types = [v.type for v in inits]
        block = Block([index, *types])
        operands = (self.value(lower), self.value(upper), self.value(step), *inits)
        scope = Scope(block)
        self._scopes.append(scope)
        depth = len(self._scopes) - 1
        for argument in block.args:
            self._depth[argument] = depth
        results = list(body(block.args[0], *block.args[1:]) or ())
        self.effect("scf.yield", results)
        self._scopes.pop()
        return list(self.effect("scf.for", operands, types, None, [Region([block])]).results)

    def if_(
        self,
        condition: Value,
        then: Callable[[], Sequence[Value] | None],
        otherwise: Callable[[], Sequence[Value] | None] | None = None,
    ) -> list[Value]:
        """Run one branch; both return values of the same types."""
        first, results = self._branch(then)
        types = [v.type for v in results]
        regions = [Region([first]), Region()]
        if otherwise is not None:
            second, _ = self._branch(otherwise)
            regions[1] = Region([second])
        return list(self.effect("scf.if", (condition,), types, None, regions).results)

    def _branch(self, body: Callable[[], Sequence[Value] | None]) -> tuple[Block, list[Value]]:
        block = Block()
        self._scopes.append(Scope(block))
        results = list(body() or ())
        self.effect("scf.yield", results)
        self._scopes.pop()
        return block, results

    def while_(
        self,
        inits: Sequence[Value],
        types: Sequence[Type],
        before: Callable[..., Sequence[Value]],
        after: Callable[..., Sequence[Value]],
    ) -> list[Value]:
        """``before(*carried)`` gives the condition and what it passes on; ``after`` the next values."""
        blocks = []
        for argument_types, body, terminator in (
            ([v.type for v in inits], before, "scf.condition"),
            (list(types), after, "scf.yield"),
        ):
            block = Block(argument_types)
            self._scopes.append(Scope(block))
            depth = len(self._scopes) - 1
            for argument in block.args:
                self._depth[argument] = depth
            self.effect(terminator, list(body(*block.args)))
            self._scopes.pop()
            blocks.append(block)
        regions = [Region([b]) for b in blocks]
        return list(self.effect("scf.while", list(inits), types, None, regions).results)

    def call(self, callee: KernelBuilder, operands: Sequence[Index], name: str | None = None) -> None:
        """Call a private function of the module."""
        from iree_core_ir.ir.attributes import SymbolRefAttr

        attributes: dict[str, Attribute] = {"callee": SymbolRefAttr(name or callee.name)}
        self.effect("func.call", [self.value(o) for o in operands], (), attributes)

    def check(self, condition: Value, kind: int, message: str) -> None:
        """Stop the dispatch with error ``kind`` (see the dispatch ABI) when ``condition`` is false."""
        kind_attribute = IntegerAttr(kind, i32)
        self.effect("cf.assert", (condition,), (), {"msg": StringAttr(message), ERROR_KIND: kind_attribute})

    def prefetch(self, memory: Value, at: Index, *, write: bool = False, locality: int = 3) -> None:
        """Hint that the line of ``memory[at]`` is needed soon."""
        attributes: dict[str, Attribute] = {
            "isWrite": IntegerAttr(int(write), i1),
            "localityHint": IntegerAttr(locality, i32),
            "isDataCache": IntegerAttr(1, i1),
        }
        self.effect("memref.prefetch", (memory, self.value(at)), (), attributes)

    def finish(self) -> Op:
        """End the function; returns it."""
        self.effect("func.return", ())
        return self.func


__all__ = ["ERROR_KIND", "Index", "KernelBuilder", "lanes_of", "memref_of", "op_class", "vector_of"]
