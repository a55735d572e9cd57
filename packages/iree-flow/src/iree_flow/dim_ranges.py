"""Ranges of dims: what is checked when a function is entered, and what follows for index arithmetic.

A dynamic dim of an input lies between 0 and the largest size that keeps the input below ``MAX_BYTES`` (its
other dynamic dims taken as 1). The artefact's manifest holds these ranges, so that every call checks them;
the compiler uses them to decide comparisons, minima and maxima of sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

from iree_base.element_types import element_type
from iree_base.records import record
from iree_core_ir.dialects import arith, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import IndexType, IntegerType, TensorType
from iree_flow.symbolic_dims import argument_dim_names

MAX_BYTES = 1 << 40
"""No input is larger: a size that would make it so is refused at entry."""
LIMIT = 1 << 62
"""Bounds beyond are dropped: the machine's arithmetic might wrap around."""


@record(frozen=True)
class Range:
    """``low <= value <= high``."""

    low: int
    high: int

    def join(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def single(self) -> int | None:
        return self.low if self.low == self.high else None


def largest_dim(shape: Sequence[int | str], element: str) -> int:
    """The largest value of one dynamic dim of a tensor; dynamic dims are negative or names."""
    sizes = [size for size in shape if isinstance(size, int) and size >= 0]
    bits = max(1, prod(sizes)) * element_type(element).bits
    return max(1, (MAX_BYTES * 8 - 1) // bits)


def named_maxima(inputs: Iterable[tuple[Sequence[int | str], str]]) -> dict[str, int]:
    """Per dim name its largest value, from the (shape, element type) of all inputs."""
    found: dict[str, int] = {}
    for shape, element in inputs:
        for size in shape:
            if isinstance(size, str):
                found[size] = min(found.get(size, MAX_BYTES), largest_dim(shape, element))
    return found


class RangeAnalysis:
    """Ranges of the index and integer values of one function, found on demand, each once."""

    def __init__(self, function: FuncOp) -> None:
        self._known: dict[Value, Range | None] = {}
        self._entry = function.regions[0].block
        self._names: Mapping[Value, Sequence[str]] = argument_dim_names(function)
        self._maxima = named_maxima(
            (self._shape(arg), str(arg.type.element_type))
            for arg in self._entry.args
            if isinstance(arg.type, TensorType)
        )

    def _shape(self, arg: Value) -> list[int | str]:
        names = self._names.get(arg, ())
        return [
            size if size >= 0 or axis >= len(names) or not names[axis] else names[axis]
            for axis, size in enumerate(arg.type.shape)
        ]

    def of(self, value: Value) -> Range | None:
        """The range of ``value``; None when nothing is known."""
        if not isinstance(value.type, (IndexType, IntegerType)):
            return None
        stack = [value]
        while stack:
            current = stack[-1]
            if current in self._known:
                stack.pop()
                continue
            op = current.defining_op
            rule = None if op is None else _RULES.get(op.name)
            if op is None or rule is None:
                self._known[stack.pop()] = None
                continue
            missing = [v for v in op.operands if v not in self._known and _is_integer(v)]
            if missing:
                stack += missing
                continue
            self._known[stack.pop()] = _bounded(rule(self, op), current)
        return self._known[value]

    def known(self, op: Op) -> list[Range] | None:
        """The ranges of all operands, or None."""
        found = [self._known.get(v) for v in op.operands]
        return None if any(r is None for r in found) else found  # type: ignore[return-value]

    def dim(self, op: Op) -> Range | None:
        """The size of an input, checked at entry; of another tensor: not negative."""
        source, axis = op.operands[0], known_integer(op.operands[1])
        if source.owner is not self._entry or axis is None or axis >= source.type.rank:
            return Range(0, LIMIT)
        shape = self._shape(source)
        size = shape[axis]
        if isinstance(size, str):
            return Range(0, self._maxima[size])
        return Range(size, size) if size >= 0 else Range(0, largest_dim(shape, str(source.type.element_type)))


def _is_integer(value: Value) -> bool:
    return isinstance(value.type, (IndexType, IntegerType))


def _bounded(found: Range | None, value: Value) -> Range | None:
    """``found`` when the type of ``value`` holds it without wrapping around."""
    type: Any = value.type
    limit = LIMIT if isinstance(type, IndexType) or type.width > 62 else 1 << (type.width - 1)
    if type is not None and getattr(type, "width", 64) == 1:
        limit = 2
    if found is None or found.low < -limit or found.high > (limit if limit == LIMIT else limit - 1):
        return None
    return found


def _constant(analysis: RangeAnalysis, op: Any) -> Range | None:
    value = getattr(op.attributes["value"], "value", None)
    return Range(value, value) if isinstance(value, int) else None


def _corners(function: Callable[[int, int], int]) -> Callable[[RangeAnalysis, Op], Range | None]:
    """A function monotonic in each operand: its extremes lie at the corners."""

    def rule(analysis: RangeAnalysis, op: Op) -> Range | None:
        ranges = analysis.known(op)
        if ranges is None:
            return None
        a, b = ranges
        values = [function(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return Range(min(values), max(values))

    return rule


def _divided(function: Callable[[int, int], int]) -> Callable[[RangeAnalysis, Op], Range | None]:
    """A quotient of a value that is not negative by one that is positive."""

    def rule(analysis: RangeAnalysis, op: Op) -> Range | None:
        ranges = analysis.known(op)
        if ranges is None or ranges[0].low < 0 or ranges[1].low < 1:
            return None
        a, b = ranges
        return Range(function(a.low, b.high), function(a.high, b.low))

    return rule


def _remainder(analysis: RangeAnalysis, op: Op) -> Range | None:
    ranges = analysis.known(op)
    if ranges is None or ranges[0].low < 0 or ranges[1].low < 1:
        return None
    return Range(0, min(ranges[0].high, ranges[1].high - 1))


def _unsigned(
    rule: Callable[[RangeAnalysis, Op], Range | None],
) -> Callable[[RangeAnalysis, Op], Range | None]:
    """The signed rule, for values that are not negative."""

    def checked(analysis: RangeAnalysis, op: Op) -> Range | None:
        ranges = analysis.known(op)
        return None if ranges is None or any(r.low < 0 for r in ranges) else rule(analysis, op)

    return checked


def _same(analysis: RangeAnalysis, op: Op) -> Range | None:
    ranges = analysis.known(op)
    return None if ranges is None else ranges[0]


def _select(analysis: RangeAnalysis, op: Op) -> Range | None:
    a, b = (analysis._known.get(v) for v in op.operands[1:])
    return None if a is None or b is None else a.join(b)


_MIN, _MAX = _corners(min), _corners(max)
_RULES: dict[str, Callable[[RangeAnalysis, Any], Range | None]] = {
    arith.Constant.name: _constant,
    tensor.Dim.name: RangeAnalysis.dim,
    "arith.addi": _corners(lambda a, b: a + b),
    "arith.subi": _corners(lambda a, b: a - b),
    "arith.muli": _corners(lambda a, b: a * b),
    "arith.minsi": _MIN,
    "arith.maxsi": _MAX,
    "arith.minui": _unsigned(_MIN),
    "arith.maxui": _unsigned(_MAX),
    "arith.divsi": _divided(lambda a, b: a // b),
    "arith.divui": _divided(lambda a, b: a // b),
    "arith.floordivsi": _divided(lambda a, b: a // b),
    "arith.ceildivsi": _divided(lambda a, b: -(-a // b)),
    "arith.ceildivui": _divided(lambda a, b: -(-a // b)),
    "arith.remsi": _remainder,
    "arith.remui": _remainder,
    "arith.index_cast": _same,
    "arith.extsi": _same,
    "arith.trunci": _same,
    "arith.index_castui": _unsigned(_same),
    "arith.extui": _unsigned(_same),
    "arith.select": _select,
    "util.broadcast_dim": _unsigned(_MAX),
}
