"""``tensor``: values that are whole arrays; creating, reading, slicing and reshaping them, as in MLIR.

No op writes into its operand: ``insert`` and ``insert_slice`` give the changed copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from iree_core_ir.dialects import tensor_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.compatible import compatible as compatible
from iree_core_ir.dialects.compatible import compatible_shapes as compatible_shapes
from iree_core_ir.dialects.mixed import Mixed, MixedIndexOp, dynamic_part, join, shape_of, static_part
from iree_core_ir.dialects.rule_op import RuleOp
from iree_core_ir.dialects.tensor_views import *  # noqa: F403
from iree_core_ir.dialects.tensor_views import (
    CollapseShape,
    ExpandShape,
    ExtractSlice,
    InsertSlice,
    ParallelInsertSlice,
    Reshape,
)
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import UNIT, Attribute, DenseArrayAttr, IntegerAttr, Type, UnitAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    region,
    result,
    segment_sizes,
    variadic_operand,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Op, Value, single_block_region
from iree_core_ir.ir.traits import (
    DESTINATION_STYLE,
    PURE,
    RECURSIVE_EFFECTS,
    RETURN_LIKE,
    SINGLE_BLOCK,
    TERMINATOR,
)
from iree_core_ir.ir.types import (
    DYNAMIC,
    TensorType,
    UnrankedTensorType,
    i64,
    index,
)

INDEX = index  # an op may have a field called index
ANY_TENSOR = (TensorType, UnrankedTensorType)
BodyFunction = Callable[..., Value]
"""``(builder, *indices) -> element``."""


def _build_body(block_types: Iterable[Type], body: BodyFunction) -> Any:
    new = single_block_region(block_types)
    builder = Builder.at_end(new.block)
    builder.create(Yield, body(builder, *new.block.args))
    return new


class Empty(Op, name="tensor.empty", traits=(PURE,)):
    """A tensor of unspecified contents: the shape of a destination."""

    dynamic_sizes = variadic_operand(INDEX)
    result = result(TensorType)
    assembly_format = "`(` $dynamic_sizes `)` attr-dict `:` type($result)"

    @classmethod
    def make(cls, sizes: Sequence[Mixed], element_type: Type, encoding: Attribute | None = None) -> Self:
        """``sizes`` holds integers and index values."""
        return cls(dynamic_part(sizes), [TensorType(shape_of(sizes), element_type, encoding)])

    @property
    def mixed_sizes(self) -> tuple[Mixed, ...]:
        values = iter(self.operands)
        return tuple(next(values) if d == DYNAMIC else d for d in self.results[0].type.shape)

    def verify_op(self) -> None:
        _check_dynamic_sizes(self, self.result.type, self.operands)


def _check_dynamic_sizes(op: Op, type: Any, sizes: Sequence[Value]) -> None:
    if type.n_dynamic != len(sizes):
        raise VerifyError(op, f"{len(sizes)} sizes for {type.n_dynamic} dynamic dims of {type}")


class Dim(RuleOp, name="tensor.dim", traits=(PURE,)):
    """The size of dimension ``index``."""

    source = operand(ANY_TENSOR)
    index = operand(INDEX)
    result = result(INDEX)
    assembly_format = "attr-dict $source `,` $index `:` type($source)"

    @classmethod
    def make(cls, source: Value, index_value: Value) -> Self:
        return cls([source, index_value], [index])

    @property
    def constant_index(self) -> int | None:
        return known_integer(self.index)

    def verify_op(self) -> None:
        axis = self.constant_index
        type = self.source.type
        if isinstance(type, TensorType):
            if type.rank == 0:
                raise VerifyError(self, "a rank-0 tensor has no dims")
            if axis is not None and axis < 0:
                raise VerifyError(self, f"dim index {axis} is negative")


class Rank(RuleOp, name="tensor.rank", traits=(PURE,)):
    tensor = operand(ANY_TENSOR)
    result = result(INDEX)
    assembly_format = "$tensor attr-dict `:` type($tensor)"

    @classmethod
    def make(cls, tensor: Value) -> Self:
        return cls([tensor], [index])


class Cast(RuleOp, name="tensor.cast", traits=(PURE,)):
    """The same value with more or less of its shape known; a wrong claim is an error at run time."""

    source = operand(ANY_TENSOR)
    dest = result(ANY_TENSOR)
    assembly_format = "$source attr-dict `:` type($source) `to` type($dest)"

    @classmethod
    def make(cls, source: Value, type: Type) -> Self:
        return cls([source], [type])

    def verify_op(self) -> None:
        a, b = self.source.type, self.dest.type
        if a.element_type is not b.element_type:
            raise VerifyError(self, f"cannot cast {a} to {b}: element types differ")
        if isinstance(a, TensorType) and isinstance(b, TensorType):
            if not compatible_shapes(a.shape, b.shape):
                raise VerifyError(self, f"cannot cast {a} to {b}: shapes are incompatible")


class Bitcast(RuleOp, name="tensor.bitcast", traits=(PURE,)):
    """The same bits under another element type of the same width."""

    source = operand(ANY_TENSOR)
    dest = result(ANY_TENSOR)
    assembly_format = "$source attr-dict `:` type($source) `to` type($dest)"

    @classmethod
    def make(cls, source: Value, type: Type) -> Self:
        return cls([source], [type])

    def verify_op(self) -> None:
        a, b = self.source.type, self.dest.type
        width_a, width_b = (getattr(t.element_type, "width", 64) for t in (a, b))
        if width_a != width_b:
            raise VerifyError(self, f"cannot bitcast {a} to {b}: element widths differ")
        if (
            isinstance(a, TensorType)
            and isinstance(b, TensorType)
            and not compatible_shapes(a.shape, b.shape)
        ):
            raise VerifyError(self, f"cannot bitcast {a} to {b}: shapes are incompatible")


class Extract(RuleOp, name="tensor.extract", traits=(PURE,)):
    """One element."""

    tensor = operand(TensorType)
    indices = variadic_operand(INDEX)
    result = result()
    assembly_format = "$tensor `[` $indices `]` attr-dict `:` type($tensor)"

    @classmethod
    def make(cls, tensor: Value, indices: Sequence[Value]) -> Self:
        return cls([tensor, *indices], [tensor.type.element_type])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["result"] = [types["tensor"][0].element_type]

    def verify_op(self) -> None:
        type = self.tensor.type
        if len(self.indices) != type.rank:
            raise VerifyError(self, f"{len(self.indices)} indices into {type}")
        if self.result.type is not type.element_type:
            raise VerifyError(self, f"extracts {self.result.type} from {type}")


class Insert(Op, name="tensor.insert", traits=(PURE, DESTINATION_STYLE)):
    """``dest`` with one element replaced."""

    scalar = operand()
    dest = operand(TensorType)
    indices = variadic_operand(INDEX)
    result = result(TensorType)
    assembly_format = "$scalar `into` $dest `[` $indices `]` attr-dict `:` type($dest)"

    @classmethod
    def make(cls, scalar: Value, dest: Value, indices: Sequence[Value]) -> Self:
        return cls([scalar, dest, *indices], [dest.type])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["scalar"] = [types["dest"][0].element_type]
        types["result"] = types["dest"]

    def verify_op(self) -> None:
        type = self.dest.type
        if len(self.indices) != type.rank:
            raise VerifyError(self, f"{len(self.indices)} indices into {type}")
        if self.scalar.type is not type.element_type or self.result.type is not type:
            raise VerifyError(self, f"inserts {self.scalar.type} into {type} giving {self.result.type}")


class FromElements(RuleOp, name="tensor.from_elements", traits=(PURE,)):
    """A static tensor of the given scalars, row-major."""

    elements = variadic_operand()
    result = result(TensorType)
    assembly_format = "$elements attr-dict `:` type($result)"

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["elements"] = [types["result"][0].element_type] * len(types["elements"])

    @classmethod
    def make(cls, elements: Sequence[Value], type: TensorType | None = None) -> Self:
        """Rank 1 unless ``type`` says otherwise (it must for no elements)."""
        if type is None:
            type = TensorType([len(elements)], elements[0].type)
        return cls(elements, [type])

    def verify_op(self) -> None:
        type = self.result.type
        if not type.is_static or type.n_elements != len(self.elements):
            raise VerifyError(self, f"{len(self.elements)} elements for {type}")
        for value in self.elements:
            if value.type is not type.element_type:
                raise VerifyError(self, f"element of type {value.type} in {type}")


class Splat(RuleOp, name="tensor.splat", traits=(PURE,)):
    """One scalar everywhere."""

    input = operand()
    dynamic_sizes = variadic_operand(INDEX)
    aggregate = result(TensorType)
    assembly_format = "$input (`[` $dynamic_sizes^ `]`)? attr-dict `:` type($aggregate)"

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["input"] = [types["aggregate"][0].element_type]

    @classmethod
    def make(cls, value: Value, sizes: Sequence[Mixed]) -> Self:
        return cls([value, *dynamic_part(sizes)], [TensorType(shape_of(sizes), value.type)])

    @property
    def mixed_sizes(self) -> tuple[Mixed, ...]:
        values = iter(self.dynamic_sizes)
        return tuple(next(values) if d == DYNAMIC else d for d in self.aggregate.type.shape)

    def verify_op(self) -> None:
        _check_dynamic_sizes(self, self.aggregate.type, self.dynamic_sizes)
        if self.input.type is not self.aggregate.type.element_type:
            raise VerifyError(self, f"splats {self.input.type} into {self.aggregate.type}")


class Yield(Op, name="tensor.yield", traits=(PURE, TERMINATOR, RETURN_LIKE)):
    """Ends the body of ``generate`` and ``pad``."""

    value = operand()
    assembly_format = "$value attr-dict `:` type($value)"

    @classmethod
    def make(cls, value: Value) -> Self:
        return cls([value])


class Generate(Op, name="tensor.generate", traits=(RECURSIVE_EFFECTS, SINGLE_BLOCK)):
    """Each element computed by the body from its indices."""

    dynamic_extents = variadic_operand(INDEX)
    result = result(TensorType)
    body = region()
    assembly_format = "$dynamic_extents $body attr-dict `:` type($result)"

    @classmethod
    def make(cls, sizes: Sequence[Mixed], element_type: Type, body: BodyFunction) -> Self:
        """``body(builder, *indices)`` builds and returns the element."""
        filled = _build_body([index] * len(sizes), body)
        return cls(dynamic_part(sizes), [TensorType(shape_of(sizes), element_type)], regions=[filled])

    @property
    def mixed_sizes(self) -> tuple[Mixed, ...]:
        values = iter(self.operands)
        return tuple(next(values) if d == DYNAMIC else d for d in self.results[0].type.shape)

    def verify_op(self) -> None:
        _check_dynamic_sizes(self, self.result.type, self.operands)
        _check_index_body(self, self.body, self.result.type)


def _check_index_body(op: Op, body: Any, type: TensorType) -> None:
    """One index argument a dim, and a ``tensor.yield`` of an element."""
    block = body.block
    if [a.type for a in block.args] != [index] * type.rank:
        raise VerifyError(op, f"the body must have {type.rank} index arguments")
    last = block.last
    if not isinstance(last, Yield):
        raise VerifyError(op, "the body must end with tensor.yield")
    if last.value.type is not type.element_type:
        raise VerifyError(op, f"the body yields {last.value.type} for {type}")


class Pad(MixedIndexOp, name="tensor.pad", traits=(PURE, SINGLE_BLOCK)):
    """``low`` and ``high`` elements added along each dim (taken away when negative), computed by the body."""

    source = operand(TensorType)
    low = variadic_operand(INDEX)
    high = variadic_operand(INDEX)
    static_low = attribute(DenseArrayAttr)
    static_high = attribute(DenseArrayAttr)
    nofold = optional_attribute(UnitAttr)
    region = region()
    result = result(TensorType)
    assembly_format = (
        "$source (`nofold` $nofold^)? `low` `` custom<DynamicIndexList>($low, $static_low)"
        " `high` `` custom<DynamicIndexList>($high, $static_high)"
        " $region attr-dict `:` type($source) `to` type($result)"
    )

    @classmethod
    def make(
        cls,
        source: Value,
        low: Sequence[Mixed],
        high: Sequence[Mixed],
        value: Value | BodyFunction,
        result_type: TensorType | None = None,
        nofold: bool = False,
    ) -> Self:
        """``value`` is the padding, or builds it from the result's indices."""
        if isinstance(value, Value):
            padding = value
            body = _build_body([index] * len(low), lambda builder, *indices: padding)
        else:
            body = _build_body([index] * len(low), value)
        if result_type is None:
            result_type = source.type.with_shape(padded_shape(source.type.shape, low, high))
        lows, highs = dynamic_part(low), dynamic_part(high)
        attributes: dict[str, Attribute] = {
            "static_low": static_part(low),
            "static_high": static_part(high),
            "operandSegmentSizes": segment_sizes([source], lows, highs),
        }
        if nofold:
            attributes["nofold"] = UNIT
        return cls([source, *lows, *highs], [result_type], attributes, [body])

    @property
    def mixed_low(self) -> tuple[Mixed, ...]:
        return join(self.static_low.values, self.low)

    @property
    def mixed_high(self) -> tuple[Mixed, ...]:
        return join(self.static_high.values, self.high)

    @property
    def constant_padding(self) -> Value | None:
        """The padding when it does not depend on the position: a value from outside or of a constant."""
        block = self.region.block
        value = block.terminator.operands[0]
        if value.parent_block is not block:
            return value
        op = value.defining_op
        return value if op is not None and not op.operands and not op.regions else None

    def verify_op(self) -> None:
        source, padded = self.source.type, self.result.type
        if len(self.mixed_low) != source.rank or len(self.mixed_high) != source.rank:
            raise VerifyError(self, f"low and high need {source.rank} entries each")
        expected = padded_shape(source.shape, self.mixed_low, self.mixed_high)
        if source.element_type is not padded.element_type or not compatible_shapes(expected, padded.shape):
            raise VerifyError(self, f"expected {source.with_shape(expected)}, got {padded}")
        if any(dim < DYNAMIC for dim in expected):
            raise VerifyError(self, f"negative padding takes away more than {source} has")
        _check_index_body(self, self.region, padded)


def padded_shape(shape: Sequence[int], low: Sequence[Mixed], high: Sequence[Mixed]) -> tuple[int, ...]:
    """``low + dim + high`` per dim, DYNAMIC where one is not static."""
    return tuple(
        DYNAMIC if dim == DYNAMIC or isinstance(a, Value) or isinstance(b, Value) else dim + a + b
        for dim, a, b in zip(shape, low, high, strict=True)
    )


class Concat(RuleOp, name="tensor.concat", traits=(PURE,)):
    """The inputs one after the other along ``dim``."""

    dim = attribute(IntegerAttr, type=i64)
    inputs = variadic_operand(TensorType)
    result = result(TensorType)
    assembly_format = "`dim` `(` $dim `)` $inputs attr-dict `:` functional-type(operands, results)"

    @classmethod
    def make(cls, dim: int, inputs: Sequence[Value], result_type: TensorType | None = None) -> Self:
        if result_type is None:
            first = inputs[0].type
            result_type = first.with_shape(concat_shape(dim, [v.type.shape for v in inputs]))
        return cls(inputs, [result_type], {"dim": IntegerAttr(dim, i64)})

    def verify_op(self) -> None:
        if not self.inputs:
            raise VerifyError(self, "needs at least one input")
        types = [v.type for v in self.inputs]
        dim, out = self.dim.value, self.result.type
        if any(t.rank != out.rank or t.element_type is not out.element_type for t in types):
            raise VerifyError(self, "inputs and result must agree in rank and element type")
        if not 0 <= dim < out.rank:
            raise VerifyError(self, f"dim {dim} of a rank {out.rank} tensor")
        for axis in range(out.rank):
            sizes = [t.shape[axis] for t in types]
            if axis == dim:
                if DYNAMIC not in sizes and not compatible(sum(sizes), out.shape[axis]):
                    raise VerifyError(self, f"dim {axis} sums to {sum(sizes)}, the result says {out}")
            elif len({s for s in [*sizes, out.shape[axis]] if s != DYNAMIC}) > 1:
                raise VerifyError(self, f"sizes of dim {axis} differ: {sizes} and {out.shape[axis]}")


def concat_shape(dim: int, shapes: Sequence[Sequence[int]]) -> list[int]:
    """The shape of tensors of these shapes joined along ``dim``."""
    joined = []
    for axis, sizes in enumerate(zip(*shapes, strict=True)):
        known = [s for s in sizes if s != DYNAMIC]
        if axis == dim:
            joined.append(sum(sizes) if len(known) == len(sizes) else DYNAMIC)
        else:
            joined.append(known[0] if known else DYNAMIC)
    return joined


# -- building helpers -------------------------------------------------------------------------


def dim(builder: Builder, source: Value, axis: int) -> Mixed:
    """The size of ``source`` along ``axis``: an integer when static, else the value of a ``tensor.dim``."""
    size: int = source.type.shape[axis]
    if size != DYNAMIC:
        return size
    from iree_core_ir.dialects import arith

    position = builder.create(arith.Constant, IntegerAttr(axis, index))
    return builder.create(Dim, source, position.result).result


def sizes(builder: Builder, source: Value) -> list[Mixed]:
    """``dim`` of every axis."""
    return [dim(builder, source, axis) for axis in range(source.type.rank)]


def empty_like(builder: Builder, source: Value, element_type: Type | None = None) -> Value:
    """A ``tensor.empty`` of the source's shape."""
    element = source.type.element_type if element_type is None else element_type
    return builder.create(Empty, sizes(builder, source), element).result


def cast_to(builder: Builder, value: Value, type: Type) -> Value:
    """``value`` as ``type``: itself when it has it, else through ``tensor.cast``."""
    return value if value.type is type else builder.create(Cast, value, type).dest


DIALECT = Dialect(
    "tensor",
    ops=[
        Bitcast,
        Cast,
        CollapseShape,
        Concat,
        Dim,
        Empty,
        ExpandShape,
        Extract,
        ExtractSlice,
        FromElements,
        Generate,
        Insert,
        InsertSlice,
        Pad,
        ParallelInsertSlice,
        Rank,
        Reshape,
        Splat,
        Yield,
    ],
)
