"""What is read is what the protobuf library reads; any bytes are read or refused with a code."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from iree_input_onnx import messages
from iree_input_onnx.errors import OnnxError
from iree_input_onnx.messages import DATA, Message, Model, Tensor, integers
from iree_input_onnx.testing import ImportedModel

STANDARD = {
    messages.Entry: onnx.StringStringEntryProto,
    messages.OperatorSet: onnx.OperatorSetIdProto,
    messages.Tensor: onnx.TensorProto,
    messages.SparseTensor: onnx.SparseTensorProto,
    messages.Dimension: onnx.TensorShapeProto.Dimension,
    messages.Shape: onnx.TensorShapeProto,
    messages.TensorType: onnx.TypeProto.Tensor,
    messages.Type: onnx.TypeProto,
    messages.ValueInfo: onnx.ValueInfoProto,
    messages.Graph: onnx.GraphProto,
    messages.Attribute: onnx.AttributeProto,
    messages.Node: onnx.NodeProto,
    messages.Function: onnx.FunctionProto,
    messages.Model: onnx.ModelProto,
}


@pytest.mark.parametrize("ours", STANDARD, ids=lambda c: c.__name__)
def test_fields_have_the_numbers_of_the_standard(ours):
    theirs = STANDARD[ours].DESCRIPTOR.fields_by_number
    assert ours.fields
    for key, field in ours.fields.items():
        found = theirs[key >> 3]
        assert found.name == field.name
        if field.kind is not DATA:
            assert found.is_repeated == field.repeated
            default = getattr(STANDARD[ours](), field.name)
            if not field.repeated and not isinstance(field.kind, type) and field.name != "segment":
                assert getattr(ours, field.name) == default


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def same(a, b):
    """Two messages hold the same, data of tensors aside."""
    if not isinstance(a, Message):
        assert a == b
        return
    assert type(a) is type(b)
    for name, kind, repeated in a.fields.values():
        if kind is DATA or name == "segment":
            continue
        assert a.has(name) == b.has(name), name
        x, y = getattr(a, name, None), getattr(b, name, None)
        if repeated:
            assert len(x) == len(y)
            for one, other in zip(x, y, strict=True):
                same(one, other)
        else:
            same(x, y)


def everything():
    """A model with every field that is read."""
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.standard_normal((20, 30)).astype(np.float32), "w")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(2, np.float32), "v"),
        numpy_helper.from_array(np.array([1, 5]), "i"),
        [2, 3],
    )
    external = onnx.TensorProto(name="e", data_type=1, dims=[4], data_location=1)
    external.external_data.add(key="location", value="somewhere")
    value = helper.make_tensor_value_info("x", 1, ["batch", 3, None])
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(7, []))
    inner = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "inner", [], [value])
    given = {
        "f": 0.5, "i": -3, "s": "text", "t": weights, "g": inner, "tp": kind, "sp": sparse,
        "floats": [0.5, -1.5], "ints": [-1, 0, 1 << 40], "strings": ["a", "ü"], "tensors": [weights, weights],
        "graphs": [inner], "tps": [kind], "sps": [sparse],
    }  # fmt: skip
    node = helper.make_node("Op", ["x", "", "y"], ["z"], "näme", "a doc", "a.domain", overload="o", **given)
    node.attribute.add(name="ref", ref_attr_name="outer", type=2)
    graph = helper.make_graph([node], "g", [value], [value], [weights, external], sparse_initializer=[sparse])
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("a.domain", 1)]
    function = helper.make_function("a.domain", "F", ["p"], ["q"], [node], sets, ["k"], [node.attribute[1]])
    return helper.make_model(graph, functions=[function], opset_imports=sets, producer_name="us")


def test_bytes_and_protos_are_read_alike():
    model = everything()
    same(Model.read(memoryview(model.SerializeToString())), Model.of(model))


def test_data_stays_where_it_is():
    array = np.arange(5000, dtype=np.float32)
    nested = np.arange(1000, dtype=np.float64)
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(nested, "n"))
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(array, "w")])
    data = helper.make_model(graph).SerializeToString()
    read = Model.read(memoryview(data)).graph
    for tensor, wanted in ((read.initializer[0], array), (read.node[0].attribute[0].t, nested)):
        offset, view = tensor.raw_data
        assert view == wanted.tobytes()
        assert data[offset : offset + len(view)] == wanted.tobytes()


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_numbers_come_packed_or_one_by_one(values):
    packed = onnx.AttributeProto(ints=values).SerializeToString()
    plain = b"".join(varint(8 << 3) + varint(v % (1 << 64)) for v in values)
    together = field(8, b"".join(varint(v % (1 << 64)) for v in values))
    assert integers(memoryview(together), len(together), len(together)) == []
    for data in (packed, plain, together):
        assert list(messages.Attribute.read(memoryview(data)).ints) == values
        assert list(onnx.AttributeProto.FromString(data).ints) == values


def test_a_message_in_parts_is_their_sum():
    parts = [onnx.ValueInfoProto(name="x"), onnx.ValueInfoProto()]
    parts[0].type.tensor_type.elem_type = 1
    parts[1].type.tensor_type.shape.dim.add(dim_value=3)
    data = b"".join(part.SerializeToString() for part in parts)
    same(
        messages.ValueInfo.read(memoryview(data)),
        messages.ValueInfo.of(onnx.ValueInfoProto.FromString(data)),
    )


def test_elements_in_several_places_are_all_found():
    """Writers pack elements; readers must also take them one by one and in parts."""
    head = onnx.TensorProto(name="w", data_type=7, dims=[4]).SerializeToString()
    for parts in (
        [field(7, b"\1\2"), field(7, b"\3\4")],
        [varint(7 << 3) + bytes([i]) for i in (1, 2, 3, 4)],
    ):
        tensor = head + b"".join(parts)
        model = helper.make_model(
            helper.make_graph(
                [helper.make_node("Identity", ["w"], ["y"])],
                "g",
                [],
                [helper.make_tensor_value_info("y", 7, [4])],
            ),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=10,
        )
        data = model.SerializeToString() + field(7, field(5, tensor))
        (got,) = ImportedModel(data)()
        assert got.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a text that is none", field(3, b"\xff\xfe")),
        ("a length behind the end", field(3, b"abc")[:-1]),
        ("a number without an end", b"\x18\xff"),
        ("a number of too many digits", b"\x18" + b"\xff" * 10 + b"\x01"),
        ("a float without an end", b"\x15\0\0"),
        ("a group", b"\x0b\x0c"),
    ],
)
def test_damage_is_told(name, data):
    with pytest.raises(OnnxError) as caught:
        messages.Node.read(memoryview(data))
    assert caught.value.code == "IREE-ONNX-003", name


def test_nesting_without_an_end():
    data = b""
    for _ in range(200):
        data = field(5, field(6, field(1, data)))
    with pytest.raises(OnnxError) as caught:
        messages.Node.read(memoryview(data))
    assert caught.value.code == "IREE-ONNX-003"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data):
    for kind in (Model, Tensor, messages.Attribute, messages.Type):
        try:
            kind.read(memoryview(data))
        except OnnxError as error:
            assert error.code == "IREE-ONNX-003"


def test_what_is_not_looked_at_is_skipped():
    data = everything().SerializeToString() + field(99, b"new") + varint(98 << 3) + b"\5"
    assert Model.read(memoryview(data)).graph.name == "g"
