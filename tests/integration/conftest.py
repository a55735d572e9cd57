"""The models of this folder as fixtures."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from networks import network

__all__ = ["network"]
