"""Recurrent layers in invocation form against the interpreter: stages, lengths, directions, element types."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_codegen.strategies.gpu.recurrence import recurrence

from .dispatches import DEVICES, SMALL, check

ONE_STAGE = """{
^bb0(%x0: T, %x1: T, %a0: T, %a1: T, %p0: T, %h0: T, %h1: T):
  %s = arith.addf %x0, %a0 : T
  %f = math.tanh %s : T
  %t = arith.addf %x1, %a1 : T
  %u = arith.mulf %p0, %h1 : T
  %v = arith.addf %u, %t : T
  %c = arith.mulf %f, %v : T
  %h = math.tanh %c : T
  linalg.yield %h, %c : T, T
}"""
TWO_STAGES = """{
^bb0(%x0: T, %x1: T, %a0: T, %a1: T, %h0: T):
  %s = arith.addf %x0, %a0 : T
  %r = math.tanh %s : T
  %v = arith.mulf %r, %h0 : T
  linalg.yield %v : T
} {
^bb0(%x0: T, %x1: T, %a0: T, %a1: T, %b0: T, %h0: T):
  %s = arith.addf %x1, %a1 : T
  %z = math.tanh %s : T
  %u = arith.mulf %z, %h0 : T
  %n = arith.addf %u, %b0 : T
  linalg.yield %n : T
}"""


def layer(stages: int, n: int, flags: str = "", type: str = "f32", batch: int = 2) -> str:
    """4 steps of ``batch`` rows; two gates, one or two states."""

    def of(*shape: int) -> str:
        return f"tensor<{'x'.join(map(str, shape))}x{type}>"

    lengths = [("l", f"tensor<{batch}xi32>")] * ("lengths" in flags)
    if stages == 1:
        inputs = [("x", of(4, batch, 2 * n)), ("w", of(2 * n, n)), ("p", of(1, n)), *lengths]
        inputs += [("h", of(batch, n)), ("g", of(batch, n))]
        outputs = [("y", of(4, batch, n)), ("o", of(batch, n)), ("q", of(batch, n))]
    else:
        inputs = [
            ("x", of(4, batch, 2 * n)),
            ("w", of(2 * n, n)),
            ("v", of(n, n)),
            *lengths,
            ("h", of(batch, n)),
        ]
        outputs = [("y", of(4, batch, n)), ("o", of(batch, n))]
    arguments = ", ".join(f"%in_{name}: {t}" for name, t in [*inputs, *outputs])
    ins = f"{', '.join('%in_' + name for name, _ in inputs)} : {', '.join(t for _, t in inputs)}"
    types = ", ".join(t for _, t in outputs)
    outs = f"{', '.join('%in_' + name for name, _ in outputs)} : {types}"
    results = ", ".join(f"%r#{i}" for i in range(len(outputs)))
    regions = (
        (ONE_STAGE if stages == 1 else TWO_STAGES).replace(": T", f": {type}").replace(", T", f", {type}")
    )
    given = f"parameters = {2 - stages} : i64{flags}"
    return f"""
func.func @layer({arguments}) -> ({types}) {{
  %r:{len(outputs)} = linalg_ext.recurrence {{{given}}} ins({ins}) outs({outs}) {regions} -> ({types})
  return {results} : {types}
}}"""


def inputs(stages: int, n: int, flags: str = "", dtype: Any = np.float32, batch: int = 2) -> dict[int, Any]:
    rng = np.random.default_rng(3)
    shapes = [(4, batch, 2 * n), (2 * n, n), (1, n) if stages == 1 else (n, n)]
    found: list[Any] = [(rng.standard_normal(s) * 0.3).astype(dtype) for s in shapes]
    if "lengths" in flags:
        found.append(np.array([2, 4, 0, 1][:batch], np.int32))
    found += [(rng.standard_normal((batch, n)) * 0.3).astype(dtype) for _ in range(3 - stages)]
    return dict(enumerate(found))


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("n", [1, 5, 16, 40])
def test_sizes(device: Any, stages: int, n: int) -> None:
    check(layer(stages, n), inputs(stages, n), recurrence, device)


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("flags", [", lengths", ", reverse", ", lengths, reverse"])
def test_lengths_and_directions(stages: int, flags: str) -> None:
    given = inputs(stages, 6, flags, batch=3)
    check(layer(stages, 6, flags, batch=3), given, recurrence, SMALL, invocations=300)


def test_other_floats() -> None:
    for type, dtype, tolerance in (("f64", np.float64, 1e-13), ("f16", np.float16, 5e-3)):
        check(layer(1, 8, type=type), inputs(1, 8, dtype=dtype), recurrence, SMALL, tolerance=tolerance)


def test_states_beyond_shared_memory_go_to_scratch() -> None:
    kernel = check(layer(1, 12), inputs(1, 12), recurrence, replace(SMALL, shared_memory_bytes=16))
    assert kernel is not None and kernel.export.scratch_bytes >= 4 * 12
