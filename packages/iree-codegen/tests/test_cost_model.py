"""The cost model: what it promises about parts, tiles and schedules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_codegen.cost_model import (
    Core,
    Product,
    Schedule,
    accumulators_fit,
    balanced,
    choose_schedule,
    collide,
    partial_sums,
    product_cycles,
    step_cycles,
)
from iree_codegen.tiles import choose_tile

CORE = Core(lanes=16, registers=32)
SIZES = st.integers(1, 3000)


@given(SIZES, st.integers(1, 16))
def test_parts_cover_the_extent_and_differ_by_one(extent: int, most: int) -> None:
    larger, small, rest = balanced(extent, most)
    assert larger * (small + 1) + rest * small == extent
    assert small + (larger > 0) <= most
    assert larger + rest == -(-extent // most)


@given(SIZES, SIZES, SIZES, st.sampled_from([16, 32]))
def test_tiles_fit_the_registers(rows: int, columns: int, depth: int, registers: int) -> None:
    tile = choose_tile(rows, -(-columns // 16), depth, registers)
    assert accumulators_fit(tile.rows, tile.vectors, tile.ways, registers)
    assert tile.rows <= rows


def test_small_tiles_do_not_wait_for_themselves() -> None:
    assert partial_sums(1, 1, 32) == 8
    assert partial_sums(14, 2, 32) == 1
    assert step_cycles(14, 2, 32) < step_cycles(7, 4, 32) + 1


@given(SIZES, SIZES, st.integers(1, 6000), st.booleans())
def test_schedules_cover_the_product(rows: int, columns: int, depth: int, computed: bool) -> None:
    tile = choose_tile(rows, -(-columns // 16), depth, 32)
    product = Product(
        rows, columns, depth, tile.rows, tile.vectors, None if computed else depth * 4, True, False
    )
    schedule = choose_schedule(product, CORE)
    assert product_cycles(product, schedule, CORE) > 0
    assert schedule.copy_rows or not computed
    if schedule.chunk is not None:
        assert schedule.chunk % 16 == 0 and schedule.chunk < depth
    if schedule.tiles is not None:
        assert 1 <= schedule.tiles <= -(-rows // tile.rows)


def test_a_reduction_is_cut_where_rows_do_not_stay_in_the_cache() -> None:
    assert choose_schedule(Product(128, 768, 768, 13, 2, 768 * 4, True, False), CORE) == Schedule()
    schedule = choose_schedule(Product(128, 768, 3072, 13, 2, 3072 * 4, True, False), CORE)
    assert schedule.chunk is not None and schedule.copy_rows


@pytest.mark.parametrize(
    ("row_bytes", "rows", "expected"),
    [(4096, 13, True), (3072 * 4, 13, True), (768 * 4, 13, False), (4096, 8, False), (100, 16, False)],
)
def test_rows_that_meet_in_one_set(row_bytes: int, rows: int, expected: bool) -> None:
    assert collide(row_bytes, rows) is expected
