"""The ``vm`` dialect: modules, functions, imports, globals, rodata, calls and branches, as in IREE.

::

    vm.module @demo {
      vm.global.i64 private mutable @count = 3 : i64
      vm.rodata private @data dense<[1, 2]> : tensor<2xi32>
      vm.import private @hal.fence.join(%fences : !vm.ref<?> ...) -> !vm.ref<?>
      vm.func private @f(%a: i32) -> i32 {
        %b = vm.add.i32 %a, %a : i32
        vm.cond_br %b, ^bb1(%b : i32), ^bb2
        ...
      }
      vm.export @f as("main")
    }

The value ops come from the bytecode's op table (``table_ops``), the others from ``symbols`` and
``control``. A function ``@__init`` runs at load. ``encode.program`` turns a module into bytecode.
"""

from __future__ import annotations

from iree_core_ir.ir.dialect import Dialect
from iree_vm.compiler import table_ops
from iree_vm.compiler.control import Branch, BranchTable, Call, CallVariadic, CondBranch, Return
from iree_vm.compiler.symbols import GLOBALS, Export, Func, Import, Module, Rodata, types_of
from iree_vm.compiler.types import BufferType, ListType, RefType

DIALECT = Dialect(
    "vm",
    ops=[
        Module,
        Func,
        Export,
        Import,
        *GLOBALS.values(),
        Rodata,
        Call,
        CallVariadic,
        Branch,
        CondBranch,
        BranchTable,
        Return,
        *table_ops.OPS.values(),
    ],
    attributes=[RefType, ListType, BufferType],
)

__all__ = [
    "DIALECT",
    "GLOBALS",
    "Branch",
    "BranchTable",
    "Call",
    "CallVariadic",
    "CondBranch",
    "Export",
    "Func",
    "Import",
    "Module",
    "Return",
    "Rodata",
    "types_of",
]
