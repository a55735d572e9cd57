"""Ops that are replaced: bodies go over as they are, and what nobody uses any more is erased."""

from __future__ import annotations

from typing import Any

from iree_core_ir.dialects import linalg
from iree_core_ir.ir.builder import Builder
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify
from iree_flow.generics import erase_unused, erase_unused_makers, on_operands

TEXT = """
#id = affine_map<(i) -> (i)>
func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %e = tensor.empty() : tensor<4xf32>
  %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = math.tanh %p : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  %b = tensor.expand_shape %a [[0, 1]] output_shape [4, 1] : tensor<4xf32> into tensor<4x1xf32>
  %c = tensor.collapse_shape %b [[0, 1]] : tensor<4x1xf32> into tensor<4xf32>
  return %c : tensor<4xf32>
}"""


def parsed() -> tuple[Any, list[Any]]:
    module = parse_module(TEXT)
    return module, module.regions[0].block.ops[0].regions[0].block.ops


def names(module: Any) -> list[str]:
    return [op.name for op in module.regions[0].block.ops[0].regions[0].block]


def test_a_body_goes_over_as_it_is() -> None:
    module, ops = parsed()
    old = next(op for op in ops if isinstance(op, linalg.Generic))
    body, inside = old.body, old.body.ops
    other = module.regions[0].block.ops[0].regions[0].block.args[1]
    new = on_operands(Builder.before_op(old), old, [other], old.outputs, old.indexing_maps, ["parallel"])
    old.replace_by(list(new.results))
    assert new.body is body and new.body.ops == inside
    assert new.inputs == (other,)
    verify(module)


def test_unused_ops_go_users_first() -> None:
    module, ops = parsed()
    reshapes = ops[2:4]
    erase_unused(reshapes)
    assert "tensor.expand_shape" in names(module), "in use"
    ops[-1].set_operands([ops[1].results[0]])
    erase_unused(reshapes)
    assert names(module) == ["tensor.empty", "linalg.generic", "func.return"]
    verify(module)


def test_what_only_the_unused_used_goes_too() -> None:
    module, ops = parsed()
    result = ops[-1].operands[0]
    erase_unused_makers([result])
    assert len(names(module)) == len(ops), "in use"
    ops[-1].set_operands([module.regions[0].block.ops[0].regions[0].block.args[0]])
    erase_unused_makers([result])
    assert names(module) == ["func.return"]
    verify(module)
