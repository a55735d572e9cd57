"""The conformance suite's kernels, printed from their kernel IR, do what the reference driver makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from iree_codegen.legalize.kernel import legalize
from iree_core_ir.ir.attributes import IntegerAttr
from iree_core_ir.ir.types import i64
from iree_core_ir.text.parser import parse_module
from iree_hal import create_device
from iree_hal.conformance import kernels
from iree_hal.conformance.backend import float_bits, words
from iree_hal.errors import KernelError
from iree_hal.recording import BindingRef, RecordingBuilder
from iree_target_vulkan.executable_format import SpirvExecutable
from iree_target_vulkan.printer.kernel_printer import KernelPrinter
from iree_target_vulkan.testing import run_export

N = 40
COUNTS = {"add": (1, 1, 1), "store_ids": (2, 4, 5), "store_constants": (1, 1, 1)}
CONSTANTS = {"add": [N], "scale": [float_bits(1.5)], "store_ids": [2, 4], "check_index": [N], "reverse": [N]}


def printed(name: str, description: Any) -> bytes:
    """The suite's text of one kernel -> an executable, one invocation a workgroup."""
    module = parse_module(kernels.kernel_functions()[name])
    function = next(op for op in module.regions[0].block if "iree.kernel" in op.attributes)
    sizes = parse_module("func.func private @f() attributes {size = array<i64: 1, 1, 1>}")
    function.attributes["iree.workgroup_size"] = sizes.regions[0].block.first.attributes["size"]
    function.attributes["iree.index_bits"] = IntegerAttr(32, i64)
    legalize(module, description)
    scratch = kernels.EXPORTS[kernels.ORDINALS[name]].scratch_bytes
    return KernelPrinter(function, description, scratch).print().serialize()


def arguments(name: str) -> tuple[list[np.ndarray], list[int], tuple[int, int, int]]:
    """Memory, constants and workgroups for one dispatch."""
    export = kernels.EXPORTS[kernels.ORDINALS[name]]
    floats = name in ("add", "scale")
    memory = [
        np.linspace(-9, 9, 3 * N, dtype=np.float32) * (i + 1) if floats else words(3 * N, seed=i)
        for i in range(len(export.bindings))
    ]
    constants = CONSTANTS.get(name, [int(v) for v in words(export.n_constants, seed=99)])
    if name == "spin":
        constants = [100]
    counts = (1, 1, 1) if name.startswith("constants_") else COUNTS.get(name, (N, 1, 1))
    return memory, constants, counts


def on_reference(name: str, memory: list[np.ndarray], constants: list[int], counts: Any) -> None:
    device = create_device("reference")
    executable = device.load_executable(kernels.ir_executable())
    builder = RecordingBuilder(1 + len(memory), 0)
    zero = builder.const(0)
    x, y, z = (builder.const(n) for n in counts)
    refs = [BindingRef(1 + i, zero, builder.const(array.nbytes)) for i, array in enumerate(memory)]
    slots = [(builder.const(word), "lo") for word in constants]
    builder.dispatch(0, kernels.ORDINALS[name], (x, y, z), slots, refs)
    device.execute(device.create_command_buffer(builder.finish(), [executable]), memory)


@pytest.mark.parametrize("name", [e.name for e in kernels.EXPORTS])
def test_a_printed_kernel_does_what_its_text_says(
    device: Any, description: Any, validate: Callable[[bytes], None], name: str
) -> None:
    data = printed(name, description)
    validate(SpirvExecutable.deserialize(data).words)
    memory, constants, counts = arguments(name)
    expected = [array.copy() for array in memory]
    on_reference(name, expected, constants, counts)
    run_export(device, data, _readwrite(name), memory, constants, counts)
    for found, want in zip(memory, expected, strict=True):
        np.testing.assert_array_equal(found, want)


def test_a_printed_check_fails_as_its_text_says(device: Any, description: Any) -> None:
    with pytest.raises(KernelError) as caught:
        run_export(
            device, printed("check_index", description), _readwrite("check_index"), [], [N - 1], (N, 1, 1)
        )
    assert caught.value.kernel_code == kernels.CHECK_INDEX_CODE


def _readwrite(name: str) -> Any:
    """The export with its written bindings read too: the memory here is longer than what a kernel writes."""

    export = kernels.EXPORTS[kernels.ORDINALS[name]]
    accesses = tuple("read" if access == "read" else "readwrite" for access in export.bindings)
    return dataclasses.replace(export, bindings=accesses)
