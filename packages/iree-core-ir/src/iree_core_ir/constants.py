"""The ConstantStore: the weights of one compilation, outside the IR.

The IR holds ``dense_resource<key>``; the store maps the key to a source: an array, a range of a file
(mapped at use), a splat, or a lazy transform of other keys. Nothing is copied when an entry is added;
transforms are evaluated when their bytes are first needed, one constant at a time.
"""

from __future__ import annotations

import json
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iree_base.blake2 import blake2b
from iree_base.element_types import ElementType, element_type, from_dtype
from iree_base.packed_rows import from_bytes, pack_rows, packed_bytes
from iree_base.records import field, record
from iree_core_ir.constant_transforms import transform_function
from iree_core_ir.errors import CoreIrError

Array = np.ndarray[Any, Any]
CHUNK = 1 << 20
CHUNKS_KEPT = 2
"""Chunks of a mapped file that may stay in memory while it is read in order."""
DIGEST_BYTES = 32


@record(frozen=True)
class ConstantEntry:
    """One constant: what it is and where its elements come from.

    ``kind`` is ``array``, ``file``, ``splat`` or ``transform``. Only the fields of that kind are set.
    """

    key: str
    shape: tuple[int, ...]
    element_type: str
    kind: str
    source: Any = field(default=None, repr=False)
    """``array``: the array; ``splat``: the bytes of one element."""
    path: str = ""
    offset: int = 0
    transform: str = ""
    sources: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def row(self) -> ElementType:
        return element_type(self.element_type)

    @property
    def n_elements(self) -> int:
        count = 1
        for dim in self.shape:
            count *= dim
        return count

    @property
    def nbytes(self) -> int:
        """Stored bytes; sub-byte elements are packed along the last dimension, rows padded to a byte."""
        return packed_bytes(self.shape, self.row)


class ConstantStore:
    """Key -> constant, in the order of addition. Keys are deterministic (``c0``, ``c1``, ...)."""

    def __init__(self) -> None:
        self._entries: dict[str, ConstantEntry] = {}
        self._counter = 0
        self._suffixes: dict[str, int] = {}
        self._transforms: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self.expected_digests: dict[str, str] = {}
        """Digests recorded when the store was saved; ``constants_file.check_digests`` compares them."""
        self._evaluated: weakref.WeakValueDictionary[str, Array] = weakref.WeakValueDictionary()

    # -- adding ----------------------------------------------------------------------------------

    def add_array(self, array: Any, element_type: str | None = None, key: str | None = None) -> str:
        """Add an array (kept, not copied; do not write to it later); returns its key.

        ``element_type`` defaults to the dtype's. Raises CoreIrError 9 when they do not match.
        """
        array = np.asarray(array)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        name = from_dtype(array.dtype).name if element_type is None else element_type
        expected = _dtype(name)
        if array.dtype != expected:
            raise CoreIrError(9, f"an array of {array.dtype} as elements of {name}")
        return self._add(key, array.shape, name, "array", source=array)

    def add_file(
        self,
        path: str | os.PathLike[str],
        offset: int,
        shape: Sequence[int],
        element_type: str,
        key: str | None = None,
    ) -> str:
        """Add little-endian row-major elements at ``offset`` of a file, read when used."""
        path = os.fspath(path)
        entry = ConstantEntry("", tuple(shape), element_type, "file", path=path, offset=offset)
        try:
            size = os.path.getsize(path)
        except OSError as error:
            raise CoreIrError(9, f"file '{path}'", cause=error.strerror) from None
        if offset < 0 or offset + entry.nbytes > size:
            raise CoreIrError(
                9, f"file '{path}' has {size} bytes; {entry.nbytes} at offset {offset} were expected"
            )
        return self._add(key, shape, element_type, "file", path=path, offset=offset)

    def add_splat(self, value: Any, shape: Sequence[int], element_type: str, key: str | None = None) -> str:
        """Add a constant whose elements all equal ``value``; takes no memory."""
        data = np.asarray(value).astype(_dtype(element_type)).tobytes()
        return self.add_splat_bytes(data, shape, element_type, key)

    def add_splat_bytes(
        self, data: bytes, shape: Sequence[int], element_type: str, key: str | None = None
    ) -> str:
        """As ``add_splat``, from the little-endian bytes of one element."""
        if len(data) != _dtype(element_type).itemsize:
            raise CoreIrError(9, f"{len(data)} bytes are no element of {element_type}")
        return self._add(key, shape, element_type, "splat", source=data)

    def add_transform(
        self,
        kind: str,
        sources: Sequence[str],
        shape: Sequence[int],
        element_type: str,
        parameters: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> str:
        """Add the lazy result of the registered transform ``kind`` on ``sources``.

        Adding the same transform again returns the same key. Raises CoreIrError 13 for an unknown
        kind, 8 for an unknown source.
        """
        transform_function(kind)
        for source in sources:
            self[source]
        parameters = dict(parameters or {})
        identity = json.dumps([kind, list(sources), list(shape), element_type, parameters], sort_keys=True)
        known = self._transforms.get(identity)
        if known is not None and key in (None, known):
            return known
        if key is None:
            key = f"{sources[0]}_{kind}" if sources else kind
        found = self._add(
            key,
            shape,
            element_type,
            "transform",
            transform=kind,
            sources=tuple(sources),
            parameters=parameters,
        )
        self._transforms[identity] = found
        return found

    def _add(self, key: str | None, shape: Sequence[int], element_type: str, kind: str, **fields: Any) -> str:
        shape = tuple(int(dim) for dim in shape)
        if any(dim < 0 for dim in shape):
            raise CoreIrError(9, f"shape {shape} is not static")
        _dtype(element_type)
        key = self._unique(key)
        self._entries[key] = ConstantEntry(key, shape, element_type, kind, **fields)
        return key

    def _unique(self, key: str | None) -> str:
        if key is None:
            while f"c{self._counter}" in self._entries:
                self._counter += 1
            return f"c{self._counter}"
        if key not in self._entries:
            return key
        number = self._suffixes.get(key, 0)
        while f"{key}_{number}" in self._entries:
            number += 1
        self._suffixes[key] = number + 1
        return f"{key}_{number}"

    # -- looking up -----------------------------------------------------------------------------

    def __getitem__(self, key: str) -> ConstantEntry:
        try:
            return self._entries[key]
        except KeyError:
            raise CoreIrError(8, f"'{key}'") from None

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def retain(self, keys: Iterable[str]) -> None:
        """Drop every entry that neither ``keys`` nor their transforms need."""
        needed: set[str] = set()
        pending = list(keys)
        while pending:
            key = pending.pop()
            if key not in needed:
                needed.add(key)
                pending.extend(self[key].sources)
        self._entries = {key: entry for key, entry in self._entries.items() if key in needed}
        self._transforms = {i: key for i, key in self._transforms.items() if key in needed}

    # -- reading ----------------------------------------------------------------------------------

    def array(self, key: str) -> Array:
        """The elements as a read-only array; files are mapped, splats broadcast, nothing copied.

        A transform is evaluated; its result lives as long as somebody holds it.
        """
        entry = self[key]
        if entry.kind == "array":
            view: Array = entry.source.view()
        elif entry.kind == "splat":
            view = np.broadcast_to(np.frombuffer(entry.source, _dtype(entry.element_type))[0], entry.shape)
        elif entry.kind == "file":
            view = self._mapped(entry)
        else:
            found = self._evaluated.get(key)
            if found is not None:
                return found
            view = self._evaluate(entry)
            self._evaluated[key] = view
        view.flags.writeable = False
        return view

    def _mapped(self, entry: ConstantEntry) -> Array:
        dtype = _dtype(entry.element_type)
        if entry.n_elements == 0:
            return np.empty(entry.shape, dtype)
        try:
            # A mapping of bytes, then a view: some dtypes of ml-dtypes cannot be mapped directly.
            raw = np.memmap(entry.path, np.uint8, "r", entry.offset, (entry.nbytes,))
            return from_bytes(raw.view(np.ndarray), entry.shape, entry.row)
        except (OSError, ValueError) as error:
            raise CoreIrError(9, f"'{entry.key}' in file '{entry.path}'", cause=str(error)) from None

    def _evaluate(self, entry: ConstantEntry) -> Array:
        function = transform_function(entry.transform)
        sources = [self.array(source) for source in entry.sources]
        dtype = _dtype(entry.element_type)
        with np.errstate(all="ignore"):
            result = function(sources, entry.parameters, entry.shape, dtype)
        if result.shape != entry.shape or result.dtype != dtype:
            raise CoreIrError(
                9,
                f"'{entry.key}': transform '{entry.transform}' gave {result.dtype}{list(result.shape)}, "
                f"expected {dtype}{list(entry.shape)}",
            )
        return result.view()

    def chunks(self, key: str, size: int = CHUNK) -> Iterator[memoryview]:
        """The stored bytes, little-endian and row-major, at most ``size`` bytes at a time.

        A chunk is valid until the next one is asked for.
        """
        entry = self[key]
        if entry.kind == "file":
            yield from _file_chunks(entry, size)
        elif entry.kind == "splat" and entry.row.bits >= 8:
            yield from _splat_chunks(entry, size)
        else:
            array = self.array(key)
            mapping = _mapping(array)
            if entry.row.bits < 8:
                array = pack_rows(array, entry.row)
            sequential = array.flags.c_contiguous
            for i, chunk in enumerate(array_chunks(array, size), 1):
                yield chunk
                if sequential and i % CHUNKS_KEPT == 0:
                    _release(mapping)
            _release(mapping)

    def digest(self, key: str) -> str:
        """blake2b-256 of the stored bytes, hexadecimal; computed once."""
        found = self._digests.get(key)
        if found is None:
            state = blake2b(digest_size=DIGEST_BYTES)
            for chunk in self.chunks(key):
                state.update(chunk)
            found = self._digests[key] = state.hexdigest()
        return found

    # -- files --------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the store beside an ``.mlir`` file; see ``constants_file``."""
        from iree_core_ir.constants_file import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ConstantStore:
        """The store written by ``save``, its bytes mapped. Raises CoreIrError 10 for a damaged file."""
        from iree_core_ir.constants_file import load

        return load(cls(), Path(path))


def _dtype(name: str) -> np.dtype[Any]:
    return element_type(name).dtype


def _file_chunks(entry: ConstantEntry, size: int) -> Iterator[memoryview]:
    """Read, not mapped: mapped pages would count as the process's memory."""
    buffer = bytearray(min(size, entry.nbytes) or 1)
    remaining = entry.nbytes
    try:
        with open(entry.path, "rb", buffering=0) as file:
            file.seek(entry.offset)
            while remaining:
                view = memoryview(buffer)[: min(size, remaining)]
                count = file.readinto(view)
                if not count:
                    raise CoreIrError(9, f"'{entry.key}': file '{entry.path}' is too short")
                yield view[:count]
                remaining -= count
    except OSError as error:
        raise CoreIrError(9, f"'{entry.key}' in file '{entry.path}'", cause=error.strerror) from None


def _splat_chunks(entry: ConstantEntry, size: int) -> Iterator[memoryview]:
    width = len(entry.source)
    per_chunk = max(1, min(size // width, entry.n_elements))
    block = memoryview(entry.source * per_chunk)
    remaining = entry.n_elements
    while remaining:
        count = min(per_chunk, remaining)
        yield block[: count * width]
        remaining -= count


def array_chunks(array: Array, size: int = CHUNK) -> Iterator[memoryview]:
    """The row-major bytes of any array; only one chunk of a strided one is ever copied."""
    if array.size == 0:
        return
    if array.flags.c_contiguous:
        raw = memoryview(array.reshape(-1).view(np.uint8).data)
        for start in range(0, len(raw), size):
            yield raw[start : start + size]
        return
    row_bytes = array.nbytes // array.shape[0]
    if row_bytes > size:
        for part in array:
            yield from array_chunks(part, size)
        return
    rows = max(1, size // row_bytes)
    for start in range(0, array.shape[0], rows):
        part = np.ascontiguousarray(array[start : start + rows])
        yield memoryview(part.reshape(-1).view(np.uint8).data)


def _mapping(array: Array) -> mmap.mmap | None:
    """The file mapping that ``array`` is a view of."""
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def _release(mapping: mmap.mmap | None) -> None:
    """Let go of the pages read so far; they come back from the file when touched again."""
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)
