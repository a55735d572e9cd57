"""Runtime: bytecode, artefact, modules, ``load``.

::

    import iree_vm
    module = iree_vm.load("model.vmfb")
    y = module.main(x)

Importing this imports neither the compiler nor LLVM.
"""

from iree_vm.artifact import Artifact, ArtifactWriter, verify
from iree_vm.context import Context
from iree_vm.errors import VmError
from iree_vm.load import Module, Pending, load
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
