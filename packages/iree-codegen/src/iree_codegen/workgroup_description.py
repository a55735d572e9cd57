"""What strategies of the workgroup form must know about a machine; target packages fill it in."""

from __future__ import annotations

from dataclasses import dataclass

from iree_codegen.invocation_description import WORKGROUP, InvocationDescription
from iree_core_ir.target import TargetDescription


@dataclass(frozen=True)
class WorkgroupDescription(TargetDescription):
    """A machine whose cores run workgroups, with vectors of ``vector_bits``.

    The defaults are what every machine can be taken to have.
    """

    form: str = WORKGROUP
    vector_bits: int = 128
    """Native vector width; 0: no vectors."""
    registers: int = 16
    fma: bool = False
    masks: bool = False
    """Masked loads and stores are cheap."""
    gathers: bool = False
    rounding: bool = False
    """floor, ceil, trunc and roundeven are instructions."""
    half_conversions: bool = False
    """f16 <-> f32 are instructions."""
    bf16_conversions: bool = False
    """f32 -> bf16 is an instruction."""
    integer_dots: bool = False
    """Sums of four products of 8-bit integers are an instruction."""
    matrix_tiles: tuple[str, ...] = ()
    """Element types of which there are matrix tiles: ``bf16``, ``i8``."""
    conv_algorithm: str = "auto"
    """``auto``: Winograd where it pays; ``direct``: sums of products only."""
    matmul_precision: str = "highest"
    """``high``: products of f32 may be three products of bf16 parts; ``medium``: one of rounded numbers."""
    l1_bytes: int = 32 << 10
    l2_bytes: int = 1 << 20

    @property
    def computes_double(self) -> bool:
        """f64 is computed with."""
        return True


KernelDescription = WorkgroupDescription | InvocationDescription
"""The machine that a kernel of either form is for."""
