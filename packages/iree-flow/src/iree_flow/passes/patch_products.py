"""``patch-products``: convolutions whose windows lie side by side are products of patches.

Where the stride is the window and nothing is padded or dilated, every element of the image belongs to one
window: ``[N][C][OH*kh][OW*kw]`` is cut into ``N*OH*OW`` patches of ``C*kh*kw`` elements, a matrix whose
product with the filters has the result, channels last. That is how vision transformers make tokens of an
image; the transpose behind the product meets the one that the model has. Small windows stay: other forms are
as fast. So do integers, and sums wider than what they are of.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.types import FloatType
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.moved_elements import is_zero_filled
from iree_flow.scaled_integers import is_elementwise

SMALLEST = 64
"""Elements of a window, at least."""
LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
"""Dims of an image, channels last in those of one with channels first, and the other way round."""


@record
class PatchProducts(Pass):
    name: ClassVar[str] = "patch-products"

    def run(self, module: Op, context: PassContext) -> bool:
        found = [op for op in module.walk() if op.name == "linalg.conv_2d_nchw_fchw" and _is_patches(op)]
        for op in found:
            _rewrite(op)
        return bool(found)


def _is_patches(op: Any) -> bool:
    image, filters = (v.type for v in op.inputs)
    elements = {v.type.element_type for v in op.operands}
    if len(elements) != 1 or not isinstance(image.element_type, FloatType):
        return False
    if image.n_dynamic or filters.n_dynamic or not is_zero_filled(op.outputs[0]):
        return False
    window = filters.shape[2:]
    strides, dilations = (op.strides, op.dilations)
    sizes = zip(image.shape[2:], window, strict=True)
    whole = all(size % part == 0 and size > 0 for size, part in sizes)
    return strides == window and set(dilations) == {1} and whole and window[0] * window[1] >= SMALLEST


def _rewrite(op: Any) -> None:
    b = Builder.before_op(op)
    b.location = op.location
    (image, filters), (start,) = op.inputs, op.outputs
    element = image.type.element_type
    n, c, height, width = image.type.shape
    f, _, kh, kw = filters.type.shape
    oh, ow = height // kh, width // kw
    split = b.insert(tensor.ExpandShape.make(image, [[0], [1], [2, 3], [4, 5]], [n, c, oh, kh, ow, kw]))
    patches = _transposed(b, split.result, [0, 2, 4, 1, 3, 5])
    rows = b.insert(tensor.CollapseShape.make(patches, [[0, 1, 2], [3], [4], [5]])).result
    zero = start.defining_op.operands[0]
    total = linalg.fill(b, zero, b.create(tensor.Empty, [n * oh * ow, f], element).result)
    maps = [AffineMap.select(5, [0, 2, 3, 4]), AffineMap.select(5, [1, 2, 3, 4]), AffineMap.select(5, [0, 1])]

    def multiply(b: Builder, x: Value, w: Value, sum: Value) -> Value:
        return b.create(arith.AddF, sum, b.create(arith.MulF, x, w).result).result

    iterators = ["parallel", "parallel", "reduction", "reduction", "reduction"]
    product = linalg.generic(b, [rows, filters], [total], maps, iterators, multiply).results[0]
    pixels = b.insert(tensor.ExpandShape.make(product, [[0, 1, 2], [3]], [n, oh, ow, f])).result
    _channels_first(b, pixels, op.results[0])


def _channels_first(b: Builder, value: Value, planes: Value) -> None:
    """Put ``value``, channels last, in the place of ``planes``, channels first. Elementwise ops behind it and
    the merging of rows and columns come first, so that the transpose stands beside what follows."""
    user: Any = planes.users[0] if planes.has_one_use else None
    while _keeps_places(user, planes):
        b = Builder.before_op(user)
        b.location = user.location
        value, planes = _permuted(b, user, planes, value), user.results[0]
        user = planes.users[0] if planes.has_one_use else None
    if isinstance(user, tensor.CollapseShape) and user.results[0].type.rank == 3:
        if user.results[0].type.shape[:2] == planes.type.shape[:2]:
            b = Builder.before_op(user)
            merged = b.insert(tensor.CollapseShape.make(value, [[0], [1, 2], [3]])).result
            user.replace_by([_transposed(b, merged, [0, 2, 1])])
            return
    planes.replace_all_uses_with(_transposed(b, value, list(FIRST)))


def _keeps_places(op: Any, planes: Value) -> bool:
    """An elementwise op that reads ``planes`` at its own places."""
    if op is None or not is_elementwise(op):
        return False
    return all(
        map.is_identity
        for operand, map in zip(op.inputs, op.indexing_maps, strict=False)
        if operand is planes
    )


def _permuted(b: Builder, op: Any, planes: Value, value: Value) -> Value:
    """The elementwise ``op`` of ``planes`` with channels last everywhere."""
    type: Any = op.results[0].type
    memory = b.create(tensor.Empty, [type.shape[i] for i in LAST], type.element_type).result
    loops = AffineMap.select(4, FIRST)
    maps = [m.compose(loops) for m in op.indexing_maps]
    inputs = []
    for i, operand in enumerate(op.inputs):
        if operand is planes:
            maps[i] = AffineMap.identity(4)
        inputs.append(value if operand is planes else operand)
    maps[-1] = AffineMap.identity(4)
    body = op.regions[0].clone({})
    return b.insert(linalg.Generic.make(inputs, [memory], maps, op.iterator_types, body)).results[0]


def _transposed(b: Builder, value: Value, order: list[int]) -> Value:
    type: Any = value.type
    memory = b.create(tensor.Empty, [type.shape[i] for i in order], type.element_type).result
    return b.insert(linalg.Transpose.make(value, memory, order)).results[0]
