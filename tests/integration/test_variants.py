"""One artefact for several targets: the same model on either device, the best taken where none is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest

import iree_flow
import iree_hal
import iree_vm
import probe
from iree_base.errors import PluginError
from iree_core_ir.plugins import target_getters

OTHERS = {"reference": {}, "vulkan-spirv": {"target_vulkan_profile": "device"}}
"""Targets beside the host's, with what compiles them for the device of this machine."""


@pytest.fixture(scope="module", params=sorted(OTHERS))
def other(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A target and its driver."""
    name: str = request.param
    if name not in target_getters():
        pytest.skip(f"the target {name} is not installed")
    driver = target_getters()[name]().driver
    try:
        found = iree_hal.devices(driver)
    except PluginError as error:
        pytest.skip(str(error))
    if not found:
        lacks = "; ".join(d.cause for d in iree_hal.find_driver(driver).diagnose() if not d.ok)
        pytest.skip(f"no {driver} device: {lacks}")
    return name, driver


@pytest.fixture(scope="module")
def both(
    other: tuple[str, str], network: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """A network and its artefact for the host and the other target."""
    name, model = network
    path = tmp_path_factory.mktemp("variants") / f"{name}.vmfb"
    iree_flow.compile(model, target=["llvm-cpu", other[0]], **OTHERS[other[0]]).save(path)
    return name, path


def outputs(module: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    results = module.main(*inputs)
    return list(results) if isinstance(results, tuple) else [results]


def test_both_devices_agree(other: tuple[str, str], both: tuple[str, Path]) -> None:
    name, path = both
    here, there = iree_vm.load(path, device="local-task"), iree_vm.load(path, device=other[1])
    assert (here.choice.variant.name, there.choice.variant.name) == ("llvm-cpu", other[0])
    assert f"it was made for {other[1]}" in str(here.choice)
    for seed in range(2):
        inputs = networks.feed(name, seed)
        for a, b in zip(outputs(here, inputs), outputs(there, inputs), strict=True):
            assert probe.error(a, b) <= probe.TOLERANCE


def test_the_best_device_is_taken(other: tuple[str, str], both: tuple[str, Path]) -> None:
    module = iree_vm.load(both[1])
    rank = {info.path: info.rank for driver in ("local-task", other[1]) for info in iree_hal.devices(driver)}
    best = max(rank, key=lambda path: rank[path])
    assert best.startswith(module.device.driver_name)
    assert [row.taken for row in module.choice.rows].count(True) == 1
    assert all(row.why for row in module.choice.rows)


def test_what_neither_transforms_is_there_once(other: tuple[str, str], both: tuple[str, Path]) -> None:
    artifact = iree_vm.Artifact.open(both[1])
    artifact.verify()
    host, device = (set(v.constants) for v in artifact.manifest.variants)
    assert host & device
    assert host | device == set(range(len(artifact.manifest.constants)))


def test_up_to_placement_the_text_is_the_same(
    other: tuple[str, str], network: tuple[str, Path], tmp_path: Path
) -> None:
    texts = set()
    for targets in (["llvm-cpu", other[0]], ["llvm-cpu"], [other[0]]):
        stopped = iree_flow.compile(
            network[1],
            target=targets,
            compile_to="placement",
            **(OTHERS[other[0]] if len(targets) > 1 else {}),
        )
        texts.add(str(stopped.module))
    assert len(texts) == 1


def test_same_bytes_again_and_through_a_phase_file(
    other: tuple[str, str], network: tuple[str, Path], both: tuple[str, Path], tmp_path: Path
) -> None:
    whole = both[1].read_bytes()
    options = {"target": ["llvm-cpu", other[0]], **OTHERS[other[0]]}
    for phase in ("placement", "dispatch-creation", "executable"):
        iree_flow.compile(network[1], compile_to=phase, **options).save(tmp_path / "left.mlir")
        iree_flow.compile(tmp_path / "left.mlir", compile_from=phase, **options).save(tmp_path / "again.vmfb")
        assert (tmp_path / "again.vmfb").read_bytes() == whole, phase
