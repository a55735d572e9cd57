"""Where caches on disk lie: one variable for all of them, else the user's cache directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "IREE_CACHE_DIR"


def cache_directory(name: str, below: str = "") -> Path:
    """``below`` in ``$IREE_CACHE_DIR`` (the directory itself when empty), else ``name`` in the user's cache
    directory.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given) / below
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / name
