"""The conformance suite on ``vulkan``, with kernels assembled by hand."""

import pytest
from handwritten import conformance_executable

import iree_hal
from iree_hal.conformance.backend import Backend
from iree_hal.conformance.suite import *  # noqa: F403

DENORMALS = "Vulkan leaves denormals to the device, and devices differ"

if not iree_hal.devices("vulkan"):
    pytest.skip("no Vulkan device: see iree plugins doctor", allow_module_level=True)

BACKEND = Backend(
    "vulkan",
    executable=conformance_executable,
    never={"test_denormals_are_flushed": DENORMALS},
)
