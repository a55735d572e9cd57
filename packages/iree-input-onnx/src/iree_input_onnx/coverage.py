"""Writes the op coverage page: ``python -m iree_input_onnx.coverage [--check] docs/onnx-coverage.md``.

The page is made of the lowering table, the standard's schemas and the outcomes of ONNX's node cases, so it
says what is, not what is planned. Running the cases needs ``onnx`` with its test data and a minute.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx

from iree_input_onnx.conformance import CONSTANT_INPUTS, MODES, Outcome, run_cases
from iree_input_onnx.control_flow import LOWERINGS, NOTES
from iree_input_onnx.reader import NEWEST_OPSET, OLDEST_OPSET
from iree_input_onnx.table import find, table

LOWERED, INLINED, MISSING = "lowered", "standard body", "not yet"

_HEAD = """\
# ONNX operators

Made by `python -m iree_input_onnx.coverage docs/onnx-coverage.md`; do not edit. Operator sets {oldest} to
{newest} of the standard (onnx {onnx}), domain `ai.onnx`. Of {total} operators {lowered} are lowered by their
own rule in `iree_input_onnx/ops`, {inlined} through the function body that the standard gives, {missing} not
yet. A model that uses anything else is refused at once, with all such nodes listed.

Not supported anywhere: strings, sequences, optionals, float4, float8e8m0, 2-bit integers; training mode.

Cases are ONNX's own node tests, run through the numpy meaning of the imported IR, with small inputs (shapes,
axes, scales) as constants: {passed} of {cases} pass, {unsupported} use something unsupported, {wrong} differ
by decision (see `tests/test_conformance.py` of the package). {modes}

| operator | definitions | how | cases | limits |
|---|---|---|---|---|
"""


def definitions() -> dict[str, list[Any]]:
    """Operator -> its schemas from the oldest opset on, oldest first."""
    found: dict[str, list[Any]] = defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name].append(schema)
    result = {}
    for name, schemas in sorted(found.items()):
        schemas.sort(key=lambda s: s.since_version)
        before = [s for s in schemas if s.since_version <= OLDEST_OPSET]
        result[name] = before[-1:] + [s for s in schemas if s.since_version > OLDEST_OPSET]
    return result


def how(name: str, schemas: Sequence[Any]) -> str:
    """How the newest definition of an op is handled."""
    if name in LOWERINGS or find("", name, schemas[-1].since_version) is not None:
        return LOWERED
    newest = schemas[-1]
    return INLINED if newest.has_function or newest.has_context_dependent_function else MISSING


def row(name: str, schemas: Sequence[Any], outcomes: Iterable[Outcome]) -> str:
    entry = table().get(("", name))
    mine = [o for o in outcomes if o.op == name]
    passed = sum(o.status == "pass" for o in mine)
    cases = f"{passed} / {len(mine)}" if mine else ""
    notes = entry.notes if entry is not None else ""
    notes = NOTES.get(name, notes)
    versions = " ".join(str(s.since_version) for s in schemas)
    return f"| {name} | {versions} | {how(name, schemas)} | {cases} | {notes} |"


def page() -> str:
    """The whole page."""
    outcomes = {mode: list(run_cases(mode)) for mode in MODES}
    main = outcomes[CONSTANT_INPUTS]
    ops = definitions()
    ways = [how(name, schemas) for name, schemas in ops.items()]
    counts = {status: sum(o.status == status for o in main) for status in ("pass", "unsupported", "wrong")}
    others = [
        f"{sum(o.status == 'pass' for o in outcomes[mode])} pass {text}"
        for mode, text in (
            (MODES[0], "as they are written"),
            (MODES[2], "with every input dimension unknown"),
        )
    ]
    head = _HEAD.format(
        oldest=OLDEST_OPSET,
        newest=NEWEST_OPSET,
        onnx=onnx.__version__,
        total=len(ops),
        lowered=ways.count(LOWERED),
        inlined=ways.count(INLINED),
        missing=ways.count(MISSING),
        cases=len(main),
        passed=counts["pass"],
        unsupported=counts["unsupported"],
        wrong=counts["wrong"],
        modes="; ".join(others) + ".",
    )
    return head + "\n".join(row(name, schemas, main) for name, schemas in ops.items()) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write (or check) the ONNX op coverage page.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    arguments = parser.parse_args()
    text = page()
    if arguments.check:
        return int(not arguments.path.exists() or arguments.path.read_text(encoding="utf-8") != text)
    arguments.path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
