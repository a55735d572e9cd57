"""The executor under stress: nothing hangs, nothing crashes, every tile runs exactly once.

Quick runs repeat each program a few times, the ``slow`` ones as often as it takes to trust it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).with_name("programs.py")
QUICK, MANY = 3, 200
slow = pytest.mark.slow


def run(*arguments: object, timeout: float = 1800) -> None:
    """One program in a process of its own. Fails with what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", str(PROGRAMS), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "IREE_VERIFY": "0"},
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        pytest.fail(f"hangs: {arguments}\n{output}")
    if "IREE_STRESS_REPORT" in os.environ:
        print(output, end="")
        output = ""
    assert (process.returncode, output) == (0, "")


@pytest.mark.parametrize("total", [20_000, pytest.param(10_000_000, marks=slow)])
@pytest.mark.parametrize(("threads", "spin"), [(2, 20_000), (8, 2000), (8, 0)])
def test_every_tile_runs_exactly_once(threads: int, spin: int, total: int) -> None:
    run("dispatches", threads, spin, total)


@pytest.mark.parametrize("repetitions", [QUICK, pytest.param(MANY, marks=slow)])
@pytest.mark.parametrize("threads", [2, 8])
@pytest.mark.parametrize("program", ["callers", "fork", "unload", "interrupt"])
def test_program_survives_repetition(program: str, threads: int, repetitions: int) -> None:
    run(program, threads, repetitions)


@pytest.mark.parametrize("repetitions", [1, pytest.param(MANY, marks=slow)])
@pytest.mark.parametrize("how", ["idle", "end", "exit", "hard", "fork"])
def test_interpreter_ends_with_live_workers(how: str, repetitions: int) -> None:
    for i in range(repetitions):
        run("leave", (2, 8, 4)[i % 3], how, timeout=120)
