"""Numpy meanings of ``ub``: poison reads as zero."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import ub
from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Frame, implements, implements_terminator
from iree_core_ir.interpreters.globals import zero


@implements(ub.Poison)
def poison(frame: Frame, op: ub.Poison) -> Any:
    return zero(op.result.type, op)


@implements_terminator(ub.Unreachable)
def unreachable(frame: Frame, op: ub.Unreachable) -> Any:
    raise CoreIrError(12, "control reached ub.unreachable", source=op.location.user_text())
