"""Errors of kernels: what they say, what they stop, what they leave usable."""

from __future__ import annotations

import numpy as np
import pytest

from iree_hal.command_buffer import CommandBuffer
from iree_hal.conformance import kernels
from iree_hal.conformance.backend import TIMEOUT, Context, Recorder, in_threads
from iree_hal.errors import HalError, KernelError
from iree_hal.fence import Fence


def checking(context: Context) -> CommandBuffer:
    """Fails when parameter 0, the number of workgroups, exceeds parameter 1."""
    recorder = Recorder(1, 2)
    one = recorder.const(1)
    recorder.dispatch(0, kernels.ORDINALS["check_index"], (0, one, one), [(1, "lo")], [])
    return context.command_buffer(recorder.finish())


def test_kernel_error_names_export_and_assertion(context: Context) -> None:
    with pytest.raises(KernelError, match="IREE-HAL-010") as caught:
        context.device.execute(checking(context), [], [10, 9])
    error = caught.value
    assert (error.export_name, error.kind) == ("check_index", kernels.CHECK_INDEX_KIND)
    assert error.assert_index == kernels.CHECK_INDEX_ASSERT
    assert error.kernel_code == kernels.CHECK_INDEX_CODE
    assert error.command_index == 0


@pytest.mark.parametrize("position", [0, 1, 4])
def test_kernel_error_names_its_command(context: Context, position: int) -> None:
    recorder = Recorder(2, 0)
    expected = 0
    for i in range(6):
        if i == position:
            expected = 2 * i
        recorder.call("check_index", (5, 1, 1), constants=[4 if i == position else 5])
        recorder.barrier()
    with pytest.raises(KernelError) as caught:
        context.run(recorder.finish(), [np.zeros(1, np.uint32)])
    assert caught.value.command_index == expected


def test_an_error_in_one_of_many_workgroups_is_seen(context: Context) -> None:
    n = context.workgroups(20_000)
    command_buffer = checking(context)
    context.device.execute(command_buffer, [], [n, n])
    with pytest.raises(KernelError):
        context.device.execute(command_buffer, [], [n, n - 1])


def test_an_error_stops_later_waves(context: Context) -> None:
    recorder = Recorder(2, 0)
    recorder.call("check_index", (100, 1, 1), constants=[3])
    recorder.barrier()
    recorder.call("count", (1, 1, 1), [recorder.ref(1, 4)])
    out = np.zeros(1, np.uint32)
    with pytest.raises(HalError, match="IREE-HAL-010"):
        context.run(recorder.finish(), [out])
    assert out[0] == 0


def test_an_error_stops_later_host_calls(context: Context) -> None:
    recorder = Recorder(1, 0)
    recorder.call("check_index", (2, 1, 1), constants=[1])
    recorder.host_call(0)
    seen: list[int] = []
    command_buffer = context.command_buffer(recorder.finish(), lambda: seen.append(1))
    with pytest.raises(KernelError):
        context.device.execute(command_buffer, [])
    assert not seen


def test_device_is_usable_after_a_kernel_error(context: Context) -> None:
    command_buffer = checking(context)
    for count in (50, 51, 1000, 50):
        if count > 50:
            with pytest.raises(HalError, match="IREE-HAL-010"):
                context.device.execute(command_buffer, [], [count, 50])
        else:
            context.device.execute(command_buffer, [], [count, 50])


def test_each_run_has_its_own_error(context: Context) -> None:
    command_buffer = checking(context)

    def work(fails: bool) -> None:
        for _ in range(30):
            if fails:
                with pytest.raises(KernelError):
                    context.device.execute(command_buffer, [], [8, 7])
            else:
                context.device.execute(command_buffer, [], [8, 8])

    in_threads(*(lambda n=n: work(bool(n % 2)) for n in range(4)))


def test_kernel_error_travels_through_fences(context: Context) -> None:
    fence, after = Fence.create(), Fence.create()
    context.device.queue_execute(checking(context), [], [10, 9], signal=fence)
    context.device.queue_host_call(lambda: None, wait=fence, signal=after)
    for waited in (fence, after):
        with pytest.raises(KernelError) as caught:
            waited.wait(TIMEOUT)
        assert caught.value.export_name == "check_index"


def test_a_failed_submission_leaves_others_alone(context: Context) -> None:
    command_buffer = checking(context)
    fences = [Fence.create() for _ in range(20)]
    for i, fence in enumerate(fences):
        context.device.queue_execute(command_buffer, [], [8, 7 if i % 3 == 0 else 8], signal=fence)
    for i, fence in enumerate(fences):
        if i % 3 == 0:
            with pytest.raises(KernelError):
                fence.wait(TIMEOUT)
        else:
            fence.wait(TIMEOUT)
