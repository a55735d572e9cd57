"""What the manifest knows a member's bytes by: ``blake2b`` of all of them, for weights ``Pieces``."""

from __future__ import annotations

import functools
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


_ZEROS = bytes(PIECE)


def _behind(checksum: int, size: int) -> int:
    """What ``checksum`` of some bytes adds to the checksum of them and ``size`` more (at most a piece)."""
    return zlib.crc32(_ZEROS[:size], checksum) ^ zlib.crc32(_ZEROS[:size])


@functools.cache
def _tables() -> list[list[int]]:
    """``_behind(checksum, PIECE)`` for each byte of a checksum: it is linear over the bits."""
    tables = []
    for byte in range(4):
        bits = [_behind(1 << (8 * byte + bit), PIECE) for bit in range(8)]
        table = [0] * 256
        for value in range(1, 256):
            low = value & -value
            table[value] = table[value ^ low] ^ bits[low.bit_length() - 1]
        tables.append(table)
    return tables


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
        self._before = 0
        """The checksum of all whole pieces until now."""
        self._tables = _tables()

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
        before, (a, b, c, d) = self._before, self._tables
        shifted = a[before & 255] ^ b[before >> 8 & 255] ^ c[before >> 16 & 255] ^ d[before >> 24]
        self._before = shifted ^ self._sum
        self._sum, self._room = 0, PIECE

    @property
    def crc(self) -> int:
        """``zlib.crc32`` of all bytes until now, without reading them twice."""
        return _behind(self._before, PIECE - self._room) ^ self._sum

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
