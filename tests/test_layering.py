"""Layers: packages import what they declare, the runtime nothing of the compiler, targets stay apart.

Read from the sources (every ``import`` in them, also inside functions) and the ``pyproject.toml`` files.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

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

TARGET_WORDS = ("llvm-cpu", "vulkan", "vulkan-spirv", "spirv", "cuda", "rocm", "metal", "webgpu")
ALLOWED_WORDS = {
    ("iree-flow", "iree_flow/options.py", "llvm-cpu"): "the default of --target",
    ("iree-flow", "iree_flow/compiler.py", "llvm-cpu"): "the same default in compile()'s signature",
}


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


def constants(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """(text, line) of string constants that are not docstrings."""
    documents: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documents.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value, node.lineno


@pytest.mark.parametrize("package", [name for name in PACKAGES if not name.startswith("iree-target-")])
def test_target_names_stay_in_targets(package: str) -> None:
    found = []
    for path, tree in sources(package):
        for text, line in constants(tree):
            found += [
                f"{path}:{line} says {word!r}"
                for word in TARGET_WORDS
                if re.search(rf"(?<![\w-]){word}(?![\w-])", text)
                and (package, path, word) not in ALLOWED_WORDS
            ]
    assert not found, "\n".join(found)
