"""``linalg_ext.attention``: scaled dot-product attention as one op that reads its operands where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_base.records import record
from iree_core_ir.dialects import linalg_ext_decompose as decompose
from iree_core_ir.dialects.linalg_ext_base import INS_OUTS, LinalgExtOp
from iree_core_ir.dialects.linalg_structured import (
    PARALLEL,
    REDUCTION,
    LoopRange,
    bounds,
    loop_ranges,
    operand_shape,
)
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.attributes import UNIT, AffineMapAttr, ArrayAttr, Attribute, UnitAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import optional_attribute
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, FloatType, i1


@record(frozen=True)
class AttentionLoops:
    """The loops of an attention by the part they play; each is a tuple of positions, in order.

    ``batch``: of all operands; ``rows``: of query and output; ``keys``: of key and value; ``depth``: of query
    and key; ``width``: of value and output.
    """

    batch: tuple[int, ...]
    rows: tuple[int, ...]
    keys: tuple[int, ...]
    depth: tuple[int, ...]
    width: tuple[int, ...]


def default_maps(rank: int, n_inputs: int) -> tuple[AffineMap, ...]:
    """Loops (b.., m, n, k, p): q ``[b.., m, k]``, k ``[b.., n, k]``, v ``[b.., n, p]``, mask ``[b.., m, n]``,
    output ``[b.., m, p]``."""
    m, n, k, p = range(max(rank, 2) - 2, max(rank, 2) + 2)
    batch = list(range(m))

    def at(*dims: int) -> AffineMap:
        return AffineMap.select(p + 1, [*batch, *dims])

    masks = [at(m, n)] if n_inputs == 5 else []
    return (at(m, k), at(n, k), at(n, p), AffineMap(p + 1), *masks, at(m, p))


class Attention(LinalgExtOp, name="linalg_ext.attention"):
    """``softmax(scale * q k^T + mask) v``.

    Inputs: query, key, value, a float scalar ``scale``, and optionally a mask (added; i1: false excludes).
    Without ``indexing_maps`` q is ``[b.., m, k]``, k ``[b.., n, k]``, v ``[b.., n, p]``, the mask
    ``[b.., m, n]`` and the output ``[b.., m, p]``. With them every operand is read by its own map from the
    loops, so that heads lie anywhere in a row of tokens, several heads share a key, and a mask is broadcast;
    the maps say which loop plays which part (``AttentionLoops``). The output's map is a permutation of its
    loops.

    With ``causal`` position ``j`` takes part in row ``i`` only when ``j <= i``. A row in which no key takes
    part (all scores -inf) has the weights NaN, with ``empty_rows_zero`` 0; one that holds NaN or +inf has the
    weights NaN, and with ``nan_rows_zero`` both have 0. Scores are computed in f32, or f64 for f64 inputs.
    """

    maps = optional_attribute(ArrayAttr, key="indexing_maps")
    causal = optional_attribute(UnitAttr)
    empty_rows_zero = optional_attribute(UnitAttr)
    nan_rows_zero = optional_attribute(UnitAttr)
    assembly_format = (
        "(`causal` $causal^)? (`empty_rows_zero` $empty_rows_zero^)? (`nan_rows_zero` $nan_rows_zero^)?"
        f" attr-dict {INS_OUTS}"
    )

    @classmethod
    def make(
        cls,
        query: Value,
        key: Value,
        value: Value,
        scale: Value,
        output: Value,
        mask: Value | None = None,
        causal: bool = False,
        empty_rows_zero: bool = False,
        nan_rows_zero: bool = False,
        maps: Sequence[AffineMap] | None = None,
    ) -> Self:
        """``maps``: of query, key, value, scale, the mask where there is one, and output."""
        inputs = [query, key, value, scale] + ([] if mask is None else [mask])
        flags = {"causal": causal, "empty_rows_zero": empty_rows_zero, "nan_rows_zero": nan_rows_zero}
        attributes: dict[str, Attribute] = {name: UNIT for name, given in flags.items() if given}
        if maps is not None:
            attributes["indexing_maps"] = ArrayAttr([AffineMapAttr(m) for m in maps])
        return cls.build(inputs, [output], attributes)

    def on(self, inputs: Sequence[Value], output: Value, maps: Sequence[AffineMap]) -> Self:
        """The same attention of other operands."""
        attributes = {
            k: v for k, v in self.attributes.items() if k not in ("operandSegmentSizes", "indexing_maps")
        }
        attributes["indexing_maps"] = ArrayAttr([AffineMapAttr(m) for m in maps])
        return self.build(inputs, [output], attributes)

    # -- loops ---------------------------------------------------------------------------------------

    @property
    def mask(self) -> Value | None:
        return self.inputs[4] if len(self.inputs) == 5 else None

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        """One map an operand, from the loops to the operand's dims."""
        if self.maps is not None:
            found: tuple[Any, ...] = self.maps.items
            return tuple(m.value for m in found)
        return default_maps(self.inputs[0].type.rank, len(self.inputs))

    @property
    def loops(self) -> AttentionLoops:
        """Which loop plays which part. Raises ValueError when one plays none."""
        maps = self.indexing_maps
        q, k, v, o = (maps[i].dims_used() for i in (0, 1, 2, -1))
        parts: dict[str, list[int]] = {"batch": [], "rows": [], "keys": [], "depth": [], "width": []}
        for loop in range(maps[0].n_dims):
            part = _PARTS.get((loop in q, loop in k, loop in v, loop in o))
            if part is None:
                raise ValueError(f"loop d{loop} plays no part in an attention")
            parts[part].append(loop)
        return AttentionLoops(**{name: tuple(found) for name, found in parts.items()})

    @property
    def iterator_types(self) -> tuple[str, ...]:
        """The loops over keys and depth reduce."""
        loops = self.loops
        reduced = {*loops.keys, *loops.depth}
        return tuple(REDUCTION if i in reduced else PARALLEL for i in range(self.indexing_maps[0].n_dims))

    def loop_ranges(self) -> tuple[LoopRange, ...]:
        """Per loop its static size, or (operand index, axis) of an operand dim of that size."""
        maps = self.indexing_maps
        return loop_ranges(maps, [v.type for v in self.operands], maps[0].n_dims)

    # -- checks --------------------------------------------------------------------------------------

    def verify_op(self) -> None:
        self.check_counts([4, 5], [1])
        q, k, v, scale = (value.type for value in self.inputs[:4])
        out = self.outputs[0].type
        if not isinstance(scale, FloatType):
            raise VerifyError(self, f"the scale must be a float scalar, got {scale}")
        if any(not isinstance(t.element_type, FloatType) for t in (q, k, v, out)):
            raise VerifyError(self, "q, k, v and the output must hold floats")
        if self.mask is not None:
            element = self.mask.type.element_type
            if element is not i1 and not isinstance(element, FloatType):
                raise VerifyError(self, f"the mask must hold floats or i1, got {self.mask.type}")
        if self.maps is None and (not q.rank == k.rank == v.rank == out.rank or q.rank < 2):
            raise VerifyError(self, "q, k, v and the output must have one rank, 2 or more")
        self._verify_maps()

    def _verify_maps(self) -> None:
        maps = self.indexing_maps
        if len(maps) != len(self.operands):
            raise VerifyError(self, f"{len(maps)} indexing maps for {len(self.operands)} operands")
        for number, (map, operand) in enumerate(zip(maps, self.operands, strict=True)):
            if map.n_symbols or map.n_dims != maps[0].n_dims:
                raise VerifyError(self, f"the map of operand {number} has other loops: {map}")
            if len(map.results) != len(operand_shape(operand.type)):
                raise VerifyError(
                    self, f"operand {number} of type {operand.type} needs another map than {map}"
                )
        try:
            loops = self.loops
            ranges = self.loop_ranges()
        except ValueError as error:
            raise VerifyError(self, f"invalid indexing maps: {error}") from None
        if not len(loops.keys) == len(loops.depth) == len(loops.width) == 1:
            raise VerifyError(self, "an attention has one loop over keys, one over depth and one over width")
        if not maps[-1].is_projected_permutation:
            raise VerifyError(self, f"the output's map must be a permutation of its loops, got {maps[-1]}")
        if self.causal is not None and len(loops.rows) != 1:
            raise VerifyError(self, "a causal attention has one loop over rows")
        if self.mask is not None and not maps[4].dims_used() <= {*loops.batch, *loops.rows, *loops.keys}:
            raise VerifyError(self, f"a mask is read by batch, rows and keys, not by {maps[4]}")
        sizes = [size if isinstance(size, int) else DYNAMIC for size in ranges]
        for number, (map, operand) in enumerate(zip(maps, self.operands, strict=True)):
            for axis, (expr, size) in enumerate(zip(map.results, operand_shape(operand.type), strict=True)):
                if size == DYNAMIC or 0 in sizes:
                    continue
                reach = bounds(expr, sizes)
                plain = isinstance(expr, AffineDim)
                if reach is not None and (
                    reach[0] < 0 or reach[1] >= size or (plain and reach[1] != size - 1)
                ):
                    raise VerifyError(
                        self,
                        f"dim {axis} of operand {number} has size {size}, "
                        f"but '{expr}' runs from {reach[0]} to {reach[1]}",
                    )

    def decompose(self, builder: Builder) -> list[Value] | None:
        return [decompose.attention(builder, self)]


_PARTS = {
    (True, True, True, True): "batch",
    (True, False, False, True): "rows",
    (False, True, True, False): "keys",
    (True, True, False, False): "depth",
    (False, False, True, True): "width",
    # Heads that share keys or values, and what one operand alone does not have.
    (True, True, False, True): "batch",
    (True, False, True, True): "batch",
}
