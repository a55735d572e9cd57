"""Waves: what surely shares no byte runs together."""

from __future__ import annotations

from iree_core_ir.dialects import arith
from iree_core_ir.ir.types import TensorType, f32
from iree_flow.stream_region import Command, assign_waves, overlap
from iree_flow.stream_storage import Storage

TYPE = TensorType([4], f32)


def storage(base: Storage | None = None, shift: int = 0, size: int | None = 16) -> Storage:
    value = None if size is None else arith.Constant.index(size).result
    return Storage("temporary", [4], TYPE, size=value, base=base, shift=shift)


def waves(*commands: Command) -> list[int]:
    assign_waves(commands)
    return [command.wave for command in commands]


def test_ranges() -> None:
    whole = storage(size=64)
    low, high = storage(whole, 0), storage(whole, 16)
    assert not overlap(low, high)
    assert overlap(low, storage(whole, 8))
    assert overlap(whole, high)
    assert not overlap(low, storage())
    assert not overlap(low, storage(whole, 0, 0))


def test_readers_share_a_wave_writers_of_one_place_do_not() -> None:
    a, b, c = storage(), storage(), storage()
    read = [Command.copy(a, b), Command.copy(a, c)]
    assert waves(*read) == [0, 0]
    assert waves(*read, Command.copy(b, a), Command.copy(c, a)) == [0, 0, 1, 2]


def test_pieces_are_written_together_and_read_behind() -> None:
    whole, a, b, result = storage(size=64), storage(), storage(), storage(size=64)
    commands = [
        Command.copy(a, storage(whole, 0)),
        Command.copy(b, storage(whole, 16)),
        Command.copy(whole, result),
    ]
    assert waves(*commands) == [0, 0, 1]
