"""Ten dispatches compiled for aarch64, linked statically in Python and run under qemu: nothing assumes x86."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.driver import compile_all
from iree_core_ir.target import DispatchRequest
from iree_core_ir.text.printer import print_op
from iree_target_llvm.description import describe
from iree_target_llvm.llvm_object import compile_text
from iree_target_llvm.static_link import link, startup_text
from iree_target_llvm.target import LlvmCpuTarget
from iree_target_llvm.testing import evaluate, run_reference

from .conftest import assert_close, function
from .test_contractions import CONVOLUTIONS, inputs, product
from .test_elementwise import binary, unary
from .test_movement import gather
from .test_reductions import reduction

QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")

pytestmark = pytest.mark.skipif(
    QEMU is None and not os.environ.get("CI"),
    reason="qemu-aarch64 is not installed (Debian: qemu-user-static)",
)

RNG = np.random.default_rng(0)


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


SOFTMAX = """
func.func @softmax(%a: tensor<5x43xf32>, %out: tensor<5x43xf32>) -> tensor<5x43xf32> {
  %r = linalg_ext.softmax dimension(1) ins(%a : tensor<5x43xf32>) outs(%out : tensor<5x43xf32>) -> tensor<5x43xf32>
  return %r : tensor<5x43xf32>
}"""
TRANSPOSE = """
func.func @transpose(%a: tensor<18x33xf32>, %out: tensor<33x18xf32>) -> tensor<33x18xf32> {
  %r = linalg.transpose ins(%a : tensor<18x33xf32>) outs(%out : tensor<33x18xf32>) permutation = [1, 0]
  return %r : tensor<33x18xf32>
}"""
SORT = """
func.func @sort(%a: tensor<3x20xf32>, %out: tensor<3x20xf32>) -> tensor<3x20xf32> {
  %r = linalg_ext.sort dimension(1) ins(%a : tensor<3x20xf32>) outs(%out : tensor<3x20xf32>) -> tensor<3x20xf32>
  return %r : tensor<3x20xf32>
}"""

DISPATCHES: dict[str, tuple[str, dict[int, Any]]] = {
    "divide integers": (binary("arith.divsi", "i32"), {0: np.arange(37, dtype=np.int32), 1: np.zeros(37, np.int32)}),
    "halves": (binary("arith.addf", "f16"), {i: floats(37).astype(np.float16) for i in (0, 1)}),
    "brain floats": (
        unary("%r = arith.truncf %x : f32 to bf16", "f32", "bf16"), {0: floats(37)},
    ),
    "functions": (unary("%e = math.exp %x : f32\n %t = math.tanh %e : f32\n %r = math.erf %t : f32", "f32", "f32"), {0: floats(37)}),
    "sum": (reduction("arith.addf", "f32", (5, 83), (1,), "0.0"), {0: floats(5, 83)}),
    "softmax": (SOFTMAX, {0: floats(5, 43)}),
    "product": (product(13, 29, 33), inputs(13, 29, 33)),
    "convolution": (CONVOLUTIONS["nchw"], {0: floats(2, 5, 9, 21), 1: floats(7, 5, 3, 3)}),
    "gather": (gather(0), {0: floats(40, 24), 1: np.arange(9)}),
    "transpose": (TRANSPOSE, {0: floats(18, 33)}),
    "sort": (SORT, {0: floats(3, 20)}),
}  # fmt: skip


def test_kernels_run_on_aarch64(tmp_path: Path) -> None:
    assert QEMU is not None, "CI must have qemu-aarch64"
    description = describe({"triple": "aarch64-unknown-linux-gnu"})
    functions = {name: function(text) for name, (text, _) in DISPATCHES.items()}
    requests = [
        DispatchRequest(f.sym_name.value, print_op(f.parent_op, locations=False), description)
        for f in functions.values()
    ]
    objects = compile_all(LlvmCpuTarget(), requests, jobs=1, cache=False)
    for (name, func), compiled in zip(functions.items(), objects, strict=True):
        given = DISPATCHES[name][1]
        dispatch = Dispatch(func)
        arrays = []
        for binding in dispatch.bindings:
            shape = [dim_ops.evaluate(d, {}) for d in binding.dims]
            dtype = element_type(str(binding.value.type.element_type)).dtype
            arrays.append(np.ascontiguousarray(given.get(binding.argument, np.zeros(shape, dtype))))
        export = compiled.exports[0]
        x, y, z = (evaluate(e, ()) for e in export.workgroup_count)
        text = startup_text("aarch64", export, arrays, (), (x, y, z))
        startup = compile_text(
            text, description, optimize=False, name="startup", imports=("syscall3", export.name)
        )
        program = tmp_path / "program"
        program.write_bytes(link(compiled.data, startup, export.name, "aarch64"))
        program.chmod(0o755)
        ran = subprocess.run([QEMU, str(program)], capture_output=True, timeout=60, check=False)
        assert ran.returncode == 0, (name, ran.returncode, ran.stdout[:4])
        expected = run_reference(func, given)
        data = ran.stdout
        for want in expected:
            got = np.frombuffer(data[: want.nbytes], want.dtype).reshape(want.shape)
            data = data[want.nbytes :]
            assert_close(got, want, 1e-5)
