"""A source text and the line:column of its offsets, computed when first asked for."""

from __future__ import annotations

import bisect

from iree_core_ir.ir.location import FileLoc


class Source:
    """``text`` called ``name`` in locations and errors."""

    __slots__ = ("_newlines", "name", "text")

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self._newlines: list[int] | None = None

    def line_column(self, offset: int) -> tuple[int, int]:
        """Both from 1."""
        newlines = self._newlines
        if newlines is None:
            newlines = self._newlines = []
            find = self.text.find
            position = find("\n")
            while position >= 0:
                newlines.append(position)
                position = find("\n", position + 1)
        line = bisect.bisect_left(newlines, offset)
        return line + 1, offset - (newlines[line - 1] if line else -1)

    def location(self, offset: int) -> FileLoc:
        return FileLoc(self.name, *self.line_column(offset))

    def line_at(self, offset: int) -> str:
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        return self.text[start:] if end < 0 else self.text[start:end]
