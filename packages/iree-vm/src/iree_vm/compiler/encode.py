"""``vm.module`` -> bytecode program.

Values become registers (``bytecode/allocate`` assigns ordinals), block arguments block parameters, symbols
table entries; types narrow to their register bank. ``program`` verifies what it returns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.ir.attributes import FloatAttr, IntegerAttr, StringAttr
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TupleType
from iree_vm.bytecode import encoding
from iree_vm.bytecode.builder import BlockBuilder, FunctionBuilder, ModuleBuilder
from iree_vm.bytecode.program import IMPORT_BIT, Program
from iree_vm.bytecode.types import Register, Signature, Variadic
from iree_vm.compiler import dialect as vm
from iree_vm.compiler.table_ops import OPS
from iree_vm.compiler.types import register_type
from iree_vm.errors import VmError

_CLASSES = {cls: name for name, cls in OPS.items()}


def program(module: vm.Module) -> Program:
    """The program of a module. Raises VmError 16 for an op that has no bytecode, 3 for a broken rule."""
    version = module.version.value if module.version is not None else 0
    out = ModuleBuilder(module.sym_name.value, version, known={})
    ops = list(module.body.block)
    for op in ops:
        _declare(out, op)
    functions = [(op, _function(out, op)) for op in ops if isinstance(op, vm.Func)]
    for func, builder in functions:
        _FunctionEncoder(out, func, builder).run()
    for op in ops:
        if isinstance(op, vm.Export):
            out.export(op.export_name.value, op.function_ref.root)
    return out.finish()


def serialize(module: vm.Module) -> bytes:
    """The bytes of a module: an artefact's ``module.vmbc``."""
    return encoding.encode(program(module))


def _declare(out: ModuleBuilder, op: Op) -> None:
    if isinstance(op, vm.Import):
        out.import_(
            op.sym_name.value,
            str(_import_signature(op)),
            version=op.minimum_version.value if op.minimum_version is not None else 0,
            optional=op.is_optional is not None,
        )
    elif isinstance(op, vm.Rodata):
        try:
            data = op.data
        except ValueError as error:
            raise VmError(16, f"rodata @{op.sym_name.value}", cause=str(error)) from None
        out.rodata(op.sym_name.value, data, op.alignment.value if op.alignment is not None else 16)
    elif type(op) in vm.GLOBALS.values():
        variable: Any = op
        initial = variable.initial_value
        out.global_(
            variable.sym_name.value,
            register_type(variable.type.value),
            mutable=variable.is_mutable is not None,
            initial=None if initial is None else initial.value,
        )
    elif not isinstance(op, vm.Func | vm.Export):
        raise VmError(16, f"'{op.name}' in a vm.module", source=op.location.user_text())


def _import_signature(op: vm.Import) -> Signature:
    arguments: list[str | Variadic] = []
    for _, type, variadic in op.entries:
        if not variadic:
            arguments.append(register_type(type))
        else:
            elements = type.types if isinstance(type, TupleType) else (type,)
            arguments.append(Variadic(tuple(map(register_type, elements))))
    return Signature(tuple(arguments), tuple(map(register_type, vm.types_of(op.outputs))))


def _function(out: ModuleBuilder, op: vm.Func) -> FunctionBuilder:
    inputs, results = op.type.inputs, op.type.results
    return out.function(
        op.sym_name.value, Signature(tuple(map(register_type, inputs)), tuple(map(register_type, results)))
    )


class _FunctionEncoder:
    def __init__(self, out: ModuleBuilder, function: vm.Func, builder: FunctionBuilder) -> None:
        self.out = out
        self.function = function
        self.builder = builder
        self.values: dict[Value, Register] = {}
        self.blocks: dict[Block, BlockBuilder] = {}

    def run(self) -> None:
        blocks = self.function.body.blocks
        self.blocks[blocks[0]] = self.builder.entry
        for block in blocks[1:]:
            self.blocks[block] = self.builder.block(*(register_type(a.type) for a in block.args))
        for block, made in self.blocks.items():
            self.values.update(zip(block.args, made.parameters, strict=True))
        for block in self._in_order(blocks):
            self.builder.switch_to(self.blocks[block])
            for op in block:
                self.op(op)

    @staticmethod
    def _in_order(blocks: list[Block]) -> list[Block]:
        """Reverse postorder from the entry, so definitions precede uses; blocks nobody reaches come last."""
        post: list[Block] = []
        seen = {blocks[0]}
        stack = [(blocks[0], 0)]
        while stack:
            block, position = stack.pop()
            successors = block.terminator.successors
            if position < len(successors):
                stack.append((block, position + 1))
                if successors[position] not in seen:
                    seen.add(successors[position])
                    stack.append((successors[position], 0))
            else:
                post.append(block)
        return [*post[::-1], *(block for block in blocks if block not in seen)]

    def registers(self, values: Any) -> list[Register]:
        return [self.values[v] for v in values]

    def target(self, block: Block, arguments: Any) -> tuple[BlockBuilder, list[Register]]:
        return self.blocks[block], self.registers(arguments)

    def define(self, op: Op, results: Any) -> None:
        made = () if results is None else (results,) if isinstance(results, Register) else results
        self.values.update(zip(op.results, made, strict=True))

    def op(self, op: Op) -> None:
        name = _CLASSES.get(type(op))
        if name is not None:
            self.define(op, self.builder.op(name, *self._operands(op)))
            return
        rule = _RULES.get(type(op))
        if rule is None:
            raise VmError(16, f"'{op.name}' has no bytecode", source=op.location.user_text())
        rule(self, op)

    def _operands(self, op: Any) -> list[Any]:
        """A derived op's operands in the order of its table row."""
        out: list[Any] = []
        for entry in op.row.operands:
            if entry in op.row.results:
                continue
            value = getattr(op, entry.name)
            if isinstance(value, Value):
                out.append(self.values[value])
            elif isinstance(value, IntegerAttr | FloatAttr | StringAttr):
                out.append(value.value)
            elif entry.kind == "callee":
                out.append(self.out.index("import", value.root) | IMPORT_BIT)
            else:
                out.append(value.root)
        return out

    def call(self, op: Any) -> None:
        self.define(op, self.builder.call(op.callee.root, *self.registers(op.arguments)))

    def call_variadic(self, op: Any) -> None:
        groups = [
            self.values[g] if isinstance(g, Value) else [tuple(self.registers(row)) for row in g]
            for g in op.groups
        ]
        self.define(op, self.builder.call(op.callee.root, *groups))

    def branch(self, op: Any) -> None:
        block, arguments = self.target(op.target, op.arguments)
        self.builder.br(block, *arguments)

    def cond_branch(self, op: Any) -> None:
        true = self.target(op.true_target, op.true_arguments)
        false = self.target(op.false_target, op.false_arguments)
        self.builder.cond_br(self.values[op.condition], *true, *false)

    def branch_table(self, op: Any) -> None:
        default = self.target(op.default_target, op.default_arguments)
        cases = [self.target(block, arguments) for block, arguments in op.cases]
        self.builder.br_table(self.values[op.index], default, cases)

    def return_(self, op: Any) -> None:
        self.builder.return_(*self.registers(op.values))


_RULES: dict[type[Op], Callable[[_FunctionEncoder, Op], None]] = {
    vm.Call: _FunctionEncoder.call,
    vm.CallVariadic: _FunctionEncoder.call_variadic,
    vm.Branch: _FunctionEncoder.branch,
    vm.CondBranch: _FunctionEncoder.cond_branch,
    vm.BranchTable: _FunctionEncoder.branch_table,
    vm.Return: _FunctionEncoder.return_,
}
"""Ops that no single table row stands for."""


__all__ = ["program", "serialize"]
