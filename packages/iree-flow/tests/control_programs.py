"""Programs with control flow of the host around device work: MLIR text by name, with inputs that go each way."""

from __future__ import annotations

from typing import Any

import numpy as np

IF = """
func.func @main(%x: tensor<?x3xf32> {iree.name = "x", iree.dims = ["n", ""]}, %c: tensor<i1> {iree.name = "c"})
    -> (tensor<?x3xf32> {iree.name = "y", iree.dims = ["m", ""]}, tensor<2xf32> {iree.name = "z"}) {
  %b = tensor.extract %c[] : tensor<i1>
  %k = arith.constant dense<[5.0, 6.0]> : tensor<2xf32>
  %t = math.tanh %x : tensor<?x3xf32>
  %y, %z = scf.if %b -> (tensor<?x3xf32>, tensor<2xf32>) {
    %e = math.exp %t : tensor<?x3xf32>
    %both = tensor.concat dim(0) %e, %t : (tensor<?x3xf32>, tensor<?x3xf32>) -> tensor<?x3xf32>
    scf.yield %both, %k : tensor<?x3xf32>, tensor<2xf32>
  } else {
    %s = tensor.extract_slice %t[1, 0] [1, 2] [1, 1] : tensor<?x3xf32> to tensor<2xf32>
    scf.yield %t, %s : tensor<?x3xf32>, tensor<2xf32>
  }
  %r = arith.addf %y, %y : tensor<?x3xf32>
  return %r, %z : tensor<?x3xf32>, tensor<2xf32>
}
"""

EITHER_INPUT = """
func.func @main(%x: tensor<?xf32> {iree.name = "x", iree.dims = ["n"]}, %y: tensor<?xf32> {iree.name = "y", iree.dims = ["m"]},
                %c: tensor<i1> {iree.name = "c"}) -> (tensor<?xf32> {iree.name = "z", iree.dims = ["k"]}) {
  %b = tensor.extract %c[] : tensor<i1>
  %z = scf.if %b -> (tensor<?xf32>) {
    scf.yield %x : tensor<?xf32>
  } else {
    scf.yield %y : tensor<?xf32>
  }
  return %z : tensor<?xf32>
}
"""

NESTED = """
func.func @main(%x: tensor<4xf32> {iree.name = "x"}, %i: tensor<i64> {iree.name = "i"})
    -> (tensor<4xf32> {iree.name = "y"}) {
  %n = tensor.extract %i[] : tensor<i64>
  %at = arith.index_cast %n : i64 to index
  %c1 = arith.constant 1 : i64
  %low = arith.cmpi slt, %n, %c1 : i64
  %a = math.absf %x : tensor<4xf32>
  %y = scf.if %low -> (tensor<4xf32>) {
    %z = arith.constant 0 : i64
    %negative = arith.cmpi slt, %n, %z : i64
    %s = math.sqrt %a : tensor<4xf32>
    %inner = scf.if %negative -> (tensor<4xf32>) {
      %t = arith.mulf %s, %x : tensor<4xf32>
      scf.yield %t : tensor<4xf32>
    } else {
      scf.yield %s : tensor<4xf32>
    }
    %u = arith.addf %inner, %a : tensor<4xf32>
    scf.yield %u : tensor<4xf32>
  } else {
    %chosen = scf.index_switch %at -> tensor<4xf32>
    case 1 {
      %t = math.exp %x : tensor<4xf32>
      scf.yield %t : tensor<4xf32>
    }
    case 3 {
      %t = scf.execute_region -> tensor<4xf32> {
        %p = math.floor %x : tensor<4xf32>
        scf.yield %p : tensor<4xf32>
      }
      scf.yield %t : tensor<4xf32>
    }
    default {
      scf.yield %x : tensor<4xf32>
    }
    scf.yield %chosen : tensor<4xf32>
  }
  return %y : tensor<4xf32>
}
"""

WHILE = """
func.func @main(%x: tensor<4xf32> {iree.name = "x"}, %limit: tensor<f32> {iree.name = "limit"})
    -> (tensor<4xf32> {iree.name = "y"}, tensor<?xf32> {iree.name = "trace", iree.dims = ["n"]}) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %l = tensor.extract %limit[] : tensor<f32>
  %none = tensor.empty(%c0) : tensor<?xf32>
  %y, %trace = scf.while (%a = %x, %log = %none) : (tensor<4xf32>, tensor<?xf32>) -> (tensor<4xf32>, tensor<?xf32>) {
    %e0 = tensor.empty() : tensor<f32>
    %f = linalg.fill ins(%zero : f32) outs(%e0 : tensor<f32>) -> tensor<f32>
    %sum = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
        ins(%a : tensor<4xf32>) outs(%f : tensor<f32>) {
      ^bb0(%p: f32, %o: f32):
        %t = arith.addf %p, %o : f32
        linalg.yield %t : f32
    } -> tensor<f32>
    %s = tensor.extract %sum[] : tensor<f32>
    %go = arith.cmpf olt, %s, %l : f32
    scf.condition(%go) %a, %log : tensor<4xf32>, tensor<?xf32>
  } do {
  ^bb0(%a: tensor<4xf32>, %log: tensor<?xf32>):
    %d = arith.addf %a, %a : tensor<4xf32>
    %h = tensor.extract_slice %d[1] [1] [1] : tensor<4xf32> to tensor<1xf32>
    %next = tensor.concat dim(0) %log, %h : (tensor<?xf32>, tensor<1xf32>) -> tensor<?xf32>
    scf.yield %d, %next : tensor<4xf32>, tensor<?xf32>
  }
  return %y, %trace : tensor<4xf32>, tensor<?xf32>
}
"""

FOR = """
func.func @main(%x: tensor<?x3xf32> {iree.name = "x", iree.dims = ["n", ""]}, %times: tensor<i64> {iree.name = "times"})
    -> (tensor<?x3xf32> {iree.name = "y", iree.dims = ["n", ""]}, tensor<?x3xf32> {iree.name = "rows", iree.dims = ["m", ""]}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  %t = tensor.extract %times[] : tensor<i64>
  %n = arith.index_cast %t : i64 to index
  %e = tensor.empty(%n) : tensor<?x3xf32>
  %init = linalg.fill ins(%zero : f32) outs(%e : tensor<?x3xf32>) -> tensor<?x3xf32>
  %y, %rows = scf.for %i = %c0 to %n step %c1 iter_args(%a = %x, %log = %init) -> (tensor<?x3xf32>, tensor<?x3xf32>) {
    %d = math.sin %a : tensor<?x3xf32>
    %h = tensor.extract_slice %d[0, 0] [1, 3] [1, 1] : tensor<?x3xf32> to tensor<1x3xf32>
    %next = tensor.insert_slice %h into %log[%i, 0] [1, 3] [1, 1] : tensor<1x3xf32> into tensor<?x3xf32>
    scf.yield %d, %next : tensor<?x3xf32>, tensor<?x3xf32>
  }
  return %y, %rows : tensor<?x3xf32>, tensor<?x3xf32>
}
"""

SWAPPED = """
func.func @main(%x: tensor<4xf32> {iree.name = "x"}, %times: tensor<i64> {iree.name = "times"})
    -> (tensor<4xf32> {iree.name = "a"}, tensor<4xf32> {iree.name = "b"}, tensor<4xf32> {iree.name = "c"}) {
  %c0 = arith.constant 0 : i64
  %c1 = arith.constant 1 : i64
  %n = tensor.extract %times[] : tensor<i64>
  %k = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %first = math.absf %x : tensor<4xf32>
  %a, %b, %c = scf.for %i = %c0 to %n step %c1 iter_args(%p = %first, %q = %k, %r = %first)
      -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) : i64 {
    %s = linalg.add ins(%q, %p : tensor<4xf32>, tensor<4xf32>) outs(%r : tensor<4xf32>) -> tensor<4xf32>
    scf.yield %q, %p, %s : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }
  %late = arith.addf %c, %first : tensor<4xf32>
  return %a, %b, %late : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
"""

UPDATED = """
func.func @main(%x: tensor<6xf32> {iree.name = "x"}, %times: tensor<i64> {iree.name = "times"})
    -> (tensor<6xf32> {iree.name = "a"}, tensor<6xf32> {iree.name = "b"}, tensor<6xf32> {iree.name = "c"}) {
  %c0 = arith.constant 0 : i64
  %c1 = arith.constant 1 : i64
  %n = tensor.extract %times[] : tensor<i64>
  %first = math.absf %x : tensor<6xf32>
  %second = math.tanh %x : tensor<6xf32>
  %a, %b, %c = scf.for %i = %c0 to %n step %c1 iter_args(%p = %first, %q = %second, %r = %second)
      -> (tensor<6xf32>, tensor<6xf32>, tensor<6xf32>) : i64 {
    %at = arith.index_cast %i : i64 to index
    %h = tensor.extract_slice %p[1] [1] [1] : tensor<6xf32> to tensor<1xf32>
    %k = math.exp %h : tensor<1xf32>
    %p2 = tensor.insert_slice %k into %p[%at] [1] [1] : tensor<1xf32> into tensor<6xf32>
    %q2 = tensor.insert_slice %k into %q[%at] [1] [1] : tensor<1xf32> into tensor<6xf32>
    %r2 = tensor.insert_slice %h into %r[%at] [1] [1] : tensor<1xf32> into tensor<6xf32>
    scf.yield %p2, %q2, %r2 : tensor<6xf32>, tensor<6xf32>, tensor<6xf32>
  }
  return %a, %b, %c : tensor<6xf32>, tensor<6xf32>, tensor<6xf32>
}
"""


def _f(*shape: int) -> Any:
    return np.random.default_rng(sum(shape) + 1).standard_normal(shape).astype(np.float32)


def _i(value: int) -> Any:
    return np.array(value)


_SMALL = np.abs(_f(4)) * np.float32(0.1)

CONTROL: dict[str, tuple[str, tuple[Any, ...]]] = {
    "if": (IF, tuple((_f(n, 3), np.array(way)) for n in (2, 7) for way in (True, False))),
    "either-input": (
        EITHER_INPUT,
        tuple((_f(3), _f(n), np.array(way)) for n in (0, 5) for way in (True, False)),
    ),
    "nested": (NESTED, tuple((_f(4), _i(n)) for n in (-2, 0, 1, 2, 3))),
    "while": (WHILE, tuple((_SMALL, np.float32(limit)) for limit in (-1, 1, 100))),
    "for": (FOR, tuple((_f(2, 3), _i(n)) for n in (0, 1, 5))),
    "swapped": (SWAPPED, tuple((_f(4), _i(n)) for n in (-1, 0, 1, 2, 5))),
    "updated": (UPDATED, tuple((_f(6), _i(n)) for n in (0, 1, 2, 6))),
}
"""Name -> program and the inputs of several calls."""
