"""Generated IR: print -> parse -> print is exact in every form, and xdsl reads our generic form.

xdsl is an independent implementation of the same text; it is needed for these tests only.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iree_core_ir.dialects import arith
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir import attributes as at
from iree_core_ir.ir import types as ty
from iree_core_ir.ir.affine import AffineConstant, AffineDim, AffineMap, AffineSymbol, combine
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.location import UNKNOWN, CallSiteLoc, FileLoc, NameLoc, fuse
from iree_core_ir.ir.operation import Block, Op, Region
from iree_core_ir.ir.unregistered import UnregisteredOp
from iree_core_ir.passes.cse import structural_key
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify

NAMES = st.from_regex(r"[a-z_][a-z0-9_.$]{0,6}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
PLAIN = st.text(st.sampled_from("abcxyz_.$ 0123-"), max_size=8)
"""What xdsl reads, too: it has no escapes beyond ASCII in attribute names and symbols."""
SCALARS = st.sampled_from([ty.i1, ty.i8, ty.i32, ty.i64, ty.f32, ty.f64, ty.bf16, ty.f16, ty.index])
SHAPES = st.lists(st.sampled_from([0, 1, 2, 7, ty.DYNAMIC]), max_size=3)


@st.composite
def affine_maps(draw: Any) -> AffineMap:
    n_dims, n_symbols = draw(st.integers(0, 3)), draw(st.integers(0, 2))
    leaves = [AffineConstant(draw(st.integers(-9, 9)))]
    leaves += [AffineDim(i) for i in range(n_dims)] + [AffineSymbol(i) for i in range(n_symbols)]

    def expression(depth: int) -> Any:
        if depth == 0 or draw(st.booleans()):
            return draw(st.sampled_from(leaves))
        kind = draw(st.sampled_from(["+", "*", "floordiv", "ceildiv", "mod"]))
        rhs: Any = AffineConstant(draw(st.integers(1, 9)))
        return combine(kind, expression(depth - 1), expression(depth - 1) if kind == "+" else rhs)

    return AffineMap(n_dims, n_symbols, [expression(3) for _ in range(draw(st.integers(0, 3)))])


def types() -> st.SearchStrategy[Any]:
    shaped = st.one_of(
        st.builds(ty.TensorType, SHAPES, SCALARS),
        st.builds(ty.MemRefType, SHAPES, SCALARS),
        st.builds(ty.VectorType, st.lists(st.integers(1, 5), max_size=2), SCALARS),
        st.builds(ty.UnrankedTensorType, SCALARS),
        st.builds(ty.ComplexType, st.sampled_from([ty.f32, ty.f64])),
    )
    leaf = st.one_of(SCALARS, shaped)
    return st.one_of(
        leaf,
        st.builds(ty.FunctionType, st.lists(leaf, max_size=2), st.lists(leaf, max_size=2)),
        st.builds(lambda ts: ty.TupleType(tuple(ts)), st.lists(leaf, max_size=2)),
    )


@st.composite
def dense(draw: Any) -> at.Attribute:
    import numpy as np

    from iree_base.element_types import element_type

    element = draw(st.sampled_from([ty.i8, ty.i64, ty.f32, ty.bf16, ty.i1]))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    type = ty.TensorType(shape, element)
    dtype = element_type(str(element)).dtype
    raw = draw(
        st.binary(min_size=dtype.itemsize * type.n_elements, max_size=dtype.itemsize * type.n_elements)
    )
    array = np.frombuffer(raw, dtype) if element is not ty.i1 else np.frombuffer(raw, np.uint8) % 2 == 1
    return at.DenseElementsAttr.from_array(array.reshape(shape), type)


def attributes(texts: st.SearchStrategy[str], maps: bool) -> st.SearchStrategy[at.Attribute]:
    integers = st.builds(
        lambda value, type: at.IntegerAttr(value, type),
        st.integers(-128, 127),
        st.sampled_from([ty.i8, ty.i32, ty.i64, ty.index]),
    )
    leaf = st.one_of(
        st.just(at.UNIT),
        integers,
        st.builds(lambda b: at.IntegerAttr(int(b), ty.i1), st.booleans()),
        st.builds(at.FloatAttr, st.floats(), st.sampled_from([ty.f32, ty.f64, ty.f16, ty.bf16])),
        st.builds(at.StringAttr, texts),
        st.builds(
            lambda path: at.SymbolRefAttr(tuple(path)), st.lists(texts.filter(bool), min_size=1, max_size=2)
        ),
        st.builds(at.TypeAttr, types()),
        st.builds(lambda vs: at.DenseArrayAttr(ty.i64, vs), st.lists(st.integers(-5, 5), max_size=3)),
        dense(),
    )
    if maps:
        leaf = st.one_of(leaf, st.builds(at.AffineMapAttr, affine_maps()))
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(at.ArrayAttr, st.lists(inner, max_size=3)),
            st.builds(at.DictAttr, st.dictionaries(texts.filter(bool), inner, max_size=2)),
        ),
        max_leaves=4,
    )


LOCATIONS = st.recursive(
    st.one_of(
        st.just(UNKNOWN),
        st.builds(FileLoc, TEXTS, st.integers(1, 99), st.integers(1, 99)),
        st.builds(NameLoc, TEXTS),
    ),
    lambda inner: st.one_of(
        st.builds(NameLoc, TEXTS, inner),
        st.builds(CallSiteLoc, inner, inner),
        st.builds(lambda parts: fuse(parts), st.lists(inner, max_size=3)),
    ),
    max_leaves=3,
)


@st.composite
def modules(draw: Any, texts: st.SearchStrategy[str] = TEXTS, maps: bool = True) -> ModuleOp:
    """Functions of arith ops and of unknown ops with regions, blocks, several results, hints."""
    module = ModuleOp.make()
    values_of_keys = attributes(texts, maps)

    def fill(builder: Builder, values: list[Any], depth: int) -> None:
        for _ in range(draw(st.integers(0, 4))):
            same = [v for v in values if v.type is ty.f32]
            kind = draw(st.integers(0, 3))
            op: Op
            if kind == 0 and same:
                op = arith.AddF.make(draw(st.sampled_from(same)), draw(st.sampled_from(same)))
            elif kind == 1:
                op = arith.Constant.make(at.FloatAttr(draw(st.floats(width=32)), ty.f32))
            else:
                operands = draw(st.lists(st.sampled_from(values), max_size=3)) if values else []
                results = draw(st.lists(types(), max_size=3))
                extra = draw(st.dictionaries(texts.filter(bool), values_of_keys, max_size=3))
                regions = []
                if depth and kind == 3:
                    region = Region()
                    blocks = [
                        Block(draw(st.lists(types(), max_size=2))) for _ in range(draw(st.integers(0, 3)))
                    ]
                    for block in blocks:
                        region.append(block)
                    for i, block in enumerate(blocks):
                        inner = Builder.at_end(block)
                        visible = [*values, *blocks[0].args, *(block.args if i else ())]
                        fill(inner, visible, depth - 1)
                        targets = (
                            draw(st.lists(st.sampled_from(blocks[1:]), max_size=2)) if blocks[1:] else []
                        )
                        inner.insert(UnregisteredOp("t.end", (), (), {}, (), targets))
                    regions = [region]
                op = UnregisteredOp("t.op", operands, results, extra, regions)
            op.location = draw(LOCATIONS)
            for value in op.results:
                value.hint = draw(st.one_of(st.none(), NAMES, TEXTS))
            builder.insert(op)
            values = [*values, *op.results]

    for i in range(draw(st.integers(0, 2))):
        inputs = [ty.f32, *draw(st.lists(types(), max_size=2))]
        function = FuncOp.make(f"f{i}", inputs, [])
        module.body.block.append(function)
        builder = Builder.at_end(function.body.block)
        fill(builder, list(function.arguments), 2)
        builder.insert(ReturnOp.make())
    return module


RELAXED = settings(
    deadline=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@given(modules())
@RELAXED
def test_print_parse_print_is_exact(module: ModuleOp) -> None:
    verify(module)
    for generic in (False, True):
        text = print_op(module, generic=generic, locations=True)
        again = parse_module(text, allow_unregistered=True)
        verify(again)
        assert print_op(again, generic=generic, locations=True) == text
        assert structural_key(again, {}) == structural_key(module, {})


@given(modules())
@RELAXED
def test_clones_print_alike(module: ModuleOp) -> None:
    text = print_op(module, locations=True)
    copy = module.clone()
    assert print_op(copy, locations=True) == text
    module.drop_all_references()
    verify(copy)
    assert print_op(copy, locations=True) == text


@pytest.fixture(scope="module")
def xdsl_text() -> Any:
    """Our generic text -> xdsl -> xdsl's generic text."""
    pytest.importorskip("xdsl")
    from io import StringIO

    from xdsl.context import Context
    from xdsl.dialects.builtin import Builtin
    from xdsl.parser import Parser
    from xdsl.printer import Printer

    def convert(text: str) -> str:
        context = Context(allow_unregistered=True)
        context.load_dialect(Builtin)
        module = Parser(context, text).parse_module()
        out = StringIO()
        Printer(stream=out, print_generic_format=True).print_op(module)
        return out.getvalue()

    return convert


@given(modules(PLAIN, maps=False))
@RELAXED
def test_xdsl_reads_our_generic_form(xdsl_text: Any, module: ModuleOp) -> None:
    back = parse_module(xdsl_text(print_op(module, generic=True)), allow_unregistered=True)
    assert structural_key(back, {}) == structural_key(module, {})


@given(affine_maps(), st.lists(st.integers(-20, 20), min_size=5, max_size=5))
@RELAXED
def test_xdsl_agrees_on_affine_maps(map: AffineMap, numbers: list[int]) -> None:
    """xdsl simplifies differently, so the values are compared."""
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.parser import Parser

    theirs: Any = Parser(Context(), str(at.AffineMapAttr(map))).parse_attribute()
    dims, symbols = numbers[: map.n_dims], numbers[3 : 3 + map.n_symbols]
    assert tuple(theirs.data.eval(dims, symbols)) == map.evaluate(dims, symbols)
