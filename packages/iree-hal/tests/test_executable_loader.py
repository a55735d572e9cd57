"""The ELF loader behind the seam: kernel imports of plugins."""

from __future__ import annotations

import ctypes

import pytest

from iree_hal import platform
from iree_hal.driver import plugins
from iree_hal.errors import HalError
from iree_hal.executable import ExecutableSpec, ExportSpec
from iree_hal.executable_loader import ELF_LOADER

llvm = pytest.importorskip("llvmlite.binding")


def _spec(symbol: str) -> ExecutableSpec:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = f"{platform.machine()}-unknown-linux-gnu"
    machine = llvm.Target.from_triple(triple).create_target_machine(reloc="pic", codemodel="small")
    text = f'declare i32 @"{symbol}"()\n'
    text += f'define i32 @kernel(ptr %d, ptr %w) {{ %r = call i32 @"{symbol}"() ret i32 %r }}'
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = triple, str(machine.target_data)
    data = bytes(machine.emit_object(module))
    return ExecutableSpec(f"elf-{platform.machine()}", data, (ExportSpec("kernel"),), name="importer")


class _Plugin:
    api = (1, 0)

    def __init__(self) -> None:
        self.function = ctypes.CFUNCTYPE(ctypes.c_int32)(lambda: 42)

    def iree_kernel_imports(self) -> dict[str, object]:
        return {"answer@1": lambda: ctypes.cast(self.function, ctypes.c_void_p).value}


def test_kernels_import_from_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = plugins()
    plugin = _Plugin()
    monkeypatch.setattr(manager, "records", list(manager.records))
    manager.register(plugin)
    executable = ELF_LOADER.load(_spec("answer@1"))
    kernel = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(executable.addresses[0])
    assert kernel(None, None) == 42
    with pytest.raises(HalError, match=r"IREE-HAL-004.*answer@2"):
        ELF_LOADER.load(_spec("answer@2"))


def test_errors_name_the_executable() -> None:
    with pytest.raises(HalError, match=r"IREE-HAL-004.*'puts'.*\[at importer\]"):
        ELF_LOADER.load(_spec("puts"))
