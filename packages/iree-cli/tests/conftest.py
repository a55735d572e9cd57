"""An artefact that needs no compiler: its function copies both inputs to the outputs."""

import pytest

from iree_hal import BindingRef, RecordingBuilder
from iree_vm import ArtifactWriter
from iree_vm.artifact import Dim, FunctionSpec, TensorSpec
from iree_vm.host_program import HostProgram


def write_copy(path):
    """``main(x: batchx2xf32, n: 3xi64) -> (y, m)``: y is x, m is n; a constant of 4 KiB goes along."""
    inputs = (TensorSpec("x", "f32", ("batch", 2)), TensorSpec("n", "i64", (3,)))
    outputs = (TensorSpec("y", "f32", ("batch", 2)), TensorSpec("m", "i64", (3,)))
    builder = RecordingBuilder(n_bindings=5, n_inputs=1)
    zero = builder.const(0)
    rows = builder.op("mul", 0, builder.const(8))
    builder.copy(BindingRef(1, zero, rows), BindingRef(3, zero, rows))
    numbers = builder.const(24)
    builder.copy(BindingRef(2, zero, numbers), BindingRef(4, zero, numbers))
    builder.export_param("arena_bytes", zero)
    dims = {"batch": Dim(min=1, max=64)}
    program = HostProgram("copy", dims=dims)
    commands = program.recording("main", builder.finish().serialize())
    spec = FunctionSpec("main", inputs, outputs)
    function = program.function(spec)
    y, m = function.result(0), function.result(1)
    function.execute(commands, params=["batch"], bindings=[*function.inputs, y, m])
    function.return_(y, m)
    with ArtifactWriter(path, "copy", producer={"test": "1"}) as writer:
        writer.add_function(spec)
        writer.add_dim("batch", dims["batch"])
        writer.add_constant(bytes(range(256)) * 16)
        writer.add_variant("local", target="copy", driver="local-sync", executables=())
        writer.set_bytecode(program.serialize())
        writer.finish()
    return path


@pytest.fixture(scope="session")
def copy_artifact(tmp_path_factory):
    return write_copy(tmp_path_factory.mktemp("artifact") / "copy.vmfb")
