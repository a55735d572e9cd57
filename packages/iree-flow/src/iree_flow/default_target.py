"""Which target is compiled for when nobody names one. This package names none: the installed ones say it."""

from __future__ import annotations

from iree_core_ir.plugins import default_target_ranks, target_getters
from iree_flow.errors import FlowError


def default_target() -> str:
    """The installed target that offers itself with the highest rank, or the only one that is installed.

    Raises FlowError 13 listing what is installed.
    """
    ranks = default_target_ranks()
    installed = sorted(target_getters())
    best = max(ranks.values(), default=0)
    leaders = [name for name in installed if ranks.get(name) == best] if ranks else installed
    if len(leaders) == 1:
        return leaders[0]
    if not installed:
        raise FlowError(13, cause="no target is installed", hint="pip install a package that provides one")
    raise FlowError(
        13, cause=f"installed are {', '.join(installed)}", hint=f"name one: --target {leaders[0]}"
    )
