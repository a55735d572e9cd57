"""The VM module ``hal``: what bytecode can ask of devices. ``hal_signatures`` lists every function.

One instance serves one load: it holds the artefact, the chosen variant and the devices. On the host a buffer
view is a C-contiguous numpy array (an ``iree_hal.BufferView`` for sub-byte element types), which is also the
buffer it views; other buffers are ``iree_hal.Buffer``. Fences may be null everywhere: a null wait fence is
reached; a null signal fence makes the operation synchronous. So one function body serves the synchronous and
the asynchronous call. Where ``hal_inline`` has a form for a function, calls are expanded in place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from iree_base.element_types import ElementType
from iree_base.packed_rows import packed_bytes
from iree_hal import (
    Buffer,
    BufferView,
    CommandBuffer,
    Device,
    Executable,
    ExecutableSpec,
    ExportSpec,
    Fence,
    result_memory,
)
from iree_hal.recording import Recording
from iree_vm.artifact.manifest import ExecutableEntry, Variant
from iree_vm.artifact.reader import Artifact
from iree_vm.bytecode.translate import ImportTarget
from iree_vm.bytecode.types import Signature
from iree_vm.element_codes import CODES, from_code
from iree_vm.errors import VmError
from iree_vm.modules.hal_inline import INLINE
from iree_vm.modules.hal_signatures import IMPORTS, VERSION
from iree_vm.values import VmBuffer

Array = np.ndarray[Any, np.dtype[Any]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_F = TypeVar("_F", bound=Callable[..., Any])


class Row(NamedTuple):
    """One importable function."""

    signature: Signature
    method: str
    doc: str


TABLE: dict[str, Row] = {}
"""Function name (without ``hal.``) -> row."""


def _export(name: str) -> Callable[[_F], _F]:
    def register(method: _F) -> _F:
        signature = IMPORTS[f"hal.{name}"].signature
        TABLE[name] = Row(signature, method.__name__, method.__doc__ or "")
        return method

    return register


def _message(message: Any) -> str:
    return str(bytes(message.data), "utf-8", "replace") if isinstance(message, VmBuffer) else "value"


def _is_view(value: Any) -> bool:
    return isinstance(value, np.ndarray | BufferView)


def _element(view: Any) -> str:
    if isinstance(view, BufferView):
        return view.element_type
    from iree_base.element_types import from_dtype

    return from_dtype(view.dtype).name


def _need(value: Any, kind: type[_T] | tuple[type, ...], what: str) -> _T:
    if not isinstance(value, kind):
        got = "null" if value is None else type(value).__name__
        raise VmError(9, f"got {got}, wanted {what}")
    return value  # type: ignore[return-value]


_T = TypeVar("_T")


def shape_text(element: str, shape: Sequence[int | str]) -> str:
    """``f32[2, 3]``."""
    return f"{element}[{', '.join('?' if d == -1 else str(d) for d in shape)}]"


def host_bytes(value: Any) -> Bytes:
    """The bytes of a buffer or view, as a flat array that shares them."""
    if isinstance(value, BufferView):
        value = value.buffer
    if isinstance(value, Buffer):
        return value.array
    array: Array = _need(value, np.ndarray, "a buffer")
    return array.reshape(-1).view(np.uint8)


class HalModule:
    """Import provider ``hal``. ``devices`` are numbered for ``hal.device.get``."""

    name = "hal"
    version = VERSION

    def __init__(
        self, devices: Sequence[Device], artifact: Artifact | None = None, variant: Variant | None = None
    ) -> None:
        self.devices = tuple(devices)
        self.artifact = artifact
        self.variant = variant
        self.signatures = {name: row.signature for name, row in TABLE.items()}
        sub_byte = artifact is not None and any(
            from_code(CODES[t.dtype]).bits < 8
            for f in artifact.manifest.functions
            for t in (*f.inputs, *f.outputs)
        )
        self._inline: Mapping[str, Any] = {} if sub_byte else INLINE

    def lookup(self, function: str) -> ImportTarget | None:
        row = TABLE.get(function)
        if row is None:
            return None
        return ImportTarget(getattr(self, row.method), self._inline.get(function))

    # devices and what is loaded onto them

    @_export("device.get")
    def device_get(self, index: int) -> Device:
        """Device ``index`` of those given at load."""
        if not 0 <= index < len(self.devices):
            raise VmError(42, f"device {index}", cause=f"{len(self.devices)} given at load")
        return self.devices[index]

    @_export("executable.load")
    def executable_load(self, device: Any, index: int) -> Executable:
        """(device, index into the variant's executables): load it."""
        if self.artifact is None or self.variant is None or not 0 <= index < len(self.variant.executables):
            raise VmError(10, f"executable {index} of the variant")
        number = self.variant.executables[index]
        entry = self.artifact.manifest.executables[number]
        return _need(device, Device, "a device").load_executable(
            executable_spec(entry, self.artifact.executable(number))
        )

    @_export("constants.map")
    def constants_map(self, device: Any, index: int) -> Buffer:
        """(device, index into the variant's constants): the segment as a read-only buffer of the device."""
        if self.artifact is None:
            raise VmError(10, f"constant segment {index}")
        everything = range(len(self.artifact.manifest.constants))
        numbers = everything if self.variant is None else self.variant.constants
        if not 0 <= index < len(numbers):
            raise VmError(10, f"constant segment {index}")
        memory = self.artifact.constant(numbers[index])
        return _need(device, Device, "a device").import_constants(memory)

    @_export("command_buffer.load")
    def command_buffer_load(self, device: Any, recording: Any, executables: tuple[Any, ...]) -> CommandBuffer:
        """(device, serialized recording, executables): the command buffer."""
        data = _need(recording, VmBuffer, "a buffer").data
        for executable in executables:
            _need(executable, Executable, "an executable")
        return _need(device, Device, "a device").create_command_buffer(
            Recording.deserialize(data), executables
        )

    @_export("command_buffer.param")
    def command_buffer_param(self, command_buffer: Any, index: int, params: tuple[int, ...]) -> int:
        """(command buffer, number of an exported parameter, parameters): its value."""
        return _need(command_buffer, CommandBuffer, "a command buffer").param(index, params)

    # buffer views

    @_export("buffer_view.assert")
    def buffer_view_assert(self, view: Any, message: Any, element_type: int, shape: tuple[int, ...]) -> None:
        """(view, name, element type, dims): stop unless dtype and dims are these; -1 accepts any size."""
        check_view(view, message, element_type, shape)

    @_export("dim.assert")
    def dim_assert(self, message: Any, value: int, low: int, high: int, divisor: int) -> None:
        """(name, value, min, max or -1, divisor): stop unless the value is in range."""
        check_range(message, value, low, high, divisor)

    @_export("buffer_view.dim")
    def buffer_view_dim(self, view: Any, axis: int) -> int:
        """(view, axis): its size."""
        shape: tuple[int, ...] = _need(view, (np.ndarray, BufferView), "a buffer view").shape
        if not 0 <= axis < len(shape):
            raise VmError(10, f"axis {axis} of rank {len(shape)}")
        return int(shape[axis])

    @_export("buffer_view.rank")
    def buffer_view_rank(self, view: Any) -> int:
        """Number of dimensions."""
        return len(_need(view, (np.ndarray, BufferView), "a buffer view").shape)

    @_export("buffer_view.element_type")
    def buffer_view_element_type(self, view: Any) -> int:
        """Element type code."""
        return CODES[_element(_need(view, (np.ndarray, BufferView), "a buffer view"))]

    @_export("buffer_view.buffer")
    def buffer_view_buffer(self, view: Any) -> Any:
        """The buffer behind a view, to bind it."""
        return view.buffer if isinstance(view, BufferView) else view

    @_export("buffer_view.create")
    def buffer_view_create(self, buffer: Any, element_type: int, shape: tuple[int, ...]) -> Any:
        """(buffer, element type, dims): a view of the buffer's first bytes."""
        element = from_code(element_type)
        data = host_bytes(buffer)
        view = BufferView(Buffer.wrap(data), shape, element.name)
        return view if element.bits < 8 else view.to_numpy()

    @_export("result.alloca")
    def result_alloca(
        self, device: Any, storage: Any, message: Any, element_type: int, shape: tuple[int, ...]
    ) -> Any:
        """(device, storage or null, name, element type, dims): a view to write a result to.

        The caller's storage (``out=``, a donated input) is used if given and must have this type and shape.
        """
        element = from_code(element_type)
        if storage is not None:
            check_view(storage, message, element_type, shape)
            return storage
        return allocate(element, shape)

    # buffers

    @_export("buffer.length")
    def buffer_length(self, buffer: Any) -> int:
        """Bytes."""
        return host_bytes(buffer).nbytes

    @_export("buffer.load.i8.s")
    def load_i8(self, buffer: Any, offset: int) -> int:
        """(buffer, byte offset): read a scalar back; the work that writes it must be complete."""
        return int(_load(buffer, offset, "<b"))

    @_export("buffer.load.i8.u")
    def load_u8(self, buffer: Any, offset: int) -> int:
        """As ``buffer.load.i8.s``, unsigned (also for i1)."""
        return int(_load(buffer, offset, "<B"))

    @_export("buffer.load.i16.s")
    def load_i16(self, buffer: Any, offset: int) -> int:
        """As ``buffer.load.i8.s``."""
        return int(_load(buffer, offset, "<h"))

    @_export("buffer.load.i16.u")
    def load_u16(self, buffer: Any, offset: int) -> int:
        """As ``buffer.load.i8.s``, unsigned."""
        return int(_load(buffer, offset, "<H"))

    @_export("buffer.load.i32")
    def load_i32(self, buffer: Any, offset: int) -> int:
        """As ``buffer.load.i8.s``."""
        return int(_load(buffer, offset, "<i"))

    @_export("buffer.load.i64")
    def load_i64(self, buffer: Any, offset: int) -> int:
        """As ``buffer.load.i8.s``."""
        return int(_load(buffer, offset, "<q"))

    @_export("buffer.load.f32")
    def load_f32(self, buffer: Any, offset: int) -> float:
        """As ``buffer.load.i8.s``."""
        return float(_load(buffer, offset, "<f"))

    @_export("buffer.load.f64")
    def load_f64(self, buffer: Any, offset: int) -> float:
        """As ``buffer.load.i8.s``."""
        return float(_load(buffer, offset, "<d"))

    @_export("buffer.store.i8")
    def store_i8(self, buffer: Any, offset: int, value: int) -> None:
        """(buffer, byte offset, value): write a scalar now; no device work may use the bytes."""
        _store(buffer, offset, "<B", value & 0xFF)

    @_export("buffer.store.i16")
    def store_i16(self, buffer: Any, offset: int, value: int) -> None:
        """As ``buffer.store.i8``."""
        _store(buffer, offset, "<H", value & 0xFFFF)

    @_export("buffer.store.i32")
    def store_i32(self, buffer: Any, offset: int, value: int) -> None:
        """As ``buffer.store.i8``."""
        _store(buffer, offset, "<i", value)

    @_export("buffer.store.i64")
    def store_i64(self, buffer: Any, offset: int, value: int) -> None:
        """As ``buffer.store.i8``."""
        _store(buffer, offset, "<q", value)

    @_export("buffer.store.f32")
    def store_f32(self, buffer: Any, offset: int, value: float) -> None:
        """As ``buffer.store.i8``."""
        _store(buffer, offset, "<f", value)

    @_export("buffer.store.f64")
    def store_f64(self, buffer: Any, offset: int, value: float) -> None:
        """As ``buffer.store.i8``."""
        _store(buffer, offset, "<d", value)

    # queue operations

    @_export("device.queue.alloca")
    def queue_alloca(self, device: Any, wait: Any, signal: Any, nbytes: int) -> Buffer:
        """(device, wait, signal, bytes): a buffer, usable once ``signal`` is reached."""
        if not 0 <= nbytes < 1 << 62:
            raise VmError(11, f"a buffer of {nbytes} bytes")
        target: Device = _need(device, Device, "a device")
        if signal is None:
            _await(wait)
            return target.allocator.allocate(nbytes)
        return target.queue_alloca(nbytes, wait=_fence(wait), signal=_fence(signal))

    @_export("device.queue.dealloca")
    def queue_dealloca(self, device: Any, wait: Any, signal: Any, buffer: Any) -> None:
        """(device, wait, signal, buffer): release memory now; else it lives as long as its references."""
        target: Device = _need(device, Device, "a device")
        target.queue_dealloca(_need(buffer, Buffer, "a buffer"), wait=_fence(wait), signal=_fence(signal))

    @_export("device.queue.execute")
    def queue_execute(
        self,
        device: Any,
        wait: Any,
        signal: Any,
        command_buffer: Any,
        params: tuple[int, ...],
        bindings: tuple[Any, ...],
    ) -> None:
        """(device, wait, signal, command buffer, parameters, bindings 1..n-1): run it."""
        target: Device = _need(device, Device, "a device")
        commands: CommandBuffer = _need(command_buffer, CommandBuffer, "a command buffer")
        buffers = [b.buffer if isinstance(b, BufferView) else b for b in bindings]
        for buffer in buffers:
            _need(buffer, (np.ndarray, Buffer), "a buffer")
        if signal is None:
            _await(wait)
            target.execute(commands, buffers, params)
        else:
            target.queue_execute(commands, buffers, params, wait=_fence(wait), signal=_fence(signal))

    @_export("device.queue.copy")
    def queue_copy(
        self,
        device: Any,
        wait: Any,
        signal: Any,
        source: Any,
        source_offset: int,
        target: Any,
        target_offset: int,
        length: int,
    ) -> None:
        """(device, wait, signal, source, offset, target, offset, bytes): copy; onto itself it is nothing."""
        read, write = host_bytes(source), host_bytes(target)
        for data, offset in ((read, source_offset), (write, target_offset)):
            if offset < 0 or length < 0 or offset + length > data.nbytes:
                raise VmError(10, f"bytes {offset} to {offset + length} of {data.nbytes}")
        if not write.flags.writeable:
            raise VmError(9, "the target of a copy is read-only")

        def copy() -> None:
            write[target_offset : target_offset + length] = read[source_offset : source_offset + length]

        _order(device, wait, signal, copy)

    @_export("device.queue.fill")
    def queue_fill(
        self,
        device: Any,
        wait: Any,
        signal: Any,
        target: Any,
        offset: int,
        length: int,
        pattern: int,
        pattern_bytes: int,
    ) -> None:
        """(device, wait, signal, target, offset, bytes, pattern, bytes of it: 1, 2, 4 or 8): repeat it."""
        write = host_bytes(target)
        if offset < 0 or length < 0 or offset + length > write.nbytes:
            raise VmError(10, f"bytes {offset} to {offset + length} of {write.nbytes}")
        if pattern_bytes not in (1, 2, 4, 8) or length % pattern_bytes or not write.flags.writeable:
            raise VmError(9, f"a fill of {length} bytes with a pattern of {pattern_bytes}")
        data = np.frombuffer(
            (pattern & ((1 << 8 * pattern_bytes) - 1)).to_bytes(pattern_bytes, "little"), np.uint8
        )

        def fill() -> None:
            write[offset : offset + length].reshape(-1, pattern_bytes)[:] = data

        _order(device, wait, signal, fill)

    @_export("device.queue.barrier")
    def queue_barrier(self, device: Any, wait: Any, signal: Any) -> None:
        """(device, wait, signal): reach ``signal`` once ``wait`` is reached."""
        _order(device, wait, signal, lambda: None)

    # fences

    @_export("fence.create")
    def fence_create(self, device: Any) -> Fence:
        """(device): a fence not yet reached."""
        return Fence.create()

    @_export("fence.chain")
    def fence_chain(self, signal: Any) -> Fence | None:
        """(fence): a new fence, or null if the one given is null: for the steps of one function."""
        return None if signal is None else Fence.create()

    @_export("fence.join")
    def fence_join(self, fences: tuple[Any, ...]) -> Fence | None:
        """A fence that is reached when all are; null if all are null."""
        made = [_need(f, Fence, "a fence") for f in fences if f is not None]
        return Fence.join(made) if made else None

    @_export("fence.query")
    def fence_query(self, fence: Any) -> int:
        """1 if reached; stops with the failure if it failed."""
        return 1 if fence is None or _need(fence, Fence, "a fence").query() else 0

    @_export("fence.await")
    def fence_await(self, fence: Any) -> None:
        """Wait; stops with the failure if it failed."""
        _await(fence)

    @_export("fence.signal")
    def fence_signal(self, fence: Any) -> None:
        """Reach it now."""
        if fence is not None:
            _need(fence, Fence, "a fence").signal()

    @_export("fence.fail")
    def fence_fail(self, fence: Any, message: Any) -> None:
        """(fence, message): fail it; all who wait for it stop with the message."""
        if fence is not None:
            _need(fence, Fence, "a fence").fail(VmError(31, _message(message)))


def executable_spec(entry: ExecutableEntry, data: memoryview) -> ExecutableSpec:
    """A manifest entry and its bytes as the device wants them."""
    exports = tuple(
        ExportSpec(x.name, x.scratch_bytes, x.n_constants, x.bindings, x.alignments) for x in entry.exports
    )
    return ExecutableSpec(entry.format, data, exports, entry.features, entry.name)


def check_range(message: Any, value: int, low: int, high: int, divisor: int) -> None:
    """Raises VmError 27 unless ``low <= value <= high`` (-1: no limit) and ``divisor`` divides it."""
    if value < low or (high >= 0 and value > high) or (divisor > 1 and value % divisor):
        raise VmError(27, f"'{_message(message)}' is {value}", cause=range_text(low, high, divisor))


def range_text(low: int, high: int, divisor: int) -> str:
    """``1 to 8, a multiple of 2``."""
    text = f"{low} or more" if high < 0 else f"{low} to {high}"
    return f"it must be {text}" + (f", a multiple of {divisor}" if divisor > 1 else "")


def allocate(element: ElementType, shape: Sequence[int]) -> Any:
    """Fresh memory for a result: an array, or a packed view for sub-byte types. Raises VmError 11, 22."""
    try:
        if element.bits >= 8:
            return result_memory.empty(shape, element.dtype)
        return BufferView(Buffer.wrap(np.empty(packed_bytes(shape, element), np.uint8)), shape, element.name)
    except ValueError as error:
        raise VmError(22, shape_text(element.name, shape), cause=str(error)) from None
    except MemoryError:
        raise VmError(11, f"a result {shape_text(element.name, shape)}") from None


def check_view(view: Any, message: Any, element_type: int, shape: Sequence[int]) -> None:
    """Raises VmError 23 or 22 unless ``view`` has this element type and shape, 9 if it is none."""
    if not _is_view(view):
        _need(view, np.ndarray, "a buffer view")
    element = from_code(element_type)
    dtype_fits = (
        view.element_type == element.name
        if isinstance(view, BufferView)
        else element.bits >= 8 and view.dtype == element.dtype
    )
    wanted = shape_text(element.name, shape)
    if not dtype_fits:
        raise VmError(
            23,
            f"'{_message(message)}' is {shape_text(_dtype_name(view), view.shape)}",
            cause=f"{wanted} wanted",
        )
    if len(view.shape) != len(shape) or any(w not in (-1, g) for w, g in zip(shape, view.shape, strict=True)):
        raise VmError(
            22, f"'{_message(message)}' is {shape_text(element.name, view.shape)}", cause=f"{wanted} wanted"
        )


def _dtype_name(view: Any) -> str:
    from iree_base.errors import PluginError

    try:
        return _element(view)
    except PluginError:
        return str(view.dtype)


def _load(buffer: Any, offset: int, layout: str) -> Any:
    data = host_bytes(buffer)
    size = struct.calcsize(layout)
    if offset < 0 or offset + size > data.nbytes:
        raise VmError(10, f"bytes {offset} to {offset + size} of {data.nbytes}")
    return struct.unpack_from(layout, data.data, offset)[0]


def _store(buffer: Any, offset: int, layout: str, value: Any) -> None:
    data = host_bytes(buffer)
    size = struct.calcsize(layout)
    if offset < 0 or offset + size > data.nbytes:
        raise VmError(10, f"bytes {offset} to {offset + size} of {data.nbytes}")
    if not data.flags.writeable:
        raise VmError(9, "the buffer is read-only")
    struct.pack_into(layout, data.data, offset, value)


def _fence(fence: Any) -> Fence:
    return Fence() if fence is None else _need(fence, Fence, "a fence")


def _await(fence: Any) -> None:
    if fence is not None:
        _need(fence, Fence, "a fence").wait()


def _order(device: Any, wait: Any, signal: Any, work: Callable[[], None]) -> None:
    """Run host work between two fences: now if there is no signal, else in queue order."""
    target: Device = _need(device, Device, "a device")
    if signal is None:
        _await(wait)
        work()
    else:
        target.queue_host_call(work, wait=_fence(wait), signal=_fence(signal))


__all__ = ["TABLE", "HalModule", "executable_spec"]
