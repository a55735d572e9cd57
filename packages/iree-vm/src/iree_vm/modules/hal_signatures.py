"""The functions of the VM module ``hal`` and their signatures: what builders of bytecode need to know of it.

What the functions do is in ``hal``, which needs the runtime.
"""

from __future__ import annotations

from iree_vm.bytecode.program import Import
from iree_vm.bytecode.types import parse_signature

VERSION = 1

SIGNATURES: dict[str, str] = {
    "device.get": "(i64) -> (ref)",
    "executable.load": "(ref, i64) -> (ref)",
    "constants.map": "(ref, i64) -> (ref)",
    "command_buffer.load": "(ref, ref, [ref]...) -> (ref)",
    "command_buffer.param": "(ref, i64, [i64]...) -> (i64)",
    "buffer_view.assert": "(ref, ref, i32, [i64]...)",
    "dim.assert": "(ref, i64, i64, i64, i64)",
    "buffer_view.dim": "(ref, i64) -> (i64)",
    "buffer_view.rank": "(ref) -> (i64)",
    "buffer_view.element_type": "(ref) -> (i32)",
    "buffer_view.buffer": "(ref) -> (ref)",
    "buffer_view.create": "(ref, i32, [i64]...) -> (ref)",
    "result.alloca": "(ref, ref, ref, i32, [i64]...) -> (ref)",
    "buffer.length": "(ref) -> (i64)",
    "buffer.load.i8.s": "(ref, i64) -> (i32)",
    "buffer.load.i8.u": "(ref, i64) -> (i32)",
    "buffer.load.i16.s": "(ref, i64) -> (i32)",
    "buffer.load.i16.u": "(ref, i64) -> (i32)",
    "buffer.load.i32": "(ref, i64) -> (i32)",
    "buffer.load.i64": "(ref, i64) -> (i64)",
    "buffer.load.f32": "(ref, i64) -> (f32)",
    "buffer.load.f64": "(ref, i64) -> (f64)",
    "buffer.store.i8": "(ref, i64, i32)",
    "buffer.store.i16": "(ref, i64, i32)",
    "buffer.store.i32": "(ref, i64, i32)",
    "buffer.store.i64": "(ref, i64, i64)",
    "buffer.store.f32": "(ref, i64, f32)",
    "buffer.store.f64": "(ref, i64, f64)",
    "device.queue.alloca": "(ref, ref, ref, i64) -> (ref)",
    "device.queue.dealloca": "(ref, ref, ref, ref)",
    "device.queue.execute": "(ref, ref, ref, ref, [i64]..., [ref]...)",
    "device.queue.copy": "(ref, ref, ref, ref, i64, ref, i64, i64)",
    "device.queue.fill": "(ref, ref, ref, ref, i64, i64, i64, i32)",
    "device.queue.barrier": "(ref, ref, ref)",
    "fence.create": "(ref) -> (ref)",
    "fence.chain": "(ref) -> (ref)",
    "fence.join": "([ref]...) -> (ref)",
    "fence.query": "(ref) -> (i32)",
    "fence.await": "(ref)",
    "fence.signal": "(ref)",
    "fence.fail": "(ref, ref)",
}
"""Function name (without ``hal.``) -> signature."""

IMPORTS: dict[str, Import] = {
    f"hal.{name}": Import(f"hal.{name}", parse_signature(signature), VERSION)
    for name, signature in SIGNATURES.items()
}
"""The import declarations, for builders."""
