"""The conformance suite on ``local-task``, with more threads than most test machines have processors."""

from iree_hal.conformance.backend import Backend
from iree_hal.conformance.suite import *  # noqa: F403

BACKEND = Backend("local-task", {"threads": 4})
