"""Attention becomes one op where that can say it, else what the standard's body says; both mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_input_onnx.testing import ImportedModel

SHAPES = {"Q": (2, 4, 5, 8), "K": (2, 2, 7, 8), "V": (2, 2, 7, 6)}


def model(shapes: dict[str, tuple[int, ...]], outputs: int = 1, **attributes: Any) -> Any:
    names = ["Q", "K", "V", "attn_mask", "past_key", "past_value"]
    given = [name if name in shapes else "" for name in names]
    types = {"attn_mask": TensorProto.BOOL} if attributes.pop("boolean", False) else {}
    inputs = [helper.make_tensor_value_info(n, types.get(n, TensorProto.FLOAT), s) for n, s in shapes.items()]
    results = ["Y", "present_key", "present_value", "scores"][:outputs]
    node = helper.make_node("Attention", given, results, **attributes)
    made = [helper.make_tensor_value_info(r, TensorProto.FLOAT, [None] * len(shapes["Q"])) for r in results]
    graph = helper.make_graph([node], "attention", inputs, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def arrays_for(proto: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for value in proto.graph.input:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        array = rng.standard_normal(shape).astype(np.float32)
        boolean = value.type.tensor_type.elem_type == TensorProto.BOOL
        found[value.name] = array > 0 if boolean else array
    return found


def check(proto: Any, whole: bool, arrays: dict[str, Any] | None = None) -> list[Any]:
    """``whole``: it is one op; the numbers are those of onnx's reference."""
    onnx.checker.check_model(proto)
    imported = ImportedModel(proto)
    ops = [op for op in imported.module.walk() if isinstance(op, Attention)]
    assert bool(ops) == whole
    arrays = arrays_for(proto) if arrays is None else arrays
    expected = ReferenceEvaluator(proto).run(None, arrays)
    found = imported(*arrays.values())
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    return list(found)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_heads_share_keys(causal: int, scale: float | None) -> None:
    given = {} if scale is None else {"scale": scale}
    check(model(SHAPES, is_causal=causal, **given), True)


def test_heads_side_by_side_in_rows() -> None:
    shapes = {"Q": (2, 5, 32), "K": (2, 7, 16), "V": (2, 7, 12)}
    check(model(shapes, q_num_heads=4, kv_num_heads=2), True)


@pytest.mark.parametrize("mask", [(5, 7), (2, 1, 5, 7), (4, 5, 7), (1, 7)])
@pytest.mark.parametrize("boolean", [False, True])
def test_masks(mask: tuple[int, ...], boolean: bool) -> None:
    check(model({**SHAPES, "attn_mask": mask}, boolean=boolean), True)


def test_a_row_without_keys_is_zero_and_one_with_nan_is_not() -> None:
    proto = model({**SHAPES, "attn_mask": (5, 7)})
    arrays = arrays_for(proto)
    arrays["attn_mask"][1] = -np.inf
    arrays["Q"][0, 0, 3, 0] = np.nan
    (found,) = check(proto, True, arrays)
    assert (found[:, :, 1] == 0).all() and np.isnan(found[0, 0, 3]).all()


def test_a_cache_is_joined() -> None:
    shapes = {**SHAPES, "past_key": (2, 2, 3, 8), "past_value": (2, 2, 3, 6)}
    check(model(shapes, outputs=3), True)


@pytest.mark.parametrize("attributes", [{"softcap": 2.0}, {"outputs": 4}])
def test_the_rest_is_the_standards_body(attributes: dict[str, Any]) -> None:
    shapes = {**SHAPES, "past_key": (2, 2, 3, 8), "past_value": (2, 2, 3, 6)}
    check(model(shapes if "outputs" in attributes else SHAPES, **attributes), False)
