"""Pretty assembly of the ``linalg`` ops that MLIR's declarative formats do not cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.dialects.linalg_attributes import IteratorTypeAttr
from iree_core_ir.ir.attributes import ArrayAttr, Attribute, StringAttr, Type
from iree_core_ir.ir.dialect import find_op
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.types import TensorType, element_of


def parse_group(p: Any, keyword: str) -> list[Value]:
    """``ins(%a, %b : type, type)``; an absent or empty group gives no values."""
    if not p.accept(keyword):
        return []
    p.expect("(")
    if p.accept(")"):
        return []
    names = p.operand_names()
    p.expect(":")
    types = p.comma_list(p.type, "")
    p.expect(")")
    return p.resolve_all(names, types)  # type: ignore[no-any-return]


def print_groups(printer: Any, inputs: Sequence[Value], outputs: Sequence[Value]) -> None:
    """`` ins(...) outs(...)``."""
    for keyword, values in (("ins", inputs), ("outs", outputs)):
        if values:
            printer.write(f" {keyword}({printer.names(values)} : {printer.types(values)})")


def parse_results(p: Any) -> list[Type]:
    """``-> type`` or ``-> (type, type)``, or nothing."""
    if not p.accept("->"):
        return []
    return p.comma_list(p.type) if p.at("(") else [p.type()]


def print_results(printer: Any, op: Op) -> None:
    if op.results:
        text = printer.types(op.results)
        printer.write(f" -> {text}" if len(op.results) == 1 else f" -> ({text})")


def tensor_types(values: Sequence[Value]) -> list[Type]:
    return [v.type for v in values if isinstance(v.type, TensorType)]


def parse_iterators(p: Any, attribute: Attribute | None, cls: type[Any]) -> Attribute | None:
    """Iterator types written as strings, as attributes of class ``cls``."""
    if not isinstance(attribute, ArrayAttr):
        return attribute
    try:
        return ArrayAttr([cls(a.value) if isinstance(a, StringAttr) else a for a in attribute])
    except ValueError as error:
        p.fail_at_previous(str(error))
        raise


def parse_trait(p: Any, cls: type[Any] = IteratorTypeAttr) -> dict[str, Attribute]:
    """The leading ``{indexing_maps = ..., iterator_types = [...]}``, or an alias of it."""
    if p.at("{"):
        attributes: dict[str, Attribute] = p.attribute_dict()
    else:
        given = p.attribute()
        attributes = dict(getattr(given, "items", ()))
    for key in ("indexing_maps", "iterator_types"):
        if key not in attributes:
            p.fail_at_previous(f"'{key}' is missing")
    iterators = parse_iterators(p, attributes["iterator_types"], cls)
    assert iterators is not None
    attributes["iterator_types"] = iterators
    return attributes


def trait_text(printer: Any, op: Op, keys: Sequence[str]) -> str:
    """``{...}`` of the attributes ``keys`` that the op has; iterator types as strings."""
    items: list[tuple[str, Attribute]] = []
    for key in keys:
        attribute = op.attributes.get(key)
        if attribute is None:
            continue
        if key == "iterator_types" and isinstance(attribute, ArrayAttr):
            attribute = ArrayAttr([StringAttr(getattr(a, "value", "")) for a in attribute])
        items.append((key, attribute))
    return f"{{{printer.dict_items(items)}}}"


def payload(block: Block, arguments: Sequence[Value]) -> Op | None:
    """The one op of a body that only applies it to ``arguments`` and yields its results."""
    op, last = block.first, block.last
    if op is None or op is last or op.next is not last or last is None:
        return None
    if op.regions or op.successors or op.operands != tuple(arguments) or last.operands != op.results:
        return None
    # Its text names no types: they must follow from the arguments.
    if len(op.results) != 1 or any(v.type is not op.results[0].type for v in arguments):
        return None
    return op


def parse_payload(p: Any) -> tuple[type[Op], dict[str, Attribute]] | None:
    """``{ arith.addf {attributes} }``, or nothing."""
    if not p.accept("{"):
        return None
    name = p.keyword()
    cls = find_op(name)
    if cls is None:
        p.fail_at_previous(f"unknown operation '{name}'")
    assert cls is not None
    attributes = p.attribute_dict()
    p.expect("}")
    return cls, attributes


def print_payload(printer: Any, op: Op) -> None:
    printer.write(f" {{ {op.name}")
    printer.attribute_dict(op.attributes)
    printer.write(" }")


def payload_region(
    given: tuple[type[Op], dict[str, Attribute]],
    values: Sequence[Value],
    order: Sequence[int],
    n_arguments: int,
    yield_class: type[Op],
) -> Region:
    """The body that applies the payload to the arguments ``order``."""
    block = Block([element_of(v.type) for v in values[:n_arguments]])
    arguments = [block.args[i] for i in order]
    op = block.append(given[0](arguments, [arguments[0].type], dict(given[1])))
    block.append(yield_class(op.results))
    return Region([block])


def parse_arguments(p: Any) -> list[tuple[str, Any]]:
    """``(%in: f32, %out: f32)``."""
    return p.comma_list(p.argument)  # type: ignore[no-any-return]


def print_region_with_arguments(printer: Any, region: Region) -> None:
    """The arguments in parentheses on a line of their own, then the region without a label."""
    printer.newline()
    arguments = ", ".join(f"{printer.name(a)}: {printer.text(a.type)}" for a in region.block.args)
    printer.write(f"  ({arguments}) ")
    printer.region(region, entry_arguments=False)
