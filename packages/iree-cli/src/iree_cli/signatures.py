"""A function's inputs and outputs as the command line needs them: name, element type, sizes.

Read from an artefact's manifest. A size is a number or, where it is only known at run time, the dimension's
name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iree_base.element_types import ElementType, element_type, from_dtype
from iree_cli.errors import CliError
from iree_vm.artifact import FunctionSpec, Manifest, TensorSpec


@dataclass(frozen=True)
class Slot:
    """One input or output."""

    name: str
    element_type: ElementType
    shape: tuple[int | str, ...]

    @property
    def static(self) -> bool:
        return all(isinstance(size, int) for size in self.shape)

    def __str__(self) -> str:
        return f"{self.name}: {type_text(self.shape, self.element_type)}"


@dataclass(frozen=True)
class Signature:
    """A function: ``inputs`` in order, ``outputs`` in order."""

    name: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]

    def __str__(self) -> str:
        inputs, outputs = (", ".join(map(str, slots)) for slots in (self.inputs, self.outputs))
        return f"{self.name}({inputs}) -> ({outputs})"


def type_text(shape: Sequence[int | str], kind: ElementType) -> str:
    """``1x128xi64``; a dimension without a fixed size shows as its name."""
    return "x".join([*(str(size) for size in shape), kind.name])


def array_text(value: np.ndarray[Any, Any]) -> str:
    """The type of ``value`` as ``type_text`` writes it."""
    return type_text(value.shape, from_dtype(value.dtype))


def from_manifest(manifest: Manifest) -> dict[str, Signature]:
    """The functions of an artefact by name."""
    return from_functions(manifest.functions)


def from_functions(functions: Iterable[FunctionSpec]) -> dict[str, Signature]:
    """Functions by name."""
    return {
        function.name: Signature(
            function.name,
            tuple(_slot(spec) for spec in function.inputs),
            tuple(_slot(spec) for spec in function.outputs),
        )
        for function in functions
    }


def _slot(spec: TensorSpec) -> Slot:
    return Slot(spec.name, element_type(spec.dtype), spec.shape)


def choose(functions: Mapping[str, Signature], name: str | None, what: str = "the artefact") -> Signature:
    """The function called ``name``; left out, ``main`` or the only one. Raises CliError 11."""
    if name is None:
        name = "main" if "main" in functions else next(iter(functions), "")
        if len(functions) > 1 and name != "main":
            raise CliError(11, "main", cause=f"{what} has {', '.join(functions)}", hint="--function NAME")
    if name not in functions:
        raise CliError(11, name, cause=f"{what} has {', '.join(functions) or 'none'}")
    return functions[name]
