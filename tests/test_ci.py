"""The scripts of ci/ say what a machine lacks, and install it only where they may."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "ci"))

import fresh  # noqa: E402


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Vulkan whose user is not root."""
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("bare")
def test_what_vulkan_lacks_is_named_with_its_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(fresh.missing_for_vulkan()) == {"libvulkan1", "mesa-vulkan-drivers", "vulkan-validationlayers"}
    assert not fresh.vulkan()
    text = capsys.readouterr().out
    assert "apt-get install libvulkan1 mesa-vulkan-drivers vulkan-validationlayers" in text
    assert "skipped" in text


@pytest.mark.usefixtures("bare")
def test_a_driver_named_in_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/some/driver.json")
    assert "mesa-vulkan-drivers" not in fresh.missing_for_vulkan()


@pytest.mark.usefixtures("bare")
def test_root_installs_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    class Done:
        returncode = 0

    def run(command: list[str], **options: object) -> Done:
        commands.append(command)
        return Done()

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(fresh.subprocess, "run", run)
    fresh.vulkan()
    assert commands[0] == ["apt-get", "update"]
    assert commands[1][:3] == ["apt-get", "install", "-y"]
    assert {"libvulkan1", "mesa-vulkan-drivers", "vulkan-validationlayers"} <= set(commands[1])
