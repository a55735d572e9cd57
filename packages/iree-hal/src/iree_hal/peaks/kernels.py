"""The probes as LLVM IR: independent multiply-adds that keep every unit busy, and reads in order.

Each probe is there once per instruction set; which ones a processor can run, and how wide they are, stands in
:data:`VARIANTS`. ``fma_<set>`` takes the number of steps and one binding of two vectors; a step is
:data:`CHAINS` vector multiply-adds. ``read_<set>`` takes the bytes of a workgroup's part (a multiple of
:data:`READ_STEP`) and how often it reads them; bindings are the memory and a word a workgroup.
"""

from __future__ import annotations

from iree_base.records import record

CHAINS = 12
"""Multiply-adds that do not wait for each other: more than latency times units of any processor here."""
READ_STEP = 512
"""Bytes of a step of a read."""


@record(frozen=True)
class Variant:
    """An instruction set: floats in a vector, the features it needs, and whether it has multiply-add."""

    name: str
    lanes: int
    features: tuple[str, ...]
    fused: bool = True


VARIANTS: dict[str, tuple[Variant, ...]] = {
    "x86_64": (
        Variant("avx512", 16, ("avx512f",)),
        Variant("avx2", 8, ("avx2", "fma")),
        Variant("sse2", 4, (), fused=False),
    ),
    "aarch64": (Variant("neon", 4, ()),),
}
"""Machine -> variants, the widest first."""


def module_text(machine: str) -> str:
    """The probes of ``machine``, in the language of :mod:`iree_hal.executor.source`."""
    return "\n".join(_fma(v) + _read(v) for v in VARIANTS[machine])


def _attributes(variant: Variant) -> str:
    features = ",".join(f"+{name}" for name in variant.features)
    width = f'"min-legal-vector-width"="{32 * variant.lanes}" "prefer-vector-width"="{32 * variant.lanes}"'
    return f'nounwind "target-features"="{features}" {width}' if features else "nounwind"


def _fma(variant: Variant) -> str:
    vector = f"<{variant.lanes} x float>"
    suffix = f"v{variant.lanes}f32"
    lines = [
        f"declare {vector} @llvm.fma.{suffix}({vector}, {vector}, {vector})" if variant.fused else "",
        f"define i32 @fma_{variant.name}(ptr %d, ptr %w) {_attributes(variant)} {{",
        "entry:",
        "  %constants = get Dispatch.constants %d",
        "  %bindings = get Dispatch.bindings %d",
        "  %n = load i32, ptr %constants, align 4",
        "  %p = load ptr, ptr %bindings, align 8",
        f"  %x = load {vector}, ptr %p, align 4",
        f"  %y.at = getelementptr {vector}, ptr %p, i64 1",
        f"  %y = load {vector}, ptr %y.at, align 4",
        "  br label %loop",
        "loop:",
        "  %i = phi i32 [ 0, %entry ], [ %i.next, %loop ]",
    ]
    lines += [f"  %a{c} = phi {vector} [ %x, %entry ], [ %b{c}, %loop ]" for c in range(CHAINS)]
    for c in range(CHAINS):
        if variant.fused:
            lines.append(
                f"  %b{c} = call {vector} @llvm.fma.{suffix}({vector} %a{c}, {vector} %x, {vector} %y)"
            )
        else:
            lines += [f"  %m{c} = fmul {vector} %a{c}, %x", f"  %b{c} = fadd {vector} %m{c}, %y"]
    lines += [
        "  %i.next = add i32 %i, 1",
        "  %again = icmp ult i32 %i.next, %n",
        "  br i1 %again, label %loop, label %done",
        "done:",
        f"  %s0 = fadd {vector} %b0, %b1",
    ]
    lines += [f"  %s{c - 1} = fadd {vector} %s{c - 2}, %b{c}" for c in range(2, CHAINS)]
    # Never true, which the compiler does not know: the result is used, and no two threads write.
    lines += [
        f"  %first = extractelement {vector} %s{CHAINS - 2}, i32 0",
        "  %odd = fcmp oeq float %first, -1.0",
        "  %r = zext i1 %odd to i32",
        "  ret i32 %r",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _read(variant: Variant) -> str:
    vector = f"<{variant.lanes} x i32>"
    count = READ_STEP // (4 * variant.lanes)
    chains = min(count, 4)
    lines = [
        f"define i32 @read_{variant.name}(ptr %d, ptr %w) {_attributes(variant)} {{",
        "entry:",
        "  %constants = get Dispatch.constants %d",
        "  %bindings = get Dispatch.bindings %d",
        "  %bytes = load i32, ptr %constants, align 4",
        "  %times.at = getelementptr i8, ptr %constants, i64 4",
        "  %times = load i32, ptr %times.at, align 4",
        "  %x = get Workgroup.id_x %w",
        "  %base = load ptr, ptr %bindings, align 8",
        "  %out.at = getelementptr i8, ptr %bindings, i64 8",
        "  %out = load ptr, ptr %out.at, align 8",
        "  %x64 = zext i32 %x to i64",
        "  %n = zext i32 %bytes to i64",
        "  %from = mul i64 %x64, %n",
        "  %p = getelementptr i8, ptr %base, i64 %from",
        "  br label %pass",
        "pass:",
        "  %k = phi i32 [ 0, %entry ], [ %k.next, %passed ]",
    ]
    lines += [
        f"  %o{c} = phi {vector} [ zeroinitializer, %entry ], [ %b{c}, %passed ]" for c in range(chains)
    ]
    lines += ["  br label %loop", "loop:", "  %i = phi i64 [ 0, %pass ], [ %i.next, %loop ]"]
    lines += [f"  %a{c} = phi {vector} [ %o{c}, %pass ], [ %b{c}, %loop ]" for c in range(chains)]
    last = [f"%a{c}" for c in range(chains)]
    for j in range(count):
        c = j % chains
        name = f"%b{c}" if j >= count - chains else f"%t{j}"
        lines += [
            f"  %l{j}.at.i = add i64 %i, {4 * variant.lanes * j}",
            f"  %l{j}.at = getelementptr i8, ptr %p, i64 %l{j}.at.i",
            f"  %l{j} = load volatile {vector}, ptr %l{j}.at, align 4",
            f"  {name} = xor {vector} {last[c]}, %l{j}",
        ]
        last[c] = name
    lines += [
        f"  %i.next = add i64 %i, {READ_STEP}",
        "  %more = icmp ult i64 %i.next, %n",
        "  br i1 %more, label %loop, label %passed",
        "passed:",
        "  %k.next = add i32 %k, 1",
        "  %again = icmp ult i32 %k.next, %times",
        "  br i1 %again, label %pass, label %done",
        "done:",
        f"  %s0 = xor {vector} %b0, %b1",
    ]
    lines += [f"  %s{c - 1} = xor {vector} %s{c - 2}, %b{c}" for c in range(2, chains)]
    lines += [
        f"  %first = extractelement {vector} %s{chains - 2}, i32 0",
        "  %place = at i32 %out, i32 %x",
        "  store i32 %first, ptr %place, align 4",
        "  ret i32 0",
        "}",
    ]
    return "\n".join(lines) + "\n"
