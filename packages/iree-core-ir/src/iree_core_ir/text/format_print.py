"""Elements of an assembly format -> the source of a print function. Spacing follows mlir-tblgen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.ir.attributes import (
    Attribute,
    DenseArrayAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
    UnitAttr,
)
from iree_core_ir.ir.declaration import ONE, OPERAND_SEGMENTS, OPTIONAL, RESULT_SEGMENTS
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import i64
from iree_core_ir.text.format_syntax import (
    Custom,
    Directive,
    Element,
    FormatError,
    FunctionalType,
    Group,
    Literal,
    TypeOf,
    Variable,
)


def number_text(printer: Any, attribute: Any, type: Any) -> str:
    """A number without its type when that is the declared one."""
    text: str = printer.text(attribute)
    suffix = f" : {type}"
    return text.removesuffix(suffix) if getattr(attribute, "type", None) is type else text


def array_text(printer: Any, attribute: Any, element: Any) -> str:
    """``[1, 2]`` of an array of the declared element type."""
    return f"[{printer.array_items(attribute)}]"


class PrintCompiler:
    """Writes ``print_op(self, pr)`` for one op class."""

    def __init__(self, cls: type[Op], elements: tuple[Element, ...]) -> None:
        self.cls = cls
        self.signature = cls.signature
        self.elements = elements
        self.lines: list[str] = []
        self.indent = 1
        self.environment: dict[str, Any] = {
            "number_text": number_text,
            "array_text": array_text,
            "ELIDED": self._elided(),
            "DEFAULTS": tuple(
                (f.key or f.name, f.default) for f in self.signature.attributes if f.default is not None
            ),
        }
        self.operands = {f.name: f for f in self.signature.operands}
        self.results = {f.name: f for f in self.signature.results}
        self.attributes = {f.name: f for f in self.signature.attributes}
        self.regions = {f.name: f for f in self.signature.regions}
        self.successors = {f.name: f for f in self.signature.successors}
        self.space = True
        self.after_punctuation = False

    def function(self) -> Callable[[Op, Any], None]:
        exec(compile(self.source(), f"<assembly format of {self.cls.name}>", "exec"), self.environment)
        function: Callable[[Op, Any], None] = self.environment["print_op"]
        return function

    def source(self) -> str:
        self.lines = ["def print_op(self, pr):", "    w = pr.write"]
        self.space, self.after_punctuation = True, False
        for element in self.elements:
            self._element(element)
        return "\n".join(self.lines) + "\n"

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def constant(self, value: Any, stem: str) -> str:
        name = f"k_{stem}_{len(self.environment)}"
        self.environment[name] = value
        return name

    def _elided(self) -> frozenset[str]:
        """Attribute keys that the format prints itself."""
        keys = {OPERAND_SEGMENTS, RESULT_SEGMENTS} & self.signature.inherent
        fields = {f.name: f.key or f.name for f in self.signature.attributes}

        def collect(elements: tuple[Element, ...]) -> None:
            for element in elements:
                if isinstance(element, Variable) and element.name in fields:
                    keys.add(fields[element.name])
                elif isinstance(element, Group):
                    collect((*element.then, *element.otherwise, element.anchor))
                elif isinstance(element, Custom):
                    collect(element.parameters)

        collect(self.elements)
        return frozenset(keys)

    # -- elements ------------------------------------------------------------------------------

    def _element(self, element: Element) -> None:
        if isinstance(element, Literal):
            self._literal(element.text)
        elif isinstance(element, Group):
            self._group(element)
        elif isinstance(element, Directive) and element.name in (
            "attr-dict",
            "attr-dict-with-keyword",
            "prop-dict",
        ):
            self._attribute_dict(element)
            self.after_punctuation = False
        else:
            if self.space or not self.after_punctuation:
                self.emit("w(' ')")
            self.space, self.after_punctuation = True, False
            if isinstance(element, Variable):
                self._variable(element)
            elif isinstance(element, TypeOf):
                self.emit(f"w({self._types(element.name)})")
            elif isinstance(element, FunctionalType):
                inputs, results = (self._values(n) for n in (element.inputs, element.results))
                self.emit(f"w(pr.function_type([v.type for v in {inputs}], [v.type for v in {results}]))")
            elif isinstance(element, Custom):
                self._custom(element)
            elif element.name == "operands":
                self.emit("w(pr.names(self.operands))")
            elif element.name == "regions":
                self.emit("pr.region_list(self.regions)")
            else:
                self.emit("w(', '.join([pr.successor(s) for s in self.successors]))")

    def _literal(self, text: str) -> None:
        if not text.strip():
            if text == "\\n" or text == "\n":
                self.emit("pr.newline()")
                self.space, self.after_punctuation = False, True
                return
            if text:
                self.emit("w(' ')")
            self.space, self.after_punctuation = False, not text
            return
        if text == "\\n":
            self.emit("pr.newline()")
            self.space, self.after_punctuation = False, True
            return
        before = self.space and _space_before(text, self.after_punctuation)
        self.emit(f"w({(' ' if before else '') + text!r})")
        self.space = len(text) != 1 or text not in "<({["
        self.after_punctuation = text[0] != "_" and not text[0].isalpha()

    def _attribute_dict(self, element: Directive) -> None:
        keyword = ", True" if element.name == "attr-dict-with-keyword" else ""
        if self.environment["DEFAULTS"]:
            call = f"pr.attribute_dict(pr.without_defaults(self.attributes, DEFAULTS), ELIDED{keyword})"
        else:
            call = f"pr.attribute_dict(self.attributes, ELIDED{keyword})"
        self.emit(f"if self.attributes: {call}")

    def _values(self, name: str) -> str:
        """An expression for the sequence of values of a group."""
        if name in ("operands", "results"):
            return f"self.{name}"
        field = self.operands.get(name) or self.results.get(name)
        if field is None:
            raise FormatError(f"'{name}' is no operand and no result")
        if field.arity == ONE:
            return f"(self.{name},)"
        if field.arity == OPTIONAL:
            return f"([] if self.{name} is None else [self.{name}])"
        return f"self.{name}"

    def _types(self, name: str) -> str:
        field: Any = self.operands.get(name) or self.results.get(name)
        if field is not None and field.arity == ONE:
            return f"pr.text(self.{name}.type)"
        return f"pr.types({self._values(name)})"

    def _variable(self, element: Variable) -> None:
        name = element.name
        if name in self.operands:
            if self.operands[name].arity == ONE:
                self.emit(f"w(pr.name(self.{name}))")
            else:
                self.emit(f"w(pr.names({self._values(name)}))")
        elif name in self.attributes:
            self.emit(f"w({self._attribute(name, element.qualified)})")
        elif name in self.regions:
            if self.regions[name].arity == ONE:
                self.emit(f"pr.region(self.{name})")
            else:
                self.emit(f"pr.region_list(self.{name})")
        elif self.successors[name].arity == ONE:
            self.emit(f"w(pr.successor(self.{name}))")
        else:
            self.emit(f"w(', '.join([pr.successor(s) for s in self.{name}]))")

    def _key(self, name: str) -> str:
        field = self.attributes[name]
        return field.key or field.name

    def _attribute(self, name: str, qualified: bool) -> str:
        field = self.attributes[name]
        cls = field.cls
        value = f"self.attributes[{self._key(name)!r}]"
        if isinstance(cls, tuple) or cls is Attribute:
            return f"pr.text({value})"
        if cls is StringAttr and self._key(name) == "sym_name":
            return f"pr.symbol({value}.value)"
        if cls in (StringAttr, TypeAttr, SymbolRefAttr):
            return f"pr.text({value})"
        if cls is DenseArrayAttr and not qualified:
            return f"array_text(pr, {value}, {self.constant(field.type or i64, 'element')})"
        if cls in (IntegerAttr, FloatAttr) and field.type is not None:
            return f"number_text(pr, {value}, {self.constant(field.type, 'type')})"
        if cls.mnemonic and not qualified and hasattr(cls, "print_parameters"):
            return f"{value}.print_parameters(pr)"
        return f"pr.text({value})"

    def _custom(self, element: Custom) -> None:
        if getattr(self.cls, f"print_{element.name}", None) is None:
            raise FormatError(f"no function print_{element.name}")
        arguments: list[str] = []
        for parameter in element.parameters:
            if isinstance(parameter, Variable):
                name = parameter.name
                arguments.append(
                    f"self.attributes.get({self._key(name)!r})" if name in self.attributes else f"self.{name}"
                )
            elif isinstance(parameter, TypeOf):
                arguments.append(self._type_value(parameter.name))
            elif isinstance(parameter, Directive):
                arguments.append("self.operands" if parameter.name == "operands" else "self.attributes")
            else:
                raise FormatError(f"custom<{element.name}> takes fields, types and attr-dict")
        self.emit(f"self.print_{element.name}({', '.join(['pr', 'self', *arguments])})")

    def _type_value(self, name: str) -> str:
        field: Any = self.operands.get(name) or self.results.get(name)
        if field is None or field.arity not in (ONE, OPTIONAL):
            return f"[v.type for v in {self._values(name)}]"
        if field.arity == ONE:
            return f"self.{name}.type"
        return f"(None if self.{name} is None else self.{name}.type)"

    # -- groups --------------------------------------------------------------------------------

    def _group(self, group: Group) -> None:
        self.emit(f"if {self._present(group.anchor)}:")
        self._branch(group.then)
        if group.otherwise:
            self.emit("else:")
            self._branch(group.otherwise)

    def _branch(self, elements: tuple[Element, ...]) -> None:
        self.indent += 1
        before = len(self.lines)
        for element in elements:
            unit = (
                isinstance(element, Variable)
                and element.name in self.attributes
                and self.attributes[element.name].cls is UnitAttr
            )
            if not unit:
                self._element(element)
        if len(self.lines) == before:
            self.emit("pass")
        self.indent -= 1

    def _present(self, anchor: Element) -> str:
        if isinstance(anchor, Variable):
            name = anchor.name
            if name in self.attributes:
                value = f"self.attributes.get({self._key(name)!r})"
                default = self.attributes[name].default
                if default is not None:
                    return f"{value} not in (None, {self.constant(default, 'default')})"
                return f"{value} is not None"
            if name in self.operands:
                optional = self.operands[name].arity == OPTIONAL
                return f"self.{name} is not None" if optional else f"self.{name}"
            if name in self.regions:
                field: Any = self.regions[name]
                return f"self.{name}.blocks" if field.arity == ONE else f"self.{name}"
            return f"self.{name}"
        if isinstance(anchor, TypeOf):
            return f"len({self._values(anchor.name)}) > 0"
        if isinstance(anchor, Directive):
            return f"self.{anchor.name}"
        if isinstance(anchor, FunctionalType):
            return f"self.{'operands' if anchor.inputs == 'operands' else anchor.inputs}"
        if isinstance(anchor, Custom):
            parts = [self._present(p) for p in anchor.parameters if isinstance(p, (Variable, TypeOf))]
            return " or ".join(f"({part})" for part in parts)
        raise FormatError(f"{anchor} cannot anchor a group")


def _space_before(text: str, after_punctuation: bool) -> bool:
    if len(text) != 1 and text != "->":
        return True
    if after_punctuation:
        return text[0] not in ">)}],"
    return text[0] not in "<>(){}[],"
