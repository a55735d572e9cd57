"""Pretty assembly of the ``scf`` ops that MLIR's declarative formats do not cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects.mixed import DYNAMIC_INDEX, Mixed
from iree_core_ir.ir.attributes import UNIT, Attribute, DenseArrayAttr, Type
from iree_core_ir.ir.declaration import segment_sizes
from iree_core_ir.ir.operation import Op, Region, Value
from iree_core_ir.ir.types import i1, i64, index

Names = list[tuple[str, str]]


def _assignments(p: Any) -> Names:
    """``(%a = %x, %b = %y)`` as pairs of names."""

    def assignment() -> tuple[str, str]:
        name = p.operand_name()
        p.expect("=")
        return name, p.operand_name()

    return p.comma_list(assignment)  # type: ignore[no-any-return]


def _assignments_text(printer: Any, arguments: Sequence[Value], values: Sequence[Value]) -> str:
    pairs = [f"{printer.name(a)} = {printer.name(v)}" for a, v in zip(arguments, values, strict=True)]
    return f"({', '.join(pairs)})"


def _arrow_types(p: Any) -> list[Type]:
    """``-> type`` or ``-> (types)``, or nothing."""
    if not p.accept("->"):
        return []
    return p.type_list()  # type: ignore[no-any-return]


def _arrow_text(printer: Any, op: Op) -> str:
    types = [value.type for value in op.results]
    return f" -> ({printer.texts(types)})" if types else ""


# -- for ---------------------------------------------------------------------------------------


def parse_for(cls: type[Op], p: Any) -> Op:
    attributes: dict[str, Attribute] = {}
    if p.accept("unsigned"):
        attributes["unsignedCmp"] = UNIT
    counter = p.operand_name()
    bounds = []
    for keyword in ("=", "to", "step"):
        p.expect(keyword)
        bounds.append(p.operand_name())
    carried: Names = []
    types: list[Type] = []
    if p.accept("iter_args"):
        carried = _assignments(p)
        types = _arrow_types(p)
        if len(types) != len(carried):
            p.fail_at_previous(f"{len(carried)} iter_args but {len(types)} types")
    type = p.type() if p.accept(":") else index
    operands = [p.resolve(name, type) for name in bounds]
    operands += p.resolve_all([value for _, value in carried], types)
    names = [argument for argument, _ in carried]
    body = p.region([(counter, type), *zip(names, types, strict=True)])
    attributes.update(p.attribute_dict())
    return cls(operands, types, attributes, (body,))


def print_for(op: Any, printer: Any) -> None:
    name = printer.name
    unsigned = " unsigned" if op.unsigned_compare is not None else ""
    bounds = f"{name(op.lower)} to {name(op.upper)} step {name(op.step)}"
    printer.write(f"{unsigned} {name(op.induction_variable)} = {bounds}")
    if op.inits:
        carried = _assignments_text(printer, op.iter_args, op.inits)
        printer.write(f" iter_args{carried}{_arrow_text(printer, op)}")
    if op.lower.type is not index:
        printer.write(f" : {printer.text(op.lower.type)}")
    printer.write(" ")
    printer.region(op.body, entry_arguments=False)
    printer.attribute_dict(op.attributes, ("unsignedCmp",))


# -- if ------------------------------------------------------------------------------------------


def parse_if(cls: type[Op], p: Any) -> Op:
    condition = p.resolve(p.operand_name(), i1)
    types = _arrow_types(p)
    then = p.region()
    otherwise = p.region() if p.accept("else") else Region()
    return cls((condition,), types, p.attribute_dict(), (then, otherwise))


def print_if(op: Any, printer: Any) -> None:
    printer.write(f" {printer.name(op.condition)}{_arrow_text(printer, op)} ")
    printer.region(op.then_region, entry_arguments=False)
    if op.else_region.blocks:
        printer.write(" else ")
        printer.region(op.else_region, entry_arguments=False)
    printer.attribute_dict(op.attributes)


# -- while ---------------------------------------------------------------------------------------


def parse_while(cls: type[Op], p: Any) -> Op:
    carried = _assignments(p) if p.at("(") else []
    p.expect(":")
    function = p.function_type()
    operands = p.resolve_all([value for _, value in carried], function.inputs)
    before = p.region(list(zip([name for name, _ in carried], function.inputs, strict=True)))
    p.expect("do")
    after = p.region()
    attributes = p.attribute_dict_with_keyword()
    return cls(operands, function.results, attributes, (before, after))


def print_while(op: Any, printer: Any) -> None:
    if op.inits:
        printer.write(f" {_assignments_text(printer, op.before_block.args, op.inits)}")
    inputs = [value.type for value in op.inits]
    printer.write(f" : {printer.function_type(inputs, [value.type for value in op.results])} ")
    printer.region(op.before, entry_arguments=False)
    printer.write(" do ")
    printer.region(op.after)
    printer.attribute_dict(op.attributes, (), True)


# -- execute_region, index_switch --------------------------------------------------------------------


def parse_execute_region(cls: type[Op], p: Any) -> Op:
    types = _arrow_types(p)
    attributes: dict[str, Attribute] = {"no_inline": UNIT} if p.accept("no_inline") else {}
    body = p.region()
    attributes.update(p.attribute_dict())
    return cls((), types, attributes, (body,))


def print_execute_region(op: Any, printer: Any) -> None:
    if op.results:
        printer.write(f" -> {printer.type_list([value.type for value in op.results])}")
    printer.write(" no_inline " if op.no_inline is not None else " ")
    printer.region(op.body, terminator=True)
    printer.attribute_dict(op.attributes, ("no_inline",))


def parse_index_switch(cls: type[Op], p: Any) -> Op:
    value = p.resolve(p.operand_name(), index)
    attributes = p.attribute_dict()
    types = _arrow_types(p)
    cases: list[int] = []
    regions = []
    while p.accept("case"):
        cases.append(p.integer())
        regions.append(p.region())
    p.expect("default")
    default = p.region()
    attributes["cases"] = DenseArrayAttr(i64, cases)
    return cls((value,), types, attributes, (default, *regions))


def print_index_switch(op: Any, printer: Any) -> None:
    printer.write(f" {printer.name(op.value)}")
    printer.attribute_dict(op.attributes, ("cases",))
    if op.results:
        printer.write(f" -> {printer.texts([value.type for value in op.results])}")
    for case, region in zip(op.cases, op.case_regions, strict=True):
        printer.newline()
        printer.write(f"case {case} ")
        printer.region(region, entry_arguments=False)
    printer.newline()
    printer.write("default ")
    printer.region(op.default_region, entry_arguments=False)


# -- parallel, reduce ----------------------------------------------------------------------------


def parse_parallel(cls: type[Op], p: Any) -> Op:
    counters = p.comma_list(p.operand_name)
    bounds: list[list[str]] = []
    for keyword in ("=", "to", "step"):
        p.expect(keyword)
        names = p.comma_list(p.operand_name)
        if len(names) != len(counters):
            p.fail_at_previous(f"expected {len(counters)} bounds, got {len(names)}")
        bounds.append(names)
    inits = p.comma_list(p.operand_name) if p.accept("init") else []
    types = _arrow_types(p)
    groups = [p.resolve_all(names, [index] * len(names)) for names in bounds]
    groups.append(p.resolve_all(inits, types))
    body = p.region([(name, index) for name in counters])
    attributes = p.attribute_dict()
    attributes["operandSegmentSizes"] = segment_sizes(*groups)
    return cls([value for group in groups for value in group], types, attributes, (body,))


def print_parallel(op: Any, printer: Any) -> None:
    names = printer.names
    bounds = f"({names(op.lower)}) to ({names(op.upper)}) step ({names(op.step)})"
    printer.write(f" ({names(op.induction_variables)}) = {bounds}")
    if op.inits:
        printer.write(f" init ({names(op.inits)})")
    if op.results:
        printer.write(f" -> {printer.type_list([value.type for value in op.results])}")
    printer.write(" ")
    printer.region(op.body, entry_arguments=False, terminator=True)
    printer.attribute_dict(op.attributes, ("operandSegmentSizes",))


def parse_reduce(cls: type[Op], p: Any) -> Op:
    values: list[Value] = []
    if p.accept("("):
        names = p.operand_names()
        p.expect(":")
        values = p.resolve_all(names, p.comma_list(p.type, ""))
        p.expect(")")
    regions = p.comma_list(p.region, "") if p.at("{") else []
    return cls(values, (), p.attribute_dict(), regions)


def print_reduce(op: Any, printer: Any) -> None:
    if op.values:
        printer.write(f"({printer.names(op.values)} : {printer.types(op.values)}) ")
        printer.region_list(op.combiners)
    printer.attribute_dict(op.attributes)


# -- forall ----------------------------------------------------------------------------------------


def _mixed_list(p: Any) -> tuple[list[Value], list[int]]:
    """``(%a, 4)``: the values and the static list with marks."""
    values: list[Value] = []
    static: list[int] = []

    def entry() -> None:
        if p.kind == "value":
            values.append(p.resolve(p.operand_name(), index))
            static.append(DYNAMIC_INDEX)
        else:
            static.append(p.integer())

    p.comma_list(entry)
    return values, static


def _mixed_text(printer: Any, mixed: Sequence[Mixed]) -> str:
    return f"({', '.join(str(m) if isinstance(m, int) else printer.name(m) for m in mixed)})"


def parse_forall(cls: type[Op], p: Any) -> Op:
    counters = p.comma_list(p.operand_name)
    rank = len(counters)
    bounds: list[tuple[list[Value], list[int]]] = [([], [0] * rank), ([], []), ([], [1] * rank)]
    if p.accept("in"):
        bounds[1] = _mixed_list(p)
    else:
        for i, keyword in enumerate(("=", "to", "step")):
            p.expect(keyword)
            bounds[i] = _mixed_list(p)
    for _, static in bounds:
        if len(static) != rank:
            p.fail_at_previous(f"expected {rank} bounds, got {len(static)}")
    shared = _assignments(p) if p.accept("shared_outs") else []
    types = _arrow_types(p)
    outputs = p.resolve_all([value for _, value in shared], types)
    names: list[tuple[str, Type]] = [(name, index) for name in counters]
    names += zip([name for name, _ in shared], types, strict=True)
    body = p.region(names)
    attributes = p.attribute_dict()
    for key, (_, static) in zip(("staticLowerBound", "staticUpperBound", "staticStep"), bounds, strict=True):
        attributes[key] = DenseArrayAttr(i64, static)
    groups = [values for values, _ in bounds]
    attributes["operandSegmentSizes"] = segment_sizes(*groups, outputs)
    return cls([v for group in (*groups, outputs) for v in group], types, attributes, (body,))


def print_forall(op: Any, printer: Any) -> None:
    printer.write(f" ({printer.names(op.induction_variables)})")
    if op.is_normalized:
        printer.write(f" in {_mixed_text(printer, op.upper)}")
    else:
        lower, upper, step = (_mixed_text(printer, mixed) for mixed in (op.lower, op.upper, op.step))
        printer.write(f" = {lower} to {upper} step {step}")
    if op.outputs:
        text = _assignments_text(printer, op.output_args, op.outputs)
        printer.write(f" shared_outs{text}{_arrow_text(printer, op)}")
    printer.write(" ")
    printer.region(op.body, entry_arguments=False, terminator=bool(op.results))
    elided = ("operandSegmentSizes", "staticLowerBound", "staticUpperBound", "staticStep")
    printer.attribute_dict(op.attributes, elided)
