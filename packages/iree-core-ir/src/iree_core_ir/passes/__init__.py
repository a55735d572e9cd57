"""Passes on any IR; a file is called as its pass on the command line (``symbol-dce`` -> symbol_dce.py)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

PASSES = {
    "canonicalize": "Canonicalize",
    "cse": "Cse",
    "dce": "Dce",
    "inline": "Inline",
    "licm": "Licm",
    "symbol-dce": "SymbolDce",
}


def getters() -> dict[str, Callable[[], Any]]:
    """Pass name -> getter of its class."""

    def getter(name: str) -> Callable[[], Any]:
        module = f"iree_core_ir.passes.{name.replace('-', '_')}"
        return lambda: getattr(importlib.import_module(module), PASSES[name])

    return {name: getter(name) for name in PASSES}
