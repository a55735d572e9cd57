"""Several targets in one artefact: common phases once, a variant each, equal constants once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flow_programs import MATMUL, PROGRAMS, program

import iree_flow
from iree_core_ir.constants import ConstantStore
from iree_core_ir.interpreter import Interpreter
from iree_core_ir.text.parser import parse_module
from iree_core_ir.text.printer import print_op
from iree_core_ir.verifier import verify
from iree_flow import compiler
from iree_flow.dialects import stream
from iree_flow.errors import FlowError
from iree_flow.options import CompileOptions
from iree_flow.pipeline import COMMON_PHASES, PHASE_NAMES
from iree_flow.session import Session
from iree_flow.variants import SHARED, share_constants
from iree_vm.artifact import Artifact

BOTH = ("fixture", "lattice")


def session(constants: ConstantStore, target: Any = BOTH, **options: Any) -> Session:
    made = Session(CompileOptions.from_arguments(target, options))
    made.constants = constants
    made.load_targets()
    return made


def compiled(name: str, target: Any = BOTH, **options: Any) -> Any:
    module, constants, _ = program(name)
    return compiler.run(module, session(constants, target, **options), 0)


def saved(result: Any, path: Path) -> bytes:
    result.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_each_variant_is_what_its_target_alone_gives(name: str) -> None:
    both: Artifact = compiled(name)
    assert [v.name for v in both.manifest.variants] == list(BOTH)
    for target in BOTH:
        alone: Artifact = compiled(name, target)
        variant, own = both.variant(target), alone.variant()
        assert variant is not None
        assert own is not None
        assert variant.features == own.features
        assert both.debug_info(variant) == alone.debug_info(own)
        codes = [bytes(both.executable(i)) for i in variant.executables]
        assert codes == [bytes(alone.executable(i)) for i in own.executables]
        names = [both.manifest.executables[i].name for i in variant.executables]
        assert names == [f"{target}/{alone.manifest.executables[i].name}" for i in own.executables]
    assert both.manifest.functions == alone.manifest.functions
    both.verify()


@pytest.mark.parametrize("phase", COMMON_PHASES)
def test_up_to_placement_the_text_does_not_depend_on_the_targets(phase: str) -> None:
    for name in sorted(PROGRAMS):
        texts = {
            print_op(compiled(name, target, compile_to=phase).module, locations=True)
            for target in (BOTH, BOTH[::-1], *BOTH)
        }
        assert len(texts) == 1


def test_placement_asks_every_target() -> None:
    report = compiled("matmul").report
    rows = {target: [r.name for r in report.placement if r.target == target] for target in BOTH}
    assert rows["fixture"] == rows["lattice"] != []
    with pytest.raises(FlowError, match=r"IREE-FLOW-007.*by picky .not today"):
        compiled("matmul", ("fixture", "picky"))


def segments(artifact: Artifact) -> dict[str, list[bytes]]:
    return {v.name: [bytes(artifact.constant(i)) for i in v.constants] for v in artifact.manifest.variants}


def test_what_no_variant_transforms_is_stored_once() -> None:
    both = compiled("matmul")
    _, constants, _ = program("matmul")
    w, b = (constants.array(key) for key in ("w", "b"))
    of = {v.name: set(v.constants) for v in both.manifest.variants}
    (shared,) = of["fixture"] & of["lattice"]
    assert bytes(both.constant(shared))[: b.nbytes] == b.tobytes()
    everything = b"".join(bytes(both.constant(i)) for i in range(len(both.manifest.constants)))
    assert everything.count(b.tobytes()) == 1
    assert everything.count(w.tobytes()) == 1
    assert everything.count(np.ascontiguousarray(w.T).tobytes()) == 1
    assert both.report.shared_bytes == 256
    assert both.report.constant_bytes == sum(c.bytes for c in both.manifest.constants)


def test_every_variant_finds_its_constants_aligned() -> None:
    stopped = compiled("matmul", compile_to="stream")
    for module in stopped.module.body.block:
        alignment = {"fixture": 64, "lattice": 256}[module.sym_name.value]
        for op in module.body.block:
            if isinstance(op, stream.ConstantSegment):
                assert all(offset % alignment == 0 for offset in op.offsets)


def test_equal_bytes_under_different_keys_are_shared() -> None:
    store = ConstantStore()
    rng = np.random.default_rng(3)
    common, own = rng.standard_normal(8).astype(np.float32), rng.standard_normal((2, 8)).astype(np.float32)
    for key, array in (("p", common), ("q", common.copy()), ("r", own[0]), ("s", own[1]), ("t", common[:4])):
        store.add_array(array, key=key)
    text = """func.func @f() -> ({types}) {{
      {lines}
      return {names} : {types}
    }}"""

    def module(*keys: str) -> Any:
        types = [f"tensor<{store[key].shape[0]}xf32>" for key in keys]
        lines = [f"%{k} = arith.constant dense_resource<{k}> : {t}" for k, t in zip(keys, types, strict=True)]
        names = ", ".join(f"%{key}" for key in keys)
        filled = text.format(types=", ".join(types), lines="\n".join(lines), names=names)
        return parse_module(filled, constants=store)

    base = session(store, ("fixture", "lattice", "picky"))
    made = (module("p", "r"), module("q", "s", "t"), module("t"))
    parts = [(m, base.view(t)) for m, t in zip(made, base.options.target, strict=True)]
    share_constants(parts, base)
    found = [
        {
            op.sym_name.value: [value.key for value in op.values]  # type: ignore[attr-defined]
            for op in part.body.block
            if isinstance(op, stream.ConstantSegment)
        }
        for part in made
    ]
    assert found == [
        {f"{SHARED}_0": ["p"]}, {f"{SHARED}_0": ["q"], f"{SHARED}_1": ["t"]}, {f"{SHARED}_1": ["t"]}
    ]  # fmt: skip
    for part in made:
        verify(part)


def test_one_target_shares_nothing() -> None:
    artifact = compiled("matmul", "lattice")
    assert artifact.report.shared_bytes == 0
    assert next(iter(artifact.members)) == "module.vmbc"


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_every_variant_keeps_the_meaning_in_every_phase(name: str) -> None:
    module, constants, inputs = program(name)
    expected = Interpreter(module, constants).call("main", *inputs)
    for phase in PHASE_NAMES[len(COMMON_PHASES) : PHASE_NAMES.index("stream") + 1]:
        module, constants, _ = program(name)
        stopped: Any = compiler.run(module, session(constants, compile_to=phase), 0)
        verify(stopped.module)
        text = print_op(stopped.module)
        assert print_op(parse_module(text, constants=constants)) == text
        variants: Any = stopped.module.body.block.ops
        assert [op.sym_name.value for op in variants] == list(BOTH)
        for variant in variants:
            got = Interpreter(variant.detach(), constants).call("main", *inputs)
            for a, b in zip(got, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-6, err_msg=phase)


def test_same_bytes_twice_and_through_every_phase_file(tmp_path: Path) -> None:
    whole = saved(compiled("matmul"), tmp_path / "a.vmfb")
    assert saved(compiled("matmul"), tmp_path / "b.vmfb") == whole
    assert saved(compiled("matmul", BOTH[::-1]), tmp_path / "c.vmfb") != whole
    for phase in PHASE_NAMES:
        path = tmp_path / f"{phase}.mlir"
        compiled("matmul", compile_to=phase).save(path)
        again = iree_flow.compile(path, target=BOTH, compile_from=phase)
        assert saved(again, tmp_path / "d.vmfb") == whole, phase


def test_dumped_phases_continue(tmp_path: Path) -> None:
    whole = saved(compiled("matmul", dump_phases_to=tmp_path), tmp_path / "a.vmfb")
    for number, phase in enumerate(PHASE_NAMES):
        again = iree_flow.compile(tmp_path / f"{number}-{phase}.mlir", target=BOTH, compile_from=phase)
        assert saved(again, tmp_path / "d.vmfb") == whole, phase


def test_a_phase_file_is_of_its_targets(tmp_path: Path) -> None:
    path = tmp_path / "x.mlir"
    compiled("matmul", compile_to="input").save(path)
    iree_flow.compile(path, target="lattice", compile_from="input")
    for phase in ("placement", "stream"):
        compiled("matmul", compile_to=phase).save(path)
        for others in ("fixture", BOTH[::-1]):
            with pytest.raises(FlowError, match=r"IREE-FLOW-011.*--target=fixture --target=lattice"):
                iree_flow.compile(path, target=others, compile_from=phase)


def test_a_target_given_twice() -> None:
    with pytest.raises(FlowError, match=r"IREE-FLOW-012.*fixture, fixture.*twice"):
        iree_flow.compile(MATMUL, target=["fixture", "fixture"])
