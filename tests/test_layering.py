"""Layers: packages import what they declare, the runtime nothing of the compiler, targets stay apart.

Read from the sources (every ``import`` in them, also inside functions) and the ``pyproject.toml`` files.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import iree_hal
from iree_core_ir import plugins as compiler_plugins

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))

RUNTIME = ("iree-base", "iree-hal", "iree-vm")
COMPILER_MODULES = {"iree_core_ir", "iree_codegen", "iree_flow", "iree_input_onnx", "llvmlite", "onnx"}

EXTRAS: dict[str, tuple[str, ...]] = {
    "iree-hal": ("iree_hal/compiler/", "iree_hal/conformance/"),
    "iree-vm": ("iree_vm/compiler/",),
    "iree-cli": ("iree_cli/commands/", "iree_cli/discovery.py"),
    "iree-base": ("iree_base/element_types.py",),
    "iree-target-vulkan": (
        "iree_target_vulkan/printer/",
        "iree_target_vulkan/description.py",
        "iree_target_vulkan/target.py",
    ),
}
"""Where a package may import what only its extras declare; everywhere else an extra must not be needed."""

MODULE_OF = {"ml-dtypes": "ml_dtypes", "protobuf": "google"}

DEVELOPERS_TOOLS = {
    ("iree-hal", "iree_hal/executor/build.py", "llvmlite"): "rebuilds the native executor that ships as data",
}
"""Imports of scripts that are never loaded by the package itself."""

TARGETS = [name for name in PACKAGES if name.startswith("iree-target-")]

TARGET_WORDS = ("vulkan", "spirv", "cuda", "rocm", "hip", "metal", "webgpu", "opencl", "llvm-cpu", "llvmcpu")
"""Names of targets and of what they compile for, beside those that the installed ones have."""

WORDS_OF_LANGUAGE = {"reference"}
"""Names of targets that are ordinary words: looked for only as a whole string, or in quotes."""

ALLOWED_WORDS = {
    ("iree-cli", "iree_cli/commands/compile.py", "iree-target-llvm"): "the documented install command",
}
"""(package, file, word) -> why it stands there."""


@cache
def project(package: str) -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())
    return data["project"]


def modules_of(requirements: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {MODULE_OF.get(name[0], name[0].replace("-", "_")) for name in names if name}


def declared(package: str) -> set[str]:
    return modules_of(project(package)["dependencies"])


def declared_by_extras(package: str) -> set[str]:
    extras = project(package).get("optional-dependencies", {}).values()
    return modules_of([requirement for extra in extras for requirement in extra])


def sources(package: str) -> Iterator[tuple[str, ast.Module]]:
    folder = ROOT / "packages" / package / "src"
    for path in sorted(folder.rglob("*.py")):
        yield path.relative_to(folder).as_posix(), ast.parse(path.read_text(), filename=str(path))


def imports(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(top-level module, line) of every import, skipping what only type checkers see."""
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            hidden.update(inner for child in node.body for inner in ast.walk(child))
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_imported_is_declared(package: str) -> None:
    own = package.replace("-", "_")
    always = declared(package) | {own} | set(sys.stdlib_module_names)
    extras = declared_by_extras(package)
    undeclared = []
    for path, tree in sources(package):
        allowed = always | extras if path.startswith(EXTRAS.get(package, ())) else always
        undeclared += [
            f"{path}:{line} imports {name}"
            for name, line in imports(tree)
            if name not in allowed and (package, path, name) not in DEVELOPERS_TOOLS
        ]
    assert not undeclared, "\n".join(undeclared)


def test_declared_siblings_form_layers() -> None:
    graph = {name: {d.replace("_", "-") for d in declared(name)} & set(PACKAGES) for name in PACKAGES}
    placed: list[str] = []
    while len(placed) < len(graph):
        free = sorted(n for n, needs in graph.items() if n not in placed and needs <= set(placed))
        assert free, f"a cycle among {sorted(graph.keys() - set(placed))}"
        placed += free


@pytest.mark.parametrize("package", RUNTIME)
def test_the_runtime_imports_nothing_of_the_compiler(package: str) -> None:
    compile_time = EXTRAS[package] if package != "iree-base" else ()
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in sources(package)
        if not path.startswith(compile_time or ("\0",))
        for name, line in imports(tree)
        if name in COMPILER_MODULES and (package, path, name) not in DEVELOPERS_TOOLS
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("module", ["iree_base.plugins", "iree_hal", "iree_vm", "iree_cli.main"])
def test_importing_the_runtime_leaves_the_compiler_out(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({COMPILER_MODULES!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_listing_all_plugins_imports_nothing_heavy() -> None:
    code = (
        "import sys; from iree_cli import discovery; discovery.records(); "
        "print(*sorted({'llvmlite', 'onnx', 'vulkan'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere LLVM may be asked what the machine can do")
def test_a_compile_from_the_cache_loads_only_what_it_needs(tmp_path: Path) -> None:
    """Not LLVM where all kernels are known, not the runtime, not the parser of IR, nothing that draws."""
    from onnx import helper

    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, 1, [4]) for name in ("x", "y")]
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    avoided = {"llvmlite", "iree_hal.device", "iree_vm.loading", "iree_core_ir.text.parser", "rich.console"}
    code = (
        "import sys; from iree_cli.main import run; "
        "assert run(['compile', 'm.onnx', '--target', 'llvm-cpu', '-o', 'm.vmfb']) == 0; "
        f"print(*sorted({avoided!r} & sys.modules.keys()))"
    )
    loaded = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "IREE_CACHE_DIR": str(tmp_path / "cache")},
        ).stdout.split()
        for _ in range(2)
    ]
    assert "llvmlite" in loaded[0]
    assert loaded[1] == []


def constants(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(text, line) of string constants that are not docstrings."""
    documents: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documents.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value, node.lineno


@cache
def target_words() -> frozenset[str]:
    """What only targets may say: the fixed list, and the targets, drivers, loaders, modules and packages that
    their plugins bring.
    """
    words = {*TARGET_WORDS, *TARGETS, *(name.replace("-", "_") for name in TARGETS)}
    managers = (compiler_plugins.manager(), iree_hal.plugins())
    hooks = ("iree_targets", "iree_drivers", "iree_executable_loaders")
    for manager, hook in itertools.product(managers, hooks):
        names = manager.provided(hook)
        words.update(
            name
            for record in manager.records
            if record.distribution in TARGETS
            for name in names
            if name in record.owns.get(hook, ())
        )
    return frozenset(words)


def says(text: str) -> Iterator[str]:
    """The targets' words in a string constant."""
    for word in target_words():
        if word in WORDS_OF_LANGUAGE:
            if text == word or f"'{word}'" in text or f'"{word}"' in text or f"={word}" in text:
                yield word
        elif re.search(rf"(?<![a-z0-9]){re.escape(word)}(?![a-z0-9])", text, re.IGNORECASE):
            yield word


def identifiers(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(name, line) of everything that a module defines or refers to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg | ast.keyword) and node.arg:
            yield node.arg, node.lineno


def parts(name: str) -> set[str]:
    """The words of an identifier, single and in pairs: ``makeLlvmCpu`` -> make, llvm, cpu, llvm-cpu, ..."""
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]
    return {*words, *(f"{a}-{b}" for a, b in itertools.pairwise(words))}


@pytest.mark.parametrize("package", [name for name in PACKAGES if name not in TARGETS])
def test_target_names_stay_in_targets(package: str) -> None:
    """No string (documents apart) and no name outside of targets says one, so no branch can ask for one."""
    found = []
    for path, tree in sources(package):
        for text, line in constants(tree):
            found += [
                f"{path}:{line} says {word!r}"
                for word in says(text)
                if (package, path, word) not in ALLOWED_WORDS
            ]
        plain = target_words() - WORDS_OF_LANGUAGE
        for name, line in identifiers(tree):
            found += [f"{path}:{line} names {word!r}: {name}" for word in sorted(parts(name) & plain)]
    assert not found, "\n".join(found)


def test_the_lint_knows_the_installed_targets_and_sees_what_it_should() -> None:
    assert {
        "llvm-cpu",
        "vulkan-spirv",
        "vulkan",
        "reference",
        "iree_target_llvm",
    } <= target_words()
    for text in ("vulkan://0", "my-vulkan", "a VULKAN device", "spirv", "reference", "target 'reference'"):
        assert list(says(text)), text
    for text in ("a reference of the wrong kind", "spirit", "metallic", "hipster"):
        assert not list(says(text)), text
    tree = ast.parse("def pick(t):\n    if t.is_vulkan or emitSpirv(t): return LlvmCpuTarget\n")
    named = {word for name, _ in identifiers(tree) for word in parts(name) & target_words()}
    assert named == {"vulkan", "spirv", "llvm-cpu"}


def test_nothing_outside_of_targets_imports_one() -> None:
    modules = {name.replace("-", "_") for name in TARGETS}
    found = [
        f"{path}:{line} imports {name}"
        for package in PACKAGES
        for path, tree in sources(package)
        for name, line in imports(tree)
        if name in modules - {package.replace("-", "_")}
    ]
    assert not found, "\n".join(found)


def closure(package: str) -> set[str]:
    """What installing ``package`` without extras brings, as module names."""
    found: set[str] = set()
    pending = [package.replace("-", "_")]
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            name = module.replace("_", "-")
            pending += declared(name) if name in PACKAGES else ()
    return found


RUN_ONLY = (*RUNTIME, "iree-cli", "iree-target-vulkan")


@pytest.mark.parametrize("package", RUN_ONLY)
def test_a_run_only_install_brings_no_compiler(package: str) -> None:
    assert not closure(package) & COMPILER_MODULES


def test_targets_that_only_compile_need_no_runtime_of_another() -> None:
    modules = {name.replace("-", "_") for name in TARGETS}
    for name in TARGETS:
        assert not closure(name) & (modules - {name.replace("-", "_")})
