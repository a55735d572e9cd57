"""``linalg``: structured ops on tensors and memrefs, named and generic, as in MLIR.

All of them answer the structured-op interface (``linalg_structured``): maps, iterators, body, loop ranges.
``generic`` and ``elementwise`` build one from a Python function over scalars; ``generalize`` gives the
generic form of a named op.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from iree_core_ir.dialects import linalg_named, linalg_windows
from iree_core_ir.dialects import linalg_text as text
from iree_core_ir.dialects.linalg_attributes import (
    BinaryFnAttr,
    ElementwiseKindAttr,
    IteratorTypeAttr,
    TypeFnAttr,
    UnaryFnAttr,
)
from iree_core_ir.dialects.linalg_named import *  # noqa: F403
from iree_core_ir.dialects.linalg_named import Yield
from iree_core_ir.dialects.linalg_structured import (
    PARALLEL,
    REDUCTION,
    StructuredOp,
    maps_of,
    output_types,
)
from iree_core_ir.dialects.linalg_windows import *  # noqa: F403
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.affine import AffineMap
from iree_core_ir.ir.attributes import (
    AffineMapAttr,
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    IntegerAttr,
    StringAttr,
    Type,
)
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    region,
    result,
    segment_sizes,
    variadic_operand,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.operation import Block, Op, Region, Value, single_block_region
from iree_core_ir.ir.traits import PURE
from iree_core_ir.ir.types import MemRefType, TensorType, element_of, i64, index

SHAPED = (TensorType, MemRefType)
BodyFunction = Callable[..., Any]
"""``(builder, *scalars) -> scalar or sequence of scalars``, one scalar an operand (outputs last)."""


class Index(Op, name="linalg.index", traits=(PURE,)):
    """The index of loop ``dim`` in the enclosing structured op."""

    dim = attribute(IntegerAttr, type=i64)
    result = result(index)
    assembly_format = "$dim attr-dict `:` type($result)"

    @classmethod
    def make(cls, dim: int) -> Self:
        return cls((), [index], {"dim": IntegerAttr(dim, i64)})

    def verify_op(self) -> None:
        parent = self.parent_op
        if parent is None or not isinstance(parent, StructuredOp):
            # Inside a region of a body op (scf.if): the nearest structured op counts.
            parent = self.ancestor(StructuredOp)
        if parent is None:
            # A body built on demand has no parent op; its maker is trusted.
            if self.parent is not None and self.parent.parent is not None:
                raise VerifyError(self, "must stand inside a structured op")
            return
        if not 0 <= self.dim.value < parent.n_loops:
            raise VerifyError(self, f"loop {self.dim.value} of an op with {parent.n_loops} loops")


# Attributes are interned, so what follows from one is worked out once.
@functools.lru_cache(maxsize=1 << 10)
def _kinds_of(iterators: ArrayAttr) -> tuple[str, ...]:
    return tuple(i.value for i in iterators if isinstance(i, (IteratorTypeAttr, StringAttr)))


@functools.lru_cache(maxsize=1 << 12)
def _maps_attribute(maps: tuple[AffineMap, ...]) -> ArrayAttr:
    return ArrayAttr([AffineMapAttr(m) for m in maps])


@functools.lru_cache(maxsize=1 << 10)
def _kinds_attribute(iterators: tuple[str, ...]) -> ArrayAttr:
    return ArrayAttr([IteratorTypeAttr(i) for i in iterators])


class Generic(StructuredOp, name="linalg.generic"):
    """The general structured op: maps, iterators and body given."""

    inputs = variadic_operand()
    outputs = variadic_operand(SHAPED)
    maps = attribute(ArrayAttr, key="indexing_maps")
    iterators = attribute(ArrayAttr, key="iterator_types")
    doc = optional_attribute(StringAttr)
    library_call = optional_attribute(StringAttr)
    region = region()
    result_tensors = variadic_result(TensorType)

    @classmethod
    def make(
        cls,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        maps: Sequence[AffineMap],
        iterators: Sequence[str],
        body: BodyFunction | Region,
    ) -> Self:
        """``body`` is a function ``(builder, *scalars)`` or a finished region."""
        if not isinstance(body, Region):
            body = build_body([element_of(v.type) for v in (*inputs, *outputs)], body)
        attributes: dict[str, Attribute] = {
            "indexing_maps": _maps_attribute(tuple(maps)),
            "iterator_types": _kinds_attribute(tuple(iterators)),
            "operandSegmentSizes": segment_sizes(inputs, outputs),
        }
        return cls([*inputs, *outputs], output_types(outputs), attributes, [body])

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes = text.parse_trait(p)
        inputs, outputs = text.parse_group(p, "ins"), text.parse_group(p, "outs")
        if p.accept("attrs"):
            p.expect("=")
            attributes.update(p.attribute_dict())
        body = p.region()
        types = text.parse_results(p)
        attributes["operandSegmentSizes"] = segment_sizes(inputs, outputs)
        return cls([*inputs, *outputs], types, attributes, [body])

    def print(self, printer: Any) -> None:
        trait = ("doc", "indexing_maps", "iterator_types", "library_call")
        printer.write(f" {text.trait_text(printer, self, trait)}")
        text.print_groups(printer, self.inputs, self.outputs)
        elided = (*trait, "operandSegmentSizes")
        if any(key not in elided for key in self.attributes):
            printer.write(" attrs =")
            printer.attribute_dict(self.attributes, elided)
        printer.write(" ")
        printer.region(self.regions[0])
        text.print_results(printer, self)

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        return maps_of(self.maps)

    @property
    def iterator_types(self) -> tuple[str, ...]:
        return _kinds_of(self.iterators)

    @property
    def body(self) -> Block:
        return self.regions[0].block


class Map(StructuredOp, name="linalg.map"):
    """The body applied elementwise; its arguments are the inputs' elements and, optionally, the output's."""

    inputs = variadic_operand()
    init = operand(SHAPED)
    mapper = region()
    result_tensors = variadic_result(TensorType)

    @classmethod
    def make(cls, inputs: Sequence[Value], output: Value, body: BodyFunction | Region) -> Self:
        if not isinstance(body, Region):
            body = build_body([element_of(v.type) for v in (*inputs, output)], body)
        return cls([*inputs, output], output_types([output]), {}, [body])

    @classmethod
    def parse(cls, p: Any) -> Self:
        given = text.parse_payload(p)
        inputs, outputs = text.parse_group(p, "ins"), text.parse_group(p, "outs")
        attributes = p.attribute_dict()
        values = [*inputs, *outputs]
        if given is None:
            body = p.region(text.parse_arguments(p))
        else:
            body = text.payload_region(given, values, range(len(inputs)), len(values), Yield)
        return cls(values, text.tensor_types(outputs), attributes, [body])

    def print(self, printer: Any) -> None:
        op = text.payload(self.body, self.body.args[: len(self.operands) - 1])
        if op is not None:
            text.print_payload(printer, op)
        text.print_groups(printer, self.inputs, self.outputs)
        printer.attribute_dict(self.attributes)
        if op is None:
            text.print_region_with_arguments(printer, self.regions[0])

    @property
    def outputs(self) -> tuple[Value, ...]:
        return (self.init,)

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        return (AffineMap.identity(self.init.type.rank),) * len(self.operands)

    @property
    def iterator_types(self) -> tuple[str, ...]:
        rank: int = self.init.type.rank
        return (PARALLEL,) * rank

    @property
    def body(self) -> Block:
        return self.regions[0].block

    def body_arguments(self) -> list[int]:
        n = len(self.body.args)
        return list(range(n if n == len(self.operands) - 1 else len(self.operands)))


class Reduce(StructuredOp, name="linalg.reduce"):
    """Combines the inputs along ``dimensions`` into the outputs; body arguments: inputs, then outputs."""

    values = variadic_operand(SHAPED)
    """Inputs, then as many outputs."""
    dimensions = attribute(DenseArrayAttr, type=i64)
    combiner = region()
    result_tensors = variadic_result(TensorType)

    @classmethod
    def make(
        cls,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        dimensions: Sequence[int],
        body: BodyFunction | Region,
    ) -> Self:
        if not isinstance(body, Region):
            body = build_body([element_of(v.type) for v in (*inputs, *outputs)], body)
        attributes: dict[str, Attribute] = {"dimensions": DenseArrayAttr(i64, dimensions)}
        return cls([*inputs, *outputs], output_types(outputs), attributes, [body])

    @classmethod
    def parse(cls, p: Any) -> Self:
        given = text.parse_payload(p)
        inputs, outputs = text.parse_group(p, "ins"), text.parse_group(p, "outs")
        p.expect("dimensions")
        p.expect("=")
        attributes: dict[str, Attribute] = {
            "dimensions": DenseArrayAttr(i64, p.comma_list(p.integer, "[", "]"))
        }
        attributes.update(p.attribute_dict())
        values = [*inputs, *outputs]
        if given is None:
            body = p.region(text.parse_arguments(p))
        else:
            # The payload combines the accumulators with the inputs, in this order.
            n = len(inputs)
            order = [*range(n, len(values)), *range(n)]
            body = text.payload_region(given, values, order, len(values), Yield)
        return cls(values, text.tensor_types(outputs), attributes, [body])

    def print(self, printer: Any) -> None:
        arguments = self.body.args
        n = len(arguments) // 2
        op = text.payload(self.body, [*arguments[n:], *arguments[:n]])
        if op is not None:
            text.print_payload(printer, op)
        text.print_groups(printer, self.inputs, self.outputs)
        printer.write(f" dimensions = [{printer.array_items(self.dimensions)}]")
        printer.attribute_dict(self.attributes, ("dimensions",))
        if op is None:
            text.print_region_with_arguments(printer, self.regions[0])

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.operands[: len(self.operands) // 2]

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.operands[len(self.operands) // 2 :]

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        rank = self.operands[0].type.rank
        kept = [i for i in range(rank) if i not in self.dimensions.values]
        n = len(self.operands) // 2
        return (AffineMap.identity(rank),) * n + (AffineMap.select(rank, kept),) * n

    @property
    def iterator_types(self) -> tuple[str, ...]:
        reduced = self.dimensions.values
        return tuple(REDUCTION if i in reduced else PARALLEL for i in range(self.operands[0].type.rank))

    @property
    def body(self) -> Block:
        return self.regions[0].block

    def verify_op(self) -> None:
        if not self.operands or len(self.operands) % 2:
            raise VerifyError(self, "needs as many outputs as inputs, and at least one")
        dims, rank = self.dimensions.values, self.operands[0].type.rank
        if any(not 0 <= d < rank for d in dims) or list(dims) != sorted(set(dims)):
            raise VerifyError(self, f"dimensions {list(dims)} must increase and lie below {rank}")
        for value in self.outputs:
            if value.type.rank != rank - len(dims):
                raise VerifyError(self, f"an output needs rank {rank - len(dims)}, got {value.type}")
        super().verify_op()


class _DataMovement(StructuredOp):
    """One input to one output, elements unchanged."""

    __slots__ = ("_body",)
    _body: tuple[Any, Block]

    input = operand(SHAPED)
    init = operand(SHAPED)
    result_tensors = variadic_result(TensorType)

    @property
    def inputs(self) -> tuple[Value, ...]:
        return (self.operands[0],)

    @property
    def outputs(self) -> tuple[Value, ...]:
        return (self.operands[1],)

    @property
    def iterator_types(self) -> tuple[str, ...]:
        rank: int = self.init.type.rank
        return (PARALLEL,) * rank

    @property
    def body(self) -> Block:
        types = tuple(element_of(v.type) for v in self.operands)
        cached: Any = getattr(self, "_body", None)
        if cached is None or cached[0] != types:
            block = Block(types)
            block.append(Yield.make([block.args[0]]))
            self._body = cached = (types, block)
        block = cached[1]
        assert isinstance(block, Block)
        return block

    @classmethod
    def infer_types(cls, types: dict[str, list[Any]], attributes: dict[str, Attribute]) -> None:
        types["result_tensors"] = [t for t in types["init"] if isinstance(t, TensorType)]


@functools.lru_cache(maxsize=1 << 10)
def _transposed(permutation: tuple[int, ...]) -> tuple[AffineMap, ...]:
    rank = len(permutation)
    return AffineMap.select(rank, permutation).inverse_permutation(), AffineMap.identity(rank)


@functools.lru_cache(maxsize=1 << 10)
def _broadcast(added: tuple[int, ...], rank: int) -> tuple[AffineMap, ...]:
    return AffineMap.select(rank, [i for i in range(rank) if i not in added]), AffineMap.identity(rank)


class Transpose(_DataMovement, name="linalg.transpose"):
    """Output dim ``i`` is input dim ``permutation[i]``."""

    permutation = attribute(DenseArrayAttr, type=i64)
    assembly_format = (
        "`ins` `(` $input `:` type($input) `)` `outs` `(` $init `:` type($init) `)`"
        " `permutation` `=` $permutation attr-dict"
    )

    @classmethod
    def make(cls, input: Value, output: Value, permutation: Sequence[int]) -> Self:
        return cls([input, output], output_types([output]), {"permutation": DenseArrayAttr(i64, permutation)})

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        return _transposed(self.permutation.values)

    def verify_op(self) -> None:
        rank = self.input.type.rank
        if sorted(self.permutation.values) != list(range(rank)) or self.init.type.rank != rank:
            raise VerifyError(self, f"{list(self.permutation.values)} is no permutation of {rank} dims")
        super().verify_op()


class Broadcast(_DataMovement, name="linalg.broadcast"):
    """The input repeated along ``dimensions`` of the output."""

    dimensions = attribute(DenseArrayAttr, type=i64)
    assembly_format = (
        "`ins` `(` $input `:` type($input) `)` `outs` `(` $init `:` type($init) `)`"
        " `dimensions` `=` $dimensions attr-dict"
    )

    @classmethod
    def make(cls, input: Value, output: Value, dimensions: Sequence[int]) -> Self:
        return cls([input, output], output_types([output]), {"dimensions": DenseArrayAttr(i64, dimensions)})

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        return _broadcast(self.dimensions.values, self.init.type.rank)

    def verify_op(self) -> None:
        dims, rank = self.dimensions.values, self.init.type.rank
        if any(not 0 <= d < rank for d in dims) or len(set(dims)) != len(dims):
            raise VerifyError(self, f"dimensions {list(dims)} must differ and lie below {rank}")
        if self.input.type.rank + len(dims) != rank:
            raise VerifyError(
                self, f"{self.input.type} and {len(dims)} dimensions do not make {self.init.type}"
            )
        super().verify_op()


# -- building helpers -------------------------------------------------------------------------


def build_body(types: Iterable[Type], body: BodyFunction) -> Region:
    """A region with one block whose arguments have ``types``, filled by ``body`` and ended by a yield."""
    new = single_block_region(types)
    builder = Builder.at_end(new.block)
    values = body(builder, *new.block.args)
    builder.create(Yield, [values] if isinstance(values, Value) else values)
    return new


def generic(
    builder: Builder,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    maps: Sequence[AffineMap],
    iterators: Sequence[str],
    body: BodyFunction,
) -> Generic:
    """Build a ``linalg.generic``; ops made by ``body(builder, *scalars)`` get the builder's location."""
    region = single_block_region([element_of(v.type) for v in (*inputs, *outputs)])
    inner = Builder.at_end(region.block, builder.location)
    values = body(inner, *region.block.args)
    inner.create(Yield, [values] if isinstance(values, Value) else values)
    return builder.create(Generic, inputs, outputs, maps, iterators, region)


def elementwise(
    builder: Builder,
    inputs: Sequence[Value],
    body: Callable[..., Value],
    *,
    output: Value | None = None,
    element_type: Type | None = None,
    broadcast: bool = False,
) -> Value:
    """A parallel generic of ``body(builder, *input scalars)`` over inputs of one shape (scalars allowed).

    Writes to ``output``, or to a new ``tensor.empty`` shaped like the first shaped input with
    ``element_type`` (default: that input's). With ``broadcast`` inputs are aligned at the last dim as in
    numpy: static dims of size 1 repeat and missing leading dims too; give ``output`` then unless one input
    has the full shape.
    """
    from iree_core_ir.dialects import tensor

    if output is None:
        shaped = [v for v in inputs if isinstance(v.type, TensorType)]
        rank = max(v.type.rank for v in shaped)
        model = next(v for v in shaped if v.type.rank == rank)
        output = tensor.empty_like(builder, model, element_type)
    rank = output.type.rank
    maps = [
        _aligned_map(v.type, output.type, broadcast) if isinstance(v.type, SHAPED) else AffineMap(rank)
        for v in inputs
    ]
    op = generic(
        builder,
        inputs,
        [output],
        [*maps, AffineMap.identity(rank)],
        [PARALLEL] * rank,
        lambda inner, *scalars: body(inner, *scalars[:-1]),
    )
    return op.results[0] if op.results else output


def _aligned_map(type: Any, target: Any, broadcast: bool) -> AffineMap:
    if not broadcast:
        return AffineMap.identity(target.rank)
    first = target.rank - type.rank
    dims = AffineMap.identity(target.rank).results
    return AffineMap(
        target.rank,
        0,
        [
            0 if size == 1 and target.shape[first + axis] != 1 else dims[first + axis]
            for axis, size in enumerate(type.shape)
        ],
    )


def generalize(op: StructuredOp, builder: Builder) -> Generic:
    """The ``linalg.generic`` of the same operands, maps and body; the caller replaces ``op``."""
    if isinstance(op, Generic):
        return builder.insert(op.clone())
    types = [element_of(v.type) for v in op.operands]
    new = single_block_region(types)
    mapping: dict[Any, Any] = {}
    for argument, position in zip(op.body.args, op.body_arguments(), strict=True):
        mapping[argument] = new.block.args[position]
    for inner in op.body:
        new.block.append(inner.clone(mapping))
    return builder.create(Generic, op.inputs, op.outputs, op.indexing_maps, op.iterator_types, new)


def fill(builder: Builder, value: Value, output: Value) -> Value:
    """``linalg.fill``; the filled tensor (``output`` itself when it is a memref)."""
    op = builder.create(linalg_named.Fill, [value], [output])
    return op.results[0] if op.results else output


def _concrete(module: Any) -> list[type[Op]]:
    """The op classes a module declares."""
    return [
        c
        for c in vars(module).values()
        if isinstance(c, type)
        and issubclass(c, Op)
        and c.__module__ == module.__name__
        and c.name.startswith("linalg.")
    ]


_OPS: list[type[Op]] = [
    Index,
    Generic,
    Map,
    Reduce,
    Transpose,
    Broadcast,
    *_concrete(linalg_named),
    *_concrete(linalg_windows),
]

DIALECT = Dialect(
    "linalg",
    ops=_OPS,
    attributes=[IteratorTypeAttr, TypeFnAttr, UnaryFnAttr, BinaryFnAttr, ElementwiseKindAttr],
)
