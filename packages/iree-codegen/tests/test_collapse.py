"""Loops merge exactly when all memory runs through them as one."""

from __future__ import annotations

from iree_codegen import indexing
from iree_codegen.collapse import merge
from iree_codegen.indexing import Var


def variables() -> list[Var]:
    return [Var("n", 2), Var("c", 3), Var("h", 4), Var("w", 5)]


def test_dense_memory_merges_completely() -> None:
    loops = variables()
    dense = indexing.linearize([indexing.of(v) for v in loops], (2, 3, 4, 5))
    merged, replaced = merge(loops, [dense, dense])
    assert [v.extent for v in merged] == [120]
    assert set(replaced) == set(loops)


def test_a_value_per_channel_splits_around_the_channel() -> None:
    loops = variables()
    dense = indexing.linearize([indexing.of(v) for v in loops], (2, 3, 4, 5))
    channel = indexing.of(loops[1])
    merged, _ = merge(loops, [dense, channel])
    assert [v.extent for v in merged] == [2, 3, 20]


def test_fixed_variables_stay() -> None:
    loops = variables()
    dense = indexing.linearize([indexing.of(v) for v in loops], (2, 3, 4, 5))
    merged, _ = merge(loops, [dense], fixed={loops[3]})
    assert merged[-1] is loops[3]


def test_short_repetitions_merge_into_vectors() -> None:
    loops = [Var("h", 8), Var("w", 6), Var("twice", 2)]
    result = indexing.linearize([indexing.of(v) for v in loops], (8, 6, 2))
    source = indexing.linearize([indexing.of(v) for v in loops[:2]], (8, 6))
    assert [v.extent for v in merge(loops, [result, source])[0]] == [48, 2]
    assert [v.extent for v in merge(loops, [result, source], lanes=16)[0]] == [96]


def test_a_loop_that_never_runs_repeats_nothing() -> None:
    loops = [Var("r", 3), Var("c", 0)]
    result = indexing.linearize([indexing.of(v) for v in loops], (3, 0))
    assert [v.extent for v in merge(loops, [result, indexing.of(loops[0])], lanes=16)[0]] == [3, 0]
