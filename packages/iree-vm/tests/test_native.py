"""Functions written in Python: what they give is brought into its type, what they raise is coded."""

from __future__ import annotations

import numpy as np
import pytest

from iree_vm import Context, NativeModule, VmError
from iree_vm.bytecode.assembler import assemble


def context(signature: str, function: object, results: str) -> Context:
    native = NativeModule("n")
    native.export("f", f"() -> ({signature})")(function)  # type: ignore[type-var]
    text = f"""module @m
        import @n.f() -> ({signature})
        func @f() -> ({signature}) {{
          {results} = call @n.f()
          return {results}
        }}
        export @f"""
    return Context([native, assemble(text)])


@pytest.mark.parametrize(
    ("kind", "letter", "value", "wanted"),
    [
        ("i32", "i", 1 << 31, -(1 << 31)),
        ("i32", "i", np.int64(5), 5),
        ("i64", "l", True, 1),
        ("f32", "f", 0.1, float(np.float32(0.1))),
        ("f64", "d", 3, 3.0),
        ("ref", "r", "anything", "anything"),
    ],
)
def test_results_take_their_type(kind: str, letter: str, value: object, wanted: object) -> None:
    got = context(kind, lambda: value, f"%{letter}0").call("m.f")
    assert got == wanted
    assert type(got) is type(wanted)


@pytest.mark.parametrize("value", [None, "text", 1.5, [1]])
def test_results_of_a_wrong_kind(value: object) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-017.*@n\.f"):
        context("i32", lambda: value, "%i0").call("m.f")


def test_a_wrong_number_of_results() -> None:
    with pytest.raises(VmError, match=r"3 results instead of 2"):
        context("i32, i32", lambda: (1, 2, 3), "%i0, %i1").call("m.f")


def test_exceptions_keep_their_cause() -> None:
    def broken() -> None:
        raise KeyError("inner")

    with pytest.raises(VmError, match=r"IREE-VM-017.*KeyError") as caught:
        context("i32", broken, "%i0").call("m.f")
    assert isinstance(caught.value.__cause__, KeyError)


def test_coded_errors_pass_through() -> None:
    def broken() -> None:
        raise VmError(11, "mine")

    with pytest.raises(VmError, match=r"IREE-VM-011.*mine"):
        context("i32", broken, "%i0").call("m.f")


def test_a_name_is_taken_once() -> None:
    native = NativeModule("n")
    native.export("f", "()")(lambda: None)
    with pytest.raises(VmError, match=r"IREE-VM-016"):
        native.export("f", "()")(lambda: None)
