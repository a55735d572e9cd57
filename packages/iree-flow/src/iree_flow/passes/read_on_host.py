"""``read-on-host``: a number that is computed from an input's few numbers is computed where it is needed.

Before: ``tensor.extract`` of what an elementwise op makes of tensors of one element that the caller passed: a
dispatch, and waiting for it. After: the inputs' elements are read, which are there from the start, and the
op's body runs on the host. A condition that a model takes from an argument costs no device work then.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import DenseElementsAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import FloatType, IntegerType, TensorType, index
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion

MAX_OPS = 16
"""Ops that one number may take on the host: they run one by one there."""
_INTEGER = (
    "addi",
    "subi",
    "muli",
    "divsi",
    "remsi",
    "minsi",
    "maxsi",
    "andi",
    "ori",
    "xori",
    "cmpi",
    "select",
)
_CASTS = (
    "extsi",
    "extui",
    "trunci",
    "index_cast",
    "index_castui",
    "sitofp",
    "uitofp",
    "fptosi",
    "fptoui",
    "extf",
)
_FLOAT = ("truncf", "addf", "subf", "mulf", "divf", "negf", "cmpf", "minimumf", "maximumf")
BODY = frozenset(f"arith.{name}" for name in ("constant", *_INTEGER, *_CASTS, *_FLOAT))
"""What a body may hold."""
_RENAMES = ("tensor.collapse_shape", "tensor.expand_shape", "tensor.cast", "tensor.extract_slice")


@record
class ReadOnHost(Pass):
    name: ClassVar[str] = "read-on-host"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                entry = function.regions[0].block
                for block in function.regions[0].blocks:
                    for op in block.ops:
                        if isinstance(op, tensor.Extract) and op.operands[0].owner is not entry:
                            changed |= _read(op, entry)
        return changed


def _read(op: tensor.Extract, entry: Block) -> bool:
    reader = _Reader(entry, Builder.before_op(op))
    if reader.ops_of(op.operands[0]) > MAX_OPS:
        return False
    op.replace_by([reader.number(op.operands[0])])
    return True


class _Reader:
    """The one element of a tensor, on the host."""

    def __init__(self, entry: Block, builder: Builder) -> None:
        self.entry = entry
        self.builder = builder
        self.known: dict[Value, Value] = {}

    def ops_of(self, value: Value) -> int:
        """How many ops it takes; more than ``MAX_OPS`` when it is not for the host."""
        never = MAX_OPS + 1
        if not _is_single(value):
            return never
        if value.owner is self.entry:
            return 1
        op = value.defining_op
        if isinstance(op, arith.Constant):
            return 1 if isinstance(op.attributes["value"], DenseElementsAttr) else never
        if op is None:
            return never
        if op.name in _RENAMES:
            return self.ops_of(op.operands[0])
        if not isinstance(op, linalg.Generic) or fusion.kind_of(op) != fusion.ELEMENTWISE:
            return never
        if len(op.results) != 1 or op.uses_output(0) or any(inner.regions for inner in op.body):
            return never
        total = 0
        for inner in op.body:
            if inner is not op.body.last and inner.name not in BODY:
                return never
            if not all(_has_register(r.type) for r in inner.results):
                return never
            total += 1
        for given in op.inputs:
            total += self.ops_of(given)
            if total > MAX_OPS:
                return never
        return total

    def number(self, value: Value) -> Value:
        """The element, which ``ops_of`` said is one for the host."""
        found = self.known.get(value)
        if found is None:
            found = self.known[value] = self._number(value)
        return found

    def _number(self, value: Value) -> Value:
        op: Any = value.defining_op
        if value.owner is self.entry:
            zero = [self.builder.insert(arith.Constant.index(0)).result] * value.type.rank
            return self.builder.create(tensor.Extract, value, zero).result
        if isinstance(op, arith.Constant):
            attribute: Any = op.attributes["value"]
            number = attribute.to_array().reshape(-1)[0]
            return self.builder.insert(arith.Constant.of(number, value.type.element_type)).result
        if op.name in _RENAMES:
            return self.number(op.operands[0])
        mapping: dict[Any, Any] = {
            arg: self.number(given) for arg, given in zip(op.body.args, op.inputs, strict=False)
        }
        for inner in op.body:
            if inner is op.body.last:
                given = inner.operands[0]
                result: Value = mapping.get(given, given)
                return result
            self.builder.insert(inner.clone(mapping))
        raise AssertionError("a body ends with a yield")


def _is_single(value: Value) -> bool:
    """A tensor of exactly one element that the host has a register for."""
    type = value.type
    if not isinstance(type, TensorType) or set(type.shape) - {1}:
        return False
    return _has_register(type.element_type)


def _has_register(type: Any) -> bool:
    """Scalars whose arithmetic the host has: narrow integers would have to be cut after every op."""
    if isinstance(type, IntegerType):
        return type.width in (1, 32, 64)
    return type is index or (isinstance(type, FloatType) and str(type) in ("f32", "f64"))


__all__ = ["ReadOnHost"]
