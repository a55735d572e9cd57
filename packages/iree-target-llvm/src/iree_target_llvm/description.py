"""What machine to compile for: architecture, feature set, and what strategies need to know about it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from iree_codegen.workgroup_description import WorkgroupDescription
from iree_target_llvm.errors import OPTION, TRIPLE, LlvmError

OPTIONS = {
    "cpu": "host (default), generic or a level such as x86-64-v3.",
    "features": "CPU features to add or leave out: +A,-B.",
    "conv-algorithm": "auto (default): Winograd for 3x3 convolutions where it pays; direct: never.",
    "channel-block": "auto (default): images are stored in blocks of as many channels as a vector holds, "
    "where that pays; none: as they come.",
    "matmul-precision": "highest (default): f32; high: f32 from three bf16 products; medium: bf16 products.",
    "triple": "Another machine, as LLVM names it: aarch64-unknown-linux-gnu.",
}
"""What ``describe`` takes, with a line of help each."""

ARCHITECTURES = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "riscv64": "riscv64",
}

X86_LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-v2": ("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"),
    "x86-64-v3": (
        "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt",
        "movbe",
    ),
    "x86-64-v4": (
        "sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt",
        "movbe", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl",
    ),
}  # fmt: skip
"""The psABI levels, by feature."""

RELEVANT = {
    "x86_64": frozenset(X86_LEVELS["x86-64-v4"])
    | {"avx512vnni", "avx512bf16", "avx512fp16", "avxvnni"}
    | {"amx-tile", "amx-bf16", "amx-int8"},
    "aarch64": frozenset({"neon", "fullfp16", "dotprod", "bf16", "i8mm"}),
    "riscv64": frozenset({"m", "a", "f", "d", "c"}),
}
"""Features that reach the code generator (and so the list an executable requires)."""

CONV_ALGORITHMS = ("auto", "direct")

MATMUL_PRECISIONS = ("highest", "high", "medium")
CHANNEL_BLOCKS = ("auto", "none")

TILE = "amx-"
"""Features of matrix tiles begin so."""
TILE_FEATURES = {"bf16": "amx-bf16", "i8": "amx-int8"}
"""Element type -> the feature that has matrix tiles of it."""

GENERIC_CPU = {"x86_64": "x86-64", "aarch64": "generic", "riscv64": "generic-rv64"}


@dataclass(frozen=True)
class CpuDescription(WorkgroupDescription):
    """A CPU, as LLVM names it, and how images are stored for it."""

    architecture: str = "x86_64"
    triple: str = "x86_64-unknown-linux-gnu"
    cpu: str = "x86-64"
    channel_block: int = 0
    """Channels of an f32 image that lie side by side; 0: images are stored as they come."""


def describe(options: Mapping[str, str]) -> CpuDescription:
    """Resolve ``options``; the default is this machine. Raises LlvmError OPTION or TRIPLE."""
    for name in options:
        if name not in OPTIONS:
            raise LlvmError(
                OPTION, f"--target-{name}", hint="one of " + ", ".join(f"--target-{o}" for o in OPTIONS)
            )
    triple = options.get("triple", "")
    host = _architecture(platform.machine())
    architecture = _architecture(triple.split("-")[0]) if triple else host
    if architecture not in RELEVANT:
        raise LlvmError(TRIPLE, triple or platform.machine(), hint="one of " + ", ".join(RELEVANT))
    cpu = options.get("cpu", "host" if architecture == host else "generic")
    features = set(_cpu_features(cpu, architecture, host))
    for item in options.get("features", "").split(","):
        item = item.strip()
        if not item:
            continue
        sign, name = (item[0], item[1:]) if item[0] in "+-" else ("+", item)
        if name not in RELEVANT[architecture]:
            raise LlvmError(
                OPTION,
                f"--target-features: '{name}'",
                hint="one of " + ", ".join(sorted(RELEVANT[architecture])),
            )
        if sign == "+":
            features.add(name)
        else:
            features.discard(name)
    return _with_features(architecture, features, options)


def _architecture(machine: str) -> str:
    return ARCHITECTURES.get(machine.lower(), machine.lower())


def _cpu_features(cpu: str, architecture: str, host: str) -> frozenset[str]:
    """The relevant features of a named CPU (a psABI level, ``generic``, ``host``)."""
    if cpu == "host":
        if architecture != host:
            raise LlvmError(OPTION, "--target-cpu=host for another machine", hint="name a CPU or features")
        return host_features() & RELEVANT[architecture]
    if architecture == "x86_64" and cpu in ("generic", *X86_LEVELS):
        return frozenset(X86_LEVELS.get(cpu, ()))
    if cpu == "generic":
        return frozenset({"aarch64": {"neon"}, "riscv64": {"m", "a", "f", "d", "c"}}.get(architecture, set()))
    raise LlvmError(
        OPTION,
        f"--target-cpu={cpu}",
        hint="host, generic or one of " + ", ".join(X86_LEVELS) + "; add others with --target-features",
    )


def host_features() -> frozenset[str]:
    """The features this machine reports; its CPU name is not asked, it can be wrong.

    On Linux the kernel is asked, through what the runtime checks an object's features with: LLVM need not be
    loaded before there is a kernel to compile. It is asked where the runtime knows no features.
    """
    if sys.platform == "linux":
        from iree_hal.platform import current

        found = current().cpu_features()
        if found:
            return found
    import llvmlite.binding as llvm

    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def _with_features(architecture: str, features: set[str], options: Mapping[str, str]) -> CpuDescription:
    algorithm = options.get("conv-algorithm", "auto")
    if algorithm not in CONV_ALGORITHMS:
        hint = "one of " + ", ".join(CONV_ALGORITHMS)
        raise LlvmError(OPTION, f"--target-conv-algorithm={algorithm}", hint=hint)
    precision = options.get("matmul-precision", "highest")
    if precision not in MATMUL_PRECISIONS:
        hint = "one of " + ", ".join(MATMUL_PRECISIONS)
        raise LlvmError(OPTION, f"--target-matmul-precision={precision}", hint=hint)
    blocks = options.get("channel-block", CHANNEL_BLOCKS[0])
    if blocks not in CHANNEL_BLOCKS:
        hint = "one of " + ", ".join(CHANNEL_BLOCKS)
        raise LlvmError(OPTION, f"--target-channel-block={blocks}", hint=hint)
    base = CpuDescription(
        target="llvm-cpu",
        features=tuple(sorted(features)),
        options=tuple(sorted((k, v) for k, v in options.items())),
        architecture=architecture,
        triple=options.get("triple") or f"{architecture}-unknown-linux-gnu",
        cpu=GENERIC_CPU[architecture],
        conv_algorithm=algorithm,
        matmul_precision=precision,
    )
    if architecture == "aarch64":
        return replace(base, vector_bits=128, registers=32, fma=True, rounding=True, half_conversions=True)
    if architecture == "riscv64":
        return replace(base, vector_bits=0, registers=32, fma=True)
    wide = {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= features
    found = TILE_FEATURES.items() if wide and "amx-tile" in features else ()
    tiles = tuple(element for element, feature in found if feature in features)
    blocked = blocks == "auto" and "fma" in features
    vector_bits = 512 if wide else 256 if "avx2" in features else 128
    return replace(
        base,
        vector_bits=vector_bits,
        registers=32 if wide else 16,
        fma="fma" in features,
        masks=wide,
        gathers=wide,
        rounding="sse4.1" in features,
        half_conversions="f16c" in features,
        matrix_tiles=tiles,
        integer_dots=wide and "avx512vnni" in features,
        bf16_conversions=wide and "avx512bf16" in features,
        channel_block=vector_bits // 32 if blocked else 0,
    )
