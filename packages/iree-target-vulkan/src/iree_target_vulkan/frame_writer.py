"""A segment of a schedule -> commands: copies in, waves with barriers between them, copies out.

A binding must start at a multiple of the device's alignment; one that does not is moved through aligned
memory around its wave.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iree_target_vulkan.command_writer import CommandWriter, Span
from iree_target_vulkan.errors import DEVICE_LIMIT, INDEX_RANGE, VulkanError
from iree_target_vulkan.memory import DEVICE, UPLOAD
from iree_target_vulkan.schedule import Segment, Step

if TYPE_CHECKING:
    from iree_target_vulkan.frame import Frame, HostRow

EACH, TOTAL = "each", "total"
"""Timing: after every command, which also runs them one after the other; or of the whole segment, without
the copies of host arrays in and out."""
MAX_INDEX_BYTES = 1 << 31
POISON = b"\xff"


@dataclass(frozen=True)
class Timed:
    """What ended at timestamp ``query``, having begun at the one before. ``step`` is the command, None for
    what is added to the recording.
    """

    query: int
    executable: str
    export: str
    step: Step | None = None


def write_segment(
    frame: Frame,
    writer: CommandWriter,
    segment: Segment,
    hosts: Sequence[HostRow],
    timing: str,
    timed: list[Timed],
) -> None:
    """Write ``segment`` for ``frame``.

    Raises VulkanError INDEX_RANGE, DEVICE_LIMIT, HalError OUT_OF_MEMORY.
    """
    _Writer(frame, writer, timing, timed).run(segment, hosts)


class _Writer:
    def __init__(self, frame: Frame, writer: CommandWriter, timing: str, timed: list[Timed]) -> None:
        self.frame = frame
        self.writer = writer
        self.timing = timing
        self.timed = timed
        self.physical = frame.device.physical
        self.alignment = self.physical.binding_alignment
        self.scratch_used = 0
        self.exact = bool(self.physical.features.get("storageBuffer8BitAccess"))

    def run(self, segment: Segment, hosts: Sequence[HostRow]) -> None:
        frame, writer = self.frame, self.writer
        writer.begin()
        if self.timing == EACH:
            self._stamp("", "start")
        if frame.owner.verify:
            self._poison(segment, hosts)
        for row in hosts:
            if row.upload is not None and row.upload is not row.used and row.slot in segment.needed:
                writer.copy(row.upload, row.used)
                self._after("", "upload")
        writer.barrier()
        if self.timing == TOTAL:
            self._stamp("", "start")
        for wave in segment.waves:
            writer.barrier()
            self._wave(wave)
        writer.barrier()
        if self.timing == TOTAL:
            self._stamp("", "total")
        for row in hosts:
            if row.readback is not None and row.readback is not row.used:
                for start, end in segment.written.get(row.slot, ()):
                    writer.copy(row.used.part(start, end - start), row.readback.part(start, end - start))
                    self._after("", "readback")
        writer.to_host()

    def _poison(self, segment: Segment, hosts: Sequence[HostRow]) -> None:
        """Make every byte that is not an input a NaN, so that reading it shows."""
        frame = self.frame
        if frame.arena.length and not frame.poisoned:
            self.writer.fill(frame.arena, POISON)
            frame.poisoned = True
        for row in hosts:
            if row.slot not in segment.needed and row.used.length:
                self.writer.fill(row.used, POISON)
        self.writer.barrier()

    # ------------------------------------------------------------------ waves

    def _wave(self, wave: Sequence[Step]) -> None:
        outs: list[tuple[Span, Span]] = []
        moved: dict[tuple[int, int, int], Span] = {}
        self.scratch_used = 0
        table = self.frame.table
        spans = [[table[use.slot].part(use.offset, use.length) for use in step.uses] for step in wave]
        for step, its in zip(wave, spans, strict=True):
            if step.is_dispatch:
                for use, span in zip(step.uses, its, strict=True):
                    if (span.range.offset + span.offset) % self.alignment and span.key not in moved:
                        aligned = moved[span.key] = self.frame.take(DEVICE, span.length)
                        if use.length:
                            self.writer.copy(span, aligned)
                            outs += [(aligned, span)] if use.writes else []
        if moved:
            self.writer.barrier()
        for step, its in zip(wave, spans, strict=True):
            self._step(step, [moved.get(span.key, span) for span in its] if moved else its)
        if outs:
            self.writer.barrier()
            for source, target in outs:
                self.writer.copy(source, target)

    def _step(self, step: Step, spans: list[Span]) -> None:
        if step.is_dispatch:
            self._dispatch(step, spans)
            return
        if step.pattern:
            self.writer.fill(spans[0], step.pattern)
        else:
            self.writer.copy(spans[0], spans[1])
        self._after("", "fill" if step.pattern else "copy", step)

    def _dispatch(self, step: Step, spans: list[Span]) -> None:
        frame, owner = self.frame, self.frame.owner
        executable = owner.executables[step.executable]
        export = executable.exports[step.export]
        entry = owner.entry(step)
        where = f"'{export.name}' of command {step.index}"
        if any(n > most for n, most in zip(step.counts, self.physical.max_workgroup_count, strict=True)):
            raise VulkanError(
                DEVICE_LIMIT,
                f"{where}: {step.counts} workgroups",
                cause=f"{self.physical.name} allows {self.physical.max_workgroup_count}",
                hint="compile for this device",
            )
        for number, span in enumerate(spans):
            if span.length > self.physical.max_binding_bytes:
                raise VulkanError(
                    DEVICE_LIMIT,
                    f"{where}: binding {number} has {span.length} bytes",
                    cause=f"{self.physical.name} allows {self.physical.max_binding_bytes}",
                )
            if entry.index_bits == 32 and span.length >= MAX_INDEX_BYTES:
                raise VulkanError(
                    INDEX_RANGE,
                    f"{where}: binding {number} has {span.length} bytes",
                    cause=f"the kernel's indices reach {MAX_INDEX_BYTES}",
                    hint="compile with the dims fixed, or for a device with 64-bit integers",
                )
        bound = [self._bindable(span) for span in spans]
        others: dict[int, Span] = {}
        if entry.scratch_binding is not None:
            others[entry.scratch_binding] = self._scratch(
                max(4, export.scratch_bytes * math.prod(step.counts))
            )
        if entry.constants_binding is not None:
            words = struct.pack(f"<{len(step.constants)}I", *step.constants)
            place = others[entry.constants_binding] = frame.take(UPLOAD, max(4, len(words)))
            place.range.view()[: len(words)] = bytearray(words)
        pushed = list(step.constants) if entry.constants_binding is None else []
        if entry.status_binding is not None:
            others[entry.status_binding] = frame.status
            pushed.append(frame.status_index(export.name, step.index))
        pipeline = executable.pipeline(step.export)
        while len(bound) < pipeline.key.bindings:
            other = others.get(len(bound))
            bound.append(frame.null() if other is None else other)
        self.writer.dispatch(pipeline, bound, struct.pack(f"<{len(pushed)}I", *pushed), step.counts)
        self._after(executable.name, export.name, step)

    def _scratch(self, nbytes: int) -> Span:
        """Scratch of its own for the next dispatch of this wave; waves share."""
        pool = self.frame.scratch
        number = self.scratch_used
        self.scratch_used += 1
        if number == len(pool):
            pool.append(self.frame.take(DEVICE, nbytes))
        elif pool[number].length < nbytes:
            pool[number] = self.frame.take(DEVICE, nbytes)
        return pool[number].part(0, nbytes)

    def _bindable(self, span: Span) -> Span:
        """``span``, or what stands for it where Vulkan does not allow its length."""
        if not span.length:
            return self.frame.null()
        if self.exact:
            return span
        return Span(span.range, span.offset, -(-span.length // 4) * 4)

    # ------------------------------------------------------------------ timing

    def _after(self, executable: str, export: str, step: Step | None = None) -> None:
        if self.timing == EACH:
            self._stamp(executable, export, step)
            self.writer.barrier()

    def _stamp(self, executable: str, export: str, step: Step | None = None) -> None:
        self.timed.append(Timed(self.writer.timestamp(), executable, export, step))


__all__ = ["EACH", "TOTAL", "Timed", "write_segment"]
