"""``load``: choice of variant, the module's surface, unloading; the runtime stays free of the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from vm_models import add_function, add_model, index_recording, kernels, random, spin_recording, tensor, write

import iree_hal
from iree_vm import Artifact, ArtifactWriter, NativeModule, VmError, load
from iree_vm.artifact import Dim, FunctionSpec
from iree_vm.bytecode import encoding
from iree_vm.bytecode.assembler import assemble
from iree_vm.host_program import HostProgram
from iree_vm.loading import Module


@pytest.fixture
def module() -> Iterator[Module]:
    with load(add_model()) as loaded:
        yield loaded


def test_from_path_and_from_artifact(tmp_path: Path) -> None:
    artifact = add_model(tmp_path / "add.vmfb")
    x, y = random(16), random(16, seed=1)
    for source in (artifact, tmp_path / "add.vmfb", str(tmp_path / "add.vmfb"), add_model()):
        np.testing.assert_array_equal(load(source).main(x, y), x + y)
    assert load(artifact, verify=True).artifact is artifact


def test_surface(module: Module) -> None:
    assert set(module.functions) == {"main"}
    assert module.functions["main"] is module.main
    assert str(module.main.signature) == "main(a: f32[16], b: f32[16]) -> (y: f32[16])"
    assert module.main.__doc__ == str(module.main.signature)
    assert [t.name for t in module.main.signature.inputs] == ["a", "b"]
    assert "main" in dir(module)
    assert "main(a: f32[16]" in repr(module)
    assert not hasattr(module, "other")
    with pytest.raises(VmError, match=r"IREE-VM-007.*'other'.*main"):
        _ = module.other
    with pytest.raises(TypeError):
        module.functions["x"] = None  # type: ignore[index]


def test_run_by_name(module: Module) -> None:
    x, y = random(16), random(16, seed=1)
    result = module.run({"b": y, "a": x})
    assert list(result) == ["y"]
    np.testing.assert_array_equal(result["y"], x + y)
    with pytest.raises(VmError, match=r"IREE-VM-021.*unknown 'c'; missing 'b'"):
        module.run({"a": x, "c": y})
    with pytest.raises(VmError, match=r"IREE-VM-007"):
        module.run({}, function="none")


def test_unload(module: Module) -> None:
    x = random(16)
    main = module.main
    pending = module.main_async(x, x)
    np.testing.assert_array_equal(pending.result(), x + x)
    module.unload()
    module.unload()
    for call in (lambda: main(x, x), lambda: module.run({"a": x, "b": x}), lambda: module.main_async(x, x)):
        with pytest.raises(VmError, match=r"IREE-VM-014"):
            call()


def test_devices(module: Module) -> None:
    x = random(16)
    for device in ("local-sync", "local-task", iree_hal.create_device("local-sync")):
        np.testing.assert_array_equal(load(add_model(), device=device).main(x, x), x + x)
    assert load(add_model(), threads=1).device.driver_name == "local-task"
    with pytest.raises(VmError, match=r"IREE-VM-042.*'none'.*installed.*local-task"):
        load(add_model(), device="none")
    with pytest.raises(VmError, match=r"IREE-VM-042.*no effect"):
        load(add_model(), device=module.device, threads=2)
    with pytest.raises(VmError, match=r"IREE-VM-040.*null here cannot run elf-"):
        load(add_model(), device="null")


def test_a_missing_feature_is_named() -> None:
    with pytest.raises(VmError, match=r"IREE-VM-041.*avx9000"):
        load(add_model(features=("avx9000",)))


def variants(*features: tuple[str, tuple[str, ...], str]) -> Artifact:
    program = HostProgram("m")
    spec = FunctionSpec("main", (tensor("a", 16), tensor("b", 16)), (tensor("y", 16),))
    add_function(program, spec, lambda f: f.size(16))
    with ArtifactWriter(None, "m") as writer:
        writer.add_function(spec)
        executable = kernels(writer)
        for name, needs, driver in features:
            writer.add_variant(name, "llvm-cpu", driver, [executable], features=needs)
        writer.set_bytecode(program.serialize())
        return writer.finish()


def test_the_variant_with_most_features_that_fits_is_taken() -> None:
    here = sorted(iree_hal.platform.current().cpu_features())
    one, two = tuple(here[:1]), tuple(here[:2])
    artifact = variants(
        ("base", (), "local-task"),
        ("two", two, "local-task"),
        ("one", one, "local-task"),
        ("more", (*two, "avx9000"), "local-task"),
        ("elsewhere", (), "vulkan-that-is-not-installed"),
    )
    variant = load(artifact).variant
    assert variant is not None
    assert variant.name == ("two" if len(two) == 2 else "base")
    with pytest.raises(VmError, match=r"IREE-VM-040.*elsewhere"):
        load(variants(("elsewhere", (), "vulkan-that-is-not-installed")))


def test_modules_written_in_python() -> None:
    text = """module @m
        import @host.next(ref) -> (ref)
        func @main(%r0, %r1) -> (ref) {
          %r2 = call @host.next(%r0)
          return %r2
        }
        export @main"""
    with ArtifactWriter(None, "m") as writer:
        writer.add_function(FunctionSpec("main", (tensor("x", 2),), (tensor("y", 2),)))
        writer.set_bytecode(encoding.encode(assemble(text)))
        artifact = writer.finish()
    host = NativeModule("host")
    host.export("next", "(ref) -> (ref)")(lambda x: x + 1)
    np.testing.assert_array_equal(load(artifact, modules=[host]).main(np.zeros(2, np.float32)), [1, 1])
    with pytest.raises(VmError, match=r"IREE-VM-018.*'host'.*modules="):
        load(artifact)


def test_modules_of_plugins() -> None:
    text = """module @m
        import @strings.format.i64(i64) -> (ref)
        func @main(%r0, %r1) -> (ref) {
          %l0 = const.i64 -12
          %r2 = call @strings.format.i64(%l0)
          %r0 = const.ref.zero
          return %r1
        }
        export @main"""
    with ArtifactWriter(None, "m") as writer:
        writer.add_function(FunctionSpec("main", (tensor("x", 2),), (tensor("y", 2),)))
        writer.set_bytecode(encoding.encode(assemble(text)))
        artifact = writer.finish()
    with pytest.raises(VmError, match=r"IREE-VM-008.*output 'y' of main is null"):
        load(artifact).main(np.zeros(2, np.float32))


def test_manifest_and_bytecode_must_agree() -> None:
    with ArtifactWriter(None, "m") as writer:
        writer.add_function(FunctionSpec("main", (tensor("x", 2),), ()))
        writer.set_bytecode(encoding.encode(assemble("module @m\nfunc @main() {\n return\n}\nexport @main")))
        artifact = writer.finish()
    with pytest.raises(VmError, match=r"IREE-VM-056.*@main disagree"):
        load(artifact)


def test_a_kernel_failure_names_the_source_node() -> None:
    def build(program: HostProgram) -> None:
        commands = program.recording("check", index_recording(), executables=(0,))
        f = program.function(specs[0])
        f.execute(commands, params=[f.dim("n"), 3], bindings=[])
        f.return_()

    specs = [FunctionSpec("main", (tensor("x", "n"),), ())]
    module = load(write(None, build, specs))
    assert module.main(random(3)) == ()
    with pytest.raises(VmError, match=r"IREE-VM-030.*/model/Gather_1.*index of input 1") as caught:
        module.main(random(4))
    assert caught.value.status == 3
    assert caught.value.__suppress_context__
    with pytest.raises(VmError, match=r"IREE-VM-030.*/model/Gather_1"):
        module.main_async(random(4)).result()


def state_model() -> Artifact:
    """main(x) -> y: the sum of all x so far, kept in a buffer of the load."""
    specs = [FunctionSpec("main", (tensor("x", 16),), (tensor("y", 16),))]

    def build(program: HostProgram) -> None:
        from vm_models import add_recording

        commands = program.recording("add", add_recording(), executables=(0,))
        total = program.state("total", 64)
        f = program.function(specs[0])
        y = f.result(0)
        first = f.step()
        state = f.load(total)
        f.execute(commands, params=[16], bindings=[f.inputs[0], state, y], signal=first)
        b = f.builder
        zero, size = b.const_i64(0), b.const_i64(64)
        b.call("hal.device.queue.copy", f.device(), first, f.signal, y, zero, state, zero, size)
        f.return_(y)

    return write(None, build, specs)


def test_state_belongs_to_a_load_and_calls_are_serialized() -> None:
    artifact = state_model()
    first, second = load(artifact), load(artifact)
    x = random(16)
    np.testing.assert_array_equal(first.main(x), x)
    np.testing.assert_array_equal(first.main(x), x + x)
    np.testing.assert_array_equal(second.main(x), x)
    one = np.ones(16, np.float32)
    start = first.main(one) - 1
    threads = [threading.Thread(target=lambda: [first.main(one) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(first.main(one), start + 202, rtol=1e-6)


def test_asynchronous_steps_are_ordered() -> None:
    module = load(state_model())
    x = random(16)
    wait = iree_hal.Fence.create()
    pending = module.main_async(x, wait=wait)
    assert not pending.done()
    with pytest.raises(VmError, match=r"IREE-VM-032"):
        pending.result(timeout=0.01)
    wait.signal()
    np.testing.assert_array_equal(pending.result(30), x)
    assert pending.done()


def test_asynchronous_calls_on_state_keep_their_order() -> None:
    """Each waits for the one before, even where that one's own wait is reached later."""
    module = load(state_model())
    one = np.ones(16, np.float32)
    first_may_start = iree_hal.Fence.create()
    first = module.main_async(one, wait=first_may_start)
    second = module.main_async(one * 10)
    assert not second.done()
    first_may_start.signal()
    assert second.result(30)[0] == 11
    assert first.result(30)[0] == 1
    assert module.main(one)[0] == 12


def test_a_failed_asynchronous_call_does_not_fail_the_next() -> None:
    module = load(state_model())
    one = np.ones(16, np.float32)
    broken = iree_hal.Fence.create()
    first = module.main_async(one, wait=broken)
    second = module.main_async(one)
    broken.fail(ValueError("upstream"))
    with pytest.raises(iree_hal.HalError, match=r"upstream"):
        first.result(30)
    assert second.result(30)[0] == 1
    first = module.main_async(one, wait=broken)
    assert module.main(one)[0] == 2


def test_asynchronous_results_own_their_memory() -> None:
    spec = FunctionSpec("main", (tensor("x", 4),), (tensor("y", 4),))

    def build(program: HostProgram) -> None:
        f = program.function(spec)
        f.done()
        f.return_(f.views[0])

    module = load(write(None, build, [spec]))
    x = random(4)
    pending = module.main_async(x)
    assert pending.result(30) is pending.result(30)
    np.testing.assert_array_equal(pending.result(30), x)
    assert not np.shares_memory(pending.result(30), x)
    assert not np.shares_memory(module.main(x), x)


def test_a_failed_wait_fails_the_call() -> None:
    module = load(add_model())
    wait, signal = iree_hal.Fence.create(), iree_hal.Fence.create()
    pending = module.main_async(random(16), random(16), wait=wait, signal=signal)
    wait.fail(ValueError("upstream"))
    with pytest.raises(iree_hal.HalError, match=r"IREE-HAL-015.*upstream"):
        pending.result(30)
    with pytest.raises(iree_hal.HalError):
        signal.wait(30)


def test_wrong_inputs_of_an_asynchronous_call_are_raised_at_once() -> None:
    module = load(add_model())
    with pytest.raises(VmError, match=r"IREE-VM-022"):
        module.main_async(random(16), random(15))
    with pytest.raises(VmError, match=r"IREE-VM-020"):
        module.main_async(random(16))


def test_threads_call_side_by_side(module: Module) -> None:
    wrong: list[int] = []

    def call(seed: int) -> None:
        nonlocal wrong
        x, y = random(16, seed=seed), random(16, seed=seed + 100)
        for _ in range(300):
            wrong += [seed] * (not np.array_equal(module.main(x, y), x + y))

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_unload_while_others_call() -> None:
    for _ in range(10):
        module = load(add_model())
        x = random(16)
        outcomes: list[object] = []

        def call(module: Module = module, x: np.ndarray = x, outcomes: list[object] = outcomes) -> None:  # type: ignore[type-arg]
            try:
                while True:
                    assert np.array_equal(module.main(x, x), x + x)
            except VmError as error:
                outcomes.append(error.number)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        module.unload()
        for thread in threads:
            thread.join(30)
        assert outcomes == [14] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_can_call(module: Module) -> None:
    x = random(16)
    module.main(x, x)
    child = os.fork()
    if not child:
        try:
            ok = np.array_equal(module.main(x, x), x + x) and np.array_equal(
                module.main_async(x, x).result(30), x + x
            )
            os._exit(0 if ok else 1)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(module.main(x, x), x + x)


def spin_model() -> Artifact:
    specs = [FunctionSpec("main", (tensor("x", "n"),), ())]

    def build(program: HostProgram) -> None:
        commands = program.recording("spin", spin_recording(), executables=(0,))
        f = program.function(specs[0])
        f.execute(commands, params=[f.dim("n"), 1_000_000], bindings=[])
        f.return_()

    return write(None, build, specs, dims={"n": Dim()})


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_stops_a_long_call() -> None:
    """A call of hours ends with KeyboardInterrupt, and the module still works."""
    import signal

    module = load(spin_model(), threads=1)
    long = np.broadcast_to(np.float32(0), 1 << 22).copy()
    # A job in the background of a shell starts with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            module.main(long)
    finally:
        signal.signal(signal.SIGINT, before)
    assert module.main(random(1)) == ()


def test_the_runtime_imports_neither_compiler_nor_llvm() -> None:
    heavy = {"llvmlite", "iree_core_ir", "iree_codegen", "iree_flow"}
    script = f"import sys, iree_vm; bad = {heavy} & set(sys.modules); assert not bad, bad"
    subprocess.run([sys.executable, "-c", script], check=True)
