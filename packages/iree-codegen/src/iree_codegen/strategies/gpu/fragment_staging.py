"""Brings a factor's part of a tile to shared memory as matrix fragments are loaded from: 16 bytes at a time.

The vectors run along what is contiguous in memory; elements that are not are loaded one by one and packed.
Fragments come from either direction: the one across is loaded transposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_base.element_types import element_type
from iree_codegen.gpu_frame import GpuFrame
from iree_codegen.indexing import Bindings, Var
from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_codegen.strategies.gpu.factors import Bound, Direct, Factor, conditions
from iree_codegen.strategies.gpu.products import Depth, extent
from iree_codegen.strategies.gpu.staging import split_items
from iree_core_ir.dialects.gpu_matrix import MMAMatrixType
from iree_core_ir.ir.attributes import UNIT, Attribute, IntegerAttr, Type
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import VectorType, i1, i32, index

BYTES = 16


class FragmentStage:
    """``factor``'s part of a tile: ``size`` along its own loop ``free``, one slab of ``depth``."""

    def __init__(self, frame: GpuFrame, factor: Factor, free: Var, size: int, depth: Depth) -> None:
        self.frame, self.factor, self.free, self.size, self.depth = frame, factor, free, size, depth
        self.element: Type = factor.element
        self.lanes = lanes = BYTES // element_type(str(factor.element)).bytes
        extent = free.extent
        self.exact = isinstance(extent, int) and extent % size == 0
        self.bounds: tuple[Bound, ...] = () if depth.is_exact else ((depth.flat, depth.extent),)
        direction = vector_loop(factor, free, depth)
        self.packed, self.along_free = direction is None, direction is free
        self.conditional = self.packed and isinstance(factor, Direct) and bool(factor.bounds)
        if self.conditional:
            # A condition that all elements of a vector share is asked once.
            assert isinstance(factor, Direct)
            shared = factor.uniform_along(depth.inner, lanes)
            self.conditional = shared and factor.outside == 0.0 and not self.bounds
        self.rows, self.columns = (depth.step, size) if self.along_free else (size, depth.step)
        self.pitch = self.columns + lanes
        self.memory = frame.shared_memory(self.rows * self.pitch, self.element)
        self.places = self._places(frame.local_id())

    @property
    def how(self) -> str:
        """For reports: the vectors and their direction."""
        packed = ", packed one by one" if self.packed else ""
        return f"{self.lanes}-wide along {'its own loop' if self.along_free else 'the depth'}{packed}"

    def _places(self, id: Index) -> list[tuple[Index, Index]]:
        """(along the own loop, along the depth) of each vector that invocation ``id`` brings."""
        k, n, lanes = self.frame.kernel, self.frame.n_invocations, self.lanes
        if self.along_free:
            pairs = split_items(k, id, n, self.size // lanes, self.depth.step)
            return [(k.mul(fast, lanes), slow) for fast, slow in pairs]
        if self.packed and not self.factor.contiguous(self.depth.inner):
            # Neighbouring invocations read neighbours of the own loop.
            pairs = split_items(k, id, n, self.size, self.depth.step // lanes)
            return [(fast, k.mul(slow, lanes)) for fast, slow in pairs]
        pairs = split_items(k, id, n, self.depth.step // lanes, self.size)
        return [(slow, k.mul(fast, lanes)) for fast, slow in pairs]

    def load(self, at: Bindings, start: Index, slab: Index) -> list[Value]:
        """What this invocation brings of ``slab``, for a tile that begins at ``start`` of the own loop.

        Elements that are packed come as they are, with a condition that all of a vector share behind them:
        nothing waits for memory before ``put``.
        """
        k, lanes = self.frame.kernel, self.lanes
        found: list[Value] = []
        for own, step in self.places:
            place = k.add(start, own)
            if not self.exact:
                # Rows that are not there repeat the last one; their sums are not stored.
                width = lanes if self.along_free else 1
                place = k.min(place, k.sub(k.dim(extent(self.free)), width))
            here = at.child({self.free: place, self.depth.slab: slab})
            if self.packed:
                found += self._elements(here, step)
            else:
                here = here.child({self.depth.inner: step})
                found.append(self.factor.read(self.frame, here, lanes, self.bounds))
        return found

    def _elements(self, at: Bindings, step: Index) -> list[Value]:
        """A vector's elements from ``step`` of the depth on, and the condition under which they count."""
        k, factor, frame = self.frame.kernel, self.factor, self.frame
        places = [at.child({self.depth.inner: k.add(step, i)}) for i in range(self.lanes)]
        if not self.conditional:
            return [factor.read(frame, place, 1, self.bounds) for place in places]
        assert isinstance(factor, Direct)
        inside = conditions(k, places[0], factor.bounds)
        if inside is None:
            inside = k.constant(1, i1)
        return [*(factor.load(frame, place, 1, inside) for place in places), inside]

    def put(self, values: Sequence[Value]) -> None:
        """Write what ``load`` gave."""
        k, lanes = self.frame.kernel, self.lanes
        each = 1 if not self.packed else lanes + self.conditional
        for number, (own, step) in enumerate(self.places):
            given = values[number * each : (number + 1) * each]
            value = given[0]
            if self.packed:
                value = packed(k, given[:lanes])
            if self.conditional:
                value = k.select(given[lanes], value, k.constant(0, value.type))
            row, column = (step, own) if self.along_free else (own, step)
            k.vstore(value, self.memory, k.add(k.mul(row, self.pitch), column))

    def fragment(self, type: MMAMatrixType, own: Index, step: int) -> Value:
        """The fragment that begins at ``own`` along the own loop and ``step`` along the depth."""
        k = self.frame.kernel
        row, column = (step, own) if self.along_free else (own, step)
        at = k.value(k.add(k.mul(row, self.pitch), column))
        attributes: dict[str, Attribute] = {"leadDimension": IntegerAttr(self.pitch, index)}
        rows_run_along_depth = type.operand == "BOp"
        if rows_run_along_depth != self.along_free:
            attributes["transpose"] = UNIT
        load = k.effect("gpu.subgroup_mma_load_matrix", (self.memory, at), (type,), attributes)
        return load.results[0]


def vector_loop(factor: Factor, free: Var, depth: Depth) -> Var | None:
    """The loop along which 16 bytes are one aligned vector: the own one or the depth's; None for neither."""
    lanes = BYTES // element_type(str(factor.element)).bytes
    if isinstance(free.extent, int) and free.extent % lanes == 0 and factor.lanes_along(free, lanes):
        return free
    whole = isinstance(depth.extent, int) and depth.extent % lanes == 0
    return depth.inner if whole and factor.lanes_along(depth.inner, lanes) else None


def packed(k: KernelBuilder, elements: Sequence[Value]) -> Value:
    """Narrow scalars side by side in a vector of 16 bytes, by way of 32-bit words."""
    element: Any = elements[0].type
    per_word = 4 // element_type(str(element)).bytes
    words: Value | None = None
    for number in range(4):
        parts = elements[number * per_word : (number + 1) * per_word]
        short = k.splat(parts[0], per_word)
        for lane in range(1, per_word):
            short = k.insert(parts[lane], short, lane)
        word = k.extract(k.pure("vector.bitcast", (short,), VectorType((1,), i32)), 0)
        words = k.splat(word, 4) if words is None else k.insert(word, words, number)
    assert words is not None
    return k.pure("vector.bitcast", (words,), VectorType((len(elements),), element))


__all__ = ["FragmentStage", "packed", "vector_loop"]
