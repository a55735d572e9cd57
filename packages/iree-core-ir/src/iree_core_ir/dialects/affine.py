"""``affine``: index arithmetic through affine maps (``apply``, ``min``, ``max`` and (de)linearization)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.mixed import DYNAMIC_INDEX, Mixed, dynamic_part, join, static_part
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineMap, AffineSymbol
from iree_core_ir.ir.attributes import (
    UNIT,
    AffineMapAttr,
    Attribute,
    DenseArrayAttr,
    IntegerAttr,
    Type,
    UnitAttr,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    result,
    segment_sizes,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import i64, index


class _MapOp(Op, traits=(PURE,)):
    map = attribute(AffineMapAttr)
    map_operands = variadic_operand(index)
    result = result(index)

    @classmethod
    def make(cls, map: AffineMap, operands: Sequence[Value]) -> Self:
        """``operands``: the map's dims, then its symbols."""
        return cls(operands, (index,), {"map": AffineMapAttr(map)})

    @classmethod
    def parse(cls, p: Any) -> Self:
        attribute = p.attribute()
        if not isinstance(attribute, AffineMapAttr):
            p.fail_at_previous("expected an affine map")
        names = p.comma_list(p.operand_name)
        n_dims = len(names)
        if p.at("["):
            names += p.comma_list(p.operand_name, "[", "]")
        map: AffineMap = attribute.value
        if (n_dims, len(names) - n_dims) != (map.n_dims, map.n_symbols):
            p.fail_at_previous(f"the map takes {map.n_dims} dims and {map.n_symbols} symbols")
        attributes = p.attribute_dict()
        attributes["map"] = attribute
        return cls(p.resolve_all(names, [index] * len(names)), (index,), attributes)

    def print(self, printer: Any) -> None:
        n_dims = self.affine_map.n_dims
        dims, symbols = self.operands[:n_dims], self.operands[n_dims:]
        printer.write(f" {printer.text(self.map)}({printer.names(dims)})")
        if symbols:
            printer.write(f"[{printer.names(symbols)}]")
        printer.attribute_dict(self.attributes, ("map",))

    def verify_op(self) -> None:
        map = self.affine_map
        if len(self.operands) != map.n_dims + map.n_symbols:
            raise VerifyError(self, f"the map takes {map.n_dims} dims and {map.n_symbols} symbols")
        if not map.results:
            raise VerifyError(self, "the map has no results")

    @property
    def affine_map(self) -> AffineMap:
        map: AffineMap = self.map.value
        return map


class Apply(_MapOp, name="affine.apply"):
    """The map's only result."""

    def fold(self, constants: Sequence[Attribute | None]) -> Sequence[Value | Attribute] | None:
        """A constant, or the operand that the map picks."""
        map = self.affine_map
        result = map.results[0]
        if isinstance(result, AffineConstant):
            return [IntegerAttr(result.value, index)]
        if isinstance(result, AffineDim):
            return [self.operands[result.position]]
        if isinstance(result, AffineSymbol):
            return [self.operands[map.n_dims + result.position]]
        return None

    def verify_op(self) -> None:
        super().verify_op()
        if len(self.affine_map.results) != 1:
            raise VerifyError(self, "the map must have one result")


class Min(_MapOp, name="affine.min"):
    """The smallest of the map's results."""


class Max(_MapOp, name="affine.max"):
    """The largest of the map's results."""


class _BasisOp(Op):
    @staticmethod
    def parse_Basis(p: Any) -> tuple[list[str], DenseArrayAttr]:
        names: list[str] = []
        static: list[int] = []

        def entry() -> None:
            if p.kind == "value":
                names.append(p.operand_name())
                static.append(DYNAMIC_INDEX)
            else:
                static.append(p.integer())

        p.comma_list(entry)
        return names, DenseArrayAttr(i64, static)

    @staticmethod
    def print_Basis(printer: Any, op: Op, dynamic: Sequence[Value], static: DenseArrayAttr) -> None:
        entries = [m if isinstance(m, int) else printer.name(m) for m in join(static.values, dynamic)]
        printer.write(f"({', '.join(map(str, entries))})")


class DelinearizeIndex(_BasisOp, name="affine.delinearize_index", traits=(PURE,)):
    """Splits a linear index into coordinates over ``basis``, slowest first.

    Without an outer bound (one basis element fewer than results) the first result is unbounded.
    """

    linear_index = operand(index)
    dynamic_basis = variadic_operand(index)
    static_basis = attribute(DenseArrayAttr)
    multi_index = variadic_result(index)
    assembly_format = (
        "$linear_index `into` custom<Basis>($dynamic_basis, $static_basis) attr-dict `:` type($multi_index)"
    )

    @classmethod
    def make(cls, linear_index: Value, basis: Sequence[Mixed], outer_bound: bool = True) -> Self:
        n_results = len(basis) if outer_bound else len(basis) + 1
        return cls(
            (linear_index, *dynamic_part(basis)), [index] * n_results, {"static_basis": static_part(basis)}
        )

    @property
    def basis(self) -> tuple[Mixed, ...]:
        return join(self.static_basis.values, self.dynamic_basis)

    @property
    def has_outer_bound(self) -> bool:
        return len(self.static_basis) == len(self.results)


class LinearizeIndex(_BasisOp, name="affine.linearize_index", traits=(PURE,)):
    """Combines coordinates over ``basis`` (slowest first) into one index; the inverse of delinearize."""

    multi_index = variadic_operand(index)
    dynamic_basis = variadic_operand(index)
    static_basis = attribute(DenseArrayAttr)
    disjoint = optional_attribute(UnitAttr)
    linear_index = result(index)
    assembly_format = (
        "(`disjoint` $disjoint^)? ` ` `[` $multi_index `]` `by` "
        "custom<Basis>($dynamic_basis, $static_basis) attr-dict `:` type($linear_index)"
    )

    @classmethod
    def make(cls, multi_index: Sequence[Value], basis: Sequence[Mixed], disjoint: bool = False) -> Self:
        """``disjoint``: every coordinate is within its bound."""
        dynamic = dynamic_part(basis)
        attributes: dict[str, Attribute] = {
            "static_basis": static_part(basis),
            "operandSegmentSizes": segment_sizes(multi_index, dynamic),
        }
        if disjoint:
            attributes["disjoint"] = UNIT
        return cls((*multi_index, *dynamic), (index,), attributes)

    @property
    def basis(self) -> tuple[Mixed, ...]:
        return join(self.static_basis.values, self.dynamic_basis)


def materialize_constant(value: Attribute, type: Type) -> Op:
    """arith's constant."""
    from iree_core_ir.dialects import arith

    return arith.materialize_constant(value, type)


DIALECT = Dialect(
    "affine",
    ops=[Apply, DelinearizeIndex, LinearizeIndex, Max, Min],
    materialize_constant=materialize_constant,
)
