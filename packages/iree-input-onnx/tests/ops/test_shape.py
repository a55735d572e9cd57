"""Ops that move elements: every result is an exact rearrangement, static or dynamic, constant or not."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from iree_input_onnx.testing import ImportedModel, one_node

RNG = np.random.default_rng(5)


def tensor(*shape, dtype=np.float32):
    return (RNG.standard_normal(shape) * 100).astype(dtype)


@pytest.fixture(params=["static", "dynamic"])
def rearranges(request, agree):
    """Checks one node with static and with unknown dims, shape inputs constant and not."""

    def check(op, inputs, attributes=None, *, constants=(), opset=18, outputs=1, unknown=True):
        arrays = [a for n, a in inputs.items() if n not in constants]
        dims = None
        if request.param == "dynamic":
            names = [n for n, a in inputs.items() if n not in constants and np.ndim(a)]
            dims = {n: [None] * np.ndim(inputs[n]) for n in names[:1]} if unknown else None
        model = one_node(op, inputs, attributes, constants=constants, opset=opset, outputs=outputs, dims=dims)
        agree(model, arrays)

    return check


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((2, 3, 4), (6, 4)),
        ((2, 3, 4), (2, 12)),
        ((2, 3, 4), (4, -1, 2)),
        ((2, 3, 4), (0, 0, 2, 2)),
        ((6, 4), (8, 3)),
        ((1, 5, 1), (5,)),
        ((5,), (1, 1, 5)),
        ((0, 4), (0, 2, 2)),
        ((1,), ()),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_reshape(rearranges, source, target, known):
    if not target and not known:
        pytest.skip("a declared size of 0 is taken as unknown, so the length of this shape is, too")
    inputs = {"x": tensor(*source), "shape": np.array(target, np.int64)}
    rearranges("Reshape", inputs, constants=["shape"] if known else [])


@pytest.mark.parametrize("axis", [0, 1, 2, -1, 3])
def test_flatten(rearranges, axis):
    rearranges("Flatten", {"x": tensor(2, 3, 5)}, {"axis": axis})


@pytest.mark.parametrize("opset", [7, 13])
def test_squeeze_and_unsqueeze(rearranges, opset):
    if opset < 13:
        rearranges("Squeeze", {"x": tensor(1, 3, 1, 5)}, {"axes": [0, 2]}, opset=opset)
        rearranges("Unsqueeze", {"x": tensor(3, 5)}, {"axes": [0, 3]}, opset=opset)
    else:
        axes = np.array([0, -2], np.int64)
        rearranges("Squeeze", {"x": tensor(1, 3, 1, 5), "a": axes}, constants=["a"], opset=opset)
        rearranges("Unsqueeze", {"x": tensor(3, 5), "a": axes}, constants=["a"], opset=opset)


@pytest.mark.parametrize("perm", [None, [2, 0, 1], [0, 2, 1], [0, 1, 2]])
@pytest.mark.parametrize("shape", [(2, 3, 5), (1, 4, 1)])
def test_transpose(rearranges, perm, shape):
    rearranges("Transpose", {"x": tensor(*shape)}, {} if perm is None else {"perm": perm})


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (3, 1), (1, 1)])
@pytest.mark.parametrize("known", [True, False])
def test_expand(rearranges, shape, known):
    inputs = {"x": tensor(3, 1), "shape": np.array(shape, np.int64)}
    rearranges("Expand", inputs, constants=["shape"] if known else [])


SLICES = [
    ([1], [4], [0], [1]),
    ([-3], [-1], [1], [1]),
    ([0, 1], [5, 100], [0, 1], [2, 3]),
    ([-1], [-100], [0], [-1]),
    ([10], [0], [1], [-2]),
    ([3], [1], [0], [1]),
    ([0], [2**63 - 1], [-1], [1]),
    ([-1], [-(2**63)], [-1], [-1]),
]


@pytest.mark.parametrize(("starts", "ends", "axes", "steps"), SLICES)
def test_slice(rearranges, starts, ends, axes, steps):
    parts = {"s": starts, "e": ends, "a": axes, "t": steps}
    inputs = {"x": tensor(5, 7), **{k: np.array(v, np.int64) for k, v in parts.items()}}
    rearranges("Slice", inputs, constants=list(parts))


def test_slice_attributes(rearranges):
    rearranges("Slice", {"x": tensor(5, 7)}, {"starts": [1, -4], "ends": [4, -1], "axes": [0, 1]}, opset=9)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_split(rearranges, axis):
    x = tensor(4, 6)
    rearranges("Split", {"x": x}, {"axis": axis}, opset=11, outputs=2)
    sizes = np.array([1, x.shape[axis] - 1], np.int64)
    rearranges("Split", {"x": x, "s": sizes}, {"axis": axis}, opset=13, outputs=2, constants=["s"])


def test_split_in_uneven_parts(rearranges):
    rearranges("Split", {"x": tensor(7, 2)}, {"num_outputs": 3}, outputs=3, unknown=False)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(rearranges, axis):
    shapes = [[3, 5], [3, 5], [3, 5]]
    for shape, size in zip(shapes, (2, 1, 4), strict=True):
        shape[axis] = size
    rearranges("Concat", {f"x{i}": tensor(*s) for i, s in enumerate(shapes)}, {"axis": axis})


@pytest.mark.parametrize("axis", [0, 1])
def test_concat_of_weights_is_a_weight(agree, axis):
    """Parts of weights put together again (as exported LSTMs do) are laid out when the artefact is written."""
    weights = tensor(200, 300)
    parts = {"a": weights[:120], "b": weights[:80]} if axis == 0 else {"a": weights[:, :120], "b": weights}
    width = sum(part.shape[axis] for part in parts.values())
    x = tensor(1, 300) if axis == 0 else tensor(1, width)
    node = helper.make_node("Concat", ["a", "b"], ["joined"], axis=axis)
    total = helper.make_node("Add", ["joined", "x"], ["y"])
    shape = [width, 300] if axis == 0 else [200, width]
    graph = helper.make_graph(
        [node, total],
        "weights",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.ascontiguousarray(part), name) for name, part in parts.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    agree(model, [x])
    assert "tensor.concat" not in [op.name for op in ImportedModel(model).module.walk()]


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [(1, 2, 0, 3), (0, 0, 2, 1)])
def test_pad(rearranges, mode, pads):
    inputs = {"x": tensor(4, 5), "p": np.array(pads, np.int64)}
    if mode == "constant":
        inputs["v"] = np.float32(7)
    rearranges("Pad", inputs, {"mode": mode}, constants=["p"], opset=19)


def test_pad_attributes(rearranges):
    rearranges("Pad", {"x": tensor(4, 5)}, {"pads": [1, 0, 0, 2], "value": 2.5}, opset=7)


def test_negative_pads_crop(rearranges):
    rearranges("Pad", {"x": tensor(4, 5), "p": np.array([-1, 2, 1, -3], np.int64)}, constants=["p"])


@pytest.mark.parametrize("repeats", [(1, 1), (2, 3), (1, 4), (0, 2)])
def test_tile(rearranges, repeats):
    rearranges("Tile", {"x": tensor(2, 3), "r": np.array(repeats, np.int64)}, constants=["r"])


@pytest.mark.parametrize("k", [0, 1, -2, 9])
@pytest.mark.parametrize("upper", [0, 1])
def test_trilu(rearranges, k, upper):
    rearranges("Trilu", {"x": tensor(2, 4, 5), "k": np.int64(k)}, {"upper": upper}, constants=["k"])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space_and_back(rearranges, mode):
    rearranges("DepthToSpace", {"x": tensor(2, 12, 3, 5)}, {"blocksize": 2, "mode": mode})
    rearranges("SpaceToDepth", {"x": tensor(2, 3, 4, 6)}, {"blocksize": 2})


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("known", [True, False])
def test_gather(rearranges, axis, dtype, known):
    indices = np.array([[0, -1], [2, 1]], dtype)
    rearranges(
        "Gather", {"x": tensor(4, 3, 5), "i": indices}, {"axis": axis}, constants=["i"] if known else []
    )


def test_gather_one(rearranges):
    rearranges("Gather", {"x": tensor(4, 3), "i": np.int64(-2)}, {"axis": 0}, constants=["i"])


@pytest.mark.parametrize("axis", [0, 1])
def test_gather_elements(rearranges, axis):
    indices = np.array([[0, -1, 2], [1, 1, 0]], np.int64)
    rearranges("GatherElements", {"x": tensor(3, 4), "i": indices}, {"axis": axis})


@pytest.mark.parametrize("batch", [0, 1])
def test_gather_nd(rearranges, batch):
    indices = np.array([[[0, 1]], [[1, -1]]], np.int64)
    rearranges("GatherND", {"x": tensor(2, 3, 4, 5), "i": indices}, {"batch_dims": batch}, unknown=False)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter(rearranges, reduction):
    x, indices = tensor(4, 5), np.array([[0], [-1], [2]], np.int64)
    inputs = {"x": x, "i": indices, "u": tensor(3, 5)}
    rearranges("ScatterND", inputs, {"reduction": reduction})
    elements = {"x": x, "i": np.array([[0, -2, 1]], np.int64), "u": tensor(1, 3)}
    rearranges("ScatterElements", elements, {"reduction": reduction, "axis": 1})


@pytest.mark.parametrize("axis", [0, -1])
def test_one_hot(rearranges, axis):
    inputs = {
        "i": np.array([[0, -1], [2, 7]], np.int64),
        "d": np.int64(4),
        "v": np.array([-1.5, 2.5], np.float32),
    }
    rearranges("OneHot", inputs, {"axis": axis}, constants=["d"])


def test_an_index_out_of_range_is_an_error_naming_the_node():
    from iree_base.errors import IreeError
    from iree_input_onnx.testing import run_model

    x, i = tensor(4, 5), np.array([1, 4], np.int64)
    with pytest.raises(IreeError) as caught:
        run_model(one_node("Gather", {"x": x, "i": i}), [x, i])
    assert "node" in str(caught.value)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_top_k(rearranges, largest, axis):
    inputs = {"x": tensor(5, 7), "k": np.array([3], np.int64)}
    rearranges("TopK", inputs, {"largest": largest, "axis": axis}, constants=["k"], outputs=2)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 2), (1, 1, 0.6, 1.7), (1, 1, 1, 3)])
def test_resize(agree, mode, coordinates, scales):
    x = tensor(1, 2, 5, 7)
    for nearest in ("floor", "round_prefer_ceil") if mode == "nearest" else ("floor",):
        inputs = {"x": x, "r": None, "s": np.array(scales, np.float32)}
        attributes = {
            "mode": mode,
            "coordinate_transformation_mode": coordinates,
            "nearest_mode": nearest,
        }
        agree(one_node("Resize", inputs, attributes, constants=["s"]), [x], rtol=1e-4)


@pytest.mark.parametrize("scale", [0.7, 0.1, 1.1])
def test_sizes_are_products_in_f32(agree, scale):
    """10 times the f32 next to 0.7 are 7 in f32, and a little less in f64."""
    inputs = {"x": tensor(1, 1, 10, 30), "r": None, "s": np.array((1, 1, scale, scale), np.float32)}
    agree(one_node("Resize", inputs, {"mode": "nearest"}, constants=["s"]), [inputs["x"]])


@pytest.mark.parametrize("nearest", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize(
    ("coordinates", "size", "wanted"),
    [("asymmetric", 7, 16), ("half_pixel", 20, 6), ("half_pixel", 14, 19), ("half_pixel", 3, 5)],
)
@pytest.mark.parametrize("known", [True, False])
def test_positions_between_two_pixels(agree, nearest, coordinates, size, wanted, known):
    """Position 8 of 7 to 16 pixels is 3.5, but 3.4999998 in f32."""
    x = tensor(1, 1, 1, size)
    inputs = {"x": x, "r": None, "s": None, "n": np.array([1, 1, 1, wanted])}
    attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": coordinates,
        "nearest_mode": nearest,
    }
    dims = {"x": list(x.shape) if known else [1, 1, 1, None]}
    agree(one_node("Resize", inputs, attributes, constants=["n"], dims=dims), [x])


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", ["asymmetric", "half_pixel"])
def test_resize_of_unknown_sizes(agree, mode, coordinates):
    x = tensor(1, 2, 5, 7)
    inputs = {"x": x, "r": None, "s": np.array((1, 1, 2, 3), np.float32)}
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": "floor"}
    dims = {"x": [1, 2, None, None]}
    agree(one_node("Resize", inputs, attributes, constants=["s"], dims=dims), [x], rtol=1e-4)


def test_upsample(agree):
    x = tensor(1, 2, 3, 4)
    agree(one_node("Upsample", {"x": x}, {"scales": [1.0, 1.0, 2.0, 3.0], "mode": "nearest"}, opset=7), [x])
