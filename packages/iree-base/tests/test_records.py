"""Records do what dataclasses do."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any, ClassVar

import pytest

from iree_base.records import field, record


@record
class Plain:
    """With defaults of all kinds."""

    a: int
    b: str = "b"
    c: list[int] = field(default_factory=list)
    d: int = field(default=4, repr=False)
    e: dict[str, int] = field(default_factory=dict, init=False)


@dataclasses.dataclass
class PlainTwin:
    a: int
    b: str = "b"
    c: list[int] = dataclasses.field(default_factory=list)
    d: int = dataclasses.field(default=4, repr=False)
    e: dict[str, int] = dataclasses.field(default_factory=dict, init=False)


@record(frozen=True)
class Frozen:
    x: int
    y: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("negative")

    @property
    def twice(self) -> int:
        return 2 * self.x


@record(frozen=True, slots=True)
class Slots:
    x: int
    y: int = 3

    def total(self) -> int:
        return self.x + self.y


@record(frozen=True, eq=False)
class Same:
    x: int


@record
class Empty:
    pass


class Named:
    """A base without fields."""

    kind: ClassVar[str] = "plain"


@record
class Base(Named):
    kind: ClassVar[str] = "base"
    first: int
    rest: list[int] = field(default_factory=list)


@record
class Derived(Base):
    kind = "derived"
    rest: list[int] = field(default_factory=lambda: [1])
    last: str = "z"

    @property
    def all(self) -> tuple[int, list[int], str]:
        return self.first, self.rest, self.last


def test_fields_of_bases_come_first() -> None:
    assert Base(1).rest == []
    assert Derived(1).all == (1, [1], "z")
    assert Derived(1, [2], "y") == Derived(first=1, rest=[2], last="y")
    assert Derived(1) != Derived(1, last="y")
    assert repr(Derived(1)) == "Derived(first=1, rest=[1], last='z')"
    assert [f.name for f in dataclasses.fields(Derived(1))] == ["first", "rest", "last"]
    assert (Base(1).kind, Derived.kind) == ("base", "derived")
    assert dataclasses.replace(Derived(1), first=2) == Derived(2)


def test_a_derived_class_may_have_an_init_of_its_own() -> None:
    class Own(Base):
        def __init__(self, number: int) -> None:
            super().__init__(number, [number])

    assert (Own(3).first, Own(4).rest) == (3, [4])
    assert Base(5).rest == []


def test_arguments_and_defaults() -> None:
    one, other = Plain(1), Plain(1)
    assert (one.a, one.b, one.c, one.d, one.e) == (1, "b", [], 4, {})
    assert one.c is not other.c
    assert Plain(1, "x", [2], 3) == Plain(a=1, b="x", c=[2], d=3)
    for bad in ((), (1, 2, 3, 4, 5)):
        with pytest.raises(TypeError):
            Plain(*bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Plain(1, e={})  # type: ignore[call-arg]


def test_text_and_equality_are_those_of_dataclasses() -> None:
    for arguments in ((1,), (2, "x", [1, 2], 9)):
        ours, theirs = Plain(*arguments), PlainTwin(*arguments)
        assert repr(ours) == repr(theirs).replace("PlainTwin", "Plain")
    assert Plain(1) == Plain(1)
    assert Plain(1) != Plain(2)
    assert Plain(1) != PlainTwin(1)
    assert Empty() == Empty()
    with pytest.raises(TypeError):
        hash(Plain(1))


def test_frozen_ones_hash_and_refuse() -> None:
    assert hash(Frozen(1, (2,))) == hash(Frozen(1, (2,)))
    assert len({Frozen(1), Frozen(1), Frozen(2)}) == 2
    assert Frozen(3).twice == 6
    with pytest.raises(ValueError, match="negative"):
        Frozen(-1)
    for change in (lambda: setattr(Frozen(1), "x", 2), lambda: delattr(Frozen(1), "x")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            change()
    assert Same(1) != Same(1)
    assert len({Same(1), Same(1)}) == 2


def test_slots() -> None:
    one = Slots(1)
    assert one.total() == 4
    assert not hasattr(one, "__dict__")
    assert Slots(1, 3) == one
    assert len({one, Slots(1, 3)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.x = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", [Plain(1, "x", [3]), Frozen(2, (1,)), Slots(5), Empty()])
def test_the_functions_of_dataclasses_work(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert dataclasses.is_dataclass(value)
    names = [f.name for f in dataclasses.fields(value)]
    assert list(dataclasses.asdict(value)) == names
    assert dataclasses.replace(value) == value
    if "x" in names:
        assert dataclasses.replace(value, x=7).x == 7


def test_patterns() -> None:
    match Frozen(1, (2, 3)):
        case Frozen(x, (first, *_)):
            assert (x, first) == (1, 2)
        case _:
            pytest.fail("no match")
