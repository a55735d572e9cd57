"""``lower-control-flow``: conditionals and loops of the host become branches between blocks.

Before: ``scf.if``, ``scf.for``, ``scf.while``, ``scf.index_switch`` and ``scf.execute_region`` around ops on
tensors or on scalars. After: a function of blocks, each of which the later passes treat like any straight
line; what a block takes over a branch are its arguments. A tensor of dynamic shape comes with its sizes:
every such argument is followed, behind all others, by index arguments, and ``flow.tensor.tie_shape`` says
which sizes are whose. Blocks stand in an order in which definitions come before uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, cf, scf, tensor
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import IndexType, TensorType, index
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.blocks import Edge, extend_edge, incoming_edges
from iree_flow.dialects import flow


@record
class LowerControlFlow(Pass):
    name: ClassVar[str] = "lower-control-flow"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for op in module.regions[0].block:
            if isinstance(op, FuncOp) and op.regions[0].blocks:
                to_branches(op.regions[0])
                if len(op.regions[0].blocks) > 1:
                    return_early(op.regions[0])
                    carry_sizes(op.regions[0])
                    changed = True
        return changed


def to_branches(region: Region) -> None:
    """Take apart what is structured, outermost first; what was inside stands in blocks then."""
    pending = list(reversed(region.blocks))
    while pending:
        block = pending.pop()
        op = next((op for op in block if op.name in _RULES), None)
        if op is None:
            continue
        before = len(region.blocks)
        at = region.blocks.index(block)
        behind = block.split_before(op)
        _RULES[op.name](op, block, behind)
        made = len(region.blocks) - before
        pending += reversed(region.blocks[at + 1 : at + 1 + made])


def _place(region: Region, target: Block) -> None:
    """The blocks of ``region`` stand in front of ``target``."""
    assert target.parent is not None
    blocks = target.parent.blocks
    at = blocks.index(target)
    for moved in region.blocks:
        moved.parent = target.parent
    blocks[at:at] = region.blocks
    region.blocks = []


def _new_block(target: Block, types: Sequence[Any] = ()) -> Block:
    """An empty block in front of ``target``."""
    assert target.parent is not None
    block = Block(types)
    block.parent = target.parent
    target.parent.blocks.insert(target.parent.blocks.index(target), block)
    return block


def _branch(block: Block, op: Op, *arguments: Any) -> None:
    """End ``block`` as ``op`` stands for: with a branch or a conditional one."""
    kind: Any = cf.Branch if isinstance(arguments[0], Block) else cf.CondBranch
    Builder.at_end(block, op.location).create(kind, *arguments)


def _leave(blocks: Sequence[Block], behind: Block) -> None:
    """Blocks that yield go on behind the op, with what they yield."""
    for block in blocks:
        terminator = block.last
        if isinstance(terminator, scf.Yield):
            values = list(terminator.operands)
            terminator.erase()
            _branch(block, terminator, behind, values)


def _take_results(op: Op, behind: Block) -> None:
    """The results come into ``behind`` as arguments."""
    for result in op.results:
        arg = behind.add_arg(result.type, result.hint)
        result.replace_all_uses_with(arg)


def _if(op: scf.If, block: Block, behind: Block) -> None:
    _take_results(op, behind)
    then, otherwise = op.then_block, op.else_block
    _leave([b for region in op.regions for b in region.blocks], behind)
    for region in op.regions:
        if region.blocks:
            _place(region, behind)
    condition = op.condition
    op.erase()
    _branch(block, op, condition, then, [], behind if otherwise is None else otherwise, [])


def _execute_region(op: scf.ExecuteRegion, block: Block, behind: Block) -> None:
    _take_results(op, behind)
    first = op.body.block
    _leave(op.body.blocks, behind)
    _place(op.body, behind)
    op.erase()
    _branch(block, op, first, [])


def _index_switch(op: scf.IndexSwitch, block: Block, behind: Block) -> None:
    _take_results(op, behind)
    value, cases = op.value, list(op.cases)
    firsts = [region.block for region in op.case_regions]
    default = op.default_region.block
    _leave([b for region in op.regions for b in region.blocks], behind)
    for region in op.regions:
        _place(region, behind)
    op.erase()
    current = block
    for i, (case, first) in enumerate(zip(cases, firsts, strict=True)):
        builder = Builder.at_end(current, op.location)
        number = builder.insert(arith.Constant.index(int(case))).result
        same = builder.create(arith.CmpI, "eq", value, number).result
        following = default if i + 1 == len(cases) else _new_block(firsts[0])
        _branch(current, op, same, first, [], following, [])
        current = following
    if not cases:
        _branch(block, op, default, [])


def _for(op: scf.For, block: Block, behind: Block) -> None:
    """``head(i, carried)``: below the end to the body, which comes back with the next ones."""
    body = op.block
    lower, upper, step, unsigned = op.lower, op.upper, op.step, op.unsigned_compare is not None
    inits = list(op.inits)
    head = _new_block(behind, [lower.type, *[v.type for v in inits]])
    for arg, inner in zip(head.args, body.args, strict=True):
        arg.hint = inner.hint
        inner.replace_all_uses_with(arg)
    for result, arg in zip(op.results, head.args[1:], strict=True):
        result.replace_all_uses_with(arg)
    for position in reversed(range(len(body.args))):
        body.erase_arg(position)
    _place(op.body, behind)
    terminator = body.terminator
    values = list(terminator.operands)
    terminator.erase()
    following = Builder.at_end(body, op.location).create(arith.AddI, head.args[0], step).result
    op.erase()
    _branch(block, op, head, [lower, *inits])
    below = (
        Builder.at_end(head, op.location)
        .create(arith.CmpI, "ult" if unsigned else "slt", head.args[0], upper)
        .result
    )
    _branch(head, op, below, body, [], behind, [])
    _branch(body, op, head, [following, *values])


def _while(op: scf.While, block: Block, behind: Block) -> None:
    before, after = op.before_block, op.after_block
    inits = list(op.inits)
    condition = before.terminator
    assert isinstance(condition, scf.Condition)
    goes_on, forwarded = condition.condition, list(condition.arguments)
    condition.erase()
    for arg, result, value in zip(after.args, op.results, forwarded, strict=True):
        arg.replace_all_uses_with(value)
        result.replace_all_uses_with(value)
    for position in reversed(range(len(after.args))):
        after.erase_arg(position)
    terminator = after.terminator
    values = list(terminator.operands)
    terminator.erase()
    _place(op.before, behind)
    _place(op.after, behind)
    op.erase()
    _branch(block, op, before, inits)
    _branch(before, op, goes_on, after, [], behind, [])
    _branch(after, op, before, values)


_RULES: dict[str, Callable[[Any, Block, Block], None]] = {
    scf.If.name: _if,
    scf.For.name: _for,
    scf.While.name: _while,
    scf.ExecuteRegion.name: _execute_region,
    scf.IndexSwitch.name: _index_switch,
}


def return_early(region: Region) -> None:
    """Who goes to a block that only returns returns itself: results are made where they stay then."""
    for block in reversed(region.blocks[1:]):
        last = block.terminator
        if block.first is not last or not isinstance(last, ReturnOp):
            continue
        if any(user is not last for arg in block.args for user in arg.uses):
            continue
        for other in region.blocks:
            branch = other.terminator
            if isinstance(branch, cf.Branch) and branch.target is block:
                mapping: dict[Value, Value] = dict(zip(block.args, branch.arguments, strict=True))
                values = [mapping.get(value, value) for value in last.operands]
                Builder.before_op(branch).create(ReturnOp, *values)
                branch.erase()
        if not any(block in other.terminator.successors for other in region.blocks):
            last.erase()
            region.blocks.remove(block)
            block.parent = None


def carry_sizes(region: Region) -> None:
    """Give every block the sizes of the tensors that it takes over a branch."""
    incoming = incoming_edges(region)
    for block in region.blocks[1:]:
        for position, arg in enumerate(list(block.args)):
            if isinstance(arg.type, TensorType) and not arg.type.is_static and not _is_tied(arg):
                _carry(block, position, incoming.get(block, ()))


def _is_tied(arg: Value) -> bool:
    return any(isinstance(user, flow.TensorTieShape) for user in arg.uses)


def _carry(block: Block, position: int, incoming: Sequence[Edge]) -> None:
    arg = block.args[position]
    axes = [axis for axis, size in enumerate(arg.type.shape) if size < 0]
    for edge in incoming:
        builder = Builder.before_op(edge.op)
        value = edge.arguments[position]
        sizes = [_size(value, axis, builder) for axis in axes]
        extend_edge(edge, sizes)
    dims = [block.add_arg(index) for _ in axes]
    users = list(arg.users)
    tied = Builder.at_start(block).create(flow.TensorTieShape, arg, dims)
    tied.result.hint = arg.hint
    for user in users:
        arg.replace_uses_in(user, tied.result)


def _size(value: Value, axis: int, builder: Builder) -> Value:
    number = builder.insert(arith.Constant.index(axis)).result
    size: Value = builder.create(tensor.Dim, value, number).result
    assert isinstance(size.type, IndexType)
    return size
