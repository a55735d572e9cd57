"""``block-channels``: images in blocks of channels mean what the images meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pass_runs import call, floats, names, run

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import linalg
from iree_core_ir.ir.types import TensorType
from iree_core_ir.passes.canonicalize import Canonicalize
from iree_core_ir.text.parser import parse_module
from iree_flow import fusion
from iree_flow.channel_blocks import constant_of
from iree_flow.passes.block_channels import BlockChannels
from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg
from iree_flow.passes.drop_unit_dims import DropUnitDims
from iree_flow.passes.form_dispatch_regions import FormDispatchRegions
from iree_flow.passes.fuse_elementwise import FuseElementwise
from iree_flow.passes.sink_reshapes import SinkReshapes

LANES = 4


class Graph:
    """The text of a function on images, one op after the other; weights go to the constant store."""

    def __init__(self, *inputs: tuple[str, str]) -> None:
        self.inputs = inputs
        self.lines = ["%zero = arith.constant 0.0 : f32", "%low = arith.constant 0xFF800000 : f32"]
        self.constants = ConstantStore()
        self.shapes: dict[str, list[Any]] = {}
        self.types = dict(inputs)
        self.n = 0

    def type(self, value: str) -> str:
        return self.types[value]

    def sizes(self, value: str) -> list[str]:
        return self.type(value).removeprefix("tensor<").removesuffix("xf32>").split("x")

    def add(self, text: str, type: str) -> str:
        name = f"%v{self.n}"
        self.n += 1
        self.lines.append(f"{name} = {text}")
        self.types[name] = type
        return name

    def weights(self, *shape: int) -> str:
        rng = np.random.default_rng(self.n)
        array = (rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype(np.float32)
        key = self.constants.add_array(array)
        type = f"tensor<{'x'.join(map(str, shape))}xf32>"
        return self.add(f"arith.constant dense_resource<{key}> : {type}", type)

    def empty(self, type: str, like: str) -> str:
        """A destination; dynamic sizes are those of ``like`` (a window keeps them)."""
        sizes = type.removeprefix("tensor<").removesuffix("xf32>").split("x")
        dims = []
        for axis, size in enumerate(sizes):
            if size == "?":
                at = self.add(f"arith.constant {axis} : index", "index")
                dims.append(self.add(f"tensor.dim {like}, {at} : {self.type(like)}", "index"))
        return self.add(f"tensor.empty({', '.join(dims)}) : {type}", type)

    def filled(self, type: str, like: str, value: str = "%zero") -> str:
        empty = self.empty(type, like)
        return self.add(f"linalg.fill ins({value} : f32) outs({empty} : {type}) -> {type}", type)

    def pad(self, x: str, by: int, value: str = "%zero") -> str:
        n, c, h, w = self.sizes(x)
        grown = [s if s == "?" else str(int(s) + 2 * by) for s in (h, w)]
        type = f"tensor<{n}x{c}x{'x'.join(grown)}xf32>"
        text = (
            f"tensor.pad {x} low[0, 0, {by}, {by}] high[0, 0, {by}, {by}] {{\n"
            f"^bb0(%i{self.n}: index, %j{self.n}: index, %k{self.n}: index, %l{self.n}: index):\n"
            f"tensor.yield {value} : f32\n}} : {self.type(x)} to {type}"
        )
        return self.add(text, type)

    def window(self, op: str, x: str, w: str, channels: str, kernel: int, stride: int, start: str) -> str:
        n, _, height, width = self.sizes(x)
        out = [s if s == "?" else str((int(s) - kernel) // stride + 1) for s in (height, width)]
        type = f"tensor<{n}x{channels}x{'x'.join(out)}xf32>"
        target = self.filled(type, self.source.get(x, x), start)
        text = (
            f"linalg.{op} {{dilations = dense<1> : tensor<2xi64>, strides = dense<{stride}> : tensor<2xi64>}} "
            f"ins({x}, {w} : {self.type(x)}, {self.type(w)}) outs({target} : {type}) -> {type}"
        )
        return self.add(text, type)

    @property
    def source(self) -> dict[str, str]:
        """A padded image -> the image: dynamic sizes of a same-sized convolution are those before the pad."""
        found = {}
        for line in self.lines:
            if "= tensor.pad " in line:
                found[line.split(" = ")[0]] = line.split("tensor.pad ")[1].split(" ")[0]
        return found

    def conv(self, x: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
        own = int(self.sizes(x)[1])
        if kernel > 1:
            x = self.pad(x, kernel // 2)
        w = self.weights(channels, own, kernel, kernel)
        return self.bias(self.window("conv_2d_nchw_fchw", x, w, str(channels), kernel, stride, "%zero"))

    def depthwise(self, x: str, kernel: int = 3, stride: int = 1) -> str:
        own = self.sizes(x)[1]
        x = self.pad(x, kernel // 2)
        w = self.weights(int(own), kernel, kernel)
        return self.bias(self.window("depthwise_conv_2d_nchw_chw", x, w, own, kernel, stride, "%zero"))

    def pool(self, x: str, kind: str, kernel: int, stride: int, by: int = 0) -> str:
        start = "%low" if kind == "max" else "%zero"
        if by:
            x = self.pad(x, by, start)
        type = f"tensor<{kernel}x{kernel}xf32>"
        window = self.add(f"tensor.empty() : {type}", type)
        return self.window(f"pooling_nchw_{kind}", x, window, self.sizes(x)[1], kernel, stride, start)

    def generic(self, result: str, operands: list[tuple[str, str]], body: str) -> str:
        """``body`` yields %r from %a, %b, ...; operands come with the text of their map."""
        target = self.empty(result, operands[0][0])
        maps = [f"affine_map<(n, c, h, w) -> ({m})>" for _, m in operands]
        maps.append("affine_map<(n, c, h, w) -> (n, c, h, w)>")
        args = ", ".join(f"%{'abcd'[i]}: f32" for i in range(len(operands)))
        values, types = ", ".join(v for v, _ in operands), ", ".join(self.type(v) for v, _ in operands)
        text = (
            f"linalg.generic {{indexing_maps = [{', '.join(maps)}], "
            f'iterator_types = ["parallel", "parallel", "parallel", "parallel"]}} '
            f"ins({values} : {types}) outs({target} : {result}) {{\n^bb0({args}, %o: f32):\n{body}\n"
            f"linalg.yield %r : f32\n}} -> {result}"
        )
        return self.add(text, result)

    def bias(self, x: str) -> str:
        b = self.weights(int(self.sizes(x)[1]), 1, 1)
        return self.generic(self.type(x), [(x, "n, c, h, w"), (b, "c, 0, 0")], "%r = arith.addf %a, %b : f32")

    def each(self, x: str, body: str) -> str:
        return self.generic(self.type(x), [(x, "n, c, h, w")], body)

    def relu(self, x: str) -> str:
        return self.each(x, "%r = arith.maximumf %a, %zero : f32")

    def sigmoid(self, x: str) -> str:
        """Not zero at zero."""
        return self.each(
            x,
            "%one = arith.constant 1.0 : f32\n%m = arith.negf %a : f32\n%e = math.exp %m : f32\n"
            "%s = arith.addf %e, %one : f32\n%r = arith.divf %one, %s : f32",
        )

    def join(self, a: str, b: str) -> str:
        same = "n, c, h, w"
        return self.generic(self.type(a), [(a, same), (b, same)], "%r = arith.addf %a, %b : f32")

    def gate(self, x: str, g: str) -> str:
        operands = [(x, "n, c, h, w"), (g, "n, c, 0, 0")]
        return self.generic(self.type(x), operands, "%r = arith.mulf %a, %b : f32")

    def mean(self, x: str) -> str:
        """Sums of all pixels, as ``[N][C]``."""
        n, c = self.sizes(x)[:2]
        type = f"tensor<{n}x{c}xf32>"
        target = self.filled(type, x)
        text = (
            "linalg.generic {indexing_maps = [affine_map<(n, c, h, w) -> (n, c, h, w)>, "
            "affine_map<(n, c, h, w) -> (n, c)>], "
            'iterator_types = ["parallel", "parallel", "reduction", "reduction"]} '
            f"ins({x} : {self.type(x)}) outs({target} : {type}) {{\n^bb0(%a: f32, %o: f32):\n"
            f"%r = arith.addf %o, %a : f32\nlinalg.yield %r : f32\n}} -> {type}"
        )
        return self.add(text, type)

    def squeeze(self, x: str) -> str:
        """A gate ``[N][C][1][1]`` from the sums of all pixels."""
        n, c = self.sizes(x)[:2]
        type = f"tensor<{n}x{c}x1x1xf32>"
        sums = self.mean(x)
        at = "%zero_index" if n == "?" else None
        size = n
        if at is not None:
            axis = self.add("arith.constant 0 : index", "index")
            size = self.add(f"tensor.dim {x}, {axis} : {self.type(x)}", "index")
        text = f"tensor.expand_shape {sums} [[0], [1, 2, 3]] output_shape [{size}, {c}, 1, 1] : {self.type(sums)} into {type}"
        return self.sigmoid(self.add(text, type))

    def concat(self, *parts: str) -> str:
        n, _, h, w = self.sizes(parts[0])
        total = sum(int(self.sizes(p)[1]) for p in parts)
        type = f"tensor<{n}x{total}x{h}x{w}xf32>"
        types = ", ".join(self.type(p) for p in parts)
        return self.add(f"tensor.concat dim(1) {', '.join(parts)} : ({types}) -> {type}", type)

    def repeat(self, x: str, times: int) -> str:
        """Every row and column several times, as the frontend writes it."""
        for axis in (2, 3):
            s = self.sizes(x)
            groups = [[0], [1], [2, 3], [4]] if axis == 2 else [[0], [1], [2], [3, 4]]
            apart = [[0], [1], [2], [3, 4]]
            thin = [*s[: axis + 1], "1", *s[axis + 1 :]]
            wide = [*s[: axis + 1], str(times), *s[axis + 1 :]]
            grown = [*s[:axis], str(int(s[axis]) * times), *s[axis + 1 :]]
            a, b, c = (f"tensor<{'x'.join(t)}xf32>" for t in (thin, wide, grown))
            first = self.add(
                f"tensor.expand_shape {x} {apart} output_shape [{', '.join(thin)}] : {self.type(x)} into {a}",
                a,
            )
            target = self.empty(b, first)
            read = ", ".join("0" if i == axis + 1 else "abcde"[i] for i in range(5))
            five = '"parallel", ' * 4 + '"parallel"'
            second = self.add(
                f"linalg.generic {{indexing_maps = [affine_map<(a, b, c, d, e) -> ({read})>, "
                f"affine_map<(a, b, c, d, e) -> (a, b, c, d, e)>], iterator_types = [{five}]}} "
                f"ins({first} : {a}) outs({target} : {b}) {{\n^bb0(%a: f32, %o: f32):\nlinalg.yield %a : f32\n}} -> {b}",
                b,
            )
            x = self.add(f"tensor.collapse_shape {second} {groups} : {b} into {c}", c)
        return x

    def enlarge(self, x: str, channels: int, by: int, bias: bool = False) -> str:
        """A transposed convolution whose window is its stride, as the frontend writes it."""
        n, own, h, w = self.sizes(x)
        weights = self.weights(1, int(own), channels, by, by)
        a = f"tensor<{n}x1x{own}x{h}x{w}xf32>"
        b = f"tensor<{n}x1x{channels}x{h}x{by}x{w}x{by}xf32>"
        c = f"tensor<{n}x{channels}x{int(h) * by}x{int(w) * by}xf32>"
        groups = "[[0], [1, 2], [3], [4]]"
        shape = ", ".join((n, "1", own, h, w))
        first = self.add(
            f"tensor.expand_shape {x} {groups} output_shape [{shape}] : {self.type(x)} into {a}", a
        )
        target = self.filled(b, first)
        loops, parallel = "n, g, f, y, i, x, j, c", '"parallel", ' * 7
        second = self.add(
            f"linalg.generic {{indexing_maps = [affine_map<({loops}) -> (n, g, c, y, x)>, "
            f"affine_map<({loops}) -> (g, c, f, i, j)>, affine_map<({loops}) -> (n, g, f, y, i, x, j)>], "
            f'iterator_types = [{parallel}"reduction"]}} '
            f"ins({first}, {weights} : {a}, {self.type(weights)}) outs({target} : {b}) {{\n"
            "^bb0(%a: f32, %b: f32, %o: f32):\n%m = arith.mulf %a, %b : f32\n%r = arith.addf %o, %m : f32\n"
            f"linalg.yield %r : f32\n}} -> {b}",
            b,
        )
        if bias:
            numbers = self.weights(1, channels, 1, 1, 1, 1)
            seven = "n, g, f, y, i, x, j"
            end = self.empty(b, second)
            second = self.add(
                f"linalg.generic {{indexing_maps = [affine_map<({seven}) -> ({seven})>, "
                f"affine_map<({seven}) -> (g, f, 0, 0, 0, 0)>, affine_map<({seven}) -> ({seven})>], "
                f"iterator_types = [{parallel.removesuffix(', ')}]}} "
                f"ins({second}, {numbers} : {b}, {self.type(numbers)}) outs({end} : {b}) {{\n"
                "^bb0(%a: f32, %b: f32, %o: f32):\n%r = arith.addf %a, %b : f32\n"
                f"linalg.yield %r : f32\n}} -> {b}",
                b,
            )
        return self.add(f"tensor.collapse_shape {second} [[0], [1, 2], [3, 4], [5, 6]] : {b} into {c}", c)

    def interpolate(self, x: str) -> str:
        """Rows between rows, by tables of indices and factors."""
        n, c, h, w = self.sizes(x)
        out = 2 * int(h) - 1
        index = np.arange(out) // 2
        key = self.constants.add_array(index.astype(np.int64))
        tables = f"tensor<{out}xi64>"
        table = self.add(f"arith.constant dense_resource<{key}> : {tables}", tables)
        type = f"tensor<{n}x{c}x{out}x{w}xf32>"
        target = self.empty(type, x)
        text = (
            "linalg.generic {indexing_maps = [affine_map<(n, c, h, w) -> (h)>, "
            "affine_map<(n, c, h, w) -> (n, c, h, w)>], "
            'iterator_types = ["parallel", "parallel", "parallel", "parallel"]} '
            f"ins({table} : {tables}) outs({target} : {type}) {{\n^bb0(%t: i64, %o: f32):\n"
            "%n = linalg.index 0 : index\n%c = linalg.index 1 : index\n%w = linalg.index 3 : index\n"
            "%h = arith.index_cast %t : i64 to index\n"
            f"%r = tensor.extract {x}[%n, %c, %h, %w] : {self.type(x)}\n"
            f"linalg.yield %r : f32\n}} -> {type}"
        )
        return self.add(text, type)

    def text(self, *results: str) -> str:
        args = ", ".join(f"{name}: {type}" for name, type in self.inputs)
        types = ", ".join(self.type(r) for r in results)
        body = "\n  ".join(self.lines)
        values = ", ".join(results)
        return f"func.func @main({args}) -> ({types}) {{\n  {body}\n  return {values} : {types}\n}}"


def blocked(graph: Graph, *results: str, clean: bool = True, **options: Any) -> Any:
    """The module in blocks, after the passes that follow."""
    after = [Canonicalize(), DropUnitDims(), FuseElementwise(), SinkReshapes(), FuseElementwise()]
    return run(
        graph.text(*results),
        ConvertElementwiseToLinalg(),
        BlockChannels(lanes=LANES, **{"always": True, **options}),
        *(after if clean else []),
        constants=graph.constants,
        clean=clean,
    )


def check(graph: Graph, *results: str, inputs: list[Any], special: bool = True) -> Any:
    """Same results with and without blocks, also where there are infinities; the module in blocks."""
    module = blocked(graph, *results)
    before = parse_module(graph.text(*results), constants=graph.constants)
    cases = [inputs]
    if special:
        cases.append([x.copy() for x in inputs])
        cases[-1][0].flat[[0, -1]] = np.inf, np.nan
    for case in cases:
        with np.errstate(all="ignore"):
            expected = call(before, *case, constants=graph.constants)
            for got, want in zip(call(module, *case, constants=graph.constants), expected, strict=True):
                np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)
    return module


def convolutions(module: Any) -> list[Any]:
    return [op for op in module.walk() if fusion.kind_of(op) == fusion.CONVOLUTION]


def image(shape: str) -> Graph:
    return Graph(("%x", f"tensor<{shape}xf32>"))


@pytest.mark.parametrize("batch", [1, 3])
def test_residual_blocks_of_dense_convolutions(batch: int) -> None:
    g = image(f"{batch}x3x13x11")
    x = g.pool(g.relu(g.conv("%x", 8, 7, 2)), "max", 3, 2, by=1)
    y = g.relu(g.conv(x, 4))
    y = g.relu(g.conv(y, 4, 3))
    x = g.relu(g.join(g.conv(y, 16), g.conv(x, 16)))
    y = g.relu(g.conv(x, 4, 3, 2))
    out = g.mean(g.relu(g.join(g.conv(y, 16), g.conv(x, 16, 1, 2))))
    module = check(g, out, inputs=floats((batch, 3, 13, 11)))
    # Nothing but the network's result leaves, and the stem reads the image as it is: no transposes.
    ranks = {len(op.iterator_types) for op in convolutions(module)}
    assert ranks == {8, 9}
    assert not any(isinstance(op, linalg.Transpose) for op in module.walk())


def conv_shapes(module: Any) -> list[tuple[Any, ...]]:
    return [op.inputs[1].type.shape for op in convolutions(module)]


@pytest.mark.parametrize("channels", [6, 8])
def test_inverted_residuals_with_channels_that_do_not_fill_their_blocks(channels: int) -> None:
    g = image("1x3x9x10")
    x = g.sigmoid(g.conv("%x", channels, 3, 2))
    y = g.relu(g.conv(x, 3 * channels))
    y = g.relu(g.depthwise(y))
    x = g.join(x, g.conv(y, channels))
    y = g.sigmoid(g.depthwise(x, 5))
    out = g.conv(y, 10)
    module = check(g, out, inputs=floats((1, 3, 9, 10)))
    assert (2, 3, 3, LANES) in conv_shapes(module) or channels == 8 or (2, 5, 5, LANES) in conv_shapes(module)


def test_squeeze_and_excite() -> None:
    for batch in (1, 2):
        g = image(f"{batch}x8x5x6")
        x = g.conv("%x", 12, 3)
        x = g.gate(x, g.squeeze(x))
        out = g.conv(x, 8)
        module = check(g, out, inputs=floats((batch, 8, 5, 6)))
        # The gate of one image is multiplied into the weights, which are fewer.
        scaled = [op for op in convolutions(module) if constant_of(op.inputs[1]) is None]
        assert len(scaled) == (batch == 1)


def test_a_gate_whose_channels_do_not_fill_their_blocks() -> None:
    g = image("2x8x5x6")
    x = g.conv("%x", 6, 3)
    x = g.gate(x, g.squeeze(x))
    check(g, g.conv(x, 8), inputs=floats((2, 8, 5, 6)))


def test_an_image_times_itself_is_no_gate() -> None:
    g = image("1x8x9x9")
    x = g.relu(g.conv("%x", 8))
    operands = [(x, "n, c, h, w"), (x, "n, c, h, w")]
    x = g.generic(g.type(x), operands, "%r = arith.mulf %a, %b : f32")
    check(g, g.conv(x, 8), inputs=floats((1, 8, 9, 9)), special=False)


@pytest.mark.parametrize("kind", ["max", "sum"])
def test_pooling(kind: str) -> None:
    g = image("1x8x9x7")
    x = g.conv("%x", 6, 3)
    x = g.pool(x, kind, 3, 2, by=1)
    check(g, g.conv(x, 6), inputs=floats((1, 8, 9, 7)))


def test_concatenation_and_resizing() -> None:
    g = image("1x8x4x6")
    a = g.conv("%x", 8, 3, 2)
    b = g.conv("%x", 6)
    x = g.concat(g.repeat(a, 2), b)
    x = g.interpolate(g.conv(x, 12, 3))
    module = check(g, g.conv(x, 4), inputs=floats((1, 8, 4, 6)))
    assert "tensor.concat" in names(module)
    concat = next(op for op in module.walk() if op.name == "tensor.concat")
    assert concat.results[0].type.rank == 5


@pytest.mark.parametrize(("own", "channels"), [(8, 6), (6, 8), (6, 1)])
def test_transposed_convolutions(own: int, channels: int) -> None:
    """Their images stay in blocks, but leave them where one has few channels."""
    for batch in (1, 2):
        g = image(f"{batch}x8x4x5")
        x = g.bias(g.enlarge(g.relu(g.conv("%x", own)), channels, 2, bias=batch == 1))
        module = check(g, g.sigmoid(x if channels == 1 else g.conv(x, 8)), inputs=floats((batch, 8, 4, 5)))
        assert all(len(op.iterator_types) != 8 for op in module.walk() if isinstance(op, linalg.Generic))


def test_parts_that_do_not_fill_their_blocks_are_joined_outside() -> None:
    g = image("1x8x4x6")
    x = g.concat(g.conv("%x", 6), g.conv("%x", 8))
    module = check(g, g.conv(x, 4), inputs=floats((1, 8, 4, 6)))
    concat = next(op for op in module.walk() if op.name == "tensor.concat")
    assert concat.results[0].type.rank == 4


def test_values_with_readers_on_both_sides_are_unpacked_once() -> None:
    g = image("2x8x4x6")
    x = g.relu(g.conv("%x", 6))
    y = g.conv(x, 16)
    module = check(g, x, y, x, inputs=floats((2, 8, 4, 6)))
    transposes = [o for o in module.walk() if isinstance(o, linalg.Generic) and o.inputs[0].type.rank == 5]
    assert sum(list(o.results[0].type.shape) == [2, 2, LANES, 4, 6] for o in transposes) == 1


def test_sizes_that_are_not_known() -> None:
    g = image("?x8x?x?")
    x = g.relu(g.conv("%x", 6, 3))
    y = g.gate(g.depthwise(x), g.squeeze(x))
    out = g.conv(g.join(x, y), 4)
    module = check(g, out, inputs=floats((2, 8, 5, 6)))
    assert len(convolutions(module)) == 3


def test_operands_of_elementwise_ops() -> None:
    g = image("2x8x4x6")
    x = g.conv("%x", 6)
    full, rows = g.weights(6, 4, 6), g.weights(2, 1, 4, 6)
    x = g.generic(
        g.type(x),
        [(x, "n, c, h, w"), (full, "c, h, w"), (rows, "n, 0, h, w")],
        "%s = arith.addf %a, %b : f32\n%r = arith.mulf %s, %c : f32",
    )
    check(g, g.conv(x, 4), inputs=floats((2, 8, 4, 6)))


def dispatches(g: Graph, out: str) -> tuple[Any, list[Any]]:
    """The module cut into dispatches, and these."""
    module = run(
        g.text(out),
        ConvertElementwiseToLinalg(),
        BlockChannels(lanes=LANES, always=True),
        Canonicalize(),
        FuseElementwise(),
        FormDispatchRegions(),
        constants=g.constants,
    )
    return module, [op for op in module.walk() if op.name == "flow.dispatch.region"]


@pytest.mark.parametrize("size", [16, 96])
def test_a_wide_image_stays_inside_a_dispatch(size: int) -> None:
    """Widened, filtered and narrowed: in one dispatch when the wide image is too large for a cache."""
    g = image(f"1x8x{size}x{size}")
    x = g.conv("%x", 4)
    y = g.relu(g.depthwise(g.relu(g.conv(x, 32))))
    out = g.join(g.conv(y, 4), x)
    module, regions = dispatches(g, out)
    windows = [len(convolutions(region)) for region in regions]
    assert sorted(n for n in windows if n) == ([1, 3] if size == 96 else [1, 1, 1, 1])
    inputs = floats((1, 8, size, size))
    before = parse_module(g.text(out), constants=g.constants)
    (got,), (want,) = (
        call(module, *inputs, constants=g.constants),
        call(before, *inputs, constants=g.constants),
    )
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-5)


def test_sums_of_an_image_are_made_with_it() -> None:
    g = image("2x8x6x7")
    x = g.relu(g.depthwise(g.conv("%x", 8)))
    x = g.gate(x, g.squeeze(x))
    _, regions = dispatches(g, g.conv(x, 8))
    totals = [
        len(region.results)
        for region in regions
        for op in region.walk()
        if isinstance(op, linalg.Generic) and fusion.is_total(op)
    ]
    assert totals == [2]


def test_what_does_not_pay_stays() -> None:
    """A small convolution between two borders; and a large network that is worth it."""
    g = image("1x16x8x8")
    assert not any(
        len(o.iterator_types) == 9 for o in convolutions(blocked(g, g.conv("%x", 16), always=False))
    )
    g = image("1x3x224x224")
    x = g.conv("%x", 64, 3, 2)
    for _ in range(3):
        x = g.conv(x, 64, 3)
    assert len([o for o in convolutions(blocked(g, x, always=False)) if len(o.iterator_types) == 9]) == 3


def test_ops_without_convolutions_and_targets_without_blocks_are_left_alone() -> None:
    g = image("1x16x8x8")
    out = g.relu("%x")
    assert all(
        v.type.rank <= 4 for o in blocked(g, out).walk() for v in o.results if isinstance(v.type, TensorType)
    )

    class Plain:
        def channel_block(self, description: Any) -> int | None:
            return None

    g = image("1x16x8x8")
    text = g.text(g.conv("%x", 16))
    module = run(text, BlockChannels(always=True), constants=g.constants, target=Plain(), description=None)
    assert "linalg.conv_2d_nchw_fchw" in names(module)
