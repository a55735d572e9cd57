"""Matrix fragments that a subgroup holds together, as cooperative matrices (SPV_KHR_cooperative_matrix).

A fragment is loaded through pointers to whatever its memory consists of, so strides count those elements.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.errors import UNSUPPORTED_OP, UNSUPPORTED_TYPE, CodegenError
from iree_core_ir.dialects.gpu_matrix import A_OPERAND, B_OPERAND, MMAMatrixType, si8, ui8
from iree_core_ir.ir.types import bf16, f16, i32
from iree_target_vulkan.description import matrix_feature
from iree_target_vulkan.printer.floats import comparison
from iree_target_vulkan.printer.memory import SCOPE_SUBGROUP, Memory, is_multiple
from iree_target_vulkan.printer.subgroups import SubgroupPrinter

USES = {A_OPERAND: 0, B_OPERAND: 1}
ACCUMULATOR = 2
ROW_MAJOR, COLUMN_MAJOR = 0, 1
NAMES = {"si8": "i8", "ui8": "u8"}
INSTRUCTIONS = {
    "addf": "FAdd", "subf": "FSub", "mulf": "FMul", "divf": "FDiv", "negatef": "FNegate", "addi": "IAdd",
    "subi": "ISub", "negates": "SNegate", "extf": "FConvert", "truncf": "FConvert",
}  # fmt: skip


def component(p: SubgroupPrinter, element: Any) -> int:
    """The component type. Integers have signs here: devices list matrix types with them, unsigned sums with
    products of unsigned bytes."""
    m = p.module
    if element is bf16:
        p.require("shaderBFloat16Type", "shaderBFloat16CooperativeMatrix")
        return m.type("TypeFloat", 16, "BFloat16KHR")
    if element is f16:
        p.require("shaderFloat16")
        return m.float_type(16)
    if element in (si8, ui8):
        p.require("shaderInt8")
        return m.type("TypeInt", 8, 1 if element is si8 else 0)
    if element is i32:
        return m.type("TypeInt", 32, 0 if p.unsigned_sums else 1)
    return p.type(element)


def fragment_type(p: SubgroupPrinter, type: MMAMatrixType) -> int:
    p.require("cooperativeMatrix")
    p.counts_on_subgroups = True
    rows, columns = (p.u32_constant(n) for n in type.shape)
    use = p.u32_constant(USES.get(type.operand, ACCUMULATOR))
    scope = p.u32_constant(SCOPE_SUBGROUP)
    return p.module.type(
        "TypeCooperativeMatrixKHR", component(p, type.element_type), scope, rows, columns, use
    )


def matrix_lanes(memory: Memory, at: Any, lead: int) -> int:
    """Lanes of the elements through which a fragment is reached."""
    lanes = 1 if memory.is_buffer else memory.lanes
    if lanes > 1 and (lead % lanes or not is_multiple(at, lanes)):
        raise CodegenError(UNSUPPORTED_TYPE, f"a matrix fragment at lanes of {lanes}")
    return lanes


def _place(p: SubgroupPrinter, op: Any, memref: Any, at: Any) -> tuple[int, int, int, Memory]:
    """Pointer, layout and stride."""
    memory = p.memory(memref)
    lead = op.attributes["leadDimension"].value
    lanes = matrix_lanes(memory, at, lead)
    layout = COLUMN_MAJOR if "transpose" in op.attributes else ROW_MAJOR
    return p.pointer(memory, at, lanes), p.u32_constant(layout), p.u32_constant(lead // lanes), memory


def load(p: SubgroupPrinter, op: Any) -> int:
    pointer, layout, stride, memory = _place(p, op, op.operands[0], op.operands[1])
    type = fragment_type(p, op.results[0].type)
    access = p.access(memory, write=False)
    return p.emit("CooperativeMatrixLoadKHR", type, pointer, layout, stride, *access)


def store(p: SubgroupPrinter, op: Any) -> None:
    pointer, layout, stride, memory = _place(p, op, op.operands[1], op.operands[2])
    value = p.operand(op.operands[0])
    p.module.do("CooperativeMatrixStoreKHR", pointer, value, layout, stride, *p.access(memory, write=True))


def compute(p: SubgroupPrinter, op: Any) -> int:
    a, b, c = (v.type for v in op.operands)
    (m, k), (_, n) = a.shape, b.shape
    names = [_component_name(p, t.element_type) for t in (a, b, c)]
    p.require(matrix_feature((m, n, k, *names, names[2])), source=op.location.user_text())
    signs = [name for name, type in (("MatrixASigned", a), ("MatrixBSigned", b)) if type.element_type is si8]
    if c.element_type is i32 and not p.unsigned_sums:
        signs += ["MatrixCSigned", "MatrixResultSigned"]
    flags = ("|".join(f"{name}ComponentsKHR" for name in signs),) if signs else ()
    type = fragment_type(p, op.results[0].type)
    return p.emit("CooperativeMatrixMulAddKHR", type, *map(p.operand, op.operands), *flags)


def _component_name(p: SubgroupPrinter, element: Any) -> str:
    name = str(element)
    if element is i32 and p.unsigned_sums:
        return "u32"
    return NAMES.get(name, name)


def constant(p: SubgroupPrinter, op: Any) -> int:
    type: Any = op.results[0].type
    scalar = p.operand(op.operands[0])
    target = component(p, type.element_type)
    source = p.type(op.operands[0].type)
    if type.element_type is bf16:
        p.require("shaderInt16")
        scalar = p.emit("Bitcast", target, p.emit("UConvert", p.module.int_type(16), scalar))
    elif type.element_type in (si8, ui8):
        scalar = p.emit("SConvert" if type.element_type is si8 else "UConvert", target, scalar)
    elif target != source:
        scalar = p.emit("Bitcast", target, scalar)
    return p.emit("CompositeConstruct", fragment_type(p, type), scalar)


def elementwise(p: SubgroupPrinter, op: Any) -> int:
    name = op.attributes["opType"].value
    type = op.results[0].type
    values = [p.operand(v) for v in op.operands]
    if name in INSTRUCTIONS:
        return p.emit(INSTRUCTIONS[name], fragment_type(p, type), *values)
    if name in ("maxf", "minf"):
        return _one_by_one(p, type, values, "ogt" if name == "maxf" else "olt")
    if name == "muli":
        return _one_by_one(p, type, values, "")
    raise CodegenError(UNSUPPORTED_OP, f"{op.name} {name}", source=op.location.user_text())


def _one_by_one(p: SubgroupPrinter, type: MMAMatrixType, values: Sequence[int], predicate: str) -> int:
    """What has no instruction on fragments, on each component that the invocation holds; NaN wins."""
    m, u32 = p.module, p.u32
    fragment, element = fragment_type(p, type), component(p, type.element_type)
    pointer, member = m.pointer("Function", fragment), m.pointer("Function", element)
    saved, m.code = m.code, p.local_variables
    variables = [m.op("Variable", pointer, "Function") for _ in values]
    m.code = saved
    for variable, value in zip(variables, values, strict=True):
        m.do("Store", variable, value)
    length = m.op("CooperativeMatrixLengthKHR", u32, fragment)
    header, body, latch, done = (m.id() for _ in range(4))
    before, following = p.block_id, m.id()
    m.do("Branch", header)
    m.label(header)
    i = m.id()
    m.phi(u32, i, (p.u32_constant(0), before, following, latch))
    more = m.op("ULessThan", p.bool, i, length)
    m.do("LoopMerge", done, latch, "None")
    m.do("BranchConditional", more, body, done)
    m.label(body)
    places = [m.op("AccessChain", member, variable, i) for variable in variables]
    a, b = (m.op("Load", element, place) for place in places)
    if predicate:
        scalar = type.element_type
        chosen = m.op("Select", element, comparison(p, predicate, a, b, scalar), a, b)
        result = m.op("Select", element, m.op("IsNan", p.bool_type(scalar), a), a, chosen)
    else:
        result = m.op("IMul", element, a, b)
    m.do("Store", places[0], result)
    m.do("Branch", latch)
    m.label(latch)
    m.do("IAdd", u32, following, i, p.u32_constant(1))
    m.do("Branch", header)
    m.label(done)
    p.block_id = done
    return m.op("Load", fragment, variables[0])


HANDLERS: dict[str, Callable[[Any, Any], Any]] = {
    "gpu.subgroup_mma_compute": compute,
    "gpu.subgroup_mma_constant_matrix": constant,
    "gpu.subgroup_mma_elementwise": elementwise,
    "gpu.subgroup_mma_load_matrix": load,
    "gpu.subgroup_mma_store_matrix": store,
}
