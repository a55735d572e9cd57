"""Waves: commands between two barriers are independent; a barrier orders everything around it.

Each test would see a missing barrier as a wrong number: every element is read by another workgroup than
the one that wrote it, over many steps.
"""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.conformance.backend import Context, Recorder, float_bits, words


def test_commands_of_a_wave_share_the_work(context: Context) -> None:
    sizes = [1, 40, 0, 3, context.workgroups(1000), 2]
    recorder = Recorder(len(sizes) + 1, 0)
    for slot, tiles in enumerate(sizes, 1):
        recorder.call("count", (tiles, 1, 1), [recorder.ref(slot, 4 * tiles)])
    outs = [np.zeros(tiles, np.uint32) for tiles in sizes]
    context.run(recorder.finish(), outs)
    assert all((out == 1).all() for out in outs)


@pytest.mark.parametrize("steps", [1, 2, 31, 100])
def test_barriers_order_dispatches(context: Context, steps: int) -> None:
    n = context.workgroups(2000 if steps < 100 else 300)
    recorder = Recorder(2, 0)
    recorder.export_param("arena_bytes", recorder.const(16384))
    halves = [recorder.ref(0, 4 * n), recorder.ref(0, 4 * n, 8192)]
    recorder.copy(recorder.ref(1, 4 * n), halves[0])
    for step in range(steps):
        recorder.barrier()
        recorder.call("reverse", (n, 1, 1), [halves[step % 2], halves[1 - step % 2]], [n])
    recorder.barrier()
    recorder.copy(halves[steps % 2], recorder.ref(1, 4 * n))
    given = words(n)
    out = given.copy()
    context.run(recorder.finish(), [out])
    want = (given[::-1] if steps % 2 else given) + np.uint32(steps)
    assert np.array_equal(out, want)


def test_barriers_order_read_and_overwritten_memory(context: Context) -> None:
    recorder = Recorder(3, 0)
    one, other = recorder.ref(1, 4000), recorder.ref(2, 4000)
    recorder.fill(one, (float_bits(1.0)).to_bytes(4, "little"))
    for _ in range(5):
        recorder.barrier()
        recorder.call("add", (16, 1, 1), [one, one, other], [1000])
        recorder.barrier()
        recorder.call("add", (16, 1, 1), [other, other, one], [1000])
    out = np.full(1000, np.nan, np.float32)
    context.run(recorder.finish(), [out, np.full(1000, np.nan, np.float32)])
    assert (out == 1024).all()


def test_a_reader_is_done_before_its_source_is_written(context: Context) -> None:
    n = context.workgroups(3000)
    recorder = Recorder(3, 0)
    source, target = recorder.ref(1, 4 * n), recorder.ref(2, 4 * n)
    recorder.call("reverse", (n, 1, 1), [source, target], [n])
    recorder.barrier()
    recorder.fill(source, b"\xff")
    given, out = words(n), np.zeros(n, np.uint32)
    changed = given.copy()
    context.run(recorder.finish(), [changed, out])
    assert np.array_equal(out, given[::-1] + 1)
    assert (changed == 0xFFFF_FFFF).all()


def test_the_last_writer_wins(context: Context) -> None:
    n = context.workgroups(3000)
    recorder = Recorder(3, 0)
    target = recorder.ref(1, 4 * n)
    for value in range(8):
        recorder.fill(target, bytes([value]))
        recorder.barrier()
        recorder.copy(recorder.ref(2, 4 * n), target)
        recorder.barrier()
        recorder.call("count", (n, 1, 1), [target])
        recorder.barrier()
    out = np.zeros(n, np.uint32)
    context.run(recorder.finish(), [out, words(n)])
    assert np.array_equal(out, words(n) + 1)


def test_a_wave_reads_what_eight_dispatches_wrote(context: Context) -> None:
    n = context.workgroups(500)
    recorder = Recorder(3, 0)
    stride = 4096
    recorder.export_param("arena_bytes", recorder.const(8 * stride))
    parts = [recorder.ref(0, 4 * n, stride * i) for i in range(8)]
    for part in parts:
        recorder.call("reverse", (n, 1, 1), [recorder.ref(1, 4 * n), part], [n])
    recorder.barrier()
    recorder.call("sum_of_8", (n, 1, 1), [*parts, recorder.ref(2, 4 * n)])
    out = np.zeros(n, np.uint32)
    context.run(recorder.finish(), [words(n), out])
    assert np.array_equal(out, (words(n)[::-1] + 1) * np.uint32(8))


def test_fills_copies_and_dispatches_order_each_other(context: Context) -> None:
    n = context.workgroups(777)
    nbytes = 4 * n
    recorder = Recorder(3, 0)
    recorder.export_param("arena_bytes", recorder.const(16384))
    a, b = recorder.ref(0, nbytes), recorder.ref(0, nbytes, 8192)
    recorder.fill(a, b"\x05\0\0\0")
    recorder.barrier()
    recorder.call("count", (n, 1, 1), [a])
    recorder.barrier()
    recorder.copy(a, b)
    recorder.barrier()
    recorder.fill(a, b"\x09")
    recorder.call("count", (n, 1, 1), [b])
    recorder.barrier()
    recorder.copy(a, recorder.ref(1, nbytes))
    recorder.copy(b, recorder.ref(2, nbytes))
    first, second = np.zeros(n, np.uint32), np.zeros(n, np.uint32)
    context.run(recorder.finish(), [first, second])
    assert (first == 0x09090909).all()
    assert (second == 7).all()


def test_barriers_without_commands_do_nothing(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.barrier()
    recorder.barrier()
    recorder.call("count", (3, 1, 1), [recorder.ref(1, 12)])
    recorder.barrier()
    recorder.barrier()
    out = np.zeros(3, np.uint32)
    context.run(recorder.finish(), [out])
    assert out.tolist() == [1, 1, 1]


def test_empty_recordings_run(context: Context) -> None:
    context.run(Recorder(1, 0).finish())
    recorder = Recorder(1, 0)
    recorder.barrier()
    context.run(recorder.finish())
