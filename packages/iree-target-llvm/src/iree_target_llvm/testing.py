"""Runs compiled dispatches on this machine, and their dispatch functions in the interpreter: test support.

Buffers end at a page that cannot be read, so an access beyond a binding stops the process at once.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from iree_base.element_types import element_type
from iree_codegen import dims as dim_ops
from iree_codegen.dispatch import Dispatch, scalar_words
from iree_core_ir.ir.types import FloatType, IndexType, TensorType
from iree_core_ir.target import ExecutableObject
from iree_hal import abi
from iree_hal.elf.load import Image, load

Array = np.ndarray[Any, Any]
PAGE = mmap.PAGESIZE


class KernelFailure(Exception):
    """A workgroup returned a code that is not 0."""

    def __init__(self, code: int) -> None:
        super().__init__(f"kernel returned {code:#x}")
        self.kind, self.assert_index = abi.split_error(code)


def guarded_array(shape: Sequence[int], dtype: Any) -> Array:
    """An array that ends where readable memory ends."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=np.int64)) if shape else 1
    size = count * dtype.itemsize
    pages = -(-max(size, 1) // PAGE)
    region = mmap.mmap(-1, (pages + 1) * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(region))
    if hasattr(mmap, "PROT_READ"):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect(ctypes.c_void_p(base + pages * PAGE), ctypes.c_size_t(PAGE), 0)
    start = pages * PAGE - size
    flat = np.frombuffer(region, np.uint8, count=size, offset=start)
    array: Array = flat.view(dtype).reshape(shape)
    return array


def runtime_imports() -> dict[str, int]:
    """Addresses of the functions that objects may import."""
    libc = ctypes.CDLL(None)
    found = {}
    for name in ("memcpy", "memset", "memmove"):
        address = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value
        assert address is not None
        found[name] = address
    return found


def evaluate(expression: Sequence[Any], scalars: Sequence[int]) -> int:
    """A workgroup-count expression for scalar argument values."""
    return dim_ops.evaluate(dim_ops.from_list(expression), dict(enumerate(scalars)))


@dataclass
class NativeKernel:
    """One export of a loaded object."""

    compiled: ExecutableObject
    image: Image
    address: int

    @classmethod
    def load(cls, compiled: ExecutableObject) -> NativeKernel:
        image = load(compiled.data, runtime_imports())
        return cls(compiled, image, image.symbols[compiled.exports[0].name])

    def workgroups(self, scalars: Sequence[int]) -> tuple[int, int, int]:
        x, y, z = (evaluate(e, scalars) for e in self.compiled.exports[0].workgroup_count)
        return x, y, z

    def run(
        self,
        arrays: Sequence[Array],
        constants: Sequence[int],
        counts: tuple[int, int, int],
        only: Sequence[tuple[int, int, int]] | None = None,
    ) -> None:
        """Call all workgroups (or ``only`` some) on ``arrays``. Raises KernelFailure."""
        function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(self.address)
        words = (ctypes.c_uint32 * max(1, len(constants)))(*constants)
        pointers = (ctypes.c_void_p * max(1, len(arrays)))(*[a.ctypes.data for a in arrays])
        lengths = (ctypes.c_uint64 * max(1, len(arrays)))(*[a.nbytes for a in arrays])
        dispatch = abi.Dispatch(
            abi_version=abi.ABI_VERSION,
            count_x=counts[0],
            count_y=counts[1],
            count_z=counts[2],
            n_constants=len(constants),
            n_bindings=len(arrays),
            constants=ctypes.addressof(words),
            bindings=ctypes.addressof(pointers),
            lengths=ctypes.addressof(lengths),
        )
        size = self.compiled.exports[0].scratch_bytes
        scratch = np.full(size + 128, 0xFF, np.uint8)
        start = -scratch.ctypes.data % 64
        group = abi.Workgroup(scratch=scratch.ctypes.data + start, scratch_bytes=size)
        ids = only
        if ids is None:
            ids = [(x, y, z) for z in range(counts[2]) for y in range(counts[1]) for x in range(counts[0])]
        for x, y, z in ids:
            group.id_x, group.id_y, group.id_z = x, y, z
            code = function(ctypes.addressof(dispatch), ctypes.addressof(group))
            if code:
                raise KernelFailure(code)
        if (scratch[start + size : start + size + 32] != 0xFF).any():
            raise AssertionError("the kernel wrote behind its scratch memory")


def constant_words(type: Any, value: Any) -> list[int]:
    """A scalar argument as the ABI's 32-bit constants."""
    words = scalar_words(type, "")
    if isinstance(type, FloatType):
        raw = np.asarray(value).astype(element_type(type.name).dtype).tobytes()
    elif isinstance(type, IndexType):
        raw = int(value).to_bytes(8, "little", signed=True)
    else:
        raw = (int(value) & ((1 << 32 * words) - 1)).to_bytes(4 * words, "little")
    raw = raw.ljust(4 * words, b"\0")
    return [int.from_bytes(raw[4 * i : 4 * i + 4], "little") for i in range(words)]


def run_native(
    func: Any,
    compiled: ExecutableObject,
    inputs: Mapping[int, Any],
    only: Sequence[tuple[int, int, int]] | None = None,
) -> list[Array]:
    """The results of a compiled dispatch function; ``inputs``: argument number -> array or scalar.

    Destinations that are only written start as garbage. ``only``: run these workgroups, in this order.
    """
    dispatch = Dispatch(func)
    kernel = NativeKernel.load(compiled)
    numbers = {
        s.argument: int(inputs[s.argument]) if not isinstance(s.value.type, FloatType) else 0
        for s in dispatch.scalars
    }
    constants: list[int] = []
    for scalar in dispatch.scalars:
        constants += constant_words(scalar.value.type, inputs[scalar.argument])
    arrays = []
    for binding in dispatch.bindings:
        shape = [dim_ops.evaluate(d, numbers) for d in binding.dims]
        type: TensorType = binding.value.type
        dtype = element_type(str(type.element_type)).dtype
        given = inputs.get(binding.argument)
        array = guarded_array(np.asarray(given).shape if binding.packed else shape, dtype)
        if given is not None:
            array[...] = given
        else:
            array.view(np.uint8 if dtype.itemsize == 1 else dtype)[...] = _garbage(dtype)
        arrays.append(array)
    ordered = [numbers[s.argument] for s in dispatch.scalars]
    workspace = compiled.exports[0].workspace
    if workspace is not None:
        arrays.append(guarded_array([evaluate(workspace, ordered)], np.int8))
    kernel.run(arrays, constants, kernel.workgroups(ordered), only)
    by_index = {b.index: a for b, a in zip(dispatch.bindings, arrays, strict=False)}
    return [by_index[b.index].copy() for _, b in dispatch.results]


def _garbage(dtype: Any) -> Any:
    return np.array([0xAB], np.uint8) if np.dtype(dtype).itemsize == 1 else np.array(77).astype(dtype)


def run_reference(func: Any, inputs: Mapping[int, Any]) -> list[Array]:
    """The results of the dispatch function in the interpreter."""
    from iree_core_ir.interpreter import Interpreter

    dispatch = Dispatch(func)
    numbers = {
        s.argument: int(inputs[s.argument]) if not isinstance(s.value.type, FloatType) else 0
        for s in dispatch.scalars
    }
    arguments: list[Any] = []
    by_argument = {b.argument: b for b in dispatch.bindings}
    for position, argument in enumerate(func.regions[0].block.args):
        binding = by_argument.get(position)
        if binding is not None and position not in inputs:
            shape = [dim_ops.evaluate(d, numbers) for d in binding.dims]
            arguments.append(np.zeros(shape, element_type(str(argument.type.element_type)).dtype))
        elif binding is not None:
            arguments.append(np.asarray(inputs[position]))
        elif isinstance(argument.type, IndexType):
            arguments.append(int(inputs[position]))
        else:
            arguments.append(np.asarray(inputs[position]).astype(element_type(str(argument.type)).dtype)[()])
    module = func.parent_op
    found = Interpreter(module).call(dispatch.name, *arguments)
    results = found if isinstance(found, (tuple, list)) else (found,)
    return [np.asarray(r) for r in results]
