"""Numpy meanings of ``ml_program``."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import ml_program
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters import globals


@implements(ml_program.GlobalLoad, ml_program.GlobalLoadConst)
def global_load(frame: Frame, op: Any) -> Any:
    return globals.load(frame, op, op.global_name)


@implements(ml_program.GlobalStore)
def global_store(frame: Frame, op: ml_program.GlobalStore, value: Any) -> None:
    globals.store(frame, op, op.global_name, value)
