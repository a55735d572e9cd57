"""The digests are hashlib's."""

from __future__ import annotations

import hashlib

import pytest

from iree_base.blake2 import blake2b


@pytest.mark.parametrize("data", [b"", b"abc", bytes(1000)])
@pytest.mark.parametrize("size", [16, 32])
def test_same_digest(data: bytes, size: int) -> None:
    assert blake2b(data, digest_size=size).digest() == hashlib.blake2b(data, digest_size=size).digest()
