"""``linalg_ext`` ops that lay elements out anew: pack, unpack, im2col."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects import linalg_ext_decompose as decompose
from iree_core_ir.dialects.linalg_ext_base import INS_OUTS, LinalgExtOp, check_shape
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import Attribute, DenseArrayAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import attribute, optional_attribute
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, i64

LAYOUT = (
    "(`outer_dims_perm` `=` $outer_dims_perm^)? `inner_dims_pos` `=` $inner_dims_pos"
    " `inner_tiles` `=` $inner_tiles attr-dict"
)


class _Tiled(LinalgExtOp):
    outer_dims_perm = optional_attribute(DenseArrayAttr, type=i64)
    inner_dims_pos = attribute(DenseArrayAttr, type=i64)
    inner_tiles = attribute(DenseArrayAttr, type=i64)
    assembly_format = f"{LAYOUT} {INS_OUTS}"

    def permutation(self, rank: int) -> tuple[int, ...]:
        """Which plain dim each outer dim of the packed value is."""
        return tuple(range(rank)) if self.outer_dims_perm is None else self.outer_dims_perm.values

    def check_layout(self, plain: Any, packed: Any) -> None:
        """``packed`` is the packed form of ``plain``. Raises VerifyError."""
        rank = plain.rank
        dims, tiles = self.inner_dims_pos.values, self.inner_tiles.values
        if len(dims) != len(tiles) or len(set(dims)) != len(dims) or any(not 0 <= d < rank for d in dims):
            raise VerifyError(self, f"inner_dims_pos {list(dims)} and inner_tiles {list(tiles)} of {plain}")
        if any(t <= 0 for t in tiles):
            raise VerifyError(self, f"inner tiles must be positive, got {list(tiles)}")
        if sorted(self.permutation(rank)) != list(range(rank)):
            raise VerifyError(self, f"outer_dims_perm is no permutation of {rank} dims")
        if plain.element_type is not packed.element_type:
            raise VerifyError(self, f"{plain} and {packed} differ in element type")
        shape = packed_shape(plain.shape, self.permutation(rank), dims, tiles)
        check_shape(self, "the packed value", packed, shape)


def packed_shape(
    shape: Sequence[int], permutation: Sequence[int], dims: Sequence[int], tiles: Sequence[int]
) -> tuple[int, ...]:
    """Outer dims (tiled ones divided, rounded up) in ``permutation``'s order, then the tiles."""
    outer = list(shape)
    for dim, tile in zip(dims, tiles, strict=True):
        outer[dim] = DYNAMIC if outer[dim] == DYNAMIC else -(-outer[dim] // tile)
    return (*(outer[i] for i in permutation), *tiles)


def _layout(
    dims: Sequence[int], tiles: Sequence[int], permutation: Sequence[int] | None
) -> dict[str, Attribute]:
    attributes: dict[str, Attribute] = {
        "inner_dims_pos": DenseArrayAttr(i64, dims),
        "inner_tiles": DenseArrayAttr(i64, tiles),
    }
    if permutation is not None:
        attributes["outer_dims_perm"] = DenseArrayAttr(i64, permutation)
    return attributes


class Pack(_Tiled, name="linalg_ext.pack"):
    """Tiles of dims ``inner_dims_pos`` made contiguous: ``linalg.pack`` of MLIR with static tiles.

    ``out[o.., t..] = in[...]`` where dim ``inner_dims_pos[i]`` of the input is ``o * tile + t_i`` and the
    outer dims stand in the order ``outer_dims_perm``. Beyond the input's ends the second input, a scalar,
    is written; without it the tiles must divide the sizes.
    """

    @classmethod
    def make(
        cls,
        source: Value,
        output: Value,
        inner_dims_pos: Sequence[int],
        inner_tiles: Sequence[int],
        outer_dims_perm: Sequence[int] | None = None,
        padding: Value | None = None,
    ) -> Self:
        inputs = [source] if padding is None else [source, padding]
        return cls.build(inputs, [output], _layout(inner_dims_pos, inner_tiles, outer_dims_perm))

    @property
    def padding(self) -> Value | None:
        return self.inputs[1] if len(self.inputs) == 2 else None

    def verify_op(self) -> None:
        self.check_counts([1, 2], [1])
        plain = self.inputs[0].type
        self.check_layout(plain, self.outputs[0].type)
        if self.padding is not None:
            if self.padding.type is not plain.element_type:
                raise VerifyError(self, f"padding {self.padding.type} for {plain}")
            return
        for dim, tile in zip(self.inner_dims_pos.values, self.inner_tiles.values, strict=True):
            if plain.shape[dim] != DYNAMIC and plain.shape[dim] % tile:
                raise VerifyError(self, f"tile {tile} does not divide dim {dim} of {plain}: give padding")

    def decompose(self, builder: Builder) -> list[Value] | None:
        return decompose.pack(
            builder,
            self.inputs[0],
            self.padding,
            self.outputs[0],
            self.permutation(self.inputs[0].type.rank),
            self.inner_dims_pos.values,
            self.inner_tiles.values,
        )


class UnPack(_Tiled, name="linalg_ext.unpack"):
    """The inverse of ``pack``; what lies beyond the output's ends is dropped."""

    @classmethod
    def make(
        cls,
        source: Value,
        output: Value,
        inner_dims_pos: Sequence[int],
        inner_tiles: Sequence[int],
        outer_dims_perm: Sequence[int] | None = None,
    ) -> Self:
        return cls.build([source], [output], _layout(inner_dims_pos, inner_tiles, outer_dims_perm))

    def verify_op(self) -> None:
        self.check_counts([1], [1])
        self.check_layout(self.outputs[0].type, self.inputs[0].type)

    def decompose(self, builder: Builder) -> list[Value] | None:
        return decompose.unpack(
            builder,
            self.inputs[0],
            self.outputs[0],
            self.permutation(self.outputs[0].type.rank),
            self.inner_dims_pos.values,
            self.inner_tiles.values,
        )


class Im2Col(LinalgExtOp, name="linalg_ext.im2col"):
    """Windows of ``[n, c, d..]`` as columns ``[n, c * prod(kernel), prod(positions)]``.

    Row ``(c, k..)`` and column ``(o..)``, both row-major, hold ``in[n, c, o * stride + k * dilation]``:
    torch's ``unfold`` without padding, ``(d - (k - 1) * dilation - 1) // stride + 1`` positions a dim.
    """

    kernel = attribute(DenseArrayAttr, type=i64)
    strides = attribute(DenseArrayAttr, type=i64)
    dilations = attribute(DenseArrayAttr, type=i64)
    assembly_format = (
        "`kernel` `=` $kernel `strides` `=` $strides `dilations` `=` $dilations attr-dict " + INS_OUTS
    )

    @classmethod
    def make(
        cls,
        input: Value,
        output: Value,
        kernel: Sequence[int],
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
    ) -> Self:
        ones = [1] * len(kernel)
        attributes: dict[str, Attribute] = {
            "kernel": DenseArrayAttr(i64, kernel),
            "strides": DenseArrayAttr(i64, ones if strides is None else strides),
            "dilations": DenseArrayAttr(i64, ones if dilations is None else dilations),
        }
        return cls.build([input], [output], attributes)

    def positions(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Window positions per space dim of an input of ``shape``; DYNAMIC where the dim is."""
        return tuple(
            DYNAMIC if size == DYNAMIC else (size - (k - 1) * dilation - 1) // stride + 1
            for size, k, stride, dilation in zip(
                shape[2:], self.kernel.values, self.strides.values, self.dilations.values, strict=True
            )
        )

    def verify_op(self) -> None:
        self.check_counts([1], [1])
        a, b = self.inputs[0].type, self.outputs[0].type
        n = len(self.kernel)
        if a.rank != n + 2 or len(self.strides) != n or len(self.dilations) != n or n == 0:
            raise VerifyError(self, f"kernel, strides and dilations must have {a.rank - 2} entries for {a}")
        if any(v <= 0 for v in (*self.kernel, *self.strides, *self.dilations)):
            raise VerifyError(self, "kernel, strides and dilations must be positive")
        if a.element_type is not b.element_type:
            raise VerifyError(self, f"{a} and {b} differ in element type")
        columns = 1
        for size in self.positions(a.shape):
            if size != DYNAMIC and size < 0:
                raise VerifyError(self, f"the kernel does not fit {a}")
            columns = DYNAMIC if DYNAMIC in (columns, size) else columns * size
        rows = a.shape[1]
        for k in self.kernel:
            rows = DYNAMIC if rows == DYNAMIC else rows * k
        check_shape(self, "output", b, (a.shape[0], rows, columns))

    def decompose(self, builder: Builder) -> list[Value] | None:
        a = self.inputs[0]
        positions = self.positions(a.type.shape)
        if DYNAMIC in positions or DYNAMIC in a.type.shape:
            return None
        return decompose.im2col(
            builder, a, self.kernel.values, positions, self.strides.values, self.dilations.values
        )
