"""compile_all: order, cache, workers, errors, crashes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from iree_base.errors import IreeError
from iree_codegen.cache import CompileCache
from iree_codegen.driver import compile_all
from iree_codegen.errors import CodegenError
from iree_core_ir.target import DispatchRequest, TargetDescription

from .fake_target import FakeTarget


def requests(*texts: str) -> list[DispatchRequest]:
    return [DispatchRequest(f"d{i}", text, TargetDescription("fake")) for i, text in enumerate(texts)]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers unpickle the fake target: its package must be importable there."""
    root = Path(__file__).parent
    monkeypatch.setattr(FakeTarget, "__module__", "fake_target")
    monkeypatch.syspath_prepend(str(root))
    paths = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{paths}")


def target(isolated: bool = False) -> Any:
    from fake_target import FakeTarget as Importable

    return Importable(isolated)


def test_results_are_in_order_for_any_number_of_jobs() -> None:
    asked = requests(*[f"text {i}" * (i % 7 + 1) for i in range(60)])
    expected = [r.text.encode() for r in asked]
    for jobs in (1, 2, 3):
        found = compile_all(target(), asked, jobs=jobs, cache=False)
        assert [f.data for f in found] == expected


def test_progress_counts_every_dispatch() -> None:
    seen: list[tuple[int, int, str]] = []
    compile_all(target(), requests("a", "b"), jobs=1, cache=False, progress=lambda *now: seen.append(now))
    assert [s[:2] for s in seen] == [(1, 2), (2, 2)]
    assert {s[2] for s in seen} == {"d0", "d1"}


def test_the_cache_saves_compiling(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    first = target()
    a = compile_all(first, requests("a", "b"), jobs=1, cache=cache)
    second = target()
    b = compile_all(second, requests("a", "b"), jobs=1, cache=cache)
    assert len(first.compiled) == 2 and not second.compiled
    assert [x.data for x in a] == [x.data for x in b]
    assert all(x.report["cached"] for x in b) and not any(x.report.get("cached") for x in a)


@pytest.mark.parametrize("isolated", [False, True])
def test_the_first_failure_in_order_is_raised(isolated: bool) -> None:
    with pytest.raises(CodegenError) as caught:
        compile_all(target(isolated), requests("fine", "fail"), jobs=1, cache=False)
    assert caught.value.detail == "d1"


def test_a_crash_names_the_dispatch() -> None:
    with pytest.raises(CodegenError) as caught:
        compile_all(target(True), requests("fine", "abort"), jobs=1, cache=False)
    assert caught.value.code == "IREE-CODEGEN-005"
    assert "d1" in str(caught.value) and "LLVM ERROR" in str(caught.value)


def test_a_bug_in_a_worker_is_a_coded_error() -> None:
    with pytest.raises(IreeError) as caught:
        compile_all(target(True), requests("bug"), jobs=1, cache=False)
    assert "ZeroDivisionError" in str(caught.value)


def test_output_of_the_compiler_does_not_disturb_the_pipe() -> None:
    found = compile_all(target(True), requests("noise", "noise too"), jobs=1, cache=False)
    assert [f.data for f in found] == [b"noise", b"noise too"]


def test_nothing_to_do() -> None:
    assert compile_all(target(), [], jobs=1, cache=False) == []
