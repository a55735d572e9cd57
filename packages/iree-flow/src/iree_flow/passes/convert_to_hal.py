"""``convert-to-hal``: stream regions become command buffers, host functions work on buffer views.

Before: functions on tensors with ``stream.*`` ops, executables compiled to ``hal.executable.binary``. After:
functions on ``!hal.buffer_view``; each region is a ``hal.command_buffer`` whose index arithmetic (offsets,
lengths, workgroup counts) is its parameter program. What the program cannot compute is passed as a
parameter by the host.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from iree_base.records import record
from iree_codegen.kernel import WORKSPACE_ALIGNMENT
from iree_core_ir.dialects import arith, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import IntegerAttr, SymbolRefAttr, TypeAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Block, Op, SymbolTable, Value
from iree_core_ir.ir.types import FunctionType, IndexType, IntegerType, TensorType, i64, index
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dialects import stream
from iree_flow.dims import DimResolver
from iree_flow.errors import FlowError
from iree_flow.symbolic_dims import argument_dim_names
from iree_hal.compiler import dialect as hal
from iree_hal.compiler.recordings import PARAMETER_OPS

_EXPRESSION_OPS: dict[str, type[Op]] = {
    "add": arith.AddI,
    "sub": arith.SubI,
    "mul": arith.MulI,
    "floordiv": arith.FloorDivSI,
    "ceildiv": arith.CeilDivSI,
    "min": arith.MinSI,
    "max": arith.MaxSI,
}


@record
class ConvertToHal(Pass):
    name: ClassVar[str] = "convert-to-hal"

    def run(self, module: Op, context: PassContext) -> None:
        symbols = SymbolTable(module)
        for op in module.regions[0].block.ops:
            if isinstance(op, FuncOp) and op.regions[0].blocks:
                _convert_function(op, symbols)


def _convert_function(function: FuncOp, symbols: SymbolTable) -> None:
    name = function.attributes["sym_name"].value  # type: ignore[attr-defined]
    region = function.regions[0]
    names = argument_dim_names(function)
    entry = region.block
    resolver = DimResolver(entry, names)
    executions = [op for block in region.blocks for op in block.ops if isinstance(op, stream.CmdExecute)]
    for number, execution in enumerate(executions):
        _CommandBufferBuilder(execution, f"{name}_region_{number}", symbols, function).run(resolver)
    buffers: dict[Value, Value] = {}
    for block in region.blocks:
        _convert_boundary(block, resolver, buffers)
    for block in reversed(region.blocks):
        for op in reversed(block.ops):
            if op.dialect == "stream":
                op.erase()
        for arg in block.args:
            if isinstance(arg.type, stream.ResourceType):
                arg.type = hal.BUFFER
    type: FunctionType = function.attributes["function_type"].value  # type: ignore[attr-defined]
    _convert_arguments(entry)
    results = [hal.BUFFER_VIEW if isinstance(t, TensorType) else t for t in type.results]
    function.attributes["hal.signature"] = TypeAttr(type)
    function.attributes["function_type"] = TypeAttr(FunctionType([a.type for a in entry.args], results))


def _convert_boundary(block: Block, resolver: DimResolver, buffers: dict[Value, Value]) -> None:
    """Imports, exports, allocations and read-backs, and the buffers that branches pass.

    ``buffers``: resource -> buffer, in all blocks so far.
    """

    def buffer(value: Value) -> Value:
        return buffers.get(value, value)

    for op in block.ops:
        builder = Builder.before_op(op)
        if isinstance(op, stream.TensorImport):
            view = op.source
            buffers[op.result] = builder.create(hal.BufferViewBuffer, view).result
        elif isinstance(op, stream.ConstantLoad):
            buffers[op.result] = builder.create(hal.ConstantsMap, op.segment).result
        elif isinstance(op, stream.ResourceAlloc):
            buffers[op.result] = builder.create(hal.QueueAlloca, op.size).result
        elif isinstance(op, stream.ResourceLoad):
            load = builder.create(hal.BufferLoad, buffer(op.source), op.offset, op.result.type)
            op.result.replace_all_uses_with(load.result)
        elif isinstance(op, stream.TensorExport):
            _convert_export(op, buffer(op.source), builder, resolver)
        elif isinstance(op, hal.QueueExecute) or op.successors:
            op.set_operands([buffer(v) for v in op.operands])


def _convert_export(op: stream.TensorExport, buffer: Value, builder: Builder, resolver: DimResolver) -> None:
    type: TensorType = op.result.type
    dynamic = iter(op.result_dims)
    dims = [resolver.value(size) if size >= 0 else next(dynamic) for size in type.shape]
    for user in op.result.users:
        for position, value in enumerate(user.operands):
            if value is op.result:
                view = builder.create(hal.BufferViewCreate, buffer, dims, position, type.element_type)
                user.set_operand(position, view.result)


def _convert_arguments(entry: Block) -> None:
    """Tensor arguments become views, checked once at entry."""
    builder = Builder.at_start(entry)
    for position, arg in enumerate(entry.args):
        if not isinstance(arg.type, TensorType):
            continue
        arg.type = hal.BUFFER_VIEW
        builder.create(hal.BufferViewAssert, arg, position)
        for user in arg.users:
            if isinstance(user, tensor.Dim):
                axis = known_integer(user.operands[1])
                if axis is None:
                    raise FlowError(8, "tensor.dim with a computed axis", source=user.location.user_text())
                dim = Builder.before_op(user).create(hal.BufferViewDim, arg, axis).result
                dim.hint = user.results[0].hint
                user.replace_by([dim])


class _CommandBufferBuilder:
    """One region: stream commands -> ``hal.command_buffer`` and its execution."""

    def __init__(self, op: stream.CmdExecute, name: str, symbols: SymbolTable, function: FuncOp) -> None:
        self.op = op
        self.symbols = symbols
        self.function = function
        self.buffer = hal.CommandBuffer.make(name, 0, 1)
        self.buffer.location = op.location
        self.body = Builder.at_end(self.buffer.body.block)
        self.values: dict[Value, Value] = {}
        self.constants: dict[int, Value] = {}
        self.params: list[Value] = []
        self.workspaces: dict[stream.CmdDispatch, tuple[Value, Value]] = {}

    def run(self, resolver: DimResolver) -> None:
        bindings, slots, size = self._slots()
        waves = list(self.op.body.block)
        size = self._add_workspaces(size)
        if size is not None:
            self.body.create(hal.ArenaSize, size)
        for i, command in enumerate(waves):
            if i:
                self.body.create(hal.ExecutionBarrier)
            inner = list(command.body.block) if isinstance(command, stream.CmdConcurrent) else [command]
            for op in inner:
                self._command(op, slots)
        name = self.symbols.insert(self.buffer, before=self.function)
        host = Builder.before_op(self.op)
        params = [self._as_index(v, host) for v in self.params]
        host.create(hal.QueueExecute, SymbolRefAttr(name), params, bindings)
        self.op.erase()

    def _slots(self) -> tuple[list[Value], dict[Value, int], Value | None]:
        """Arena to slot 0, the other resources to the slots behind; and the bytes of the arena."""
        bindings: list[Value] = []
        arena: Value | None = None
        slots: dict[Value, int] = {}
        args = self.op.body.block.args
        for resource, size, arg in zip(self.op.resources, self.op.sizes, args, strict=True):
            if isinstance(resource.owner, stream.ResourceAlloca):
                arena = self.value(size)
                slots[arg] = 0
            else:
                bindings.append(resource)
                slots[arg] = len(bindings)
        self.buffer.attributes["n_bindings"] = IntegerAttr(len(bindings) + 1, i64)
        return bindings, slots, arena

    def _add_workspaces(self, arena: Value | None) -> Value | None:
        """Give the dispatches that have one their workspace, behind the arena's temporaries, all cleared at
        once before the first wave. The bytes of the arena with them.
        """
        found = [
            (op, export.workspace.value)
            for op in self.op.walk()
            if isinstance(op, stream.CmdDispatch) and (export := self._export(op)).workspace is not None
        ]
        if not found:
            return arena
        zero, line = self.constant(0), self.constant(WORKSPACE_ALIGNMENT)
        end = start = zero
        if arena is not None:
            lines = self.body.create(arith.CeilDivSI, arena, line).result
            end = start = self.body.create(arith.MulI, lines, line).result
        total = zero
        for op, text in found:
            size = self._expression(json.loads(text), op)
            self.workspaces[op] = (end, size)
            end = self.body.create(arith.AddI, end, size).result
            total = self.body.create(arith.AddI, total, size).result
        self.body.create(hal.CommandClear, [0], [start], [total])
        self.body.create(hal.ExecutionBarrier)
        return end

    def _export(self, op: stream.CmdDispatch) -> hal.ExecutableExport:
        export = self.symbols.lookup(op.entry_point)
        assert isinstance(export, hal.ExecutableExport), op.entry_point
        return export

    def value(self, value: Value) -> Value:
        """``value`` inside the command buffer: recomputed if the program can, else a parameter."""
        found = self.values.get(value)
        if found is None:
            found = self.values[value] = self._make(value)
        return found

    def _make(self, value: Value) -> Value:
        constant = known_integer(value) if isinstance(value.type, IndexType) else None
        if constant is not None:
            return self.constant(constant)
        op = value.defining_op
        if op is not None and op.name in PARAMETER_OPS and isinstance(value.type, IndexType):
            operands = [self.value(v) for v in op.operands]
            return self.body.insert(type(op)(operands, [index])).results[0]
        self.params.append(value)
        return self.buffer.body.block.add_arg(index, value.hint)

    def constant(self, value: int) -> Value:
        found = self.constants.get(value)
        if found is None:
            found = self.constants[value] = self.body.insert(arith.Constant.index(value)).result
        return found

    def _as_index(self, value: Value, host: Builder) -> Value:
        """A scalar's bit pattern as an index value."""
        type: Any = value.type
        if isinstance(type, IndexType):
            return value
        if not isinstance(type, IntegerType):
            bits = IntegerType(type.width)
            value = host.create(arith.Bitcast, value, bits).result
            type = bits
        if type.width < 64:
            value = host.create(arith.ExtUI, value, i64).result
        return host.create(arith.IndexCast, value, index).result

    # -- commands ------------------------------------------------------------------------------------

    def _command(self, op: Op, slots: dict[Value, int]) -> None:
        if isinstance(op, stream.CmdCopy):
            length = self.value(op.length)
            self.body.create(
                hal.CommandCopy,
                [slots[op.source], slots[op.target]],
                [self.value(op.source_offset), self.value(op.target_offset)],
                [length, length],
            )
            return
        assert isinstance(op, stream.CmdDispatch), op.name
        constants: list[tuple[Value, str]] = []
        for scalar in op.scalars:
            word = self.value(scalar)
            wide = isinstance(scalar.type, IndexType) or scalar.type.width == 64
            constants += [(word, "lo"), (word, "hi")] if wide else [(word, "lo")]
        expressions = json.loads(self._export(op).workgroup_count.value)
        workgroups = [self._expression(e, op) for e in expressions]
        places = [slots[r] for r in op.resources]
        offsets, lengths = ([self.value(v) for v in values] for values in (op.offsets, op.lengths))
        if op in self.workspaces:
            offset, length = self.workspaces[op]
            places, offsets, lengths = [*places, 0], [*offsets, offset], [*lengths, length]
        dispatch = self.body.create(
            hal.CommandDispatch, op.entry_point, workgroups, constants, places, offsets, lengths
        )
        dispatch.location = op.location

    def _expression(self, expression: Any, op: stream.CmdDispatch) -> Value:
        """``["ceildiv", ["arg", i], ["const", n]]`` over the dispatch's scalar arguments."""
        kind = expression[0]
        if kind == "const":
            return self.constant(int(expression[1]))
        if kind == "arg":
            return self.value(op.scalars[int(expression[1])])
        a, b = (self._expression(e, op) for e in expression[1:])
        return self.body.insert(_EXPRESSION_OPS[kind]([a, b], [index])).results[0]
