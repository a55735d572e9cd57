"""The kernel function of a dispatch in invocation form: ids, memory spaces, barriers, subgroup operations.

The signature is that of the workgroup form; ``iree.workgroup_size`` on the function says that it is entered
once per invocation. ``scratch`` is the slice of one workgroup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim
from iree_codegen.dispatch import Dispatch
from iree_codegen.elements import Elements
from iree_codegen.errors import INTERNAL, CodegenError
from iree_codegen.invocation_description import InvocationDescription
from iree_codegen.invocation_elements import InvocationElements
from iree_codegen.kernel import INDEX_BITS, SUBGROUP_SIZE, WORKGROUP_SIZE, Kernel, KernelFrame
from iree_codegen.kernel_builder import CMPI, Index, KernelBuilder
from iree_core_ir.dialects.gpu import AddressSpaceAttr, DimensionAttr, ReductionAttr, ShuffleModeAttr
from iree_core_ir.ir.attributes import Attribute, DenseArrayAttr, IntegerAttr, Type
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import MemRefType, element_of, i1, i32, i64, index

Triple = tuple[int, int, int]
MAX_SCRATCH_WORKGROUPS = 256
"""Workgroups of a kernel that needs scratch: its memory is this many slices at most."""
VECTOR_BYTES = 16
"""Vector loads and stores count on bindings that begin at multiples of this."""
SUBGROUP_REDUCTIONS = {
    "add": "add", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "minsi": "minsi", "maxsi": "maxsi",
    "minui": "minui", "maxui": "maxui", "minimumf": "minimumf", "maximumf": "maximumf",
    "minnumf": "minnumf", "maxnumf": "maxnumf",
}  # fmt: skip


class InvocationBuilder(KernelBuilder):
    """Comparisons of an index with a number stay comparisons of indices: those of 64 bits take several
    instructions, and lavapipe gets some of them wrong."""

    def pure(
        self,
        name: str,
        operands: tuple[Value, ...],
        type: Type,
        attributes: dict[str, Attribute] | None = None,
        *,
        hoist: bool = True,
    ) -> Value:
        if name == "arith.cmpi" and attributes is not None:
            operands = self._as_indices(operands, attributes["predicate"])
        return super().pure(name, operands, type, attributes, hoist=hoist)

    def _as_indices(self, operands: tuple[Value, ...], predicate: Any) -> tuple[Value, ...]:
        for place, other in ((0, 1), (1, 0)):
            made, number = operands[place].defining_op, self.constant_of(operands[other])
            if made is None or made.name != "arith.index_cast" or type(number) is not int:
                continue
            source = made.operands[0]
            unsigned = CMPI[predicate.value].startswith("u")
            whole = element_of(source.type) is index and element_of(operands[place].type) is i64
            if whole and (0 if unsigned else -(1 << 31)) <= number < 1 << 31:
                pair = [source, source]
                pair[other] = self.constant(number, source.type)
                return (pair[0], pair[1])
        return operands


class GpuFrame(KernelFrame):
    """``dispatch`` in invocation form with ``workgroup_size`` invocations per workgroup."""

    alignment = VECTOR_BYTES
    builder = InvocationBuilder

    def __init__(
        self,
        dispatch: Dispatch,
        description: InvocationDescription,
        workgroup_size: Sequence[int],
        *,
        name: str | None = None,
        elements: type[Elements] = InvocationElements,
    ) -> None:
        x, y, z = [*workgroup_size, 1, 1, 1][:3]
        self.description = description
        self.workgroup_size: Triple = (x, y, z)
        self.n_invocations = x * y * z
        self.index_bits = index_bits(dispatch, description)
        attributes: dict[str, Attribute] = {
            WORKGROUP_SIZE: DenseArrayAttr(i64, self.workgroup_size),
            SUBGROUP_SIZE: IntegerAttr(description.subgroup_size, i64),
            INDEX_BITS: IntegerAttr(self.index_bits, i64),
        }
        super().__init__(dispatch, fma=description.fma, name=name, attributes=attributes, elements=elements)
        self.shared_bytes = 0
        if isinstance(self.elements, InvocationElements):
            self.elements.index_bits = self.index_bits

    # -- who this invocation is ----------------------------------------------------------------------

    def thread_id(self, axis: int = 0) -> Index:
        """The invocation's place in its workgroup along ``axis``; 0 where there is one only."""
        if self.workgroup_size[axis] == 1:
            return 0
        attributes: dict[str, Attribute] = {
            "dimension": DimensionAttr("xyz"[axis]),
            "upper_bound": IntegerAttr(self.workgroup_size[axis], index),
        }
        return self.kernel.pure("gpu.thread_id", (), index, attributes)

    def local_id(self) -> Index:
        """The invocation's linear place in its workgroup, x fastest."""
        k, (x, y, _) = self.kernel, self.workgroup_size
        return k.sum([self.thread_id(0), k.mul(self.thread_id(1), x), k.mul(self.thread_id(2), x * y)])

    def lane_id(self) -> Value:
        """The invocation's place in its subgroup."""
        bound: dict[str, Attribute] = {"upper_bound": IntegerAttr(self.description.subgroup_size, index)}
        return self.kernel.pure("gpu.lane_id", (), index, bound)

    def subgroup_id(self) -> Index:
        """The subgroup's place in its workgroup."""
        if self.n_subgroups == 1:
            return 0
        bound: dict[str, Attribute] = {"upper_bound": IntegerAttr(self.n_subgroups, index)}
        return self.kernel.pure("gpu.subgroup_id", (), index, bound)

    @property
    def n_subgroups(self) -> int:
        return -(-self.n_invocations // self.description.subgroup_size)

    def grid_dim(self, axis: int = 0) -> Value:
        """Workgroups along ``axis``."""
        return self.kernel.pure("gpu.grid_dim", (), index, {"dimension": DimensionAttr("xyz"[axis])})

    # -- which workgroup this is -----------------------------------------------------------------------

    def folded(self, total: Dim) -> tuple[Dim, Dim, Dim]:
        """Counts in x, y, z for ``total`` workgroups under the device's limits."""
        limit = self.description.max_workgroup_count[0]
        if isinstance(total, int):
            if total <= limit:
                return (total, 1, 1)
            rows = -(-total // limit)
            # As square as it gets, so that few workgroups find nothing to do.
            return (-(-total // rows), rows, 1)
        return (dim_ops.minimum(total, limit), dim_ops.ceildiv(total, limit), 1)

    def workgroup_index(self, total: Dim) -> Index:
        """This workgroup's number when up to ``total`` are folded; compare with their number unless
        ``is_exact``."""
        _, y, _ = self.folded(total)
        if y == 1:
            return self.ids[0]
        k = self.kernel
        return k.add(k.mul(self.ids[1], self.grid_dim(0)), self.ids[0])

    def is_exact(self, total: Dim) -> bool:
        """True when folding ``total`` workgroups makes no surplus ones."""
        x, y, _ = self.folded(total)
        return isinstance(total, int) and dim_ops.mul(x, y) == total

    def unless_surplus(self, number: Index, total: Dim, body: Callable[[], None]) -> None:
        """``body`` where workgroup ``number`` is one of the ``total``, not one that folding made."""
        if self.is_exact(total):
            body()
        else:
            self.kernel.if_(self.kernel.compare("ult", number, self.kernel.dim(total)), lambda: body())

    # -- memory ------------------------------------------------------------------------------------------

    def shared_memory(self, n_elements: int, element: Any) -> Value:
        """Memory of the workgroup. Raises CodegenError INTERNAL beyond what the device has."""
        self.shared_bytes += -(-n_elements * element_type(str(element)).bytes // 16) * 16
        if self.shared_bytes > self.description.shared_memory_bytes:
            raise CodegenError(
                INTERNAL,
                f"'{self.kernel.name}' takes {self.shared_bytes} bytes of shared memory of "
                f"{self.description.shared_memory_bytes}",
            )
        return self._allocate_memory(n_elements, element, "workgroup")

    def shared_left(self) -> int:
        """Bytes of shared memory not yet taken."""
        return self.description.shared_memory_bytes - self.shared_bytes

    def private_memory(self, n_elements: int, element: Any) -> Value:
        """Memory of the invocation."""
        return self._allocate_memory(n_elements, element, "private")

    def _allocate_memory(self, n_elements: int, element: Any, space: str) -> Value:
        type = MemRefType((n_elements,), element, None, AddressSpaceAttr(space))
        return self.kernel.allocate(type)

    # -- working together ----------------------------------------------------------------------------------

    def barrier(self) -> None:
        """All invocations of the workgroup arrive and see each other's writes."""
        self.kernel.effect("gpu.barrier", ())

    def subgroup_reduce(self, kind: str, value: Value) -> Value:
        """``value`` of all invocations of the subgroup combined (``SUBGROUP_REDUCTIONS``)."""
        attributes: dict[str, Attribute] = {"op": ReductionAttr(SUBGROUP_REDUCTIONS[kind])}
        return self.kernel.effect("gpu.subgroup_reduce", (value,), (value.type,), attributes).results[0]

    def shuffle(self, mode: str, value: Value, offset: int | Value) -> Value:
        """Another lane's value: ``xor``, ``up``, ``down`` by ``offset`` (an i32) or lane ``idx``."""
        k = self.kernel
        by = offset if isinstance(offset, Value) else k.constant(offset, i32)
        width = k.constant(self.description.subgroup_size, i32)
        attributes: dict[str, Attribute] = {"mode": ShuffleModeAttr(mode)}
        return k.effect("gpu.shuffle", (value, by, width), (value.type, i1), attributes).results[0]

    # -- the end ---------------------------------------------------------------------------------------------

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
        """The finished kernel; ``counts``: workgroups in x, y, z; ``scratch_bytes``: those of one workgroup.

        Raises CodegenError INTERNAL when the workgroup is larger than the device allows.
        """
        limits = self.description.max_workgroup_size
        too_large = any(n > limit for n, limit in zip(self.workgroup_size, limits, strict=True))
        if too_large or self.n_invocations > self.description.max_workgroup_invocations:
            raise CodegenError(INTERNAL, f"workgroups of {self.workgroup_size} for '{self.kernel.name}'")
        own = {"workgroup_size": self.workgroup_size, "shared_bytes": self.shared_bytes, **(notes or {})}
        return super().finish(counts, scratch_bytes, strategy, why, optimize=optimize, notes=own)


def index_bits(dispatch: Dispatch, description: InvocationDescription) -> int:
    """32 where all byte offsets fit; else 64 if the device has i64, or 32 with checks by the runtime."""
    largest = 0
    for binding in dispatch.bindings:
        if not all(isinstance(d, int) for d in binding.dims):
            return 64 if "i64" in description.arithmetic else 32
        size = math.prod([d for d in binding.dims if isinstance(d, int)])
        largest = max(largest, size * element_type(str(binding.value.type.element_type)).bytes)
    return 32 if largest < 1 << 31 else 64


__all__ = ["MAX_SCRATCH_WORKGROUPS", "VECTOR_BYTES", "GpuFrame", "Triple", "index_bits"]
