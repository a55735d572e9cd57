"""Canonicalization patterns of the dialects' ops, one module per dialect ending in ``PATTERNS``."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from iree_core_ir.ir.dialect import CORE


def canonicalization_patterns(dialects: Iterable[str]) -> list[Any]:
    """The patterns (classes or instances) of the named dialects, in a fixed order."""
    patterns: list[Any] = []
    for name in sorted(dialects):
        if name in CORE:
            module = f"iree_core_ir.canonicalize.{name}"
            try:
                patterns.extend(importlib.import_module(module).PATTERNS)
            except ModuleNotFoundError as error:
                if error.name != module:
                    raise
        else:
            from iree_core_ir.plugins import canonicalization_getters

            getter = canonicalization_getters().get(name)
            if getter is not None:
                patterns.extend(getter())
    return patterns
