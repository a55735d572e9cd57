"""Which constants a strategy wants stored in another layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.target import ConstantLayout


def constant_layout(func: Any, description: Any) -> Sequence[ConstantLayout]:
    """The layouts that the strategy taking ``func`` asks for."""
    return ()
