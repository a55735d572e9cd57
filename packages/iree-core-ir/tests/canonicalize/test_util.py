"""util and index: proven checks go, unproven ones stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from iree_core_ir.errors import CoreIrError
from iree_core_ir.interpreter import Interpreter

Body = Callable[..., Any]
C = "%c0 = arith.constant 0 : index\n %c1 = arith.constant 1 : index\n %c4 = arith.constant 4 : index\n"
C += "%c5 = arith.constant 5 : index\n %c16 = arith.constant 16 : index\n"


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("%r = util.broadcast_dim %a, %a", []),
        ("%r = util.broadcast_dim %a, %c1", []),
        ("%r = util.broadcast_dim %c1, %a", []),
        ("%r = util.broadcast_dim %c4, %c4", []),
        ("%r = util.broadcast_dim %a, %c4", ["util.broadcast_dim"]),
        ("%r = util.broadcast_dim %c4, %c5", ["util.broadcast_dim"]),
        ("%s = util.broadcast_dim %a, %b\n %r = util.broadcast_dim %s, %a", ["util.broadcast_dim"]),
        (
            "%s = util.broadcast_dim %a, %b\n %t = util.broadcast_dim %b, %a\n%r = arith.addi %s, %t : index",
            ["util.broadcast_dim", "arith.addi"],
        ),
        (
            "%s = util.broadcast_dim %a, %b\n %r = arith.addi %a, %a : index",
            ["util.broadcast_dim", "arith.addi"],
        ),
        ("%r = util.align %a, %c1 : index", []),
        ("%s = util.align %a, %c16 : index\n %r = util.align %s, %c4 : index", ["util.align"]),
        ("%s = util.align %a, %c4 : index\n %r = util.align %s, %c16 : index", ["util.align", "util.align"]),
        ("%s = arith.muli %a, %c16 : index\n %r = util.align %s, %c16 : index", ["arith.muli"]),
        ("%s = util.align %a, %b : index\n %r = util.align %s, %b : index", ["util.align"]),
        ("%r = util.align %c5, %c4 : index", []),
        (
            "%s = util.assume.int %a<udiv = 32> : index\n %r = util.align %s, %c16 : index",
            ["util.assume.int"],
        ),
        ("%r = util.assume.int %c4<udiv = 2> : index", []),
        ("%s = util.sizeof f32\n %r = arith.addi %s, %c4 : index", []),
    ],
)
def test_rewrites(canonicalized_body: Body, body: str, ops: list[str]) -> None:
    result = canonicalized_body(["index", "index"], "index", C + body)
    assert result.ops == ops
    for a, b in ((64, 64), (32, 32), (96, 96)):
        if "%c4, %c5" in body or "%a, %c4" in body:
            continue
        before, after = result.run(a, b)
        assert before == after


def test_a_failing_check_still_fails(canonicalized_body: Body) -> None:
    result = canonicalized_body([], "index", C + "%r = util.broadcast_dim %c4, %c5")
    with pytest.raises(CoreIrError, match="4 and 5 do not broadcast"):
        Interpreter(result.after).call("f")


@pytest.mark.parametrize(
    ("body", "ops"),
    [
        ("%k = index.constant 0\n %r = index.add %k, %a", []),
        ("%k = index.constant 5\n %s = index.add %a, %k\n %r = index.add %k, %s", ["index.add"]),
        ("%k = index.constant 5\n %r = index.sub %a, %k", ["index.add"]),
        ("%s = index.add %a, %b\n %r = index.sub %s, %b", []),
        ("%k = index.constant 1\n %r = index.ceildivu %a, %k", []),
        ("%r = index.rems %a, %a", []),
        ("%k = index.constant -1\n %r = index.maxu %k, %a", []),
        ("%k = index.constant 64\n %r = index.shl %a, %k", []),
        ("%w = index.casts %a : index to i64\n %r = index.castu %w : i64 to index", []),
        (
            "%w = index.casts %a : index to i32\n %r = index.casts %w : i32 to index",
            ["index.casts", "index.casts"],
        ),
        ("%k = index.constant 3\n %l = index.constant 4\n %r = index.mul %k, %l", []),
        ("%c = index.cmp sle(%a, %a)\n %r = arith.select %c, %b, %a : index", []),
    ],
)
def test_index(canonicalized_body: Body, body: str, ops: list[str]) -> None:
    result = canonicalized_body(["index", "index"], "index", body)
    assert result.ops == ops
    for a, b in ((0, 1), (-5, 7), (1 << 40, -(1 << 62))):
        before, after = result.run(a, b)
        assert before == after
