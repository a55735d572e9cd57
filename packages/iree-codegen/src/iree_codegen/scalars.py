"""Runs scalar IR inside a kernel: bodies of structured ops, and the scalar ops around them.

The ops are cloned with types lifted to the lanes their operands have: a body op on vectors is the same
``arith`` or ``math`` op on ``vector<16xf32>``. What is uniform over the lanes stays scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_codegen.kernel_builder import KernelBuilder, lanes_of, vector_of
from iree_core_ir.dialects.scf import For, If
from iree_core_ir.ir.attributes import DenseElementsAttr
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import FloatType, TensorType, VectorType, element_of, index

LaneHandler = Callable[[Op], Sequence[Value] | None]


class NotVectorizable(Exception):
    """The ops need control flow or memory per lane; the caller falls back to scalars."""


class ScalarEvaluator:
    """Emits ops of dispatch IR into ``kernel``; ``special`` handles ops that need the surroundings.

    ``special(op, operand values)`` returns the results, or None for an op it does not know.
    """

    def __init__(
        self, kernel: KernelBuilder, special: Callable[[Op, Callable[[Value], Value]], Sequence[Value] | None]
    ) -> None:
        self.kernel = kernel
        self.special = special

    def run(self, block: Block, known: dict[Value, Value]) -> list[Value]:
        """Emit ``block``; ``known`` maps values of the outside and arguments, and is extended. Returns the
        values of the terminator's operands."""

        def lookup(value: Value) -> Value:
            found = known.get(value)
            if found is None:
                found = known[value] = self.outside(value)
            return found

        last = block.terminator
        for op in block:
            if op is last:
                break
            self.emit(op, lookup, known)
        return [lookup(v) for v in last.operands]

    def outside(self, value: Value) -> Value:
        """A value defined around the block: constants and scalar ops are emitted on demand."""
        op = value.defining_op
        if op is None:
            raise CodegenError(UNSUPPORTED_OP, f"a body uses {value!r}, which is no scalar of the dispatch")
        known: dict[Value, Value] = {}
        self.emit(op, self.outside, known)
        return known[value]

    def emit(self, op: Op, lookup: Callable[[Value], Value], known: dict[Value, Value]) -> None:
        """Emit one op and put its results into ``known``."""
        results = self.special(op, lookup)
        if results is None:
            results = self._emit_plain(op, lookup, known)
        known.update(zip(op.results, results, strict=True))

    def _emit_plain(
        self, op: Any, lookup: Callable[[Value], Value], known: dict[Value, Value]
    ) -> Sequence[Value]:
        k = self.kernel
        name = op.name
        if name == "arith.constant":
            attribute = op.attributes["value"]
            if isinstance(attribute, DenseElementsAttr):
                raise CodegenError(UNSUPPORTED_OP, "a shaped constant inside a body")
            return [k.attribute_constant(attribute)]
        if op.regions:
            return self._emit_regions(op, lookup, known)
        if PURE not in op.traits or any(isinstance(r.type, TensorType) for r in op.results):
            raise CodegenError(UNSUPPORTED_OP, f"{name} in a body", source=op.location.user_text())
        if name.startswith("index."):
            return [self._index_op(op, [lookup(v) for v in op.operands])]
        if name in ("affine.apply", "affine.min", "affine.max"):
            return [self._affine_op(op, [lookup(v) for v in op.operands])]
        operands = [lookup(v) for v in op.operands]
        lanes = max((lanes_of(v) for v in operands), default=1)
        if name == "arith.addf" and lanes:
            fused = self._fused(op, operands)
            if fused is not None:
                return [fused]
        if lanes > 1:
            if name == "arith.select" and lanes_of(operands[0]) == 1:
                operands[1:] = list(k.same_lanes(*operands[1:]))
            else:
                operands = list(k.same_lanes(*operands))
        types = [vector_of(lanes, r.type) for r in op.results]
        attributes = {key: a for key, a in op.attributes.items() if key not in ("fastmath", "overflowFlags")}
        if len(types) == 1:
            hoist = not name.startswith("math.") or all(k.constant_of(v) is not None for v in operands)
            return [k.pure(name, tuple(operands), types[0], attributes or None, hoist=hoist)]
        return list(k.effect(name, operands, types, attributes).results)

    def _fused(self, op: Op, operands: Sequence[Value]) -> Value | None:
        """a * b + c as one fma when the product has no other use."""
        k = self.kernel
        if not k.fma_available or not isinstance(element_of(op.results[0].type), FloatType):
            return None
        if op.results[0].type.name not in ("f32", "f64"):
            return None
        for position in (0, 1):
            producer = op.operands[position].defining_op
            if producer is None or producer.name != "arith.mulf" or not op.operands[position].has_one_use:
                continue
            product = operands[position]
            made = product.defining_op
            if made is None or made.name != "arith.mulf":
                continue
            a, b = made.operands
            return k.fma(a, b, operands[1 - position])
        return None

    def _index_op(self, op: Op, operands: list[Value]) -> Value:
        """``index.add`` and friends as ``arith`` on index."""
        k = self.kernel
        suffix = op.name.partition(".")[2]
        arith = _INDEX_OPS.get(suffix)
        if arith is None:
            if suffix == "constant":
                return k.constant(op.attributes["value"].value, index)  # type: ignore[attr-defined]
            raise CodegenError(UNSUPPORTED_OP, f"{op.name} in a body", source=op.location.user_text())
        return k.binary(arith, operands[0], operands[1])

    def _affine_op(self, op: Any, operands: list[Value]) -> Value:
        map = op.attributes["map"].value
        dims, symbols = operands[: map.n_dims], operands[map.n_dims :]
        results = [self._affine(e, dims, symbols) for e in map.results]
        name = {"affine.min": "arith.minsi", "affine.max": "arith.maxsi"}.get(op.name, "")
        result = results[0]
        for other in results[1:]:
            result = self.kernel.binary(name, result, other)
        return result

    def _affine(self, expr: Any, dims: list[Value], symbols: list[Value]) -> Value:
        kind = type(expr).__name__
        if kind == "AffineConstant":
            return self.kernel.constant(expr.value, index)
        if kind == "AffineDim":
            return dims[int(expr.position)]
        if kind == "AffineSymbol":
            return symbols[int(expr.position)]
        a, b = self._affine(expr.lhs, dims, symbols), self._affine(expr.rhs, dims, symbols)
        k = self.kernel
        if expr.kind == "mod":
            quotient = k.binary("arith.floordivsi", a, b)
            return k.binary("arith.subi", a, k.binary("arith.muli", quotient, b))
        return k.binary(_AFFINE_OPS[expr.kind], a, b)

    def _emit_regions(
        self, op: Any, lookup: Callable[[Value], Value], known: dict[Value, Value]
    ) -> Sequence[Value]:
        """``scf.for``, ``scf.if`` and ``scf.while`` on scalars."""
        k = self.kernel
        operands = [lookup(v) for v in op.operands]
        if any(isinstance(v.type, VectorType) for v in operands):
            raise NotVectorizable(op.name)

        def inner(block: Block, arguments: Sequence[Value]) -> list[Value]:
            scope = dict(known)
            scope.update(zip(block.args, arguments, strict=True))
            values = self.run(block, scope)
            if any(isinstance(v.type, VectorType) for v in values):
                raise NotVectorizable(op.name)
            return values

        if isinstance(op, If):
            otherwise = op.else_block
            return k.if_(
                operands[0],
                lambda: inner(op.then_block, ()),
                None if otherwise is None else lambda: inner(otherwise, ()),
            )
        if isinstance(op, For):
            return k.loop(
                operands[0],
                operands[1],
                operands[2],
                operands[3:],
                lambda i, *carried: inner(op.block, (k.value(i), *carried)),
            )
        if op.name == "scf.while":
            return k.while_(
                operands,
                [r.type for r in op.results],
                lambda *carried: inner(op.regions[0].block, carried),
                lambda *carried: inner(op.regions[1].block, carried),
            )
        raise CodegenError(UNSUPPORTED_OP, f"{op.name} in a body", source=op.location.user_text())


_INDEX_OPS = {
    "add": "arith.addi", "sub": "arith.subi", "mul": "arith.muli", "divs": "arith.divsi",
    "divu": "arith.divui", "ceildivs": "arith.ceildivsi", "ceildivu": "arith.ceildivui",
    "floordivs": "arith.floordivsi", "rems": "arith.remsi", "remu": "arith.remui", "maxs": "arith.maxsi",
    "maxu": "arith.maxui", "mins": "arith.minsi", "minu": "arith.minui", "shl": "arith.shli",
    "shrs": "arith.shrsi", "shru": "arith.shrui", "and": "arith.andi", "or": "arith.ori", "xor": "arith.xori",
}  # fmt: skip
_AFFINE_OPS = {
    "+": "arith.addi", "*": "arith.muli", "floordiv": "arith.floordivsi", "ceildiv": "arith.ceildivsi",
}  # fmt: skip
