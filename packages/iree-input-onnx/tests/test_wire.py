"""Stripping keeps every byte but large data, and says truthfully where that data lies."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from iree_input_onnx.errors import OnnxError
from iree_input_onnx.wire import MIN_BYTES, SELF, encode_varint, strip


def model_with(*tensors, nested=()):
    nodes = [helper.make_node("Constant", [], [f"c{i}"], value=t) for i, t in enumerate(nested)]
    graph = helper.make_graph(nodes, "g", [], [], list(tensors))
    return helper.make_model(graph)


def entries(tensor):
    return {e.key: e.value for e in tensor.external_data}


@pytest.mark.parametrize("count", [0, 1, MIN_BYTES // 4 - 1, MIN_BYTES // 4, 5000])
def test_large_raw_data_is_cut_out_and_found_again(count):
    array = np.arange(count, dtype=np.float32)
    data = model_with(numpy_helper.from_array(array, "w")).SerializeToString()
    stripped = onnx.ModelProto.FromString(strip(memoryview(data)))
    (tensor,) = stripped.graph.initializer
    if array.nbytes < MIN_BYTES:
        assert strip(memoryview(data)) == data
        return
    where = entries(tensor)
    assert where["location"] == SELF
    offset, length = int(where["offset"]), int(where["length"])
    assert data[offset : offset + length] == array.tobytes()
    assert list(tensor.dims) == [count]
    assert len(strip(memoryview(data))) < 300


def test_data_inside_nodes_is_found_too():
    arrays = [np.arange(1000, dtype=np.float64), np.ones(3, np.float32), np.arange(999, dtype=np.int32)]
    data = model_with(nested=[numpy_helper.from_array(a, "w") for a in arrays]).SerializeToString()
    stripped = onnx.ModelProto.FromString(strip(memoryview(data)))
    tensors = [node.attribute[0].t for node in stripped.graph.node]
    for tensor, array in zip(tensors, arrays, strict=True):
        if array.nbytes < MIN_BYTES:
            assert numpy_helper.to_array(tensor).tolist() == array.tolist()
        else:
            where = entries(tensor)
            start = int(where["offset"])
            assert data[start : start + int(where["length"])] == array.tobytes()


@given(st.integers(0, 2**63 - 1))
def test_varints_read_back(value):
    from iree_input_onnx.wire import _varint

    data = memoryview(encode_varint(value))
    assert _varint(data, 0, len(data)) == (value, len(data))


@given(st.binary(max_size=300))
def test_any_bytes_are_stripped_or_refused(data):
    try:
        result = strip(memoryview(data))
    except OnnxError as error:
        assert error.code == "IREE-ONNX-003"
    else:
        assert result == data
