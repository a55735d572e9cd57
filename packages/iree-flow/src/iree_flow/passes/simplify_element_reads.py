"""``simplify-element-reads``: elements that a ``linalg.generic`` fetches one by one become its inputs.

A frontend that does not know whether a dim is 1 reads ``tensor.extract %t[select(size == 1, 0, i)]`` in the
body. Where the size is the loop's own extent (or the choice is decided) the index is the loop's, and the
tensor is an ordinary input with an indexing map, which fuses and vectorizes like any other.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Block, Op, Value, single_block_region
from iree_core_ir.ir.types import element_of
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.dims import Dim, DimResolver
from iree_flow.symbolic_dims import argument_dim_names


@record
class SimplifyElementReads(Pass):
    name: ClassVar[str] = "simplify-element-reads"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                names = argument_dim_names(function)
                resolver = DimResolver(function.regions[0].block, names)
                for block in function.regions[0].blocks:
                    for op in block.ops:
                        if isinstance(op, linalg.Generic):
                            changed |= _simplify(op, block, resolver)
        return changed


def _simplify(op: linalg.Generic, block: Block, resolver: DimResolver) -> bool:
    """Tells whether there were reads: asking for sizes may make ops too."""
    reads = [inner for inner in op.body if isinstance(inner, tensor.Extract)]
    if not reads:
        return False
    extents = [_known(resolver.dims(value)[axis]) for value, axis in fusion.extents(op)]
    found: list[tuple[tensor.Extract, AffineMap]] = []
    for read in reads:
        source = read.operands[0]
        if source.parent_block is not block:
            continue
        sizes = [_known(d) for d in resolver.dims(source)]
        exprs = [
            _expression(index, size, extents) for index, size in zip(read.operands[1:], sizes, strict=True)
        ]
        if all(e is not None for e in exprs):
            found.append((read, AffineMap(len(extents), 0, exprs)))
    if found:
        _with_inputs(op, found)
    return True


def _known(dim: Dim) -> Dim:
    if isinstance(dim, int):
        return dim
    constant = known_integer(dim)
    return dim if constant is None else constant


def _expression(index: Value, size: Dim, extents: list[Dim]) -> AffineExpr | None:
    """The loop (or constant) that ``index`` is, when it stays below ``size``."""
    constant = known_integer(index)
    if constant is not None:
        inside = 0 <= constant < size if isinstance(size, int) else False
        return AffineConstant(constant) if inside else None
    loop = _loop(index, extents)
    if loop is None:
        return None
    return AffineDim(loop) if extents[loop] == size else None


def _loop(index: Value, extents: list[Dim]) -> int | None:
    """The loop whose index this is: ``linalg.index k``, or that behind a choice of 0 at extent 1."""
    op: Any = index.defining_op
    if isinstance(op, linalg.Index):
        return int(op.dim.value)
    if not isinstance(op, arith.Select) or known_integer(op.operands[1]) != 0:
        return None
    inner: Any = op.operands[2].defining_op
    choice: Any = op.operands[0].defining_op
    if not isinstance(inner, linalg.Index) or not isinstance(choice, arith.CmpI):
        return None
    loop = int(inner.dim.value)
    is_one = choice.predicate_name == "eq" and known_integer(choice.operands[1]) == 1
    return loop if is_one and _known(choice.operands[0]) == extents[loop] else None


def _with_inputs(op: linalg.Generic, found: list[tuple[tensor.Extract, AffineMap]]) -> None:
    """``op`` with the tensors it reads as further inputs."""
    n = len(op.inputs)
    inputs = [*op.inputs, *(read.operands[0] for read, _ in found)]
    outputs = list(op.outputs)
    maps = [*op.indexing_maps[:n], *(map for _, map in found), *op.indexing_maps[n:]]
    region = single_block_region([element_of(v.type) for v in (*inputs, *outputs)])
    args = region.block.args
    mapping: dict[Any, Any] = dict(zip(op.body.args, (*args[:n], *args[len(inputs) :]), strict=True))
    for (read, _), arg in zip(found, args[n : len(inputs)], strict=True):
        mapping[read.results[0]] = arg
    replaced = {read for read, _ in found}
    for inner in op.body:
        if inner not in replaced:
            region.block.append(inner.clone(mapping))
    builder = Builder.before_op(op)
    made = builder.create(linalg.Generic, inputs, outputs, maps, list(op.iterator_types), region)
    for old, new in zip(op.results, made.results, strict=True):
        new.hint = old.hint
    op.replace_by(list(made.results))
