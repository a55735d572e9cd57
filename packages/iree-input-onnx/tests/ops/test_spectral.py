"""Fourier transforms against numpy, pooled boxes against onnxruntime."""

import numpy as np
import onnxruntime
import pytest

from iree_input_onnx.testing import one_node, run_model

RNG = np.random.default_rng(5)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(found, wanted):
    np.testing.assert_allclose(found, np.stack([wanted.real, wanted.imag], -1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("length", [None, 5, 8, 11])
@pytest.mark.parametrize("kind", ["forward", "inverse", "onesided"])
def test_dft(parts, axis, length, kind):
    x = numbers(2, 8, 7, parts)
    value = x[..., 0] + (1j * x[..., 1] if parts == 2 else 0)
    attributes = {"inverse": int(kind == "inverse"), "onesided": int(kind == "onesided")}
    n = np.array(length if length is not None else x.shape[axis], np.int64)
    inputs = {"x": x, "n": n, "axis": np.array(axis, np.int64)}
    model = one_node("DFT", inputs, attributes, opset=20, constants=("n", "axis"))
    function = np.fft.ifft if kind == "inverse" else np.fft.fft
    wanted = function(value, None if length is None else length, axis)
    if kind == "onesided":
        wanted = np.take(wanted, np.arange(int(n) // 2 + 1), axis)
    close(run_model(model, [x])[0], wanted)


@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("onesided", [0, 1])
def test_stft(windowed, onesided):
    x = numbers(2, 50, 1)
    window = np.hanning(16).astype(np.float32)
    inputs = {
        "x": x,
        "step": np.array(7, np.int64),
        "window": window if windowed else None,
        "length": np.array(16, np.int64),
    }
    constants = [name for name in inputs if name != "x"]
    model = one_node("STFT", inputs, {"onesided": onesided}, constants=constants)
    frames = np.stack([x[:, i * 7 : i * 7 + 16, 0] for i in range(5)], 1) * (window if windowed else 1)
    close(run_model(model, [x])[0], np.fft.rfft(frames) if onesided else np.fft.fft(frames))


@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("reduction", ["avg", "max"])
def test_roi_align(mode, ratio, reduction):
    x = numbers(2, 3, 9, 11)
    rois = np.array([[0, 0, 8, 8], [2.5, 1, 20, 17.5], [-9, -9, 3, 4], [5, 5, 5.2, 5.1]], np.float32)
    inputs = {"x": x, "rois": rois, "batch": np.array([0, 1, 1, 0], np.int64)}
    attributes = {
        "coordinate_transformation_mode": mode,
        "sampling_ratio": ratio,
        "mode": reduction,
        "output_height": 3,
        "output_width": 2,
        "spatial_scale": 0.5,
    }
    model = one_node("RoiAlign", inputs, attributes)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, inputs)[0]
    np.testing.assert_allclose(run_model(model, list(inputs.values()))[0], wanted, rtol=1e-4, atol=1e-5)


def test_boxes_of_images_that_are_not_there_read_nothing_outside():
    inputs = {
        "x": numbers(1, 1, 3, 3),
        "rois": np.full((2, 4), np.nan, np.float32),
        "batch": np.array([7, -3]),
    }
    run_model(one_node("RoiAlign", inputs, {"sampling_ratio": 1}), list(inputs.values()))
