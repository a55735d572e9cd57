"""canonicalize: fold, simplify by the dialects' patterns, drop dead ops, until nothing changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from iree_core_ir.canonicalize import canonicalization_patterns
from iree_core_ir.ir.operation import Op
from iree_core_ir.pass_manager import Pass, PassContext
from iree_core_ir.passes.dce import erase_unreachable_blocks
from iree_core_ir.rewriter import PatternSet, apply_patterns


@dataclass
class Canonicalize(Pass):
    """Bring ops into their canonical form. ``max_iterations`` bounds the sweeps over the module."""

    name: ClassVar[str] = "canonicalize"
    max_iterations: int = 10

    def run(self, module: Any, context: PassContext) -> None:
        canonicalize(module, self.max_iterations)


def canonicalize(root: Op, max_iterations: int = 10) -> bool:
    """Canonicalize everything inside ``root``; tells whether anything changed."""
    dialects = {op.dialect for op in root.walk()}
    patterns = PatternSet(canonicalization_patterns(dialects))
    changed = False
    for _ in range(max_iterations):
        again = apply_patterns(root, patterns)
        again |= erase_unreachable_blocks(root)
        if not again:
            break
        changed = True
        # Rewriting may have brought in ops of other dialects.
        found = {op.dialect for op in root.walk()}
        if not found <= dialects:
            dialects |= found
            patterns = PatternSet(canonicalization_patterns(dialects))
    return changed
