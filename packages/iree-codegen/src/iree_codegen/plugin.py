"""Plugin of iree-codegen: constant transforms that strategies ask for. Light: imports on use."""

from __future__ import annotations

api = (1, 0)
