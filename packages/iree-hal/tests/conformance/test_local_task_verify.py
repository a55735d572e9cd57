"""The conformance suite on ``local-task`` with self-checking: poison, guards, shuffled tiles."""

from iree_hal.conformance.backend import Backend
from iree_hal.conformance.suite import *  # noqa: F403

BACKEND = Backend("local-task", {"threads": 3, "verify": True})
