"""What a compile target is: the protocol between the pipeline and target packages.

A target receives one dispatch at a time, a ``func.func`` in destination-passing style on tensors,
and returns an object for a runtime driver. Nothing here imports a target or its tools.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from iree_base.records import field, record

Expression = list[Any]
"""An integer expression over a dispatch's scalar arguments, as plain lists.

``["arg", i]`` (i-th scalar argument), ``["const", n]``, ``[op, a, b]`` with op one of ``add sub mul
floordiv ceildiv mod min max``: it goes into the recording's parameter program.
"""


class SupportLevel(enum.Enum):
    YES = "yes"
    PARTLY = "partly"
    NO = "no"


@record(frozen=True)
class Support:
    """The answer of ``query_support`` with its reasons (empty for a plain yes)."""

    level: SupportLevel
    reasons: tuple[str, ...] = ()

    @classmethod
    def yes(cls) -> Support:
        return cls(SupportLevel.YES)

    @classmethod
    def partly(cls, *reasons: str) -> Support:
        return cls(SupportLevel.PARTLY, reasons)

    @classmethod
    def no(cls, *reasons: str) -> Support:
        return cls(SupportLevel.NO, reasons)

    def __bool__(self) -> bool:
        return self.level is not SupportLevel.NO


@dataclass(frozen=True)
class TargetDescription:
    """The machine to compile for. Targets subclass it with fields of their own.

    Every field must be a JSON value or a tuple of them: the description is part of the cache key
    and travels to compile workers.
    """

    target: str
    features: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    binding_alignment: int = 64
    """Buffers in the arena and constants in their segment begin at multiples of this."""
    slice_alignment: int = 1
    """A binding in the middle of another buffer (a slice) begins at a multiple of this, else it is copied."""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def key(self) -> str:
        """A text that is equal for equal descriptions."""
        return json.dumps(self.to_json(), sort_keys=True)


@record(frozen=True)
class ConstantLayout:
    """A target's wish: constant argument ``argument`` transformed before it is stored.

    ``kind`` and ``parameters`` name a ConstantStore transform; ``type`` is the resulting type.
    """

    argument: int
    kind: str
    parameters: Mapping[str, Any]
    type: Any


@record(frozen=True)
class DispatchRequest:
    """One dispatch to compile. Picklable: it may be compiled in a worker process.

    ``text`` is a module holding exactly the function ``name``. ``options`` are those that reach
    code generation.
    """

    name: str
    text: str
    description: TargetDescription
    options: Mapping[str, Any] = field(default_factory=dict)


@record(frozen=True)
class ExportObject:
    """One entry point of an executable object; see ``iree_hal.abi`` for how it is called.

    ``bindings``: per tensor argument ``read``, ``write`` or ``readwrite``; ``alignments``: the bytes
    each binding's address must be a multiple of; ``workgroup_count``: three expressions (x, y, z);
    ``workspace``: bytes that all workgroups of a dispatch share, zero when it begins. They are the last
    binding, which is no tensor argument.
    """

    name: str
    bindings: tuple[str, ...]
    n_constants: int
    workgroup_count: tuple[Expression, Expression, Expression]
    scratch_bytes: int = 0
    alignments: tuple[int, ...] = ()
    workspace: Expression | None = None


@record(frozen=True)
class ExecutableObject:
    """What ``compile_dispatch`` returns: bytes for a loader of the target's format."""

    data: bytes
    exports: tuple[ExportObject, ...]
    features: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    """At least ``strategy`` and ``why``."""


@runtime_checkable
class Target(Protocol):
    """One compile target, such as ``llvm-cpu``."""

    name: str
    driver: str
    """Runtime driver that runs its objects."""
    format: str
    """Executable format, the key of the runtime's loaders."""
    option_names: Collection[str]
    """The options of ``describe``: a user's ``--target-NAME`` reaches every target that has it. A mapping
    gives a line of help for each. A target that has ``matmul-precision`` (``highest``, ``high``, ``medium``)
    or ``conv-algorithm`` (``auto``, ``direct``) gets what the whole compile was asked for.
    """

    def describe(self, options: Mapping[str, str]) -> TargetDescription:
        """Validate ``options`` and resolve them to a machine. Raises a coded error for a bad one."""
        ...

    def query_support(self, op: Any, description: TargetDescription) -> Support:
        """Whether this target can run ``op`` (an Op of the placement level)."""
        ...

    def constant_layout(self, dispatch: Any, description: TargetDescription) -> Sequence[ConstantLayout]:
        """Which constant arguments of the dispatch function should be stored transformed."""
        ...

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        """Compile one dispatch. May run in another process. Raises a coded error naming the op."""
        ...


class TargetWishes(Protocol):
    """What a target may have beside :class:`Target`."""

    distributions: Sequence[str]
    """Its own and its tools', whose versions decide what objects look like: what caches keep goes by them."""

    def format_of(self, description: TargetDescription) -> str:
        """The format of objects for that machine; without the method always ``format``."""
        ...

    def needs_worker(self, description: TargetDescription) -> bool:
        """Whether dispatches are compiled in other processes only; without the method not."""
        ...

    def kernel_form(self, function: Any, description: TargetDescription) -> Any:
        """What it makes objects from, to be interpreted: says which step of a wrong dispatch is wrong."""
        ...

    def tuning_variants(self, description: TargetDescription) -> Mapping[str, TargetDescription]:
        """Label -> another description that may give faster code for some dispatches: what ``tune`` tries.

        A target without the method has nothing to choose from.
        """
        ...

    def channel_block(self, description: TargetDescription) -> int | None:
        """How many channels of f32 images it wants side by side (``iree_flow.channel_blocks``).

        None, as of targets without the method: images stay as they are.
        """
        ...

    def integer_products(self, description: TargetDescription) -> bool:
        """Whether products of unsigned by constant signed 8-bit integers, summed in i32, are faster than
        products of f32: then models quantized so are computed on integers.

        A target without the method says no.
        """
        ...

    def rounded_arguments(self, dispatch: Any, description: TargetDescription) -> Mapping[int, Any]:
        """Argument of the dispatch function -> the narrower type that its elements are rounded to before
        anything else is done with them: then whoever makes them may store them so (``narrow-results``).

        A target without the method rounds none.
        """
        ...

    def replaced_arguments(self, dispatch: Any, description: TargetDescription) -> Sequence[int]:
        """Arguments as large as the one result whose elements are read only to compute the result at their
        place, before that is written: the result may take their memory.

        A target without the method names none.
        """
        ...

    def fused_ops(self, description: TargetDescription) -> Collection[str]:
        """Multi-step ops, by name, that it computes as one: their parts are looked for (``raise-attention``).

        A target without the method names none.
        """
        ...

    def masks_along_keys(self, description: TargetDescription) -> bool:
        """Whether its attentions go through a mask of queries and keys row by row, not key by key.

        A target without the method says no.
        """
        ...

    def remarks(self, description: TargetDescription) -> Sequence[str]:
        """Lines for the report of a compile: what its options ask for and the machine does not have."""
        ...
