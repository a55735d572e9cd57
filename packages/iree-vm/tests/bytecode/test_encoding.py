"""Bytes and back; damage ends in a coded error."""

from __future__ import annotations

import random

import pytest
from programs import random_program

from iree_vm import Context, VmError
from iree_vm.bytecode import encoding, verifier
from iree_vm.bytecode.assembler import assemble
from iree_vm.module import BytecodeModule, run
from iree_vm.native import NativeModule


def native() -> NativeModule:
    module = NativeModule("native", version=1)

    @module.export("sum", "(ref, [i64]..., [i32, f32]...) -> (i64)")
    def total(ref: object, numbers: tuple[int, ...], pairs: tuple[tuple[int, float], ...]) -> int:
        return sum(numbers) + sum(i for i, _ in pairs)

    return module


@pytest.mark.parametrize("seed", range(20))
def test_decode_inverts_encode(seed: int) -> None:
    program = random_program(seed)
    data = encoding.encode(program)
    again = encoding.decode(data)
    assert again == program
    assert encoding.encode(again) == data


def test_rodata_is_aligned_and_not_copied() -> None:
    data = encoding.encode(assemble('module @m\nrodata @a = "x"\nrodata @b align 64 = "yy"\n'))
    program = encoding.decode(data)
    assert bytes(program.rodata[1].data) == b"yy"
    assert data.index(b"yy") % 64 == 0
    assert isinstance(program.rodata[0].data, memoryview)
    assert program.rodata[0].data.obj is data


def test_another_format_version_is_named() -> None:
    data = bytearray(encoding.encode(random_program(0)))
    data[8] = 9
    with pytest.raises(VmError, match=r"IREE-VM-002.*9.0"):
        encoding.decode(bytes(data))


@pytest.mark.parametrize("data", [b"", b"IREE", b"x" * 100])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-001"):
        encoding.decode(data)


def attempt(data: bytes) -> str:
    """Everything that may happen to bytes: decode, verify, link, call. Gives the error's code."""
    try:
        program = encoding.decode(data)
        verifier.verify(program)
        module = BytecodeModule(program, {"native": native()})
        for name in module.exports:
            wanted = module.signatures[name].arguments
            values = [None if t == "ref" else 1 if str(t)[0] == "i" else 1.0 for t in wanted]
            run(module.raw(name), values)
    except VmError as error:
        assert not isinstance(error.__cause__, NameError), "the verifier let an undefined register pass"
        return error.code
    return "ok"


@pytest.mark.parametrize("seed", range(100))
def test_flipped_bits_are_found(seed: int) -> None:
    rng = random.Random(seed)
    data = bytearray(encoding.encode(random_program(seed % 10)))
    bit = rng.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    assert attempt(bytes(data)) in ("IREE-VM-001", "IREE-VM-002")


@pytest.mark.parametrize("seed", range(25))
def test_truncations_are_found(seed: int) -> None:
    data = encoding.encode(random_program(seed % 10))
    assert attempt(data[: random.Random(seed).randrange(len(data))]) == "IREE-VM-001"


@pytest.mark.parametrize("seed", range(20))
def test_damage_behind_a_right_digest_never_escapes(seed: int) -> None:
    """The verifier's part: whatever the bytes, a value or a coded error, no other exception."""
    rng = random.Random(seed)
    data = encoding.encode(random_program(seed % 10))
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(40, len(damaged))
            damaged[at] = rng.choice([0, 1, 0xFF, damaged[at] ^ 1 << rng.randrange(8), rng.randrange(256)])
        if rng.random() < 0.2:
            del damaged[rng.randrange(40, len(damaged)) :]
        # control flow of these programs only goes forward unless damage turns it back: skip what could loop
        if _may_loop(bytes(encoding.reseal(damaged))):
            continue
        attempt(encoding.reseal(damaged))


def _may_loop(data: bytes) -> bool:
    try:
        program = encoding.decode(data)
        verifier.verify(program)
    except VmError:
        return False
    for number, function in enumerate(program.functions):
        for index, block in enumerate(function.blocks):
            for instruction in block.instructions:
                if any(s.block <= index for s in verifier.successors(instruction)):
                    return True
                if instruction.op.name == "call" and instruction.operands[1] >= number:
                    return instruction.operands[1] < 1 << 31
    return False


def test_a_loaded_module_reports_its_name() -> None:
    context = Context([native(), encoding.encode(random_program(3))])
    assert context.modules == ("native", "random3")
