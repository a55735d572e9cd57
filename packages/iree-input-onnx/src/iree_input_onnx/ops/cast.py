"""Cast, CastLike, BitCast -> conversions in a ``linalg.generic``; integer shape arithmetic stays dims."""

from __future__ import annotations

from typing import Any

import numpy as np

from iree_base.element_types import ElementType
from iree_core_ir.dialects import arith
from iree_input_onnx.dims import Dim
from iree_input_onnx.elements import F32, I32, from_code, ir_type
from iree_input_onnx.emit import Emitter
from iree_input_onnx.errors import Unsupported
from iree_input_onnx.node import Node
from iree_input_onnx.scalars import Scalar
from iree_input_onnx.table import onnx_op
from iree_input_onnx.values import Tensor

_LARGEST = {"f8E4M3FN": 448.0, "f8E4M3FNUZ": 240.0, "f8E5M2": 57344.0, "f8E5M2FNUZ": 57344.0}


def convert(e: Emitter, x: Tensor, target: ElementType, saturate: bool = True) -> Tensor:
    """``x`` as ``target``; narrow floats saturate when asked to."""
    if x.element == target:
        return x
    if "c" in (x.element.kind, target.kind):
        raise Unsupported(f"cast from {x.element.name} to {target.name}")
    limit = _LARGEST.get(target.name)
    integers = x.element.kind in "iub" and target.kind in "iu"

    def body(v: Scalar) -> Scalar:
        if v.is_float and target.kind in "iu" and target.bits < 8:
            return v.to(I32).to(target)  # the standard's own tests wrap here
        if limit is None or not saturate:
            return v.to(target)
        # NaN passes the clamp; infinities become the largest finite number.
        wide = v if v.is_float and v.element.bits >= 32 else v.to(F32)
        return wide.clamp(-limit, limit).to(target)

    def fold(v: Any) -> Any:
        return np.asarray(v).astype(target.dtype)

    def dims(v: Dim) -> Dim | None:
        if integers and target.bits >= 32:
            return v
        return int(v != 0) if target.kind == "b" and isinstance(v, int) else None

    exact = limit is None and not (x.element.kind == "f" and target.kind in "iu")
    return e.elementwise([x], body, target, fold if exact or _fits(x, target) else None, dims)


def _fits(x: Tensor, target: ElementType) -> bool:
    """True when a float constant lies within an integer type, where numpy and the IR agree."""
    if target.kind not in "iu" or x.array is None or x.array.dtype.kind != "f":
        return False
    info = np.iinfo(target.dtype)
    return bool(np.all((x.array > info.min) & (x.array < info.max)))


@onnx_op("Cast", since=6, notes="no strings; round_mode has no effect (it concerns float8e8m0)")
def cast(e: Emitter, node: Node) -> Tensor:
    return convert(e, node.input(0), from_code(node.int("to"), node.label), bool(node.int("saturate", 1)))


@onnx_op("CastLike", notes="no strings")
def cast_like(e: Emitter, node: Node) -> Tensor:
    return convert(e, node.input(0), node.input(1).element, bool(node.int("saturate", 1)))


@onnx_op("BitCast")
def bit_cast(e: Emitter, node: Node) -> Tensor:
    x, target = node.input(0), from_code(node.int("to"), node.label)
    if target.bits != x.element.bits or "c" in (x.element.kind, target.kind):
        raise node.error(f"{x.element.name} and {target.name} differ in width")
    if "b" in (x.element.kind, target.kind):
        raise Unsupported("bit cast of booleans")
    type = ir_type(target)

    def body(v: Scalar) -> Scalar:
        if v.value.type is type:
            return Scalar(v.builder, v.value, target)
        return v.wrap(arith.Bitcast.make(v.value, type), target)

    return e.elementwise([x], body, target)
