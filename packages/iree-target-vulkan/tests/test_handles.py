"""Handles: destroyed once, newest first, counted."""

from iree_target_vulkan.handles import Handles


def test_dropping_destroys_once() -> None:
    handles, gone = Handles(), []
    token = handles.add("VkBuffer", lambda: gone.append("a"))
    assert handles.live() == {"VkBuffer": 1}
    handles.drop(token)
    handles.drop(token)
    assert gone == ["a"]
    assert handles.live() == {}
    assert handles.created == handles.destroyed == {"VkBuffer": 1}


def test_the_rest_goes_newest_first() -> None:
    handles, gone = Handles(), []
    for name in "abc":
        handles.add("VkPipeline", lambda name=name: gone.append(name))  # type: ignore[misc]
    handles.close()
    assert gone == ["c", "b", "a"]


def test_abandoned_objects_are_never_touched() -> None:
    handles, gone = Handles(), []
    token = handles.add("VkBuffer", lambda: gone.append("a"))
    handles.abandon()
    handles.drop(token)
    handles.close()
    assert gone == []
