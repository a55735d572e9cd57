"""``tune=True``: for each dispatch the description that gives the fastest code, measured on this machine.

A target offers descriptions beside its own (``tuning_variants``); each gives code by the same strategies,
which choose other tiles, schedules or algorithms. Candidates run in turns on the target's device, one thread,
on memory of their own; the least time of the rounds counts, and one that is not clearly faster than the
target's own choice is not taken. Results are kept in a database on disk, by the dispatch's text, the target's
description and code, and this machine's processor. Dispatches whose sizes are only known at run time keep the
target's choice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

import iree_hal
from iree_base.blake2 import blake2b
from iree_base.cache_directory import cache_directory
from iree_base.disk_cache import DiskCache
from iree_base.element_types import element_type
from iree_base.errors import IreeError
from iree_base.records import record
from iree_codegen import dims as dim_ops
from iree_codegen.cache import code_version
from iree_codegen.dispatch import Dispatch
from iree_codegen.driver import compile_all
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.types import IndexType
from iree_core_ir.target import ConstantLayout, DispatchRequest, ExecutableObject
from iree_core_ir.text.printer import print_op
from iree_flow.chosen_description import OWN, executable_format, variants_of
from iree_flow.dialects import flow
from iree_flow.lone_dispatch import add_workspace
from iree_flow.packed_arguments import mark_packed

WORTH = 0.97
"""A candidate is taken when it needs less than this part of the target's choice."""
ROUNDS = 12
MAX_BYTES = 64 << 20
NAMES = "([0-9a-f]{2})/\\1[0-9a-f]{38}"
FORMAT = 1


def disk_cache() -> DiskCache:
    """The database: ``tuned`` in ``$IREE_CACHE_DIR``, else ``iree-tuned`` in the user's cache directory."""
    return DiskCache(cache_directory("iree-tuned", "tuned"), NAMES, "measured choices", MAX_BYTES)


@record(frozen=True)
class Choice:
    """``label``, and the least seconds of each candidate with code of its own where there were several."""

    label: str = OWN
    seconds: tuple[tuple[str, float], ...] = ()


@record
class Candidate:
    """A dispatch for one description: constants as its strategy wants them, its request, its object."""

    label: str
    request: DispatchRequest
    layouts: Sequence[ConstantLayout]
    compiled: ExecutableObject | None = None


class Tuner:
    """Chooses for the executables of a module. ``jobs`` and ``cache`` as in ``compile_all``."""

    def __init__(self, target: Any, description: Any, *, jobs: int | None = None, cache: bool = True) -> None:
        self.target = target
        self.description = description
        self.jobs = jobs
        self.cache = cache
        self.variants = variants_of(target, description)
        self.database = disk_cache()

    def choose(self, executables: Sequence[flow.Executable]) -> dict[flow.Executable, Choice]:
        """The choice for each, from the database or measured now."""
        result: dict[flow.Executable, Choice] = {}
        missing: dict[flow.Executable, str] = {}
        for executable in executables:
            function = executable.function
            if not self.variants or not _is_static(function):
                result[executable] = Choice()
                continue
            key = self._key(executable)
            known = self._read(key)
            if known is None:
                missing[executable] = key
            else:
                result[executable] = known
        candidates = {executable: self._candidates(executable) for executable in missing}
        self._compile([c for group in candidates.values() for c in group])
        written = 0
        device = None
        for executable, group in candidates.items():
            distinct = _distinct(group)
            choice = Choice()
            if len(distinct) > 1:
                device = device or iree_hal.create_device(self.target.driver, threads=1)
                format = executable_format(self.target, self.description)
                choice = measure(executable.function, distinct, format, device)
            result[executable] = choice
            written += self._write(missing[executable], choice)
        if written and self.cache:
            self.database.settle(written)
        return result

    # -- candidates ----------------------------------------------------------------------------------

    def _candidates(self, executable: flow.Executable) -> list[Candidate]:
        return [
            self._candidate(executable, label, description)
            for label, description in {OWN: self.description, **self.variants}.items()
        ]

    def _candidate(self, executable: flow.Executable, label: str, description: Any) -> Candidate:
        """The dispatch as ``apply-constant-layouts`` would make it for ``description``."""
        twin = executable.clone()
        function = twin.function
        layouts = list(self.target.constant_layout(function, description))
        constants = {b.argument for b in Dispatch(function).bindings if b.constant}
        layouts = [layout for layout in layouts if layout.argument in constants]
        for layout in layouts:
            mark_packed(function, layout)
        name: Any = function.attributes["sym_name"]
        text = print_op(twin.module, locations=False)
        return Candidate(label, DispatchRequest(name.value, text, description, {}), layouts)

    def _compile(self, candidates: Sequence[Candidate]) -> None:
        """Label by label; one that the target cannot compile is left out."""
        for label in dict.fromkeys(candidate.label for candidate in candidates):
            group = [candidate for candidate in candidates if candidate.label == label]
            requests = [candidate.request for candidate in group]
            try:
                objects = compile_all(self.target, requests, jobs=self.jobs, cache=self.cache)
            except IreeError:
                if label == OWN:
                    raise
                continue
            for candidate, compiled in zip(group, objects, strict=True):
                candidate.compiled = compiled

    # -- database ------------------------------------------------------------------------------------

    def _key(self, executable: flow.Executable) -> str:
        from iree_hal import platform

        parts = {
            "format": FORMAT,
            "text": print_op(executable.module, locations=False),
            "description": self.description.key(),
            "variants": {label: d.key() for label, d in self.variants.items()},
            "code": [
                code_version(name) for name in ("iree-codegen", *getattr(self.target, "distributions", ()))
            ],
            "processor": sorted(platform.current().cpu_features()),
        }
        return blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=20).hexdigest()

    def _read(self, key: str) -> Choice | None:
        data = self.database.read(f"{key[:2]}/{key}") if self.cache else None
        if data is None:
            return None
        try:
            value = json.loads(data)
            label = str(value["label"])
            seconds = tuple((str(name), float(spent)) for name, spent in value["seconds"])
        except (ValueError, KeyError, TypeError):
            return None
        return Choice(label, seconds) if label == OWN or label in self.variants else None

    def _write(self, key: str, choice: Choice) -> int:
        if not self.cache:
            return 0
        data = json.dumps({"label": choice.label, "seconds": choice.seconds}).encode()
        return len(data) if self.database.write(f"{key[:2]}/{key}", data) else 0


def _is_static(function: FuncOp) -> bool:
    """Whether all sizes are known: there is no index among the arguments, and every tensor is static."""
    try:
        dispatch = Dispatch(function)
    except IreeError:
        return False
    return not any(isinstance(s.value.type, IndexType) for s in dispatch.scalars) and all(
        isinstance(dim, int) for binding in dispatch.bindings for dim in binding.dims
    )


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """One candidate per object; of equal ones the first, so the target's own choice stays."""
    found: dict[bytes, Candidate] = {}
    for candidate in candidates:
        if candidate.compiled is not None:
            found.setdefault(bytes(candidate.compiled.data), candidate)
    return list(found.values())


# -- measuring -------------------------------------------------------------------------------------------


def measure(function: FuncOp, candidates: Sequence[Candidate], format: str, device: Any) -> Choice:
    """Run ``candidates``, the target's own first, in turns; the choice by their least times."""
    dispatch = Dispatch(function)
    calls = [_Call(dispatch, candidate, format, device) for candidate in candidates]
    least = [float("inf")] * len(calls)
    for number in range(ROUNDS + 1):
        for i, call in enumerate(calls):
            spent = call.run()
            if number:  # the first round fills caches
                least[i] = min(least[i], spent)
    best = min(range(len(calls)), key=least.__getitem__)
    if least[best] > WORTH * least[0]:
        best = 0
    seconds = tuple((c.label, s) for c, s in zip(candidates, least, strict=True))
    return Choice(candidates[best].label, seconds)


class _Call:
    """A candidate loaded on the device, with memory of its own."""

    def __init__(self, dispatch: Dispatch, candidate: Candidate, format: str, device: Any) -> None:
        compiled = candidate.compiled
        assert compiled is not None
        export = compiled.exports[0]
        spec = iree_hal.ExportSpec(
            export.name,
            export.scratch_bytes,
            export.n_constants,
            tuple(export.bindings),
            tuple(export.alignments),
        )
        executable = device.load_executable(
            iree_hal.ExecutableSpec(format, compiled.data, (spec,), tuple(compiled.features), export.name)
        )
        packed = {layout.argument: tuple(layout.type.shape) for layout in candidate.layouts}
        self.arrays = [
            _memory(packed.get(b.argument, b.dims), str(b.value.type.element_type)) for b in dispatch.bindings
        ]
        builder = iree_hal.RecordingBuilder(1 + len(self.arrays), 0)
        zero, one = builder.const(0), builder.const(1)
        workspace = add_workspace(builder, export, {})
        words = [
            (one, half) for s in dispatch.scalars for half in (("lo", "hi") if s.words == 2 else ("lo",))
        ]
        bindings = [
            iree_hal.BindingRef(slot, zero, builder.const(array.nbytes))
            for slot, array in enumerate(self.arrays, 1)
        ]
        x, y, z = (builder.const(dim_ops.evaluate(dim_ops.from_list(e), {})) for e in export.workgroup_count)
        builder.dispatch(0, 0, (x, y, z), words, [*bindings, *workspace])
        self.device = device
        self.commands = device.create_command_buffer(builder.finish(), [executable])

    def run(self) -> float:
        """Seconds of one run by the device's clock."""
        with self.device.profiling() as profile:
            self.device.execute(self.commands, self.arrays, ())
        total: float = sum(profile.totals) / 1e9
        return total


def _memory(shape: Sequence[Any], element: str) -> Any:
    """64-byte aligned memory: small numbers for floats, zeros (valid as indices) for all else."""
    dtype = element_type(element).dtype
    count = int(np.prod([int(size) for size in shape], dtype=np.int64))
    raw = np.zeros(count * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    array = raw[start : start + count * dtype.itemsize]
    if dtype.kind == "f":
        array.view(dtype)[:] = np.resize(np.linspace(0.1, 1.0, 97).astype(dtype), count)
    return array


__all__ = ["Choice", "Tuner", "disk_cache", "measure"]
