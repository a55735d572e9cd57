"""The shipped objects are what the source gives."""

from __future__ import annotations

import hashlib
import json

import pytest

from iree_hal.conformance import build as kernels
from iree_hal.executor import build, structs
from iree_hal.executor.source import MACHINES, expand

record = json.loads(build.BUILT_WITH.read_text(encoding="utf-8"))


def _same_llvm() -> None:
    pytest.importorskip("llvmlite")
    if build.llvm_version() != record["llvm"]:
        pytest.skip(f"built with LLVM {record['llvm']}, this is {build.llvm_version()}")


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_objects_are_recorded(machine: str) -> None:
    data = (build.OBJECTS / f"{machine}.o").read_bytes()
    assert hashlib.blake2b(data, digest_size=32).hexdigest() == record["objects"][machine]


def test_executor_rebuilds_to_the_same_bytes() -> None:
    _same_llvm()
    assert build.build() == {m: (build.OBJECTS / f"{m}.o").read_bytes() for m in MACHINES}


def test_kernels_rebuild_to_the_same_bytes() -> None:
    _same_llvm()
    assert kernels.build() == {m: (kernels.OBJECTS / f"{m}.o").read_bytes() for m in MACHINES}


def test_macros_expand_to_offsets() -> None:
    text = expand("  %v = get Frame.error %f ; why\n  put i32 3, Frame.wave %f\n  %c = at Command %p, i32 %i")
    assert f"getelementptr i8, ptr %f, i64 {structs.FRAME.offset('error')}" in text
    assert "load i64, ptr %v.at, align 8" in text
    assert "store i32 3" in text
    assert f"mul i64 %c.wide, {structs.COMMAND.size}" in text
    assert expand("x $DONE $GROW $Frame") == f"x 0 5 {structs.FRAME.size}\n"


@pytest.mark.parametrize("line", ["  %v = get Frame.nothing %f", "  put i64 3, Frame.wave %f", "$NOTHING"])
def test_unknown_names_are_refused(line: str) -> None:
    with pytest.raises(KeyError):
        expand(line)
