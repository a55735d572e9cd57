"""The inner loop of contractions: a tile of accumulators in registers, as a private function.

``C[rows][vectors * lanes] (+)= sum over k of A[row, k] * B[k, vector]``: A is broadcast, B loaded as
vectors. The reduction is a nest of counted loops, the innermost unrolled over static *taps*, so that one
generator serves matrix products (taps: consecutive k) and convolutions (taps: window positions).
Functions are shared by equal specification within a kernel.
"""

from __future__ import annotations

from typing import Any

from iree_base.records import field, record
from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import VectorType, index

ARGUMENT = "argument"
"""In a specification: the number is passed at run time."""

Number = int | str


@record(frozen=True)
class Loop:
    """One level of the reduction: iterations and how far A and B move per iteration, in elements."""

    count: Number
    a_step: Number
    b_step: Number


@record(frozen=True)
class MicroKernel:
    """Everything that is static about a tile function."""

    rows: int
    vectors: int
    lanes: int
    element: Any
    a_row: Number
    loops: tuple[Loop, ...]
    taps: tuple[tuple[int, int], ...] = ((0, 0),)
    """(A, B) offsets of the unrolled steps."""
    c_row: int = 0
    ways: int = 1
    """Independent partial sums per accumulator: hides latency when the tile is small."""
    accumulate: bool = False
    masked: bool = False
    """Only so many columns of B are there as the last number says."""

    def numbers(self) -> list[Number]:
        """The numbers that may be arguments, in argument order."""
        found: list[Number] = [self.a_row]
        for loop in self.loops:
            found += [loop.count, loop.a_step, loop.b_step]
        return [*found, ARGUMENT] if self.masked else found


@record
class MicroKernels:
    """The tile functions of one kernel."""

    prefix: str
    fma: bool
    known: dict[MicroKernel, KernelBuilder] = field(default_factory=dict)
    functions: list[Op] = field(default_factory=list)

    def call(
        self,
        kernel: KernelBuilder,
        spec: MicroKernel,
        a: tuple[Value, Index],
        b: tuple[Value, Index],
        c: tuple[Value, Index],
        numbers: list[Index] | None = None,
    ) -> None:
        """Call the function of ``spec``; ``numbers`` are those the specification leaves to run time."""
        callee = self.known.get(spec)
        if callee is None:
            name = f"{self.prefix}.tile{len(self.known)}"
            callee = self.known[spec] = build(spec, name, self.fma)
            self.functions.append(callee.func)
        operands: list[Index] = [a[0], a[1], b[0], b[1], c[0], c[1], *(numbers or [])]
        kernel.call(callee, operands)


def build(spec: MicroKernel, name: str, fma: bool) -> KernelBuilder:
    """The tile function: (A, a0, B, b0, C, c0, numbers...) with element offsets."""
    memory = memref_of(spec.element)
    n_arguments = sum(n == ARGUMENT for n in spec.numbers())
    types = [memory, index, memory, index, memory, index, *[index] * n_arguments]
    k = KernelBuilder(name, types, fma=fma, private=True)
    a_memory, a0, b_memory, b0, c_memory, c0 = k.args[:6]
    extra = iter(k.args[6:])
    resolved: list[Index] = [next(extra) if n == ARGUMENT else n for n in spec.numbers()]  # type: ignore[misc]
    a_row = resolved[0]
    vector = VectorType((spec.lanes,), spec.element)
    rows, vectors, lanes = spec.rows, spec.vectors, spec.lanes
    n = rows * vectors
    masks: list[Value | None] = [None] * vectors
    if spec.masked:
        masks = [k.mask_below(k.add(resolved[-1], -v * lanes), lanes) for v in range(vectors)]
    zero = k.constant(0.0, vector)

    def c_at(row: int, v: int) -> Index:
        return k.add(c0, row * spec.c_row + v * lanes)

    inits = [zero] * (n * spec.ways)
    if spec.accumulate:
        inits[:n] = [k.vload(c_memory, c_at(i, v), lanes) for i in range(rows) for v in range(vectors)]

    def step(a: Index, b: Index, carried: list[Value]) -> list[Value]:
        values = list(carried)
        for number, (a_tap, b_tap) in enumerate(spec.taps):
            base = (number % spec.ways) * n
            starts = [k.add(b, b_tap + v * lanes) for v in range(vectors)]
            loaded = [k.vload(b_memory, x, lanes, mask) for x, mask in zip(starts, masks, strict=True)]
            for i in range(rows):
                at = k.add(a, k.add(k.mul(a_row, i), a_tap))
                scalar = k.splat(k.load(a_memory, at), lanes)
                for v in range(vectors):
                    place = base + i * vectors + v
                    values[place] = k.fma(scalar, loaded[v], values[place])
        return values

    def nest(level: int, a: Index, b: Index, carried: list[Value]) -> list[Value]:
        if level == len(spec.loops):
            return step(a, b, carried)
        count, a_step, b_step = resolved[1 + 3 * level : 4 + 3 * level]
        return k.loop(
            0,
            count,
            1,
            carried,
            lambda i, *c: nest(level + 1, k.add(a, k.mul(a_step, i)), k.add(b, k.mul(b_step, i)), list(c)),
        )

    results = nest(0, a0, b0, inits)
    while len(results) > n:
        half = len(results) // 2
        results = [k.binary("arith.addf", x, y) for x, y in zip(results[:half], results[half:], strict=True)]
    for i in range(rows):
        for v in range(vectors):
            k.vstore(results[i * vectors + v], c_memory, c_at(i, v))
    k.finish()
    return k
