"""Panels: what is packed comes back, padding is zero."""

from __future__ import annotations

import numpy as np
import pytest

from iree_codegen.gate_panels import GATE_PANELS, gate_panel_shape
from iree_codegen.packing import PANELS, pack_panels, panel_parameters, panel_shape
from iree_core_ir.constant_transforms import inverse_function, transform_function


@pytest.mark.parametrize("width", [4, 16, 48])
@pytest.mark.parametrize(
    ("shape", "roles"),
    [
        ((20, 35), ([], [0], 1)),
        ((35, 20), ([], [1], 0)),
        ((3, 7, 35), ([0], [1], 2)),
        ((3, 3, 8, 20), ([], [0, 1, 2], 3)),
    ],
)
def test_round_trip(width: int, shape: tuple[int, ...], roles: tuple[list[int], list[int], int]) -> None:
    parameters = panel_parameters(*roles, width)
    source = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    packed_shape = panel_shape(shape, parameters)
    packed = np.asarray(transform_function(PANELS)([source], parameters, packed_shape, source.dtype))
    assert packed.shape == packed_shape
    back = inverse_function(PANELS)(packed.reshape(-1), parameters, shape)
    np.testing.assert_array_equal(back, source)
    columns = shape[roles[2]]
    tail = packed[:, -1, :, columns - (packed_shape[1] - 1) * width :]
    assert not tail.any()


def test_panels_hold_columns_side_by_side() -> None:
    source = np.arange(12, dtype=np.float32).reshape(3, 4)
    parameters = panel_parameters([], [0], 1, 2)
    packed = pack_panels([source], parameters, panel_shape((3, 4), parameters), source.dtype)
    np.testing.assert_array_equal(np.asarray(packed)[0, 1], [[2, 3], [6, 7], [10, 11]])


@pytest.mark.parametrize(("gates", "size", "depth", "width"), [(1, 5, 3, 4), (4, 16, 7, 8), (3, 9, 9, 32)])
def test_gate_panels_and_back(gates: int, size: int, depth: int, width: int) -> None:
    source = np.arange(gates * size * depth, dtype=np.float32).reshape(gates * size, depth)
    parameters = {"gates": gates, "width": width}
    shape = gate_panel_shape(source.shape, gates, width)
    packed = np.asarray(transform_function(GATE_PANELS)([source], parameters, shape, source.dtype))
    assert packed.shape == shape
    assert packed[0, depth - 1, gates - 1, 0] == source[(gates - 1) * size, depth - 1]
    back = inverse_function(GATE_PANELS)
    assert back is not None
    np.testing.assert_array_equal(back(packed, parameters, source.shape), source)


def test_every_layout_is_found_by_a_process_that_loaded_nothing() -> None:
    """Phase files name kinds: what registers itself in this package stands in its plugin."""
    import re
    from pathlib import Path

    import iree_codegen
    from iree_codegen.plugin import TRANSFORMS, iree_constant_transforms
    from iree_core_ir.constant_transforms import inverse_function, transform_function

    folder = Path(str(iree_codegen.__file__)).parent
    registering = {
        path.stem
        for path in folder.rglob("*.py")
        if re.search(r"^@constant_transform\(", path.read_text(), re.M)
    }
    assert registering == set(TRANSFORMS.values())
    for kind, getter in iree_constant_transforms().items():
        getter()
        assert callable(transform_function(kind))
        assert callable(inverse_function(kind))
