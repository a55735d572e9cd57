"""``apply-constant-layouts``: weights take the layout the target asks for.

For each executable the target says which constant arguments it wants transformed (packed in execution
order, say). The transform becomes a lazy entry of the constant store, evaluated once when the artefact is
written. The executable's argument keeps its logical type and carries ``iree.packed``: kind and parameters of
the transform as JSON, which say how its memory is laid out.
"""

from __future__ import annotations

from typing import Any, ClassVar

from iree_base.records import record
from iree_core_ir.dialects import arith
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import DenseResourceAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.operation import Op, SymbolTable, Value
from iree_core_ir.pass_manager import Pass, PassContext
from iree_flow.chosen_description import description_of
from iree_flow.dialects import flow
from iree_flow.packed_arguments import layout_text, mark_packed


@record
class ApplyConstantLayouts(Pass):
    name: ClassVar[str] = "apply-constant-layouts"

    def run(self, module: Op, context: PassContext) -> None:
        symbols = SymbolTable(module)
        dispatches: dict[str, list[flow.Dispatch]] = {}
        for op in module.walk():
            if isinstance(op, flow.Dispatch):
                dispatches.setdefault(op.entry_point.root, []).append(op)
        made: dict[tuple[str, str], DenseResourceAttr] = {}
        for name, users in dispatches.items():
            executable = symbols.lookup(name)
            assert isinstance(executable, flow.Executable)
            function = executable.function
            target = context.options["target"]
            description = description_of(executable, target, context.options["description"])
            for layout in target.constant_layout(function, description):
                if all(_constant(user.arguments[layout.argument]) is not None for user in users):
                    _apply(function, users, layout, context, made)


def _constant(value: Value) -> DenseResourceAttr | None:
    op = value.defining_op
    if not isinstance(op, arith.Constant):
        return None
    attribute = op.attributes["value"]
    return attribute if isinstance(attribute, DenseResourceAttr) else None


def _apply(
    function: FuncOp,
    users: list[flow.Dispatch],
    layout: Any,
    context: PassContext,
    made: dict[tuple[str, str], DenseResourceAttr],
) -> None:
    description = layout_text(layout)
    for user in users:
        position = len(user.workload) + layout.argument
        old = _constant(user.arguments[layout.argument])
        assert old is not None
        new = made.get((old.key, description))
        if new is None:
            key = context.constants.add_transform(
                layout.kind,
                [old.key],
                list(layout.type.shape),
                str(layout.type.element_type),
                dict(layout.parameters),
            )
            new = made[old.key, description] = DenseResourceAttr(key, layout.type)
        builder = Builder.before_op(user)
        user.set_operand(position, builder.insert(arith.Constant.make(new)).result)
    mark_packed(function, layout)
