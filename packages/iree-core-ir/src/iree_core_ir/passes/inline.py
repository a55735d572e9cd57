"""inline: replace calls by the bodies of the functions they call.

Callees are inlined before their callers; recursive functions and declarations stay. Every inlined op
is located at ``callsite(callee at caller)``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects.func import CallOp, FuncOp, ReturnOp
from iree_core_ir.ir.location import UNKNOWN, CallSiteLoc, Location
from iree_core_ir.ir.operation import Block, Op, SymbolTable, Value
from iree_core_ir.ir.traits import SINGLE_BLOCK, SYMBOL_TABLE
from iree_core_ir.pass_manager import Pass, PassContext


@record
class Inline(Pass):
    """Inline ``func.call``. ``max_ops`` spares larger functions (0: no limit)."""

    name: ClassVar[str] = "inline"
    max_ops: int = 0

    def run(self, module: Any, context: PassContext) -> bool:
        tables = [op for op in module.walk() if SYMBOL_TABLE in op.traits]
        changed = False
        for table in tables:
            changed |= inline_calls(table, self.max_ops)
        return changed


def inline_calls(table: Op, max_ops: int = 0) -> bool:
    """Inline calls among the functions directly in the symbol table ``table``."""
    symbols = SymbolTable(table)
    changed = False
    for function in _callees_first(symbols):
        for call in [op for op in function.walk() if isinstance(op, CallOp)]:
            callee = symbols.lookup(call.callee)
            if isinstance(callee, FuncOp) and callee is not function and _inlinable(callee, call, max_ops):
                inline_call(call, callee)
                changed = True
    return changed


def _callees_first(symbols: SymbolTable) -> list[FuncOp]:
    """Functions in an order in which (recursion aside) callees come before callers."""
    order: list[FuncOp] = []
    state: dict[FuncOp, bool] = {}
    for root in symbols.symbols.values():
        if not isinstance(root, FuncOp) or root in state:
            continue
        state[root] = True
        stack = [(root, iter(_called(root, symbols)))]
        while stack:
            function, callees = stack[-1]
            for callee in callees:
                if callee not in state:
                    state[callee] = True
                    stack.append((callee, iter(_called(callee, symbols))))
                    break
            else:
                order.append(function)
                stack.pop()
    return order


def _called(function: FuncOp, symbols: SymbolTable) -> list[FuncOp]:
    found = [symbols.lookup(op.callee) for op in function.walk() if isinstance(op, CallOp)]
    return [op for op in found if isinstance(op, FuncOp)]


def _inlinable(callee: FuncOp, call: CallOp, max_ops: int) -> bool:
    if callee.is_declaration or (max_ops and sum(1 for _ in callee.walk()) - 1 > max_ops):
        return False
    if any(isinstance(op, CallOp) and op.callee.path == (callee.sym_name.value,) for op in callee.walk()):
        return False
    if len(callee.body.blocks) == 1:
        return isinstance(callee.body.block.last, ReturnOp)
    parent = call.parent_op
    return parent is not None and SINGLE_BLOCK not in parent.traits and isinstance(parent, FuncOp)


def inline_call(call: CallOp, callee: FuncOp) -> None:
    """Replace one call by a copy of the callee's body."""
    mapping: dict[Any, Any] = {}
    copy = callee.body.clone(mapping)
    for block in copy.blocks:
        for op in block:
            _locate(op, call.location)
    if len(copy.blocks) == 1:
        _splice_block(call, copy.block)
        return
    _splice_blocks(call, copy.blocks)


def _locate(op: Op, caller: Location) -> None:
    for inner in op.walk():
        if inner.location is UNKNOWN:
            inner.location = caller
        elif caller is not UNKNOWN:
            inner.location = CallSiteLoc(inner.location, caller)


def _splice_block(call: CallOp, body: Block) -> None:
    target = call.parent
    assert target is not None
    for argument, value in zip(body.args, call.operands, strict=True):
        argument.replace_all_uses_with(value)
    for op in body.ops:
        if isinstance(op, ReturnOp):
            values: tuple[Value, ...] = op.operands
            op.erase()
            call.replace_by(values)
        else:
            target.insert_before(op.detach(), call)


def _splice_blocks(call: CallOp, blocks: list[Block]) -> None:
    """Several blocks: the call's block is split and branches connect the pieces."""
    from iree_core_ir.dialects.cf import Branch

    before = call.parent
    assert before is not None and before.parent is not None
    after = before.split_before(call)
    results = [after.add_arg(r.type, r.hint) for r in call.results]
    region = before.parent
    position = region.blocks.index(after)
    for block in blocks:
        block.parent = region
    region.blocks[position:position] = blocks
    entry = blocks[0]
    for argument, value in zip(entry.args, call.operands, strict=True):
        argument.replace_all_uses_with(value)
    while entry.args:
        entry.erase_arg(0)
    # Branching to the entry block is not allowed, so its ops join the block of the call.
    for op in entry.ops:
        before.append(op.detach())
    region.blocks.remove(entry)
    for block in (before, *blocks[1:]):
        last = block.last
        if isinstance(last, ReturnOp):
            block.append(Branch.make(after, last.operands)).location = last.location
            last.erase()
    call.replace_by(results)
