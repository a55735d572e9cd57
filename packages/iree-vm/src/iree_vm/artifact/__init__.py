"""The artefact (``model.vmfb``): container, manifest, debug information; reading and writing."""

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
