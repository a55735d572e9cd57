"""Memory planning: live buffers never overlap, and the plan is tight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iree_flow.arena import ALIGNMENT, ArenaBuffer, aligned, plan

BUFFERS = st.lists(
    st.tuples(
        st.integers(0, 5000), st.sampled_from([(), ("n",), ("n", "m")]), st.integers(0, 20), st.integers(0, 6)
    ),
    max_size=25,
)


def make(rows: list[tuple[int, tuple[str, ...], int, int]]) -> list[ArenaBuffer]:
    return [
        ArenaBuffer(i, size, factors, start, start + n) for i, (size, factors, start, n) in enumerate(rows)
    ]


@given(BUFFERS)
def test_live_buffers_do_not_overlap(rows: list[tuple[int, tuple[str, ...], int, int]]) -> None:
    buffers = make(rows)
    plan(buffers)
    for i, a in enumerate(buffers):
        assert a.offset % ALIGNMENT == 0
        for b in buffers[:i]:
            if a.factors == b.factors and a.start <= b.end and b.start <= a.end:
                assert (
                    a.offset + aligned(a.coefficient) <= b.offset
                    or b.offset + aligned(b.coefficient) <= a.offset
                )


@given(BUFFERS, st.sampled_from([1, 16, 256]))
def test_any_alignment(rows: list[tuple[int, tuple[str, ...], int, int]], alignment: int) -> None:
    buffers = make(rows)
    zones = plan(buffers, alignment)
    assert all(b.offset % alignment == 0 for b in buffers)
    assert all(zone.lower_bound <= zone.peak <= zone.total for zone in zones)
    assert all(zone.peak % alignment == 0 for zone in zones)


@given(BUFFERS)
def test_peak_lies_between_the_lower_bound_and_the_sum(
    rows: list[tuple[int, tuple[str, ...], int, int]],
) -> None:
    for zone in plan(make(rows)):
        assert zone.lower_bound <= zone.peak <= zone.total


def test_a_chain_needs_two_buffers() -> None:
    (zone,) = plan([ArenaBuffer(i, 640, (), i, i + 1) for i in range(10)])
    assert zone.peak == zone.lower_bound == 2 * 640
