"""Layout of weights for matrix tiles: bf16 parts of f32 numbers in the order in which tiles are loaded.

``tile-panels``: a tensor with reduction axes (K) and one column axis (N) becomes
``[other axes][ceil(N / width)][ceil(K / 32)][parts][width / 16][16 pairs][16 columns]``. Each element is a
word of 32 bits (typed f32) that holds two bf16 numbers, rows 2i and 2i + 1 of a column; zeros stand behind
the last row and column. With one part the numbers are rounded to bf16; with two the second holds what the
first leaves, so that their sum is within 2^-17 of the number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.constant_transforms import constant_transform

TILE_PANELS = "tile-panels"
DEPTH = 32
"""bf16 numbers in a row of a tile."""
COLUMNS = 16
"""Columns of a tile of sums."""
ROWS = 16
"""Rows of a tile, at most."""
Array = np.ndarray[Any, Any]


def tile_panel_parameters(
    outer: Sequence[int], depth: Sequence[int], column: int, width: int, parts: int
) -> dict[str, Any]:
    """Axes of the logical tensor by role; ``width``: columns of a panel, 16 or 32."""
    return {"outer": list(outer), "depth": list(depth), "column": column, "width": width, "parts": parts}


def tile_panel_shape(shape: Sequence[int], parameters: Mapping[str, Any]) -> tuple[int, ...]:
    """The packed shape of a logical ``shape``."""
    outer = int(np.prod([shape[i] for i in parameters["outer"]], dtype=np.int64))
    depth = int(np.prod([shape[i] for i in parameters["depth"]], dtype=np.int64))
    width = int(parameters["width"])
    panels, steps = -(-shape[parameters["column"]] // width), -(-depth // DEPTH)
    return outer, panels, steps, int(parameters["parts"]), width // COLUMNS, DEPTH // 2, COLUMNS


def split(array: Array, parts: int) -> list[Array]:
    """f32 -> bf16 numbers of falling size whose sum it is, nearly. What is not finite has no second part."""
    bf16 = element_type("bf16").dtype
    found = []
    rest = array
    for _ in range(parts):
        found.append(rest.astype(bf16))
        with np.errstate(invalid="ignore"):
            rest = rest - found[-1].astype(np.float32)
        rest = np.where(np.isfinite(rest), rest, np.float32(0))
    return found


def _order(parameters: Mapping[str, Any]) -> list[int]:
    return [*parameters["outer"], *parameters["depth"], parameters["column"]]


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    outer, panels, steps, parts, tiles, pairs, columns = tile_panel_shape(shape, parameters)
    words = np.ascontiguousarray(array).reshape(outer, panels, steps, parts, tiles, pairs, columns)
    numbers = words.view(element_type("bf16").dtype).reshape(*words.shape, 2).astype(np.float32)
    total = numbers.sum(axis=3, dtype=np.float32)
    # outer, panels, steps, tiles, pairs, columns, 2 -> outer, (steps pairs 2), (panels tiles columns)
    flat = total.transpose(0, 2, 4, 6, 1, 3, 5).reshape(outer, steps * DEPTH, -1)
    order = _order(parameters)
    depth = int(np.prod([shape[i] for i in parameters["depth"]], dtype=np.int64))
    full = flat[:, :depth, : shape[parameters["column"]]].reshape([shape[i] for i in order])
    logical: Array = full.transpose(np.argsort(order))
    return logical


@constant_transform(TILE_PANELS, inverse=_unpack)
def pack_tile_panels(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    source = sources[0]
    outer, panels, steps, parts, tiles, pairs, columns = tile_panel_shape(source.shape, parameters)
    flat = source.transpose(_order(parameters)).reshape(outer, -1, source.shape[parameters["column"]])
    flat = np.asarray(flat, np.float32)
    rows, width = steps * DEPTH, panels * tiles * columns
    flat = np.pad(flat, ((0, 0), (0, rows - flat.shape[1]), (0, width - flat.shape[2])))
    packed = np.empty((outer, panels, steps, parts, tiles, pairs, columns, 2), element_type("bf16").dtype)
    for number, part in enumerate(split(flat, parts)):
        by_tile = part.reshape(outer, steps, pairs, 2, panels, tiles, columns)
        packed[:, :, :, number] = by_tile.transpose(0, 4, 1, 5, 2, 6, 3)
    return packed.view(np.float32).reshape(shape)
