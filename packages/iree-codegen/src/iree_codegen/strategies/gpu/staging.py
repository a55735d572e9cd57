"""Brings a factor's part of a tile from memory to the workgroup's shared memory, by way of registers.

``load`` takes what the invocation is to bring into registers, ``put`` writes it: between the two the
invocations work on the slab before, so that memory's latency is hidden. In shared memory the part lies as
``[depth][rows or columns]``, so that what one step of the depth needs is contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence

from iree_base.element_types import element_type
from iree_codegen.gpu_frame import VECTOR_BYTES, GpuFrame
from iree_codegen.indexing import Bindings, Var
from iree_codegen.kernel_builder import Index, KernelBuilder, lanes_of
from iree_codegen.strategies.gpu.factors import Bound, Factor
from iree_codegen.strategies.gpu.products import Depth, extent
from iree_core_ir.ir.attributes import Type
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import IntegerType

VECTOR = 4
PADDING = 4
"""Elements behind a row of shared memory: neighbouring rows begin in other banks."""


class Stage:
    """``factor``'s part of a tile: ``size`` along its own loop ``free``, one slab of ``depth``."""

    def __init__(
        self,
        frame: GpuFrame,
        factor: Factor,
        free: Var,
        size: int,
        depth: Depth,
        sum_type: Type,
    ) -> None:
        self.frame, self.factor, self.free, self.size, self.depth = frame, factor, free, size, depth
        self.sum_type = sum_type
        extent = free.extent
        self.exact = isinstance(extent, int) and extent % size == 0
        short = element_type(str(factor.element)).bytes * VECTOR <= VECTOR_BYTES
        whole = short and isinstance(extent, int) and extent % VECTOR == 0
        whole_depth = short and isinstance(depth.extent, int) and depth.extent % VECTOR == 0
        self.along_free = True
        self.lanes = 1
        if whole and factor.lanes_along(free, VECTOR):
            self.lanes = VECTOR
        elif whole_depth and factor.lanes_along(depth.inner, VECTOR):
            self.along_free, self.lanes = False, VECTOR
        elif factor.contiguous(depth.inner) and not factor.contiguous(free):
            self.along_free = False
        # Vectors along the depth are written across the rows of shared memory: those begin in other banks.
        self.pitch = size if self.along_free else size + PADDING
        self.memory = frame.shared_memory(depth.step * self.pitch, sum_type)
        self.bounds: tuple[Bound, ...] = () if depth.is_exact else ((depth.flat, depth.extent),)
        self.places = self._places(frame.local_id())

    @property
    def how(self) -> str:
        """For reports: the vectors and their direction."""
        return f"{self.lanes}-wide along {'its own loop' if self.along_free else 'the depth'}"

    def _places(self, id: Index) -> list[tuple[Index, Index]]:
        """(along the own loop, along the depth) of each vector that invocation ``id`` brings."""
        k, n = self.frame.kernel, self.frame.n_invocations
        if self.along_free:
            pairs = split_items(k, id, n, self.size // self.lanes, self.depth.step)
            return [(k.mul(fast, self.lanes), slow) for fast, slow in pairs]
        pairs = split_items(k, id, n, self.depth.step // self.lanes, self.size)
        return [(slow, k.mul(fast, self.lanes)) for fast, slow in pairs]

    def load(self, at: Bindings, start: Index, slab: Index) -> list[Value]:
        """What this invocation brings of ``slab``, for a tile that begins at ``start`` of the own loop."""
        k = self.frame.kernel
        found: list[Value] = []
        for own, step in self.places:
            place = k.add(start, own)
            if not self.exact:
                # Rows that are not there repeat the last one; their sums are not stored.
                lanes = self.lanes if self.along_free else 1
                place = k.min(place, k.sub(k.dim(extent(self.free)), lanes))
            here = at.child({self.free: place, self.depth.slab: slab, self.depth.inner: step})
            found.append(self.factor.read(self.frame, here, self.lanes, self.bounds))
        return found

    def put(self, values: Sequence[Value]) -> None:
        """Write what ``load`` gave."""
        k = self.frame.kernel
        for (own, step), value in zip(self.places, values, strict=True):
            value = converted(k, value, self.sum_type)
            at = k.add(k.mul(step, self.pitch), own)
            if self.along_free:
                k.vstore(value, self.memory, at)
                continue
            for lane in range(self.lanes):
                element = k.extract(value, lane) if self.lanes > 1 else value
                k.store(element, self.memory, k.add(at, lane * self.pitch))


def split_items(
    k: KernelBuilder, id: Index, invocations: int, fast: int, slow: int
) -> list[tuple[Index, Index]]:
    """Places (fast, slow) of invocation ``id`` when all of ``fast x slow`` are shared out in turn."""
    total = fast * slow
    assert total % invocations == 0, (fast, slow, invocations)
    if invocations % fast == 0:
        column, row = k.mod(id, fast), k.floordiv(id, fast)
        return [(column, k.add(row, i * (invocations // fast))) for i in range(total // invocations)]
    if fast % invocations == 0:
        times = fast // invocations
        return [(k.add(id, i % times * invocations), i // times) for i in range(total // invocations)]
    numbers = [k.add(id, i * invocations) for i in range(total // invocations)]
    return [(k.mod(number, fast), k.floordiv(number, fast)) for number in numbers]


def converted(k: KernelBuilder, value: Value, target: Type) -> Value:
    """A factor's element widened to the type of the sums."""
    source = value.type.element_type if lanes_of(value) > 1 else value.type
    if source is target:
        return value
    return k.cast("arith.extsi" if isinstance(source, IntegerType) else "arith.extf", value, target)


def multiply_add(k: KernelBuilder, a: Value, b: Value, total: Value) -> Value:
    """``a * b + total``; scalars are broadcast."""
    element = total.type.element_type if lanes_of(total) > 1 else total.type
    if isinstance(element, IntegerType):
        return k.binary("arith.addi", k.binary("arith.muli", a, b), total)
    return k.fma(a, b, total)


__all__ = ["VECTOR", "Stage", "converted", "multiply_add", "split_items"]
