"""A target for the driver's tests: "compiles" text to itself, fails or dies on request."""

from __future__ import annotations

import os
from typing import Any

from iree_codegen.errors import UNSUPPORTED_OP, CodegenError
from iree_core_ir.target import DispatchRequest, ExecutableObject, ExportObject


class FakeTarget:
    name = "fake"
    driver = "fake"
    format = "fake"

    def __init__(self, isolated: bool = False) -> None:
        self.isolated = isolated
        self.compiled: list[str] = []

    def needs_worker(self, description: Any) -> bool:
        return self.isolated

    def compile_dispatch(self, request: DispatchRequest) -> ExecutableObject:
        self.compiled.append(request.name)
        if "abort" in request.text:
            os.write(2, b"LLVM ERROR: cannot select\n")
            os.abort()
        if "fail" in request.text:
            raise CodegenError(UNSUPPORTED_OP, request.name)
        if "bug" in request.text:
            raise ZeroDivisionError("a bug")
        if "noise" in request.text:
            print("this must not reach the pipe")
        export = ExportObject(request.name, (), 0, (["const", 1], ["const", 1], ["const", 1]))
        return ExecutableObject(request.text.encode(), (export,))
