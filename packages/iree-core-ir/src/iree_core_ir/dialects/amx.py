"""``amx``: matrix tiles of a core, as in MLIR: load, multiply and add, store.

A tile has at most 16 rows of at most 64 bytes. In ``lhs * rhs + acc`` the rows of ``rhs`` hold groups of
elements that lie one below the other in the matrix (two bf16, four i8), so that a row of ``rhs`` meets a
32-bit word of ``lhs``. Memory is flat; ``stride`` is the distance between rows in elements of the memory,
whose type need not be the tile's: the bytes of a row are taken as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import UNIT, Attribute, Type, UnitAttr
from iree_core_ir.ir.declaration import operand, optional_attribute, result
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import PURE, READS
from iree_core_ir.ir.types import FloatType, IntegerType, MemRefType, bf16, f32, i8, i32, index

MAX_ROWS, MAX_BYTES = 16, 64
ELEMENTS = (bf16, i8, f32, i32)


class TileType(Type):
    """``!amx.tile<16x32xbf16>``: rows, columns, element type."""

    __slots__ = _fields = ("shape", "element_type")
    shape: tuple[int, ...]
    element_type: Type
    mnemonic = "amx.tile"

    def __new__(cls, shape: Sequence[int], element_type: Type) -> TileType:
        return super().__new__(cls, tuple(shape), element_type)

    def check(self) -> None:
        if self.element_type not in ELEMENTS:
            raise ValueError(f"{self.element_type} is no element type of a tile")
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ValueError(f"a tile has two static dims, got {list(self.shape)}")
        if self.rows > MAX_ROWS or self.row_bytes > MAX_BYTES or self.row_bytes % 4:
            raise ValueError(f"a tile has at most {MAX_ROWS} rows of {MAX_BYTES} bytes, in words of 4")

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def element_bytes(self) -> int:
        return int(self.element_type.width) // 8  # type: ignore[attr-defined]

    @property
    def row_bytes(self) -> int:
        return self.shape[1] * self.element_bytes

    @classmethod
    def parse_parameters(cls, p: Any) -> TileType:
        shape = p.shape_prefix()
        element = p.type()
        p.expect(">")
        return cls(shape, element)

    def print_parameters(self, printer: Any) -> str:
        return f"<{self.shape[0]}x{self.shape[1]}x{printer.text(self.element_type)}>"


def _check_rows(op: Op, memory: Any, type: TileType) -> None:
    if memory.rank != 1:
        raise VerifyError(op, f"memory of a tile is flat, got {memory}")
    element = memory.element_type
    width = element.width if isinstance(element, (FloatType, IntegerType)) else 0
    if width < 8 or type.row_bytes * 8 % width:
        raise VerifyError(op, f"{type} does not lie in {memory}")


class TileZero(Op, name="amx.tile_zero", traits=(PURE,)):
    """A tile of zeros."""

    res = result(TileType)
    assembly_format = "attr-dict `:` type($res)"

    @classmethod
    def make(cls, type: TileType) -> Self:
        return cls((), (type,))


class TileLoad(Op, name="amx.tile_load", traits=(READS,)):
    """Row ``i`` begins at ``base[at + i * stride]``. ``streamed``: it is not read again soon, so that what is
    keeps its place in the first cache."""

    base = operand(MemRefType)
    at = operand(index)
    stride = operand(index)
    streamed = optional_attribute(UnitAttr)
    res = result(TileType)
    assembly_format = (
        "$base `[` $at `]` `,` $stride (`streamed` $streamed^)? attr-dict `:` type($base) `into` type($res)"
    )

    @classmethod
    def make(cls, base: Value, at: Value, stride: Value, type: TileType, *, streamed: bool = False) -> Self:
        return cls((base, at, stride), (type,), {"streamed": UNIT} if streamed else {})

    def verify_op(self) -> None:
        _check_rows(self, self.base.type, self.res.type)


class TileStore(Op, name="amx.tile_store"):
    """Writes the tile as ``tile_load`` reads it."""

    base = operand(MemRefType)
    at = operand(index)
    val = operand(TileType)
    stride = operand(index)
    assembly_format = "$base `[` $at `]` `,` $val `,` $stride attr-dict `:` type($base) `,` type($val)"

    @classmethod
    def make(cls, base: Value, at: Value, val: Value, stride: Value) -> Self:
        return cls((base, at, val, stride))

    def verify_op(self) -> None:
        _check_rows(self, self.base.type, self.val.type)


class _Product(Op):
    lhs = operand(TileType)
    rhs = operand(TileType)
    acc = operand(TileType)
    res = result(TileType)

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Any]) -> None:
        types["res"] = types["acc"]

    def check_product(self, element: Type, total: Type) -> None:
        a, b, c = self.lhs.type, self.rhs.type, self.acc.type
        if self.res.type is not c or (a.element_type, b.element_type) != (element, element):
            raise VerifyError(self, f"{a} * {b} + {c} to {self.res.type} do not fit")
        if c.element_type is not total:
            raise VerifyError(self, f"{a} * {b} is summed in {total}, got {c}")
        if a.row_bytes != 4 * b.rows or c.rows != a.rows or c.row_bytes != b.row_bytes:
            raise VerifyError(self, f"{a} * {b} + {c} do not fit")


class TileMulF(_Product, name="amx.tile_mulf", traits=(PURE,)):
    """``lhs * rhs + acc`` of bf16 in f32; denormal operands count as 0, denormal results become 0."""

    assembly_format = "$lhs `,` $rhs `,` $acc attr-dict `:` type($lhs) `,` type($rhs) `,` type($acc)"

    @classmethod
    def make(cls, lhs: Value, rhs: Value, acc: Value) -> Self:
        return cls((lhs, rhs, acc), (acc.type,))

    def verify_op(self) -> None:
        self.check_product(bf16, f32)


class TileMulI(_Product, name="amx.tile_muli", traits=(PURE,)):
    """``lhs * rhs + acc`` of i8 in i32; operands are signed, those marked ``zext`` unsigned."""

    is_zext_lhs = optional_attribute(UnitAttr, key="isZextLhs")
    is_zext_rhs = optional_attribute(UnitAttr, key="isZextRhs")
    assembly_format = (
        "$lhs (`zext` $is_zext_lhs^)? `,` $rhs (`zext` $is_zext_rhs^)? `,` $acc attr-dict"
        " `:` type($lhs) `,` type($rhs) `,` type($acc)"
    )

    @classmethod
    def make(
        cls, lhs: Value, rhs: Value, acc: Value, *, zext_lhs: bool = False, zext_rhs: bool = False
    ) -> Self:
        attributes: dict[str, Attribute] = {}
        if zext_lhs:
            attributes["isZextLhs"] = UNIT
        if zext_rhs:
            attributes["isZextRhs"] = UNIT
        return cls((lhs, rhs, acc), (acc.type,), attributes)

    def verify_op(self) -> None:
        self.check_product(i8, i32)


DIALECT = Dialect("amx", ops=[TileLoad, TileMulF, TileMulI, TileStore, TileZero], attributes=[TileType])
