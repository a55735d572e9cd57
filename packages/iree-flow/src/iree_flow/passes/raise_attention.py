"""``raise-attention``: two products around a softmax become one ``linalg_ext.attention``.

Before: ``q k^T``, scaled on one side, on both or behind, a mask added or selected by, ``softmax``, zeros for
rows that are masked wholly, times ``v``; with the transposes, slices and reshapes that bring heads to the
front and back. After: one op that reads q, k and v where they lie and writes the heads where they are wanted.

A constant mask that keeps queries to the keys before them makes the attention causal. Any other mask that
depends on queries and keys is turned so that it runs as kernels read it: along the queries, or the keys
(``TargetWishes.masks_along_keys``); equal ones are shared by all layers. A row that is masked wholly and
whose values are not finite may give 0 instead of NaN.

Only for targets that compute an attention as one (``TargetWishes.fused_ops``); for others an attention
becomes products and a softmax again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from iree_base.records import field, record
from iree_codegen import indexing
from iree_codegen.contraction import product_operands
from iree_codegen.indexing import Affine, Var
from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects import linalg, linalg_ext, tensor
from iree_core_ir.dialects import linalg_scalars as scalars
from iree_core_ir.dialects.arith_attributes import CMPF_PREDICATES
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import fuse
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.types import DYNAMIC, f32
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow import fusion
from iree_flow.causal_masks import is_causal
from iree_flow.dims import Dim, DimResolver
from iree_flow.generics import erase_unused_makers
from iree_flow.moved_elements import (
    Element,
    SplitVariable,
    as_expression,
    constant_number,
    is_zero_filled,
    only_way,
    origin,
    read_by_axes,
)
from iree_flow.score_terms import adjustment, mask_of
from iree_flow.symbolic_dims import argument_dim_names
from iree_flow.unit_dims import add_axes

NAME = "linalg_ext.attention"
MOST_SPLITS = 4


@record
class RaiseAttention(Pass):
    name: ClassVar[str] = "raise-attention"

    def run(self, module: Op, context: PassContext) -> bool:
        target = context.options.get("target")
        fused = getattr(target, "fused_ops", None)
        wanted = fused is not None and NAME in fused(context.options["description"])
        along = getattr(target, "masks_along_keys", None)

        @functools.cache
        def by_rows() -> bool:
            return along is not None and along(context.options["description"])

        changed = False
        for function in module.regions[0].block:
            if not isinstance(function, FuncOp) or not function.regions[0].blocks:
                continue
            resolver = DimResolver(function.regions[0].block, argument_dim_names(function))
            for block in function.regions[0].blocks:
                if not wanted:
                    changed |= lower_attention(block)
                    continue
                for op in block.ops:
                    if any(map(_leads_to_softmax, op.operands[:2])):
                        raise_attention(op, resolver, context.constants, by_rows)
                        changed = True  # reshapes at least, which an attention that cannot be leaves behind
                for op in block.ops:
                    if isinstance(op, Attention):
                        absorb_transpose(op, resolver)
                        changed = True
        return changed


def lower_attention(block: Block) -> bool:
    """Attentions as products and softmax; tells whether there were any."""
    changed = False
    for op in block.ops:
        if isinstance(op, Attention):
            values = op.decompose(Builder.before_op(op))
            if values is not None:
                op.replace_by(values)
            changed = True
    return changed


@record
class _Match:
    """An attention that ends in the product ``root``, found so far."""

    root: Any
    resolver: DimResolver
    constants: ConstantStore
    by_rows: Callable[[], bool]
    splits: dict[int, tuple[Dim, ...]]
    """Loops of the root that stand for several dims."""
    loops: dict[int, list[Var]] = field(default_factory=dict)
    sizes: dict[Var, Dim] = field(default_factory=dict)
    factor: float = 1.0
    zero: bool = False
    mask: Element | None = None

    def __post_init__(self) -> None:
        for loop, size in enumerate(self.root.loop_ranges()):
            dim: Dim = (
                size if isinstance(size, int) else self.resolver.dims(self.root.operands[size[0]])[size[1]]
            )
            parts: Sequence[Dim] = self.splits.get(loop, (dim,))
            self.loops[loop] = [self.variable(f"d{loop}_{i}", part) for i, part in enumerate(parts)]

    def variable(self, name: str, size: Dim) -> Var:
        var = Var(name, size if isinstance(size, int) and size >= 0 else None)
        self.sizes[var] = size
        return var

    def form(self, loop: int) -> Affine:
        """The index of a loop of the root; 0 where it runs once."""
        own = self.loops[loop]
        forms = [indexing.ZERO if v.extent == 1 else indexing.of(v) for v in own]
        return indexing.linearize(forms, [v.extent if v.extent is not None else 0 for v in own])

    def read(self, number: int) -> tuple[Affine, ...]:
        """The indices at which the root reads operand ``number``."""
        forms = [self.form(i) for i in range(self.root.n_loops)]
        return tuple(indexing.apply(e, forms) for e in self.root.indexing_maps[number].results)


def is_product(op: Any) -> bool:
    """A sum of products in f32 that starts from 0."""
    return (
        isinstance(op, StructuredOp)
        and fusion.kind_of(op) == fusion.CONTRACTION
        and product_operands(op) is not None
        and op.outputs[0].type.element_type is f32
        and is_zero_filled(op.outputs[0])
    )


def raise_attention(
    op: Any, resolver: DimResolver, constants: ConstantStore, by_rows: Callable[[], bool]
) -> bool:
    """Replace ``op`` when it is the product with the values; says whether it was. ``by_rows``: whether masks
    run along keys."""
    if not is_product(op) or len(op.reduction_dims) != 1:
        return False
    splits: dict[int, tuple[Dim, ...]] = {}
    for _ in range(MOST_SPLITS):
        match = _Match(op, resolver, constants, by_rows, splits)
        try:
            return any(_weighted_by(match, weights) for weights in (0, 1))
        except SplitVariable as wish:
            loop = next(i for i, own in match.loops.items() if wish.var in own)
            at = match.loops[loop].index(wish.var)
            old = [match.sizes[v] for v in match.loops[loop]]
            dims = resolver.dims(wish.value)
            splits[loop] = (*old[:at], *(dims[i] for i in wish.axes), *old[at + 1 :])
    return False


def _weighted_by(match: _Match, weights: int) -> bool:
    """The attention whose weights are input ``weights`` of the root."""
    root = match.root
    (reduced,) = root.reduction_dims
    maps = root.indexing_maps
    used = [m.dims_used() for m in maps]
    batch = [i for i in root.parallel_dims if i in used[0] and i in used[1]]
    splittable = {v for loop in batch for v in match.loops[loop]}
    key = match.loops[reduced][0]
    widths = [i for i in root.parallel_dims if i not in used[weights]]
    if len(match.loops[reduced]) != 1 or key.extent == 1 or len(widths) != 1:
        return False
    (width,) = match.loops[widths[0]]
    if width.extent == 1:
        return False
    softmax = _softmax(match, root.inputs[weights], match.read(weights), splittable)
    if softmax is None:
        return False
    op, forms = softmax
    axis = op.dimension.value
    if forms[axis] != indexing.of(key) or any(_mentions(f, key) for i, f in enumerate(forms) if i != axis):
        return False
    scores = _scores(match, op, forms, splittable)
    if scores is None:
        return False
    product, own = scores
    query_key = _factors(match, product, own, key, splittable)
    if query_key is None:
        return False
    query, keys, depth = query_key
    values = origin(root.inputs[1 - weights], match.read(1 - weights), factors=True, splittable=splittable)
    if not _mentions_any(values.forms, key) or not _mentions_any(values.forms, width):
        return False
    return _Builder(match, query, keys, values, key, depth, width).build()


def _mentions(form: Affine, var: Var) -> bool:
    return any(v is var for v, _ in form.terms)


def _mentions_any(forms: Sequence[Affine], var: Var) -> bool:
    return any(_mentions(form, var) for form in forms)


def _softmax(
    match: _Match, value: Value, forms: tuple[Affine, ...], splittable: set[Var]
) -> tuple[linalg_ext.Softmax, tuple[Affine, ...]] | None:
    """The softmax that the weights come from, and how its result is read."""
    at = Element(value, forms)
    while True:
        found = origin(at.value, at.forms, splittable=splittable)
        if not only_way(at.value, found.value):
            return None
        op: Any = found.value.defining_op
        if isinstance(op, linalg_ext.Softmax):
            return op, found.forms
        if not isinstance(op, linalg.Generic) or not _zeroes_nan(op):
            return None
        match.zero = True
        at = Element(op.inputs[0], _input_forms(op, 0, found.forms))


def _input_forms(op: linalg.Generic, number: int, forms: Sequence[Affine]) -> tuple[Affine, ...]:
    """Where an elementwise op reads an input for element ``forms`` of its result."""
    return tuple(indexing.apply(e, _loop_forms(op, forms)) for e in op.indexing_maps[number].results)


def _loop_forms(op: Any, forms: Sequence[Affine]) -> list[Affine]:
    loops = [indexing.ZERO] * op.n_loops
    for position, form in zip(op.indexing_maps[op.n_inputs].dim_positions(), forms, strict=True):
        assert position is not None
        loops[position] = form
    return loops


def _zeroes_nan(op: linalg.Generic) -> bool:
    """``select(x is NaN, 0, x)``."""
    if len(op.inputs) != 1 or fusion.kind_of(op) != fusion.ELEMENTWISE:
        return False
    argument, choice = op.body.args[0], op.body.terminator.operands[0].defining_op
    if choice is None or choice.name != "arith.select":
        return False
    condition, zero, kept = choice.operands
    test: Any = condition.defining_op
    if kept is not argument or test is None or constant_number(zero) != 0.0:
        return False
    if any(v is not argument for v in test.operands):
        return False
    unordered = test.name == "arith.cmpf" and CMPF_PREDICATES[test.predicate.value] in ("une", "uno")
    return test.name == "math.isnan" or unordered


def _scores(
    match: _Match, softmax: linalg_ext.Softmax, forms: tuple[Affine, ...], splittable: set[Var]
) -> tuple[Any, tuple[Affine, ...]] | None:
    """The product that the scores come from and how it is read; their factor and mask go to ``match``."""
    at = Element(softmax.inputs[0], forms)
    while True:
        found = origin(at.value, at.forms, factors=True, splittable=splittable)
        if not only_way(at.value, found.value):
            return None
        match.factor *= found.factor
        op: Any = found.value.defining_op
        if is_product(op):
            return op, found.forms
        if not isinstance(op, linalg.Generic) or fusion.kind_of(op) != fusion.ELEMENTWISE:
            return None
        if match.mask is not None or match.factor != 1.0 or op.uses_output(0):
            # What is masked and then scaled, or masked twice, stays as it is.
            return None
        score = next((i for i, v in enumerate(op.inputs) if _leads_to_product(v)), None)
        if score is None:
            return None
        adjusted = adjustment(op, score)
        if adjusted is None:
            return None
        if adjusted.term is not None or adjusted.keep is not None:
            mask = mask_of(Builder.before_op(op), op, score, adjusted, match.resolver)
            if mask is None:
                return None
            loops = _loop_forms(op, found.forms)
            own = tuple(indexing.apply(e, loops) for e in mask[1])
            match.mask = origin(mask[0], own, splittable=splittable)
        match.factor *= adjusted.factor
        at = Element(op.inputs[score], _input_forms(op, score, found.forms))


def _leads_to_softmax(value: Value) -> bool:
    """Elementwise ops, slices and reshapes with one user each, from a softmax: it may be weights."""
    while value.has_one_use:
        op: Any = value.owner
        if isinstance(op, linalg_ext.Softmax):
            return True
        if isinstance(op, (tensor.ExpandShape, tensor.CollapseShape, tensor.ExtractSlice)) or (
            isinstance(op, linalg.Generic) and len(op.inputs) == 1
        ):
            value = op.operands[0]
        else:
            return False
    return False


def _leads_to_product(value: Value) -> bool:
    """Elementwise ops and reshapes with one user each, from a product."""
    op: Any = value.defining_op
    while op is not None and value.has_one_use:
        if is_product(op):
            return True
        if isinstance(op, (tensor.ExpandShape, tensor.CollapseShape)):
            value = op.operands[0]
        elif isinstance(op, linalg.Generic) and len(op.inputs) == 1:
            value = op.inputs[0]
        else:
            return False
        op = value.defining_op
    return False


def _factors(
    match: _Match, product: Any, forms: Sequence[Affine], key: Var, splittable: set[Var]
) -> tuple[Element, Element, Var] | None:
    """Query, key and the variable over depth of the scores' product."""
    if len(product.reduction_dims) != 1:
        return None
    (reduced,) = product.reduction_dims
    size = product.loop_ranges()[reduced]
    dim: Dim = size if isinstance(size, int) else match.resolver.dims(product.operands[size[0]])[size[1]]
    depth = match.variable("k", dim)
    if depth.extent is None or depth.extent == 1:
        return None
    loops = _loop_forms(product, forms)
    loops[reduced] = indexing.of(depth)
    sides: list[Element] = []
    for number in (0, 1):
        own = tuple(indexing.apply(e, loops) for e in product.indexing_maps[number].results)
        sides.append(origin(product.inputs[number], own, factors=True, splittable=splittable))
    with_key = [i for i, side in enumerate(sides) if _mentions_any(side.forms, key)]
    if len(with_key) != 1:
        return None
    keys, query = sides[with_key[0]], sides[1 - with_key[0]]
    match.factor *= keys.factor * query.factor
    if not _mentions_any(keys.forms, depth) or not _mentions_any(query.forms, depth):
        return None
    return query, keys, depth


@record
class _Builder:
    """Makes the attention that was matched."""

    match: _Match
    query: Element
    keys: Element
    values: Element
    key: Var
    depth: Var
    width: Var

    def build(self) -> bool:
        match, root = self.match, self.match.root
        output = [
            v
            for position in root.indexing_maps[-1].dim_positions()
            for v in match.loops[position]
            if v.extent != 1
        ]
        order = [v for v in output if v is not self.width]
        places = {v: i for i, v in enumerate([*order, self.key, self.depth, self.width])}
        elements = [self.query, self.keys, self.values]
        if any(v not in places for e in elements for form in e.forms for v, _ in form.terms):
            return False
        builder = Builder.before_op(root)
        builder.location = fuse([root.location])
        inputs: list[Value] = []
        maps: list[AffineMap] = []
        for element in elements:
            value, forms = read_by_axes(builder, element, match.resolver)
            inputs.append(value)
            maps.append(AffineMap(len(places), 0, [as_expression(f, places) for f in forms]))
        mask: Value | None = None
        maps.append(AffineMap(len(places)))
        causal = match.mask is not None and self._is_causal(match.mask)
        if match.mask is not None and not causal:
            if any(v not in places for form in match.mask.forms for v, _ in form.terms):
                return False
            mask, forms = read_by_axes(builder, match.mask, match.resolver)
            mask, forms = self._turned(builder, mask, forms)
            maps.append(AffineMap(len(places), 0, [as_expression(f, places) for f in forms]))
        maps.append(AffineMap.select(len(places), [places[v] for v in output]))
        factor = scalars.constant(builder, match.factor, f32)
        target = builder.create(tensor.Empty, [match.sizes[v] for v in output], f32).result
        made = Attention.make(
            inputs[0], inputs[1], inputs[2], factor, target, mask, causal=causal, nan_rows_zero=match.zero,
            maps=maps,
        )  # fmt: skip
        try:
            made.verify_op()
        except VerifyError:
            made.drop_all_references()
            return False
        builder.insert(made)
        result = self._shaped(builder, made.results[0], output)
        if self.values.factor != 1.0:
            result = linalg.elementwise(
                builder,
                [result],
                lambda b, x: scalars.mul(b, x, scalars.constant(b, self.values.factor, f32)),
            )
        result.hint = root.results[0].hint
        replaced = root.operands
        root.replace_by([result])
        erase_unused_makers(replaced)
        return True

    @property
    def _rows(self) -> list[Var]:
        """Variables of the queries that the keys do not have."""
        query, keys = self.query.forms, self.keys.forms
        return [v for v in self.match.sizes if _mentions_any(query, v) and not _mentions_any(keys, v)]

    def _is_causal(self, mask: Element) -> bool:
        rows = self._rows
        return len(rows) == 1 and is_causal(mask, rows[0], self.key, self.match.constants)

    def _turned(self, builder: Builder, mask: Value, forms: list[Affine]) -> tuple[Value, list[Affine]]:
        """A mask of queries and keys whose last axis is not the one that kernels go along, turned."""
        rows = self._rows
        if not _mentions_any(forms, self.key) or not any(_mentions_any(forms, v) for v in rows):
            return mask, forms
        last = [self.key] if self.match.by_rows() else rows
        axes = [i for i, form in enumerate(forms) if any(form == indexing.of(v) for v in last)]
        if len(axes) != 1 or axes[0] == len(forms) - 1:
            return mask, forms
        order = [i for i in range(len(forms)) if i != axes[0]] + axes
        dims = self.match.resolver.dims(mask)
        target = builder.create(tensor.Empty, [dims[i] for i in order], mask.type.element_type).result
        turned = builder.create(linalg.Transpose, mask, target, order)
        made = linalg.generalize(turned, Builder.before_op(turned))
        turned.replace_by(list(made.results))
        return made.results[0], [forms[i] for i in order]

    def _shaped(self, builder: Builder, value: Value, output: list[Var]) -> Value:
        """The attention's result in the shape of the root's: split dims merged, dims of size 1 back."""
        root, match = self.match.root, self.match
        positions = root.indexing_maps[-1].dim_positions()
        groups: list[list[int]] = []
        count = 0
        merged: list[Dim] = []
        dims = match.resolver.dims(root.results[0])
        for axis, position in enumerate(positions):
            own = [v for v in match.loops[position] if v.extent != 1]
            if own:
                groups.append(list(range(count, count + len(own))))
                merged.append(dims[axis])
                count += len(own)
        if len(groups) != count:
            shape = [d if isinstance(d, int) else DYNAMIC for d in merged]
            type = value.type.with_shape(shape)
            value = builder.create(tensor.CollapseShape, value, groups, type).result
        if len(merged) != len(dims):
            dropped = [a for a, p in enumerate(positions) if all(v.extent == 1 for v in match.loops[p])]
            value = add_axes(builder, value, dropped, dims)
        return value


def absorb_transpose(op: Attention, resolver: DimResolver) -> None:
    """The result's only reader permutes it: the attention writes it so."""
    result = op.results[0]
    _drop_round_trip(result)
    user: Any = result.users[0] if result.has_one_use else None
    if not isinstance(user, linalg.Generic) or len(user.inputs) != 1 or len(list(user.body)) != 1:
        return
    if user.body.terminator.operands[0] is not user.body.args[0]:
        return
    reads, writes = user.indexing_maps
    if not reads.is_permutation or not writes.is_permutation:
        return
    # Per axis of the user's result: the axis of the attention's that it is.
    axis_of = {p: i for i, p in enumerate(reads.dim_positions())}
    order = [axis_of[p] for p in writes.dim_positions()]
    maps = list(op.indexing_maps)
    maps[-1] = AffineMap(maps[-1].n_dims, 0, [maps[-1].results[i] for i in order])
    builder = Builder.before_op(op)
    builder.location = fuse([op.location, user.location])
    sizes = resolver.dims(op.outputs[0])
    target = builder.create(tensor.Empty, [sizes[i] for i in order], result.type.element_type).result
    made = op.on(op.inputs, target, maps)
    builder.insert(made)
    made.results[0].hint = user.results[0].hint
    replaced = (user.outputs[0], op.outputs[0])
    user.replace_by([made.results[0]])
    op.erase()
    erase_unused_makers(replaced)


def _drop_round_trip(value: Value) -> None:
    """Dims of ``value`` that are merged and then split again the same way are left alone."""
    collapse: Any = value.users[0] if value.has_one_use else None
    if not isinstance(collapse, tensor.CollapseShape):
        return
    for expand in list(collapse.result.users):
        same = isinstance(expand, tensor.ExpandShape) and expand.groups == collapse.groups
        if same and expand.results[0].type is value.type and value.type.is_static:
            expand.replace_by([value])
    if not collapse.result.uses:
        collapse.erase()


__all__ = ["RaiseAttention"]
