"""The target object: options, descriptions, plugin, requests, symbols, features of this machine."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from iree_core_ir.target import DispatchRequest, SupportLevel, Target
from iree_target_llvm import plugin
from iree_target_llvm.description import describe, host_features
from iree_target_llvm.errors import LlvmError
from iree_target_llvm.llvm_object import ALLOWED_IMPORTS
from iree_target_llvm.target import LlvmCpuTarget
from iree_target_llvm.testing import run_native, run_reference

from .conftest import assert_close, function

TEXT = """
func.func @square(%a: tensor<100xf32>, %out: tensor<100xf32>) -> tensor<100xf32> {
  %r = linalg.mul ins(%a, %a : tensor<100xf32>, tensor<100xf32>) outs(%out : tensor<100xf32>) -> tensor<100xf32>
  return %r : tensor<100xf32>
}"""


def test_the_plugin_lists_without_importing_llvm() -> None:
    code = "import sys, iree_target_llvm.plugin as p; p.iree_targets(); print('llvmlite' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
    assert set(plugin.iree_targets()) == {"llvm-cpu"}
    assert isinstance(plugin.iree_targets()["llvm-cpu"](), Target)


def test_the_default_is_this_machine() -> None:
    assert set(describe({}).features) <= host_features()


def test_levels_say_every_feature() -> None:
    v3 = describe({"cpu": "x86-64-v3", "triple": "x86_64-unknown-linux-gnu"})
    assert v3.vector_bits == 256 and v3.fma and not v3.masks
    v4 = describe({"cpu": "x86-64-v4", "triple": "x86_64-unknown-linux-gnu"})
    assert v4.vector_bits == 512 and v4.masks
    less = describe({"cpu": "x86-64-v4", "features": "-avx512vl", "triple": "x86_64-unknown-linux-gnu"})
    assert less.vector_bits == 256
    assert describe({"triple": "aarch64-unknown-linux-gnu"}).architecture == "aarch64"


@pytest.mark.parametrize(
    "options",
    [
        {"cpu": "pentium"},
        {"features": "+warp-drive"},
        {"triple": "z80-unknown-none"},
        {"frequency": "high"},
    ],
)
def test_bad_options_are_coded_errors(options: dict[str, str]) -> None:
    with pytest.raises(LlvmError) as caught:
        describe({"triple": "x86_64-unknown-linux-gnu", **options})
    assert caught.value.hint


def test_descriptions_differ_in_their_keys() -> None:
    a, b = describe({"cpu": "x86-64-v3", "triple": "x86_64-a-b"}), describe({"triple": "x86_64-a-b"})
    assert a.key() != b.key()


def test_compile_dispatch(best: Any) -> None:
    target = LlvmCpuTarget()
    compiled = target.compile_dispatch(DispatchRequest("square", TEXT, best))
    export = compiled.exports[0]
    assert export.name == "square" and export.bindings == ("read", "write")
    assert compiled.features == best.features
    assert compiled.report["strategy"] == "vector-loops"
    func = function(TEXT)
    a = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert_close(run_native(func, compiled, {0: a})[0], run_reference(func, {0: a})[0])


def test_objects_are_reproducible(best: Any) -> None:
    target = LlvmCpuTarget()
    request = DispatchRequest("square", TEXT, best)
    assert target.compile_dispatch(request) == target.compile_dispatch(request)


def test_objects_import_only_what_the_loader_provides(best: Any) -> None:
    from iree_hal.elf.parse import SHN_UNDEF, parse

    text = TEXT.replace("linalg.mul ins(%a, %a", "linalg.powf ins(%a, %a")
    compiled = LlvmCpuTarget().compile_dispatch(DispatchRequest("square", text, best))
    undefined = {s.name for s in parse(compiled.data).symbols if s.section == SHN_UNDEF and s.name}
    assert undefined <= ALLOWED_IMPORTS


def test_support(best: Any) -> None:
    target = LlvmCpuTarget()
    op = next(op for op in function(TEXT).walk() if op.name == "linalg.mul")
    assert target.query_support(op, best).level is SupportLevel.YES
    text = TEXT.replace("f32", "i4")
    op = next(op for op in function(text).walk() if op.name == "linalg.mul")
    support = target.query_support(op, best)
    assert not support and "i4" in support.reasons[0]


def test_the_format_follows_the_machine() -> None:
    target = LlvmCpuTarget()
    assert target.format_of(describe({"triple": "aarch64-unknown-linux-gnu"})) == "elf-aarch64"
    assert target.needs_worker(describe({"triple": "riscv64-unknown-linux-gnu"}))
    assert not target.needs_worker(describe({}))
