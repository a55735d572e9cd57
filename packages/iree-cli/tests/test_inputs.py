"""``--input`` texts: every form gives the array that numpy would, and every mistake is a coded line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iree_base.element_types import element_type
from iree_cli import inputs
from iree_cli.errors import CliError
from iree_cli.signatures import Signature, Slot

F32, I64, I8, I1 = (element_type(name) for name in ("f32", "i64", "i8", "i1"))
X = Slot("x", F32, (2, 3))
IDS = Slot("ids", I64, ("batch", 4))
SIGNATURE = Signature("main", (X, IDS), (Slot("y", F32, (2, 3)),))


def one(text, slot=X):
    return inputs.read(text, slot)


def same(array, expected):
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("text", "shape", "name"),
    [
        ("1x128xi64", (1, 128), "i64"),
        ("f32", (), "f32"),
        ("0x4xbf16", (0, 4), "bf16"),
        ("2xui8", (2,), "ui8"),
        ("3xcomplex<f32>", (3,), "complex<f32>"),
        ("8xf8E4M3FN", (8,), "f8E4M3FN"),
    ],
)
def test_types(text, shape, name):
    assert inputs.parse_type(text) == (shape, element_type(name))


@pytest.mark.parametrize("text", ["", "x", "1x", "1x2", "f3", "-1xf32", "1x128xi64 ", "xf32", "1X2xf32"])
def test_not_types(text):
    assert inputs.parse_type(text) is None


def test_splat_and_literals():
    same(one("2x3xf32=0.5"), np.full((2, 3), 0.5, np.float32))
    same(one("2x3xf32=1 2 3 4 5 6"), np.arange(1, 7, dtype=np.float32).reshape(2, 3))
    same(one("2x3xf32=[[1, 2, 3], [4, 5, 6]]"), np.arange(1, 7, dtype=np.float32).reshape(2, 3))
    same(one("f32=1.5"), np.array(1.5, np.float32))
    same(one("0x3xf32="), np.zeros((0, 3), np.float32))


def test_a_literal_without_a_type_takes_the_functions():
    same(one("7"), np.full((2, 3), 7, np.float32))
    same(one("1,2,3,4,5,6"), np.arange(1, 7, dtype=np.float32).reshape(2, 3))
    same(one("[1,2,3]", Slot("n", I64, ("length",))), np.array([1, 2, 3]))


def test_numbers_of_each_kind():
    same(one("3xf32=nan -inf 0x1.8p1", X), np.array([np.nan, -np.inf, 3], np.float32))
    same(one("2xi1=true 0", Slot("m", I1, (2,))), np.array([True, False]))
    same(one("i64=0x7fffffffffffffff", IDS), np.array(2**63 - 1))
    same(one("ui64=18446744073709551615", IDS), np.array(2**64 - 1, np.uint64))
    same(one("2xcomplex<f32>=1+2j,3", X), np.array([1 + 2j, 3], np.complex64))


@given(st.lists(st.floats(width=32), min_size=1, max_size=9))
def test_floats_come_back_exactly(values):
    expected = np.array(values, np.float32)
    array = one(f"{len(values)}xf32={' '.join(map(repr, values))}", Slot("v", F32, (len(values),)))
    numbers = ~np.isnan(expected)  # text has one NaN, memory has many
    np.testing.assert_array_equal(np.isnan(array), ~numbers)
    np.testing.assert_array_equal(array[numbers].view(np.uint32), expected[numbers].view(np.uint32))


@pytest.mark.parametrize(
    ("text", "slot", "words"),
    [
        ("2x3xf32=1 2", X, "has 6 elements, the text has 2"),
        ("2x3xf32=", X, "has 6 elements, the text has 0"),
        ("2x3xf32=abc", X, "not a value of type f32"),
        ("i8=128", Slot("b", I8, ()), "not a value of type i8"),
        ("i64=1.5", IDS, "not a value of type i64"),
        ("ui8=-1", IDS, "not a value of type ui8"),
        ("i1=2", IDS, "not a value of type i1"),
        ("5", IDS, "sizes are only known at run time"),
        ("99999999999x9xf32=0", X, "would not fit in memory"),
    ],
)
def test_mistakes(text, slot, words):
    with pytest.raises(CliError, match=words) as caught:
        one(text, slot)
    assert caught.value.code == "IREE-CLI-006"


# -- which input ------------------------------------------------------------------------------------


def test_by_name_by_position_and_in_order():
    values = inputs.resolve(["ids=1x4xi64=3", "2"], SIGNATURE)
    assert list(values) == ["x", "ids"]
    same(values["x"], np.full((2, 3), 2, np.float32))
    same(values["ids"], np.full((1, 4), 3))
    same(inputs.resolve(["1=1x4xi64=3"], SIGNATURE)["ids"], np.full((1, 4), 3))
    same(inputs.resolve(["2x3xf32=1", "2x4xi64=5"], SIGNATURE)["ids"], np.full((2, 4), 5))


def test_a_name_wins_over_a_position_and_over_a_type():
    signature = Signature("main", (Slot("1", F32, ()), Slot("f32", F32, ()), Slot("a=b", F32, ())), ())
    values = inputs.resolve(["1=5", "f32=6", "a=b=7"], signature)
    assert {name: float(value) for name, value in values.items()} == {"1": 5, "f32": 6, "a=b": 7}


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["y=1"], 8),
        (["2=1"], 8),
        (["1", "1x4xi64=1", "1"], 8),
        (["x=1", "x=2"], 9),
        (["x=1", "0=2"], 9),
    ],
)
def test_wrong_inputs(texts, code):
    with pytest.raises(CliError) as caught:
        inputs.resolve(texts, SIGNATURE)
    assert caught.value.number == code
    assert caught.value.status == 2


def test_missing_inputs_are_listed():
    with pytest.raises(CliError, match=r"IREE-CLI-007.*ids: batchx4xi64"):
        inputs.require_all(inputs.resolve(["x=1"], SIGNATURE), SIGNATURE)


# -- files ------------------------------------------------------------------------------------------


def test_numpy_files(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    ids = np.arange(4).reshape(1, 4)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "all.npz", x=array, ids=ids)
    same(one(f"@{tmp_path}/x.npy"), array)
    same(one(f"2x3xf32=@{tmp_path}/x.npy"), array)
    same(one(f"@{tmp_path}/all.npz:ids"), ids)
    values = inputs.resolve([f"@{tmp_path}/all.npz"], SIGNATURE)
    same(values["x"], array)
    same(values["ids"], ids)
    same(inputs.resolve([f"ids=@{tmp_path}/all.npz"], SIGNATURE)["ids"], ids)


def test_raw_files(tmp_path):
    path = tmp_path / "x.bin"
    array = np.arange(6, dtype="<f4")
    path.write_bytes(array.tobytes())
    same(one(f"@{path}"), array.reshape(2, 3))
    same(one(f"3x2xf32=@{path}"), array.reshape(3, 2))
    with pytest.raises(CliError, match=r"takes 16 bytes, .* has 24"):
        one(f"2xi64=@{path}")


def test_bad_files(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"not numpy at all")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 not a zip")
    np.save(tmp_path / "object.npy", np.array([None]), allow_pickle=True)
    np.save(tmp_path / "y.npy", np.zeros(3))
    for name in ("x.npy", "x.npz", "object.npy"):
        with pytest.raises(CliError, match=r"IREE-CLI-006.*not a numpy file"):
            one(f"@{tmp_path}/{name}")
    with pytest.raises(CliError, match=r"IREE-CLI-002.*No such file"):
        one(f"@{tmp_path}/none.npy")
    with pytest.raises(CliError, match="the file holds 3xf64"):
        one(f"3xf32=@{tmp_path}/y.npy")
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(CliError, match="has a, b, not x"):
        inputs.resolve([f"x=@{tmp_path}/two.npz"], SIGNATURE)
    with pytest.raises(CliError, match="it has a, b"):
        one(f"@{tmp_path}/two.npz:c")


def test_random_values_are_seeded():
    same(one("random"), one("random:0"))
    assert (one("random:1") != one("random:2")).any()
    ids = one("2x4xi64=random", IDS)
    assert ids.shape == (2, 4)
    assert set(np.unique(ids)) <= {0, 1}
    with pytest.raises(CliError, match="only known at run time"):
        one("random", IDS)
