"""Ops that fold by a rule registered under their name (``folds.rule``)."""

from __future__ import annotations

from iree_core_ir.dialects.folds import RULES, Constants, Folded
from iree_core_ir.ir.operation import Op


class RuleOp(Op):
    """Base of ops whose folding is a rule in a ``*_folds`` module; nothing is evaluated here."""

    def fold(self, constants: Constants) -> Folded:
        known = RULES.get(self.name)
        return None if known is None else known(self, constants)
