"""What strategies of the invocation form must know about a device; target packages fill it in."""

from __future__ import annotations

from dataclasses import dataclass

from iree_core_ir.target import TargetDescription

INVOCATION = "invocation"
WORKGROUP = "workgroup"

MatrixShape = tuple[int, int, int, str, str, str, str]
"""m, n, k and the element types of A, B, the accumulator and the result of one fragment product."""


@dataclass(frozen=True)
class InvocationDescription(TargetDescription):
    """A device that runs kernels in invocation form.

    The defaults are what every Vulkan 1.1 device has. ``arithmetic`` and ``storage`` name the element types
    besides f32 and i32 that can be computed with and that can be loaded and stored.
    """

    form: str = INVOCATION
    subgroup_size: int = 32
    subgroup_ops: tuple[str, ...] = ()
    """Among ``arithmetic`` (reductions) and ``shuffle``."""
    shared_memory_bytes: int = 16 << 10
    max_workgroup_invocations: int = 128
    max_workgroup_size: tuple[int, int, int] = (128, 128, 64)
    max_workgroup_count: tuple[int, int, int] = (65535, 65535, 65535)
    push_constant_bytes: int = 128
    binding_alignment: int = 256
    fma: bool = False
    prefers_barriers: bool = True
    """False for CPU devices: a barrier costs more than what invocations gain from sharing."""
    arithmetic: tuple[str, ...] = ()
    storage: tuple[str, ...] = ()
    matrix_shapes: tuple[MatrixShape, ...] = ()
    rounding: bool = True
    """floor, ceil, trunc and roundeven are instructions."""

    bf16_conversions: bool = False
    """f32 -> bf16 is an instruction."""

    @property
    def half_conversions(self) -> bool:
        """f16 <-> f32 are instructions."""
        return "f16" in self.arithmetic

    @property
    def computes_double(self) -> bool:
        """f64 is computed with."""
        return "f64" in self.arithmetic
