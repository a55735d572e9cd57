"""Classes of named fields, made in a tenth of the time that :mod:`dataclasses` takes.

A program that loads a model makes fifty of them before its first result, a compiler five times as many.
``dataclasses`` compiles up to seven functions a class; here one is, ``__init__``, when the first instance is
made, and the others are shared. What is written is what ``dataclass`` would take, type checkers see the same
class, and ``dataclasses.replace``, ``asdict`` and ``fields`` work on the result. Fields of records that are
base classes come first. There is no order and no ``InitVar``.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")
_MISSING: Any = object()
_NO_FIELDS = ("ClassVar", "typing.ClassVar")
"""Annotations that begin so are of the class."""


class Field:
    """What :func:`field` leaves in a class body."""

    __slots__ = ("default", "default_factory", "init", "repr")

    def __init__(self, default: Any, default_factory: Any, init: bool, repr: bool) -> None:
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr


def field(
    *, default: Any = _MISSING, default_factory: Any = _MISSING, init: bool = True, repr: bool = True
) -> Any:
    """A field with a default that is made anew, that is no argument (``init=False``), or that stays out of
    the text form.
    """
    return Field(default, default_factory, init, repr)


@overload
def record(cls: type[T], /) -> type[T]: ...
@overload
def record(*, frozen: bool = False, eq: bool = True, slots: bool = False) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(field,))
def record(
    cls: type[Any] | None = None, /, *, frozen: bool = False, eq: bool = True, slots: bool = False
) -> Any:
    """Make ``cls`` a record of its annotated names, as ``dataclasses.dataclass`` does."""
    if cls is None:
        return lambda given: _make(given, frozen, eq, slots)
    return _make(cls, frozen, eq, slots)


def _make(cls: type[Any], frozen: bool, eq: bool, slots: bool) -> type[Any]:
    own = cls.__dict__
    own_specs: dict[str, Field] = {}
    for name, annotation in own.get("__annotations__", {}).items():
        if not str(annotation).startswith(_NO_FIELDS):
            given = own.get(name, _MISSING)
            own_specs[name] = given if isinstance(given, Field) else Field(given, _MISSING, True, True)
    specs: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        specs.update(base.__dict__.get("_record_specs", {}))
    specs.update(own_specs)
    names = tuple(specs)
    added: dict[str, Any] = {
        "__init__": _first_init(cls, specs, frozen),
        "_record_specs": specs,
        "__match_args__": tuple(name for name, spec in specs.items() if spec.init),
        "__dataclass_fields__": _LazyFields(specs),
        "_record_shown": tuple(name for name, spec in specs.items() if spec.repr),
    }
    if "__repr__" not in own:
        added["__repr__"] = _repr
    if eq and "__eq__" not in own:
        added["_record_key"] = staticmethod(attrgetter(*names)) if names else staticmethod(_no_key)
        added["__eq__"] = _eq
        if "__hash__" not in own:
            added["__hash__"] = _hash if frozen else None
    if frozen:
        added["__setattr__"], added["__delattr__"] = _refuse_set, _refuse_delete
    if slots:
        rest = {k: v for k, v in own.items() if k not in (*names, "__dict__", "__weakref__")}
        added["__slots__"] = names
        added["__getstate__"], added["__setstate__"] = _get_state, _set_state
        maker: Any = type(cls)
        made: type[Any] = maker(cls.__name__, cls.__bases__, {**rest, **added})
        made.__qualname__ = cls.__qualname__
        made.__init__ = _first_init(made, specs, frozen)
        return made
    for name, spec in own_specs.items():
        if isinstance(own.get(name), Field):
            if spec.default is _MISSING:
                delattr(cls, name)
            else:
                setattr(cls, name, spec.default)
    for name, value in added.items():
        setattr(cls, name, value)
    return cls


def _first_init(cls: Any, specs: dict[str, Field], frozen: bool) -> Callable[..., None]:
    """What stands for ``__init__`` until the first instance is made: most classes of a program never are."""

    def __init__(self: Any, *arguments: Any, **named: Any) -> None:
        cls.__init__ = made = _init(cls, specs, frozen)
        made(self, *arguments, **named)

    return __init__


def _init(cls: type[Any], specs: dict[str, Field], frozen: bool) -> Callable[..., None]:
    """The one function that is compiled: arguments as attributes."""
    scope: dict[str, Any] = {"_set": object.__setattr__, "_missing": _MISSING}
    parameters: list[str] = []
    lines: list[str] = []
    for name, spec in specs.items():
        value = name
        if spec.default_factory is not _MISSING:
            scope[f"_make_{name}"] = spec.default_factory
            value = f"_make_{name}()"
            if spec.init:
                value = f"{value} if {name} is _missing else {name}"
                parameters.append(f"{name}=_missing")
        elif spec.default is not _MISSING:
            scope[f"_default_{name}"] = spec.default
            if spec.init:
                parameters.append(f"{name}=_default_{name}")
            else:
                value = f"_default_{name}"
        elif spec.init:
            parameters.append(name)
        else:
            continue
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    head = f"def __init__(self{''.join(', ' + p for p in parameters)}):"
    exec(head + "".join(f"\n  {line}" for line in lines or ["pass"]), scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    return made


def _no_key(instance: Any) -> tuple[()]:
    return ()


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._record_shown)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self._record_key(self) == self._record_key(other)


def _hash(self: Any) -> int:
    return hash(self._record_key(self))


def _refuse_set(self: Any, name: str, value: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__slots__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)


class _LazyFields:
    """``__dataclass_fields__``, made by ``dataclasses`` itself when one of its functions asks."""

    def __init__(self, specs: dict[str, Field]) -> None:
        self._annotations = dict.fromkeys(specs, Any)
        self._specs = specs
        self._found: dict[str, Any] | None = None

    def __get__(self, instance: object, owner: type[Any] | None = None) -> dict[str, Any]:
        if self._found is None:
            import dataclasses

            body: dict[str, Any] = {"__annotations__": self._annotations}
            for name, spec in self._specs.items():
                options: dict[str, Any] = {"init": spec.init, "repr": spec.repr}
                if spec.default is not _MISSING:
                    options["default"] = spec.default
                if spec.default_factory is not _MISSING:
                    options["default_factory"] = spec.default_factory
                body[name] = dataclasses.field(**options)
            twin: Any = dataclasses.dataclass(type("Twin", (), body))
            self._found = twin.__dataclass_fields__
        assert self._found is not None
        return self._found


__all__ = ["Field", "field", "record"]
