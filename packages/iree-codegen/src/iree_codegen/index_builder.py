"""How ops of a kernel come to be: shared and hoisted as they are made, with index arithmetic folded.

Every pure op lands in the outermost block in which its operands exist, where an equal op is reused. Integers
known at compile time stay Python ints until an op needs them as a value.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_core_ir.dialects.arith_attributes import constant_attribute
from iree_core_ir.ir.attributes import Attribute, StringAttr, Type, TypeAttr
from iree_core_ir.ir.dialect import find_op
from iree_core_ir.ir.location import UNKNOWN, Location
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import FunctionType, index

Index = int | Value
"""An index known at compile time, or computed in the kernel."""


@functools.cache
def op_class(name: str) -> type[Op]:
    """The class of op ``name``, which must exist."""
    found = find_op(name)
    assert found is not None, name
    return found


class Scope:
    """One block under construction and the pure ops made in it."""

    __slots__ = ("block", "known")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.known: dict[Any, Value] = {}


class IndexBuilder:
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
        self._scopes = [Scope(block)]
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


_DIM_OPS: dict[str, Callable[[IndexBuilder, Index, Index], Index]] = {
    "add": IndexBuilder.add,
    "sub": IndexBuilder.sub,
    "mul": IndexBuilder.mul,
    "floordiv": IndexBuilder.floordiv,
    "ceildiv": IndexBuilder.ceildiv,
    "mod": IndexBuilder.mod,
    "min": IndexBuilder.min,
    "max": IndexBuilder.max,
}
assert set(_DIM_OPS) == set(dim_ops.COMBINE)

__all__ = ["Index", "IndexBuilder", "Scope", "op_class"]
