"""IR -> MLIR text: pretty assembly where the op class has one, else generic form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from iree_core_ir.ir import traits
from iree_core_ir.ir.attributes import Attribute
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.unregistered import UnregisteredOp
from iree_core_ir.text.assembly_format import print_function
from iree_core_ir.text.attribute_printer import (
    AttributePrinter,
    name_text,
    quoted,
    symbol_text,
)
from iree_core_ir.text.naming import ValueNames


class Printer(AttributePrinter):
    """Writes ops. Op classes use the methods without underscore in their ``print``."""

    def __init__(
        self,
        *,
        generic: bool = False,
        locations: bool = False,
        aliases: bool = False,
        indent: int = 0,
    ) -> None:
        super().__init__({} if aliases else None)
        self.generic = generic
        self.locations = locations
        self.values = ValueNames()
        self._parts: list[str] = []
        self.write = self._parts.append
        self._indent = indent
        self._default_dialects = ["builtin"]
        self._labels: dict[Block, str] = {}

    def result(self) -> str:
        """Everything written, alias definitions first."""
        body = "".join(self._parts)
        if not self.aliases:
            return body
        return "".join(f"{name} = {text}\n" for name, text in self.aliases.items()) + body

    # -- names ---------------------------------------------------------------------------------

    def name(self, value: Value) -> str:
        """``%name``."""
        found = self.values.names.get(value)
        return found if found is not None else self.values.name(value)

    def names(self, values: Iterable[Value]) -> str:
        return ", ".join([self.name(v) for v in values])

    def types(self, values: Iterable[Value]) -> str:
        """The types of ``values``, comma separated."""
        return ", ".join([self.text(v.type) for v in values])

    def successor(self, block: Block) -> str:
        """``^bb1``."""
        found = self._labels.get(block)
        if found is None:
            region = block.parent
            if region is None:
                return "^detached"
            self._labels.update((b, f"^bb{i}") for i, b in enumerate(region.blocks))
            found = self._labels[block]
        return found

    def newline(self) -> None:
        self.write("\n" + "  " * self._indent)

    # -- attributes ------------------------------------------------------------------------------

    def without_defaults(
        self, attributes: Mapping[str, Attribute], defaults: Sequence[tuple[str, Attribute]]
    ) -> dict[str, Attribute]:
        """``attributes`` less those that have their default value."""
        kept = dict(attributes)
        for key, default in defaults:
            if kept.get(key) is default:
                del kept[key]
        return kept

    def attribute_dict(
        self,
        attributes: Mapping[str, Attribute],
        elided: Collection[str] = (),
        keyword: bool = False,
    ) -> None:
        """`` {a = 1}`` (with a leading space), or nothing when all are elided."""
        items = [item for item in attributes.items() if item[0] not in elided]
        if items:
            self.write(f" {'attributes ' if keyword else ''}{{{self.dict_items(items)}}}")

    # -- regions -----------------------------------------------------------------------------------

    def region(self, region: Region, entry_arguments: bool = True, terminator: bool | None = None) -> None:
        """``{ ... }`` without leading space.

        ``terminator=None`` leaves out an implicit terminator without operands and attributes.
        """
        write = self.write
        op = region.parent
        write("{\n")
        self._default_dialects.append(op.default_dialect if op is not None else "")
        self._indent += 1
        for i, block in enumerate(region.blocks):
            skip = self._skips_terminator(op, block, terminator)
            labelled = i > 0 or (entry_arguments and block.args)
            if i == 0 and self.generic and block.first is None:
                labelled = True
            if labelled:
                self._label(block, i)
            inner = block.first
            pad = "  " * self._indent
            while inner is not None:
                if not (skip and inner.next is None):
                    write(pad)
                    self.op(inner)
                    write("\n")
                inner = inner.next
        self._indent -= 1
        self._default_dialects.pop()
        write("  " * self._indent + "}")

    def region_list(self, regions: Iterable[Region]) -> None:
        for i, region in enumerate(regions):
            if i:
                self.write(", ")
            self.region(region)

    def _label(self, block: Block, position: int) -> None:
        arguments = ", ".join([f"{self.name(a)}: {self.text(a.type)}" for a in block.args])
        label = "  " * (self._indent - 1) + f"^bb{position}"
        self.write(f"{label}({arguments}):\n" if arguments else f"{label}:\n")

    def _skips_terminator(self, op: Op | None, block: Block, terminator: bool | None) -> bool:
        last = block.last
        if last is None or self.generic or terminator is True:
            return False
        if last.operands or last.attributes or last.results or last.successors:
            return False
        if terminator is False:
            return traits.TERMINATOR in last.traits
        return op is not None and op.implicit_terminator == last.name

    # -- operations -----------------------------------------------------------------------------------

    def op(self, op: Op) -> None:
        """One operation, without indentation and newline."""
        write = self.write
        results = op.results
        if results:
            write(self._result_names(op))
        if op.regions and traits.ISOLATED in op.traits:
            self.values.name_isolated(op)
        function = None if self.generic else print_function(op.__class__)
        if function is None:
            self._generic(op)
        else:
            name = op.name
            default = self._default_dialects[-1]
            if default and name.startswith(default + ".") and name.count(".") == 1:
                name = name[len(default) + 1 :]
            write(name)
            function(op, self)
        if self.locations:
            write(f" loc({op.location})")

    def _result_names(self, op: Op) -> str:
        results = op.results
        if len(results) == 1:
            return f"{self.name(results[0])} = "
        first = self.name(results[0])
        if first.endswith("#0"):
            return f"{first[:-2]}:{len(results)} = "
        return f"{self.names(results)} = "

    def _generic(self, op: Op) -> None:
        write = self.write
        write(f"{quoted(op.name)}({self.names(op.operands)})")
        if op.successors:
            write("[" + ", ".join([self.successor(s) for s in op.successors]) + "]")
        attributes = op.attributes
        if attributes:
            inherent = op.inherent if isinstance(op, UnregisteredOp) else op.signature.inherent
            properties = [item for item in attributes.items() if item[0] in inherent]
            if properties:
                write(f" <{{{self.dict_items(properties)}}}>")
                attributes = {k: v for k, v in attributes.items() if k not in inherent}
        if op.regions:
            write(" (")
            self.region_list(op.regions)
            write(")")
        if attributes:
            write(f" {{{self.dict_items(attributes.items())}}}")
        write(f" : {self.function_type([v.type for v in op.operands], [v.type for v in op.results])}")


def print_op(op: Op, generic: bool = False, locations: bool = False, aliases: bool | None = None) -> str:
    """The text of ``op``; a module's ends with a newline.

    ``aliases`` names affine maps ``#map``, ``#map1`` ... in front (default: for top-level modules).
    """
    module = op.name == "builtin.module" and op.parent is None
    printer = Printer(generic=generic, locations=locations, aliases=module if aliases is None else aliases)
    printer.op(op)
    return printer.result() + ("\n" if module else "")


def attribute_text(attribute: Attribute) -> str:
    """The text of an attribute or type, without aliases."""
    return AttributePrinter().text(attribute)


__all__ = [
    "Printer",
    "attribute_text",
    "name_text",
    "print_op",
    "quoted",
    "symbol_text",
]
