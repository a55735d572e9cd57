"""Every distinct dispatch on fresh inputs: linalg form, kernel IR and native code give the same numbers.

Kernel IR is interpreted for the first, the last and three seeded workgroups between them, as the strategy
made it and legalized; native code runs whole, with guarded memory and shuffled tiles.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import networks
import numpy as np
import pytest

import iree_flow
from iree_flow.saved_dispatch import check_saved, save
from iree_flow.verify_dispatches import (
    OPERATIONS,
    error_over_tolerance,
    fresh,
    recorded_calls,
    verify_dispatches,
)


def check_all(name: str, path: Path, folder: Path, seed: int, operations: int | None) -> None:
    stopped = iree_flow.compile(path, compile_to="dispatch-creation")
    inputs = networks.feed(name, seed)
    count = 0
    for check in verify_dispatches(stopped.module, stopped.session, inputs, seed=seed, operations=operations):
        if not check.ok:
            save(check, folder, stopped.session)
        assert check.ok, "\n".join([*check.failures, f"saved in {folder}"])
        assert check.sampled == min(5, int(np.prod(check.workgroups))) or check.stopped, check
        for form in ("native", "kernel"):
            assert check.compared[form] > 0, f"{check.name}: nothing of {form} was compared"
        count += 1
    assert count == sum(op.name == "flow.executable" for op in stopped.module.regions[0].block) > 5


def test_forms_agree(network: tuple[str, Path], tmp_path: Path) -> None:
    check_all(*network, tmp_path, seed=1, operations=OPERATIONS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_forms_agree_on_more_seeds_and_whole_workgroups(
    network: tuple[str, Path], tmp_path: Path, seed: int
) -> None:
    """The convolution of magika takes minutes when it is interpreted to its end: on one seed only."""
    check_all(*network, tmp_path, seed, None if seed == 2 else OPERATIONS)


@pytest.fixture(scope="module")
def first_calls(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = networks.convnet(tmp_path_factory.mktemp("calls") / "convnet.onnx")
    stopped = iree_flow.compile(path, compile_to="dispatch-creation")
    return stopped, recorded_calls(stopped.module, stopped.session, networks.feed("convnet", 0))


class WrongTarget:
    """The real target, save that its objects compute another dispatch: one constant is changed."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def compile_dispatch(self, request: Any) -> Any:
        from dataclasses import replace

        assert "arith.addf" in request.text
        return self._real.compile_dispatch(
            replace(request, text=request.text.replace("arith.addf", "arith.subf"))
        )


def test_a_wrong_kernel_is_found_and_saved(first_calls: Any, tmp_path: Path) -> None:
    from dataclasses import replace

    import iree_hal
    from iree_core_ir.text.printer import print_op
    from iree_flow.verify_dispatches import verify_call

    stopped, calls = first_calls
    call = next(c for c in calls if "arith.addf" in print_op(c.module))
    target = WrongTarget(stopped.session.target)
    session = replace(stopped.session, targets=dict.fromkeys(stopped.session.targets, target))
    device = iree_hal.create_device(target.driver, threads=1, verify=True)
    check = verify_call(call, session, device)
    assert not check.ok
    assert "linalg and native differ" in check.failures[0]
    assert ("linalg", "kernel") in check.errors
    assert check.errors["linalg", "kernel"] <= 1, "the kernel IR was right"
    assert check.sources, "the user's nodes are known"
    test = save(check, tmp_path / "failed", session)
    assert call.name in test.with_name(f"{call.name}.mlir").read_text()
    again = check_saved(
        test.with_name(f"{call.name}.mlir"),
        target="llvm-cpu",
        packed_types={i: str(type) for i, type in check.packed_types.items()},
    )
    assert again.ok, "the real target computes the dispatch rightly on the same arguments"
    for saved, used in zip(again.arguments, check.arguments, strict=True):
        np.testing.assert_array_equal(saved, used)


def test_kernel_ir_is_only_interpreted_where_native_code_differs(first_calls: Any) -> None:
    from dataclasses import replace

    import iree_hal
    from iree_core_ir.text.printer import print_op
    from iree_flow.verify_dispatches import verify_call

    stopped, calls = first_calls
    call = next(c for c in calls if "arith.addf" in print_op(c.module))
    device = iree_hal.create_device(stopped.session.target.driver, threads=1, verify=True)
    right = verify_call(call, stopped.session, device, kernels="differing")
    assert right.ok
    assert set(right.errors) == {("linalg", "native")}
    target = WrongTarget(stopped.session.target)
    session = replace(stopped.session, targets=dict.fromkeys(stopped.session.targets, target))
    wrong = verify_call(call, session, device, kernels="differing")
    assert not wrong.ok
    assert ("linalg", "kernel") in wrong.errors


@pytest.mark.parametrize(
    ("expected", "found", "worst"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.0], [1.0, 2.1], float("nan")),
        ([np.nan, 2.0], [np.nan, 2.0], 0.0),
        ([np.nan, 2.0], [1.0, 2.0], float("inf")),
        ([np.inf, 2.0], [-np.inf, 2.0], float("inf")),
    ],
)
def test_the_yardstick(expected: list[float], found: list[float], worst: float) -> None:
    error = error_over_tolerance(np.array(expected, np.float32), np.array(found, np.float32))
    assert error > 100 if np.isnan(worst) else error == worst


def test_what_is_masked_is_not_compared() -> None:
    found = np.ma.masked_array(np.array([1.0, 7.0], np.float32), [False, True])
    assert error_over_tolerance(np.array([1.0, 2.0], np.float32), found) == 0
    assert error_over_tolerance(np.array([1.0, 2.0], np.float64), found) == float("inf")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_fresh_values_are_of_the_kind_of_those_there(dtype: Any) -> None:
    """The largest finite value, which masks hold, never becomes an infinity, and infinities stay in place."""
    generator = np.random.default_rng(0)
    low = float(ml_dtypes.finfo(dtype).min)
    mask = np.array([0, low, low, 0, low, np.inf, -np.inf] * 50, np.float64).astype(dtype)
    drawn = fresh(mask, generator).astype(np.float64)
    infinite = np.isinf(mask.astype(np.float64))
    np.testing.assert_array_equal(drawn[infinite], mask.astype(np.float64)[infinite])
    assert np.isfinite(drawn[~infinite]).all()
    positive = fresh(np.abs(generator.standard_normal(100)).astype(dtype), generator)
    assert (positive >= 0).all()
    assert positive.dtype == dtype
