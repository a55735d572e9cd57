"""Which variant of an artefact runs, and where: the best match for this machine or for the device asked for.

A variant fits a device that can load the formats of all its executables and has the features they require.
Among those that fit, the device of the higher rank wins (``iree_hal.device_info``), then the variant made
for the device's own driver, then the one that uses more features, then the order in the artefact. Devices
are opened in that order, so one that is not needed is not opened.
"""

from __future__ import annotations

from collections.abc import Iterator

from iree_base import debug
from iree_base.errors import IreeError
from iree_base.records import record
from iree_hal import Device, create_device, devices, drivers
from iree_hal.device_info import PROCESSOR, match_device, split_path
from iree_vm.artifact.manifest import Manifest, Variant
from iree_vm.errors import VmError

DEFAULT_DRIVER = "local-task"
"""For artefacts without kernels."""


@record(frozen=True)
class VariantRow:
    """What became of one variant."""

    name: str
    target: str
    taken: bool
    why: str


@record(frozen=True)
class VariantChoice:
    """The outcome; ``variant`` is None for one without kernels, ``rows`` keep the artefact's order."""

    variant: Variant | None
    device: Device
    rows: tuple[VariantRow, ...] = ()

    def __str__(self) -> str:
        lines = [f"  {'*' if r.taken else '-'} {r.name} ({r.target}): {r.why}" for r in self.rows]
        return "\n".join(
            [f"variant {self.variant.name if self.variant else 'none'} on {self.device.id}", *lines]
        )


def required_features(manifest: Manifest, variant: Variant) -> tuple[str, ...]:
    """The device features a variant needs, of its executables too."""
    names = dict.fromkeys(variant.features)
    for index in variant.executables:
        names.update(dict.fromkeys(manifest.executables[index].features))
    return tuple(name.lstrip("+") for name in names if not name.startswith("-"))


def choose_variant(
    manifest: Manifest, device: str | Device | None = None, threads: int | None = None
) -> VariantChoice:
    """Pick; ``device`` and ``threads`` as for ``load``. Raises VmError 40-42, HalError 26 for a selector that
    fits no device, PluginError 6 for a setting in the environment that says nothing.
    """
    debug.verifying()  # said as what it is, not as a device that cannot be opened
    if isinstance(device, Device) and threads is not None:
        raise VmError(42, "threads= has no effect on a device object", hint="give it to create_device")
    if isinstance(device, str) and split_path(device)[0] not in drivers():
        raise VmError(42, f"'{device}'", cause="installed: " + ", ".join(drivers()), hint="iree devices")
    opened = _Devices(device, threads)
    if not manifest.variants:
        return VariantChoice(None, opened.open(DEFAULT_DRIVER))
    why: dict[str, str] = {}
    lacking: list[tuple[str, list[str], Device]] = []
    for variant, path in _in_order(manifest, device, why):
        try:
            target = opened.open(path)
        except IreeError as error:
            if device is not None:
                raise
            why[variant.name] = f"{error.summary}: {error.detail}"
            continue
        problem = _formats_missing(manifest, variant, target)
        missing = [] if problem else target.missing_features(required_features(manifest, variant))
        if missing:
            problem = f"{target.driver_name} here lacks {', '.join(missing)}"
            lacking.append((variant.name, missing, target))
        if problem:
            why[variant.name] = problem
            continue
        why[variant.name] = f"runs on {target.id}"
        return VariantChoice(variant, target, _rows(manifest, variant, why))
    if lacking:
        name, missing, target = lacking[-1]
        raise VmError(
            41,
            ", ".join(missing),
            source=f"variant '{name}'",
            cause=f"{target.id} has it not; " + _reasons(why),
            hint="compile for this machine, or for the oldest it must run on (--target-cpu and the like)",
        )
    raise VmError(40, _reasons(why), hint="compile for this machine, or install the driver's package")


class _Devices:
    """Opens each path once; a device that was given stands for all paths."""

    def __init__(self, given: str | Device | None, threads: int | None) -> None:
        self.given = given
        self.threads = threads
        self.made: dict[str, Device] = {}

    def open(self, path: str) -> Device:
        if isinstance(self.given, Device):
            return self.given
        path = self.given or path
        if path not in self.made:
            self.made[path] = create_device(path, threads=self.threads)
        return self.made[path]


def _in_order(
    manifest: Manifest, device: str | Device | None, why: dict[str, str]
) -> Iterator[tuple[Variant, str]]:
    """Variants with the path of their best device, the one to prefer first; ``why`` gets the others."""
    ranked: list[tuple[tuple[int, ...], Variant, str]] = []
    driver = device.driver_name if isinstance(device, Device) else split_path(device)[0] if device else None
    for position, variant in enumerate(manifest.variants):
        rank, path = PROCESSOR, variant.driver
        if device is None:
            try:
                infos = devices(variant.driver)
                best = infos[match_device(infos, "", variant.driver)]
            except IreeError as error:
                why[variant.name] = f"{error.summary}: {error.detail}"
                continue
            rank, path = best.rank, best.path
        own = driver is None or variant.driver == driver
        order = (-rank, not own, -len(required_features(manifest, variant)), position)
        where = f"{path} ranks {rank}" if device is None else f"it was made for {path}"
        why[variant.name] = f"not tried: {where}"
        ranked.append((order, variant, path))
    for _, variant, path in sorted(ranked, key=lambda entry: entry[0]):
        yield variant, path


def _formats_missing(manifest: Manifest, variant: Variant, device: Device) -> str:
    formats = tuple(dict.fromkeys(manifest.executables[i].format for i in variant.executables))
    known = device.loaders(formats)
    unknown = [f for f in formats if f not in known]
    return f"{device.driver_name} here cannot run {', '.join(unknown)}" if unknown else ""


def _rows(manifest: Manifest, taken: Variant, why: dict[str, str]) -> tuple[VariantRow, ...]:
    return tuple(VariantRow(v.name, v.target, v is taken, why[v.name]) for v in manifest.variants)


def _reasons(why: dict[str, str]) -> str:
    return "; ".join(f"{name}: {text}" for name, text in why.items())


__all__ = ["VariantChoice", "VariantRow", "choose_variant", "required_features"]
