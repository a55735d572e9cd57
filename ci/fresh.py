"""From a machine with only Python >= 3.11 and pip to an environment that holds this checkout.

``ci/test`` and ``ci/demo`` share it. Everything is made below ``build/`` (or ``IREE_BUILD_DIR``) and made
again when the requirements change; nothing outside that folder is touched, save for Debian packages when
run as root.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

MINIMUM = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "ci" / "constraints.txt"

BUILD_BACKEND = ("hatchling", "editables")
TEST = ("pytest", "pytest-xdist", "hypothesis")
ORACLES = ("onnxruntime", "scipy", "mpmath", "xdsl")
"""Independent implementations that tests compare with; no package needs them."""
CHECKS = ("ruff", "mypy", "nox", "build")
RUNTIME = ("iree-base", "iree-hal", "iree-vm")
"""What a machine that only runs compiled models has, lowest layer first."""
ALL = (
    "iree-base",
    "iree-core-ir",
    "iree-codegen",
    "iree-hal",
    "iree-vm",
    "iree-input-onnx",
    "iree-flow",
    "iree-target-llvm",
    "iree-target-reference",
    "iree-target-vulkan",
    "iree-cli",
)
"""Every distribution, each after the ones it needs."""
TYPED = (
    *(f"packages/{name}/src" for name in ALL),
    "benchmarks",
    "examples",
    "ci",
    "ci/demo",
    "ci/test",
    "noxfile.py",
)
"""What mypy checks in strict mode."""


def say(text: str) -> None:
    print(f"-- {text}", flush=True)


def run(command: Sequence[str | Path], **options: object) -> None:
    """Run ``command``; when it fails, say which and stop with its exit code."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"failed ({done.returncode}): {' '.join(str(part) for part in command)}")


def build_folder() -> Path:
    """Where everything that these scripts make goes."""
    return Path(os.environ.get("IREE_BUILD_DIR") or ROOT / "build").resolve()


def check_python() -> None:
    if sys.version_info < MINIMUM:
        have, need = (".".join(map(str, version[:2])) for version in (sys.version_info, MINIMUM))
        raise SystemExit(f"Python {need} or newer is needed, this is {have} ({sys.executable})")


def uv() -> str | None:
    """The path of uv, or None: everything also works with pip alone."""
    beside = Path(sys.executable).with_name("uv")
    return shutil.which("uv") or (str(beside) if beside.exists() else None)


def local(names: Sequence[str]) -> list[Path]:
    """The folders of distributions of this checkout."""
    return [ROOT / "packages" / name for name in names]


def declared_for_tests() -> list[str]:
    """What packages list as ``[dependency-groups] test``, siblings left out: those are all there."""
    wanted: set[str] = set()
    for name in ALL:
        data = tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())
        wanted.update(data.get("dependency-groups", {}).get("test", ()))
    return sorted(requirement for requirement in wanted if not requirement.startswith("iree-"))


class Environment:
    """A virtual environment at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        scripts = "Scripts" if os.name == "nt" else "bin"
        suffix = ".exe" if os.name == "nt" else ""
        self.scripts = folder / scripts
        self.python = self.scripts / f"python{suffix}"

    def script(self, name: str) -> Path:
        return self.scripts / (name + (".exe" if os.name == "nt" else ""))

    def create(self) -> None:
        """Make it anew, with the standard library's venv or, where Debian left that out, with virtualenv."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if tool := uv():
            run([tool, "venv", "--quiet", "--seed", "--python", sys.executable, self.folder])
            return
        if importable("ensurepip"):
            run([sys.executable, "-m", "venv", self.folder])
            return
        say("this Python has no ensurepip: using virtualenv from the package index")
        bootstrap = self.folder.parent / "bootstrap"
        run([sys.executable, "-m", "pip", "install", "--quiet", "--target", bootstrap, "virtualenv"])
        run(
            [sys.executable, "-m", "virtualenv", "--quiet", self.folder],
            env={**os.environ, "PYTHONPATH": str(bootstrap)},
        )

    def install(self, *requirements: str | Path, editable: bool = False, isolated: bool = False) -> None:
        """Install names, and folders of this checkout (``editable``: in place)."""
        arguments: list[str | Path] = ["-c", CONSTRAINTS]
        if not isolated:
            arguments.append("--no-build-isolation")
        for requirement in requirements:
            if editable and isinstance(requirement, Path):
                arguments.append("-e")
            arguments.append(requirement)
        if tool := uv():
            run([tool, "pip", "install", "--quiet", "--python", self.python, *arguments])
        else:
            run([self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


def importable(name: str) -> bool:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    return subprocess.run([sys.executable, "-c", code]).returncode == 0


def _digest(parts: Sequence[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in (sys.version, *parts, CONSTRAINTS.read_text(), Path(__file__).read_text()):
        digest.update(part.encode() + b"\0")
    for name in ALL:
        digest.update((ROOT / "packages" / name / "pyproject.toml").read_bytes())
    return digest.hexdigest()


def environment(name: str, packages: Sequence[str], extra: Sequence[str], *, editable: bool) -> Environment:
    """The environment ``name`` with ``packages`` of this checkout and ``extra`` from the package index.

    An editable one is kept while Python, the requirements and every pyproject.toml stay the same; another
    kind is made anew each time, because it holds copies of the sources.
    """
    check_python()
    result = Environment(build_folder() / name)
    stamp = result.folder / "requirements.digest"
    digest = _digest([*packages, *extra, str(editable)])
    if editable and stamp.exists() and stamp.read_text() == digest and result.python.exists():
        return result
    say(f"making {result.folder.name} with {'uv' if uv() else 'pip'}")
    result.create()
    result.install(*BUILD_BACKEND)
    result.install(*local(packages), *extra, editable=editable)
    stamp.write_text(digest)
    return result


def debian_package(program: str, package: str, why: str) -> str | None:
    """The path of ``program``; as root on Debian its package is installed first.

    Returns None, and says what is missing, where that cannot be done.
    """
    if shutil.which(program) is None and install_from_debian([package], why):
        say(f"{program} is there now")
    path = shutil.which(program)
    if path is None:
        say(f"{program} is not installed, so its tests are skipped: {why} (Debian: {package})")
    return path


def install_from_debian(packages: Sequence[str], why: str) -> bool:
    """Install Debian packages; False where this is not Debian, or not root, or it fails."""
    if os.name != "posix" or os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    say(f"installing {' '.join(packages)}: {why}")
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *packages]):
        if subprocess.run(["apt-get", *command], **quiet).returncode:  # type: ignore[call-overload]
            return False
    return True


def missing_for_vulkan() -> dict[str, str]:
    """Debian package -> what of it is not there: the loader, a driver, the validation layer."""
    import ctypes.util

    folders = [Path(root) / "vulkan" for root in ("/usr/share", "/usr/local/share", "/etc")]
    drivers = [os.environ.get(name) for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")]
    drivers += [str(path) for folder in folders for path in folder.glob("icd.d/*.json")]
    layers = [path for folder in folders for path in folder.glob("explicit_layer.d/*khronos_validation.json")]
    wanted = {
        "libvulkan1": (ctypes.util.find_library("vulkan"), "the Vulkan loader"),
        "mesa-vulkan-drivers": (any(drivers), "a Vulkan driver (lavapipe, which runs on any processor)"),
        "vulkan-validationlayers": (bool(layers), "the validation layer"),
    }
    return {package: what for package, (found, what) in wanted.items() if not found}


def vulkan() -> bool:
    """Whether the tests on a Vulkan device can run; as root on Debian what they need is installed first.

    What is missing is said; those tests are skipped then, each saying why.
    """
    missing = missing_for_vulkan()
    if missing and install_from_debian(list(missing), "tests run on a Vulkan device"):
        missing = missing_for_vulkan()
    if missing:
        what, packages = ", ".join(missing.values()), " ".join(missing)
        say(f"missing: {what}; tests on a Vulkan device are skipped (Debian: apt-get install {packages})")
    return not missing


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long the block took."""
    import time

    start = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - start:.0f} s")
