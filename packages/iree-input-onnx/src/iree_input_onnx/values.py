"""``Tensor``: what the import knows about one ONNX value, and the SSA value once something needs it.

A tensor is one of
- a *constant*: ``array`` (small, or a splat that takes no memory) or ``key`` (in the ConstantStore);
- a *splat* of possibly dynamic shape: ``splat`` is the number;
- a *host tensor*: few scalars, each a dim (``Dim``) or a scalar of the function, as shape arithmetic gives;
- a value of the IR.
The first three enter the IR when an op asks for their value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.ir.operation import Value
from iree_core_ir.ir.types import DYNAMIC, TensorType
from iree_input_onnx.dims import Dim, Expr
from iree_input_onnx.elements import ir_type
from iree_input_onnx.scalars import Scalar

Array = np.ndarray[Any, Any]
HostScalar = int | Expr | Scalar
"""An element of a host tensor: a number or polynomial of dims (integer tensors), or a scalar of the IR."""

MAX_HOST_ELEMENTS = 64
"""Tensors up to this size are computed on the host when everything about them is known there."""


class Tensor:
    """See the module docstring. ``shape`` holds ints and ``Expr``; ``element`` keeps the signedness."""

    __slots__ = ("array", "element", "key", "name", "scalars", "shape", "splat", "value")

    def __init__(
        self,
        element: ElementType,
        shape: Sequence[Dim],
        *,
        value: Value | None = None,
        array: Array | None = None,
        key: str | None = None,
        splat: Any = None,
        scalars: Sequence[HostScalar] | None = None,
        name: str = "",
    ) -> None:
        self.element = element
        self.shape: tuple[Dim, ...] = tuple(shape)
        self.value = value
        self.array = array
        self.key = key
        self.splat = splat
        self.scalars = None if scalars is None else tuple(scalars)
        self.name = name

    @classmethod
    def constant(cls, array: Any, element: ElementType) -> Tensor:
        """A constant of few elements (or a broadcast one)."""
        array = np.asarray(array, element.dtype)
        return cls(element, array.shape, array=array)

    @classmethod
    def host(cls, scalars: Sequence[HostScalar], shape: Sequence[int], element: ElementType) -> Tensor:
        """A host tensor; a constant when all its scalars are numbers."""
        if all(isinstance(s, int) for s in scalars):
            return cls.constant(np.array(scalars, element.dtype).reshape(shape), element)
        return cls(element, shape, scalars=scalars)

    def forget_value(self) -> None:
        """The SSA value does not reach where the tensor is used next."""
        self.value = None

    def forget_scalars(self) -> None:
        """Nor do the scalars that were read back."""
        self.scalars = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape when it has no dynamic dim."""
        static = tuple(d for d in self.shape if isinstance(d, int))
        return static if len(static) == len(self.shape) else None

    @property
    def n_elements(self) -> int | None:
        """The number of elements of a static shape."""
        shape = self.static_shape
        return None if shape is None else math.prod(shape)

    @property
    def ir_type(self) -> TensorType:
        return TensorType([d if isinstance(d, int) else DYNAMIC for d in self.shape], ir_type(self.element))

    @property
    def is_constant(self) -> bool:
        """True when the elements are known now (a splat may still have a dynamic shape)."""
        return self.array is not None or self.key is not None or self.splat is not None

    @property
    def number(self) -> Any:
        """The one number that a constant repeats everywhere, or None."""
        if self.splat is not None:
            return self.splat
        array = self.array
        if array is None or array.size == 0:
            return None
        if array.size == 1 or not any(array.strides):
            return array.reshape(-1)[0] if array.size == 1 else array[(0,) * array.ndim]
        return None

    def __repr__(self) -> str:
        kinds = ("array", "key", "splat", "scalars", "value")
        kind = next((k for k in kinds if getattr(self, k) is not None), "empty")
        return f"<Tensor {self.name} {kind} {self.element.name}{list(self.shape)}>"
