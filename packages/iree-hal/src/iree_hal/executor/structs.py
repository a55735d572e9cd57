"""Memory shared with the native executor: plan, frame and pool, from one table for Python and LLVM text.

A **plan** is a recording joined with executables: immutable but for ``Wave.cost``. A **frame** is the
mutable state of one invocation. The **pool** is the rendezvous of one caller and the workers; fields that
different threads write lie on different cache lines.
"""

from __future__ import annotations

import zlib

from iree_hal import abi, param_ops
from iree_hal.layout import Field, Struct

# What run() returns.
DONE, YIELD, WAIT, HOST_CALL, ERROR, GROW = range(6)

# Frame.state
START, READY, OPEN, STRAGGLING = range(4)

# Frame.flags
FLAG_STEP = 1
"""Return YIELD after every wave."""
FLAG_SHUFFLE = 2
"""Permute the tiles of each wave by ``Frame.seed``."""
FLAG_TIME = 4
"""Write ticks to ``Frame.times``."""
FLAG_WATCHED = FLAG_STEP | FLAG_TIME
"""What makes the end of a wave more than going on to the next."""

# Command.kind
KIND_DISPATCH, KIND_FILL, KIND_COPY = 0, 1, 2
# Wave.kind
WAVE_COMPUTE, WAVE_HOST_CALL = 0, 1

# Codes in the low half of Frame.error; kernels return positive ones.
FAULT_RANGE, FAULT_ALIGN, FAULT_COUNT, FAULT_OVERLAP, FAULT_LENGTH = -1, -2, -3, -4, -5
FAULT_LAYOUT, FAULT_READ_ONLY = -6, -7

NO_PARAM = 0xFFFFFFFF
NO_ERROR = 0xFFFFFFFFFFFFFFFF
INDIRECT = 1 << 63
"""Set in a table row's length when its address is that of a numpy array object, resolved by run()."""
READ_ONLY = 1 << 62
"""Set in a table row's length when no command may write the buffer."""
LENGTH_MASK = READ_ONLY - 1

TRANSFER_CHUNK = 64 << 10
"""Bytes of a fill or copy that one tile does."""
RANGE_BITS = 22
"""Of each end of a range; what is left of the word is the epoch's."""
EPOCH_SHIFT = 2 * RANGE_BITS
RANGE_MASK = (1 << RANGE_BITS) - 1
EPOCH_MASK = (1 << 64 - EPOCH_SHIFT) - 1
MOST_AT_ONCE = 64
"""Tiles that a thread takes at a time."""

STEP = Struct(
    "Step",
    "One instruction of the parameter program.",
    (
        Field("op", "u32", "code of iree_hal.param_ops"),
        Field("a", "u32", "parameter slot of the left operand"),
        Field("b", "u32", "parameter slot of the right operand"),
        Field("target", "u32", "parameter slot written"),
    ),
)
WAVE = Struct(
    "Wave",
    "Commands that may run at the same time.",
    (
        Field("first", "u32", "index of its first command; of the recording's command for a host call"),
        Field("count", "u32", "number of commands"),
        Field("kind", "u32", "WAVE_COMPUTE or WAVE_HOST_CALL"),
        Field("cost", "u32", "ticks per tile seen lately, 0 unknown; a hint that threads race on"),
    ),
)
COMMAND = Struct(
    "Command",
    "A dispatch; fills and copies are dispatches of built-in kernels.",
    (
        Field("function", "ptr", "the kernel; null for built-in ones"),
        Field("kind", "u32", "KIND_*"),
        Field("index", "u32", "its place in the recording"),
        Field("count_x", "u32", "parameter slot"),
        Field("count_y", "u32", "parameter slot"),
        Field("count_z", "u32", "parameter slot"),
        Field("n_constants", "u32", "number of constants"),
        Field("n_refs", "u32", "number of bindings"),
        Field("first_constant", "u32", "index into Plan.constants"),
        Field("first_ref", "u32", "index into Plan.refs"),
        Field("pattern", "u32", "of a fill, repeated to 4 bytes"),
        Field("dispatch", "u64", "offset of its Dispatch from Frame.dispatches"),
    ),
)
REF = Struct(
    "Ref",
    "A binding of a command.",
    (
        Field("slot", "u32", "row of the binding table"),
        Field("offset", "u32", "parameter slot of the byte offset"),
        Field("length", "u32", "parameter slot of the byte length"),
        Field("mask", "u32", "address bits that must be 0"),
    ),
)
ROW = Struct(
    "Row",
    "A row of the binding table.",
    (
        Field("address", "ptr", "first byte, or a numpy array object when INDIRECT"),
        Field("length", "u64", "bytes, plus INDIRECT and READ_ONLY"),
    ),
)
PLAN = Struct(
    "Plan",
    "A recording joined with executables.",
    (
        Field("n_steps", "u32", "instructions of the parameter program"),
        Field("n_waves", "u32", "number of waves"),
        Field("n_rows", "u32", "rows of the binding table"),
        Field("arena_param", "u32", "parameter slot of the arena's bytes, or NO_PARAM"),
        Field("steps", "ptr", "Step[]"),
        Field("waves", "ptr", "Wave[]"),
        Field("commands", "ptr", "Command[]"),
        Field("constants", "ptr", "u32[]: parameter slot * 2 + (1 for the high half)"),
        Field("refs", "ptr", "Ref[]"),
        Field("written", "ptr", "u32[] per row: 1 when a command writes it"),
    ),
)
FRAME = Struct(
    "Frame",
    "The mutable state of one invocation.",
    (
        Field("plan", "ptr", "Plan"),
        Field("pool", "ptr", "Pool, or null to run alone"),
        Field("params", "ptr", "i64[] parameter block"),
        Field("table", "ptr", "Row[] binding table"),
        Field("ends", "ptr", "u32[] running tile count per command of the wave"),
        Field("dispatches", "ptr", "Dispatch structs with their constants, bindings and lengths"),
        Field("scratch", "ptr", "worker scratch, one stride per worker id"),
        Field("scratch_stride", "u64", "bytes from one worker's scratch to the next"),
        Field("scratch_bytes", "u64", "bytes of scratch a workgroup may use"),
        Field("budget", "u64", "ticks one run() may take before it yields, 0 for no limit"),
        Field("deadline", "u64", "ticks at which this run() yields"),
        Field("last_check", "u64", "ticks when the deadline was last looked at"),
        Field("threshold", "u64", "ticks of work below which a wave stays on the caller"),
        Field("error", "u64", "command << 32 | code, smallest wins; NO_ERROR"),
        Field("detail", "u64", "binding or row number of an executor fault"),
        Field("seed", "u64", "of the tile permutation"),
        Field("ranges", "ptr", "u64[] per thread {first:32 | end:32}: what was left when a wave was stopped"),
        Field("times", "ptr", "u64[]: with FLAG_TIME, ticks at the start and after each wave"),
        Field("factor", "u64", "tile permutation of this wave: t -> (factor t + shift) mod total"),
        Field("shift", "u64", "see factor"),
        Field("threads", "u32", "most threads that may work on this frame, the caller included"),
        Field("scattered", "u32", "1: the tiles that remain are those of ranges, else the last of the wave"),
        Field("flags", "u32", "FLAG_*"),
        Field("state", "u32", "START, READY, OPEN or STRAGGLING"),
        Field("wave", "u32", "the wave being run, or after HOST_CALL the one after it"),
        Field("total", "u32", "tiles of the wave"),
        Field("remaining", "u32", "tiles not handed out, while no ticket is open"),
        Field("until_check", "u32", "tiles until the deadline is looked at"),
        Field("stride", "u32", "tiles between two looks at the deadline"),
        Field("runs", "u32", "how often the frame was started"),
        Field("leased", "u32", "1 while this frame holds the pool"),
        Field("stop", "u32", "1: yield as soon as no tile is out"),
        Field("data_offset", "u32", "of the data pointer in a numpy array object"),
        Field("flags_offset", "u32", "of the flags in a numpy array object"),
    ),
)
POOL = Struct(
    "Pool",
    "The rendezvous of one caller and the workers.",
    (
        Field("ticket", "u64", "{epoch:32 | limit:32}: worker ids below limit may take tiles", align=64),
        Field("pending", "u32", "tiles handed out or waiting that are not done", align=64),
        Field("waiting", "u32", "1 while the caller sleeps on pending"),
        Field("frame", "ptr", "the frame being run; read only while holding a tile", align=64),
        Field("lease", "u32", "1 while a caller owns the pool", align=64),
        Field("sleepers", "u32", "workers that sleep or are about to", align=64),
        Field("shutdown", "u32", "1: workers return", align=64),
        Field("n_workers", "u32", "workers started"),
        Field("running", "u32", "workers inside native code"),
        Field("worker_spin", "u32", "pauses before an idle worker sleeps"),
        Field("leased_spin", "u32", "pauses before an idle worker sleeps while a caller owns the pool"),
        Field("caller_spin", "u32", "pauses before the caller sleeps"),
        Field("ranges", "ptr", "Range[] per worker id"),
        Field("wait_convention", "u32", "of iree_hal.platform"),
        Field("wait_number", "u32", "system call number"),
        Field("wait", "ptr", "OS function"),
        Field("wake", "ptr", "OS function"),
        Field("yield", "ptr", "OS function"),
    ),
)

RANGE = Struct(
    "Range",
    "The tiles dealt to one thread that nobody has taken yet: from the front it takes, from the back others.",
    (Field("word", "u64", "{epoch:20 | first:22 | end:22}", align=64),),
)

STRUCTS: tuple[Struct, ...] = (*abi.STRUCTS, STEP, WAVE, COMMAND, REF, ROW, PLAN, FRAME, POOL, RANGE)

CONSTANTS: dict[str, int] = {
    name: value
    for name, value in list(globals().items())
    if name.isupper() and isinstance(value, int) and not isinstance(value, bool)
} | {f"OP_{op.name.upper()}": op.code for op in param_ops.PARAM_OPS.values()}


def layout_version() -> int:
    """A number that changes with any struct or constant above; object and Python must agree on it."""
    text = "\n".join(s.markdown for s in STRUCTS) + repr(sorted(CONSTANTS.items()))
    return zlib.crc32(text.encode()) & 0x7FFFFFFF
