"""Oracles: onnxruntime, and the standard's reference evaluator where onnxruntime lacks a type or is lax."""

import warnings

import numpy as np
import pytest

from iree_input_onnx.testing import by_onnxruntime, run_model


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
