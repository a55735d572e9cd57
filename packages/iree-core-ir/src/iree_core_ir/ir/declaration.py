"""How an op class declares its signature: the class body *is* the signature.

    class AddF(Op, name="arith.addf", traits=(PURE, COMMUTATIVE, SAME_TYPE)):
        lhs = operand(FLOAT_LIKE)
        rhs = operand(FLOAT_LIKE)
        fastmath = optional_attribute(FastMathAttr)
        result = result(FLOAT_LIKE)
        assembly_format = "$lhs `,` $rhs (`fastmath` `` $fastmath^)? attr-dict `:` type($result)"

Fields become read-only descriptors; ``cls.signature`` keeps them in order for the parser, printer and
verifier. More than one variadic group of operands (results) needs ``operandSegmentSizes``
(``resultSegmentSizes``) as in MLIR; the descriptors read it.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, overload

from iree_base.records import field, record
from iree_core_ir.ir.attributes import Attribute, DenseArrayAttr, Type
from iree_core_ir.ir.operation import Block, Op, OpResult, Region, Value

A = TypeVar("A", bound=Attribute)
OPERAND_SEGMENTS = "operandSegmentSizes"
RESULT_SEGMENTS = "resultSegmentSizes"

ONE, OPTIONAL, VARIADIC = "one", "optional", "variadic"


@record(frozen=True)
class TypeConstraint:
    """A named predicate on types; the name appears in verifier errors."""

    name: str
    accepts: Callable[[Type], bool]


Constraint = TypeConstraint | Type | type[Type] | tuple[type[Type], ...] | None
"""A predicate, one exact type, a class or classes of types, or anything."""


def constraint_accepts(constraint: Constraint, type: Type) -> bool:
    if constraint is None:
        return True
    if isinstance(constraint, TypeConstraint):
        return constraint.accepts(type)
    if isinstance(constraint, Type):
        return type is constraint
    return isinstance(type, constraint)


def fixed_type(constraint: Constraint) -> Type | None:
    """The one type a constraint allows, if it is an exact type."""
    return constraint if isinstance(constraint, Type) else None


def constraint_text(constraint: Constraint) -> str:
    if constraint is None:
        return "any type"
    if isinstance(constraint, TypeConstraint):
        return constraint.name
    if isinstance(constraint, Type):
        return str(constraint)
    classes = constraint if isinstance(constraint, tuple) else (constraint,)
    return " or ".join(c.__name__ for c in classes)


class _Field:
    """Common part of all declared fields."""

    kind: str
    name: str = ""
    owner: type[Op] | None = None
    """The class in whose body the field stands."""
    position: int = 0
    """Which of its kind it is in the class."""
    start: int = 0
    stop: int | None = None
    """Of an operand or result group: where its values lie, counted from the end behind a variadic group."""
    by_sizes: bool = False
    """Several groups are variadic: an attribute of the op says where each lies."""
    place: tuple[int, int, int | None, bool] | None = None
    """The four above, once they are known."""

    def __set_name__(self, owner: type[Op], name: str) -> None:
        self.owner = owner
        self.name = name


class _GroupField(_Field):
    """An operand or result group: its values are a slice of the op's."""

    def __init__(self, constraint: Constraint, arity: str) -> None:
        self.constraint = constraint
        self.arity = arity

    def slice(self, op: Op) -> tuple[Any, ...]:
        raise NotImplementedError


_bounds: dict[Attribute, list[slice]] = {}
"""Segment sizes -> where each segment lies (attributes are interned, and there are few)."""


def _segment(values: tuple[Any, ...], position: int, sizes: Any) -> tuple[Any, ...]:
    """The values of group ``position``."""
    found = _bounds.get(sizes)
    if found is None:
        if sizes is None:
            return ()
        ends = list(itertools.accumulate(sizes.values))
        found = _bounds[sizes] = [
            slice(end - size, end) for end, size in zip(ends, sizes.values, strict=True)
        ]
    return values[found[position]]


class _OperandField(_GroupField):
    kind = "operand"

    def slice(self, op: Op) -> tuple[Value, ...]:
        if self.by_sizes:
            return _segment(op.operands, self.position, op.attributes.get(OPERAND_SEGMENTS))
        return op.operands[self.start : self.stop]


class _ResultField(_GroupField):
    kind = "result"

    def slice(self, op: Op) -> tuple[OpResult, ...]:
        if self.by_sizes:
            return _segment(op.results, self.position, op.attributes.get(RESULT_SEGMENTS))
        return op.results[self.start : self.stop]


class OneOperand(_OperandField):
    @overload
    def __get__(self, op: None, owner: type[Op]) -> OneOperand: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> Value: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        if op is None:
            return self
        return self.slice(op)[0] if self.by_sizes else op.operands[self.start]


class OptionalOperand(_OperandField):
    @overload
    def __get__(self, op: None, owner: type[Op]) -> OptionalOperand: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> Value | None: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        if op is None:
            return self
        values = self.slice(op)
        return values[0] if values else None


class VariadicOperand(_OperandField):
    @overload
    def __get__(self, op: None, owner: type[Op]) -> VariadicOperand: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> tuple[Value, ...]: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        if op is None:
            return self
        if self.by_sizes:
            return _segment(op.operands, self.position, op.attributes.get(OPERAND_SEGMENTS))
        return op.operands[self.start : self.stop]


class OneResult(_ResultField):
    @overload
    def __get__(self, op: None, owner: type[Op]) -> OneResult: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> OpResult: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        if op is None:
            return self
        return self.slice(op)[0] if self.by_sizes else op.results[self.start]


class VariadicResult(_ResultField):
    @overload
    def __get__(self, op: None, owner: type[Op]) -> VariadicResult: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> tuple[OpResult, ...]: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        return self if op is None else self.slice(op)


class RequiredAttribute(_Field, Generic[A]):
    kind = "attribute"
    required = True

    def __init__(
        self, cls: type[A] | tuple[type[A], ...], key: str | None = None, type: Type | None = None
    ) -> None:
        self.cls = cls
        self.key = key
        self.type = type
        self.default: A | None = None

    @overload
    def __get__(self, op: None, owner: type[Op]) -> RequiredAttribute[A]: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> A: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        return self if op is None else op.attributes[self.key or self.name]


class OptionalAttribute(_Field, Generic[A]):
    kind = "attribute"
    required = False

    def __init__(
        self,
        cls: type[A] | tuple[type[A], ...],
        key: str | None = None,
        default: A | None = None,
        type: Type | None = None,
    ) -> None:
        self.cls = cls
        self.key = key
        self.default = default
        self.type = type

    @overload
    def __get__(self, op: None, owner: type[Op]) -> OptionalAttribute[A]: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> A | None: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        return self if op is None else op.attributes.get(self.key or self.name, self.default)


class OneRegion(_Field):
    kind = "region"
    arity = ONE

    @overload
    def __get__(self, op: None, owner: type[Op]) -> OneRegion: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> Region: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        return self if op is None else op.regions[self.position]


class VariadicRegion(_Field):
    """The remaining regions; must be declared last."""

    kind = "region"
    arity = VARIADIC

    @overload
    def __get__(self, op: None, owner: type[Op]) -> VariadicRegion: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> tuple[Region, ...]: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        return self if op is None else op.regions[self.position :]


class OneSuccessor(_Field):
    kind = "successor"
    arity = ONE

    @overload
    def __get__(self, op: None, owner: type[Op]) -> OneSuccessor: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> Block: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        return self if op is None else op.successors[self.position]


class VariadicSuccessor(_Field):
    """The remaining successors; must be declared last."""

    kind = "successor"
    arity = VARIADIC

    @overload
    def __get__(self, op: None, owner: type[Op]) -> VariadicSuccessor: ...
    @overload
    def __get__(self, op: Op, owner: type[Op]) -> tuple[Block, ...]: ...
    def __get__(self, op: Op | None, owner: type[Op]) -> Any:
        return self if op is None else op.successors[self.position :]


def operand(constraint: Constraint = None) -> OneOperand:
    return OneOperand(constraint, ONE)


def optional_operand(constraint: Constraint = None) -> OptionalOperand:
    return OptionalOperand(constraint, OPTIONAL)


def variadic_operand(constraint: Constraint = None) -> VariadicOperand:
    return VariadicOperand(constraint, VARIADIC)


def result(constraint: Constraint = None) -> OneResult:
    return OneResult(constraint, ONE)


def variadic_result(constraint: Constraint = None) -> VariadicResult:
    return VariadicResult(constraint, VARIADIC)


def attribute(
    cls: type[A] | tuple[type[A], ...], key: str | None = None, type: Type | None = None
) -> RequiredAttribute[A]:
    """A required inherent attribute of class ``cls``; ``key`` is its name in the text if it differs.

    ``type`` fixes the type of an integer or float attribute, which pretty assembly then leaves out.
    """
    return RequiredAttribute(cls, key, type)


def optional_attribute(
    cls: type[A] | tuple[type[A], ...],
    key: str | None = None,
    default: A | None = None,
    type: Type | None = None,
) -> OptionalAttribute[A]:
    """As ``attribute``, absent or of class ``cls``; reading an absent one gives ``default``."""
    return OptionalAttribute(cls, key, default, type)


def region() -> OneRegion:
    return OneRegion()


def variadic_region() -> VariadicRegion:
    return VariadicRegion()


def successor() -> OneSuccessor:
    return OneSuccessor()


def variadic_successor() -> VariadicSuccessor:
    return VariadicSuccessor()


@record
class Signature:
    """The declared fields of an op class, in order, and what verifier and parser derive from them."""

    operands: tuple[_OperandField, ...] = ()
    results: tuple[_ResultField, ...] = ()
    attributes: tuple[RequiredAttribute[Any] | OptionalAttribute[Any], ...] = ()
    regions: tuple[OneRegion | VariadicRegion, ...] = ()
    successors: tuple[OneSuccessor | VariadicSuccessor, ...] = ()
    fields: dict[str, _Field] = field(default_factory=dict)
    n_variable_operands: int = 0
    n_variable_results: int = 0
    operand_segments: bool = False
    result_segments: bool = False
    inherent: frozenset[str] = frozenset()
    """Attribute keys that generic assembly prints in ``<{...}>``."""


_own: dict[type, dict[str, _Field]] = {}
"""Class -> the fields in its own body."""


def _own_fields(cls: type) -> dict[str, _Field]:
    found = _own.get(cls)
    if found is None:
        found = _own[cls] = {key: value for key, value in vars(cls).items() if isinstance(value, _Field)}
    return found


def _place(cls: type[Op], fields: dict[str, _Field], group: list[Any]) -> None:
    """Tell the fields of one kind where they stand in ``cls``."""
    variadic = [i for i, value in enumerate(group) if isinstance(value, _GroupField) and value.arity != ONE]
    first = variadic[0] if variadic else len(group)
    for i, value in enumerate(group):
        place: tuple[int, int, int | None, bool]
        if len(variadic) > 1:
            place = i, 0, None, True
        elif i < first:
            place = i, i, i + 1, False
        else:
            behind = i - len(group)
            place = i, (i if i == first else behind), behind + 1 or None, False
        if value.place == place:
            continue
        if value.place and value.owner is not cls:
            # It stands elsewhere in the class that declares it: keep that one intact.
            value = copy.copy(value)
            value.owner = cls
            group[i] = fields[value.name] = _own_fields(cls)[value.name] = value
            setattr(cls, value.name, value)
        value.place = value.position, value.start, value.stop, value.by_sizes = place


def declare(cls: type[Op], name: str | None, traits: Iterable[str]) -> None:
    """Collect the fields of ``cls`` (own and inherited) and, when it has a name, register it."""
    fields: dict[str, _Field] = {}
    for base in reversed(cls.__mro__):
        fields.update(_own_fields(base))
    groups: dict[str, list[Any]] = {
        "operand": [],
        "result": [],
        "attribute": [],
        "region": [],
        "successor": [],
    }
    for value in fields.values():
        groups[value.kind].append(value)
    for group in groups.values():
        if group:
            _place(cls, fields, group)
    n_operands = sum(f.arity != ONE for f in groups["operand"])
    n_results = sum(f.arity != ONE for f in groups["result"])
    keys = {f.key or f.name for f in groups["attribute"]}
    if n_operands > 1:
        keys.add(OPERAND_SEGMENTS)
    if n_results > 1:
        keys.add(RESULT_SEGMENTS)
    cls.signature = Signature(
        tuple(groups["operand"]),
        tuple(groups["result"]),
        tuple(groups["attribute"]),
        tuple(groups["region"]),
        tuple(groups["successor"]),
        fields,
        n_operands,
        n_results,
        n_operands > 1,
        n_results > 1,
        frozenset(keys),
    )
    cls.traits = cls.traits | frozenset(traits)
    if name is not None:
        cls.name = name


def segment_sizes(*groups: Iterable[Value]) -> DenseArrayAttr:
    """``operandSegmentSizes`` for operand groups given in declaration order."""
    return _sizes(tuple([len(tuple(g)) for g in groups]))


@functools.lru_cache(maxsize=1 << 10)
def _sizes(sizes: tuple[int, ...]) -> DenseArrayAttr:
    from iree_core_ir.ir.types import i32

    return DenseArrayAttr(i32, sizes)
