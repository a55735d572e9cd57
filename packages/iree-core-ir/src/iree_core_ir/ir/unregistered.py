"""Ops of dialects that are not loaded, carried in generic form."""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.operation import Op


class UnregisteredOp(Op):
    """An op of an unknown dialect, kept in generic form (only under the allow flag)."""

    __slots__ = ("op_name",)
    op_name: str

    def __init__(self, op_name: str, *args: Any, **kwargs: Any) -> None:
        self.op_name = op_name
        super().__init__(*args, **kwargs)

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.op_name

    def _copy_extra(self, copy: Any) -> None:
        copy.op_name = self.op_name
