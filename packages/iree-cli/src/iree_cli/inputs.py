"""``--input`` texts -> numpy arrays by input name.

An input is ``[WHICH=]VALUE``. WHICH is the input's name or its position; without it the value goes to the
next input that has none. VALUE is one of

=====================  ==================================================================
``1x128xi64=0``        a type, then one value for every element
``2x3xf32=1 2 3 4 5 6``  a type, then all elements, with or without brackets and commas
``f32=1.5``            a scalar
``0.5``, ``[1,2,3]``   elements alone: the type is the function's
``@x.npy``             a numpy file
``@x.npz``             a numpy archive: with WHICH that member, without it each member by its name
``@x.npz:member``      one member of it
``@x.bin``             raw little-endian elements of the function's type
``2x3xf32=@x.bin``     raw little-endian elements of this type
``random``, ``random:7``  seeded values: normal for floats, small for integers (also after a type)
=====================  ==================================================================

A text before the first ``=`` that reads as a type is one, unless an input has that very name.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from iree_base.element_types import ELEMENT_TYPES, ElementType, element_type
from iree_cli.errors import CliError
from iree_cli.files import reading
from iree_cli.signatures import Signature, Slot, array_text, type_text

Array = np.ndarray[Any, Any]

SYNTAX = "[NAME=|INDEX=](TYPE=VALUES | VALUES | @FILE.npy | @FILE.npz[:MEMBER] | @FILE | random[:SEED])"

_NAMES = "|".join(sorted((re.escape(name) for name in ELEMENT_TYPES), key=len, reverse=True))
_TYPE = re.compile(rf"((?:\d+x)*)({_NAMES})")
_RANDOM = re.compile(r"random(?::(\d+))?")
_SEPARATORS = re.compile(r"[\s,\[\]()]+")
_SIZE_LIMIT = 1 << 40


class Literal(NamedTuple):
    """A value as written: ``shape`` and ``kind`` are None where the function's own are to be used."""

    shape: tuple[int, ...] | None
    kind: ElementType | None
    text: str


def parse_type(text: str) -> tuple[tuple[int, ...], ElementType] | None:
    """``1x128xi64`` -> ((1, 128), i64); None when ``text`` is not a type."""
    match = _TYPE.fullmatch(text)
    if match is None:
        return None
    return tuple(int(size) for size in match[1].split("x") if size), element_type(match[2])


def resolve(texts: Iterable[str], signature: Signature) -> dict[str, Array]:
    """All ``--input`` texts as arrays by input name, in the function's order.

    Raises CliError 6 (a text that cannot be read), 8 (no such input), 9 (given twice), 2 (file).
    """
    values: dict[str, Array] = {}
    unnamed: list[str] = []
    for text in texts:
        which, value = split(text, signature)
        if which is not None:
            _put(values, which.name, read(value, which), text)
        elif _is_archive(value):
            for name, array in _archive(_path(value)).items():
                _put(values, _slot(name, signature, text).name, array, text)
        else:
            unnamed.append(value)
    free = [slot for slot in signature.inputs if slot.name not in values]
    if len(unnamed) > len(free):
        raise CliError(
            8,
            f"'{unnamed[len(free)]}'",
            cause=f"{signature.name} takes {len(signature.inputs)}: {_listing(signature.inputs)}",
            hint="give each input once",
        )
    for slot, value in zip(free, unnamed, strict=False):
        values[slot.name] = read(value, slot)
    return {slot.name: values[slot.name] for slot in signature.inputs if slot.name in values}


def complete(
    texts: Iterable[str], signature: Signature, seed: int, *, seed_given: bool = False
) -> dict[str, Array]:
    """All inputs: those of ``texts``, and seeded values for the others (see :func:`fill`).

    Raises CliError 4 where the user gave a seed that nothing needs, and what :func:`resolve` and :func:`fill`
    raise.
    """
    values = resolve(texts, signature)
    if seed_given and len(values) == len(signature.inputs):
        raise CliError(4, "--seed", cause="every input is given")
    fill(values, signature, seed)
    return values


def require_all(values: Mapping[str, Array], signature: Signature) -> None:
    """Raise CliError 7 unless every input has a value."""
    missing = [slot for slot in signature.inputs if slot.name not in values]
    if missing:
        total = len(signature.inputs)
        raise CliError(
            7,
            _listing(missing),
            cause=f"{signature.name} takes {total}, {total - len(missing)} given",
            hint=f"--input {missing[0].name}=@FILE.npy",
        )


def split(text: str, signature: Signature) -> tuple[Slot | None, str]:
    """``WHICH=VALUE`` -> (the input WHICH means, VALUE); (None, text) when there is no WHICH."""
    for slot in sorted(signature.inputs, key=lambda slot: -len(slot.name)):
        if text.startswith(f"{slot.name}="):
            return slot, text[len(slot.name) + 1 :]
    before, equals, after = text.partition("=")
    if not equals or before.startswith("@") or parse_type(before) is not None:
        return None, text
    return _slot(before, signature, text), after


def _slot(which: str, signature: Signature, text: str) -> Slot:
    for slot in signature.inputs:
        if slot.name == which:
            return slot
    if which.isdecimal() and int(which) < len(signature.inputs):
        return signature.inputs[int(which)]
    raise CliError(
        8,
        f"'{which}' in '{_short(text)}'",
        cause=f"{signature.name} has {_listing(signature.inputs)}",
        hint="name one of them, or give its position",
    )


def _put(values: dict[str, Array], name: str, array: Array, text: str) -> None:
    if name in values:
        raise CliError(9, f"'{name}' by '{_short(text)}'", hint="give each input once")
    values[name] = array


def _listing(slots: Sequence[Slot]) -> str:
    return ", ".join(map(str, slots)) or "no inputs"


# -- one value --------------------------------------------------------------------------------------


def read(text: str, slot: Slot) -> Array:
    """One VALUE as an array for ``slot``. Raises CliError 6 or 2."""
    literal = _literal(text)
    random = _RANDOM.fullmatch(literal.text)
    if random is not None:
        return generate(_sizes(literal, slot, text), literal.kind or slot.element_type, int(random[1] or 0))
    if literal.text.startswith("@"):
        return _file(literal, slot, text)
    return _elements(literal, slot, text)


def _literal(text: str) -> Literal:
    before, equals, after = text.partition("=")
    parsed = parse_type(before) if equals else None
    return Literal(*parsed, after) if parsed is not None else Literal(None, None, text)


def _sizes(literal: Literal, slot: Slot, text: str) -> tuple[int, ...]:
    if literal.shape is not None:
        return literal.shape
    if slot.static:
        return tuple(int(size) for size in slot.shape)
    example = type_text(tuple(1 if isinstance(s, str) else s for s in slot.shape), slot.element_type)
    raise CliError(
        6,
        f"'{text}' for {slot}",
        cause="its sizes are only known at run time",
        hint=f"say them: {slot.name}={example}={text}",
    )


def _elements(literal: Literal, slot: Slot, text: str) -> Array:
    kind = literal.kind or slot.element_type
    words = [word for word in _SEPARATORS.split(literal.text) if word]
    if literal.shape is None and not slot.static and len(slot.shape) == 1:
        shape: tuple[int, ...] = (len(words),)  # a list of its own length is the natural reading
    else:
        shape = _sizes(literal, slot, text)
    count = _count(shape, kind, text)
    if len(words) not in (1, count) or (not words and count):
        raise CliError(
            6,
            f"'{_short(text)}' for {slot}",
            cause=f"{type_text(shape, kind)} has {count} elements, the text has {len(words)}",
            hint="give one value for all of them, or each",
        )
    _check_carrier(kind)
    values = [_number(word, kind, slot) for word in words]
    if len(values) == 1:
        return np.full(shape, values[0], dtype=kind.dtype)
    return np.array(values, dtype=kind.dtype).reshape(shape)


def _check_carrier(kind: ElementType) -> None:
    """Types that numpy lacks are carried as integers where ml-dtypes is missing: fine for files, not here."""
    if kind.kind == "f" and kind.dtype.kind == "u":
        raise CliError(5, f"ml-dtypes, to write values of type {kind.name}", hint="pip install ml-dtypes")


def _count(shape: Sequence[int], kind: ElementType, text: str) -> int:
    count = 1
    for size in shape:
        count *= size
    if count * kind.bytes > _SIZE_LIMIT:
        raise CliError(6, f"'{_short(text)}'", cause=f"{type_text(shape, kind)} would not fit in memory")
    return count


def _number(word: str, kind: ElementType, slot: Slot) -> Any:
    """One element as a Python value that fits ``kind`` exactly, or, for floats, by rounding."""
    low = word.lower()
    try:
        if kind.kind == "b":
            return {"true": True, "false": False, "1": True, "0": False}[low]
        if kind.kind in "iu":
            value = int(low, 0)
            return value if _fits(value, kind) else _reject(word, kind, slot)
        if kind.kind == "c":
            return complex(low)
        return float.fromhex(low) if low.lstrip("+-").startswith("0x") else float(low)
    except (KeyError, ValueError, OverflowError):
        return _reject(word, kind, slot)


def _fits(value: int, kind: ElementType) -> bool:
    if kind.kind == "u":
        return 0 <= value < 1 << kind.bits
    return -(1 << kind.bits - 1) <= value < 1 << kind.bits - 1


def _reject(word: str, kind: ElementType, slot: Slot) -> Any:
    raise CliError(6, f"'{_short(word)}' for {slot}", cause=f"it is not a value of type {kind.name}")


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


# -- files ------------------------------------------------------------------------------------------


def _path(text: str) -> Path:
    return Path(text[1:])


def _is_archive(text: str) -> bool:
    return text.startswith("@") and text.endswith(".npz")


def _file(literal: Literal, slot: Slot, text: str) -> Array:
    name = literal.text
    archive, colon, member = name.rpartition(".npz:")
    if colon:
        return _typed(_member(Path(f"{archive[1:]}.npz"), member), literal, text)
    path = _path(name)
    if path.suffix == ".npz":
        arrays = _archive(path)
        if slot.name in arrays:
            return _typed(arrays[slot.name], literal, text)
        if len(arrays) == 1:
            return _typed(next(iter(arrays.values())), literal, text)
        raise CliError(
            6, f"'{text}'", cause=f"{path} has {', '.join(arrays) or 'no arrays'}, not {slot.name}"
        )
    if path.suffix == ".npy":
        return _typed(_array(path), literal, text)
    return _raw(path, literal, slot, text)


def _typed(array: Array, literal: Literal, text: str) -> Array:
    """``array``, which must have the type that the text states, if it states one."""
    if literal.kind is not None and literal.shape is not None:
        stated = type_text(literal.shape, literal.kind)
        if stated != array_text(array):
            raise CliError(6, f"'{text}'", cause=f"the file holds {array_text(array)}")
    return array


def _load(path: Path) -> Array | dict[str, Array]:
    """What a numpy file holds: one array, or an archive's arrays by name."""
    with reading(path), path.open("rb") as stream:
        try:
            loaded = np.load(stream, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                return {name: loaded[name] for name in loaded.files}
        except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise CliError(6, f"@{path}", cause=f"not a numpy file: {error}") from error


def _array(path: Path) -> Array:
    loaded = _load(path)
    if isinstance(loaded, dict):
        raise CliError(6, f"@{path}", cause="it is an archive, not one array", hint="rename it to .npz")
    return loaded


def _archive(path: Path) -> dict[str, Array]:
    loaded = _load(path)
    if not isinstance(loaded, dict):
        raise CliError(6, f"@{path}", cause="it holds one array, not an archive", hint="rename it to .npy")
    return loaded


def _member(path: Path, member: str) -> Array:
    arrays = _archive(path)
    if member not in arrays:
        raise CliError(6, f"@{path}:{member}", cause=f"it has {', '.join(arrays) or 'no arrays'}")
    return arrays[member]


def _raw(path: Path, literal: Literal, slot: Slot, text: str) -> Array:
    kind = literal.kind or slot.element_type
    shape = _sizes(literal, slot, text)
    expected = _count(shape, kind, text) * kind.dtype.itemsize
    with reading(path):
        size = path.stat().st_size
        data = path.read_bytes() if size == expected else b""
    if size != expected:
        raise CliError(
            6, f"'{text}'", cause=f"{type_text(shape, kind)} takes {expected} bytes, {path} has {size}"
        )
    return np.frombuffer(data, kind.dtype.newbyteorder("<")).astype(kind.dtype).reshape(shape)


def generate(shape: Sequence[int], kind: ElementType, seed: int) -> Array:
    """Seeded values: standard normal for floats, 0 or 1 for integers and booleans (valid as indices)."""
    _check_carrier(kind)
    random = np.random.default_rng(seed)
    shape = tuple(shape)
    if kind.kind == "f":
        return np.asarray(random.standard_normal(shape)).astype(kind.dtype)
    if kind.kind == "c":
        return np.asarray(random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(
            kind.dtype
        )
    return np.asarray(random.integers(0, 2, shape)).astype(kind.dtype)


def fill(values: dict[str, Array], signature: Signature, seed: int) -> None:
    """Give every input without a value seeded ones. Raises CliError 14 where its sizes are not known."""
    for number, slot in enumerate(signature.inputs):
        if slot.name in values:
            continue
        if not slot.static:
            example = type_text(tuple(1 if isinstance(s, str) else s for s in slot.shape), slot.element_type)
            raise CliError(14, str(slot), hint=f"--input {slot.name}={example}=random")
        shape = tuple(int(size) for size in slot.shape)
        values[slot.name] = generate(shape, slot.element_type, seed + number)
