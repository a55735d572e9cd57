"""What the manifest knows a member's bytes by: ``blake2b`` of all of them, for weights ``Pieces``."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

from iree_base.blake2 import blake2b

PIECE = 1 << 16
_PREFIX = "crc32-64k:"


class Digest(Protocol):
    """Takes bytes in order, in parts of any length."""

    def update(self, data: memoryview, /) -> None: ...

    def hexdigest(self) -> str: ...


class Pieces:
    """A checksum of each 64 KiB, and blake2b of those.

    Damage shows as surely as bytes fail by accident: in a piece, any error of up to 32 bits in a row, any
    other with one chance in four billion to stay hidden. It is a sixth of the work of hashing every byte,
    which for large weights was the longest part of writing them.
    """

    def __init__(self) -> None:
        self._all = blake2b(digest_size=32)
        self._sum = 0
        self._room = PIECE
        self._size = 0

    def update(self, data: memoryview, /) -> None:
        position, size = 0, len(data)
        while position < size:
            part = data[position : position + self._room]
            self._sum = zlib.crc32(part, self._sum)
            position += len(part)
            self._room -= len(part)
            if not self._room:
                self._end_piece()
        self._size += size

    def _end_piece(self) -> None:
        self._all.update(self._sum.to_bytes(4, "little"))
        self._sum, self._room = 0, PIECE

    def hexdigest(self) -> str:
        """Of what came until now; more may follow."""
        state = self._all.copy()
        if self._room != PIECE:
            state.update(self._sum.to_bytes(4, "little"))
        state.update(self._size.to_bytes(8, "little"))
        return _PREFIX + state.hexdigest()


def blake() -> Digest:
    return blake2b(digest_size=32)


def made_like(text: str) -> Callable[[], Digest]:
    """What makes digests like ``text``, as a manifest has it."""
    return Pieces if text.startswith(_PREFIX) else blake


__all__ = ["PIECE", "Digest", "Pieces", "blake", "made_like"]
