"""Verified functions -> Python source, compiled once per load; a call then costs what a Python call costs.

Registers become local variables, each op its template, blocks become straight code where they can: a block
with one predecessor is emitted in its place (``br`` disappears, ``cond_br`` is an ``if``), the others are
cases of one ``while True`` loop over a block number. A register known to hold a constant is replaced by the
literal. A call of a straight-line function is expanded in place, and an import whose provider has an
``inline`` form is expanded into its source, so that an exported function reaches the device without any
call in between.

The namespace the source runs in is per load: ``_g<n>`` globals, ``_ro<n>`` rodata, ``_fn<n>`` functions,
``_imp<n>`` imports, plus the helpers of ``numerics`` and ``values``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from iree_base.records import field, record
from iree_vm import values
from iree_vm.bytecode import numerics
from iree_vm.bytecode.program import IMPORT_BIT, INITIALIZER, Function, Instruction, Program, Successor
from iree_vm.bytecode.types import BANK, LETTERS, Register, Variadic
from iree_vm.bytecode.verifier import successors, written
from iree_vm.errors import VmError

_MAX_NESTING = 12
"""Blocks nested in place; Python allows 100 levels of indentation."""
_MAX_INLINE = 256
"""Instructions of a function that is expanded at its call."""
_LINEAR_CASES = 4

Arguments = list[Any]
"""Argument expressions of an import call: a str, or a list of str (or of tuples of str) for a segment."""


class Inline(Protocol):
    """How a provider expands a call of its function: statements assigning ``results``, or None to be called.

    ``bind(object)`` gives a name under which the statements can use an object; ``value(expression)`` gives
    the object behind an expression that is a known constant (raises KeyError otherwise).
    """

    def __call__(
        self,
        arguments: Arguments,
        results: list[str],
        bind: Callable[[Any], str],
        value: Callable[[str], Any],
    ) -> list[str] | None: ...


@record
class ImportTarget:
    """What an import resolved to."""

    function: Callable[..., Any]
    inline: Inline | None = None


@record
class Translation:
    """Source being built, and the namespace it will run in."""

    program: Program
    imports: Sequence[ImportTarget | None]
    trace: Callable[[str], None] | None = None
    """Called with each instruction's text before it runs; switches expansion off."""
    namespace: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    _bound: dict[int, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        space = self.namespace
        space.update(numerics.NAMESPACE)
        space.update(values.NAMESPACE)
        space["_VmError"] = VmError
        space["_trace"] = self.trace
        for index, rodata in enumerate(self.program.rodata):
            space[f"_ro{index}"] = values.VmBuffer(memoryview(rodata.data).cast("B").toreadonly())
        for index, target in enumerate(self.imports):
            space[f"_imp{index}"] = target.function if target else None
        for index, variable in enumerate(self.program.globals):
            default = {"i": 0, "f": 0.0, "r": None}[variable.type[0]]
            space[f"_g{index}"] = default if variable.initial is None else variable.initial

    def bind(self, value: Any) -> str:
        """A name of the namespace for an object."""
        name = self._bound.get(id(value))
        if name is None:
            name = f"_k{len(self._bound)}"
            self._bound[id(value)] = name
            self.namespace[name] = value
        return name

    def functions(self) -> None:
        """Emit every function as ``_fn<n>``."""
        for index, function in enumerate(self.program.functions):
            emitter = FunctionEmitter(self, function)
            params = ", ".join(emitter.names[r] for r in function.blocks[0].params)
            self.lines.append(f"def _fn{index}({params}):")
            self.lines += emitter.body(1)

    def compile(self, name: str) -> dict[str, Any]:
        """Compile what was emitted and run the definitions; gives the namespace."""
        source = "\n".join(self.lines) + "\n"
        exec(compile(source, name, "exec", dont_inherit=True), self.namespace)
        return self.namespace


class _Names(dict[Register, str]):
    """Register -> Python variable."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __missing__(self, register: Register) -> str:
        name = self[register] = f"{self.prefix}{LETTERS[register.bank]}{register.ordinal}"
        return name


class FunctionEmitter:
    """Emits one function's body; expanded callees share the emitter's counter for unique variable names."""

    def __init__(self, unit: Translation, function: Function, prefix: str = "", depth: int = 0) -> None:
        self.unit = unit
        self.program = unit.program
        self.function = function
        self.where = f"@{unit.program.name}.{function.name}"
        self.names = _Names(prefix)
        self.prefix = prefix
        self.depth = depth
        self.expanded = 0
        self.stored: set[str] = set()
        self.known: dict[Register, str] = {}
        """Registers that hold a known constant at this point -> literal or namespace name."""
        self.current = -1
        self.nothing = "None"
        """What a return without values gives."""
        self.pending: list[int] = []
        counts: dict[int, int] = {}
        for block in function.blocks:
            for successor in successors(block.instructions[-1]):
                counts[successor.block] = counts.get(successor.block, 0) + 1
        self.straight = len(function.blocks) == 1 and unit.trace is None
        self.initialized = function.name != INITIALIZER
        self.cases = {block for block, count in counts.items() if count > 1}
        self.single = self._single_constants()

    def _single_constants(self) -> dict[Register, str]:
        """Constants in registers written once in the whole function: valid wherever they are readable."""
        writes: dict[Register, list[str | None]] = {}
        for block in self.function.blocks:
            for register in block.params:
                writes.setdefault(register, []).append(None)
            for instruction in block.instructions:
                literal = self.constant(instruction)
                for register in written(instruction):
                    writes.setdefault(register, []).append(literal)
        return {r: c[0] for r, c in writes.items() if len(c) == 1 and c[0] is not None}

    def constant(self, instruction: Instruction) -> str | None:
        """The expression that an op's result always equals: a literal, rodata, an immutable global."""
        op, operands = instruction
        if op.name.startswith("global.load.") and self.straight and self.initialized:
            return None if self.program.globals[operands[1]].mutable else f"_g{operands[1]}"
        if not op.constant:
            return None
        if op.constant == "null":
            return "None"
        if op.constant == "data":
            return f"_ro{operands[1]}"
        return literal(operands[1])

    def read(self, register: Register) -> str:
        """The expression for a register's value."""
        known = self.known.get(register)
        return self.names[register] if known is None else known

    def assign(self, register: Register) -> str:
        """The variable that is about to be written."""
        self.known.pop(register, None)
        return self.names[register]

    # bodies

    def body(self, level: int) -> list[str]:
        """All statements, for a function whose entry parameters are already local variables."""
        known = dict(self.known)
        emitted: dict[int, list[str]] = {}
        self.known = {**self.single, **known}
        entry = self.block(0, level, 0)
        pending, self.pending = self.pending, []
        while pending:
            index = pending.pop()
            if index in emitted:
                continue
            self.known = dict(self.single)
            self.current = index
            emitted[index] = self.block(index, 0, 0)
            pending += self.pending
            self.pending = []
        lines = entry
        if emitted:
            lines.append("    " * level + "while True:")
            lines += self.dispatch(sorted(emitted), emitted, level + 1)
        if self.stored:
            lines.insert(0, "    " * level + "global " + ", ".join(sorted(self.stored)))
        return lines

    def dispatch(self, cases: list[int], emitted: dict[int, list[str]], level: int) -> list[str]:
        """An if chain over the block number, a balanced tree when there are many."""
        pad = "    " * level
        if len(cases) == 1:
            return [pad + line for line in emitted[cases[0]]]
        if len(cases) > _LINEAR_CASES:
            middle = len(cases) // 2
            return [
                f"{pad}if _b < {cases[middle]}:",
                *self.dispatch(cases[:middle], emitted, level + 1),
                f"{pad}else:",
                *self.dispatch(cases[middle:], emitted, level + 1),
            ]
        lines = []
        for position, case in enumerate(cases):
            last = position == len(cases) - 1
            keyword = f"if _b == {case}:" if not position else "else:" if last else f"elif _b == {case}:"
            lines.append(pad + keyword)
            inner = pad + "    "
            lines += [inner + line for line in emitted[case]]
        return lines

    def block(self, index: int, level: int, nesting: int) -> list[str]:
        """A block's statements, and those of the blocks emitted in its place."""
        pad = "    " * level
        lines: list[str] = []
        for instruction in self.function.blocks[index].instructions:
            if self.unit.trace is not None:
                from iree_vm.bytecode.disassembler import instruction_text

                text = f"@{self.program.name}.{self.function.name} ^{index}: " + instruction_text(
                    instruction, self.program
                )
                lines.append(f"{pad}_trace({text!r})")
            if instruction.op.terminator:
                lines += self.terminator(instruction, level, nesting)
            else:
                lines += [pad + line for line in self.instruction(instruction)]
        return lines

    def goto(self, successor: Successor, level: int, nesting: int) -> list[str]:
        """Moves into the target's parameters, then the target in place or a step of the block loop."""
        pad = "    " * level
        block = self.function.blocks[successor.block]
        moves = [
            (target, source)
            for target, source in zip(block.params, successor.arguments, strict=True)
            if target != source or source in self.known
        ]
        saved = dict(self.known)
        lines = []
        if moves:
            sources = ", ".join(self.read(source) for _, source in moves)
            constants = {target: self.known.get(source) for target, source in moves}
            targets = ", ".join(self.assign(target) for target, _ in moves)
            lines.append(f"{pad}{targets} = {sources}")
            for target, constant in constants.items():
                if constant is not None:
                    self.known[target] = constant
        if successor.block in self.cases or nesting >= _MAX_NESTING:
            if successor.block != self.current:
                lines.append(f"{pad}_b = {successor.block}")
            elif not lines:
                lines.append(f"{pad}pass")
            self.pending.append(successor.block)
        else:
            lines += self.block(successor.block, level, nesting + 1)
        self.known = saved
        return lines

    def terminator(self, instruction: Instruction, level: int, nesting: int) -> list[str]:
        op, operands = instruction
        pad = "    " * level
        if op.name == "br":
            return self.goto(operands[0], level, nesting)
        if op.name == "cond_br":
            return [
                f"{pad}if {self.read(operands[0])}:",
                *self.goto(operands[1], level + 1, nesting + 1),
                f"{pad}else:",
                *self.goto(operands[2], level + 1, nesting + 1),
            ]
        if op.name == "br_table":
            lines = []
            index = self.read(operands[0])
            for position, successor in enumerate(operands[2]):
                lines.append(f"{pad}{'if' if not position else 'elif'} {index} == {position}:")
                lines += self.goto(successor, level + 1, _MAX_NESTING)
            if not lines:
                return self.goto(operands[1], level, nesting)
            return [*lines, f"{pad}else:", *self.goto(operands[1], level + 1, _MAX_NESTING)]
        if op.name == "return":
            return [f"{pad}return {', '.join(map(self.read, operands[0])) or self.nothing}"]
        return [f"{pad}raise {self.failure(operands[0])}"]

    def failure(self, message: str) -> str:
        return f"_VmError(8, {message!r}, source={self.where!r})"

    # instructions

    def instruction(self, instruction: Instruction) -> list[str]:
        """The statements of an op that is no terminator."""
        op, operands = instruction
        if op.name in ("call", "call.variadic"):
            return self.call(instruction)
        if op.name == "cond_fail":
            condition = self.read(operands[0])
            return [f"if {condition}: raise {self.failure(operands[1])}"]
        if op.name == "import.resolved":
            there = self.unit.imports[operands[1] & ~IMPORT_BIT] is not None
            return [f"{self.assign(operands[0])} = {int(there)}"]
        words: dict[str, str] = {}
        for operand, value in zip(op.operands, operands, strict=True):
            if operand.written:
                continue
            if operand.kind in BANK:
                words[operand.name] = self.read(value)
            elif operand.kind == "rodata":
                words[operand.name] = f"_ro{value}"
            elif operand.kind.startswith("global."):
                words[operand.name] = f"_g{value}"
            else:
                words[operand.name] = literal(value)
        for operand, value in zip(op.operands, operands, strict=True):
            if operand.written and operand.kind in BANK:
                words[operand.name] = self.assign(value)
            elif operand.written:
                words[operand.name] = f"_g{value}"
                self.stored.add(f"_g{value}")
        constant = self.constant(instruction)
        if constant is not None:
            self.known[operands[0]] = constant
            if self.straight:
                return []  # every read is the literal
        return op.template.format_map(words).split("\n")

    def call(self, instruction: Instruction) -> list[str]:
        op, operands = instruction
        results: tuple[Register, ...] = operands[0]
        callee: int = operands[1]
        flat = [self.read(r) for r in operands[-1]]
        if not callee & IMPORT_BIT:
            expanded = self.expand(callee, operands[-1], results)
            if expanded is not None:
                return expanded
            return self._call_lines(f"_fn{callee}", flat, results)
        index = callee & ~IMPORT_BIT
        entry = self.program.imports[index]
        target = self.unit.imports[index]
        if target is None:
            return [f"raise _VmError(5, {'optional import @' + entry.name!r}, source={self.where!r})"]
        arguments: Arguments = flat
        if op.name == "call.variadic":
            arguments = self._segments(entry.signature.arguments, operands[2], flat)
        if target.inline is not None and self.unit.trace is None:
            names = [self.names[r] for r in results]
            lines = target.inline(arguments, names, self.unit.bind, self._value)
            if lines is not None and len(lines) > 1 and set(names) & set(flat):
                # Several statements may write a result before the last read of an argument.
                temporary = [f"_t{i}" for i in range(len(names))]
                lines = target.inline(arguments, temporary, self.unit.bind, self._value) or []
                lines.append(f"{', '.join(names)} = {', '.join(temporary)}")
            if lines is not None:
                for register in results:
                    self.known.pop(register, None)
                if lines == [f"{name} = None" for name in names] and names:
                    self.known.update((register, "None") for register in results)
                return lines
        return self._call_lines(f"_imp{index}", [_expression(a) for a in arguments], results)

    def _call_lines(self, name: str, arguments: list[str], results: tuple[Register, ...]) -> list[str]:
        call = f"{name}({', '.join(arguments)})"
        targets = ", ".join(self.assign(r) for r in results)
        return [f"{targets} = {call}" if targets else call]

    @staticmethod
    def _segments(types: tuple[str | Variadic, ...], segments: tuple[int, ...], flat: list[str]) -> Arguments:
        counts, rest = iter(segments), iter(flat)
        out: Arguments = []
        for argument in types:
            if isinstance(argument, str):
                out.append(next(rest))
            elif len(argument.types) == 1:
                out.append([next(rest) for _ in range(next(counts))])
            else:
                out.append([tuple(next(rest) for _ in argument.types) for _ in range(next(counts))])
        return out

    def _value(self, expression: str) -> Any:
        """The object behind a constant expression; KeyError if it is a variable."""
        if expression == "None":
            return None
        if expression.startswith("_ro"):
            return self.unit.namespace[expression]
        try:
            return int(expression)
        except ValueError:
            raise KeyError(expression) from None

    def expand(
        self, callee: int, arguments: tuple[Register, ...], results: tuple[Register, ...]
    ) -> list[str] | None:
        """A straight-line callee in place of its call: its registers get their own variables."""
        function = self.program.functions[callee]
        if len(function.blocks) != 1 or self.depth >= 4 or self.unit.trace is not None:
            return None
        block = function.blocks[0]
        if len(block.instructions) > _MAX_INLINE or block.instructions[-1].op.name != "return":
            return None
        self.expanded += 1
        inner = FunctionEmitter(self.unit, function, f"{self.prefix}c{self.expanded}_", self.depth + 1)
        inner.known = dict(inner.single)
        overwritten = {register for i in block.instructions for register in written(i)}
        lines = []
        for param, argument in zip(block.params, arguments, strict=True):
            known = self.known.get(argument)
            if known is not None:
                inner.known[param] = known
            if known is None and param not in overwritten:
                inner.names[param] = self.names[argument]
            elif param in overwritten:
                lines.append(f"{inner.names[param]} = {self.read(argument)}")
        for instruction in block.instructions[:-1]:
            lines += inner.instruction(instruction)
        returned = block.instructions[-1].operands[0]
        sources = [inner.read(r) for r in returned]
        constants = [inner.known.get(r) for r in returned]
        if results:
            lines.append(f"{', '.join(self.assign(r) for r in results)} = {', '.join(sources)}")
            self.known.update((r, c) for r, c in zip(results, constants, strict=True) if c is not None)
        self.stored |= inner.stored
        return lines


def literal(value: Any) -> str:
    """A Python literal for an immediate."""
    if isinstance(value, float):
        text = repr(value)
        return {"inf": "_inf", "-inf": "-_inf", "nan": "_nan"}.get(text, text)
    return repr(value)


def _expression(argument: Any) -> str:
    """Source of one argument: a segment becomes a tuple."""
    if isinstance(argument, str):
        return argument
    parts = [part if isinstance(part, str) else f"({', '.join(part)})" for part in argument]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


__all__ = ["Arguments", "FunctionEmitter", "ImportTarget", "Inline", "Translation", "literal"]
