"""bufferization: text and verification."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from iree_core_ir.dialects import bufferization
from iree_core_ir.errors import VerifyError
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify

LINES = """
%0 = bufferization.to_tensor %m restrict writable : memref<?xf32> to tensor<?xf32>
%1 = bufferization.to_tensor %m : memref<?xf32> to tensor<?xf32>
%2 = bufferization.to_buffer %t : tensor<?xf32> to memref<?xf32>
%3 = bufferization.to_buffer %t read_only : tensor<?xf32> to memref<?xf32, strided<[?], offset: ?>>
%4 = bufferization.alloc_tensor(%i) : tensor<?xf32>
%5 = bufferization.alloc_tensor() copy(%t) : tensor<?xf32>
%6 = bufferization.alloc_tensor(%i) size_hint=%i : tensor<?xf32>
%7 = bufferization.materialize_in_destination %t in %t : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
bufferization.materialize_in_destination %t in restrict writable %m : (tensor<?xf32>, memref<?xf32>) -> ()
bufferization.dealloc_tensor %7 : tensor<?xf32>
%8 = bufferization.clone %m : memref<?xf32> to memref<?xf32>
"""


def module(body: str) -> str:
    return f"func.func @f(%t: tensor<?xf32>, %m: memref<?xf32>, %i: index) {{\n{body}\nreturn\n}}"


def test_every_op_prints_as_mlir_does(
    round_trip: Callable[[str], str], ops_of: Callable[[str], set[str]]
) -> None:
    printed = round_trip(module(LINES))
    found = [line.strip() for line in printed.splitlines()]
    assert [line for line in LINES.strip().splitlines() if line not in found] == []
    assert set(bufferization.DIALECT.ops) <= ops_of(module(LINES))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%0 = bufferization.to_tensor %m : memref<?xf32> to tensor<?xi32>", "differ in shape or element"),
        ("%0 = bufferization.to_buffer %t : tensor<?xf32> to memref<?x?xf32>", "differ in shape or element"),
        ("%0 = bufferization.alloc_tensor() : tensor<?xf32>", "0 sizes for 1 dynamic dims"),
        (
            "bufferization.materialize_in_destination %t in %m : (tensor<?xf32>, memref<?xf32>) -> ()",
            "must be 'writable'",
        ),
    ],
)
def test_the_verifier_rejects(body: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        verify(parse_module(module(body)))


def test_xdsl_reads_what_we_print(xdsl_refuses: Callable[[str, str], list[str]]) -> None:
    """It wants the layout to be the identity."""
    assert xdsl_refuses(module(LINES), "bufferization") == [
        "%3 = bufferization.to_buffer %t read_only : tensor<?xf32> to memref<?xf32, strided<[?], offset: ?>>"
    ]
