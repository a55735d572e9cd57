"""Text (.vmasm) -> Program.

::

    module @demo version 1
    import optional @other.function(ref, [i64]...) -> (i32) version 2
    global @count : i64 mutable = 3
    rodata @greeting align 64 = "text" hex "00ff" i32 [1, 2] f64 [0.5]
    func @loop(%i0, %r0) -> (i32) {
      br ^head(%i0)
    ^head(%i1):
      %i2 = const.i32 -1
      %i3 = add.i32 %i1, %i2
      cond_br %i3, ^head(%i3), ^done
    ^done:
      call.variadic @other.function(%r0, [%l0, %l1])
      return %i3
    }
    export @loop
    export @again = @loop

``//`` begins a comment. The entry block has no label: its parameters are the function's. Which operands an
op takes, and their order, is its row in the op table; a syntax error is VmError 4 with the line.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from iree_vm.bytecode.numerics import f32
from iree_vm.bytecode.ops import OPS, Op
from iree_vm.bytecode.program import (
    IMPORT_BIT,
    Block,
    Export,
    Function,
    Global,
    Import,
    Instruction,
    Program,
    Rodata,
    Successor,
)
from iree_vm.bytecode.types import (
    BANK,
    LETTERS,
    MAX_REGISTERS,
    TYPES,
    Register,
    Signature,
    Variadic,
    parse_signature,
)
from iree_vm.errors import VmError

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<register>%[ilfdr][0-9]+\b)
    |(?P<symbol>@[\w.$:/-]+)
    |(?P<label>\^\w+)
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+(?:\.[0-9a-fA-F]*)?(?:[pP][-+]?[0-9]+)?
        |[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?|inf\b|nan\b))
    |(?P<word>[A-Za-z_][\w.]*)
    |(?P<mark>->|\.\.\.|[=(){}\[\],:])""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int


class _Named(NamedTuple):
    """A callee still given by name; functions may be called before they are defined."""

    name: str
    token: _Token
    bracketed: tuple[int | None, ...] = ()


def assemble(text: str, name: str = "<vmasm>") -> Program:
    """Read a module. Raises VmError 4 with file and line; run ``verifier.verify`` on the result."""
    return _Assembler(text, name).module()


class _Assembler:
    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.tokens: list[_Token] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                self.fail(f"unexpected {text[position]!r}", _Token("", "", position))
            if match.lastgroup != "space":
                self.tokens.append(_Token(str(match.lastgroup), match[0], position))
            position = match.end()
        self.tokens.append(_Token("end", "end of text", len(text)))
        self.next = 0
        self.labels: dict[str, int] = {}
        self.used: dict[str, _Token] = {}
        self.program = Program("")
        self.indices: dict[str, dict[str, int]] = {"global": {}, "rodata": {}, "callee": {}}
        self.parsers: dict[str, Callable[[], Any]] = {
            **dict.fromkeys(TYPES, self.register),
            "*": self.registers,
            **{f"#{name}": lambda name=name: self.number(name) for name in TYPES[:4]},  # type: ignore[misc]
            "#text": self.string,
            "rodata": lambda: self.index("rodata"),
            **{f"global.{name}": lambda: self.index("global") for name in TYPES},
            "^": self.successor,
            "^*": self.successors,
        }

    def fail(self, message: str, token: _Token | None = None) -> NoReturn:
        at = (token or self.tokens[self.next]).start
        line = self.text.count("\n", 0, at) + 1
        shown = self.text.splitlines()[line - 1].strip() if self.text else ""
        raise VmError(4, f"{message} in '{shown}'", source=f"{self.name}:{line}")

    def peek(self, text: str) -> bool:
        return self.tokens[self.next].text == text

    def take(self, text: str) -> bool:
        if self.peek(text) and self.tokens[self.next].kind != "string":
            self.next += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.take(text):
            self.fail(f"expected '{text}', got '{self.tokens[self.next].text}'")

    def kind(self, kind: str) -> _Token:
        token = self.tokens[self.next]
        if token.kind != kind:
            self.fail(f"expected a {kind}, got '{token.text}'")
        self.next += 1
        return token

    # operands, one parser a kind

    def register(self) -> Register:
        token = self.kind("register")
        index = int(token.text[2:])
        if index >= MAX_REGISTERS:
            self.fail(f"register ordinals end at {MAX_REGISTERS - 1}", token)
        return Register(LETTERS.index(token.text[1]), index)

    def registers(self) -> tuple[Register, ...]:
        out = []
        if self.tokens[self.next].kind == "register":
            out.append(self.register())
            while self.take(","):
                out.append(self.register())
        return tuple(out)

    def number(self, type_name: str) -> int | float:
        token = self.kind("number")
        try:
            if type_name[0] == "i":
                value = int(token.text, 0)
                if not -(1 << int(type_name[1:]) - 1) <= value < 1 << int(type_name[1:]) - 1:
                    self.fail(f"{value} does not fit {type_name}", token)
                return value
            real = float.fromhex(token.text) if "x" in token.text.lower() else float(token.text)
        except (ValueError, OverflowError):
            self.fail(f"'{token.text}' is no {type_name}", token)
        return f32(real) if type_name == "f32" else real

    def string(self) -> str:
        token = self.kind("string")
        try:
            value: str = json.loads(token.text)
            value.encode()
        except ValueError:
            self.fail("invalid string", token)
        return value

    def index(self, table: str) -> int:
        token = self.kind("symbol")
        index = self.indices[table].get(token.text[1:])
        if index is None:
            self.fail(f"no {table} {token.text}", token)
        return index

    def successor(self) -> Successor:
        token = self.kind("label")
        self.used.setdefault(token.text, token)
        block = self.labels.setdefault(token.text, len(self.labels) + 1)
        arguments: tuple[Register, ...] = ()
        if self.take("("):
            arguments = self.registers()
            self.expect(")")
        return Successor(block, arguments)

    def successors(self) -> tuple[Successor, ...]:
        self.expect("[")
        out: list[Successor] = []
        while not self.take("]"):
            if out:
                self.expect(",")
            out.append(self.successor())
        return tuple(out)

    # instructions

    def call(self, op: Op, results: tuple[Register, ...]) -> Instruction:
        token = self.kind("symbol")
        self.expect("(")
        arguments: list[Register] = []
        lengths: list[int | None] = []  # None: a plain argument; n: a bracketed segment of n registers
        while not self.take(")"):
            if lengths:
                self.expect(",")
            if self.take("["):
                segment = self.registers()
                self.expect("]")
                arguments += segment
                lengths.append(len(segment))
            else:
                arguments.append(self.register())
                lengths.append(None)
        named = _Named(token.text[1:], token, tuple(lengths))
        if op.name == "call":
            return Instruction(op, (results, named, tuple(arguments)))
        return Instruction(op, (results, named, (), tuple(arguments)))

    def instruction(self) -> Instruction:
        results: tuple[Register, ...] = ()
        if self.tokens[self.next].kind == "register":
            results = self.registers()
            self.expect("=")
        token = self.kind("word")
        op = OPS.get(token.text)
        if op is None:
            self.fail(f"unknown op '{token.text}'", token)
        if op.name in ("call", "call.variadic"):
            return self.call(op, results)
        wanted = len(op.results)
        if len(results) != wanted:
            self.fail(f"{op.name} has {wanted} result(s), not {len(results)}", token)
        left = iter(results)
        operands: list[Any] = []
        first = True
        for operand in op.operands:
            if operand in op.results:
                operands.append(next(left))
                continue
            if not first:
                self.expect(",")
            first = False
            if operand.kind == "callee":
                symbol = self.kind("symbol")
                operands.append(_Named(symbol.text[1:], symbol))
            else:
                operands.append(self.parsers[operand.kind]())
        return Instruction(op, tuple(operands))

    def resolve(self, instruction: Instruction) -> Instruction:
        """Replace a callee's name by its index, and bracket lengths by segment counts."""
        named = next((o for o in instruction.operands if isinstance(o, _Named)), None)
        if named is None:
            return instruction
        callee = self.indices["callee"].get(named.name)
        if callee is None:
            self.fail(f"no function or import @{named.name}", named.token)
        operands = list(instruction.operands)
        operands[operands.index(named)] = callee
        if instruction.op.name == "call.variadic":
            signature = self.program.callee_signature(callee)
            if len(signature.arguments) != len(named.bracketed):
                self.fail(
                    f"@{named.name}{signature} called with {len(named.bracketed)} arguments", named.token
                )
            counts = []
            for argument, length in zip(signature.arguments, named.bracketed, strict=True):
                if isinstance(argument, Variadic) != (length is not None):
                    self.fail(f"brackets differ from @{named.name}{signature}", named.token)
                if isinstance(argument, Variadic) and length is not None:
                    if length % len(argument.types):
                        self.fail(f"a segment of {length} registers for {argument}", named.token)
                    counts.append(length // len(argument.types))
            operands[2] = tuple(counts)
        elif any(length is not None for length in named.bracketed):
            self.fail("brackets belong to call.variadic", named.token)
        return Instruction(instruction.op, tuple(operands))

    # tables

    def signature(self) -> Signature:
        start = self.tokens[self.next]
        while not self.take(")"):
            self.next += 1
            if self.tokens[self.next].kind == "end":
                self.fail("unclosed '('", start)
        end = self.tokens[self.next].start
        if self.take("->"):
            self.expect("(")
            while not self.take(")"):
                self.kind("word")
                if not self.peek(")"):
                    self.expect(",")
            end = self.tokens[self.next - 1].start + 1
        try:
            return parse_signature(re.sub(r"//[^\n]*", "", self.text[start.start : end]).strip())
        except VmError as error:
            self.fail(error.detail, start)

    def type_name(self) -> str:
        token = self.kind("word")
        if token.text not in BANK:
            self.fail(f"unknown type '{token.text}'", token)
        return token.text

    def version(self) -> int:
        return int(self.number("i32")) if self.take("version") else 0

    def symbol(self, table: str, entries: list[Any], bit: int = 0) -> str:
        token = self.kind("symbol")
        name = token.text[1:]
        if name in self.indices[table]:
            self.fail(f"@{name} is defined twice", token)
        self.indices[table][name] = len(entries) | bit
        return name

    def import_(self) -> None:
        optional = self.take("optional")
        name = self.symbol("callee", self.program.imports, IMPORT_BIT)
        signature = self.signature()
        self.program.imports.append(Import(name, signature, self.version(), optional))

    def global_(self) -> None:
        name = self.symbol("global", self.program.globals)
        self.expect(":")
        type_name = self.type_name()
        mutable = self.take("mutable")
        initial: int | float | None = None
        if self.take("="):
            if type_name == "ref":
                self.fail("a ref global starts as null")
            initial = self.number(type_name)
        elif type_name != "ref":
            initial = 0 if type_name[0] == "i" else 0.0
        self.program.globals.append(Global(name, type_name, mutable, initial))

    def rodata(self) -> None:
        name = self.symbol("rodata", self.program.rodata)
        alignment = int(self.number("i32")) if self.take("align") else 16
        self.expect("=")
        data = bytearray()
        while True:
            if self.tokens[self.next].kind == "string":
                data += self.string().encode()
            elif self.take("hex"):
                token = self.tokens[self.next]
                try:
                    data += bytes.fromhex(self.string())
                except ValueError:
                    self.fail("invalid hex", token)
            elif self.tokens[self.next].text in TYPES[:4]:
                type_name = self.type_name()
                self.expect("[")
                while not self.take("]"):
                    value = self.number(type_name)
                    data += struct.pack(
                        {"i32": "<i", "i64": "<q", "f32": "<f", "f64": "<d"}[type_name], value
                    )
                    if not self.peek("]"):
                        self.expect(",")
            else:
                break
        self.program.rodata.append(Rodata(name, bytes(data), alignment))

    def function(self) -> None:
        name = self.symbol("callee", self.program.functions)
        self.expect("(")
        params = self.registers()
        self.expect(")")
        results: list[str] = []
        if self.take("->"):
            self.expect("(")
            while not self.take(")"):
                results.append(self.type_name())
                if not self.peek(")"):
                    self.expect(",")
        self.expect("{")
        self.labels, self.used = {}, {}
        blocks: dict[int, Block] = {0: Block(params)}
        order, current = [0], blocks[0]
        while not self.take("}"):
            if self.tokens[self.next].kind == "label":
                token = self.kind("label")
                index = self.labels.setdefault(token.text, len(self.labels) + 1)
                if index in blocks:
                    self.fail(f"{token.text} is defined twice", token)
                block_params: tuple[Register, ...] = ()
                if self.take("("):
                    block_params = self.registers()
                    self.expect(")")
                self.expect(":")
                current = blocks[index] = Block(block_params)
                order.append(index)
            else:
                current.instructions.append(self.instruction())
        for label, token in self.used.items():
            if self.labels[label] not in blocks:
                self.fail(f"no block {label}", token)
        final = {index: position for position, index in enumerate(order)}
        signature = Signature(tuple(r.type for r in params), tuple(results))
        function = Function(name, signature, [blocks[index] for index in order])
        for block in function.blocks:
            block.instructions = [_renumber(i, final) for i in block.instructions]
        self.program.functions.append(function)

    def module(self) -> Program:
        self.expect("module")
        self.program.name = self.kind("symbol").text[1:]
        self.program.version = self.version()
        exports: list[tuple[str, _Token]] = []
        while self.tokens[self.next].kind != "end":
            if self.take("import"):
                self.import_()
            elif self.take("global"):
                self.global_()
            elif self.take("rodata"):
                self.rodata()
            elif self.take("func"):
                self.function()
            elif self.take("export"):
                token = self.kind("symbol")
                exports.append((token.text[1:], self.kind("symbol") if self.take("=") else token))
            else:
                self.fail(f"unexpected '{self.tokens[self.next].text}'")
        for name, target in exports:
            index = self.indices["callee"].get(target.text[1:])
            if index is None or index & IMPORT_BIT:
                self.fail(f"no function {target.text}", target)
            self.program.exports.append(Export(name, index))
        for function in self.program.functions:
            for block in function.blocks:
                block.instructions = [self.resolve(i) for i in block.instructions]
        return self.program


def _renumber(instruction: Instruction, final: dict[int, int]) -> Instruction:
    """Labels were numbered by first use; blocks are numbered by where they stand."""
    operands: list[Any] = []
    for operand, value in zip(instruction.op.operands, instruction.operands, strict=True):
        if operand.kind == "^":
            value = value._replace(block=final[value.block])
        elif operand.kind == "^*":
            value = tuple(s._replace(block=final[s.block]) for s in value)
        operands.append(value)
    return Instruction(instruction.op, tuple(operands))
