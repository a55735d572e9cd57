"""Models are read from paths, bytes and protos; weights stay where they are; bad files get a code."""

import tracemalloc

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from iree_core_ir.constants import ConstantStore
from iree_input_onnx.errors import OnnxError
from iree_input_onnx.frontend import OnnxFrontend
from iree_input_onnx.reader import NEWEST_OPSET, OLDEST_OPSET, read
from iree_input_onnx.testing import ImportedModel

ARRAYS = {
    "f32": np.arange(600, dtype=np.float32),
    "f64": np.arange(600, dtype=np.float64),
    "f16": np.arange(600, dtype=np.float16),
    "i64": np.arange(-300, 300, dtype=np.int64),
    "u8": np.arange(600, dtype=np.uint16).astype(np.uint8).repeat(3),
    "b": np.arange(1800) % 3 == 0,
    "small": np.arange(5, dtype=np.int32),
}


def holding(tensors):
    """A model that returns all its initializers."""
    nodes = [helper.make_node("Identity", [t.name], [f"{t.name}_out"]) for t in tensors]
    outputs = [helper.make_tensor_value_info(f"{t.name}_out", t.data_type, list(t.dims)) for t in tensors]
    graph = helper.make_graph(nodes, "g", [], outputs, list(tensors))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def initializers():
    return [numpy_helper.from_array(array, name) for name, array in ARRAYS.items()]


def check(source):
    for name, got in zip(ARRAYS, ImportedModel(source)(), strict=True):
        assert got.dtype == ARRAYS[name].dtype
        assert np.array_equal(got, ARRAYS[name])


def test_the_same_numbers_from_path_bytes_and_proto(tmp_path):
    model = holding(initializers())
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    check(path)
    check(str(path))
    check(path.read_bytes())
    check(memoryview(bytearray(path.read_bytes())))
    check(model)


def test_typed_fields_hold_the_same_numbers():
    tensors = []
    for name, array in ARRAYS.items():
        code = helper.np_dtype_to_tensor_dtype(array.dtype)
        tensors.append(helper.make_tensor(name, code, array.shape, array.tolist()))
    model = holding(tensors)
    check(model)
    check(model.SerializeToString())


def test_external_data_beside_the_model(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(
        holding(initializers()), path, save_as_external_data=True, location="weights.bin", size_threshold=64
    )
    assert path.stat().st_size < 3000
    check(path)


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "", "missing.bin", "a\0b", "\x01self"])
def test_external_data_elsewhere_is_refused(tmp_path, location):
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "m.onnx"
    path.write_bytes(holding([tensor]).SerializeToString())
    if location == "\x01self":  # bytes of the model itself: harmless, and bounds-checked
        ImportedModel(path)
        return
    with pytest.raises(OnnxError) as caught:
        ImportedModel(path)
    assert caught.value.code == "IREE-ONNX-009"


@pytest.mark.parametrize(
    ("offset", "length"), [("0", "17"), ("8", "16"), ("-4", "16"), ("x", "16"), ("0", "12")]
)
def test_external_ranges_are_checked(tmp_path, offset, length):
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=value)
    (tmp_path / "w.bin").write_bytes(bytes(16))
    path = tmp_path / "m.onnx"
    path.write_bytes(holding([tensor]).SerializeToString())
    with pytest.raises(OnnxError) as caught:
        ImportedModel(path)
    assert caught.value.code in ("IREE-ONNX-008", "IREE-ONNX-009")


def loaded_in_little(path):
    """The constants of the model at ``path``, ``w`` in the file, after a load that took under 1 MiB."""
    OnnxFrontend().load(path, ConstantStore())  # imports everything that is imported once
    tracemalloc.start()
    constants = ConstantStore()
    OnnxFrontend().load(path, constants)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    assert constants["w"].kind == "file"
    return constants


def test_weights_of_a_file_are_not_copied(tmp_path):
    weights = np.zeros(8 << 20, np.uint8).view(np.float32)
    path = tmp_path / "m.onnx"
    path.write_bytes(holding([numpy_helper.from_array(weights, "w")]).SerializeToString())
    assert loaded_in_little(path)["w"].path == str(path)


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4])
def test_weights_of_less_than_a_byte_are_neither(tmp_path, dtype):
    """They are read when the artefact is written."""
    weights = numpy_helper.from_array(np.zeros((2048, 4096), dtype), "w")
    scale = helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, [])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["y"])]
    graph = helper.make_graph(nodes, "g", [scale], [output], [weights])
    path = tmp_path / "m.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    loaded_in_little(path)


@pytest.mark.parametrize("field", ["op_type", "name", "doc_string", "input"])
def test_what_should_be_text_is(field):
    model = holding(initializers())
    node = model.graph.node[0]
    if field == "input":
        node.input.append("PLACE")
    else:
        setattr(node, field, "PLACE")
    with pytest.raises(OnnxError) as caught:
        read(model.SerializeToString().replace(b"PLACE", b"\xff" * 5))
    assert caught.value.code == "IREE-ONNX-003"
    assert f"NodeProto.{field}" in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(OnnxError) as caught:
        read(tmp_path / "nothing.onnx")
    assert caught.value.code == "IREE-ONNX-001"
    with pytest.raises(OnnxError) as caught:
        read(tmp_path)
    assert caught.value.code == "IREE-ONNX-001"


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(50), b"import os\n", b"{}", b"\xff" * 999]
)
def test_other_files_are_no_onnx(tmp_path, data):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    with pytest.raises(OnnxError) as caught:
        read(path)
    assert caught.value.code == "IREE-ONNX-002"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, NEWEST_OPSET + 1])
def test_other_versions_of_the_operator_set(opset):
    model = holding([])
    model.graph.output.add(name="x")
    model.opset_import[0].version = opset
    with pytest.raises(OnnxError) as caught:
        read(model)
    assert caught.value.code == "IREE-ONNX-012"


def test_a_newer_format():
    model = holding(initializers())
    model.ir_version = onnx.IR_VERSION + 1
    with pytest.raises(OnnxError) as caught:
        read(model)
    assert caught.value.code == "IREE-ONNX-012"


@pytest.mark.parametrize(
    "broken",
    [
        {"dims": [3], "raw_data": bytes(8)},
        {"dims": [-1], "raw_data": b""},
        {"dims": [1 << 40, 1 << 40], "raw_data": b""},
        {"dims": [1] * 60, "raw_data": bytes(4)},
        {"dims": [2], "float_data": [1.0]},
    ],
)
def test_constants_that_contradict_themselves(broken):
    tensor = TensorProto(name="w", data_type=1, **broken)
    model = holding([])
    model.graph.initializer.append(tensor)
    with pytest.raises(OnnxError) as caught:
        ImportedModel(model)
    assert caught.value.code == "IREE-ONNX-008"
    assert "w" in str(caught.value)


def test_sparse_initializers():
    values = numpy_helper.from_array(np.array([1.5, -2.0], np.float32), "s")
    indices = numpy_helper.from_array(np.array([1, 5], np.int64), "i")
    model = holding([])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
    model.graph.node.append(helper.make_node("Identity", ["s"], ["y"]))
    model.graph.output.append(helper.make_tensor_value_info("y", 1, [2, 3]))
    (got,) = ImportedModel(model)()
    assert got.tolist() == [[0, 1.5, 0], [0, 0, -2.0]]
