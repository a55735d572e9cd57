"""Drivers and loaders through plugins."""

from __future__ import annotations

import pytest

import iree_hal
from iree_base.errors import PluginError
from iree_hal import Device, DeviceInfo, Driver
from iree_hal.driver import executable_loaders, plugins
from iree_hal.errors import HalError


def test_own_drivers_are_listed() -> None:
    assert {"null", "local-sync", "local-task"} <= set(iree_hal.drivers())


def test_one_loader_serves_its_formats() -> None:
    loaders = executable_loaders()
    assert sum("elf-x86_64" in loader.formats for loader in loaders) == 1


def test_hooks_of_own_plugin_name_what_they_own() -> None:
    iree_hal.drivers()
    record = next(r for r in plugins().records if r.distribution == "iree-hal")
    assert record.status == "ok"
    assert record.owns["iree_drivers"] == ["local-sync", "local-task", "null"]


@pytest.mark.parametrize("threads", [0, -1, 100_000])
def test_thread_counts_are_checked(threads: int) -> None:
    with pytest.raises(HalError, match="IREE-HAL-021"):
        iree_hal.create_device("local-task", threads=threads)


def test_local_sync_has_one_thread() -> None:
    iree_hal.create_device("local-sync", threads=1)
    with pytest.raises(HalError, match=r"IREE-HAL-021.*local-task"):
        iree_hal.create_device("local-sync", threads=2)


@pytest.mark.parametrize("name", ["null", "local-sync", "local-task"])
def test_each_own_driver_has_one_device_and_its_path_opens_it(name: str) -> None:
    (info,) = iree_hal.devices(name)
    assert info in iree_hal.devices()
    for path in (info.path, name, f"{name}://", f"{name}://0", f"{name}://{info.name[:4]}"):
        assert iree_hal.create_device(path).driver_name == name
    with pytest.raises(HalError, match=r"IREE-HAL-026.*'7' of .*no device fits"):
        iree_hal.create_device(f"{name}://7")
    assert all(d.ok for d in iree_hal.find_driver(name).diagnose())


def test_the_processors_rank_above_what_only_checks() -> None:
    rank = {info.path: info.rank for info in iree_hal.devices()}
    assert rank["local-task"] > rank["local-sync"] > rank["null"]


def test_devices_of_a_driver_that_is_not_installed() -> None:
    with pytest.raises(PluginError, match="nothing-of-this-name"):
        iree_hal.devices("nothing-of-this-name")


def test_a_driver_that_fails_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mistaken(Driver):
        name = "mistaken"

        def devices(self) -> tuple[DeviceInfo, ...]:
            raise ZeroDivisionError("on purpose")

        def create_device(self, **options: object) -> Device:  # type: ignore[override]
            raise AssertionError("listing opens nothing")

    real = plugins().provided
    more = {"iree_drivers": {"mistaken": Mistaken}}
    monkeypatch.setattr(plugins(), "provided", lambda hook: {**real(hook), **more.get(hook, {})})
    assert {info.path for info in iree_hal.devices()} >= {"null", "local-sync", "local-task"}
    with pytest.raises(ZeroDivisionError):
        iree_hal.devices("mistaken")
