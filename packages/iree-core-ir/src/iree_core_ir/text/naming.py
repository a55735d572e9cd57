"""SSA names for printing: hints where they are free, ``%arg0`` and ``%0`` otherwise.

Names are given per isolated op before anything is printed, so a fragment carries the names it has
in the whole. Sibling regions reuse numbers and names, as in MLIR.
"""

from __future__ import annotations

import re

from iree_core_ir.ir import traits
from iree_core_ir.ir.operation import Block, Op, Region, Value

_HINT = re.compile(r"[A-Za-z_$.\-][\w$.\-]*\Z", re.ASCII)


class ValueNames:
    """Value -> ``%name`` for everything inside the isolated ops named so far."""

    def __init__(self) -> None:
        self.names: dict[Value, str] = {}
        self._used: set[str] = set()
        self._added: list[str] = []
        self._suffix: dict[str, int] = {}
        self._number = 0
        self._argument = 0

    def name(self, value: Value) -> str:
        found = self.names.get(value)
        if found is None:
            self._name_scope_of(value)
            found = self.names.get(value)
            if found is None:  # detached: no isolated op around
                found = self.names[value] = self._pick(value, None)
        return found

    def name_isolated(self, op: Op) -> None:
        """Name everything in the regions of ``op``, which is isolated or a root."""
        saved = (self._used, self._added, self._suffix, self._number, self._argument)
        self._used, self._added, self._suffix, self._number, self._argument = set(), [], {}, 0, 0
        if op.parent is None:
            self._op_results(op)
        for region in op.regions:
            self._region(region)
        self._used, self._added, self._suffix, self._number, self._argument = saved

    def _name_scope_of(self, value: Value) -> None:
        block = value.parent_block
        op = block.parent.parent if block is not None and block.parent is not None else None
        if op is None:
            owner = value.owner
            if isinstance(owner, Op):
                self.name_isolated(owner)
            return
        while traits.ISOLATED not in op.traits and op.parent_op is not None:
            op = op.parent_op
        self.name_isolated(op)

    def _region(self, region: Region) -> None:
        mark = len(self._added)
        number, argument = self._number, self._argument
        for i, block in enumerate(region.blocks):
            self._block(block, i == 0)
        self._number, self._argument = number, argument
        for name in self._added[mark:]:
            self._used.discard(name)
        del self._added[mark:]

    def _block(self, block: Block, entry: bool) -> None:
        for value in block.args:
            self.names[value] = self._pick(value, "arg" if entry else None)
        op = block.first
        while op is not None:
            if op.results:
                self._op_results(op)
            if op.regions and traits.ISOLATED not in op.traits:
                for region in op.regions:
                    self._region(region)
            op = op.next

    def _op_results(self, op: Op) -> None:
        results = op.results
        if not results:
            return
        if len(results) == 1 or any(r.hint is not None for r in results[1:]):
            for value in results:
                self.names[value] = self._pick(value, None)
            return
        group = self._pick(results[0], None)
        for i, value in enumerate(results):
            self.names[value] = f"{group}#{i}"

    def _pick(self, value: Value, numbered: str | None) -> str:
        hint = value.hint
        used = self._used
        if hint is None:
            if numbered is None:
                name = f"%{self._number}"
                self._number += 1
                return name
            while True:
                name = f"%{numbered}{self._argument}"
                self._argument += 1
                if name not in used:
                    break
        else:
            name = "%" + (hint if _HINT.match(hint) else _cleaned(hint))
            if name in used:
                name = self._with_suffix(name)
        used.add(name)
        self._added.append(name)
        return name

    def _with_suffix(self, name: str) -> str:
        number = self._suffix.get(name, 0)
        while f"{name}_{number}" in self._used:
            number += 1
        self._suffix[name] = number + 1
        return f"{name}_{number}"


def _cleaned(hint: str) -> str:
    """A legal suffix-id that resembles ``hint``."""
    text = re.sub(r"[^A-Za-z0-9_$.\-]", "_", hint)
    return text if text and not text[0].isdigit() else f"_{text}"
