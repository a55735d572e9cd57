"""Passes and the pass manager.

A pass is a record (or a dataclass); its fields are its textual options::

    @record
    class Canonicalize(Pass):
        name: ClassVar[str] = "canonicalize"
        max_iterations: int = 10

    PassManager.parse("cse,canonicalize{max-iterations=5}").run(module, PassContext())
"""

from __future__ import annotations

import dataclasses
import re
import time
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from iree_base import debug
from iree_base.records import field, record
from iree_core_ir.constants import ConstantStore
from iree_core_ir.errors import CoreIrError, VerifyError
from iree_core_ir.garbage import frozen_gc
from iree_core_ir.ir.operation import Op

SETTLED = "settled"
"""Where the memory holds, for each module, the passes that would leave it as it is: see ``Pass.settles``."""


@record
class PassContext:
    """What passes of one compilation share.

    ``options``: the compilation's options; ``reports``: what passes tell the user, by topic;
    ``times``: (pass name, seconds) in execution order; ``memory``: what a pass remembers of a module for its
    next run, by the pass's name. A compilation of several runs hands the same memory to each.
    """

    constants: ConstantStore = field(default_factory=ConstantStore)
    options: Mapping[str, Any] = field(default_factory=dict)
    reports: dict[str, list[Any]] = field(default_factory=dict)
    times: list[tuple[str, float]] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)

    def settled(self, module: Op) -> set[str]:
        """The passes, as text, that would leave the module as it is."""
        found: set[str] = self.memory.setdefault(SETTLED, {}).setdefault(module, set())
        return found

    def report(self, topic: str, entry: Any) -> None:
        """Add an entry (JSON values) to a report."""
        self.reports.setdefault(topic, []).append(entry)


@dataclass
class Pass:
    """One transformation of a module. Subclasses set ``name`` and implement ``run``."""

    name: ClassVar[str] = ""
    settles: ClassVar[bool] = False
    """Run on what it left, it changes nothing: until another pass changes the module it is not run again."""

    def run(self, module: Any, context: PassContext) -> bool | None:
        """Transform ``module``. False says that it is as it was; a pass that does not know says nothing."""
        raise NotImplementedError(type(self).__name__)

    @property
    def text(self) -> str:
        """The pass as written in a pipeline: ``name{option=value}``, defaults left out."""
        parts = []
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if value != _default(option):
                parts.append(f"{option.name.replace('_', '-')}={_option_text(value)}")
        return self.name + (f"{{{' '.join(parts)}}}" if parts else "")


def _default(option: dataclasses.Field[Any]) -> Any:
    if option.default_factory is not dataclasses.MISSING:
        return option.default_factory()
    return option.default


def _option_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(_option_text(item) for item in value)
    text = str(value)
    return f'"{text}"' if re.search(r"[\s{},\"]", text) or not text else text


# -- pipelines as text -----------------------------------------------------------------------------

_ITEM = re.compile(r"\s*([A-Za-z_][\w.\-]*)\s*")
_OPTION = re.compile(r"\s*([A-Za-z_][\w\-]*)\s*=\s*(\"[^\"]*\"|[^\s{}]*)")


def parse_pipeline(text: str) -> list[Pass]:
    """The passes of ``a,b{x=1 y=2}``, optionally inside ``builtin.module(...)``.

    Raises CoreIrError 3 for an unknown pass, 4 for a bad option.
    """
    text = text.strip()
    if text.startswith("builtin.module(") and text.endswith(")"):
        text = text[len("builtin.module(") : -1]
    passes: list[Pass] = []
    position = 0
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None:
            raise CoreIrError(3, f"'{text[position:].strip()}'", cause="expected the name of a pass")
        name = match[1]
        position = match.end()
        options: dict[str, str] = {}
        if text.startswith("{", position):
            position = _parse_options(text, position + 1, name, options)
        passes.append(make_pass(name, options))
        rest = text[position:].lstrip()
        if rest and not rest.startswith(","):
            raise CoreIrError(3, f"'{rest}'", cause="expected ',' between passes")
        position = len(text) - len(rest) + 1 if rest else len(text)
    return passes


def _parse_options(text: str, position: int, name: str, options: dict[str, str]) -> int:
    while True:
        rest = text[position:].lstrip()
        position = len(text) - len(rest)
        if rest.startswith("}"):
            position += 1
            return position + len(text[position:]) - len(text[position:].lstrip())
        match = _OPTION.match(text, position)
        if match is None:
            raise CoreIrError(4, f"'{name}'", cause=f"expected option=value at '{rest}'")
        value = match[2]
        options[match[1]] = value[1:-1] if value.startswith('"') else value
        position = match.end()


def make_pass(name: str, options: Mapping[str, str]) -> Pass:
    """The pass called ``name`` with options given as text."""
    cls = find_pass(name)
    fields = {f.name.replace("_", "-"): f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for option, text in options.items():
        known = fields.get(option.replace("_", "-"))
        if known is None:
            raise CoreIrError(
                4, f"'{name}' has no option '{option}'", cause="it has " + (", ".join(fields) or "none")
            )
        try:
            values[known.name] = _convert(text, hints[known.name])
        except ValueError as error:
            raise CoreIrError(4, f"'{name}': {option}={text}", cause=str(error)) from None
    return cls(**values)


def _convert(text: str, kind: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in typing.get_args(kind) if a is not type(None)]
        return None if text in ("", "none") else _convert(text, inner[0])
    if origin in (list, tuple, Sequence):
        item = typing.get_args(kind)[0]
        items = [_convert(part, item) for part in text.split(",") if part]
        return tuple(items) if origin is tuple else items
    if kind is bool:
        if text not in ("true", "false", "1", "0"):
            raise ValueError("expected true or false")
        return text in ("true", "1")
    if kind is int:
        return int(text, 0)
    return float(text) if kind is float else text


def find_pass(name: str) -> type[Pass]:
    """The pass class called ``name``. Raises CoreIrError 3 naming all that exist."""
    from iree_core_ir.plugins import pass_getters

    getters = pass_getters()
    getter = getters.get(name)
    if getter is None:
        raise CoreIrError(3, f"'{name}'", cause="known: " + ", ".join(sorted(getters)))
    cls: type[Pass] = getter()
    return cls


# -- running -----------------------------------------------------------------------------------------


class PassManager:
    """Runs passes in order.

    ``verify_each`` (default: under ``IREE_VERIFY``) verifies after every pass; the end is always
    verified. ``after_pass(pass, module)`` is called after every pass.
    """

    def __init__(
        self,
        passes: Iterable[Pass],
        *,
        verify_each: bool | None = None,
        verify_end: bool = True,
        after_pass: Callable[[Pass, Any], None] | None = None,
    ) -> None:
        self.passes = list(passes)
        self.verify_each = verify_each
        self.verify_end = verify_end
        self.after_pass = after_pass

    @classmethod
    def parse(cls, text: str, **settings: Any) -> PassManager:
        """From ``cse,canonicalize{max-iterations=5}``."""
        return cls(parse_pipeline(text), **settings)

    @property
    def text(self) -> str:
        return ",".join(p.text for p in self.passes)

    def run(self, module: Op, context: PassContext | None = None) -> PassContext:
        """Run all passes on ``module``. Raises VerifyError naming the pass that left invalid IR."""
        from iree_core_ir.verifier import verify

        context = PassContext() if context is None else context
        each = debug.verifying() if self.verify_each is None else self.verify_each
        show = debug.at(debug.IR)
        before = str(module) if show else ""
        with frozen_gc():
            for current in self.passes:
                start = time.perf_counter()
                (_run_checked if each else _run)(current, module, context)
                seconds = time.perf_counter() - start
                context.times.append((current.name, seconds))
                debug.log(debug.PASSES, f"{current.name:<32} {seconds * 1e3:9.2f} ms")
                if show:
                    after = str(module)
                    if after != before:
                        debug.log(debug.IR, f"// IR after {current.text}\n{after}")
                    before = after
                if self.after_pass is not None:
                    self.after_pass(current, module)
                if each or (self.verify_end and current is self.passes[-1]):
                    _verify_after(module, current, verify)
        return context


def _run(current: Pass, module: Op, context: PassContext) -> None:
    """Run a pass if it is not known to change nothing."""
    settled = context.settled(module)
    if current.text in settled:
        return
    if current.run(module, context) is not False:
        settled.clear()
    if current.settles:
        settled.add(current.text)


def _run_checked(current: Pass, module: Op, context: PassContext) -> None:
    """Run a pass in any case. What is said to stay as it is must: raises VerifyError otherwise."""
    from iree_core_ir.passes.cse import structural_key

    same = current.text in context.settled(module)
    context.settled(module).discard(current.text)
    before = structural_key(module)
    said = current.run(module, context)
    if said is not False and not same:
        context.settled(module).clear()
    elif structural_key(module) != before:
        error = VerifyError(module, "the pass has changed what it said to leave as it was")
        error.after = current.text
        raise error
    if current.settles:
        context.settled(module).add(current.text)


def _verify_after(module: Op, current: Pass, verify: Callable[[Op], None]) -> None:
    try:
        verify(module)
    except VerifyError as error:
        error.after = current.text
        raise
