"""What callers pass -> what the program takes: C-contiguous, native, aligned arrays of the declared dtype.

numpy arrays are used in place when they can be and copied when they must be (non-contiguous, big-endian,
unaligned, booleans that are not 0 or 1); read-only ones are fine. Other DLPack producers (torch tensors) are
viewed. Scalars and sequences take the declared dtype if that keeps their kind and value. No other dtype is
converted silently. Sub-byte integers become packed ``iree_hal.BufferView``s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType, element_type, from_dtype
from iree_base.errors import PluginError
from iree_hal import BufferView
from iree_hal.buffer_view import normalize
from iree_vm.artifact.manifest import Dim, FunctionSpec, TensorSpec
from iree_vm.errors import VmError
from iree_vm.modules.hal import range_text

Array = np.ndarray[Any, np.dtype[Any]]
_ORDER = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}
"""Python values may become a dtype of the same or a later kind."""


class Input:
    """One input's conversion. ``place`` is how errors name it."""

    def __init__(self, function: FunctionSpec, index: int) -> None:
        self.spec: TensorSpec = function.inputs[index]
        self.element: ElementType = element_type(self.spec.dtype)
        self.dtype = self.element.dtype
        self.direct = self.element.kind != "b" and self.element.bits >= 8
        """Whether a contiguous array of the dtype is passed on as it is."""
        self.place = f"input {index} '{self.spec.name}' of {function.name}"

    def __call__(self, value: Any) -> Array | BufferView:
        """Convert. Raises VmError 23 (dtype) or 24 (not an array)."""
        if type(value) is np.ndarray and value.dtype is self.dtype and self.direct:
            flags = value.flags
            if flags.c_contiguous and flags.aligned:
                return value
        array = self._array(value)
        if array.dtype.newbyteorder("=") != self.dtype:
            raise VmError(
                23,
                self.place,
                cause=f"got {dtype_text(array.dtype)}, {self.spec.dtype} wanted",
                hint=f"convert it: x.astype('{self.dtype}')",
            )
        array = normalize(array)
        return BufferView.from_numpy(array) if self.element.bits < 8 else array

    def _array(self, value: Any) -> Array:
        if isinstance(value, np.ndarray):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            return self._from_dlpack(value)
        if isinstance(value, bool | int | float | complex | np.generic | Sequence) and not isinstance(
            value, str | bytes
        ):
            return self._from_python(value)
        if hasattr(value, "__array__"):
            return np.asarray(value)
        raise VmError(
            24, f"{self.place} is {type(value).__name__}", hint="pass a numpy array or a DLPack producer"
        )

    def _from_dlpack(self, value: Any) -> Array:
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError, AttributeError, ImportError) as error:
            hint = "pass a CPU tensor that needs no gradient (x.detach().cpu())"
            raise VmError(
                24, f"{self.place}: {type(value).__name__} has no usable DLPack", cause=str(error), hint=hint
            ) from None

    def _from_python(self, value: Any) -> Array:
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise VmError(24, self.place, cause=str(error)) from None
        if isinstance(value, np.generic) or array.dtype == self.dtype:
            return array
        target = self.element.kind
        kind = array.dtype.kind
        if kind not in _ORDER or (array.size and _ORDER[kind] > _ORDER[target]):
            raise VmError(
                23, self.place, cause=f"got {dtype_text(array.dtype)} values, {self.spec.dtype} wanted"
            )
        with np.errstate(all="ignore"):
            converted = array.astype(self.dtype)
        if (
            target in "iu"
            and array.size
            and not np.array_equal(converted.astype(object), array.astype(object))
        ):
            raise VmError(23, self.place, cause=f"a value does not fit {self.spec.dtype}")
        return converted


def dtype_text(dtype: np.dtype[Any]) -> str:
    """The element type's name, or numpy's where there is none."""
    try:
        return from_dtype(dtype).name
    except PluginError:
        return str(dtype)


def check_inputs(function: FunctionSpec, dims: Mapping[str, Dim], values: Sequence[Any]) -> None:
    """Compare shapes with the signature, dims across inputs included. Raises VmError 22 or 27.

    The program checks the same; this says what is wrong in the caller's words.
    """
    sizes: dict[str, tuple[int, str]] = {}
    for index, (spec, value) in enumerate(zip(function.inputs, values, strict=True)):
        place = f"input {index} '{spec.name}' of {function.name}"
        shape = tuple(value.shape)
        got = f"got {spec.dtype}[{', '.join(map(str, shape))}], {spec} wanted"
        hint = f"pass an array of {len(spec.shape)} dimensions" if spec.shape else "pass a scalar"
        if len(shape) != len(spec.shape):
            raise VmError(22, place, cause=got, hint=hint)
        for axis, (wanted, size) in enumerate(zip(spec.shape, shape, strict=True)):
            if isinstance(wanted, int):
                if wanted != size:
                    hint = f"pass {wanted} elements along axis {axis}, not {size}"
                    raise VmError(22, place, cause=got, hint=hint)
                continue
            known = sizes.setdefault(wanted, (size, f"axis {axis} of input '{spec.name}'"))
            if known[0] != size:
                raise VmError(
                    22,
                    f"{place}, axis {axis}",
                    cause=f"dimension '{wanted}' is {known[0]} by {known[1]}, here it is {size}",
                    hint="pass arrays that agree on it",
                )
            limits = dims.get(wanted, Dim())
            high = -1 if limits.max is None else limits.max
            if size < limits.min or (limits.max is not None and size > limits.max) or size % limits.divisor:
                raise VmError(
                    27,
                    f"'{wanted}' is {size}, by {known[1]}",
                    cause=range_text(limits.min, high, limits.divisor),
                )


__all__ = ["Input", "check_inputs", "dtype_text"]
