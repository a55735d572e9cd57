"""An artefact file -> its functions, and a callable by name of one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import iree_vm
from iree_cli import signatures
from iree_cli.signatures import Signature

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Program:
    """One function of an artefact that is open but not loaded onto a device."""

    artifact: Any
    signature: Signature

    def load(
        self, *, device: str | None, threads: int | None, verify: bool
    ) -> Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]:
        """Load it and return a function from input arrays by name to results by name."""
        return self.load_module(device=device, threads=threads, verify=verify)[0]

    def load_module(
        self, *, device: str | None, threads: int | None, verify: bool
    ) -> tuple[Callable[[Arrays], dict[str, np.ndarray[Any, Any]]], iree_vm.Module]:
        """The same, and the module that it is a function of."""
        module = iree_vm.load(self.artifact, device=device, threads=threads, verify=verify)
        function = getattr(module, self.signature.name)
        names = [slot.name for slot in self.signature.outputs]
        order = [slot.name for slot in self.signature.inputs]

        def call(values: Arrays) -> dict[str, np.ndarray[Any, Any]]:
            result = function(*(values[name] for name in order))
            many = result if isinstance(result, tuple) else (result,)
            return {name: np.asarray(value) for name, value in zip(names, many, strict=True)}

        return call, module


def open_program(path: Path, function: str | None) -> Program:
    """Open the artefact at ``path`` and choose a function. Raises CliError 11 and the runtime's."""
    artifact = iree_vm.Artifact.open(path)
    return Program(artifact, signatures.choose(signatures.from_manifest(artifact.manifest), function))
