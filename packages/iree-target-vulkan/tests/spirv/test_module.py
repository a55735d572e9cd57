"""Modules built by hand: valid, with types and constants made once, and their text reads back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_target_vulkan.spirv.disassembler import disassemble
from iree_target_vulkan.spirv.module import Module


def add_one(version: tuple[int, int], vulkan_model: bool = False) -> Module:
    """out[i] = in[i] + 1, as one writes it by hand."""
    m = Module(version)
    u32, f32 = m.int_type(32), m.float_type(32)
    source, target = m.storage_buffer(0, f32, 4), m.storage_buffer(1, f32, 4)
    ids = m.builtin("GlobalInvocationId", m.vector(u32, 3))
    limit = m.push_constants(2)
    main = m.id()
    m.do("Function", m.void_type(), main, "None", m.type("TypeFunction", m.void_type()))
    m.label()
    i = m.op("CompositeExtract", u32, m.op("Load", m.vector(u32, 3), ids), 0)
    word = m.op("AccessChain", m.pointer("PushConstant", u32), limit, m.constant(u32, 1))
    inside = m.op("ULessThan", m.bool_type(), i, m.op("Load", u32, word))
    then, done = m.id(), m.id()
    m.do("SelectionMerge", done, "None")
    m.do("BranchConditional", inside, then, done)
    m.label(then)
    element = m.pointer("StorageBuffer", f32)
    x = m.op("Load", f32, m.op("AccessChain", element, source, m.constant(u32, 0), i))
    y = m.glsl("Sqrt", f32, m.op("FAdd", f32, x, m.float_constant(f32, 1.0)))
    m.do("Store", m.op("AccessChain", element, target, m.constant(u32, 0), i), y)
    m.do("Branch", done)
    m.label(done)
    m.do("Return")
    m.do("FunctionEnd")
    m.compute_entry("main", main, (64, 1, 1), vulkan_model=vulkan_model)
    return m


@pytest.mark.parametrize("minor", [3, 4, 5, 6])
@pytest.mark.parametrize("vulkan_model", [False, True])
def test_valid(
    minor: int,
    vulkan_model: bool,
    validate: Callable[[bytes], None],
    reassemble: Callable[[str, int], bytes],
) -> None:
    data = add_one((1, minor), vulkan_model).serialize()
    validate(data)
    # Only the generator's number in the header differs.
    assert reassemble(disassemble(data), minor)[20:] == data[20:]


def test_made_once() -> None:
    m = Module()
    assert m.int_type(32) == m.int_type(32) != m.int_type(64)
    assert m.constant(m.int_type(32), -1) == m.constant(m.int_type(32), 0xFFFFFFFF)
    assert m.constant(m.int_type(64), -1, 64) == m.words(m.int_type(64), (0xFFFFFFFF, 0xFFFFFFFF))
    f32 = m.float_type(32)
    assert m.float_constant(f32, 0.0) != m.float_constant(f32, -0.0)


def test_extensions_follow_the_version() -> None:
    for version, expected in (((1, 3), {"SPV_KHR_8bit_storage": None}), ((1, 5), {})):
        m = Module(version)
        m.capability("StorageBuffer8BitAccess")
        m.capability("StorageBuffer8BitAccess")
        assert m.extensions == expected
    m = Module((1, 6))
    m.capability("CooperativeMatrixKHR")
    assert list(m.extensions) == ["SPV_KHR_cooperative_matrix"]


def test_constants_read_back(reassemble: Callable[[str, int], bytes]) -> None:
    """Floats of every width, with infinities and NaN and their payloads."""
    m = Module((1, 3))
    patterns = {
        16: [0x3C00, 0x8000, 0x7C00, 0xFC00, 0x7E00, 0xFDFF, 1],
        32: [0x3F800000, 0x80000000, 0x7F800000, 0xFF800000, 0x7FC00000, 0xFFA00001, 1, 0x3DCCCCCD],
        64: [0x3FB999999999999A, 1 << 63, 0x7FF << 52, 0xFFF << 52, 0x7FF8 << 48, (0x7FF << 52) + 1, 1],
    }
    for bits, values in patterns.items():
        for value in values:
            words = (value,) if bits <= 32 else (value & 0xFFFFFFFF, value >> 32)
            m.words(m.float_type(bits), words)
    m.constant(m.int_type(64), -5, 64)
    data = m.serialize()
    assert reassemble(disassemble(data), 3)[20:] == data[20:]
