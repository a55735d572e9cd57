"""Lists and host buffers refuse what does not fit; ``vmasm/`` shows the rest."""

from __future__ import annotations

import pytest

from iree_vm import VmError, values


def test_buffers_copy_overlapping_ranges() -> None:
    buffer = values.buffer_alloc(8)
    for i in range(8):
        values.buffer_store(buffer, i, i, "i8.s")
    values.buffer_copy(buffer, 0, buffer, 2, 6)
    assert list(bytes(buffer)) == [0, 1, 0, 1, 2, 3, 4, 5]
    assert len(buffer) == 8


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, 9), (9, 0), (4, -1), (1 << 62, 1 << 62)])
def test_ranges(offset: int, length: int) -> None:
    buffer = values.buffer_alloc(8)
    with pytest.raises(VmError, match=r"IREE-VM-010"):
        values.buffer_clone(buffer, offset, length)


@pytest.mark.parametrize("length", [-1, 1 << 41, (1 << 63) - 1])
def test_allocations(length: int) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-011"):
        values.buffer_alloc(length)
    with pytest.raises(VmError, match=r"IREE-VM-011"):
        values.list_alloc(length)


def test_lists_shrink_and_grow() -> None:
    items = values.list_alloc(0)
    values.list_resize(items, 3)
    values.list_set(items, 2, 1.5)
    assert values.list_get_float(items, 2, 32) == 1.5
    values.list_resize(items, 1)
    assert len(items) == 1
    with pytest.raises(VmError, match=r"IREE-VM-010"):
        values.list_get_float(items, 2, 32)
    with pytest.raises(VmError, match=r"IREE-VM-009.*no float"):
        values.list_set(items, 0, 3)
        values.list_get_float(items, 0, 64)
    with pytest.raises(VmError, match=r"IREE-VM-009.*no reference"):
        values.list_get_ref(items, 0)
