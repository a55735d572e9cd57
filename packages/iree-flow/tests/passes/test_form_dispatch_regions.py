"""``form-dispatch-regions``: what shares a region by the fusion policy, and that nothing changes its meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flow_programs import PROGRAMS, program
from pass_runs import call, floats, names, run, same

from iree_core_ir.interpreter import Interpreter
from iree_core_ir.pass_manager import PassContext, PassManager
from iree_core_ir.verifier import verify
from iree_flow import fusion
from iree_flow.dialects import flow
from iree_flow.passes.convert_elementwise_to_linalg import ConvertElementwiseToLinalg
from iree_flow.passes.form_dispatch_regions import FormDispatchRegions
from iree_flow.passes.fuse_elementwise import FuseElementwise
from iree_flow.passes.resolve_dims import ResolveDims

HEAD = """
#full = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
#column = affine_map<(i, j) -> (j)>
#turned = affine_map<(i, j) -> (j, i)>
func.func @main(%x: tensor<6x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8xf32>) -> {results} {{
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<6x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<6x8xf32>) -> tensor<6x8xf32>
  %m = linalg.matmul ins(%x, %w : tensor<6x8xf32>, tensor<8x8xf32>) outs(%f : tensor<6x8xf32>) -> tensor<6x8xf32>
  {body}
}}
"""
BIAS = """%r = linalg.generic {indexing_maps = [#full, #column, #full], iterator_types = ["parallel", "parallel"]}
      ins(%m, %b : tensor<6x8xf32>, tensor<8xf32>) outs(%e : tensor<6x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<6x8xf32>"""
TURNED = """%te = tensor.empty() : tensor<8x6xf32>
  %t = linalg.generic {indexing_maps = [#turned, #full], iterator_types = ["parallel", "parallel"]}
      ins(%m : tensor<6x8xf32>) outs(%te : tensor<8x6xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = math.tanh %p : f32
    linalg.yield %s : f32
  } -> tensor<8x6xf32>"""
INPUTS = ((6, 8), (8, 8), (8,))


def formed(text: str, **options: Any) -> Any:
    return run(text, ConvertElementwiseToLinalg(), ResolveDims(), FormDispatchRegions(**options), clean=False)


def regions(module: Any) -> list[list[str]]:
    """The dense ops of each region."""
    return [
        [inner.name for inner in op.body.block if fusion.kind_of(inner) and inner.name != "linalg.fill"]
        for op in module.walk()
        if isinstance(op, flow.DispatchRegion)
    ]


def test_an_epilogue_joins_its_product() -> None:
    text = HEAD.format(results="tensor<6x8xf32>", body=BIAS + "\n  return %r : tensor<6x8xf32>")
    module = formed(text)
    assert regions(module) == [["linalg.matmul", "linalg.generic"]]
    same(text, module, *floats(*INPUTS))


def test_without_fusion_every_dense_op_is_alone() -> None:
    text = HEAD.format(results="tensor<6x8xf32>", body=BIAS + "\n  return %r : tensor<6x8xf32>")
    module = formed(text, fusion=False)
    assert regions(module) == [["linalg.matmul"], ["linalg.generic"]]
    same(text, module, *floats(*INPUTS))


def test_a_product_that_others_read_too_stays_alone() -> None:
    body = BIAS + "\n  return %r, %m : tensor<6x8xf32>, tensor<6x8xf32>"
    text = HEAD.format(results="(tensor<6x8xf32>, tensor<6x8xf32>)", body=body)
    module = formed(text)
    assert regions(module) == [["linalg.matmul"], ["linalg.generic"]]
    same(text, module, *floats(*INPUTS))


def test_a_reader_by_another_map_is_no_epilogue() -> None:
    text = HEAD.format(results="tensor<8x6xf32>", body=TURNED + "\n  return %t : tensor<8x6xf32>")
    module = formed(text)
    assert regions(module) == [["linalg.matmul"], ["linalg.generic"]]
    same(text, module, *floats(*INPUTS))


CYCLE = """%p = linalg.matmul ins(%m, %w : tensor<6x8xf32>, tensor<8x8xf32>) outs(%f : tensor<6x8xf32>) -> tensor<6x8xf32>
  %r = linalg.generic {indexing_maps = [#full, #full, #full], iterator_types = ["parallel", "parallel"]}
      ins(%m, %p : tensor<6x8xf32>, tensor<6x8xf32>) outs(%e : tensor<6x8xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %s = arith.addf %a, %c : f32
    linalg.yield %s : f32
  } -> tensor<6x8xf32>
  return %r : tensor<6x8xf32>"""


def test_a_residual_joins_the_last_of_its_producers() -> None:
    text = HEAD.format(results="tensor<6x8xf32>", body=CYCLE)
    module = formed(text)
    assert regions(module) == [["linalg.matmul"], ["linalg.matmul", "linalg.generic"]]
    same(text, module, *floats(*INPUTS))


def test_rows_share_a_region() -> None:
    module, store, _ = program("layer-norm")
    PassManager([ResolveDims(), FormDispatchRegions()]).run(module, PassContext(constants=store, options={}))
    (ops,) = regions(module)
    assert len(ops) == 4


def test_constants_and_empties_are_cloned_in() -> None:
    body = (
        BIAS
        + "\n  %u = linalg.matmul ins(%r, %w : tensor<6x8xf32>, tensor<8x8xf32>) outs(%f : tensor<6x8xf32>)"
    )
    text = HEAD.format(
        results="tensor<6x8xf32>", body=body + " -> tensor<6x8xf32>\n  return %u : tensor<6x8xf32>"
    )
    module = formed(text)
    for op in module.walk():
        if isinstance(op, flow.DispatchRegion):
            inside = {inner for inner in op.walk() if inner is not op}
            for inner in inside:
                for value in inner.operands:
                    producer = value.defining_op
                    cloned = producer is None or producer in inside
                    assert cloned or producer.name not in ("tensor.empty", "linalg.fill", "arith.constant")
    same(text, module, *floats(*INPUTS))


RESHAPED = """%q = tensor.expand_shape %m [[0, 1], [2]] output_shape [2, 3, 8] : tensor<6x8xf32> into tensor<2x3x8xf32>
  %s = tensor.extract_slice %q[1, 0, 0] [1, 3, 8] [1, 1, 1] : tensor<2x3x8xf32> to tensor<1x3x8xf32>
  return %s : tensor<1x3x8xf32>"""


def test_reshapes_and_contiguous_slices_are_no_dispatch() -> None:
    text = HEAD.format(results="tensor<1x3x8xf32>", body=RESHAPED)
    module = formed(text)
    assert regions(module) == [["linalg.matmul"]]
    assert {"flow.tensor.reshape", "flow.tensor.slice"} <= set(names(module))
    same(text, module, *floats(*INPUTS))


PADDED = """
func.func @main(%x: tensor<1x2x5x5xf32>, %w: tensor<3x2x3x3xf32>) -> {results} {{
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {{
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f32
  }} : tensor<1x2x5x5xf32> to tensor<1x2x7x7xf32>
  %e = tensor.empty() : tensor<1x3x5x5xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x3x5x5xf32>) -> tensor<1x3x5x5xf32>
  %c = linalg.conv_2d_nchw_fchw {{dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}}
      ins(%p, %w : tensor<1x2x7x7xf32>, tensor<3x2x3x3xf32>) outs(%f : tensor<1x3x5x5xf32>) -> tensor<1x3x5x5xf32>
  return {values} : {results_list}
}}
"""


@pytest.mark.parametrize("alone", [True, False])
def test_a_pad_goes_with_the_convolution_that_alone_reads_it(alone: bool) -> None:
    types = ["tensor<1x3x5x5xf32>"] if alone else ["tensor<1x3x5x5xf32>", "tensor<1x2x7x7xf32>"]
    text = PADDED.format(
        results="(" + ", ".join(types) + ")",
        results_list=", ".join(types),
        values="%c" if alone else "%c, %p",
    )
    module = formed(text)
    conv = ["tensor.pad", "linalg.conv_2d_nchw_fchw"]
    assert regions(module) == ([conv] if alone else [[name] for name in conv])
    same(text, module, *floats((1, 2, 5, 5), (3, 2, 3, 3)))


def test_the_host_reads_through_a_load() -> None:
    text = """
func.func @main(%x: tensor<4xi64>) -> (tensor<4xi64>, i64) {
  %c1 = arith.constant 1 : index
  %a = arith.addi %x, %x : tensor<4xi64>
  %v = tensor.extract %a[%c1] : tensor<4xi64>
  return %a, %v : tensor<4xi64>, i64
}"""
    module = formed(text)
    assert "flow.tensor.load" in names(module)
    assert "tensor.extract" not in names(module)
    same(text, module, np.arange(4))


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_programs_keep_their_meaning(name: str, fuse: bool) -> None:
    module, constants, inputs = program(name)
    expected = Interpreter(module, constants).call("main", *inputs)
    passes = [
        ConvertElementwiseToLinalg(),
        ResolveDims(),
        FuseElementwise(),
        FormDispatchRegions(fusion=fuse),
    ]
    PassManager(passes).run(module, PassContext(constants=constants, options={}))
    verify(module)
    for a, b in zip(call(module, *inputs, constants=constants), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6)
