"""``cf``: branches between the blocks of a region, and assertions, as in MLIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from iree_base.element_types import element_type
from iree_core_ir.dialects.arith_attributes import wrap_integer
from iree_core_ir.dialects.constraints import SIGNLESS
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import Attribute, DenseArrayAttr, DenseElementsAttr, StringAttr
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    segment_sizes,
    successor,
    variadic_operand,
    variadic_successor,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.traits import TERMINATOR
from iree_core_ir.ir.types import VectorType, i1, i32


class Assert(Op, name="cf.assert"):
    """Stops with ``message`` when the argument is false."""

    argument = operand(i1)
    message = attribute(StringAttr, key="msg")
    assembly_format = "$argument `,` $message attr-dict"

    @classmethod
    def make(cls, argument: Value, message: str) -> Self:
        return cls((argument,), (), {"msg": StringAttr(message)})


class Branch(Op, name="cf.br", traits=(TERMINATOR,)):
    """Go to a block with arguments."""

    arguments = variadic_operand()
    target = successor()
    assembly_format = "$target (`(` $arguments^ `:` type($arguments) `)`)? attr-dict"

    def verify_op(self) -> None:
        verify_target(self, self.target, self.arguments)

    @classmethod
    def make(cls, target: Block, arguments: Sequence[Value] = ()) -> Self:
        return cls(arguments, (), {}, (), (target,))


class CondBranch(Op, name="cf.cond_br", traits=(TERMINATOR,)):
    """Go to one block or the other."""

    condition = operand(i1)
    true_arguments = variadic_operand()
    false_arguments = variadic_operand()
    branch_weights = optional_attribute(DenseArrayAttr, type=i32)
    true_target = successor()
    false_target = successor()
    assembly_format = (
        "$condition (`weights` `(` $branch_weights^ `)`)? `,` "
        "$true_target (`(` $true_arguments^ `:` type($true_arguments) `)`)? `,` "
        "$false_target (`(` $false_arguments^ `:` type($false_arguments) `)`)? attr-dict"
    )

    def verify_op(self) -> None:
        verify_target(self, self.true_target, self.true_arguments)
        verify_target(self, self.false_target, self.false_arguments)

    @classmethod
    def make(
        cls,
        condition: Value,
        true_target: Block,
        true_arguments: Sequence[Value],
        false_target: Block,
        false_arguments: Sequence[Value],
    ) -> Self:
        sizes = segment_sizes((condition,), true_arguments, false_arguments)
        return cls(
            (condition, *true_arguments, *false_arguments),
            (),
            {"operandSegmentSizes": sizes},
            (),
            (true_target, false_target),
        )


class Switch(Op, name="cf.switch", traits=(TERMINATOR,)):
    """Go to the block whose case value equals the flag, else to the default block."""

    flag = operand(SIGNLESS)
    default_arguments = variadic_operand()
    case_arguments = variadic_operand()
    case_values = optional_attribute(DenseElementsAttr)
    case_segments = attribute(DenseArrayAttr, key="case_operand_segments")
    default_target = successor()
    case_targets = variadic_successor()

    @classmethod
    def make(
        cls,
        flag: Value,
        default_target: Block,
        default_arguments: Sequence[Value],
        cases: Sequence[tuple[int, Block, Sequence[Value]]],
    ) -> Self:
        """``cases``: (value, target, arguments) each."""
        arguments = [argument for _, _, values in cases for argument in values]
        attributes: dict[str, Attribute] = {
            "case_operand_segments": DenseArrayAttr(i32, [len(values) for _, _, values in cases]),
            "operandSegmentSizes": segment_sizes((flag,), default_arguments, arguments),
        }
        if cases:
            attributes["case_values"] = case_values([value for value, _, _ in cases], flag)
        return cls(
            (flag, *default_arguments, *arguments),
            (),
            attributes,
            (),
            (default_target, *(target for _, target, _ in cases)),
        )

    @classmethod
    def parse(cls, p: Any) -> Any:
        flag_name = p.operand_name()
        p.expect(":")
        flag = p.resolve(flag_name, p.type())
        p.expect(",")
        p.expect("[")
        p.expect("default")
        default = _parse_target(p)
        cases = []
        while p.accept(","):
            value = p.integer()
            cases.append((value, *_parse_target(p)))
        p.expect("]")
        op = cls.make(flag, *default, cases)
        op.attributes.update(p.attribute_dict())
        return op

    def print(self, printer: Any) -> None:
        printer.write(f" {printer.name(self.flag)} : {printer.text(self.flag.type)}, [")
        targets = [("default", self.default_target, self.default_arguments)]
        targets += [(str(value), target, arguments) for value, target, arguments in self.cases]
        for i, (label, target, arguments) in enumerate(targets):
            printer.newline()
            text = f"({printer.names(arguments)} : {printer.types(arguments)})" if arguments else ""
            comma = "," if i + 1 < len(targets) else ""
            printer.write(f"  {label}: {printer.successor(target)}{text}{comma}")
        if len(targets) > 1:
            printer.newline()
        printer.write("]")
        printer.attribute_dict(
            self.attributes, ("case_values", "case_operand_segments", "operandSegmentSizes")
        )

    def verify_op(self) -> None:
        values, segments = self.case_values, self.case_segments
        count = 0 if values is None else values.type.n_elements
        if not count == len(self.case_targets) == len(segments):
            raise VerifyError(self, "needs one value, target and segment per case")
        if values is not None and values.type.element_type is not self.flag.type:
            raise VerifyError(self, f"case values have type {values.type}, the flag {self.flag.type}")
        if sum(segments) != len(self.case_arguments):
            raise VerifyError(self, f"{segments.values} do not divide {len(self.case_arguments)} arguments")
        verify_target(self, self.default_target, self.default_arguments)
        for _, target, arguments in self.cases:
            verify_target(self, target, arguments)

    @property
    def cases(self) -> list[tuple[int, Block, tuple[Value, ...]]]:
        """(value, target, arguments) per case."""
        values = self.case_values
        numbers = [] if values is None else [int(v) for v in values.to_array()]
        arguments = self.case_arguments
        result = []
        start = 0
        for number, target, size in zip(numbers, self.case_targets, self.case_segments, strict=True):
            result.append((number, target, arguments[start : start + size]))
            start += size
        return result


def branch_arguments(op: Op) -> list[list[Value]] | None:
    """Per successor of ``cf.br`` or ``cf.cond_br`` what it passes; None for any other op."""
    if isinstance(op, Branch):
        return [list(op.arguments)]
    if isinstance(op, CondBranch):
        return [list(op.true_arguments), list(op.false_arguments)]
    return None


def rebuilt_branch(op: Op, targets: Sequence[Block], arguments: Sequence[Sequence[Value]]) -> Op:
    """``cf.br`` or ``cf.cond_br`` as ``op`` is, with other targets and arguments."""
    if isinstance(op, Branch):
        return Branch.make(targets[0], arguments[0])
    assert isinstance(op, CondBranch)
    new = CondBranch.make(op.condition, targets[0], arguments[0], targets[1], arguments[1])
    if op.branch_weights is not None:
        new.attributes["branch_weights"] = op.branch_weights
    return new


def verify_target(op: Op, target: Block, arguments: Sequence[Value]) -> None:
    """The arguments must fit those of the block. Raises VerifyError."""
    given, wanted = [v.type for v in arguments], [a.type for a in target.args]
    if given != wanted:
        shown = [", ".join(map(str, types)) or "nothing" for types in (given, wanted)]
        raise VerifyError(op, f"passes {shown[0]} to a block that takes {shown[1]}")


def _parse_target(p: Any) -> tuple[Block, list[Value]]:
    """``: ^bb1(%a : i32)``."""
    p.expect(":")
    target = p.successor()
    if not p.accept("("):
        return target, []
    names = p.operand_names()
    p.expect(":")
    arguments = p.resolve_all(names, p.comma_list(p.type, ""))
    p.expect(")")
    return target, arguments


def case_values(values: Sequence[int], flag: Value) -> DenseElementsAttr:
    """The case attribute of ``cf.switch``: a vector of the flag's type, of any length."""
    dtype = element_type(str(flag.type)).dtype
    raw = np.asarray([wrap_integer(value, flag.type) for value in values]).astype(dtype).tobytes()
    type = VectorType((len(values),), flag.type)
    splat = raw == raw[: dtype.itemsize] * len(values)
    return DenseElementsAttr(type, raw[: dtype.itemsize] if splat else raw, splat)


DIALECT = Dialect("cf", ops=[Assert, Branch, CondBranch, Switch])
