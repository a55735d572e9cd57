"""``linalg-bufferize``: a dispatch function on tensors becomes one on memrefs.

Every tensor value gets a buffer. A destination-style op writes the buffer of its destination; an empty gets
the destination argument that its chain ends in, else scratch from the target's callback (stack or worker
scratch on a CPU, workgroup memory on a GPU). A reshape

- copies when its result already has a buffer (it is returned to a destination),
- aliases its source when that has no other use,
- allocates and copies otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_codegen.dispatch import destination_origin
from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_core_ir.dialects import linalg, memref, tensor
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import MemRefType, TensorType

Allocate = Callable[[Builder, MemRefType, list[Value]], Value]
"""Scratch for an intermediate: builds the allocation of a type with these dynamic sizes."""

RESHAPES = (tensor.CollapseShape, tensor.ExpandShape)


def stack(builder: Builder, type: MemRefType, sizes: list[Value]) -> Value:
    """Scratch on a CPU."""
    return builder.create(memref.Alloca, type, sizes).result


def workgroup_memory(space: Attribute) -> Allocate:
    """Scratch on a GPU: memory shared by the invocations of a workgroup, in address space ``space``."""

    def allocate(builder: Builder, type: MemRefType, sizes: list[Value]) -> Value:
        shared = MemRefType(type.shape, type.element_type, type.layout, space)
        return builder.create(memref.Alloc, shared, sizes).result

    return allocate


def bufferize(function: FuncOp, allocate: Allocate = stack) -> FuncOp:
    """The memref form of a dispatch function of linalg, fills and reshapes; ``function`` stays as it is.

    Raises CodegenError UNSUPPORTED_OP for an op without a buffer form.
    """
    return _Bufferizer(function, allocate).run()


class _Bufferizer:
    def __init__(self, function: FuncOp, allocate: Allocate) -> None:
        self.source = function
        self.allocate = allocate
        self.buffers: dict[Value, Value] = {}
        self.values: dict[Any, Any] = {}

    def run(self) -> FuncOp:
        block = self.source.regions[0].block
        types = [_buffer_type(a.type) if isinstance(a.type, TensorType) else a.type for a in block.args]
        name: Any = self.source.attributes["sym_name"]
        function: FuncOp = FuncOp.make(name.value, types, [])
        entry = function.regions[0].block
        for old, new in zip(block.args, entry.args, strict=True):
            if isinstance(old.type, TensorType):
                self.buffers[old] = new
            self.values[old] = new
        builder = Builder.at_end(entry)
        self._assign_results(block.terminator)
        for op in block:
            builder.location = op.location
            self._op(op, builder)
        return function

    def _assign_results(self, terminator: Op) -> None:
        """Results are written where they are returned to."""
        attribute: Any = self.source.attributes.get("iree.destinations")
        args = self.source.regions[0].block.args
        tensors = [a for a in args if isinstance(a.type, TensorType)]
        n = len(terminator.operands)
        targets = [args[p] for p in attribute.values] if attribute is not None else tensors[-n:]
        for value, target in zip(terminator.operands, targets, strict=True):
            if destination_origin(value) is not target:
                self.buffers.setdefault(value, self.buffers[target])

    def _op(self, op: Op, builder: Builder) -> None:
        if isinstance(op, ReturnOp):
            builder.create(ReturnOp)
        elif isinstance(op, tensor.Empty):
            if op.result not in self.buffers and any(not isinstance(u, ReturnOp) for u in op.result.uses):
                sizes = [self.values[v] for v in op.operands]
                self.buffers[op.result] = self.allocate(builder, _buffer_type(op.result.type), sizes)
        elif isinstance(op, RESHAPES):
            self._reshape(op, builder)
        elif isinstance(op, StructuredOp):
            self._structured(op, builder)
        elif any(isinstance(v.type, TensorType) for v in (*op.operands, *op.results)):
            raise CodegenError(
                UNSUPPORTED_OP, f"'{op.name}' has no buffer form", source=op.location.user_text()
            )
        else:
            builder.insert(op.clone(self.values))

    def _reshape(self, op: Any, builder: Builder) -> None:
        source: Value = op.operands[0]
        own = self.buffers.get(op.results[0])
        alias = self._view(op, builder, self.buffers[source])
        if own is not None:
            builder.create(linalg.Copy, [alias], [own])
        elif source.has_one_use:
            self.buffers[op.results[0]] = alias
        else:
            sizes = list(op.operands[1:])
            fresh = self.allocate(builder, _buffer_type(op.results[0].type), [self.values[v] for v in sizes])
            builder.create(linalg.Copy, [alias], [fresh])
            self.buffers[op.results[0]] = fresh

    def _view(self, op: Any, builder: Builder, buffer: Value) -> Value:
        type = _buffer_type(op.results[0].type)
        result = MemRefType(type.shape, type.element_type, None, buffer.type.memory_space)
        cls: Any = memref.CollapseShape if isinstance(op, tensor.CollapseShape) else memref.ExpandShape
        operands = [buffer, *[self.values[v] for v in op.operands[1:]]]
        view: Value = builder.insert(cls(operands, [result], dict(op.attributes))).results[0]
        return view

    def _structured(self, op: Any, builder: Builder) -> None:
        """Write into the destinations' buffers; a destination still needed elsewhere is copied first."""
        outputs = []
        for result, output in zip(op.results, op.outputs, strict=True):
            buffer = self.buffers.get(result)
            if buffer is None:
                buffer = self.buffers.get(output)
                reads = [u for u in output.uses if u is not op and not isinstance(u, ReturnOp)]
                if buffer is None or (reads and not isinstance(output.defining_op, tensor.Empty)):
                    buffer = self._fresh(result, output, op, builder)
            elif (
                output in self.buffers and self.buffers[output] is not buffer and op.uses_output(result.index)
            ):
                builder.create(linalg.Copy, [self.buffers[output]], [buffer])
            self.buffers[result] = buffer
            outputs.append(buffer)
        inputs = [self.buffers[v] if isinstance(v.type, TensorType) else self.values[v] for v in op.inputs]
        regions = [region.clone(dict(self.values)) for region in op.regions]
        builder.insert(type(op)([*inputs, *outputs], (), dict(op.attributes), regions))

    def _fresh(self, result: Value, output: Value, op: Any, builder: Builder) -> Value:
        if not result.type.is_static:
            raise CodegenError(
                UNSUPPORTED_OP,
                f"'{op.name}' needs a copy of a dynamic destination",
                source=op.location.user_text(),
            )
        fresh = self.allocate(builder, _buffer_type(result.type), [])
        if output in self.buffers and op.uses_output(result.index):
            builder.create(linalg.Copy, [self.buffers[output]], [fresh])
        return fresh


def _buffer_type(type: TensorType) -> MemRefType:
    return MemRefType(type.shape, type.element_type)
