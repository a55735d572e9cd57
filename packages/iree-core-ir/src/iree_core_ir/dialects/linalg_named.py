"""Named structured ops: loops written as subscripts, body chosen by the class.

``class MatMul(..., loops="m n k", subscripts="m k, k n -> m n")`` declares the loop order and, per operand,
the loop that indexes each dim; loops missing from the output reduce. ``oh@kh`` stands for
``oh * stride + kh * dilation``, with the op's strides and dilations taken in order of appearance. An
elementwise op has no subscripts: all maps are the identity of the output's rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, ClassVar, Self

from iree_core_ir.dialects import linalg_scalars as scalars
from iree_core_ir.dialects.linalg_attributes import (
    BinaryFnAttr,
    ElementwiseKindAttr,
    TypeFnAttr,
    UnaryFnAttr,
)
from iree_core_ir.dialects.linalg_structured import (
    PARALLEL,
    REDUCTION,
    StructuredOp,
    maps_of,
    output_types,
)
from iree_core_ir.ir.affine import AffineDim, AffineExpr, AffineMap
from iree_core_ir.ir.attributes import ArrayAttr, Attribute, DenseElementsAttr
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.declaration import (
    attribute,
    optional_attribute,
    segment_sizes,
    variadic_operand,
    variadic_region,
    variadic_result,
)
from iree_core_ir.ir.operation import Block, Op, Region, Value
from iree_core_ir.ir.traits import RETURN_LIKE, TERMINATOR
from iree_core_ir.ir.types import MemRefType, TensorType, element_of

INS_OUTS = (
    "(`ins` `(` $inputs^ `:` type($inputs) `)`)? `outs` `(` $outputs `:` type($outputs) `)`"
    " (`->` type($result_tensors)^)? `` custom<ImpliedBody>($implied)"
)


class Yield(Op, name="linalg.yield", traits=(TERMINATOR, RETURN_LIKE)):
    """Ends a body: one scalar an output."""

    values = variadic_operand()
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    @classmethod
    def make(cls, values: Sequence[Value]) -> Self:
        return cls(values)


@cache
def subscript_maps(
    loops: str, subscripts: str, strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[AffineMap, ...]:
    """The maps that ``subscripts`` spell, inputs first."""
    names = loops.split()
    dims = {name: AffineDim(i) for i, name in enumerate(names)}
    maps = []
    for operand in subscripts.replace("->", ",").split(","):
        results: list[AffineExpr] = []
        window = 0
        for term in operand.split():
            out, at, kernel = term.partition("@")
            if not at:
                results.append(dims[term])
                continue
            results.append(dims[out] * strides[window] + dims[kernel] * dilations[window])
            window += 1
        maps.append(AffineMap(len(names), 0, results))
    return tuple(maps)


class NamedOp(StructuredOp):
    """An op whose maps, iterators and body follow from its name, its types and few attributes."""

    __slots__ = ("_body",)
    _body: tuple[Any, Block]
    """The body built last, with the element types it was built for."""

    inputs = variadic_operand()
    outputs = variadic_operand((TensorType, MemRefType))
    result_tensors = variadic_result(TensorType)
    implied = variadic_region()
    """MLIR's generic form repeats the implied body here; accepted, not looked at, never in pretty form."""
    assembly_format = f"attr-dict {INS_OUTS}"

    n_declared_inputs: ClassVar[int] = 1

    @staticmethod
    def parse_ImpliedBody(p: Any) -> tuple[list[Region]]:
        return ([],)

    @staticmethod
    def print_ImpliedBody(printer: Any, op: Op, implied: Sequence[Region]) -> None:
        pass

    @classmethod
    def make(
        cls, inputs: Sequence[Value], outputs: Sequence[Value], attributes: dict[str, Attribute] | None = None
    ) -> Self:
        """Results follow from tensor outputs."""
        attributes = dict(attributes or {})
        attributes["operandSegmentSizes"] = segment_sizes(inputs, outputs)
        return cls([*inputs, *outputs], output_types(outputs), attributes)

    @property
    def body(self) -> Block:
        types = tuple(element_of(v.type) for v in self.operands)
        cached: Any = getattr(self, "_body", None)
        if cached is None or cached[0] != types:
            block = Block(types)
            builder = Builder.at_end(block, self.location)
            builder.create(Yield, [self.build_body(builder, *block.args)])
            self._body = cached = (types, block)
        block = cached[1]
        assert isinstance(block, Block)
        return block

    def build_body(self, builder: Builder, *scalars: Value) -> Value:
        """The yielded value from one scalar an operand."""
        raise NotImplementedError(type(self).__name__)


# -- elementwise --------------------------------------------------------------------------------


class ElementwiseOp(NamedOp):
    """One output; every operand has its rank, or is a scalar. Subclasses give ``function``."""

    function: ClassVar[scalars.Scalar]

    def __init_subclass__(
        cls, function: scalars.Scalar | None = None, n_inputs: int = 1, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if function is not None:
            cls.function = staticmethod(function)
            cls.n_declared_inputs = n_inputs

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        rank = self.outputs[0].type.rank
        identity, scalar = AffineMap.identity(rank), AffineMap(rank)
        return tuple(
            identity if isinstance(v.type, (TensorType, MemRefType)) else scalar for v in self.operands
        )

    @property
    def iterator_types(self) -> tuple[str, ...]:
        rank: int = self.outputs[0].type.rank
        return (PARALLEL,) * rank

    def build_body(self, builder: Builder, *values: Value) -> Value:
        return type(self).function(builder, *values[:-1])


class Exp(ElementwiseOp, name="linalg.exp", function=scalars.exp):
    """e^x."""


class Log(ElementwiseOp, name="linalg.log", function=scalars.log):
    """Natural logarithm."""


class Abs(ElementwiseOp, name="linalg.abs", function=scalars.absf):
    """|x|."""


class Ceil(ElementwiseOp, name="linalg.ceil", function=scalars.ceil):
    """Rounded up."""


class Floor(ElementwiseOp, name="linalg.floor", function=scalars.floor):
    """Rounded down."""


class NegF(ElementwiseOp, name="linalg.negf", function=scalars.negf):
    """-x."""


class Reciprocal(ElementwiseOp, name="linalg.reciprocal", function=scalars.reciprocal):
    """1 / x."""


class Round(ElementwiseOp, name="linalg.round", function=scalars.round):
    """Rounded to nearest, halves away from zero."""


class Sqrt(ElementwiseOp, name="linalg.sqrt", function=scalars.sqrt):
    """Square root."""


class Rsqrt(ElementwiseOp, name="linalg.rsqrt", function=scalars.rsqrt):
    """1 / square root."""


class Square(ElementwiseOp, name="linalg.square", function=scalars.square):
    """x * x."""


class Tanh(ElementwiseOp, name="linalg.tanh", function=scalars.tanh):
    """Hyperbolic tangent."""


class Erf(ElementwiseOp, name="linalg.erf", function=scalars.erf):
    """Error function."""


class Add(ElementwiseOp, name="linalg.add", function=scalars.add, n_inputs=2):
    """a + b."""


class Sub(ElementwiseOp, name="linalg.sub", function=scalars.sub, n_inputs=2):
    """a - b."""


class Mul(ElementwiseOp, name="linalg.mul", function=scalars.mul, n_inputs=2):
    """a * b."""


class Div(ElementwiseOp, name="linalg.div", function=scalars.div, n_inputs=2):
    """a / b, signed for integers."""


class DivUnsigned(ElementwiseOp, name="linalg.div_unsigned", function=scalars.div_unsigned, n_inputs=2):
    """a / b of unsigned integers."""


class Max(ElementwiseOp, name="linalg.max", function=scalars.max_signed, n_inputs=2):
    """Greater of a and b, signed for integers; NaN when either is."""


class Min(ElementwiseOp, name="linalg.min", function=scalars.min_signed, n_inputs=2):
    """Lesser of a and b, signed for integers; NaN when either is."""


class PowF(ElementwiseOp, name="linalg.powf", function=scalars.powf, n_inputs=2):
    """a to the power b."""


class Select(ElementwiseOp, name="linalg.select", function=scalars.select, n_inputs=3):
    """``condition ? a : b``."""


class Copy(ElementwiseOp, name="linalg.copy"):
    """The input's elements, converted to the output's type."""

    cast = optional_attribute(TypeFnAttr)

    def build_body(self, builder: Builder, *values: Value) -> Value:
        return scalars.cast(builder, values[0], values[1].type, _is_unsigned(self.cast))


class Fill(ElementwiseOp, name="linalg.fill"):
    """One scalar everywhere, converted to the output's type."""

    @classmethod
    def of(cls, value: Value, output: Value) -> Self:
        return cls.make([value], [output])

    def build_body(self, builder: Builder, *values: Value) -> Value:
        return scalars.cast(builder, values[0], values[1].type)


class ElemwiseUnary(ElementwiseOp, name="linalg.elemwise_unary"):
    """The unary function ``fun`` (default exp) of the input converted to the output's type."""

    fun = optional_attribute(UnaryFnAttr)
    cast = optional_attribute(TypeFnAttr)

    def build_body(self, builder: Builder, *values: Value) -> Value:
        name = "exp" if self.fun is None else self.fun.value
        value = scalars.cast(builder, values[0], values[-1].type, _is_unsigned(self.cast))
        return getattr(scalars, {"abs": "absf"}.get(name, name))(builder, value)  # type: ignore[no-any-return]


class ElemwiseBinary(ElementwiseOp, name="linalg.elemwise_binary"):
    """The binary function ``fun`` (default add) of the inputs converted to the output's type."""

    n_declared_inputs = 2
    fun = optional_attribute(BinaryFnAttr)
    cast = optional_attribute(TypeFnAttr)

    def build_body(self, builder: Builder, *values: Value) -> Value:
        name = "add" if self.fun is None else self.fun.value
        unsigned = _is_unsigned(self.cast)
        a, b = (scalars.cast(builder, v, values[-1].type, unsigned) for v in values[:2])
        return getattr(scalars, name)(builder, a, b)  # type: ignore[no-any-return]


class Elementwise(ElementwiseOp, name="linalg.elementwise"):
    """The function ``kind`` of the inputs, read through ``indexing_maps`` (default: identities)."""

    kind = attribute(ElementwiseKindAttr)
    maps = optional_attribute(ArrayAttr, key="indexing_maps")
    assembly_format = f"`kind` `` `=` `` qualified($kind) (`indexing_maps` `=` $maps^)? attr-dict {INS_OUTS}"

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        if self.maps is None:
            return super().indexing_maps
        return maps_of(self.maps)

    def build_body(self, builder: Builder, *values: Value) -> Value:
        name = self.kind.value
        return getattr(scalars, {"abs": "absf"}.get(name, name))(builder, *values[:-1])  # type: ignore[no-any-return]


def _is_unsigned(cast: TypeFnAttr | None) -> bool:
    return cast is not None and cast.value == "cast_unsigned"


# -- contractions and windows ---------------------------------------------------------------------


class SubscriptOp(NamedOp):
    """An op given by loops and subscripts; see the module docstring."""

    loops: ClassVar[str]
    subscripts: ClassVar[str]
    n_windows: ClassVar[int] = 0

    def __init_subclass__(
        cls, loops: str | None = None, subscripts: str | None = None, **kwargs: Any
    ) -> None:
        super().__init_subclass__(**kwargs)
        if loops is not None and subscripts is not None:
            cls.loops, cls.subscripts = loops, subscripts
            cls.n_declared_inputs = subscripts.count(",") + 1
            cls.n_windows = max(part.count("@") for part in subscripts.split(","))

    @property
    def strides(self) -> tuple[int, ...]:
        """Per window dim the step of the input for one step of the output."""
        return (1,) * self.n_windows

    @property
    def dilations(self) -> tuple[int, ...]:
        """Per window dim the step of the input for one step of the kernel."""
        return (1,) * self.n_windows

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        return subscript_maps(self.loops, self.subscripts, self.strides, self.dilations)

    @property
    def iterator_types(self) -> tuple[str, ...]:
        return _iterators(self.loops, self.subscripts)


@cache
def _iterators(loops: str, subscripts: str) -> tuple[str, ...]:
    kept = subscripts.partition("->")[2].split()
    return tuple(PARALLEL if loop in kept else REDUCTION for loop in loops.split())


class Contraction(SubscriptOp):
    """out += cast(a) * cast(b), in the output's type; ``cast`` says how integers are read."""

    cast = optional_attribute(TypeFnAttr)

    def build_body(self, builder: Builder, *values: Value) -> Value:
        a, b, out = values
        unsigned = _is_unsigned(self.cast)
        product = scalars.mul(
            builder,
            scalars.cast(builder, a, out.type, unsigned),
            scalars.cast(builder, b, out.type, unsigned),
        )
        return scalars.add(builder, out, product)


class MappedContraction(Contraction):
    """A contraction whose ``indexing_maps`` may differ from the default (broadcast or transposed inputs)."""

    maps = optional_attribute(ArrayAttr, key="indexing_maps")
    assembly_format = f"(`indexing_maps` `=` $maps^)? attr-dict {INS_OUTS}"

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        if self.maps is None:
            return super().indexing_maps
        return maps_of(self.maps)


class Contract(Contraction, name="linalg.contract"):
    """A contraction of any rank; ``indexing_maps`` says how: loops that the output lacks reduce."""

    maps = attribute(ArrayAttr, key="indexing_maps")
    assembly_format = f"`indexing_maps` `=` $maps attr-dict {INS_OUTS}"

    @property
    def indexing_maps(self) -> tuple[AffineMap, ...]:
        return maps_of(self.maps)

    @property
    def iterator_types(self) -> tuple[str, ...]:
        maps = self.indexing_maps
        kept = set(maps[-1].dim_positions())
        return tuple(PARALLEL if d in kept else REDUCTION for d in range(maps[-1].n_dims))


class MatMul(MappedContraction, name="linalg.matmul", loops="m n k", subscripts="m k, k n -> m n"):
    """C[m, n] += A[m, k] * B[k, n]."""


class BatchMatMul(
    MappedContraction, name="linalg.batch_matmul", loops="b m n k", subscripts="b m k, b k n -> b m n"
):
    """C[b, m, n] += A[b, m, k] * B[b, k, n]."""


class BatchReduceMatMul(
    MappedContraction, name="linalg.batch_reduce_matmul", loops="b m n k", subscripts="b m k, b k n -> m n"
):
    """C[m, n] += A[b, m, k] * B[b, k, n]."""


class MatMulTransposeA(
    Contraction, name="linalg.matmul_transpose_a", loops="m n k", subscripts="k m, k n -> m n"
):
    """C[m, n] += A[k, m] * B[k, n]."""


class MatMulTransposeB(
    Contraction, name="linalg.matmul_transpose_b", loops="m n k", subscripts="m k, n k -> m n"
):
    """C[m, n] += A[m, k] * B[n, k]."""


class BatchMatMulTransposeA(
    Contraction, name="linalg.batch_matmul_transpose_a", loops="b m n k", subscripts="b k m, b k n -> b m n"
):
    """C[b, m, n] += A[b, k, m] * B[b, k, n]."""


class BatchMatMulTransposeB(
    Contraction, name="linalg.batch_matmul_transpose_b", loops="b m n k", subscripts="b m k, b n k -> b m n"
):
    """C[b, m, n] += A[b, m, k] * B[b, n, k]."""


class MatVec(Contraction, name="linalg.matvec", loops="m k", subscripts="m k, k -> m"):
    """y[m] += A[m, k] * x[k]."""


class VecMat(Contraction, name="linalg.vecmat", loops="n k", subscripts="k, k n -> n"):
    """y[n] += x[k] * A[k, n]."""


class BatchMatVec(Contraction, name="linalg.batch_matvec", loops="b m k", subscripts="b m k, b k -> b m"):
    """y[b, m] += A[b, m, k] * x[b, k]."""


class BatchVecMat(Contraction, name="linalg.batch_vecmat", loops="b n k", subscripts="b k, b k n -> b n"):
    """y[b, n] += x[b, k] * A[b, k, n]."""


class Dot(Contraction, name="linalg.dot", loops="k", subscripts="k, k ->"):
    """c += x[k] * y[k]."""


class MMT4D(
    Contraction, name="linalg.mmt4d", loops="m n k m0 n0 k0", subscripts="m k m0 k0, n k n0 k0 -> m n m0 n0"
):
    """Tiled operands, the right one transposed: C[m, n, m0, n0] += A[m, k, m0, k0] * B[n, k, n0, k0]."""


class BatchMMT4D(
    Contraction,
    name="linalg.batch_mmt4d",
    loops="b m n k m0 n0 k0",
    subscripts="b m k m0 k0, b n k n0 k0 -> b m n m0 n0",
):
    """``mmt4d`` for each b."""


class QuantizedContraction(SubscriptOp):
    """out += (cast(a) - zero_a) * (cast(b) - zero_b), zero points being i32 scalars."""

    def build_body(self, builder: Builder, *values: Value) -> Value:
        a, b, zero_a, zero_b, out = values
        centred = [
            scalars.sub(builder, scalars.cast(builder, v, out.type), scalars.cast(builder, zero, out.type))
            for v, zero in ((a, zero_a), (b, zero_b))
        ]
        return scalars.add(builder, out, scalars.mul(builder, *centred))


class QuantizedMatMul(
    QuantizedContraction, name="linalg.quantized_matmul", loops="m n k", subscripts="m k, k n, , -> m n"
):
    """C[m, n] += (A[m, k] - zero_a) * (B[k, n] - zero_b)."""


class QuantizedBatchMatMul(
    QuantizedContraction,
    name="linalg.quantized_batch_matmul",
    loops="b m n k",
    subscripts="b m k, b k n, , -> b m n",
):
    """C[b, m, n] += (A[b, m, k] - zero_a) * (B[b, k, n] - zero_b)."""


class WindowOp(SubscriptOp):
    """Has strides and dilations, one a window dim (all 1 when absent)."""

    strides_attribute = optional_attribute(DenseElementsAttr, key="strides")
    dilations_attribute = optional_attribute(DenseElementsAttr, key="dilations")

    @classmethod
    def make(  # type: ignore[override]
        cls,
        inputs: Sequence[Value],
        outputs: Sequence[Value],
        strides: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
    ) -> Self:
        attributes: dict[str, Attribute] = {}
        for key, values in (("dilations", dilations), ("strides", strides)):
            attributes[key] = window_attribute([1] * cls.n_windows if values is None else values)
        return super().make(inputs, outputs, attributes)

    @property
    def strides(self) -> tuple[int, ...]:
        return _window_values(self.strides_attribute, self.n_windows)

    @property
    def dilations(self) -> tuple[int, ...]:
        return _window_values(self.dilations_attribute, self.n_windows)


def window_attribute(values: Sequence[int]) -> DenseElementsAttr:
    """``dense<...> : tensor<nxi64>``, as strides and dilations are stored."""
    from iree_core_ir.ir.types import i64

    return DenseElementsAttr.from_array(list(values), TensorType([len(values)], i64))


@lru_cache(maxsize=1024)
def _window_values(attribute: DenseElementsAttr | None, n: int) -> tuple[int, ...]:
    return (1,) * n if attribute is None else tuple(int(v) for v in attribute.to_array())
