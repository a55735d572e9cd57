"""Programs from Python: what a compiler, a test or a tool uses to write bytecode.

::

    module = ModuleBuilder("demo")
    module.global_("count", "i64", mutable=True)
    f = module.function("twice", "(i64) -> (i64)")
    (x,) = f.arguments
    f.return_(f.op("add.i64", x, x))
    module.export("twice")
    data = module.serialize()

Registers are values: every op writes a fresh one, and ``finish`` assigns ordinals that are reused as soon
as a value is dead (``allocate``), so that references are dropped early. Control flow carries values as
block arguments. Imports of the module ``hal`` are declared by calling them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iree_vm.bytecode import encoding, verifier
from iree_vm.bytecode.allocate import allocate
from iree_vm.bytecode.numerics import f32
from iree_vm.bytecode.ops import OPS
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
from iree_vm.bytecode.types import BANK, Register, Signature, Variadic, parse_signature
from iree_vm.errors import VmError


class BlockBuilder:
    """A block being filled: ``parameters`` are its values, ``index`` its place in the function."""

    def __init__(self, index: int, block: Block) -> None:
        self.index = index
        self.block = block

    @property
    def parameters(self) -> tuple[Register, ...]:
        return self.block.params


class FunctionBuilder:
    """Appends ops to the current block of one function."""

    def __init__(self, module: ModuleBuilder, name: str, signature: Signature) -> None:
        self.module = module
        self.function = Function(name, signature)
        self._counts = [0] * len(BANK)
        self.entry = self.block(*(a for a in signature.arguments if isinstance(a, str)))
        self.current = self.entry

    @property
    def arguments(self) -> tuple[Register, ...]:
        """The entry block's parameters."""
        return self.entry.parameters

    def register(self, type_name: str) -> Register:
        """A fresh register of a type."""
        bank = BANK[type_name]
        self._counts[bank] += 1
        return Register(bank, self._counts[bank] - 1)

    def block(self, *types: str) -> BlockBuilder:
        """A new, empty block with parameters of these types; ``switch_to`` it to fill it."""
        block = Block(tuple(self.register(t) for t in types))
        self.function.blocks.append(block)
        return BlockBuilder(len(self.function.blocks) - 1, block)

    def switch_to(self, block: BlockBuilder) -> None:
        self.current = block

    # ops

    def op(self, name: str, *operands: Any) -> Any:
        """Append an op. ``operands`` are its table row's without the result registers.

        Globals and rodata may be given by name. Returns the result register, or None. Raises VmError 16 for
        an unknown op or a wrong number of operands; types are checked by ``finish``.
        """
        row = OPS.get(name)
        if row is None:
            raise VmError(16, f"no op '{name}'")
        if len(operands) != len(row.operands) - len(row.results):
            raise VmError(16, f"{name} takes {[o.name for o in row.operands if o not in row.results]}")
        rest = iter(operands)
        values: list[Any] = []
        result: Register | None = None
        for operand in row.operands:
            if operand in row.results:
                result = self.register(operand.kind)
                values.append(result)
                continue
            value = next(rest)
            if isinstance(value, str) and operand.kind.startswith("global."):
                value = self.module.index("global", value)
            elif isinstance(value, str) and operand.kind == "rodata":
                value = self.module.index("rodata", value)
            elif operand.kind == "#f32":
                value = f32(float(value))
            elif operand.kind == "#f64":
                value = float(value)
            values.append(value)
        self.current.block.instructions.append(Instruction(row, tuple(values)))
        return result

    def const_i32(self, value: int) -> Register:
        return self._register(self.op("const.i32", value))

    def const_i64(self, value: int) -> Register:
        return self._register(self.op("const.i64", value))

    def const_f32(self, value: float) -> Register:
        return self._register(self.op("const.f32", value))

    def const_f64(self, value: float) -> Register:
        return self._register(self.op("const.f64", value))

    def null(self) -> Register:
        return self._register(self.op("const.ref.zero"))

    def rodata(self, name: str) -> Register:
        """A reference to a rodata entry."""
        return self._register(self.op("const.ref.rodata", name))

    def load(self, name: str) -> Register:
        """Read a global."""
        return self._register(self.op(f"global.load.{self.module.global_type(name)}", name))

    def store(self, name: str, value: Register) -> None:
        """Write a global."""
        self.op(f"global.store.{self.module.global_type(name)}", value, name)

    @staticmethod
    def _register(value: Any) -> Register:
        assert isinstance(value, Register)
        return value

    def call(self, name: str, *arguments: Register | Sequence[Any]) -> Any:
        """Call a function of this module or an import; a variadic segment is a list of registers (or tuples).

        Returns None, the one result, or a tuple of results. Imports whose module is known (``hal``) are
        declared on first use; others with ``ModuleBuilder.import_``. Raises VmError 7 or 16.
        """
        callee, signature = self.module.callee(name)
        if len(arguments) != len(signature.arguments):
            raise VmError(16, f"@{name}{signature} called with {len(arguments)} arguments")
        flat: list[Register] = []
        segments: list[int] = []
        for wanted, argument in zip(signature.arguments, arguments, strict=True):
            if isinstance(wanted, Variadic):
                values: Sequence[Any] = argument
                rows = [(a,) if isinstance(a, Register) else tuple(a) for a in values]
                segments.append(len(rows))
                flat += [register for row in rows for register in row]
            else:
                flat.append(self._register(argument))
        results = tuple(self.register(t) for t in signature.results)
        if signature.is_variadic:
            instruction = Instruction(OPS["call.variadic"], (results, callee, tuple(segments), tuple(flat)))
        else:
            instruction = Instruction(OPS["call"], (results, callee, tuple(flat)))
        self.current.block.instructions.append(instruction)
        return None if not results else results[0] if len(results) == 1 else results

    # control flow

    def br(self, target: BlockBuilder, *arguments: Register) -> None:
        self.op("br", Successor(target.index, arguments))

    def cond_br(
        self,
        condition: Register,
        true: BlockBuilder,
        true_arguments: Sequence[Register],
        false: BlockBuilder,
        false_arguments: Sequence[Register],
    ) -> None:
        """Go to ``true`` if the i32 condition is not 0, else to ``false``."""
        self.op(
            "cond_br",
            condition,
            Successor(true.index, tuple(true_arguments)),
            Successor(false.index, tuple(false_arguments)),
        )

    def br_table(
        self,
        index: Register,
        default: tuple[BlockBuilder, Sequence[Register]],
        targets: Sequence[tuple[BlockBuilder, Sequence[Register]]],
    ) -> None:
        """Go to ``targets[index]``, or to ``default`` when the index is outside."""
        made = tuple(Successor(block.index, tuple(arguments)) for block, arguments in targets)
        self.op("br_table", index, Successor(default[0].index, tuple(default[1])), made)

    def return_(self, *values: Register) -> None:
        self.op("return", values)

    def fail(self, message: str) -> None:
        self.op("fail", message)

    def cond_fail(self, condition: Register, message: str) -> None:
        """Stop with ``message`` (VmError 8) if the i32 condition is not 0."""
        self.op("cond_fail", condition, message)


class ModuleBuilder:
    """Collects the tables of one module. ``known`` are import declarations that calls may use undeclared."""

    def __init__(self, name: str, version: int = 0, known: Mapping[str, Import] | None = None) -> None:
        if known is None:
            from iree_vm.modules.hal_signatures import IMPORTS

            known = IMPORTS
        self.program = Program(name, version)
        self._known = known
        self._functions: list[FunctionBuilder] = []
        self._indices: dict[str, dict[str, int]] = {"global": {}, "rodata": {}, "import": {}, "function": {}}

    def index(self, table: str, name: str) -> int:
        """The index of a named entry. Raises VmError 16."""
        try:
            return self._indices[table][name]
        except KeyError:
            raise VmError(16, f"no {table} @{name}") from None

    def _add(self, table: str, name: str, entries: list[Any], entry: Any) -> int:
        if name in self._indices[table]:
            raise VmError(16, f"{table} @{name} is there already")
        self._indices[table][name] = len(entries)
        entries.append(entry)
        return len(entries) - 1

    def import_(self, name: str, signature: str, *, version: int = 0, optional: bool = False) -> int:
        """Declare ``module.function``. The same declaration twice is one import."""
        entry = Import(name, parse_signature(signature), version, optional)
        return self._import(entry)

    def _import(self, entry: Import) -> int:
        known = self._indices["import"].get(entry.name)
        if known is not None:
            if self.program.imports[known] != entry:
                raise VmError(16, f"import @{entry.name} declared twice, differently")
            return known
        return self._add("import", entry.name, self.program.imports, entry)

    def global_(
        self, name: str, type_name: str, *, mutable: bool = False, initial: int | float | None = None
    ) -> int:
        """Declare a variable; immutable ones are stored by ``__init`` only."""
        if type_name not in BANK:
            raise VmError(16, f"type '{type_name}' of global @{name}")
        if initial is None and type_name != "ref":
            initial = 0 if type_name[0] == "i" else 0.0
        entry = Global(name, type_name, mutable, initial)
        return self._add("global", name, self.program.globals, entry)

    def global_type(self, name: str) -> str:
        return self.program.globals[self.index("global", name)].type

    def rodata(self, name: str, data: bytes | memoryview, alignment: int = 16) -> int:
        """Add read-only bytes."""
        return self._add("rodata", name, self.program.rodata, Rodata(name, data, alignment))

    def function(self, name: str, signature: str | Signature) -> FunctionBuilder:
        """Begin a function; it may be called before it is filled."""
        parsed = parse_signature(signature) if isinstance(signature, str) else signature
        builder = FunctionBuilder(self, name, parsed)
        self._add("function", name, self._functions, builder)
        return builder

    def export(self, name: str, function: str | None = None) -> None:
        """Make a function callable from outside under ``name``."""
        self.program.exports.append(Export(name, self.index("function", function or name)))

    def callee(self, name: str) -> tuple[int, Signature]:
        """Index and signature of what ``call`` names. Raises VmError 7."""
        index = self._indices["function"].get(name)
        if index is not None:
            return index, self._functions[index].function.signature
        index = self._indices["import"].get(name)
        if index is None and name in self._known:
            index = self._import(self._known[name])
        if index is None:
            raise VmError(7, f"'{name}' to call", hint="declare it with function() or import_()")
        return index | IMPORT_BIT, self.program.imports[index].signature

    def finish(self) -> Program:
        """The verified program. Raises VmError 3 where a rule is broken."""
        self.program.functions = [builder.function for builder in self._functions]
        verifier.verify(self.program)
        for function in self.program.functions:
            allocate(function)
        verifier.verify(self.program)
        return self.program

    def serialize(self) -> bytes:
        """The program's bytes: the member ``module.vmbc`` of an artefact."""
        return encoding.encode(self.finish())


__all__ = ["BlockBuilder", "FunctionBuilder", "ModuleBuilder"]
