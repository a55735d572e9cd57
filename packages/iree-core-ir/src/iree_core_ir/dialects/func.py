"""func: functions, calls and returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DictAttr,
    StringAttr,
    SymbolRefAttr,
    Type,
    TypeAttr,
)
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    region,
    result,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Block, BlockArgument, Op, Region, Value
from iree_core_ir.ir.traits import CALL_LIKE, CONSTANT_LIKE, ISOLATED, PURE, RETURN_LIKE, SYMBOL, TERMINATOR
from iree_core_ir.ir.types import FunctionType

EMPTY = DictAttr()


def attribute_at(attributes: ArrayAttr | None, index: int, name: str) -> Attribute | None:
    """Entry ``name`` of dict ``index`` in an ``arg_attrs`` / ``res_attrs`` array."""
    entry: Any = None if attributes is None or index >= len(attributes) else attributes[index]
    return None if entry is None else entry.get(name)


def with_attribute_at(
    attributes: ArrayAttr | None, count: int, index: int, name: str, value: Attribute | None
) -> ArrayAttr | None:
    """A copy with entry ``name`` of dict ``index`` set (None removes it); None when all are empty."""
    entries: list[Any] = [EMPTY] * count if attributes is None else list(attributes.items)
    entry = entries[index].to_dict()
    if value is None:
        entry.pop(name, None)
    else:
        entry[name] = value
    entries[index] = DictAttr(entry)
    return None if all(e is EMPTY for e in entries) else ArrayAttr(entries)


class FunctionLike(Op):
    """What functions of all dialects share: symbol, type, argument and result attributes, body."""

    __slots__ = ()
    sym_name = attribute(StringAttr)
    function_type = attribute(TypeAttr)
    sym_visibility = optional_attribute(StringAttr)
    arg_attrs = optional_attribute(ArrayAttr)
    res_attrs = optional_attribute(ArrayAttr)
    body = region()

    @classmethod
    def make(
        cls,
        name: str,
        inputs: Sequence[Type],
        results: Sequence[Type],
        *,
        visibility: str | None = None,
        declaration: bool = False,
        hints: Sequence[str] = (),
    ) -> Any:
        """A function with an entry block of ``inputs`` (none for a declaration)."""
        attributes: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "function_type": TypeAttr(FunctionType(inputs, results)),
        }
        if visibility is not None:
            attributes["sym_visibility"] = StringAttr(visibility)
        blocks = [] if declaration else [Block(inputs)]
        for block in blocks:
            for argument, hint in zip(block.args, hints, strict=False):
                argument.hint = hint
        return cls((), (), attributes, (Region(blocks),))

    @property
    def type(self) -> FunctionType:
        found = self.function_type.value
        assert isinstance(found, FunctionType)
        return found

    @property
    def is_declaration(self) -> bool:
        return not self.body.blocks

    @property
    def is_public(self) -> bool:
        return self.sym_visibility is None or self.sym_visibility.value == "public"

    @property
    def arguments(self) -> list[BlockArgument]:
        """The entry block's arguments."""
        return self.body.block.args

    def arg_attr(self, index: int, name: str) -> Attribute | None:
        return attribute_at(self.arg_attrs, index, name)

    def result_attr(self, index: int, name: str) -> Attribute | None:
        return attribute_at(self.res_attrs, index, name)

    def set_arg_attr(self, index: int, name: str, value: Attribute | None) -> None:
        new = with_attribute_at(self.arg_attrs, len(self.type.inputs), index, name, value)
        self._set("arg_attrs", new)

    def set_result_attr(self, index: int, name: str, value: Attribute | None) -> None:
        new = with_attribute_at(self.res_attrs, len(self.type.results), index, name, value)
        self._set("res_attrs", new)

    def _set(self, key: str, value: Attribute | None) -> None:
        if value is None:
            self.attributes.pop(key, None)
        else:
            self.attributes[key] = value

    def update_type(self, results: Sequence[Type] | None = None) -> None:
        """Make ``function_type`` agree with the entry block (and ``results`` when given)."""
        results = self.type.results if results is None else results
        inputs = [a.type for a in self.arguments]
        self.attributes["function_type"] = TypeAttr(FunctionType(inputs, results))

    @classmethod
    def parse(cls, p: Any) -> Any:
        attributes: dict[str, Attribute] = {}
        visibility = p.accept_keyword(("private", "public", "nested"))
        if visibility is not None:
            attributes["sym_visibility"] = StringAttr(visibility)
        attributes["sym_name"] = StringAttr(p.symbol_name())
        names: list[str] = []
        inputs: list[Type] = []
        argument_attributes: list[DictAttr] = []

        def argument() -> None:
            if p.kind == "value":
                name, type = p.argument()
                names.append(name)
                inputs.append(type)
            else:
                inputs.append(p.type())
            argument_attributes.append(DictAttr(p.attribute_dict()))
            p.skip_location()

        p.comma_list(argument)
        if names and len(names) != len(inputs):
            p.fail("either all arguments have names or none")
        results: list[Type] = []
        result_attributes: list[DictAttr] = []
        if p.accept("->"):

            def result() -> None:
                results.append(p.type())
                result_attributes.append(DictAttr(p.attribute_dict()))

            if p.at("("):
                p.comma_list(result)
            else:
                results.append(p.type())
                result_attributes.append(EMPTY)
        attributes["function_type"] = TypeAttr(FunctionType(inputs, results))
        if any(entry is not EMPTY for entry in argument_attributes):
            attributes["arg_attrs"] = ArrayAttr(argument_attributes)
        if any(entry is not EMPTY for entry in result_attributes):
            attributes["res_attrs"] = ArrayAttr(result_attributes)
        attributes.update(p.attribute_dict_with_keyword())
        if not p.at("{"):
            return cls((), (), attributes, (Region(),))
        if inputs and not names:
            p.fail("a function with a body names its arguments")
        body = p.region(list(zip(names, inputs, strict=True)))
        if not body.blocks:
            p.fail_at_previous("the body of a function cannot be empty")
        return cls((), (), attributes, (body,))

    def print(self, pr: Any) -> None:
        if self.sym_visibility is not None:
            pr.write(f" {self.sym_visibility.value}")
        type = self.type
        blocks = self.body.blocks
        parts: list[str] = []
        for i, input in enumerate(type.inputs):
            text = f"{pr.name(blocks[0].args[i])}: {pr.text(input)}" if blocks else pr.text(input)
            parts.append(text + _dict_text(pr, self.arg_attrs, i))
        pr.write(f" {pr.symbol(self.sym_name.value)}({', '.join(parts)})")
        if type.results:
            if len(type.results) == 1 and self.res_attrs is None:
                pr.write(f" -> {pr.type_list(type.results)}")
            else:
                parts = [pr.text(t) + _dict_text(pr, self.res_attrs, i) for i, t in enumerate(type.results)]
                pr.write(f" -> ({', '.join(parts)})")
        pr.attribute_dict(
            self.attributes,
            ("sym_name", "function_type", "sym_visibility", "arg_attrs", "res_attrs"),
            keyword=True,
        )
        if blocks:
            pr.write(" ")
            pr.region(self.body, entry_arguments=False)

    def verify_op(self) -> None:
        if not isinstance(self.function_type.value, FunctionType):
            raise VerifyError(self, "'function_type' must be a function type")
        type = self.type
        for key, count in (("arg_attrs", len(type.inputs)), ("res_attrs", len(type.results))):
            entries: Any = self.attributes.get(key)
            if entries is not None and len(entries) != count:
                raise VerifyError(self, f"'{key}' has {len(entries)} entries, the type {count}")
        if self.is_declaration:
            if self.is_public and self.dialect == "func":
                raise VerifyError(self, "a declaration must be private")
            return
        inputs = tuple(a.type for a in self.arguments)
        if inputs != type.inputs:
            raise VerifyError(self, "the entry block's arguments do not match the function type")


def _dict_text(pr: Any, attributes: ArrayAttr | None, index: int) -> str:
    entry: Any = None if attributes is None else attributes[index]
    return f" {pr.text(entry)}" if entry is not None and entry is not EMPTY else ""


class FuncOp(FunctionLike, name="func.func", traits=(ISOLATED, SYMBOL)):
    """A function; without a body a declaration."""

    __slots__ = ()
    default_dialect = "func"


class ReturnOp(Op, name="func.return", traits=(TERMINATOR, RETURN_LIKE)):
    """Ends a function with its results."""

    __slots__ = ()
    values = variadic_operand()
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    @classmethod
    def make(cls, *values: Value) -> ReturnOp:
        return cls(values)

    def verify_op(self) -> None:
        function = self.parent_op
        if not isinstance(function, FuncOp):
            raise VerifyError(self, "must be inside 'func.func'")
        expected = function.type.results
        actual = tuple(v.type for v in self.operands)
        if actual != expected:
            raise VerifyError(
                self,
                f"returns ({', '.join(map(str, actual))}) but @{function.sym_name.value} "
                f"has results ({', '.join(map(str, expected))})",
            )


class CallOp(Op, name="func.call", traits=(CALL_LIKE,)):
    """Calls a function by symbol."""

    __slots__ = ()
    callee = attribute(SymbolRefAttr)
    arguments = variadic_operand()
    outputs = variadic_result()
    assembly_format = "$callee `(` $arguments `)` attr-dict `:` functional-type($arguments, $outputs)"

    @classmethod
    def make(
        cls, callee: str | SymbolRefAttr | FuncOp, arguments: Sequence[Value], results: Sequence[Type] = ()
    ) -> CallOp:
        """Call ``callee``; result types come from it when it is a FuncOp."""
        if isinstance(callee, FuncOp):
            results = callee.type.results
            callee = callee.sym_name.value
        reference = callee if isinstance(callee, SymbolRefAttr) else SymbolRefAttr(callee)
        return cls(arguments, results, {"callee": reference})

    def verify_symbol_uses(self, lookup: Any) -> None:
        """``lookup(reference)`` finds the symbol visible from here, or None."""
        function = lookup(self.callee)
        if not isinstance(function, FuncOp):
            raise VerifyError(self, f"'{self.callee}' does not name a function")
        inputs = tuple(v.type for v in self.operands)
        results = tuple(v.type for v in self.results)
        if inputs != function.type.inputs or results != function.type.results:
            raise VerifyError(
                self, f"calls {self.callee} as {FunctionType(inputs, results)}; its type is {function.type}"
            )


class ConstantOp(Op, name="func.constant", traits=(PURE, CONSTANT_LIKE)):
    """A function as a value."""

    __slots__ = ()
    value = attribute(SymbolRefAttr)
    output = result(FunctionType)
    assembly_format = "attr-dict $value `:` type($output)"


class CallIndirectOp(Op, name="func.call_indirect"):
    """Calls a function value."""

    __slots__ = ()
    callee = operand(FunctionType)
    arguments = variadic_operand()
    outputs = variadic_result()
    assembly_format = "$callee `(` $arguments `)` attr-dict `:` type($callee)"

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        function = types["callee"][0]
        types["arguments"] = list(function.inputs)
        types["outputs"] = list(function.results)


DIALECT = Dialect("func", ops=[FuncOp, ReturnOp, CallOp, CallIndirectOp, ConstantOp])
