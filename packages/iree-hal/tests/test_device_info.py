"""Device paths: what a selector means, and errors that list the candidates."""

from __future__ import annotations

import pytest

from iree_hal.device_info import (
    OWN_MEMORY_DEVICE,
    SHARED_MEMORY_DEVICE,
    SOFTWARE_DEVICE,
    DeviceInfo,
    match_device,
    split_path,
)
from iree_hal.errors import HalError

UUID = "0123abcd-0000-1111-2222-333344445555"
DEVICES = (
    DeviceInfo("d://0", "Rasterizer (software)", {}, SOFTWARE_DEVICE),
    DeviceInfo("d://1", "Maker Fast 100", {"uuid": UUID}, OWN_MEMORY_DEVICE),
    DeviceInfo("d://2", "Maker Fast 100", {"uuid": UUID.replace("0", "9")}, OWN_MEMORY_DEVICE),
    DeviceInfo("d://3", "Maker Small", {"uuid": ""}, SHARED_MEMORY_DEVICE),
)


@pytest.mark.parametrize(
    ("selector", "position"),
    [
        ("", 1),
        ("0", 0),
        ("3", 3),
        ("small", 3),
        ("SOFTware", 0),
        (UUID, 1),
        (UUID.upper().replace("-", ""), 1),
        (UUID.replace("0", "9"), 2),
    ],
)
def test_selectors(selector: str, position: int) -> None:
    assert match_device(DEVICES, selector, "d") == position


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ("4", "no device fits"),
        ("maker", "several devices fit"),
        ("other", "no device fits"),
        ("-", "no device"),
    ],
)
def test_a_selector_that_fits_not_exactly_one_is_an_error(selector: str, problem: str) -> None:
    with pytest.raises(HalError, match=rf"IREE-HAL-026.*'{selector}' of d: {problem}") as caught:
        match_device(DEVICES, selector, "d")
    assert "2: Maker Fast 100; 3: Maker Small" in str(caught.value)


def test_no_device_at_all() -> None:
    for selector in ("", "0"):
        with pytest.raises(HalError, match="IREE-HAL-026"):
            match_device((), selector, "d")


def test_paths() -> None:
    assert split_path("d") == split_path("d://") == ("d", "")
    assert split_path("d://Maker: small") == ("d", "Maker: small")
