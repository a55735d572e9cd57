"""Machines a little different from the one described, by which strategies choose otherwise.

The numbers that strategies work with (cache sizes, registers, algorithms) are a model of the machine. A
dispatch for which another number gives faster code is compiled as if for that machine; whatever runs is code
for the machine at hand, since features are never added.
"""

from __future__ import annotations

from dataclasses import replace

from iree_target_llvm.description import CpuDescription


def tuning_variants(description: CpuDescription) -> dict[str, CpuDescription]:
    """Label -> description to try beside ``description`` itself."""
    found = {
        "l2-half": replace(description, l2_bytes=description.l2_bytes // 2),
        "l2-double": replace(description, l2_bytes=description.l2_bytes * 2),
        "l2-quarter": replace(description, l2_bytes=description.l2_bytes // 4),
        "l1-half": replace(description, l1_bytes=description.l1_bytes // 2),
    }
    if description.conv_algorithm != "direct":
        found["direct"] = replace(description, conv_algorithm="direct")
    if description.registers > 16:
        found["fewer-registers"] = replace(description, registers=description.registers - 8)
    return found


__all__ = ["tuning_variants"]
