"""Meanings of ``sync`` where one thread runs everything."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_core_ir.dialects import sync
from iree_core_ir.interpreter import Frame, implements
from iree_core_ir.interpreters.memory import check_indices

Array = np.ndarray[Any, Any]


@implements(sync.Load)
def load(frame: Frame, op: sync.Load, memory: Array, at: int) -> Any:
    check_indices((at,), memory.shape)
    return memory[at]


@implements(sync.Store)
def store(frame: Frame, op: sync.Store, memory: Array, at: int, new: Any) -> None:
    check_indices((at,), memory.shape)
    memory[at] = new


@implements(sync.Exchange)
def exchange(frame: Frame, op: sync.Exchange, memory: Array, at: int, old: Any, new: Any) -> Any:
    check_indices((at,), memory.shape)
    done = np.bool_(memory[at] == old)
    if done:
        memory[at] = new
    return done


@implements(sync.Pause)
def pause(frame: Frame, op: sync.Pause) -> None:
    pass
