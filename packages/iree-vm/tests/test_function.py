"""Generated callables: ``out=``, ``donate=``, several results, what is copied and what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vm_models import add_function, add_model, add_recording, dynamic_model, random, tensor, write

from iree_vm import Artifact, VmError, load
from iree_vm.artifact import FunctionSpec
from iree_vm.host_program import HostProgram
from iree_vm.loading import Module

X, Y = random(16), random(16, seed=1)


@pytest.fixture(scope="module")
def module() -> Module:
    return load(add_model())


def test_out_receives_the_result(module: Module) -> None:
    out = np.empty(16, np.float32)
    assert module.main(X, Y, out={"y": out}) is out
    np.testing.assert_array_equal(out, X + Y)
    assert module.main(X, Y, out={}) is not out


def test_out_of_any_layout(module: Module) -> None:
    out = np.empty(32, np.float32)[::2]
    assert module.main(X, Y, out={"y": out}) is out
    np.testing.assert_array_equal(out, X + Y)


def test_out_that_is_an_input(module: Module) -> None:
    x = X.copy()
    assert module.main(x, Y, out={"y": x}) is x
    np.testing.assert_array_equal(x, X + Y)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"z": np.empty(16, np.float32)}, "no output 'z'.*name outputs: y"),
        ({"y": np.empty(16, np.float64)}, "'y' must be a writable numpy array of f32"),
        ({"y": [0.0] * 16}, "'y' must be"),
        ({"y": np.broadcast_to(np.float32(0), 16)}, "'y' must be"),
        ([1], "pass out="),
    ],
)  # fmt: skip
def test_out_that_cannot_be_used(out: Any, message: str, module: Module) -> None:
    with pytest.raises(VmError, match=rf"IREE-VM-025.*{message}"):
        module.main(X, Y, out=out)


def test_out_of_a_wrong_shape(module: Module) -> None:
    with pytest.raises(VmError, match=r"IREE-VM-02[25].*'y'"):
        module.main(X, Y, out={"y": np.empty(15, np.float32)})
    with pytest.raises(VmError, match=r"IREE-VM-025.*'y'"):
        module.main(X, Y, out={"y": np.empty(30, np.float32)[::2]})


def donating_model() -> Artifact:
    """main(a, b) -> y = a + b, where y may take over a's memory (the kernel is elementwise)."""
    spec = FunctionSpec("main", (tensor("a", 16), tensor("b", 16)), (tensor("y", 16, tied=0),))

    def build(program: HostProgram) -> None:
        commands = program.recording("add", add_recording(), executables=(0,))
        f = program.function(spec)
        y = f.result(0)
        b = f.builder
        zero, size = b.const_i64(0), b.const_i64(64)
        null = b.null()
        b.call("hal.device.queue.copy", f.device(), null, null, f.inputs[0], zero, y, zero, size)
        scratch = b.call("hal.device.queue.alloca", f.device(), null, null, size)
        f.execute(commands, params=[16], bindings=[y, f.inputs[1], scratch], signal=null)
        b.call("hal.device.queue.copy", f.device(), null, f.signal, scratch, zero, y, zero, size)
        f.return_(y)

    return write(None, build, [spec])


def test_a_donated_input_becomes_the_result() -> None:
    module = load(donating_model())
    x = X.copy()
    assert not np.shares_memory(module.main(x, Y), x)
    np.testing.assert_array_equal(x, X)
    for donate in ("a", ["a"], (0,), 0):
        x = X.copy()
        result = module.main(x, Y, donate=donate)
        assert np.shares_memory(result, x)
        np.testing.assert_array_equal(result, X + Y)


def test_an_input_that_cannot_be_taken_over_is_left_alone() -> None:
    module = load(donating_model())
    x = X.copy()
    x.flags.writeable = False
    np.testing.assert_array_equal(module.main(x, Y, donate="a"), X + Y)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(module.main(X, Y, donate="b"), X + Y)
    for wrong in ("c", 2, [None]):
        with pytest.raises(VmError, match=r"IREE-VM-026.*a, b"):
            module.main(X, Y, donate=wrong)


def test_several_results_and_one_that_is_an_input() -> None:
    spec = FunctionSpec(
        "main",
        (tensor("a", 16), tensor("b", 16)),
        (tensor("sum", 16), tensor("same", 16), tensor("twice", 16)),
    )

    def build(program: HostProgram) -> None:
        commands = program.recording("add", add_recording(), executables=(0,))
        f = program.function(spec)
        total, twice = f.result(0), f.result(2)
        middle = f.step()
        f.execute(commands, params=[16], bindings=[*f.inputs, total], signal=middle)
        f.execute(commands, params=[16], bindings=[total, total, twice], wait=middle)
        f.return_(total, f.views[0], twice)

    module = load(write(None, build, [spec]))
    results = module.main(X, Y)
    assert isinstance(results, tuple)
    for got, wanted in zip(results, (X + Y, X, (X + Y) * 2), strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert not np.shares_memory(got, X)
    assert list(module.run({"a": X, "b": Y})) == ["sum", "same", "twice"]
    out = np.empty(16, np.float32)
    assert module.main(X, Y, out={"twice": out})[2] is out
    for got, wanted in zip(module.main_async(X, Y).result(30), (X + Y, X, (X + Y) * 2), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_several_functions_in_one_module() -> None:
    specs = [
        FunctionSpec(n, (tensor("a", 16), tensor("b", 16)), (tensor("y", 16),)) for n in ("run", "other")
    ]

    def build(program: HostProgram) -> None:
        for spec in specs:
            add_function(program, spec, lambda f: f.size(16))

    module = load(write(None, build, specs))
    np.testing.assert_array_equal(module.functions["run"](X, Y), X + Y)
    np.testing.assert_array_equal(module.other(X, Y), X + Y)
    np.testing.assert_array_equal(module.run({"a": X, "b": Y}, function="run")["y"], X + Y)


def test_data_dependent_control_flow_reads_scalars_back() -> None:
    """y = a + b, doubled until the first element reaches 100."""
    spec = FunctionSpec("main", (tensor("a", 16), tensor("b", 16)), (tensor("y", 16),))

    def build(program: HostProgram) -> None:
        commands = program.recording("add", add_recording(), executables=(0,))
        f = program.function(spec)
        b = f.builder
        y = f.result(0)
        null = b.null()
        size, zero = b.const_i64(64), b.const_i64(0)
        scratch = b.call("hal.device.queue.alloca", f.device(), null, null, size)
        b.call("hal.fence.await", f.wait)
        f.execute(commands, params=[16], bindings=[*f.inputs, scratch], wait=null, signal=null)
        head, again, out = b.block(), b.block(), b.block()
        b.br(head)
        b.switch_to(head)
        first = b.call("hal.buffer.load.f32", scratch, zero)
        b.cond_br(b.op("cmp.lt.f32.o", first, b.const_f32(100.0)), again, [], out, [])
        b.switch_to(again)
        f.execute(commands, params=[16], bindings=[scratch, scratch, y], wait=null, signal=null)
        b.call("hal.device.queue.copy", f.device(), null, null, y, zero, scratch, zero, size)
        b.br(head)
        b.switch_to(out)
        b.call("hal.device.queue.copy", f.device(), null, f.signal, scratch, zero, y, zero, size)
        f.return_(y)

    module = load(write(None, build, [spec]))
    x = np.abs(X) + 1
    wanted = x + x
    while wanted[0] < 100:
        wanted = wanted + wanted
    np.testing.assert_array_equal(module.main(x, x), wanted)
    np.testing.assert_array_equal(module.main_async(x, x).result(30), wanted)


def test_zero_sized_and_scalar_values() -> None:
    spec = FunctionSpec("main", (tensor("a", "n"), tensor("b", "n")), (tensor("y", "n"),))
    module = load(write(None, lambda p: add_function(p, spec, lambda f: f.dim("n")), [spec]))
    assert module.main(random(0), random(0)).shape == (0,)
    spec = FunctionSpec("main", (tensor("a"), tensor("b")), (tensor("y"),))
    module = load(write(None, lambda p: add_function(p, spec, lambda f: f.size(1)), [spec]))
    result = module.main(1.5, 2)
    assert (result.shape, float(result)) == ((), 3.5)


def test_constants_are_read_from_the_mapping() -> None:
    spec = FunctionSpec("main", (tensor("a", 16),), (tensor("y", 16),))

    def build(program: HostProgram) -> None:
        commands = program.recording("add", add_recording(), executables=(0,))
        weights = program.constant(0)
        f = program.function(spec)
        y = f.result(0)
        f.execute(commands, params=[16], bindings=[f.inputs[0], f.load(weights), y])
        f.return_(y)

    module = load(write(None, build, [spec], constants=[Y.tobytes()]))
    np.testing.assert_array_equal(module.main(X), X + Y)


def test_dynamic_shapes_of_one_load() -> None:
    module = load(dynamic_model())
    for batch in (2, 8, 4):
        x = random(batch, 3, seed=batch)
        np.testing.assert_array_equal(module.main(x, x), x + x)
