"""Constant segments: each constant once, aligned, where another segment has no place for it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from iree_core_ir.constants import ConstantStore
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import DenseResourceAttr
from iree_core_ir.ir.types import TensorType, f32
from iree_flow.constant_segments import SEGMENT, ConstantSegments
from iree_flow.dialects import stream


def resource(store: ConstantStore, key: str) -> DenseResourceAttr:
    return DenseResourceAttr(key, TensorType(store[key].shape, f32))


@pytest.fixture
def store() -> ConstantStore:
    made = ConstantStore()
    for key, size in (("a", 3), ("b", 17), ("c", 0), ("d", 64)):
        made.add_array(np.ones(size, np.float32), key=key)
    return made


def module() -> ModuleOp:
    made = ModuleOp.make()
    made.body.block.append(FuncOp.make("main", [], []))
    return made


@pytest.mark.parametrize("alignment", [1, 16, 64, 256])
def test_places_are_aligned_apart_and_asked_for_once(store: ConstantStore, alignment: int) -> None:
    owner = module()
    segments = ConstantSegments(owner, store, alignment)
    places = [segments.place(resource(store, key)) for key in "abacdb"]
    assert places[0] == places[2]
    assert places[1] == places[5]
    assert all(place.segment == SEGMENT and place.offset % alignment == 0 for place in places)
    ranges = sorted({(place.offset, place.offset + place.nbytes) for place in places if place.nbytes})
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges))
    size = segments.size_of(SEGMENT, owner.body.block.last.regions[0].block)  # type: ignore[union-attr]
    segments.finish()
    (made,) = [op for op in owner.body.block if isinstance(op, stream.ConstantSegment)]
    assert made is owner.body.block.first
    assert made.size.value == segments.size >= ranges[-1][1]
    assert size.defining_op.attributes["value"].value == segments.size  # type: ignore[union-attr]


def test_what_lies_in_another_segment_stays_there(store: ConstantStore) -> None:
    owner = module()
    other = stream.ConstantSegment.make("shared", [resource(store, "b")], [128], 512)
    owner.body.block.insert_before(other, owner.body.block.first)  # type: ignore[arg-type]
    segments = ConstantSegments(owner, store, 64)
    assert (segments.place(resource(store, "b")).segment, segments.place(resource(store, "b")).offset) == (
        "shared",
        128,
    )
    block = owner.body.block.last.regions[0].block  # type: ignore[union-attr]
    assert segments.size_of("shared", block).defining_op.attributes["value"].value == 512  # type: ignore[union-attr]
    segments.finish()
    assert [op for op in owner.body.block if isinstance(op, stream.ConstantSegment)] == [other]
