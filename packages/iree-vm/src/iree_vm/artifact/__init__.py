"""The artefact (``model.vmfb``): container, manifest, debug information; reading and writing."""

from typing import TYPE_CHECKING

from iree_base.lazy import attach

if TYPE_CHECKING:
    from iree_vm.artifact.debug_info import AssertInfo, DebugInfo, DispatchInfo
    from iree_vm.artifact.manifest import (
        ConstantEntry,
        Dim,
        ExecutableEntry,
        ExportEntry,
        FunctionSpec,
        Manifest,
        TensorSpec,
        Variant,
    )
    from iree_vm.artifact.reader import Artifact, MemberCheck, verify
    from iree_vm.artifact.writer import ArtifactWriter

__all__ = [
    "Artifact",
    "ArtifactWriter",
    "AssertInfo",
    "ConstantEntry",
    "DebugInfo",
    "Dim",
    "DispatchInfo",
    "ExecutableEntry",
    "ExportEntry",
    "FunctionSpec",
    "Manifest",
    "MemberCheck",
    "TensorSpec",
    "Variant",
    "verify",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Artifact": "iree_vm.artifact.reader",
        "ArtifactWriter": "iree_vm.artifact.writer",
        "AssertInfo": "iree_vm.artifact.debug_info",
        "ConstantEntry": "iree_vm.artifact.manifest",
        "DebugInfo": "iree_vm.artifact.debug_info",
        "Dim": "iree_vm.artifact.manifest",
        "DispatchInfo": "iree_vm.artifact.debug_info",
        "ExecutableEntry": "iree_vm.artifact.manifest",
        "ExportEntry": "iree_vm.artifact.manifest",
        "FunctionSpec": "iree_vm.artifact.manifest",
        "Manifest": "iree_vm.artifact.manifest",
        "MemberCheck": "iree_vm.artifact.reader",
        "TensorSpec": "iree_vm.artifact.manifest",
        "Variant": "iree_vm.artifact.manifest",
        "verify": "iree_vm.artifact.reader",
    },
)
