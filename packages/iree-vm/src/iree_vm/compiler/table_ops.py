"""One op class per row of the bytecode's op table: ``vm.add.i32``, ``vm.list.get.ref``, ...

Operands, results, attributes and the assembly are derived from the row; names and assembly are those of
IREE's vm dialect. Ops with successors, calls and symbols of their own are in ``dialect``.
"""

from __future__ import annotations

from typing import Any

from iree_core_ir.ir.attributes import FloatAttr, IntegerAttr, StringAttr, SymbolRefAttr, Type
from iree_core_ir.ir.declaration import attribute, operand, result
from iree_core_ir.ir.operation import Op, OpMeta
from iree_core_ir.ir.traits import CONSTANT_LIKE, PURE, TERMINATOR
from iree_vm.bytecode import ops as table
from iree_vm.compiler.types import REFERENCE, SCALARS

BY_HAND = frozenset(
    ("call", "call.variadic", "br", "cond_br", "br_table", "return", "discard.ref")
)  # fmt: skip
"""Rows without a derived class. ``discard.ref`` writes a register, which SSA has not."""

_EFFECTS = ("global.", "list.", "buffer.", "fail", "cond_fail")


def _field(entry: table.Operand) -> Any:
    kind = entry.kind
    if kind in SCALARS or kind == "ref":
        constraint = SCALARS.get(kind, REFERENCE)
        return result(constraint) if entry.written else operand(constraint)
    if kind in ("#i32", "#i64"):
        return attribute(IntegerAttr, type=SCALARS[kind[1:]])
    if kind in ("#f32", "#f64"):
        return attribute(FloatAttr, type=SCALARS[kind[1:]])
    return attribute(StringAttr if kind == "#text" else SymbolRefAttr)


def _words(row: table.Op) -> str:
    return " `,` ".join(f"${o.name}" for o in row.operands if o not in row.results)


def _types(row: table.Op) -> str:
    return " `,` ".join(
        f"type(${o.name})" for o in row.operands if o not in row.results and o.kind[0] not in "#^"
    )


def assembly_format(row: table.Op) -> str:
    """IREE's assembly for a row, as a declarative format."""
    name, words = row.name, _words(row)
    if name in _SPECIAL:
        return _SPECIAL[name]
    head = name.split(".")[0]
    if head == "const":
        return (
            f"{words} attr-dict"
            if row.operands[-1].kind.startswith("#")
            else f"{words} attr-dict `:` type($r)"
        )
    if name.startswith("global.load"):
        return "$source attr-dict `:` type($r)"
    if name.startswith("global.store"):
        return "$value `,` $target attr-dict `:` type($value)"
    if name.startswith("buffer.load"):
        return "$buffer `[` $index `]` attr-dict `:` type($buffer) `->` type($r)"
    if name.startswith("buffer.store"):
        return "$value `,` $buffer `[` $index `]` attr-dict `:` type($value) `->` type($buffer)"
    if name.startswith("buffer.fill"):
        return f"{words} attr-dict `:` type($value) `->` type($buffer)"
    if head == "list":
        arrow = " `->` type($r)" if row.results else ""
        return f"{words} attr-dict `:` `(` {_types(row)} `)`{arrow}"
    if head in ("trunc", "ext", "cast", "bitcast") and row.operands[0].kind != row.operands[1].kind:
        return f"{words} attr-dict `:` type($a) `->` type($r)"
    if head == "cmp":
        return f"{words} attr-dict `:` type($a)"
    return f"{words} attr-dict `:` type($r)"


_SPECIAL = {
    "const.ref.zero": "attr-dict `:` type($r)",
    "buffer.alloc": "$length attr-dict `:` type($r)",
    "buffer.length": "$buffer attr-dict `:` type($buffer) `->` type($r)",
    "buffer.clone": "$source `,` $offset `,` $length attr-dict `:` type($source) `->` type($r)",
    "buffer.copy": (
        "$source `,` $source_offset `,` $target `,` $target_offset `,` $length attr-dict "
        "`:` type($source) `->` type($target)"
    ),
    "buffer.compare": (
        "$a `,` $a_offset `,` $b `,` $b_offset `,` $length attr-dict `:` type($a) `,` type($b)"
    ),
    "import.resolved": "$callee attr-dict `:` type($r)",
    "fail": "$message attr-dict",
    "cond_fail": "$condition `,` $message attr-dict",
}


def _infer_types(cls: type[Op], types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
    """References whose type the assembly leaves out have that of the one it shows."""
    shown: Type | None = next(
        (t for group in types.values() for t in group if t is not None and REFERENCE.accepts(t)), None
    )
    for entry in cls.row.operands:  # type: ignore[attr-defined]
        if entry.kind == "ref" and (entry.name not in types or types[entry.name] == [None]):
            types[entry.name] = [shown]


def _make(row: table.Op) -> type[Op]:
    namespace: dict[str, Any] = {
        "__doc__": row.doc,
        "__module__": __name__,
        "row": row,
        "assembly_format": assembly_format(row),
        "infer_types": classmethod(_infer_types),
        **{entry.name: _field(entry) for entry in row.operands},
    }
    traits = [TERMINATOR] if row.terminator else []
    if not row.name.startswith(_EFFECTS) and row.results:
        traits.append(PURE)
    if row.name in ("const.i32", "const.i64", "const.f32", "const.f64"):
        traits.append(CONSTANT_LIKE)
    class_name = "".join(part.capitalize() for part in row.name.replace("_", ".").split("."))
    made: Any = OpMeta(class_name, (Op,), namespace, name=f"vm.{row.name}", traits=tuple(traits))
    op_class: type[Op] = made
    return op_class


OPS: dict[str, type[Op]] = {name: _make(row) for name, row in table.OPS.items() if name not in BY_HAND}
"""Bytecode op name -> class."""
