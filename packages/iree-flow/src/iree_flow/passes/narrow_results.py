"""``narrow-results``: what every reader of a result rounds is rounded where it is made.

Products on matrix tiles begin by rounding f32 to bf16. Where all dispatches that read a result do so (targets
say: ``rounded_arguments``), it is stored as bf16: the same numbers in half the memory, and nobody converts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.dialects.linalg_ext_attention import Attention
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.dispatch_function import argument_attributes
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.attributes import StringAttr, SymbolRefAttr, Type, TypeAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, SymbolTable, Value
from iree_core_ir.ir.types import FunctionType, TensorType, f32
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.chosen_description import description_of
from iree_flow.dialects import flow
from iree_flow.passes.outline_dispatch_regions import ACCESS, DESTINATIONS, WRITE

Changes = tuple[tuple[tuple[int, Type], ...], tuple[tuple[int, Type], ...]]
"""What a dispatch makes different: (argument, type) and (result, type)."""
SAME: Changes = ((), ())


@record
class NarrowResults(Pass):
    name: ClassVar[str] = "narrow-results"

    def run(self, module: Op, context: PassContext) -> None:
        ask = getattr(context.options.get("target"), "rounded_arguments", None)
        # A result that became narrow may narrow what its maker reads.
        while ask is not None and self._narrowed(module, context, ask):
            pass

    def _narrowed(self, module: Op, context: PassContext, ask: Any) -> bool:
        """Whether there was anything to round."""
        target, description = context.options["target"], context.options["description"]
        symbols = SymbolTable(module)
        dispatches = [op for op in module.walk() if isinstance(op, flow.Dispatch)]
        executables: dict[str, flow.Executable] = {}
        rounded: dict[str, Mapping[int, Type]] = {}
        for op in dispatches:
            name = op.entry_point.root
            if name not in executables:
                executable = symbols.lookup(name)
                assert isinstance(executable, flow.Executable)
                executables[name] = executable
                own = description_of(executable, target, description)
                rounded[name] = ask(executable.function, own)
        if not any(rounded.values()):
            return False
        narrow: dict[Value, Type] = {}
        for op in dispatches:
            function = executables[op.entry_point.root].function
            for number, result in enumerate(op.results):
                type = _read_as(result, rounded)
                if type is not None and _can_round(function, number):
                    narrow[result] = type
        made: dict[str, dict[Changes, list[flow.Dispatch]]] = {}
        for op in dispatches:
            made.setdefault(op.entry_point.root, {}).setdefault(_changes(op, narrow), []).append(op)
        for name, groups in made.items():
            for number, (changes, users) in enumerate(groups.items()):
                if changes != SAME:
                    last = number == len(groups) - 1 and SAME not in groups
                    executable = executables[name] if last else _copied(executables[name], symbols)
                    _apply(executable, changes, users)
        return bool(narrow)


def _read_as(value: Value, rounded: Mapping[str, Mapping[int, Type]]) -> Type | None:
    """The type that all readers of ``value`` round it to."""
    types = {
        None if reader is None else rounded[reader[0].entry_point.root].get(reader[1])
        for reader in _readers(value)
    }
    return types.pop() if len(types) == 1 else None


def _readers(value: Value) -> Iterator[tuple[flow.Dispatch, int] | None]:
    """The dispatches and arguments that ``value`` goes to, in any shape; None for every other use."""
    for user in value.users:
        if isinstance(user, flow.TensorReshape):
            yield from _readers(user.result)
        elif isinstance(user, flow.Dispatch) and value in user.arguments:
            yield from ((user, i) for i, argument in enumerate(user.arguments) if argument is value)
        else:
            yield None


def _changes(op: flow.Dispatch, narrow: Mapping[Value, Type]) -> Changes:
    arguments = []
    for number, value in enumerate(op.arguments):
        while isinstance(value.defining_op, flow.TensorReshape):
            value = value.defining_op.source
        if value in narrow:
            arguments.append((number, narrow[value]))
    return tuple(arguments), tuple((r.index, narrow[r]) for r in op.results if r in narrow)


def _copied(executable: flow.Executable, symbols: SymbolTable) -> flow.Executable:
    """The same under another name, for dispatches that differ."""
    copy = executable.clone()
    old: Any = executable.attributes["sym_name"]
    name = symbols.insert(copy, before=executable)
    function = copy.function
    own: Any = function.attributes["sym_name"]
    export = StringAttr(name + own.value.removeprefix(old.value))
    function.attributes["sym_name"] = copy.exports[0].attributes["sym_name"] = export
    return copy


def _apply(executable: flow.Executable, changes: Changes, users: Sequence[flow.Dispatch]) -> None:
    function = executable.function
    name: Any = executable.attributes["sym_name"]
    export: Any = function.attributes["sym_name"]
    for number, type in changes[0]:
        _widen_argument(function, number, type)
    for number, type in changes[1]:
        _round_result(function, number, type)
        for user in users:
            _retype(user.results[number], type)
    block = function.regions[0].block
    types = [a.type for a in block.args], [v.type for v in block.terminator.operands]
    function.attributes["function_type"] = TypeAttr(FunctionType(*types))
    for user in users:
        user.attributes["entry_point"] = SymbolRefAttr(name.value, export.value)


def _can_round(function: FuncOp, number: int) -> bool:
    """A result of f32 of static sizes, made by a linalg op or an attention in memory of its own."""
    value = function.regions[0].block.terminator.operands[number]
    type: Any = value.type
    if not isinstance(type, TensorType) or type.element_type is not f32 or type.n_dynamic:
        return False
    access: Any = argument_attributes(function)[_destination(function, number).index].get(ACCESS)
    made = isinstance(value.defining_op, (StructuredOp, Attention))
    return made and access is not None and access.value == WRITE


def _destination(function: FuncOp, number: int) -> Value:
    positions: Any = function.attributes[DESTINATIONS]
    found: Value = function.regions[0].block.args[positions[number]]
    return found


def _retype(value: Value, element: Type) -> None:
    """Give ``value``, and what is only another shape of it, elements of that type."""
    type: Any = value.type
    value.type = TensorType(type.shape, element)
    for user in value.users:
        if isinstance(user, flow.TensorReshape):
            _retype(user.result, element)


def _converted(builder: Builder, cast: Any, value: Value, into: Value) -> Value:
    """``value`` element by element as ``into`` holds it."""
    type: Any = into.type
    same = AffineMap.identity(type.rank)

    def body(b: Builder, x: Value, _: Value) -> list[Value]:
        return [b.insert(cast.make(x, type.element_type)).result]

    op = linalg.Generic.make([value], [into], [same, same], ["parallel"] * type.rank, body)
    return builder.insert(op).results[0]


def _widen_argument(function: FuncOp, number: int, element: Type) -> None:
    block = function.regions[0].block
    argument = block.args[number]
    wide: Any = argument.type
    users = argument.users
    argument.type = TensorType(wide.shape, element)
    builder = Builder.before_op(block.ops[0])
    memory = builder.insert(tensor.Empty.make(wide.shape, wide.element_type)).result
    value = _converted(builder, arith.ExtF, argument, memory)
    for user in users:
        user.set_operands([value if operand is argument else operand for operand in user.operands])


def _round_result(function: FuncOp, number: int, element: Type) -> None:
    block = function.regions[0].block
    value, destination = block.terminator.operands[number], _destination(function, number)
    wide: Any = value.type
    narrow = TensorType(wide.shape, element)
    op: Any = value.defining_op
    destination.type = narrow
    if _is_last_step(op, value, destination):
        output = op.body.args[op.body_arguments().index(op.n_inputs + value.index)]
        output.type = element
        final = op.body.terminator
        rounded = Builder.before_op(final).insert(arith.TruncF.make(final.operands[value.index], element))
        final.set_operand(value.index, rounded.result)
        value.type = narrow
        return
    memory = Builder.before_op(block.ops[0]).insert(tensor.Empty.make(wide.shape, wide.element_type)).result
    for user in destination.users:
        user.set_operands([memory if operand is destination else operand for operand in user.operands])
    builder = Builder.before_op(block.terminator)
    block.terminator.set_operand(number, _converted(builder, arith.TruncF, value, destination))


def _is_last_step(op: Any, value: Value, destination: Value) -> bool:
    """An elementwise op that writes its destination for nobody but the caller: it can round itself."""
    return (
        isinstance(op, linalg.Generic)
        and not op.reduction_dims
        and op.outputs[value.index] is destination
        and destination.has_one_use
        and value.has_one_use
        and not op.uses_output(value.index)
    )
