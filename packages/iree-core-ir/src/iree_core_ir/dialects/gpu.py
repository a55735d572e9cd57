"""``gpu``: ids, barriers and subgroup operations of a kernel, as in MLIR; launches are not part of it.

In workgroup form (CPU) only ``block_id`` and ``grid_dim`` occur; invocation form (GPU) uses all.
"""

from __future__ import annotations

from typing import Self

from iree_core_ir.dialects.constraints import like
from iree_core_ir.ir.attributes import UNIT, Attribute, IntegerAttr, Type, UnitAttr
from iree_core_ir.ir.declaration import attribute, operand, optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
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


class _EnumAttr(Attribute):
    __slots__ = _fields = ("name",)
    name: str
    NAMES: tuple[str, ...] = ()

    def check(self) -> None:
        if self.name not in self.NAMES:
            raise ValueError(f"unknown {self.mnemonic} '{self.name}'; one of {', '.join(self.NAMES)}")


class DimensionAttr(_EnumAttr):
    """``#gpu<dim x>``."""

    __slots__ = ()
    mnemonic = "gpu.dim"
    NAMES = DIMENSIONS


class ReductionAttr(_EnumAttr):
    """``#gpu<all_reduce_op add>``."""

    __slots__ = ()
    mnemonic = "gpu.all_reduce_op"
    NAMES = REDUCTIONS


class ShuffleModeAttr(_EnumAttr):
    """``#gpu<shuffle_mode xor>``."""

    __slots__ = ()
    mnemonic = "gpu.shuffle_mode"
    NAMES = SHUFFLES


class _DimensionOp(Op, traits=(PURE,)):
    dimension = attribute(DimensionAttr)
    upper_bound = optional_attribute(IntegerAttr)
    result = result(index)

    @classmethod
    def make(cls, dimension: str, upper_bound: int | None = None) -> Self:
        """``dimension``: x, y or z; ``upper_bound``: the value is known to be below (ids) or at most."""
        attributes: dict[str, Attribute] = {"dimension": DimensionAttr(dimension)}
        if upper_bound is not None:
            attributes["upper_bound"] = IntegerAttr(upper_bound, index)
        return cls((), (index,), attributes)

    @property
    def axis(self) -> int:
        return DIMENSIONS.index(self.dimension.name)


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
    upper_bound = optional_attribute(IntegerAttr)
    result = result(index)

    @classmethod
    def make(cls, upper_bound: int | None = None) -> Self:
        return cls(
            (), (index,), {} if upper_bound is None else {"upper_bound": IntegerAttr(upper_bound, index)}
        )


class LaneId(_IndexOp, name="gpu.lane_id"):
    """Invocation's id in its subgroup."""


class SubgroupId(_IndexOp, name="gpu.subgroup_id"):
    """Subgroup's id in its workgroup."""


class NumSubgroups(_IndexOp, name="gpu.num_subgroups"):
    """Subgroups in the workgroup."""


class SubgroupSize(_IndexOp, name="gpu.subgroup_size"):
    """Invocations per subgroup."""


class Barrier(Op, name="gpu.barrier"):
    """All invocations of the workgroup arrive before any goes on, and see each other's writes."""

    assembly_format = "attr-dict"

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
    cluster_size = optional_attribute(IntegerAttr)
    cluster_stride = optional_attribute(IntegerAttr)
    result = result(NUMBER_LIKE)

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
        SubgroupReduce, SubgroupSize, ThreadId,
    ],
    attributes=[DimensionAttr, ReductionAttr, ShuffleModeAttr],
    materialize_constant=materialize_constant,
)  # fmt: skip
