"""The programs of the stress tests, each run in a process of its own: ``python programs.py NAME ARGUMENTS``.

A program ends with status 0 and no output, or says what went wrong. Being a process, it may fork, exit with
live workers or hang without taking the test run along.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from typing import Any

import numpy as np

from iree_hal.conformance.backend import Backend, Context, Recorder, ramp
from iree_hal.executor.pool import pool
from iree_hal.executor.structs import POOL


def _context(threads: int, spin: int = 2000) -> Context:
    """A device whose workers are always about to take a tile: they spin long before they sleep."""
    context = Context(Backend("local-task", {"threads": threads}))
    pool().ensure(threads - 1)
    memory = POOL.ctype.from_address(pool().address)
    memory.worker_spin = memory.leased_spin = spin
    return context


def _eager(command_buffer: Any) -> None:
    """Give the command buffer a frame that shares out every wave, however small."""
    frame = command_buffer.new_frame()
    frame.state.threshold = 1
    command_buffer.frames.append(frame)


def _counting(context: Context, seed: int, n_dispatches: int) -> tuple[Any, Any]:
    """A recording of counting dispatches of random sizes in random waves, and its counters."""
    rng = random.Random(seed)
    recorder = Recorder(2, 0)
    position = 0
    for _ in range(n_dispatches):
        tiles = rng.choice(
            (0, 1, 1, 2, 3, rng.randrange(40), rng.randrange(200) if rng.random() < 0.1 else 4)
        )
        recorder.call("count", (tiles, 1, 1), [recorder.ref(1, 4 * tiles, 4 * position)])
        position += tiles
        if rng.random() < 0.8:
            recorder.barrier()
    command_buffer = context.command_buffer(recorder.finish())
    _eager(command_buffer)
    return command_buffer, np.zeros(position, np.uint32)


def dispatches(threads: str, spin: str, total: str) -> None:
    """``total`` dispatches of random tile counts, every tile exactly once.

    Workers that spin long race for tickets; ones that do not spin race between sleeping and waking.
    """
    context = _context(int(threads), int(spin))
    per_run = 1000
    buffers = [_counting(context, seed, per_run) for seed in range(4)]
    runs = -(-int(total) // (per_run * len(buffers)))
    recorder = Recorder(2, 0)
    recorder.call("worker_ids", (100, 1, 1), [recorder.ref(1, 400)])
    sample, workers = context.command_buffer(recorder.finish()), np.zeros(100, np.uint32)
    _eager(sample)
    shared = np.zeros(int(threads), np.int64)
    for _ in range(runs):
        for command_buffer, counters in buffers:
            context.device.execute(command_buffer, [counters])
        context.device.execute(sample, [workers])
        shared += np.bincount(workers, minlength=int(threads))
    for command_buffer, counters in buffers:
        assert (counters == runs).all(), np.unique(counters)
        assert command_buffer.frames[0].state.threshold == 1
    assert runs < 100 or shared[1:].any(), "no worker ever took a tile"
    if "IREE_STRESS_REPORT" in os.environ:
        print(f"{runs * len(buffers) * per_run} dispatches, sampled tiles per thread {shared.tolist()}")


def _adding(context: Context, n: int) -> Any:
    recorder = Recorder(4, 0)
    refs = [recorder.ref(slot, 4 * n) for slot in (1, 2, 3)]
    recorder.call("add", (-(-n // 64), 1, 1), refs, [n])
    command_buffer = context.command_buffer(recorder.finish())
    _eager(command_buffer)
    return command_buffer


def _check_add(context: Context, command_buffer: Any, n: int, factor: int) -> None:
    out = np.empty(n, np.float32)
    context.device.execute(command_buffer, [factor * ramp(n), ramp(n), out])
    assert np.array_equal(out, (factor + 1) * ramp(n)), "wrong sum"


def _in_threads(functions: list[Any]) -> None:
    """Run functions at the same time; the first exception of any is raised."""
    errors: list[BaseException] = []

    def guard(function: Any) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guard, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def callers(threads: str, repetitions: str) -> None:
    """Two modules and four calling threads."""
    contexts = [_context(int(threads)), _context(int(threads))]
    sizes = (1000, 5000)
    modules = [(c, _adding(c, n), n) for c, n in zip(contexts, sizes, strict=True)]

    def call(number: int) -> None:
        context, command_buffer, n = modules[number % 2]
        for i in range(20 * int(repetitions)):
            _check_add(context, command_buffer, n, number + i % 3)

    _in_threads([lambda number=number: call(number) for number in range(4)])


def fork(threads: str, repetitions: str) -> None:
    """Fork while other threads run; child and parent go on computing."""
    context = _context(int(threads))
    command_buffer = _adding(context, 5000)
    stop = threading.Event()

    def busy() -> None:
        mine = _adding(context, 3000)
        while not stop.is_set():
            _check_add(context, mine, 3000, 2)

    workers = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    for i in range(int(repetitions)):
        _check_add(context, command_buffer, 5000, i % 5)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for factor in range(3):
                    _check_add(context, command_buffer, 5000, factor)
                    _check_add(_context(int(threads)), command_buffer, 5000, factor)
                status = 0
            finally:
                os._exit(status)
        _wait_for(child)
    stop.set()
    for worker in workers:
        worker.join()


def _wait_for(child: int) -> None:
    end = time.monotonic() + 60
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert status == 0, f"child ended with {status}"
            return
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            raise AssertionError("the child hangs")
        time.sleep(0.001)


def unload(threads: str, repetitions: str) -> None:
    """Executables come and go while other threads run theirs."""
    context = _context(int(threads))
    kept = _adding(context, 4000)

    def steady() -> None:
        for i in range(20 * int(repetitions)):
            _check_add(context, kept, 4000, i % 3)

    def come_and_go() -> None:
        for i in range(int(repetitions)):
            own = Context.__new__(Context)
            own.backend, own.device = context.backend, context.device
            own.executable = own.device.load_executable(own.backend.executable())
            _check_add(own, _adding(own, 1000), 1000, i % 4)
            del own
            gc.collect(0)

    _in_threads([steady, steady, come_and_go, come_and_go])


def interrupt(threads: str, repetitions: str) -> None:
    """Ctrl-C ends a long run soon, and the device works afterwards."""
    context = _context(int(threads))
    recorder = Recorder(1, 0)
    # About a minute if nobody stops it.
    recorder.call("spin", (100_000, 1, 1), constants=[1_000_000])
    long = context.command_buffer(recorder.finish())
    adding = _adding(context, 2000)
    for _ in range(int(repetitions)):
        timer = threading.Timer(0.02 + 0.02 * random.random(), os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        start = time.monotonic()
        try:
            context.device.execute(long, [])
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError(f"not interrupted after {time.monotonic() - start:.3f} s")
        assert time.monotonic() - start < 20, "interrupted too late"
        timer.join()
        _check_add(context, adding, 2000, 1)


def leave(threads: str, how: str) -> None:
    """End the interpreter in different ways while workers live and a daemon thread computes."""
    context = _context(int(threads))
    command_buffer = _adding(context, 4000)
    _check_add(context, command_buffer, 4000, 1)
    if how == "idle":
        return

    def busy() -> None:
        own = _adding(context, 2000)
        while True:
            _check_add(context, own, 2000, 1)

    thread = threading.Thread(target=busy, daemon=True)
    thread.start()
    time.sleep(0.01 * random.random())
    _check_add(context, command_buffer, 4000, 2)
    if how == "exit":
        sys.exit(0)
    elif how == "hard":
        os._exit(0)
    elif how == "fork":
        child = os.fork()
        if child == 0:
            _check_add(context, command_buffer, 4000, 3)
            sys.exit(0)
        _wait_for(child)
    else:
        assert how == "end"


if __name__ == "__main__":
    # Forking with threads is what is tested here; newer Pythons warn of it.
    warnings.simplefilter("ignore", DeprecationWarning)
    # A background job inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    name, *arguments = sys.argv[1:]
    globals()[name](*arguments)
