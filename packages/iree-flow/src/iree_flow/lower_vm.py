"""Behind phase ``hal``: host functions -> VM bytecode.

``iree_vm.host_program`` writes what all programs share (globals, input checks, the synchronous and the
asynchronous export); here host arithmetic, outputs and command buffers are filled in. Index is i64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from iree_core_ir.dialects import arith, cf
from iree_core_ir.dialects.arith_attributes import CMPF_PREDICATES, CMPI_PREDICATES
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir.attributes import FloatAttr, IntegerAttr, SymbolRefAttr
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType
from iree_flow.dialects import stream
from iree_flow.dim_ranges import named_maxima
from iree_flow.errors import FlowError
from iree_flow.narrow_floats import from_bits, rounded, to_bits
from iree_hal.compiler import dialect as hal
from iree_hal.compiler.recordings import record
from iree_vm.artifact import Dim, FunctionSpec
from iree_vm.bytecode.builder import BlockBuilder, FunctionBuilder
from iree_vm.host_program import HostFunction, HostProgram

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
    "arith.negf": "neg.{t}",
    "arith.minimumf": "min.{t}",
    "arith.maximumf": "max.{t}",
    "math.ceil": "ceil.{t}",
    "math.floor": "floor.{t}",
    "math.absf": "abs.{t}",
    "math.absi": "abs.{t}",
    "math.sqrt": "sqrt.{t}",
    "math.rsqrt": "rsqrt.{t}",
    "math.exp": "exp.{t}",
    "math.trunc": "trunc.{t}",
    "math.round": "round.{t}",
    "math.roundeven": "roundeven.{t}",
    "arith.remf": "rem.{t}",
}
"""Host arithmetic with one VM op of the same meaning; ``{t}`` is the register type."""

NARROW = ("f16", "bf16")
_ROUNDED = frozenset(name for name in _BINARY if name.startswith("math.") or name.endswith("f")) | {
    "arith.truncf",
    "arith.sitofp",
    "arith.uitofp",
    "arith.constant",
}
"""What makes a float that may not fit 16 bits."""

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


def lower(module: ModuleOp, name: str, specs: Mapping[str, FunctionSpec]) -> HostProgram:
    """The program of a module in phase ``hal``; ``specs`` are the signatures of its public functions.

    Raises FlowError 8 for an op without a VM meaning.
    """
    program = HostProgram(name, dims=dim_ranges(specs))
    ops = list(module.regions[0].block)
    binaries = [op for op in ops if isinstance(op, hal.ExecutableBinary)]
    number = {op.sym_name.value: i for i, op in enumerate(binaries)}
    exports = {op.sym_name.value: [export.sym_name.value for export in op.exports] for op in binaries}
    globals: dict[str, str] = {}
    segments = [op for op in ops if isinstance(op, stream.ConstantSegment)]
    for i, segment in enumerate(segments):
        globals[segment.sym_name.value] = _after_device(program).constant(i)
    for op in ops:
        if isinstance(op, hal.CommandBuffer):
            used: dict[str, int] = {}

            def resolve(entry: SymbolRefAttr, used: dict[str, int] = used) -> tuple[int, int]:
                index = used.setdefault(entry.root, len(used))
                return index, exports[entry.root].index(entry.leaf)

            data = record(op, resolve).serialize()
            numbers = [number[root] for root in used]
            label = op.sym_name.value
            globals[label] = _after_device(program).recording(label, data, numbers)
    for op in ops:
        if isinstance(op, FuncOp) and op.sym_name.value in specs:
            _FunctionLowering(program, op, specs[op.sym_name.value], globals).run()
    return program


def dim_ranges(specs: Mapping[str, FunctionSpec]) -> dict[str, Dim]:
    """What every named dim is checked to be when a function is entered."""
    inputs = [(spec.shape, spec.dtype) for function in specs.values() for spec in function.inputs]
    return {name: Dim(0, largest) for name, largest in named_maxima(inputs).items()}


def _after_device(program: HostProgram) -> HostProgram:
    """The device's global must exist before what is loaded onto it."""
    program.device()
    return program


class _FunctionLowering:
    """One function: blocks and ops in order, values on demand."""

    def __init__(
        self, program: HostProgram, function: FuncOp, spec: FunctionSpec, globals: Mapping[str, str]
    ) -> None:
        self.function = function
        self.spec = spec
        self.globals = globals
        self.host: HostFunction = program.function(spec)
        self.builder: FunctionBuilder = self.host.builder
        self.values: dict[Value, Any] = {}
        self.blocks: dict[Block, BlockBuilder] = {}
        self.outputs: dict[Value, hal.BufferViewCreate] = {}
        self.pending: Any = None
        """The fence of the last step of device work so far; blocks take it over branches, before all else."""
        self.left = 0
        self.late: set[Value] = set()
        """Memory of outputs whose sizes are only read back when it has been asked for, or written."""
        self.trailing = False
        """Whether the host still has something to do when the last device work has been started."""

    def run(self) -> None:
        region = self.function.regions[0]
        entry = region.block
        self.values.update(zip(entry.args, self.host.views, strict=True))
        self.blocks[entry] = self.builder.entry
        self._look_ahead()
        several = len(region.blocks) > 1
        if not self.left and not self.trailing and not several:
            self.host.done()
        fences: dict[Block, Any] = {}
        for block in region.blocks[1:]:
            types = [register_type(a.type) for a in block.args]
            own = self.blocks[block] = self.builder.block("ref", *types)
            fences[block], *parameters = own.parameters
            self.values.update(zip(block.args, parameters, strict=True))
        for block in region.blocks:
            self.builder.switch_to(self.blocks[block])
            self.pending = fences.get(block)
            if several:
                self._look_into(block)
            for op in block:
                if not op.results or op.results[0] not in self.values:
                    self._op(op)

    def _look_ahead(self) -> None:
        """Find outputs and device work, and what must wait for it."""
        order: dict[Op, int] = {}
        last = -1
        loads: list[Op] = []
        for number, op in enumerate(self.function.walk()):
            order[op] = number
            if isinstance(op, hal.BufferViewCreate):
                self.outputs[op.buffer] = op
            elif isinstance(op, hal.QueueExecute):
                self.left += 1
                last = number
            elif isinstance(op, hal.BufferLoad) and not _of_input(op):
                loads.append(op)
        for buffer, output in self.outputs.items():
            made = buffer.defining_op
            if isinstance(made, hal.QueueAlloca):
                needed = _defining(output.dims)
                if any(load in needed and order[load] > order[made] for load in loads):
                    self.late.add(buffer)
        self.trailing = bool(self.late) or any(order[load] > last for load in loads)

    def _look_into(self, block: Block) -> None:
        """In a function of several blocks: what of a block's device work may be the last of the call."""
        work = [op for op in block if isinstance(op, hal.QueueExecute)]
        self.left = len(work)
        last = list(block).index(work[-1]) if work else -1
        returns = isinstance(block.last, ReturnOp)
        loads = [op for op in list(block)[last + 1 :] if isinstance(op, hal.BufferLoad) and not _of_input(op)]
        made = [v.defining_op for v in block.terminator.operands]
        late = any(isinstance(op, hal.BufferViewCreate) and op.buffer in self.late for op in made)
        self.trailing = not returns or not work or bool(loads) or late

    def waited(self) -> Any:
        """The fence behind which everything started so far, or what the caller waits for, is done."""
        return self.host.wait if self.pending is None else self.pending

    def value(self, value: Value) -> Any:
        """The register of a value; pure host arithmetic is emitted when first needed."""
        found = self.values.get(value)
        if found is None:
            op = value.defining_op
            assert op is not None
            self._op(op)
            found = self.values[value]
        return found

    def _op(self, op: Op) -> None:
        types = [v.type for v in (*op.operands, *op.results) if isinstance(v.type, FloatType)]
        narrow = next((t for t in types if t.width < 32), None)
        if narrow is not None and str(narrow) not in NARROW:
            raise FlowError(8, f"'{op.name}' of {narrow} on the host", source=op.location.user_text())
        rule = _RULES.get(op.name)
        if rule is not None:
            result = rule(self, op)
            if op.results:
                self.values[op.results[0]] = self._fitted(op, result)
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
        self.values[op.results[0]] = self._fitted(
            op, self.builder.op(template.format(t=kind), *self.operands(op))
        )

    def _fitted(self, op: Op, value: Any) -> Any:
        """Numbers of less than 32 bits are rounded after each op."""
        name = str(op.results[0].type)
        return rounded(self.builder, value, name) if name in NARROW and op.name in _ROUNDED else value

    def operands(self, op: Op) -> list[Any]:
        return [self.value(v) for v in op.operands]


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
    predicate = CMPI_PREDICATES[op.predicate.value]
    return f.builder.op(_COMPARE[predicate].format(t=kind), *f.operands(op))


def _compare_floats(f: _FunctionLowering, op: Any) -> Any:
    kind = register_type(op.operands[0].type)
    predicate = CMPF_PREDICATES[op.predicate.value]
    a, b = f.operands(op)
    if predicate in ("false", "true"):
        return f.builder.const_i32(predicate == "true")
    if predicate in ("ord", "uno"):
        nan = f.builder.op("or.i32", f.builder.op(f"cmp.nan.{kind}", a), f.builder.op(f"cmp.nan.{kind}", b))
        return nan if predicate == "uno" else f.builder.op("xor.i32", nan, f.builder.const_i32(1))
    ordered, relation = predicate[0], predicate[1:]
    name = {"le": "lte", "ge": "gte"}.get(relation, relation)
    return f.builder.op(f"cmp.{name}.{kind}.{ordered}", a, b)


def _shift(name: str) -> Callable[[_FunctionLowering, Op], Any]:
    """The amount is an i32; whole registers only, so that no bits come in from above."""

    def rule(f: _FunctionLowering, op: Op) -> Any:
        type = op.results[0].type
        if getattr(type, "width", 64) not in (32, 64):
            raise FlowError(8, f"'{op.name}' of {type} on the host", source=op.location.user_text())
        kind = register_type(type)
        a, amount = f.operands(op)
        if kind == "i64":
            amount = f.builder.op("trunc.i64.i32", amount)
        return f.builder.op(name.format(t=kind), a, amount)

    return rule


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
        if a != b:
            value = f.builder.op(f"ext.i32.i64.{suffix}" if a == "i32" else "trunc.i64.i32", value)
        narrow = getattr(target, "width", 64)
        if op.name == "arith.trunci" and narrow in (1, 8, 16):
            one = f.builder.const_i32(1)
            value = f.builder.op("and.i32", value, one) if narrow == 1 else _extended(f, value, narrow)
        return value

    return rule


def _extended(f: _FunctionLowering, value: Any, width: int) -> Any:
    """The low bits of a register as a signed number, which is how narrow integers are held."""
    return f.builder.op(f"ext.i{width}.i32.s", value)


def _float_cast(f: _FunctionLowering, op: Op) -> Any:
    """Between floats, and between floats and integers."""
    value = f.operands(op)[0]
    a, b = register_type(op.operands[0].type), register_type(op.results[0].type)
    if op.name in ("arith.extf", "arith.truncf"):
        return value if a == b else f.builder.op("ext.f32.f64" if a == "f32" else "trunc.f64.f32", value)
    sign = "u" if op.name in ("arith.uitofp", "arith.fptoui") else "s"
    name = f"cast.{sign}{a}.{b}" if op.name in ("arith.sitofp", "arith.uitofp") else f"cast.{a}.{sign}{b}"
    return f.builder.op(name, value)


def _bitcast(f: _FunctionLowering, op: Op) -> Any:
    a, b = register_type(op.operands[0].type), register_type(op.results[0].type)
    value = f.operands(op)[0]
    source, target = str(op.operands[0].type), str(op.results[0].type)
    if source in NARROW and target not in NARROW:
        return to_bits(f.builder, value, source)
    if target in NARROW and source not in NARROW:
        return from_bits(f.builder, value, target)
    return value if a == b else f.builder.op(f"bitcast.{a}.{b}", value)


def _broadcast_dim(f: _FunctionLowering, op: Op) -> Any:
    """Equal sizes, or the one that is not 1; anything else stops the program."""
    a, b = f.operands(op)
    one = f.builder.const_i64(1)
    a_is_one = f.builder.op("cmp.eq.i64", a, one)
    result = f.builder.op("select.i64", a_is_one, b, a)
    fits = f.builder.op("or.i32", f.builder.op("cmp.eq.i64", result, b), f.builder.op("cmp.eq.i64", b, one))
    none = f.builder.op("cmp.eq.i32", fits, f.builder.const_i32(0))
    f.builder.cond_fail(none, f"sizes do not broadcast at {op.location.user_text()}")
    return result


def _assert(f: _FunctionLowering, op: cf.Assert) -> None:
    failed = f.builder.op("cmp.eq.i32", f.value(op.argument), f.builder.const_i32(0))
    f.builder.cond_fail(failed, f"{op.message.value} at {op.location.user_text()}")


def _view_assert(f: _FunctionLowering, op: hal.BufferViewAssert) -> None:
    """The function's prologue checks every input against the signature."""


def _view_dim(f: _FunctionLowering, op: hal.BufferViewDim) -> Any:
    position = list(f.function.regions[0].block.args).index(op.view)  # type: ignore[arg-type]
    dim = f.spec.inputs[position].shape[op.axis.value]
    return f.host.size(dim)


def _view_buffer(f: _FunctionLowering, op: hal.BufferViewBuffer) -> Any:
    return f.host.inputs[list(f.function.regions[0].block.args).index(op.view)]  # type: ignore[arg-type]


def _of_input(op: hal.BufferLoad) -> bool:
    """Whether a scalar is read from what the caller passed, which is there from the start."""
    return isinstance(op.buffer.defining_op, hal.BufferViewBuffer)


def _defining(values: Iterable[Value]) -> set[Op]:
    """The ops that ``values`` depend on."""
    found: set[Op] = set()
    pending = list(values)
    while pending:
        op = pending.pop().defining_op
        if op is not None and op not in found:
            found.add(op)
            pending += op.operands
    return found


def _view_create(f: _FunctionLowering, op: hal.BufferViewCreate) -> Any:
    """The view was made when its memory was asked for; now, and filled, if its sizes were not known then."""
    if op.buffer not in f.late:
        return f.value(op.buffer)
    source = f.value(op.buffer)
    result = f.host.result(op.position.value, [f.value(d) for d in op.dims])
    b, wait, signal = f.builder, f.waited(), f.host.step()
    zero, length = b.const_i64(0), b.call("hal.buffer.length", result)
    b.call("hal.device.queue.copy", f.host.device(), wait, signal, source, zero, result, zero, length)
    f.pending = signal
    return result


def _constants_map(f: _FunctionLowering, op: hal.ConstantsMap) -> Any:
    return f.host.load(f.globals[op.segment.root])


def _alloca(f: _FunctionLowering, op: hal.QueueAlloca) -> Any:
    """Memory of an output comes from the caller or is made as its array; other memory is a buffer."""
    output = f.outputs.get(op.result)
    if output is not None and op.result not in f.late:
        result = f.host.result(output.position.value, [f.value(d) for d in output.dims])
        if any(isinstance(needed, hal.BufferLoad) for needed in _defining(output.dims)):
            length = f.builder.call("hal.buffer.length", result)
            differs = f.builder.op("cmp.ne.i64", length, f.value(op.size))
            f.builder.cond_fail(
                differs, f"the sizes of a result do not fit its elements at {op.location.user_text()}"
            )
        return result
    null = f.builder.null()
    return f.builder.call("hal.device.queue.alloca", f.host.device(), null, null, f.value(op.size))


def _execute(f: _FunctionLowering, op: hal.QueueExecute) -> None:
    params = [f.value(v) for v in op.params]
    bindings = [f.value(v) for v in op.bindings]
    f.left -= 1
    signal = f.host.step() if f.left or f.trailing else None
    f.host.execute(
        f.globals[op.command_buffer.root], bindings=bindings, params=params, wait=f.pending, signal=signal
    )
    f.pending = signal


_LOADS = {"i1": "i8.u", "i8": "i8.s", "ui8": "i8.u", "i16": "i16.s", "ui16": "i16.u", "index": "i64"}


def _buffer_load(f: _FunctionLowering, op: hal.BufferLoad) -> Any:
    f.host.await_(f.waited())
    name = str(op.result.type)
    if name in NARROW:
        bits = f.builder.call("hal.buffer.load.i16.u", f.value(op.buffer), f.value(op.offset))
        return from_bits(f.builder, bits, name)
    if name not in (*_LOADS, "i32", "i64", "f32", "f64"):
        raise FlowError(8, f"reading back an element of type {name}", source=op.location.user_text())
    return f.builder.call(f"hal.buffer.load.{_LOADS.get(name, name)}", f.value(op.buffer), f.value(op.offset))


def _branch(f: _FunctionLowering, op: Any) -> None:
    f.builder.br(f.blocks[op.target], f.waited(), *[f.value(v) for v in op.arguments])


def _cond_branch(f: _FunctionLowering, op: Any) -> None:
    true = [f.waited(), *(f.value(v) for v in op.true_arguments)]
    false = [f.waited(), *(f.value(v) for v in op.false_arguments)]
    f.builder.cond_br(f.value(op.condition), f.blocks[op.true_target], true, f.blocks[op.false_target], false)


def _return(f: _FunctionLowering, op: Op) -> None:
    views = f.operands(op)
    if f.trailing:
        f.host.done(f.pending)
    f.host.return_(*views)


_RULES: dict[str, Any] = {
    arith.Constant.name: _constant,
    "arith.ceildivsi": _ceildiv,
    "arith.ceildivui": _ceildiv,
    "arith.floordivsi": _floordiv,
    "arith.cmpi": _compare,
    "arith.cmpf": _compare_floats,
    "arith.shli": _shift("shl.{t}"),
    "arith.shrsi": _shift("shr.{t}.s"),
    "arith.shrui": _shift("shr.{t}.u"),
    "arith.select": _select,
    "arith.index_cast": _integer_cast(True),
    "arith.index_castui": _integer_cast(False),
    "arith.extsi": _integer_cast(True),
    "arith.extui": _integer_cast(False),
    "arith.trunci": _integer_cast(True),
    "arith.bitcast": _bitcast,
    "arith.extf": _float_cast,
    "arith.truncf": _float_cast,
    "arith.sitofp": _float_cast,
    "arith.uitofp": _float_cast,
    "arith.fptosi": _float_cast,
    "arith.fptoui": _float_cast,
    "util.broadcast_dim": _broadcast_dim,
    hal.BufferViewAssert.name: _view_assert,
    hal.BufferViewDim.name: _view_dim,
    hal.BufferViewBuffer.name: _view_buffer,
    hal.BufferViewCreate.name: _view_create,
    hal.ConstantsMap.name: _constants_map,
    hal.QueueAlloca.name: _alloca,
    hal.QueueExecute.name: _execute,
    hal.BufferLoad.name: _buffer_load,
    cf.Assert.name: _assert,
    cf.Branch.name: _branch,
    cf.CondBranch.name: _cond_branch,
    ReturnOp.name: _return,
}
