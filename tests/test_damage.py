"""Damaged files: 500 seeded bit flips and truncations of every kind of artefact member and of ONNX files.

Never a crash, a hang or an exception without a code. Manifest, bytecode, executables and debug information
give a coded error when the artefact is opened or loaded; constants are caught by ``iree_vm.verify``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny

from iree_base.errors import EXIT_ARTIFACT, IreeError

ROUNDS = 500
CHECKED_AT_LOAD = ("manifest.json", "module.vmbc", "executables/", "debug.json")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import iree_flow

    place = tmp_path_factory.mktemp("damage")
    path = place / "convolution.vmfb"
    iree_flow.compile(tiny.convolution(place / "convolution.onnx")).save(path)
    return path


def damages(data: bytes, low: int, high: int, seed: int) -> Iterator[bytes]:
    """Seeded variants of ``data``, each changed in ``[low, high)``: flipped bits, or cut off there."""
    generator = random.Random(seed)
    for number in range(ROUNDS):
        place = generator.randrange(low, high)
        if number % 5 == 4:
            yield data[:place]
            continue
        changed = bytearray(data)
        for _ in range(generator.choice((1, 1, 1, 8))):
            changed[generator.randrange(low, high)] ^= 1 << generator.randrange(8)
        if changed != data:
            yield bytes(changed)


def members(path: Path) -> dict[str, tuple[int, int]]:
    from iree_vm import Artifact

    opened = Artifact.open(path)
    return {name: (entry.offset, entry.offset + entry.size) for name, entry in opened.members.items()}


@pytest.mark.parametrize("kind", CHECKED_AT_LOAD)
def test_what_is_checked_at_load(artifact: Path, kind: str) -> None:
    import iree_vm

    data = artifact.read_bytes()
    name, (low, high) = next(item for item in members(artifact).items() if item[0].startswith(kind))
    for damaged in damages(data, low, high, seed=len(kind)):
        with pytest.raises(IreeError) as caught:
            iree_vm.load(iree_vm.Artifact.from_bytes(damaged))
        assert caught.value.status == EXIT_ARTIFACT, f"{name}: {caught.value}"


@pytest.fixture(scope="module")
def two_variants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import iree_flow

    place = tmp_path_factory.mktemp("variants")
    model = tiny.convolution(place / "convolution.onnx")
    iree_flow.compile(model, target=["llvm-cpu", "reference"]).save(place / "two.vmfb")
    return place / "two.vmfb"


@pytest.mark.parametrize("variant", ["llvm-cpu", "reference"])
def test_members_of_every_variant_are_checked_whichever_runs(two_variants: Path, variant: str) -> None:
    """Damage of a variant that this machine would not choose is damage all the same."""
    import iree_vm

    data = two_variants.read_bytes()
    kinds = (f"module.{variant}.vmbc", f"executables/{variant}/", f"debug.{variant}.json")
    for number, kind in enumerate(kinds):
        low, high = next(place for name, place in members(two_variants).items() if name.startswith(kind))
        for damaged in damages(data, low, high, seed=number):
            with pytest.raises(IreeError) as caught:
                iree_vm.load(iree_vm.Artifact.from_bytes(damaged))
            assert caught.value.status == EXIT_ARTIFACT, f"{kind}: {caught.value}"


def test_constants_are_caught_by_verify(artifact: Path) -> None:
    import iree_vm

    data = artifact.read_bytes()
    low, high = members(artifact)["constants/0"]
    for damaged in damages(data, low, high, seed=1):
        with pytest.raises(IreeError) as caught:
            iree_vm.Artifact.from_bytes(damaged).verify()
        assert caught.value.status == EXIT_ARTIFACT


def test_the_container_itself(artifact: Path) -> None:
    """Anywhere in the file: opening and verifying find it, or it is a byte that no reader looks at."""
    import iree_vm

    data = artifact.read_bytes()
    for damaged in damages(data, 0, len(data), seed=2):
        with pytest.raises(IreeError) as caught:
            iree_vm.Artifact.from_bytes(damaged).verify()
        assert caught.value.status == EXIT_ARTIFACT


def test_onnx_files(tmp_path: Path) -> None:
    """A damaged model may still be a model; then it compiles. Whatever is wrong with it has a code."""
    import iree_flow

    path = tiny.mlp(tmp_path / "mlp.onnx")
    data = path.read_bytes()
    failures = 0
    for number, damaged in enumerate(damages(data, 0, len(data), seed=3)):
        path.write_bytes(damaged)
        try:
            # Reading the model and lowering it to linalg is where a file can hurt; the rest sees our IR only.
            iree_flow.compile(path, compile_to="input")
        except IreeError:
            failures += 1
        except Exception as error:
            raise AssertionError(f"damage {number}: {type(error).__name__}: {error}") from error
    assert failures > ROUNDS // 5


def test_an_undamaged_file_passes(artifact: Path) -> None:
    import iree_vm

    loaded = iree_vm.load(iree_vm.verify(artifact))
    assert np.isfinite(loaded.main(np.zeros((1, 3, 12, 12), np.float32))).all()
