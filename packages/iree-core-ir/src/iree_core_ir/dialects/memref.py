"""``memref``: buffers with shape, strides and memory space; allocation, access and views, as in MLIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects import tensor_folds as _rules  # noqa: F401  (registers the fold rules)
from iree_core_ir.dialects.compatible import compatible_shapes
from iree_core_ir.dialects.memref_views import *  # noqa: F403
from iree_core_ir.dialects.memref_views import (
    AssumeAlignment,
    Cast,
    CollapseShape,
    ExpandShape,
    ExtractStridedMetadata,
    MemorySpaceCast,
    ReinterpretCast,
    Reshape,
    SubView,
    Transpose,
    View,
)
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.dialects.rule_op import RuleOp
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import (
    UNIT,
    Attribute,
    IntegerAttr,
    StringAttr,
    SymbolRefAttr,
    TypeAttr,
    UnitAttr,
)
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    result,
    segment_sizes,
    variadic_operand,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.operation import Op, Value
from iree_core_ir.ir.traits import ALLOCATES, PURE, READS, SYMBOL
from iree_core_ir.ir.types import (
    DYNAMIC,
    MemRefType,
    TensorType,
    UnrankedMemRefType,
    i1,
    i32,
    i64,
    index,
)

INDEX = index  # an op may have a field called index
ANY_MEMREF = (MemRefType, UnrankedMemRefType)


class _Allocation(Op):
    dynamic_sizes = variadic_operand(INDEX)
    symbol_operands = variadic_operand(INDEX)
    alignment = optional_attribute(IntegerAttr)
    memref = result(MemRefType)
    assembly_format = "`(` $dynamic_sizes `)` (`` `[` $symbol_operands^ `]`)? attr-dict `:` type($memref)"

    @classmethod
    def make(
        cls, type: MemRefType, dynamic_sizes: Sequence[Value] = (), alignment: int | None = None
    ) -> Self:
        attributes: dict[str, Attribute] = {"operandSegmentSizes": segment_sizes(dynamic_sizes, ())}
        if alignment is not None:
            attributes["alignment"] = IntegerAttr(alignment, i64)
        return cls(dynamic_sizes, [type], attributes)

    @property
    def mixed_sizes(self) -> tuple[Mixed, ...]:
        values = iter(self.dynamic_sizes)
        return tuple(next(values) if d == DYNAMIC else d for d in self.memref.type.shape)

    def verify_op(self) -> None:
        type = self.memref.type
        if len(self.dynamic_sizes) != type.n_dynamic:
            raise VerifyError(
                self, f"{len(self.dynamic_sizes)} sizes for {type.n_dynamic} dynamic dims of {type}"
            )
        alignment = self.alignment
        if alignment is not None and (alignment.value <= 0 or alignment.value & (alignment.value - 1)):
            raise VerifyError(self, f"alignment {alignment.value} is no power of two")


class Alloc(_Allocation, name="memref.alloc", traits=(ALLOCATES,)):
    """A fresh buffer that lives until ``memref.dealloc``; contents unspecified."""


class Alloca(_Allocation, name="memref.alloca", traits=(ALLOCATES,)):
    """A fresh buffer that lives until the enclosing function (allocation scope) ends."""


class Dealloc(Op, name="memref.dealloc"):
    memref = operand(ANY_MEMREF)
    assembly_format = "$memref attr-dict `:` type($memref)"

    @classmethod
    def make(cls, memref: Value) -> Self:
        return cls([memref])


class Load(Op, name="memref.load", traits=(READS,)):
    """One element; indices must be in bounds."""

    memref = operand(MemRefType)
    indices = variadic_operand(INDEX)
    nontemporal = optional_attribute(IntegerAttr)
    result = result()
    assembly_format = "$memref `[` $indices `]` attr-dict `:` type($memref)"

    @classmethod
    def make(cls, memref: Value, indices: Sequence[Value] = ()) -> Self:
        return cls([memref, *indices], [memref.type.element_type])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["result"] = [types["memref"][0].element_type]

    def verify_op(self) -> None:
        type = self.memref.type
        if len(self.indices) != type.rank:
            raise VerifyError(self, f"{len(self.indices)} indices into {type}")
        if self.result.type is not type.element_type:
            raise VerifyError(self, f"loads {self.result.type} from {type}")


class Store(Op, name="memref.store"):
    """Writes one element; indices must be in bounds."""

    value = operand()
    memref = operand(MemRefType)
    indices = variadic_operand(INDEX)
    nontemporal = optional_attribute(IntegerAttr)
    assembly_format = "$value `,` $memref `[` $indices `]` attr-dict `:` type($memref)"

    @classmethod
    def make(cls, value: Value, memref: Value, indices: Sequence[Value] = ()) -> Self:
        return cls([value, memref, *indices])

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["value"] = [types["memref"][0].element_type]

    def verify_op(self) -> None:
        type = self.memref.type
        if len(self.indices) != type.rank:
            raise VerifyError(self, f"{len(self.indices)} indices into {type}")
        if self.value.type is not type.element_type:
            raise VerifyError(self, f"stores {self.value.type} into {type}")


class Prefetch(Op, name="memref.prefetch"):
    """Hints that an element will soon be read or written; no effect on values."""

    memref = operand(MemRefType)
    indices = variadic_operand(INDEX)
    is_write = attribute(IntegerAttr, key="isWrite")
    locality = attribute(IntegerAttr, key="localityHint", type=i32)
    is_data_cache = attribute(IntegerAttr, key="isDataCache")

    @classmethod
    def make(
        cls,
        memref: Value,
        indices: Sequence[Value],
        write: bool = False,
        locality: int = 3,
        data_cache: bool = True,
    ) -> Self:
        """``locality`` from 0 (use once) to 3 (keep)."""
        attributes: dict[str, Attribute] = {
            "isWrite": IntegerAttr(write, i1),
            "localityHint": IntegerAttr(locality, i32),
            "isDataCache": IntegerAttr(data_cache, i1),
        }
        return cls([memref, *indices], [], attributes)

    @classmethod
    def parse(cls, p: Any) -> Self:
        name = p.operand_name()
        indices = p.comma_list(p.operand_name, "[", "]")
        p.expect(",")
        write = p.keyword() == "write"
        p.expect(",")
        p.expect("locality")
        p.expect("<")
        locality = p.integer()
        p.expect(">")
        p.expect(",")
        data = p.keyword() == "data"
        attributes = p.attribute_dict()
        p.expect(":")
        type = p.type()
        made = cls.make(
            p.resolve(name, type), p.resolve_all(indices, [INDEX] * len(indices)), write, locality, data
        )
        made.attributes.update(attributes)
        return made

    def print(self, printer: Any) -> None:
        cache = "data" if self.is_data_cache.value else "instr"
        access = "write" if self.is_write.value else "read"
        printer.write(f" {printer.name(self.memref)}[{printer.names(self.indices)}], {access}")
        printer.write(f", locality<{self.locality.value}>, {cache}")
        printer.attribute_dict(self.attributes, ("isWrite", "localityHint", "isDataCache"))
        printer.write(f" : {printer.text(self.memref.type)}")

    def verify_op(self) -> None:
        if len(self.indices) != self.memref.type.rank:
            raise VerifyError(self, f"{len(self.indices)} indices into {self.memref.type}")
        if not 0 <= self.locality.value <= 3:
            raise VerifyError(self, f"locality {self.locality.value} is not in 0..3")


class Copy(Op, name="memref.copy"):
    """Copies all elements; source and target of one shape must not overlap partly."""

    source = operand(ANY_MEMREF)
    target = operand(ANY_MEMREF)
    assembly_format = "$source `,` $target attr-dict `:` type($source) `to` type($target)"

    @classmethod
    def make(cls, source: Value, target: Value) -> Self:
        return cls([source, target])

    def verify_op(self) -> None:
        a, b = self.source.type, self.target.type
        if a.element_type is not b.element_type:
            raise VerifyError(self, f"element types of {a} and {b} differ")
        if (
            isinstance(a, MemRefType)
            and isinstance(b, MemRefType)
            and not compatible_shapes(a.shape, b.shape)
        ):
            raise VerifyError(self, f"shapes of {a} and {b} differ")


class Dim(RuleOp, name="memref.dim", traits=(PURE,)):
    """The size of dimension ``index``."""

    source = operand(ANY_MEMREF)
    index = operand(INDEX)
    result = result(INDEX)
    assembly_format = "attr-dict $source `,` $index `:` type($source)"

    @classmethod
    def make(cls, source: Value, index_value: Value) -> Self:
        return cls([source, index_value], [index])

    @property
    def constant_index(self) -> int | None:
        return known_integer(self.index)

    def verify_op(self) -> None:
        type = self.source.type
        axis = self.constant_index
        if isinstance(type, MemRefType):
            if type.rank == 0:
                raise VerifyError(self, "a rank-0 memref has no dims")
            if axis is not None and axis < 0:
                raise VerifyError(self, f"dim index {axis} is negative")


class Rank(RuleOp, name="memref.rank", traits=(PURE,)):
    memref = operand(ANY_MEMREF)
    result = result(INDEX)
    assembly_format = "$memref attr-dict `:` type($memref)"

    @classmethod
    def make(cls, memref: Value) -> Self:
        return cls([memref], [index])


class Global(Op, name="memref.global", traits=(SYMBOL,)):
    """A named buffer of static shape; ``initial_value`` absent: defined elsewhere, unit: uninitialized."""

    sym_name = attribute(StringAttr)
    sym_visibility = optional_attribute(StringAttr)
    type = attribute(TypeAttr)
    initial_value = optional_attribute(Attribute)
    constant = optional_attribute(UnitAttr)
    alignment = optional_attribute(IntegerAttr)

    @classmethod
    def make(
        cls,
        name: str,
        type: MemRefType,
        initial_value: Attribute | None = None,
        constant: bool = False,
        visibility: str | None = "private",
    ) -> Self:
        attributes: dict[str, Attribute] = {"sym_name": StringAttr(name), "type": TypeAttr(type)}
        if visibility is not None:
            attributes["sym_visibility"] = StringAttr(visibility)
        if initial_value is not None:
            attributes["initial_value"] = initial_value
        if constant:
            attributes["constant"] = UNIT
        return cls((), (), attributes)

    @property
    def memref_type(self) -> MemRefType:
        type = self.type.value
        assert isinstance(type, MemRefType)
        return type

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes: dict[str, Attribute] = {}
        if p.kind == "string":
            attributes["sym_visibility"] = StringAttr(p.string())
        if p.accept("constant"):
            attributes["constant"] = UNIT
        attributes["sym_name"] = StringAttr(p.symbol_name())
        p.expect(":")
        type = p.type()
        attributes["type"] = TypeAttr(type)
        if p.accept("="):
            if p.accept("uninitialized"):
                attributes["initial_value"] = UNIT
            else:
                attributes["initial_value"] = p.attribute(TensorType(type.shape, type.element_type))
        attributes.update(p.attribute_dict())
        return cls((), (), attributes)

    def print(self, printer: Any) -> None:
        if self.sym_visibility is not None:
            printer.write(f" {printer.text(self.sym_visibility)}")
        if self.constant is not None:
            printer.write(" constant")
        printer.write(f" {printer.symbol(self.sym_name.value)} : {printer.text(self.memref_type)}")
        value = self.initial_value
        if isinstance(value, UnitAttr):
            printer.write(" = uninitialized")
        elif value is not None:
            # The elements' type follows from the memref's.
            printer.write(" = " + printer.text(value).rpartition(" : ")[0])
        printer.attribute_dict(
            self.attributes, ("sym_name", "sym_visibility", "type", "initial_value", "constant")
        )

    def verify_op(self) -> None:
        type = self.type.value
        if not isinstance(type, MemRefType) or not type.is_static:
            raise VerifyError(self, f"the type must be a memref of static shape, got {type}")
        value: Any = self.initial_value
        if value is None or isinstance(value, UnitAttr):
            return
        held = getattr(value, "type", None)
        if not isinstance(held, TensorType) or (held.shape, held.element_type) != (
            type.shape,
            type.element_type,
        ):
            raise VerifyError(self, f"the initial value has type {held}, the global {type}")


class GetGlobal(Op, name="memref.get_global", traits=(PURE,)):
    """The buffer of a ``memref.global``."""

    symbol = attribute(SymbolRefAttr, key="name")
    result = result(MemRefType)
    assembly_format = "$symbol `:` type($result) attr-dict"

    @classmethod
    def make(cls, name: str, type: MemRefType) -> Self:
        return cls((), [type], {"name": SymbolRefAttr(name)})


# -- building helpers -------------------------------------------------------------------------


def dim(builder: Builder, source: Value, axis: int) -> Mixed:
    """The size along ``axis``: an integer when static, else the value of a ``memref.dim``."""
    size: int = source.type.shape[axis]
    if size != DYNAMIC:
        return size
    from iree_core_ir.dialects import arith

    position = builder.create(arith.Constant, IntegerAttr(axis, index))
    return builder.create(Dim, source, position.result).result


DIALECT = Dialect(
    "memref",
    ops=[
        Alloc,
        Alloca,
        AssumeAlignment,
        Cast,
        CollapseShape,
        Copy,
        Dealloc,
        Dim,
        ExpandShape,
        ExtractStridedMetadata,
        GetGlobal,
        Global,
        Load,
        MemorySpaceCast,
        Prefetch,
        Rank,
        ReinterpretCast,
        Reshape,
        Store,
        SubView,
        Transpose,
        View,
    ],
)
