"""Operand and result groups lie where the class body says, in subclasses too."""

from __future__ import annotations

from typing import Any

import pytest

from iree_core_ir.ir.declaration import (
    operand,
    optional_operand,
    result,
    segment_sizes,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.operation import Block, Op
from iree_core_ir.ir.types import f32, i32


class Fixed(Op, name="test.fixed"):
    a = operand()
    b = operand()
    r = result()


class Last(Fixed, name="test.last"):
    rest = variadic_operand()


class First(Op, name="test.first"):
    rest = variadic_operand()
    a = operand()
    b = operand()
    many = variadic_result()
    r = result()


class Middle(First, name="test.middle"):
    """A field behind those of the base moves them."""

    c = operand()


class Several(Op, name="test.several"):
    some = variadic_operand()
    one = operand()
    maybe = optional_operand()
    more = variadic_operand()


def values(n: int) -> list[Any]:
    return list(Block([f32] * n).args)


@pytest.mark.parametrize("extra", range(3))
def test_one_variadic_group_takes_what_the_others_leave(extra: int) -> None:
    v = values(3 + extra)
    last: Any = Last(v[: 2 + extra])
    assert (last.a, last.b, last.rest) == (v[0], v[1], tuple(v[2 : 2 + extra]))
    first: Any = First(v[: 2 + extra], [i32] * (1 + extra))
    assert (first.rest, first.a, first.b) == (tuple(v[:extra]), v[extra], v[extra + 1])
    assert (first.many, first.r) == (first.results[:extra], first.results[extra])
    middle: Any = Middle(v)
    assert (middle.rest, middle.a, middle.b, middle.c) == (tuple(v[:extra]), *v[extra:])


def test_a_subclass_leaves_the_fields_of_its_base_as_they_are() -> None:
    a, b = values(2)
    op: Any = Fixed([a, b], [f32])
    assert (op.a, op.b, op.r) == (a, b, op.results[0])
    first: Any = First([a, b], [f32])
    assert (first.rest, first.a, first.b) == ((), a, b)


@pytest.mark.parametrize("some", range(3))
@pytest.mark.parametrize("maybe", range(2))
@pytest.mark.parametrize("more", range(2))
def test_several_variadic_groups_lie_by_their_sizes(some: int, maybe: int, more: int) -> None:
    v = values(some + 1 + maybe + more)
    groups = v[:some], v[some : some + 1], v[some + 1 : some + 1 + maybe], v[some + 1 + maybe :]
    op: Any = Several(v, (), {"operandSegmentSizes": segment_sizes(*groups)})
    assert (op.some, op.one, op.more) == (tuple(groups[0]), v[some], tuple(groups[3]))
    assert op.maybe is (v[some + 1] if maybe else None)
    for field, group in zip(Several.signature.operands, groups, strict=True):
        assert field.slice(op) == tuple(group)
