"""MLIR text -> IR: operations, regions, blocks, SSA names, aliases, file metadata.

Names of an isolated scope live in one dict with an undo list per region, so a lookup is one dict
access. Pretty assembly is parsed by the op class (``parse`` or its compiled ``assembly_format``).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iree_core_ir.errors import ParseError
from iree_core_ir.garbage import frozen_gc
from iree_core_ir.ir import traits
from iree_core_ir.ir.attributes import Attribute, Type
from iree_core_ir.ir.dialect import find_op
from iree_core_ir.ir.location import Location
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.unregistered import UnregisteredOp
from iree_core_ir.text.assembly_format import parse_function
from iree_core_ir.text.lexer import BANG, BLOCK, END, HASH, STRING, VALUE, WORD
from iree_core_ir.text.location_parser import LocationParser, UndefinedLocationAlias

if TYPE_CHECKING:
    from iree_core_ir.constants import ConstantStore
    from iree_core_ir.dialects.builtin import ModuleOp

_OP_STARTS = frozenset((VALUE, WORD, STRING))
_RESOURCE = re.compile(r'\s*"0x([0-9A-Fa-f]*)"')


class Parser(LocationParser):
    """Parses a file. Op classes use the methods without underscore in their ``parse``."""

    def __init__(
        self,
        text: str,
        name: str = "<mlir>",
        *,
        allow_unregistered: bool = False,
        constants: ConstantStore | None = None,
    ) -> None:
        self.allow_unregistered = allow_unregistered
        self._values: dict[str, Value] = {}
        self._defined: list[str] = []
        self._forward: dict[str, tuple[Value, int]] = {}
        self._blocks: dict[str, Block] = {}
        self._undefined_blocks: dict[str, int] = {}
        self._op_class: type[Op] = Op
        self._generic = False
        self._default_dialect = "builtin"
        self._parsers: dict[str, tuple[type[Op], Callable[[Any], Op]]] = {}
        self._late_locations: list[tuple[Op, int]] = []
        self._op_start = 0
        self.resources: dict[str, bytes] = {}
        super().__init__(text, name, constants)

    # -- values ------------------------------------------------------------------------------

    def operand_name(self) -> str:
        """``%name`` or ``%name#1``, not yet resolved."""
        token = self.tok
        if self.kind != VALUE:
            self.fail(f"expected an SSA value, got {self.shown()}")
        self.next()
        return token

    def operand_names(self) -> list[str]:
        """A bare, possibly empty list of SSA names."""
        names: list[str] = []
        if self.kind != VALUE:
            return names
        names.append(self.tok)
        self.next()
        while self.tok == ",":
            self.next()
            names.append(self.operand_name())
        return names

    def resolve(self, name: str, type: Type) -> Value:
        """The value called ``name``, which must have ``type``; it may be defined later."""
        value = self._values.get(name)
        if value is None:
            value = self._resolve_slow(name, type)
        if value.type is not type:
            offset = self.text.rfind(name, self._op_start, self.pos)
            self.fail(f"{name} has type {value.type}, used here as {type}", max(offset, self._op_start))
        return value

    def resolve_all(self, names: Sequence[str], types: Sequence[Type]) -> list[Value]:
        if len(names) != len(types):
            self.fail(f"{len(names)} operands but {len(types)} types", self._op_start)
        return [self.resolve(name, type) for name, type in zip(names, types, strict=True)]

    def resolve_untyped(self, name: str) -> Value:
        """The value called ``name``, which must be defined already."""
        value = self._values.get(name)
        if value is None:
            self.fail(f"{name} is not defined before this use", self.text.rfind(name, 0, self.pos))
        return value

    def _resolve_slow(self, name: str, type: Type) -> Value:
        if name.endswith("#0"):
            value = self._values.get(name[:-2])
            if value is not None:
                return value
        forward = self._forward.get(name)
        if forward is None:
            offset = self.text.rfind(name, self._op_start, self.pos)
            forward = self._forward[name] = (Value(type, None, 0), max(offset, self._op_start))
        return forward[0]

    def _define(self, name: str, value: Value, offset: int) -> None:
        values = self._values
        if name in values:
            self.fail(f"{name} is defined twice", offset)
        values[name] = value
        self._defined.append(name)
        if self._forward:
            forward = self._forward.pop(name, None)
            if forward is not None:
                if forward[0].type is not value.type:
                    self.fail(f"{name} has type {value.type}, used earlier as {forward[0].type}", forward[1])
                forward[0].replace_all_uses_with(value)

    def argument(self) -> tuple[str, Any]:
        """``%name : type``, an optional location skipped."""
        name = self.operand_name()
        self.expect(":")
        type = self.type()
        if self.tok == "loc":
            self._skip_location()
        return name, type

    def skip_location(self) -> None:
        """Skip ``loc(...)`` if it is there; values carry no location of their own."""
        if self.tok == "loc":
            self._skip_location()

    def _skip_location(self) -> None:
        self.next()
        self.balanced()

    # -- blocks and regions ---------------------------------------------------------------------

    def successor(self) -> Block:
        """``^bb1``."""
        return self._block(self.take(BLOCK), self.previous)

    def _block(self, name: str, offset: int) -> Block:
        block = self._blocks.get(name)
        if block is None:
            block = self._blocks[name] = Block()
            self._undefined_blocks[name] = offset
        return block

    def region(self, arguments: Sequence[tuple[str, Type]] = (), isolated: bool | None = None) -> Region:
        """``{ ... }``; ``arguments`` name the entry block's arguments.

        Isolation (names from outside invisible), the default dialect and the implicit terminator
        come from the op class being parsed.
        """
        cls = self._op_class
        generic = self._generic
        if isolated is None:
            isolated = traits.ISOLATED in cls.traits
        saved = (self._blocks, self._undefined_blocks, self._defined, self._default_dialect)
        self._blocks, self._undefined_blocks, self._defined = {}, {}, []
        self._default_dialect = cls.default_dialect
        outer = (self._values, self._forward)
        if isolated:
            self._values, self._forward = {}, {}
        self.expect("{")
        region = Region()
        if arguments and self.kind == BLOCK:
            self.fail("a block label cannot follow named region arguments")
        if arguments or (self.tok != "}" and self.kind != BLOCK):
            entry = region.append(Block())
            for name, type in arguments:
                self._add_argument(entry, name, type, self._op_start)
            self._ops(entry)
        while self.kind == BLOCK:
            self._labelled_block(region)
        if self.tok != "}":
            self.fail(f"expected an operation, a block or '}}', got {self.shown()}")
        if self._undefined_blocks:
            name, offset = next(iter(self._undefined_blocks.items()))
            self.fail(f"block {name} is not defined in this region", offset)
        end = self.start
        if isolated:
            self._check_forward()
        else:
            for name in self._defined:
                del self._values[name]
        self._values, self._forward = outer
        self._blocks, self._undefined_blocks, self._defined, self._default_dialect = saved
        self._op_class, self._generic = cls, generic
        if not generic:
            self._complete(region, cls, end)
        self.next()
        return region

    def _complete(self, region: Region, cls: type[Op], offset: int) -> None:
        """Add the block and the terminator that pretty assembly may leave out."""
        implicit = cls.implicit_terminator
        if not region.blocks and (
            implicit or traits.SINGLE_BLOCK in cls.traits or traits.NO_TERMINATOR in cls.traits
        ):
            region.append(Block())
        if implicit is not None:
            block = region.blocks[-1]
            if block.last is None or traits.TERMINATOR not in block.last.traits:
                terminator_class = find_op(implicit)
                assert terminator_class is not None, implicit
                terminator = terminator_class()
                terminator._location = (self.source, offset)
                block.append(terminator)

    def _labelled_block(self, region: Region) -> None:
        name = self.tok
        block = self._block(name, self.start)
        if self._undefined_blocks.pop(name, None) is None:
            self.fail(f"block {name} is defined twice")
        self.next()
        region.append(block)
        if self.tok == "(":
            offset = self.start
            for argument, type in self.comma_list(self.argument):
                self._add_argument(block, argument, type, offset)
        self.expect(":")
        self._ops(block)

    def _add_argument(self, block: Block, name: str, type: Type, offset: int) -> None:
        argument = block.add_arg(type)
        if not name[1].isdigit():
            argument.hint = name[1:]
        self._define(name, argument, offset)

    def _check_forward(self) -> None:
        if self._forward:
            name, (_, offset) = next(iter(self._forward.items()))
            self.fail(f"{name} is used but never defined", offset)

    def _ops(self, block: Block) -> None:
        kind = self.kind
        while kind in _OP_STARTS:
            block.append(self.operation())
            kind = self.kind

    # -- operations -----------------------------------------------------------------------------

    def operation(self) -> Op:
        """One operation with result names and location."""
        start = self.start
        single: str | None = None
        groups: list[tuple[str, int]] | None = None
        if self.kind == VALUE:
            single = self.tok
            self.next()
            if self.tok == "=":
                self.next()
            else:
                groups = self._result_groups(single)
                single = None
        name_start = self._op_start = self.start
        if self.kind == WORD:
            op = self._custom()
        elif self.kind == STRING:
            op = self._generic_op()
        else:
            self.fail(f"expected an operation, got {self.shown()}")
        if self.tok == "loc":
            self._trailing_location(op)
        else:
            op._location = (self.source, name_start)
        results = op.results
        if single is not None and len(results) == 1:
            # The body of _define, inlined: this runs for nearly every op.
            value = results[0]
            values = self._values
            if single in values or self._forward:
                self._define(single, value, start)
            else:
                values[single] = value
                self._defined.append(single)
            if not single[1].isdigit():
                value.hint = single[1:]
        elif single is not None:
            self._name_results(op, [(single, 1)], start)
        elif groups is not None:
            self._name_results(op, groups, start)
        return op

    def _result_groups(self, first: str) -> list[tuple[str, int]]:
        groups: list[tuple[str, int]] = []
        name = first
        while True:
            if "#" in name:
                self.fail_at_previous(f"'{name}' cannot name a result")
            count = 1
            if self.accept(":"):
                count = self.integer()
                if count < 1:
                    self.fail_at_previous("a result group has at least one value")
            groups.append((name, count))
            if not self.accept(","):
                break
            name = self.operand_name()
        self.expect("=")
        return groups

    def _name_results(self, op: Op, groups: list[tuple[str, int]], start: int) -> None:
        total = sum(count for _, count in groups)
        if total != len(op.results):
            self.fail(f"'{op.name}' has {len(op.results)} results, {total} are named", start)
        position = 0
        for name, count in groups:
            if not name[1].isdigit():
                op.results[position].hint = name[1:]
            if count == 1:
                self._define(name, op.results[position], start)
            else:
                for i in range(count):
                    self._define(f"{name}#{i}", op.results[position + i], start)
            position += count

    def _find(self, word: str) -> tuple[type[Op], Callable[[Any], Op]] | None:
        candidates = [word] if "." in word else []
        if "." not in word:
            candidates = [f"{d}.{word}" for d in (self._default_dialect, "builtin") if d]
        for name in candidates:
            cls = find_op(name)
            if cls is not None:
                function = parse_function(cls)
                if function is None:
                    self.fail(f"'{name}' has no pretty assembly; write it in generic form")
                return cls, function
        return None

    def _custom(self) -> Op:
        word = self.tok
        start = self.start
        found = self._parsers.get(word)
        if found is None:
            found = self._find(word)
            if found is None:
                self.fail(f"unknown operation '{word}'")
            if "." in word:
                self._parsers[word] = found
        self._op_class = found[0]
        self._generic = False
        self.next()
        try:
            return found[1](self)
        except ValueError as error:
            self.fail(str(error), start)
        except (AttributeError, KeyError, IndexError, TypeError, AssertionError) as error:
            # The op's parser met something its author did not think of: still the text's fault.
            message = f"'{found[0].name}' cannot be read here ({type(error).__name__}: {error})"
            line, column = self.source.line_column(start)
            place = (self.source.name, line, column, self.source.line_at(start))
            raise ParseError(message, *place) from error

    def _generic_op(self) -> Op:
        start = self.start
        name = self.string()
        cls = find_op(name)
        if cls is None and not self.allow_unregistered:
            self.fail(f"unknown operation '{name}'", start)
        names = self.comma_list(self.operand_name)
        successors = self.comma_list(self.successor, "[", "]") if self.at("[") else []
        attributes: dict[str, Attribute] = {}
        if self.accept("<"):
            attributes = self.attribute_dict()
            self.expect(">")
        inherent = frozenset(attributes)
        regions: list[Region] = []
        if self.at("("):
            self._op_class, self._generic = cls or Op, True
            regions = self.comma_list(self.region)
        attributes.update(self.attribute_dict())
        self.expect(":")
        function = self.function_type()
        self._op_start = start
        operands = self.resolve_all(names, function.inputs)
        if cls is None:
            unknown = UnregisteredOp(name, operands, function.results, attributes, regions, successors)
            unknown.inherent = inherent
            return unknown
        op = object.__new__(cls)
        Op.__init__(op, operands, function.results, attributes, regions, successors)
        return op

    def _trailing_location(self, op: Op) -> None:
        start = self.start
        try:
            op._location = self.location_attribute(late=True)
        except UndefinedLocationAlias:
            self._late_locations.append((op, start))
            self.pos = start
            self.next()
            self._skip_location()

    # -- files ----------------------------------------------------------------------------------

    def top_level(self) -> list[Op]:
        """All top-level ops; aliases and resources are read on the way."""
        block = Block()
        while self.kind != END:
            if self.kind == HASH:
                self._attribute_alias()
            elif self.kind == BANG:
                self._type_alias()
            elif self.tok == "{-#":
                self._metadata()
            elif self.kind in (VALUE, WORD, STRING):
                block.append(self.operation())
            else:
                self.fail(f"expected an operation, got {self.shown()}")
        self._check_forward()
        for op, offset in self._late_locations:
            self.pos = offset
            self.next()
            op._location = self.location_attribute()
        return [op.detach() for op in block.ops]

    def _attribute_alias(self) -> None:
        name = self.take(HASH)[1:]
        if "." in name:
            self.fail_at_previous("the name of an alias has no '.'")
        if name in self.attribute_aliases:
            self.fail_at_previous(f"'#{name}' is defined twice")
        self.expect("=")
        value = self.attribute()
        self.attribute_aliases[name] = value

    def _type_alias(self) -> None:
        name = self.take(BANG)[1:]
        if "." in name:
            self.fail_at_previous("the name of an alias has no '.'")
        if name in self.type_aliases:
            self.fail_at_previous(f"'!{name}' is defined twice")
        self.expect("=")
        self.type_aliases[name] = self.type()

    def _metadata(self) -> None:
        """``{-# dialect_resources: { builtin: { key: "0x..." } } #-}``."""
        self.next()
        while self.tok != "#-}":
            section = self.keyword()
            self.expect(":")
            if section != "dialect_resources":
                self.balanced()
            else:
                self.expect("{")
                while self.tok != "}":
                    self._dialect_resources()
                    if not self.accept(","):
                        break
                self.expect("}")
            if not self.accept(","):
                break
        self.expect("#-}")

    def _dialect_resources(self) -> None:
        dialect = self.keyword()
        self.expect(":")
        if dialect != "builtin":
            self.balanced()
            return
        self.expect("{")
        while self.tok != "}":
            key = self.string() if self.kind == STRING else self.keyword()
            if self.tok != ":":
                self.fail(f"expected ':', got {self.shown()}")
            payload = _RESOURCE.match(self.text, self.pos)
            if payload is None:
                self.fail("expected a hexadecimal string", self.pos)
            data = bytes.fromhex(payload[1])
            if len(data) < 4:
                self.fail(f"resource '{key}' lacks its alignment", payload.start(1))
            self.resources[key] = data[4:]
            self.pos = payload.end()
            self.next()
            if not self.accept(","):
                break
        self.expect("}")

    def store_resources(self, ops: Iterable[Op]) -> None:
        """Move the file's resources into ``constants`` with the types their uses give."""
        if not self.resources:
            return
        if self.constants is None:
            self.fail("the text holds constant data: pass a ConstantStore to parse it")
        from iree_base.element_types import element_type
        from iree_core_ir.ir.attributes import DenseResourceAttr

        for root in ops:
            for op in root.walk():
                for attribute in op.attributes.values():
                    if not isinstance(attribute, DenseResourceAttr) or attribute.key not in self.resources:
                        continue
                    if attribute.key in self.constants:
                        continue
                    data = self.resources[attribute.key]
                    name = str(attribute.type.element_type)
                    array = np.frombuffer(data, element_type(name).dtype)
                    if array.size != attribute.type.n_elements:
                        self.fail(
                            f"resource '{attribute.key}' holds {array.size} elements, not {attribute.type}"
                        )
                    self.constants.add_array(array.reshape(attribute.type.shape), name, attribute.key)


@contextlib.contextmanager
def _bounded_nesting(parser: Parser) -> Iterator[None]:
    """Text nested deeper than Python's stack is an error of the text."""
    try:
        yield
    except RecursionError:
        parser.fail("nested too deeply")


def parse_ops(
    text: str,
    name: str = "<mlir>",
    *,
    allow_unregistered: bool = False,
    constants: ConstantStore | None = None,
) -> list[Op]:
    """The top-level ops of ``text``. Raises ParseError."""
    parser = Parser(text, name, allow_unregistered=allow_unregistered, constants=constants)
    with frozen_gc(), _bounded_nesting(parser):
        ops = parser.top_level()
    parser.store_resources(ops)
    return ops


def parse_module(
    text: str,
    name: str = "<mlir>",
    allow_unregistered: bool = False,
    constants: ConstantStore | None = None,
) -> ModuleOp:
    """The module in ``text``; other top-level ops are wrapped into one. Raises ParseError.

    ``constants`` receives large ``dense`` constants and the file's resources. The result is not
    verified: call ``iree_core_ir.verifier.verify``.
    """
    from iree_core_ir.dialects.builtin import ModuleOp

    ops = parse_ops(text, name, allow_unregistered=allow_unregistered, constants=constants)
    if len(ops) == 1 and isinstance(ops[0], ModuleOp):
        return ops[0]
    module = ModuleOp.make()
    for op in ops:
        module.body.block.append(op)
    return module


def parse_attribute(text: str, *, allow_unregistered: bool = False) -> Attribute:
    """One attribute. Raises ParseError, also for text that follows it."""
    parser = Parser(text, "<attribute>", allow_unregistered=allow_unregistered)
    with _bounded_nesting(parser):
        attribute: Attribute = parser.attribute()
    if parser.kind != END:
        parser.fail(f"unexpected {parser.shown()}")
    return attribute


def parse_type(text: str, *, allow_unregistered: bool = False) -> Any:
    """One type. Raises ParseError, also for text that follows it."""
    parser = Parser(text, "<type>", allow_unregistered=allow_unregistered)
    with _bounded_nesting(parser):
        type = parser.type()
    if parser.kind != END:
        parser.fail(f"unexpected {parser.shown()}")
    return type


__all__ = ["Location", "ParseError", "Parser", "parse_attribute", "parse_module", "parse_ops", "parse_type"]
