"""Random recordings over the conformance kernels, for property tests with an oracle (needs hypothesis)."""

from __future__ import annotations

from hypothesis import strategies as st

from iree_hal.conformance import kernels
from iree_hal.param_ops import PARAM_OPS
from iree_hal.recording import BindingRef, Recording, RecordingBuilder

small = st.integers(0, 40)
wide = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([0, 1, -1, 1 << 32, -(1 << 63)])


@st.composite
def programs(draw: st.DrawFn) -> tuple[Recording, list[int]]:
    """A recording with a random parameter program and no commands, and inputs for it."""
    n_inputs = draw(st.integers(0, 4))
    builder = RecordingBuilder(1, n_inputs)
    slots = [*range(n_inputs), builder.const(draw(wide))]
    for _ in range(draw(st.integers(0, 20))):
        kind = draw(st.sampled_from(sorted(PARAM_OPS)))
        slots.append(builder.op(kind, draw(st.sampled_from(slots)), draw(st.sampled_from(slots))))
    builder.export_param("last", slots[-1])
    return builder.finish(), draw(st.lists(wide, min_size=n_inputs, max_size=n_inputs))


@st.composite
def commands(draw: st.DrawFn) -> tuple[Recording, list[int]]:
    """A recording of counting dispatches, fills and copies in random waves over four slots of 4 KiB.

    Each command writes a part of its own slot that no other command of its wave touches.
    """
    builder = RecordingBuilder(5, 1)
    zero, one, four = builder.const(0), builder.const(1), builder.const(4)
    for _ in range(draw(st.integers(1, 12))):
        free = [1, 2, 3, 4]
        for _ in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from(["count", "fill", "copy", "input"]))
            if len(free) < 2:
                break
            slot = free.pop(draw(st.integers(0, len(free) - 1)))
            start = builder.const(4 * draw(small))
            n = builder.const(draw(small))
            if kind == "input":  # as many tiles as the input says
                n = builder.op("max", zero, builder.op("min", 0, builder.const(40)))
            target = BindingRef(slot, start, builder.op("mul", n, four))
            if kind in ("count", "input"):
                builder.dispatch(0, kernels.ORDINALS["count"], (n, one, one), [], [target])
            elif kind == "fill":
                builder.fill(target, draw(st.sampled_from([b"\x01", b"\x01\x02", b"\x01\x02\x03\x04"])))
            else:
                other = free.pop(draw(st.integers(0, len(free) - 1)))
                builder.copy(BindingRef(other, builder.const(4 * draw(small)), target.length), target)
        builder.barrier()
    return builder.finish(), [draw(st.integers(-5, 60))]
