"""What ``nox`` runs; ``nox --list`` names it. uv makes the environments where it is installed.

``ci/test`` runs lint, types and all quick tests in one environment; the sessions here are the slower,
stricter ones beside it. ``tests`` gives every package an environment with only what it declares, so that a
sibling imported without being declared is missing there.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "ci"))

import fresh  # noqa: E402
import wheels  # noqa: E402

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "typecheck", "tests"]
nox.options.reuse_existing_virtualenvs = True

CONSTRAINTS = ("-c", str(fresh.CONSTRAINTS))
LIMITS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def closure(package: str) -> list[str]:
    """``package`` and the siblings that it declares, directly or through them, lowest layer first."""
    found: set[str] = set()
    pending = [package]
    while pending:
        name, _, rest = pending.pop().partition("[")
        extras = [extra.strip() for extra in rest.rstrip("]").split(",") if extra]
        key = f"{name}[{','.join(extras)}]"
        if key in found:
            continue
        found.add(key)
        project = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]
        wanted = [*project.get("dependencies", ())]
        for extra in extras:
            wanted += project.get("optional-dependencies", {})[extra]
        pending += [r.split(">")[0].split("<")[0].split("=")[0] for r in wanted if r.startswith("iree-")]
    names = {key.partition("[")[0] for key in found}
    return [name for name in fresh.ALL if name in names]


def test_extras(package: str) -> list[str]:
    """What the tests of ``package`` need beyond the package: its ``[dependency-groups] test``."""
    data = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())
    return [*fresh.TEST, *data.get("dependency-groups", {}).get("test", ())]


def install(session: nox.Session, packages: list[str], *extra: str, editable: bool = True) -> None:
    """Install distributions of this checkout, building them with the backend of this environment."""
    session.install(*CONSTRAINTS, *fresh.BUILD_BACKEND)
    paths: list[str] = []
    for name in packages:
        paths += ["-e", f"packages/{name}"] if editable else [f"packages/{name}"]
    session.install(*CONSTRAINTS, "--no-build-isolation", *paths, *extra)


@nox.session
@nox.parametrize("package", fresh.ALL, ids=fresh.ALL)
def tests(session: nox.Session, package: str) -> None:
    """One package's tests in an environment with only what it and its tests declare."""
    extras = test_extras(package)
    siblings = [extra for extra in extras if extra.startswith("iree-")]
    packages = {name for root in (package, *siblings) for name in closure(root)}
    others = [extra for extra in extras if not extra.startswith("iree-")]
    install(session, [name for name in fresh.ALL if name in packages], *others)
    arguments = session.posargs or ["-q", "-m", "not slow"]
    session.run("pytest", f"packages/{package}/tests", *arguments, env=LIMITS, success_codes=[0, 5])


@nox.session
def lint(session: nox.Session) -> None:
    """ruff over everything."""
    session.install(*CONSTRAINTS, "ruff")
    session.run("ruff", "check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """mypy in strict mode over all sources."""
    install(session, list(fresh.ALL), "mypy", "nox", *fresh.TEST)
    session.run("mypy", *fresh.TYPED)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """The demo as a user would run it."""
    session.run(sys.executable, "ci/demo", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """sdists and wheels of every package in dist/; every wheel pure Python and with its license."""
    session.install(*CONSTRAINTS, "build", *fresh.BUILD_BACKEND)
    output = ROOT / "dist"
    shutil.rmtree(output, ignore_errors=True)
    for name in fresh.ALL:
        session.run(
            "python", "-m", "build", "--no-isolation", "-o", str(output), f"packages/{name}", silent=True
        )
    built = sorted(output.glob("*.whl"))
    found = [f"{wheel.name}: {problem}" for wheel in built for problem in wheels.problems(wheel)]
    if found or len(built) != len(fresh.ALL):
        session.error(f"{len(built)} wheels of {len(fresh.ALL)} packages; {'; '.join(found)}")
    session.log(f"{len(built)} pure wheels, each with its license, in {output}")


@nox.session
def models(session: nox.Session) -> None:
    """Every model against onnxruntime: errors, latency, sizes. Installs torch for the exports."""
    install(session, list(fresh.ALL), "pip", *fresh.TEST, "-r", "ci/requirements-models.txt")
    # timm declares torchvision, which the topologies used here never call.
    session.install(*CONSTRAINTS, "--no-deps", "timm")
    session.run("python", "-W", "ignore", "benchmarks/models.py", *session.posargs, env=LIMITS)
    session.run("pytest", "-q", "packages/iree-vm/tests/test_inputs.py", "-k", "torch", env=LIMITS)


@nox.session
def peers(session: nox.Session) -> None:
    """Every model beside other engines, each in a process of its own. Installs them all."""
    install(session, list(fresh.ALL), "pip", *fresh.TEST, "-r", "ci/requirements-peers.txt")
    session.install(*CONSTRAINTS, "--no-deps", "timm")
    session.run("python", "-W", "ignore", "benchmarks/peers.py", *session.posargs)


@nox.session
def vulkan(session: nox.Session) -> None:
    """Every model on this machine's Vulkan device under the validation layers, then ten minutes of soak."""
    install(session, list(fresh.ALL), "pip", *fresh.TEST, *fresh.CHECKS, "-r", "ci/requirements-models.txt")
    session.install(*CONSTRAINTS, "--no-deps", "timm")
    session.run("pytest", "-q", "-rA", "tests/models/test_models_vulkan.py", *session.posargs, env=LIMITS)
    soak = ["--target", "vulkan-spirv", "--driver", "vulkan", "--profile", "device", "--minutes", "10"]
    session.run("python", "benchmarks/soak.py", *soak, env={**LIMITS, "IREE_VULKAN_VALIDATION": "1"})


@nox.session
def conformance(session: nox.Session) -> None:
    """Every driver against the HAL's suite: the table of docs/hal-conformance.md."""
    install(session, list(fresh.ALL), *fresh.TEST, *fresh.declared_for_tests())
    arguments = session.posargs or ["--page", "docs/hal-conformance.md"]
    session.run("python", "-m", "iree_hal.conformance.table", *arguments, env=LIMITS)


@nox.session
def stress(session: nox.Session) -> None:
    """The long sweeps: everything marked slow."""
    install(
        session,
        list(fresh.ALL),
        "pip",
        *fresh.TEST,
        *fresh.ORACLES,
        *fresh.CHECKS,
        *fresh.declared_for_tests(),
    )
    session.run("pytest", "-q", "-m", "slow", "packages", "tests", *session.posargs, env=LIMITS)


@nox.session
def verify(session: nox.Session) -> None:
    """Everything with self-checking on: NaN in unused memory, redzones, another order of work."""
    install(session, list(fresh.ALL), "pip", *fresh.TEST, *fresh.ORACLES, *fresh.declared_for_tests())
    arguments = session.posargs or ["-m", "not slow"]
    session.run("pytest", "-q", "packages", "tests", *arguments, env={**LIMITS, "IREE_VERIFY": "1"})
