"""Running combinations by a workgroup against the interpreter: kinds, directions, element types, uneven pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from iree_codegen.strategies.gpu import scan as module
from iree_codegen.strategies.gpu.scan import scan

from .dispatches import DEVICES, SMALL, check, random


@pytest.fixture(autouse=True)
def short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORT", 8)


def running(shape: tuple[int, ...], axis: int, kind: str, flags: str = "", type: str = "f32") -> str:
    a = f"tensor<{'x'.join(map(str, shape))}x{type}>"
    return f"""
func.func @scan(%a: {a}, %out: {a}) -> {a} {{
  %r = linalg_ext.scan kind <{kind}> dimension({axis}) {flags} ins(%a : {a}) outs(%out : {a}) -> {a}
  return %r : {a}
}}"""


@pytest.mark.parametrize("kind", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("flags", ["", "exclusive", "reverse", "exclusive reverse"])
def test_kinds_and_directions(kind: str, flags: str) -> None:
    check(running((2, 37), 1, kind, flags), {0: random((2, 37))}, scan, SMALL)


@pytest.mark.parametrize("type", ["f16", "bf16", "f64", "i8", "i32", "i64", "i1"])
@pytest.mark.parametrize("kind", ["add", "max"])
def test_types(type: str, kind: str) -> None:
    tolerance = {"f16": 5e-3, "bf16": 4e-2}.get(type, 1e-12)
    a: Any = random((2, 20), type)
    check(running((2, 20), 1, kind, type=type), {0: a}, scan, SMALL, tolerance=tolerance)


@pytest.mark.parametrize(("shape", "axis"), [((9,), 0), ((40, 3), 0), ((2, 17, 2), 1), ((1, 64), 1)], ids=str)
def test_uneven_pieces(shape: tuple[int, ...], axis: int) -> None:
    one = replace(SMALL, max_workgroup_invocations=1)
    for device in (SMALL, one, DEVICES["no subgroups"]):
        check(running(shape, axis, "add"), {0: random(shape)}, scan, device)


def test_nan_spreads_to_what_comes_after() -> None:
    a = random((1, 30))
    a[0, 11] = np.nan
    for kind in ("add", "max"):
        check(running((1, 30), 1, kind), {0: a}, scan, SMALL)


def test_many_rows_are_left_to_invocations() -> None:
    check(running((9000, 16), 1, "add"), {}, scan, SMALL, declined=True)
    check(running((2, 37), 1, "add"), {}, scan, DEVICES["cpu"], declined=True)
