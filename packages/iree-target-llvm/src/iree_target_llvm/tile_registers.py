"""Tile values of kernel IR -> tile registers and their configuration.

An accumulator and the product added to it share a register, as do a loop's initial value, its carried value
and its result. Registers are handed out in program order, the one that is free longest first; a register has
one shape throughout a module, because the configuration is loaded once per workgroup.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import field, record
from iree_codegen.errors import INTERNAL, CodegenError
from iree_core_ir.dialects.amx import TileType
from iree_core_ir.ir.operation import Op, Value

REGISTERS = 8
PALETTE = 1
CONFIGURATION_BYTES = 64


@record
class _Group:
    """Values that share a register, and the ops (by position) between which it is theirs."""

    type: TileType
    start: int
    end: int = -1


@record
class TileRegisters:
    """The registers of a module's tile values; empty for modules without tiles."""

    numbers: dict[Value, int] = field(default_factory=dict)
    shapes: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Register -> (rows, bytes of a row)."""

    @classmethod
    def of(cls, module: Any) -> TileRegisters:
        """Raises CodegenError INTERNAL when a function holds more tiles than there are registers."""
        try:
            return cls._of(module, sparing=False)
        except CodegenError:
            return cls._of(module, sparing=True)

    @classmethod
    def _of(cls, module: Any, *, sparing: bool) -> TileRegisters:
        """``sparing``: a register that never had a shape is taken only where none of the shape is free."""
        registers = cls()
        for function in module.regions[0].block:
            registers._assign(function, sparing)
        return registers

    def __bool__(self) -> bool:
        return bool(self.shapes)

    def configuration(self) -> bytes:
        """What ``ldtilecfg`` loads."""
        data = bytearray(CONFIGURATION_BYTES)
        data[0] = PALETTE
        for register, (rows, row_bytes) in self.shapes.items():
            data[16 + 2 * register : 18 + 2 * register] = row_bytes.to_bytes(2, "little")
            data[48 + register] = rows
        return bytes(data)

    def _assign(self, function: Any, sparing: bool) -> None:
        if not any(op.name.startswith("amx.") for op in function.walk()):
            return
        groups = _Groups()
        groups.visit(function)
        live = sorted(groups.all(), key=lambda g: g.start)
        free: list[int] = list(range(REGISTERS))
        held: list[tuple[int, int]] = []
        own: dict[int, int] = {}
        for group in live:
            for end, register in sorted(held):
                if end < group.start:
                    held.remove((end, register))
                    free.append(register)
            shape = (group.type.rows, group.type.row_bytes)
            fitting = [r for r in free if self.shapes.get(r, shape) == shape]
            if not fitting:
                raise CodegenError(
                    INTERNAL, f"'{function.attributes['sym_name'].value}' holds too many tiles"
                )
            register = next((r for r in fitting if sparing and r in self.shapes), fitting[0])
            free.remove(register)
            self.shapes[register] = shape
            held.append((group.end, register))
            own[id(group)] = register
        for value, group in groups.items():
            self.numbers[value] = own[id(group)]


class _Groups:
    def __init__(self) -> None:
        self._of: dict[Value, _Group] = {}
        self._depth: dict[Value, int] = {}
        self._position = 0

    def all(self) -> list[_Group]:
        return list({id(g): g for g in self._of.values()}.values())

    def items(self) -> list[tuple[Value, _Group]]:
        return list(self._of.items())

    def visit(self, function: Any) -> None:
        self._block(function.regions[0].block, [])

    def _block(self, block: Any, loops: list[list[_Group]]) -> None:
        for op in block:
            self._op(op, loops)

    def _op(self, op: Op, loops: list[list[_Group]]) -> None:
        self._position += 1
        tiles = [v for v in op.operands if isinstance(v.type, TileType)]
        results = [v for v in op.results if isinstance(v.type, TileType)]
        for value in tiles:
            group = self._of[value]
            group.end = self._position
            for inside in loops[self._depth[value] :]:
                # Used again in the next round of a loop that it entered from outside.
                inside.append(group)
        if op.name == "scf.for":
            self._loop(op, loops)
        elif op.name in ("amx.tile_mulf", "amx.tile_muli"):
            self._share(op, op.operands[2], results[0], len(loops))
        elif op.name in ("amx.tile_load", "amx.tile_zero"):
            for value in results:
                self._of[value] = _Group(value.type, self._position, self._position)
                self._depth[value] = len(loops)
        elif results or (tiles and op.name not in ("scf.yield", "amx.tile_store")):
            raise CodegenError(INTERNAL, f"{op.name} of tiles")
        if op.name != "scf.for":
            for region in op.regions:
                for block in region.blocks:
                    self._block(block, loops)

    def _loop(self, op: Any, loops: list[list[_Group]]) -> None:
        block = op.regions[0].block
        for argument, init in zip(block.args[1:], op.operands[3:], strict=True):
            if isinstance(argument.type, TileType):
                self._share(op, init, argument, len(loops) + 1)
        inside: list[_Group] = []
        self._block(block, [*loops, inside])
        self._position += 1
        for group in inside:
            group.end = max(group.end, self._position)
        for argument, value, result in zip(
            block.args[1:], block.terminator.operands, op.results, strict=True
        ):
            if isinstance(argument.type, TileType):
                if self._of[value] is not self._of[argument]:
                    raise CodegenError(INTERNAL, "a loop that carries a tile other than its own")
                self._of[result] = self._of[argument]
                self._depth[result] = len(loops)
                self._of[argument].end = self._position

    def _share(self, op: Op, value: Value, heir: Value, depth: int) -> None:
        if not value.has_one_use:
            raise CodegenError(INTERNAL, f"{op.name}: a tile that is added to is used elsewhere")
        self._of[heir] = self._of[value]
        self._depth[heir] = depth


__all__ = ["TileRegisters"]
