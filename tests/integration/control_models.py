"""ONNX models with If, Loop and Scan that are decided when they run, as text, with inputs that go each way."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import parser

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def _f(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def _positive(*shape: int) -> Any:
    return np.abs(_f(*shape))


def _s(value: float) -> Any:
    return np.array(value, np.float32)


def _i(value: int) -> Any:
    return np.array(value, np.int64)


YES, NO = np.array(True), np.array(False)

MODELS: dict[str, tuple[str, list[tuple[Any, ...]]]] = {
    "if-captured": (
        """
g (float[n,3] x, bool c) => (float[m,k] y) {
  t = Tanh(x)
  y = If (c) <
    then_branch = g1 () => (float[p,q] a) { u = Exp(t)  a = Concat<axis=0>(u, t) },
    else_branch = g2 () => (float[r,s] b) { b = Neg(t) }
  >
}""",
        [(_f(2, 3), YES), (_f(2, 3), NO), (_f(0, 3), NO)],
    ),
    "if-nested": (
        """
g (float[4] x, int64 n) => (float[k] y, float[j] z) {
  one = Constant<value_int=1>() zero = Constant<value_int=0>()
  c = Greater(n, one)
  s = ReduceSum<keepdims=0>(x)
  fz = Constant<value_float=0.0>()
  y, z = If (c) <
    then_branch = g1 () => (float[p] a, float[p2] a2) {
       d = Greater(s, fz)
       a = If (d) < then_branch = i1 () => (float[4] q) { q = Exp(x) }, else_branch = i2 () => (float[8] q2) { q2 = Concat<axis=0>(x, x) } >
       a2 = Mul(a, a)
    },
    else_branch = g2 () => (float[r] b, float[r2] b2) { b = Identity(x)  b2 = Identity(x) }
  >
}""",
        [(_f(4), _i(2)), (-_positive(4), _i(2)), (_positive(4), _i(2)), (_f(4), _i(0))],
    ),
    "if-host": (
        """
g (float[n,6] x, bool c) => (float[p,q] y) {
  y0 = If (c) < then_branch = g1 () => (int64[2] a) { a = Constant<value_ints=[-1,2]>() }, else_branch = g2 () => (int64[2] b) { b = Constant<value_ints=[3,-1]>() } >
  y = Reshape(x, y0)
}""",
        [(_f(4, 6), YES), (_f(4, 6), NO)],
    ),
    "loop-for": (
        """
g (float[n,3] x, int64 m) => (float[n,3] y, float[t,n,3] rows) {
  yes = Constant<value=bool {1}>()
  y, rows = Loop (m, yes, x) < body = bd (int64 i, bool c, float[n,3] a) => (bool c2, float[n,3] a2, float[n,3] row) {
     c2 = Identity(c)  fi = Cast<to=1>(i)  s = Sin(a) a2 = Add(s, fi)  row = Neg(a2) } >
}""",
        [(_f(2, 3), _i(0)), (_f(2, 3), _i(1)), (_f(2, 3), _i(4)), (_f(2, 3), _i(-1))],
    ),
    "loop-cond": (
        """
g (float[4] x, float limit) => (float[4] y, float[t] sums, int64 count) {
  none = Constant<value_int=9223372036854775807>()
  yes = Constant<value=bool {1}>()
  zero = Constant<value_int=0>()  one = Constant<value_int=1>()
  y, count, sums = Loop (none, yes, x, zero) < body = bd (int64 i, bool c, float[4] a, int64 k) => (bool c2, float[4] a2, int64 k2, float s) {
     a2 = Add(a, a)  s = ReduceSum<keepdims=0>(a2) c2 = Less(s, limit) k2 = Add(k, one) } >
}""",
        [(_positive(4), _s(x)) for x in (-1, 50, 1000)],
    ),
    "loop-condonly": (
        """
g (float[4] x, bool start) => (float[4] y) {
  lim = Constant<value_float=100.0>()
  y = Loop (, start, x) < body = bd (int64 i, bool c, float[4] a) => (bool c2, float[4] a2) {
     a2 = Add(a, a)  s = ReduceMax<keepdims=0>(a2) c2 = Less(s, lim) } >
}""",
        [(_positive(4), YES), (_positive(4), NO)],
    ),
    "loop-grow": (
        """
g (float[k] x, int64 m) => (float[q] y, float[t] firsts) {
  yes = Constant<value=bool {1}>()
  z = Constant<value_ints=[0]>() o = Constant<value_ints=[1]>()
  y, firsts = Loop (m, yes, x) < body = bd (int64 i, bool c, float[q1] a) => (bool c2, float[q2] a2, float[1] h) {
     c2 = Identity(c)  h0 = Slice(a, z, o) h = Exp(h0) a2 = Concat<axis=0>(a, h) } >
}""",
        [(_f(3), _i(0)), (_f(3), _i(4))],
    ),
    "loop-scan-dyn": (
        """
g (float[k] x, int64 m, float lim) => (float[k2] y, float[t,w] rows) {
  yes = Constant<value=bool {1}>()
  y, rows = Loop (m, yes, x) < body = bd (int64 i, bool c, float[q1] a) => (bool c2, float[q2] a2, float[q3] row) {
     a2 = Cos(a) s = ReduceSum<keepdims=0>(a2) c2 = Less(s, lim) row = Concat<axis=0>(a2, a) } >
}""",
        [(_f(3), _i(0), _s(9)), (_f(3), _i(4), _s(99)), (_f(3), _i(6), _s(1.2))],
    ),
    "loop-nested": (
        """
g (float[3] x, int64 m) => (float[3] y, float[t,3] rows) {
  yes = Constant<value=bool {1}>()
  y, rows = Loop (m, yes, x) < body = bd (int64 i, bool c, float[3] a) => (bool c2, float[3] a2, float[3] row) {
     c2 = Identity(c)
     a2 = Loop (i, c, a) < body = in (int64 j, bool d, float[3] v) => (bool d2, float[3] v2) { d2 = Identity(d) fj = Cast<to=1>(j) w = Add(v, fj) v2 = Sin(w) } >
     row = Add(a2, x) } >
}""",
        [(_f(3), _i(0)), (_f(3), _i(4))],
    ),
    "loop-slice-counter": (
        """
g (float[n,3] x, int64 m) => (float[3] total, int64[2] sizes) {
  yes = Constant<value=bool {1}>()
  zero = Constant<value=float[3] {0.0,0.0,0.0}>()
  sz = Constant<value_ints=[1,2]>() o = Constant<value_ints=[1]>() ax = Constant<value_ints=[0]>()
  total, sizes = Loop (m, yes, zero, sz) < body = bd (int64 i, bool c, float[3] acc, int64[2] s) => (bool c2, float[3] acc2, int64[2] s2) {
     c2 = Identity(c) row = Gather<axis=0>(x, i) acc2 = Add(acc, row) two = Constant<value_ints=[2,3]>() s2 = Mul(s, two) } >
}""",
        [(_f(5, 3), _i(0)), (_f(5, 3), _i(4))],
    ),
    "if-in-loop": (
        """
g (float[3] x, int64 m) => (float[3] y) {
  yes = Constant<value=bool {1}>() two = Constant<value_int=2>() zero = Constant<value_int=0>()
  y = Loop (m, yes, x) < body = bd (int64 i, bool c, float[3] a) => (bool c2, float[3] a2) {
     c2 = Identity(c)  r = Mod(i, two) even = Equal(r, zero)
     a2 = If (even) < then_branch = i1 () => (float[3] q) { q = Exp(a) }, else_branch = i2 () => (float[3] q2) { q2 = Sin(a) } > } >
}""",
        [(_f(3), _i(0)), (_f(3), _i(3))],
    ),
    "scan": (
        """
g (float[2] s0, float[t,2] x) => (float[2] s, float[t,2] ys) {
  s, ys = Scan <num_scan_inputs=1, body = bd (float[2] a, float[2] xi) => (float[2] a2, float[2] o) { a2 = Add(a, xi) o = Tanh(a2) } > (s0, x)
}""",
        [(_f(2), _f(1, 2)), (_f(2), _f(5, 2))],
    ),
    "scan-rev": (
        """
g (float[2] s0, float[2,t] x, float[t,2] w) => (float[2] s, float[2,t] ys, float[t,2] zs) {
  s, ys, zs = Scan <num_scan_inputs=2, scan_input_axes=[1,0], scan_input_directions=[1,0], scan_output_axes=[1,0], scan_output_directions=[0,1],
   body = bd (float[2] a, float[2] xi, float[2] wi) => (float[2] a2, float[2] o, float[2] o2) { q = Mul(xi, wi) a2 = Add(a, q) o = Tanh(a2) o2 = Exp(xi) } > (s0, x, w)
}""",
        [(_f(2), _f(2, 5), _f(5, 2)), (_f(2), _f(2, 1), _f(1, 2))],
    ),
}
"""Name -> graph and the inputs of several calls."""


def build(text: str) -> onnx.ModelProto:
    """A checked model."""
    model = parser.parse_model(HEAD + text)
    onnx.checker.check_model(model)
    return model
