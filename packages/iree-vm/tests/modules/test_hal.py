"""The import module ``hal``: the table is complete, wrong arguments are coded, scalars go to and fro."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vm_models import add_recording

from iree_hal import Buffer, BufferView, Fence, create_device
from iree_vm import VmError
from iree_vm.bytecode.types import Variadic
from iree_vm.element_codes import CODES, code, from_code
from iree_vm.modules.hal import TABLE, HalModule
from iree_vm.modules.hal_inline import INLINE
from iree_vm.modules.hal_signatures import SIGNATURES
from iree_vm.values import VmBuffer

DEVICE = create_device("local-sync")
HAL = HalModule([DEVICE])


def call(name: str, *arguments: Any) -> Any:
    target = HAL.lookup(name)
    assert target is not None
    return target.function(*arguments)


def text(value: str) -> VmBuffer:
    return VmBuffer(memoryview(value.encode()))


def test_every_row_has_a_function_and_a_description() -> None:
    for name, row in TABLE.items():
        assert HAL.lookup(name) is not None
        assert row.doc, name
    assert TABLE.keys() == SIGNATURES.keys()
    assert set(INLINE) <= set(TABLE)
    assert HAL.lookup("none") is None


@pytest.mark.parametrize("name", TABLE)
def test_null_and_foreign_references_are_coded(name: str) -> None:
    """Every reference null, or of a kind no function takes: a coded error or a value, nothing else."""
    for reference in (None, object(), text("x"), 3.5):
        arguments: list[Any] = []
        for argument in TABLE[name].signature.arguments:
            if isinstance(argument, Variadic):
                arguments.append((reference,) if argument.types == ("ref",) else (1,))
            else:
                arguments.append(reference if argument == "ref" else 1 if argument[0] == "i" else 1.0)
        try:
            call(name, *arguments)
        except VmError as error:
            assert error.number in (9, 10, 11, 22, 23, 27, 42)


def test_element_codes_are_a_bijection() -> None:
    assert all(from_code(code(name)).name == name for name in CODES if name != "index")
    assert code("f32") == 0x21000020  # as in IREE
    assert code("i1") == 0x13000008
    with pytest.raises(VmError, match=r"IREE-VM-023"):
        from_code(12345)
    with pytest.raises(VmError, match=r"IREE-VM-016"):
        code("f33")


def test_devices_are_numbered() -> None:
    assert call("device.get", 0) is DEVICE
    for index in (-1, 1):
        with pytest.raises(VmError, match=r"IREE-VM-042"):
            call("device.get", index)
    with pytest.raises(VmError, match=r"IREE-VM-010"):
        call("executable.load", DEVICE, 0)
    with pytest.raises(VmError, match=r"IREE-VM-010"):
        call("constants.map", DEVICE, 0)


def test_views() -> None:
    view = np.zeros((2, 3), np.float32)
    assert [call("buffer_view.dim", view, axis) for axis in (0, 1)] == [2, 3]
    assert call("buffer_view.rank", view) == 2
    assert call("buffer_view.element_type", view) == code("f32")
    assert call("buffer_view.buffer", view) is view
    with pytest.raises(VmError, match=r"IREE-VM-010.*axis 2"):
        call("buffer_view.dim", view, 2)
    call("buffer_view.assert", view, text("x"), code("f32"), (2, -1))
    with pytest.raises(VmError, match=r"IREE-VM-022.*'x' is f32\[2, 3\]; cause: f32\[\?, 4\] wanted"):
        call("buffer_view.assert", view, text("x"), code("f32"), (-1, 4))
    with pytest.raises(VmError, match=r"IREE-VM-023.*'x' is f32\[2, 3\]; cause: i32\[2, 3\] wanted"):
        call("buffer_view.assert", view, text("x"), code("i32"), (2, 3))


def test_views_of_buffers() -> None:
    buffer = call("device.queue.alloca", DEVICE, None, None, 32)
    assert isinstance(buffer, Buffer)
    view = call("buffer_view.create", buffer, code("i64"), (2, 2))
    view[...] = [[1, 2], [3, 4]]
    assert [call("buffer.load.i64", buffer, 8 * i) for i in range(4)] == [1, 2, 3, 4]
    packed = call("buffer_view.create", buffer, code("i4"), (3,))
    assert isinstance(packed, BufferView)
    assert call("buffer_view.buffer", packed).nbytes == 32
    assert call("buffer_view.element_type", packed) == code("i4")


def test_results() -> None:
    made = call("result.alloca", DEVICE, None, text("y"), code("f64"), (2, 3))
    assert (made.shape, made.dtype) == ((2, 3), np.float64)
    assert call("result.alloca", DEVICE, made, text("y"), code("f64"), (2, 3)) is made
    with pytest.raises(VmError, match=r"IREE-VM-022.*'y'"):
        call("result.alloca", DEVICE, made, text("y"), code("f64"), (3, 2))
    with pytest.raises(VmError, match=r"IREE-VM-022"):
        call("result.alloca", DEVICE, None, text("y"), code("f64"), (-2,))
    with pytest.raises(VmError, match=r"IREE-VM-011"):
        call("result.alloca", DEVICE, None, text("y"), code("f64"), (1 << 56,))
    assert call("result.alloca", DEVICE, None, text("y"), code("i4"), (3, 3)).buffer.nbytes == 6


@pytest.mark.parametrize(
    ("store", "load", "value", "wanted"),
    [
        ("i8", "i8.s", -1, -1),
        ("i8", "i8.u", -1, 255),
        ("i16", "i16.s", 0x18000, -0x8000),
        ("i16", "i16.u", -1, 65535),
        ("i32", "i32", -5, -5),
        ("i64", "i64", 1 << 40, 1 << 40),
        ("f32", "f32", 1.5, 1.5),
        ("f64", "f64", -0.1, -0.1),
    ],
)
def test_scalars_are_written_and_read_back(store: str, load: str, value: Any, wanted: Any) -> None:
    array = np.zeros(3, np.float64)
    call(f"buffer.store.{store}", array, 8, value)
    assert call(f"buffer.load.{load}", array, 8) == wanted
    assert not array[0] and not array[2]
    assert call("buffer.length", array) == 24
    for offset in (-1, 24):
        with pytest.raises(VmError, match=r"IREE-VM-010"):
            call(f"buffer.load.{load}", array, offset)
        with pytest.raises(VmError, match=r"IREE-VM-010"):
            call(f"buffer.store.{store}", array, offset, value)
    array.flags.writeable = False
    with pytest.raises(VmError, match=r"IREE-VM-009.*read-only"):
        call(f"buffer.store.{store}", array, 0, value)


def test_copies_and_fills() -> None:
    array = np.zeros(4, np.int32)
    call("device.queue.fill", DEVICE, None, None, array, 4, 8, 7, 4)
    assert array.tolist() == [0, 7, 7, 0]
    call("device.queue.copy", DEVICE, None, None, array, 4, array, 0, 8)
    assert array.tolist() == [7, 7, 7, 0]
    for offset, length in ((-1, 4), (0, 17), (4, -1)):
        with pytest.raises(VmError, match=r"IREE-VM-010"):
            call("device.queue.copy", DEVICE, None, None, array, offset, array, 0, length)
        with pytest.raises(VmError, match=r"IREE-VM-010"):
            call("device.queue.fill", DEVICE, None, None, array, offset, length, 0, 1)
    with pytest.raises(VmError, match=r"IREE-VM-009"):
        call("device.queue.fill", DEVICE, None, None, array, 0, 16, 0, 3)


def test_fences() -> None:
    assert call("fence.chain", None) is None
    assert call("fence.join", (None, None)) is None
    assert call("fence.query", None) == 1
    first, second = call("fence.create", DEVICE), call("fence.chain", Fence())
    both = call("fence.join", (first, None, second))
    assert call("fence.query", both) == 0
    call("fence.signal", first)
    call("device.queue.barrier", DEVICE, first, second)
    call("fence.await", both)
    assert call("fence.query", both) == 1
    failed = call("fence.create", DEVICE)
    call("fence.fail", failed, text("a reason"))
    with pytest.raises(Exception, match=r"a reason"):
        call("fence.await", failed)


def test_command_buffers() -> None:
    with pytest.raises(Exception, match=r"IREE-HAL-007"):
        call("command_buffer.load", DEVICE, text("nonsense"), ())
    with pytest.raises(Exception, match=r"IREE-HAL-017"):
        call("command_buffer.load", DEVICE, VmBuffer(memoryview(add_recording())), ())
