"""``blake2b`` without what :mod:`hashlib` brings along: that loads OpenSSL, which nothing here needs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import blake2b
else:
    try:
        from _blake2 import blake2b
    except ImportError:  # a Python built without the module of its own
        from hashlib import blake2b

__all__ = ["blake2b"]
