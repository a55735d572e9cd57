"""``scf``: loops and conditionals that keep their structure, as in MLIR."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from iree_core_ir.dialects import scf_text, scf_verify
from iree_core_ir.dialects.constraints import INTEGER_OR_INDEX
from iree_core_ir.dialects.mixed import Mixed, dynamic_part, join, static_part
from iree_core_ir.ir.attributes import ArrayAttr, Attribute, DenseArrayAttr, Type, UnitAttr
from iree_core_ir.ir.declaration import (
    attribute,
    operand,
    optional_attribute,
    region,
    segment_sizes,
    variadic_operand,
    variadic_region,
    variadic_result,
)
from iree_core_ir.ir.dialect import Dialect
from iree_core_ir.ir.location import UNKNOWN, Location
from iree_core_ir.ir.operation import Block, BlockArgument, Op, Region, Value, single_block_region
from iree_core_ir.ir.traits import (
    LOOP,
    NO_TERMINATOR,
    RECURSIVE_EFFECTS,
    RETURN_LIKE,
    SINGLE_BLOCK,
    TERMINATOR,
)
from iree_core_ir.ir.types import i1, i64, index


class Yield(Op, name="scf.yield", traits=(TERMINATOR, RETURN_LIKE)):
    """Ends a region; the operands are the values it gives."""

    values = variadic_operand()
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    @classmethod
    def make(cls, values: Sequence[Value] = ()) -> Self:
        return cls(values)


class For(Op, name="scf.for", traits=(RECURSIVE_EFFECTS, SINGLE_BLOCK, LOOP)):
    """Counts from ``lower`` up to below ``upper`` by ``step`` (> 0), carrying ``inits``.

    The body block has the counter and the carried values as arguments and yields the next ones.
    """

    lower = operand(INTEGER_OR_INDEX)
    upper = operand(INTEGER_OR_INDEX)
    step = operand(INTEGER_OR_INDEX)
    inits = variadic_operand()
    unsigned_compare = optional_attribute(UnitAttr, key="unsignedCmp")
    body = region()
    outs = variadic_result()
    implicit_terminator = "scf.yield"
    parse = classmethod(scf_text.parse_for)
    print = scf_text.print_for
    verify_op = scf_verify.verify_for

    @classmethod
    def make(cls, lower: Value, upper: Value, step: Value, inits: Sequence[Value] = ()) -> Self:
        """With an empty body block: fill ``op.block`` and end it with ``scf.yield``."""
        types = [value.type for value in inits]
        block = single_block_region([lower.type, *types])
        return cls((lower, upper, step, *inits), types, {}, (block,))

    @property
    def block(self) -> Block:
        return self.regions[0].block

    @property
    def induction_variable(self) -> BlockArgument:
        return self.block.args[0]

    @property
    def iter_args(self) -> list[BlockArgument]:
        return self.block.args[1:]


class If(Op, name="scf.if", traits=(RECURSIVE_EFFECTS,)):
    """Runs the then region or the else region; without results the else region may be empty."""

    condition = operand(i1)
    then_region = region()
    else_region = region()
    outs = variadic_result()
    implicit_terminator = "scf.yield"
    parse = classmethod(scf_text.parse_if)
    print = scf_text.print_if
    verify_op = scf_verify.verify_if

    @classmethod
    def make(cls, condition: Value, types: Sequence[Type] = (), with_else: bool | None = None) -> Self:
        """With empty blocks (an else block when there are results or ``with_else``)."""
        has_else = bool(types) if with_else is None else with_else
        otherwise = single_block_region() if has_else else Region()
        return cls((condition,), types, {}, (single_block_region(), otherwise))

    @property
    def then_block(self) -> Block:
        return self.regions[0].block

    @property
    def else_block(self) -> Block | None:
        blocks = self.regions[1].blocks
        return blocks[0] if blocks else None


class Condition(Op, name="scf.condition", traits=(TERMINATOR,)):
    """Ends ``scf.while``'s before region: go on when true; the arguments go to the body or out."""

    condition = operand(i1)
    arguments = variadic_operand()
    assembly_format = "`(` $condition `)` attr-dict ($arguments^ `:` type($arguments))?"

    @classmethod
    def make(cls, condition: Value, arguments: Sequence[Value] = ()) -> Self:
        return cls((condition, *arguments))


class While(Op, name="scf.while", traits=(RECURSIVE_EFFECTS, SINGLE_BLOCK, LOOP)):
    """``before`` computes the condition, ``after`` is the body; each feeds the other."""

    inits = variadic_operand()
    before = region()
    after = region()
    outs = variadic_result()
    parse = classmethod(scf_text.parse_while)
    print = scf_text.print_while
    verify_op = scf_verify.verify_while

    @classmethod
    def make(cls, inits: Sequence[Value], types: Sequence[Type]) -> Self:
        """``types``: what ``scf.condition`` forwards. With empty blocks."""
        before = single_block_region([value.type for value in inits])
        return cls(inits, types, {}, (before, single_block_region(types)))

    @property
    def before_block(self) -> Block:
        return self.regions[0].block

    @property
    def after_block(self) -> Block:
        return self.regions[1].block


class ExecuteRegion(Op, name="scf.execute_region", traits=(RECURSIVE_EFFECTS,)):
    """Runs its region (several blocks allowed) once, in place."""

    no_inline = optional_attribute(UnitAttr)
    body = region()
    outs = variadic_result()
    parse = classmethod(scf_text.parse_execute_region)
    print = scf_text.print_execute_region

    @classmethod
    def make(cls, types: Sequence[Type] = ()) -> Self:
        return cls((), types, {}, (single_block_region(),))


class IndexSwitch(Op, name="scf.index_switch", traits=(RECURSIVE_EFFECTS, SINGLE_BLOCK)):
    """Runs the region whose case equals the index, else the default region."""

    value = operand(index)
    cases = attribute(DenseArrayAttr)
    default_region = region()
    case_regions = variadic_region()
    outs = variadic_result()
    implicit_terminator = "scf.yield"
    parse = classmethod(scf_text.parse_index_switch)
    print = scf_text.print_index_switch
    verify_op = scf_verify.verify_index_switch

    @classmethod
    def make(cls, value: Value, cases: Sequence[int], types: Sequence[Type] = ()) -> Self:
        regions = [single_block_region() for _ in range(len(cases) + 1)]
        return cls((value,), types, {"cases": DenseArrayAttr(i64, cases)}, regions)


class InParallel(Op, name="scf.forall.in_parallel", traits=(TERMINATOR, NO_TERMINATOR, SINGLE_BLOCK)):
    """Ends ``scf.forall``: the ops inside say what each instance contributes to the shared outputs."""

    body = region()
    assembly_format = "$body attr-dict"

    def __init__(
        self,
        operands: Sequence[Value] = (),
        result_types: Sequence[Type] = (),
        attributes: dict[str, Attribute] | None = None,
        regions: Sequence[Region] = (),
        successors: Sequence[Block] = (),
        location: Location = UNKNOWN,
    ) -> None:
        # Made without a region where pretty assembly leaves the terminator out.
        body = tuple(regions) or (single_block_region(),)
        super().__init__(operands, result_types, attributes, body, successors, location)

    @classmethod
    def make(cls) -> Self:
        return cls()

    @property
    def block(self) -> Block:
        return self.regions[0].block


class ForAll(Op, name="scf.forall", traits=(RECURSIVE_EFFECTS, SINGLE_BLOCK, LOOP)):
    """Independent instances over a box; results are the shared outputs after all insertions.

    Bounds are mixed lists (see ``dialects.mixed``).
    """

    dynamic_lower = variadic_operand(index)
    dynamic_upper = variadic_operand(index)
    dynamic_step = variadic_operand(index)
    outputs = variadic_operand()
    static_lower = attribute(DenseArrayAttr, key="staticLowerBound")
    static_upper = attribute(DenseArrayAttr, key="staticUpperBound")
    static_step = attribute(DenseArrayAttr, key="staticStep")
    mapping = optional_attribute(ArrayAttr)
    body = region()
    outs = variadic_result()
    implicit_terminator = "scf.forall.in_parallel"
    parse = classmethod(scf_text.parse_forall)
    print = scf_text.print_forall
    verify_op = scf_verify.verify_forall

    @classmethod
    def make(
        cls,
        lower: Sequence[Mixed],
        upper: Sequence[Mixed],
        step: Sequence[Mixed],
        outputs: Sequence[Value] = (),
        mapping: ArrayAttr | None = None,
    ) -> Self:
        """With a block of the ids and outputs as arguments, ended by an empty ``in_parallel``."""
        groups = [dynamic_part(bounds) for bounds in (lower, upper, step)]
        types = [value.type for value in outputs]
        attributes: dict[str, Attribute] = {
            "staticLowerBound": static_part(lower),
            "staticUpperBound": static_part(upper),
            "staticStep": static_part(step),
            "operandSegmentSizes": segment_sizes(*groups, outputs),
        }
        if mapping is not None:
            attributes["mapping"] = mapping
        body = single_block_region([index] * len(upper) + types)
        body.block.append(InParallel.make())
        return cls((*groups[0], *groups[1], *groups[2], *outputs), types, attributes, (body,))

    @property
    def rank(self) -> int:
        return len(self.static_upper)

    @property
    def is_normalized(self) -> bool:
        """All lower bounds 0 and all steps 1."""
        return not any(self.static_lower.values) and set(self.static_step.values) <= {1}

    @property
    def block(self) -> Block:
        return self.regions[0].block

    @property
    def induction_variables(self) -> list[BlockArgument]:
        return self.block.args[: self.rank]

    @property
    def output_args(self) -> list[BlockArgument]:
        return self.block.args[self.rank :]

    @property
    def in_parallel(self) -> InParallel:
        terminator = self.block.terminator
        assert isinstance(terminator, InParallel)
        return terminator

    @property
    def lower(self) -> tuple[Mixed, ...]:
        return join(self.static_lower.values, self.dynamic_lower)

    @property
    def upper(self) -> tuple[Mixed, ...]:
        return join(self.static_upper.values, self.dynamic_upper)

    @property
    def step(self) -> tuple[Mixed, ...]:
        return join(self.static_step.values, self.dynamic_step)


class ReduceReturn(Op, name="scf.reduce.return", traits=(TERMINATOR, RETURN_LIKE)):
    """Ends a combiner of ``scf.reduce``."""

    value = operand()
    assembly_format = "$value attr-dict `:` type($value)"

    @classmethod
    def make(cls, value: Value) -> Self:
        return cls((value,))


class Reduce(Op, name="scf.reduce", traits=(TERMINATOR, RECURSIVE_EFFECTS)):
    """Ends ``scf.parallel``: one value per result, combined by its region, in no fixed order."""

    values = variadic_operand()
    combiners = variadic_region()
    parse = classmethod(scf_text.parse_reduce)
    print = scf_text.print_reduce
    verify_op = scf_verify.verify_reduce

    @classmethod
    def make(cls, values: Sequence[Value] = ()) -> Self:
        """With a block of two arguments per value: fill it and end it with ``scf.reduce.return``."""
        return cls(values, (), {}, [single_block_region([v.type, v.type]) for v in values])


class Parallel(Op, name="scf.parallel", traits=(RECURSIVE_EFFECTS, SINGLE_BLOCK, LOOP)):
    """Independent iterations over a box, ended by ``scf.reduce``."""

    lower = variadic_operand(index)
    upper = variadic_operand(index)
    step = variadic_operand(index)
    inits = variadic_operand()
    body = region()
    outs = variadic_result()
    implicit_terminator = "scf.reduce"
    parse = classmethod(scf_text.parse_parallel)
    print = scf_text.print_parallel
    verify_op = scf_verify.verify_parallel

    @classmethod
    def make(
        cls,
        lower: Sequence[Value],
        upper: Sequence[Value],
        step: Sequence[Value],
        inits: Sequence[Value] = (),
    ) -> Self:
        """With a block of the counters: fill it and end it with ``scf.reduce``."""
        return cls(
            (*lower, *upper, *step, *inits),
            [value.type for value in inits],
            {"operandSegmentSizes": segment_sizes(lower, upper, step, inits)},
            (single_block_region([index] * len(lower)),),
        )

    @property
    def block(self) -> Block:
        return self.regions[0].block

    @property
    def induction_variables(self) -> list[BlockArgument]:
        return self.block.args


DIALECT = Dialect(
    "scf",
    ops=[
        Condition, ExecuteRegion, For, ForAll, If, InParallel, IndexSwitch, Parallel, Reduce, ReduceReturn,
        While, Yield,
    ],
)  # fmt: skip
