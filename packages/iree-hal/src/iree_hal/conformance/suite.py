"""All tests and fixtures of the suite, to be imported into a driver's test module with ``*``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iree_hal.conformance import NOUNS

pytest.register_assert_rewrite(*(f"iree_hal.conformance.{noun}" for noun in NOUNS))

from iree_hal.conformance.allocator import *  # noqa: E402, F403
from iree_hal.conformance.backend import Backend, Context  # noqa: E402
from iree_hal.conformance.bindings import *  # noqa: E402, F403
from iree_hal.conformance.buffer import *  # noqa: E402, F403
from iree_hal.conformance.buffer_view import *  # noqa: E402, F403
from iree_hal.conformance.command_buffer import *  # noqa: E402, F403
from iree_hal.conformance.constants import *  # noqa: E402, F403
from iree_hal.conformance.copies import *  # noqa: E402, F403
from iree_hal.conformance.device import *  # noqa: E402, F403
from iree_hal.conformance.devices import *  # noqa: E402, F403
from iree_hal.conformance.driver import *  # noqa: E402, F403
from iree_hal.conformance.executable import *  # noqa: E402, F403
from iree_hal.conformance.fence import *  # noqa: E402, F403
from iree_hal.conformance.fills import *  # noqa: E402, F403
from iree_hal.conformance.kernel_errors import *  # noqa: E402, F403
from iree_hal.conformance.lifetime import *  # noqa: E402, F403
from iree_hal.conformance.profiles import *  # noqa: E402, F403
from iree_hal.conformance.queue import *  # noqa: E402, F403
from iree_hal.conformance.recording import *  # noqa: E402, F403
from iree_hal.conformance.semaphore import *  # noqa: E402, F403
from iree_hal.conformance.submissions import *  # noqa: E402, F403
from iree_hal.conformance.waves import *  # noqa: E402, F403
from iree_hal.conformance.workgroups import *  # noqa: E402, F403


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    """The module's BACKEND."""
    found: Backend = request.module.BACKEND
    return found


@pytest.fixture(scope="module")
def context(backend: Backend) -> Context:
    """A device of the backend with the kernels loaded, shared by the module's tests."""
    return Context(backend)


@pytest.fixture(autouse=True)
def conformance_marks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Apply the backend's ``never`` and ``not_yet`` marks; a mark that names no test or noun is an error."""
    declared: Backend | None = getattr(request.module, "BACKEND", None)
    if declared is not None:
        name = getattr(request.node, "originalname", request.node.name)
        noun = request.function.__module__.rpartition(".")[2]
        for marked in (*declared.never, *declared.not_yet):
            known = marked in NOUNS or hasattr(request.module, marked)
            assert known, f"the backend marks an unknown test {marked}"
        never = declared.never.get(name, declared.never.get(noun))
        if never is not None:
            pytest.skip(f"never: {never}")
        not_yet = declared.not_yet.get(name, declared.not_yet.get(noun))
        if not_yet is not None:
            request.node.add_marker(pytest.mark.xfail(strict=True, reason=f"not yet: {not_yet}"))
    yield
