"""A model's dispatches one by one: time in order of execution, share of the total, rate of arithmetic.

    python benchmarks/dispatches.py model.onnx
    python benchmarks/dispatches.py model.onnx --only conv --rounds 20 --peak 200

Every dispatch runs on one thread with memory of its own, once a round and in program order, so weights are as
cold as in the network. Times are CPU time, the least of the rounds.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import iree_flow
from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch
from iree_codegen.layouts import constant_layout
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.ir.types import FloatType
from iree_core_ir.target import ExecutableObject
from iree_hal import abi
from iree_target_llvm.description import describe
from iree_target_llvm.target import compile_function
from iree_target_llvm.testing import NativeKernel, constant_words


@dataclass
class Timed:
    """One executable ready to run, and what was measured."""

    name: str
    compiled: ExecutableObject
    kernel: NativeKernel
    arrays: list[Any]
    constants: list[int]
    counts: tuple[int, int, int]
    multiplications: int
    calls: int = 1
    seconds: float = float("inf")

    def prepare(self) -> None:
        self.function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(
            self.kernel.address
        )
        self.words = (ctypes.c_uint32 * max(1, len(self.constants)))(*self.constants)
        self.pointers = (ctypes.c_void_p * max(1, len(self.arrays)))(*[a.ctypes.data for a in self.arrays])
        self.lengths = (ctypes.c_uint64 * max(1, len(self.arrays)))(*[a.nbytes for a in self.arrays])
        x, y, z = self.counts
        self.dispatch = abi.Dispatch(
            abi_version=abi.ABI_VERSION,
            count_x=x,
            count_y=y,
            count_z=z,
            n_constants=len(self.constants),
            n_bindings=len(self.arrays),
            constants=ctypes.addressof(self.words),
            bindings=ctypes.addressof(self.pointers),
            lengths=ctypes.addressof(self.lengths),
        )
        self.ids = [(i, j, k) for k in range(z) for j in range(y) for i in range(x)]

    def run(self, scratch: Any) -> None:
        group = abi.Workgroup(scratch=scratch.ctypes.data, scratch_bytes=scratch.nbytes)
        at, where = ctypes.addressof(self.dispatch), ctypes.addressof(group)
        function = self.function
        start = time.thread_time()
        for group.id_x, group.id_y, group.id_z in self.ids:
            function(at, where)
        self.seconds = min(self.seconds, time.thread_time() - start)


def aligned(n_bytes: int) -> Any:
    memory = np.zeros(n_bytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + n_bytes]


def multiplications_of(dispatch: Dispatch) -> int:
    """Products of the dispatch's reductions, for static shapes."""
    total = 0
    for op in dispatch.ops:
        if isinstance(op, StructuredOp) and "reduction" in op.iterator_types:
            extents = dispatch.loop_dims(op)
            if any(o.name in ("arith.mulf", "math.fma") for o in op.body):
                total += int(np.prod([e if isinstance(e, int) else 1 for e in extents], dtype=np.int64))
    return total


def prepared(func: Any, description: Any, dim: int) -> Timed:
    compiled = compile_function(func, description)
    dispatch = Dispatch(func)
    packed = {w.argument: w.type.shape for w in constant_layout(func, description)}
    rng = np.random.default_rng(0)
    numbers = {s.argument: dim for s in dispatch.scalars}
    constants: list[int] = []
    for scalar in dispatch.scalars:
        value = 1.0 if isinstance(scalar.value.type, FloatType) else dim
        constants += constant_words(scalar.value.type, value)
    arrays = []
    for binding in dispatch.bindings:
        shape = [dim_ops.evaluate(d, numbers) for d in binding.dims]
        shape = list(packed[binding.argument]) if binding.packed else shape
        dtype = element_type(str(binding.value.type.element_type)).dtype
        count = int(np.prod(shape, dtype=np.int64))
        array = aligned(max(1, count) * dtype.itemsize).view(dtype)[:count]
        if dtype.kind == "f":
            array[...] = rng.standard_normal(count, np.float32) * 0.1
        arrays.append(array)
    kernel = NativeKernel.load(compiled)
    counts = kernel.workgroups([numbers[s.argument] for s in dispatch.scalars])
    timed = Timed(dispatch.name, compiled, kernel, arrays, constants, counts, multiplications_of(dispatch))
    timed.prepare()
    return timed


def functions_of(module: Any) -> list[tuple[Any, int]]:
    """Dispatch functions in order, each with its number of calls."""
    calls: dict[str, int] = {}
    found = []
    for op in module.walk():
        if op.name == "flow.dispatch":
            target = str(op.attributes["entry_point"]).rsplit("@")[-1]
            calls[target] = calls.get(target, 0) + 1
        if op.name == "flow.executable":
            found += [f for f in op.walk() if f.name == "func.func"]
    return [(f, calls.get(f.sym_name.value, 1)) for f in found]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--only", default="", help="dispatches with this in their name")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--dim", type=int, default=1, help="what dynamic dims are taken for")
    parser.add_argument("--peak", type=float, default=213.0, help="GFLOP/s that count as 100 %%")
    parser.add_argument(
        "--option", action="append", default=[], help="an option of the target, as channel-block=auto"
    )
    parser.add_argument("--shape", action="append", default=[], help="an input's shape, as x=1x3x48x320")
    options = parser.parse_args(arguments)
    shapes = {name: tuple(map(int, s.split("x"))) for name, s in (o.split("=", 1) for o in options.shape)}
    target_options = dict(o.split("=", 1) for o in options.option)
    module = iree_flow.compile(
        options.model,
        target="llvm-cpu",
        compile_to="dispatch-creation",
        input_shapes=shapes,
        target_options=target_options,
    )
    description = describe(target_options)
    start = time.process_time()
    dispatches = []
    for func, calls in functions_of(module.module):
        if options.only in func.sym_name.value:
            dispatches.append(prepared(func, description, options.dim))
            dispatches[-1].calls = max(1, calls)
    print(f"compiled {len(dispatches)} dispatches in {time.process_time() - start:.2f} s")
    scratch = aligned(max(d.compiled.exports[0].scratch_bytes for d in dispatches) + 64)
    for _ in range(options.rounds):
        for dispatch in dispatches:
            for _ in range(min(dispatch.calls, 2)):
                dispatch.run(scratch)
    total = sum(d.seconds * d.calls for d in dispatches)
    print(f"{'us':>9} {'x':>2} {'share':>6} {'GFLOP/s':>8} {'peak':>5}  groups  dispatch, strategy")
    for d in dispatches:
        rate = 2 * d.multiplications / d.seconds / 1e9
        print(
            f"{d.seconds * 1e6:9.1f} {d.calls:2d} {100 * d.seconds * d.calls / total:5.1f}% {rate:8.1f} "
            f"{100 * rate / options.peak:4.0f}%  {len(d.ids):6d}  {d.name.split('_', 3)[-1]}: "
            f"{d.compiled.report['strategy']}, {d.compiled.report['why']}"
        )
    print(f"{total * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
