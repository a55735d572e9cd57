"""``--output`` texts: what is written reads back, and nothing appears when anything fails."""

import numpy as np
import pytest

from iree_base.element_types import element_type
from iree_cli import outputs
from iree_cli.errors import CliError
from iree_cli.signatures import Signature, Slot

F32 = element_type("f32")
ONE = Signature("main", (), (Slot("y", F32, (2,)),))
TWO = Signature("main", (), (Slot("y", F32, (2,)), Slot("z", F32, (3,))))
RESULTS = {"y": np.array([1, 2], np.float32), "z": np.array([[3.0, 4.0]], ">f4")}


def test_all_formats_read_back(tmp_path):
    texts = [f"@{tmp_path}/all.npz", f"y=@{tmp_path}/y.npy", f"1=@{tmp_path}/z.bin"]
    outputs.write(outputs.parse(texts, TWO), RESULTS)
    with np.load(tmp_path / "all.npz") as archive:
        assert sorted(archive.files) == ["y", "z"]
        np.testing.assert_array_equal(archive["z"], RESULTS["z"])
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), RESULTS["y"])
    assert (tmp_path / "z.bin").read_bytes() == np.array([3, 4], "<f4").tobytes()


def test_the_only_result_needs_no_name(tmp_path):
    outputs.write(outputs.parse([f"@{tmp_path}/y.npy"], ONE), RESULTS)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), RESULTS["y"])


@pytest.mark.parametrize(
    ("text", "code"),
    [("@y.npy", 10), ("w=@y.npy", 10), ("2=@y.npy", 10), ("y.npz", 10), ("@", 10), ("@none/y.npz", 3)],
)
def test_mistakes_are_found_before_anything_runs(text, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CliError) as caught:
        outputs.parse([text], TWO)
    assert caught.value.number == code


def test_a_file_is_written_once(tmp_path):
    with pytest.raises(CliError, match="IREE-CLI-009"):
        outputs.parse([f"y=@{tmp_path}/a.npy", f"z=@{tmp_path}/a.npy"], TWO)


def test_nothing_appears_when_one_of_them_fails(tmp_path):
    (tmp_path / "y.npy").write_bytes(b"before")
    places = outputs.parse([f"y=@{tmp_path}/y.npy", f"z=@{tmp_path}/z.npy"], TWO)
    with pytest.raises(KeyError):
        outputs.write(places, {"y": RESULTS["y"]})
    assert [path.name for path in tmp_path.iterdir()] == ["y.npy"]
    assert (tmp_path / "y.npy").read_bytes() == b"before"


def test_text_states_the_type_and_elides():
    assert outputs.text("y", RESULTS["y"], 64) == "y: 2xf32=[1. 2.]"
    assert "..." in outputs.text("y", np.zeros(100, np.float32), 64)


def test_json_facts():
    assert outputs.facts("y", RESULTS["y"], 2) == {
        "name": "y", "dtype": "f32", "shape": [2], "values": [1.0, 2.0]
    }  # fmt: skip
    assert "values" not in outputs.facts("y", RESULTS["y"], 1)
