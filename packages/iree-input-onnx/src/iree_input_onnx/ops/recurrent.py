"""LSTM, GRU, RNN -> one matrix product for all steps, then one ``linalg_ext.recurrence`` a direction.

The product of the inputs with W does not depend on the states, so it is hoisted out of the steps together
with the biases. What a cell computes from a step's gates and states is the recurrence's body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iree_base.records import record
from iree_core_ir.dialects import math
from iree_core_ir.dialects.linalg import BodyFunction
from iree_core_ir.dialects.linalg_ext_recurrence import Recurrence
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Value
from iree_input_onnx.dims import product
from iree_input_onnx.elements import accumulator, is_float
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.ops.activation import sigmoid, softplus
from iree_input_onnx.ops.cast import convert
from iree_input_onnx.ops.matmul import matmul
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor

Function = Callable[[Scalar], Scalar]

ACTIVATIONS: dict[str, tuple[Callable[..., Scalar], tuple[float, ...]]] = {
    "affine": (lambda x, alpha, beta: x * alpha + beta, (1.0, 0.0)),
    "elu": (lambda x, alpha: (x < 0).select(x.apply(math.ExpM1) * alpha, x), (1.0,)),
    "hardsigmoid": (lambda x, alpha, beta: (x * alpha + beta).clamp(0, 1), (0.2, 0.5)),
    "leakyrelu": (lambda x, alpha: (x < 0).select(x * alpha, x), (0.01,)),
    "relu": (lambda x: x.maximum(0), ()),
    "scaledtanh": (lambda x, alpha, beta: (x * beta).tanh() * alpha, (1.0, 1.0)),
    "sigmoid": (sigmoid, ()),
    "softplus": (softplus, ()),
    "softsign": (lambda x: x / (x.abs() + 1), ()),
    "tanh": (lambda x: x.tanh(), ()),
    "thresholdedrelu": (lambda x, alpha: (x >= alpha).select(x, x.like(0)), (1.0,)),
}
"""Name in lower case -> body and the defaults of alpha and beta, as far as it takes them."""


@record
class Cell:
    """One direction of a layer: its weights by role, all in one float type."""

    node: Node
    w: Tensor
    r: Tensor
    input_bias: Tensor | None
    hidden_bias: Tensor | None
    peepholes: Tensor | None
    activations: list[Function]
    size: int
    gates: int

    def clipped(self, x: Scalar) -> Scalar:
        """What enters an activation."""
        clip = self.node.get("clip")
        return x if clip is None else x.clamp(-float(clip), float(clip))

    def activate(self, number: int, x: Scalar) -> Scalar:
        return self.activations[number](self.clipped(x))


@record
class Step:
    """The recurrence of a cell: what is added to the product, weights and bodies of its stages."""

    bias: Tensor | None
    weights: list[Tensor]
    stages: list[BodyFunction]
    parameters: Tensor | None = None


def _body(cell: Cell, compute: Callable[[list[Scalar]], Sequence[Scalar]]) -> BodyFunction:
    element = cell.r.element

    def body(builder: Builder, *values: Value) -> list[Value]:
        return [s.value for s in compute([Scalar(builder, v, element) for v in values])]

    return body


def _sum(e: Emitter, a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return e.elementwise([a, b], lambda x, y: x + y, a.element, lambda x, y: x + y)


def _rnn(e: Emitter, cell: Cell) -> Step:
    def compute(given: list[Scalar]) -> list[Scalar]:
        x, h, _ = given
        return [cell.activate(0, x + h)]

    return Step(_sum(e, cell.input_bias, cell.hidden_bias), [cell.r], [_body(cell, compute)])


def _lstm(e: Emitter, cell: Cell) -> Step:
    """Gates in the order i, o, f, c."""
    coupled = bool(cell.node.int("input_forget"))
    peepholes = cell.peepholes

    def compute(given: list[Scalar]) -> list[Scalar]:
        i, o, f, c = (x + s for x, s in zip(given[:4], given[4:8], strict=True))
        before = given[-1]
        if peepholes is not None:
            pi, po, pf = given[8:11]
            i, f = i + pi * before, f + pf * before
        i = cell.activate(0, i)
        f = 1 - i if coupled else cell.activate(0, f)
        now = f * before + i * cell.activate(1, c)
        if peepholes is not None:
            o = o + po * now
        return [cell.activate(0, o) * cell.activations[2](now), now]

    rows = None if peepholes is None else e.reshape(peepholes, [3, cell.size])
    return Step(_sum(e, cell.input_bias, cell.hidden_bias), [cell.r], [_body(cell, compute)], rows)


def _gru(e: Emitter, cell: Cell) -> Step:
    """Gates in the order z, r, h. With the reset gate before the product with R, that is a second stage."""
    size = cell.size

    def mixed(z: Scalar, new: Scalar, h: Scalar) -> list[Scalar]:
        return [(1 - z) * new + z * h]

    if cell.node.int("linear_before_reset", 0):
        hidden = None
        if cell.hidden_bias is not None:
            hidden = e.slice(cell.hidden_bias, [2 * size], [size])
            zeros = e.splat(0, [size], cell.r.element)
            first = e.slice(cell.hidden_bias, [0], [2 * size])
            outer = _sum(e, cell.input_bias, e.concat([first, zeros], 0))
        else:
            outer = cell.input_bias

        def after(given: list[Scalar]) -> list[Scalar]:
            (xz, xr, xh, sz, sr, sh), h = given[:6], given[-1]
            z, r = cell.activate(0, xz + sz), cell.activate(0, xr + sr)
            if hidden is not None:
                sh = sh + given[6]
            return mixed(z, cell.activate(1, xh + r * sh), h)

        rows = None if hidden is None else e.reshape(hidden, [1, size])
        return Step(outer, [cell.r], [_body(cell, after)], rows)

    def reset(given: list[Scalar]) -> list[Scalar]:
        _, xr, _, _, sr, h = given
        return [cell.activate(0, xr + sr) * h]

    def update(given: list[Scalar]) -> list[Scalar]:
        xz, _, xh, sz, _, sh, h = given
        return mixed(cell.activate(0, xz + sz), cell.activate(1, xh + sh), h)

    weights = [e.slice(cell.r, [0, 0], [2 * size, size]), e.slice(cell.r, [2 * size, 0], [size, size])]
    return Step(
        _sum(e, cell.input_bias, cell.hidden_bias), weights, [_body(cell, reset), _body(cell, update)]
    )


KINDS: dict[str, tuple[int, int, tuple[str, ...], Callable[[Emitter, Cell], Step]]] = {
    "RNN": (1, 1, ("Tanh",), _rnn),
    "GRU": (3, 1, ("Sigmoid", "Tanh"), _gru),
    "LSTM": (4, 2, ("Sigmoid", "Tanh", "Tanh"), _lstm),
}
"""Op -> gates, states, default activations of a direction, cell."""


def _activations(node: Node, defaults: Sequence[str], directions: int) -> list[list[Function]]:
    """The functions of every direction; alpha and beta are handed out in order to those that take them."""
    names = node.attributes.get("activations") or list(defaults) * directions
    alphas = list(node.get("activation_alpha") or [])
    betas = list(node.get("activation_beta") or [])
    if len(names) != len(defaults) * directions:
        raise node.error(f"{len(names)} activations, expected {len(defaults) * directions}")
    found: list[Function] = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            raise node.error(f"unknown activation '{name}'")
        body, numbers = ACTIVATIONS[name.lower()]
        given = [
            float(source.pop(0)) if source else number
            for number, source in zip(numbers, (alphas, betas), strict=False)
        ]
        found.append(_bound(body, given))
    n = len(defaults)
    return [found[i * n : (i + 1) * n] for i in range(directions)]


def _bound(body: Callable[..., Scalar], numbers: Sequence[float]) -> Function:
    return lambda x: body(x, *numbers)


def _transposed(e: Emitter, t: Tensor | None, permutation: Sequence[int], wanted: bool) -> Tensor | None:
    return e.transpose(t, permutation) if wanted and t is not None else t


@onnx_op("RNN", "GRU", "LSTM", since=7)
def recurrent(e: Emitter, node: Node) -> list[Tensor | None]:
    gates, n_states, defaults, step_of = KINDS[node.op_type]
    x, w, r = node.input(0), node.input(1), node.input(2)
    if not is_float(x.element):
        raise Unsupported(f"element type {x.element.name}")
    if x.rank != 3 or w.rank != 3 or r.rank != 3:
        raise node.error(f"ranks {x.rank}, {w.rank} and {r.rank}, expected 3")
    direction = node.string("direction")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise node.error(f"direction '{direction}'")
    directions = 2 if direction == "bidirectional" else 1
    size, width = r.shape[2], w.shape[2]
    if not isinstance(size, int) or not isinstance(width, int):
        raise Unsupported("a hidden or input size known only at run time")
    if node.get("hidden_size") not in (None, size) or r.shape[:2] != (directions, gates * size):
        raise node.error(f"R of shape {list(r.shape)} for {directions} directions of {size}")
    if w.shape[:2] != (directions, gates * size):
        raise node.error(f"W of shape {list(w.shape)} for {directions} directions of {size}")
    batch_first = bool(node.int("layout", 0))
    given = x.element
    wide = accumulator(given)

    def converted(index: int) -> Tensor | None:
        t = node.optional(index)
        return None if t is None else convert(e, t, wide)

    x, w, r = convert(e, x, wide), convert(e, w, wide), convert(e, r, wide)
    bias, lengths = converted(3), node.optional(4)
    initial = [_transposed(e, converted(5 + i), [1, 0, 2], batch_first) for i in range(n_states)]
    peepholes = converted(7) if node.op_type == "LSTM" else None
    if batch_first:
        x = e.transpose(x, [1, 0, 2])
    n_steps, n_rows = x.shape[0], x.shape[1]
    flat = e.reshape(x, [product((n_steps, n_rows)), width])
    activations = _activations(node, defaults, directions)

    def part(t: Tensor | None, number: int) -> Tensor | None:
        """One direction of ``[directions, ...]``."""
        if t is None:
            return None
        offsets = [number, *[0] * (t.rank - 1)]
        return e.squeeze(e.slice(t, offsets, [1, *t.shape[1:]]), [0])

    outputs: list[Tensor] = []
    finals: list[list[Tensor]] = [[] for _ in range(n_states)]
    for number in range(directions):
        own = part(bias, number)
        half = gates * size
        w_part, r_part = part(w, number), part(r, number)
        assert w_part is not None and r_part is not None
        cell = Cell(
            node,
            w_part,
            r_part,
            None if own is None else e.slice(own, [0], [half]),
            None if own is None else e.slice(own, [half], [half]),
            part(peepholes, number),
            activations[number],
            size,
            gates,
        )
        step = step_of(e, cell)
        projected = matmul(e, flat, e.transpose(cell.w, [1, 0]))
        if step.bias is not None:
            projected = e.elementwise([projected, step.bias], lambda a, b: a + b, wide)
        projected = e.reshape(projected, [n_steps, n_rows, half])
        starts = [part(t, number) or e.splat(0, [n_rows, size], wide) for t in initial]
        shapes = [(n_steps, n_rows, size), *[(n_rows, size)] * n_states]
        op = Recurrence.make(
            e.value(projected),
            [e.value(t) for t in step.weights],
            [e.value(t) for t in starts],
            [e.empty(shape, wide) for shape in shapes],
            step.stages,
            None if step.parameters is None else e.value(step.parameters),
            None if lengths is None else e.value(lengths),
            direction == "reverse" or number == 1,
        )
        e.builder.insert(op)
        outputs.append(e.tensor(op.results[0], shapes[0], wide))
        for states, value in zip(finals, op.results[1:], strict=True):
            states.append(e.tensor(value, shapes[1], wide))
    y = e.concat([e.unsqueeze(t, [1]) for t in outputs], 1)
    last = [e.concat([e.unsqueeze(t, [0]) for t in states], 0) for states in finals]
    if batch_first:
        y = e.transpose(y, [2, 0, 1, 3])
        last = [e.transpose(t, [1, 0, 2]) for t in last]
    return [convert(e, t, given) for t in (y, *last)]
