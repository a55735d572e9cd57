"""Where a module's constants lie: in segments that are there already (shared between variants), else in one
segment of its own, each distinct constant once and aligned, in order of first use.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith
from iree_core_ir.ir.attributes import DenseResourceAttr, IntegerAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, SymbolTable, Value
from iree_core_ir.ir.types import index
from iree_flow.arena import aligned
from iree_flow.dialects import stream

SEGMENT = "constants"
"""The symbol of the module's own segment."""


@record(frozen=True)
class ConstantPlace:
    """``nbytes`` bytes at ``offset`` of the segment called ``segment``."""

    segment: str
    offset: int
    nbytes: int


class ConstantSegments:
    """The segments of one module while it is scheduled."""

    def __init__(self, module: Op, store: ConstantStore, alignment: int) -> None:
        self.module = module
        self.store = store
        self.alignment = alignment
        self.size = 0
        """Of the own segment, so far."""
        self._sizes: dict[str, int] = {}
        self._places: dict[str, ConstantPlace] = {}
        self._own: dict[DenseResourceAttr, int] = {}
        self._unknown: list[Any] = []
        for op in module.regions[0].block:
            if isinstance(op, stream.ConstantSegment):
                name = op.sym_name.value
                self._sizes[name] = op.size.value
                for value, offset in zip(op.values, op.offsets, strict=True):
                    key = value.key  # type: ignore[attr-defined]
                    self._places[key] = ConstantPlace(name, offset, store[key].nbytes)

    def place(self, attribute: DenseResourceAttr) -> ConstantPlace:
        """Where the constant is; a new one goes to the end of the own segment."""
        found = self._places.get(attribute.key)
        if found is None:
            found = ConstantPlace(SEGMENT, self.size, self.store[attribute.key].nbytes)
            self._places[attribute.key] = found
            self._own[attribute] = found.offset
            self.size = aligned(found.offset + found.nbytes, self.alignment)
        return found

    def size_of(self, segment: str, block: Block) -> Value:
        """The segment's size as a value at the start of ``block``; the own one's is filled in at the end."""
        op = Builder.at_start(block).insert(arith.Constant.index(self._sizes.get(segment, 0)))
        if segment == SEGMENT:
            self._unknown.append(op)
        return op.result

    def finish(self) -> None:
        """Write the own segment, if there is anything in it, before the module's first op."""
        for op in self._unknown:
            op.attributes["value"] = IntegerAttr(self.size, index)
        if self._own:
            segment = stream.ConstantSegment.make(
                SEGMENT, list(self._own), list(self._own.values()), self.size
            )
            SymbolTable(self.module).insert(segment, before=self.module.regions[0].block.first)
