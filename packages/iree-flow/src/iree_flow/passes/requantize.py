"""``requantize``: what is quantized from scaled integers is computed from them in one step.

Before: elementwise ops that scale integers (sums of products, dequantized bytes), add biases and each other,
and a quantization: ``clamp(round(x / scale) + zero point)``. After, for targets that multiply 8-bit integers:
one op on the integers, ``clamp(round(sum of factor * integers + number) + zero point)``, with the clamps on
i32. Rounding is an addition: numbers near ``1.5 * 2 ** 23`` have no fraction. A bias that is a multiple of
the factor is added to the integers, exactly. Order and precision are those of onnxruntime's integer kernels,
so that the bytes are the same; they may differ from the chain's where that is halfway between two integers.
Maxima of windows of dequantized bytes are taken of the bytes.

With ``floats`` (when nothing else can be found any more) other numbers are clamped and rounded likewise: the
same bytes, in fewer steps. NaN becomes the lowest byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from iree_base.records import record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects import math as math_ops
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.attributes import DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_number
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import TensorType, f32, i8, i32
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.dims import DimResolver
from iree_flow.exact_products import LARGEST as LARGEST_RESULT
from iree_flow.moved_elements import is_zero_filled
from iree_flow.pooled_bytes import pool_bytes
from iree_flow.quantized import integer_blocks
from iree_flow.scaled_integers import Scaled, Term, Tracer, is_elementwise

Array = np.ndarray[Any, Any]
LARGEST = float(1 << 22)
"""What is rounded stays below this."""
ROUNDER = 12582912.0
"""Added to a number below that it leaves the number, rounded to even, in the low bits."""
ROUNDER_BITS = 0x4B400000
EXACT = 1e-5
"""How far a bias may be from a multiple of the factor, in units of the result."""


@record
class Requantize(Pass):
    name: ClassVar[str] = "requantize"
    always: bool = False
    """Whatever the target says."""
    floats: bool = False
    """Also what is quantized from numbers that are no scaled integers."""

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for block, resolver in integer_blocks(module, context, self.always):
            changed |= _block(block, context.constants, resolver, self.floats)
        return changed


def _block(block: Block, constants: ConstantStore, resolver: DimResolver, floats: bool) -> bool:
    changed = False
    for op in block.ops:
        if op.name == "linalg.pooling_nchw_max":
            changed |= pool_bytes(op, constants, resolver)
    tracer = Tracer(constants)
    for op in block.ops:
        rounding = _rounding(op)
        if rounding is None:
            continue
        found = _quantization(op, rounding, tracer)
        if found is not None:
            found.rewrite(constants, resolver)
        elif floats:
            rounding.rewrite(op)
        changed |= found is not None or floats
    return changed


@record
class _Quantization:
    """``clamp(round(exact) + zero_point, low, high)`` as bytes."""

    op: Any
    exact: Scaled
    zero_point: int
    low: int
    high: int

    def rewrite(self, constants: ConstantStore, resolver: DimResolver) -> None:
        op = self.op
        if self.is_source:
            op.replace_by([self.exact.terms[0].source])
            return
        builder = Builder.before_op(op)
        builder.location = op.location
        operands = _Operands(constants, builder, op.results[0].type.rank)
        terms, number = _merged(self.exact)
        inside = self.zero_point if self.is_addition else 0
        number = _constant_part(terms, number, inside)
        sources = [operands.tensor(t.source) for t in terms]
        shifts = [operands.number(np.zeros(()) if _is_byte(t) else t.shift, i32) for t in terms]
        factors = [operands.number(t.factor, f32) for t in terms]
        rest = operands.number(number, f32)
        empty = builder.create(tensor.Empty, list(resolver.dims(op.results[0])), i8).result

        def body(b: Builder, *arguments: Value) -> Value:
            def read(operand: int | Array) -> Value:
                if isinstance(operand, int):
                    return arguments[operand]
                element = i32 if operand.dtype == np.int32 else f32
                return b.insert(arith.Constant.of(operand.item(), element)).result

            def scaled(number: int, total: Value | None) -> Value:
                """``total`` and a term; without it the term, rounded."""
                value = arguments[sources[number]]
                if _is_byte(terms[number]):
                    extension: Any = arith.ExtSI if terms[number].signed else arith.ExtUI
                    value = b.create(extension, value, i32).result
                if not _is_zero(shifts[number]):
                    value = b.create(arith.AddI, value, read(shifts[number])).result
                if value.type is not f32:
                    value = b.create(arith.SIToFP, value, f32).result
                factor = read(factors[number])
                if total is None:
                    return b.create(arith.MulF, value, factor).result
                return b.create(math_ops.Fma, value, factor, total).result

            if len(terms) == 1:
                total = scaled(0, None)
                total = total if _is_zero(rest) else b.create(arith.AddF, total, read(rest)).result
            else:
                total = read(rest)
                for term in reversed(range(len(terms))):
                    total = scaled(term, total)
            total = _rounded(total, b)
            result = b.create(arith.Bitcast, total, i32).result
            offset = self.zero_point - inside - ROUNDER_BITS
            for kind, amount in ((arith.AddI, offset), (arith.MaxSI, self.low), (arith.MinSI, self.high)):
                result = b.create(kind, result, b.insert(arith.Constant.of(amount, i32)).result).result
            return b.create(arith.TruncI, result, i8).result

        maps = [*operands.maps, AffineMap.identity(operands.rank)]
        parallel = ["parallel"] * operands.rank
        made = linalg.generic(builder, operands.values, [empty], maps, parallel, body)
        made.results[0].hint = op.results[0].hint
        op.replace_by(list(made.results))

    @property
    def is_addition(self) -> bool:
        """A sum of two images of bytes, as onnxruntime's integer kernel adds them: it rounds the sum with the
        zero point in it. What it adds as floats, clamped sums and differences too, is rounded before that.
        """
        exact = self.exact
        plain = len(exact.terms) == 2 and not exact.number.any() and self.high - self.low == 255
        return plain and all(_is_byte(t) and t.factor.size == 1 and t.factor.min() > 0 for t in exact.terms)

    @property
    def is_source(self) -> bool:
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


def _rounded(value: Value, b: Builder) -> Value:
    """The number with its rounding in the low bits: a subtraction, which no target joins with the product."""
    result: Value = b.create(arith.SubF, value, b.insert(arith.Constant.of(-ROUNDER, f32)).result).result
    return result


def _is_sum(term: Term) -> bool:
    return term.source.type.element_type is i32


def _is_byte(term: Term) -> bool:
    return term.source.type.element_type is i8


def _merged(exact: Scaled) -> tuple[list[Term], Array]:
    """The terms and the number; one that is a multiple of the only term's factor is part of its shift."""
    terms, number = list(exact.terms), exact.number
    if len(terms) == 1 and _is_sum(terms[0]) and np.all(terms[0].factor != 0):
        (term,) = terms
        whole = np.round(number / term.factor)
        if np.all(np.abs(whole * term.factor - number) <= EXACT) and np.all(np.abs(whole) < LARGEST):
            return [replace(term, shift=term.shift + whole)], np.zeros(())
    return terms, number


def _constant_part(terms: Sequence[Term], number: Array, zero_point: int) -> Array:
    """``number``, the shifts of bytes and the zero point, in the order and precision of onnxruntime."""
    shifted = np.zeros((), np.float32)
    for term in reversed(terms):
        if _is_byte(term):
            exact = term.factor.astype(np.float32).astype(np.float64) * -term.shift + shifted
            shifted = exact.astype(np.float32)
    found: Array = np.asarray(number + zero_point - shifted.astype(np.float64))
    return found


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


@record
class _Rounding:
    """``clamp(round(value) + zero_point, low, high)`` made a byte."""

    value: Value
    signed: bool
    low: int
    high: int
    zero_point: int

    def rewrite(self, op: Any) -> None:
        """Make the byte that ``op`` yields in fewer steps."""
        terminator = op.body.terminator
        b = Builder.before_op(terminator)
        b.location = terminator.location

        def number(value: float) -> Value:
            return b.insert(arith.Constant.of(value, f32)).result

        value: Value = b.create(arith.MaxNumF, self.value, number(float(self.low - self.zero_point))).result
        value = b.create(arith.MinNumF, value, number(float(self.high - self.zero_point))).result
        value = _rounded(value, b)
        offset = b.insert(arith.Constant.of(self.zero_point - ROUNDER_BITS, i32)).result
        whole = b.create(arith.AddI, b.create(arith.Bitcast, value, i32).result, offset).result
        terminator.set_operands([b.create(arith.TruncI, whole, i8).result])


def _rounding(op: Any) -> _Rounding | None:
    """How the elementwise ``op`` quantizes; None where it makes something else."""
    if not is_elementwise(op) or op.outputs[0].type.element_type is not i8:
        return None
    last = op.body.terminator.operands[0].defining_op
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
    high, low = found
    zero_point: float = 0.0
    made = value.defining_op
    if made is not None and made.name == "arith.addf":
        offset = known_number(made.operands[1])
        if offset is None:
            return None
        zero_point, value = offset, made.operands[0]
        made = value.defining_op
    if made is None or made.name != "math.roundeven" or value.type is not f32:
        return None
    signed = last.name == "arith.fptosi"
    least, most = (-128, 127) if signed else (0, 255)
    if not (least <= low <= zero_point <= high <= most) or any(n % 1 for n in (low, high, zero_point)):
        return None
    return _Rounding(made.operands[0], signed, int(low), int(high), int(zero_point))


def _quantization(op: Any, rounding: _Rounding, tracer: Tracer) -> _Quantization | None:
    """What ``op`` quantizes, if that is scaled integers, and more than bytes with another scale: those only
    onnxruntime's f32 ops give.
    """
    exact = tracer.value_in(op, rounding.value)
    if not isinstance(exact, Scaled) or exact.is_number or not _fits(op, exact):
        return None
    # Clamps before the rounding are clamps behind it: rounding keeps the order.
    bounds = (max(-LARGEST, min(LARGEST, float(np.round(b)))) for b in (exact.low, exact.high))
    low, high = (int(b) + rounding.zero_point for b in bounds)
    low = min(max(low, rounding.low), rounding.high)
    found = _Quantization(op, exact, rounding.zero_point, low, max(low, min(high, rounding.high)))
    if len(exact.terms) == 1 and _is_byte(exact.terms[0]) and not found.is_source:
        return None
    return found


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
    if LARGEST_RESULT in product.attributes:
        return float(product.attributes[LARGEST_RESULT].value)
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
