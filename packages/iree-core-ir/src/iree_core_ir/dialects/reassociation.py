"""Reassociation: how the dims of a shape group into the dims of a collapsed shape."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

from iree_core_ir.ir.attributes import ArrayAttr, IntegerAttr
from iree_core_ir.ir.types import DYNAMIC, i64

Reassociation = tuple[tuple[int, ...], ...]


def reassociation_attribute(groups: Iterable[Iterable[int]]) -> ArrayAttr:
    """``[[0, 1], [2]]`` as MLIR stores it: an array of arrays of i64."""
    return _attribute(tuple([tuple(group) for group in groups]))


# Attributes are interned, and there are few different ones.
@functools.lru_cache(maxsize=1 << 10)
def _attribute(groups: Reassociation) -> ArrayAttr:
    return ArrayAttr([ArrayAttr([IntegerAttr(i, i64) for i in group]) for group in groups])


@functools.lru_cache(maxsize=1 << 10)
def reassociation_groups(attribute: Any) -> Reassociation:
    """The groups of a reassociation attribute as integers."""
    return tuple(tuple(i.value for i in group) for group in attribute)


def collapsed_shape(shape: Sequence[int], groups: Reassociation) -> tuple[int, ...]:
    """The static product of each group, DYNAMIC when one of its dims is."""
    collapsed = []
    for group in groups:
        size = 1
        for i in group:
            if shape[i] == 0:
                size = 0
                break
            size = DYNAMIC if shape[i] == DYNAMIC or size == DYNAMIC else size * shape[i]
        collapsed.append(size)
    return tuple(collapsed)


def infer_reassociation(expanded: Sequence[int], collapsed: Sequence[int]) -> Reassociation | None:
    """The groups that turn static or dynamic ``expanded`` into ``collapsed``; None when there are none.

    A dynamic collapsed dim takes dims up to and including one dynamic dim; unit dims go to the group on
    their left, as MLIR does. Ambiguous dynamic shapes give None.
    """
    groups: list[tuple[int, ...]] = []
    position = 0
    for size in collapsed:
        group: list[int] = []
        product = 1
        if size == DYNAMIC:
            while position < len(expanded):
                group.append(position)
                position += 1
                if expanded[position - 1] == DYNAMIC:
                    break
            if not group or expanded[group[-1]] != DYNAMIC:
                return None
        else:
            while position < len(expanded) and (product != size or not group):
                if expanded[position] == DYNAMIC:
                    return None
                product *= expanded[position]
                group.append(position)
                position += 1
            if product != size or not group:
                return None
        while position < len(expanded) and expanded[position] == 1 and len(groups) + 1 == len(collapsed):
            group.append(position)
            position += 1
        groups.append(tuple(group))
    if position != len(expanded):
        if groups or any(dim != 1 for dim in expanded):
            return None
        return ()
    return tuple(groups)


def reassociation_error(
    expanded: Sequence[int], collapsed: Sequence[int], groups: Reassociation
) -> str | None:
    """Why ``groups`` do not relate the two shapes; None when they do."""
    if len(groups) != len(collapsed):
        if not (not groups and not collapsed):
            return f"{len(groups)} reassociation groups for a collapsed rank of {len(collapsed)}"
    flat = [i for group in groups for i in group]
    if groups and flat != list(range(len(expanded))):
        return (
            f"the groups must list the dims 0..{len(expanded) - 1} in order, got {[list(g) for g in groups]}"
        )
    if any(not group for group in groups):
        return "a reassociation group is empty"
    if not groups and any(dim not in (1, DYNAMIC) for dim in expanded):
        return "only unit dims collapse to rank 0"
    for i, (size, product) in enumerate(zip(collapsed, collapsed_shape(expanded, groups), strict=True)):
        if DYNAMIC in (size, product):
            if size != product and size != DYNAMIC and all(expanded[j] != DYNAMIC for j in groups[i]):
                return f"collapsed dim {i} is {size} but its group has {product} elements"
            continue
        if size != product:
            return f"collapsed dim {i} is {size} but its group {list(groups[i])} has {product} elements"
    return None
