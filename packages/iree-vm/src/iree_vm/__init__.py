"""Runtime: bytecode, artefact, modules, ``load``.

::

    import iree_vm
    module = iree_vm.load("model.vmfb")
    y = module.main(x)

Importing this imports neither the compiler nor LLVM; names are imported when they are used.
"""

from typing import TYPE_CHECKING

from iree_base.lazy import attach

if TYPE_CHECKING:
    from iree_vm.artifact import Artifact, ArtifactWriter, verify
    from iree_vm.context import Context
    from iree_vm.errors import VmError
    from iree_vm.loading import Module, Pending, load
    from iree_vm.native import NativeModule

__all__ = [
    "Artifact",
    "ArtifactWriter",
    "Context",
    "Module",
    "NativeModule",
    "Pending",
    "VmError",
    "load",
    "verify",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Artifact": "iree_vm.artifact.reader",
        "ArtifactWriter": "iree_vm.artifact.writer",
        "Context": "iree_vm.context",
        "Module": "iree_vm.loading",
        "NativeModule": "iree_vm.native",
        "Pending": "iree_vm.loading",
        "VmError": "iree_vm.errors",
        "load": "iree_vm.loading",
        "verify": "iree_vm.artifact.reader",
    },
)
