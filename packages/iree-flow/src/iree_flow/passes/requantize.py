"""``requantize``: what is quantized from scaled integers is computed from them in one step.

Before: elementwise ops that scale integers (sums of products, dequantized bytes), add biases and each other,
and a quantization: ``clamp(round(x / scale) + zero point)``. After, for targets that multiply 8-bit integers:
one op on the integers, ``clamp(round(sum of factor * integers + number) + zero point)``, with the clamps on
i32. Rounding is an addition: numbers near ``1.5 * 2 ** 23`` have no fraction. A bias that is a multiple of
the factor is added to the integers, exactly. Factors are rounded once, so a result may differ from the
chain's where that is halfway between two integers. Maxima of windows of dequantized bytes are taken of the
bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects import math as math_ops
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.attributes import DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TensorType, f32, i8, i32
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dims import DimResolver
from iree_flow.moved_elements import is_zero_filled
from iree_flow.pooled_bytes import pool_bytes
from iree_flow.scaled_integers import Scaled, Term, Tracer, is_elementwise
from iree_flow.symbolic_dims import argument_dim_names

Array = np.ndarray[Any, Any]
LARGEST = float(1 << 22)
"""What is rounded stays below this."""
ROUNDER = 12582912.0
"""Added to a number below that it leaves the number, rounded to even, in the low bits."""
ROUNDER_BITS = 0x4B400000
EXACT = 1e-5
"""How far a bias may be from a multiple of the factor, in units of the result."""


@dataclass
class Requantize(Pass):
    name: ClassVar[str] = "requantize"
    always: bool = False
    """Whatever the target says."""

    def run(self, module: Op, context: PassContext) -> None:
        ask = getattr(context.options.get("target"), "integer_products", None)
        if not self.always and (ask is None or not ask(context.options["description"])):
            return
        for function in module.regions[0].block:
            if isinstance(function, FuncOp) and function.regions[0].blocks:
                resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
                for block in function.regions[0].blocks:
                    _block(block, context.constants, resolver)


def _block(block: Block, constants: ConstantStore, resolver: DimResolver) -> None:
    for op in block.ops:
        if op.name == "linalg.pooling_nchw_max":
            pool_bytes(op, constants, resolver)
    tracer = Tracer(constants)
    for op in block.ops:
        found = _quantization(op, tracer)
        if found is not None:
            found.rewrite(constants, resolver)


@dataclass
class _Quantization:
    """``clamp(round(exact) + zero_point, low, high)`` as bytes."""

    op: Any
    exact: Scaled
    zero_point: int
    low: int
    high: int

    def rewrite(self, constants: ConstantStore, resolver: DimResolver) -> None:
        op = self.op
        if self._is_source():
            op.replace_by([self.exact.terms[0].source])
            return
        builder = Builder.before_op(op)
        builder.location = op.location
        operands = _Operands(constants, builder, op.results[0].type.rank)
        terms, number = _merged(self.exact)
        # What stands for the sums is multiplied last: its product and the numbers round together.
        order = sorted(terms, key=lambda t: t.source.type.element_type is i32)
        sources = [operands.tensor(t.source) for t in order]
        shifts = [operands.number(t.shift, i32) for t in order]
        factors = [operands.number(t.factor, f32) for t in order]
        rest = operands.number(number, f32)
        empty = builder.create(tensor.Empty, list(resolver.dims(op.results[0])), i8).result

        def body(b: Builder, *arguments: Value) -> Value:
            def read(operand: int | Array) -> Value:
                if isinstance(operand, int):
                    return arguments[operand]
                element = i32 if operand.dtype == np.int32 else f32
                return b.insert(arith.Constant.of(operand.item(), element)).result

            rounder = b.insert(arith.Constant.of(ROUNDER, f32)).result
            total = None if _is_zero(rest) else read(rest)
            rounded = total is None and len(order) == 1
            for term, source, shift, factor in zip(order, sources, shifts, factors, strict=True):
                value = arguments[source]
                if term.source.type.element_type is i8:
                    value = b.create(arith.ExtSI if term.signed else arith.ExtUI, value, i32).result
                if not _is_zero(shift):
                    value = b.create(arith.AddI, value, read(shift)).result
                value = b.create(arith.SIToFP, value, f32).result
                total = rounder if rounded else total
                if total is None:
                    total = b.create(arith.MulF, value, read(factor)).result
                else:
                    total = b.create(math_ops.Fma, value, read(factor), total).result
            if not rounded:
                total = b.create(arith.AddF, total, rounder).result
            result = b.create(arith.Bitcast, total, i32).result
            offset = self.zero_point - ROUNDER_BITS
            for kind, amount in ((arith.AddI, offset), (arith.MaxSI, self.low), (arith.MinSI, self.high)):
                result = b.create(kind, result, b.insert(arith.Constant.of(amount, i32)).result).result
            return b.create(arith.TruncI, result, i8).result

        maps = [*operands.maps, AffineMap.identity(operands.rank)]
        parallel = ["parallel"] * operands.rank
        made = linalg.generic(builder, operands.values, [empty], maps, parallel, body)
        made.results[0].hint = op.results[0].hint
        op.replace_by(list(made.results))

    def _is_source(self) -> bool:
        """The bytes are those that were dequantized."""
        if len(self.exact.terms) != 1:
            return False
        (term,) = self.exact.terms
        if term.source.type.element_type is not i8 or term.source.type != self.op.results[0].type:
            return False
        if (self.low, self.high) != ((-128, 127) if term.signed else (0, 255)):
            return False
        kept = self.exact.number + term.factor * term.shift + self.zero_point
        return bool(np.all(np.abs(term.factor - 1) < 1e-4 / 256) and np.all(np.abs(kept) < 1e-4))


def _merged(exact: Scaled) -> tuple[list[Term], Array]:
    """Terms of which sums hold shifts (and the number, where it is a multiple of a factor), bytes none."""
    number = exact.number
    terms = []
    for term in exact.terms:
        if term.source.type.element_type is i8:
            number = number + term.factor * term.shift
            terms.append(Term(term.source, term.signed, term.factor, np.zeros(())))
        else:
            terms.append(term)
    if len(terms) == 1 and terms[0].source.type.element_type is i32 and np.all(terms[0].factor != 0):
        (term,) = terms
        whole = np.round(number / term.factor)
        if np.all(np.abs(whole * term.factor - number) <= EXACT) and np.all(np.abs(whole) < LARGEST):
            return [Term(term.source, True, term.factor, term.shift + whole)], np.zeros(())
    return terms, number


class _Operands:
    """Inputs of the op in the making: tensors, and constants that vary along an axis."""

    def __init__(self, constants: ConstantStore, builder: Builder, rank: int) -> None:
        self.constants = constants
        self.builder = builder
        self.rank = rank
        self.values: list[Value] = []
        self.maps: list[AffineMap] = []

    def tensor(self, value: Value) -> int:
        self.values.append(value)
        self.maps.append(AffineMap.identity(self.rank))
        return len(self.values) - 1

    def number(self, array: Array, element: Any) -> int | Array:
        """The number of an input that holds ``array``; where that is one number, the number."""
        array = array.astype(np.float32) if element is f32 else np.round(array).astype(np.int32)
        if array.size == 1 or np.all(array == array.reshape(-1)[0]):
            return array.reshape(-1)[:1]
        axes = [axis for axis, size in enumerate(array.shape) if size > 1]
        flat = np.ascontiguousarray(array.reshape([array.shape[axis] for axis in axes]))
        key = self.constants.add_array(flat, str(element))
        type = TensorType(flat.shape, element)
        self.values.append(self.builder.insert(arith.Constant.make(DenseResourceAttr(key, type))).result)
        self.maps.append(AffineMap(self.rank, 0, [AffineDim(axis) for axis in axes]))
        return len(self.values) - 1


def _is_zero(operand: int | Array) -> bool:
    return not isinstance(operand, int) and not operand.any()


# -- what is quantized ----------------------------------------------------------------------------------


def _quantization(op: Any, tracer: Tracer) -> _Quantization | None:
    """An elementwise op that yields ``clamp(round(x) + zero point)`` of scaled integers ``x``."""
    if not is_elementwise(op) or op.outputs[0].type.element_type is not i8:
        return None
    steps = _steps(op.body.terminator.operands[0])
    if steps is None:
        return None
    value, signed, low, high, zero_point = steps
    exact = tracer.value_in(op, value)
    if not isinstance(exact, Scaled) or exact.is_number or not _fits(op, exact):
        return None
    allowed = (-128, 127) if signed else (0, 255)
    # Clamps before the rounding are clamps behind it: rounding keeps the order.
    bounds = [max(-LARGEST, min(LARGEST, float(np.round(b)))) + zero_point for b in (exact.low, exact.high)]
    numbers = [int(max(allowed[0], min(allowed[1], b))) for b in (max(low, bounds[0]), min(high, bounds[1]))]
    return _Quantization(op, exact, int(zero_point), numbers[0], max(numbers))


def _steps(value: Value) -> tuple[Value, bool, float, float, float] | None:
    """(what is rounded, signed, low, high, zero point); None where ``value`` is made in another way."""
    last = value.defining_op
    if last is None or last.name not in ("arith.fptoui", "arith.fptosi"):
        return None
    found = []
    value = last.operands[0]
    for name in ("arith.minimumf", "arith.maximumf"):
        clamp = value.defining_op
        bound = None if clamp is None or clamp.name != name else known_number(clamp.operands[1])
        if clamp is None or bound is None:
            return None
        found.append(bound)
        value = clamp.operands[0]
    zero_point = 0.0
    made = value.defining_op
    if made is not None and made.name == "arith.addf":
        offset = known_number(made.operands[1])
        if offset is None or offset != round(offset):
            return None
        zero_point, value = offset, made.operands[0]
        made = value.defining_op
    if made is None or made.name != "math.roundeven":
        return None
    return made.operands[0], last.name == "arith.fptosi", found[1], found[0], zero_point


def _fits(op: Any, exact: Scaled) -> bool:
    """Terms have the result's shape, and what is rounded fits i32 whatever the integers are."""
    largest = float(np.abs(exact.number).max(initial=0.0))
    for term in exact.terms:
        if term.source.type.shape != op.results[0].type.shape:
            return False
        reach = _reach(term.source)
        if reach is None:
            return False
        largest += float((np.abs(term.factor) * (reach + np.abs(term.shift))).max(initial=0.0))
    return largest < LARGEST and math.isfinite(largest)


def _reach(source: Value) -> float | None:
    """The largest magnitude of integers: bytes, or a sum of products of bytes of known length."""
    if source.type.element_type is i8:
        return 255.0
    product: Any = source.defining_op
    if not isinstance(product, linalg.Generic) or len(product.inputs) != 2:
        return None
    if any(v.type.element_type is not i8 for v in product.inputs) or not is_zero_filled(product.outputs[0]):
        return None
    depth = _depth(product)
    return None if depth is None else 255.0 * 128.0 * depth


def _depth(product: Any) -> int | None:
    weights, map = product.inputs[1], product.indexing_maps[1]
    sizes: Sequence[int] = weights.type.shape
    depth = 1
    for size, expr in zip(sizes, map.results, strict=True):
        if isinstance(expr, AffineDim) and product.iterator_types[expr.position] != "parallel":
            depth *= size
    return depth if min(sizes, default=1) > 0 else None
