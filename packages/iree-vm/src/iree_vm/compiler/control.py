"""Calls, branches and returns of the ``vm`` dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    StringAttr,
    SymbolRefAttr,
    Type,
    TypeAttr,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    segment_sizes,
    successor,
    variadic_operand,
    variadic_result,
    variadic_successor,
)
from iree_core_ir.ir.operation import Block, Op, Value
from iree_core_ir.ir.traits import (
    CALL_LIKE,
    RETURN_LIKE,
    TERMINATOR,
)
from iree_core_ir.ir.types import TupleType, i32, i64
from iree_vm.compiler.symbols import Func, Import, types_of
from iree_vm.compiler.types import REGISTER, register_type


def _visibility(p: Any, attributes: dict[str, Attribute]) -> None:
    word = p.accept_keyword(("private", "public", "nested"))
    if word is not None:
        attributes["sym_visibility"] = StringAttr(word)


def _print_visibility(op: Any, pr: Any) -> None:
    if op.sym_visibility is not None:
        pr.write(f" {op.sym_visibility.value}")


class Call(Op, name="vm.call", traits=(CALL_LIKE,)):
    """Calls a function or a non-variadic import."""

    callee = attribute(SymbolRefAttr)
    arguments = variadic_operand(REGISTER)
    outputs = variadic_result(REGISTER)
    assembly_format = "$callee `(` $arguments `)` attr-dict `:` functional-type($arguments, $outputs)"

    @classmethod
    def make(cls, callee: str, arguments: Sequence[Value], outputs: Sequence[Type] = ()) -> Self:
        return cls(arguments, outputs, {"callee": SymbolRefAttr(callee)})

    def verify_symbol_uses(self, lookup: Any) -> None:
        target = lookup(self.callee)
        given = [[register_type(v.type) for v in values] for values in (self.arguments, self.outputs)]
        if isinstance(target, Func):
            wanted = [
                [register_type(t) for t in types] for types in (target.type.inputs, target.type.results)
            ]
        elif isinstance(target, Import) and not any(target.variadic.values):
            wanted = [[register_type(t) for t in types_of(a)] for a in (target.arguments, target.outputs)]
        else:
            raise VerifyError(self, f"'{self.callee}' does not name a function or a non-variadic import")
        if given != wanted:
            raise VerifyError(self, f"calls {self.callee} with other types than it has")


class CallVariadic(Op, name="vm.call.variadic", traits=(CALL_LIKE,)):
    """Calls an import with variadic arguments; ``segment_sizes`` has -1 for a plain argument, else the
    number of tuples of a segment.
    """

    callee = attribute(SymbolRefAttr)
    segment_sizes = attribute(DenseArrayAttr)
    segment_types = attribute(ArrayAttr)
    arguments = variadic_operand(REGISTER)
    outputs = variadic_result(REGISTER)

    @classmethod
    def make(
        cls,
        callee: str,
        groups: Sequence[Value | Sequence[Value] | Sequence[Sequence[Value]]],
        types: Sequence[Type],
        outputs: Sequence[Type] = (),
    ) -> Self:
        """``groups``: per import argument a value, or for a segment a list of values (or of tuples);
        ``types`` are the import's argument types (a tuple type for tuples).
        """
        flat: list[Value] = []
        sizes = []
        for group in groups:
            if isinstance(group, Value):
                sizes.append(-1)
                flat.append(group)
                continue
            rows = [(g,) if isinstance(g, Value) else tuple(g) for g in group]
            sizes.append(len(rows))
            flat += [value for row in rows for value in row]
        attributes: dict[str, Attribute] = {
            "callee": SymbolRefAttr(callee),
            "segment_sizes": DenseArrayAttr(i64, sizes),
            "segment_types": ArrayAttr([TypeAttr(t) for t in types]),
        }
        return cls(flat, outputs, attributes)

    @property
    def groups(self) -> list[Any]:
        """Per argument a value, or a list of tuples of values."""
        rest = iter(self.arguments)
        out: list[Any] = []
        for size, entry in zip(self.segment_sizes.values, types_of(self.segment_types), strict=True):
            width = len(entry.types) if isinstance(entry, TupleType) else 1
            if size < 0:
                out.append(next(rest))
            else:
                out.append([tuple(next(rest) for _ in range(width)) for _ in range(size)])
        return out

    @classmethod
    def parse(cls, p: Any) -> Self:
        callee = p.symbol_name()

        def row() -> list[str]:
            names: list[str] = p.comma_list(p.operand_name) if p.at("(") else [p.operand_name()]
            return names

        def group() -> Any:
            return p.comma_list(row, "[", "]") if p.at("[") else p.operand_name()

        groups = p.comma_list(group)
        attributes = p.attribute_dict()
        p.expect(":")

        def type() -> tuple[Type, bool]:
            found = p.type()
            return found, p.accept("...")

        types = p.comma_list(type)
        outputs: list[Type] = []
        if p.accept("->"):
            outputs = p.comma_list(p.type) if p.at("(") else [p.type()]
        if len(types) != len(groups):
            p.fail(f"{len(groups)} arguments with {len(types)} types")
        resolved: list[Any] = []
        for entry, (kind, variadic) in zip(groups, types, strict=True):
            if variadic != isinstance(entry, list):
                p.fail("brackets and '...' belong together")
            if not variadic:
                resolved.append(p.resolve(entry, kind))
                continue
            elements = kind.types if isinstance(kind, TupleType) else (kind,)
            resolved.append([p.resolve_all(names, elements) for names in entry])
        op = cls.make(callee, resolved, [t for t, _ in types], outputs)
        op.attributes.update(attributes)
        return op

    def print(self, pr: Any) -> None:
        parts, types = [], []
        for group, entry in zip(self.groups, types_of(self.segment_types), strict=True):
            if isinstance(group, Value):
                parts.append(pr.name(group))
                types.append(pr.text(entry))
                continue
            rows = [pr.name(r[0]) if len(r) == 1 else f"({pr.names(r)})" for r in group]
            parts.append(f"[{', '.join(rows)}]")
            types.append(f"{pr.text(entry)} ...")
        pr.write(f" {pr.text(self.callee)}({', '.join(parts)})")
        pr.attribute_dict(self.attributes, ("callee", "segment_sizes", "segment_types"))
        pr.write(f" : ({', '.join(types)})")
        if self.outputs:
            pr.write(f" -> {pr.type_list([v.type for v in self.outputs])}")

    def verify_symbol_uses(self, lookup: Any) -> None:
        target = lookup(self.callee)
        if not isinstance(target, Import):
            raise VerifyError(self, f"'{self.callee}' does not name an import")
        given = [size >= 0 for size in self.segment_sizes.values]
        if given != [variadic for _, _, variadic in target.entries]:
            raise VerifyError(self, f"brackets differ from {self.callee}")


class Branch(Op, name="vm.br", traits=(TERMINATOR,)):
    """Go to a block."""

    arguments = variadic_operand(REGISTER)
    target = successor()
    assembly_format = "$target (`(` $arguments^ `:` type($arguments) `)`)? attr-dict"

    @classmethod
    def make(cls, target: Block, arguments: Sequence[Value] = ()) -> Self:
        return cls(arguments, (), {}, (), (target,))


class CondBranch(Op, name="vm.cond_br", traits=(TERMINATOR,)):
    """Go to the first block if the condition is not 0, else to the second."""

    condition = operand(i32)
    true_arguments = variadic_operand(REGISTER)
    false_arguments = variadic_operand(REGISTER)
    true_target = successor()
    false_target = successor()
    assembly_format = (
        "$condition `,` $true_target (`(` $true_arguments^ `:` type($true_arguments) `)`)? `,` "
        "$false_target (`(` $false_arguments^ `:` type($false_arguments) `)`)? attr-dict"
    )

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
        values = (condition, *true_arguments, *false_arguments)
        return cls(values, (), {"operandSegmentSizes": sizes}, (), (true_target, false_target))


class BranchTable(Op, name="vm.br_table", traits=(TERMINATOR,)):
    """Go to the case with the index's number, else to the default block."""

    index = operand(i32)
    default_arguments = variadic_operand(REGISTER)
    case_arguments = variadic_operand(REGISTER)
    case_segments = attribute(DenseArrayAttr)
    default_target = successor()
    case_targets = variadic_successor()

    @classmethod
    def make(
        cls,
        index: Value,
        default: tuple[Block, Sequence[Value]],
        cases: Sequence[tuple[Block, Sequence[Value]]],
    ) -> Self:
        arguments = [value for _, values in cases for value in values]
        attributes: dict[str, Attribute] = {
            "case_segments": DenseArrayAttr(i64, [len(values) for _, values in cases]),
            "operandSegmentSizes": segment_sizes((index,), default[1], arguments),
        }
        blocks = (default[0], *(block for block, _ in cases))
        return cls((index, *default[1], *arguments), (), attributes, (), blocks)

    @property
    def cases(self) -> list[tuple[Block, tuple[Value, ...]]]:
        """(block, arguments) per case."""
        out = []
        start = 0
        for block, size in zip(self.case_targets, self.case_segments.values, strict=True):
            out.append((block, self.case_arguments[start : start + size]))
            start += size
        return out

    @classmethod
    def parse(cls, p: Any) -> Self:
        index = p.resolve(p.operand_name(), i32)
        p.expect("{")
        p.expect("default")
        default = _target(p)
        cases: list[tuple[Block, Sequence[Value]]] = []
        while p.accept(","):
            if p.integer() != len(cases):
                p.fail_at_previous(f"cases are numbered in order; {len(cases)} is next")
            cases.append(_target(p))
        p.expect("}")
        op = cls.make(index, default, cases)
        op.attributes.update(p.attribute_dict())
        return op

    def print(self, pr: Any) -> None:
        pr.write(f" {pr.name(self.index)} {{")
        lines = [("default", self.default_target, self.default_arguments)]
        lines += [(str(i), block, arguments) for i, (block, arguments) in enumerate(self.cases)]
        for i, (label, block, arguments) in enumerate(lines):
            pr.newline()
            text = f"({pr.names(arguments)} : {pr.types(arguments)})" if arguments else ""
            pr.write(f"  {label}: {pr.successor(block)}{text}{',' if i + 1 < len(lines) else ''}")
        pr.newline()
        pr.write("}")
        pr.attribute_dict(self.attributes, ("case_segments", "operandSegmentSizes"))


def _target(p: Any) -> tuple[Block, Sequence[Value]]:
    """``: ^bb1(%a : i32)``."""
    p.expect(":")
    block = p.successor()
    if not p.accept("("):
        return block, ()
    names = p.operand_names()
    p.expect(":")
    values = p.resolve_all(names, p.comma_list(p.type, ""))
    p.expect(")")
    return block, values


class Return(Op, name="vm.return", traits=(TERMINATOR, RETURN_LIKE)):
    """Leave the function."""

    values = variadic_operand(REGISTER)
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    @classmethod
    def make(cls, *values: Value) -> Self:
        return cls(values)
