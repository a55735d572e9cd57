"""Pipelines: made once per words and key, kept for a while, in order of use; modules go when they are made."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from handwritten import WRITERS, executable

from iree_base.errors import IreeError
from iree_hal.conformance import kernels
from iree_target_vulkan.executable_format import SpirvExecutable

SCALE = [export for export in kernels.EXPORTS if export.name == "scale"]


@pytest.fixture
def words() -> bytes:
    return SpirvExecutable.deserialize(executable(WRITERS, SCALE).data).words


def test_equal_words_and_keys_are_one_pipeline(device: Any, words: bytes) -> None:
    from iree_target_vulkan.pipeline import PipelineKey, Shader

    pipelines = device.logical.pipelines
    key = PipelineKey("scale", 2, 4)
    first = pipelines.create(Shader(device.logical, words), key).result()
    assert pipelines.create(Shader(device.logical, words), PipelineKey("scale", 2, 4)).result() is first
    assert pipelines.create(Shader(device.logical, words), PipelineKey("scale", 3, 4)).result() is not first


def test_only_so_many_are_kept(device: Any, words: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from iree_target_vulkan import pipeline

    pipelines = device.logical.pipelines
    pipelines.trim()
    monkeypatch.setattr(pipeline, "MAX_KEPT", 2)
    shader = pipeline.Shader(device.logical, words)
    made = {}
    for bindings in (2, 3, 2, 4):
        key = pipeline.PipelineKey("scale", bindings, 4)
        made[bindings] = pipelines.create(shader, key).result()
    assert pipelines.create(shader, pipeline.PipelineKey("scale", 2, 4)).result() is made[2]
    again = pipelines.create(shader, pipeline.PipelineKey("scale", 3, 4)).result()
    assert again is not made[3]
    del made, again, shader
    gc.collect()
    assert device.logical.handles.live().get("VkShaderModule", 0) == 0


def test_failures_are_raised_where_the_pipeline_is_wanted(
    device: Any, words: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iree_target_vulkan import pipeline

    pipelines = device.logical.pipelines
    pipelines.trim()
    shader = pipeline.Shader(device.logical, words)
    key = pipeline.PipelineKey("scale", 2, 4)

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return (lambda *arguments: -13) if name == "vkCreateComputePipelines" else getattr(real, name)

    from iree_target_vulkan.binding import lib as real

    monkeypatch.setattr(pipeline, "lib", Failing())
    future = pipelines.create(shader, key)
    with pytest.raises(IreeError, match=r"IREE-VK-022.*'scale'.*VK_ERROR_UNKNOWN"):
        future.result()
    monkeypatch.undo()
    assert pipelines.create(shader, key).result().handle is not None
