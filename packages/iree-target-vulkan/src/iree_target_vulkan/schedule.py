"""A recording with its values -> what to run: waves of commands with all counts, words and ranges resolved.

Host calls split the commands into segments, which are submitted one after the other. A segment knows which
rows of the host it needs on the device before it runs and which bytes the host gets back. An export's
``write`` binding counts as written altogether: bytes of it that the kernel leaves alone are undefined.

Pure Python: nothing here touches a device.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from iree_hal.errors import OUT_OF_RANGE, PROGRAM, HalError
from iree_hal.executable import ExportSpec
from iree_hal.recording import ARENA_SLOT, Barrier, BindingRef, Copy, Dispatch, Fill, HostCall, Recording
from iree_hal.replay import MAX_TILES

READ, WRITE, READWRITE = "read", "write", "readwrite"


@dataclass(frozen=True, slots=True)
class Use:
    """``length`` bytes from ``offset`` of row ``slot``, and what a command does with them."""

    slot: int
    offset: int
    length: int
    access: str

    @property
    def reads(self) -> bool:
        return self.access != WRITE

    @property
    def writes(self) -> bool:
        return self.access != READ


@dataclass(frozen=True, slots=True)
class Step:
    """A command that runs: a dispatch (``counts``, ``constants`` as u32), a fill (``pattern``) or a copy
    (neither; uses are source and target). ``index`` is its place in the recording.
    """

    index: int
    uses: tuple[Use, ...]
    executable: int = -1
    export: int = -1
    counts: tuple[int, int, int] = (0, 0, 0)
    constants: tuple[int, ...] = ()
    pattern: bytes = b""

    @property
    def is_dispatch(self) -> bool:
        return self.executable >= 0


@dataclass(frozen=True, slots=True)
class HostStep:
    """A call of host function ``function``."""

    function: int
    arguments: tuple[int, ...]


@dataclass
class Segment:
    """Waves between host calls. Of the rows other than the arena, ``needed`` are those whose contents are
    read, and ``written`` gives the byte ranges that change, ascending and merged.
    """

    waves: list[list[Step]] = field(default_factory=list)
    needed: set[int] = field(default_factory=set)
    written: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


def schedule(
    recording: Recording,
    exports: Sequence[Sequence[ExportSpec]],
    row_bytes: Sequence[int],
    values: Sequence[int],
) -> list[Segment | HostStep]:
    """``exports`` per executable, ``row_bytes`` of all slots (the arena first), ``values`` of all parameters.

    Raises HalError OUT_OF_RANGE, PROGRAM.
    """
    result: list[Segment | HostStep] = []
    segment = Segment()
    for wave in recording.waves():
        first = recording.commands[wave[0]]
        if isinstance(first, HostCall):
            if segment.waves:
                result.append(segment)
                segment = Segment()
            result.append(HostStep(first.index, tuple(values[slot] for slot in first.arguments)))
            continue
        steps = [
            step
            for index in wave
            if (step := _step(index, recording, exports, row_bytes, values)) is not None
        ]
        if steps:
            segment.waves.append(steps)
    if segment.waves:
        result.append(segment)
    for part in result:
        if isinstance(part, Segment):
            _account(part)
    return result


def _step(
    index: int,
    recording: Recording,
    exports: Sequence[Sequence[ExportSpec]],
    row_bytes: Sequence[int],
    values: Sequence[int],
) -> Step | None:
    command = recording.commands[index]
    where = f"command {index}"
    if isinstance(command, Dispatch):
        x, y, z = (values[slot] for slot in command.workgroups)
        if any(not 0 <= n <= MAX_TILES for n in (x, y, z)) or x * y * z > MAX_TILES:
            raise HalError(PROGRAM, f"{where}: workgroup count ({x}, {y}, {z})")
        if x * y * z == 0:
            return None
        constants = tuple(
            (values[slot] >> (32 if half == "hi" else 0)) & 0xFFFFFFFF for slot, half in command.constants
        )
        accesses = exports[command.executable][command.export].bindings
        uses = tuple(
            _use(ref, access, row_bytes, values, f"{where}, binding {n}")
            for n, (ref, access) in enumerate(zip(command.bindings, accesses, strict=True))
        )
        return Step(index, uses, command.executable, command.export, (x, y, z), constants)
    if isinstance(command, Fill):
        target = _use(command.target, WRITE, row_bytes, values, where)
        return Step(index, (target,), pattern=command.pattern) if target.length else None
    if isinstance(command, Copy):
        source = _use(command.source, READ, row_bytes, values, where)
        target = _use(command.target, WRITE, row_bytes, values, where)
        if source.length != target.length:
            raise HalError(OUT_OF_RANGE, f"{where}: {source.length} bytes to {target.length}")
        if source.slot == target.slot and abs(source.offset - target.offset) < source.length:
            raise HalError(OUT_OF_RANGE, f"{where}: source and target overlap")
        return Step(index, (source, target)) if target.length else None
    assert isinstance(command, Barrier | HostCall)
    return None


def _use(ref: BindingRef, access: str, row_bytes: Sequence[int], values: Sequence[int], where: str) -> Use:
    offset, length, total = values[ref.offset], values[ref.length], row_bytes[ref.slot]
    if not (0 <= offset <= total and 0 <= length <= total - offset):
        raise HalError(
            OUT_OF_RANGE,
            f"{where}: bytes {offset} to {offset + length} of slot {ref.slot} with {total} bytes",
        )
    return Use(ref.slot, offset, length, access)


def _account(segment: Segment) -> None:
    """Fill in what the segment needs and writes: reads of bytes not written by an earlier wave need them."""
    written: dict[int, list[tuple[int, int]]] = {}
    for wave in segment.waves:
        for step in wave:
            for use in step.uses:
                span = (use.offset, use.offset + use.length)
                if use.slot == ARENA_SLOT or not use.reads or not use.length:
                    continue
                if not _covered(span, written.get(use.slot, ())):
                    segment.needed.add(use.slot)
        for step in wave:
            for use in step.uses:
                if use.slot != ARENA_SLOT and use.writes and use.length:
                    spans = written.setdefault(use.slot, [])
                    written[use.slot] = merged([*spans, (use.offset, use.offset + use.length)])
    segment.written = written


def _covered(span: tuple[int, int], spans: Iterable[tuple[int, int]]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in spans)


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending disjoint ranges with the same bytes."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result
