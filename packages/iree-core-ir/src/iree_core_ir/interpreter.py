"""The interpreter: every op's numpy meaning, run. The oracle of every lowering.

Meanings are registered per op class, one file per dialect in ``interpreters/``::

    @implements(arith.AddF)
    def addf(frame, op, lhs, rhs):
        return lhs + rhs

Runtime values: tensors and vectors are numpy arrays that are never mutated; memrefs are numpy views,
mutated in place; ``index`` is a Python int; ``i1`` is ``np.bool_``; other scalars are numpy scalars
of their type.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from iree_base.element_types import element_type
from iree_base.records import record
from iree_core_ir.errors import CoreIrError
from iree_core_ir.ir import attributes as at
from iree_core_ir.ir import types as ty
from iree_core_ir.ir.attributes import Attribute, SymbolRefAttr, Type
from iree_core_ir.ir.dialect import CORE
from iree_core_ir.ir.operation import Block, Op, Region, lookup_symbol
from iree_core_ir.ir.traits import ISOLATED, SYMBOL_TABLE

if TYPE_CHECKING:
    from iree_core_ir.constants import ConstantStore

Meaning = Callable[..., Any]
M = TypeVar("M", bound=Meaning)

_meanings: dict[type[Op], Meaning] = {}
_terminators: dict[type[Op], Meaning] = {}
_resolved: dict[tuple[type[Op], bool], Meaning | None] = {}
_loaded: set[str] = set()
_finding = threading.RLock()
_UNKNOWN = object()


@record(frozen=True)
class Jump:
    """A terminator's answer: go on at ``block`` with ``arguments``."""

    block: Block
    arguments: Sequence[Any] = ()


def implements(*classes: type[Op]) -> Callable[[M], M]:
    """Register ``function(frame, op, *operands)`` for ``classes`` and their subclasses.

    It returns the result, a tuple of results, or None when there are none.
    """

    def register(function: M) -> M:
        for cls in classes:
            _meanings[cls] = function
        _resolved.clear()
        return function

    return register


def implements_terminator(*classes: type[Op]) -> Callable[[M], M]:
    """Register a terminator that does more than hand its operands to the parent.

    It returns a ``Jump`` or the tuple of values that leave the region.
    """

    def register(function: M) -> M:
        for cls in classes:
            _terminators[cls] = function
        _resolved.clear()
        return function

    return register


def _load(dialect: str) -> None:
    """Import what registers the meanings of ``dialect``, once."""
    if dialect in _loaded:
        return
    if dialect in CORE:
        name = f"iree_core_ir.interpreters.{dialect}"
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
        _loaded.add(dialect)
        return
    from iree_core_ir.plugins import interpreter_getters

    getter = interpreter_getters().get(dialect)
    if getter is not None:
        getter()
        _loaded.add(dialect)


def _load_beside(cls: type[Op]) -> None:
    """The meanings of ``package.dialects.x`` stand in ``package.interpreters.x``, plugins or not."""
    package, middle, name = cls.__module__.rpartition(".dialects.")
    if not middle or package == "iree_core_ir":
        return
    beside = f"{package}.interpreters.{name}"
    try:
        importlib.import_module(beside)
    except ModuleNotFoundError as error:
        if not beside.startswith(str(error.name)):
            raise


def find_meaning(cls: type[Op], terminator: bool = False) -> Meaning | None:
    """The meaning of an op class (or of the nearest base that has one); None when there is none."""
    key = (cls, terminator)
    known = _resolved.get(key, _UNKNOWN)  # one look: registering empties the table
    if known is not _UNKNOWN:
        return known  # type: ignore[return-value]
    with _finding:  # another thread may be importing the meanings just now
        return _find(key)


def _find(key: tuple[type[Op], bool]) -> Meaning | None:
    cls, terminator = key
    dialects = [
        base.__dict__["name"].partition(".")[0]
        for base in cls.__mro__
        if isinstance(base.__dict__.get("name"), str)
    ]
    for dialect in dialects:
        _load(dialect)
    _load_beside(cls)
    table = _terminators if terminator else _meanings
    found = next((table[base] for base in cls.__mro__ if base in table), None)
    # Plugins may come later (a test registers one): nothing found is final only with all there is loaded.
    if found is not None or _loaded.issuperset(dialects):
        _resolved[key] = found
    return found


# -- attributes <-> values ---------------------------------------------------------------------


def attribute_value(attribute: Attribute, constants: ConstantStore | None = None) -> Any:
    """The runtime value of a constant attribute. Raises CoreIrError 9 for one that is no constant."""
    if isinstance(attribute, at.IntegerAttr):
        if isinstance(attribute.type, ty.IndexType):
            return attribute.value
        return scalar(attribute.value, attribute.type)
    if isinstance(attribute, at.FloatAttr):
        return scalar(attribute.value, attribute.type)
    if isinstance(attribute, at.DenseElementsAttr):
        return attribute.to_array()
    if isinstance(attribute, at.DenseResourceAttr):
        if constants is None:
            raise CoreIrError(8, f"'{attribute.key}'", cause="no ConstantStore was given")
        return constants.array(attribute.key)
    if isinstance(attribute, (at.SymbolRefAttr, at.StringAttr)):
        return attribute
    if isinstance(attribute, at.UnitAttr):
        return None
    raise CoreIrError(9, f"{attribute} is no constant value")


def scalar(value: Any, type: Type) -> Any:
    """``value`` as the runtime scalar of ``type``; integers wrap, ``index`` gives an int."""
    if isinstance(type, ty.IndexType):
        return int(value)
    row = element_type(str(type).removeprefix("s"))
    if row.kind in "iu" and not isinstance(value, np.generic):
        value = int(value)
        bits = row.bits
        value &= (1 << bits) - 1
        if row.kind == "i" and value >> (bits - 1):
            value -= 1 << bits
    return row.dtype.type(value)


def value_attribute(value: Any, type: Any) -> Attribute | None:
    """The constant attribute of a runtime value; None when it is too large to stay inline."""
    if isinstance(type, (ty.IndexType, ty.IntegerType)):
        return at.IntegerAttr(int(value), type)
    if isinstance(type, ty.FloatType):
        return at.FloatAttr(float(value), type)
    if isinstance(type, (ty.TensorType, ty.VectorType)) and type.is_static:
        array = np.asarray(value)
        if array.size <= at.MAX_INLINE_ELEMENTS or _is_splat(array):
            return at.DenseElementsAttr.from_array(array, type)
    return None


def _is_splat(array: np.ndarray[Any, Any]) -> bool:
    return array.size > 0 and all(
        stride == 0 or n == 1 for stride, n in zip(array.strides, array.shape, strict=True)
    )


# -- running --------------------------------------------------------------------------------------


class _Plan:
    """A block prepared for repeated runs: per op its meaning, operands and results."""

    __slots__ = ("last", "steps", "terminator")

    def __init__(self, block: Block, needs: Callable[[Op], Meaning]) -> None:
        self.steps: list[tuple[Meaning, Op, tuple[Any, ...], tuple[Any, ...], tuple[Any, ...]]] = []
        last = block.last
        released = _last_uses(block)
        self.last: Op | None = None
        self.terminator: Meaning | None = None
        for op in block:
            if op is last and find_meaning(op.__class__) is None:
                self.last = op
                self.terminator = find_meaning(op.__class__, True)
            else:
                self.steps.append((needs(op), op, op.operands, op.results, released.get(op, ())))


def _last_uses(block: Block) -> dict[Op, tuple[Any, ...]]:
    """Op -> the tensors that nothing needs once it has run, in the body of a function.

    A model's intermediate tensors live as long as they are needed, not until the function returns.
    Values that the terminator uses stay; bodies of loops overwrite theirs anyway.
    """
    region = block.parent
    function = region.parent if region is not None else None
    if region is None or function is None or ISOLATED not in function.traits or len(region.blocks) > 1:
        return {}
    last_user: dict[Any, Op] = {}
    for op in block:
        for inner in op.walk() if op.regions else (op,):
            for value in inner.operands:
                last_user[value] = op
        for value in op.results:
            last_user[value] = op
    released: dict[Op, list[Any]] = {}
    for value, op in last_user.items():
        if op is not block.last and value.parent_block is block and isinstance(value.type, ty.ShapedType):
            released.setdefault(op, []).append(value)
    return {op: tuple(values) for op, values in released.items()}


class Frame:
    """The values of one function activation; meanings use it to run regions and call functions."""

    __slots__ = ("interpreter", "op", "terminator", "values")

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.values: dict[Any, Any] = {}
        self.op: Op | None = None
        self.terminator: Op | None = None
        """The op that ended the last region run."""

    def run_region(self, region: Region, arguments: Sequence[Any] = ()) -> tuple[Any, ...]:
        """Run from the entry block until a terminator leaves the region; returns what it yields."""
        block: Block = region.block
        while True:
            outcome: Any = self.run_block(block, arguments)
            if not isinstance(outcome, Jump):
                values: tuple[Any, ...] = outcome
                return values
            block, arguments = outcome.block, outcome.arguments

    def run_block(self, block: Block, arguments: Sequence[Any] = ()) -> Any:
        """Run one block; a ``Jump``, or the values its terminator hands over."""
        interpreter = self.interpreter
        plan = interpreter._plans.get(block)
        if plan is None:
            plan = interpreter._plans[block] = _Plan(block, interpreter._needed)
        values = self.values
        if block.args:
            for argument, value in zip(block.args, arguments, strict=True):
                values[argument] = value
        observer = interpreter.observer
        op = None
        try:
            for function, op, operands, results, released in plan.steps:
                outcome = function(self, op, *[values[v] for v in operands])
                if results:
                    if len(results) == 1 and outcome.__class__ is not tuple:
                        values[results[0]] = outcome
                    else:
                        for value, item in zip(results, outcome, strict=True):
                            values[value] = item
                if observer is not None:
                    observer(op, tuple([values[v] for v in results]))
                for value in released:
                    del values[value]
            op = plan.last
            if op is None:
                return ()
            operands_now = tuple([values[v] for v in op.operands])
            self.terminator = op
            if plan.terminator is not None:
                outcome = plan.terminator(self, op, *operands_now)
                self.terminator = op
                return () if outcome is None else outcome
            return operands_now
        except Exception as error:
            _note(error, op)
            raise

    def call(self, symbol: SymbolRefAttr | str, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """Call a function visible from here; its results."""
        return self.interpreter.invoke(symbol, arguments)

    def constant(self, attribute: Attribute) -> Any:
        """The runtime value of a constant attribute."""
        return attribute_value(attribute, self.interpreter.constants)

    def lookup(self, op: Op, symbol: SymbolRefAttr | str) -> Op:
        """The op that ``symbol`` names as seen from ``op``. Raises CoreIrError 6."""
        table = op.parent_op
        while table is not None:
            if SYMBOL_TABLE in table.traits:
                found = lookup_symbol(table, symbol)
                if found is not None:
                    return found
            table = table.parent_op
        raise CoreIrError(6, str(symbol), source=op.location.user_text())


def _note(error: BaseException, op: Op | None) -> None:
    """Tell in which op an unexpected exception arose, innermost only."""
    if op is None or getattr(error, "_iree_noted", False):
        return
    if isinstance(error, CoreIrError):
        if error.source is None:
            error.source = op.location.user_text()
    else:
        error.add_note(f"while interpreting '{op.name}' at {op.location.user_text()}")
    error._iree_noted = True  # type: ignore[attr-defined]


class Interpreter:
    """Runs functions of ``module``.

    ``externals`` gives meanings to declared functions by name; ``observer(op, results)`` sees every
    executed op that is no terminator. ``state`` belongs to the dialects (globals by symbol).
    """

    def __init__(
        self,
        module: Op,
        constants: ConstantStore | None = None,
        *,
        externals: Mapping[str, Callable[..., Any]] | None = None,
        observer: Callable[[Op, tuple[Any, ...]], None] | None = None,
    ) -> None:
        self.module = module
        self.constants = constants
        self.externals = dict(externals or {})
        self.observer = observer
        self.state: dict[Any, Any] = {}
        self._plans: dict[Block, _Plan] = {}
        self._functions: dict[Any, Op] = {}

    def call(self, function: str | SymbolRefAttr | Op, *arguments: Any) -> tuple[Any, ...]:
        """Call a function with numpy arrays (tensors, memrefs) and numbers; returns its results.

        Raises CoreIrError 6 for an unknown function, 7 for arguments that do not fit its type, 5 for
        an op without meaning, 12 when a check of the program fails.
        """
        op = function if isinstance(function, Op) else self.find(function)
        type: Any = getattr(op, "type", None)
        if isinstance(type, ty.FunctionType):
            if len(arguments) != len(type.inputs):
                raise CoreIrError(
                    7, f"@{_name(op)} takes {len(type.inputs)} arguments, {len(arguments)} were given"
                )
            arguments = tuple(
                checked_argument(a, t, f"argument {i} of @{_name(op)}")
                for i, (a, t) in enumerate(zip(arguments, type.inputs, strict=True))
            )
        with np.errstate(all="ignore"):
            return self.invoke(op, arguments)

    def find(self, symbol: str | SymbolRefAttr) -> Op:
        """The function called ``symbol``. Raises CoreIrError 6 naming those that exist."""
        found = self._functions.get(symbol)
        if found is None:
            reference = symbol if isinstance(symbol, SymbolRefAttr) else SymbolRefAttr(symbol)
            found = lookup_symbol(self.module, reference)
            if found is None:
                names = [f"@{_name(op)}" for r in self.module.regions for b in r.blocks for op in b]
                raise CoreIrError(
                    6, str(reference), cause="the module has " + (", ".join(names) or "no symbols")
                )
            self._functions[symbol] = found
        return found

    def invoke(self, function: Op | str | SymbolRefAttr, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """As ``call`` on runtime values, unchecked."""
        op = function if isinstance(function, Op) else self.find(function)
        body = op.regions[0] if op.regions else None
        if body is None or not body.blocks:
            external = self.externals.get(_name(op))
            if external is None:
                raise CoreIrError(
                    5, f"@{_name(op)} is only declared", hint="pass externals={name: function} to Interpreter"
                )
            outcome = external(*arguments)
            return outcome if isinstance(outcome, tuple) else (() if outcome is None else (outcome,))
        return Frame(self).run_region(body, arguments)

    def forget(self) -> None:
        """Drop what was prepared for the module's blocks, after the IR changed."""
        self._plans.clear()
        self._functions.clear()

    def _needed(self, op: Op) -> Meaning:
        function = find_meaning(op.__class__)
        if function is None:
            raise CoreIrError(
                5,
                f"'{op.name}'",
                source=op.location.user_text(),
                hint=f"register one with @implements in the interpreters of dialect '{op.dialect}'",
            )
        return function


def _name(op: Op) -> str:
    name: Any = op.attributes.get("sym_name")
    return "?" if name is None else str(name.value)


def checked_argument(value: Any, type: Any, what: str) -> Any:
    """``value`` as the runtime value of ``type``. Raises CoreIrError 7 when it does not fit."""
    if isinstance(type, (ty.TensorType, ty.MemRefType, ty.VectorType)):
        dtype = element_type(str(type.element_type).removeprefix("s")).dtype
        array = np.asarray(value)
        if array.dtype != dtype:
            raise CoreIrError(7, f"{what} has dtype {array.dtype}, expected {dtype} for {type}")
        if array.ndim != type.rank or any(
            d not in (ty.DYNAMIC, n) for d, n in zip(type.shape, array.shape, strict=True)
        ):
            raise CoreIrError(7, f"{what} has shape {array.shape}, expected {type}")
        return array
    if isinstance(type, (ty.IntegerType, ty.IndexType, ty.FloatType)):
        if not isinstance(value, (int, float, np.generic)):
            raise CoreIrError(7, f"{what} is {value!r}, expected {type}")
        return scalar(value, type)
    return value
