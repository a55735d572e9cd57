"""Engines that ``peers.py`` holds take turns, in rounds, and what they took is put into their cells."""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import workers
from peers_summary import Cell

SAMPLE_NS = 2e6
"""Calls are repeated until a sample takes this long, so that clocks do not matter."""


@dataclass
class Turns:
    """How much one engine does in a turn, and what was found."""

    calls: int
    samples: int
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    quiet_cpu: list[float] = field(default_factory=list)
    quiet_wall: list[float] = field(default_factory=list)


def plan(worker: workers.Worker, seconds: float) -> Turns:
    """Warm up, then choose how many calls a sample and samples a turn have."""
    worker.resume()
    for _ in range(2):
        once = max(float(worker.ask("time 1 1")["wall_ns"][0]), 100.0)
    calls = max(1, round(SAMPLE_NS / once))
    if calls > 1:
        once = max(float(worker.ask(f"time {calls} 1")["wall_ns"][0]), 100.0)
        calls = max(1, round(SAMPLE_NS / once))
    worker.pause()
    return Turns(calls, max(1, min(25, round(seconds * 1e9 / (once * calls)))))


def take_turns(
    cells: Mapping[str, Cell],
    running: dict[str, workers.Worker],
    quiet: workers.Quiet | None,
    options: argparse.Namespace,
) -> tuple[int, int]:
    """Let them take turns; returns how many rounds there were, and how many of them quiet.

    An engine that fails is closed and leaves ``running``.
    """
    turns: dict[str, Turns] = {}
    for name, worker in list(running.items()):
        try:
            turns[name] = plan(worker, options.turn)
        except workers.Failure as failure:
            cells[name].failure = str(failure)
            running.pop(name).close()
    deadline = time.monotonic() + options.patience
    found: list[tuple[list[float], dict[str, dict[str, list[float]]]]] = []
    calm = 0
    wanted = options.quiet if quiet else 0
    while len(found) < options.rounds or (calm < wanted and time.monotonic() < deadline):
        before = quiet.rates() if quiet else []
        if quiet and quiet.core is not None:
            for worker in running.values():
                worker.move(quiet.core)
        order = list(running)
        shift = len(found) % max(1, len(order))
        times: dict[str, dict[str, list[float]]] = {}
        for name in order[shift:] + order[:shift]:
            worker = running[name]
            worker.resume()
            try:
                times[name] = worker.ask(f"time {turns[name].calls} {turns[name].samples}")
            except workers.Failure as failure:
                cells[name].failure = str(failure)
                running.pop(name).close()
                continue
            worker.pause()
        after = quiet.rates(choose=False) if quiet else []
        found.append(([min(pair) for pair in zip(before, after, strict=True)], times))
        # The best is known better with every round: those before are judged again.
        calm = sum(quiet.reached(rates) for rates, _ in found) if quiet else 0
    for rates, times in found:
        silent = quiet is not None and quiet.reached(rates)
        for name, sample in times.items():
            turns[name].cpu += sample["cpu_ns"]
            turns[name].wall += sample["wall_ns"]
            if silent:
                turns[name].quiet_cpu += sample["cpu_ns"]
                turns[name].quiet_wall += sample["wall_ns"]
    for name, worker in running.items():
        cell, turn = cells[name], turns[name]
        if turn.cpu:
            alone = turn.quiet_cpu if quiet is not None and quiet.shared else []
            cell.cpu_us = statistics.median(alone or turn.cpu) / 1e3
            cell.cpu_min_us = min(turn.cpu) / 1e3
            cell.wall_us = statistics.median(turn.wall) / 1e3
        if turn.quiet_wall:
            cell.quiet_wall_us = statistics.median(turn.quiet_wall) / 1e3
        worker.resume()
        with contextlib.suppress(workers.Failure):
            cell.peak_bytes = int(worker.ask("peak")["peak_bytes"])
        worker.pause()
    return len(found), calm
