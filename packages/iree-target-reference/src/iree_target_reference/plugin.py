"""Entry point of group ``iree.compiler``: the target ``reference``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

api = (1, 0)


def _target() -> Any:
    from iree_target_reference.target import ReferenceTarget

    return ReferenceTarget()


def iree_targets() -> dict[str, Callable[[], Any]]:
    return {"reference": _target}
