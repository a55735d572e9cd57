"""Drivers: found by name, listing and making independent devices, saying what is missing."""

from __future__ import annotations

import json

import pytest

import iree_hal
from iree_base.errors import PluginError
from iree_hal.conformance.backend import Backend
from iree_hal.errors import HalError


def test_driver_is_listed(backend: Backend) -> None:
    assert backend.driver in iree_hal.drivers()


def test_driver_name_is_on_its_devices(backend: Backend) -> None:
    device = iree_hal.create_device(backend.driver, **backend.options)
    assert device.driver_name == backend.driver


def test_driver_makes_distinct_devices(backend: Backend) -> None:
    first = iree_hal.create_device(backend.driver, **backend.options)
    second = iree_hal.create_device(backend.driver, **backend.options)
    assert first.id != second.id
    assert first.allocator is not second.allocator


def test_driver_lists_what_it_opens(backend: Backend) -> None:
    infos = iree_hal.devices(backend.driver)
    assert infos
    assert infos == iree_hal.devices(backend.driver)
    for info in infos:
        assert info.path.partition("://")[0] == backend.driver
        assert info.name
        json.dumps(dict(info.facts))
        assert iree_hal.create_device(info.path).driver_name == backend.driver


def test_driver_opens_by_index_and_name(backend: Backend) -> None:
    info = iree_hal.devices(backend.driver)[0]
    for selector in ("0", info.name, info.name.upper()):
        assert iree_hal.create_device(f"{backend.driver}://{selector}").driver_name == backend.driver


@pytest.mark.parametrize("selector", ["99", "no such device"])
def test_unknown_device_lists_the_candidates(backend: Backend, selector: str) -> None:
    name = iree_hal.devices(backend.driver)[0].name
    with pytest.raises(HalError, match="IREE-HAL-026") as caught:
        iree_hal.create_device(f"{backend.driver}://{selector}")
    assert name in str(caught.value)


def test_driver_finds_nothing_missing_where_it_has_a_device(backend: Backend) -> None:
    assert all(found.ok and found.what for found in iree_hal.find_driver(backend.driver).diagnose())


def test_driver_refuses_zero_threads(backend: Backend) -> None:
    with pytest.raises(HalError, match="IREE-HAL-021"):
        iree_hal.create_device(backend.driver, threads=0)


def test_unknown_driver_lists_installed(backend: Backend) -> None:
    with pytest.raises(PluginError, match=backend.driver):
        iree_hal.create_device("no-such-driver")
