"""Fills and copies as shaders, for any offset and length: transfers by the copy engine are slower.

A range is done in words of 4 bytes; bytes of the first and last word outside of it are kept by atomic
operations on the word, so neighbours may be written at the same time. Large ranges with the same position
modulo 16 go 16 bytes at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from iree_target_vulkan.pipeline import PipelineKey
from iree_target_vulkan.spirv.module import Module

WORKGROUP = 256
WIDE_BYTES = 4096
"""Shorter ranges are done in words altogether."""
CHUNK_BYTES = 1 << 30
"""What one dispatch does at most."""
_ALL = 0xFFFFFFFF


@dataclass(frozen=True)
class BuiltinDispatch:
    """One dispatch of kernel ``name``: ``bindings`` are (0 source | 1 target, byte offset from the start of
    the copy's buffer, length), ``words`` the push constants, ``invocations`` how many are needed.
    """

    name: str
    bindings: tuple[tuple[int, int, int], ...]
    words: tuple[int, ...]
    invocations: int


class _Kernel:
    """A shader whose body runs for every index below push constant 0."""

    def __init__(self, n_buffers: int, n_words: int, lanes: int) -> None:
        m = self.m = Module((1, 3))
        self.u32 = m.int_type(32)
        self.bool = m.bool_type()
        self.element = m.vector(self.u32, lanes)
        v3 = m.vector(self.u32, 3)
        self.buffers = [m.storage_buffer(i, self.element, 4 * lanes) for i in range(n_buffers)]
        self._pushed = m.push_constants(n_words)
        inputs = [m.builtin(name, v3) for name in ("WorkgroupId", "NumWorkgroups", "LocalInvocationId")]
        self.function = m.id()
        void = m.void_type()
        m.do("Function", void, self.function, "None", m.type("TypeFunction", void))
        m.label()
        group, counts, local = (m.op("Load", v3, i) for i in inputs)
        x, y = (m.op("CompositeExtract", self.u32, group, axis) for axis in (0, 1))
        width = m.op("CompositeExtract", self.u32, counts, 0)
        lane = m.op("CompositeExtract", self.u32, local, 0)
        linear = self.add(self.mul(y, width), x)
        self.index = self.add(self.mul(linear, self.constant(WORKGROUP)), lane)
        self.n = self.push(0)
        self.done = m.id()
        body = m.id()
        inside = m.op("ULessThan", self.bool, self.index, self.n)
        m.do("SelectionMerge", self.done, "None")
        m.do("BranchConditional", inside, body, self.done)
        m.label(body)

    def constant(self, value: int) -> int:
        return self.m.constant(self.u32, value)

    def add(self, a: int, b: int) -> int:
        return self.m.op("IAdd", self.u32, a, b)

    def mul(self, a: int, b: int) -> int:
        return self.m.op("IMul", self.u32, a, b)

    def push(self, member: int) -> int:
        pointer = self.m.pointer("PushConstant", self.u32)
        address = self.m.op("AccessChain", pointer, self._pushed, self.constant(member))
        return self.m.op("Load", self.u32, address)

    def at(self, buffer: int, index: int) -> int:
        pointer = self.m.pointer("StorageBuffer", self.element)
        return self.m.op("AccessChain", pointer, self.buffers[buffer], self.constant(0), index)

    def store_masked(self, address: int, value: int, first: int, last: int) -> None:
        """Store ``value`` where the mask of this word is set."""
        m, u32 = self.m, self.u32
        everything = self.constant(_ALL)
        at_first = m.op("IEqual", self.bool, self.index, self.constant(0))
        at_last = m.op("IEqual", self.bool, self.add(self.index, self.constant(1)), self.n)
        mask = m.op(
            "BitwiseAnd",
            u32,
            m.op("Select", u32, at_first, first, everything),
            m.op("Select", u32, at_last, last, everything),
        )
        whole, part, end = m.id(), m.id(), m.id()
        is_whole = m.op("IEqual", self.bool, mask, everything)
        m.do("SelectionMerge", end, "None")
        m.do("BranchConditional", is_whole, whole, part)
        m.label(whole)
        m.do("Store", address, value)
        m.do("Branch", end)
        m.label(part)
        scope, relaxed = self.constant(1), self.constant(0)
        kept = m.op("Not", u32, mask)
        m.op("AtomicAnd", u32, address, scope, relaxed, kept)
        m.op("AtomicOr", u32, address, scope, relaxed, m.op("BitwiseAnd", u32, value, mask))
        m.do("Branch", end)
        m.label(end)

    def finish(self) -> bytes:
        m = self.m
        m.do("Branch", self.done)
        m.label(self.done)
        m.do("Return")
        m.do("FunctionEnd")
        m.compute_entry("main", self.function, (WORKGROUP, 1, 1), vulkan_model=False)
        return m.serialize()


def fill_words() -> bytes:
    """Push: words, first word, mask of the first, mask of the last, value."""
    k = _Kernel(1, 5, 1)
    start, first, last, value = (k.push(i) for i in range(1, 5))
    k.store_masked(k.at(0, k.add(start, k.index)), value, first, last)
    return k.finish()


def fill_wide() -> bytes:
    """Push: vectors, first vector, value."""
    k = _Kernel(1, 3, 4)
    value = k.push(2)
    vector = k.m.op("CompositeConstruct", k.element, value, value, value, value)
    k.m.do("Store", k.at(0, k.add(k.push(1), k.index)), vector)
    return k.finish()


def copy_words() -> bytes:
    """Push: words, first target word, mask of the first, mask of the last, source word of the first target
    word (possibly -1), last source word, and by how many bits it is shifted.
    """
    k = _Kernel(2, 7, 1)
    m, u32 = k.m, k.u32
    start, first, last, source, limit, shift = (k.push(i) for i in range(1, 7))
    low = k.add(source, k.index)
    zero = k.constant(0)
    # A word before the start or behind the end only brings bytes that the masks drop.
    low_index = m.glsl("SMax", u32, low, zero)
    high_index = m.glsl("UMin", u32, k.add(low, k.constant(1)), limit)
    low_word = m.op("Load", u32, k.at(0, m.glsl("UMin", u32, low_index, limit)))
    high_word = m.op("Load", u32, k.at(0, high_index))
    unshifted = m.op("IEqual", k.bool, shift, zero)
    back = m.op("ISub", u32, k.constant(32), shift)
    # Shifting by 32 is undefined, so the shift is 0 where the result is not used.
    back = m.op("Select", u32, unshifted, zero, back)
    joined = m.op(
        "BitwiseOr",
        u32,
        m.op("ShiftRightLogical", u32, low_word, shift),
        m.op("ShiftLeftLogical", u32, high_word, back),
    )
    value = m.op("Select", u32, unshifted, low_word, joined)
    k.store_masked(k.at(1, k.add(start, k.index)), value, first, last)
    return k.finish()


def copy_wide() -> bytes:
    """Push: vectors, first target vector, first source vector."""
    k = _Kernel(2, 3, 4)
    value = k.m.op("Load", k.element, k.at(0, k.add(k.push(2), k.index)))
    k.m.do("Store", k.at(1, k.add(k.push(1), k.index)), value)
    return k.finish()


KERNELS: dict[str, tuple[Callable[[], bytes], PipelineKey]] = {
    "fill_words": (fill_words, PipelineKey("main", 1, 20)),
    "fill_wide": (fill_wide, PipelineKey("main", 1, 12)),
    "copy_words": (copy_words, PipelineKey("main", 2, 28)),
    "copy_wide": (copy_wide, PipelineKey("main", 2, 12)),
}
"""Name -> SPIR-V, and how its pipeline is made."""


def _masks(offset: int, length: int) -> tuple[int, int]:
    """(mask of the first word, mask of the last word) of the bytes ``[offset, offset + length)``."""
    first = (_ALL << 8 * (offset % 4)) & _ALL
    end = (offset + length) % 4
    return first, _ALL if end == 0 else (1 << 8 * end) - 1


def _aligned(offset: int, length: int, alignment: int) -> tuple[int, int, int]:
    """A binding that covers the range: (offset down to ``alignment``, its length in whole words, position
    of the range in it).
    """
    base = offset - offset % alignment
    inside = offset - base
    return base, -(-(inside + length) // 4) * 4, inside


def fills(
    offset: int, length: int, pattern: bytes, alignment: int, limit: int = CHUNK_BYTES
) -> Iterator[BuiltinDispatch]:
    """The dispatches that repeat ``pattern`` over the range; ``alignment`` and ``limit`` are those of
    bindings.
    """
    for start, size, wide in _pieces(offset, offset, length, _chunk(alignment, limit)):
        base, span, inside = _aligned(start, size, alignment)
        # The pattern as a word at a multiple of 4: turned by where the range starts in it.
        turn = (inside - (start - offset)) % len(pattern)
        turned = (pattern * 2)[(-turn) % len(pattern) :][: len(pattern)]
        value = int.from_bytes((turned * 4)[:4], "little")
        if wide:
            yield BuiltinDispatch(
                "fill_wide", ((1, base, span),), (size // 16, inside // 16, value), size // 16
            )
        else:
            n = -(-(inside % 4 + size) // 4)
            words = (n, inside // 4, *_masks(inside, size), value)
            yield BuiltinDispatch("fill_words", ((1, base, span),), words, n)


def copies(
    source: int, target: int, length: int, alignment: int, limit: int = CHUNK_BYTES
) -> Iterator[BuiltinDispatch]:
    """The dispatches that copy ``length`` bytes from offset ``source`` to offset ``target``."""
    for start, size, wide in _pieces(target, source, length, _chunk(alignment, limit)):
        target_base, target_span, inside = _aligned(start, size, alignment)
        source_base, source_span, from_ = _aligned(source + start - target, size, alignment)
        bindings = ((0, source_base, source_span), (1, target_base, target_span))
        if wide:
            wide_words = (size // 16, inside // 16, from_ // 16)
            yield BuiltinDispatch("copy_wide", bindings, wide_words, size // 16)
        else:
            n = -(-(inside % 4 + size) // 4)
            byte = from_ - inside % 4
            words = (
                n,
                inside // 4,
                *_masks(inside, size),
                byte // 4 & _ALL,
                source_span // 4 - 1,
                byte % 4 * 8,
            )
            yield BuiltinDispatch("copy_words", bindings, words, n)


def _chunk(alignment: int, limit: int) -> int:
    """The longest piece whose binding, begun at a multiple of ``alignment``, is within ``limit``."""
    return (min(CHUNK_BYTES, limit) - alignment - 16) // 16 * 16


def _pieces(target: int, source: int, length: int, chunk: int) -> Iterator[tuple[int, int, bool]]:
    """(target offset, bytes, 16 at a time) pieces of a range, none longer than ``chunk``."""
    end = target + length
    at = target
    if length >= WIDE_BYTES and (target - source) % 16 == 0:
        head = -at % 16
        if head:
            yield at, head, False
            at += head
        while end - at >= 16:
            size = min(chunk, (end - at) // 16 * 16)
            yield at, size, True
            at += size
    while at < end:
        size = min(chunk, end - at)
        yield at, size, False
        at += size


def grid(invocations: int, max_count: int) -> tuple[int, int, int]:
    """Workgroup counts of at least ``invocations``, none above ``max_count``."""
    total = -(-invocations // WORKGROUP)
    x = min(total, max_count)
    return x, -(-total // x), 1
