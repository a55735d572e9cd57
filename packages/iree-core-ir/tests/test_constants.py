"""The ConstantStore: keys, laziness, memory, bytes, digests, files."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.constant_transforms import constant_transform
from iree_core_ir.constants import ConstantStore, array_chunks
from iree_core_ir.constants_file import check_digests
from iree_core_ir.errors import CoreIrError

MB = 1 << 20


def stored(store: ConstantStore, key: str, size: int = 1 << 20) -> bytes:
    return b"".join(bytes(chunk) for chunk in store.chunks(key, size))


@pytest.fixture
def weights(tmp_path: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    data = np.arange(1000, dtype=np.float32)
    path = tmp_path / "weights.bin"
    path.write_bytes(b"head" + data.tobytes() + b"tail")
    return path, data


def test_keys_are_deterministic_and_unique() -> None:
    store = ConstantStore()
    keys = [
        store.add_splat(i, (1,), "f32", key) for i, key in enumerate([None, "w", None, "w", "c2", None, "w"])
    ]
    assert keys == ["c0", "w", "c1", "w_0", "c2", "c3", "w_1"]
    assert list(store) == keys and len(store) == 7 and "w_1" in store and "w_2" not in store


def test_arrays_are_not_copied() -> None:
    store = ConstantStore()
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    key = store.add_array(data)
    assert np.shares_memory(store.array(key), data)
    with pytest.raises(ValueError, match="read-only"):
        store.array(key)[0, 0] = 1
    assert data.flags.writeable
    entry = store[key]
    assert (entry.shape, entry.element_type, entry.nbytes, entry.kind) == ((2, 3), "f32", 24, "array")


def test_big_endian_arrays_are_stored_little_endian() -> None:
    store = ConstantStore()
    key = store.add_array(np.array([1, 2], ">f4"))
    assert stored(store, key) == np.array([1, 2], "<f4").tobytes()


def test_files_are_mapped(weights: tuple[Path, np.ndarray[Any, Any]]) -> None:
    path, data = weights
    store = ConstantStore()
    key = store.add_file(path, 4, (10, 100), "f32", "w")
    assert np.array_equal(store.array(key), data.reshape(10, 100))
    assert stored(store, key, 100) == data.tobytes()
    assert not store.array(key).flags.writeable


def test_splats_take_no_memory() -> None:
    store = ConstantStore()
    key = store.add_splat(1.5, (1000, 1000), "bf16")
    assert store.array(key).strides == (0, 0)
    assert store[key].nbytes == 2_000_000
    assert store.array(key)[3, 4] == 1.5
    assert stored(store, key) == np.full(1_000_000, 1.5, ml_dtypes.bfloat16).tobytes()


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,)])
def test_odd_shapes(shape: tuple[int, ...]) -> None:
    store = ConstantStore()
    keys = [store.add_splat(2, shape, "i32"), store.add_array(np.full(shape, 2, np.int32))]
    for key in keys:
        assert store.array(key).shape == shape
        assert stored(store, key) == np.full(shape, 2, np.int32).tobytes()


def test_sub_byte_elements_are_packed_low_bits_first_rows_padded() -> None:
    store = ConstantStore()
    signed = store.add_array(np.array([[1, -2, 3], [-8, 7, 0]], ml_dtypes.int4))
    assert stored(store, signed) == bytes([0xE1, 0x03, 0x78, 0x00])
    assert store[signed].nbytes == 4
    unsigned = store.add_array(np.array([15, 1], ml_dtypes.uint4))
    assert stored(store, unsigned) == bytes([0x1F])


def test_transforms_are_lazy_and_evaluated_while_somebody_holds_the_result() -> None:
    calls = []

    @constant_transform("test.negate")
    def negate(sources: Any, parameters: Any, shape: Any, dtype: Any) -> Any:
        calls.append(parameters["tag"])
        return -sources[0]

    store = ConstantStore()
    key = store.add_array(np.ones((4, 4), np.float32))
    lazy = store.add_transform("test.negate", [key], (4, 4), "f32", {"tag": 1})
    twice = store.add_transform("test.negate", [lazy], (4, 4), "f32", {"tag": 2})
    assert calls == []
    held = store.array(lazy)
    assert store.array(lazy) is held and np.all(store.array(twice) == 1)
    assert calls == [1, 2]


def test_the_same_transform_is_one_entry() -> None:
    store = ConstantStore()
    key = store.add_splat(1, (2, 3), "f32", "w")
    one = store.add_transform("transpose", [key], (3, 2), "f32", {"permutation": [1, 0]})
    two = store.add_transform("transpose", [key], (3, 2), "f32", {"permutation": [1, 0]})
    assert one == two == "w_transpose"
    assert store.add_transform("reshape", [key], (6,), "f32") == "w_reshape"


def test_retain_keeps_what_transforms_need() -> None:
    store = ConstantStore()
    a, b = store.add_splat(1, (2,), "f32", "a"), store.add_splat(1, (2,), "f32", "b")
    c = store.add_transform("add", [a, a], (2,), "f32", key="c")
    store.retain([c])
    assert list(store) == ["a", "c"] and b not in store


def test_digests_are_of_the_stored_bytes() -> None:
    store = ConstantStore()
    data = np.arange(12, dtype=np.int16).reshape(3, 4)
    keys = [
        store.add_array(data.T),
        store.add_transform("transpose", [store.add_array(data)], (4, 3), "i16", {"permutation": [1, 0]}),
        store.add_array(np.ascontiguousarray(data.T)),
    ]
    expected = hashlib.blake2b(data.T.tobytes(), digest_size=32).hexdigest()
    assert {store.digest(key) for key in keys} == {expected}


@given(st.data())
@settings(derandomize=True, deadline=None)
def test_chunks_of_any_view_are_its_row_major_bytes(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
    array = np.arange(int(np.prod(shape)), dtype=data.draw(st.sampled_from([np.int8, np.int32, np.float64])))
    view = array.reshape(shape).transpose(data.draw(st.permutations(range(len(shape)))))
    step = data.draw(st.sampled_from([1, 2, -1]))
    view = view[::step]
    if data.draw(st.booleans()):
        view = np.broadcast_to(view, (2, *view.shape))
    size = data.draw(st.sampled_from([8, 24, 1000]))
    chunks = [bytes(chunk) for chunk in array_chunks(view, size)]
    assert b"".join(chunks) == view.tobytes()
    assert all(len(chunk) <= max(size, view.dtype.itemsize) for chunk in chunks)


def test_save_and_load(tmp_path: Path, weights: tuple[Path, np.ndarray[Any, Any]]) -> None:
    path, _ = weights
    store = ConstantStore()
    store.add_array(np.arange(100, dtype=np.int64), key="array")
    store.add_array(np.array([[1, -2, 3]], ml_dtypes.int4), key="packed")
    store.add_file(path, 4, (1000,), "f32", "file")
    store.add_splat(2.5, (7,), "f16", "splat")
    store.add_transform("reshape", ["file"], (10, 100), "f32", key="lazy")
    target = tmp_path / "sub" / "x.constants"
    target.parent.mkdir()
    store.save(target)
    assert [p.name for p in target.parent.iterdir()] == ["x.constants"]
    loaded = ConstantStore.load(target)
    assert list(loaded) == list(store)
    for key in store:
        assert loaded.digest(key) == store.digest(key)
        assert np.array_equal(loaded.array(key), store.array(key))
    # The file's bytes are referenced, not copied; transforms stay lazy.
    assert target.stat().st_size < 4000
    assert loaded["lazy"].kind == "transform" and loaded["file"].kind == "file"
    check_digests(loaded)
    store.save(tmp_path / "again.constants")
    first = target.read_bytes()
    store.save(target)
    assert target.read_bytes() == first
    path.write_bytes(b"head" + bytes(4000) + b"tail")
    with pytest.raises(CoreIrError, match=r"IREE-IR-010.*'file'"):
        check_digests(ConstantStore.load(target))


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    store = ConstantStore()
    store.add_array(np.arange(10), key="a")
    path = tmp_path / "x.constants"
    store.save(path)
    good = path.read_bytes()
    index = good.index(b'"key"')
    for bad in (
        b"",
        good[:-1],
        good[:30],
        b"x" + good[1:],
        good[:index] + b"\xff" + good[index + 1 :],
        good + b"x",
    ):
        path.write_bytes(bad)
        with pytest.raises(CoreIrError, match="IREE-IR-010"):
            ConstantStore.load(path)
    with pytest.raises(CoreIrError, match=r"IREE-IR-010.*No such file"):
        ConstantStore.load(tmp_path / "missing")


def test_errors(tmp_path: Path) -> None:
    store = ConstantStore()
    with pytest.raises(CoreIrError, match=r"IREE-IR-008.*'nope'"):
        store["nope"]
    with pytest.raises(CoreIrError, match=r"IREE-IR-009.*float64 as elements of f32"):
        store.add_array(np.zeros(3), "f32")
    with pytest.raises(CoreIrError, match=r"IREE-IR-009.*has 3 bytes; 8 at offset 0"):
        path = tmp_path / "short"
        path.write_bytes(b"abc")
        store.add_file(path, 0, (2,), "f32")
    with pytest.raises(CoreIrError, match=r"IREE-IR-009.*No such file"):
        store.add_file(tmp_path / "missing", 0, (2,), "f32")
    with pytest.raises(CoreIrError, match=r"IREE-IR-013.*'nope'; cause: known: add, .*broadcast"):
        store.add_transform("nope", [], (1,), "f32")
    with pytest.raises(CoreIrError, match="IREE-IR-008"):
        store.add_transform("add", ["nope"], (1,), "f32")
    with pytest.raises(CoreIrError, match="not static"):
        store.add_splat(1, (-1,), "f32")
    key = store.add_splat(1, (2,), "f32")
    wrong = store.add_transform("add", [key, key], (3,), "f32")
    with pytest.raises(CoreIrError, match=r"transform 'add' gave float32\[2\], expected float32\[3\]"):
        store.array(wrong)


def test_hundred_megabytes_cost_nearly_no_memory(tmp_path: Path) -> None:
    """A file-backed constant with views on it is hashed and written through small buffers."""
    path = tmp_path / "large.bin"
    with open(path, "wb") as file:
        file.truncate(100 * MB)
    store = ConstantStore()
    tracemalloc.start()
    try:
        key = store.add_file(path, 0, (25, MB), "f32")
        turned = store.add_transform("transpose", [key], (MB, 25), "f32", {"permutation": [1, 0]})
        for name in (key, turned):
            for _ in store.chunks(name):
                pass
        assert tracemalloc.get_traced_memory()[1] < 5 * MB
    finally:
        tracemalloc.stop()
