"""``load``: an artefact -> a ``Module`` whose functions can be called.

Picks the variant that fits this machine best, makes its device, links the bytecode against ``hal`` and
generates the functions. Each load has its own globals.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from iree_base import debug
from iree_base.errors import IreeError
from iree_hal import Device, plugins
from iree_vm.artifact.reader import Artifact
from iree_vm.choose_variant import VariantChoice, choose_variant
from iree_vm.context import Context
from iree_vm.errors import VmError
from iree_vm.function import Binding, Pending, generate, generate_async
from iree_vm.module import BytecodeModule
from iree_vm.modules.hal import HalModule
from iree_vm.native import NativeModule


def load(
    path_or_artifact: str | os.PathLike[str] | Artifact,
    *,
    device: str | Device | None = None,
    threads: int | None = None,
    verify: bool = False,
    modules: Sequence[NativeModule] = (),
) -> Module:
    """Load an artefact.

    ``device`` is a device or a device path (``driver`` or ``driver://selector``: an index, a part of the
    name, a UUID); by default the best device that a variant of the artefact runs on. ``Module.choice`` says
    which variant that is and why. ``threads`` caps the threads of a call. ``verify`` also reads
    and checks the constants. ``modules`` are native modules the program may import from, besides those that
    plugins provide.

    Raises VmError 40-42 (nothing here can run it), 50-57 (the file), 1-6 and 18 (the program).
    """
    artifact = path_or_artifact if isinstance(path_or_artifact, Artifact) else Artifact.open(path_or_artifact)
    if verify:
        artifact.verify()
    choice = choose_variant(artifact.manifest, device, threads)
    debug.log(debug.PLUGINS, str(choice))
    return Module(artifact, choice, modules)


class Module:
    """A loaded artefact. Its functions are attributes: ``module.main(x)``, ``module.main_async(x)``.

    Calls may come from any thread, and from a forked child. ``artifact``, ``device`` and ``variant`` say
    what was loaded where, ``choice`` why.
    """

    def __init__(
        self,
        artifact: Artifact,
        choice: VariantChoice,
        modules: Sequence[NativeModule] = (),
    ) -> None:
        self.artifact = artifact
        self.choice = choice
        self.device = device = choice.device
        self.variant = variant = choice.variant
        manifest = artifact.manifest
        self.name = manifest.module
        self._context = Context([HalModule((device,), artifact, variant), *modules])
        for name in manifest.modules:
            if name not in self._context.modules:
                self._context.load(_plugin_module(name))
        linked = self._context.load(artifact.program(variant))
        assert isinstance(linked, BytecodeModule)
        self._linked = linked
        self._functions: dict[str, Callable[..., Any]] = {}
        self._bindings: dict[str, Binding] = {}
        for spec in manifest.functions:
            binding = Binding(linked, spec, manifest.dims, lambda: artifact.debug_info(variant))
            self._bindings[spec.name] = binding
            self._functions[spec.name] = generate(binding)
        for name, function in self._functions.items():
            if not hasattr(type(self), name):
                setattr(self, name, function)
            if not hasattr(type(self), f"{name}_async"):
                setattr(self, f"{name}_async", generate_async(self._bindings[name]))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        known = ", ".join(self.__dict__.get("_functions", ())) or "none"
        raise VmErrorAttribute(7, f"'{name}'", cause=f"the functions are {known}")

    @property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """The functions by name, each with ``.signature``."""
        return MappingProxyType(self._functions)

    def run(self, inputs: Mapping[str, Any], *, function: str = "main") -> dict[str, Any]:
        """Call with inputs by name; gives results by name. Raises VmError 7, 21 and what the call raises."""
        binding = self._bindings.get(function)
        if binding is None:
            raise VmError(7, f"'{function}'", cause="the functions are " + ", ".join(self._functions))
        names = binding.input_names
        try:
            values = [inputs[name] for name in names]
        except KeyError:
            values = []
        if len(inputs) != len(names) or len(values) != len(names):
            self._wrong_names(inputs, names)
        result = self._functions[function](*values)
        return dict(zip(binding.outputs, (result,) if len(binding.outputs) == 1 else result, strict=True))

    @staticmethod
    def _wrong_names(inputs: Mapping[str, Any], names: Sequence[str]) -> NoReturn:
        unknown = [name for name in inputs if name not in names]
        missing = [name for name in names if name not in inputs]
        parts = [f"unknown {', '.join(map(repr, unknown))}"] if unknown else []
        parts += [f"missing {', '.join(map(repr, missing))}"] if missing else []
        raise VmError(21, "; ".join(parts), cause="the inputs are " + (", ".join(names) or "none"))

    def unload(self) -> None:
        """Release the module: later calls raise VmError 14, running ones finish. Twice is allowed."""
        if self._linked.closed:
            return
        for name in self._context.modules[::-1]:
            self._context.unload(name)

    def __enter__(self) -> Module:
        return self

    def __exit__(self, *_: object) -> None:
        self.unload()

    def __repr__(self) -> str:
        functions = "; ".join(str(b.signature) for b in self._bindings.values())
        return f"<Module {self.name} on {self.device.id}: {functions}>"

    def __dir__(self) -> Iterator[str]:
        return iter(sorted({*object.__dir__(self), *self._functions}))


class VmErrorAttribute(VmError, AttributeError):
    """A coded error that ``hasattr`` and ``getattr`` with a default understand."""


def _plugin_module(name: str) -> NativeModule:
    try:
        module = plugins().get("iree_vm_modules", name, "VM module")
    except IreeError as error:
        raise VmError(18, f"'{name}'", cause=str(error), hint="load it with modules=") from None
    if not isinstance(module, NativeModule):
        raise VmError(18, f"'{name}' of a plugin is {type(module).__name__}, no NativeModule")
    return module


__all__ = ["Module", "Pending", "load"]
