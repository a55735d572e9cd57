"""The instance: validation collects messages; a forked child gets an error, not a hang."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest


def _run(code: str, **environment: str) -> str:
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_validation_messages_are_collected(device: Any) -> None:
    if not os.environ.get("IREE_VULKAN_VALIDATION"):
        pytest.skip("the validation layers are not installed")
    out = _run(
        """
        import iree_hal
        device = iree_hal.create_device("vulkan")
        from iree_target_vulkan.binding import struct
        try:
            device.logical.own("VkBuffer", "vkCreateBuffer", struct("VkBufferCreateInfo", size=0, usage=1))
        except Exception:
            pass
        print([m for m in device.validation_messages() if "VkBufferCreateInfo-size" in m] != [])
        import os; os._exit(0)
        """
    )
    assert out.strip() == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_gets_a_coded_error(device: Any) -> None:
    out = _run(
        """
        import os, gc
        import iree_hal
        from iree_base.errors import IreeError
        device = iree_hal.create_device("vulkan")
        buffer = device.import_constants(bytes(1000))
        pid = os.fork()
        if not pid:
            codes = []
            for use in (
                lambda: iree_hal.create_device("vulkan"),
                lambda: device.import_constants(bytes(10)),
                lambda: device.queue_fill(device.allocator.allocate(8), 0, 8, b"x"),
            ):
                try:
                    use()
                    codes.append("none")
                except IreeError as error:
                    codes.append(error.code)
            print(codes, iree_hal.devices("vulkan"), flush=True)
            del buffer, device
            gc.collect()
            raise SystemExit(7)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), len(iree_hal.devices("vulkan")) > 0)
        print(bytes(device.import_constants(b"still").map("r")))
        """
    )
    first, second, third = out.strip().splitlines()
    assert first == "['IREE-VK-024', 'IREE-VK-024', 'IREE-VK-024'] ()"
    assert second == "7 True"
    assert third == "b'still'"


def test_a_child_forked_before_any_use_may_use_vulkan(device: Any) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    out = _run(
        """
        import os
        import iree_hal
        if not os.fork():
            device = iree_hal.create_device("vulkan")
            print(bytes(device.import_constants(b"child").map("r")), flush=True)
        else:
            os.wait()
        """
    )
    assert out.strip() == "b'child'"


def test_importing_the_driver_loads_no_vulkan() -> None:
    out = _run(
        """
        import sys
        import iree_hal
        assert "vulkan" in iree_hal.drivers()
        iree_hal.find_driver("vulkan")
        print([name for name in ("vulkan", "cffi", "iree_core_ir", "iree_codegen") if name in sys.modules])
        """
    )
    assert out.strip() == "[]"
