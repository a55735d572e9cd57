"""The normal forms of kernel IR: what kernels for CPUs and for GPUs may contain, checked.

Before: a module from a strategy (or from legalization). After, in both forms: exactly one entry function with
bindings, scalars, three ids and scratch; every memory flat and one-dimensional; every vector one-dimensional;
only ops the printers know. In workgroup form private functions without results may stand beside it; in
invocation form there is a workgroup size, vectors have at most four lanes, and memory has spaces.
"""

from __future__ import annotations

from typing import Any

from iree_codegen.errors import INVALID_KERNEL, CodegenError
from iree_codegen.kernel import BINDINGS, INDEX_BITS, KERNEL, SUBGROUP_SIZE, WORKGROUP_SIZE
from iree_core_ir.ir.attributes import DenseArrayAttr, IntegerAttr
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import DYNAMIC, IndexType, MemRefType, TensorType, VectorType, i8

MEMORY_OPS = frozenset(
    {
        "memref.load", "memref.store", "memref.view", "memref.prefetch", "vector.load", "vector.store",
        "vector.maskedload", "vector.maskedstore", "vector.gather",
    }
)  # fmt: skip
VECTOR_OPS = frozenset(
    {
        "vector.broadcast", "vector.shuffle", "vector.extract", "vector.insert", "vector.reduction",
        "vector.bitcast",
    }
)  # fmt: skip
CONTROL_OPS = frozenset(
    {
        "scf.for", "scf.if", "scf.while", "scf.yield", "scf.condition", "func.call", "func.return",
        "cf.assert",
    }
)  # fmt: skip

SYNC_OPS = frozenset({"sync.load", "sync.store", "sync.exchange", "sync.pause"})
"""Ops on words of the workspace."""
MACHINE_OPS = frozenset(
    {
        "amx.tile_load", "amx.tile_mulf", "amx.tile_muli", "amx.tile_store", "amx.tile_zero",
        "x86vector.dot_u8s8",
    }
)  # fmt: skip

INVOCATION_OPS = frozenset(
    {
        "memref.alloca", "memref.load", "memref.store", "memref.view", "vector.load", "vector.store",
        "scf.for", "scf.if", "scf.while", "scf.yield", "scf.condition", "func.return", "cf.assert",
        "gpu.thread_id", "gpu.lane_id", "gpu.subgroup_id", "gpu.subgroup_size", "gpu.grid_dim", "gpu.barrier",
        "gpu.subgroup_reduce", "gpu.shuffle", "gpu.subgroup_mma_load_matrix", "gpu.subgroup_mma_store_matrix",
        "gpu.subgroup_mma_compute", "gpu.subgroup_mma_constant_matrix", "gpu.subgroup_mma_elementwise",
        *VECTOR_OPS,
    }
)  # fmt: skip
CARRYING_OPS = frozenset(
    {
        "vector.load", "vector.store", "vector.bitcast", "arith.select", "arith.constant", "scf.for",
        "scf.if", "scf.yield",
    }
)  # fmt: skip
"""Ops on vectors of 8 or 16 narrow elements."""
TOGETHER = frozenset({"gpu.barrier", "gpu.subgroup_reduce", "gpu.shuffle"})
"""Ops that all invocations must reach: none may have returned before."""


def verify_workgroup_form(module: Op) -> None:
    """Raises CodegenError INVALID_KERNEL naming the first op that breaks the form."""
    functions = {f.attributes["sym_name"].value: f for f in module.regions[0].block}  # type: ignore[attr-defined]
    kernels = [f for f in functions.values() if KERNEL in f.attributes]
    if len(kernels) != 1:
        raise CodegenError(INVALID_KERNEL, f"{len(kernels)} entry functions, expected one")
    for function in functions.values():
        if function.name != "func.func":
            raise CodegenError(INVALID_KERNEL, f"'{function.name}' beside the functions")
        _verify_signature(function)
        for op in function.walk():
            if op is not function:
                _verify_op(op, functions)


def verify_invocation_form(module: Op) -> None:
    """Raises CodegenError INVALID_KERNEL naming the first op that breaks the form."""
    functions = list(module.regions[0].block)
    if len(functions) != 1 or functions[0].name != "func.func" or KERNEL not in functions[0].attributes:
        raise CodegenError(INVALID_KERNEL, f"{len(functions)} ops in the module, expected one entry function")
    function: Any = functions[0]
    _verify_signature(function)
    size = function.attributes.get(WORKGROUP_SIZE)
    if not isinstance(size, DenseArrayAttr) or len(size.values) != 3 or min(size.values) < 1:
        raise CodegenError(INVALID_KERNEL, f"'{_name(function)}' has no workgroup size")
    subgroup = function.attributes.get(SUBGROUP_SIZE)
    if not isinstance(subgroup, IntegerAttr) or subgroup.value < 1:
        raise CodegenError(INVALID_KERNEL, f"'{_name(function)}' has no subgroup size")
    bits = function.attributes.get(INDEX_BITS)
    if not isinstance(bits, IntegerAttr) or bits.value not in (32, 64):
        raise CodegenError(INVALID_KERNEL, f"'{_name(function)}' has no width for index")
    top = function.regions[0].block
    collective = checked = False
    for op in function.walk():
        if op is function:
            continue
        collective |= op.name in TOGETHER or op.name.startswith("gpu.subgroup_mma")
        checked |= op.name == "cf.assert"
        _verify_invocation_op(op, top)
    if collective and checked:
        raise CodegenError(
            INVALID_KERNEL, f"'{_name(function)}' has assertions beside barriers or subgroup ops"
        )


def _verify_invocation_op(op: Op, top: Any) -> None:
    dialect = op.name.partition(".")[0]
    if dialect not in ("arith", "math") and op.name not in INVOCATION_OPS:
        raise CodegenError(INVALID_KERNEL, f"{op.name} is not part of the invocation form")
    if op.name == "memref.alloca":
        type: Any = op.results[0].type
        if len(type.shape) != 1 or DYNAMIC in type.shape or _space(type) not in ("workgroup", "private"):
            raise CodegenError(INVALID_KERNEL, f"{op.name} of {type}: flat, static, workgroup or private")
        if op.parent is not top:
            raise CodegenError(INVALID_KERNEL, f"{op.name} inside a region")
        return
    for value in (*op.operands, *op.results):
        type = value.type
        if isinstance(type, MemRefType) and _space(type) in ("workgroup", "private"):
            if op.name == "memref.view":
                raise CodegenError(INVALID_KERNEL, f"{op.name} of {type}: views are of scratch only")
            continue
        _verify_type(type, op)
        if isinstance(type, VectorType) and type.shape[0] > 4 and not _is_carried(op, type):
            raise CodegenError(INVALID_KERNEL, f"{op.name} on {type}: vectors have at most 4 lanes")


def _is_carried(op: Op, type: VectorType) -> bool:
    """16 bytes of narrow elements on their way between memories: nothing is computed with them."""
    narrow = type.shape[0] * getattr(type.element_type, "width", 64) == 128 and type.shape[0] in (8, 16)
    return narrow and op.name in CARRYING_OPS


def _space(type: MemRefType) -> str:
    space: Any = type.memory_space
    return "global" if space is None else str(space.value)


def verify_form(module: Op) -> None:
    """The form that the entry function's attributes say."""
    entry = any(WORKGROUP_SIZE in f.attributes for f in module.regions[0].block)
    (verify_invocation_form if entry else verify_workgroup_form)(module)


def _name(function: Any) -> str:
    return str(function.attributes["sym_name"].value)


def _verify_signature(function: Any) -> None:
    types = [a.type for a in function.regions[0].block.args]
    if function.attributes["function_type"].value.results:
        raise CodegenError(INVALID_KERNEL, f"'{_name(function)}' has results")
    for type in types:
        _verify_type(type, function)
    if KERNEL not in function.attributes:
        return
    n_bindings = function.attributes[BINDINGS].value
    tail = types[-4:]
    good = len(tail) == 4 and all(isinstance(t, IndexType) for t in tail[:3])
    if not good or not isinstance(tail[3], MemRefType) or tail[3].element_type is not i8:
        raise CodegenError(INVALID_KERNEL, f"'{_name(function)}' must end with three ids and scratch bytes")
    for position, type in enumerate(types[:-4]):
        if isinstance(type, MemRefType) != (position < n_bindings):
            raise CodegenError(INVALID_KERNEL, f"argument {position} of '{_name(function)}' is {type}")


def _verify_type(type: Any, op: Op) -> None:
    if isinstance(type, TensorType):
        raise CodegenError(INVALID_KERNEL, f"{op.name} on {type}: tensors are gone in a kernel")
    if isinstance(type, MemRefType) and (type.shape != (DYNAMIC,) or type.layout is not None):
        raise CodegenError(INVALID_KERNEL, f"{op.name} on {type}: memory is flat")
    if isinstance(type, VectorType) and len(type.shape) != 1:
        raise CodegenError(INVALID_KERNEL, f"{op.name} on {type}: vectors have one dim")


def _verify_op(op: Op, functions: dict[str, Op]) -> None:
    dialect = op.name.partition(".")[0]
    known = any(op.name in ops for ops in (MEMORY_OPS, VECTOR_OPS, CONTROL_OPS, SYNC_OPS, MACHINE_OPS))
    if dialect not in ("arith", "math") and not known:
        raise CodegenError(INVALID_KERNEL, f"{op.name} is not part of the workgroup form")
    for value in (*op.operands, *op.results):
        _verify_type(value.type, op)
    if op.name == "func.call":
        callee: Any = op.attributes["callee"]
        target = functions.get(callee.leaf)
        if target is None or KERNEL in target.attributes:
            raise CodegenError(INVALID_KERNEL, f"call of '{callee.leaf}', which is no private function")
        expected = [a.type for a in target.regions[0].block.args]
        if [v.type for v in op.operands] != expected:
            raise CodegenError(INVALID_KERNEL, f"call of '{callee.leaf}' with other types")
