"""``fold-dim-ranges``: what the entry checks decide is decided at compile time, nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from pass_runs import call, names, run

from iree_flow.passes.fold_dim_ranges import FoldDimRanges

PROGRAM = """
func.func @main(%x: tensor<?x2048xi32> {{iree.name = "x", iree.dims = ["batch", ""]}}) -> {type} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %big = arith.constant 1000000000 : index
  %n = tensor.dim %x, %c0 : tensor<?x2048xi32>
  %m = arith.muli %n, %n : index
  {op}
  return %r : {type}
}}
"""


@pytest.mark.parametrize(
    ("op", "type", "decided"),
    [
        ("%r = arith.minsi %n, %big : index", "index", True),
        ("%r = arith.minui %n, %big : index", "index", True),
        ("%r = arith.maxsi %n, %c0 : index", "index", True),
        ("%r = arith.maxsi %n, %c1 : index", "index", False),
        ("%r = arith.minsi %m, %big : index", "index", False),
        ("%r = arith.cmpi slt, %n, %c0 : index", "i1", True),
        ("%r = arith.cmpi ult, %n, %big : index", "i1", True),
        ("%r = arith.cmpi eq, %n, %big : index", "i1", True),
        ("%r = arith.cmpi eq, %n, %c1 : index", "i1", False),
        ("%r = arith.cmpi sge, %n, %c1 : index", "i1", False),
    ],
)
def test_what_folds(op: str, type: str, decided: bool) -> None:
    text = PROGRAM.format(op=op, type=type)
    module = run(text, FoldDimRanges())
    name = op.split()[2]
    assert (name not in names(module)) == decided
    x = np.zeros((3, 2048), np.int32)
    assert call(module, x) == call(run(text, clean=False), x)


def test_a_clamped_slice_is_the_whole() -> None:
    module = run(
        """
func.func @main(%x: tensor<?x2048xi32>) -> tensor<?x2048xi32> {
  %c0 = arith.constant 0 : index
  %big = arith.constant 1000000000 : index
  %n = tensor.dim %x, %c0 : tensor<?x2048xi32>
  %k = arith.minsi %n, %big : index
  %m = util.broadcast_dim %k, %n
  %s = tensor.extract_slice %x[0, 0] [%m, 2048] [1, 1] : tensor<?x2048xi32> to tensor<?x2048xi32>
  return %s : tensor<?x2048xi32>
}""",
        FoldDimRanges(),
    )
    assert names(module)[2:] == ["func.return"]
