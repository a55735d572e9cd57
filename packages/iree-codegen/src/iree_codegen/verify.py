"""The workgroup form: what kernel IR for CPUs may contain, checked.

Before: a module from a strategy (or from legalization). After: exactly one entry function with bindings,
scalars, three ids and scratch; every memory flat and one-dimensional; every vector one-dimensional; only
ops the printers know; private functions without results.
"""

from __future__ import annotations

from typing import Any

from iree_codegen.errors import INVALID_KERNEL, CodegenError
from iree_codegen.kernel import BINDINGS, KERNEL
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
    known = op.name in MEMORY_OPS or op.name in VECTOR_OPS or op.name in CONTROL_OPS
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
