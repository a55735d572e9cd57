"""Logical devices: numbered submissions, deferred actions, recycled command pools, shared layouts."""

from __future__ import annotations

import gc
from typing import Any

import pytest


def submission(logical: Any) -> Any:
    from iree_target_vulkan.command_writer import CommandWriter

    writer = CommandWriter(logical)
    writer.begin()
    writer.end()
    return writer


def test_submissions_are_numbered_and_waited_for(device: Any) -> None:
    logical = device.logical
    writer = submission(logical)
    first = writer.submit()
    logical.wait(first)
    second = writer.submit()
    assert second > first
    writer.wait()
    assert logical.completed() >= second
    writer.close()


def test_retired_actions_wait_for_their_submission(device: Any) -> None:
    logical, done = device.logical, []
    logical.collect()
    future = logical.submitted + 1
    logical.retire(future, lambda: done.append("late"))
    logical.retire(logical.completed(), lambda: done.append("due"))
    logical.collect()
    assert done == ["due"]
    writer = submission(logical)
    while writer.submit() < future:
        writer.wait()
    writer.wait()
    assert done == ["due", "late"]
    writer.close()


def test_command_pools_are_used_again(device: Any) -> None:
    logical = device.logical
    held = logical.leaks().get("VkCommandPool", 0)
    submission(logical).close()
    created = logical.handles.created["VkCommandPool"]
    for _ in range(5):
        writer = submission(logical)
        writer.submit()
        writer.wait()
        writer.close()
    assert logical.handles.created["VkCommandPool"] == created
    assert logical.leaks().get("VkCommandPool", 0) <= held


def test_layouts_are_shared(device: Any) -> None:
    logical = device.logical
    assert logical.set_layout(3) == logical.set_layout(3)
    assert logical.pipeline_layout(3, 8) == logical.pipeline_layout(3, 8)
    assert logical.pipeline_layout(3, 8) != logical.pipeline_layout(3, 12)


def test_the_timestamps_of_a_submission_ascend(device: Any) -> None:
    if not device.logical.physical.timestamp_bits:
        pytest.skip("the device has no timestamps")
    from iree_target_vulkan.buffer import Storage
    from iree_target_vulkan.command_writer import CommandWriter, Span

    storage = Storage(device.logical, 1 << 16, "device")
    writer = CommandWriter(device.logical)
    writer.begin()
    for i in range(5):
        assert writer.timestamp() == i
        writer.fill(Span(storage.range, 0, 1 << 16), b"\0")
        writer.barrier()
    writer.end()
    for _ in range(2):
        writer.submit()
        writer.wait()
        times = writer.timestamps()
        assert times[0] == 0
        assert times == sorted(times)
    writer.close()
    del storage
    gc.collect()
