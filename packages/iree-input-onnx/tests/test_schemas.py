"""The file says what the standard says."""

import json

import onnx
import pytest

from iree_input_onnx.reader import NEWEST_FORMAT, NEWEST_OPSET, OLDEST_OPSET
from iree_input_onnx.schemas import PATH, find_schema, installed

pytestmark = pytest.mark.skipif(
    onnx.defs.onnx_opset_version() != NEWEST_OPSET, reason="another version of the standard is installed"
)


def test_the_file_is_what_the_installed_onnx_says():
    """Else write it anew: ``python -m iree_input_onnx.schemas``."""
    assert json.loads(PATH.read_text(encoding="utf-8")) == installed()


def test_the_newest_format_is_known():
    assert onnx.IR_VERSION == NEWEST_FORMAT


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 13, NEWEST_OPSET])
def test_the_definition_in_force(opset):
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert len(names) > 150
    for name in names:
        try:
            wanted = onnx.defs.get_schema(name, opset, "")
        except onnx.defs.SchemaError:
            assert find_schema(name, "", opset) is None
            continue
        found = find_schema(name, "", opset)
        assert found is not None
        assert found.since_version == wanted.since_version
        assert set(found.attributes) == set(wanted.attributes)


def test_what_is_in_no_standard():
    assert find_schema("Relu", "com.example", 13) is None
    assert find_schema("NoSuchOp", "", 13) is None
    assert find_schema("Relu", "", 0) is None
