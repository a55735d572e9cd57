"""``outline-dispatch-regions``: each ``flow.dispatch.region`` becomes an executable and a dispatch.

The executable's function is what a target receives (destination-passing style): input tensors,
scalars and dims, destination tensors -> tensors. It is isolated: every value of the outside comes in
as an argument, ``tensor.dim`` of arguments is replaced by the dim's own argument. Identical functions
are outlined once.

Symbols: ``{function}_dispatch_{n}`` and the export ``{function}_dispatch_{n}_{root}_{shape}``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from iree_base.records import field, record
from iree_core_ir.dialects import arith, linalg, tensor
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp, ReturnOp
from iree_core_ir.ir.attributes import (
    UNIT,
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    DenseResourceAttr,
    DictAttr,
    StringAttr,
    SymbolRefAttr,
)
from iree_core_ir.ir.builder import Builder
from iree_core_ir.ir.known_values import known_integer
from iree_core_ir.ir.location import fuse
from iree_core_ir.ir.operation import Block, Op, Region, SymbolTable, Value
from iree_core_ir.ir.traits import DESTINATION_STYLE
from iree_core_ir.ir.types import TensorType, i64
from iree_core_ir.pass_manager import Pass, PassContext
from iree_core_ir.passes.cse import structural_key
from iree_flow import fusion
from iree_flow.dialects import flow
from iree_flow.dims import Dim, DimResolver
from iree_flow.launch import workload_of
from iree_flow.symbolic_dims import argument_dim_names

ACCESS, DIMS, CONSTANT = "iree.access", "iree.dims", "iree.constant"
READ, WRITE, READWRITE = "read", "write", "readwrite"
DESTINATIONS = "iree.destinations"
"""Per result of a dispatch function: the argument whose memory it is stored to."""


@record
class OutlineDispatchRegions(Pass):
    name: ClassVar[str] = "outline-dispatch-regions"

    def run(self, module: Op, context: PassContext) -> None:
        symbols = SymbolTable(module)
        known: dict[Any, SymbolRefAttr] = {}
        for function in [op for op in module.regions[0].block if isinstance(op, FuncOp)]:
            if not function.regions[0].blocks:
                continue
            counter = 0
            names = argument_dim_names(function)
            resolver = DimResolver(function.regions[0].block, names)
            for block in function.regions[0].blocks:
                for op in block.ops:
                    if isinstance(op, flow.DispatchRegion):
                        base = f"{function.attributes['sym_name'].value}_dispatch_{counter}"  # type: ignore[attr-defined]
                        counter += Outliner(op, resolver, base, symbols, known, function).run()


@record
class _Arguments:
    """The captured values of a region, in argument order."""

    tensors: list[Value] = field(default_factory=list)
    scalars: list[Value] = field(default_factory=list)

    def position(self, value: Value) -> int:
        if isinstance(value.type, TensorType):
            return self.tensors.index(value)
        return len(self.tensors) + self.scalars.index(value)


class Outliner:
    """Outlines one region."""

    def __init__(
        self,
        region: flow.DispatchRegion,
        resolver: DimResolver,
        base: str,
        symbols: SymbolTable,
        known: dict[Any, SymbolRefAttr],
        function: FuncOp,
    ) -> None:
        self.region = region
        self.resolver = resolver
        self.base = base
        self.symbols = symbols
        self.known = known
        self.function = function
        self.args = _Arguments()

    def run(self) -> int:
        """Returns 1 when a new executable was made, 0 when an identical one served."""
        body = self.region.body.block
        terminator = body.terminator
        returned = list(terminator.operands)
        inner = [op for outer in body for op in outer.walk()]
        self._capture(inner)
        destinations = [self._destination(value) for value in returned]
        ties = [d if isinstance(d, int) else flow.UNTIED for d in destinations]
        result_dims = [self.resolver.dims(result) for result in self.region.results]
        for value in (*self.args.tensors, *self.region.results):
            self._add_dims(value)
        func = self._function(body, inner, returned, destinations, result_dims)
        reference, made = self._executable(func)
        self._dispatch(reference, ties, result_dims)
        return made

    # -- what comes in -----------------------------------------------------------------------

    def _capture(self, ops: Sequence[Op]) -> None:
        """What the region's ``ops`` use and do not define."""
        inside: set[Value] = set()
        used: dict[Value, None] = {}
        for op in ops:
            used.update(dict.fromkeys(op.operands))
            inside.update(op.results)
            for region in op.regions:
                for block in region.blocks:
                    inside.update(block.args)
        for value in used:
            if value in inside:
                continue
            (self.args.tensors if isinstance(value.type, TensorType) else self.args.scalars).append(value)

    def _add_dims(self, value: Value) -> None:
        """What the type does not say is passed, be it a number that is known by now."""
        for dim in self.resolver.dynamic(value):
            if dim not in self.args.scalars:
                self.args.scalars.append(dim)

    def _destination(self, value: Value) -> tuple[Op, int] | int | None:
        """Where ``value``'s storage comes from: (op, operand index) of the use of a ``tensor.empty``,
        the index of a captured tensor (tied), or None when the defining op has no destination."""
        op = value.defining_op
        use: tuple[Op, int] | None = None
        while op is not None and DESTINATION_STYLE in op.traits and value.owner is op:
            if op.parent is not self.region.body.block:
                return None
            index = _destination_operand(op, value.index)
            use = (op, index)
            value = op.operands[index]
            op = value.defining_op
        if isinstance(op, tensor.Empty):
            return use
        if value in self.args.tensors and use is not None:
            return self.args.tensors.index(value)
        return None

    # -- the function ------------------------------------------------------------------------

    def _function(
        self,
        body: Block,
        inner: Sequence[Op],
        returned: list[Value],
        destinations: list[tuple[Op, int] | int | None],
        result_dims: list[list[Dim]],
    ) -> FuncOp:
        tensors, scalars = self.args.tensors, self.args.scalars
        entry = Block([v.type for v in (*tensors, *scalars)])
        mapping: dict[Value, Value] = dict(zip((*tensors, *scalars), entry.args, strict=True))
        written = {d for d in destinations if isinstance(d, int)}
        attributes: list[dict[str, Attribute]] = []
        for i, value in enumerate(tensors):
            facts: dict[str, Attribute] = {
                ACCESS: StringAttr(READWRITE if i in written else READ),
                DIMS: self._dims_attribute(value, self.resolver.dims(value)),
            }
            if _is_constant(value):
                facts[CONSTANT] = UNIT
            attributes.append(facts)
        attributes += [{} for _ in scalars]
        for op in list(body):
            entry.append(op.detach())
        for op in inner:
            if any(v in mapping for v in op.operands):
                op.set_operands([mapping.get(v, v) for v in op.operands])
        final = entry.terminator
        values = list(returned)
        positions: list[int] = []
        for i, destination in enumerate(destinations):
            if isinstance(destination, int):
                positions.append(destination)
                continue
            positions.append(len(entry.args))
            result = self.region.results[i]
            arg = entry.add_arg(result.type)
            attributes.append({ACCESS: StringAttr(WRITE), DIMS: self._dims_attribute(result, result_dims[i])})
            if destination is None:
                copy = linalg.Copy.make([values[i]], [arg])
                copy.location = self.region.location
                entry.insert_before(copy, final)
                values[i] = copy.results[0]
            else:
                destination[0].set_operand(destination[1], arg)
        location = self.region.location  # of the ops it computes, not of the constants cloned in
        final.erase()
        entry.append(ReturnOp.make(*values)).location = location
        self._resolve_dims(entry, [op for op in inner if isinstance(op, tensor.Dim)])
        _erase_dead(entry)
        func: FuncOp = FuncOp.make("_", [a.type for a in entry.args], [v.type for v in values])
        func.regions[0].blocks[:] = []
        func.regions[0].append(entry)
        func.attributes["arg_attrs"] = ArrayAttr([DictAttr(a) for a in attributes])
        func.attributes[DESTINATIONS] = DenseArrayAttr(i64, positions)
        func.location = location
        return func

    def _dims_attribute(self, value: Value, dims: Sequence[Dim]) -> DenseArrayAttr:
        """Per axis the index of the argument that holds its size, or -1 when static."""
        found = []
        for dim, size in zip(dims, value.type.shape, strict=True):
            if size >= 0:
                found.append(-1)
            else:
                found.append(len(self.args.tensors) + self.args.scalars.index(self.resolver.value(dim)))
        return DenseArrayAttr(i64, found)

    def _resolve_dims(self, entry: Block, ops: Sequence[tensor.Dim]) -> None:
        """Replace ``tensor.dim`` of arguments by the arguments that hold the dims."""
        for op in ops:
            if op.operands[0] not in entry.args:
                continue
            axis = known_integer(op.operands[1])
            position = entry.args.index(op.operands[0])
            if axis is None or position >= len(self.args.tensors):
                continue
            dim = self.resolver.dims(self.args.tensors[position])[axis]
            if isinstance(dim, Value) and dim in self.args.scalars:
                arg = entry.args[len(self.args.tensors) + self.args.scalars.index(dim)]
                op.results[0].replace_all_uses_with(arg)
                op.erase()

    # -- the executable and the dispatch -------------------------------------------------------

    def _executable(self, func: FuncOp) -> tuple[SymbolRefAttr, int]:
        """``func``, named, in an executable of its own; or the executable that computes the same."""
        key = structural_key(func)
        found = self.known.get(key)
        if found is not None:
            self._merge_location(found, func)
            func.drop_all_references()
            return found, 0
        entry = func.regions[0].block
        _forget_names(entry)
        name = func.attributes["sym_name"] = StringAttr(f"{self.base}_{_root_name(entry)}")
        executable = flow.Executable.make(self.base)
        executable.location = func.location
        block = executable.body.block
        block.append(flow.ExecutableExport.make(name.value)).location = func.location
        module = block.append(ModuleOp(regions=[Region([Block()])]))
        module.location = func.location
        module.regions[0].block.append(func)
        self.symbols.insert(executable, before=self.function)
        reference = SymbolRefAttr(self.base, name.value)
        self.known[key] = reference
        return reference, 1

    def _merge_location(self, reference: SymbolRefAttr, func: FuncOp) -> None:
        """A shared executable stands for all its sources."""
        executable = self.symbols.lookup(reference.root)
        assert isinstance(executable, flow.Executable)
        executable.location = fuse([executable.location, func.location])

    def _dispatch(self, reference: SymbolRefAttr, ties: list[int], result_dims: list[list[Dim]]) -> None:
        builder = Builder.before_op(self.region)
        arguments = [*self.args.tensors, *self.args.scalars]
        argument_dims = [d for v in self.args.tensors for d in self.resolver.dynamic(v)]
        dynamic = [d for result in self.region.results for d in self.resolver.dynamic(result)]
        workload = self._workload(result_dims[0], builder)
        dispatch = builder.create(
            flow.Dispatch,
            reference,
            workload,
            arguments,
            argument_dims,
            [r.type for r in self.region.results],
            dynamic,
            ties,
        )
        for old, new in zip(self.region.results, dispatch.results, strict=True):
            new.hint = old.hint
        self.region.replace_by(dispatch.results)

    def _workload(self, dims: Sequence[Dim], builder: Builder) -> list[Value]:
        """The result shape, fastest first, padded to 3 with 1, outer dims folded into z."""
        sizes = workload_of(dims, lambda outer: self.resolver.product(outer, builder))
        return [self.resolver.value(size) for size in sizes]


def _destination_operand(op: Op, result: int) -> int:
    """Which operand of a destination-style op holds the initial value of a result."""
    if isinstance(op, (tensor.InsertSlice, tensor.Insert)):
        return 1
    outputs: Sequence[Value] = op.outputs  # type: ignore[attr-defined]
    return len(op.operands) - len(outputs) + result


def _is_constant(value: Value) -> bool:
    op = value.defining_op
    return isinstance(op, arith.Constant) and isinstance(op.attributes["value"], DenseResourceAttr)


def _forget_names(entry: Block) -> None:
    """Names in the source would make equal functions look different, here and in the compile cache."""
    for arg in entry.args:
        arg.hint = None
    for op in entry:
        for inner in op.walk():
            for value in inner.results:
                value.hint = None
            for region in inner.regions:
                for block in region.blocks:
                    for arg in block.args:
                        arg.hint = None


def _erase_dead(block: Block) -> None:
    for op in reversed(block.ops):
        if op.results and not any(r.uses for r in op.results):
            op.erase()


_ROOT_ORDER = (
    fusion.CONTRACTION,
    fusion.CONVOLUTION,
    fusion.POOLING,
    fusion.SOFTMAX,
    fusion.GATHER,
    fusion.REDUCTION,
    fusion.OTHER,
    fusion.COPY,
    fusion.PAD,
    fusion.ELEMENTWISE,
)


def _root_name(block: Block) -> str:
    """``matmul_DxNxK``: the op that gives the dispatch its name, and its loop extents."""
    best: Op | None = None
    rank = len(_ROOT_ORDER)
    for op in block:
        kind = fusion.kind_of(op)
        if kind is not None and op.name != "linalg.fill" and _ROOT_ORDER.index(kind) < rank:
            best, rank = op, _ROOT_ORDER.index(kind)
    if best is None:
        best = next((op for op in block if op.name == "linalg.fill"), None)
    if best is None:
        return "constant"
    name = best.name.partition(".")[2]
    if fusion.is_structured(best):
        if name == "generic":
            name = _ROOT_ORDER[rank] if rank < len(_ROOT_ORDER) else name
        sizes = [value.type.shape[axis] for value, axis in fusion.extents(best)]
    else:
        type = best.results[0].type
        sizes = list(type.shape) if isinstance(type, TensorType) else []
    text = "x".join("D" if size < 0 else str(size) for size in sizes)
    return f"{name}_{text}" if text else name


__all__ = ["ACCESS", "CONSTANT", "DIMS", "READ", "READWRITE", "WRITE", "OutlineDispatchRegions"]
