"""Behind phase ``hal``: host functions -> VM bytecode.

Devices, executables, constants and command buffers live in globals that ``__init`` fills once a load; a
function checks its inputs, allocates its outputs and executes command buffers. Index values are i64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.dialects import arith, cf
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir.attributes import FloatAttr, IntegerAttr, SymbolRefAttr
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType
from iree_hal.compiler import dialect as hal
from iree_hal.compiler.recordings import record
from iree_vm.bytecode.builder import BlockBuilder, FunctionBuilder, ModuleBuilder

from iree_flow.dialects import stream
from iree_flow.errors import FlowError

_BINARY: dict[str, str] = {
    "arith.addi": "add.{t}",
    "arith.subi": "sub.{t}",
    "arith.muli": "mul.{t}",
    "arith.divsi": "div.{t}.s",
    "arith.divui": "div.{t}.u",
    "arith.remsi": "rem.{t}.s",
    "arith.remui": "rem.{t}.u",
    "arith.minsi": "min.{t}.s",
    "arith.minui": "min.{t}.u",
    "arith.maxsi": "max.{t}.s",
    "arith.maxui": "max.{t}.u",
    "arith.andi": "and.{t}",
    "arith.ori": "or.{t}",
    "arith.xori": "xor.{t}",
    "arith.addf": "add.{t}",
    "arith.subf": "sub.{t}",
    "arith.mulf": "mul.{t}",
    "arith.divf": "div.{t}",
}
"""Host arithmetic with one VM op of the same meaning; ``{t}`` is the register type."""

_COMPARE: dict[str, str] = {
    "eq": "cmp.eq.{t}",
    "ne": "cmp.ne.{t}",
    "slt": "cmp.lt.{t}.s",
    "sle": "cmp.lte.{t}.s",
    "sgt": "cmp.gt.{t}.s",
    "sge": "cmp.gte.{t}.s",
    "ult": "cmp.lt.{t}.u",
    "ule": "cmp.lte.{t}.u",
    "ugt": "cmp.gt.{t}.u",
    "uge": "cmp.gte.{t}.u",
}


def register_type(type: Any) -> str:
    """The VM register type of an SSA type."""
    if isinstance(type, IndexType):
        return "i64"
    if isinstance(type, IntegerType):
        return "i64" if type.width > 32 else "i32"
    if isinstance(type, FloatType):
        return "f64" if type.width == 64 else "f32"
    return "ref"


def lower(module: ModuleOp, name: str) -> ModuleBuilder:
    """The program of a module in phase ``hal``. Raises FlowError 8 for an op without a VM meaning."""
    program = ModuleBuilder(name)
    ops = list(module.regions[0].block)
    binaries = [op for op in ops if isinstance(op, hal.ExecutableBinary)]
    buffers = [op for op in ops if isinstance(op, hal.CommandBuffer)]
    segments = [op for op in ops if isinstance(op, stream.ConstantSegment)]
    functions = [op for op in ops if isinstance(op, FuncOp) and op.regions[0].blocks]
    _declare(program, binaries, buffers, segments)
    for function in functions:
        _FunctionLowering(program, function).run()
    return program


def _declare(
    program: ModuleBuilder,
    binaries: list[hal.ExecutableBinary],
    buffers: list[hal.CommandBuffer],
    segments: list[stream.ConstantSegment],
) -> None:
    """Globals, rodata and ``__init``."""
    number = {op.sym_name.value: i for i, op in enumerate(binaries)}
    exports = {
        op.sym_name.value: [export.get("name").value for export in op.exports]  # type: ignore[attr-defined]
        for op in binaries
    }

    def resolve(entry: SymbolRefAttr) -> tuple[int, int]:
        return number[entry.root], exports[entry.root].index(entry.leaf)

    program.global_("device", "ref")
    for op in (*segments, *buffers):
        program.global_(op.sym_name.value, "ref")
    init = program.function("__init", "() -> ()")
    device = init.call("hal.device.get", init.const_i64(0))
    init.store("device", device)
    for i, segment in enumerate(segments):
        mapped = init.call("hal.constants.map", device, init.const_i64(i))
        init.store(segment.sym_name.value, mapped)
    executables = init.op("list.alloc", init.const_i32(len(binaries)))
    for i in range(len(binaries)):
        init.op("list.push.ref", executables, init.call("hal.executable.load", device, init.const_i64(i)))
    for buffer in buffers:
        name = buffer.sym_name.value
        program.rodata(f"{name}.recording", record(buffer, resolve).serialize(), 64)
        loaded = init.call("hal.command_buffer.load", device, init.rodata(f"{name}.recording"), executables)
        init.store(name, loaded)
    init.return_()


class _FunctionLowering:
    """One function: blocks and ops in order."""

    def __init__(self, program: ModuleBuilder, function: FuncOp) -> None:
        self.function = function
        name: Any = function.attributes["sym_name"]
        visibility: Any = function.attributes.get("sym_visibility")
        self.exported = visibility is None or visibility.value != "private"
        region = function.regions[0]
        arguments = ", ".join(register_type(a.type) for a in region.block.args)
        returned = next(b for b in region.blocks if isinstance(b.last, ReturnOp)).terminator.operands
        results = ", ".join(register_type(v.type) for v in returned)
        self.builder: FunctionBuilder = program.function(name.value, f"({arguments}) -> ({results})")
        if self.exported:
            program.export(name.value)
        self.values: dict[Value, Any] = {}
        self.blocks: dict[Block, BlockBuilder] = {}
        self._device: Any = None

    def run(self) -> None:
        region = self.function.regions[0]
        for i, block in enumerate(region.blocks):
            own = self.builder.entry if i == 0 else self.builder.block(*[register_type(a.type) for a in block.args])
            self.blocks[block] = own
            self.values.update(zip(block.args, own.parameters, strict=True))
        for block in region.blocks:
            self.builder.switch_to(self.blocks[block])
            self._device = None
            for op in block:
                self._op(op)

    def _op(self, op: Op) -> None:
        rule = _RULES.get(op.name)
        if rule is not None:
            result = rule(self, op)
            if op.results:
                self.values[op.results[0]] = result
            return
        template = _BINARY.get(op.name)
        if template is None:
            raise FlowError(
                8,
                f"'{op.name}' on the host",
                source=op.location.user_text(),
                cause="the op has no meaning in the virtual machine",
            )
        kind = register_type(op.results[0].type)
        self.values[op.results[0]] = self.builder.op(template.format(t=kind), *self.operands(op))

    def operands(self, op: Op) -> list[Any]:
        return [self.values[v] for v in op.operands]

    def device(self) -> Any:
        if self._device is None:
            self._device = self.builder.load("device")
        return self._device


def _constant(f: _FunctionLowering, op: Any) -> Any:
    value = op.attributes["value"]
    if isinstance(value, IntegerAttr):
        kind = register_type(value.type)
        return f.builder.const_i64(value.value) if kind == "i64" else f.builder.const_i32(value.value)
    if isinstance(value, FloatAttr):
        kind = register_type(value.type)
        return f.builder.const_f64(value.value) if kind == "f64" else f.builder.const_f32(value.value)
    raise FlowError(8, f"constant of type {op.results[0].type} on the host", source=op.location.user_text())


def _ceildiv(f: _FunctionLowering, op: Op) -> Any:
    """``ceildiv(a, b)`` of non-negative values: ``(a + b - 1) / b``."""
    a, b = f.operands(op)
    kind = register_type(op.results[0].type)
    one = f.builder.const_i64(1) if kind == "i64" else f.builder.const_i32(1)
    above = f.builder.op(f"sub.{kind}", f.builder.op(f"add.{kind}", a, b), one)
    return f.builder.op(f"div.{kind}.s", above, b)


def _floordiv(f: _FunctionLowering, op: Op) -> Any:
    """Toward minus infinity: the truncated quotient, one less when signs differ and a rest remains."""
    a, b = f.operands(op)
    kind = register_type(op.results[0].type)
    zero = f.builder.const_i64(0) if kind == "i64" else f.builder.const_i32(0)
    one = f.builder.const_i64(1) if kind == "i64" else f.builder.const_i32(1)
    quotient = f.builder.op(f"div.{kind}.s", a, b)
    rest = f.builder.op(f"rem.{kind}.s", a, b)
    differ = f.builder.op(f"cmp.lt.{kind}.s", f.builder.op(f"xor.{kind}", a, b), zero)
    lower = f.builder.op("and.i32", differ, f.builder.op(f"cmp.nz.{kind}", rest))
    return f.builder.op(f"select.{kind}", lower, f.builder.op(f"sub.{kind}", quotient, one), quotient)


def _compare(f: _FunctionLowering, op: Any) -> Any:
    kind = register_type(op.operands[0].type)
    predicate = str(op.predicate.value) if hasattr(op.predicate, "value") else str(op.predicate)
    return f.builder.op(_COMPARE[predicate].format(t=kind), *f.operands(op))


def _select(f: _FunctionLowering, op: Op) -> Any:
    return f.builder.op(f"select.{register_type(op.results[0].type)}", *f.operands(op))


def _integer_cast(signed: bool) -> Callable[[_FunctionLowering, Op], Any]:
    suffix = "s" if signed else "u"

    def rule(f: _FunctionLowering, op: Op) -> Any:
        value = f.operands(op)[0]
        source, target = op.operands[0].type, op.results[0].type
        a, b = register_type(source), register_type(target)
        width = getattr(source, "width", 64)
        if a == "i32" and width in (8, 16):
            value = f.builder.op(f"ext.i{width}.i32.{suffix}", value)
        if a == b:
            return value
        return f.builder.op(f"ext.i32.i64.{suffix}" if a == "i32" else "trunc.i64.i32", value)

    return rule


def _bitcast(f: _FunctionLowering, op: Op) -> Any:
    a, b = register_type(op.operands[0].type), register_type(op.results[0].type)
    value = f.operands(op)[0]
    return value if a == b else f.builder.op(f"bitcast.{a}.{b}", value)


def _view_assert(f: _FunctionLowering, op: hal.BufferViewAssert) -> None:
    f.builder.call("hal.buffer_view.assert", f.values[op.view], f.builder.const_i64(op.position.value))


def _view_dim(f: _FunctionLowering, op: hal.BufferViewDim) -> Any:
    return f.builder.call("hal.buffer_view.dim", f.values[op.view], f.builder.const_i64(op.axis.value))


def _view_buffer(f: _FunctionLowering, op: hal.BufferViewBuffer) -> Any:
    return f.builder.call("hal.buffer_view.buffer", f.values[op.view])


def _view_create(f: _FunctionLowering, op: hal.BufferViewCreate) -> Any:
    position = f.builder.const_i64(op.position.value)
    dims = [f.values[d] for d in op.dims]
    return f.builder.call("hal.buffer_view.create", f.values[op.buffer], position, dims)


def _constants_map(f: _FunctionLowering, op: hal.ConstantsMap) -> Any:
    return f.builder.load(op.segment.root)


def _alloca(f: _FunctionLowering, op: hal.QueueAlloca) -> Any:
    null = f.builder.null()
    return f.builder.call("hal.device.queue.alloca", f.device(), null, null, f.values[op.size])


def _execute(f: _FunctionLowering, op: hal.QueueExecute) -> None:
    null = f.builder.null()
    f.builder.call(
        "hal.device.queue.execute",
        f.device(),
        null,
        null,
        f.builder.load(op.command_buffer.root),
        [f.values[v] for v in op.params],
        [f.values[v] for v in op.bindings],
    )


def _buffer_load(f: _FunctionLowering, op: hal.BufferLoad) -> Any:
    return f.builder.call(f"hal.buffer.load.{op.result.type}", f.values[op.buffer], f.values[op.offset])


def _branch(f: _FunctionLowering, op: Any) -> None:
    f.builder.br(f.blocks[op.successors[0]], *f.operands(op))


def _cond_branch(f: _FunctionLowering, op: Any) -> None:
    true = [f.values[v] for v in op.true_operands]
    false = [f.values[v] for v in op.false_operands]
    f.builder.cond_br(
        f.values[op.operands[0]], f.blocks[op.successors[0]], true, f.blocks[op.successors[1]], false
    )


def _return(f: _FunctionLowering, op: Op) -> None:
    f.builder.return_(*f.operands(op))


_RULES: dict[str, Any] = {
    arith.Constant.name: _constant,
    "arith.ceildivsi": _ceildiv,
    "arith.ceildivui": _ceildiv,
    "arith.floordivsi": _floordiv,
    "arith.cmpi": _compare,
    "arith.select": _select,
    "arith.index_cast": _integer_cast(True),
    "arith.index_castui": _integer_cast(False),
    "arith.extsi": _integer_cast(True),
    "arith.extui": _integer_cast(False),
    "arith.trunci": _integer_cast(True),
    "arith.bitcast": _bitcast,
    hal.BufferViewAssert.name: _view_assert,
    hal.BufferViewDim.name: _view_dim,
    hal.BufferViewBuffer.name: _view_buffer,
    hal.BufferViewCreate.name: _view_create,
    hal.ConstantsMap.name: _constants_map,
    hal.QueueAlloca.name: _alloca,
    hal.QueueExecute.name: _execute,
    hal.BufferLoad.name: _buffer_load,
    cf.Branch.name: _branch,
    cf.CondBranch.name: _cond_branch,
    ReturnOp.name: _return,
}
