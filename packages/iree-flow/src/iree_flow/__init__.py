"""From a source to an artefact: placement, dispatch creation, scheduling, memory planning.

``iree_flow.compile(source, target=...)`` is the entry point; ``pipeline`` is the table of contents.
"""

from typing import Any

__all__ = ["compile"]


def __getattr__(name: str) -> Any:
    if name == "compile":
        from iree_core_ir.garbage import frozen_gc

        # What is imported stays: a search for cycles among thousands of new functions and classes finds none.
        with frozen_gc():
            from iree_flow.compiler import compile

        globals()["compile"] = compile
        return compile
    raise AttributeError(f"module 'iree_flow' has no attribute '{name}'")
