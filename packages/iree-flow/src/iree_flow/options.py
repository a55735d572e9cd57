"""Compile options: one dataclass; an unknown option or one without effect is an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from iree_base.records import field, record
from iree_flow.default_target import default_target
from iree_flow.errors import FlowError

MATMUL_PRECISIONS = ("highest", "high", "medium")
CONV_ALGORITHMS = ("auto", "direct")

Progress = Callable[[str, int, int, str], None]
"""``progress(event, done, total, text)``: event is ``phase`` or ``kernel``."""


@record
class CompileOptions:
    """What ``iree_flow.compile`` accepts; the command line has the same names with dashes."""

    target: Sequence[str] = field(default_factory=lambda: (default_target(),))
    """Default: :func:`~iree_flow.default_target.default_target`. Several: the artefact holds a variant of
    each, and the best that fits is picked when it is loaded.
    """
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """Input name -> fixed shape, replacing dynamic dims."""
    frontend: str | None = None
    """Force a frontend by name instead of asking each."""
    target_options: Mapping[str, str] = field(default_factory=dict)
    """Options of targets, such as ``cpu`` and ``features``: each reaches the targets that have it."""
    matmul_precision: str = "highest"
    """``highest``: products of f32 are f32; ``high``: they may be three products of bf16 parts (errors of
    about 1e-5); ``medium``: one product of numbers rounded to bf16. Sums are f32. A target without the
    hardware stays at f32, and the report says so.
    """
    conv_algorithm: str = "auto"
    """``auto``: 3x3 convolutions may be computed by Winograd's F(2x2, 3x3) where that pays: a value that is
    not finite then spoils the 2x2 results around it. ``direct``: sums of products only.
    """
    compile_to: str | None = None
    """Stop behind this phase; the result is a PhaseFile."""
    compile_from: str | None = None
    """The source is a file of this phase."""
    dump_phases_to: str | os.PathLike[str] | None = None
    output: str | os.PathLike[str] | None = None
    """Write the artefact here; without, it lies in an unnamed temporary file until ``save`` copies it."""
    jobs: int | None = None
    """Compile workers; None: as many as cores."""
    cache: bool = True
    tune: bool = False
    """Measure candidates per dispatch on this machine and take the fastest; what was measured is kept."""
    fusion: bool = True
    """False: one op a dispatch."""
    progress: Progress | None = None
    name: str | None = None
    """The module's name in the artefact; default: from the source."""

    @classmethod
    def from_arguments(
        cls, target: str | Sequence[str] | None, arguments: Mapping[str, Any]
    ) -> CompileOptions:
        """Options from keyword arguments; ``target_cpu=...`` reaches the target as ``cpu``.

        Raises FlowError 3 for a name nobody knows, 13 where a target has to be named.
        """
        known = {f.name for f in fields(cls)}
        own: dict[str, Any] = {}
        of_target: dict[str, str] = {}
        for name, value in arguments.items():
            if name in known:
                own[name] = value
            elif name.startswith("target_"):
                if value is not None:
                    of_target[name.removeprefix("target_")] = str(value)
            else:
                raise FlowError(3, name, hint="one of " + ", ".join(sorted(known)))
        if target is None:
            target = default_target()
        targets = (target,) if isinstance(target, str) else tuple(target)
        merged = {**dict(own.pop("target_options", {})), **of_target}
        options = cls(target=targets, target_options=merged, **own)
        options.check()
        return options

    def check(self) -> None:
        """Raises FlowError 4, 5 or 12 for options that make no sense."""
        from iree_flow.pipeline import PHASE_NAMES

        for name in (self.compile_to, self.compile_from):
            if name is not None and name not in PHASE_NAMES:
                raise FlowError(5, name, hint="one of " + ", ".join(PHASE_NAMES))
        if self.compile_to is not None and self.compile_from is not None:
            if PHASE_NAMES.index(self.compile_to) <= PHASE_NAMES.index(self.compile_from):
                raise FlowError(
                    4, f"compile_to={self.compile_to}", cause=f"compilation starts behind {self.compile_from}"
                )
        if self.compile_from is not None and self.input_shapes:
            raise FlowError(4, "input_shapes", cause="shapes are fixed in phase input")
        if self.matmul_precision not in MATMUL_PRECISIONS:
            raise FlowError(
                12,
                f"matmul_precision={self.matmul_precision}",
                hint="one of " + ", ".join(MATMUL_PRECISIONS),
            )
        if self.conv_algorithm not in CONV_ALGORITHMS:
            hint = "one of " + ", ".join(CONV_ALGORITHMS)
            raise FlowError(12, f"conv_algorithm={self.conv_algorithm}", hint=hint)
        if self.output is not None and self.compile_to is not None:
            raise FlowError(4, "output", cause=f"compile_to={self.compile_to} makes no artefact")
        if not self.target:
            raise FlowError(12, "target: at least one is needed")
        if len(set(self.target)) != len(self.target):
            raise FlowError(12, "target: " + ", ".join(self.target), cause="one is there twice")
        if self.jobs is not None and self.jobs < 1:
            raise FlowError(12, f"jobs={self.jobs}")

    def configuration(self) -> dict[str, Any]:
        """The effective configuration, for reports and ``--print-config``."""
        return {
            "target": list(self.target),
            "target_options": dict(self.target_options),
            "matmul_precision": self.matmul_precision,
            "conv_algorithm": self.conv_algorithm,
            "input_shapes": {k: list(v) for k, v in self.input_shapes.items()},
            "jobs": self.jobs,
            "cache": self.cache,
            "tune": self.tune,
            "fusion": self.fusion,
        }
