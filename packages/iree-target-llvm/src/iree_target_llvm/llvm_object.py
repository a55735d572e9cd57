"""LLVM text -> relocatable ELF object through llvmlite.

Code generation level 2 and no passes: what strategies emit is final. Only plain loops ask for LLVM's
optimization pipeline with its vectorizer.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import llvmlite.binding as llvm

from iree_base import debug
from iree_target_llvm.description import RELEVANT, CpuDescription
from iree_target_llvm.errors import IMPORTS, INVALID_TEXT, OBJECT, TRIPLE, LlvmError

ALLOWED_IMPORTS = frozenset({"memcpy", "memset", "memmove"})


@functools.cache
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@functools.cache
def target_machine(triple: str, cpu: str, features: str) -> Any:
    """Cached per machine. Raises LlvmError TRIPLE."""
    _initialize()
    try:
        target = llvm.Target.from_triple(triple)
        return target.create_target_machine(
            cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small", jit=False
        )
    except RuntimeError as error:
        raise LlvmError(TRIPLE, triple, cause=str(error)) from error


def feature_text(description: CpuDescription) -> str:
    """``+avx2,-avx512f``: every relevant feature is said, so that the CPU name decides nothing."""
    present = set(description.features)
    names = sorted(RELEVANT[description.architecture])
    if description.architecture == "riscv64":
        return ",".join(f"+{n}" for n in sorted(present)) + ",-relax"
    return ",".join(("+" if n in present else "-") + n for n in names)


def compile_text(
    text: str, description: CpuDescription, *, optimize: bool, name: str, imports: Iterable[str] = ()
) -> bytes:
    """The object. Raises LlvmError when LLVM rejects the text or the object needs functions other than the
    runtime's and ``imports``."""
    machine = target_machine(description.triple, description.cpu, feature_text(description))
    debug.log(debug.TARGET_TEXT, text)
    try:
        module = llvm.parse_assembly(text)
    except RuntimeError as error:
        raise LlvmError(INVALID_TEXT, name, cause=str(error).strip()) from error
    module.triple = description.triple
    module.data_layout = str(machine.target_data)
    if optimize:
        _optimize(module, machine)
    try:
        if debug.at(debug.ASSEMBLY):
            debug.log(debug.ASSEMBLY, machine.emit_assembly(module))
        data: bytes = machine.emit_object(module)
    except RuntimeError as error:
        raise LlvmError(OBJECT, name, cause=str(error).strip()) from error
    check_imports(data, name, imports)
    return data


def _optimize(module: Any, machine: Any) -> None:
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = True
    options.slp_vectorization = False
    options.loop_unrolling = True
    options.loop_interleaving = True
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)


def check_imports(data: bytes, name: str, imports: Iterable[str] = ()) -> None:
    """Every undefined symbol must be one the loader provides (or one of ``imports``)."""
    from iree_hal.elf.parse import SHN_UNDEF, parse

    missing = sorted(
        {s.name for s in parse(data).symbols if s.section == SHN_UNDEF and s.name}
        - ALLOWED_IMPORTS
        - set(imports)
    )
    if missing:
        raise LlvmError(IMPORTS, f"{name}: {', '.join(missing)}")
