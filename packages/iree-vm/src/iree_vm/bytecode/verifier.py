"""What must hold before a program is run; every rule that is broken is VmError 3 naming the place.

Tables: unique names, entries in range, initial values that fit. Functions: entry parameters equal the
signature; every block ends with its only terminator; every register an op reads has the kind the op table
says and was written on every path; branch arguments, call arguments, results and segments fit; immutable
globals are stored only by the initializer. After this, translation cannot fail and execution can only end
in a value or a coded error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from iree_vm.bytecode.ops import Operand
from iree_vm.bytecode.program import IMPORT_BIT, INITIALIZER, Block, Function, Instruction, Program, Successor
from iree_vm.bytecode.types import BANK, LETTERS, TYPES, Register
from iree_vm.errors import VmError

_RANGES = {"i32": (-(1 << 31), (1 << 31) - 1), "i64": (-(1 << 63), (1 << 63) - 1)}
_NAME_EXTRA = frozenset("._$-:/")


def verify(program: Program) -> None:
    """Check everything. Raises VmError 3."""
    _Verifier(program).run()


def valid_name(name: str) -> bool:
    """Names are letters, digits and ``. _ $ - : /``, so that they survive the assembler."""
    return bool(name) and name.isascii() and all(c.isalnum() or c in _NAME_EXTRA for c in name)


class _Verifier:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.function: Function | None = None
        self.block = 0
        self.position = 0

    def fail(self, message: str) -> NoReturn:
        place = f"@{self.program.name}"
        if self.function is not None:
            place += f".{self.function.name} ^{self.block} op {self.position}"
        raise VmError(3, f"{message} in {place}", hint="the file was damaged or its producer is wrong")

    def run(self) -> None:
        program = self.program
        if not valid_name(program.name):
            self.fail("invalid module name")
        for kind, names in (
            ("import", [i.name for i in program.imports]),
            ("global", [g.name for g in program.globals]),
            ("rodata", [r.name for r in program.rodata]),
            ("function", [f.name for f in program.functions]),
            ("export", [e.name for e in program.exports]),
        ):
            seen: set[str] = set()
            for name in names:
                if not valid_name(name):
                    self.fail(f"invalid {kind} name '{name}'")
                if name in seen:
                    self.fail(f"{kind} @{name} is there twice")
                seen.add(name)
        for entry in program.imports:
            if not entry.module or not entry.function:
                self.fail(f"import @{entry.name} is not module.function")
            if entry.module == program.name:
                self.fail(f"import @{entry.name} is of the module itself")
        for variable in program.globals:
            self.check_initial(variable.type, variable.initial, variable.name)
        for export in program.exports:
            if export.function >= len(program.functions):
                self.fail(
                    f"export @{export.name} of function {export.function}, there are {len(program.functions)}"
                )
        for function in program.functions:
            self.check_function(function)
        self.function = None
        for function in program.functions:
            if function.name == INITIALIZER and (function.signature.arguments or function.signature.results):
                self.fail(f"@{INITIALIZER} has arguments or results")

    def check_initial(self, type_name: str, value: int | float | None, name: str) -> None:
        if type_name == "ref":
            ok = value is None
        elif type_name in _RANGES:
            low, high = _RANGES[type_name]
            ok = value is None or (type(value) is int and low <= value <= high)
        else:
            ok = value is None or isinstance(value, (int, float))
        if not ok:
            self.fail(f"global @{name}: {type_name} initialized with {value!r}")

    def check_function(self, function: Function) -> None:
        self.function, self.block, self.position = function, 0, 0
        if function.signature.is_variadic:
            self.fail("a function with variadic arguments")
        if not function.blocks:
            self.fail("a function without blocks")
        if tuple(r.type for r in function.blocks[0].params) != function.signature.arguments:
            self.fail(f"entry parameters differ from the signature {function.signature}")
        for self.block, block in enumerate(function.blocks):
            self.check_block(block)
        self.check_defined(function)

    def check_block(self, block: Block) -> None:
        self.position = 0
        if len(set(block.params)) != len(block.params):
            self.fail("a parameter is there twice")
        if not block.instructions:
            self.fail("a block without a terminator")
        last = len(block.instructions) - 1
        for self.position, instruction in enumerate(block.instructions):
            op, operands = instruction
            if op.terminator != (self.position == last):
                self.fail(f"{op.name}: a terminator belongs at the end of its block, and only there")
            if len(operands) != len(op.operands):
                self.fail(f"{op.name}: {len(operands)} operands, the table says {len(op.operands)}")
            for operand, value in zip(op.operands, operands, strict=True):
                self.check_operand(op.name, operand, value)
            self.check_signature(instruction)

    def check_operand(self, op: str, operand: Operand, value: Any) -> None:
        kind = operand.kind
        if kind in BANK:
            if value.bank != BANK[kind]:
                self.fail(f"{op}: operand {operand.name} is {value}, its type is {kind}")
        elif kind == "*":
            if operand.written and len(set(value)) != len(value):
                self.fail(f"{op}: a register is written twice")
        elif kind[0] == "#":
            if kind[1:] in _RANGES:
                low, high = _RANGES[kind[1:]]
                if not low <= value <= high:
                    self.fail(f"{op}: immediate {value} does not fit {kind[1:]}")
        elif kind == "rodata":
            if value >= len(self.program.rodata):
                self.fail(f"{op}: rodata {value}, there are {len(self.program.rodata)}")
        elif kind.startswith("global."):
            self.check_global(op, operand, value)
        elif kind == "callee":
            table = self.program.imports if value & IMPORT_BIT else self.program.functions
            if value & ~IMPORT_BIT >= len(table):
                what = "import" if value & IMPORT_BIT else "function"
                self.fail(f"{op}: {what} {value & ~IMPORT_BIT}, there are {len(table)}")
        elif kind == "^":
            self.check_successor(op, value)
        elif kind == "^*":
            for successor in value:
                self.check_successor(op, successor)

    def check_global(self, op: str, operand: Operand, index: int) -> None:
        if index >= len(self.program.globals):
            self.fail(f"{op}: global {index}, there are {len(self.program.globals)}")
        variable = self.program.globals[index]
        if operand.kind != f"global.{variable.type}":
            self.fail(f"{op}: global @{variable.name} is {variable.type}")
        if operand.written and not variable.mutable:
            assert self.function is not None
            if self.function.name != INITIALIZER:
                self.fail(f"{op}: global @{variable.name} is immutable outside @{INITIALIZER}")

    def check_successor(self, op: str, successor: Successor) -> None:
        assert self.function is not None
        blocks = self.function.blocks
        if successor.block >= len(blocks):
            self.fail(f"{op}: target ^{successor.block}, there are {len(blocks)} blocks")
        if successor.block == 0:
            self.fail(f"{op}: the entry block is no branch target")
        wanted = [r.bank for r in blocks[successor.block].params]
        if [r.bank for r in successor.arguments] != wanted:
            self.fail(f"{op}: arguments of ^{successor.block} differ from its parameters")

    def check_signature(self, instruction: Instruction) -> None:
        op, operands = instruction
        if op.name in ("call", "call.variadic"):
            results, callee = operands[0], operands[1]
            segments, arguments = (
                (operands[2], operands[3]) if op.name == "call.variadic" else ((), operands[2])
            )
            signature = self.program.callee_signature(callee)
            name = self.program.callee_name(callee)
            if signature.is_variadic != (op.name == "call.variadic"):
                self.fail(f"{op.name} of @{name}{signature}")
            if sum(segments) > len(arguments):
                self.fail(f"{op.name} of @{name}: segments {segments} of {len(arguments)} arguments")
            if signature.flat(segments) != [r.type for r in arguments]:
                self.fail(f"{op.name} of @{name}{signature} with ({', '.join(map(str, arguments))})")
            if [r.type for r in results] != list(signature.results):
                self.fail(f"{op.name} of @{name}{signature} gives ({', '.join(map(str, results))})")
            if not callee & IMPORT_BIT and name == INITIALIZER:
                self.fail(f"{op.name}: @{INITIALIZER} is not called")
        elif op.name == "return":
            assert self.function is not None
            if [r.type for r in operands[0]] != list(self.function.signature.results):
                self.fail(f"return ({', '.join(map(str, operands[0]))}) from {self.function.signature}")
        elif op.name == "import.resolved":
            if not operands[0 + 1] & IMPORT_BIT:
                self.fail("import.resolved of a function")

    def check_defined(self, function: Function) -> None:
        """Forward dataflow: a register is defined where it was written on every path from the entry."""
        numbers: dict[Register, int] = {}

        def bit(register: Register) -> int:
            return 1 << numbers.setdefault(register, len(numbers))

        params = [sum(bit(r) for r in block.params) for block in function.blocks]
        writes = []
        for block in function.blocks:
            mask = 0
            for instruction in block.instructions:
                for register in written(instruction):
                    mask |= bit(register)
            writes.append(mask)
        entering: list[int | None] = [None] * len(function.blocks)
        entering[0] = params[0]
        pending = [0]
        while pending:
            index = pending.pop()
            before = entering[index]
            assert before is not None
            leaving = before | writes[index]
            for successor in successors(function.blocks[index].instructions[-1]):
                target = successor.block
                old = entering[target]
                new = (leaving if old is None else old & leaving) | params[target]
                if new != old:
                    entering[target] = new
                    pending.append(target)
        for self.block, block in enumerate(function.blocks):
            state = entering[self.block]
            if state is None:
                self.position = 0
                self.fail("a block that nothing branches to")
            for self.position, instruction in enumerate(block.instructions):
                for register in read(instruction):
                    if not state & bit(register):
                        self.fail(f"{instruction.op.name}: {register} may be read before it is written")
                for register in written(instruction):
                    state |= bit(register)


def read(instruction: Instruction) -> Iterator[Register]:
    """The registers an instruction reads, branch arguments included."""
    for operand, value in zip(instruction.op.operands, instruction.operands, strict=True):
        if operand.written:
            continue
        if operand.kind in BANK:
            yield value
        elif operand.kind == "*":
            yield from value
        elif operand.kind == "^":
            yield from value.arguments
        elif operand.kind == "^*":
            for successor in value:
                yield from successor.arguments


def written(instruction: Instruction) -> Iterator[Register]:
    """The registers an instruction writes."""
    for operand, value in zip(instruction.op.operands, instruction.operands, strict=True):
        if operand.written:
            if operand.kind in BANK:
                yield value
            elif operand.kind == "*":
                yield from value


def successors(instruction: Instruction) -> Iterator[Successor]:
    """The branch targets of a terminator."""
    for operand, value in zip(instruction.op.operands, instruction.operands, strict=True):
        if operand.kind == "^":
            yield value
        elif operand.kind == "^*":
            yield from value


__all__ = ["LETTERS", "TYPES", "read", "successors", "valid_name", "verify", "written"]
