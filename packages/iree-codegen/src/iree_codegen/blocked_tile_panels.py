"""The layout of blocked convolution weights for matrix tiles: bf16 parts, in the order of tile loads.

``[fb, cb, kh, kw, ci, fi]`` becomes, panel after panel of some blocks of output channels,
``[groups of 32 channels][kh][kw][parts][blocks][16 pairs][16 channels]``. An element is a word of 32 bits
(typed f32) that holds two bf16 numbers, input channels 2i and 2i + 1 of an output channel. Zeros stand for
channels that are not there. ``parts``: see ``tile_panels``.

A stem's ``[fb, c, kh, kw, fi]`` has rows of the window in place of groups: a step is ``STEM_PIXELS`` columns
of ``STEM_CHANNELS`` channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen.tile_panels import DEPTH, split
from iree_core_ir.constant_transforms import constant_transform

BLOCKED_TILE_PANELS = "blocked-tile-panels"
PAIR = 2
"""Input channels in a word."""
WIDTH = 2
"""Blocks of output channels in a panel of a convolution of its own, at most."""
STEM_CHANNELS, STEM_PIXELS = 4, 8
Array = np.ndarray[Any, Any]


def blocked_tile_parameters(
    shape: Sequence[int], parts: int, stem: bool = False, width: int = WIDTH
) -> dict[str, Any]:
    """For weights ``[fb, cb, kh, kw, ci, fi]``; of a stem ``ci`` is 1. ``width``: blocks of a panel."""
    return {"shape": list(shape), "parts": parts, "stem": stem, "width": width}


def steps(parameters: Mapping[str, Any]) -> int:
    """Products of 32 channels for a sum."""
    _, cb, kh, kw, ci, _ = parameters["shape"]
    return int(kh if parameters["stem"] else -(-cb * ci // DEPTH) * kh * kw)


def packed_size(parameters: Mapping[str, Any]) -> int:
    """Words of all panels."""
    fb, lanes = parameters["shape"][0], parameters["shape"][-1]
    return int(fb * steps(parameters) * parameters["parts"] * DEPTH // PAIR * lanes)


def _panels(words: Array, parameters: Mapping[str, Any]) -> Iterator[tuple[Array, slice]]:
    """Views ``[panel][step][part][block][pair][fi][2]`` of the full panels, then of what is left, and which
    blocks they hold."""
    fb, lanes = parameters["shape"][0], parameters["shape"][-1]
    inner = (steps(parameters), parameters["parts"])
    most = parameters["width"]
    full = fb // most * most
    size = math.prod(inner) * DEPTH * lanes
    for own, width in ((slice(0, full), most), (slice(full, fb), fb - full)):
        if own.start < own.stop:
            part = words[own.start * size : own.stop * size]
            yield part.reshape(-1, *inner, width, DEPTH // PAIR, lanes, PAIR), own


def _by_step(weights: Array, parameters: Mapping[str, Any]) -> Array:
    """``[fb][step][32][fi]``."""
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    weights = weights.reshape(fb, cb, kh, kw, ci, lanes)
    if parameters["stem"]:
        rows = np.zeros((fb, kh, STEM_PIXELS, STEM_CHANNELS, lanes), np.float32)
        rows[:, :, :kw, :cb] = weights[:, :, :, :, 0].transpose(0, 2, 3, 1, 4)
        return rows.reshape(fb, kh, DEPTH, lanes)
    per_step = DEPTH // ci
    if cb % per_step:
        weights = np.pad(weights, ((0, 0), (0, -cb % per_step), *((0, 0),) * 4))
    groups: Array = weights.reshape(fb, -1, per_step, kh, kw, ci, lanes).transpose(0, 1, 3, 4, 2, 5, 6)
    return groups.reshape(fb, -1, DEPTH, lanes)


def _from_steps(rows: Array, parameters: Mapping[str, Any]) -> Array:
    """The weights that ``_by_step`` made ``rows`` of."""
    fb, cb, kh, kw, ci, lanes = parameters["shape"]
    if parameters["stem"]:
        own = rows.reshape(fb, kh, STEM_PIXELS, STEM_CHANNELS, lanes)[:, :, :kw, :cb]
        stem: Array = own.transpose(0, 3, 1, 2, 4)
        return stem
    groups = rows.reshape(fb, -1, kh, kw, DEPTH // ci, ci, lanes).transpose(0, 1, 4, 2, 3, 5, 6)
    weights: Array = groups.reshape(fb, -1, kh, kw, ci, lanes)[:, :cb]
    return weights


def _unpack(array: Array, parameters: Mapping[str, Any], shape: Sequence[int]) -> Array:
    fb, *_, lanes = parameters["shape"]
    words = np.ascontiguousarray(array).view(element_type("bf16").dtype).reshape(-1)
    rows = np.empty((fb, steps(parameters), DEPTH, lanes), np.float32)
    for panels, own in _panels(words, parameters):
        total = panels.astype(np.float32).sum(axis=2, dtype=np.float32)
        # panel, step, block, pair, fi, 2 -> panel, block, step, pair, 2, fi
        rows[own] = total.transpose(0, 2, 1, 3, 5, 4).reshape(-1, *rows.shape[1:])
    return _from_steps(rows, parameters).reshape(shape)


@constant_transform(BLOCKED_TILE_PANELS, inverse=_unpack)
def pack_blocked_tiles(
    sources: Sequence[Array], parameters: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    rows = _by_step(np.asarray(sources[0], np.float32), parameters)
    packed = np.empty(packed_size(parameters) * PAIR, element_type("bf16").dtype)
    for number, part in enumerate(split(rows, parameters["parts"])):
        by_pair = part.reshape(*part.shape[:2], DEPTH // PAIR, PAIR, part.shape[-1])
        for panels, own in _panels(packed, parameters):
            width = panels.shape[3]
            blocks = by_pair[own].reshape(-1, width, *by_pair.shape[1:])
            # panel, block, step, pair, 2, fi -> panel, step, block, pair, fi, 2
            panels[:, :, number] = blocks.transpose(0, 2, 1, 3, 5, 4)
    return packed.view(np.float32).reshape(shape)
