"""Every distribution has the same shape: files, metadata, ranges on siblings; ci/ knows them all."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "ci"))

import changed  # noqa: E402
import fresh  # noqa: E402
import wheels as ci_wheels  # noqa: E402

PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))


def project(package: str) -> dict[str, Any]:
    data: dict[str, Any] = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())
    return data


@pytest.mark.parametrize("package", PACKAGES)
def test_files(package: str) -> None:
    folder, module = ROOT / "packages" / package, package.replace("-", "_")
    for name in ("README.md", "CHANGELOG.md", f"src/{module}/__init__.py", f"src/{module}/py.typed"):
        assert (folder / name).exists(), name
    assert list((folder / "tests").rglob("test_*.py")), "no tests"
    version = project(package)["project"]["version"]
    assert f"## {version}" in (folder / "CHANGELOG.md").read_text()
    assert (folder / "README.md").read_text().startswith(f"# {package}\n")
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes(), "a wheel holds its own copy"


@pytest.mark.parametrize("package", PACKAGES)
def test_metadata(package: str) -> None:
    data = project(package)
    assert data["build-system"]["build-backend"] == "hatchling.build"
    assert data["project"]["name"] == package
    assert data["project"]["requires-python"] == ">=3.11"
    assert data["project"]["license"] == "Apache-2.0 WITH LLVM-exception"
    assert not data["tool"].keys() - {"hatch"}, "tool settings belong into the root pyproject.toml"


@pytest.mark.parametrize("package", PACKAGES)
def test_siblings_are_wanted_in_ranges_that_fit(package: str) -> None:
    data = project(package)["project"]
    extras = [r for extra in data.get("optional-dependencies", {}).values() for r in extra]
    for requirement in [*data["dependencies"], *extras]:
        match = re.fullmatch(r"(iree-[a-z-]+)(?:\[[a-z,]+\])?(.*)", requirement)
        if match is None:
            continue
        name, ranges = match.groups()
        bounds = re.fullmatch(r">=(\d+)\.(\d+),<(\d+)\.(\d+)", ranges)
        assert bounds is not None, f"{requirement} is not a range like >=0.1,<0.2"
        low, high = tuple(map(int, bounds.groups()[:2])), tuple(map(int, bounds.groups()[2:]))
        version = tuple(map(int, project(name)["project"]["version"].split(".")[:2]))
        assert low <= version < high, f"{requirement}, but the checkout has {version}"


def test_helpers_of_tests_have_names_of_their_own() -> None:
    """One process runs all tests, so two helpers of one name would hide each other."""
    owner: dict[str, Path] = {}
    for folder in (*ROOT.glob("packages/*/tests"), ROOT / "tests", ROOT / "benchmarks", ROOT / "examples"):
        for path in folder.glob("*.py"):
            if not path.name.startswith(("test_", "conftest")):
                assert path.name not in owner, f"{path} and {owner[path.name]}"
                owner[path.name] = path


def test_ci_knows_every_package_lowest_layer_first() -> None:
    assert sorted(fresh.ALL) == PACKAGES
    needs = changed.needs()
    hard = {
        name: {
            r for r in needs[name] if any(d.startswith(r) for d in project(name)["project"]["dependencies"])
        }
        for name in PACKAGES
    }
    for position, name in enumerate(fresh.ALL):
        later = set(fresh.ALL[position:])
        assert not hard[name] & later, f"{name} comes before {hard[name] & later}"
    assert set(fresh.RUNTIME) <= set(fresh.ALL)


def test_what_checks_itself_in_ci_is_there() -> None:
    """Paths that are gone would end the run with a usage error, but only there."""
    script = runpy.run_path(str(ROOT / "ci" / "test"), run_name="ci_test")
    for name in script["SELF_CHECKED"]:
        path = ROOT / name
        assert path.is_file() or any(path.rglob("test_*.py")), name
    for name in script["SELF_CHECKED_ELSEWHERE"]:
        path, _, test = name.partition("::")
        assert f"def {test.partition('[')[0]}(" in (ROOT / path).read_text(), name


def test_a_change_affects_the_layers_above() -> None:
    assert "iree-cli" in changed.affected(["packages/iree-base/src/iree_base/errors.py"])
    assert changed.affected(["packages/iree-cli/README.md"]) == ["iree-cli"]
    assert changed.affected(["docs/layout.md", "README.md"]) == []
    assert changed.affected(["packages/iree-cli/README.md", "noxfile.py"]) == [changed.EVERYTHING]


def test_the_root_has_tool_settings_only() -> None:
    assert set(tomllib.loads((ROOT / "pyproject.toml").read_text())) == {"tool"}


@pytest.mark.slow
def test_wheels_and_sdists_are_pure_and_complete(tmp_path: Path) -> None:
    for package in PACKAGES:
        command = [sys.executable, "-m", "build", "--no-isolation", "-o", str(tmp_path)]
        subprocess.run([*command, str(ROOT / "packages" / package)], check=True, capture_output=True)
    assert len(list(tmp_path.glob("*.tar.gz"))) == len(PACKAGES)
    wheels = sorted(tmp_path.glob("*.whl"))
    assert len(wheels) == len(PACKAGES)
    for wheel in wheels:
        assert not ci_wheels.problems(wheel), wheel.name
