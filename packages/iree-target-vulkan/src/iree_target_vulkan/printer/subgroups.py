"""Ids of invocations, barriers, and what the invocations of a subgroup do together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from iree_codegen.errors import UNSUPPORTED_TYPE, CodegenError
from iree_core_ir.dialects.gpu import DIMENSIONS
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.types import FloatType, element_of, i32
from iree_target_vulkan.printer.floats import combine
from iree_target_vulkan.printer.memory import SCOPE_SUBGROUP, SCOPE_WORKGROUP, MemoryPrinter

ACQUIRE_RELEASE, UNIFORM_MEMORY, WORKGROUP_MEMORY = 0x8, 0x40, 0x100
MAKE_AVAILABLE, MAKE_VISIBLE = 0x2000, 0x4000

VECTOR_BUILTINS = {
    "gpu.thread_id": "LocalInvocationId",
    "gpu.block_id": "WorkgroupId",
    "gpu.grid_dim": "NumWorkgroups",
    "gpu.global_id": "GlobalInvocationId",
}
SCALAR_BUILTINS = {
    "gpu.lane_id": "SubgroupLocalInvocationId",
    "gpu.subgroup_id": "SubgroupId",
    "gpu.subgroup_size": "SubgroupSize",
    "gpu.num_subgroups": "NumSubgroups",
}
REDUCTIONS = {
    "add": ("FAdd", "IAdd"), "mul": ("FMul", "IMul"), "and": ("", "BitwiseAnd"), "or": ("", "BitwiseOr"),
    "xor": ("", "BitwiseXor"), "minsi": ("", "SMin"), "maxsi": ("", "SMax"), "minui": ("", "UMin"),
    "maxui": ("", "UMax"),
}  # fmt: skip


class SubgroupPrinter(MemoryPrinter):
    """``prologue``: words that come first in the function, before the code of its ops."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.prologue: list[int] = []
        self.counts_on_subgroups = False
        self.unsigned_sums = False
        """Whether i32 matrix fragments hold sums of products of unsigned bytes."""
        self.block_id = 0
        """The label of the block being printed."""
        self._builtins: dict[tuple[str, int], int] = {}

    def builtin(self, name: str, axis: int = -1) -> int:
        """A built-in (of a vector, its component) as an index; loaded once, at the start."""
        key = (name, axis)
        found = self._builtins.get(key)
        if found is None:
            m = self.module
            saved, m.code = m.code, self.prologue
            if axis >= 0:
                type = m.vector(self.u32, 3)
                found = self._builtins.get((name, -2)) or m.op("Load", type, m.builtin(name, type))
                self._builtins[name, -2] = found
                found = m.op("CompositeExtract", self.u32, found, axis)
            else:
                found = m.op("Load", self.u32, m.builtin(name, self.u32))
            if self.index_bits == 64:
                found = m.op("UConvert", m.int_type(64), found)
            m.code = saved
            self._builtins[key] = found
        return found

    def lane(self) -> int:
        """The invocation's place in its subgroup, as u32."""
        self.counts_on_subgroups = True
        self.require("subgroup:basic")
        lane = self.builtin("SubgroupLocalInvocationId")
        return self.emit("UConvert", self.u32, lane) if self.index_bits == 64 else lane


def identity(p: SubgroupPrinter, op: Any) -> int:
    return p.builtin(VECTOR_BUILTINS[op.name], DIMENSIONS.index(op.attributes["dimension"].value))


def subgroup_identity(p: SubgroupPrinter, op: Any) -> int:
    p.counts_on_subgroups = True
    p.require("subgroup:basic", source=op.location.user_text())
    return p.builtin(SCALAR_BUILTINS[op.name])


def barrier(p: SubgroupPrinter, op: Any) -> None:
    spaces = op.attributes.get("address_spaces")
    names = {s.value for s in spaces} if spaces is not None else {"workgroup", "global"}
    semantics = ACQUIRE_RELEASE | WORKGROUP_MEMORY
    if "global" in names and p.shared:
        semantics |= UNIFORM_MEMORY
    if p.vulkan_model:
        semantics |= MAKE_AVAILABLE | MAKE_VISIBLE
    scope = p.u32_constant(SCOPE_WORKGROUP)
    p.module.do("ControlBarrier", scope, scope, p.u32_constant(semantics))


def reduce(p: SubgroupPrinter, op: Any) -> int:
    """Over the invocations of the subgroup, or of clusters of lanes."""
    kind = op.attributes["op"].value
    value = op.operands[0]
    type: Any = value.type
    p.counts_on_subgroups = True
    cluster = op.attributes.get("cluster_size")
    stride = op.attributes.get("cluster_stride")
    size = p.description.subgroup_size if cluster is None else cluster.value
    step = 1 if stride is None else stride.value
    if size * step > p.description.subgroup_size or size & (size - 1):
        raise CodegenError(
            UNSUPPORTED_TYPE, f"{op.name} over clusters of {size}", source=op.location.user_text()
        )
    if cluster is not None:
        return exchange(p, kind, p.operand(value), type, size, step)
    if isinstance(element_of(type), FloatType) and kind.startswith(("max", "min")):
        return float_extremum(p, kind, p.operand(value), type)
    if p.width(type) == 1 if not isinstance(element_of(type), FloatType) else False:
        return exchange(p, kind, p.operand(value), type, size, step)
    p.require("subgroup:arithmetic", source=op.location.user_text())
    name = REDUCTIONS[kind][0 if isinstance(element_of(type), FloatType) else 1]
    if isinstance(element_of(type), FloatType):
        return _whole(p, name, p.type(type), p.operand(value))
    word = p.signed(value) if kind.endswith("si") else p.unsigned(value)
    return p.wrapped(_whole(p, name, p.word_type(type), word), type)


def _whole(p: SubgroupPrinter, name: str, type: int, value: int) -> int:
    scope = p.u32_constant(SCOPE_SUBGROUP)
    return p.emit(f"GroupNonUniform{name}", type, scope, "Reduce", value)


def float_extremum(p: SubgroupPrinter, kind: str, value: int, type: Any) -> int:
    """The instructions say nothing about NaN: numbers are reduced alone, and NaN asked for separately."""
    p.require("subgroup:arithmetic", "subgroup:vote")
    maximum = kind.startswith("max")
    register, condition = p.type(type), p.bool_type(type)
    nan = p.emit("IsNan", condition, value)
    neutral = p.number(-math.inf if maximum else math.inf, type)
    numbers = p.select(nan, register, neutral, value)
    result = _whole(p, "FMax" if maximum else "FMin", register, numbers)
    vote = "GroupNonUniformAll" if "num" in kind else "GroupNonUniformAny"
    spoiled = p.emit(vote, p.bool, p.u32_constant(SCOPE_SUBGROUP), nan)
    return p.select(spoiled, register, p.number(math.nan, type), result)


def exchange(p: SubgroupPrinter, kind: str, value: int, type: Any, size: int, step: int) -> int:
    """Lanes combined in pairs, in pairs of pairs, and so on."""
    distance = step
    while distance < size * step:
        other = shuffled(p, "xor", value, type, p.u32_constant(distance))
        value = combine(p, kind, value, other, type)
        distance *= 2
    return value


def shuffled(p: SubgroupPrinter, mode: str, value: int, type: Any, operand: int) -> int:
    """The value of lane ``operand``, or with ``xor`` of the lane that differs by it."""
    p.counts_on_subgroups = True
    p.require("subgroup:shuffle")
    name = "GroupNonUniformShuffleXor" if mode == "xor" else "GroupNonUniformShuffle"
    return p.emit(name, p.type(type), p.u32_constant(SCOPE_SUBGROUP), value, operand)


def shuffle(p: SubgroupPrinter, op: Any) -> tuple[int, int]:
    value, offset, width = op.operands
    mode = op.attributes["mode"].value
    known_offset, known_width = known_integer(offset), known_integer(width)
    type = value.type
    if mode == "xor" and known_width is not None and known_width & (known_width - 1) == 0:
        if known_offset is not None and 0 <= known_offset < known_width:
            word = shuffled(p, "xor", p.operand(value), type, p.operand(offset))
            return word, p.module.bool_constant(True)
    u32, lane = p.u32, p.lane()
    by = p.operand(width)
    if known_width is not None and known_width & (known_width - 1) == 0:
        inner = p.emit("BitwiseAnd", u32, lane, p.u32_constant(known_width - 1))
    else:
        inner = p.emit("UMod", u32, lane, by)
    base = p.emit("ISub", u32, lane, inner)
    distance = p.operand(offset)
    source = {
        "xor": lambda: p.emit("BitwiseXor", u32, inner, distance),
        "up": lambda: p.emit("ISub", u32, inner, distance),
        "down": lambda: p.emit("IAdd", u32, inner, distance),
        "idx": lambda: distance,
    }[mode]()
    # Below zero is far beyond the width as unsigned.
    valid = p.emit("ULessThan", p.bool_type(i32), source, by)
    chosen = p.emit("IAdd", u32, base, p.select(valid, u32, source, inner))
    return shuffled(p, "idx", p.operand(value), type, chosen), valid


HANDLERS: dict[str, Callable[[Any, Any], Any]] = {
    "gpu.barrier": barrier,
    "gpu.shuffle": shuffle,
    "gpu.subgroup_reduce": reduce,
    **dict.fromkeys(VECTOR_BUILTINS, identity),
    **dict.fromkeys(SCALAR_BUILTINS, subgroup_identity),
}
