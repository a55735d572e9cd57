"""What ``tensor.extract_slice``, ``insert_slice`` and ``memref.subview`` share: offsets, sizes, strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects.mixed import Mixed, MixedIndexOp, dynamic_part, join, shape_of, static_part
from iree_core_ir.ir.attributes import Attribute, DenseArrayAttr
from iree_core_ir.ir.declaration import segment_sizes
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC


class SliceOp(MixedIndexOp):
    """Mixed offsets, sizes and strides, one of each per dim of the sliced value.

    A subclass declares the fields ``offsets sizes strides`` (after its own operands) and
    ``static_offsets static_sizes static_strides``; this base reads them.
    """

    offsets: Any
    sizes: Any
    strides: Any

    def _static(self, name: str) -> tuple[int, ...]:
        attribute = self.attributes[name]
        assert isinstance(attribute, DenseArrayAttr)
        return attribute.values

    @property
    def mixed_offsets(self) -> tuple[Mixed, ...]:
        return join(self._static("static_offsets"), self.offsets)

    @property
    def mixed_sizes(self) -> tuple[Mixed, ...]:
        return join(self._static("static_sizes"), self.sizes)

    @property
    def mixed_strides(self) -> tuple[Mixed, ...]:
        return join(self._static("static_strides"), self.strides)

    def dropped_dims(self, reduced: Sequence[int]) -> frozenset[int] | None:
        """Which of the slice's dims the value of shape ``reduced`` lacks; None when it is no reduction."""
        return dropped_unit_dims(shape_of(self.mixed_sizes), reduced)


def slice_parts(
    leading: Sequence[Value],
    offsets: Sequence[Mixed],
    sizes: Sequence[Mixed],
    strides: Sequence[Mixed] | None,
) -> tuple[list[Value], dict[str, Attribute]]:
    """Operands and attributes of a slice op whose first operands are ``leading``; strides default to 1."""
    strides = [1] * len(offsets) if strides is None else strides
    groups = [dynamic_part(offsets), dynamic_part(sizes), dynamic_part(strides)]
    attributes: dict[str, Attribute] = {
        "static_offsets": static_part(offsets),
        "static_sizes": static_part(sizes),
        "static_strides": static_part(strides),
        "operandSegmentSizes": segment_sizes(*[[v] for v in leading], *groups),
    }
    return [*leading, *groups[0], *groups[1], *groups[2]], attributes


def dropped_unit_dims(shape: Sequence[int], reduced: Sequence[int]) -> frozenset[int] | None:
    """The unit dims of ``shape`` whose removal gives ``reduced``, matched greedily as MLIR does."""
    dropped = []
    position = 0
    for i, dim in enumerate(shape):
        if position < len(reduced) and dim == reduced[position]:
            position += 1
        elif dim == 1:
            dropped.append(i)
        else:
            return None
    return frozenset(dropped) if position == len(reduced) else None


def slice_error(
    shape: Sequence[int],
    offsets: Sequence[Mixed],
    sizes: Sequence[Mixed],
    strides: Sequence[Mixed],
) -> str | None:
    """Why the slice does not lie inside ``shape``, as far as is static; None when it does."""
    for name, given in (("offsets", offsets), ("sizes", sizes), ("strides", strides)):
        if len(given) != len(shape):
            return f"{len(given)} {name} for a value of rank {len(shape)}"
    for axis, (dim, offset, size, stride) in enumerate(zip(shape, offsets, sizes, strides, strict=True)):
        if isinstance(size, int) and size < 0:
            return f"size {size} of dim {axis} is negative"
        if isinstance(offset, int) and offset < 0:
            return f"offset {offset} of dim {axis} is negative"
        if isinstance(offset, Value) or dim == DYNAMIC:
            continue
        if isinstance(size, Value):
            if offset > dim:
                return f"offset {offset} is past dim {axis} of size {dim}"
            continue
        if size == 0:
            continue
        if offset >= dim:
            return f"offset {offset} is past dim {axis} of size {dim}"
        if isinstance(stride, Value):
            continue
        last = offset + (size - 1) * stride
        if not 0 <= last < dim:
            return f"the slice runs out of bounds along dim {axis}: last index {last}, size {dim}"
    return None
