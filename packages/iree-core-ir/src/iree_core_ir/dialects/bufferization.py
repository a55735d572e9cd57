"""``bufferization``: the border between tensors (values) and memrefs (memory), as in MLIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects import tensor_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.compatible import compatible_shapes
from iree_core_ir.dialects.effects import TensorOrMemRefOp
from iree_core_ir.dialects.mixed import Mixed, dynamic_part, shape_of
from iree_core_ir.dialects.rule_op import RuleOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import UNIT, Attribute, Type, UnitAttr
from iree_core_ir.ir.declaration import (
    operand,
    optional_attribute,
    optional_operand,
    result,
    segment_sizes,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE, PURE, READS
from iree_core_ir.ir.types import DYNAMIC, MemRefType, ShapedType, TensorType, index


def _check_pair(op: Op, tensor: Any, memref: Any) -> None:
    if tensor.element_type is not memref.element_type or not compatible_shapes(tensor.shape, memref.shape):
        raise VerifyError(op, f"{tensor} and {memref} differ in shape or element type")


class ToTensor(RuleOp, name="bufferization.to_tensor", traits=(READS,)):
    """The contents of a buffer as a value."""

    buffer = operand(MemRefType)
    restrict = optional_attribute(UnitAttr)
    writable = optional_attribute(UnitAttr)
    result = result(TensorType)
    assembly_format = (
        "$buffer (`restrict` $restrict^)? (`writable` $writable^)? attr-dict"
        " `:` type($buffer) `to` type($result)"
    )

    @classmethod
    def make(cls, buffer: Value, restrict: bool = False, writable: bool = False) -> Self:
        attributes: dict[str, Attribute] = {}
        if restrict:
            attributes["restrict"] = UNIT
        if writable:
            attributes["writable"] = UNIT
        type = buffer.type
        return cls([buffer], [TensorType(type.shape, type.element_type)], attributes)

    def verify_op(self) -> None:
        _check_pair(self, self.result.type, self.buffer.type)


class ToBuffer(RuleOp, name="bufferization.to_buffer", traits=(PURE,)):
    """A buffer that holds a tensor; ``read_only`` promises not to write it."""

    tensor = operand(TensorType)
    read_only = optional_attribute(UnitAttr)
    buffer = result(MemRefType)
    assembly_format = "$tensor (`read_only` $read_only^)? attr-dict `:` type($tensor) `to` type($buffer)"

    @classmethod
    def make(cls, tensor: Value, type: MemRefType | None = None, read_only: bool = False) -> Self:
        if type is None:
            type = MemRefType(tensor.type.shape, tensor.type.element_type)
        return cls([tensor], [type], {"read_only": UNIT} if read_only else {})

    def verify_op(self) -> None:
        _check_pair(self, self.tensor.type, self.buffer.type)


class AllocTensor(Op, name="bufferization.alloc_tensor", traits=(PURE,)):
    """A tensor in fresh memory: of unspecified contents, or a copy."""

    dynamic_sizes = variadic_operand(index)
    copy = optional_operand(TensorType)
    size_hint = optional_operand(index)
    memory_space = optional_attribute(Attribute)
    result = result(TensorType)

    @classmethod
    def make(cls, sizes: Sequence[Mixed], element_type: Type) -> Self:
        values = dynamic_part(sizes)
        attributes: dict[str, Attribute] = {"operandSegmentSizes": segment_sizes(values, (), ())}
        return cls(values, [TensorType(shape_of(sizes), element_type)], attributes)

    @classmethod
    def of(cls, source: Value) -> Self:
        """A copy of ``source``."""
        attributes: dict[str, Attribute] = {"operandSegmentSizes": segment_sizes((), [source], ())}
        return cls([source], [source.type], attributes)

    @classmethod
    def parse(cls, p: Any) -> Self:
        sizes = p.comma_list(p.operand_name)
        copy = hint = None
        if p.accept("copy"):
            p.expect("(")
            copy = p.operand_name()
            p.expect(")")
        if p.accept("size_hint"):
            p.expect("=")
            hint = p.operand_name()
        attributes = p.attribute_dict()
        p.expect(":")
        type = p.type()
        values = p.resolve_all(sizes, [index] * len(sizes))
        copies = [] if copy is None else [p.resolve(copy, type)]
        hints = [] if hint is None else [p.resolve(hint, index)]
        attributes["operandSegmentSizes"] = segment_sizes(values, copies, hints)
        return cls([*values, *copies, *hints], [type], attributes)

    def print(self, printer: Any) -> None:
        printer.write(f"({printer.names(self.dynamic_sizes)})")
        if self.copy is not None:
            printer.write(f" copy({printer.name(self.copy)})")
        if self.size_hint is not None:
            printer.write(f" size_hint={printer.name(self.size_hint)}")
        printer.attribute_dict(self.attributes, ("operandSegmentSizes",))
        printer.write(f" : {printer.text(self.result.type)}")

    @property
    def mixed_sizes(self) -> tuple[Mixed, ...]:
        values = iter(self.dynamic_sizes)
        return tuple(next(values) if d == DYNAMIC else d for d in self.result.type.shape)

    def verify_op(self) -> None:
        type = self.result.type
        if self.copy is not None:
            if self.dynamic_sizes or self.copy.type is not type:
                raise VerifyError(self, "a copy has the source's type and takes no sizes")
        elif len(self.dynamic_sizes) != type.n_dynamic:
            raise VerifyError(
                self, f"{len(self.dynamic_sizes)} sizes for {type.n_dynamic} dynamic dims of {type}"
            )


class MaterializeInDestination(
    TensorOrMemRefOp, name="bufferization.materialize_in_destination", traits=(DESTINATION_STYLE,)
):
    """``source``, computed into ``dest``: a tensor (the result is it) or a writable memref."""

    source = operand(TensorType)
    dest = operand((TensorType, MemRefType))
    restrict = optional_attribute(UnitAttr)
    writable = optional_attribute(UnitAttr)
    result_tensors = variadic_result(TensorType)
    assembly_format = (
        "$source `in` (`restrict` $restrict^)? (`writable` $writable^)? $dest attr-dict"
        " `:` functional-type(operands, results)"
    )

    @classmethod
    def make(cls, source: Value, dest: Value) -> Self:
        if isinstance(dest.type, TensorType):
            return cls([source, dest], [dest.type])
        return cls([source, dest], [], {"restrict": UNIT, "writable": UNIT})

    def verify_op(self) -> None:
        source, dest = self.source.type, self.dest.type
        _check_pair(self, source, dest)
        if [r.type for r in self.results] != ([dest] if isinstance(dest, TensorType) else []):
            raise VerifyError(self, "gives dest's tensor, and nothing for a memref")
        if isinstance(dest, MemRefType) and self.writable is None:
            raise VerifyError(self, "a memref destination must be 'writable'")


class DeallocTensor(Op, name="bufferization.dealloc_tensor"):
    """Frees a tensor's memory; it must not be used afterwards."""

    tensor = operand(TensorType)
    assembly_format = "$tensor attr-dict `:` type($tensor)"

    @classmethod
    def make(cls, tensor: Value) -> Self:
        return cls([tensor])


class Clone(Op, name="bufferization.clone"):
    """A buffer with the same contents; neither may be written afterwards."""

    input = operand(MemRefType)
    output = result(MemRefType)
    assembly_format = "$input attr-dict `:` type($input) `to` type($output)"

    @classmethod
    def make(cls, input: Value) -> Self:
        return cls([input], [input.type])

    def verify_op(self) -> None:
        a: ShapedType = self.input.type
        b: ShapedType = self.output.type
        if a.element_type is not b.element_type or not compatible_shapes(a.shape, b.shape):
            raise VerifyError(self, f"{a} and {b} differ in shape or element type")


DIALECT = Dialect(
    "bufferization",
    ops=[AllocTensor, Clone, DeallocTensor, MaterializeInDestination, ToBuffer, ToTensor],
)
