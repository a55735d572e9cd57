"""Assembly formats compiled once per op class into Python functions that parse and print, each when needed.

The generated source has no format left to interpret: ``arith.addf``'s parser is a dozen straight
lines. ``source_of(cls)`` shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iree_core_ir.ir.operation import Op
from iree_core_ir.text.format_syntax import Element, FormatError, FormatSyntax

_parsers: dict[type[Op], Callable[[Any], Op] | None] = {}
_printers: dict[type[Op], Callable[[Op, Any], None] | None] = {}


def parse_function(cls: type[Op]) -> Callable[[Any], Op] | None:
    """What parses the pretty assembly after the op name; None when the class has none."""
    if cls not in _parsers:
        if cls.parse is not None:
            _parsers[cls] = cls.parse
        elif cls.assembly_format is None:
            _parsers[cls] = None
        else:
            from iree_core_ir.text.format_parse import ParseCompiler

            _parsers[cls] = _compiled(cls, ParseCompiler)
    return _parsers[cls]


def print_function(cls: type[Op]) -> Callable[[Op, Any], None] | None:
    """What prints the pretty assembly after the op name; None when the class has none."""
    if cls not in _printers:
        if cls.print is not None:
            _printers[cls] = cls.print
        elif cls.assembly_format is None:
            _printers[cls] = None
        else:
            from iree_core_ir.text.format_print import PrintCompiler

            _printers[cls] = _compiled(cls, PrintCompiler)
    return _printers[cls]


def source_of(cls: type[Op]) -> str:
    """The generated Python source of a class's parser and printer."""
    from iree_core_ir.text.format_parse import ParseCompiler
    from iree_core_ir.text.format_print import PrintCompiler

    assert cls.assembly_format is not None
    elements = FormatSyntax(cls.assembly_format).parse()
    return ParseCompiler(cls, elements).source() + "\n" + PrintCompiler(cls, elements).source()


def _compiled(cls: type[Op], compiler: Callable[[type[Op], tuple[Element, ...]], Any]) -> Any:
    """The function that ``compiler`` makes of the class's format."""
    assert cls.assembly_format is not None
    try:
        return compiler(cls, FormatSyntax(cls.assembly_format).parse()).function()
    except FormatError as error:
        raise FormatError(f"assembly format of {cls.name}: {error}") from None
