"""Checking JSON against a description: every departure is one coded error that names the place.

A schema is a Python value: a type, ``[schema]`` for lists, ``{"key": schema, "key?": schema}`` for objects
(``?`` marks what may be absent; other keys are errors unless ``"*": schema`` is there), a tuple of
alternatives, ``None`` for null, ``Natural`` for integers >= 0, or any other value for itself.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from iree_vm.errors import VmError

MAX_NESTING = 100


class Natural:
    """An integer >= 0 that fits 63 bits."""


_WORDS = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    float: "a number",
    Natural: "a size (>= 0)",
}


def _describe(schema: Any) -> str:
    if isinstance(schema, tuple):
        return " or ".join(map(_describe, schema))
    if isinstance(schema, list):
        return "a list"
    if isinstance(schema, dict):
        return "an object"
    return _WORDS[schema] if isinstance(schema, type) else json.dumps(schema)


def _fits(value: Any, schema: Any) -> bool:
    """Shallow test, enough to choose among alternatives."""
    if isinstance(schema, dict):
        return isinstance(value, dict)
    if isinstance(schema, list):
        return isinstance(value, list)
    if schema is Natural:
        return type(value) is int and 0 <= value < 1 << 63
    if schema is float:
        return type(value) in (int, float)
    if isinstance(schema, type):
        return type(value) is schema
    return type(value) is type(schema) and bool(value == schema)


def check(value: Any, schema: Any, number: int, path: str = "") -> None:
    """Raise VmError ``number`` at the first place where ``value`` is not what ``schema`` says."""

    def fail(message: str) -> NoReturn:
        raise VmError(number, f"{path or 'top level'}: {message}", hint="compile the model again")

    if isinstance(schema, tuple):
        for alternative in schema:
            if _fits(value, alternative):
                check(value, alternative, number, path)
                return
    if not isinstance(schema, tuple) and _fits(value, schema):
        if isinstance(schema, list):
            for index, item in enumerate(value):
                check(item, schema[0], number, f"{path}[{index}]")
        elif isinstance(schema, dict):
            keys = {key.removesuffix("?"): (key.endswith("?"), inner) for key, inner in schema.items()}
            rest = keys.pop("*", None)
            for key, (optional, _) in keys.items():
                if key not in value and not optional:
                    fail(f"'{key}' is missing")
            for key, item in value.items():
                if key in keys:
                    check(item, keys[key][1], number, f"{path}.{key}".lstrip("."))
                elif rest is not None:
                    check(item, rest[1], number, f"{path}.{key}".lstrip("."))
                else:
                    fail(f"'{key}' is unknown")
        return
    text = json.dumps(value)
    fail(f"{_describe(schema)} expected, got {text if len(text) < 60 else text[:57] + '...'}")


def parse(data: bytes | memoryview, number: int) -> Any:
    """JSON from bytes. Raises VmError ``number``; NaN, infinities and deep nesting count as damage."""

    def reject(word: str) -> NoReturn:
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(bytes(data).decode("utf-8"), parse_constant=reject)
    except (ValueError, RecursionError) as error:
        raise VmError(number, "not JSON", cause=str(error)[:120], hint="compile the model again") from None
