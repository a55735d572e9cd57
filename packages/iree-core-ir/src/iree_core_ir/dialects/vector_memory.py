"""``vector`` ops that read and write memory (memrefs), and transfers that also work on tensors.

Loads and stores must stay in bounds; masked-off lanes touch nothing. Transfers read ``padding`` and write
nothing out of bounds along dims not declared ``in_bounds``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.effects import TensorOrMemRefOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineMap
from iree_core_ir.ir.attributes import (
    AffineMapAttr,
    ArrayAttr,
    Attribute,
    IntegerAttr,
    Type,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    optional_operand,
    result,
    segment_sizes,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE, READS
from iree_core_ir.ir.types import MemRefType, TensorType, VectorType, i1, index


def _check_access(op: Op, base: Any, indices: Sequence[Value], vector: VectorType) -> None:
    """Indices count, element types and ranks of an access of ``vector`` at ``base[indices]``."""
    if len(indices) != base.rank:
        raise VerifyError(op, f"{len(indices)} indices into {base}")
    element = base.element_type
    if element is not vector.element_type and element is not vector:
        raise VerifyError(op, f"{vector} does not fit elements of {base}")
    if vector.rank > base.rank and element is not vector:
        raise VerifyError(op, f"{vector} has more dims than {base}")


def _check_lanes(op: Op, vector: VectorType, **others: Any) -> None:
    for name, type in others.items():
        if type.shape != vector.shape:
            raise VerifyError(op, f"{name} {type} must have the shape of {vector}")


def _is_mask(op: Op, type: VectorType) -> None:
    if type.element_type is not i1:
        raise VerifyError(op, f"a mask has element type i1, got {type}")


class Load(Op, name="vector.load", traits=(READS,)):
    """A box of memory starting at ``base[indices]``, its dims the base's last ones."""

    base = operand(MemRefType)
    indices = variadic_operand(index)
    nontemporal = optional_attribute(IntegerAttr)
    alignment = optional_attribute(IntegerAttr)
    result = result(VectorType)
    assembly_format = "$base `[` $indices `]` attr-dict `:` type($base) `,` type($result)"

    @classmethod
    def make(cls, base: Value, indices: Sequence[Value], type: VectorType) -> Self:
        return cls([base, *indices], [type])

    def verify_op(self) -> None:
        _check_access(self, self.base.type, self.indices, self.result.type)


class Store(Op, name="vector.store"):
    """Writes a vector to the box of memory starting at ``base[indices]``."""

    value_to_store = operand(VectorType)
    base = operand(MemRefType)
    indices = variadic_operand(index)
    nontemporal = optional_attribute(IntegerAttr)
    alignment = optional_attribute(IntegerAttr)
    assembly_format = (
        "$value_to_store `,` $base `[` $indices `]` attr-dict `:` type($base) `,` type($value_to_store)"
    )

    @classmethod
    def make(cls, value: Value, base: Value, indices: Sequence[Value]) -> Self:
        return cls([value, base, *indices])

    def verify_op(self) -> None:
        _check_access(self, self.base.type, self.indices, self.value_to_store.type)


class _MaskedRead(Op, traits=(READS,)):
    base = operand(MemRefType)
    indices = variadic_operand(index)
    mask = operand(VectorType)
    pass_thru = operand(VectorType)
    result = result(VectorType)
    assembly_format = (
        "$base `[` $indices `]` `,` $mask `,` $pass_thru attr-dict `:`"
        " type($base) `,` type($mask) `,` type($pass_thru) `into` type($result)"
    )

    @classmethod
    def make(cls, base: Value, indices: Sequence[Value], mask: Value, pass_thru: Value) -> Self:
        return cls([base, *indices, mask, pass_thru], [pass_thru.type])

    def verify_op(self) -> None:
        vector = self.result.type
        _check_access(self, self.base.type, self.indices, vector)
        _is_mask(self, self.mask.type)
        _check_lanes(self, vector, mask=self.mask.type)
        if self.pass_thru.type is not vector:
            raise VerifyError(self, f"pass_thru must be {vector}, got {self.pass_thru.type}")


class MaskedLoad(_MaskedRead, name="vector.maskedload"):
    """``load`` of the lanes whose mask is set; the others are ``pass_thru``'s."""


class ExpandLoad(_MaskedRead, name="vector.expandload"):
    """Consecutive elements into the lanes whose mask is set; the others are ``pass_thru``'s."""


class _MaskedWrite(Op):
    base = operand(MemRefType)
    indices = variadic_operand(index)
    mask = operand(VectorType)
    value_to_store = operand(VectorType)
    assembly_format = (
        "$base `[` $indices `]` `,` $mask `,` $value_to_store attr-dict `:`"
        " type($base) `,` type($mask) `,` type($value_to_store)"
    )

    @classmethod
    def make(cls, base: Value, indices: Sequence[Value], mask: Value, value: Value) -> Self:
        return cls([base, *indices, mask, value])

    def verify_op(self) -> None:
        vector = self.value_to_store.type
        _check_access(self, self.base.type, self.indices, vector)
        _is_mask(self, self.mask.type)
        _check_lanes(self, vector, mask=self.mask.type)


class MaskedStore(_MaskedWrite, name="vector.maskedstore"):
    """``store`` of the lanes whose mask is set."""


class CompressStore(_MaskedWrite, name="vector.compressstore"):
    """The lanes whose mask is set, to consecutive elements."""


class Gather(TensorOrMemRefOp, name="vector.gather", traits=(READS,)):
    """Element ``index_vec[i]`` past ``base[indices]`` (row-major) for each lane whose mask is set."""

    base = operand((MemRefType, TensorType))
    indices = variadic_operand(index)
    index_vec = operand(VectorType)
    mask = operand(VectorType)
    pass_thru = operand(VectorType)
    result = result(VectorType)
    assembly_format = (
        "$base `[` $indices `]` `[` $index_vec `]` `,` $mask `,` $pass_thru attr-dict `:` type($base) `,`"
        " type($index_vec) `,` type($mask) `,` type($pass_thru) `into` type($result)"
    )

    @classmethod
    def make(
        cls, base: Value, indices: Sequence[Value], index_vec: Value, mask: Value, pass_thru: Value
    ) -> Self:
        return cls([base, *indices, index_vec, mask, pass_thru], [pass_thru.type])

    def verify_op(self) -> None:
        vector, base = self.result.type, self.base.type
        if len(self.indices) != base.rank or base.element_type is not vector.element_type:
            raise VerifyError(self, f"{len(self.indices)} indices into {base} for {vector}")
        _is_mask(self, self.mask.type)
        _check_lanes(self, vector, mask=self.mask.type, index_vec=self.index_vec.type)
        if self.pass_thru.type is not vector:
            raise VerifyError(self, f"pass_thru must be {vector}, got {self.pass_thru.type}")


class Scatter(Op, name="vector.scatter"):
    """Writes each lane whose mask is set, in order, to element ``index_vec[i]`` past ``base[indices]``."""

    base = operand(MemRefType)
    indices = variadic_operand(index)
    index_vec = operand(VectorType)
    mask = operand(VectorType)
    value_to_store = operand(VectorType)
    assembly_format = (
        "$base `[` $indices `]` `[` $index_vec `]` `,` $mask `,` $value_to_store attr-dict `:`"
        " type($base) `,` type($index_vec) `,` type($mask) `,` type($value_to_store)"
    )

    @classmethod
    def make(cls, base: Value, indices: Sequence[Value], index_vec: Value, mask: Value, value: Value) -> Self:
        return cls([base, *indices, index_vec, mask, value])

    def verify_op(self) -> None:
        vector, base = self.value_to_store.type, self.base.type
        if len(self.indices) != base.rank or base.element_type is not vector.element_type:
            raise VerifyError(self, f"{len(self.indices)} indices into {base} for {vector}")
        _is_mask(self, self.mask.type)
        _check_lanes(self, vector, mask=self.mask.type, index_vec=self.index_vec.type)


# -- transfers ------------------------------------------------------------------------------------


def minor_identity(rank: int, vector_rank: int) -> AffineMap:
    """The map that picks the last ``vector_rank`` dims; for a 0-D source and 1-D vector ``() -> (0)``."""
    if rank < vector_rank:
        return AffineMap(rank, 0, [AffineConstant(0)] * vector_rank)
    return AffineMap.select(rank, range(rank - vector_rank, rank))


def bool_array(values: Sequence[bool]) -> ArrayAttr:
    return ArrayAttr([IntegerAttr(bool(v), i1) for v in values])


class _Transfer(TensorOrMemRefOp):
    """What reads and writes share. Fields: permutation_map, in_bounds, mask, indices, and base."""

    @property
    def _base(self) -> Value:
        raise NotImplementedError(type(self).__name__)

    @property
    def vector_type(self) -> VectorType:
        raise NotImplementedError(type(self).__name__)

    @property
    def permutation(self) -> AffineMap:
        """From base dims to vector dims; a constant 0 broadcasts (reads only)."""
        attribute: Any = self.attributes["permutation_map"]
        map: AffineMap = attribute.value
        return map

    @property
    def bounds(self) -> tuple[bool, ...]:
        """Per vector dim whether the access is promised to be in bounds."""
        attribute: Any = self.attributes["in_bounds"]
        return tuple(bool(a.value) for a in attribute)

    def _print_attributes(self, printer: Any) -> None:
        elided = {"operandSegmentSizes"}
        if self.permutation is minor_identity(self._base.type.rank, self.vector_type.rank):
            elided.add("permutation_map")
        if not any(self.bounds):
            elided.add("in_bounds")
        printer.attribute_dict(self.attributes, elided)

    def _check(self, mask: Value | None, indices: Sequence[Value]) -> None:
        base, vector, map = self._base.type, self.vector_type, self.permutation
        if len(indices) != base.rank:
            raise VerifyError(self, f"{len(indices)} indices into {base}")
        if base.element_type is not vector.element_type:
            raise VerifyError(self, f"element types of {base} and {vector} differ")
        if map.n_dims != base.rank or len(map.results) != vector.rank:
            raise VerifyError(
                self, f"the permutation map {map} must go from {base.rank} to {vector.rank} dims"
            )
        seen = set()
        for expr in map.results:
            if isinstance(expr, AffineDim) and expr.position not in seen:
                seen.add(expr.position)
            elif not (isinstance(expr, AffineConstant) and expr.value == 0):
                raise VerifyError(self, f"{map} is no projected permutation (with broadcasts)")
        if len(self.bounds) != vector.rank:
            raise VerifyError(self, f"in_bounds needs {vector.rank} entries")
        if mask is not None:
            _is_mask(self, mask.type)
            if mask.type.shape != mask_shape(map, vector):
                raise VerifyError(self, f"the mask must have shape {list(mask_shape(map, vector))}")


def mask_shape(map: AffineMap, vector: VectorType) -> tuple[int, ...]:
    """The shape of a transfer's mask: the read dims in the base's order."""
    dims = {
        expr.position: size
        for expr, size in zip(map.results, vector.shape, strict=True)
        if isinstance(expr, AffineDim)
    }
    return tuple(dims[p] for p in sorted(dims)) or (1,)


def _transfer_attributes(
    base: Value,
    vector: VectorType,
    permutation: AffineMap | None,
    in_bounds: Sequence[bool] | None,
) -> dict[str, Attribute]:
    if permutation is None:
        permutation = minor_identity(base.type.rank, vector.rank)
    bounds = [False] * vector.rank if in_bounds is None else in_bounds
    return {"permutation_map": AffineMapAttr(permutation), "in_bounds": bool_array(bounds)}


class TransferRead(_Transfer, name="vector.transfer_read", traits=(READS,)):
    """A box of a tensor or memref, permuted and broadcast by the map; ``padding`` beyond its ends."""

    base = operand((TensorType, MemRefType))
    indices = variadic_operand(index)
    padding = operand()
    mask = optional_operand(VectorType)
    permutation_map = attribute(AffineMapAttr)
    in_bounds = attribute(ArrayAttr)
    vector = result(VectorType)

    @classmethod
    def make(
        cls,
        base: Value,
        indices: Sequence[Value],
        padding: Value,
        type: VectorType,
        permutation: AffineMap | None = None,
        in_bounds: Sequence[bool] | None = None,
        mask: Value | None = None,
    ) -> Self:
        masks = () if mask is None else (mask,)
        attributes = _transfer_attributes(base, type, permutation, in_bounds)
        attributes["operandSegmentSizes"] = segment_sizes([base], indices, [padding], masks)
        return cls([base, *indices, padding, *masks], [type], attributes)

    @property
    def _base(self) -> Value:
        return self.base

    @property
    def vector_type(self) -> VectorType:
        type: VectorType = self.vector.type
        return type

    @classmethod
    def parse(cls, p: Any) -> Self:
        base_name = p.operand_name()
        index_names = p.comma_list(p.operand_name, "[", "]")
        p.expect(",")
        padding_name = p.operand_name()
        mask_name = p.operand_name() if p.accept(",") else None
        attributes = p.attribute_dict()
        p.expect(":")
        base_type = p.type()
        p.expect(",")
        type = p.type()
        base = p.resolve(base_name, base_type)
        indices = p.resolve_all(index_names, [index] * len(index_names))
        padding = p.resolve(padding_name, base_type.element_type)
        mask = _resolve_mask(p, mask_name, attributes, base_type, type)
        made = cls.make(base, indices, padding, type, mask=mask)
        made.attributes.update(attributes)
        return made

    def print(self, printer: Any) -> None:
        printer.write(
            f" {printer.name(self.base)}[{printer.names(self.indices)}], {printer.name(self.padding)}"
        )
        if self.mask is not None:
            printer.write(f", {printer.name(self.mask)}")
        self._print_attributes(printer)
        printer.write(f" : {printer.text(self.base.type)}, {printer.text(self.vector.type)}")

    def verify_op(self) -> None:
        self._check(self.mask, self.indices)
        if self.padding.type is not self.base.type.element_type:
            raise VerifyError(self, f"padding {self.padding.type} for {self.base.type}")


def _resolve_mask(
    p: Any, name: str | None, attributes: dict[str, Attribute], base: Any, vector: Any
) -> Value | None:
    """The mask operand; its type follows from map and vector type."""
    if name is None:
        return None
    given: Any = attributes.get("permutation_map")
    map = minor_identity(base.rank, vector.rank) if given is None else given.value
    value: Value = p.resolve(name, VectorType(mask_shape(map, vector), i1))
    return value


class TransferWrite(_Transfer, name="vector.transfer_write", traits=(DESTINATION_STYLE,)):
    """Writes a vector, permuted by the map, to a box of a memref, or gives the changed tensor."""

    value_to_store = operand(VectorType)
    base = operand((TensorType, MemRefType))
    indices = variadic_operand(index)
    mask = optional_operand(VectorType)
    permutation_map = attribute(AffineMapAttr)
    in_bounds = attribute(ArrayAttr)
    result_tensors = variadic_result(TensorType)

    @classmethod
    def make(
        cls,
        value: Value,
        base: Value,
        indices: Sequence[Value],
        permutation: AffineMap | None = None,
        in_bounds: Sequence[bool] | None = None,
        mask: Value | None = None,
    ) -> Self:
        masks = () if mask is None else (mask,)
        attributes = _transfer_attributes(base, value.type, permutation, in_bounds)
        attributes["operandSegmentSizes"] = segment_sizes([value], [base], indices, masks)
        types: list[Type] = [base.type] if isinstance(base.type, TensorType) else []
        return cls([value, base, *indices, *masks], types, attributes)

    @property
    def _base(self) -> Value:
        return self.base

    @property
    def vector_type(self) -> VectorType:
        type: VectorType = self.value_to_store.type
        return type

    @classmethod
    def parse(cls, p: Any) -> Self:
        value_name = p.operand_name()
        p.expect(",")
        base_name = p.operand_name()
        index_names = p.comma_list(p.operand_name, "[", "]")
        mask_name = p.operand_name() if p.accept(",") else None
        attributes = p.attribute_dict()
        p.expect(":")
        type = p.type()
        p.expect(",")
        base_type = p.type()
        value, base = p.resolve(value_name, type), p.resolve(base_name, base_type)
        indices = p.resolve_all(index_names, [index] * len(index_names))
        mask = _resolve_mask(p, mask_name, attributes, base_type, type)
        made = cls.make(value, base, indices, mask=mask)
        made.attributes.update(attributes)
        return made

    def print(self, printer: Any) -> None:
        printer.write(
            f" {printer.name(self.value_to_store)}, {printer.name(self.base)}[{printer.names(self.indices)}]"
        )
        if self.mask is not None:
            printer.write(f", {printer.name(self.mask)}")
        self._print_attributes(printer)
        printer.write(f" : {printer.text(self.value_to_store.type)}, {printer.text(self.base.type)}")

    def verify_op(self) -> None:
        self._check(self.mask, self.indices)
        if any(isinstance(expr, AffineConstant) for expr in self.permutation.results):
            if self.base.type.rank:
                raise VerifyError(self, "a write cannot broadcast")
        expected = [self.base.type] if isinstance(self.base.type, TensorType) else []
        if [r.type for r in self.results] != expected:
            raise VerifyError(self, "gives the changed tensor, and nothing for a memref")
