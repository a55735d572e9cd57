"""A check of a dispatch <-> a test that repeats it: ``name.mlir``, ``name.npz`` and ``test_name.py``.

The IR is the dispatch function's module with its locations, the archive holds the arguments (``arg0`` ...),
the test says target and options and runs ``check_saved`` under pytest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import iree_hal
from iree_base.element_types import element_type
from iree_core_ir.dialects.func import FuncOp
from iree_core_ir.ir.types import IndexType, TensorType
from iree_core_ir.text.parser import parse_module, parse_type
from iree_flow.errors import FlowError
from iree_flow.options import CompileOptions
from iree_flow.session import Session
from iree_flow.verify_dispatches import DispatchCall, DispatchCheck, verify_call

_TEST = '''"""{title}

Saved by `iree verify`; {name}.mlir is the dispatch, {name}.npz holds its arguments.
"""

from pathlib import Path

from iree_flow.saved_dispatch import check_saved


def test_{name}() -> None:
    check = check_saved(
        Path(__file__).with_name("{name}.mlir"),
        target={target!r},
        target_options={options!r},
        packed_types={packed!r},
    )
    assert check.ok, "\\n".join(check.failures)
'''


def save(check: DispatchCheck, folder: Path, session: Session) -> Path:
    """Write ``check``, made in ``session``, as a test in ``folder``; the test's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{check.name}.mlir"
    path.write_text(check.text.rstrip("\n") + "\n", encoding="utf-8")
    arrays: dict[str, Any] = {f"arg{i}": np.asarray(a) for i, a in enumerate(check.arguments)}
    np.savez(path.with_suffix(".npz"), **arrays)
    test = folder / f"test_{check.name}.py"
    text = _TEST.format(
        title=" ".join((check.failures[0] if check.failures else f"{check.name}: no difference").split()),
        name=check.name,
        target=session.target.name,
        options=dict(session.options.target_options),
        packed={i: str(type) for i, type in check.packed_types.items()},
    )
    test.write_text(text, encoding="utf-8")
    return test


def check_saved(
    path: Path,
    *,
    target: str,
    target_options: Mapping[str, str] | None = None,
    packed_types: Mapping[int, str] | None = None,
) -> DispatchCheck:
    """Repeat the check that was saved at ``path`` (``.mlir``) on the arguments saved beside it.

    Raises FlowError 1 when one of the files is missing, and the target's errors.
    """
    archive = path.with_suffix(".npz")
    for file in (path, archive):
        if not file.is_file():
            raise FlowError(1, str(file), cause="there is no such file", hint="save it with iree verify")
    module = parse_module(path.read_text(encoding="utf-8"), path.name)
    function = next(op for op in module.regions[0].block if isinstance(op, FuncOp))
    with np.load(archive, allow_pickle=False) as arrays:
        saved = [arrays[f"arg{i}"] for i in range(len(arrays.files))]
    arguments = [_argument(a, arg.type) for a, arg in zip(saved, function.regions[0].block.args, strict=True)]
    session = Session(CompileOptions(target=(target,), target_options=dict(target_options or {})))
    session.load_targets()
    device = iree_hal.create_device(session.target.driver, threads=1, verify=True)
    packed: dict[int, Any] = {i: parse_type(text) for i, text in (packed_types or {}).items()}
    return verify_call(DispatchCall(module, function, arguments, packed), session, device, redraw=False)


def _argument(array: np.ndarray[Any, Any], type: Any) -> Any:
    """A saved argument: numpy writes types of ml-dtypes without their name, and scalars as arrays."""
    if isinstance(type, IndexType):
        return int(array)
    element = type.element_type if isinstance(type, TensorType) else type
    dtype = element_type(str(element)).dtype
    array = array if array.dtype == dtype else array.view(dtype)
    return array if isinstance(type, TensorType) else array[()]


__all__ = ["check_saved", "save"]
