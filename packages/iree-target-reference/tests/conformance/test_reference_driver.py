"""The conformance suite on ``reference``: kernels are interpreted, one workgroup after the other."""

from iree_hal.conformance.backend import Backend
from iree_hal.conformance.kernels import ir_executable
from iree_hal.conformance.suite import *  # noqa: F403

BACKEND = Backend(
    "reference",
    executable=ir_executable,
    most_workgroups=300,
    never={
        "test_denormals_are_flushed": "numpy keeps denormals, and results are numpy's",
        "profiles": "the speed of an interpreter says nothing of a device",
    },
)
