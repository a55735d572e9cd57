"""Several targets: one module until placement, then one clone a target, with a session that sees it alone.

The constants of all clones live in one store. What several clones use is laid out once, in segments that
``share_constants`` writes into each of them before they are scheduled: so it is stored once in the artefact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import DenseElementsAttr, DenseResourceAttr, StringAttr
from iree_core_ir.ir.operation import SymbolTable
from iree_core_ir.ir.types import TensorType
from iree_flow.arena import aligned
from iree_flow.dialects import stream
from iree_flow.errors import FlowError
from iree_flow.session import Session

Part = tuple[ModuleOp, Session]
"""A variant: its module and its view of the session."""

SHARED = "shared_constants"
"""Symbols of shared segments begin with this."""


def split(module: ModuleOp, session: Session) -> list[Part]:
    """A part per target, each with a clone; one target keeps the module itself."""
    targets = session.options.target
    if len(targets) == 1:
        return [(module, session.view(targets[0]))]
    return [(module.clone(), session.view(target)) for target in targets]


def pack(parts: Sequence[Part]) -> ModuleOp:
    """One module to print: the part's own, or a module of modules named by target."""
    if len(parts) == 1:
        return parts[0][0]
    outer = ModuleOp.make()
    for module, session in parts:
        copy = module.clone()
        copy.attributes["sym_name"] = StringAttr(session.current)
        outer.body.block.append(copy)
    return outer


def unpack(module: ModuleOp, session: Session) -> list[Part]:
    """The parts that ``pack`` wrote for the session's targets. Raises FlowError 11 when they are others."""
    targets = session.options.target
    if len(targets) == 1:
        return [(module, session.view(targets[0]))]
    found: dict[str, ModuleOp] = {}
    for op in module.body.block.ops:
        if isinstance(op, ModuleOp) and op.sym_name is not None:
            found[op.sym_name.value] = op.detach()
            del op.attributes["sym_name"]
    if tuple(found) != tuple(targets):
        raise FlowError(
            11,
            "the file holds the variants of " + (", ".join(found) or "one target"),
            hint="give the same targets, in this order",
        )
    return [(found[target], session.view(target)) for target in targets]


def share_constants(parts: Sequence[Part], session: Session) -> None:
    """Give what several parts use a place in segments that these parts have in common.

    Equal are constants with the same key, and those of equal size with the same bytes. A segment holds what
    exactly the same parts use, so that no device gets what it does not need.
    """
    if len(parts) == 1:
        return
    moved: dict[DenseElementsAttr, DenseResourceAttr] = {}
    used = [_constants(module, session.constants, moved) for module, _ in parts]
    same = _classes(used, session.constants)
    groups: dict[tuple[int, ...], list[list[DenseResourceAttr | None]]] = {}
    for members in same:
        users = tuple(i for i, attribute in enumerate(members) if attribute is not None)
        if len(users) > 1:
            groups.setdefault(users, []).append(members)
    for number, (users, rows) in enumerate(groups.items()):
        alignment = max(parts[i][1].description.binding_alignment for i in users)
        offsets, size = _layout([_nbytes(row[users[0]], session.constants) for row in rows], alignment)
        session.report.constant_bytes += size
        session.report.shared_bytes += size
        for i in users:
            module = parts[i][0]
            values: Any = [row[i] for row in rows]
            segment = stream.ConstantSegment.make(f"{SHARED}_{number}", values, offsets, size)
            SymbolTable(module).insert(segment, before=module.regions[0].block.first)
    session.changed()


def _constants(
    module: ModuleOp, store: ConstantStore, moved: dict[DenseElementsAttr, DenseResourceAttr]
) -> list[DenseResourceAttr]:
    """The tensor constants of the host functions, each key once; those in the IR move to the store."""
    found: dict[str, DenseResourceAttr] = {}
    for function in module.regions[0].block:
        if not isinstance(function, FuncOp):
            continue
        for op in function.walk():
            if not isinstance(op, arith.Constant) or not isinstance(op.result.type, TensorType):
                continue
            if not op.result.uses:  # what a layout replaced
                continue
            attribute: Any = op.attributes["value"]
            if isinstance(attribute, DenseElementsAttr):
                if attribute not in moved:
                    type: Any = attribute.type
                    key = store.add_array(attribute.to_array(), str(type.element_type))
                    moved[attribute] = DenseResourceAttr(key, type)
                attribute = op.attributes["value"] = moved[attribute]
            if isinstance(attribute, DenseResourceAttr):
                found.setdefault(attribute.key, attribute)
    return list(found.values())


def _classes(
    used: Sequence[Sequence[DenseResourceAttr]], store: ConstantStore
) -> list[list[DenseResourceAttr | None]]:
    """Equal constants in rows with one place a part, in order of first use.

    Bytes are read only of constants that have a key of their own in a part while another part has one of
    the same size that is not shared by key either.
    """
    users = Counter(attribute.key for part in used for attribute in part)
    lonely: dict[int, set[int]] = {}
    for i, part in enumerate(used):
        for attribute in part:
            if users[attribute.key] == 1:
                lonely.setdefault(_nbytes(attribute, store), set()).add(i)
    rows: dict[tuple[str, str], list[DenseResourceAttr | None]] = {}
    for i, part in enumerate(used):
        for attribute in part:
            by_bytes = users[attribute.key] == 1 and len(lonely[_nbytes(attribute, store)]) > 1
            identity = ("bytes", store.digest(attribute.key)) if by_bytes else ("key", attribute.key)
            row = rows.setdefault(identity, [None] * len(used))
            if row[i] is None:
                row[i] = attribute
    return list(rows.values())


def _nbytes(attribute: Any, store: ConstantStore) -> int:
    return store[attribute.key].nbytes


def _layout(sizes: Sequence[int], alignment: int) -> tuple[list[int], int]:
    """Offsets one behind the other, and the size of all."""
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end = aligned(end + size, alignment)
    return offsets, end
