"""One function of kernel IR as LLVM text: control flow, memory and calls; arithmetic is in ``arith_text``.

Loops are printed bottom-tested, so that no pass has to rotate them. Addresses are a pointer plus a
constant: the constant part of an index goes into the last ``getelementptr``, the variable part is shared
by all accesses that follow in the block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_codegen.kernel import BINDINGS, KERNEL, WORKSPACE
from iree_codegen.kernel_builder import ERROR_KIND
from iree_core_ir.dialects.amx import TileType
from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import MemRefType, VectorType, i1
from iree_target_llvm import arith_text, sync_text, tile_text, vector_text
from iree_target_llvm.llvm_types import constant_text, element_size, llvm_type, memory_type
from iree_target_llvm.tile_registers import TileRegisters

MEMORY_INDEX = {
    "memref.load": 1,
    "memref.store": 2,
    "vector.load": 1,
    "vector.store": 2,
    "vector.maskedload": 1,
    "vector.maskedstore": 1,
    "vector.gather": 1,
    "memref.prefetch": 1,
    "amx.tile_load": 1,
    "amx.tile_store": 1,
    "sync.load": 1,
    "sync.store": 1,
    "sync.exchange": 1,
}
"""Position of the index operand."""


class FunctionPrinter:
    """Prints ``func``; ``declarations`` collects the intrinsics used, as ``name -> declaration``."""

    def __init__(
        self,
        func: Any,
        declarations: dict[str, str],
        tiles: TileRegisters | None = None,
        architecture: str = "",
    ) -> None:
        self.func = func
        self.architecture = architecture
        self.tiles = tiles or TileRegisters()
        self.declarations = declarations
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}
        self.count = 0
        self.label = "entry"
        self.failures: list[tuple[str, int]] = []
        self.n_asserts = 0
        self.addresses: list[dict[Any, str]] = [{}]
        self.is_kernel = KERNEL in func.attributes
        self.name: str = func.attributes["sym_name"].value

    # -- writing --------------------------------------------------------------------------------

    def fresh(self, prefix: str = "v") -> str:
        self.count += 1
        return f"%{prefix}{self.count}"

    def write(self, line: str) -> None:
        self.lines.append("  " + line)

    def assign(self, expression: str) -> str:
        """A new name for the value of ``expression``."""
        self.count += 1
        name = f"%v{self.count}"
        self.lines.append(f"  {name} = {expression}")
        return name

    def start(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def operand(self, value: Value) -> str:
        """The name (or literal) of a value."""
        name = self.names.get(value)
        if name is None:
            op = value.defining_op
            if op is not None and op.name == "arith.constant":
                name = constant_text(op.attributes["value"])
                self.names[value] = name
                return name
            raise CodegenError(UNSUPPORTED_OP, f"'{self.name}' uses {value!r} before it is defined")
        return name

    def typed(self, value: Value) -> str:
        return f"{llvm_type(value.type)} {self.operand(value)}"

    def declare(self, name: str, result: str, arguments: Sequence[str]) -> str:
        """Declare an intrinsic; returns its name with ``@``."""
        if name not in self.declarations:
            self.declarations[name] = f"declare {result} @{name}({', '.join(arguments)})"
        return f"@{name}"

    def intrinsic(self, name: str, result: str, arguments: Sequence[tuple[str, str]]) -> str:
        """Call an intrinsic with (type, operand) arguments."""
        callee = self.declare(name, result, [t for t, _ in arguments])
        text = ", ".join(f"{t} {o}" for t, o in arguments)
        if result == "void":
            self.write(f"call void {callee}({text})")
            return ""
        return self.assign(f"call {result} {callee}({text})")

    def tile(self, value: Value) -> str:
        return str(self.tiles.numbers[value])

    # -- the function ---------------------------------------------------------------------------

    def text(self) -> str:
        block = self.func.regions[0].block
        arguments = []
        n_bindings = self.func.attributes[BINDINGS].value if self.is_kernel else len(block.args)
        n_own = n_bindings - (WORKSPACE in self.func.attributes)  # others write to a workspace
        for number, argument in enumerate(block.args):
            name = f"%a{number}"
            self.names[argument] = name
            type = llvm_type(argument.type)
            if type == "ptr" and (number < n_own or argument is block.args[-1]):
                type = "ptr noalias nocapture"
            arguments.append(f"{type} {name}")
        if self.is_kernel and self.tiles:
            tile_text.configure(self)
        self.block(block)
        for label, code in self.failures:
            self.lines.append(f"{label}:")
            self.leave()
            self.write(f"ret i32 {code}")
        result = "i32" if self.is_kernel else "void"
        name = f"{self.name}.body" if self.is_kernel else self.name
        keep = "" if self.is_kernel else "noinline "
        head = f'define internal {result} @"{name}"({", ".join(arguments)}) {keep}nounwind #0 {{'
        return "\n".join([head, "entry:", *self.lines, "}"])

    def leave(self) -> None:
        """What comes before the kernel returns."""
        if self.is_kernel and self.tiles:
            tile_text.release(self)

    def block(self, block: Block) -> None:
        for op in block:
            self.op(op)

    def op(self, op: Any) -> None:
        name = op.name
        if name == "arith.constant":
            self.names[op.results[0]] = constant_text(op.attributes["value"])
            return
        if PURE in op.traits and not any(r.uses for r in op.results):
            return
        if name == "arith.addi" and self._only_addresses(op):
            return
        handler = (
            arith_text.HANDLERS.get(name)
            or vector_text.HANDLERS.get(name)
            or _HANDLERS.get(name)
            or tile_text.HANDLERS.get(name)
            or sync_text.HANDLERS.get(name)
        )
        if handler is None:
            raise CodegenError(UNSUPPORTED_OP, f"{name} in kernel IR", source=op.location.user_text())
        result = handler(self, op)
        if isinstance(result, str):
            self.names[op.results[0]] = result
        elif result is not None:
            for value, text in zip(op.results, result, strict=True):
                self.names[value] = text

    # -- addresses --------------------------------------------------------------------------------

    def _only_addresses(self, op: Op) -> bool:
        """True for ``x + constant`` that only memory ops use: it goes into their addresses."""
        right = op.operands[1].defining_op
        if (
            right is None
            or right.name != "arith.constant"
            or not isinstance(op.results[0].type, type(op.operands[0].type))
        ):
            return False
        value = op.results[0]
        if str(value.type) != "index":
            return False
        for user in value.uses:
            position = MEMORY_INDEX.get(user.name)
            if position is None or user.operands[position] is not value or user.operands.count(value) != 1:
                return False
        return True

    def address(self, memory: Value, at: Value) -> str:
        """A pointer to ``memory[at]``."""
        type = memory.type
        assert isinstance(type, MemRefType)
        element = memory_type(type.element_type)
        size = element_size(type.element_type)
        offset = 0
        while True:
            op = at.defining_op
            if op is None:
                break
            if op.name == "arith.constant":
                offset += op.attributes["value"].value  # type: ignore[attr-defined]
                return self._plus(self.operand(memory), offset * size)
            if op.name != "arith.addi":
                break
            right = op.operands[1].defining_op
            if right is None or right.name != "arith.constant":
                break
            offset += right.attributes["value"].value  # type: ignore[attr-defined]
            at = op.operands[0]
        key = (memory, at)
        pointer = None
        for scope in self.addresses:
            pointer = scope.get(key)
            if pointer is not None:
                break
        if pointer is None:
            pointer = self.assign(
                f"getelementptr inbounds {element}, ptr {self.operand(memory)}, i64 {self.operand(at)}"
            )
            self.addresses[-1][key] = pointer
        return self._plus(pointer, offset * size)

    def _plus(self, pointer: str, n_bytes: int) -> str:
        if n_bytes == 0:
            return pointer
        return self.assign(f"getelementptr i8, ptr {pointer}, i64 {n_bytes}")

    # -- memory -------------------------------------------------------------------------------------

    def load(self, op: Any) -> str:
        memory = op.operands[0]
        element = memory.type.element_type
        text, size = memory_type(element), element_size(element)
        value = self.assign(f"load {text}, ptr {self.address(memory, op.operands[1])}, align {size}")
        return self.assign(f"icmp ne i8 {value}, 0") if element is i1 else value

    def store(self, op: Any) -> None:
        value, memory = op.operands[0], op.operands[1]
        element = memory.type.element_type
        text, size = memory_type(element), element_size(element)
        name = self.operand(value)
        if element is i1:
            name = self.assign(f"zext i1 {name} to i8")
        self.write(f"store {text} {name}, ptr {self.address(memory, op.operands[2])}, align {size}")

    def view(self, op: Any) -> str:
        memory = self.operand(op.operands[0])
        return self.assign(f"getelementptr i8, ptr {memory}, i64 {self.operand(op.operands[1])}")

    def prefetch(self, op: Any) -> None:
        pointer = self.address(op.operands[0], op.operands[1])
        write = op.attributes["isWrite"].value & 1
        locality = op.attributes["localityHint"].value
        self.intrinsic(
            "llvm.prefetch.p0",
            "void",
            [("ptr", pointer), ("i32", str(write)), ("i32", str(locality)), ("i32", "1")],
        )

    # -- control ----------------------------------------------------------------------------------------

    def for_(self, op: Any) -> list[str]:
        lower, upper, step = (self.operand(v) for v in op.operands[:3])
        inits = op.operands[3:]
        block = op.regions[0].block
        self.count += 1
        number = self.count
        body, done = f"loop{number}", f"done{number}"
        before = self.label
        bounds = [_static(v) for v in op.operands[:2]]
        guarded = not (bounds[0] is not None and bounds[1] is not None and bounds[0] < bounds[1])
        if guarded:
            condition = self.assign(f"icmp slt i64 {lower}, {upper}")
            self.write(f"br i1 {condition}, label %{body}, label %{done}")
        else:
            self.write(f"br label %{body}")
        self.start(body)
        place = len(self.lines)
        counter = f"%i{number}"
        self.names[block.args[0]] = counter
        carried = block.args[1:]
        for n, argument in enumerate(carried):
            in_tile = isinstance(argument.type, TileType)
            self.names[argument] = self.tile(argument) if in_tile else f"%c{number}.{n}"
        self.addresses.append({})
        for inner in block:
            if inner is not block.last:
                self.op(inner)
        self.addresses.pop()
        yielded = [self.operand(v) for v in block.terminator.operands]
        following = self.assign(f"add nsw i64 {counter}, {step}")
        condition = self.assign(f"icmp slt i64 {following}, {upper}")
        latch = self.label
        self.write(f"br i1 {condition}, label %{body}, label %{done}")
        phis = [f"  {counter} = phi i64 [ {lower}, %{before} ], [ {following}, %{latch} ]"]
        for argument, init, value in zip(carried, inits, yielded, strict=True):
            if isinstance(argument.type, TileType):
                continue
            phis.append(
                f"  {self.names[argument]} = phi {llvm_type(argument.type)} "
                f"[ {self.operand(init)}, %{before} ], [ {value}, %{latch} ]"
            )
        self.lines[place:place] = phis
        self.start(done)
        results = []
        for result, init, value in zip(op.results, inits, yielded, strict=True):
            if guarded and not isinstance(result.type, TileType):
                incoming = f"[ {self.operand(init)}, %{before} ], [ {value}, %{latch} ]"
                results.append(self.assign(f"phi {llvm_type(result.type)} {incoming}"))
            else:
                results.append(value)
        return results

    def if_(self, op: Any) -> list[str]:
        self.count += 1
        number = self.count
        then, otherwise, done = f"then{number}", f"else{number}", f"endif{number}"
        has_else = bool(op.regions[1].blocks)
        condition = self.operand(op.operands[0])
        self.write(f"br i1 {condition}, label %{then}, label %{otherwise if has_else else done}")
        ends: list[tuple[list[str], str]] = []
        for label, region in ((then, op.regions[0]), (otherwise, op.regions[1])):
            if not region.blocks:
                continue
            self.start(label)
            self.addresses.append({})
            for inner in region.block:
                if inner is not region.block.last:
                    self.op(inner)
            self.addresses.pop()
            ends.append(([self.operand(v) for v in region.block.terminator.operands], self.label))
            self.write(f"br label %{done}")
        self.start(done)
        results = []
        for n, result in enumerate(op.results):
            incoming = ", ".join(f"[ {values[n]}, %{label} ]" for values, label in ends)
            results.append(self.assign(f"phi {llvm_type(result.type)} {incoming}"))
        return results

    def while_(self, op: Any) -> list[str]:
        self.count += 1
        number = self.count
        head, body, done = f"while{number}", f"do{number}", f"endwhile{number}"
        before_block, after_block = op.regions[0].block, op.regions[1].block
        entry = self.label
        self.write(f"br label %{head}")
        self.start(head)
        place = len(self.lines)
        for n, argument in enumerate(before_block.args):
            self.names[argument] = f"%w{number}.{n}"
        self.addresses.append({})
        for inner in before_block:
            if inner is not before_block.last:
                self.op(inner)
        condition = before_block.terminator
        forwarded = [self.operand(v) for v in condition.operands[1:]]
        self.write(f"br i1 {self.operand(condition.operands[0])}, label %{body}, label %{done}")
        self.start(body)
        for argument, text in zip(after_block.args, forwarded, strict=True):
            self.names[argument] = text
        for inner in after_block:
            if inner is not after_block.last:
                self.op(inner)
        self.addresses.pop()
        yielded = [self.operand(v) for v in after_block.terminator.operands]
        latch = self.label
        self.write(f"br label %{head}")
        phis = [
            f"  {self.names[argument]} = phi {llvm_type(argument.type)} "
            f"[ {self.operand(init)}, %{entry} ], [ {value}, %{latch} ]"
            for argument, init, value in zip(before_block.args, op.operands, yielded, strict=True)
        ]
        self.lines[place:place] = phis
        self.start(done)
        return forwarded

    def return_(self, op: Any) -> None:
        self.leave()
        self.write("ret i32 0" if self.is_kernel else "ret void")

    def call(self, op: Any) -> None:
        callee = op.attributes["callee"].leaf
        arguments = ", ".join(self.typed(v) for v in op.operands)
        self.write(f'call void @"{callee}"({arguments})')

    def assert_(self, op: Any) -> None:
        kind: Any = op.attributes.get(ERROR_KIND)
        number = self.n_asserts
        self.n_asserts += 1
        code = (number << 16) | (kind.value if isinstance(kind, IntegerAttr) else 3)
        self.count += 1
        passed, failed = f"passed{self.count}", f"failed{self.count}"
        self.write(f"br i1 {self.operand(op.operands[0])}, label %{passed}, label %{failed}")
        self.failures.append((failed, code))
        self.start(passed)


def _static(value: Value) -> int | None:
    op = value.defining_op
    if op is None or op.name != "arith.constant":
        return None
    attribute = op.attributes["value"]
    return attribute.value if isinstance(attribute, IntegerAttr) else None


_HANDLERS: dict[str, Callable[[FunctionPrinter, Any], Any]] = {
    "cf.assert": FunctionPrinter.assert_,
    "func.call": FunctionPrinter.call,
    "func.return": FunctionPrinter.return_,
    "memref.load": FunctionPrinter.load,
    "memref.prefetch": FunctionPrinter.prefetch,
    "memref.store": FunctionPrinter.store,
    "memref.view": FunctionPrinter.view,
    "scf.for": FunctionPrinter.for_,
    "scf.if": FunctionPrinter.if_,
    "scf.while": FunctionPrinter.while_,
}
__all__ = ["FunctionPrinter", "VectorType"]
