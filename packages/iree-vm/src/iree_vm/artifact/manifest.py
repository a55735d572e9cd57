"""The manifest: what an artefact holds, as dataclasses; ``manifest.json`` is their exact JSON.

``Manifest.from_json`` checks types (``schema``), then what refers to what; a problem is VmError 56 with the
place, another format version VmError 53.
"""

from __future__ import annotations

import json
from typing import Any

from iree_base.element_types import ELEMENT_TYPES
from iree_base.records import field, record
from iree_vm.artifact.schema import Natural, check
from iree_vm.errors import VmError

FORMAT_VERSION = (1, 1)
"""Same major and a minor not above ours can be read. 1.1: variants may name members and constants of their
own; a variant of 1.0 has the common members and all constants.
"""

MANIFEST = "manifest.json"
PROGRAM = "module.vmbc"
DEBUG = "debug.json"
"""Members of an artefact with one variant or none; several variants have a program and a ``debug`` each."""

_TENSOR = {"name": str, "dtype": str, "shape": [(Natural, str)], "tied?": (Natural, None)}
SCHEMA: dict[str, Any] = {
    "format_version": [Natural],
    "producer": {"*": str},
    "module": str,
    "functions": [{"name": str, "inputs": [_TENSOR], "outputs": [_TENSOR], "calls": str}],
    "dims": {"*": {"min": Natural, "max": (Natural, None), "divisor": Natural}},
    "variants": [
        {
            "name": str,
            "target": str,
            "driver": str,
            "features": [str],
            "executables": [Natural],
            "program?": str,
            "debug?": str,
            "constants?": [Natural],
        },
    ],
    "executables": [
        {
            "member": str,
            "name": str,
            "format": str,
            "features": [str],
            "exports": [
                {
                    "name": str,
                    "scratch_bytes": Natural,
                    "n_constants": Natural,
                    "bindings": [("read", "write", "readwrite")],
                    "alignments": [Natural],
                }
            ],
        }
    ],
    "constants": [{"member": str, "bytes": Natural, "alignment": Natural}],
    "requires": {"modules": [str], "loaders": [str]},
    "digests": {"*": str},
}


@record(frozen=True)
class Dim:
    """The range of a named dimension: ``min <= value <= max`` (None: no limit), a multiple of ``divisor``."""

    min: int = 0
    max: int | None = None
    divisor: int = 1


@record(frozen=True)
class TensorSpec:
    """An input or output: ``shape`` holds sizes and dimension names.

    ``tied`` of an output is the index of the input whose memory it takes over when that input is donated.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    tied: int | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
        if self.tied is not None:
            out["tied"] = self.tied
        return out


@record(frozen=True)
class FunctionSpec:
    """A callable function; ``calls`` names the bytecode export behind it."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    calls: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "inputs": [t.to_json() for t in self.inputs],
            "outputs": [t.to_json() for t in self.outputs],
            "calls": self.calls or self.name,
        }


@record(frozen=True)
class ExportEntry:
    """A kernel of an executable; ``alignments`` is one number of bytes per binding, or empty."""

    name: str
    scratch_bytes: int
    n_constants: int
    bindings: tuple[str, ...]
    alignments: tuple[int, ...] = ()


@record(frozen=True)
class ExecutableEntry:
    """An executable member: its format picks the loader, ``features`` are what the machine must have."""

    member: str
    name: str
    format: str
    features: tuple[str, ...]
    exports: tuple[ExportEntry, ...]


@record(frozen=True)
class Variant:
    """The program as one target made it.

    ``hal.executable.load`` indexes ``executables`` and ``hal.constants.map`` ``constants``, which hold
    numbers of the manifest's lists: a constant that several variants use is there once. ``program`` and
    ``debug`` are members.
    """

    name: str
    target: str
    driver: str
    features: tuple[str, ...]
    executables: tuple[int, ...]
    constants: tuple[int, ...] = ()
    program: str = PROGRAM
    debug: str = DEBUG


@record(frozen=True)
class ConstantEntry:
    """A constant segment; variants name those they map."""

    member: str
    bytes: int
    alignment: int


@record(frozen=True)
class Manifest:
    """The whole manifest. Without variants, the program and the debug information are the common members."""

    module: str
    producer: dict[str, str] = field(default_factory=dict)
    functions: tuple[FunctionSpec, ...] = ()
    dims: dict[str, Dim] = field(default_factory=dict)
    variants: tuple[Variant, ...] = ()
    executables: tuple[ExecutableEntry, ...] = ()
    constants: tuple[ConstantEntry, ...] = ()
    modules: tuple[str, ...] = ()
    loaders: tuple[str, ...] = ()
    digests: dict[str, str] = field(default_factory=dict)

    @property
    def programs(self) -> tuple[str, ...]:
        """The members with bytecode."""
        return tuple(dict.fromkeys(v.program for v in self.variants)) or (PROGRAM,)

    @property
    def debug_members(self) -> tuple[str, ...]:
        """The members with debug information."""
        return tuple(dict.fromkeys(v.debug for v in self.variants)) or (DEBUG,)

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": list(FORMAT_VERSION),
            "producer": dict(sorted(self.producer.items())),
            "module": self.module,
            "functions": [f.to_json() for f in self.functions],
            "dims": {
                n: {"min": d.min, "max": d.max, "divisor": d.divisor} for n, d in sorted(self.dims.items())
            },
            "variants": [
                {
                    "name": v.name,
                    "target": v.target,
                    "driver": v.driver,
                    "features": list(v.features),
                    "executables": list(v.executables),
                    "program": v.program,
                    "debug": v.debug,
                    "constants": list(v.constants),
                }
                for v in self.variants
            ],
            "executables": [
                {
                    "member": e.member,
                    "name": e.name,
                    "format": e.format,
                    "features": list(e.features),
                    "exports": [
                        {
                            "name": x.name,
                            "scratch_bytes": x.scratch_bytes,
                            "n_constants": x.n_constants,
                            "bindings": list(x.bindings),
                            "alignments": list(x.alignments),
                        }
                        for x in e.exports
                    ],
                }
                for e in self.executables
            ],
            "constants": [
                {"member": c.member, "bytes": c.bytes, "alignment": c.alignment} for c in self.constants
            ],
            "requires": {"modules": list(self.modules), "loaders": list(self.loaders)},
            "digests": dict(sorted(self.digests.items())),
        }

    def serialize(self) -> bytes:
        """The bytes of ``manifest.json``; equal manifests give equal bytes."""
        return (json.dumps(self.to_json(), indent=1, ensure_ascii=True) + "\n").encode()

    @staticmethod
    def from_json(data: Any) -> Manifest:
        """Check and build. Raises VmError 53 or 56."""
        version: Any = data.get("format_version") if isinstance(data, dict) else None
        check(version, [Natural], 56, "format_version")
        if len(version) != 2 or version[0] != FORMAT_VERSION[0] or version[1] > FORMAT_VERSION[1]:
            raise VmError(
                53,
                f"the file is of version {'.'.join(map(str, version))}",
                cause=f"this runtime reads {FORMAT_VERSION[0]}.0 to {FORMAT_VERSION[0]}.{FORMAT_VERSION[1]}",
                hint="compile the model again, or install the iree-vm that matches its producer",
            )
        check(data, SCHEMA, 56)
        manifest = Manifest(
            module=data["module"],
            producer=data["producer"],
            functions=tuple(
                FunctionSpec(f["name"], _tensors(f["inputs"]), _tensors(f["outputs"]), f["calls"])
                for f in data["functions"]
            ),
            dims={name: Dim(**d) for name, d in data["dims"].items()},
            variants=tuple(_variant(v, len(data["constants"])) for v in data["variants"]),
            executables=tuple(
                ExecutableEntry(
                    e["member"],
                    e["name"],
                    e["format"],
                    tuple(e["features"]),
                    tuple(
                        ExportEntry(
                            x["name"],
                            x["scratch_bytes"],
                            x["n_constants"],
                            tuple(x["bindings"]),
                            tuple(x["alignments"]),
                        )
                        for x in e["exports"]
                    ),
                )
                for e in data["executables"]
            ),
            constants=tuple(ConstantEntry(**c) for c in data["constants"]),
            modules=tuple(data["requires"]["modules"]),
            loaders=tuple(data["requires"]["loaders"]),
            digests=data["digests"],
        )
        manifest.check()
        return manifest

    def check(self) -> None:
        """What refers to what must exist. Raises VmError 56."""

        def need(condition: bool, place: str, message: str) -> None:
            if not condition:
                raise VmError(56, f"{place}: {message}", hint="compile the model again")

        seen: set[str] = set()
        for index, function in enumerate(self.functions):
            place = f"functions[{index}]"
            need(function.name.isidentifier(), place, f"name {function.name!r} is no identifier")
            need(function.name not in seen, place, f"name '{function.name}' is there twice")
            seen.add(function.name)
            for kind, tensors in (("inputs", function.inputs), ("outputs", function.outputs)):
                names = [t.name for t in tensors]
                need(len(set(names)) == len(names), f"{place}.{kind}", "a name is there twice")
                for position, tensor in enumerate(tensors):
                    where = f"{place}.{kind}[{position}]"
                    need(tensor.dtype in ELEMENT_TYPES, where, f"dtype '{tensor.dtype}' is unknown")
                    for dim in tensor.shape:
                        need(
                            isinstance(dim, int) or dim in self.dims,
                            where,
                            f"dimension '{dim}' is not in dims",
                        )
                    need(
                        tensor.tied is None or (kind == "outputs" and tensor.tied < len(function.inputs)),
                        where,
                        f"tied to input {tensor.tied}",
                    )
        for name, limits in self.dims.items():
            need(
                limits.divisor >= 1 and (limits.max is None or limits.max >= limits.min),
                f"dims.{name}",
                "the range is empty",
            )
        seen.clear()
        for index, variant in enumerate(self.variants):
            place = f"variants[{index}]"
            need(variant.name not in seen, place, f"name '{variant.name}' is there twice")
            seen.add(variant.name)
            for executable in variant.executables:
                need(executable < len(self.executables), place, f"executable {executable} is not there")
            for constant in variant.constants:
                need(constant < len(self.constants), place, f"constant {constant} is not there")
        for index, entry in enumerate(self.executables):
            for export in entry.exports:
                need(
                    len(export.alignments) in (0, len(export.bindings)),
                    f"executables[{index}].exports '{export.name}'",
                    "alignments and bindings differ in number",
                )


def _variant(entry: dict[str, Any], n_constants: int) -> Variant:
    return Variant(
        entry["name"],
        entry["target"],
        entry["driver"],
        tuple(entry["features"]),
        tuple(entry["executables"]),
        tuple(entry.get("constants", range(n_constants))),
        entry.get("program", PROGRAM),
        entry.get("debug", DEBUG),
    )


def _tensors(entries: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(e["name"], e["dtype"], tuple(e["shape"]), e.get("tied")) for e in entries)


__all__ = [
    "FORMAT_VERSION",
    "ConstantEntry",
    "Dim",
    "ExecutableEntry",
    "ExportEntry",
    "FunctionSpec",
    "Manifest",
    "TensorSpec",
    "Variant",
]
