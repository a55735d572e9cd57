"""``vector``: fixed-size SIMD values; memory access, shuffles, reductions and contractions, as in MLIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.mixed import (
    DYNAMIC_INDEX,
    Mixed,
    MixedIndexOp,
    dynamic_part,
    join,
    static_part,
)
from iree_core_ir.dialects.vector_attributes import CombiningKindAttr, IteratorTypeAttr
from iree_core_ir.dialects.vector_memory import *  # noqa: F403
from iree_core_ir.dialects.vector_memory import (
    CompressStore,
    ExpandLoad,
    Gather,
    Load,
    MaskedLoad,
    MaskedStore,
    Scatter,
    Store,
    TransferRead,
    TransferWrite,
)
from iree_core_ir.dialects.vector_reductions import *  # noqa: F403
from iree_core_ir.dialects.vector_reductions import (
    Contract,
    MultiReduction,
    OuterProduct,
    Reduction,
    Scan,
)
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import ArrayAttr, Attribute, DenseArrayAttr, IntegerAttr, Type
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_operand,
    result,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import ELEMENTWISE, PURE, SAME_TYPE
from iree_core_ir.ir.types import VectorType, element_of, i1, i64, index


def _without_leading(type: VectorType, n: int) -> Type:
    """The vector left after indexing ``n`` leading dims; a scalar after all."""
    return VectorType(type.shape[n:], type.element_type) if type.rank > n else type.element_type


def _integers(attribute: Any) -> tuple[int, ...]:
    return tuple(a.value for a in attribute)


def _integer_array(values: Sequence[int]) -> ArrayAttr:
    return ArrayAttr([IntegerAttr(v, i64) for v in values])


class Broadcast(Op, name="vector.broadcast", traits=(PURE,)):
    """A scalar or vector repeated along missing leading dims and dims of size 1."""

    source = operand()
    vector = result(VectorType)
    assembly_format = "$source attr-dict `:` type($source) `to` type($vector)"

    @classmethod
    def make(cls, source: Value, type: VectorType) -> Self:
        return cls([source], [type])

    def verify_op(self) -> None:
        source, target = self.source.type, self.vector.type
        if element_of(source) is not target.element_type:
            raise VerifyError(self, f"element types of {source} and {target} differ")
        shape = source.shape if isinstance(source, VectorType) else ()
        if len(shape) > target.rank or any(
            s not in (1, t) for s, t in zip(reversed(shape), reversed(target.shape), strict=False)
        ):
            raise VerifyError(self, f"{source} does not broadcast to {target}")


class Splat(Op, name="vector.splat", traits=(PURE,)):
    """One scalar everywhere (MLIR's older spelling of a scalar ``broadcast``)."""

    input = operand()
    aggregate = result(VectorType)
    assembly_format = "$input attr-dict `:` type($aggregate)"

    @classmethod
    def make(cls, value: Value, type: VectorType) -> Self:
        return cls([value], [type])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["input"] = [types["aggregate"][0].element_type]

    def verify_op(self) -> None:
        if self.input.type is not self.aggregate.type.element_type:
            raise VerifyError(self, f"splats {self.input.type} into {self.aggregate.type}")


class Shuffle(Op, name="vector.shuffle", traits=(PURE,)):
    """Leading-dim elements of the two vectors laid end to end, picked by ``mask`` (-1: unspecified)."""

    v1 = operand(VectorType)
    v2 = operand(VectorType)
    mask = attribute(DenseArrayAttr, type=i64)
    vector = result(VectorType)
    assembly_format = "operands $mask attr-dict `:` type(operands)"

    @classmethod
    def make(cls, v1: Value, v2: Value, mask: Sequence[int]) -> Self:
        return cls([v1, v2], [_shuffled(v1.type, len(mask))], {"mask": DenseArrayAttr(i64, mask)})

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        mask: Any = attributes["mask"]
        types["vector"] = [_shuffled(types["v1"][0], len(mask))]

    def verify_op(self) -> None:
        a, b = self.v1.type, self.v2.type
        if a.rank != b.rank or a.shape[1:] != b.shape[1:] or a.element_type is not b.element_type:
            raise VerifyError(self, f"{a} and {b} differ beyond their leading dim")
        limit = (a.shape[0] + b.shape[0]) if a.rank else 2
        for entry in self.mask.values:
            if not -1 <= entry < limit:
                raise VerifyError(self, f"mask entry {entry} is not in -1..{limit - 1}")
        expected = _shuffled(a, len(self.mask))
        if self.vector.type is not expected:
            raise VerifyError(self, f"expected {expected}, got {self.vector.type}")


def _shuffled(type: VectorType, n: int) -> VectorType:
    return VectorType((n, *type.shape[1:]), type.element_type)


class Extract(MixedIndexOp, name="vector.extract", traits=(PURE,)):
    """The element or subvector at a position of leading dims."""

    vector = operand(VectorType)
    dynamic_position = variadic_operand(index)
    static_position = attribute(DenseArrayAttr)
    result = result()
    assembly_format = (
        "$vector `` custom<DynamicIndexList>($dynamic_position, $static_position)"
        " attr-dict `:` type($result) `from` type($vector)"
    )

    @classmethod
    def make(cls, vector: Value, position: Sequence[Mixed]) -> Self:
        return cls(
            [vector, *dynamic_part(position)],
            [_without_leading(vector.type, len(position))],
            {"static_position": static_part(position)},
        )

    @property
    def mixed_position(self) -> tuple[Mixed, ...]:
        return join(self.static_position.values, self.dynamic_position)

    def verify_op(self) -> None:
        type = self.vector.type
        _check_position(self, type, self.static_position.values)
        expected = _without_leading(type, len(self.static_position))
        if self.result.type is not expected and not _is_rank0_of(self.result.type, expected):
            raise VerifyError(self, f"expected {expected}, got {self.result.type}")


def _is_rank0_of(type: Type, scalar: Type) -> bool:
    """``vector<f32>`` where a scalar f32 is meant."""
    return isinstance(type, VectorType) and type.rank == 0 and type.element_type is scalar


def _check_position(op: Op, type: VectorType, position: Sequence[int]) -> None:
    if len(position) > type.rank:
        raise VerifyError(op, f"a position of {len(position)} in {type}")
    for entry, size in zip(position, type.shape, strict=False):
        if entry != DYNAMIC_INDEX and not -1 <= entry < size:
            raise VerifyError(op, f"position {entry} is outside a dim of size {size}")


class Insert(MixedIndexOp, name="vector.insert", traits=(PURE,)):
    """``dest`` with the element or subvector at a position replaced."""

    value_to_store = operand()
    dest = operand(VectorType)
    dynamic_position = variadic_operand(index)
    static_position = attribute(DenseArrayAttr)
    result = result(VectorType)
    assembly_format = (
        "$value_to_store `,` $dest custom<DynamicIndexList>($dynamic_position, $static_position)"
        " attr-dict `:` type($value_to_store) `into` type($dest)"
    )

    @classmethod
    def make(cls, value: Value, dest: Value, position: Sequence[Mixed]) -> Self:
        return cls(
            [value, dest, *dynamic_part(position)], [dest.type], {"static_position": static_part(position)}
        )

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["result"] = types["dest"]

    @property
    def mixed_position(self) -> tuple[Mixed, ...]:
        return join(self.static_position.values, self.dynamic_position)

    def verify_op(self) -> None:
        type = self.dest.type
        _check_position(self, type, self.static_position.values)
        expected, got = _without_leading(type, len(self.static_position)), self.value_to_store.type
        if got is not expected and not _is_rank0_of(got, expected):
            raise VerifyError(self, f"expected a value of type {expected}, got {got}")
        if self.result.type is not type:
            raise VerifyError(self, f"the result must have the type of dest, {type}")


class ExtractElement(Op, name="vector.extractelement", traits=(PURE,)):
    """The element of a 1-D vector at a run-time position, or the one of a 0-D vector."""

    vector = operand(VectorType)
    position = optional_operand()
    result = result()
    assembly_format = "$vector `[` ($position^ `:` type($position))? `]` attr-dict `:` type($vector)"

    @classmethod
    def make(cls, vector: Value, position: Value | None = None) -> Self:
        return cls([vector] if position is None else [vector, position], [vector.type.element_type])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["result"] = [types["vector"][0].element_type]

    def verify_op(self) -> None:
        if self.vector.type.rank != (self.position is not None):
            raise VerifyError(self, f"takes a position for 1-D vectors only, got {self.vector.type}")


class InsertElement(Op, name="vector.insertelement", traits=(PURE,)):
    """A 1-D vector with the element at a run-time position replaced, or a 0-D vector's one."""

    source = operand()
    dest = operand(VectorType)
    position = optional_operand()
    result = result(VectorType)
    assembly_format = (
        "$source `,` $dest `[` ($position^ `:` type($position))? `]` attr-dict `:` type($result)"
    )

    @classmethod
    def make(cls, value: Value, dest: Value, position: Value | None = None) -> Self:
        return cls([value, dest] if position is None else [value, dest, position], [dest.type])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["source"] = [types["result"][0].element_type]
        types["dest"] = types["result"]

    def verify_op(self) -> None:
        type = self.dest.type
        if type.rank != (self.position is not None):
            raise VerifyError(self, f"takes a position for 1-D vectors only, got {type}")
        if self.source.type is not type.element_type or self.result.type is not type:
            raise VerifyError(self, f"inserts {self.source.type} into {type} giving {self.result.type}")


class Fma(Op, name="vector.fma", traits=(PURE, SAME_TYPE, ELEMENTWISE)):
    """``lhs * rhs + acc``, rounded once."""

    lhs = operand(VectorType)
    rhs = operand(VectorType)
    acc = operand(VectorType)
    result = result(VectorType)
    assembly_format = "$lhs `,` $rhs `,` $acc attr-dict `:` type($lhs)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, acc: Value) -> Self:
        return cls([lhs, rhs, acc], [lhs.type])


class Bitcast(Op, name="vector.bitcast", traits=(PURE,)):
    """The same bits as another element type; the last dim grows or shrinks with the width."""

    source = operand(VectorType)
    result = result(VectorType)
    assembly_format = "$source attr-dict `:` type($source) `to` type($result)"

    @classmethod
    def make(cls, source: Value, type: VectorType) -> Self:
        return cls([source], [type])

    def verify_op(self) -> None:
        a, b = self.source.type, self.result.type
        widths = [getattr(t.element_type, "width", 64) for t in (a, b)]
        if a.rank != b.rank or a.shape[:-1] != b.shape[:-1]:
            raise VerifyError(self, f"{a} and {b} may differ in their last dim only")
        bits = [w * (t.shape[-1] if t.rank else 1) for w, t in zip(widths, (a, b), strict=True)]
        if bits[0] != bits[1]:
            raise VerifyError(self, f"{a} has {bits[0]} bits a row, {b} has {bits[1]}")


class ShapeCast(Op, name="vector.shape_cast", traits=(PURE,)):
    """The elements, row-major, under another shape."""

    source = operand(VectorType)
    result = result(VectorType)
    assembly_format = "$source attr-dict `:` type($source) `to` type($result)"

    @classmethod
    def make(cls, source: Value, type: VectorType) -> Self:
        return cls([source], [type])

    def verify_op(self) -> None:
        a, b = self.source.type, self.result.type
        if a.element_type is not b.element_type or a.n_elements != b.n_elements:
            raise VerifyError(self, f"{a} and {b} differ in elements")


class Transpose(Op, name="vector.transpose", traits=(PURE,)):
    """Result dim ``i`` is source dim ``permutation[i]``."""

    vector = operand(VectorType)
    permutation = attribute(DenseArrayAttr, type=i64)
    result = result(VectorType)
    assembly_format = "$vector `,` $permutation attr-dict `:` type($vector) `to` type($result)"

    @classmethod
    def make(cls, vector: Value, permutation: Sequence[int]) -> Self:
        type = vector.type
        new = VectorType([type.shape[i] for i in permutation], type.element_type)
        return cls([vector], [new], {"permutation": DenseArrayAttr(i64, permutation)})

    def verify_op(self) -> None:
        type, order = self.vector.type, self.permutation.values
        if sorted(order) != list(range(type.rank)):
            raise VerifyError(self, f"{list(order)} is no permutation of {type.rank} dims")
        expected = VectorType([type.shape[i] for i in order], type.element_type)
        if self.result.type is not expected:
            raise VerifyError(self, f"expected {expected}, got {self.result.type}")


class FromElements(Op, name="vector.from_elements", traits=(PURE,)):
    """A vector of the given scalars, row-major."""

    elements = variadic_operand()
    dest = result(VectorType)
    assembly_format = "$elements attr-dict `:` type($dest)"

    @classmethod
    def make(cls, elements: Sequence[Value], type: VectorType | None = None) -> Self:
        """1-D unless ``type`` says otherwise."""
        return cls(elements, [type or VectorType([len(elements)], elements[0].type)])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["elements"] = [types["dest"][0].element_type] * len(types["elements"])

    def verify_op(self) -> None:
        type = self.dest.type
        if len(self.elements) != type.n_elements:
            raise VerifyError(self, f"{len(self.elements)} elements for {type}")
        if any(v.type is not type.element_type for v in self.elements):
            raise VerifyError(self, f"the elements must be {type.element_type}")


class ToElements(Op, name="vector.to_elements", traits=(PURE,)):
    """The scalars of a vector, row-major."""

    source = operand(VectorType)
    elements = variadic_result()
    assembly_format = "$source attr-dict `:` type($source)"

    @classmethod
    def make(cls, source: Value) -> Self:
        return cls([source], [source.type.element_type] * source.type.n_elements)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        type = types["source"][0]
        types["elements"] = [type.element_type] * type.n_elements

    def verify_op(self) -> None:
        type = self.source.type
        if [r.type for r in self.results] != [type.element_type] * type.n_elements:
            raise VerifyError(self, f"must give {type.n_elements} results of type {type.element_type}")


class ExtractStridedSlice(Op, name="vector.extract_strided_slice", traits=(PURE,)):
    """A box of the leading dims (static offsets and sizes, strides 1)."""

    vector = operand(VectorType)
    offsets = attribute(ArrayAttr)
    sizes = attribute(ArrayAttr)
    strides = attribute(ArrayAttr)
    result = result(VectorType)
    assembly_format = "$vector attr-dict `:` type($vector) `to` type($result)"

    @classmethod
    def make(
        cls, vector: Value, offsets: Sequence[int], sizes: Sequence[int], strides: Sequence[int] | None = None
    ) -> Self:
        attributes: dict[str, Attribute] = {
            "offsets": _integer_array(offsets),
            "sizes": _integer_array(sizes),
            "strides": _integer_array([1] * len(offsets) if strides is None else strides),
        }
        type = vector.type
        return cls([vector], [VectorType((*sizes, *type.shape[len(sizes) :]), type.element_type)], attributes)

    def verify_op(self) -> None:
        type = self.vector.type
        offsets, sizes, strides = (_integers(a) for a in (self.offsets, self.sizes, self.strides))
        if not len(offsets) == len(sizes) == len(strides) <= type.rank:
            raise VerifyError(self, f"offsets, sizes and strides must be alike and at most {type.rank} long")
        if any(s != 1 for s in strides):
            raise VerifyError(self, "strides must be 1")
        for offset, size, dim in zip(offsets, sizes, type.shape, strict=False):
            if offset < 0 or size < 1 or offset + size > dim:
                raise VerifyError(self, f"{size} elements from {offset} do not fit a dim of size {dim}")
        expected = VectorType((*sizes, *type.shape[len(sizes) :]), type.element_type)
        if self.result.type is not expected:
            raise VerifyError(self, f"expected {expected}, got {self.result.type}")


class InsertStridedSlice(Op, name="vector.insert_strided_slice", traits=(PURE,)):
    """``dest`` with a box of its trailing dims replaced (static offsets, strides 1)."""

    value_to_store = operand(VectorType)
    dest = operand(VectorType)
    offsets = attribute(ArrayAttr)
    strides = attribute(ArrayAttr)
    res = result(VectorType)
    assembly_format = "$value_to_store `,` $dest attr-dict `:` type($value_to_store) `into` type($dest)"

    @classmethod
    def make(cls, value: Value, dest: Value, offsets: Sequence[int]) -> Self:
        attributes: dict[str, Attribute] = {
            "offsets": _integer_array(offsets),
            "strides": _integer_array([1] * value.type.rank),
        }
        return cls([value, dest], [dest.type], attributes)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["res"] = types["dest"]

    def verify_op(self) -> None:
        value, dest = self.value_to_store.type, self.dest.type
        offsets, strides = _integers(self.offsets), _integers(self.strides)
        if len(offsets) != dest.rank or len(strides) != value.rank or value.rank > dest.rank:
            raise VerifyError(self, f"needs {dest.rank} offsets and {value.rank} strides")
        if any(s != 1 for s in strides):
            raise VerifyError(self, "strides must be 1")
        if value.element_type is not dest.element_type or self.res.type is not dest:
            raise VerifyError(self, f"inserts {value} into {dest} giving {self.res.type}")
        sizes = (1,) * (dest.rank - value.rank) + value.shape
        for offset, size, dim in zip(offsets, sizes, dest.shape, strict=True):
            if offset < 0 or offset + size > dim:
                raise VerifyError(self, f"{size} elements at {offset} do not fit a dim of size {dim}")


class Interleave(Op, name="vector.interleave", traits=(PURE,)):
    """Elements of the last dim of both vectors by turns."""

    lhs = operand(VectorType)
    rhs = operand(VectorType)
    result = result(VectorType)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs) `->` type($result)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value) -> Self:
        return cls([lhs, rhs], [_last_dim(lhs.type, 2, 1)])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["rhs"] = types["lhs"]

    def verify_op(self) -> None:
        expected = _last_dim(self.lhs.type, 2, 1)
        if self.lhs.type is not self.rhs.type or self.result.type is not expected:
            raise VerifyError(self, f"expected {expected} of two {self.lhs.type}, got {self.result.type}")


def _last_dim(type: VectorType, times: int, over: int) -> VectorType:
    shape = type.shape or (1,)
    return VectorType((*shape[:-1], shape[-1] * times // over), type.element_type)


class Deinterleave(Op, name="vector.deinterleave", traits=(PURE,)):
    """Even and odd elements of the last dim."""

    source = operand(VectorType)
    res1 = result(VectorType)
    res2 = result(VectorType)
    assembly_format = "$source attr-dict `:` type($source) `->` type($res1)"

    @classmethod
    def make(cls, source: Value) -> Self:
        return cls([source], [_last_dim(source.type, 1, 2)] * 2)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["res2"] = types["res1"]

    def verify_op(self) -> None:
        type = self.source.type
        if type.rank == 0 or type.shape[-1] % 2:
            raise VerifyError(self, f"the last dim of {type} must be even")
        expected = _last_dim(type, 1, 2)
        if self.res1.type is not expected or self.res2.type is not expected:
            raise VerifyError(self, f"expected two {expected}")


class ConstantMask(Op, name="vector.constant_mask", traits=(PURE,)):
    """True where every index is below its static size."""

    mask_dim_sizes = attribute((DenseArrayAttr, ArrayAttr))
    result = result(VectorType)

    @classmethod
    def make(cls, sizes: Sequence[int], type: VectorType) -> Self:
        return cls((), [type], {"mask_dim_sizes": DenseArrayAttr(i64, sizes)})

    @classmethod
    def parse(cls, p: Any) -> Self:
        sizes = p.comma_list(p.integer, "[", "]")
        attributes = p.attribute_dict()
        p.expect(":")
        attributes["mask_dim_sizes"] = DenseArrayAttr(i64, sizes)
        return cls((), [p.type()], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" [{', '.join(map(str, self.sizes))}]")
        printer.attribute_dict(self.attributes, ("mask_dim_sizes",))
        printer.write(f" : {printer.text(self.result.type)}")

    @property
    def sizes(self) -> tuple[int, ...]:
        given = self.mask_dim_sizes
        return given.values if isinstance(given, DenseArrayAttr) else _integers(given)

    def verify_op(self) -> None:
        type = self.result.type
        if type.element_type is not i1:
            raise VerifyError(self, f"a mask has element type i1, got {type}")
        if len(self.sizes) != max(type.rank, 1):
            raise VerifyError(self, f"{len(self.sizes)} sizes for {type}")
        for size, dim in zip(self.sizes, type.shape or (1,), strict=True):
            if not 0 <= size <= dim:
                raise VerifyError(self, f"mask size {size} is not in 0..{dim}")


class CreateMask(Op, name="vector.create_mask", traits=(PURE,)):
    """True where every index is below its run-time size (clamped to the vector's)."""

    sizes = variadic_operand(index)
    result = result(VectorType)
    assembly_format = "$sizes attr-dict `:` type($result)"

    @classmethod
    def make(cls, sizes: Sequence[Value], type: VectorType) -> Self:
        return cls(sizes, [type])

    def verify_op(self) -> None:
        type = self.result.type
        if type.element_type is not i1 or len(self.sizes) != max(type.rank, 1):
            raise VerifyError(self, f"{len(self.sizes)} sizes for a mask {type}")


class Step(Op, name="vector.step", traits=(PURE,)):
    """0, 1, 2, ... as a 1-D index vector."""

    result = result(VectorType)
    assembly_format = "attr-dict `:` type($result)"

    @classmethod
    def make(cls, n: int) -> Self:
        return cls((), [VectorType([n], index)])

    def verify_op(self) -> None:
        if self.result.type.rank != 1 or self.result.type.element_type is not index:
            raise VerifyError(self, f"the result must be a 1-D vector of index, got {self.result.type}")


DIALECT = Dialect(
    "vector",
    ops=[
        Bitcast, Broadcast, CompressStore, ConstantMask, Contract, CreateMask, Deinterleave, ExpandLoad,
        Extract, ExtractElement, ExtractStridedSlice, Fma, FromElements, Gather, Insert, InsertElement,
        InsertStridedSlice, Interleave, Load, MaskedLoad, MaskedStore, MultiReduction, OuterProduct,
        Reduction, Scan, Scatter, ShapeCast, Shuffle, Splat, Step, Store, ToElements, TransferRead,
        TransferWrite, Transpose,
    ],
    attributes=[CombiningKindAttr, IteratorTypeAttr],
)  # fmt: skip
