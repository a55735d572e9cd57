"""Engines that ``peers.py`` holds take turns, in rounds, and what they took is put into their cells."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import workers
from peers_summary import Cell

SAMPLE_NS = 2e6
"""Calls are repeated until a sample takes this long, so that clocks do not matter."""


PROBE_MS = 0.2
"""How long a process spins between two samples, where the core that all engines share is watched."""
SHARE = 0.9
"""Of the fastest of those probes, but for one in a hundred (jumps of the clock): less is not alone."""


@dataclass
class Turns:
    """How much one engine does in a turn, and what was found: a list for each round."""

    calls: int
    samples: int
    rounds: list[dict[str, list[float]]] = field(default_factory=list)

    def all(self, key: str) -> list[float]:
        return [value for found in self.rounds for value in found[key]]


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


def alone(turns: Mapping[str, Turns]) -> dict[str, list[list[bool]]]:
    """For every engine, round and sample: whether the probes around it found its core free of others."""
    rates = sorted(rate for turn in turns.values() for rate in turn.all("rate"))
    bound = SHARE * rates[int(0.99 * (len(rates) - 1))] if rates else 0.0
    return {
        name: [[rate >= bound for rate in found["rate"]] for found in turn.rounds]
        for name, turn in turns.items()
    }


def take_turns(
    cells: Mapping[str, Cell],
    running: dict[str, workers.Worker],
    quiet: workers.Quiet | None,
    options: argparse.Namespace,
) -> tuple[int, int]:
    """Let them take turns; returns how many rounds there were, and how many of them quiet.

    Where engines share a core, samples are judged one by one, by probes in the process that is measured; a
    round is quiet if each engine has such a sample in it. Where they have several, rounds are judged, by
    probes on all cores before and after. An engine that fails is closed and leaves ``running``.
    """
    turns: dict[str, Turns] = {}
    for name, worker in list(running.items()):
        try:
            turns[name] = plan(worker, options.turn)
        except workers.Failure as failure:
            cells[name].failure = str(failure)
            running.pop(name).close()
    deadline = time.monotonic() + options.patience
    shared = quiet is not None and quiet.shared
    edges: list[list[float]] = []
    count = calm = 0
    wanted = options.quiet if quiet else 0
    while count < options.rounds or (calm < wanted and time.monotonic() < deadline):
        before = quiet.rates() if quiet else []
        if quiet and quiet.core is not None:
            for worker in running.values():
                worker.move(quiet.core)
        order = list(running)
        shift = count % max(1, len(order))
        for name in order[shift:] + order[:shift]:
            worker = running[name]
            worker.resume()
            request = f"time {turns[name].calls} {turns[name].samples}"
            try:
                turns[name].rounds.append(worker.ask(f"{request} {PROBE_MS}" if shared else request))
            except workers.Failure as failure:
                cells[name].failure = str(failure)
                running.pop(name).close()
                del turns[name]
                continue
            worker.pause()
        count += 1
        # The best is known better with every round: those before are judged again.
        if shared:
            by_round = zip(*alone(turns).values(), strict=True)
            calm = sum(all(any(samples) for samples in engines) for engines in by_round)
        elif quiet:
            after = quiet.rates(choose=False)
            edges.append([min(pair) for pair in zip(before, after, strict=True)])
            calm = sum(map(quiet.reached, edges))
    for name, turn in turns.items():
        if not turn.rounds:
            continue
        if shared:
            chosen = [flag for samples in alone(turns)[name] for flag in samples]
        else:
            reached = [quiet is not None and quiet.reached(rates) for rates in edges] or [False] * count
            chosen = [flag for flag, found in zip(reached, turn.rounds, strict=True) for _ in found["cpu_ns"]]
        _fill(cells[name], turn, chosen, shared)
    for name, worker in running.items():
        worker.resume()
        with contextlib.suppress(workers.Failure):
            cells[name].peak_bytes = int(worker.ask("peak")["peak_bytes"])
        worker.pause()
    return count, calm


def _fill(cell: Cell, turn: Turns, chosen: list[bool], shared: bool) -> None:
    """``chosen``: the samples that count for the wall time of quiet ones, and if ``shared`` for CPU time."""
    cpu, wall = turn.all("cpu_ns"), turn.all("wall_ns")
    quiet_cpu = list(itertools.compress(cpu, chosen)) if shared else []
    cell.cpu_us = statistics.median(quiet_cpu or cpu) / 1e3
    cell.cpu_min_us = min(cpu) / 1e3
    cell.wall_us = statistics.median(wall) / 1e3
    if any(chosen):
        cell.quiet_wall_us = statistics.median(itertools.compress(wall, chosen)) / 1e3
    cell.quiet_samples = sum(chosen)
