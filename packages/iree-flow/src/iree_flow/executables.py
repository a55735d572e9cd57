"""Phase ``executable``: every ``flow.executable`` is compiled by its target and replaced by its binary."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from iree_codegen.dispatch import Dispatch
from iree_codegen.dispatch_work import work_of
from iree_codegen.driver import compile_all
from iree_codegen.errors import CodegenError
from iree_core_ir.dialects.builtin import ModuleOp
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.attributes import (
    ArrayAttr,
    Attribute,
    DenseArrayAttr,
    DenseResourceAttr,
    IntegerAttr,
    StringAttr,
)
from iree_core_ir.ir.location import FusedLoc, Location
from iree_core_ir.ir.operation import Block, Region
from iree_core_ir.ir.types import TensorType, i8, i64
from iree_core_ir.target import DispatchRequest, ExecutableObject
from iree_core_ir.text.printer import print_op
from iree_flow.chosen_description import description_of, executable_format
from iree_flow.dialects import flow
from iree_flow.report import DispatchRow
from iree_flow.session import Session
from iree_hal.compiler import dialect as hal


def compile_executables(module: ModuleOp, session: Session) -> None:
    """Compile all executables of ``module``; raises the target's error naming the dispatch."""
    executables = [op for op in module.regions[0].block if isinstance(op, flow.Executable)]
    requests = [_request(op, session) for op in executables]
    objects = compile_all(
        session.target,
        requests,
        jobs=session.options.jobs,
        cache=session.options.cache,
        progress=lambda done, total, text: session.progress("kernel", done, total, text),
    )
    for op, compiled in zip(executables, objects, strict=True):
        binary = _binary(op, compiled, session)
        assert op.parent is not None
        op.parent.insert_before(binary, op)
        op.erase()


def _request(op: flow.Executable, session: Session) -> DispatchRequest:
    function = op.function
    name: Any = function.attributes["sym_name"]
    text = print_op(op.module, locations=False)
    description = description_of(op, session.target, session.description)
    return DispatchRequest(name.value, text, description, {})


def sources(location: Location) -> list[str]:
    """The user's nodes behind a location, in order."""
    parts = location.locations if isinstance(location, FusedLoc) else (location,)
    return list(dict.fromkeys(part.user_text() for part in parts))


def _work(function: FuncOp) -> dict[str, Any]:
    """Operations and bytes of a dispatch; nothing for one that says too little of its sizes."""
    try:
        dispatch = Dispatch(function)
        return dict(work_of(dispatch).numbers(dispatch))
    except CodegenError:
        return {}


def _binary(op: flow.Executable, compiled: ExecutableObject, session: Session) -> hal.ExecutableBinary:
    name: Any = op.attributes["sym_name"]
    key = session.constants.add_array(np.frombuffer(compiled.data, np.int8), "i8", key=f"{name.value}.object")
    nodes = sources(op.location)
    strategy = str(compiled.report.get("strategy", ""))
    why = str(compiled.report.get("why", ""))
    work = StringAttr(json.dumps(_work(op.function)))
    body = Block()
    for export in compiled.exports:
        own: dict[str, Attribute] = {}
        if export.workspace is not None:
            own["workspace"] = StringAttr(json.dumps(export.workspace))
        body.append(
            hal.ExecutableExport(
                attributes={
                    "work": work,
                    "sym_name": StringAttr(export.name),
                    "scratch_bytes": IntegerAttr(export.scratch_bytes, i64),
                    "n_constants": IntegerAttr(export.n_constants, i64),
                    "bindings": ArrayAttr([StringAttr(b) for b in export.bindings]),
                    "alignments": DenseArrayAttr(i64, export.alignments),
                    "workgroup_count": StringAttr(json.dumps(list(export.workgroup_count))),
                    "sources": ArrayAttr([StringAttr(n) for n in nodes]),
                    "strategy": StringAttr(strategy),
                    "why": StringAttr(why),
                    **own,
                },
                location=op.location,
            )
        )
    session.report.dispatches.append(
        DispatchRow(
            compiled.exports[0].name,
            session.target.name,
            strategy,
            why,
            nodes,
            len(compiled.data),
            bool(compiled.report.get("cached", False)),
        )
    )
    attributes: dict[str, Attribute] = {
        "sym_name": name,
        "target": StringAttr(session.target.name),
        "format": StringAttr(executable_format(session.target, session.description)),
        "features": ArrayAttr([StringAttr(f) for f in compiled.features]),
        "data": DenseResourceAttr(key, TensorType([len(compiled.data)], i8)),
    }
    return hal.ExecutableBinary(attributes=attributes, regions=[Region([body])], location=op.location)
