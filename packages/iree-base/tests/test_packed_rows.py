"""Sub-byte integers in memory."""

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_base.packed_rows import from_bytes, pack_rows, packed_bytes, to_bytes, unpack_rows


@pytest.mark.parametrize("name", ["i4", "ui4"])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 4), (3, 5), (2, 3, 7), (0, 5), (3, 0), (0,)])
def test_round_trip(name, shape):
    element = element_type(name)
    low, high = (-8, 8) if name == "i4" else (0, 16)
    array = np.random.default_rng(0).integers(low, high, shape).astype(element.dtype)
    data = pack_rows(array, element)
    assert data.nbytes == packed_bytes(shape, element)
    again = unpack_rows(data, shape, element)
    assert again.dtype == element.dtype
    np.testing.assert_array_equal(again.astype(np.int8), array.astype(np.int8))


@pytest.mark.parametrize("name", ["i4", "ui4", "i1", "bf16", "f32", "i64"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 5), (3, 0), (0, 5)])
def test_memory_of_any_element_type(name, shape):
    element = element_type(name)
    array = np.random.default_rng(0).integers(0, 8, shape).astype(element.dtype)
    turned = np.ascontiguousarray(array.T).T
    data = to_bytes(turned, element)
    assert data.dtype == np.uint8
    assert data.nbytes == packed_bytes(shape, element)
    again = from_bytes(data, shape, element)
    assert again.dtype == element.dtype
    assert again.tobytes() == array.tobytes()


def test_whole_bytes_are_not_copied():
    element = element_type("f32")
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.shares_memory(from_bytes(to_bytes(array, element), (2, 3), element), array)


def test_low_bits_come_first_and_rows_end_with_a_byte():
    element = element_type("i4")
    array = np.array([[1, -1, 2], [-8, 7, 0]]).astype(element.dtype)
    assert pack_rows(array, element).tolist() == [0xF1, 0x02, 0x78, 0x00]


def test_whole_bytes_are_counted_too():
    assert packed_bytes((3, 5), element_type("f32")) == 60
    assert packed_bytes((), element_type("i4")) == 1
