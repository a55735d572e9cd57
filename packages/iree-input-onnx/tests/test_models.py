"""Real models, imported and interpreted, against onnxruntime: at the outputs and at places inside.

The files are those of ``benchmarks/zoo.py``, looked for in ``build/models`` or ``IREE_MODELS``; one that is
not there is skipped (``python benchmarks/zoo.py`` makes them).
"""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from iree_input_onnx.testing import ImportedModel

ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("IREE_MODELS") or ROOT / "build" / "models")
TOLERANCE = 1e-4
"""Of how far the numbers of a tensor lie apart."""
ROUNDINGS = 32
"""So many roundings of its largest number are allowed at least: where all numbers are the same, none lie apart."""
SATURATING = ("Sigmoid", "Softmax", "HardSigmoid")
"""Their outputs near 0 say little; the tensors before them are compared instead."""

IMAGE = {"input": ((1, 3, 224, 224), "image")}
IDS = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), ((1, 128), "ids"))
MODELS = {
    "magika": {"bytes": ((1, 2048), "bytes")},
    "ocr_det": {"x": ((1, 3, 64, 96), "image")},
    "ocr_rec": {"x": ((1, 3, 48, 160), "image")},
    "ocr_cls": {"x": ((1, 3, 48, 192), "image")},
    "minilm": IDS,
    "mobilenetv2": IMAGE,
    "resnet50": IMAGE,
    "vit_s": IMAGE,
}


def feed(kind, shape, rng):
    if kind == "image":
        return (rng.random(shape) * 2 - 1).astype(np.float32)
    if kind == "bytes":
        return rng.integers(0, 257, shape, dtype=np.int32)
    return rng.integers(0, 2, shape, dtype=np.int64)


def probed(path, rng):
    """The model with eight tensors inside as further outputs, and which outputs to compare."""
    model = onnx.load(path)
    made = [(o, n.op_type) for n in model.graph.node if n.op_type != "Constant" for o in n.output if o]
    ends = {o.name for o in model.graph.output}
    before_ends = {i for n in model.graph.node if ends & set(n.output) for i in n.input}
    inner = [name for name, op in made if name not in ends and op not in SATURATING]
    picked = [inner[i] for i in rng.choice(len(inner), 8, replace=False)]
    picked += [name for name in inner if name in before_ends and name not in picked]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in picked)
    saturated = {name for name, op in made if op in SATURATING}
    return model, [o.name not in saturated for o in model.graph.output]


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_numbers_are_those_of_onnxruntime(name, dynamic):
    path = CACHE / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rng = np.random.default_rng(0)
    model, compared = probed(path, rng)
    inputs = MODELS[name]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    shapes = {} if dynamic else {n: shape for n, (shape, _) in inputs.items()}
    imported = ImportedModel(model, shapes)
    arrays = {n: feed(kind, shape, rng) for n, (shape, kind) in inputs.items()}
    wanted = session.run(None, arrays)
    got = imported(*(arrays[n] for n in imported.input_names))
    for ours, theirs, counts in zip(got, wanted, compared, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        if counts and theirs.dtype.kind == "f" and theirs.size > 1:
            reference = theirs.astype(np.float64)
            spread = np.abs(reference - reference.mean()).max()
            rounding = np.finfo(theirs.dtype).eps * np.abs(reference).max()
            assert np.abs(ours - reference).max() <= max(TOLERANCE * spread, ROUNDINGS * rounding)
