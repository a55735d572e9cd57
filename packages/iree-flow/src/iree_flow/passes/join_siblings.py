"""``join-siblings``: products of one left side with several constants become one, where it is read in place.

Query, key and value of a self-attention are usually three products of the same rows, each with its bias.
Joined they are one product with constants side by side (lazily, in the constant store): the rows are read
once and threads share larger work. The attention then reads its operands out of the joined rows through its
maps, so nothing is sliced. Products that anything else reads stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from iree_base.records import record
from iree_codegen import indexing
from iree_codegen.indexing import Affine, Var
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects import linalg_scalars as scalars
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.attributes import DenseElementsAttr, DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import fuse
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import TensorType, f32
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.dims import DimResolver
from iree_flow.generics import erase_unused_makers
from iree_flow.moved_elements import (
    Element,
    as_expression,
    is_zero_filled,
    only_way,
    origin,
    read_by_axes,
)
from iree_flow.symbolic_dims import argument_dim_names


@record
class JoinSiblings(Pass):
    name: ClassVar[str] = "join-siblings"

    def run(self, module: Op, context: PassContext) -> bool:
        changed = False
        for function in module.regions[0].block:
            if not isinstance(function, FuncOp) or not function.regions[0].blocks:
                continue
            resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
            for block in function.regions[0].blocks:
                for op in block.ops:
                    if isinstance(op, Attention):
                        _Joiner(op, resolver, context.constants).run()
                        changed = True
        return changed


@record
class _Part:
    """An operand of the attention: elements of a product with a constant, and its bias."""

    number: int
    element: Element
    product: linalg.MatMul
    bias: Value | None
    expand: tensor.ExpandShape | None
    """Between product and bias: the rows' dims."""

    @property
    def columns(self) -> int:
        return int(self.product.results[0].type.shape[-1])

    @property
    def kinship(self) -> Any:
        """Equal for parts that can be joined."""
        shape = None
        if self.expand is not None:
            shape = (self.expand.groups, tuple(self.expand.mixed_output_shape[:-1]))
        return self.product.inputs[0], self.bias is not None, shape


class _Joiner:
    def __init__(self, op: Attention, resolver: DimResolver, constants: ConstantStore) -> None:
        self.op = op
        self.resolver = resolver
        self.constants = constants
        sizes = [r if isinstance(r, int) else None for r in op.loop_ranges()]
        self.vars = [Var(f"d{i}", size) for i, size in enumerate(sizes)]

    def run(self) -> None:
        kin: dict[Any, list[_Part]] = {}
        for number in range(3):
            part = self._part(number)
            if part is not None:
                kin.setdefault(part.kinship, []).append(part)
        joined = [parts for parts in kin.values() if len(parts) > 1]
        if not joined:
            return
        builder = Builder.before_op(self.op)
        inputs, maps = list(self.op.inputs), list(self.op.indexing_maps)
        places = {v: i for i, v in enumerate(self.vars)}
        for parts in joined:
            rows = self._joined(builder, parts)
            first = 0
            for part in parts:
                forms = part.element.forms
                moved = Element(rows, (*forms[:-1], forms[-1] + first))
                value, read = read_by_axes(builder, moved, self.resolver)
                inputs[part.number] = value
                maps[part.number] = AffineMap(len(places), 0, [as_expression(f, places) for f in read])
                first += part.columns
        made = self.op.on(inputs, self.op.outputs[0], maps)
        builder.location = self.op.location
        builder.insert(made)
        made.results[0].hint = self.op.results[0].hint
        replaced = self.op.operands
        self.op.replace_by([made.results[0]])
        erase_unused_makers(replaced)

    def _part(self, number: int) -> _Part | None:
        value = self.op.inputs[number]
        forms = [indexing.ZERO if v.extent == 1 else indexing.of(v) for v in self.vars]
        read: list[Affine] = [indexing.apply(e, forms) for e in self.op.indexing_maps[number].results]
        if sum(v is value for v in self.op.inputs) > 1:
            return None
        element = origin(value, read)
        if any(v not in self.vars for form in element.forms for v, _ in form.terms):
            return None
        if not only_way(value, element.value):
            return None
        root: Any = element.value.defining_op
        bias: Value | None = None
        if isinstance(root, linalg.Generic):
            found = _biased(root)
            if found is None or not found[0].has_one_use:
                return None
            source, bias = found
            root = source.defining_op
        expand: tensor.ExpandShape | None = None
        if isinstance(root, tensor.ExpandShape):
            expand, root = root, root.src.defining_op
            if len(expand.groups[-1]) != 1 or not expand.src.has_one_use:
                return None
        if not isinstance(root, linalg.MatMul) or not is_zero_filled(root.outputs[0]):
            return None
        if _constant(root.inputs[1]) is None or not isinstance(root.inputs[1].type, TensorType):
            return None
        if root.results[0].type.element_type is not f32 or not _is_plain(root):
            return None
        return _Part(number, element, root, bias, expand)

    def _joined(self, builder: Builder, parts: Sequence[_Part]) -> Value:
        """The rows of all parts side by side, biases added."""
        builder.location = fuse(part.product.location for part in parts)
        rows = parts[0].product.inputs[0]
        weights = self._side_by_side(builder, [part.product.inputs[1] for part in parts], 1)
        columns = sum(part.columns for part in parts)
        sizes = [self.resolver.dims(rows)[0], columns]
        zero = scalars.constant(builder, 0.0, f32)
        start = linalg.fill(builder, zero, builder.create(tensor.Empty, sizes, f32).result)
        value: Value = builder.create(linalg.MatMul, [rows, weights], [start]).results[0]
        expand = parts[0].expand
        if expand is not None:
            lead = list(expand.mixed_output_shape[:-1])
            groups = [list(group) for group in expand.groups]
            value = builder.create(tensor.ExpandShape, value, groups, [*lead, columns]).result
        if parts[0].bias is None:
            return value
        bias = self._side_by_side(builder, [part.bias for part in parts if part.bias is not None], 0)
        rank = value.type.rank
        target = builder.create(tensor.Empty, self.resolver.dims(value), f32).result
        identity = AffineMap.identity(rank)
        return linalg.generic(
            builder,
            [value, bias],
            [target],
            [identity, AffineMap.select(rank, [rank - 1]), identity],
            ["parallel"] * rank,
            lambda b, x, y, _: scalars.add(b, x, y),
        ).result

    def _side_by_side(self, builder: Builder, values: Sequence[Value], axis: int) -> Value:
        """Constants joined along ``axis``."""
        keys = [self._key(value) for value in values]
        shape = list(values[0].type.shape)
        shape[axis] = sum(value.type.shape[axis] for value in values)
        key = self.constants.add_transform("concat", keys, shape, "f32", {"axis": axis})
        attribute = DenseResourceAttr(key, TensorType(shape, f32))
        return builder.insert(arith.Constant.make(attribute)).result

    def _key(self, value: Value) -> str:
        attribute = _constant(value)
        if isinstance(attribute, DenseResourceAttr):
            return attribute.key
        assert isinstance(attribute, DenseElementsAttr)
        return self.constants.add_array(attribute.to_array(), "f32")


def _constant(value: Value) -> DenseResourceAttr | DenseElementsAttr | None:
    op = value.defining_op
    if not isinstance(op, arith.Constant):
        return None
    attribute = op.attributes["value"]
    return attribute if isinstance(attribute, (DenseResourceAttr, DenseElementsAttr)) else None


def _is_plain(op: linalg.MatMul) -> bool:
    """``[m, k] @ [k, n]``, nothing transposed."""
    select = AffineMap.select
    return tuple(op.indexing_maps) == (select(3, [0, 2]), select(3, [2, 1]), select(3, [0, 1]))


def _biased(op: linalg.Generic) -> tuple[Value, Value] | None:
    """(source, bias) when ``op`` adds a constant vector along its last axis."""
    if len(op.inputs) != 2 or fusion.kind_of(op) != fusion.ELEMENTWISE or len(list(op.body)) != 2:
        return None
    total = op.body.terminator.operands[0].defining_op
    if total is None or total.name != "arith.addf":
        return None
    if {*total.operands} != {*op.body.args[:2]}:
        return None
    rank = op.n_loops
    identity, last = AffineMap.identity(rank), AffineMap.select(rank, [rank - 1])
    if op.indexing_maps[2] is not identity:
        return None
    for source, bias in ((0, 1), (1, 0)):
        if op.indexing_maps[source] is identity and op.indexing_maps[bias] is last:
            if _constant(op.inputs[bias]) is not None and rank > 1:
                return op.inputs[source], op.inputs[bias]
    return None


__all__ = ["JoinSiblings"]
