"""Runs compiled dispatches on a device: test support."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_hal.device import Device
from iree_hal.executable import ExecutableSpec, ExportSpec
from iree_hal.recording import BindingRef, RecordingBuilder
from iree_target_vulkan.executable_format import FORMAT

Array = np.ndarray[Any, Any]


def run_export(
    device: Device,
    data: bytes,
    export: Any,
    arrays: Sequence[Array],
    constants: Sequence[int],
    counts: Sequence[int],
) -> None:
    """Dispatch ``counts`` workgroups of ``export`` (an ExportObject) on ``arrays``, which it writes in place.

    ``constants`` are the u32 words of the scalar arguments. Raises what loading and running raise.
    """
    spec = ExecutableSpec(
        FORMAT,
        data,
        (
            ExportSpec(
                export.name, export.scratch_bytes, len(constants), tuple(export.bindings), export.alignments
            ),
        ),
    )
    executable = device.load_executable(spec)
    builder = RecordingBuilder(1 + len(arrays), 0)
    zero = builder.const(0)
    builder.dispatch(
        0,
        0,
        tuple(builder.const(int(n)) for n in counts),  # type: ignore[arg-type]
        [(builder.const(int(word)), "lo") for word in constants],
        [BindingRef(1 + i, zero, builder.const(array.nbytes)) for i, array in enumerate(arrays)],
    )
    command_buffer = device.create_command_buffer(builder.finish(), [executable])
    device.execute(command_buffer, list(arrays), [])


__all__ = ["run_export"]
