"""Shared by the tests: a machine description without a target package, and dispatch functions from text."""

from __future__ import annotations

from typing import Any

import pytest

from iree_codegen.workgroup_description import WorkgroupDescription
from iree_core_ir.text.parser import parse_module
from iree_core_ir.verifier import verify


def machine(bits: int) -> Any:
    """What strategies ask of a machine with vectors of ``bits``."""
    return WorkgroupDescription(
        "none",
        vector_bits=bits,
        registers=32 if bits == 512 else 16,
        fma=bits >= 256,
        masks=bits == 512,
        rounding=bits >= 256,
        half_conversions=bits >= 256,
    )


@pytest.fixture(params=[128, 256, 512], ids=lambda bits: f"{bits}-bit")
def description(request: pytest.FixtureRequest) -> Any:
    return machine(request.param)


def function(text: str) -> Any:
    """The only function of a module text, verified."""
    module = parse_module(text)
    verify(module)
    return next(iter(module.regions[0].block))
