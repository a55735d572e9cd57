"""Signatures: text and back, flattening of variadic segments."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_vm import VmError
from iree_vm.bytecode.types import TYPES, Register, Signature, Variadic, parse_signature

_type = st.sampled_from(TYPES)
_argument = st.one_of(_type, st.lists(_type, min_size=1, max_size=3).map(lambda t: Variadic(tuple(t))))
SIGNATURES = st.builds(
    lambda a, r: Signature(tuple(a), tuple(r)), st.lists(_argument, max_size=5), st.lists(_type, max_size=3)
)


@settings(database=None, derandomize=True, deadline=None)
@given(SIGNATURES)
def test_round_trip(signature: Signature) -> None:
    assert parse_signature(str(signature)) == signature


def test_results_may_be_left_out() -> None:
    assert parse_signature("(i32)") == Signature(("i32",), ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "i32",
        "(i33)",
        "(i32",
        "(i32,) -> ()",
        "(,i32)",
        "([])...",
        "([]...)",
        "(i32 i64)",
        "() -> i32",
        "(i32) -> (x)",
    ],
)
def test_bad_text_is_a_coded_error(text: str) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-004"):
        parse_signature(text)


def test_flat_repeats_segments() -> None:
    signature = parse_signature("(ref, [i64, f32]..., [ref]...)")
    assert signature.is_variadic
    assert signature.flat((2, 0)) == ["ref", "i64", "f32", "i64", "f32"]
    assert signature.flat((1,)) is None
    assert signature.flat((1, 1, 1)) is None


def test_registers_print_bank_and_ordinal() -> None:
    assert [str(Register(bank, 7)) for bank in range(5)] == ["%i7", "%l7", "%f7", "%d7", "%r7"]
