"""The file: any zip tool lists it, members are aligned, damage anywhere is a coded error."""

from __future__ import annotations

import os
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from iree_vm import Artifact, ArtifactWriter, VmError, verify
from iree_vm.artifact import DebugInfo, DispatchInfo, zip64
from iree_vm.artifact.manifest import ExportEntry, FunctionSpec, TensorSpec
from iree_vm.bytecode import encoding
from iree_vm.bytecode.assembler import assemble

BYTECODE = encoding.encode(
    assemble('module @m\nrodata @r align 64 = "rodata"\nfunc @f() {\n return\n}\nexport @f')
)


def build(path: str | os.PathLike[str] | None = None, constants: int = 2) -> Artifact:
    tensor = TensorSpec("x", "f32", ("batch", 3))
    with ArtifactWriter(path, "m", producer={"b": "2", "a": "1"}) as writer:
        writer.add_function(FunctionSpec("main", (tensor,), (tensor,)))
        export = ExportEntry("k", 0, 1, ("read", "write"), (4, 4))
        index = writer.add_executable(
            "code.o", "elf-x86_64", bytes(range(256)) * 3, [export], features=("avx2",)
        )
        writer.add_variant("v", "llvm-cpu", "local-task", [index], features=("fma",))
        for number in range(constants):
            writer.add_constant(lambda n=number: (bytes([n + 1, i]) * 500 for i in range(20)))
        writer.set_bytecode(BYTECODE)
        return writer.finish(report={"seconds": 1})


@pytest.fixture(scope="module")
def data() -> bytes:
    return bytes(build()._data)


def test_zip_tools_read_it(tmp_path: Path) -> None:
    build(tmp_path / "m.vmfb")
    with zipfile.ZipFile(tmp_path / "m.vmfb") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "module.vmbc", "executables/code.o", "debug.json", "constants/0", "constants/1", "manifest.json",
        ]  # fmt: skip
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.read("module.vmbc") == BYTECODE
    assert (tmp_path / "m.vmfb").read_bytes()[:4] == b"PK\3\4"


def test_members_are_aligned() -> None:
    artifact = build(constants=5)
    for name, member in artifact.members.items():
        assert member.offset % (1 << 16 if name.startswith("constants/") else 64) == 0


@pytest.mark.parametrize("length", [0, 1, 65400, 65438, 65500, 65535])
def test_alignment_wherever_the_member_before_ends(length: int, tmp_path: Path) -> None:
    """Padding of every length: by an extra field where one fits, else by zero bytes."""
    with open(tmp_path / "f", "wb+") as file:
        writer = zip64.ZipWriter(file)
        writer.add("a", (bytes(length),), 64)
        for step in range(6):
            writer.add(f"pad{step}", (bytes(step + length),), 1)
            member = writer.add(f"b{step}", (b"x",), 1 << 16)
            assert member.offset % (1 << 16) == 0
        writer.finish("0" * 64)
        file.seek(0)
        members, _ = zip64.read_directory(memoryview(file.read()))
    assert list(members.values()) == writer.members
    with zipfile.ZipFile(tmp_path / "f") as archive:
        assert archive.testzip() is None


def test_same_content_same_bytes(data: bytes, tmp_path: Path) -> None:
    assert bytes(build()._data) == data
    build(tmp_path / "a.vmfb")
    assert (tmp_path / "a.vmfb").read_bytes() == data
    build().save(tmp_path / "b.vmfb")
    assert (tmp_path / "b.vmfb").read_bytes() == data
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.vmfb", "b.vmfb"]


def test_contents_come_back(tmp_path: Path) -> None:
    artifact = build(tmp_path / "m.vmfb")
    assert artifact.report == {"seconds": 1}
    assert artifact.path == tmp_path / "m.vmfb"
    again = verify(tmp_path / "m.vmfb")
    assert again.manifest == artifact.manifest
    assert again.manifest.producer == {"a": "1", "b": "2"}
    assert bytes(again.bytecode) == BYTECODE
    assert bytes(again.executable(0)) == bytes(range(256)) * 3
    assert bytes(again.constant(1)) == b"".join(bytes([2, i]) * 500 for i in range(20))
    assert again.constant(0).readonly
    assert all(not check.problem for check in again.check())


def test_constants_are_not_held_while_written(tmp_path: Path) -> None:
    """The source is asked for the next chunk only after the one before is written."""
    alive = 0

    class Chunk(bytes):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def chunks() -> object:
        nonlocal alive
        for _ in range(50):
            alive += 1
            assert alive <= 3
            yield Chunk(1 << 12)

    with ArtifactWriter(tmp_path / "m.vmfb", "m") as writer:
        writer.set_bytecode(BYTECODE)
        writer.add_constant(chunks, size=50 << 12)
        assert writer.finish().constant(0).nbytes == 50 << 12


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield b"x"
        raise RuntimeError("source")

    with ArtifactWriter(tmp_path / "m.vmfb", "m") as writer:
        writer.set_bytecode(BYTECODE)
        writer.add_constant(broken)
        with pytest.raises(RuntimeError):
            writer.finish()
    assert list(tmp_path.iterdir()) == []
    with ArtifactWriter(tmp_path / "none" / "m.vmfb", "m") as writer:
        writer.set_bytecode(BYTECODE)
        with pytest.raises(VmError, match=r"IREE-VM-058"):
            writer.finish()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: None, "no bytecode"),
        (lambda w: (w.set_bytecode(BYTECODE), w.add_constant(b"xy", size=3)), "2 bytes came, 3"),
        (lambda w: (w.set_bytecode(BYTECODE), w.add_variant("v", "t", "d", [4])), "executable 4"),
        (lambda w: w.set_bytecode(b"IREE"), "IREE-VM-001"),
    ],
)
def test_wrong_contents_are_not_written(change: object, message: str) -> None:
    with ArtifactWriter(None, "m") as writer:
        change(writer)  # type: ignore[operator]
        with pytest.raises(VmError, match=message):
            writer.finish()


def code(data: bytes, *, constants: bool = True) -> int | None:
    """The error that opening (and verifying) gives; None for success."""
    try:
        artifact = Artifact.from_bytes(data)
        if constants:
            artifact.verify()
    except VmError as error:
        assert error.status == 4
        return error.number
    return None


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-050.*No such file.*check the path"):
        Artifact.open(tmp_path / "none")
    with pytest.raises(VmError, match=r"IREE-VM-050"):
        Artifact.open(tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(VmError, match=r"IREE-VM-051.*empty"):
        Artifact.open(tmp_path / "empty")
    (tmp_path / "text").write_bytes(b"hello" * 100)
    with pytest.raises(VmError, match=r"IREE-VM-051.*text"):
        Artifact.open(tmp_path / "text")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(VmError, match=r"IREE-VM-05[12]"):
        Artifact.open(tmp_path / "other.zip")


MEMBERS = ("module.vmbc", "executables/code.o", "debug.json", "manifest.json")


@pytest.mark.parametrize("name", MEMBERS)
def test_flipped_bits_in_a_member(name: str, data: bytes) -> None:
    member = Artifact.from_bytes(data).members[name]
    rng = random.Random(name)
    for _ in range(500):
        damaged = bytearray(data)
        bit = rng.randrange(8 * member.size)
        damaged[member.offset + bit // 8] ^= 1 << bit % 8
        assert code(bytes(damaged), constants=False) == 55


def test_flipped_bits_in_constants_are_found_by_verify(data: bytes) -> None:
    rng = random.Random(1)
    member = Artifact.from_bytes(data).members["constants/1"]
    for _ in range(50):
        damaged = bytearray(data)
        bit = rng.randrange(8 * member.size)
        damaged[member.offset + bit // 8] ^= 1 << bit % 8
        assert code(bytes(damaged), constants=False) is None
        assert code(bytes(damaged)) == 55


def test_flipped_bits_anywhere(data: bytes) -> None:
    rng = random.Random(2)
    for _ in range(500):
        damaged = bytearray(data)
        bit = rng.randrange(8 * len(data))
        damaged[bit // 8] ^= 1 << bit % 8
        assert code(bytes(damaged)) in range(51, 58)


def test_truncations(data: bytes) -> None:
    rng = random.Random(3)
    for length in [*(rng.randrange(len(data)) for _ in range(500)), 0, 3, 4, len(data) - 1]:
        assert code(data[:length]) in (51, 52)


def test_bytes_at_the_end_and_in_between(data: bytes) -> None:
    assert code(data + b"x") == 52
    assert code(b"x" + data) in (51, 52)
    assert code(data[:70] + b"x" + data[70:]) == 52


def repack(data: bytes, change: object) -> bytes:
    """The same artefact with a changed manifest, digests right."""
    import io
    import json
    from hashlib import blake2b

    artifact = Artifact.from_bytes(data)
    manifest = artifact.manifest.to_json()
    manifest = change(manifest) or manifest  # type: ignore[operator]
    out = io.BytesIO()
    writer = zip64.ZipWriter(out)
    for name in artifact.members:
        if name != "manifest.json":
            writer.add(name, (artifact.member(name),), 1 << 16)
    raw = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    writer.add("manifest.json", (raw,), 64)
    writer.finish(blake2b(raw, digest_size=32).hexdigest())
    return out.getvalue()


def first_minor(manifest: dict[str, Any]) -> None:
    """What a writer of version 1.0 left out."""
    manifest["format_version"] = [1, 0]
    for variant in manifest["variants"]:
        for key in ("program", "debug", "constants"):
            del variant[key]


def test_version_1_0_is_read(data: bytes) -> None:
    artifact = Artifact.from_bytes(repack(data, first_minor))
    artifact.verify()
    assert artifact.manifest == Artifact.from_bytes(data).manifest


def build_two(own_debug: bool = True) -> Artifact:
    """Two variants with programs of their own; the first constant is of both."""
    with ArtifactWriter(None, "m") as writer:
        for name in ("fast", "slow"):
            index = writer.add_executable(f"{name}/code.o", name, name.encode(), [])
            constants = [writer.add_constant(b"both")] if name == "fast" else [0]
            constants.append(writer.add_constant(name.encode() * 10))
            debug = DebugInfo.of([DispatchInfo("k", (f"of {name}",))]) if own_debug else None
            code = encoding.encode(assemble(f"module @{name}"))
            writer.add_variant(
                name, f"t-{name}", "local-task", [index], bytecode=code, debug=debug, constants=constants
            )
        return writer.finish()


def test_variants_have_programs_debug_and_constants_of_their_own() -> None:
    artifact = build_two()
    assert list(artifact.members) == [
        "module.fast.vmbc", "module.slow.vmbc", "executables/fast/code.o", "executables/slow/code.o",
        "debug.fast.json", "debug.slow.json", "constants/0", "constants/1", "constants/2", "manifest.json",
    ]  # fmt: skip
    artifact.verify()
    for name in ("fast", "slow"):
        variant = artifact.variant(name)
        assert variant is not None
        assert encoding.decode(artifact.program(variant)).name == name
        assert artifact.debug_info(variant).dispatches["k"].source() == f"of {name}"
        assert [bytes(artifact.constant(i)) for i in variant.constants] == [b"both", name.encode() * 10]
    assert artifact.variant() is artifact.variant("fast")
    with pytest.raises(VmError, match=r"IREE-VM-043.*'none'.*fast, slow"):
        artifact.variant("none")
    shared = build_two(own_debug=False)
    assert shared.manifest.debug_members == ("debug.json",)


@pytest.mark.parametrize(
    "name", ["module.fast.vmbc", "module.slow.vmbc", "debug.slow.json", "executables/slow/"]
)
def test_damage_of_any_variant_is_found_at_open(name: str) -> None:
    data = bytes(build_two()._data)
    members = Artifact.from_bytes(data).members
    member = next(member for found, member in members.items() if found.startswith(name))
    damaged = bytearray(data)
    damaged[member.offset] ^= 4
    assert code(bytes(damaged), constants=False) == 55


def void(value: object) -> None:
    """For changes whose value is not the new manifest."""


@pytest.mark.parametrize(
    ("change", "number", "message"),
    [
        (lambda m: m.update(format_version=[2, 0]), 53, "version 2.0"),
        (lambda m: m.update(format_version=[1, 9]), 53, "version 1.9"),
        (lambda m: m.update(format_version="1"), 56, "format_version: a list"),
        (lambda m: void(m.pop("format_version")), 56, "format_version"),
        (lambda m: void(m.pop("variants")), 56, "'variants' is missing"),
        (lambda m: m.update(more=1), 56, "'more' is unknown"),
        (lambda m: m.update(module=5), 56, "module: a string"),
        (lambda m: m["functions"][0].update(name="a b"), 56, "no identifier"),
        (lambda m: m["functions"][0]["inputs"][0].update(dtype="f33"), 56, "dtype 'f33'"),
        (lambda m: m["functions"][0]["inputs"][0].update(shape=[-1]), 56, "functions[0].inputs[0].shape[0]"),
        (lambda m: m["functions"][0]["inputs"][0].update(shape=["other"]), 56, "dimension 'other'"),
        (lambda m: m["functions"][0]["outputs"][0].update(tied=7), 56, "tied"),
        (lambda m: m["functions"].append(m["functions"][0]), 56, "there twice"),
        (lambda m: m["dims"]["batch"].update(max=-1), 56, "dims.batch.max"),
        (lambda m: m["dims"]["batch"].update(divisor=0), 56, "range is empty"),
        (lambda m: m["variants"][0].update(executables=[9]), 56, "executable 9"),
        (lambda m: m["variants"][0].update(driver=True), 56, "variants[0].driver"),
        (lambda m: m["executables"][0].update(member="none"), 54, "none"),
        (lambda m: m["executables"][0]["exports"][0].update(bindings=["eat"]), 56, '"read" or "write"'),
        (lambda m: m["executables"][0]["exports"][0].update(alignments=[4]), 56, "differ in number"),
        (lambda m: m["constants"][0].update(bytes=7), 55, "7"),
        (lambda m: m["constants"][0].update(alignment=3), 56, "alignment"),
        (lambda m: void(m["constants"].pop()), 56, "variants[0]: constant 1 is not there"),
        (lambda m: void((m["constants"].pop(), m["variants"][0].update(constants=[]))), 56, "not in the manifest"),
        (lambda m: m["variants"].append(m["variants"][0]), 56, "variants[1]: name 'v' is there twice"),
        (lambda m: m["variants"][0].update(program="other"), 54, "other"),
        (lambda m: m["variants"][0].update(program="manifest.json"), 56, "names itself"),
        (lambda m: m["variants"][0].update(debug=3), 56, "variants[0].debug: a string"),
        (lambda m: m["variants"][0].update(constants=[-1]), 56, "variants[0].constants[0]"),
        (lambda m: void(m["digests"].pop("module.vmbc")), 56, "digests: 'module.vmbc'"),
        (lambda m: m["digests"].update({"module.vmbc": "00"}), 55, "module.vmbc"),
        (lambda m: [1], 56, "format_version"),
        (lambda m: b"{", 56, "not JSON"),
        (lambda m: b"[" * 100000, 56, "not JSON"),
        (lambda m: b'{"format_version": NaN}', 56, "not JSON"),
        (lambda m: b"\xff\xfe", 56, "not JSON"),
    ],
)  # fmt: skip
def test_each_problem_of_a_manifest_is_named(change: object, number: int, message: str, data: bytes) -> None:
    with pytest.raises(VmError) as caught:
        Artifact.from_bytes(repack(data, change))
    assert caught.value.number == number
    assert message in str(caught.value)


def test_an_unchanged_manifest_survives_repacking(data: bytes) -> None:
    assert code(repack(data, lambda m: None)) is None


def test_headers_that_lie_about_sizes(data: bytes) -> None:
    """Offsets and sizes of the directory set to hostile values: coded, and nothing is read outside."""
    position = data.index(b"PK\1\2")
    for field in (46 + 11 + 4, 46 + 11 + 12, 46 + 11 + 20):
        for value in (0, 1, 1 << 32, (1 << 64) - 1, len(data)):
            damaged = bytearray(data)
            struct.pack_into("<Q", damaged, position + field, value)
            if damaged != data:
                assert code(bytes(damaged)) == 52
