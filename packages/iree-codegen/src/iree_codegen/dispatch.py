"""A dispatch function as strategies see it: arguments with their roles, and the extents of every tensor.

The contract: input tensors, scalars and dims, destination tensors; results are tied to the last
arguments, one each. ``iree.dims`` on a tensor argument names the arguments that hold its dynamic dims,
``iree.access`` says how memory is used, ``iree.constant`` marks weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from iree_base.records import field, record
from iree_codegen import dims as dim_ops
from iree_codegen.dims import Dim, Expr
from iree_codegen.errors import INVALID_DISPATCH, UNSUPPORTED_OP, CodegenError
from iree_core_ir.dialects.linalg_structured import StructuredOp
from iree_core_ir.dialects.mixed import Mixed
from iree_core_ir.ir.attributes import ArrayAttr, DenseArrayAttr, DictAttr
from iree_core_ir.ir.operation import BlockArgument, Op, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE
from iree_core_ir.ir.types import DYNAMIC, FloatType, IndexType, IntegerType, TensorType

READ, WRITE, READWRITE = "read", "write", "readwrite"


@record(frozen=True)
class Binding:
    """A tensor argument: ``index`` among the ABI's bindings, ``argument`` among the function's arguments."""

    index: int
    argument: int
    value: BlockArgument
    access: str
    constant: bool
    dims: tuple[Dim, ...]
    packed: str | None = None
    """How the layout hook has the constant transformed (kind and parameters as JSON); None when untouched."""

    def is_packed(self, kind: str, parameters: Mapping[str, Any]) -> bool:
        """True of a constant that lies in memory as the transform ``kind`` makes it."""
        return self.packed is not None and json.loads(self.packed) == {"kind": kind, "parameters": parameters}


@record(frozen=True)
class Scalar:
    """A scalar argument: ``words`` 32-bit constants from ``first`` on."""

    argument: int
    value: BlockArgument
    first: int
    words: int


@record
class Dispatch:
    """The function ``func`` taken apart. Raises CodegenError when it breaks the contract."""

    func: Any
    name: str = ""
    bindings: list[Binding] = field(default_factory=list)
    scalars: list[Scalar] = field(default_factory=list)
    results: list[tuple[Value, Binding]] = field(default_factory=list)
    """Returned value and the destination it is stored to."""
    ops: list[Op] = field(default_factory=list)

    def __post_init__(self) -> None:
        func = self.func
        block = func.regions[0].block
        self.name = func.attributes["sym_name"].value
        self.ops = [op for op in block if op is not block.last]
        self._by_value: dict[Value, Binding] = {}
        self._dims: dict[Value, tuple[Dim, ...]] = {}
        returned = block.terminator.operands
        attributes = func.attributes.get("arg_attrs")
        word = 0
        destinations = self._destinations(returned, attributes)
        for position, argument in enumerate(block.args):
            own = _argument_attributes(attributes, position)
            if isinstance(argument.type, TensorType):
                access: Any = own.get("iree.access")
                default = WRITE if argument in destinations else READ
                packed: Any = own.get("iree.packed")
                binding = Binding(
                    len(self.bindings),
                    position,
                    argument,
                    access.value if access is not None else default,
                    "iree.constant" in own,
                    self._argument_dims(argument, own, position),
                    packed.value if packed is not None else None,
                )
                self.bindings.append(binding)
                self._by_value[argument] = binding
                self._dims[argument] = binding.dims
            else:
                words = scalar_words(argument.type, self.name)
                self.scalars.append(Scalar(position, argument, word, words))
                word += words
        self.n_constants = word
        for value, destination in zip(returned, destinations, strict=True):
            self.results.append((value, self._by_value[destination]))

    def _destinations(self, returned: Any, attributes: Any) -> list[Value]:
        """The argument that each result is stored to: the one its destination chain starts from (an
        in-place update), else the destinations in order."""
        tensors = [a for a in self.func.regions[0].block.args if isinstance(a.type, TensorType)]
        named: Any = self.func.attributes.get("iree.destinations")
        if named is not None:
            block = self.func.regions[0].block
            return [block.args[int(i)] for i in named.values]
        access: dict[Value, Any] = {
            a: _argument_attributes(attributes, a.index).get("iree.access") for a in tensors
        }
        written: list[Value] = [a for a in tensors if access[a] is not None and access[a].value != READ]
        found: list[Value | None] = []
        for value in returned:
            origin = destination_origin(value)
            found.append(origin if origin in written and origin not in found else None)
        rest = [a for a in written or tensors[len(tensors) - len(returned) :] if a not in found]
        missing = sum(f is None for f in found)
        if missing > len(rest):
            raise CodegenError(INVALID_DISPATCH, f"'{self.name}' has fewer destinations than results")
        rest = rest[len(rest) - missing :]
        return [f if f is not None else rest.pop(0) for f in found]

    def _argument_dims(self, argument: BlockArgument, own: dict[str, Any], position: int) -> tuple[Dim, ...]:
        shape = argument.type.shape
        given = own.get("iree.dims")
        if given is None:
            if DYNAMIC in shape:
                raise CodegenError(
                    INVALID_DISPATCH,
                    f"argument {position} of '{self.name}' has dynamic dims and no iree.dims attribute",
                )
            return tuple(shape)
        values = list(given.values) if isinstance(given, DenseArrayAttr) else [a.value for a in given]
        if len(values) != len(shape):
            raise CodegenError(INVALID_DISPATCH, f"iree.dims of argument {position} of '{self.name}'")
        return tuple(
            dim_ops.arg(int(values[axis])) if dim == DYNAMIC else dim for axis, dim in enumerate(shape)
        )

    def binding_of(self, value: Value) -> Binding | None:
        return self._by_value.get(value)

    # -- extents ---------------------------------------------------------------------------------

    def dims(self, value: Value) -> tuple[Dim, ...]:
        """The extents of a tensor value. Raises CodegenError when they follow from no argument."""
        found = self._dims.get(value)
        if found is None:
            found = self._dims[value] = self._infer(value)
        return found

    def dim_of(self, value: Mixed) -> Dim:
        """An index value as an extent."""
        if isinstance(value, int):
            return value
        op = value.defining_op
        if op is None:
            return dim_ops.arg(value.index)
        attribute: Any
        if op.name in ("arith.constant", "index.constant"):
            attribute = op.attributes["value"]
            return int(attribute.value)
        if op.name == "tensor.dim":
            axis = self.dim_of(op.operands[1])
            if isinstance(axis, int):
                return self.dims(op.operands[0])[axis]
        if op.name in _SCALAR_DIMS:
            return _SCALAR_DIMS[op.name](self.dim_of(op.operands[0]), self.dim_of(op.operands[1]))
        if op.name in ("arith.index_cast", "arith.index_castui"):
            return self.dim_of(op.operands[0])
        if op.name in ("affine.apply", "affine.min", "affine.max"):
            attribute = op.attributes["map"]
            operands = [self.dim_of(v) for v in op.operands]
            n = attribute.value.n_dims
            parts = [_affine_dim(e, operands[:n], operands[n:]) for e in attribute.value.results]
            result = parts[0]
            for part in parts[1:]:
                result = (dim_ops.minimum if op.name == "affine.min" else dim_ops.maximum)(result, part)
            return result
        # Some other scalar of the kernel: usable as an extent inside, not in a workgroup count.
        return Expr("value", value)

    def _mixed(self, sizes: Any) -> tuple[Dim, ...]:
        return tuple(self.dim_of(s) for s in sizes)

    def _infer(self, value: Value) -> tuple[Dim, ...]:
        shape = value.type.shape
        if DYNAMIC not in shape:
            return tuple(shape)
        op: Any = value.defining_op
        assert isinstance(value.owner, Op), value
        name = op.name
        if name in ("tensor.empty", "tensor.splat", "tensor.generate"):
            return self._mixed(op.mixed_sizes)
        if isinstance(op, StructuredOp):
            return self.dims(op.operands[op.n_inputs + value.index])
        if name == "tensor.extract_slice":
            sizes = self._mixed(op.mixed_sizes)
            dropped = op.dropped_dims(shape) or frozenset()
            return tuple(s for axis, s in enumerate(sizes) if axis not in dropped)
        if name in ("tensor.insert_slice", "tensor.insert"):
            return self.dims(op.operands[1])
        if name == "tensor.pad":
            source = self.dims(op.operands[0])
            low, high = self._mixed(op.mixed_low), self._mixed(op.mixed_high)
            return tuple(dim_ops.add(dim_ops.add(s, a), b) for s, a, b in zip(source, low, high, strict=True))
        if name == "tensor.concat":
            axis = op.attributes["dim"].value
            parts = [self.dims(v) for v in op.operands]
            joined: Dim = 0
            for part in parts:
                joined = dim_ops.add(joined, part[axis])
            return (*parts[0][:axis], joined, *parts[0][axis + 1 :])
        if name == "tensor.expand_shape":
            return self._mixed(op.mixed_output_shape)
        if name == "tensor.collapse_shape":
            source = self.dims(op.operands[0])
            return tuple(dim_ops.total([source[i] for i in group]) for group in op.groups)
        if name in ("tensor.cast", "tensor.bitcast"):
            source = self.dims(op.operands[0])
            return tuple(s if d == DYNAMIC else d for s, d in zip(source, shape, strict=True))
        outputs = getattr(op, "outputs", None)
        if outputs:
            return self.dims(outputs[value.index])
        raise CodegenError(
            UNSUPPORTED_OP,
            f"{name}: result {value.index} has unknown extents",
            source=op.location.user_text(),
        )

    # -- iteration spaces ----------------------------------------------------------------------------

    def loop_dims(self, op: Any) -> tuple[Dim, ...]:
        """The extents of a structured op's loops."""
        found: dict[int, Dim] = {}
        for map, operand in zip(op.indexing_maps, op.operands, strict=True):
            if not isinstance(operand.type, TensorType):
                continue
            extents = self.dims(operand)
            for axis, position in enumerate(map.dim_positions()):
                if position is not None and not isinstance(found.get(position), int):
                    if position not in found or isinstance(extents[axis], int):
                        found[position] = extents[axis]
        return tuple(found[i] for i in range(len(op.iterator_types)))


def destination_origin(value: Value) -> Value:
    """Where the storage of ``value`` comes from: up the chain of destination operands."""
    while True:
        op: Any = value.defining_op
        if op is None or DESTINATION_STYLE not in op.traits:
            return value
        if op.name in ("tensor.insert_slice", "tensor.insert"):
            value = op.operands[1]
        elif getattr(op, "outputs", None):
            value = op.outputs[value.index]
        else:
            return value


def _argument_attributes(attributes: Any, position: int) -> dict[str, Any]:
    if not isinstance(attributes, ArrayAttr) or position >= len(attributes):
        return {}
    own = attributes[position]
    return own.to_dict() if isinstance(own, DictAttr) else {}


def scalar_words(type: Any, where: str) -> int:
    """How many 32-bit constants a scalar argument takes: i64 and f64 (and index) are lo/hi pairs."""
    if isinstance(type, IndexType):
        return 2
    if isinstance(type, (IntegerType, FloatType)) and type.width <= 64:
        return 2 if type.width == 64 else 1
    raise CodegenError(INVALID_DISPATCH, f"scalar argument of type {type} in '{where}'")


def _affine_dim(expr: Any, dims: list[Dim], symbols: list[Dim]) -> Dim:
    kind = type(expr).__name__
    if kind == "AffineConstant":
        return int(expr.value)
    if kind == "AffineDim":
        return dims[int(expr.position)]
    if kind == "AffineSymbol":
        return symbols[int(expr.position)]
    operation = {"+": "add", "*": "mul"}.get(expr.kind, expr.kind)
    return dim_ops.COMBINE[operation](
        _affine_dim(expr.lhs, dims, symbols), _affine_dim(expr.rhs, dims, symbols)
    )


_SCALAR_DIMS: dict[str, Callable[[Dim, Dim], Dim]] = {
    "arith.addi": dim_ops.add,
    "arith.subi": dim_ops.sub,
    "arith.muli": dim_ops.mul,
    "arith.divui": dim_ops.floordiv,
    "arith.divsi": dim_ops.floordiv,
    "arith.floordivsi": dim_ops.floordiv,
    "arith.ceildivsi": dim_ops.ceildiv,
    "arith.ceildivui": dim_ops.ceildiv,
    "arith.remui": dim_ops.mod,
    "arith.remsi": dim_ops.mod,
    "arith.minsi": dim_ops.minimum,
    "arith.minui": dim_ops.minimum,
    "arith.maxsi": dim_ops.maximum,
    "arith.maxui": dim_ops.maximum,
    "index.add": dim_ops.add,
    "index.mul": dim_ops.mul,
}
