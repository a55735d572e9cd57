"""Numbers that depend on a call: postfix tokens over its constant words."""

from __future__ import annotations

import pytest

from iree_base.postfix import Number, evaluate


@pytest.mark.parametrize(
    ("number", "value"),
    [
        (7, 7),
        ([7], 7),
        (["w1"], 5),
        (["d1"], 5 + (6 << 32)),
        (["w0", 4, "*"], 12),
        ([7, 2, "//", 7, 2, "/^", "-"], -1),
        ([7, 4, "%", 9, "min", 2, "max", 1, "+"], 4),
    ],
)
def test_values(number: Number, value: int) -> None:
    assert evaluate(number, [3, 5, 6]) == value


@pytest.mark.parametrize("number", [[], ["+"], [1, 2], ["w3"], ["d2"], ["w-1"], ["x0"], ["w"], [1, 0, "//"]])
def test_what_makes_no_sense_has_no_value(number: Number) -> None:
    assert evaluate(number, [3, 5, 6]) is None
