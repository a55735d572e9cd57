"""Command buffers: frames are recorded once per arguments, reused, bounded, and given back."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest
from handwritten import conformance_executable

from iree_base.errors import IreeError
from iree_hal.conformance.backend import Recorder, add_recording, contents, ramp, words
from iree_hal.errors import HalError
from iree_hal.recording import BindingRef


@pytest.fixture
def executable(device: Any) -> Any:
    return device.load_executable(conformance_executable())


def commands(device: Any, executable: Any, recording: Any) -> Any:
    return device.create_command_buffer(recording, [executable])


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Grows by every frame that is recorded."""
    from iree_target_vulkan.frame import Frame

    frames: list[Any] = []

    class Counted(Frame):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            frames.append(self.nbytes)

    monkeypatch.setattr("iree_target_vulkan.command_buffer.Frame", Counted)
    return frames


def test_a_frame_serves_all_calls_of_a_shape(
    device: Any, executable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = recorded(monkeypatch)
    adding = commands(device, executable, add_recording(100))
    for factor in range(5):
        out = np.empty(100, np.float32)
        device.execute(adding, [factor * ramp(100), ramp(100), out])
        assert np.array_equal(out, (factor + 1) * ramp(100))
    assert len(frames) == 1


def test_another_size_or_place_is_another_frame(
    device: Any, executable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = recorded(monkeypatch)
    adding = commands(device, executable, add_recording(100))
    out = np.empty(100, np.float32)
    long = ramp(200)
    given = device.import_constants(ramp(100))
    for _ in range(3):
        device.execute(adding, [ramp(100), ramp(100), out])
        device.execute(adding, [long, ramp(100), out])
        device.execute(adding, [given, ramp(100), out])
        assert np.array_equal(out, 2 * ramp(100))
    assert len(frames) == 3


def test_released_memory_makes_room_for_the_same_frame(
    device: Any, executable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = recorded(monkeypatch)
    adding = commands(device, executable, add_recording(100))
    for factor in range(4):
        out = device.allocator.allocate(400)
        device.execute(adding, [factor * ramp(100), ramp(100), out])
        assert np.array_equal(contents(out, np.float32), (factor + 1) * ramp(100))
        device.allocator.release(out)
    assert len(frames) == 1


def test_idle_frames_are_bounded_and_given_back(device: Any, executable: Any) -> None:
    from iree_target_vulkan.command_buffer import MAX_CACHED_FRAMES

    gc.collect()
    adding = commands(device, executable, add_recording(10))
    used = device.logical.memory.statistics.used_bytes
    for n in range(10, 10 + 3 * MAX_CACHED_FRAMES):
        out = np.empty(10, np.float32)
        device.execute(adding, [ramp(n), ramp(10), out])
        assert np.array_equal(out, 2 * ramp(10))
    assert adding._idle_frames == MAX_CACHED_FRAMES
    del adding
    gc.collect()
    assert device.logical.memory.statistics.used_bytes == used


def test_idle_frames_are_bounded_by_memory(device: Any, executable: Any) -> None:
    adding = commands(device, executable, add_recording(10))
    adding._limit_bytes = 4096
    for n in range(10, 30):
        device.execute(adding, [ramp(n), ramp(10), np.empty(10, np.float32)])
        assert adding._idle_frames == 1 or adding._idle_bytes <= 4096


def test_calls_at_once_have_frames_of_their_own(device: Any, executable: Any) -> None:
    adding = commands(device, executable, add_recording(5000))
    wrong: list[int] = []

    def call(factor: int) -> None:
        for _ in range(15):
            out = np.empty(5000, np.float32)
            device.execute(adding, [factor * ramp(5000), ramp(5000), out])
            if not np.array_equal(out, (factor + 1) * ramp(5000)):
                wrong.append(factor)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= adding._idle_frames <= 4


@pytest.mark.parametrize("offset", [0, 4, 12, 16, 100, 1000])
def test_bindings_may_start_anywhere(device: Any, executable: Any, offset: int) -> None:
    n = 50
    recorder = Recorder(3, 1)
    start, length = recorder.const(offset), recorder.const(4 * n)
    one = recorder.const(1)
    recorder.dispatch(
        0, 9, (recorder.const(n), one, one), [(0, "lo")],
        [BindingRef(1, start, length), BindingRef(2, start, length)],
    )  # fmt: skip
    given = words(n + offset // 4)
    whole = device.import_constants(np.concatenate([np.zeros(3, np.uint32), given]))
    out = device.allocator.allocate(4 * (n + 3) + offset)
    out.array[:] = 0xEE
    part = out.subspan(12, 4 * n + offset)
    reversing = commands(device, executable, recorder.finish())
    device.execute(reversing, [whole.subspan(12, given.nbytes), part], [n])
    found = contents(out)
    assert np.array_equal(found[12 + offset :].view(np.uint32), given[offset // 4 :][::-1] + np.uint32(1))
    assert (found[: 12 + offset] == 0xEE).all()


def test_element_types_that_buffers_cannot_express(device: Any, executable: Any) -> None:
    dtypes = pytest.importorskip("ml_dtypes")
    raw = words(300).view(dtypes.bfloat16)
    out = np.zeros(600, dtypes.bfloat16)
    adding = commands(device, executable, add_recording(300))
    device.execute(adding, [raw, np.zeros(600, dtypes.bfloat16), out])
    given = words(300).view(np.float32)
    with np.errstate(invalid="ignore"):
        want = given + np.float32(0)
    assert np.array_equal(out.view(np.float32), want, equal_nan=True)


@pytest.mark.parametrize("n", [1, 3, 16_384, 16_385, 300_000])
def test_arrays_of_any_size_travel_whole(device: Any, executable: Any, n: int) -> None:
    recorder = Recorder(3, 0)
    recorder.copy(recorder.ref(1, n), recorder.ref(2, n))
    copying = commands(device, executable, recorder.finish())
    given = np.random.default_rng(n).integers(0, 256, n, np.uint8)
    out = np.zeros(n, np.uint8)
    device.execute(copying, [given, out])
    assert np.array_equal(out, given)


def test_too_many_workgroups_for_the_device(device: Any, executable: Any) -> None:
    most = device.logical.physical.max_workgroup_count[1]
    recorder = Recorder(2, 0)
    recorder.call("count", (1, most + 1, 1), [recorder.ref(1, 4)])
    with pytest.raises(IreeError, match=f"IREE-VK-027.*{most + 1}.*{most}"):
        device.execute(commands(device, executable, recorder.finish()), [np.zeros(1, np.uint32)])


def test_bindings_beyond_the_kernels_indices(
    device: Any, executable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iree_target_vulkan import frame_writer

    monkeypatch.setattr(frame_writer, "MAX_INDEX_BYTES", 1000)
    out = np.empty(250, np.float32)
    with pytest.raises(IreeError, match=r"IREE-VK-026.*'add' of command 0: binding 0 has 1000 bytes"):
        device.execute(commands(device, executable, add_recording(250)), [ramp(250), ramp(250), out])


def test_executables_of_another_device_are_refused(device: Any) -> None:
    from iree_hal.executable import Executable, ExecutableSpec

    foreign = Executable(ExecutableSpec("null", b"", (), name="foreign"))
    with pytest.raises(HalError, match=r"IREE-HAL-017.*'foreign'"):
        device.create_command_buffer(Recorder(1, 0).finish(), [foreign])


def test_nothing_is_recorded_for_arguments_that_fail(device: Any, executable: Any) -> None:
    used = device.logical.memory.statistics.used_bytes
    adding = commands(device, executable, add_recording(100))
    for _ in range(3):
        with pytest.raises(HalError, match="IREE-HAL-009"):
            device.execute(adding, [ramp(99), ramp(100), np.empty(100, np.float32)])
    assert device.logical.memory.statistics.used_bytes == used


def test_verification_poisons_arena_and_results(executable: Any, device: Any) -> None:
    from iree_target_vulkan.device import VulkanDevice

    verified = VulkanDevice(device.logical, verify=True)
    recorder = Recorder(3, 0)
    recorder.export_param("arena_bytes", recorder.const(64))
    recorder.copy(recorder.ref(0, 64), recorder.ref(1, 64))
    recorder.call("spin", (1, 1, 1), (), [1])
    recorder.barrier()
    recorder.fill(recorder.ref(0, 64), b"\0")
    reading = verified.create_command_buffer(recorder.finish(), [executable])
    for _ in range(2):
        out = np.zeros(64, np.uint8)
        verified.execute(reading, [out, np.zeros(4, np.uint8)])
        assert (out == 0xFF).all()
    buffer = verified.allocator.allocate(100)
    assert (buffer.array == 0xFF).all()
    assert buffer.guards is not None
    buffer.guards[1][0] = 0
    with pytest.raises(HalError, match="IREE-HAL-018"):
        verified.allocator.release(buffer)


def test_nothing_leaks(device: Any) -> None:
    gc.collect()
    before = device.leaks()
    executable = device.load_executable(conformance_executable())
    for n in (10, 20):
        adding = commands(device, executable, add_recording(n))
        device.execute(adding, [ramp(n), ramp(n), np.empty(n, np.float32)])
    assert device.leaks() != before
    del executable, adding
    gc.collect()
    assert device.leaks() == before


def test_idle_frames_make_room_where_memory_is_short(
    device: Any, executable: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gc.collect()
    adding = commands(device, executable, add_recording(100))
    device.execute(adding, [ramp(100), ramp(100), np.empty(100, np.float32)])
    assert adding._idle_frames == 1
    pool = device.logical.memory
    real = pool._allocate_block

    def short(kind: str, size: int) -> Any:
        if adding._idle_frames:
            raise HalError(11, "on purpose")
        return real(kind, size)

    monkeypatch.setattr(pool, "_allocate_block", short)
    pool.free(pool.allocate("device", 150 << 20))
    assert adding._idle_frames == 0
    monkeypatch.undo()
    pool.trim()
    out = np.empty(100, np.float32)
    device.execute(adding, [ramp(100), ramp(100), out])
    assert np.array_equal(out, 2 * ramp(100))
