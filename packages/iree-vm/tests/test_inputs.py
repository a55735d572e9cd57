"""What may be passed: arrays of every layout, DLPack producers, scalars and lists; and what may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from vm_models import add_model, dynamic_model, random, tensor

from iree_vm import VmError, load
from iree_vm.artifact import Dim, FunctionSpec
from iree_vm.inputs import Input, check_inputs
from iree_vm.loading import Module

X, Y = random(4, 3), random(4, 3, seed=1)


@pytest.fixture(scope="module")
def module() -> Module:
    return load(dynamic_model())


class Producer:
    """A DLPack producer that is no numpy array."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **arguments: Any) -> Any:
        return self.array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def readonly(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


def unaligned(array: Any) -> Any:
    raw = np.empty(array.nbytes + 1, np.uint8)
    view = raw[1:].view(np.float32).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned
    return view


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "plain": lambda a: a,
    "transposed": lambda a: a.T.copy().T,
    "strided": lambda a: np.repeat(a, 2, axis=0)[::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "big-endian": lambda a: a.astype(">f4"),
    "read-only": readonly,
    "unaligned": unaligned,
    "subclass": np.ma.MaskedArray,
    "dlpack": Producer,
    "list": lambda a: a.astype(float).tolist(),
    "tuple of tuples": lambda a: tuple(map(tuple, a.astype(float).tolist())),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, module: Module) -> None:
    value = LAYOUTS[layout](X)
    np.testing.assert_array_equal(module.main(value, Y), X + Y)
    np.testing.assert_array_equal(module.main(Y, value), X + Y)


def test_torch_tensors(module: Module) -> None:
    torch = pytest.importorskip("torch", reason="torch is a download of its own: nox -s models runs this")
    np.testing.assert_array_equal(module.main(torch.from_numpy(X), torch.from_numpy(Y.copy())), X + Y)
    with pytest.raises(VmError, match=r"IREE-VM-024.*detach"):
        module.main(torch.from_numpy(X).requires_grad_(), Y)


def test_inputs_are_not_changed(module: Module) -> None:
    x, y = X.copy(), Y.copy()
    module.main(x, y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_results_own_their_memory(module: Module) -> None:
    first = module.main(X, Y)
    kept = first.copy()
    second = module.main(Y, Y)
    assert first.flags.owndata
    assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((X,), 20, "main takes 2 (a, b), got 1"),
        ((X, Y, X), 20, "got 3"),
        ((), 20, "got 0"),
        ((X.astype(np.float64), Y), 23, "input 0 'a' of main; cause: got f64, f32 wanted"),
        ((X, Y.astype(np.int32)), 23, "input 1 'b' of main; cause: got i32"),
        ((X, np.array(["a"])), 23, "got <U1"),
        ((X, "text"), 24, "is str"),
        ((X, None), 24, "is NoneType"),
        ((X, object()), 24, "is object"),
        ((X, [[1, 2], [3]]), 24, "input 1 'b'"),
        ((X, [["a"]]), 23, "got <U1 values"),
        ((X, [[1j]]), 23, "complex"),
        ((X[0], Y), 22, "input 0 'a' of main; cause: got f32[3], a: f32[batch, 3] wanted"),
        ((X, Y[:, :2]), 22, "got f32[4, 2]"),
        ((X, Y[:2]), 22, "dimension 'batch' is 4 by axis 0 of input 'a', here it is 2"),
        ((X[:3], Y[:3]), 27, "'batch' is 3, by axis 0 of input 'a'; cause: it must be 2 to 8, a multiple"),
        ((random(10, 3), random(10, 3)), 27, "'batch' is 10"),
        ((random(0, 3), random(0, 3)), 27, "'batch' is 0"),
    ],
)  # fmt: skip
def test_wrong_inputs(arguments: tuple[Any, ...], code: int, message: str, module: Module) -> None:
    with pytest.raises(VmError) as caught:
        module.main(*arguments)
    assert caught.value.number == code
    assert caught.value.status == 2
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def convert(dtype: str, value: Any) -> Any:
    return Input(FunctionSpec("f", (tensor("x", dtype=dtype),), ()), 0)(value)


@pytest.mark.parametrize(
    ("dtype", "value", "wanted"),
    [
        ("f32", 3, np.float32(3)),
        ("f32", 0.5, np.float32(0.5)),
        ("f64", True, np.float64(1)),
        ("i64", [1, 2], np.array([1, 2])),
        ("i8", [1, -128], np.array([1, -128], np.int8)),
        ("ui8", [], np.array([], np.uint8)),
        ("i1", [True, False], np.array([True, False])),
        ("complex<f32>", 2.5, np.complex64(2.5)),
        ("f16", np.float16(2), np.float16(2)),
    ],
)
def test_python_values_take_the_dtype(dtype: str, value: Any, wanted: Any) -> None:
    got = convert(dtype, value)
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("i64", 1.5), ("i8", 200), ("ui8", -1), ("i1", 2), ("i32", 1 << 40), ("f32", np.float64(1))],
)
def test_python_values_that_do_not_fit(dtype: str, value: Any) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-023"):
        convert(dtype, value)


def test_booleans_are_made_0_or_1() -> None:
    got = convert("i1", np.array([0, 1, 2, 255], np.uint8).view(np.bool_))
    assert got.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_sub_byte_integers_are_packed() -> None:
    view = convert("i4", np.array([1, -1, 7], ml_dtypes.int4))
    assert view.shape == (3,)
    assert view.buffer.array.tolist() == [0xF1, 0x07]


def test_a_dimension_twice_in_one_input() -> None:
    spec = FunctionSpec("f", (tensor("x", "n", "n"),), ())
    check_inputs(spec, {"n": Dim()}, [np.zeros((2, 2))])
    with pytest.raises(VmError, match=r"IREE-VM-022.*'n' is 2 by axis 0 of input 'x', here it is 3"):
        check_inputs(spec, {"n": Dim()}, [np.zeros((2, 3))])


def test_static_shapes(module: Module) -> None:
    fixed = load(add_model(size=4))
    with pytest.raises(VmError, match=r"IREE-VM-022.*got f32\[5\], a: f32\[4\] wanted"):
        fixed.main(random(5), random(5))
