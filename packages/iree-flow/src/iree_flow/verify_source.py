"""A source -> its dispatches, each of which can be checked on the target against the interpreter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from iree_base.records import record
from iree_core_ir.dialects.builtin import ModuleOp
from iree_flow import compiler
from iree_flow.dialects import flow
from iree_flow.errors import FlowError
from iree_flow.functions import function_spec, public_functions
from iree_flow.session import Session
from iree_flow.verify_dispatches import DispatchCheck, Kernels, verify_dispatches
from iree_vm.artifact import FunctionSpec
from iree_vm.inputs import Input, check_inputs


@record(frozen=True)
class Source:
    """A module of phase ``dispatch-creation`` and the session that compiled it that far."""

    module: ModuleOp
    session: Session

    @staticmethod
    def compile(source: Any, **arguments: Any) -> Source:
        """``arguments``: those of ``iree_flow.compile``, which also says what is raised."""
        stopped = compiler.compile(source, compile_to="dispatch-creation", **arguments)
        return Source(stopped.module, stopped.session)

    @property
    def functions(self) -> list[FunctionSpec]:
        """What callers see. Raises FlowError 6 where there is nothing."""
        functions = [function_spec(op) for op in public_functions(self.module)]
        if not functions:
            raise FlowError(6, self.session.name)
        return functions

    @property
    def count(self) -> int:
        """How many distinct dispatches there are."""
        return sum(isinstance(op, flow.Executable) for op in self.module.regions[0].block)

    def checks(
        self,
        inputs: Sequence[np.ndarray[Any, Any]],
        function: str = "main",
        *,
        seed: int = 0,
        kernels: Kernels = "differing",
    ) -> Iterator[DispatchCheck]:
        """Run ``function`` on ``inputs`` in the interpreter and check each dispatch that it reaches.

        Raises VmError 22 or 23 for inputs that a call of the compiled function would refuse.
        """
        spec = next(spec for spec in self.functions if spec.name == function)
        for index, array in enumerate(inputs):
            Input(spec, index)(array)
        check_inputs(spec, {}, inputs)
        return verify_dispatches(
            self.module, self.session, inputs, function=function, seed=seed, kernels=kernels
        )


__all__ = ["Source"]
