"""The VM's own reference types: lists and host byte buffers.

Every access is checked: a wrong kind of reference, an index out of range or a request above the
limits is a coded error, whatever the bytecode.
"""

from __future__ import annotations

import struct
from typing import Any, NoReturn

from iree_vm.bytecode import numerics
from iree_vm.errors import VmError

MAX_LIST = 1 << 24
"""Elements a list may hold; host lists carry shapes and argument lists, not data."""
MAX_BUFFER = 1 << 40
"""Bytes a host buffer may be asked to have, so that corrupt sizes fail before the allocator."""


class VmList:
    """A growable list of values of any type; unset slots read as 0 or null."""

    __slots__ = ("items",)

    def __init__(self, items: list[Any] | None = None) -> None:
        self.items: list[Any] = [] if items is None else items

    def __len__(self) -> int:
        return len(self.items)


class VmBuffer:
    """Bytes on the host; rodata is a read-only one over the mapped artefact."""

    __slots__ = ("data",)

    def __init__(self, data: memoryview) -> None:
        self.data = data
        """One-dimensional memoryview of bytes."""

    def __len__(self) -> int:
        return len(self.data)

    def __bytes__(self) -> bytes:
        return bytes(self.data)


def _wrong(value: object, wanted: str) -> NoReturn:
    got = "null" if value is None else type(value).__name__
    raise VmError(9, f"got {got}, wanted {wanted}")


def _items(value: Any) -> list[Any]:
    if type(value) is not VmList:
        _wrong(value, "a list")
    items: list[Any] = value.items
    return items


def _data(value: Any) -> memoryview:
    if type(value) is not VmBuffer:
        _wrong(value, "a buffer")
    data: memoryview = value.data
    return data


def _index(index: int, length: int) -> int:
    if not 0 <= index < length:
        raise VmError(10, f"index {index} of a list of {length}")
    return index


def _capacity(count: int) -> int:
    if not 0 <= count <= MAX_LIST:
        raise VmError(11, f"a list of {count} elements", cause=f"the limit is {MAX_LIST}")
    return count


def list_alloc(capacity: int) -> VmList:
    _capacity(capacity)
    return VmList()


def list_reserve(value: Any, capacity: int) -> None:
    _items(value)
    _capacity(capacity)


def list_size(value: Any) -> int:
    return len(_items(value))


def list_resize(value: Any, count: int) -> None:
    items = _items(value)
    _capacity(count)
    if count < len(items):
        del items[count:]
    else:
        items.extend([None] * (count - len(items)))


def list_push(value: Any, item: Any) -> None:
    items = _items(value)
    _capacity(len(items) + 1)
    items.append(item)


def list_set(value: Any, index: int, item: Any) -> None:
    items = _items(value)
    items[_index(index, len(items))] = item


def list_get_int(value: Any, index: int, bits: int) -> int:
    items = _items(value)
    item = items[_index(index, len(items))]
    if item is None:
        return 0
    if type(item) is not int:
        raise VmError(9, f"list element {index} is no integer")
    return numerics.wrap32(item) if bits == 32 else item


def list_get_float(value: Any, index: int, bits: int) -> float:
    items = _items(value)
    item = items[_index(index, len(items))]
    if item is None:
        return 0.0
    if type(item) is not float:
        raise VmError(9, f"list element {index} is no float")
    return numerics.f32(item) if bits == 32 else item


def list_get_ref(value: Any, index: int) -> Any:
    items = _items(value)
    item = items[_index(index, len(items))]
    if type(item) is int or type(item) is float:
        raise VmError(9, f"list element {index} is no reference")
    return item


def buffer_alloc(length: int) -> VmBuffer:
    if not 0 <= length <= MAX_BUFFER:
        raise VmError(11, f"a buffer of {length} bytes")
    try:
        return VmBuffer(memoryview(bytearray(length)))
    except (MemoryError, OverflowError):
        raise VmError(11, f"a buffer of {length} bytes") from None


def _range(data: memoryview, offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > len(data):
        raise VmError(10, f"bytes [{offset}, {offset + length}) of a buffer of {len(data)}")


def _writable(value: Any) -> memoryview:
    data = _data(value)
    if data.readonly:
        raise VmError(9, "the buffer is read-only")
    return data


def buffer_length(value: Any) -> int:
    return len(_data(value))


def buffer_clone(value: Any, offset: int, length: int) -> VmBuffer:
    data = _data(value)
    _range(data, offset, length)
    return VmBuffer(memoryview(bytearray(data[offset : offset + length])))


def buffer_copy(source: Any, source_offset: int, target: Any, target_offset: int, length: int) -> None:
    read, write = _data(source), _writable(target)
    _range(read, source_offset, length)
    _range(write, target_offset, length)
    write[target_offset : target_offset + length] = bytes(read[source_offset : source_offset + length])


def buffer_compare(a: Any, a_offset: int, b: Any, b_offset: int, length: int) -> int:
    left, right = _data(a), _data(b)
    _range(left, a_offset, length)
    _range(right, b_offset, length)
    return 1 if left[a_offset : a_offset + length] == right[b_offset : b_offset + length] else 0


_LAYOUT: dict[str, struct.Struct] = {
    name: struct.Struct("<" + code)
    for name, code in {
        "i8.s": "b", "i8.u": "B", "i16.s": "h", "i16.u": "H", "i32": "i", "i64": "q", "f32": "f", "f64": "d",
    }.items()
}  # fmt: skip


def buffer_load(value: Any, index: int, layout: str) -> Any:
    """Element ``index`` of the buffer seen as an array of ``layout``."""
    data = _data(value)
    packer = _LAYOUT[layout]
    _range(data, index * packer.size, packer.size)
    return packer.unpack_from(data, index * packer.size)[0]


_UNSIGNED = {"i8.s": 0xFF, "i16.s": 0xFFFF}


def _encode(value: Any, layout: str) -> bytes:
    packer = _LAYOUT[layout]
    if layout in _UNSIGNED:  # stores keep the low bits
        return bytes((value & _UNSIGNED[layout]).to_bytes(packer.size, "little"))
    return packer.pack(value)


def buffer_store(buffer: Any, index: int, value: Any, layout: str) -> None:
    """Set element ``index`` of the buffer seen as an array of ``layout``."""
    data = _writable(buffer)
    encoded = _encode(value, layout)
    _range(data, index * len(encoded), len(encoded))
    data[index * len(encoded) : (index + 1) * len(encoded)] = encoded


def buffer_fill(buffer: Any, offset: int, count: int, value: Any, layout: str) -> None:
    """Set ``count`` elements from element ``offset`` on."""
    data = _writable(buffer)
    encoded = _encode(value, layout)
    size = len(encoded)
    _range(data, offset * size, count * size)
    data[offset * size : (offset + count) * size] = encoded * count


NAMESPACE: dict[str, Any] = {
    f"_{function.__name__}": function
    for function in (
        list_alloc, list_reserve, list_size, list_resize, list_push, list_set, list_get_int, list_get_float,
        list_get_ref, buffer_alloc, buffer_length, buffer_clone, buffer_copy, buffer_compare, buffer_load,
        buffer_store, buffer_fill,
    )
}  # fmt: skip
"""Names the templates of ``ops.py`` may use."""
