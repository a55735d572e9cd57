"""Errors: codes, exit codes, pickling."""

from __future__ import annotations

import pickle

import pytest

from iree_hal import errors
from iree_hal.errors import HalError, KernelError


def test_numbers_and_texts_match() -> None:
    numbers = {v for k, v in vars(errors).items() if k.isupper() and not k.startswith("EXIT_")}
    assert numbers == set(HalError.table)


@pytest.mark.parametrize("number", sorted(HalError.table))
def test_every_error_has_code_text_and_exit_code(number: int) -> None:
    error = HalError(number, "detail", cause="cause", hint="step")
    assert str(error).startswith(f"IREE-HAL-{number:03d}: ")
    assert "\n" not in str(error)
    assert error.status in (2, 3, 4)


def test_kernel_error_says_what_and_where() -> None:
    error = KernelError(5 << 16 | 1, "gather_0", 1, 5, 7, source="node 'emb'")
    text = "index out of range in 'gather_0', assertion 5 [at node 'emb']"
    assert str(error) == f"IREE-HAL-010: a kernel reported an error: {text}"
    assert isinstance(error, HalError)


def test_errors_survive_pickling() -> None:
    for error in (HalError(3, "x", hint="y"), KernelError(2, "k", 2, 0, 4, source="here")):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
    assert again.command_index == 4
