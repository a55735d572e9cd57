"""``tensor`` ops that take parts of a tensor or see it under another shape."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
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
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import ArrayAttr, Attribute, DenseArrayAttr, Type
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    result,
    variadic_operand,
)
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import (
    DESTINATION_STYLE,
    PURE,
)
from iree_core_ir.ir.types import (
    IndexType,
    IntegerType,
    TensorType,
    UnrankedTensorType,
    index,
)

INDEX = index  # an op may have a field called index
ANY_TENSOR = (TensorType, UnrankedTensorType)


class ExtractSlice(SliceOp, name="tensor.extract_slice", traits=(PURE,)):
    """A strided box of the source; unit dims may be dropped in the result."""

    source = operand(TensorType)
    offsets = variadic_operand(INDEX)
    sizes = variadic_operand(INDEX)
    strides = variadic_operand(INDEX)
    static_offsets = attribute(DenseArrayAttr)
    static_sizes = attribute(DenseArrayAttr)
    static_strides = attribute(DenseArrayAttr)
    result = result(TensorType)
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
        result_type: TensorType | None = None,
    ) -> Self:
        """``result_type`` is needed only to drop unit dims."""
        operands, attributes = slice_parts([source], offsets, sizes, strides)
        if result_type is None:
            result_type = source.type.with_shape(shape_of(sizes))
        return cls(operands, [result_type], attributes)

    def verify_op(self) -> None:
        error = slice_error(
            self.source.type.shape, self.mixed_offsets, self.mixed_sizes, self.mixed_strides
        ) or _reduced_error(self.mixed_sizes, self.source.type, self.result.type)
        if error is not None:
            raise VerifyError(self, error)


def _reduced_error(sizes: Sequence[Mixed], full: TensorType, reduced: TensorType) -> str | None:
    """Why ``reduced`` is not the slice of ``sizes`` (unit dims dropped) of ``full``."""
    if full.element_type is not reduced.element_type:
        return f"element types of {full} and {reduced} differ"
    if dropped_unit_dims(shape_of(sizes), reduced.shape) is None:
        expected = full.with_shape(shape_of(sizes))
        return f"expected {expected} or a version of it without unit dims, got {reduced}"
    return None


class InsertSlice(SliceOp, name="tensor.insert_slice", traits=(PURE, DESTINATION_STYLE)):
    """``dest`` with a strided box replaced by ``source``; the source may lack unit dims of the box."""

    source = operand(TensorType)
    dest = operand(TensorType)
    offsets = variadic_operand(INDEX)
    sizes = variadic_operand(INDEX)
    strides = variadic_operand(INDEX)
    static_offsets = attribute(DenseArrayAttr)
    static_sizes = attribute(DenseArrayAttr)
    static_strides = attribute(DenseArrayAttr)
    result = result(TensorType)
    assembly_format = (
        "$source `into` $dest `` custom<DynamicIndexList>($offsets, $static_offsets)"
        " custom<DynamicIndexList>($sizes, $static_sizes)"
        " custom<DynamicIndexList>($strides, $static_strides)"
        " attr-dict `:` type($source) `into` type($dest)"
    )

    @classmethod
    def make(
        cls,
        source: Value,
        dest: Value,
        offsets: Sequence[Mixed],
        sizes: Sequence[Mixed],
        strides: Sequence[Mixed] | None = None,
    ) -> Self:
        operands, attributes = slice_parts([source, dest], offsets, sizes, strides)
        return cls(operands, [dest.type], attributes)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["result"] = types["dest"]

    def verify_op(self) -> None:
        error = slice_error(
            self.dest.type.shape, self.mixed_offsets, self.mixed_sizes, self.mixed_strides
        ) or _reduced_error(self.mixed_sizes, self.dest.type, self.source.type)
        if error is None and self.result.type is not self.dest.type:
            error = f"the result {self.result.type} must have the type of dest, {self.dest.type}"
        if error is not None:
            raise VerifyError(self, error)


class ParallelInsertSlice(SliceOp, name="tensor.parallel_insert_slice"):
    """One thread's share of the result of an enclosing ``scf.forall``; stands in its ``in_parallel``."""

    source = operand(TensorType)
    dest = operand(TensorType)
    offsets = variadic_operand(INDEX)
    sizes = variadic_operand(INDEX)
    strides = variadic_operand(INDEX)
    static_offsets = attribute(DenseArrayAttr)
    static_sizes = attribute(DenseArrayAttr)
    static_strides = attribute(DenseArrayAttr)
    assembly_format = InsertSlice.assembly_format

    @classmethod
    def make(
        cls,
        source: Value,
        dest: Value,
        offsets: Sequence[Mixed],
        sizes: Sequence[Mixed],
        strides: Sequence[Mixed] | None = None,
    ) -> Self:
        operands, attributes = slice_parts([source, dest], offsets, sizes, strides)
        return cls(operands, [], attributes)

    def verify_op(self) -> None:
        error = slice_error(
            self.dest.type.shape, self.mixed_offsets, self.mixed_sizes, self.mixed_strides
        ) or _reduced_error(self.mixed_sizes, self.dest.type, self.source.type)
        if error is not None:
            raise VerifyError(self, error)


class CollapseShape(RuleOp, name="tensor.collapse_shape", traits=(PURE,)):
    """Adjacent dims merged, as ``reassociation`` groups them."""

    src = operand(TensorType)
    reassociation = attribute(ArrayAttr)
    result = result(TensorType)
    assembly_format = "$src $reassociation attr-dict `:` type($src) `into` type($result)"

    @classmethod
    def make(
        cls, source: Value, groups: Iterable[Iterable[int]], result_type: TensorType | None = None
    ) -> Self:
        attribute = reassociation_attribute(groups)
        if result_type is None:
            shape = collapsed_shape(source.type.shape, reassociation_groups(attribute))
            result_type = TensorType(shape, source.type.element_type)
        return cls([source], [result_type], {"reassociation": attribute})

    @property
    def groups(self) -> Reassociation:
        return reassociation_groups(self.reassociation)

    def verify_op(self) -> None:
        _check_reassociation(self, self.src.type, self.result.type, self.groups)


def _check_reassociation(op: Op, expanded: TensorType, collapsed: TensorType, groups: Reassociation) -> None:
    error = _reassociation_error(expanded, collapsed, groups)
    if error is not None:
        raise VerifyError(op, error)


@functools.lru_cache(maxsize=1 << 12)
def _reassociation_error(expanded: TensorType, collapsed: TensorType, groups: Reassociation) -> str | None:
    error = reassociation_error(expanded.shape, collapsed.shape, groups)
    if error is None and expanded.element_type is not collapsed.element_type:
        error = "element types differ"
    return error


class ExpandShape(MixedIndexOp, name="tensor.expand_shape", traits=(PURE,)):
    """Dims split, as ``reassociation`` groups the result's; ``output_shape`` gives every result size."""

    src = operand(TensorType)
    output_shape = variadic_operand(INDEX)
    reassociation = attribute(ArrayAttr)
    static_output_shape = attribute(DenseArrayAttr)
    result = result(TensorType)
    assembly_format = (
        "$src $reassociation `output_shape` custom<DynamicIndexList>($output_shape, $static_output_shape)"
        " attr-dict `:` type($src) `into` type($result)"
    )

    @classmethod
    def make(
        cls,
        source: Value,
        groups: Iterable[Iterable[int]],
        output_shape: Sequence[Mixed],
        result_type: TensorType | None = None,
    ) -> Self:
        if result_type is None:
            result_type = TensorType(shape_of(output_shape), source.type.element_type)
        attributes: dict[str, Attribute] = {
            "reassociation": reassociation_attribute(groups),
            "static_output_shape": static_part(output_shape),
        }
        return cls([source, *dynamic_part(output_shape)], [result_type], attributes)

    @property
    def groups(self) -> Reassociation:
        return reassociation_groups(self.reassociation)

    @property
    def mixed_output_shape(self) -> tuple[Mixed, ...]:
        return join(self.static_output_shape.values, self.output_shape)

    def verify_op(self) -> None:
        _check_reassociation(self, self.result.type, self.src.type, self.groups)
        sizes = shape_of(self.mixed_output_shape)
        if sizes != self.result.type.shape and not compatible_shapes(sizes, self.result.type.shape):
            raise VerifyError(self, f"output_shape {list(sizes)} does not fit {self.result.type}")


class Reshape(RuleOp, name="tensor.reshape", traits=(PURE,)):
    """The elements, row-major, under the shape held by an integer or index tensor."""

    source = operand(ANY_TENSOR)
    shape = operand(TensorType)
    result = result(ANY_TENSOR)
    assembly_format = "$source `(` $shape `)` attr-dict `:` functional-type(operands, results)"

    @classmethod
    def make(cls, source: Value, shape: Value, result_type: Type) -> Self:
        return cls([source, shape], [result_type])

    def verify_op(self) -> None:
        a, b, shape = self.source.type, self.result.type, self.shape.type
        if a.element_type is not b.element_type:
            raise VerifyError(self, f"element types of {a} and {b} differ")
        if shape.rank != 1 or not isinstance(shape.element_type, (IntegerType, IndexType)):
            raise VerifyError(self, f"the shape must be a 1-D tensor of integers or index, got {shape}")
        if isinstance(b, TensorType):
            if not compatible(shape.shape[0], b.rank):
                raise VerifyError(self, f"a shape of {shape.shape[0]} elements for {b}")
            if isinstance(a, TensorType) and a.is_static and b.is_static and a.n_elements != b.n_elements:
                raise VerifyError(self, f"{a} and {b} differ in element count")
