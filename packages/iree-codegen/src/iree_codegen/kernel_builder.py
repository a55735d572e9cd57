"""Builds kernel IR: index arithmetic folded, equal ops shared, invariants hoisted as they are made.

No pass cleans up after the strategies (compile time is most of the budget), so the builder does it while
it builds. Every pure op lands in the outermost block in which its operands exist, where an equal op is
reused. Integers known at compile time stay Python ints until an op needs them as a value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_core_ir.dialects.arith_attributes import constant_attribute
from iree_core_ir.ir.attributes import (
    UNIT,
    Attribute,
    DenseArrayAttr,
    DenseElementsAttr,
    IntegerAttr,
    StringAttr,
    Type,
    TypeAttr,
)
from iree_core_ir.ir.dialect import find_op
from iree_core_ir.ir.location import UNKNOWN, Location
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import (
    DYNAMIC,
    FunctionType,
    MemRefType,
    VectorType,
    element_of,
    i1,
    i32,
    i64,
    index,
)

Index = int | Value
"""An index known at compile time, or computed in the kernel."""

CMPI = ("eq", "ne", "slt", "sle", "sgt", "sge", "ult", "ule", "ugt", "uge")
CMPF = (
    "false", "oeq", "ogt", "oge", "olt", "ole", "one", "ord",
    "ueq", "ugt", "uge", "ult", "ule", "une", "uno", "true",
)  # fmt: skip

ERROR_KIND = "iree.error_kind"


@functools.cache
def op_class(name: str) -> type[Op]:
    """The class of op ``name``, which must exist."""
    found = find_op(name)
    assert found is not None, name
    return found


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


class _Scope:
    """One block under construction and the pure ops made in it."""

    __slots__ = ("block", "known")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.known: dict[Any, Value] = {}


class KernelBuilder:
    """Builds the function ``name``; ``args`` are its block arguments."""

    def __init__(
        self,
        name: str,
        argument_types: Sequence[Type],
        *,
        fma: bool = True,
        private: bool = False,
        attributes: dict[str, Attribute] | None = None,
    ) -> None:
        block = Block(argument_types)
        self.name = name
        self.args: list[Any] = list(block.args)
        self.location: Location = UNKNOWN
        self.fma_available = fma
        self.dim_arguments: dict[int, Value] = {}
        """Dispatch argument number -> kernel value, for dims that are expressions."""
        self.dim_values: dict[Any, Callable[[], Value]] = {}
        """Other scalars that occur in dims, by their value in the dispatch."""
        self._scopes = [_Scope(block)]
        self._depth: dict[Value, int] = {}
        self._offset: dict[Value, tuple[Value, int]] = {}
        self._constant: dict[Value, Any] = {}
        self._asserts = 0
        function_type = TypeAttr(FunctionType(argument_types, ()))
        own: dict[str, Attribute] = {"sym_name": StringAttr(name), "function_type": function_type}
        if private:
            own["sym_visibility"] = StringAttr("private")
        own.update(attributes or {})
        self.func = op_class("func.func")((), (), own, [Region([block])])

    # -- inserting ---------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        return len(self._scopes) - 1

    def effect(
        self,
        name: str,
        operands: Sequence[Value],
        types: Sequence[Type] = (),
        attributes: dict[str, Attribute] | None = None,
        regions: Sequence[Region] = (),
    ) -> Op:
        """Insert an op here; never moved or shared."""
        op = op_class(name)(operands, types, attributes, regions, (), self.location)
        self._scopes[-1].block.append(op)
        depth = len(self._scopes) - 1
        if depth:
            for value in op.results:
                self._depth[value] = depth
        return op

    def pure(
        self,
        name: str,
        operands: tuple[Value, ...],
        type: Type,
        attributes: dict[str, Attribute] | None = None,
        *,
        hoist: bool = True,
    ) -> Value:
        """A pure op with one result: an equal one where it exists, else new in the outermost block."""
        key = (name, operands, type, tuple(attributes.items()) if attributes else None)
        get = self._depth.get
        depth = 0
        for operand in operands:
            own = get(operand, 0)
            if own > depth:
                depth = own
        scopes = self._scopes
        if not hoist:
            for scope in scopes[depth:]:
                found = scope.known.get(key)
                if found is not None:
                    return found
            depth = len(scopes) - 1
        scope = scopes[depth]
        found = scope.known.get(key)
        if found is not None:
            return found
        op = op_class(name)(operands, (type,), attributes, (), (), self.location)
        scope.block.append(op)
        value = op.results[0]
        if depth:
            self._depth[value] = depth
        scope.known[key] = value
        return value

    # -- constants ---------------------------------------------------------------------------

    def constant(self, value: Any, type: Type) -> Value:
        """A number as a scalar or a splat of ``type``."""
        attribute = constant_attribute(value, type)
        result = self.pure("arith.constant", (), type, {"value": attribute})
        self._constant[result] = value
        return result

    def attribute_constant(self, attribute: Any) -> Value:
        """The value of a typed attribute."""
        result = self.pure("arith.constant", (), attribute.type, {"value": attribute})
        if hasattr(attribute, "value"):
            self._constant[result] = attribute.value
        return result

    def constant_of(self, value: Value) -> Any:
        """The number a constant (or a splat of one) holds; None for anything else."""
        return self._constant.get(value)

    def value(self, number: Index) -> Value:
        """An index as a value."""
        return number if isinstance(number, Value) else self.constant(number, index)

    def dim(self, dim: Dim) -> Index:
        """A dim as an index."""
        if isinstance(dim, int):
            return dim
        if dim.kind == "arg":
            return self.dim_arguments[dim.a]
        if dim.kind == "value":
            return self.dim_values[dim.a]()
        a, b = self.dim(dim.a), self.dim(dim.b)
        return _DIM_OPS[dim.kind](self, a, b)

    # -- index arithmetic: operands not negative where division or comparison is involved ---------

    def add(self, a: Index, b: Index) -> Index:
        if isinstance(a, int):
            if isinstance(b, int):
                return a + b
            a, b = b, a
        if isinstance(b, int):
            base, offset = self._offset.get(a, (a, 0))
            offset += b
            if offset == 0:
                return base
            result = self.pure("arith.addi", (base, self.constant(offset, index)), index)
            self._offset[result] = (base, offset)
            return result
        # Offsets travel outwards so that neighbouring addresses share their variable part.
        base_a, offset_a = self._offset.get(a, (a, 0))
        base_b, offset_b = self._offset.get(b, (b, 0))
        if offset_a or offset_b:
            return self.add(self.add(base_a, base_b), offset_a + offset_b)
        # The shallower operands are added first: the sum of invariants is an invariant.
        return self.pure("arith.addi", (a, b), index)

    def sum(self, terms: Sequence[Index]) -> Index:
        """The sum, invariant parts first."""
        constant = sum(t for t in terms if isinstance(t, int))
        values = sorted((t for t in terms if isinstance(t, Value)), key=lambda v: self._depth.get(v, 0))
        result: Index = 0
        for value in values:
            result = self.add(result, value)
        return self.add(result, constant)

    def sub(self, a: Index, b: Index) -> Index:
        if isinstance(b, int):
            return self.add(a, -b)
        if a is b:
            return 0
        return self.pure("arith.subi", (self.value(a), b), index)

    def mul(self, a: Index, b: Index) -> Index:
        if isinstance(a, int):
            if isinstance(b, int):
                return a * b
            a, b = b, a
        if isinstance(b, int):
            if b == 0:
                return 0
            if b == 1:
                return a
            base, offset = self._offset.get(a, (a, 0))
            if offset:
                return self.add(self.mul(base, b), offset * b)
            return self.pure("arith.muli", (a, self.constant(b, index)), index)
        return self.pure("arith.muli", (a, b), index)

    def floordiv(self, a: Index, b: Index) -> Index:
        return self._divide("arith.divui", a, b, lambda x, y: x // y)

    def ceildiv(self, a: Index, b: Index) -> Index:
        if b == 1:
            return a
        return self.floordiv(self.add(a, self.sub(b, 1)), b)

    def mod(self, a: Index, b: Index) -> Index:
        return 0 if b == 1 else self._divide("arith.remui", a, b, lambda x, y: x % y)

    def _divide(self, name: str, a: Index, b: Index, fold: Callable[[int, int], int]) -> Index:
        if isinstance(b, int):
            if b == 1:
                return a
            if isinstance(a, int) and b > 0:
                return fold(a, b)
            return self.pure(name, (self.value(a), self.constant(b, index)), index)
        # A variable divisor may be zero where this is not reached: stay in place.
        return self.pure(name, (self.value(a), b), index, hoist=False)

    def min(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return a if a is b else self.pure("arith.minsi", (self.value(a), self.value(b)), index)

    def max(self, a: Index, b: Index) -> Index:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return a if a is b else self.pure("arith.maxsi", (self.value(a), self.value(b)), index)

    def compare(self, predicate: str, a: Index, b: Index) -> Value:
        """Comparison of indices as i1."""
        return self.cmpi(predicate, self.value(a), self.value(b))

    # -- arithmetic --------------------------------------------------------------------------

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
        scope = _Scope(block)
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
        self._scopes.append(_Scope(block))
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
            self._scopes.append(_Scope(block))
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
        from iree_core_ir.ir.attributes import Attribute as _Attribute

        attributes: dict[str, _Attribute] = {
            "isWrite": IntegerAttr(int(write), i1),
            "localityHint": IntegerAttr(locality, i32),
            "isDataCache": IntegerAttr(1, i1),
        }
        self.effect("memref.prefetch", (memory, self.value(at)), (), attributes)

    def finish(self) -> Op:
        """End the function; returns it."""
        self.effect("func.return", ())
        return self.func

    def element_type(self, value: Value) -> Type:
        return element_of(value.type)


_DIM_OPS: dict[str, Callable[[KernelBuilder, Index, Index], Index]] = {
    "add": KernelBuilder.add,
    "sub": KernelBuilder.sub,
    "mul": KernelBuilder.mul,
    "floordiv": KernelBuilder.floordiv,
    "ceildiv": KernelBuilder.ceildiv,
    "mod": KernelBuilder.mod,
    "min": KernelBuilder.min,
    "max": KernelBuilder.max,
}
assert set(_DIM_OPS) == set(dim_ops.COMBINE)

__all__ = ["ERROR_KIND", "UNIT", "Index", "KernelBuilder", "lanes_of", "memref_of", "op_class", "vector_of"]
