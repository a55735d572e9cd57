"""What every dispatch function must be, whatever made it: the contract between scheduling and targets."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dispatch_function import argument_attributes
from iree_core_ir.ir.attributes import MAX_INLINE_ELEMENTS, DenseElementsAttr, DenseResourceAttr
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import IndexType, TensorType
from iree_flow.dialects import flow

DIALECTS = frozenset({"linalg", "linalg_ext", "tensor", "arith", "math", "scf", "affine", "func"})


def dispatch_functions(module: Op) -> list[FuncOp]:
    """The function of every executable; each has exactly one, and one export of its name."""
    found = []
    for op in module.walk():
        if isinstance(op, flow.Executable):
            functions = [f for f in op.module.regions[0].block if isinstance(f, FuncOp)]
            assert len(functions) == 1
            names = [export.sym_name.value for export in op.exports]
            assert names == [functions[0].sym_name.value]
            found += functions
    return found


def check_dispatch(function: FuncOp) -> None:
    """Argument order, attributes and body of one dispatch function."""
    block = function.regions[0].block
    facts = argument_attributes(function)
    destinations: Any = function.attributes["iree.destinations"]
    n_results = len(block.terminator.operands)
    assert len(destinations.values) == n_results and len(set(destinations.values)) == n_results
    order = []
    for i, (arg, own) in enumerate(zip(block.args, facts, strict=True)):
        if not isinstance(arg.type, TensorType):
            assert "iree.access" not in own.to_dict()
            order.append("scalar")
            continue
        access: Any = own.to_dict()["iree.access"]
        assert (access.value == "read") == (i not in destinations.values)
        order.append("destination" if access.value == "write" else "input")
        dims: Any = own.to_dict()["iree.dims"]
        assert len(dims.values) == arg.type.rank
        for size, position in zip(arg.type.shape, dims.values, strict=True):
            assert (position == -1) == (size >= 0)
            if position >= 0:
                assert isinstance(block.args[position].type, IndexType)
    assert order == sorted(order, key=("input", "scalar", "destination").index)
    for position, value in zip(destinations.values, block.terminator.operands, strict=True):
        assert block.args[position].type is value.type
    for op in block:
        for inner in op.walk():
            assert inner.dialect in DIALECTS, inner.name
            if isinstance(inner, arith.Constant) and isinstance(inner.result.type, TensorType):
                value = inner.attributes["value"]
                assert not isinstance(value, DenseResourceAttr)
                assert isinstance(value, DenseElementsAttr)
                assert value.splat or inner.result.type.n_elements <= MAX_INLINE_ELEMENTS
