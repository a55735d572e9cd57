"""Oracles: onnxruntime, and the standard's reference evaluator where onnxruntime lacks a type or is lax."""

import warnings

import numpy as np
import onnxruntime
import pytest

from iree_input_onnx.testing import run_model


def by_onnxruntime(model, arrays):
    """Outputs of onnxruntime, None where it has no kernel for the model."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        if "NOT_IMPLEMENTED" in str(error) or "INVALID_GRAPH" in str(error):
            return None
        raise
    names = [value.name for value in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))


def by_reference(model, arrays):
    """Outputs of onnx.reference."""
    from onnx.reference import ReferenceEvaluator

    names = [value.name for value in model.graph.input]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))


def assert_same(got, wanted, rtol=2e-6, atol=1e-6):
    """Equal shapes and dtypes; floats close (relative to the largest number), everything else equal."""
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        b = np.asarray(b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        if a.dtype.kind == "f":
            scale = np.abs(b[np.isfinite(b)]).max(initial=1.0)
            narrow = 2e-3 if a.dtype == np.float16 else 0.0
            np.testing.assert_allclose(a, b, rtol=max(rtol, narrow), atol=max(atol, narrow) * float(scale))
        else:
            np.testing.assert_array_equal(a, b)


@pytest.fixture
def agree():
    """``agree(model, arrays)``: our outputs are those of an independent implementation."""

    def check(model, arrays, oracle=None, **tolerances):
        given = [np.asarray(a) for a in arrays if a is not None]
        wanted = None if oracle == "reference" else by_onnxruntime(model, given)
        if wanted is None:
            wanted = by_reference(model, given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # infinities and NaN are part of the data
            assert_same(run_model(model, given), wanted, **tolerances)

    return check
