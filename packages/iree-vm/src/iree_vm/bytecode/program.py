"""The in-memory form of a bytecode module.

A ``Program`` has imports, globals, rodata, functions and exports; a function is a list of blocks with
parameters; a block ends with its only terminator. Function 0..n-1 are the program's own; a callee
with ``IMPORT_BIT`` set indexes the imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from iree_base.records import field, record
from iree_vm.bytecode.types import Register, Signature

if TYPE_CHECKING:
    from iree_vm.bytecode.ops import Op

ASYNC_SUFFIX = "$async"
"""What the asynchronous form of an exported function has behind its name."""
IMPORT_BIT = 1 << 31
INITIALIZER = "__init"
"""A function of this name runs once when the module is linked; only it may store immutable globals."""


class Successor(NamedTuple):
    """A branch target: block index and the registers that become its parameters."""

    block: int
    arguments: tuple[Register, ...] = ()


class Instruction(NamedTuple):
    """One op with its operands, in the order of the op's table row."""

    op: Op
    operands: tuple[Any, ...]


@record
class Block:
    params: tuple[Register, ...] = ()
    instructions: list[Instruction] = field(default_factory=list)


@record
class Function:
    """``blocks[0]`` is the entry; its parameters are the arguments."""

    name: str
    signature: Signature
    blocks: list[Block] = field(default_factory=list)


@record(frozen=True)
class Import:
    """``name`` is ``module.function``; ``version`` the least module version; optional ones may be absent."""

    name: str
    signature: Signature
    version: int = 0
    optional: bool = False

    @property
    def module(self) -> str:
        return self.name.partition(".")[0]

    @property
    def function(self) -> str:
        return self.name.partition(".")[2]


@record(frozen=True)
class Global:
    """One variable per load. ``initial`` is 0 / 0.0 for scalars unless given, always None for refs."""

    name: str
    type: str
    mutable: bool = False
    initial: int | float | None = None


@record(frozen=True)
class Rodata:
    name: str
    data: bytes | memoryview
    alignment: int = 16


@record(frozen=True)
class Export:
    name: str
    function: int


@record
class Program:
    """A whole bytecode module."""

    name: str
    version: int = 0
    imports: list[Import] = field(default_factory=list)
    globals: list[Global] = field(default_factory=list)
    rodata: list[Rodata] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)

    def callee_name(self, callee: int) -> str:
        """The printed name of a callee: a function's, or an import's ``module.function``."""
        if callee & IMPORT_BIT:
            return self.imports[callee & ~IMPORT_BIT].name
        return self.functions[callee].name

    def callee_signature(self, callee: int) -> Signature:
        if callee & IMPORT_BIT:
            return self.imports[callee & ~IMPORT_BIT].signature
        return self.functions[callee].signature
