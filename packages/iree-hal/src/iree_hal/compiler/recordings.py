"""``hal.command_buffer`` -> ``Recording``: index arithmetic becomes the parameter program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.dialects import arith
from iree_core_ir.ir.attributes import IntegerAttr, SymbolRefAttr
from iree_core_ir.ir.operation import Value
from iree_hal.compiler import dialect as hal
from iree_hal.errors import BAD_RECORDING, HalError
from iree_hal.recording import ARENA_BYTES, BindingRef, Recording, RecordingBuilder

PARAMETER_OPS: dict[str, str] = {
    "arith.addi": "add",
    "arith.subi": "sub",
    "arith.muli": "mul",
    "arith.floordivsi": "floordiv",
    "arith.divui": "floordiv",
    "arith.ceildivsi": "ceildiv",
    "arith.ceildivui": "ceildiv",
    "arith.minsi": "min",
    "arith.maxsi": "max",
    "arith.minui": "min",
    "arith.maxui": "max",
}
"""Index ops the parameter program can compute (dims are not negative, so signedness does not matter)."""


def record(op: hal.CommandBuffer, resolve: Callable[[SymbolRefAttr], tuple[int, int]]) -> Recording:
    """The recording of ``op``; ``resolve`` gives (executable, export) numbers of an entry point.

    ``hal.command_buffer.arena_size`` is exported as ``arena_bytes``. Raises HalError BAD_RECORDING for
    an op no program can hold.
    """
    block = op.body.block
    builder = RecordingBuilder(op.n_bindings.value, len(block.args))
    slots: dict[Value, int] = {arg: i for i, arg in enumerate(block.args)}
    arena: int | None = None
    for inner in block:
        kind = PARAMETER_OPS.get(inner.name)
        if kind is not None:
            a, b = inner.operands
            slots[inner.results[0]] = builder.op(kind, slots[a], slots[b])
        elif isinstance(inner, arith.Constant):
            value = inner.attributes["value"]
            assert isinstance(value, IntegerAttr)
            slots[inner.results[0]] = builder.const(value.value)
        elif isinstance(inner, hal.ArenaSize):
            arena = slots[inner.operands[0]]
        elif isinstance(inner, hal.CommandDispatch):
            _dispatch(builder, inner, slots, resolve)
        elif isinstance(inner, hal.CommandCopy):
            source, target = _refs(inner, slots)
            builder.copy(source, target)
        elif isinstance(inner, hal.CommandClear):
            for target in _refs(inner, slots):
                builder.fill(target, b"\0")
        elif isinstance(inner, hal.ExecutionBarrier):
            builder.barrier()
        else:
            raise HalError(BAD_RECORDING, f"'{inner.name}' in a command buffer")
    builder.export_param(ARENA_BYTES, builder.const(0) if arena is None else arena)
    return builder.finish()


def _refs(op: Any, slots: dict[Value, int]) -> list[BindingRef]:
    return [
        BindingRef(slot, slots[offset], slots[length])
        for slot, offset, length in zip(op.slots, op.offsets, op.lengths, strict=True)
    ]


def _dispatch(
    builder: RecordingBuilder,
    op: hal.CommandDispatch,
    slots: dict[Value, int],
    resolve: Callable[[SymbolRefAttr], tuple[int, int]],
) -> None:
    executable, export = resolve(op.entry_point)
    halves: list[Any] = list(op.halves)
    x, y, z = (slots[v] for v in op.workgroups)
    builder.dispatch(
        executable,
        export,
        (x, y, z),
        [(slots[value], half.value) for value, half in zip(op.constants, halves, strict=True)],
        _refs(op, slots),
    )
