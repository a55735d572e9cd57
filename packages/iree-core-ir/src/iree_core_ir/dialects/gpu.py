"""``gpu``: ids, barriers and subgroup operations of a kernel, as in MLIR; launches are not part of it.

In workgroup form (CPU) only ``block_id`` and ``grid_dim`` occur; invocation form (GPU) uses all.
"""

from __future__ import annotations

from typing import Any, Self

from iree_core_ir.dialects import gpu_matrix
from iree_core_ir.dialects.constraints import like
from iree_core_ir.dialects.words import parse_word
from iree_core_ir.ir.attributes import UNIT, ArrayAttr, Attribute, IntegerAttr, Type, UnitAttr
from iree_core_ir.ir.declaration import attribute, operand, optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.enums import EnumAttr
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE, SAME_TYPE
from iree_core_ir.ir.types import FloatType, IndexType, IntegerType, i1, i32, index

DIMENSIONS = ("x", "y", "z")
REDUCTIONS = (
    "add", "mul", "minui", "minsi", "minnumf", "maxui", "maxsi", "maxnumf", "and", "or", "xor",
    "minimumf", "maximumf",
)  # fmt: skip
SHUFFLES = ("xor", "up", "down", "idx")
NUMBER_LIKE = like("integer or float", lambda t: isinstance(t, (IntegerType, FloatType, IndexType)))


class DimensionAttr(EnumAttr):
    """``#gpu.dim<x>``."""

    __slots__ = ()
    mnemonic = "gpu.dim"
    cases = DIMENSIONS


class AddressSpaceAttr(EnumAttr):
    """``#gpu.address_space<workgroup>``: where a memref lives."""

    __slots__ = ()
    mnemonic = "gpu.address_space"
    cases = ("global", "workgroup", "private", "constant")


class ReductionAttr(EnumAttr):
    """``#gpu.all_reduce_op<add>``."""

    __slots__ = ()
    mnemonic = "gpu.all_reduce_op"
    cases = REDUCTIONS


class ShuffleModeAttr(EnumAttr):
    """``#gpu.shuffle_mode<xor>``."""

    __slots__ = ()
    mnemonic = "gpu.shuffle_mode"
    cases = SHUFFLES


class _DimensionOp(Op, traits=(PURE,)):
    dimension = attribute(DimensionAttr)
    upper_bound = optional_attribute(IntegerAttr, type=index)
    result = result(index)
    assembly_format = "custom<Dimension>($dimension) (`upper_bound` $upper_bound^)? attr-dict"

    @classmethod
    def make(cls, dimension: str, upper_bound: int | None = None) -> Self:
        """``dimension``: x, y or z; ``upper_bound``: the value is known to be below (ids) or at most."""
        attributes: dict[str, Attribute] = {"dimension": DimensionAttr(dimension)}
        if upper_bound is not None:
            attributes["upper_bound"] = IntegerAttr(upper_bound, index)
        return cls((), (index,), attributes)

    @property
    def axis(self) -> int:
        return DIMENSIONS.index(self.dimension.value)

    @staticmethod
    def parse_Dimension(p: Any) -> tuple[DimensionAttr]:
        return (parse_word(p, DimensionAttr),)

    @staticmethod
    def print_Dimension(printer: Any, op: Op, dimension: DimensionAttr) -> None:
        printer.write(dimension.value)


class ThreadId(_DimensionOp, name="gpu.thread_id"):
    """Invocation's id in its workgroup."""


class BlockId(_DimensionOp, name="gpu.block_id"):
    """Workgroup's id in the grid."""


class BlockDim(_DimensionOp, name="gpu.block_dim"):
    """Invocations per workgroup."""


class GridDim(_DimensionOp, name="gpu.grid_dim"):
    """Workgroups in the grid."""


class GlobalId(_DimensionOp, name="gpu.global_id"):
    """Invocation's id in the grid: block_id * block_dim + thread_id."""


class _IndexOp(Op, traits=(PURE,)):
    upper_bound = optional_attribute(IntegerAttr, type=index)
    result = result(index)
    assembly_format = "(`upper_bound` $upper_bound^)? attr-dict"

    @classmethod
    def make(cls, upper_bound: int | None = None) -> Self:
        return cls(
            (), (index,), {} if upper_bound is None else {"upper_bound": IntegerAttr(upper_bound, index)}
        )


class LaneId(_IndexOp, name="gpu.lane_id"):
    """Invocation's id in its subgroup."""


class _TypedIndexOp(_IndexOp):
    assembly_format = "(`upper_bound` $upper_bound^)? attr-dict `:` type($result)"


class SubgroupId(_TypedIndexOp, name="gpu.subgroup_id"):
    """Subgroup's id in its workgroup."""


class NumSubgroups(_TypedIndexOp, name="gpu.num_subgroups"):
    """Subgroups in the workgroup."""


class SubgroupSize(_TypedIndexOp, name="gpu.subgroup_size"):
    """Invocations per subgroup."""


class Barrier(Op, name="gpu.barrier"):
    """All invocations of the workgroup arrive before any goes on, and see each other's writes.

    ``address_spaces`` limits what they see to writes to those memories; none means all.
    """

    address_spaces = optional_attribute(ArrayAttr)
    assembly_format = "(`memfence` $address_spaces^)? attr-dict"

    @classmethod
    def make(cls) -> Self:
        return cls()


class SubgroupReduce(Op, name="gpu.subgroup_reduce", traits=(SAME_TYPE,)):
    """Combines one value per invocation of the subgroup (or of each cluster of lanes); all get the result.

    ``cluster_size`` lanes that are ``cluster_stride`` apart form a cluster.
    """

    operation = attribute(ReductionAttr, key="op")
    value = operand(NUMBER_LIKE)
    uniform = optional_attribute(UnitAttr)
    cluster_size = optional_attribute(IntegerAttr, type=i32)
    cluster_stride = optional_attribute(IntegerAttr, type=i32)
    result = result(NUMBER_LIKE)
    assembly_format = (
        "custom<Operation>($operation) $value (`uniform` $uniform^)? "
        "(`cluster` `(` `size` `=` $cluster_size^ (`,` `stride` `=` $cluster_stride^)? `)`)? "
        "attr-dict `:` functional-type(operands, results)"
    )

    @staticmethod
    def parse_Operation(p: Any) -> tuple[ReductionAttr]:
        return (parse_word(p, ReductionAttr),)

    @staticmethod
    def print_Operation(printer: Any, op: Op, operation: ReductionAttr) -> None:
        printer.write(operation.value)

    @classmethod
    def make(
        cls,
        operation: str,
        value: Value,
        uniform: bool = False,
        cluster_size: int | None = None,
        cluster_stride: int | None = None,
    ) -> Self:
        attributes: dict[str, Attribute] = {"op": ReductionAttr(operation)}
        if uniform:
            attributes["uniform"] = UNIT
        if cluster_size is not None:
            attributes["cluster_size"] = IntegerAttr(cluster_size, i32)
        if cluster_stride is not None:
            attributes["cluster_stride"] = IntegerAttr(cluster_stride, i32)
        return cls((value,), (value.type,), attributes)


class Shuffle(Op, name="gpu.shuffle"):
    """Another lane's value, and whether the lane exists: ``xor``, ``up``, ``down`` by the offset or ``idx``.

    Lanes exchange within groups of ``width``; the value of a lane outside is the invocation's own.
    """

    value = operand(NUMBER_LIKE)
    offset = operand(i32)
    width = operand(i32)
    mode = attribute(ShuffleModeAttr)
    shuffled = result(NUMBER_LIKE)
    valid = result(i1)
    assembly_format = "custom<Mode>($mode) $value `,` $offset `,` $width attr-dict `:` type($value)"

    @staticmethod
    def parse_Mode(p: Any) -> tuple[ShuffleModeAttr]:
        return (parse_word(p, ShuffleModeAttr),)

    @staticmethod
    def print_Mode(printer: Any, op: Op, mode: ShuffleModeAttr) -> None:
        printer.write(mode.value)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["shuffled"] = types["value"]

    @classmethod
    def make(cls, mode: str, value: Value, offset: Value, width: Value) -> Self:
        return cls((value, offset, width), (value.type, i1), {"mode": ShuffleModeAttr(mode)})


def materialize_constant(value: Attribute, type: Type) -> Op:
    """arith's constant."""
    from iree_core_ir.dialects import arith

    return arith.materialize_constant(value, type)


DIALECT = Dialect(
    "gpu",
    ops=[
        Barrier, BlockDim, BlockId, GlobalId, GridDim, LaneId, NumSubgroups, Shuffle, SubgroupId,
        SubgroupReduce, SubgroupSize, ThreadId, *gpu_matrix.OPS,
    ],
    attributes=[AddressSpaceAttr, DimensionAttr, ReductionAttr, ShuffleModeAttr, *gpu_matrix.ATTRIBUTES],
    materialize_constant=materialize_constant,
)  # fmt: skip
