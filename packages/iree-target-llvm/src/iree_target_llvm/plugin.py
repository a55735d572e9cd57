"""Plugin of iree-target-llvm: names and lazy getters only; llvmlite is imported when a target is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

api = (1, 0)


def _llvm_cpu() -> Any:
    from iree_target_llvm.target import LlvmCpuTarget

    return LlvmCpuTarget()


def iree_targets() -> Mapping[str, Callable[[], Any]]:
    return {"llvm-cpu": _llvm_cpu}


def iree_default_targets() -> Mapping[str, Callable[[], int]]:
    return {"llvm-cpu": lambda: 10}
