"""What the ONNX standard says of its operators, as far as a node is checked against it.

``schemas.json`` holds it, one operator a line, because asking the package ``onnx`` means to import it, which
takes longer than reading a usual model. ``python -m iree_input_onnx.schemas`` writes that file from the
installed ``onnx``; a test compares the two.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iree_base.records import record

PATH = Path(__file__).with_name("schemas.json")


@record(frozen=True)
class AttributeSchema:
    """``type`` is an ``AttributeProto.AttributeType``; ``default`` None where there is none."""

    type: int
    required: bool
    default: Any


@record(frozen=True)
class Schema:
    """One definition of an operator, in force from operator set ``since_version`` on. ``has_body``: the
    standard gives a function body for it.
    """

    since_version: int
    min_input: int
    max_input: int
    max_output: int
    has_body: bool
    attributes: Mapping[str, AttributeSchema]


@functools.cache
def _definitions() -> dict[str, dict[str, list[list[Any]]]]:
    """Domain -> operator -> its definitions, oldest first, as ``facts`` gives them."""
    found: dict[str, dict[str, list[list[Any]]]] = json.loads(PATH.read_bytes())
    return found


@functools.cache
def find_schema(op_type: str, domain: str, opset: int) -> Schema | None:
    """The schema in force for an op in an opset version, or None."""
    found = None
    for row in _definitions().get(domain, {}).get(op_type, ()):
        if row[0] <= opset:
            found = row
    if found is None:
        return None
    since_version, min_input, max_input, max_output, has_body, attributes = found
    return Schema(
        since_version,
        min_input,
        max_input,
        max_output,
        has_body,
        {name: AttributeSchema(*row) for name, row in attributes.items()},
    )


def facts(schema: Any) -> list[Any]:
    """The row of an ``onnx.defs.OpSchema``."""
    from iree_input_onnx.messages import Attribute
    from iree_input_onnx.node import attribute_value

    attributes = {}
    for name, attribute in sorted(schema.attributes.items()):
        given = attribute.default_value
        default = attribute_value(Attribute.of(given)) if given.type else None
        attributes[name] = [int(attribute.type.value), bool(attribute.required), default]
    body = bool(schema.has_function or schema.has_context_dependent_function)
    return [
        schema.since_version,
        schema.min_input,
        schema.max_input,
        schema.max_output,
        body,
        attributes,
    ]


def installed() -> dict[str, dict[str, list[list[Any]]]]:
    """What ``_definitions`` should hold by the installed ``onnx``."""
    import onnx

    found: dict[str, dict[str, list[list[Any]]]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        found.setdefault(schema.domain, {}).setdefault(schema.name, []).append(facts(schema))
    return {
        domain: {name: sorted(rows, key=lambda row: int(row[0])) for name, rows in sorted(ops.items())}
        for domain, ops in sorted(found.items())
    }


def main() -> None:
    """Write ``schemas.json``."""
    domains = []
    for domain, ops in installed().items():
        lines = (f"{json.dumps(name)}: {json.dumps(rows)}" for name, rows in ops.items())
        domains.append(f"{json.dumps(domain)}: {{\n" + ",\n".join(lines) + "\n}")
    PATH.write_text("{" + ",\n".join(domains) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
