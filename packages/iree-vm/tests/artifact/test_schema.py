"""The small schema language."""

from __future__ import annotations

import pytest

from iree_vm import VmError
from iree_vm.artifact.schema import Natural, check, parse

SCHEMA = {"a": Natural, "b?": [(str, None)], "c": ("x", {"d": float}), "*": bool}


@pytest.mark.parametrize(
    "value",
    [{"a": 0, "c": "x"}, {"a": 5, "b": ["t", None], "c": {"d": 1}}, {"a": 1, "c": {"d": 1.5}, "other": True}],
)
def test_fits(value: object) -> None:
    check(value, SCHEMA, 56)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "top level: an object expected"),
        ({"c": "x"}, "'a' is missing"),
        ({"a": -1, "c": "x"}, "a: a size"),
        ({"a": True, "c": "x"}, "a: a size"),
        ({"a": 1 << 63, "c": "x"}, "a: a size"),
        ({"a": 1, "c": "y"}, 'c: "x" or an object'),
        ({"a": 1, "c": {"d": "1"}}, "c.d: a number"),
        ({"a": 1, "c": "x", "b": ["t", 3]}, "b[1]: a string or null"),
        ({"a": 1, "c": "x", "more": 1}, "more: true or false"),
    ],
)
def test_departures_name_the_place(value: object, message: str) -> None:
    with pytest.raises(VmError) as caught:
        check(value, SCHEMA, 56)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"nan", b"Infinity", b"[" * 5000, b"\x80"])
def test_parse_refuses(text: bytes) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-056"):
        parse(text, 56)
