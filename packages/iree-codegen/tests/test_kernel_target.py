"""What targets of kernel IR share: the requested function, its kernel, and the checks around legalization."""

from __future__ import annotations

import pytest

from iree_codegen.errors import CodegenError
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.kernel_target import kernel_of, legalize_kernel, requested_function
from iree_core_ir.target import DispatchRequest

TEXT = """
func.func private @other(%x: tensor<4xf32>) -> tensor<4xf32> { return %x : tensor<4xf32> }
func.func @wanted(%x: tensor<4xf32> {iree.access = "read"}, %y: tensor<4xf32> {iree.access = "write"}) -> tensor<4xf32> {
  %0 = linalg.exp ins(%x : tensor<4xf32>) outs(%y : tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
DESCRIPTION = InvocationDescription("test")
REQUEST = DispatchRequest("wanted", TEXT, DESCRIPTION)


def test_the_function_is_found_by_name() -> None:
    assert requested_function(REQUEST).sym_name.value == "wanted"


def test_functions_without_an_instruction_are_gone_after_legalization() -> None:
    kernel = kernel_of(requested_function(REQUEST), DESCRIPTION)
    assert any(op.name == "math.exp" for op in kernel.module.walk())
    legalize_kernel(kernel, DESCRIPTION)
    assert not any(op.name == "math.exp" for op in kernel.module.walk())


def test_a_kernel_that_breaks_its_form_is_found_when_verifying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IREE_VERIFY", "1")
    kernel = kernel_of(requested_function(REQUEST), DESCRIPTION)
    entry = next(op for op in kernel.module.walk() if "iree.kernel" in op.attributes)
    del entry.attributes["iree.kernel"]
    with pytest.raises(CodegenError, match="expected one entry function"):
        legalize_kernel(kernel, DESCRIPTION)
