"""``debug.json``: from dispatches to source nodes."""

from __future__ import annotations

import pytest

from iree_base.postfix import Number
from iree_vm import VmError
from iree_vm.artifact import AssertInfo, DebugInfo, DispatchInfo

INFO = DebugInfo.of(
    [
        DispatchInfo(
            "k0", ("/conv1", "/relu1"), "conv", "it fits", (AssertInfo("/gather", "index of axis 0"),)
        ),
        DispatchInfo("k1", ("/softmax",)),
    ],
    compiler={"seconds": 1.5},
)


def test_round_trip() -> None:
    assert DebugInfo.deserialize(INFO.serialize()) == INFO
    assert DebugInfo.deserialize(DebugInfo().serialize()) == DebugInfo()
    assert INFO.to_json()["compiler"] == {"seconds": 1.5}


def test_an_assertion_has_its_own_source() -> None:
    assert INFO.dispatches["k0"].source(0) == "/gather"
    assert INFO.dispatches["k0"].source(3) == "/conv1, /relu1"
    assert INFO.dispatches["k0"].source() == "/conv1, /relu1"


@pytest.mark.parametrize("data", [b"", b"[]", b'{"dispatches": 1}', b'{"dispatches": [{"name": "x"}]}', b"{"])
def test_damage_is_coded(data: bytes) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-057"):
        DebugInfo.deserialize(data)


def test_work_travels_in_the_debug_information() -> None:
    work: dict[str, Number] = {"flops": ["d0", 4, "*"], "read": 12}
    info = DebugInfo.of([DispatchInfo("f", ("a",), work=work)])
    again = DebugInfo.deserialize(info.serialize())
    assert again.dispatches["f"].work == work
    with pytest.raises(VmError):
        DebugInfo.deserialize(info.serialize().replace(b'"d0"', b"0.5"))
