"""Kernels in invocation form as text, run on a device and by the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iree_codegen.kernel import Kernel
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.interpreters.gpu import run_workgroup
from iree_core_ir.target import ExecutableObject, ExportObject
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_target_vulkan.description import VulkanDescription
from iree_target_vulkan.target import compile_kernel

Array = np.ndarray[Any, Any]
Triple = tuple[int, int, int]


@dataclass
class KernelText:
    """A kernel ``k``. ``bindings``: (element type, access); ``scalars``: types; names are %b0 ..., %s0 ...,
    %wx %wy %wz and %scratch.
    """

    body: str
    bindings: Sequence[tuple[str, str]]
    scalars: Sequence[str] = ()
    workgroup: Triple = (8, 1, 1)
    subgroup: int = 8
    index_bits: int = 32
    scratch_bytes: int = 0
    counts: Triple = (1, 1, 1)
    header: str = ""

    @property
    def text(self) -> str:
        arguments = [f"%b{i}: memref<?x{type}>" for i, (type, _) in enumerate(self.bindings)]
        arguments += [f"%s{i}: {type}" for i, type in enumerate(self.scalars)]
        arguments += ["%wx: index", "%wy: index", "%wz: index", "%scratch: memref<?xi8>"]
        sizes = ", ".join(map(str, self.workgroup))
        return (
            f"{self.header}\nfunc.func @k({', '.join(arguments)}) attributes {{iree.kernel, "
            f"iree.bindings = {len(self.bindings)} : i64, iree.workgroup_size = array<i64: {sizes}>, "
            f"iree.subgroup_size = {self.subgroup} : i64, iree.index_bits = {self.index_bits} : i64}} {{\n"
            f"{self.body}\n  return\n}}\n"
        )

    def kernel(self) -> Kernel:
        module = parse_module(self.text)
        verify(module)
        one: Any = ["const", 1]
        words = sum(2 if type in ("index", "i64", "f64") else 1 for type in self.scalars)
        export = ExportObject(
            "k", tuple(access for _, access in self.bindings), words, (one, one, one), self.scratch_bytes,
            tuple(16 for _ in self.bindings),
        )  # fmt: skip
        return Kernel("k", module, export, "by hand", "a test")

    def compile(self, description: VulkanDescription) -> ExecutableObject:
        return compile_kernel(self.kernel(), description)

    def interpret(self, arrays: Sequence[Array], scalars: Sequence[Any] = ()) -> None:
        """Write ``arrays`` in place, workgroup by workgroup, before any legalization."""
        interpreter = Interpreter(parse_module(self.text))
        scratch = np.zeros(self.scratch_bytes, np.int8)
        x, y, z = self.counts
        for id in ((i, j, k) for k in range(z) for j in range(y) for i in range(x)):
            with np.errstate(all="ignore"):
                run_workgroup(
                    interpreter,
                    "k",
                    [*arrays, *scalars, *id, scratch],
                    block_id=id,
                    grid_dim=self.counts,
                    block_dim=self.workgroup,
                    subgroup_size=self.subgroup,
                )

    def words(self, scalars: Sequence[Any]) -> list[int]:
        """The u32 constants of scalar arguments."""
        found: list[int] = []
        for type, value in zip(self.scalars, scalars, strict=True):
            n = 2 if type in ("index", "i64", "f64") else 1
            if type == "index":
                raw = int(value).to_bytes(8, "little", signed=True)
            else:
                raw = np.asarray(value).tobytes()
            raw = raw.ljust(4 * n, b"\0")
            found += [int.from_bytes(raw[4 * i : 4 * i + 4], "little") for i in range(n)]
        return found


Run = Callable[..., list[Array]]


def elementwise(
    lines: Sequence[str],
    inputs: Sequence[str],
    result: str,
    n: int,
    *,
    lanes: int = 1,
    index_bits: int = 32,
    header: str = "",
) -> KernelText:
    """A kernel that does one op per line on ``n`` elements; the results of line k begin at k * n.

    A line is an op with operands %a, %b, %c (of types ``inputs``); ``{a}`` ``{b}`` ``{c}`` ``{r}`` stand for
    the types in ``lanes`` lanes, ``{i1}`` for i1 there.
    """
    group = 8 * lanes
    assert n % group == 0

    def spelled(type: str) -> str:
        return type if lanes == 1 else f"vector<{lanes}x{type}>"

    names = "abc"[: len(inputs)]
    types = {name: spelled(type) for name, type in zip(names, inputs, strict=True)}
    types |= {"r": spelled(result), "i1": spelled("i1")}
    body = [
        "%eight = arith.constant 8 : index",
        f"%lanes = arith.constant {lanes} : index",
        "%t = gpu.thread_id x",
        "%m = arith.muli %wx, %eight : index",
        "%place = arith.addi %m, %t : index",
        "%i = arith.muli %place, %lanes : index",
    ]
    for number, (name, type) in enumerate(zip(names, inputs, strict=True)):
        if lanes == 1:
            body.append(f"%{name} = memref.load %b{number}[%i] : memref<?x{type}>")
        else:
            body.append(f"%{name} = vector.load %b{number}[%i] : memref<?x{type}>, {spelled(type)}")
    out = len(inputs)
    for number, line in enumerate(lines):
        body += [
            f"%n{number} = arith.constant {number * n} : index",
            f"%i{number} = arith.addi %i, %n{number} : index",
            f"%r{number} = {line.format(**types)}",
        ]
        if lanes == 1:
            body.append(f"memref.store %r{number}, %b{out}[%i{number}] : memref<?x{result}>")
        else:
            body.append(
                f"vector.store %r{number}, %b{out}[%i{number}] : memref<?x{result}>, {spelled(result)}"
            )
    bindings = [(type, "read") for type in inputs] + [(result, "write")]
    return KernelText(
        "\n".join(f"  {line}" for line in body), bindings, counts=(n // group, 1, 1), index_bits=index_bits,
        header=header,
    )  # fmt: skip


def check_elementwise(
    run: Run,
    lines: Sequence[str],
    operands: Sequence[Array],
    inputs: Sequence[str],
    result: tuple[str, Any],
    *,
    lanes: int = 1,
    same: Callable[[Array, Array], None] | None = None,
) -> None:
    """Each line on the device gives what the interpreter gives, bit by bit unless ``same`` compares."""
    n = len(operands[0])
    name, dtype = result
    kernel = elementwise(lines, inputs, name, n, lanes=lanes)
    out = np.full(n * len(lines), 77).astype(dtype)
    expected = [*operands, out.copy()]
    kernel.interpret(expected)
    got = run(kernel, [*operands, out])[-1]
    for number, line in enumerate(lines):
        a, b = (array[number * n : (number + 1) * n] for array in (got, expected[-1]))
        if same is not None:
            same(a, b)
            continue
        bits = f"u{np.dtype(dtype).itemsize}"
        wrong = np.flatnonzero(a.view(bits) != b.view(bits))
        where = [tuple(o[i] for o in operands) for i in wrong[:5]]
        assert not wrong.size, (
            f"{line}: {wrong.size} of {n} differ, at {where}: {a[wrong[:5]]}, not {b[wrong[:5]]}"
        )
