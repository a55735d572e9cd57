"""The element type table: names, widths and numpy dtypes agree, and every name finds its row."""

import subprocess
import sys

import numpy as np
import pytest

from iree_base.element_types import ELEMENT_TYPES, element_type, from_dtype
from iree_base.errors import PluginError

PACKED = {"i4", "ui4"}


def carried(row):
    """True where numpy lacks the type and ml-dtypes is not there: an integer of the same width stands in."""
    return row.dtype.isbuiltin == 1 and (row.name in PACKED or (row.kind == "f" and row.dtype.kind == "u"))


@pytest.mark.parametrize("row", ELEMENT_TYPES.values(), ids=ELEMENT_TYPES)
def test_width_and_dtype_agree(row):
    assert row.name in ELEMENT_TYPES
    assert row.bytes == row.dtype.itemsize
    assert row.bits == (4 if row.name in PACKED else row.dtype.itemsize * 8)


@pytest.mark.parametrize("row", ELEMENT_TYPES.values(), ids=ELEMENT_TYPES)
def test_names_and_dtypes_go_both_ways(row):
    assert element_type(row.name) is row
    if row.name != "index" and not carried(row):
        assert from_dtype(row.dtype) is row


def test_byte_order_does_not_matter():
    assert from_dtype(np.dtype(">f4")) is element_type("f32")


def test_index_is_what_i64_arrays_are_not():
    assert element_type("index").dtype == np.int64
    assert from_dtype(np.int64).name == "i64"


@pytest.mark.parametrize("unknown", ["f31", "", "float", "i128"])
def test_unknown_names_list_the_known(unknown):
    with pytest.raises(PluginError, match=r"IREE-BASE-005.*one of i1, i8"):
        element_type(unknown)


@pytest.mark.parametrize("dtype", ["U3", "O", "M8[s]", "V4"])
def test_dtypes_without_a_row(dtype):
    with pytest.raises(PluginError, match="IREE-BASE-005"):
        from_dtype(np.dtype(dtype))


def test_the_table_stands_without_ml_dtypes():
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "from iree_base.element_types import ELEMENT_TYPES as table, from_dtype\n"
        "import numpy as np\n"
        "assert all(row.bytes == row.dtype.itemsize for row in table.values())\n"
        "assert from_dtype(np.uint16).name == 'ui16' and from_dtype(np.int8).name == 'i8'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
