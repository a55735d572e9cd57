"""Results -> the terminal, ``.npy``, ``.npz`` or raw files, all of them or none.

An ``--output`` is ``[NAME=]@FILE``. Without NAME, ``@FILE.npz`` takes all results by name and any other file
the only result. ``.npy`` and ``.npz`` are numpy's formats; another suffix means raw little-endian elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from iree_base.element_types import from_dtype
from iree_cli.errors import CliError
from iree_cli.files import Batch, check_writable
from iree_cli.signatures import Signature, array_text

Array = np.ndarray[Any, Any]
SYNTAX = "[NAME=]@FILE(.npz|.npy|raw)"


class Destination(NamedTuple):
    """Where the results called ``names`` go."""

    path: Path
    names: tuple[str, ...]


def parse(texts: Iterable[str], signature: Signature) -> list[Destination]:
    """All ``--output`` texts, checked before anything runs. Raises CliError 10, 9 or 3."""
    every = tuple(slot.name for slot in signature.outputs)
    result: list[Destination] = []
    for text in texts:
        names, file = _which(text, every)
        if not file.startswith("@") or len(file) < 2:
            raise CliError(10, f"'{text}'", hint=f"--output {SYNTAX}")
        path = Path(file[1:])
        if path.suffix != ".npz" and len(names) != 1:
            raise CliError(
                10,
                f"'{text}'",
                cause=f"{path.name} holds one array, the results are {', '.join(names) or 'none'}",
                hint=f"--output NAME=@{path.name}, or --output @{path.stem}.npz",
            )
        if any(path == other.path for other in result):
            raise CliError(9, f"'{path}' as an output")
        check_writable(path)
        result.append(Destination(path, names))
    return result


def _which(text: str, every: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    for name in sorted(every, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return (name,), text[len(name) + 1 :]
    before, equals, after = text.partition("=")
    if not equals or before.startswith("@"):
        return every, text
    if before.isdecimal() and int(before) < len(every):
        return (every[int(before)],), after
    raise CliError(10, f"'{text}'", cause=f"the results are {', '.join(every) or 'none'}")


def write(destinations: Iterable[Destination], results: Mapping[str, Array]) -> None:
    """Write every file; none appears unless all could be written. Raises CliError 3."""
    with Batch() as batch:
        for path, names in destinations:
            arrays = {name: np.asarray(results[name]) for name in names}
            with batch.temporary(path).open("wb") as stream:
                if path.suffix == ".npz":
                    np.savez(stream, **arrays)  # type: ignore[arg-type]
                elif path.suffix == ".npy":
                    np.save(stream, arrays[names[0]])
                else:
                    array = arrays[names[0]]
                    stream.write(array.astype(array.dtype.newbyteorder("<")).tobytes())


def text(name: str, array: Array, limit: int) -> str:
    """``name: 2x2xf32=[[1 2] [3 4]]``, with ``...`` for what goes beyond ``limit`` elements."""
    body = np.array2string(array, threshold=max(limit, 1), edgeitems=3, max_line_width=100, separator=" ")
    return f"{name}: {array_text(array)}={' '.join(body.split())}"


def facts(name: str, array: Array, limit: int) -> dict[str, Any]:
    """The same for ``--json``; ``values`` only up to ``limit`` elements."""
    entry: dict[str, Any] = {
        "name": name,
        "dtype": from_dtype(array.dtype).name,
        "shape": list(array.shape),
    }
    if array.size <= limit:
        plain = array if array.dtype.kind in "biuf" else array.astype(np.float64)
        entry["values"] = plain.tolist() if plain.dtype.kind != "c" else [str(v) for v in plain.ravel()]
    return entry
