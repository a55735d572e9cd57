"""Locations: where in the user's source an op comes from. Every op has one."""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.attributes import Attribute


class Location(Attribute):
    """Base of locations; ``str`` gives the MLIR text inside ``loc(...)``."""

    __slots__ = ()

    def user_text(self) -> str:
        """How an error names the place: the node name or ``file:line:column``."""
        return str(self)


class UnknownLoc(Location):
    __slots__ = ()

    def __str__(self) -> str:
        return "unknown"


class FileLoc(Location):
    """``"file":line:column``, both from 1."""

    __slots__ = _fields = ("file", "line", "column")
    file: str
    line: int
    column: int

    def __str__(self) -> str:
        from iree_core_ir.text.printer import quoted

        return f"{quoted(self.file)}:{self.line}:{self.column}"

    def user_text(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class NameLoc(Location):
    """``"name"(child)``: a node of the user's model."""

    __slots__ = _fields = ("name", "child")
    name: str
    child: Location

    def __new__(cls, name: str, child: Location | None = None) -> NameLoc:
        return super().__new__(cls, name, UNKNOWN if child is None else child)

    def __str__(self) -> str:
        from iree_core_ir.text.printer import quoted

        return quoted(self.name) if self.child is UNKNOWN else f"{quoted(self.name)}({self.child})"

    def user_text(self) -> str:
        return self.name


class FusedLoc(Location):
    """``fused[a, b]``: an op made from several; duplicates and unknowns dropped."""

    __slots__ = _fields = ("locations",)
    locations: tuple[Location, ...]

    def __str__(self) -> str:
        return "fused[" + ", ".join(map(str, self.locations)) + "]"

    def user_text(self) -> str:
        return ", ".join(loc.user_text() for loc in self.locations)


class CallSiteLoc(Location):
    """``callsite(callee at caller)``."""

    __slots__ = _fields = ("callee", "caller")
    callee: Location
    caller: Location

    def __str__(self) -> str:
        return f"callsite({self.callee} at {self.caller})"

    def user_text(self) -> str:
        return f"{self.callee.user_text()} called at {self.caller.user_text()}"


UNKNOWN = UnknownLoc()


def fuse(locations: Any) -> Location:
    """One location standing for several, in order of first appearance."""
    flat: dict[Location, None] = {}
    for loc in locations:
        for part in loc.locations if isinstance(loc, FusedLoc) else (loc,):
            if part is not UNKNOWN:
                flat[part] = None
    if not flat:
        return UNKNOWN
    return next(iter(flat)) if len(flat) == 1 else FusedLoc(tuple(flat))
