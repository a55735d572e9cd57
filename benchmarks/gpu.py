"""The Vulkan target on a GPU beside torch on the same device, in one run.

    python benchmarks/gpu.py                          everything
    python benchmarks/gpu.py matmul_f32_4096 copy     some of it
    python benchmarks/gpu.py --models --json out.json the networks too

Our times are GPU timestamps around whole command buffers, torch's are CUDA events around CUDA graphs or
single calls; both are medians after warm-up, taken in turns. Every result is checked element by element
against float64 (through torch), and result memory starts as NaN, so that nothing unwritten passes.
``share`` is torch's time over ours: above 1 is faster than torch. Without a CUDA torch only our side runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import iree_flow
import iree_hal
import iree_vm
from iree_hal.recording import BindingRef, RecordingBuilder

Array = np.ndarray[Any, Any]
TARGET = "vulkan-spirv"
PROFILE = {"target_vulkan_profile": "device"}


@dataclass
class Case:
    """One measured operation: an ONNX graph, its inputs and what torch does for the same."""

    name: str
    model: Callable[[], Any]
    inputs: Callable[[np.random.Generator], list[Array]]
    peer: Callable[..., Any]
    """``peer(*cuda tensors) -> tensor`` on the device."""
    work: float = 0.0
    """Floating-point operations (``unit`` TFLOP/s) or bytes moved (GB/s)."""
    unit: str = "TFLOP/s"
    tolerance: float = 1e-4
    aim: float = 0.0
    """The share of torch to reach; 0 where it is only reported."""
    weights: int = 0
    """How many of the last inputs are constants of the model, as trained weights are."""
    channels_last: bool = False
    """torch keeps images as it likes them best."""


@dataclass
class Row:
    name: str
    ours_us: float = float("nan")
    torch_us: float = float("nan")
    rate: float = float("nan")
    torch_rate: float = float("nan")
    unit: str = ""
    share: float = float("nan")
    aim: float = 0.0
    error: float = float("nan")
    failure: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


def graph(nodes: Sequence[Any], inputs: Any, outputs: Any, initializers: Sequence[Any] = ()) -> Any:
    """An ONNX model; ``inputs`` and ``outputs`` are ``{name: (dtype, shape)}``."""
    import onnx
    from onnx import helper

    def values(table: dict[str, tuple[Any, Sequence[int]]]) -> list[Any]:
        return [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.dtype(d)), list(s))
            for n, (d, s) in table.items()
        ]

    made = helper.make_graph(list(nodes), "benchmark", values(inputs), values(outputs), list(initializers))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def binary(op: str, dtype: Any, a: Sequence[int], b: Sequence[int], out: Sequence[int]) -> Callable[[], Any]:
    """One node of two inputs."""
    from onnx import helper

    return lambda: graph(
        [helper.make_node(op, ["a", "b"], ["r"], name=op)],
        {"a": (dtype, a), "b": (dtype, b)},
        {"r": (dtype, out)},
    )


def unary(op: str, dtype: Any, shape: Sequence[int], **attributes: Any) -> Callable[[], Any]:
    """One node of one input and the same shape."""
    from onnx import helper

    return lambda: graph(
        [helper.make_node(op, ["a"], ["r"], name=op, **attributes)],
        {"a": (dtype, shape)},
        {"r": (dtype, shape)},
    )


def convolution(dtype: Any, batch: int, channels: int, plane: int) -> Callable[[], Any]:
    """3x3, padding 1; the weights are an input here, see :func:`with_constants`."""
    from onnx import helper

    x = (batch, channels, plane, plane)
    node = helper.make_node("Conv", ["a", "b"], ["r"], name="Conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    return lambda: graph(
        [node], {"a": (dtype, x), "b": (dtype, (channels, channels, 3, 3))}, {"r": (dtype, x)}
    )


def with_constants(model: Any, arrays: Sequence[Array]) -> Any:
    """``model`` with its last inputs as initializers: compilers lay constants out as they like."""
    from onnx import numpy_helper

    kept = len(model.graph.input) - len(arrays)
    for value, array in zip(list(model.graph.input)[kept:], arrays, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    return model


def layer_norm(rows: int, columns: int) -> Callable[[], Any]:
    from onnx import helper

    node = helper.make_node(
        "LayerNormalization", ["a", "s", "t"], ["r"], name="LayerNorm", axis=-1, epsilon=1e-5
    )
    return lambda: graph(
        [node],
        {"a": (np.float32, (rows, columns)), "s": (np.float32, (columns,)), "t": (np.float32, (columns,))},
        {"r": (np.float32, (rows, columns))},
    )


def chain(length: int, width: int) -> Callable[[], Any]:
    """``length`` dependent small products: nothing fuses, every dispatch waits for the one before."""
    from onnx import helper

    def make() -> Any:
        nodes = [
            helper.make_node(
                "MatMul", [f"x{i}" if i else "a", "b"], [f"x{i + 1}" if i + 1 < length else "r"], name=f"n{i}"
            )
            for i in range(length)
        ]
        return graph(
            nodes,
            {"a": (np.float32, (width, width)), "b": (np.float32, (width, width))},
            {"r": (np.float32, (width, width))},
        )

    return make


def normal(
    *shapes: Sequence[int], dtype: Any = np.float32, scale: float = 1.0
) -> Callable[[Any], list[Array]]:
    return lambda random: [
        (random.standard_normal(s, dtype=np.float32) * scale).astype(dtype) for s in shapes
    ]


def orthogonal(width: int) -> Callable[[Any], list[Array]]:
    """A start and a rotation: a hundred products keep their scale."""

    def make(random: Any) -> list[Array]:
        q, _ = np.linalg.qr(random.standard_normal((width, width)))
        return [random.standard_normal((width, width)).astype(np.float32), q.astype(np.float32)]

    return make


def cases() -> list[Case]:
    import torch
    import torch.nn.functional as F

    half, single = np.float16, np.float32
    found: list[Case] = []
    for n in (1024, 2048, 4096):
        flops = 2.0 * n**3
        found.append(
            Case(f"matmul_f32_{n}", binary("MatMul", single, (n, n), (n, n), (n, n)), normal((n, n), (n, n)),
                 torch.matmul, flops, aim=0.9 if n > 1024 else 0.0)
        )  # fmt: skip
        found.append(
            Case(f"matmul_f16_{n}", binary("MatMul", half, (n, n), (n, n), (n, n)),
                 normal((n, n), (n, n), dtype=half, scale=0.5), torch.matmul, flops, tolerance=2e-3,
                 aim=0.38 if n == 4096 else 0.0)
        )  # fmt: skip
    big = (1 << 28,)
    found.append(
        Case(
            "add",
            binary("Add", single, big, big, big),
            normal(big, big),
            torch.add,
            3.0 * (1 << 30),
            "GB/s",
            aim=0.97,
        )
    )
    found.append(
        Case("negate", unary("Neg", single, big), normal(big), torch.neg, 2.0 * (1 << 30), "GB/s", aim=0.97)
    )
    found.append(
        Case("softmax", unary("Softmax", single, (4096, 4096), axis=-1), normal((4096, 4096)),
             lambda a: torch.softmax(a, -1), 2.0 * 4 * 4096**2, "GB/s", aim=1.15)
    )  # fmt: skip
    found.append(
        Case("layer_norm", layer_norm(8192, 1024), normal((8192, 1024), (1024,), (1024,)),
             lambda a, s, t: F.layer_norm(a, (1024,), s, t, 1e-5), 2.0 * 4 * 8192 * 1024, "GB/s", aim=1.15)
    )  # fmt: skip
    flops = 2.0 * 8 * 256 * 256 * 9 * 56 * 56
    shapes = ((8, 256, 56, 56), (256, 256, 3, 3))
    found.append(
        Case("conv3x3_f16", convolution(half, 8, 256, 56), normal(*shapes, dtype=half, scale=0.1),
             lambda a, b: F.conv2d(a, b, padding=1), flops, tolerance=2e-3, aim=0.3, weights=1,
             channels_last=True)
    )  # fmt: skip
    found.append(
        Case("conv3x3_f32", convolution(single, 8, 256, 56), normal(*shapes, scale=0.1),
             lambda a, b: F.conv2d(a, b, padding=1), flops, weights=1, channels_last=True)
    )  # fmt: skip
    found.append(
        Case("transpose", lambda: graph(
            [__import__("onnx").helper.make_node("Transpose", ["a"], ["r"], name="T", perm=[1, 0])],
            {"a": (single, (8192, 4096))}, {"r": (single, (4096, 8192))}),
            normal((8192, 4096)), lambda a: a.t().contiguous(), 2.0 * 4 * 8192 * 4096, "GB/s")
    )  # fmt: skip

    def hundred(a: Any, b: Any) -> Any:
        for _ in range(100):
            a = a @ b
        return a

    found.append(
        Case("chain_100", chain(100, 32), orthogonal(32), hundred, 2.0 * 100 * 32**3, tolerance=1e-3)
    )
    return found


def gpu_times(device: Any, call: Callable[[], Any], repeats: int) -> list[float]:
    """Microseconds of the device's work in ``call``, by timestamps, ``repeats`` times; host copies apart."""
    times = []
    for _ in range(repeats):
        with device.profiling(per_dispatch=False) as profile:
            call()
        times.append(sum(profile.totals) / 1e3)
    return times


class Peer:
    """torch on the device: one captured graph per case."""

    def __init__(
        self, call: Callable[..., Any], inputs: Sequence[Array], channels_last: bool = False
    ) -> None:
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.tensors = [torch.from_numpy(a).cuda().to(memory_format=layout) for a in inputs]
        with torch.no_grad():
            for _ in range(3):
                self.result = call(*self.tensors)
            torch.cuda.synchronize()
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.result = call(*self.tensors)

    def times(self, repeats: int) -> list[float]:
        import torch

        found = []
        for _ in range(repeats):
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            self.graph.replay()
            end.record()
            torch.cuda.synchronize()
            found.append(start.elapsed_time(end) * 1e3)
        return found


def truth(case: Case, inputs: Sequence[Array], cuda: bool) -> Array:
    """The result in float64."""
    import torch

    where = "cuda" if cuda else "cpu"
    with torch.no_grad():
        result: Array = (
            case.peer(*[torch.from_numpy(a).to(where, torch.float64) for a in inputs]).cpu().numpy()
        )
    return result


def relative(ours: Array, expected: Array) -> float:
    """``max|a - b| / max|b|``; infinite when anything is NaN that should not be."""
    difference = np.abs(ours.astype(np.float64) - expected)
    return (
        float(np.max(difference) / max(np.max(np.abs(expected)), 1e-30))
        if np.isfinite(difference).all()
        else np.inf
    )


def output_name(module: Any) -> str:
    """The name of the only result of ``main``."""
    return str(module.main.signature.outputs[0].name)


def measure(case: Case, cuda: bool, repeats: int, profile: dict[str, Any]) -> Row:
    row = Row(case.name, unit=case.unit, aim=case.aim)
    inputs = case.inputs(np.random.default_rng(7))
    arguments = inputs[: len(inputs) - case.weights]
    model = with_constants(case.model(), inputs[len(arguments) :])
    started = time.perf_counter()
    artifact = iree_flow.compile(model, target=TARGET, **profile)
    row.notes["compile_s"] = round(time.perf_counter() - started, 3)
    row.notes["strategies"] = sorted({d.strategy for d in artifact.report.dispatches})
    started = time.perf_counter()
    module = iree_vm.load(artifact, device="vulkan")
    out = {}
    name = output_name(module)
    expected = truth(case, inputs, cuda)
    out[name] = np.full(expected.shape, np.nan, inputs[0].dtype)
    module.main(*arguments, out=out)
    row.notes["first_s"] = round(time.perf_counter() - started, 3)
    row.error = relative(out[name], expected)
    del expected
    ours = gpu_times(module.device, lambda: module.main(*arguments, out=out), 3)
    peer = Peer(case.peer, inputs, case.channels_last) if cuda else None
    ours, theirs = [], []
    for _ in range(3):
        ours += gpu_times(module.device, lambda: module.main(*arguments, out=out), repeats)
        if peer is not None:
            theirs += peer.times(repeats)
    row.ours_us = statistics.median(ours)
    scale = 1e6 if case.unit == "TFLOP/s" else 1e3
    row.rate = case.work / row.ours_us / scale
    if theirs:
        row.torch_us = statistics.median(theirs)
        row.torch_rate = case.work / row.torch_us / scale
        row.share = row.torch_us / row.ours_us
    if not row.error <= case.tolerance:
        row.failure = f"error {row.error:.2e}"
    module.unload()
    return row


def latency(profile: dict[str, Any]) -> Row:
    """Wall time of a call whose command buffer is reused, and the cost of a small dependent dispatch."""
    row = Row("latency", unit="us")
    x = np.ones(64, np.float32)
    artifact = iree_flow.compile(binary("Add", np.float32, (64,), (64,), (64,))(), target=TARGET, **profile)
    started = time.perf_counter()
    module = iree_vm.load(artifact, device="vulkan")
    module.main(x, x)
    row.notes["load_and_first_ms"] = round((time.perf_counter() - started) * 1e3, 2)
    times = []
    for _ in range(2000):
        begin = time.perf_counter_ns()
        module.main(x, x)
        times.append((time.perf_counter_ns() - begin) / 1e3)
    row.ours_us = statistics.median(times)
    row.notes["gpu_us"] = round(statistics.median(gpu_times(module.device, lambda: module.main(x, x), 50)), 2)
    module.unload()
    return row


def copy(cuda: bool, repeats: int, nbytes: int) -> Row:
    """A copy between two buffers of the device, as recordings do it.

    What the host maps moves to memory that it sees, so the two measured buffers are never mapped: a third
    one is filled by the host, and a fourth one read.
    """
    device: Any = iree_hal.create_device("vulkan")
    outer, source, target, result = (device.allocator.allocate(nbytes) for _ in range(4))
    data = np.arange(nbytes // 4, dtype=np.uint32)
    outer.map("w")[:] = data.view(np.uint8).data
    builder = RecordingBuilder(3, 0)
    zero, length = builder.const(0), builder.const(nbytes)
    builder.copy(BindingRef(1, zero, length), BindingRef(2, zero, length))
    commands = device.create_command_buffer(builder.finish(), ())
    device.execute(commands, [outer, source])

    def call() -> None:
        device.execute(commands, [source, target])

    row = Row("copy", unit="GB/s", aim=0.97)
    gpu_times(device, call, 3)
    theirs: list[float] = []
    peer = Peer(lambda a: a.clone(), [data.view(np.float32)]) if cuda else None
    ours = []
    for _ in range(3):
        ours += gpu_times(device, call, repeats)
        theirs += peer.times(repeats) if peer is not None else []
    row.ours_us = statistics.median(ours)
    row.rate = 2.0 * nbytes / row.ours_us / 1e3
    if theirs:
        row.torch_us = statistics.median(theirs)
        row.torch_rate = 2.0 * nbytes / row.torch_us / 1e3
        row.share = row.torch_us / row.ours_us
    device.execute(commands, [target, result])
    row.error = 0.0 if np.array_equal(np.frombuffer(result.map("r"), np.uint32), data) else float("inf")
    row.failure = "" if row.error == 0 else "wrong bytes"
    return row


def counts(profile: dict[str, Any]) -> Row:
    """Sizes around the limit of workgroup counts: 65,535 * 32 +- 1 elements, and more than 2^31 bytes."""
    row = Row("counts", unit="us")
    edge = 65535 * 32
    for n in (edge - 1, edge, edge + 1, (1 << 29) + 3):
        x = np.arange(n, dtype=np.uint32).astype(np.int32)
        artifact = iree_flow.compile(unary("Neg", np.int32, (n,))(), target=TARGET, **profile)
        module = iree_vm.load(artifact, device="vulkan")
        result = np.full(n, -1, np.int32)
        module.main(x, out={output_name(module): result})
        good = bool(np.array_equal(result, -x))
        row.notes[str(n)] = "right" if good else "WRONG"
        if not good:
            row.failure = f"{n} elements"
        module.unload()
    return row


def networks(cache: Path, cuda: bool, profile: dict[str, Any], repeats: int) -> list[Row]:
    """ResNet-50 at batch 1 and 8 and a MiniLM encoder, end to end against torch eager and compiled."""
    import torch

    torch.manual_seed(20)
    rows = []
    makers = {"resnet50_1": lambda: resnet(1), "resnet50_8": lambda: resnet(8), "minilm_1": minilm}
    for name, make in makers.items():
        rows.append(guarded(name, partial(network, name, make, cache, cuda, profile, repeats)))
        show(rows[-1])
    return rows


def network(
    name: str, make: Callable[[], Any], cache: Path, cuda: bool, profile: dict[str, Any], repeats: int
) -> Row:
    import torch

    row = Row(name, unit="us")
    model, arguments, names = make()
    path = cache / f"{name}.onnx"
    cache.mkdir(parents=True, exist_ok=True)
    export(model, arguments, names, path)
    with torch.no_grad():
        expected = first(model(*arguments)).numpy()
    started = time.perf_counter()
    artifact = iree_flow.compile(path, target=TARGET, **profile)
    row.notes["compile_s"] = round(time.perf_counter() - started, 2)
    row.notes["dispatches"] = len(artifact.report.dispatches)
    started = time.perf_counter()
    module = iree_vm.load(artifact, device="vulkan")
    inputs = [a.numpy() for a in arguments]
    result = first(module.main(*inputs))
    row.notes["first_result_s"] = round(time.perf_counter() - started, 2)
    started = time.perf_counter()
    again = iree_vm.load(artifact, device="vulkan")
    again.main(*inputs)
    row.notes["second_load_s"] = round(time.perf_counter() - started, 2)
    again.unload()
    row.notes.update(start_up(artifact, inputs, cache))
    row.error = relative(result, expected.astype(np.float64))
    if not row.error <= 1e-3:
        row.failure = f"error {row.error:.2e}"
    row.ours_us = statistics.median(gpu_times(module.device, lambda: module.main(*inputs), repeats))
    wall = []
    for _ in range(repeats):
        begin = time.perf_counter()
        module.main(*inputs)
        wall.append((time.perf_counter() - begin) * 1e6)
    row.notes["wall_us"] = round(statistics.median(wall), 1)
    row.notes["slowest"] = slowest(module.device, lambda: module.main(*inputs))
    module.unload()
    if cuda:
        model.cuda()
        there = [a.cuda() for a in arguments]
        with torch.no_grad():
            row.torch_us = eager(model, there, repeats)
            row.share = row.torch_us / row.ours_us
            captured = Peer(lambda *a: first(model(*a)), inputs)
            row.notes["torch_graph_us"] = round(statistics.median(captured.times(repeats)), 1)
            try:
                row.notes["torch_compile_us"] = round(eager(torch.compile(model), there, repeats), 1)
            except Exception as error:
                row.notes["torch_compile"] = str(error).splitlines()[0]
    return row


FIRST_CALL = """
import sys, time
import numpy as np
import iree_vm
arrays = list(np.load(sys.argv[2]).values())
started = time.perf_counter()
iree_vm.load(sys.argv[1], device="vulkan").main(*arrays)
print(time.perf_counter() - started)
"""


def start_up(artifact: Any, inputs: Sequence[Array], folder: Path) -> dict[str, float]:
    """Seconds from load to the first result in a fresh process: with an empty pipeline cache, then with it.

    The GPU driver's own cache on disk is off, so that the difference is ours.
    """
    found = {}
    with tempfile.TemporaryDirectory(dir=folder) as there:
        artifact.save(f"{there}/model.vmfb")
        np.savez(f"{there}/inputs.npz", *inputs)
        own = {"IREE_CACHE_DIR": f"{there}/cache", "__GL_SHADER_DISK_CACHE": "0"}
        for name in ("cold_first_s", "cached_first_s"):
            command = [sys.executable, "-c", FIRST_CALL, f"{there}/model.vmfb", f"{there}/inputs.npz"]
            done = subprocess.run(
                command, env={**os.environ, **own}, capture_output=True, text=True, check=True
            )
            found[name] = round(float(done.stdout), 3)
    return found


def guarded(name: str, run: Callable[[], Row]) -> Row:
    """What ``run`` gives, or a row that says how it failed: one failure does not end the run."""
    try:
        return run()
    except Exception as error:
        traceback.print_exc()
        return Row(name, failure=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")


def first(value: Any) -> Any:
    return value[0] if isinstance(value, (tuple, list)) else value


def slowest(device: Any, call: Callable[[], Any], count: int = 8) -> list[str]:
    with device.profiling() as profile:
        call()
    rows = sorted(profile.rows, key=lambda r: -r.nanoseconds)
    return [f"{r.export} {r.nanoseconds / 1e3:.1f}" for r in rows[:count]]


def eager(model: Any, arguments: Sequence[Any], repeats: int) -> float:
    import torch

    for _ in range(5):
        model(*arguments)
    times = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        model(*arguments)
        end.record()
        torch.cuda.synchronize()
        times.append(float(start.elapsed_time(end)) * 1e3)
    return statistics.median(times)


def resnet(batch: int) -> tuple[Any, Any, list[str]]:
    import timm
    import torch

    import topologies

    model = timm.create_model("resnet50", pretrained=False, zero_init_last=False)
    topologies.calibrate(model, (1, 3, 224, 224))
    images = topologies.images(np.random.default_rng(3), (batch, 3, 224, 224)).astype(np.float32)
    return model.eval(), (torch.from_numpy(images),), ["input"]


def minilm() -> tuple[Any, Any, list[str]]:
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        return_dict=False, attn_implementation="sdpa",
    )  # fmt: skip
    bert = BertModel(config, add_pooling_layer=False).eval()

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.bert(input_ids=ids, attention_mask=mask)[0]

    ids = torch.randint(0, 30522, (1, 128))
    return Encoder().eval(), (ids, torch.ones_like(ids)), ["input_ids", "attention_mask"]


def export(model: Any, arguments: Any, names: list[str], path: Path) -> None:
    import topologies

    topologies.save(topologies.Traced(model, tuple(arguments), tuple(names), ("output",)), path)


def show(row: Row) -> None:
    share = f"{row.share:6.3f}" if row.share == row.share else "     -"
    aim = f">= {row.aim:.2f}" if row.aim else ""
    print(
        f"{row.name:18} {row.ours_us:12.1f} us {row.rate:9.1f} {row.unit:8} torch {row.torch_us:12.1f} us "
        f"share {share} {aim:8} error {row.error:.1e} {row.failure} {row.notes or ''}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--models", action="store_true", help="the networks too")
    parser.add_argument("--cache", type=Path, default=Path("build/models"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--profile", default="device")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    import torch

    cuda = torch.cuda.is_available()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    profile = {"target_vulkan_profile": arguments.profile}
    if cuda:
        print(f"torch {torch.__version__} on {torch.cuda.get_device_name(0)}")
    rows = []
    wanted = set(arguments.names)
    todo: list[tuple[str, Callable[[], Row]]] = [
        (case.name, partial(measure, case, cuda, arguments.repeats, profile)) for case in cases()
    ]
    todo += [("copy", lambda: copy(cuda, arguments.repeats, 1 << 30 if cuda else 1 << 26))]
    todo += [("latency", lambda: latency(profile)), ("counts", lambda: counts(profile))]
    for name, run in todo:
        if wanted and name not in wanted:
            continue
        rows.append(guarded(name, run))
        show(rows[-1])
    if arguments.models:
        rows += networks(arguments.cache, cuda, profile, arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in rows], indent=1, default=str) + "\n")
    return 1 if any(r.failure for r in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
