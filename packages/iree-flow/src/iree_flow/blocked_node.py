"""What the ops that work on images in channel blocks have in common: see ``blocked_ops``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from iree_base.records import record
from iree_codegen.blocked_image import CHANNELS
from iree_core_ir.dialects import linalg
from iree_core_ir.ir.affine import AffineDim, AffineMap
from iree_core_ir.ir.attributes import IntegerAttr, Type
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, Value, single_block_region
from iree_core_ir.ir.types import TensorType, element_of, f32, i8, i32, i64
from iree_flow.channel_blocks import RANK, ChannelBlocks
from iree_flow.dims import Dim

PARALLEL, REDUCTION = "parallel", "reduction"
STORED = (f32, i8, i32)
"""What images consist of: numbers, quantized ones, and sums of products of those."""
IsBlocked = Callable[[Value], bool]
"""Whether an earlier node makes the value."""


def is_image(value: Value, elements: Sequence[Type] = (f32,)) -> bool:
    """A tensor ``[N][C][H][W]`` of such elements with known channels and more than one pixel."""
    type = value.type
    if not isinstance(type, TensorType) or type.rank != 4 or type.element_type not in elements:
        return False
    n, c, h, w = type.shape
    return c > 0 and not (h == 1 and w == 1) and 0 not in (n, h, w)


@record
class Node(ABC):
    """One op that can work on blocks."""

    op: Any
    images: tuple[Value, ...]
    """The images it reads in blocks."""
    result: Value | None
    """The image it makes in blocks; None: it makes something else."""
    mixes: ClassVar[bool] = False
    """Lanes of the result depend on other lanes: what it reads must be clean."""

    @property
    def ops(self) -> list[Op]:
        """The ops it stands for."""
        return [self.op]

    @property
    def only_in_blocks(self) -> bool:
        """There is no other kernel for it: its region is blocked whatever that costs."""
        return False

    @abstractmethod
    def emit(self, blocks: ChannelBlocks, builder: Builder) -> Value:
        """Make the op on blocks; returns the image in blocks, or what replaces the op's result."""

    def products(self, lanes: int) -> tuple[int, int]:
        """Products of a convolution for each pixel it makes: useful ones, and those of empty lanes."""
        return 0, 0

    def keeps_clean(self) -> bool:
        """The result is clean where what the op reads is."""
        return False


def initial_of(op: Any) -> Value | None:
    """The number that fills the destination of ``op``."""
    fill = op.outputs[0].defining_op
    return fill.operands[0] if fill is not None and fill.name == "linalg.fill" else None


def _over_blocks(
    body: Any,
    initial: Value,
    sizes: Sequence[Dim],
    inputs: Sequence[Value],
    maps: Sequence[AffineMap],
    reduced: int,
    blocks: ChannelBlocks,
    builder: Builder,
) -> Value:
    """An op whose outer loops are the five dims ``sizes`` of its result; ``reduced`` loops follow."""
    target = blocks.filled(builder, sizes, initial)
    region = single_block_region([element_of(v.type) for v in (*inputs, target)])
    mapping: dict[Any, Any] = dict(zip(body.args, region.block.args, strict=True))
    for inner in body:
        region.block.append(inner.clone(mapping))
    iterators = [PARALLEL] * RANK + [REDUCTION] * reduced
    own = AffineMap.select(RANK + reduced, range(RANK))
    made = builder.create(linalg.Generic, list(inputs), [target], [*maps, own], iterators, region)
    result: Value = made.results[0]
    return result


@record
class Windowed(Node):
    """Ops with windows over a destination that is filled with one number."""

    def make(
        self,
        blocks: ChannelBlocks,
        builder: Builder,
        inputs: Sequence[Value],
        maps: Sequence[AffineMap],
        reduced: int,
    ) -> Value:
        """The result's five dims are the outer loops; ``reduced`` loops follow. The body is the op's."""
        initial = initial_of(self.op)
        assert initial is not None
        sizes = blocks.dims(self.op.results[0])
        return _over_blocks(self.op.body, initial, sizes, inputs, maps, reduced, blocks, builder)


def pointwise(
    op: Any, source: Value, weights: Value, channels: int, blocks: ChannelBlocks, builder: Builder
) -> Value:
    """A 1x1 convolution with the body of ``op``; ``weights[fb][cb][1][1][ci][fi]``."""
    d = [AffineDim(i) for i in range(9)]
    # Loops: n, fb, y, x, fi | cb, ky, kx, ci.
    maps = [
        AffineMap(9, 0, [d[0], d[5], d[2] + d[6], d[3] + d[7], d[8]]),
        AffineMap.select(9, [1, 5, 6, 7, 8, 4]),
    ]
    n, _, height, width, lanes = blocks.resolver.dims(source)
    sizes = [n, weights.type.shape[0], height, width, lanes]
    initial = initial_of(op)
    assert initial is not None
    made = _over_blocks(op.body, initial, sizes, [source, weights], maps, 4, blocks, builder)
    say_channels(made, channels, blocks)
    return made


def say_channels(made: Value, channels: int, blocks: ChannelBlocks) -> None:
    """Note on the convolution that makes ``made`` how many input channels there are."""
    op = made.defining_op
    if channels % blocks.lanes and op is not None:
        op.attributes[CHANNELS] = IntegerAttr(channels, i64)


__all__ = [
    "PARALLEL",
    "REDUCTION",
    "STORED",
    "IsBlocked",
    "Node",
    "Windowed",
    "initial_of",
    "is_image",
    "pointwise",
    "say_channels",
]
