"""The probes run on this machine's device; what they find is kept, and only ever gets better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import iree_hal
from iree_hal.executor import build as executor_build
from iree_hal.executor.source import MACHINES
from iree_hal.peaks import Peaks, measure, measure_peaks
from iree_hal.peaks import build as peaks_build
from iree_hal.peaks.kernels import VARIANTS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(measure, "LARGEST", 1 << 20)
    monkeypatch.setattr(measure, "ROUNDS", 2)


def test_probes_rebuild_to_the_same_bytes() -> None:
    pytest.importorskip("llvmlite", reason="only a rebuild takes a compiler, the runtime has none")
    record = json.loads(executor_build.BUILT_WITH.read_text(encoding="utf-8"))
    if executor_build.llvm_version() != record["llvm"]:
        pytest.skip(f"built with LLVM {record['llvm']}, this is {executor_build.llvm_version()}")
    kept = {machine: (peaks_build.OBJECTS / f"{machine}.o").read_bytes() for machine in MACHINES}
    assert peaks_build.build() == kept


@pytest.mark.parametrize(("driver", "options"), [("local-sync", {}), ("local-task", {"threads": 2})])
def test_a_device_has_peaks(driver: str, options: dict[str, int]) -> None:
    device = iree_hal.create_device(driver, **options)
    peaks = measure_peaks(device, threads=options.get("threads", 1))
    assert peaks is not None
    assert peaks.flops > 0
    assert [size for size, _ in peaks.bandwidths] == [256 << 10, 1 << 20]
    assert measure_peaks(device, threads=options.get("threads", 1)) == peaks


def test_a_device_without_native_code_has_none() -> None:
    assert measure_peaks(iree_hal.create_device("null"), threads=1) is None


def test_every_variant_of_this_machine_runs() -> None:
    from iree_hal import platform

    device = iree_hal.create_device("local-sync")
    here = platform.current().cpu_features()
    for variant in VARIANTS[platform.machine()]:
        if all(feature in here for feature in variant.features):
            assert measure._Probe(device, 1, variant).run().flops > 0


def test_measuring_again_keeps_the_better() -> None:
    device = iree_hal.create_device("local-sync")
    first = measure_peaks(device, threads=1)
    assert first is not None
    better = Peaks(1e18, tuple((size, 1.0) for size, _ in first.bandwidths))
    measure._write(measure._name(1), better)
    again = measure_peaks(device, threads=1, again=True)
    assert again is not None
    assert again.flops == 1e18
    assert all(rate > 1.0 for _, rate in again.bandwidths)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"flops": 1, "bandwidths": []}', '{"flops": -1, "bandwidths": [[1, 1]]}'])  # fmt: skip
def test_damaged_figures_are_measured_again(text: str) -> None:
    path = measure.disk_cache().directory / measure._name(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    peaks = measure_peaks(iree_hal.create_device("local-sync"), threads=1)
    assert peaks is not None
    assert json.loads(path.read_text())["flops"] == peaks.flops


def test_bandwidth_lies_between_the_sizes_measured() -> None:
    peaks = Peaks(1.0, ((1 << 20, 100.0), (1 << 22, 50.0), (1 << 24, 10.0)))
    assert peaks.bandwidth(1) == pytest.approx(100.0)
    assert peaks.bandwidth(1 << 22) == pytest.approx(50.0)
    assert 50.0 < peaks.bandwidth(1 << 21) < 100.0
    assert peaks.bandwidth(1 << 40) == pytest.approx(10.0)
    rates = [peaks.bandwidth(size) for size in np.geomspace(1, 1e9, 50)]
    assert rates == sorted(rates, reverse=True)
