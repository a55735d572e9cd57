"""A kernel: the functions of one executable in a normal form, and what the runtime must know to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from iree_base.element_types import element_type
from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.dispatch import READWRITE, Dispatch
from iree_codegen.elements import Elements, Memory, Point
from iree_codegen.indexing import Affine
from iree_codegen.kernel_builder import Index, KernelBuilder, memref_of
from iree_core_ir.ir.attributes import UNIT, Attribute, IntegerAttr
from iree_core_ir.ir.dialect import find_op
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import i8, i64, index
from iree_core_ir.target import ExportObject

KERNEL = "iree.kernel"
"""Marks the function that workgroups enter: bindings, scalars, workgroup ids x y z, scratch."""
BINDINGS = "iree.bindings"
"""How many of the arguments are bindings."""
WORKSPACE = "iree.workspace"
"""Marks a function whose last binding is memory that the workgroups of a dispatch share, zero at first."""
WORKSPACE_ALIGNMENT = 64
WORKGROUP_SIZE = "iree.workgroup_size"
"""Invocations in x, y, z (invocation form only): the function is entered once per invocation."""
SUBGROUP_SIZE = "iree.subgroup_size"
"""Invocations in a subgroup that the kernel counts on (invocation form only)."""
INDEX_BITS = "iree.index_bits"
"""Width of ``index`` in the kernel, 32 or 64 (invocation form only)."""


@record
class Kernel:
    """``module`` holds the kernel function ``name`` and private functions it calls."""

    name: str
    module: Op
    export: ExportObject
    strategy: str
    why: str
    optimize: bool = False
    """Ask for LLVM's optimization pipeline (plain loops only); others are final as they stand."""
    notes: dict[str, Any] = field(default_factory=dict)


class KernelFrame:
    """The kernel function of ``dispatch`` under construction, with memory for its arguments."""

    alignment = 1
    """What the addresses of bindings must be multiples of, in bytes."""
    builder: type[KernelBuilder] = KernelBuilder

    def __init__(
        self,
        dispatch: Dispatch,
        *,
        fma: bool,
        name: str | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        elements: type[Elements] = Elements,
        workspace: Dim | None = None,
    ) -> None:
        """``workspace``: bytes that the workgroups of a dispatch share, zero at first; None for none."""
        self.dispatch = dispatch
        bindings = dispatch.bindings
        types: list[Any] = [memref_of(b.value.type.element_type) for b in bindings]
        self.workspace_bytes = workspace
        if workspace is not None:
            types.append(memref_of(i8))
        n = len(types)
        types += [s.value.type for s in dispatch.scalars]
        types += [index, index, index, memref_of(i8)]
        own: dict[str, Attribute] = {KERNEL: UNIT, BINDINGS: IntegerAttr(n, i64)}
        if workspace is not None:
            own[WORKSPACE] = UNIT
        own.update(attributes or {})
        self.kernel = self.builder(name or dispatch.name, types, fma=fma, attributes=own)
        args = self.kernel.args
        self.binding_args: list[Value] = args[: len(bindings)]
        self.workspace: Value | None = None if workspace is None else args[n - 1]
        self.ids: list[Value] = args[-4:-1]
        self.scratch: Value = args[-1]
        self.private: list[Op] = []
        self.scratch_bytes = 0
        memory: dict[Value, Memory] = {}
        for binding, argument in zip(bindings, args, strict=False):
            memory[binding.value] = Memory(argument, dim_ops.strides(binding.dims))
            argument.hint = f"b{binding.index}"
        self.elements = elements(dispatch, self.kernel, memory)
        for scalar, argument in zip(dispatch.scalars, args[n:], strict=False):
            self.elements.scalar_arguments[scalar.value] = argument
            self.kernel.dim_arguments[scalar.argument] = argument

    def allocate(self, n_bytes: int) -> int:
        """Reserve worker scratch; returns its byte offset (64-byte aligned)."""
        offset = self.scratch_bytes
        self.scratch_bytes += -(-n_bytes // 64) * 64
        return offset

    def scratch_view(self, n_elements: int, element: Any) -> Value:
        """Reserved scratch memory for ``n_elements``."""
        offset = self.allocate(n_elements * element_type(str(element)).bytes)
        return self.kernel.view(self.scratch, offset, n_elements, element)

    def binding_memory(self, binding: Any) -> Memory:
        return Memory(self.binding_args[binding.index], dim_ops.strides(binding.dims))

    def part(self, number: Index, size: int, total: Dim) -> tuple[Index, Index]:
        """(first, end) of part ``number`` of ``total`` in parts of ``size``; the last one may be shorter."""
        k = self.kernel
        first = k.mul(number, size)
        end = k.add(first, size)
        whole = isinstance(total, int) and total % size == 0
        return first, end if whole else k.min(end, k.dim(total))

    def store_results(self, forms: Sequence[Affine], point: Point) -> None:
        """Store the dispatch's results at ``forms``: all are computed before the first is stored."""
        results = self.dispatch.results
        values = [self.elements.element(value, forms, point) for value, _ in results]
        for value, (_, binding) in zip(values, results, strict=True):
            self.elements.store(value, self.binding_memory(binding), forms, point)

    def finish(
        self,
        counts: Sequence[Dim],
        scratch_bytes: int,
        strategy: str,
        why: str,
        *,
        optimize: bool = False,
        notes: dict[str, Any] | None = None,
    ) -> Kernel:
        """The finished kernel; ``counts`` are the workgroups in x, y, z."""
        func = self.kernel.finish()
        block = Block()
        for private in self.private:
            block.append(private)
        block.append(func)
        module_class = find_op("builtin.module")
        assert module_class is not None
        module = module_class((), (), {}, [Region([block])])
        ordinal = {s.argument: i for i, s in enumerate(self.dispatch.scalars)}
        padded = [*counts, 1, 1, 1][:3]
        expressions = [_by_ordinal(dim_ops.to_list(c), ordinal) for c in padded]
        accesses = [b.access for b in self.dispatch.bindings]
        alignments = [self.alignment] * len(accesses)
        workspace = None
        if self.workspace_bytes is not None:
            workspace = _by_ordinal(dim_ops.to_list(self.workspace_bytes), ordinal)
            accesses.append(READWRITE)
            alignments.append(WORKSPACE_ALIGNMENT)
        export = ExportObject(
            name=self.kernel.name,
            bindings=tuple(accesses),
            n_constants=self.dispatch.n_constants,
            workgroup_count=(expressions[0], expressions[1], expressions[2]),
            scratch_bytes=scratch_bytes,
            alignments=tuple(alignments),
            workspace=workspace,
        )
        return Kernel(self.kernel.name, module, export, strategy, why, optimize, notes or {})


def _by_ordinal(expression: list[Any], ordinal: dict[int, int]) -> list[Any]:
    """Argument numbers -> positions among the scalar arguments."""
    if expression[0] == "arg":
        return ["arg", ordinal[expression[1]]]
    if expression[0] == "const":
        return expression
    return [expression[0], *(_by_ordinal(e, ordinal) for e in expression[1:])]


__all__ = [
    "BINDINGS",
    "INDEX_BITS",
    "KERNEL",
    "SUBGROUP_SIZE",
    "WORKGROUP_SIZE",
    "WORKSPACE",
    "Index",
    "Kernel",
    "KernelFrame",
]
