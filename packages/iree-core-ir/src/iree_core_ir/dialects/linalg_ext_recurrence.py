"""``linalg_ext.recurrence``: a recurrent layer (LSTM, GRU, plain RNN) as one op, whatever its cell is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from iree_core_ir.dialects.linalg import BodyFunction, build_body
from iree_core_ir.dialects.linalg_ext_base import LinalgExtOp, check_shape
from iree_core_ir.dialects.linalg_structured import output_types
from iree_core_ir.dialects.linalg_text import parse_group, parse_results, print_groups, print_results
from iree_core_ir.errors import VerifyError
from iree_core_ir.ir.attributes import UNIT, Attribute, IntegerAttr, UnitAttr
from iree_core_ir.ir.declaration import attribute, optional_attribute, segment_sizes, variadic_region
from iree_core_ir.ir.operation import Region, Value
from iree_core_ir.ir.types import DYNAMIC, FloatType, IndexType, IntegerType, i64


class Recurrence(LinalgExtOp, name="linalg_ext.recurrence"):
    """States of shape ``[b, n]`` carried over the steps of the input; the first state is the output.

    A step runs *stages* in order. Stage ``s`` multiplies a vector ``v`` of ``n`` elements a row with its
    weights, ``sums[g, j] = sum over k of v[k] * w[g * n + j, k]``, and then computes its region for every
    element ``j``. The first stage's vector is the first state; every stage but the last yields one value, the
    next stage's vector; the last yields the new states.

    Inputs: x ``[t, b, gates * n]`` (what does not depend on the states, computed for all steps before), the
    weights ``[g * n, n]`` of every stage, ``parameters`` rows of constants ``[p, n]`` where there are any,
    ``lengths`` ``[b]`` (how many steps a row has) where there are any, and the initial states ``[b, n]``.
    Outputs: ``[t, b, n]`` and the last states ``[b, n]``.

    A region takes scalars: x's gates, the sums of its own stage and of those before, the parameters, the
    states. Beyond a row's length its states stay and its output is 0; ``reverse`` walks from the row's last
    step to its first.
    """

    parameters = attribute(IntegerAttr, type=i64)
    """How many rows of constants there are; with 0 the operand is missing."""
    lengths = optional_attribute(UnitAttr)
    reverse = optional_attribute(UnitAttr)
    stages = variadic_region()

    @classmethod
    def make(
        cls,
        x: Value,
        weights: Sequence[Value],
        states: Sequence[Value],
        outputs: Sequence[Value],
        stages: Sequence[BodyFunction | Region],
        parameters: Value | None = None,
        lengths: Value | None = None,
        reverse: bool = False,
    ) -> Self:
        """``stages``: a body a weight, called as ``body(builder, *scalars)``."""
        rows: Any = 0 if parameters is None else parameters.type.shape[0]
        attributes: dict[str, Attribute] = {"parameters": IntegerAttr(rows, i64)}
        if lengths is not None:
            attributes["lengths"] = UNIT
        if reverse:
            attributes["reverse"] = UNIT
        inputs = [x, *weights, *(v for v in (parameters, lengths) if v is not None), *states]
        attributes["operandSegmentSizes"] = segment_sizes(inputs, outputs)
        size = outputs[0].type.shape[-1]
        taken = x.type.shape[-1] // size + rows + len(states)
        regions: list[Region] = []
        for weight, stage in zip(weights, stages, strict=True):
            taken += weight.type.shape[0] // size
            element = x.type.element_type
            regions.append(stage if isinstance(stage, Region) else build_body([element] * taken, stage))
        return cls([*inputs, *outputs], output_types(outputs), attributes, regions)

    # -- roles ---------------------------------------------------------------------------------------

    @property
    def n_stages(self) -> int:
        return len(self.regions)

    @property
    def n_states(self) -> int:
        return len(self.outputs) - 1

    @property
    def size(self) -> int:
        """Elements of a state."""
        return int(self.outputs[0].type.shape[-1])

    @property
    def x(self) -> Value:
        return self.inputs[0]

    @property
    def weights(self) -> Sequence[Value]:
        return self.inputs[1 : 1 + self.n_stages]

    @property
    def parameter_rows(self) -> Value | None:
        return self.inputs[1 + self.n_stages] if self.parameters.value else None

    @property
    def row_lengths(self) -> Value | None:
        if self.lengths is None:
            return None
        return self.inputs[1 + self.n_stages + bool(self.parameters.value)]

    @property
    def initial_states(self) -> Sequence[Value]:
        return self.inputs[len(self.inputs) - self.n_states :]

    @property
    def gates(self) -> int:
        """Values that x has for an element."""
        return int(self.x.type.shape[-1]) // self.size

    def stage_gates(self, stage: int) -> int:
        """Sums that a stage has for an element."""
        return int(self.weights[stage].type.shape[0]) // self.size

    def n_arguments(self, stage: int) -> int:
        """Scalars that the region of ``stage`` takes."""
        sums = sum(self.stage_gates(s) for s in range(stage + 1))
        return self.gates + sums + int(self.parameters.value) + self.n_states

    # -- text and checks -----------------------------------------------------------------------------

    @classmethod
    def parse(cls, p: Any) -> Self:
        attributes: dict[str, Attribute] = dict(p.attribute_dict())
        inputs, outputs = parse_group(p, "ins"), parse_group(p, "outs")
        regions = []
        while p.at("{"):
            regions.append(p.region())
        attributes["operandSegmentSizes"] = segment_sizes(inputs, outputs)
        return cls([*inputs, *outputs], parse_results(p), attributes, regions)

    def print(self, printer: Any) -> None:
        printer.attribute_dict(self.attributes, ("operandSegmentSizes",))
        print_groups(printer, self.inputs, self.outputs)
        for region in self.regions:
            printer.write(" ")
            printer.region(region)
        print_results(printer, self)

    def verify_op(self) -> None:
        optional = bool(self.parameters.value) + (self.lengths is not None)
        self.check_counts([1 + self.n_stages + optional + self.n_states], range(2, 16))
        out, x = self.outputs[0].type, self.x.type
        if not self.regions or out.rank != 3 or x.rank != 3:
            raise VerifyError(self, "x and the output must have rank 3, and there must be a stage")
        size, element = out.shape[-1], out.element_type
        if not isinstance(element, FloatType) or size == DYNAMIC or size < 1:
            raise VerifyError(self, f"states must be floats of static size, got {out}")
        if x.shape[-1] == DYNAMIC or x.shape[-1] % size:
            raise VerifyError(self, f"x {x} must hold whole gates of {size}")
        check_shape(self, "x", x, (*out.shape[:2], x.shape[-1]))
        for value in self.weights:
            if value.type.shape[0] == DYNAMIC or value.type.shape[0] % size:
                raise VerifyError(self, f"weights {value.type} must hold whole gates of {size}")
            check_shape(self, "weights", value.type, (value.type.shape[0], size))
        if self.parameter_rows is not None:
            shape = (self.parameters.value, size)
            check_shape(self, "parameters", self.parameter_rows.type, shape)
        if self.row_lengths is not None:
            check_shape(self, "lengths", self.row_lengths.type, out.shape[1:2])
            if not isinstance(self.row_lengths.type.element_type, (IntegerType, IndexType)):
                raise VerifyError(self, f"lengths must be integers, got {self.row_lengths.type}")
        for value in (*self.initial_states, *self.outputs[1:]):
            check_shape(self, "state", value.type, out.shape[1:])
        for value in self.operands:
            if value is not self.row_lengths and value.type.element_type is not element:
                raise VerifyError(self, f"all floats must be {element}, got {value.type}")
        for stage, region in enumerate(self.regions):
            wanted = self.n_arguments(stage)
            if [a.type for a in region.block.args] != [element] * wanted:
                raise VerifyError(self, f"stage {stage} takes {wanted} scalars of {element}")
            n_yielded = self.n_states if stage == self.n_stages - 1 else 1
            last = region.block.last
            if last is None or last.name != "linalg.yield":
                raise VerifyError(self, f"stage {stage} must end with linalg.yield")
            if [v.type for v in last.operands] != [element] * n_yielded:
                raise VerifyError(self, f"stage {stage} must yield {n_yielded} of {element}")
