"""Which description of the machine an executable is compiled for: the target's own, or a tuned one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iree_flow.dialects import flow

TUNED = "iree.tuned"
"""Attribute of an executable: the label of the description that it is compiled for."""
OWN = "default"
"""The label of the target's own description."""


def variants_of(target: Any, description: Any) -> Mapping[str, Any]:
    """Label -> description that ``target`` offers to try; nothing for one that offers none."""
    offer = getattr(target, "tuning_variants", None)
    found: Mapping[str, Any] = {} if offer is None else offer(description)
    return found


def description_of(executable: flow.Executable, target: Any, description: Any) -> Any:
    """What ``executable`` is compiled for: the description chosen for it, or the target's own."""
    label: Any = executable.attributes.get(TUNED)
    return description if label is None else variants_of(target, description)[label.value]


def executable_format(target: Any, description: Any) -> str:
    """The format of the target's objects for the machine that it was asked to compile for."""
    of = getattr(target, "format_of", None)
    return str(target.format if of is None else of(description))


__all__ = ["OWN", "TUNED", "description_of", "executable_format", "variants_of"]
