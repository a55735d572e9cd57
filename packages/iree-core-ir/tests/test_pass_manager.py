"""Pipelines as text, options, timing, verification between passes, IR after each change."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from iree_base import debug
from iree_core_ir.dialects.func import ReturnOp
from iree_core_ir.errors import CoreIrError, VerifyError
from iree_core_ir.garbage import frozen_gc
from iree_core_ir.ir.attributes import UNIT
from iree_core_ir.pass_manager import Pass, PassContext, PassManager, find_pass, make_pass, parse_pipeline
from iree_core_ir.passes import PASSES
from iree_core_ir.text.parser import parse_module

TEXT = """
func.func @f(%x: f32) -> f32 {
  %dead = arith.addf %x, %x : f32
  return %x : f32
}"""


@dataclass
class Everything(Pass):
    name: ClassVar[str] = "everything"
    number: int = 3
    flag: bool = False
    word: str = ""
    ratio: float = 0.5
    sizes: list[int] = field(default_factory=list)
    names: tuple[str, ...] = ()
    maybe: int | None = None

    def run(self, module: Any, context: PassContext) -> None:
        context.report("everything", self.number)


@dataclass
class Breaks(Pass):
    name: ClassVar[str] = "breaks"

    def run(self, module: Any, context: PassContext) -> None:
        for op in module.walk():
            if isinstance(op, ReturnOp):
                op.set_operands(())


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    from iree_core_ir import plugins

    known = plugins.pass_getters()
    extra = {"everything": lambda: Everything, "breaks": lambda: Breaks}
    monkeypatch.setattr(plugins, "pass_getters", lambda: {**known, **extra})


@pytest.mark.usefixtures("registered")
def test_options_round_trip() -> None:
    text = 'everything{number=7 flag=true word="a b" ratio=1.5 sizes=1,2,3 names=x,y maybe=0}'
    (parsed,) = parse_pipeline(text)
    assert parsed == Everything(7, True, "a b", 1.5, [1, 2, 3], ("x", "y"), 0)
    assert parsed.text == text
    assert parse_pipeline(parsed.text) == [parsed]
    assert Everything().text == "everything"
    assert make_pass("everything", {"maybe": "none"}) == Everything()


def test_pipelines() -> None:
    manager = PassManager.parse(" cse , canonicalize{max-iterations=5},dce ")
    assert manager.text == "cse,canonicalize{max-iterations=5},dce"
    assert PassManager.parse(f"builtin.module({manager.text})").text == manager.text
    assert PassManager.parse("").passes == []


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("nothing", 3, "'nothing'; cause: known: "),
        ("cse dce", 3, "expected ',' between passes"),
        ("cse,,dce", 3, "expected the name of a pass"),
        ("cse{x=1}", 4, "'cse' has no option 'x'; cause: it has none"),
        ("everything{number=x}", 4, "number=x"),
        ("everything{flag=maybe}", 4, "expected true or false"),
        ("everything{number}", 4, "expected option=value"),
        ("everything{number=1", 4, "expected option=value"),
    ],
)
def test_bad_pipelines(text: str, code: int, message: str) -> None:
    with pytest.raises(CoreIrError) as caught:
        parse_pipeline(text)
    assert caught.value.number == code
    assert message in str(caught.value)


@pytest.mark.parametrize("name", sorted(PASSES))
def test_core_passes_are_found_and_documented(name: str) -> None:
    cls = find_pass(name)
    assert cls.name == name and cls.__doc__


def test_run_times_and_returns_the_context() -> None:
    module = parse_module(TEXT)
    context = PassManager.parse("cse,dce").run(module)
    assert [name for name, _ in context.times] == ["cse", "dce"]
    assert "arith.addf" not in str(module)


def test_reports() -> None:
    context = PassManager([Everything(4), Everything(5)]).run(parse_module(TEXT))
    assert context.reports == {"everything": [4, 5]}


def test_the_pass_that_breaks_the_ir_is_named() -> None:
    with pytest.raises(VerifyError, match=r"after breaks: .*'func.return' op returns"):
        PassManager([Breaks(), Everything()], verify_each=True).run(parse_module(TEXT))
    # Without verification in between, the end is still verified.
    with pytest.raises(VerifyError, match="after everything"):
        PassManager([Breaks(), Everything()], verify_each=False).run(parse_module(TEXT))
    with debug.verify(), pytest.raises(VerifyError, match="after breaks"):
        PassManager([Breaks(), Everything()]).run(parse_module(TEXT))


def test_ir_is_shown_after_changes_only(capsys: pytest.CaptureFixture[str]) -> None:
    with debug.debug(debug.IR):
        PassManager.parse("cse,dce,dce").run(parse_module(TEXT))
    shown = capsys.readouterr().err
    assert shown.count("// IR after") == 1 and "// IR after dce" in shown
    with debug.debug(debug.PASSES):
        PassManager.parse("cse").run(parse_module(TEXT))
    shown = capsys.readouterr().err
    assert shown.startswith("cse ") and "ms" in shown and "// IR" not in shown


def test_hook_after_each_pass() -> None:
    seen: list[str] = []
    PassManager.parse("cse,dce", after_pass=lambda p, module: seen.append(p.name)).run(parse_module(TEXT))
    assert seen == ["cse", "dce"]


def test_garbage_collection_rests_and_comes_back() -> None:
    assert gc.isenabled()
    with frozen_gc():
        assert not gc.isenabled()
        with frozen_gc():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(VerifyError):
        PassManager([Breaks()]).run(parse_module(TEXT))
    assert gc.isenabled()


@dataclass
class Counts(Pass):
    """Leaves the module alone, and says so (or not)."""

    name: ClassVar[str] = "counts"
    settles: ClassVar[bool] = True
    says: bool | None = False

    def run(self, module: Any, context: PassContext) -> bool | None:
        context.report("counts", self.text)
        return self.says


def runs(*passes: Pass, context: PassContext | None = None) -> int:
    context = PassContext() if context is None else context
    PassManager(passes, verify_each=False).run(parse_module(TEXT), context)
    return len(context.reports.get("counts", ()))


def test_a_pass_that_settles_waits_for_a_change() -> None:
    class Changes(Pass):
        name = "changes"

        def run(self, module: Any, context: PassContext) -> bool | None:
            return None

    assert runs(Counts(), Counts()) == 1
    assert runs(Counts(None), Counts(None)) == 1
    assert runs(Counts(), Counts(None), Counts()) == 3, "another one changed the module, or does not know"
    assert runs(Counts(), Changes(), Counts()) == 2
    assert runs(Counts(), Everything(), Counts()) == 2


def test_what_is_settled_is_remembered_by_module() -> None:
    context = PassContext()
    assert runs(Counts(), context=context) == 1
    assert runs(Counts(), context=context) == 2, "another module"


def test_verification_does_not_take_a_pass_at_its_word() -> None:
    class Lies(Pass):
        name = "lies"

        def run(self, module: Any, context: PassContext) -> bool:
            for op in module.walk():
                op.attributes["changed"] = UNIT
            return False

    PassManager([Lies()], verify_each=False).run(parse_module(TEXT))
    with pytest.raises(VerifyError, match=r"after lies: .*said to leave"):
        PassManager([Lies()], verify_each=True).run(parse_module(TEXT))
    context = PassManager([Counts(), Counts()], verify_each=True).run(parse_module(TEXT))
    assert context.reports["counts"] == ["counts", "counts"], "checked though it is settled"
