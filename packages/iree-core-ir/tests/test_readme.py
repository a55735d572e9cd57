"""The README's examples run."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_examples_run_in_order() -> None:
    from iree_core_ir.ir import dialect

    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    try:
        exec(compile("\n".join(blocks), str(README), "exec"), {"__name__": "readme"})
    finally:
        dialect._dialects.pop("demo", None)
        dialect._ops.pop("demo.twice", None)
