"""Drivers: found by name, making independent devices."""

from __future__ import annotations

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


def test_driver_refuses_zero_threads(backend: Backend) -> None:
    with pytest.raises(HalError, match="IREE-HAL-021"):
        iree_hal.create_device(backend.driver, threads=0)


def test_unknown_driver_lists_installed(backend: Backend) -> None:
    with pytest.raises(PluginError, match=backend.driver):
        iree_hal.create_device("no-such-driver")
