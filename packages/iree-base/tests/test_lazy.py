"""Lazy names are those of their modules, imported on first use, and ordinary attributes from then on."""

from __future__ import annotations

import sys
import types

import pytest

from iree_base.lazy import attach


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    made = types.ModuleType("lazy_package")
    made.__getattr__, made.__dir__ = attach("lazy_package", {"OrderedDict": "collections"})  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_package", made)
    return made


def test_a_name_is_its_modules(package: types.ModuleType) -> None:
    import collections

    assert "OrderedDict" not in vars(package)
    assert package.OrderedDict is collections.OrderedDict
    assert vars(package)["OrderedDict"] is collections.OrderedDict


def test_names_are_listed_before_they_are_used(package: types.ModuleType) -> None:
    assert "OrderedDict" in dir(package)


def test_other_names_are_errors(package: types.ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'Counter'"):
        _ = package.Counter
