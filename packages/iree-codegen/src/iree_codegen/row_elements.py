"""Elements of a dispatch whose rows are shared: what a member has loaded stays in its registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_codegen.elements import Memory, Point
from iree_codegen.indexing import Affine, Var
from iree_codegen.invocation_elements import InvocationElements
from iree_core_ir.ir.operation import Value


class RowElements(InvocationElements):
    """Elements that remember what the member has loaded at each of its vectors."""

    vector: int | None = None
    """Which vector of the member's is computed now."""
    depth = 0
    """Nesting of the code that is run for certain."""

    def start_row(self, depth: int, readonly: Sequence[Value]) -> None:
        self.depth = depth
        self.readonly = frozenset(readonly)
        self.loaded: dict[Any, Value] = {}

    def load(self, memory: Memory, forms: Sequence[Affine], point: Point) -> Value:
        if self.vector is None or memory.memory not in self.readonly or point.at.lane_var is None:
            return super().load(memory, forms, point)
        address = memory.address(forms)
        moves = _depends(address, point.at.lane_var)
        key = (memory.memory, address, point.lanes, self.vector if moves else None)
        found = self.loaded.get(key)
        if found is None:
            found = super().load(memory, forms, point)
            if self.kernel.depth == self.depth:
                self.loaded[key] = found
        return found


def _depends(form: Affine, on: Var) -> bool:
    return any(
        var is on or (var.definition is not None and _depends(var.definition[1], on)) for var, _ in form.terms
    )


__all__ = ["RowElements"]
