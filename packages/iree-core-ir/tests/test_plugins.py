"""Compiler plugins: found by name, lazily; the contract modules are light."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from iree_base.errors import PluginError
from iree_base.plugins import PluginManager
from iree_core_ir import hookspecs, plugins
from iree_core_ir.ir import dialect as dialects
from iree_core_ir.ir.declaration import operand
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op
from iree_core_ir.target import (
    ExecutableObject,
    ExportObject,
    Support,
    SupportLevel,
    Target,
    TargetDescription,
)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    monkeypatch.setenv("IREE_PLUGINS", "")
    manager = PluginManager(hookspecs.GROUP, hookspecs, hookspecs.API)
    monkeypatch.setattr(plugins, "manager", lambda: manager)
    return manager


def test_a_dialect_of_a_plugin_is_imported_when_first_needed(host: PluginManager) -> None:
    imported = []

    def getter() -> Dialect:
        imported.append("plugged")

        class Hello(Op, name="plugged.hello"):
            value = operand()
            assembly_format = "$value attr-dict `:` type($value)"

        return Dialect("plugged", ops=[Hello])

    host.register(SimpleNamespace(__name__="p", api=(1, 0), iree_dialects=lambda: {"plugged": getter}))
    assert dialects.find_op("unplugged.hello") is None and imported == []
    from iree_core_ir.text.parser import parse_module

    text = "func.func @f(%x: i32) { plugged.hello %x : i32 return }"
    assert "plugged.hello %x : i32" in str(parse_module(text))
    assert imported == ["plugged"]
    dialects._dialects.pop("plugged")
    dialects._ops.pop("plugged.hello")


def test_targets_and_frontends_are_found_or_listed(host: PluginManager) -> None:
    target = object()
    host.register(
        SimpleNamespace(
            __name__="t",
            api=(1, 0),
            iree_targets=lambda: {"llvm-cpu": lambda: target},
            iree_frontends=lambda: {".onnx": lambda: target, "onnx": lambda: target},
        )
    )
    assert plugins.find_target("llvm-cpu") is target
    assert plugins.find_frontend(".onnx") is target
    with pytest.raises(PluginError, match=r"target 'vulkan'; cause: installed: llvm-cpu; next: pip install"):
        plugins.find_target("vulkan")


def test_passes_of_plugins_join_the_core(host: PluginManager) -> None:
    host.register(SimpleNamespace(__name__="q", api=(1, 0), iree_passes=lambda: {"mine": lambda: "class"}))
    assert set(plugins.pass_getters()) >= {"cse", "mine"}


@pytest.mark.parametrize("module", ["iree_core_ir.hookspecs", "iree_core_ir.target", "iree_core_ir.plugins"])
def test_contract_modules_import_no_ir(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "heavy = [m for m in sys.modules if m.startswith(('iree_core_ir.ir', 'iree_core_ir.text', "
        "'iree_core_ir.dialects', 'llvmlite', 'onnx'))]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_support_and_descriptions() -> None:
    assert Support.yes() and Support.partly("slow") and not Support.no("f8")
    assert Support.partly("a", "b").reasons == ("a", "b") and Support.no().level is SupportLevel.NO
    one = TargetDescription("t", ("avx2",), (("cpu", "x"),))
    assert one.key() == TargetDescription("t", ("avx2",), (("cpu", "x"),)).key()
    assert one.key() != TargetDescription("t", ("avx2", "fma")).key()
    assert one.to_json() == {
        "target": "t",
        "features": ("avx2",),
        "options": (("cpu", "x"),),
        "binding_alignment": 64,
        "slice_alignment": 1,
    }


def test_the_target_protocol_is_checkable() -> None:
    class Mine:
        name = "mine"
        driver = "null"
        format = "null"
        option_names = ()

        def describe(self, options: object) -> TargetDescription:
            return TargetDescription("mine")

        def query_support(self, op: object, description: object) -> Support:
            return Support.yes()

        def constant_layout(self, dispatch: object, description: object) -> list[object]:
            return []

        def compile_dispatch(self, request: object) -> ExecutableObject:
            count = (["const", 1], ["const", 1], ["const", 1])
            return ExecutableObject(b"", (ExportObject("f", ("read",), 0, count),))  # type: ignore[arg-type]

    assert isinstance(Mine(), Target)
    assert not isinstance(object(), Target)
