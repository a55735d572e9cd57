"""Values -> register ordinals: linear scan over each bank, in block order.

A value lives from its first write to its last read; across blocks it lives wherever the liveness
dataflow says. Two values share an ordinal when their intervals do not meet, so dead references are
overwritten early. Ordinals grow only where values live at once; the verifier's rules hold before and
after.
"""

from __future__ import annotations

import heapq
from typing import Any

from iree_vm.bytecode.program import Function, Instruction, Successor
from iree_vm.bytecode.types import BANK, MAX_REGISTERS, Register
from iree_vm.bytecode.verifier import read, successors, written
from iree_vm.errors import VmError


def live_out(function: Function) -> list[set[Register]]:
    """The registers each block must leave intact for its successors."""
    uses: list[set[Register]] = []
    defs: list[set[Register]] = []
    for block in function.blocks:
        used: set[Register] = set()
        defined: set[Register] = set(block.params)
        for instruction in block.instructions:
            used.update(r for r in read(instruction) if r not in defined)
            defined.update(written(instruction))
        uses.append(used)
        defs.append(defined)
    predecessors: list[list[int]] = [[] for _ in function.blocks]
    for index, block in enumerate(function.blocks):
        for successor in successors(block.instructions[-1]):
            predecessors[successor.block].append(index)
    out: list[set[Register]] = [set() for _ in function.blocks]
    pending = list(range(len(function.blocks)))
    while pending:
        index = pending.pop()
        entering = uses[index] | (out[index] - defs[index])
        for predecessor in predecessors[index]:
            if not entering <= out[predecessor]:
                out[predecessor] |= entering
                pending.append(predecessor)
    return out


def _intervals(function: Function) -> dict[Register, tuple[int, int]]:
    """First and last position of each register, blocks laid out in order; two positions an instruction."""
    spans: dict[Register, tuple[int, int]] = {}

    def touch(register: Register, position: int) -> None:
        first, last = spans.get(register, (position, position))
        spans[register] = (min(first, position), max(last, position))

    out = live_out(function)
    position = 0
    for index, block in enumerate(function.blocks):
        start = position
        for param in block.params:
            touch(param, start)
        entering = set(out[index])
        for instruction in reversed(block.instructions):
            entering -= set(written(instruction))
            entering |= set(read(instruction))
        for register in entering:
            touch(register, start)
        for instruction in block.instructions:
            position += 2
            for register in read(instruction):
                touch(register, position)
            for register in written(instruction):
                touch(register, position + 1)
        position += 2
        for register in out[index]:
            touch(register, position)
        for successor in successors(block.instructions[-1]):
            for param in function.blocks[successor.block].params:
                touch(param, position)  # moves write parameters at the branch
    return spans


def allocate(function: Function) -> None:
    """Renumber the registers of a verified function in place. Raises VmError 16 past the ordinals' limit."""
    spans = _intervals(function)
    mapping: dict[Register, Register] = {}
    free: list[list[int]] = [[] for _ in BANK]
    count = [0] * len(BANK)
    active: list[tuple[int, int, int]] = []  # (last, bank, ordinal)
    for register, (first, last) in sorted(spans.items(), key=lambda item: (item[1][0], item[0])):
        while active and active[0][0] < first:
            _, bank, ordinal = heapq.heappop(active)
            heapq.heappush(free[bank], ordinal)
        bank = register.bank
        if free[bank]:
            ordinal = heapq.heappop(free[bank])
        else:
            ordinal = count[bank]
            count[bank] += 1
            if ordinal >= MAX_REGISTERS:
                raise VmError(16, f"@{function.name} needs more than {MAX_REGISTERS} registers at once")
        mapping[register] = Register(bank, ordinal)
        heapq.heappush(active, (last, bank, ordinal))
    for block in function.blocks:
        block.params = tuple(mapping[r] for r in block.params)
        block.instructions = [_renamed(i, mapping) for i in block.instructions]


def _renamed(instruction: Instruction, mapping: dict[Register, Register]) -> Instruction:
    operands: list[Any] = []
    for operand, value in zip(instruction.op.operands, instruction.operands, strict=True):
        if operand.kind in BANK:
            value = mapping[value]
        elif operand.kind == "*":
            value = tuple(mapping[r] for r in value)
        elif operand.kind == "^":
            value = _renamed_successor(value, mapping)
        elif operand.kind == "^*":
            value = tuple(_renamed_successor(s, mapping) for s in value)
        operands.append(value)
    return Instruction(instruction.op, tuple(operands))


def _renamed_successor(successor: Successor, mapping: dict[Register, Register]) -> Successor:
    return Successor(successor.block, tuple(mapping[r] for r in successor.arguments))
