"""``linalg_ext``: multi-step computations kept whole, because one kernel does them better than their parts.

Each op is destination style, has a numpy meaning (``interpreters.linalg_ext``) and, where one exists, a form
in simpler ops (``decompose``). Indices are checked: one out of range is an error of the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects import linalg_ext_decompose as decompose
from iree_core_ir.dialects.linalg import BodyFunction, build_body
from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.dialects.linalg_ext_base import INS_OUTS, LinalgExtOp, check_shape
from iree_core_ir.dialects.linalg_ext_layout import *  # noqa: F403
from iree_core_ir.dialects.linalg_ext_layout import Im2Col, Pack, UnPack
from iree_core_ir.dialects.linalg_ext_recurrence import Recurrence
from iree_core_ir.dialects.linalg_structured import output_types
from iree_core_ir.dialects.linalg_text import (
    parse_group,
    parse_results,
    print_groups,
    print_results,
)
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import UNIT, Attribute, DenseArrayAttr, IntegerAttr, UnitAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import attribute, optional_attribute, region, segment_sizes
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.enums import EnumAttr
from iree_core_ir.ir.operation import Block, Region, Value
from iree_core_ir.ir.traits import SINGLE_BLOCK
from iree_core_ir.ir.types import DYNAMIC, FloatType, IndexType, IntegerType, element_of, i64


def _is_index_like(type: Any) -> bool:
    return isinstance(element_of(type), (IntegerType, IndexType))


class Softmax(LinalgExtOp, name="linalg_ext.softmax"):
    """``exp(x - max) / sum(exp(x - max))`` along ``dimension``.

    A row holding NaN, or whose maximum is +inf, gives NaN throughout; a row of -inf only, too.
    """

    dimension = attribute(IntegerAttr, type=i64)
    assembly_format = f"`dimension` `(` $dimension `)` attr-dict {INS_OUTS}"

    @classmethod
    def make(cls, input: Value, output: Value, dimension: int) -> Self:
        return cls.build([input], [output], {"dimension": IntegerAttr(dimension, i64)})

    def verify_op(self) -> None:
        self.check_counts([1], [1])
        a, b = self.inputs[0].type, self.outputs[0].type
        self.check_dim(self.dimension.value, a)
        check_shape(self, "output", b, a.shape)
        if not isinstance(a.element_type, FloatType) or a.element_type is not b.element_type:
            raise VerifyError(self, f"takes and gives one float type, got {a} and {b}")

    def decompose(self, builder: Builder) -> list[Value] | None:
        return [decompose.softmax(builder, self.inputs[0], self.outputs[0], self.dimension.value)]


class Gather(LinalgExtOp, name="linalg_ext.gather"):
    """Slices of the first input along ``axis`` at the positions the second holds.

    ``out[b.., i.., r..] = input[b.., indices[i..], r..]`` with ``b`` the dims before ``axis``: the output's
    shape is the input's with dim ``axis`` replaced by the shape of the indices. A position not in
    ``0 <= i < size`` is an error.
    """

    axis = attribute(IntegerAttr, type=i64)
    assembly_format = f"`axis` `(` $axis `)` attr-dict {INS_OUTS}"

    @classmethod
    def make(cls, input: Value, indices: Value, output: Value, axis: int) -> Self:
        return cls.build([input, indices], [output], {"axis": IntegerAttr(axis, i64)})

    def verify_op(self) -> None:
        self.check_counts([2], [1])
        data, indices, out = self.inputs[0].type, self.inputs[1].type, self.outputs[0].type
        axis = self.axis.value
        self.check_dim(axis, data)
        if not _is_index_like(indices):
            raise VerifyError(self, f"indices must be integers, got {indices}")
        if data.element_type is not out.element_type:
            raise VerifyError(self, f"{data} and {out} differ in element type")
        check_shape(self, "output", out, (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]))


class ScanKindAttr(EnumAttr):
    """How a scan combines: ``max`` and ``min`` are signed, and keep NaN."""

    __slots__ = ()
    mnemonic = "linalg_ext.scan_kind"
    cases = ("add", "mul", "max", "min")


class Scan(LinalgExtOp, name="linalg_ext.scan"):
    """Running combination along ``dimension`` in the output's type.

    ``inclusive``: element ``i`` combines elements ``0..i``; exclusive: those below ``i``, starting from the
    neutral element (0, 1, the least or the greatest value). ``reverse`` walks from the end.
    """

    kind = attribute(ScanKindAttr)
    dimension = attribute(IntegerAttr, type=i64)
    exclusive = optional_attribute(UnitAttr)
    reverse = optional_attribute(UnitAttr)
    assembly_format = (
        "`kind` $kind `dimension` `(` $dimension `)` (`exclusive` $exclusive^)? (`reverse` $reverse^)?"
        f" attr-dict {INS_OUTS}"
    )

    @classmethod
    def make(
        cls,
        input: Value,
        output: Value,
        dimension: int,
        kind: str = "add",
        exclusive: bool = False,
        reverse: bool = False,
    ) -> Self:
        attributes: dict[str, Attribute] = {
            "kind": ScanKindAttr(kind),
            "dimension": IntegerAttr(dimension, i64),
        }
        if exclusive:
            attributes["exclusive"] = UNIT
        if reverse:
            attributes["reverse"] = UNIT
        return cls.build([input], [output], attributes)

    def verify_op(self) -> None:
        self.check_counts([1], [1])
        a, b = self.inputs[0].type, self.outputs[0].type
        self.check_dim(self.dimension.value, a)
        check_shape(self, "output", b, a.shape)


class TopK(LinalgExtOp, name="linalg_ext.topk"):
    """The ``k`` greatest elements along ``dimension`` in descending order, and their positions.

    ``k`` is the outputs' size there. NaN counts as greater than every number; of equal elements the one at
    the lower position comes first. With ``smallest``: the least elements, ascending, NaN last.
    """

    dimension = attribute(IntegerAttr, type=i64)
    smallest = optional_attribute(UnitAttr)
    assembly_format = f"`dimension` `(` $dimension `)` (`smallest` $smallest^)? attr-dict {INS_OUTS}"

    @classmethod
    def make(
        cls, input: Value, values: Value, indices: Value, dimension: int, smallest: bool = False
    ) -> Self:
        attributes: dict[str, Attribute] = {"dimension": IntegerAttr(dimension, i64)}
        if smallest:
            attributes["smallest"] = UNIT
        return cls.build([input], [values, indices], attributes)

    def verify_op(self) -> None:
        self.check_counts([1], [2])
        a, values, indices = self.inputs[0].type, self.outputs[0].type, self.outputs[1].type
        dim = self.dimension.value
        self.check_dim(dim, a)
        if values.element_type is not a.element_type or not _is_index_like(indices):
            raise VerifyError(self, f"gives values of {a} and integer positions, got {values} and {indices}")
        check_shape(self, "positions", indices, values.shape)
        if values.rank == a.rank:
            k, n = values.shape[dim], a.shape[dim]
            if DYNAMIC not in (k, n) and k > n:
                raise VerifyError(self, f"cannot take {k} of {n} elements")
        expected = list(a.shape)
        expected[dim] = DYNAMIC
        check_shape(self, "values", values, expected)


class Sort(LinalgExtOp, name="linalg_ext.sort"):
    """Elements along ``dimension`` in ascending order (stable), and, in a second output, their positions.

    NaN counts as greater than every number. ``descending`` keeps equal elements in their order, too.
    """

    dimension = attribute(IntegerAttr, type=i64)
    descending = optional_attribute(UnitAttr)
    assembly_format = f"`dimension` `(` $dimension `)` (`descending` $descending^)? attr-dict {INS_OUTS}"

    @classmethod
    def make(cls, input: Value, outputs: Sequence[Value], dimension: int, descending: bool = False) -> Self:
        """``outputs``: values, and optionally positions."""
        attributes: dict[str, Attribute] = {"dimension": IntegerAttr(dimension, i64)}
        if descending:
            attributes["descending"] = UNIT
        return cls.build([input], outputs, attributes)

    def verify_op(self) -> None:
        self.check_counts([1], [1, 2])
        a = self.inputs[0].type
        self.check_dim(self.dimension.value, a)
        for value in self.outputs:
            check_shape(self, "output", value.type, a.shape)
        if self.outputs[0].type.element_type is not a.element_type:
            raise VerifyError(self, "values keep their element type")
        if len(self.outputs) == 2 and not _is_index_like(self.outputs[1].type):
            raise VerifyError(self, "positions must be integers")


class Scatter(LinalgExtOp, name="linalg_ext.scatter", traits=(SINGLE_BLOCK,)):
    """Updates combined into the output at given positions, one after the other in row-major order.

    Inputs: updates ``[b.., r..]`` and indices ``[b.., k]``; output ``original`` of rank ``k + len(r)`` whose
    dims ``dimension_map`` the indices address and whose other dims are ``r``, in order. The body combines
    ``(update, current) -> new``. A position out of range is an error.
    """

    dimension_map = attribute(DenseArrayAttr, type=i64)
    unique_indices = optional_attribute(UnitAttr)
    """Promise that no element is updated twice: updates may run in any order."""
    combiner = region()

    @classmethod
    def make(
        cls,
        updates: Value,
        indices: Value,
        original: Value,
        dimension_map: Sequence[int],
        body: BodyFunction | Region,
        unique: bool = False,
    ) -> Self:
        if not isinstance(body, Region):
            body = build_body([element_of(updates.type), element_of(original.type)], body)
        attributes: dict[str, Attribute] = {"dimension_map": DenseArrayAttr(i64, dimension_map)}
        if unique:
            attributes["unique_indices"] = UNIT
        attributes["operandSegmentSizes"] = segment_sizes([updates, indices], [original])
        return cls([updates, indices, original], output_types([original]), attributes, [body])

    @property
    def body(self) -> Block:
        return self.regions[0].block

    @classmethod
    def parse(cls, p: Any) -> Self:
        p.expect("dimension_map")
        p.expect("=")
        attributes: dict[str, Attribute] = {
            "dimension_map": DenseArrayAttr(i64, p.comma_list(p.integer, "[", "]"))
        }
        if p.accept("unique_indices"):
            attributes["unique_indices"] = UNIT
        attributes.update(p.attribute_dict())
        inputs, outputs = parse_group(p, "ins"), parse_group(p, "outs")
        body = p.region()
        attributes["operandSegmentSizes"] = segment_sizes(inputs, outputs)
        return cls([*inputs, *outputs], parse_results(p), attributes, [body])

    def print(self, printer: Any) -> None:
        printer.write(f" dimension_map = [{printer.array_items(self.dimension_map)}]")
        if self.unique_indices is not None:
            printer.write(" unique_indices")
        printer.attribute_dict(self.attributes, ("dimension_map", "unique_indices", "operandSegmentSizes"))
        print_groups(printer, self.inputs, self.outputs)
        printer.write(" ")
        printer.region(self.regions[0])
        print_results(printer, self)

    def verify_op(self) -> None:
        self.check_counts([2], [1])
        updates, indices, original = (v.type for v in self.operands)
        dims = self.dimension_map.values
        if len(set(dims)) != len(dims) or any(not 0 <= d < original.rank for d in dims):
            raise VerifyError(self, f"dimension_map {list(dims)} of {original}")
        if not _is_index_like(indices) or indices.rank < 1:
            raise VerifyError(self, f"indices must be integers of rank 1 or more, got {indices}")
        check_shape(self, "indices", indices, (*indices.shape[:-1], len(dims)))
        rest = [size for i, size in enumerate(original.shape) if i not in dims]
        check_shape(self, "updates", updates, (*indices.shape[:-1], *rest))
        wanted = [updates.element_type, original.element_type]
        if [a.type for a in self.body.args] != wanted:
            raise VerifyError(self, f"the body takes ({wanted[0]}, {wanted[1]})")
        last = self.body.last
        if last is None or last.name != "linalg.yield" or [v.type for v in last.operands] != wanted[1:]:
            raise VerifyError(self, f"the body must yield {wanted[1]}")


DIALECT = Dialect(
    "linalg_ext",
    ops=[Attention, Gather, Im2Col, Pack, Recurrence, Scan, Scatter, Softmax, Sort, TopK, UnPack],
    attributes=[ScanKindAttr],
)
