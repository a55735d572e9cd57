"""Peaks of a device: multiply-adds a second, and bytes a second by how much memory is gone over.

Kernels built into the package run on the device itself, with its threads, so the figures are what compiled
code could reach there at best. They are kept in a file per machine and number of threads; measuring again
keeps the better of both, since other work on the machine can only make a figure worse.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np

from iree_base.cache_directory import cache_directory
from iree_base.disk_cache import DiskCache
from iree_base.records import record
from iree_hal import platform
from iree_hal.device import Device
from iree_hal.errors import HalError
from iree_hal.executable import ExecutableSpec, ExportSpec
from iree_hal.peaks.kernels import CHAINS, READ_STEP, VARIANTS, Variant
from iree_hal.recording import BindingRef, Recording, RecordingBuilder

SMALLEST, LARGEST = 256 << 10, 512 << 20
"""Working sets that are read: powers of 4 from the one to the other."""
ROUNDS = 7
FMA_STEPS = 20_000
PARTS_PER_THREAD = 8
FORMAT = 1
NAMES = r"peaks-[0-9a-f]{32}\.json"
MAX_BYTES = 1 << 20


@record(frozen=True)
class Peaks:
    """``flops`` a second in f32, and (working set in bytes, bytes a second), ascending."""

    flops: float
    bandwidths: tuple[tuple[int, float], ...]

    def bandwidth(self, working_set: float) -> float:
        """Bytes a second for going over so much memory again and again; between two sizes that were
        measured, in proportion to the logarithms.
        """
        sizes = [math.log(max(size, 1)) for size, _ in self.bandwidths]
        rates = [math.log(rate) for _, rate in self.bandwidths]
        return math.exp(float(np.interp(math.log(max(working_set, 1)), sizes, rates)))

    def better(self, other: Peaks) -> Peaks:
        """The larger figure of both each time."""
        ours, theirs = dict(self.bandwidths), dict(other.bandwidths)
        sizes = sorted(ours.keys() | theirs.keys())
        rates = tuple((size, max(ours.get(size, 0.0), theirs.get(size, 0.0))) for size in sizes)
        return Peaks(max(self.flops, other.flops), rates)


def measure_peaks(device: Device, *, threads: int, again: bool = False) -> Peaks | None:
    """The peaks of ``device``, which runs ``threads`` threads; None when it runs no native code of this
    machine. What is kept is used unless ``again``.
    """
    variant = _variant()
    if variant is None or not device.loaders([f"elf-{platform.machine()}"]):
        return None
    name = _name(threads)
    kept = _read(name)
    if kept is not None and not again:
        return kept
    found = _Probe(device, threads, variant).run()
    if kept is not None:
        found = found.better(kept)
    _write(name, found)
    return found


def _variant() -> Variant | None:
    try:
        machine, here = platform.machine(), platform.current().cpu_features()
    except HalError:
        return None
    return next((v for v in VARIANTS.get(machine, ()) if all(f in here for f in v.features)), None)


class _Probe:
    def __init__(self, device: Device, threads: int, variant: Variant) -> None:
        self.device = device
        self.variant = variant
        self.parts = PARTS_PER_THREAD * threads
        machine = platform.machine()
        exports = (
            ExportSpec(f"fma_{variant.name}", 0, 1, ("read",)),
            ExportSpec(f"read_{variant.name}", 0, 2, ("read", "write")),
        )
        data = (files("iree_hal.peaks") / "objects" / f"{machine}.o").read_bytes()
        self.executable = device.load_executable(
            ExecutableSpec(f"elf-{machine}", data, exports, variant.features, "peaks")
        )

    def run(self) -> Peaks:
        """Measure everything."""
        return Peaks(self.flops(), tuple(self.bandwidths()))

    def _recording(self, export: int, n_bindings: int, constants: list[int], lengths: list[int]) -> Recording:
        builder = RecordingBuilder(n_bindings + 1, 0)
        zero, one, parts = builder.const(0), builder.const(1), builder.const(self.parts)
        words = [(builder.const(value), "lo") for value in constants]
        refs = [BindingRef(i + 1, zero, builder.const(n)) for i, n in enumerate(lengths)]
        builder.dispatch(0, export, (parts, one, one), words, refs)
        return builder.finish()

    def _seconds(self, recording: Recording, bindings: list[Any]) -> float:
        """The least time of some runs."""
        command_buffer = self.device.create_command_buffer(recording, [self.executable])
        best = math.inf
        for _ in range(ROUNDS):
            start = time.perf_counter()
            self.device.execute(command_buffer, bindings)
            best = min(best, time.perf_counter() - start)
        return best

    def flops(self) -> float:
        """Two a multiply-add."""
        lanes = self.variant.lanes
        values = np.full(2 * lanes, 0.25, np.float32)
        recording = self._recording(0, 1, [FMA_STEPS], [values.nbytes])
        return 2 * lanes * CHAINS * FMA_STEPS * self.parts / self._seconds(recording, [values])

    def bandwidths(self) -> list[tuple[int, float]]:
        """(working set, bytes a second), ascending."""
        largest = min(LARGEST, _memory_bytes() // 4)
        memory = np.ones(largest // 8, np.uint64)
        out = np.zeros(self.parts, np.uint32)
        result = []
        size = SMALLEST
        while size <= largest:
            part = size // self.parts // READ_STEP * READ_STEP
            if part:
                total = part * self.parts
                times = max(1, (8 << 20) // total)
                recording = self._recording(1, 2, [part, times], [total, out.nbytes])
                result.append((size, total * times / self._seconds(recording, [memory, out])))
            size *= 4
        return result


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 30


def disk_cache() -> DiskCache:
    """The files where figures are kept: ``hal`` in ``$IREE_CACHE_DIR``, else ``iree-hal`` of the user."""
    return DiskCache(cache_directory("iree-hal", "hal"), NAMES, "peaks of devices", MAX_BYTES)


def _name(threads: int) -> str:
    system = platform.current()
    facts = [platform.machine(), sorted(system.cpu_features()), system.cpu_count(), _memory_bytes(), threads]
    digest = hashlib.blake2b(json.dumps([FORMAT, *facts]).encode(), digest_size=16).hexdigest()
    return f"peaks-{digest}.json"


def _read(name: str) -> Peaks | None:
    try:
        value = json.loads(disk_cache().read(name) or b"")
        peaks = Peaks(float(value["flops"]), tuple((int(s), float(r)) for s, r in value["bandwidths"]))
    except (ValueError, KeyError, TypeError):
        return None
    figures = [peaks.flops, *(rate for _, rate in peaks.bandwidths)]
    return peaks if peaks.bandwidths and all(0 < f < math.inf for f in figures) else None


def _write(name: str, peaks: Peaks) -> None:
    """Keep ``peaks``; where that fails, the next profile measures again."""
    files, content = disk_cache(), json.dumps(asdict(peaks)).encode()
    if files.write(name, content):
        files.settle(len(content))
