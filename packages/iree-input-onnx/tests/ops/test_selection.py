"""Results as long as the data says, and reads between elements, against onnxruntime."""

import numpy as np
import onnxruntime
import pytest

from iree_input_onnx.testing import one_node, run_model

RNG = np.random.default_rng(5)


def images(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def check(model, arrays, relative=1e-5, absolute=1e-5):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    wanted = session.run(None, dict(zip(names, arrays, strict=True)))
    for found, expected in zip(run_model(model, arrays), wanted, strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=relative, atol=absolute)


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4), (0,), (2, 0)])
@pytest.mark.parametrize("type", [np.float32, np.int64, np.bool_])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_non_zero(shape, type, share):
    x = (RNG.random(shape) < share).astype(type)
    check(one_node("NonZero", {"x": x}), [x])
    check(one_node("NonZero", {"x": x}, dims={"x": [f"d{i}" for i in range(len(shape))]}), [x])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("known", [False, True])
def test_compress(axis, known):
    x = images(4, 5)
    for keep in ([True, False, True, True], [False] * 4, [True, True]):
        condition = np.array(keep)
        attributes = {} if axis is None else {"axis": axis}
        given = ["condition"] if known else []
        model = one_node("Compress", {"x": x, "condition": condition}, attributes, constants=given)
        check(model, [x] if known else [x, condition])


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize(
    ("most", "overlap", "least"), [(3, 0.3, 0.0), (20, 0.6, 0.4), (0, 0.5, 0.0), (2, 0.0, -1.0)]
)
def test_non_max_suppression(center, most, overlap, least):
    corners = np.sort(RNG.random((2, 9, 2, 2)).astype(np.float32), axis=2)
    boxes = corners.reshape(2, 9, 4)
    scores = RNG.random((2, 3, 9)).astype(np.float32)
    inputs = {
        "boxes": boxes,
        "scores": scores,
        "most": np.array([most], np.int64),
        "overlap": np.array([overlap], np.float32),
        "least": np.array([least], np.float32),
    }
    model = one_node("NonMaxSuppression", inputs, {"center_point_box": center})
    check(model, list(inputs.values()))


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("aligned", [0, 1])
def test_grid_sample(mode, padding, aligned):
    x = images(2, 3, 5, 6)
    grid = (RNG.random((2, 4, 3, 2)).astype(np.float32) - np.float32(0.5)) * np.float32(2.8)
    attributes = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
    model = one_node("GridSample", {"x": x, "grid": grid}, attributes, opset=20)
    check(model, [x, grid], 2e-5, 2e-5)


def test_a_grid_may_hold_what_is_no_number():
    """Where it points is not said, but nothing outside is read."""
    x = images(1, 1, 3, 3)
    grid = np.array([[[[np.nan, 0.0], [np.inf, -np.inf]]]], np.float32)
    for padding in ("zeros", "border", "reflection"):
        run_model(
            one_node("GridSample", {"x": x, "grid": grid}, {"padding_mode": padding}, opset=20), [x, grid]
        )


@pytest.mark.parametrize("per_filter", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_qlinear_conv(per_filter, signed):
    kind = np.int8 if signed else np.uint8
    low, high = (-100, 100) if signed else (0, 200)
    scales = np.array([0.02, 0.03, 0.01, 0.04] if per_filter else 0.02, np.float32)
    inputs = {
        "x": RNG.integers(low, high, (1, 3, 6, 7)).astype(kind),
        "xs": np.array(0.05, np.float32),
        "xz": np.array(3, kind),
        "w": RNG.integers(-100, 100, (4, 3, 3, 3)).astype(np.int8),
        "ws": scales,
        "wz": np.zeros(scales.shape, np.int8),
        "ys": np.array(0.9, np.float32),
        "yz": np.array(7, kind),
        "b": RNG.integers(-500, 500, 4).astype(np.int32),
    }
    constants = [name for name in inputs if name != "x"]
    model = one_node("QLinearConv", inputs, {"pads": [1, 0, 1, 2], "strides": [1, 2]}, constants=constants)
    check(model, [inputs["x"]], 0, 1)  # a tie may round either way


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_tensor_scatter(mode):
    past, update = images(2, 3, 6, 4), images(2, 3, 2, 4)
    starts = np.array([3, 5 if mode == "circular" else 4], np.int64)
    inputs = {"past": past, "update": update, "starts": starts}
    model = one_node("TensorScatter", inputs, {"mode": mode}, opset=24)
    wanted = past.copy()
    for batch, start in enumerate(starts):
        for i in range(2):
            wanted[batch, :, (start + i) % 6] = update[batch, :, i]
    np.testing.assert_array_equal(run_model(model, list(inputs.values()))[0], wanted)
