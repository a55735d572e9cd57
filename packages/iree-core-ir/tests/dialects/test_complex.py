"""complex: MLIR's text for every op."""

from __future__ import annotations

from collections.abc import Callable

from iree_core_ir.dialects import complex
from iree_core_ir.ir.types import ComplexType, f32
from iree_core_ir.text.printer import print_op

UNARY = "abs angle re im neg conj exp expm1 log log1p sqrt rsqrt sign sin cos tan tanh"


def module_text() -> str:
    lines = [f"complex.{name} %c : complex<f32>" for name in UNARY.split()]
    lines.append("complex.exp %t fastmath<contract> : tensor<2xcomplex<f64>>")
    lines += [
        f"complex.{name} %c, %c : complex<f32>"
        for name in ["add", "sub", "mul", "div", "pow", "atan2", "eq", "neq"]
    ]
    lines += [
        "complex.create %f, %f : complex<f32>",
        "complex.constant [1.000000e+00 : f32, -0.000000e+00 : f32] : complex<f32>",
        "complex.bitcast %c : complex<f32> to i64",
    ]
    body = [f"    %{n} = {line}" for n, line in enumerate(lines)]
    signature = "%c: complex<f32>, %t: tensor<2xcomplex<f64>>, %f: f32"
    return f"module {{\n  func.func @f({signature}) {{\n" + "\n".join(body) + "\n    return\n  }\n}\n"


def test_text_is_printed_as_it_was_read(round_trip: Callable[[str], str]) -> None:
    assert round_trip(module_text()) == module_text()


def test_every_op_has_a_text_here(ops_of: Callable[[str], set[str]]) -> None:
    assert set(complex.DIALECT.ops) <= ops_of(module_text())


def test_constants_round_to_the_type() -> None:
    op = complex.Constant.make(0.1, 2.0, ComplexType(f32))
    assert print_op(op).endswith("complex.constant [1.000000e-01 : f32, 2.000000e+00 : f32] : complex<f32>")
