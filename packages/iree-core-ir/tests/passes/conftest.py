"""``transform(name, pipeline, text)``: run a pipeline, verify, compare with a golden file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.pass_manager import PassManager
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify


def run_pipeline(pipeline: str, text: str) -> str:
    module = parse_module(text, allow_unregistered=True)
    verify(module)
    PassManager.parse(pipeline, verify_each=True).run(module)
    return print_op(module)


@pytest.fixture
def transform(golden: Callable[[str, str], None]) -> Callable[[str, str, str], None]:
    def check(name: str, pipeline: str, text: str) -> None:
        result = run_pipeline(pipeline, text)
        golden(f"{name}.mlir", result)
        assert run_pipeline(pipeline, result) == result, "the pass is not idempotent"

    return check
