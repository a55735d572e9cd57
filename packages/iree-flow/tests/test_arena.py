"""Memory planning: live buffers never overlap whatever the dims are, and the plan is tight."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_flow.arena import ALIGNMENT, ArenaBuffer, Offset, aligned, largest, plan, size_term, term_bytes

BUFFERS = st.lists(
    st.tuples(
        st.integers(0, 9000),
        st.sampled_from([(), ("n",), ("n", "m"), ("m",)]),
        st.integers(0, 20),
        st.integers(0, 6),
    ),
    max_size=25,
)
DIMS = st.fixed_dictionaries({"n": st.integers(0, 40), "m": st.integers(0, 40)})
Rows = list[tuple[int, tuple[str, ...], int, int]]


def make(rows: Rows, nominal: dict[str, int]) -> list[ArenaBuffer]:
    buffers = []
    for i, (size, factors, start, n) in enumerate(rows):
        number = size
        for factor in factors:
            number *= nominal[factor]
        buffers.append(ArenaBuffer(i, size, factors, start, start + n, number))
    return buffers


def check(buffers: list[ArenaBuffer], dims: dict[str, int], alignment: int = ALIGNMENT) -> None:
    """Ranges of buffers that live at one time are disjoint, for these dims."""
    ranges = []
    for buffer in buffers:
        start = buffer.offset.value(dims, alignment)
        size = term_bytes((buffer.coefficient, buffer.factors), dims, 1)
        assert start % alignment == 0
        ranges.append((buffer, start, start + size))
    for i, (a, low, high) in enumerate(ranges):
        for b, other_low, other_high in ranges[:i]:
            if a.overlaps(b):
                assert high <= other_low or other_high <= low or low == high or other_low == other_high


@given(BUFFERS, DIMS, DIMS)
def test_live_buffers_do_not_overlap(rows: Rows, nominal: dict[str, int], dims: dict[str, int]) -> None:
    buffers = make(rows, nominal)
    planned = plan(buffers)
    check(buffers, dims)
    ends = [b.offset.value(dims, ALIGNMENT) + term_bytes(size_term(b), dims, ALIGNMENT) for b in buffers]
    assert planned.size.value(dims, ALIGNMENT) == max(ends, default=0)


@given(BUFFERS, DIMS, st.sampled_from([1, 16, 256]))
def test_any_alignment(rows: Rows, dims: dict[str, int], alignment: int) -> None:
    buffers = make(rows, dims)
    planned = plan(buffers, alignment)
    check(buffers, dims, alignment)
    assert planned.lower_bound <= planned.peak <= planned.total


@given(BUFFERS, DIMS)
def test_what_is_reserved_is_what_was_planned(rows: Rows, dims: dict[str, int]) -> None:
    planned = plan(make(rows, dims))
    # Large coefficients are rounded up before their dims.
    slack = 1 + 1 / 64
    assert planned.size.value(dims, ALIGNMENT) <= planned.peak * slack + ALIGNMENT * len(rows)


def test_a_chain_needs_two_buffers() -> None:
    planned = plan([ArenaBuffer(i, 640, (), i, i + 1) for i in range(10)])
    assert planned.peak == planned.lower_bound == 2 * 640
    assert planned.size == Offset(({(1280, ()): 1},))


def test_one_dynamic_dim_plans_as_tightly_as_none() -> None:
    sizes = [640, 1280, 64, 640, 128]
    static = plan([ArenaBuffer(i, size, (), i, i + 1) for i, size in enumerate(sizes)])
    dynamic = plan([ArenaBuffer(i, size, ("n",), i, i + 1) for i, size in enumerate(sizes)])
    assert dynamic.size == Offset(({(static.peak, ("n",)): 1},))


def test_different_dims_share_memory() -> None:
    """The levels of a pyramid, each a quarter of the one before, as chains that follow each other."""
    buffers = [
        ArenaBuffer((level, i), 64, (f"s{level}",), 4 * level + i, 4 * level + i + 1, 64 * 4 ** (5 - level))
        for level in range(5)
        for i in range(4)
    ]
    planned = plan(buffers)
    assert planned.peak == planned.lower_bound
    for scale in (1, 3, 10):
        dims = {f"s{level}": scale * 4 ** (5 - level) for level in range(5)}
        assert planned.size.value(dims, ALIGNMENT) == scale * planned.peak


def test_small_elements_are_rounded_up_with_their_dims() -> None:
    """A map of one channel does not become as large as one of sixteen."""
    (buffer,) = buffers = [ArenaBuffer("map", 4, ("h", "w"), 0, 1, 4 * 480 * 480)]
    planned = plan(buffers)
    assert size_term(buffer) == (4, ("h", "w"))
    assert planned.size.value({"h": 480, "w": 480}, ALIGNMENT) == 4 * 480 * 480
    assert planned.size.value({"h": 3, "w": 5}, ALIGNMENT) == 64


def test_sums_that_never_win_are_dropped() -> None:
    low = Offset(({(64, ("n",)): 1},))
    high = Offset(({(128, ("n",)): 1, (64, ()): 1},))
    other = Offset(({(256, ("m",)): 1},))
    assert largest([low, high, other, low]) == largest([high, other])
    assert len(largest([low, high, other]).sums) == 2
    assert largest([Offset(), low]) == low


@pytest.mark.parametrize("seed", range(12))
def test_within_a_tenth_of_the_bound(seed: int) -> None:
    """Networks with skips: every value feeds the next, some a later one too."""
    random.seed(seed)
    buffers = []
    for i in range(200):
        far = random.randint(2, 20) if random.random() < 0.3 else 1
        size = 64 * random.choice([32, 64, 128, 256]) * random.randint(1, 40)
        buffers.append(ArenaBuffer(i, size, (), i, i + far))
    planned = plan(buffers)
    assert planned.peak <= 1.1 * planned.lower_bound
    check(buffers, {})


def test_the_fullest_time_is_told() -> None:
    planned = plan(
        [ArenaBuffer("a", 64, (), 0, 1), ArenaBuffer("b", 640, (), 1, 2), ArenaBuffer("c", 1, (), 2, 3)]
    )
    assert [b.key for b in planned.at_the_bound()] == ["b", "a"]
    assert planned.at_the_bound()[0].nominal == aligned(640)


def test_planning_grows_with_the_number_of_buffers() -> None:
    """Every buffer meets only those that live with it."""
    import iree_flow.arena as arena

    seen = 0
    neighbours = arena._neighbours

    def counting(buffer, live):  # type: ignore[no-untyped-def]
        nonlocal seen
        found = list(neighbours(buffer, live))
        seen += len(found)
        return found

    counts = []
    for n in (100, 200):
        seen = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arena, "_neighbours", counting)
            plan([ArenaBuffer(i, 640, (), i, i + 3) for i in range(n)])
        counts.append(seen)
    assert counts[1] <= 2.1 * counts[0]
