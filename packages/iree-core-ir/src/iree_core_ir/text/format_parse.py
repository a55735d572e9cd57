"""Elements of an assembly format -> the source of a parse function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.ir import traits
from iree_core_ir.ir.attributes import (
    UNIT,
    AffineMapAttr,
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    DictAttr,
    FloatAttr,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    Type,
    TypeAttr,
    UnitAttr,
)
from iree_core_ir.ir.declaration import (
    ONE,
    OPERAND_SEGMENTS,
    OPTIONAL,
    RESULT_SEGMENTS,
    fixed_type,
)
from iree_core_ir.ir.operation import Op
from iree_core_ir.ir.types import i32, i64
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


def check_attribute(parser: Any, attribute: Attribute, cls: Any, name: str) -> Attribute:
    """``attribute`` if it is of the declared class. Raises ParseError."""
    if not isinstance(attribute, cls):
        classes = cls if isinstance(cls, tuple) else (cls,)
        expected = " or ".join(c.__name__ for c in classes)
        parser.fail_at_previous(f"'{name}' must be {expected}")
    return attribute


def one_type(types: Any, name: str) -> Any:
    """The inferred type of a single value."""
    if not types or types[0] is None:
        raise ValueError(f"the type of '{name}' cannot be inferred")
    return types[0]


def all_types(types: Any, name: str) -> Any:
    if types is None or any(type is None for type in types):
        raise ValueError(f"the types of '{name}' cannot be inferred")
    return types


def parse_array(parser: Any, element: Type) -> DenseArrayAttr:
    """``[1, 2]`` of a fixed element type."""
    return DenseArrayAttr(element, parser.comma_list(lambda: parser._array_element(element), "[", "]"))


class ParseCompiler:
    """Writes ``parse(p)`` for one op class."""

    def __init__(self, cls: type[Op], elements: tuple[Element, ...]) -> None:
        self.cls = cls
        self.signature = cls.signature
        self.elements = elements
        self.lines: list[str] = []
        self.indent = 1
        self.environment: dict[str, Any] = {
            "cls": cls,
            "UNIT": UNIT,
            "StringAttr": StringAttr,
            "TypeAttr": TypeAttr,
            "DenseArrayAttr": DenseArrayAttr,
            "i32": i32,
            "check_attribute": check_attribute,
            "one_type": one_type,
            "all_types": all_types,
            "parse_array": parse_array,
        }
        self.operands = {f.name: f for f in self.signature.operands}
        self.results = {f.name: f for f in self.signature.results}
        self.attributes = {f.name: f for f in self.signature.attributes}
        self.regions = {f.name: f for f in self.signature.regions}
        self.successors = {f.name: f for f in self.signature.successors}
        self.named: set[str] = set()
        """Operand groups whose names the format gives."""
        self.typed: set[str] = set()
        """Groups whose types the format gives (their variable ``t_<name>`` exists)."""
        self.flat_operands = False
        self.flat_operand_types = False
        self.flat_result_types = False
        self.has_dict = False

    def function(self) -> Callable[[Any], Op]:
        environment = self.environment
        exec(compile(self.source(), f"<assembly format of {self.cls.name}>", "exec"), environment)
        function: Callable[[Any], Op] = environment["parse"]
        return function

    def source(self) -> str:
        self.lines = ["def parse(p):"]
        self._declare_optionals(self.elements, False)
        self.emit("attributes = {}")
        for element in self.elements:
            self._element(element)
        self._finish()
        return "\n".join(self.lines) + "\n"

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    def constant(self, value: Any, stem: str) -> str:
        """A name for ``value`` in the generated function's globals."""
        for name, known in self.environment.items():
            if known is value and name.startswith("k_"):
                return name
        name = f"k_{stem}_{len(self.environment)}"
        self.environment[name] = value
        return name

    # -- defaults of what optional groups may leave out ---------------------------------------

    def _declare_optionals(self, elements: tuple[Element, ...], inside: bool) -> None:
        """Variables assigned inside a group get their "absent" value up front."""
        for element in elements:
            if isinstance(element, Group):
                self._declare_optionals(element.then, True)
                self._declare_optionals(element.otherwise, True)
            elif inside:
                for part in element.parameters if isinstance(element, Custom) else (element,):
                    self._declare_absent(part)

    def _declare_absent(self, element: Element) -> None:
        if isinstance(element, Variable):
            name = element.name
            if name in self.operands:
                self.emit(f"o_{name} = {self._empty(self.operands[name].arity)}")
            elif name in self.regions or name in self.successors:
                field: Any = self.regions.get(name) or self.successors[name]
                letter = "r" if name in self.regions else "s"
                self.emit(f"{letter}_{name} = {self._empty(field.arity)}")
        elif isinstance(element, TypeOf):
            if element.name in ("operands", "results"):
                self.emit(f"t_{element.name} = []")
            else:
                self.emit(f"t_{element.name} = {self._empty(self._group_field(element.name).arity)}")
        elif isinstance(element, FunctionalType):
            self.emit("t_operands = t_results = []")
        elif isinstance(element, Directive) and element.name in ("operands", "regions", "successors"):
            self.emit(f"all_{element.name} = []")

    def _empty(self, arity: str) -> str:
        return "None" if arity in (ONE, OPTIONAL) else "[]"

    def _group_field(self, name: str) -> Any:
        field = self.operands.get(name) or self.results.get(name)
        if field is None:
            raise FormatError(f"'{name}' is no operand and no result")
        return field

    # -- elements --------------------------------------------------------------------------------

    def _element(self, element: Element) -> None:
        if isinstance(element, Literal):
            if element.text.strip():
                self._expect(element.text)
        elif isinstance(element, Variable):
            self._variable(element)
        elif isinstance(element, TypeOf):
            self._type_of(element.name)
        elif isinstance(element, FunctionalType):
            self._functional_type(element)
        elif isinstance(element, Directive):
            self._directive(element.name)
        elif isinstance(element, Custom):
            self._custom(element)
        else:
            self._group(element)

    def _expect(self, text: str) -> None:
        self.emit(f"if p.tok != {text!r}: p.expect({text!r})")
        self.emit("p.next()")

    def _variable(self, element: Variable) -> None:
        name = element.name
        if name in self.operands:
            self.named.add(name)
            arity = self.operands[name].arity
            if arity == ONE:
                self.emit(f"o_{name} = p.tok")
                self.emit("if p.kind != 'value': p.operand_name()")
                self.emit("p.next()")
            elif arity == OPTIONAL:
                self.emit(f"o_{name} = p.operand_name() if p.kind == 'value' else None")
            else:
                self.emit(f"o_{name} = p.operand_names()")
        elif name in self.attributes:
            self.emit(f"attributes[{self._key(name)!r}] = {self._attribute(name, element.qualified)}")
        elif name in self.regions:
            if self.regions[name].arity == ONE:
                self.emit(f"r_{name} = p.region()")
            else:
                self.emit(f"r_{name} = p.comma_list(p.region, '') if p.tok == '{{' else []")
        elif name in self.successors:
            if self.successors[name].arity == ONE:
                self.emit(f"s_{name} = p.successor()")
            else:
                self.emit(f"s_{name} = p.comma_list(p.successor, '') if p.kind == 'block' else []")
        else:
            raise FormatError(f"unknown field '${name}'")

    def _key(self, name: str) -> str:
        field = self.attributes[name]
        return field.key or field.name

    def _attribute(self, name: str, qualified: bool) -> str:
        """The expression that parses attribute ``name``."""
        field = self.attributes[name]
        cls = field.cls
        if isinstance(cls, tuple):
            return f"check_attribute(p, p.attribute(), {self.constant(cls, name)}, {name!r})"
        if cls is StringAttr:
            method = "symbol_name" if self._key(name) == "sym_name" else "string"
            return f"StringAttr(p.{method}())"
        if cls is TypeAttr:
            return "TypeAttr(p.type())"
        if cls is SymbolRefAttr:
            return "p.symbol_reference()"
        if cls is DenseArrayAttr and not qualified:
            return f"parse_array(p, {self.constant(field.type or i64, 'element')})"
        if cls in (IntegerAttr, FloatAttr) and field.type is not None:
            inner = f"p.attribute({self.constant(field.type, 'type')})"
        elif cls.mnemonic and not qualified and hasattr(cls, "parse_parameters"):
            return f"{self.constant(cls, cls.__name__)}.parse_parameters(p)"
        else:
            inner = "p.attribute()"
        if cls is Attribute:
            return inner
        return f"check_attribute(p, {inner}, {self.constant(cls, cls.__name__)}, {name!r})"

    def _type_of(self, name: str) -> None:
        if name == "operands":
            self.flat_operand_types = True
            self.emit("t_operands = p.comma_list(p.type, '') if p.optional_type_ahead() else []")
        elif name == "results":
            self.flat_result_types = True
            self.emit("t_results = p.comma_list(p.type, '') if p.optional_type_ahead() else []")
        else:
            self.typed.add(name)
            arity = self._group_field(name).arity
            if arity == ONE:
                self.emit(f"t_{name} = p.type()")
            elif arity == OPTIONAL:
                self.emit(f"t_{name} = p.optional_type()")
            else:
                self.emit(f"t_{name} = p.comma_list(p.type, '') if p.optional_type_ahead() else []")

    def _functional_type(self, element: FunctionalType) -> None:
        self.emit("function = p.function_type()")
        for name, side in ((element.inputs, "inputs"), (element.results, "results")):
            if name in ("operands", "results"):
                self.emit(f"t_{name} = list(function.{side})")
                if name == "operands":
                    self.flat_operand_types = True
                else:
                    self.flat_result_types = True
                continue
            self.typed.add(name)
            arity = self._group_field(name).arity
            if arity == ONE:
                self.emit(f"if len(function.{side}) != 1: p.fail_at_previous('expected one type')")
                self.emit(f"t_{name} = function.{side}[0]")
            elif arity == OPTIONAL:
                self.emit(f"t_{name} = function.{side}[0] if function.{side} else None")
            else:
                self.emit(f"t_{name} = list(function.{side})")

    def _directive(self, name: str) -> None:
        if name in ("attr-dict", "prop-dict"):
            self.emit("if p.tok == '{': attributes.update(p.attribute_dict())")
        elif name == "attr-dict-with-keyword":
            self.emit("if p.tok == 'attributes': attributes.update(p.attribute_dict_with_keyword())")
        elif name == "operands":
            self.flat_operands = True
            self.emit("all_operands = p.operand_names()")
        elif name == "regions":
            self.emit("all_regions = p.comma_list(p.region, '') if p.tok == '{' else []")
        else:
            self.emit("all_successors = p.comma_list(p.successor, '') if p.kind == 'block' else []")

    def _custom(self, element: Custom) -> None:
        function = getattr(self.cls, f"parse_{element.name}", None)
        if function is None:
            raise FormatError(f"no function parse_{element.name}")
        targets: list[str] = []
        after: list[str] = []
        for i, parameter in enumerate(element.parameters):
            if isinstance(parameter, Variable):
                name = parameter.name
                if name in self.operands:
                    self.named.add(name)
                    targets.append(f"o_{name}")
                elif name in self.attributes:
                    targets.append(f"c{i}")
                    after.append(f"if c{i} is not None: attributes[{self._key(name)!r}] = c{i}")
                elif name in self.regions:
                    targets.append(f"r_{name}")
                elif name in self.successors:
                    targets.append(f"s_{name}")
                else:
                    raise FormatError(f"unknown field '${name}'")
            elif isinstance(parameter, TypeOf):
                if parameter.name == "operands":
                    self.flat_operand_types = True
                elif parameter.name == "results":
                    self.flat_result_types = True
                else:
                    self.typed.add(parameter.name)
                targets.append(f"t_{parameter.name}")
            elif isinstance(parameter, Directive):
                if parameter.name == "operands":
                    self.flat_operands = True
                    targets.append("all_operands")
                else:
                    targets.append(f"c{i}")
                    after.append(f"attributes.update(c{i})")
            else:
                raise FormatError(f"custom<{element.name}> takes fields, types and attr-dict")
        call = f"cls.parse_{element.name}(p)"
        if len(targets) == 1:
            self.emit(f"{targets[0]}, = {call}")
        elif targets:
            self.emit(f"{', '.join(targets)} = {call}")
        else:
            self.emit(call)
        for line in after:
            self.emit(line)

    def _group(self, group: Group) -> None:
        elements = list(group.then)
        while elements and isinstance(elements[0], Literal) and not elements[0].text.strip():
            elements.pop(0)
        first = elements[0]
        self.emit(f"if {self._starts(first)}:")
        self.indent += 1
        if isinstance(first, Literal):
            self.emit("p.next()")
            rest = elements[1:]
        else:
            rest = elements
        before = len(self.lines)
        for element in rest:
            if isinstance(element, Variable) and self._is_unit(element):
                self.emit(f"attributes[{self._key(element.name)!r}] = UNIT")
            else:
                self._element(element)
        if isinstance(group.anchor, Variable) and self._is_unit(group.anchor) and group.anchor not in rest:
            self.emit(f"attributes[{self._key(group.anchor.name)!r}] = UNIT")
        if len(self.lines) == before:
            self.emit("pass")
        self.indent -= 1
        if group.otherwise:
            self.emit("else:")
            self.indent += 1
            before = len(self.lines)
            for element in group.otherwise:
                if isinstance(element, Variable) and self._is_unit(element):
                    self.emit(f"attributes[{self._key(element.name)!r}] = UNIT")
                else:
                    self._element(element)
            if len(self.lines) == before:
                self.emit("pass")
            self.indent -= 1

    def _is_unit(self, element: Variable) -> bool:
        return element.name in self.attributes and self.attributes[element.name].cls is UnitAttr

    def _starts(self, element: Element) -> str:
        """The condition under which the current token starts ``element``."""
        if isinstance(element, Literal):
            return f"p.tok == {element.text!r}"
        if isinstance(element, Variable):
            name = element.name
            if name in self.operands:
                return "p.kind == 'value'"
            if name in self.regions:
                return "p.tok == '{'"
            if name in self.successors:
                return "p.kind == 'block'"
            if name in self.attributes:
                return self._attribute_starts(name)
        if isinstance(element, TypeOf):
            return "p.optional_type_ahead()"
        if isinstance(element, Directive) and element.name == "operands":
            return "p.kind == 'value'"
        if isinstance(element, Custom):
            function = getattr(self.cls, f"starts_{element.name}", None)
            if function is None:
                raise FormatError(f"custom<{element.name}> first in a group needs starts_{element.name}(p)")
            return f"cls.starts_{element.name}(p)"
        if isinstance(element, Group):
            return self._starts(element.then[0])
        raise FormatError(f"{element} cannot be the first element of an optional group")

    def _attribute_starts(self, name: str) -> str:
        field = self.attributes[name]
        cls = field.cls
        if cls is StringAttr:
            return "p.kind == 'symbol'" if self._key(name) == "sym_name" else "p.kind == 'string'"
        if cls is SymbolRefAttr:
            return "p.kind == 'symbol'"
        if cls in (ArrayAttr, DenseArrayAttr):
            return "p.tok == '['"
        if cls is DictAttr:
            return "p.tok == '{'"
        if cls in (IntegerAttr, FloatAttr):
            return "p.kind == 'number' or p.tok == '-'"
        if cls is AffineMapAttr:
            return "p.tok == 'affine_map' or p.kind == 'hash'"
        if cls is TypeAttr:
            return "p.optional_type_ahead()"
        if not isinstance(cls, tuple) and getattr(cls, "cases", None):
            if getattr(cls, "bracketed", True):
                return "p.tok == '<'"
            return f"p.tok in {self.constant(frozenset(cls.cases), 'cases')}"
        return (
            "p.kind in ('number', 'string', 'hash') "
            "or p.tok in ('[', '{', '<', '-', 'true', 'false', 'dense')"
        )

    # -- building the op ----------------------------------------------------------------------------

    def _finish(self) -> None:
        operand_types = self._resolve_types()
        operands = self._operand_values(operand_types)
        results = self._result_types()
        self._segments()
        regions = self._collect("region", self.signature.regions, "r")
        successors = self._collect("successor", self.signature.successors, "s")
        arguments = [operands, results, "attributes"]
        if regions or successors:
            arguments.append(regions or "()")
        if successors:
            arguments.append(successors)
        self.emit(f"return cls({', '.join(arguments)})")

    def _known(self) -> str | None:
        """An expression for the type that SAME_TYPE spreads, from a group the format types."""
        for field in (*self.signature.operands, *self.signature.results):
            if field.name in self.typed:
                return f"t_{field.name}" if field.arity == ONE else f"t_{field.name}[0]"
        if self.flat_operand_types:
            return "t_operands[0]"
        return "t_results[0]" if self.flat_result_types else None

    def _resolve_types(self) -> dict[str, str]:
        """Per operand group the expression of its type(s); emits inference where needed.

        Also makes ``t_<result>`` for result groups that the format leaves out.
        """
        expressions: dict[str, str] = {}
        same = traits.SAME_TYPE in self.cls.traits
        same_operands = traits.SAME_OPERAND_TYPES in self.cls.traits
        operand_known = next(
            (
                f"t_{f.name}" if f.arity == ONE else f"t_{f.name}[0]"
                for f in self.signature.operands
                if f.name in self.typed
            ),
            None,
        )
        missing: list[str] = []
        for field in self.signature.operands:
            if field.name in self.typed:
                expressions[field.name] = f"t_{field.name}"
                continue
            if self.flat_operand_types:
                continue
            fixed = fixed_type(field.constraint)
            source = None
            if fixed is not None:
                source = self.constant(fixed, "type")
            elif same:
                source = self._known()
            elif same_operands:
                source = operand_known
            if source is None:
                missing.append(field.name)
            elif field.arity == ONE or field.arity == OPTIONAL:
                expressions[field.name] = source
            else:
                expressions[field.name] = f"[{source}] * len(o_{field.name})"
        missing_results: list[str] = []
        for result in self.signature.results:
            if result.name in self.typed or self.flat_result_types:
                continue
            fixed = fixed_type(result.constraint)
            if fixed is not None:
                self.emit(f"t_{result.name} = {self.constant(fixed, 'type')}")
            elif same and self._known() is not None:
                self.emit(f"t_{result.name} = {self._known()}")
            else:
                missing_results.append(result.name)
        if missing or missing_results:
            self._infer(expressions, missing, missing_results)
        return expressions

    def _infer(self, expressions: dict[str, str], missing: list[str], missing_results: list[str]) -> None:
        entries: list[str] = []
        for field in self.signature.operands:
            name = field.name
            if name in missing:
                if field.arity == ONE:
                    entries.append(f"{name!r}: [None]")
                elif field.arity == OPTIONAL:
                    entries.append(f"{name!r}: [None] * (o_{name} is not None)")
                else:
                    entries.append(f"{name!r}: [None] * len(o_{name})")
            elif name in expressions:
                entries.append(f"{name!r}: {self._as_list(field.arity, expressions[name])}")
            else:  # types(operands) given flat
                entries.append(f"{name!r}: {self._flat_slice(self.signature.operands, name, 't_operands')}")
        for result in self.signature.results:
            if result.name not in missing_results:
                if self.flat_result_types:
                    text = self._flat_slice(self.signature.results, result.name, "t_results")
                else:
                    text = self._as_list(result.arity, f"t_{result.name}")
                entries.append(f"{result.name!r}: {text}")
        self.emit(f"types = {{{', '.join(entries)}}}")
        self.emit("cls.infer_types(types, attributes)")
        for name in missing:
            if self.operands[name].arity == ONE:
                expressions[name] = f"one_type(types[{name!r}], {name!r})"
            elif self.operands[name].arity == OPTIONAL:
                self.emit(f"t_{name} = one_type(types[{name!r}], {name!r}) if types[{name!r}] else None")
                expressions[name] = f"t_{name}"
            else:
                expressions[name] = f"all_types(types[{name!r}], {name!r})"
        for name in missing_results:
            if self.results[name].arity == ONE:
                self.emit(f"t_{name} = one_type(types.get({name!r}), {name!r})")
            else:
                self.emit(f"t_{name} = all_types(types.get({name!r}), {name!r})")

    def _as_list(self, arity: str, expression: str) -> str:
        if arity == ONE:
            return f"[{expression}]"
        if arity == OPTIONAL:
            return f"([] if {expression} is None else [{expression}])"
        return f"list({expression})"

    def _flat_slice(self, fields: Any, name: str, flat: str) -> str:
        """The part of a flat list that belongs to group ``name`` (at most one variadic group)."""
        variable = [f.name for f in fields if f.arity != ONE]
        if len(variable) > 1:
            raise FormatError("a flat list cannot be divided among several variadic groups")
        position = next(i for i, f in enumerate(fields) if f.name == name)
        if not variable:
            return f"{flat}[{position}:{position + 1}]"
        split = next(i for i, f in enumerate(fields) if f.name == variable[0])
        after = len(fields) - split - 1
        if position < split:
            return f"{flat}[{position}:{position + 1}]"
        if position == split:
            return f"{flat}[{position}:len({flat}) - {after}]"
        back = len(fields) - position
        return f"{flat}[len({flat}) - {back}:len({flat}) - {back - 1}]"

    def _operand_values(self, types: dict[str, str]) -> str:
        fields = self.signature.operands
        if not fields:
            return "()"
        if self.flat_operands or self.flat_operand_types:
            if self.flat_operands:
                names = "all_operands"
            else:
                parts = [self._name_list(f) for f in fields]
                names = f"[{', '.join(parts)}]"
            if self.flat_operand_types:
                return f"p.resolve_all({names}, t_operands)"
            if len(fields) == 1:
                text = types[fields[0].name].replace(f"o_{fields[0].name}", "all_operands")
                return f"p.resolve_all(all_operands, {text})"
            raise FormatError("'operands' needs 'type(operands)' or a functional type")
        parts = []
        for field in fields:
            name = field.name
            if name not in self.named:
                raise FormatError(f"operand '{name}' is missing from the format")
            if field.arity == ONE:
                parts.append(f"p.resolve(o_{name}, {types[name]})")
            elif field.arity == OPTIONAL:
                parts.append(f"*(() if o_{name} is None else (p.resolve(o_{name}, {types[name]}),))")
            else:
                parts.append(f"*p.resolve_all(o_{name}, {types[name]})")
        return f"({', '.join(parts)},)"

    def _name_list(self, field: Any) -> str:
        if field.arity == ONE:
            return f"o_{field.name}"
        if field.arity == OPTIONAL:
            return f"*([] if o_{field.name} is None else [o_{field.name}])"
        return f"*o_{field.name}"

    def _result_types(self) -> str:
        fields = self.signature.results
        if self.flat_result_types:
            return "t_results"
        parts = []
        for field in fields:
            if field.arity == ONE:
                parts.append(f"t_{field.name}")
            elif field.arity == OPTIONAL:
                parts.append(f"*(() if t_{field.name} is None else (t_{field.name},))")
            else:
                parts.append(f"*t_{field.name}")
        return f"({', '.join(parts)},)" if parts else "()"

    def _segments(self) -> None:
        if self.signature.operand_segments:
            sizes = ", ".join(self._size(f.arity, f"o_{f.name}") for f in self.signature.operands)
            self.emit(f"attributes[{OPERAND_SEGMENTS!r}] = DenseArrayAttr(i32, ({sizes},))")
        if self.signature.result_segments:
            sizes = ", ".join(self._size(f.arity, f"t_{f.name}") for f in self.signature.results)
            self.emit(f"attributes[{RESULT_SEGMENTS!r}] = DenseArrayAttr(i32, ({sizes},))")

    def _size(self, arity: str, variable: str) -> str:
        if arity == ONE:
            return "1"
        return f"int({variable} is not None)" if arity == OPTIONAL else f"len({variable})"

    def _collect(self, kind: str, fields: Any, letter: str) -> str:
        if any(line.strip().startswith(f"all_{kind}s =") for line in self.lines):
            return f"all_{kind}s"
        parts = []
        for field in fields:
            variable = f"{letter}_{field.name}"
            if not any(variable in line for line in self.lines):
                raise FormatError(f"{kind} '{field.name}' is missing from the format")
            parts.append(variable if field.arity == ONE else f"*{variable}")
        return f"({', '.join(parts)},)" if parts else ""
