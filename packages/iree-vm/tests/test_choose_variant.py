"""Choice of variant: ranks of devices, features, formats, and a report of why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from iree_hal import Device, DeviceInfo, Driver
from iree_hal.builtin_drivers.null.device import NullDevice
from iree_hal.driver import plugins
from iree_hal.errors import HalError
from iree_vm import VmError
from iree_vm.artifact import ExecutableEntry, Manifest, Variant
from iree_vm.choose_variant import choose_variant


class FakeDevice(NullDevice):
    """Runs nothing, but says what it could load and which features it has."""

    def __init__(self, driver: str, formats: Sequence[str], features: Sequence[str]) -> None:
        super().__init__()
        self.driver_name, self.id = driver, f"{driver}:0"
        self.runs, self.has = formats, features

    def loaders(self, formats: Iterable[str]) -> tuple[str, ...]:
        return tuple(f for f in formats if f in self.runs)

    def missing_features(self, features: Sequence[str]) -> list[str]:
        return [f for f in features if f not in self.has]


class FakeDriver(Driver):
    def __init__(
        self, name: str, rank: int, formats: Sequence[str] = (), features: Sequence[str] = (), count: int = 1
    ) -> None:
        self.name = name
        self.infos = tuple(DeviceInfo(f"{name}://{i}", f"{name} {i}", {}, rank + i) for i in range(count))
        self.arguments = (name, formats, features)
        self.opened: list[str] = []

    def devices(self) -> tuple[DeviceInfo, ...]:
        return self.infos

    def create_device(
        self, *, threads: int | None = None, verify: bool | None = None, selector: str = ""
    ) -> Device:
        if selector == "lost":
            raise HalError(1, "lost")
        self.opened.append(selector)
        return FakeDevice(*self.arguments)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make drivers known for one test."""
    known: dict[str, Driver] = {}
    real_get, real_provided = plugins().get, plugins().provided

    def get(hook: str, name: str, what: str) -> Any:
        return known[name] if hook == "iree_drivers" and name in known else real_get(hook, name, what)

    def provided(hook: str) -> Any:
        found = real_provided(hook)
        return (
            {**found, **{name: lambda d=d: d for name, d in known.items()}}
            if hook == "iree_drivers"
            else found
        )

    monkeypatch.setattr(plugins(), "get", get)
    monkeypatch.setattr(plugins(), "provided", provided)

    def install(*drivers: Driver) -> None:
        known.update({driver.name: driver for driver in drivers})

    return install


def manifest(*variants: tuple[str, str, str, tuple[str, ...]]) -> Manifest:
    """(name, driver, format, features) each, with one executable each."""
    return Manifest(
        "m",
        variants=tuple(Variant(n, f"t-{n}", d, x, (i,)) for i, (n, d, _, x) in enumerate(variants)),
        executables=tuple(ExecutableEntry(f"executables/{n}", n, f, (), ()) for n, _, f, _ in variants),
    )


def test_the_higher_rank_wins_and_others_are_not_opened(install: Any) -> None:
    slow, fast = FakeDriver("slow", 1, ["s"]), FakeDriver("fast", 9, ["f"], count=2)
    install(slow, fast)
    choice = choose_variant(manifest(("a", "slow", "s", ()), ("b", "fast", "f", ())))
    assert choice.variant is not None
    assert (choice.variant.name, choice.device.driver_name) == ("b", "fast")
    assert (slow.opened, fast.opened) == ([], ["1"])
    assert [(r.name, r.taken) for r in choice.rows] == [("a", False), ("b", True)]
    assert "not tried: slow://0 ranks 1" in str(choice)
    assert "runs on fast:0" in str(choice)


def test_more_features_win_on_one_device_then_the_order(install: Any) -> None:
    install(FakeDriver("d", 1, ["s"], ["x", "y"]))
    four = manifest(
        ("none", "d", "s", ()),
        ("one", "d", "s", ("x",)),
        ("other", "d", "s", ("y",)),
        ("no", "d", "s", ("x", "y", "z")),
    )
    choice = choose_variant(four)
    assert choice.variant is not None
    assert choice.variant.name == "one"
    assert "lacks z" in next(r.why for r in choice.rows if r.name == "no")


def test_what_does_not_fit_is_passed_over(install: Any) -> None:
    install(FakeDriver("best", 9, ["other"]), FakeDriver("gone", 8, count=0), FakeDriver("ok", 1, ["s"]))
    many = manifest(
        ("a", "best", "s", ()), ("b", "gone", "s", ()), ("c", "unknown", "s", ()), ("d", "ok", "s", ())
    )
    choice = choose_variant(many)
    assert choice.variant is not None
    assert choice.variant.name == "d"
    why = {row.name: row.why for row in choice.rows}
    assert "best here cannot run s" in why["a"]
    assert "no such device" in why["b"]
    assert "unknown" in why["c"]


def test_a_device_asked_for_decides(install: Any) -> None:
    install(FakeDriver("slow", 1, ["s", "f"]), FakeDriver("fast", 9, ["f"]))
    both = manifest(("a", "fast", "f", ("z",)), ("b", "slow", "s", ()), ("c", "fast", "f", ()))
    for device in ("slow", "slow://0", FakeDevice("slow", ["s", "f"], [])):
        choice = choose_variant(both, device)
        assert choice.variant is not None
        assert (choice.variant.name, choice.device.driver_name) == ("b", "slow")
    # A variant for another driver is taken where only that one fits.
    choice = choose_variant(manifest(("c", "fast", "f", ())), "slow")
    assert choice.device.driver_name == "slow"


def test_errors(install: Any) -> None:
    install(FakeDriver("d", 1, ["s"]))
    with pytest.raises(VmError, match=r"IREE-VM-041.*z.*d:0 has it not"):
        choose_variant(manifest(("a", "d", "s", ("z",))))
    with pytest.raises(VmError, match=r"IREE-VM-040.*a: d here cannot run t"):
        choose_variant(manifest(("a", "d", "t", ())))
    with pytest.raises(HalError, match="lost"):
        choose_variant(manifest(("a", "d", "s", ())), "d://lost")
    with pytest.raises(VmError, match=r"IREE-VM-042.*'e://0'"):
        choose_variant(manifest(("a", "d", "s", ())), "e://0")


def test_an_artefact_without_kernels_needs_no_variant() -> None:
    choice = choose_variant(Manifest("m"))
    assert choice.variant is None
    assert str(choice).startswith("variant none on local-task")


def test_a_bad_setting_is_not_taken_for_a_bad_device(monkeypatch: pytest.MonkeyPatch) -> None:
    from iree_base.errors import PluginError

    monkeypatch.setenv("IREE_VERIFY", "maybe")
    with pytest.raises(PluginError, match="IREE_VERIFY=maybe"):
        choose_variant(Manifest("m"))
