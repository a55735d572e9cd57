"""The data rules that only the whole path can show: from an ONNX node to what a compiled function returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from onnx import TensorProto, helper

import iree_flow
import iree_vm
from iree_base import debug
from iree_base.errors import IreeError
from iree_hal import BufferView

Array = np.ndarray[Any, Any]
F32, BOOL = TensorProto.FLOAT, TensorProto.BOOL
I8, I32, I64 = TensorProto.INT8, TensorProto.INT32, TensorProto.INT64


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> iree_vm.Artifact:
    return iree_flow.compile(tiny.mlp(tmp_path_factory.mktemp("mlp") / "mlp.onnx"))


@pytest.fixture(scope="module")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> iree_vm.Artifact:
    return iree_flow.compile(tiny.convolution(tmp_path_factory.mktemp("conv") / "convolution.onnx"))


@pytest.fixture
def node(tmp_path: Path) -> Callable[..., Any]:
    """``node("Add", [(F32, (4,)), (F32, (4,))], (F32, (4,)))``: a compiled function of one ONNX node."""

    def make(op: str, inputs: list[tuple[int, Any]], output: tuple[int, Any], **attributes: Any) -> Any:
        names = [f"x{number}" for number in range(len(inputs))]
        declared = [(name, *entry) for name, entry in zip(names, inputs, strict=True)]
        nodes = [helper.make_node(op, names, ["y"], **attributes)]
        path = tiny.save(tmp_path / f"{op}.onnx", nodes, declared, [("y", *output)])
        return iree_vm.load(iree_flow.compile(path)).main

    return make


X = np.random.default_rng(3).standard_normal((6, 8)).astype(np.float32)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda x: x.astype(">f4"), id="big-endian"),
        pytest.param(lambda x: np.asfortranarray(x), id="column-major"),
        pytest.param(lambda x: np.repeat(x, 2, axis=0)[::2], id="every-other-row"),
        pytest.param(lambda x: x[::-1].copy()[::-1], id="reversed"),
        pytest.param(
            lambda x: np.frombuffer(b"\0" * 4 + x.tobytes(), np.float32, offset=4).reshape(x.shape),
            id="element-aligned-and-read-only",
        ),
    ],
)
def test_any_array_of_the_right_values_is_accepted(
    mlp: iree_vm.Artifact, given: Callable[[Array], Array]
) -> None:
    main = iree_vm.load(mlp).main
    value = given(X)
    before = value.copy()
    np.testing.assert_array_equal(main(value), main(X))
    np.testing.assert_array_equal(value, before)


def test_results_are_dense_row_major(mlp: iree_vm.Artifact) -> None:
    result = iree_vm.load(mlp).main(X)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous


def test_zero_sized_batches_run_no_dispatch(mlp: iree_vm.Artifact) -> None:
    result = iree_vm.load(mlp).main(np.zeros((0, 8), np.float32))
    assert result.shape == (0, 4)


def test_rank_zero_is_one_element(node: Callable[..., Any]) -> None:
    add = node("Add", [(F32, ()), (F32, ())], (F32, ()))
    result = add(np.array(1.5, np.float32), np.array(2.0, np.float32))
    assert result.shape == ()
    assert result == 3.5


def test_booleans_are_normalized(node: Callable[..., Any]) -> None:
    both = node("And", [(BOOL, (4,)), (BOOL, (4,))], (BOOL, (4,)))
    odd = np.array([2, 0, 255, 1], np.uint8).view(np.bool_)
    ones = np.ones(4, np.bool_)
    np.testing.assert_array_equal(both(odd, ones).view(np.uint8), [1, 0, 1, 1])


@pytest.mark.parametrize("name", ["mlp", "convolution"])
def test_results_do_not_depend_on_threads_or_order(name: str, request: pytest.FixtureRequest) -> None:
    artifact = request.getfixturevalue(name)
    shape = (37, 8) if name == "mlp" else (1, 3, 12, 12)
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    alone = iree_vm.load(artifact, threads=1).main(x)
    for threads in (2, 5):
        np.testing.assert_array_equal(iree_vm.load(artifact, threads=threads).main(x), alone)
    np.testing.assert_array_equal(iree_vm.load(artifact, device="local-sync").main(x), alone)
    with debug.verify():  # tiles in another order, unused memory full of NaN
        np.testing.assert_array_equal(iree_vm.load(artifact).main(x), alone)


@pytest.mark.parametrize("device", ["local-sync", "local-task"])
def test_denormals_flush_in_kernels_and_nowhere_else(tmp_path: Path, device: str) -> None:
    nodes = [helper.make_node("Mul", ["x", "x1"], ["y"])]
    shape = (4096,)
    path = tiny.save(
        tmp_path / "mul.onnx", nodes, [("x", F32, shape), ("x1", F32, shape)], [("y", F32, shape)]
    )
    multiply = iree_vm.load(iree_flow.compile(path), device=device).main
    small, half = np.full(shape, 1.5e-38, np.float32), np.full(shape, 0.5, np.float32)
    assert (multiply(small, half) == 0).all()
    assert (small * half > 0).all(), "the caller's own arithmetic keeps denormals"


def test_nan_and_infinities_mean_what_they_mean(mlp: iree_vm.Artifact, node: Callable[..., Any]) -> None:
    x = X.copy()
    x[1, 3] = np.nan
    result = iree_vm.load(mlp).main(x)
    assert np.isnan(result[1]).all()
    assert np.isfinite(np.delete(result, 1, axis=0)).all()
    shape = (5,)
    given = np.array([np.inf, -np.inf, 0.0, -0.0, 1e30], np.float32)
    divide = node("Div", [(F32, shape), (F32, shape)], (F32, shape))
    by = np.array([np.inf, 1, 0, 1, 1e-30], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(divide(given, by), given / by)
    assert np.signbit(divide(given, by)[3])


def test_integer_division_is_defined_everywhere(node: Callable[..., Any]) -> None:
    divide = node("Div", [(I32, (6,)), (I32, (6,))], (I32, (6,)))
    low = np.iinfo(np.int32).min
    a = np.array([7, -7, 7, low, 0, 5], np.int32)
    b = np.array([2, 2, 0, -1, 0, -2], np.int32)
    result = divide(a, b)
    np.testing.assert_array_equal(result[[0, 1, 5]], [3, -3, -2])
    np.testing.assert_array_equal(divide(a, b), result)


def test_floats_to_integers_saturate(node: Callable[..., Any]) -> None:
    cast = node("Cast", [(F32, (6,))], (I32, (6,)), to=I32)
    given = np.array([1e20, -1e20, np.inf, -np.inf, 1.9, -1.9], np.float32)
    top, low = np.iinfo(np.int32).max, np.iinfo(np.int32).min
    np.testing.assert_array_equal(cast(given), [top, low, top, low, 1, -1])


def test_an_output_may_not_share_memory_with_an_input(mlp: iree_vm.Artifact, tmp_path: Path) -> None:
    """Either refused, or copied so that the answer is right; never wrong."""
    path = tiny.add(tmp_path / "add.onnx")
    main = iree_vm.load(iree_flow.compile(path)).main
    x = np.arange(4, dtype=np.float32)
    try:
        result = main(x, out={"y": x})
    except iree_vm.VmError as error:
        assert error.number == 25  # out= cannot be used
        np.testing.assert_array_equal(x, np.arange(4))
    else:
        np.testing.assert_array_equal(result, np.arange(4) + 1)


def test_offsets_beyond_31_bits_are_reached(node: Callable[..., Any]) -> None:
    """A table of 3 GiB, of which only the rows that are asked for are ever touched."""
    rows, width = 3 << 20, 1024
    lookup = node("Gather", [(I8, (rows, width)), (I64, (3,))], (I8, (3, width)), axis=0)
    table = np.zeros((rows, width), np.int8)
    asked = np.array([rows - 1, 0, (2 << 20) + 1], np.int64)
    for number, row in enumerate(asked):
        table[row] = np.arange(width) % 100 + number
    np.testing.assert_array_equal(lookup(table, asked), table[asked])


COMPLEX = """
func.func @main(%a: tensor<3xcomplex<f32>> {iree.name = "a"}) -> (tensor<3xcomplex<f32>>, tensor<3xf32>, tensor<2xcomplex<f32>>) {
  %empty = tensor.empty() : tensor<3xcomplex<f32>>
  %parts = tensor.empty() : tensor<3xf32>
  %k = arith.constant dense<[(1.5, -2.0), (0.25, 4.0)]> : tensor<2xcomplex<f32>>
  %r, %i = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
                           iterator_types = ["parallel"]}
      ins(%a : tensor<3xcomplex<f32>>) outs(%empty, %parts : tensor<3xcomplex<f32>>, tensor<3xf32>) {
  ^bb0(%x: complex<f32>, %o: complex<f32>, %p: f32):
    %0 = complex.mul %x, %x : complex<f32>
    %1 = complex.im %x : complex<f32>
    linalg.yield %0, %1 : complex<f32>, f32
  } -> (tensor<3xcomplex<f32>>, tensor<3xf32>)
  return %r, %i, %k : tensor<3xcomplex<f32>>, tensor<3xf32>, tensor<2xcomplex<f32>>
}"""


def test_complex_values_are_interleaved() -> None:
    """Real and imaginary part side by side: at the boundary, in constants, and for a function's arithmetic."""
    artifact = iree_flow.compile(COMPLEX, target="reference")
    pairs = np.array([1, 2, -3, 0.5, 0, -1], np.float32)
    given = pairs.view(np.complex64)
    squares, imaginary, constant = iree_vm.load(artifact).main(given)
    assert squares.dtype == np.complex64
    np.testing.assert_allclose(squares, given * given, rtol=1e-6)
    np.testing.assert_array_equal(imaginary, pairs[1::2])
    np.testing.assert_array_equal(constant.view(np.float32), [1.5, -2.0, 0.25, 4.0])
    view = BufferView.from_numpy(given)
    assert bytes(view.buffer.map("r")) == pairs.astype("<f4").tobytes()
    stored = np.array([1.5, -2.0, 0.25, 4.0], "<f4").tobytes()
    constants = [name for name in artifact.members if name.startswith("constants/")]
    assert any(stored in bytes(artifact.member(name)) for name in constants)


def test_complex_values_are_refused_where_kernels_hold_none() -> None:
    with pytest.raises(IreeError, match="complex") as caught:
        iree_flow.compile(COMPLEX, target="llvm-cpu")
    assert caught.value.status == 1
