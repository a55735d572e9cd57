"""The coverage page says what the table says."""

from pathlib import Path

import pytest

from iree_input_onnx.coverage import LOWERED, definitions, how, page
from iree_input_onnx.table import table

PAGE = Path(__file__).parents[3] / "docs" / "onnx-coverage.md"


def rows():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: row for row in cells if row[0] != "operator"}


def test_every_operator_of_the_standard_has_its_row():
    if not PAGE.exists():
        pytest.skip("not in a checkout")
    found = rows()
    assert set(found) == set(definitions())
    for name, schemas in definitions().items():
        assert found[name][2] == how(name, schemas), f"{name}: run python -m iree_input_onnx.coverage"


def test_the_table_holds_operators_of_the_standard_only():
    names = set(definitions())
    for domain, op_type in table():
        assert domain == ""
        assert op_type in names


def test_lowered_operators_cover_their_oldest_definition():
    for name, schemas in definitions().items():
        entry = table().get(("", name))
        if entry is not None:
            assert how(name, schemas) == LOWERED
            assert entry.since <= schemas[0].since_version


@pytest.mark.slow
def test_the_page_is_what_its_script_writes():
    if not PAGE.exists():
        pytest.skip("not in a checkout")
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run python -m iree_input_onnx.coverage docs/onnx-coverage.md"
    )
