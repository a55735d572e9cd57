"""If, Loop and Scan decided at run time: what becomes of variables, and what is refused."""

import numpy as np
import pytest
from onnx import parser

from iree_input_onnx.errors import OnnxError
from iree_input_onnx.testing import ImportedModel

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def imported(text):
    return ImportedModel(parser.parse_model(HEAD + text))


def ops_of(model, name):
    return [op for op in model.function.walk() if op.name == name]


def test_a_loop_that_only_counts_is_a_for_whose_rows_go_into_place():
    model = imported(
        """g (float[3] x, int64 m) => (float[3] y, float[t,3] rows) {
          yes = Constant<value=bool {1}>()
          y, rows = Loop (m, yes, x) < body = b (int64 i, bool c, float[3] a) => (bool d, float[3] e, float[3] r) {
            d = Identity(c) e = Sin(a) r = Neg(a) } >
        }"""
    )
    (op,) = ops_of(model, "scf.for")
    assert [str(value.type) for value in op.results] == ["tensor<3xf32>", "tensor<?x3xf32>"]
    assert not ops_of(model, "tensor.concat")
    x = np.array([1, 2, 3], np.float32)
    y, rows = model(x, np.array(2))
    np.testing.assert_allclose(y, np.sin(np.sin(x)), rtol=1e-6)
    np.testing.assert_allclose(rows, [-x, -np.sin(x)], rtol=1e-6)


def test_counters_stay_on_the_host_and_what_does_not_change_is_not_carried():
    model = imported(
        """g (float[3] x, int64 m) => (float[3] y, int64 k, int64 s) {
          yes = Constant<value=bool {1}>() one = Constant<value_int=1>()
          y, k, s = Loop (m, yes, x, one, one) < body = b (int64 i, bool c, float[3] a, int64 k0, int64 same)
              => (bool d, float[3] e, int64 l, int64 o) {
            d = Identity(c) l = Add(k0, same) f = Cast<to=1>(l) e = Mul(a, f) o = Identity(same) } >
        }"""
    )
    (op,) = ops_of(model, "scf.for")
    assert [str(value.type) for value in op.results] == ["tensor<3xf32>", "index"]
    y, k, s = model(np.ones(3, np.float32), np.array(3))
    assert (y.tolist(), int(k), int(s)) == ([24, 24, 24], 4, 1)


def test_a_dim_that_changes_is_dynamic_and_one_that_does_not_stays():
    model = imported(
        """g (float[2,3] x, int64 m) => (float[n,3] y) {
          yes = Constant<value=bool {1}>()
          y = Loop (m, yes, x) < body = b (int64 i, bool c, float[k,3] a) => (bool d, float[l,3] e) {
            d = Identity(c) e = Concat<axis=0>(a, x) } >
        }"""
    )
    (op,) = ops_of(model, "scf.for")
    assert [str(value.type) for value in op.results] == ["tensor<?x3xf32>"]
    assert model(np.zeros((2, 3), np.float32), np.array(2))[0].shape == (6, 3)


def test_sizes_chosen_by_an_if_are_numbers_of_the_host():
    model = imported(
        """g (float[4,6] x, bool c) => (float[p,q] y) {
          s = If (c) < then_branch = t () => (int64[2] a) { a = Constant<value_ints=[-1,2]>() },
                       else_branch = f () => (int64[2] b) { b = Constant<value_ints=[3,-1]>() } >
          y = Reshape(x, s)
        }"""
    )
    (op,) = ops_of(model, "scf.if")
    assert [str(value.type) for value in op.results] == ["index", "index"]
    x = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert model(x, np.array(True))[0].shape == (12, 2)
    assert model(x, np.array(False))[0].shape == (3, 8)


def test_a_branch_that_is_invalid_for_the_shapes_stops_where_it_is_taken():
    branches = """then_branch = t () => (float[3] a) { a = Exp(x) },
                  else_branch = f () => (float[4] b) { w = Constant<value=float[2] {1.0,2.0}>() b = Add(x, w) }"""
    model = imported(f"g (float[3] x, bool c) => (float[k] y) {{ y = If (c) < {branches} > }}")
    assert model(np.zeros(3, np.float32), np.array(True))[0].tolist() == [1, 1, 1]
    with pytest.raises(Exception, match="cannot run"):
        model(np.zeros(3, np.float32), np.array(False))
    both = branches.replace("a = Exp(x)", "v = Constant<value=float[2] {1.0,2.0}>() a = Add(x, v)")
    with pytest.raises(OnnxError, match="invalid"):
        imported(f"g (float[3] x, bool c) => (float[k] y) {{ y = If (c) < {both} > }}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            """g (float[3] x, int64 m) => (float[n] y) {
              yes = Constant<value=bool {1}>() zero = Constant<value_ints=[0]>()
              y = Loop (m, yes, x) < body = b (int64 i, bool c, float[k] a) => (bool d, float[l,p] e) {
                d = Identity(c) e = Unsqueeze(a, zero) } >
            }""",
            "ranks 1 and 2",
        ),
        (
            """g (float[3] x, bool c) => (float[n] y) {
              zero = Constant<value_ints=[0]>()
              y = If (c) < then_branch = t () => (float[p] a) { a = Exp(x) },
                           else_branch = f () => (float[q,r] b) { b = Unsqueeze(x, zero) } >
            }""",
            "ranks 1 and 2",
        ),
        (
            """g (float[3] x, bool c) => (float[n] y) {
              y = If (c) < then_branch = t () => (float[p] a) { a = Exp(x) },
                           else_branch = f () => (float[q] b) { b = Multinomial(x) } >
            }""",
            "Multinomial",
        ),
    ],
)
def test_refused(text, reason):
    with pytest.raises(OnnxError, match=reason) as caught:
        imported(text)
    assert caught.value.number == 4


def test_scan_goes_along_any_axis_either_way():
    model = imported(
        """g (float[2] s, float[2,5] x) => (float[2] t, float[2,5] ys) {
          t, ys = Scan <num_scan_inputs=1, scan_input_axes=[1], scan_input_directions=[1], scan_output_axes=[-1],
            scan_output_directions=[1], body = b (float[2] a, float[2] xi) => (float[2] c, float[2] o) {
              c = Add(a, xi) o = Identity(c) }> (s, x)
        }"""
    )
    x = np.arange(10, dtype=np.float32).reshape(2, 5)
    t, ys = model(np.zeros(2, np.float32), x)
    np.testing.assert_allclose(ys, np.cumsum(x[:, ::-1], 1)[:, ::-1])
    np.testing.assert_allclose(t, x.sum(1))
