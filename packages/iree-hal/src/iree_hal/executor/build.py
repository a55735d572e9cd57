"""``python -m iree_hal.executor.build``: compile the executor for every machine into ``objects/``.

Needs llvmlite and runs at development time only; the objects ship as package data. The same llvmlite
version gives the same bytes, which a test checks; ``objects/built_with.json`` names that version.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from iree_hal.executor.source import MACHINES, module_text

OBJECTS = Path(__file__).parent / "objects"
BUILT_WITH = OBJECTS / "built_with.json"


def llvm_version() -> str:
    """The version of LLVM in use, as recorded beside the objects."""
    import llvmlite.binding as llvm

    return ".".join(map(str, llvm.llvm_version_info))


def compile_text(text: str, machine: str) -> bytes:
    """LLVM IR ``text`` -> an object file for ``machine``'s baseline, optimized at level 2."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, cpu, features = MACHINES[machine]
    target = llvm.Target.from_triple(triple)
    target_machine = target.create_target_machine(
        cpu=cpu, features=features, opt=2, reloc="pic", codemodel="small"
    )
    module = llvm.parse_assembly(text)
    module.triple = triple
    module.data_layout = str(target_machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False
    builder = llvm.create_pass_builder(target_machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(target_machine.emit_object(module))


def build() -> dict[str, bytes]:
    """The executor's object per machine."""
    return {machine: compile_text(module_text(machine), machine) for machine in MACHINES}


def main() -> None:
    OBJECTS.mkdir(exist_ok=True)
    digests: dict[str, str] = {}
    for machine, data in build().items():
        (OBJECTS / f"{machine}.o").write_bytes(data)
        digests[machine] = hashlib.blake2b(data, digest_size=32).hexdigest()
        print(f"{machine}: {len(data)} bytes")
    record = {"llvm": llvm_version(), "objects": digests}
    BUILT_WITH.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
