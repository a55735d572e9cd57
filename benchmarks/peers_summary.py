"""Entries of ``peers.py`` -> ratios, and what is asked of them.

A ratio is a peer's time over ours, above 1 where ours is faster. Means are geometric.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines import BEST_OF, ENGINES
from zoo import FAMILIES, INT8

TOLERANCE = 1e-4
"""The largest error against onnxruntime with which an f32 engine's figures count."""
NAN = float("nan")


@dataclass
class Cell:
    """One engine on one model. Times are medians a call; ``nan`` is what was not measured."""

    failure: str = ""
    cpu_us: float = NAN
    cpu_min_us: float = NAN
    wall_us: float = NAN
    quiet_wall_us: float = NAN
    quiet_samples: int = 0
    cold_s: float = NAN
    cold_cpu_s: float = NAN
    peak_bytes: int = 0
    compile_cpu_s: float = NAN
    compile_peak_bytes: int = 0
    artifact_bytes: int = 0
    error: float = NAN
    error_float64: float = NAN

    def clear_times(self) -> None:
        """Forget what depends on the number of threads."""
        self.cpu_us = self.cpu_min_us = self.wall_us = self.quiet_wall_us = NAN
        self.cold_s = self.cold_cpu_s = NAN


def counts(name: str, cell: Mapping[str, Any], family: str = "") -> bool:
    """Whether the figures of this engine are those of a right answer. In int8, ties round as they like."""
    if cell["failure"]:
        return False
    exact = ENGINES[name].precision in ("f32", "highest") and family != INT8
    return not exact or not cell["error"] > TOLERANCE


def time_of(entry: Mapping[str, Any], name: str, key: str) -> float:
    """``key`` of an engine, ``nan`` where it has none that counts."""
    cell = entry["engines"].get(name)
    return float(cell[key]) or NAN if cell is not None and counts(name, cell, entry["family"]) else NAN


def best(entry: Mapping[str, Any], key: str, names: Sequence[str] = BEST_OF) -> tuple[str, float]:
    """The fastest of ``names`` and its time; ``("", nan)`` if none has one."""
    times = {name: time_of(entry, name, key) for name in names}
    known = {name: value for name, value in times.items() if value == value}
    if not known:
        return "", NAN
    name = min(known, key=lambda n: known[n])
    return name, known[name]


def ratio(entry: Mapping[str, Any], key: str, engine: str = "ours", names: Sequence[str] = BEST_OF) -> float:
    """The best of ``names`` over ``engine``; ``nan`` where either is missing."""
    return best(entry, key, names)[1] / time_of(entry, engine, key)


def mean(values: Sequence[float]) -> float:
    """The geometric mean of those that are numbers; ``nan`` if none is."""
    known = [value for value in values if value == value]
    return math.exp(statistics.fmean(math.log(value) for value in known)) if known else NAN


def summarize(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each number of threads, ratios by model, class and over all; comparisons beside."""
    result: dict[str, Any] = {}
    for threads in sorted({entry["threads"] for entry in entries}):
        both = [entry for entry in entries if entry["threads"] == threads]
        some = [entry for entry in both if entry["family"] != INT8]
        quantized = [entry for entry in both if entry["family"] == INT8]
        key = "cpu_us" if threads == 1 else "quiet_wall_us"
        parts = {
            "f32": ratios(some, key),
            "all_rounds_wall": ratios(some, "wall_us"),
            "high": ratios(some, key, "ours-high"),
            "medium": ratios(some, key, "ours-medium", ("openvino",)),
            "int8": ratios(quantized, key, names=("onnxruntime", "openvino-f32", "openvino")),
            "cold": ratios(some, "cold_s", names=("onnxruntime",)),
            "peak": ratios(some, "peak_bytes", names=("onnxruntime",)),
        }
        result[str(threads)] = {name: part for name, part in parts.items() if part["models"]}
    return result


def ratios(
    entries: Sequence[Mapping[str, Any]], key: str, engine: str = "ours", names: Sequence[str] = BEST_OF
) -> dict[str, Any]:
    """``{"models": {name: {"ratio", "peer"}}, "families": {...}, "all", "worst", "missing"}``."""
    models: dict[str, dict[str, Any]] = {}
    missing: list[str] = []
    for entry in entries:
        value = ratio(entry, key, engine, names)
        if value == value:
            models[entry["model"]] = {"ratio": value, "peer": best(entry, key, names)[0]}
        elif engine in entry["engines"]:
            missing.append(entry["model"])
    families = {
        family: mean(
            [models[e["model"]]["ratio"] for e in entries if e["family"] == family and e["model"] in models]
        )
        for family in FAMILIES
    }
    return {
        "models": models,
        "families": {family: value for family, value in families.items() if value == value},
        "all": mean([entry["ratio"] for entry in models.values()]),
        "worst": min(models, key=lambda name: models[name]["ratio"], default=""),
        "missing": missing,
    }
