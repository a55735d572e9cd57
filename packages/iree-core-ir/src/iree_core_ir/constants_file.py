"""``x.constants``: a ConstantStore on disk, beside ``x.mlir``.

Layout: 16-byte magic; data of array entries, each at a multiple of 64; a JSON index; a footer with
the index's offset, length and digest. Entries that come from a file stay references to it with
their digest (checked by ``check_digests``, not at load); transforms stay lazy.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iree_base.blake2 import blake2b
from iree_core_ir.errors import CoreIrError

if TYPE_CHECKING:
    from iree_core_ir.constants import ConstantEntry, ConstantStore

MAGIC = b"IREE-CONSTANTS-1"
ALIGNMENT = 64
_FOOTER = struct.Struct("<QQ32s16s")


def save(store: ConstantStore, path: Path) -> None:
    """Write through a temporary file that is renamed at the end."""
    temporary = path.with_name(path.name + f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(MAGIC)
            index = [_save_entry(store, store[key], path, file) for key in store]
            offset = file.tell()
            data = json.dumps(index, sort_keys=True, separators=(",", ":")).encode()
            file.write(data)
            digest = blake2b(data, digest_size=32).digest()
            file.write(_FOOTER.pack(offset, len(data), digest, MAGIC))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _save_entry(store: ConstantStore, entry: ConstantEntry, path: Path, file: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "key": entry.key,
        "shape": list(entry.shape),
        "element_type": entry.element_type,
        "kind": entry.kind,
    }
    if entry.kind == "array":
        file.write(b"\0" * (-file.tell() % ALIGNMENT))
        row["offset"] = file.tell()
        state = blake2b(digest_size=32)
        for chunk in store.chunks(entry.key):
            file.write(chunk)
            state.update(chunk)
        row["digest"] = state.hexdigest()
    elif entry.kind == "file":
        same = Path(entry.path).resolve() == path.resolve()
        if same:
            raise CoreIrError(
                9, f"'{entry.key}' is stored in '{path}' itself", hint="save under another name"
            )
        try:
            row["path"] = Path(os.path.relpath(entry.path, path.parent)).as_posix()
        except ValueError:  # another drive
            row["path"] = str(Path(entry.path).resolve())
        row["offset"] = entry.offset
        row["digest"] = store.digest(entry.key)
    elif entry.kind == "splat":
        row["value"] = entry.source.hex()
    else:
        row["transform"] = entry.transform
        row["sources"] = list(entry.sources)
        row["parameters"] = dict(entry.parameters)
    return row


def load(store: ConstantStore, path: Path) -> ConstantStore:
    """Fill the empty ``store`` from a file. Everything is validated before it is used."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            if size < len(MAGIC) + _FOOTER.size or file.read(len(MAGIC)) != MAGIC:
                raise CoreIrError(10, f"'{path}' is no constants file")
            file.seek(size - _FOOTER.size)
            offset, length, digest, magic = _FOOTER.unpack(file.read(_FOOTER.size))
            if magic != MAGIC or offset + length + _FOOTER.size != size:
                raise CoreIrError(10, f"'{path}'", cause="the footer is damaged or the file is cut off")
            file.seek(offset)
            data = file.read(length)
    except OSError as error:
        raise CoreIrError(10, f"'{path}'", cause=error.strerror) from None
    if blake2b(data, digest_size=32).digest() != digest:
        raise CoreIrError(10, f"'{path}'", cause="the index does not match its digest")
    for row in json.loads(data):
        _load_entry(store, row, path)
    return store


def _load_entry(store: ConstantStore, row: dict[str, Any], path: Path) -> None:
    key, shape, name, kind = row["key"], row["shape"], row["element_type"], row["kind"]
    if kind == "array":
        added = store.add_file(path, row["offset"], shape, name, key)
    elif kind == "file":
        added = store.add_file(path.parent / row["path"], row["offset"], shape, name, key)
    elif kind == "splat":
        added = store.add_splat_bytes(bytes.fromhex(row["value"]), shape, name, key)
    elif kind == "transform":
        added = store.add_transform(row["transform"], row["sources"], shape, name, row["parameters"], key)
    else:
        raise CoreIrError(10, f"'{path}'", cause=f"entry '{key}' is of unknown kind '{kind}'")
    if added != key:
        raise CoreIrError(10, f"'{path}'", cause=f"key '{key}' occurs twice")
    if "digest" in row:
        store.expected_digests[key] = row["digest"]


def check_digests(store: ConstantStore) -> None:
    """Compare all bytes with the digests recorded when the store was saved. Raises CoreIrError 10."""
    for key, expected in store.expected_digests.items():
        if key in store and store.digest(key) != expected:
            raise CoreIrError(10, f"constant '{key}'", cause="its bytes changed since the file was written")
