"""The conformance suite on ``local-sync``."""

from iree_hal.conformance.backend import Backend
from iree_hal.conformance.suite import *  # noqa: F403

BACKEND = Backend("local-sync")
