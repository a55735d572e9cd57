"""Digests: the same for any way of cutting the bytes, different after any damage tried, told apart by text."""

from __future__ import annotations

import zlib
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from iree_vm.artifact.digests import PIECE, Pieces, blake, made_like

DATA = bytes(i * 7 % 251 for i in range(2 * PIECE + 5))


def whole(data: bytes) -> str:
    state = Pieces()
    state.update(memoryview(data))
    return state.hexdigest()


@given(st.lists(st.integers(0, len(DATA)), max_size=6), st.integers(0, len(DATA)))
def test_where_the_bytes_are_cut_does_not_matter(cuts: list[int], size: int) -> None:
    data = memoryview(DATA)[:size]
    state = Pieces()
    ends = sorted({min(cut, size) for cut in cuts} | {size})
    for start, end in zip([0, *ends], ends, strict=False):
        state.update(data[start:end])
    assert state.hexdigest() == whole(bytes(data))
    assert state.crc == zlib.crc32(data)


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_a_changed_byte_shows(position: int, change: int) -> None:
    damaged = bytearray(DATA)
    damaged[position] ^= change
    assert whole(bytes(damaged)) != whole(DATA)


@given(st.integers(0, 3 * PIECE), st.integers(0, 3 * PIECE))
def test_zeros_of_another_length_show(a: int, b: int) -> None:
    assert (whole(bytes(a)) == whole(bytes(b))) == (a == b)


def test_pieces_in_another_order_show() -> None:
    assert whole(DATA[PIECE : 2 * PIECE] + DATA[:PIECE]) != whole(DATA[: 2 * PIECE])


def test_asking_in_between_changes_nothing() -> None:
    state = Pieces()
    state.update(memoryview(DATA)[:100])
    assert state.hexdigest() == whole(DATA[:100])
    state.update(memoryview(DATA)[100:])
    assert state.hexdigest() == whole(DATA)


def test_a_digest_says_how_it_was_made() -> None:
    assert made_like(whole(DATA)) is Pieces
    assert made_like(blake2b(DATA, digest_size=32).hexdigest()) is blake
    state = blake()
    state.update(memoryview(DATA))
    assert state.hexdigest() == blake2b(DATA, digest_size=32).hexdigest()
