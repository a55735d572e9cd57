"""``memref`` ops that look at a buffer in another way: casts, slices, reshapes, reinterpretation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Self

from iree_core_ir.dialects import tensor_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.compatible import compatible, compatible_shapes
from iree_core_ir.dialects.mixed import (
    Mixed,
    MixedIndexOp,
    dynamic_part,
    join,
    shape_of,
    static_part,
)
from iree_core_ir.dialects.reassociation import (
    Reassociation,
    collapsed_shape,
    reassociation_attribute,
    reassociation_error,
    reassociation_groups,
)
from iree_core_ir.dialects.rule_op import RuleOp
from iree_core_ir.dialects.slices import SliceOp, dropped_unit_dims, slice_error, slice_parts
from iree_core_ir.dialects.strided import (
    add_dims,
    mul_dims,
    strided_type,
    strides_and_offset,
)
from iree_core_ir.errors import VerifyError
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
    result,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import (
    MemRefType,
    UnrankedMemRefType,
    i32,
    index,
)

INDEX = index  # an op may have a field called index
ANY_MEMREF = (MemRefType, UnrankedMemRefType)


class Cast(RuleOp, name="memref.cast", traits=(PURE,)):
    """The same buffer with more or less of shape, strides and offset known statically."""

    source = operand(ANY_MEMREF)
    dest = result(ANY_MEMREF)
    assembly_format = "$source attr-dict `:` type($source) `to` type($dest)"

    @classmethod
    def make(cls, source: Value, type: Type) -> Self:
        return cls([source], [type])

    def verify_op(self) -> None:
        error = cast_error(self.source.type, self.dest.type)
        if error is not None:
            raise VerifyError(self, f"cannot cast {self.source.type} to {self.dest.type}: {error}")


def cast_error(a: Any, b: Any) -> str | None:
    """Why a memref of type ``a`` cannot be viewed as ``b`` by ``memref.cast``; None when it can."""
    if a.element_type is not b.element_type:
        return "element types differ"
    if a.memory_space is not b.memory_space:
        return "memory spaces differ"
    if not (isinstance(a, MemRefType) and isinstance(b, MemRefType)):
        return None
    if not compatible_shapes(a.shape, b.shape):
        return "shapes are incompatible"
    if a.layout is not b.layout:
        try:
            (strides_a, offset_a), (strides_b, offset_b) = strides_and_offset(a), strides_and_offset(b)
        except ValueError as error:
            return str(error)
        if not compatible(offset_a, offset_b):
            return "offsets are incompatible"
        for size, x, y in zip(a.shape, strides_a, strides_b, strict=True):
            if not compatible(x, y) and size != 1:
                return "strides are incompatible"
    return None


class MemorySpaceCast(RuleOp, name="memref.memory_space_cast", traits=(PURE,)):
    """The same buffer seen through another memory space."""

    source = operand(ANY_MEMREF)
    dest = result(ANY_MEMREF)
    assembly_format = "$source attr-dict `:` type($source) `to` type($dest)"

    @classmethod
    def make(cls, source: Value, type: Type) -> Self:
        return cls([source], [type])

    def verify_op(self) -> None:
        a, b = self.source.type, self.dest.type
        if a.element_type is not b.element_type or getattr(a, "shape", None) != getattr(b, "shape", None):
            raise VerifyError(self, f"{a} and {b} may differ in memory space only")


class SubView(SliceOp, name="memref.subview", traits=(PURE,)):
    """A strided box of the source, sharing its memory; unit dims may be dropped."""

    source = operand(MemRefType)
    offsets = variadic_operand(INDEX)
    sizes = variadic_operand(INDEX)
    strides = variadic_operand(INDEX)
    static_offsets = attribute(DenseArrayAttr)
    static_sizes = attribute(DenseArrayAttr)
    static_strides = attribute(DenseArrayAttr)
    result = result(MemRefType)
    assembly_format = (
        "$source `` custom<DynamicIndexList>($offsets, $static_offsets)"
        " custom<DynamicIndexList>($sizes, $static_sizes)"
        " custom<DynamicIndexList>($strides, $static_strides)"
        " attr-dict `:` type($source) `to` type($result)"
    )

    @classmethod
    def make(
        cls,
        source: Value,
        offsets: Sequence[Mixed],
        sizes: Sequence[Mixed],
        strides: Sequence[Mixed] | None = None,
        result_shape: Sequence[int] | None = None,
    ) -> Self:
        """``result_shape`` is needed only to drop unit dims."""
        operands, attributes = slice_parts([source], offsets, sizes, strides)
        steps = [1] * len(offsets) if strides is None else strides
        type = subview_type(source.type, offsets, sizes, steps, result_shape)
        return cls(operands, [type], attributes)

    def verify_op(self) -> None:
        source, view = self.source.type, self.result.type
        error = slice_error(source.shape, self.mixed_offsets, self.mixed_sizes, self.mixed_strides)
        if error is None and source.memory_space is not view.memory_space:
            error = "memory spaces differ"
        if error is None:
            error = self._type_error()
        if error is not None:
            raise VerifyError(self, error)

    def _type_error(self) -> str | None:
        source, view = self.source.type, self.result.type
        if source.element_type is not view.element_type:
            return f"element types of {source} and {view} differ"
        if dropped_unit_dims(shape_of(self.mixed_sizes), view.shape) is None:
            return f"{view} is no slice of sizes {list(shape_of(self.mixed_sizes))}"
        expected = subview_type(source, self.mixed_offsets, self.mixed_sizes, self.mixed_strides, view.shape)
        if strides_and_offset(expected) != strides_and_offset(view) and expected is not view:
            return f"expected {expected}, got {view}"
        return None


def subview_type(
    source: MemRefType,
    offsets: Sequence[Mixed],
    sizes: Sequence[Mixed],
    steps: Sequence[Mixed],
    result_shape: Sequence[int] | None = None,
) -> MemRefType:
    """The type of a subview; ``result_shape`` may lack unit dims of the slice."""
    strides, offset = strides_and_offset(source)
    static_offsets, shape, static_steps = shape_of(offsets), shape_of(sizes), shape_of(steps)
    for start, stride in zip(static_offsets, strides, strict=True):
        offset = add_dims(offset, mul_dims(start, stride))
    new_strides = [mul_dims(stride, step) for stride, step in zip(strides, static_steps, strict=True)]
    if result_shape is not None:
        dropped = dropped_unit_dims(shape, result_shape)
        if dropped is None:
            raise ValueError(f"{list(result_shape)} is no version of {list(shape)} without unit dims")
        new_strides = [s for i, s in enumerate(new_strides) if i not in dropped]
        shape = tuple(result_shape)
    return strided_type(shape, source.element_type, new_strides, offset, source.memory_space)


class ReinterpretCast(SliceOp, name="memref.reinterpret_cast", traits=(PURE,)):
    """The source's base buffer under a new offset, sizes and strides (in elements), unchecked."""

    source = operand(ANY_MEMREF)
    offsets = variadic_operand(INDEX)
    sizes = variadic_operand(INDEX)
    strides = variadic_operand(INDEX)
    static_offsets = attribute(DenseArrayAttr)
    static_sizes = attribute(DenseArrayAttr)
    static_strides = attribute(DenseArrayAttr)
    result = result(MemRefType)
    assembly_format = (
        "$source `to` `offset` `` `:` custom<DynamicIndexList>($offsets, $static_offsets)"
        " `` `,` `sizes` `` `:` custom<DynamicIndexList>($sizes, $static_sizes)"
        " `` `,` `strides` `` `:` custom<DynamicIndexList>($strides, $static_strides)"
        " attr-dict `:` type($source) `to` type($result)"
    )

    @classmethod
    def make(cls, source: Value, offset: Mixed, sizes: Sequence[Mixed], strides: Sequence[Mixed]) -> Self:
        operands, attributes = slice_parts([source], [offset], sizes, strides)
        type = source.type
        new = strided_type(
            shape_of(sizes), type.element_type, shape_of(strides), shape_of([offset])[0], type.memory_space
        )
        return cls(operands, [new], attributes)

    def verify_op(self) -> None:
        source, view = self.source.type, self.result.type
        if len(self.mixed_offsets) != 1:
            raise VerifyError(self, "takes one offset")
        if len(self.mixed_sizes) != view.rank or len(self.mixed_strides) != view.rank:
            raise VerifyError(self, f"takes {view.rank} sizes and strides")
        if source.element_type is not view.element_type or source.memory_space is not view.memory_space:
            raise VerifyError(self, f"{source} and {view} differ in element type or memory space")
        expected = strided_type(
            shape_of(self.mixed_sizes),
            view.element_type,
            shape_of(self.mixed_strides),
            shape_of(self.mixed_offsets)[0],
            view.memory_space,
        )
        error = cast_error(expected, view)
        if error is not None:
            raise VerifyError(self, f"expected {expected}, got {view}: {error}")


class CollapseShape(RuleOp, name="memref.collapse_shape", traits=(PURE,)):
    """Adjacent dims merged, sharing memory; dims of a group must be contiguous."""

    src = operand(MemRefType)
    reassociation = attribute(ArrayAttr)
    result = result(MemRefType)
    assembly_format = "$src $reassociation attr-dict `:` type($src) `into` type($result)"

    @classmethod
    def make(cls, source: Value, groups: Iterable[Iterable[int]]) -> Self:
        attribute = reassociation_attribute(groups)
        type = collapsed_type(source.type, reassociation_groups(attribute))
        return cls([source], [type], {"reassociation": attribute})

    @property
    def groups(self) -> Reassociation:
        return reassociation_groups(self.reassociation)

    def verify_op(self) -> None:
        source, view = self.src.type, self.result.type
        error = reassociation_error(source.shape, view.shape, self.groups)
        if error is None:
            error = _same_storage(source, view)
        if error is None:
            try:
                expected = collapsed_type(source, self.groups)
            except ValueError as problem:
                error = str(problem)
            else:
                error = cast_error(expected, view)
        if error is not None:
            raise VerifyError(self, error)


def _same_storage(a: MemRefType, b: MemRefType) -> str | None:
    if a.element_type is not b.element_type or a.memory_space is not b.memory_space:
        return f"{a} and {b} differ in element type or memory space"
    return None


def collapsed_type(source: MemRefType, groups: Reassociation) -> MemRefType:
    """The type of a collapse. Raises ValueError when a group is statically not contiguous."""
    shape = collapsed_shape(source.shape, groups)
    if source.layout is None:
        return MemRefType(shape, source.element_type, None, source.memory_space)
    strides, offset = strides_and_offset(source)
    collapsed = []
    for group in groups:
        kept = [i for i in group if source.shape[i] != 1] or [group[-1]]
        for outer, inner in pairwise(kept):
            step = mul_dims(strides[inner], source.shape[inner])
            if not compatible(strides[outer], step):
                raise ValueError(f"dims {outer} and {inner} of {source} are not contiguous")
        collapsed.append(strides[kept[-1]])
    return strided_type(shape, source.element_type, collapsed, offset, source.memory_space)


class ExpandShape(MixedIndexOp, name="memref.expand_shape", traits=(PURE,)):
    """Dims split, sharing memory; ``output_shape`` gives every result size."""

    src = operand(MemRefType)
    output_shape = variadic_operand(INDEX)
    reassociation = attribute(ArrayAttr)
    static_output_shape = attribute(DenseArrayAttr)
    result = result(MemRefType)
    assembly_format = (
        "$src $reassociation `output_shape` custom<DynamicIndexList>($output_shape, $static_output_shape)"
        " attr-dict `:` type($src) `into` type($result)"
    )

    @classmethod
    def make(cls, source: Value, groups: Iterable[Iterable[int]], output_shape: Sequence[Mixed]) -> Self:
        attribute = reassociation_attribute(groups)
        type = expanded_type(source.type, reassociation_groups(attribute), shape_of(output_shape))
        attributes: dict[str, Attribute] = {
            "reassociation": attribute,
            "static_output_shape": static_part(output_shape),
        }
        return cls([source, *dynamic_part(output_shape)], [type], attributes)

    @property
    def groups(self) -> Reassociation:
        return reassociation_groups(self.reassociation)

    @property
    def mixed_output_shape(self) -> tuple[Mixed, ...]:
        return join(self.static_output_shape.values, self.output_shape)

    def verify_op(self) -> None:
        source, view = self.src.type, self.result.type
        error = reassociation_error(view.shape, source.shape, self.groups) or _same_storage(source, view)
        if error is None and not compatible_shapes(shape_of(self.mixed_output_shape), view.shape):
            error = f"output_shape {list(shape_of(self.mixed_output_shape))} does not fit {view}"
        if error is None:
            error = cast_error(expanded_type(source, self.groups, view.shape), view)
        if error is not None:
            raise VerifyError(self, error)


def expanded_type(source: MemRefType, groups: Reassociation, shape: Sequence[int]) -> MemRefType:
    """The type of an expansion of ``source`` to ``shape``."""
    if source.layout is None:
        return MemRefType(shape, source.element_type, None, source.memory_space)
    strides, offset = strides_and_offset(source)
    expanded: list[int] = [1] * len(shape)
    for group, stride in zip(groups, strides, strict=True):
        for i in reversed(group):
            expanded[i] = stride
            stride = mul_dims(stride, shape[i])
    return strided_type(shape, source.element_type, expanded, offset, source.memory_space)


class Transpose(RuleOp, name="memref.transpose", traits=(PURE,)):
    """The same buffer with its dims in another order, given by an affine permutation."""

    input = operand(MemRefType)
    permutation = attribute(AffineMapAttr)
    result = result(MemRefType)

    @classmethod
    def make(cls, source: Value, permutation: Any) -> Self:
        """``permutation``: an AffineMap; result dim ``i`` is source dim ``permutation(i)``."""
        type = source.type
        strides, offset = strides_and_offset(type)
        order = permutation.dim_positions()
        new = strided_type(
            [type.shape[i] for i in order],
            type.element_type,
            [strides[i] for i in order],
            offset,
            type.memory_space,
        )
        return cls([source], [new], {"permutation": AffineMapAttr(permutation)})

    @classmethod
    def parse(cls, p: Any) -> Self:
        name = p.operand_name()
        permutation = p.affine_map()
        attributes = p.attribute_dict()
        p.expect(":")
        source = p.type()
        p.expect("to")
        type = p.type()
        attributes["permutation"] = AffineMapAttr(permutation)
        return cls([p.resolve(name, source)], [type], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.input)} {self.permutation.value}")
        printer.attribute_dict(self.attributes, ("permutation",))
        printer.write(f" : {printer.text(self.input.type)} to {printer.text(self.result.type)}")

    def verify_op(self) -> None:
        source, permutation = self.input.type, self.permutation.value
        if not permutation.is_permutation or permutation.n_dims != source.rank:
            raise VerifyError(self, f"{permutation} is no permutation of {source.rank} dims")
        error = cast_error(self.make(self.input, permutation).result.type, self.result.type)
        if error is not None:
            raise VerifyError(self, error)


class Reshape(Op, name="memref.reshape", traits=(PURE,)):
    """The same contiguous buffer under the shape held by a 1-D integer or index memref."""

    source = operand(ANY_MEMREF)
    shape = operand(MemRefType)
    result = result(ANY_MEMREF)
    assembly_format = "$source `(` $shape `)` attr-dict `:` functional-type(operands, results)"

    @classmethod
    def make(cls, source: Value, shape: Value, type: Type) -> Self:
        return cls([source, shape], [type])

    def verify_op(self) -> None:
        a, b = self.source.type, self.result.type
        if a.element_type is not b.element_type:
            raise VerifyError(self, f"element types of {a} and {b} differ")
        for type in (a, b):
            if isinstance(type, MemRefType) and type.layout is not None:
                raise VerifyError(self, f"{type} must have identity layout")


class View(Op, name="memref.view", traits=(PURE,)):
    """Bytes ``byte_shift ...`` of a 1-D i8 buffer as a contiguous memref of another type."""

    source = operand(MemRefType)
    byte_shift = operand(INDEX)
    sizes = variadic_operand(INDEX)
    result = result(MemRefType)
    assembly_format = (
        "$source `[` $byte_shift `]` `` `[` $sizes `]` attr-dict `:` type($source) `to` type($result)"
    )

    @classmethod
    def make(cls, source: Value, byte_shift: Value, sizes: Sequence[Value], type: MemRefType) -> Self:
        return cls([source, byte_shift, *sizes], [type])

    def verify_op(self) -> None:
        source, view = self.source.type, self.result.type
        if source.rank != 1 or str(source.element_type) != "i8" or source.layout is not None:
            raise VerifyError(self, f"the source must be a contiguous 1-D memref of i8, got {source}")
        if view.layout is not None:
            raise VerifyError(self, f"the view {view} must have identity layout")
        if source.memory_space is not view.memory_space:
            raise VerifyError(self, "memory spaces differ")
        if len(self.sizes) != view.n_dynamic:
            raise VerifyError(self, f"{len(self.sizes)} sizes for {view.n_dynamic} dynamic dims of {view}")


class ExtractStridedMetadata(Op, name="memref.extract_strided_metadata", traits=(PURE,)):
    """Base buffer (rank 0), offset, sizes and strides of a memref."""

    source = operand(MemRefType)
    base_buffer = result(MemRefType)
    offset = result(INDEX)
    sizes_and_strides = variadic_result(INDEX)
    """As many sizes as strides, in this order."""
    assembly_format = "$source `:` type($source) `->` type(results) attr-dict"

    @classmethod
    def make(cls, source: Value) -> Self:
        type = source.type
        base = MemRefType([], type.element_type, None, type.memory_space)
        return cls([source], [base, index, *[index] * (2 * type.rank)])

    @property
    def sizes(self) -> tuple[Value, ...]:
        return self.sizes_and_strides[: len(self.sizes_and_strides) // 2]

    @property
    def strides(self) -> tuple[Value, ...]:
        return self.sizes_and_strides[len(self.sizes_and_strides) // 2 :]

    def verify_op(self) -> None:
        if len(self.sizes_and_strides) != 2 * self.source.type.rank:
            raise VerifyError(self, f"must give {self.source.type.rank} sizes and as many strides")


class AssumeAlignment(Op, name="memref.assume_alignment", traits=(PURE,)):
    """The same memref, its base address a multiple of ``alignment`` bytes."""

    memref = operand(MemRefType)
    alignment = attribute(IntegerAttr, type=i32)
    result = result(MemRefType)
    assembly_format = "$memref `,` $alignment attr-dict `:` type($memref)"

    @classmethod
    def make(cls, memref: Value, alignment: int) -> Self:
        return cls([memref], [memref.type], {"alignment": IntegerAttr(alignment, i32)})

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["result"] = types["memref"]

    def verify_op(self) -> None:
        alignment = self.alignment.value
        if alignment <= 0 or alignment & (alignment - 1):
            raise VerifyError(self, f"alignment {alignment} is no power of two")
        if self.result.type is not self.memref.type:
            raise VerifyError(self, "the result must have the operand's type")
