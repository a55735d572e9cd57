"""The cost model: what it promises about parts, tiles and schedules."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iree_codegen.cost_model import (
    Core,
    Product,
    Schedule,
    accumulators_fit,
    balanced,
    choose_schedule,
    idle,
    partial_sums,
    product_cycles,
    step_cycles,
    together,
    weighed,
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
    product = Product(rows, columns, depth, tile.rows, tile.vectors, computed, chunks=True, one_panel=False)
    schedule = choose_schedule(product, CORE)
    assert product_cycles(product, schedule, CORE) > 0
    assert schedule.copy_rows or not computed
    if schedule.chunk is not None:
        assert schedule.chunk % 16 == 0 and schedule.chunk < depth
    if computed:
        tiles = schedule.tiles or -(-rows // tile.rows)
        assert tiles == 1 or tiles * tile.rows * depth * 4 <= CORE.l2_bytes // 2
    if schedule.tiles is not None:
        assert 1 <= schedule.tiles <= -(-rows // tile.rows)


def test_a_reduction_is_cut_where_rows_do_not_stay_in_the_cache() -> None:
    assert choose_schedule(Product(128, 768, 768, 9, 3, False, True, False), CORE) == Schedule()
    assert choose_schedule(Product(128, 768, 3072, 9, 3, False, True, False), CORE).chunk is not None
    assert choose_schedule(Product(1, 768, 3072, 1, 4, False, True, False), CORE).chunk is None


def test_rows_are_done_in_blocks_where_a_reduction_cannot_be_cut() -> None:
    schedule = choose_schedule(Product(2048, 768, 768, 9, 3, False, False, False), CORE)
    assert schedule.tiles is not None and schedule.chunk is None


@given(st.integers(1, 500), st.floats(1, 1e6))
def test_workgroups_take_all_units_and_are_worth_it(units: int, cycles: float) -> None:
    each = together(units, cycles)
    assert 1 <= each <= units
    assert each * cycles >= 8192 or each == units
    if units % 2 == 0 and cycles > 8192:
        assert each == 1
        assert idle(units) == 0


def test_what_two_threads_lose() -> None:
    assert idle(1) == 1
    assert idle(2) == 0
    assert round(idle(3), 3) == 0.333
    # Two of three parts, the last of which is a third of the others.
    assert round(idle(3, 3, 7), 3) == 0.714
    assert idle(3, 7, 7) == 1
    assert weighed(1.0, 0.5, 8) < weighed(1.0, 0.5, 2) < weighed(1.0, 0.5 * (1 + idle(7)), 7)


@given(st.integers(1, 4000), st.booleans())
def test_panels_are_shared_evenly(panels: int, computed: bool) -> None:
    width = 32
    product = Product(197, panels * width, 512, 14, 2, computed, chunks=False, one_panel=False)
    groups = -(-panels // choose_schedule(product, CORE).panels)
    assert groups in (1, panels) or computed
    assert groups < 3 or not computed or idle(groups, -(-panels // groups), panels) < 0.2
