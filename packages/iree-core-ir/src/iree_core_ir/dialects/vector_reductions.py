"""``vector`` ops that combine elements: reductions, outer products, contractions, scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.linalg_text import parse_trait, trait_text
from iree_core_ir.dialects.vector_attributes import CombiningKindAttr, IteratorTypeAttr
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.attributes import (
    AffineMapAttr,
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    IntegerAttr,
    Type,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    optional_operand,
    result,
)
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import FloatType, VectorType, element_of, i1, i64

ADD = CombiningKindAttr("add")
FLOAT_KINDS = ("add", "mul", "minnumf", "maxnumf", "minimumf", "maximumf")
INTEGER_KINDS = ("add", "mul", "minui", "minsi", "maxui", "maxsi", "and", "or", "xor")


def _check_kind(op: Op, kind: CombiningKindAttr, type: Type) -> None:
    allowed = FLOAT_KINDS if isinstance(element_of(type), FloatType) else INTEGER_KINDS
    if kind.value not in allowed:
        raise VerifyError(op, f"kind '{kind.value}' does not combine {type}")


class Reduction(Op, name="vector.reduction", traits=(PURE,)):
    """All elements of a 1-D (or 0-D) vector, and ``acc`` first if given, combined to a scalar."""

    kind = attribute(CombiningKindAttr)
    vector = operand(VectorType)
    acc = optional_operand()
    fastmath = optional_attribute(Attribute)
    dest = result()

    @classmethod
    def make(cls, kind: str, vector: Value, acc: Value | None = None) -> Self:
        operands = [vector] if acc is None else [vector, acc]
        return cls(operands, [vector.type.element_type], {"kind": CombiningKindAttr(kind)})

    @classmethod
    def parse(cls, p: Any) -> Self:
        from iree_core_ir.dialects.arith_attributes import FastMathAttr

        kind = CombiningKindAttr.parse_parameters(p)
        p.expect(",")
        names = p.operand_names()
        attributes: dict[str, Attribute] = {"kind": kind}
        if p.accept("fastmath"):
            attributes["fastmath"] = FastMathAttr.parse_parameters(p)
        attributes.update(p.attribute_dict())
        p.expect(":")
        type = p.type()
        p.expect("into")
        dest = p.type()
        if not 1 <= len(names) <= 2:
            p.fail_at_previous("takes a vector and an optional accumulator")
        return cls(p.resolve_all(names, [type, dest][: len(names)]), [dest], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {self.kind.print_parameters(printer)}, {printer.names(self.operands)}")
        fastmath: Any = self.fastmath
        if fastmath is not None:
            printer.write(f" fastmath{fastmath.print_parameters(printer)}")
        printer.attribute_dict(self.attributes, ("kind", "fastmath"))
        printer.write(f" : {printer.text(self.vector.type)} into {printer.text(self.dest.type)}")

    def verify_op(self) -> None:
        type = self.vector.type
        if type.rank > 1:
            raise VerifyError(self, f"reduces 1-D vectors, got {type}")
        _check_kind(self, self.kind, type)
        if self.dest.type is not type.element_type or (
            self.acc is not None and self.acc.type is not self.dest.type
        ):
            raise VerifyError(self, f"accumulator and result must be {type.element_type}")


class MultiReduction(Op, name="vector.multi_reduction", traits=(PURE,)):
    """The dims ``reduction_dims`` combined into ``acc``."""

    kind = attribute(CombiningKindAttr)
    source = operand(VectorType)
    acc = operand()
    reduction_dims = attribute(DenseArrayAttr, type=i64)
    dest = result()
    assembly_format = (
        "$kind `,` $source `,` $acc attr-dict $reduction_dims `:` type($source) `to` type($dest)"
    )

    @classmethod
    def make(cls, kind: str, source: Value, acc: Value, dims: Sequence[int]) -> Self:
        attributes: dict[str, Attribute] = {
            "kind": CombiningKindAttr(kind),
            "reduction_dims": DenseArrayAttr(i64, dims),
        }
        return cls([source, acc], [acc.type], attributes)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["acc"] = types["dest"]

    def verify_op(self) -> None:
        type, dims = self.source.type, self.reduction_dims.values
        if any(not 0 <= d < type.rank for d in dims) or len(set(dims)) != len(dims):
            raise VerifyError(self, f"reduction dims {list(dims)} of {type}")
        kept = [size for i, size in enumerate(type.shape) if i not in dims]
        expected = VectorType(kept, type.element_type) if kept else type.element_type
        if self.dest.type is not expected or self.acc.type is not expected:
            raise VerifyError(self, f"accumulator and result must be {expected}, got {self.dest.type}")
        _check_kind(self, self.kind, type)


class OuterProduct(Op, name="vector.outerproduct", traits=(PURE,)):
    """``lhs[i] * rhs[j]`` (``lhs[i] * rhs`` for a scalar), combined with ``acc`` when given."""

    lhs = operand(VectorType)
    rhs = operand()
    acc = optional_operand(VectorType)
    kind = optional_attribute(CombiningKindAttr, default=ADD)
    result = result(VectorType)

    @classmethod
    def make(cls, lhs: Value, rhs: Value, acc: Value | None = None, kind: str = "add") -> Self:
        attributes: dict[str, Attribute] = {} if kind == "add" else {"kind": CombiningKindAttr(kind)}
        operands = [lhs, rhs] if acc is None else [lhs, rhs, acc]
        return cls(operands, [_outer_type(lhs.type, rhs.type)], attributes)

    @classmethod
    def parse(cls, p: Any) -> Self:
        names = p.operand_names()
        attributes = p.attribute_dict()
        p.expect(":")
        lhs = p.type()
        p.expect(",")
        rhs = p.type()
        type = _outer_type(lhs, rhs)
        if not 2 <= len(names) <= 3:
            p.fail_at_previous("takes two factors and an optional accumulator")
        return cls(p.resolve_all(names, [lhs, rhs, type][: len(names)]), [type], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.names(self.operands)}")
        printer.attribute_dict({k: v for k, v in self.attributes.items() if v is not ADD})
        printer.write(f" : {printer.text(self.lhs.type)}, {printer.text(self.rhs.type)}")

    def verify_op(self) -> None:
        a, b = self.lhs.type, self.rhs.type
        if a.rank != 1 or (isinstance(b, VectorType) and b.rank != 1) or a.element_type is not element_of(b):
            raise VerifyError(
                self, f"takes a 1-D vector and a vector or scalar of its elements, got {a}, {b}"
            )
        expected = _outer_type(a, b)
        if self.result.type is not expected or (self.acc is not None and self.acc.type is not expected):
            raise VerifyError(self, f"accumulator and result must be {expected}")
        if self.kind is not None:
            _check_kind(self, self.kind, a)


def _outer_type(lhs: Any, rhs: Any) -> VectorType:
    shape = rhs.shape if isinstance(rhs, VectorType) else ()
    return VectorType((*lhs.shape, *shape), lhs.element_type)


class Contract(Op, name="vector.contract", traits=(PURE,)):
    """Products of elements of ``lhs`` and ``rhs`` combined into ``acc`` along the reduction iterators."""

    lhs = operand(VectorType)
    rhs = operand(VectorType)
    acc = operand()
    maps = attribute(ArrayAttr, key="indexing_maps")
    iterators = attribute(ArrayAttr, key="iterator_types")
    kind = optional_attribute(CombiningKindAttr, default=ADD)
    result = result()

    @classmethod
    def make(
        cls,
        lhs: Value,
        rhs: Value,
        acc: Value,
        maps: Sequence[AffineMap],
        iterators: Sequence[str],
        kind: str = "add",
    ) -> Self:
        attributes: dict[str, Attribute] = {
            "indexing_maps": ArrayAttr([AffineMapAttr(m) for m in maps]),
            "iterator_types": ArrayAttr([IteratorTypeAttr(i) for i in iterators]),
            "kind": CombiningKindAttr(kind),
        }
        return cls([lhs, rhs, acc], [acc.type], attributes)

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        return tuple(m.value for m in self.maps if isinstance(m, AffineMapAttr))

    @property
    def iterator_types(self) -> tuple[str, ...]:
        return tuple(i.value for i in self.iterators if isinstance(i, IteratorTypeAttr))

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes = parse_trait(p, IteratorTypeAttr)
        attributes.setdefault("kind", ADD)
        names = p.operand_names()
        attributes.update(p.attribute_dict())
        p.expect(":")
        lhs = p.type()
        p.expect(",")
        rhs = p.type()
        p.expect("into")
        type = p.type()
        return cls(p.resolve_all(names, [lhs, rhs, type]), [type], attributes)

    def print(self, printer: Any) -> None:
        trait = ("indexing_maps", "iterator_types", "kind")
        printer.write(f" {trait_text(printer, self, trait)} {printer.names(self.operands)}")
        printer.attribute_dict(self.attributes, trait)
        printer.write(f" : {printer.types((self.lhs, self.rhs))} into {printer.text(self.acc.type)}")

    def verify_op(self) -> None:
        maps, iterators = self.indexing_maps, self.iterator_types
        if len(maps) != 3 or len(iterators) != len(self.iterators):
            raise VerifyError(self, "needs three indexing maps, and parallel or reduction iterators")
        sizes: dict[int, int] = {}
        for value, map in zip(self.operands, maps, strict=True):
            shape = value.type.shape if isinstance(value.type, VectorType) else ()
            if map.n_dims != len(iterators) or len(map.results) != len(shape):
                raise VerifyError(self, f"{map} does not fit {value.type} and {len(iterators)} iterators")
            if not map.is_projected_permutation:
                raise VerifyError(self, f"{map} is no projected permutation")
            for expr, size in zip(map.results, shape, strict=True):
                if isinstance(expr, AffineDim) and sizes.setdefault(expr.position, size) != size:
                    raise VerifyError(
                        self, f"iterator {expr.position} has sizes {sizes[expr.position]} and {size}"
                    )
        kept = set(maps[2].dim_positions())
        for i, kind in enumerate(iterators):
            if (kind == "parallel") != (i in kept):
                raise VerifyError(self, f"iterator {i} is {kind}, which the accumulator's map contradicts")
        if self.result.type is not self.acc.type:
            raise VerifyError(self, "the result must have the accumulator's type")
        if self.kind is not None:
            _check_kind(self, self.kind, self.acc.type)


class Scan(Op, name="vector.scan", traits=(PURE,)):
    """Running combination along a dim: all prefixes, and the total.

    Inclusive: element ``i`` combines ``initial_value`` never, elements ``0..i``; exclusive: starts with
    ``initial_value`` and combines elements below ``i``.
    """

    kind = attribute(CombiningKindAttr)
    source = operand(VectorType)
    initial_value = operand(VectorType)
    reduction_dim = attribute(IntegerAttr)
    inclusive = attribute(IntegerAttr)
    dest = result(VectorType)
    accumulated_value = result(VectorType)
    assembly_format = (
        "$kind `,` $source `,` $initial_value attr-dict `:` type($source) `,` type($initial_value)"
    )

    @classmethod
    def make(cls, kind: str, source: Value, initial: Value, dim: int, inclusive: bool) -> Self:
        attributes: dict[str, Attribute] = {
            "kind": CombiningKindAttr(kind),
            "reduction_dim": IntegerAttr(dim, i64),
            "inclusive": IntegerAttr(inclusive, i1),
        }
        return cls([source, initial], [source.type, initial.type], attributes)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["dest"] = types["source"]
        types["accumulated_value"] = types["initial_value"]

    def verify_op(self) -> None:
        type, dim = self.source.type, self.reduction_dim.value
        if not 0 <= dim < type.rank:
            raise VerifyError(self, f"dim {dim} of {type}")
        expected = VectorType([s for i, s in enumerate(type.shape) if i != dim], type.element_type)
        if self.initial_value.type is not expected or self.accumulated_value.type is not expected:
            raise VerifyError(self, f"initial and accumulated value must be {expected}")
        if self.dest.type is not type:
            raise VerifyError(self, f"the result must be {type}")
        _check_kind(self, self.kind, type)
