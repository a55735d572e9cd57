"""Buffer views: numpy and DLPack in and out, normalisation, packed integers."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.buffer import Buffer
from iree_hal.buffer_view import BufferView
from iree_hal.conformance.backend import Context, ramp
from iree_hal.errors import HalError


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint16", "int32", "int64", "float16", "float32", "complex64"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (1, 2, 3, 4)])
def test_view_round_trips(context: Context, dtype: str, shape: tuple[int, ...]) -> None:
    array = (np.arange(np.prod(shape, dtype=int)) % 2).astype(dtype).reshape(shape)
    view = BufferView.from_numpy(array)
    assert view.shape == shape
    back = view.to_numpy()
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert np.array_equal(back, array)


def test_view_borrows_what_it_can_use(context: Context) -> None:
    array = ramp(6).reshape(2, 3)
    assert np.shares_memory(BufferView.from_numpy(array).to_numpy(), array)


def test_view_copies_what_it_cannot_use(context: Context) -> None:
    array = ramp(12).reshape(3, 4)
    for odd in (array.T, array[:, ::2], array[::-1], array.astype(">f4")):
        view = BufferView.from_numpy(odd)
        assert view.element_type == "f32"
        assert not np.shares_memory(view.to_numpy(), array)
        assert np.array_equal(view.to_numpy(), odd)


def test_view_copies_misaligned_arrays(context: Context) -> None:
    block = np.zeros(9, np.uint8)
    odd = block[1:].view(np.float32)
    assert BufferView.from_numpy(odd).buffer.address % 4 == 0


def test_view_of_read_only_array_is_read_only(context: Context) -> None:
    array = ramp(3)
    array.flags.writeable = False
    view = BufferView.from_numpy(array)
    assert view.buffer.readonly
    assert not view.to_numpy().flags.writeable


def test_booleans_become_0_or_1(context: Context) -> None:
    strange = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    view = BufferView.from_numpy(strange)
    assert view.element_type == "i1"
    assert bytes(view.buffer.map("r")) == bytes([0, 1, 1, 1])


def test_view_needs_enough_bytes(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-013"):
        BufferView(Buffer.wrap(bytes(15)), (4,), "f32")
    with pytest.raises(HalError, match="IREE-HAL-013"):
        BufferView(Buffer.wrap(bytes(16)), (-4,), "f32")


def test_view_may_cover_a_longer_buffer(context: Context) -> None:
    view = BufferView(Buffer.wrap(bytes(20)), (2, 2), "f32")
    assert view.to_numpy().shape == (2, 2)


def test_unknown_element_types_are_refused(context: Context) -> None:
    with pytest.raises(HalError, match="IREE-HAL-014"):
        BufferView(Buffer.wrap(bytes(16)), (4,), "f31")
    with pytest.raises(HalError, match="IREE-HAL-014"):
        BufferView.from_numpy(np.array(["text"]))


def test_sub_byte_rows_are_packed_low_bits_first(context: Context) -> None:
    # Two rows of three: each row takes two bytes, the last nibble is padding.
    view = BufferView(Buffer.wrap(bytes([0x21, 0x0F, 0x87, 0x06])), (2, 3), "i4")
    assert np.array_equal(view.to_numpy().astype(np.int8), [[1, 2, -1], [7, -8, 6]])


def test_sub_byte_round_trip(context: Context) -> None:
    pytest.importorskip("ml_dtypes")
    raw = Buffer.wrap(bytes([0x21, 0x0F, 0x87, 0x06]))
    for element in ("i4", "ui4"):
        values = BufferView(raw, (2, 3), element).to_numpy()
        assert bytes(BufferView.from_numpy(values).buffer.map("r")) == bytes(raw.map("r"))


def test_view_exports_dlpack(context: Context) -> None:
    array = ramp(6).reshape(2, 3)
    view = BufferView.from_numpy(array)
    imported = np.from_dlpack(view)
    assert np.shares_memory(imported, array)
    assert np.array_equal(imported, array)


def test_view_imports_dlpack(context: Context) -> None:
    class Exporter:
        def __init__(self, array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
            self.array = array

        def __dlpack__(self, **arguments: object) -> object:
            return self.array.__dlpack__(**arguments)  # type: ignore[arg-type]

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    array = ramp(5)
    assert np.shares_memory(BufferView.from_numpy(Exporter(array)).to_numpy(), array)
