"""The compiler's plugin contract: entry-point group ``iree.compiler``.

An entry point is a light module with ``api = (1, 0)`` and some of these hooks. Each returns names
and lazy getters (``{"name": getter}``): listing plugins imports nothing heavy, ``getter()`` may.
Specs only gain hooks and arguments within a major version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pluggy

GROUP = "iree.compiler"
API = (1, 0)

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

Getters = Mapping[str, Callable[[], Any]]


@hookspec
def iree_frontends() -> Getters:  # type: ignore[empty-body]
    """Frontend name -> getter of the frontend object.

    A name that starts with a point is a file suffix (``.onnx``).
    """


@hookspec
def iree_dialects() -> Getters:  # type: ignore[empty-body]
    """Dialect name -> getter that imports the module which creates its ``Dialect``."""


@hookspec
def iree_interpreters() -> Getters:  # type: ignore[empty-body]
    """Dialect name -> getter that imports the module which registers its ops' numpy meanings."""


@hookspec
def iree_canonicalizations() -> Getters:  # type: ignore[empty-body]
    """Dialect name -> getter of the list of its canonicalization patterns."""


@hookspec
def iree_passes() -> Getters:  # type: ignore[empty-body]
    """Pass name as on the command line -> getter of the pass class."""


@hookspec
def iree_constant_transforms() -> Getters:  # type: ignore[empty-body]
    """Kind -> getter that imports the module which registers it with ``@constant_transform``.

    A phase file names kinds; the process that continues from it may have loaded none of their modules.
    """


@hookspec
def iree_targets() -> Getters:  # type: ignore[empty-body]
    """Target name as in ``--target`` -> getter of an object with the ``Target`` protocol."""


@hookspec
def iree_default_targets() -> Getters:  # type: ignore[empty-body]
    """Target name -> getter of its rank, a number: where nobody names a target, the highest is compiled for.

    Only for targets whose code runs on the machine that compiles.
    """


@hookspec
def iree_caches() -> Getters:  # type: ignore[empty-body]
    """Name -> getter of an ``iree_base.disk_cache.DiskCache``, for ``iree cache``."""
