"""symbol-dce: remove private symbols that nothing public reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.ir.attributes import ArrayAttr, Attribute, DictAttr, SymbolRefAttr
from iree_core_ir.ir.operation import Op, symbol_name
from iree_core_ir.ir.traits import SYMBOL_TABLE
from iree_core_ir.pass_manager import Pass, PassContext


@record
class SymbolDce(Pass):
    """Remove unused private symbols, in nested symbol tables too."""

    name: ClassVar[str] = "symbol-dce"

    def run(self, module: Any, context: PassContext) -> bool:
        return erase_unused_symbols(module)


def symbol_references(op: Op) -> Iterator[SymbolRefAttr]:
    """All symbol references in the attributes of ``op`` and of everything inside."""
    for inner in op.walk():
        for attribute in inner.attributes.values():
            yield from _references(attribute)


def _references(attribute: Attribute) -> Iterator[SymbolRefAttr]:
    if isinstance(attribute, SymbolRefAttr):
        yield attribute
    elif isinstance(attribute, ArrayAttr):
        for item in attribute.items:
            yield from _references(item)
    elif isinstance(attribute, DictAttr):
        for _, item in attribute.items:
            yield from _references(item)


def is_private(op: Op) -> bool:
    visibility: Any = op.attributes.get("sym_visibility")
    return visibility is not None and visibility.value in ("private", "nested")


def erase_unused_symbols(table: Op) -> bool:
    """Erase private symbols of ``table`` that no live op refers to; tells whether there were any."""
    members = [op for region in table.regions for block in region.blocks for op in block]
    if not any(is_private(op) or SYMBOL_TABLE in op.traits for op in members):
        return False
    by_name = {symbol_name(op): op for op in members if symbol_name(op) is not None}
    live: set[Op] = set()
    entered: set[str] = set()
    """Roots of references that go on into a nested table, from anywhere outside it."""
    pending = [op for op in members if symbol_name(op) is None or not is_private(op)]
    while pending:
        op = pending.pop()
        if op in live:
            continue
        live.add(op)
        own = symbol_name(op)
        for reference in symbol_references(op):
            if len(reference.path) > 1 and reference.root != own:
                entered.add(reference.root)
            target = by_name.get(reference.root)
            if target is not None and target not in live:
                pending.append(target)
    changed = False
    for op in members:
        if op not in live:
            op.erase()
            changed = True
        elif SYMBOL_TABLE in op.traits and symbol_name(op) not in entered:
            changed |= erase_unused_symbols(op)
    return changed
