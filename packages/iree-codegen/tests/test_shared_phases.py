"""Shared phases, interpreted: whoever comes, in whatever order, every part of every phase is done once."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_codegen.shared_phases import LINE_WORDS, shared_phases, words_bytes
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.types import i64, index
from iree_core_ir.verifier import verify

PHASES = 3


def workgroup(parts: int) -> Any:
    """``run(words, log, own)``: one workgroup that notes in ``log[0]`` how much it did, and behind that how
    often each part was done.
    """
    k = KernelBuilder("run", [memref_of(i64), memref_of(i64), index])
    words, log, own = k.args

    def count(at: Index) -> None:
        before = k.cast("arith.index_cast", k.load(log, at), index)
        k.store(k.cast("arith.index_cast", k.value(k.add(before, 1)), i64), log, at)

    def body(phase: Index, part: Index) -> None:
        count(0)
        count(k.add(k.add(k.mul(phase, parts), part), 1))

    shared_phases(k, words, parts, own, PHASES, 5, body)
    module = ModuleOp.make()
    module.body.block.append(k.finish())
    verify(module)
    return lambda *arguments: Interpreter(module).call("run", *arguments)


def memory(parts: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(words_bytes(parts) // 8, np.int64), np.zeros(1 + PHASES * parts, np.int64)


@pytest.mark.parametrize("parts", [2, 4])
def test_the_first_to_come_does_everything_if_it_is_alone(parts: int) -> None:
    run = workgroup(parts)
    for order in itertools.islice(itertools.permutations(range(parts)), 6):
        words, log = memory(parts)
        for number, own in enumerate(order):
            run(words, log, own)
            assert log[0] == PHASES * parts, number
        assert (log[1:] == 1).all()
        assert (words[::LINE_WORDS] == 2 * PHASES).all()


@pytest.mark.parametrize("own", [0, 1, 2, 3])
@pytest.mark.parametrize("held", [0, 3])
@pytest.mark.parametrize("phase", [0, 1, 2])
def test_nobody_goes_past_a_part_that_is_held(own: int, held: int, phase: int) -> None:
    """Who waits leaves; when the part is done, the next one that comes goes on from there."""
    run = workgroup(4)
    words, log = memory(4)
    words[::LINE_WORDS] = 2 * phase
    words[held * LINE_WORDS] += 1
    run(words, log, own)
    assert log[0] == 3
    assert words[held * LINE_WORDS] == 2 * phase + 1
    words[held * LINE_WORDS] += 1
    log[1 + 4 * phase + held] += 1
    run(words, log, own)
    assert (log[1 + 4 * phase :] == 1).all()
    assert (log[1 : 1 + 4 * phase] == 0).all()
    assert (words[::LINE_WORDS] == 2 * PHASES).all()
