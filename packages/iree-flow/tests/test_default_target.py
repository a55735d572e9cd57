"""The default target is the one that offers itself most, or the only one; otherwise the user names one."""

from __future__ import annotations

import pytest

from iree_flow import default_target as module
from iree_flow.default_target import default_target
from iree_flow.errors import FlowError
from iree_flow.options import CompileOptions

Installed = dict[str, int | None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def install(targets: Installed) -> None:
        ranks = {name: rank for name, rank in targets.items() if rank is not None}
        monkeypatch.setattr(module, "target_getters", lambda: dict.fromkeys(targets))
        monkeypatch.setattr(module, "default_target_ranks", lambda: ranks)

    return install


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ({"only": None}, "only"),
        ({"only": 3}, "only"),
        ({"a": None, "b": 1, "c": None}, "b"),
        ({"a": 5, "b": 10}, "b"),
    ],
)
def test_one_stands_out(install, targets: Installed, expected: str) -> None:  # type: ignore[no-untyped-def]
    install(targets)
    assert default_target() == expected
    assert CompileOptions.from_arguments(None, {}).target == (expected,)
    assert CompileOptions().target == (expected,)


@pytest.mark.parametrize("targets", [{"a": None, "b": None}, {"a": 7, "b": 7, "c": 1}])
def test_several_stand_out(install, targets: Installed) -> None:  # type: ignore[no-untyped-def]
    install(targets)
    with pytest.raises(FlowError, match=rf"IREE-FLOW-013.*{', '.join(targets)}.*--target a") as caught:
        default_target()
    assert caught.value.status == 2


def test_nothing_is_installed(install) -> None:  # type: ignore[no-untyped-def]
    install({})
    with pytest.raises(FlowError, match=r"IREE-FLOW-013.*no target is installed.*pip install"):
        default_target()


def test_a_named_target_needs_no_default(install) -> None:  # type: ignore[no-untyped-def]
    install({"a": None, "b": None})
    assert CompileOptions.from_arguments("b", {}).target == ("b",)
