"""Work in phases that several workgroups share, whether or not they run at the same time.

A phase has a fixed number of parts, and begins when all parts of the one before it are done. Every workgroup
runs the same loop: it claims the parts of the phase that nobody has, its own first, does them, and waits for
the others. So one workgroup alone does everything, one that comes late finds less to do, or nothing, and who
does a part makes no difference to what it computes.

Nobody waits for a workgroup that has not begun: a part that is not done has been claimed, and its owner is
running. Should the owner lose its processor, who waits for it gives up after a while and leaves: the owner
goes on with all that is left. Nothing here sleeps or calls the system.

The state of part ``p`` is a word of its own cache line: ``2 * f`` before phase ``f``, one more while somebody
does it. At first all are 0.
"""

from __future__ import annotations

from collections.abc import Callable

from iree_codegen.kernel_builder import Index, KernelBuilder
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import index

LINE_WORDS = 8
"""Words of 8 bytes from one part's to the next: threads that write do not meet in a line."""


def words_bytes(parts: int) -> int:
    """Memory that the states of parts take; zero at first."""
    return 8 * LINE_WORDS * parts


def shared_phases(
    k: KernelBuilder,
    words: Value,
    parts: int,
    own: Index,
    phases: Index,
    patience: int,
    body: Callable[[Index, Index], None],
) -> None:
    """``body(phase, part)`` once for all parts of all phases, by the workgroups that share ``words`` (i64).

    ``own``: the part that this workgroup prefers. ``patience``: how many pauses it waits for another.
    """

    def attempt(turn: Index, did: Value, phase: Index) -> list[Value]:
        """``did``, or one more if there was a part to do."""
        part = k.mod(k.add(own, turn), parts)
        at, free = k.mul(part, LINE_WORDS), k.mul(phase, 2)

        def work() -> list[Value]:
            body(phase, part)
            k.set_word(words, at, k.add(free, 2))
            return [k.value(k.add(did, 1))]

        def claim() -> list[Value]:
            return k.if_(k.exchange_word(words, at, free, k.add(free, 1)), work, lambda: [did])

        # A look disturbs the thread that has it less than an attempt.
        return k.if_(k.compare("eq", k.word(words, at), free), claim, lambda: [did])

    def wait(phase: Index) -> Value:
        """How many parts of ``phase`` were seen done, the first ones."""
        goal = k.mul(k.add(phase, 1), 2)

        def waits(part: Value, pauses: Value) -> list[Value]:
            more = k.binary("arith.andi", k.compare("slt", part, parts), k.compare("slt", pauses, patience))
            return [more, part, pauses]

        def look(part: Value, pauses: Value) -> list[Value]:
            done = k.compare("sge", k.word(words, k.mul(part, LINE_WORDS)), goal)
            next_part = k.select(done, k.value(k.add(part, 1)), part)

            def pause() -> list[Value]:
                k.pause()
                return [k.value(k.add(pauses, 1))]

            return [next_part, *k.if_(done, lambda: [pauses], pause)]

        zero = k.value(0)
        return k.while_([zero, zero], [index, index], waits, look)[0]

    def more(phase: Value) -> list[Value]:
        return [k.compare("slt", phase, phases), phase]

    def one(phase: Value) -> list[Value]:
        did = k.loop(0, parts, 1, [k.value(0)], lambda turn, did: attempt(turn, did, phase))[0]
        every = k.value(parts)
        done = k.if_(k.compare("eq", did, parts), lambda: [every], lambda: [wait(phase)])[0]
        complete = k.compare("eq", done, parts)
        return [k.select(complete, k.value(k.add(phase, 1)), k.value(phases))]

    # Who comes late begins where the others are.
    first: Index = k.floordiv(k.word(words, 0), 2)
    for part in range(1, parts):
        first = k.min(first, k.floordiv(k.word(words, part * LINE_WORDS), 2))
    k.while_([k.value(first)], [index], more, one)
