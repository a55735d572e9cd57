"""Dims are exact: a formula and the IR made for it give what Python's integers give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import builtin, func
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.types import index
from iree_input_onnx.dims import (
    DimSpace,
    Expr,
    ceildiv,
    differ,
    divide_exact,
    floordiv,
    is_non_negative,
    lower_bound,
    maximum,
    minimum,
    product,
)

NAMES = ("a", "b", "c")


def random_dim(draw, symbols, depth=3):
    """A dim over ``symbols`` and the same formula on plain integers."""
    if depth == 0 or draw(st.booleans()):
        if draw(st.booleans()):
            i = draw(st.integers(0, len(symbols) - 1))
            return symbols[i], lambda values: values[i]
        number = draw(st.integers(-5, 9))
        return number, lambda values: number
    left, f = random_dim(draw, symbols, depth - 1)
    right, g = random_dim(draw, symbols, depth - 1)
    kind = draw(st.sampled_from(["+", "-", "*", "//", "ceil", "min", "max"]))
    if kind in ("//", "ceil"):
        number = draw(st.integers(1, 7))
        if kind == "//":
            return floordiv(left, number), lambda values: f(values) // number
        return ceildiv(left, number), lambda values: -(-f(values) // number)
    made = {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "min": lambda: minimum(left, right),
        "max": lambda: maximum(left, right),
    }[kind]()
    plain = {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "*": lambda x, y: x * y,
        "min": min,
        "max": max,
    }[kind]
    return made, lambda values: plain(f(values), g(values))


def evaluate(make, values):
    """Emit ``make(space, symbols)`` as a function of index values and run it."""
    function = func.FuncOp.make("main", [index] * len(values), [index])
    builder = Builder.at_end(function.body.block)
    space = DimSpace()
    symbols = [space.symbol(n, v) for n, v in zip(NAMES, function.body.block.args, strict=False)]
    dim = make(space, symbols)
    builder.create(func.ReturnOp, space.value(dim, builder))
    module = builtin.ModuleOp.make()
    module.body.block.append(function)
    result = Interpreter(module, ConstantStore()).call("main", *values)
    return dim, int(result[0] if isinstance(result, (tuple, list)) else result)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_formulas_and_their_ir_agree_with_python(data):
    values = [data.draw(st.integers(0, 50)) for _ in NAMES]
    plain = None

    def make(space, symbols):
        nonlocal plain
        dim, plain = random_dim(data.draw, symbols)
        return dim

    dim, got = evaluate(make, values)
    expected = plain(values)
    assert got == expected
    bound = lower_bound(dim)
    assert bound is None or bound <= expected
    if is_non_negative(dim):
        assert expected >= 0


@pytest.fixture
def space():
    return DimSpace()


@pytest.fixture
def symbols(space):
    def unused(builder):
        raise AssertionError

    return [space.symbol(name, unused) for name in NAMES]


def test_formulas_of_one_meaning_are_equal(symbols):
    a, b, c = symbols
    assert (a + b) * c == c * b + a * c
    assert a - a == 0
    assert floordiv(6 * a + 4, 2) == 3 * a + 2
    assert ceildiv(a + 7, 8) == floordiv(a + 14, 8)
    assert floordiv(a - 1, 2) + 1 == floordiv(a + 1, 2)
    assert product([a, b, 12]) == 12 * a * b
    assert maximum(a, 0) is a
    assert minimum(a + 3, a) == a


def test_quotients_that_are_exact(symbols):
    a, b, _ = symbols
    assert divide_exact(a * b * 12, a * 4) == b * 3
    assert divide_exact(a * 12 + b * 4, 4) == a * 3 + b
    assert divide_exact(a * 3, 2) is None
    assert divide_exact(a, b) is None
    assert divide_exact(a + b, a + b) == 1
    assert divide_exact(7, 0) is None


def test_what_is_certainly_different(symbols):
    a, b, _ = symbols
    assert differ(a + 1, 0)
    assert differ(a, a + 1)
    assert not differ(a, b)
    assert not differ(a, 1)


def test_a_formula_is_computed_once():
    function = func.FuncOp.make("main", [index], [])
    builder = Builder.at_end(function.body.block)
    space = DimSpace()
    a = space.symbol("a", function.body.block.args[0])
    first = space.value(a * 2 + 1, builder)
    count = len(function.body.block.ops)
    assert space.value(1 + a + a, builder) is first
    assert len(function.body.block.ops) == count


def test_integers_stay_integers(space, symbols):
    a = symbols[0]
    assert isinstance(a - a + 4, int)
    assert not isinstance(a + 4, int)
    assert isinstance(a + 4, Expr)
    assert space.truncdiv(-7, 2) == -3
    assert np.prod([space.truncdiv(a * 4, 2) == a * 2]) == 1
