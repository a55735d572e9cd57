"""index: the meanings of arith at 64 bits, on Python ints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_core_ir.dialects.arith_attributes import CMPI_PREDICATES

Evaluate = Callable[..., Any]
SAME = {
    "add": "addi", "sub": "subi", "mul": "muli", "divs": "divsi", "divu": "divui", "ceildivs": "ceildivsi",
    "ceildivu": "ceildivui", "floordivs": "floordivsi", "rems": "remsi", "remu": "remui", "maxs": "maxsi",
    "maxu": "maxui", "mins": "minsi", "minu": "minui", "shl": "shli", "shrs": "shrsi", "shru": "shrui",
    "and": "andi", "or": "ori", "xor": "xori",
}  # fmt: skip
I64 = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-70, 70)


@given(a=I64, b=I64)
def test_as_arith(evaluate: Evaluate, a: int, b: int) -> None:
    for name, arith in SAME.items():
        found = evaluate(f"index.{name} %a, %b", ["index"] * 2, "index", a, b)
        assert isinstance(found, int)
        assert found == evaluate(f"arith.{arith} %a, %b : index", ["index"] * 2, "index", a, b)
    for predicate in CMPI_PREDICATES:
        found = evaluate(f"index.cmp {predicate}(%a, %b)", ["index"] * 2, "i1", a, b)
        assert isinstance(found, np.bool_)
        assert found == evaluate(f"arith.cmpi {predicate}, %a, %b : index", ["index"] * 2, "i1", a, b)


@pytest.mark.parametrize(
    ("assembly", "types", "value", "expected"),
    [
        ("index.casts %a : i8 to index", ("i8", "index"), np.int8(-3), -3),
        ("index.castu %a : i8 to index", ("i8", "index"), np.int8(-3), 253),
        ("index.casts %a : index to i8", ("index", "i8"), 300, 44),
        ("index.castu %a : index to i1", ("index", "i1"), 3, True),
    ],
)
def test_casts(evaluate: Evaluate, assembly: str, types: tuple[str, str], value: Any, expected: Any) -> None:
    assert evaluate(assembly, [types[0]], types[1], value) == expected


def test_constants(evaluate: Evaluate) -> None:
    assert evaluate("index.constant -4", [], "index") == -4
    assert evaluate("index.bool.constant true", [], "i1")
    assert evaluate("index.sizeof", [], "index") == 64
