"""Tell what files are by their bytes: magika's trained model, compiled, run by iree_vm.

    pip download --no-deps magika==1.0.3 && unzip magika-*.whl 'magika/models/*' 'magika/config/*'
    iree compile magika/models/standard_v3_3/model.onnx -o magika.vmfb
    python examples/classify_files.py --artifact magika.vmfb --magika magika examples/files/*

``--magika`` is the unpacked ``magika`` folder of the wheel; only its JSON files are read (and its model, to
ask onnxruntime for the same answers, where that is installed). What a file is turned into before the model
sees it, and how its answer becomes a label, are magika's own rules, written out below.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Classifier = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
"""``int32[batch, 2048] -> float32[batch, 214]``: the model, whoever runs it."""


@dataclass(frozen=True)
class Answer:
    """``label`` is what magika would print; ``score`` and ``microseconds`` are the model's (0 calls: nan)."""

    label: str
    score: float
    microseconds: float


@dataclass(frozen=True)
class Magika:
    """The wheel's JSON: ``config`` says how files are read, ``kinds`` describes each label."""

    config: dict[str, Any]
    kinds: dict[str, dict[str, Any]]
    model: Path

    @classmethod
    def open(cls, folder: Path) -> Magika:
        """Read the configuration below ``folder`` (the wheel's ``magika`` folder)."""
        model = folder / "models" / "standard_v3_3"
        config = json.loads((model / "config.min.json").read_text())
        kinds = json.loads((folder / "config" / "content_types_kb.min.json").read_text())
        if config["mid_size"] or config["use_inputs_at_offsets"]:
            raise SystemExit("this magika model reads parts of files that this example does not extract")
        return cls(config, kinds, model / "model.onnx")

    def features(self, path: Path) -> np.ndarray[Any, Any] | None:
        """The first and last bytes of the file as ``int32[2048]``, or None when there are too few to tell.

        Of at most one block from either end, white space is stripped from the outer side; what is missing
        is filled with the padding token, after the beginning and before the end.
        """
        config = self.config
        beg_size, end_size, padding = config["beg_size"], config["end_size"], config["padding_token"]
        size = path.stat().st_size
        if size < config["min_file_size_for_dl"]:
            return None
        block = min(config["block_size"], size)
        with path.open("rb") as stream:
            beginning = stream.read(block).lstrip()[:beg_size]
            stream.seek(size - block)
            ending = stream.read(block).rstrip()[-end_size:]
        if len(beginning) < config["min_file_size_for_dl"]:
            return None
        values = np.full(beg_size + end_size, padding, np.int32)
        values[: len(beginning)] = np.frombuffer(beginning, np.uint8)
        values[beg_size + end_size - len(ending) :] = np.frombuffer(ending, np.uint8)
        return values

    def label(self, scores: np.ndarray[Any, Any]) -> tuple[str, float]:
        """The answer for one row of scores: its best label, or a generic one when it is not sure enough."""
        config = self.config
        best = int(scores.argmax())
        name, score = config["target_labels_space"][best], float(scores[best])
        label = config["overwrite_map"].get(name, name)
        if score < config["thresholds"].get(name, config["medium_confidence_threshold"]):
            label = "txt" if self.kinds[label]["is_text"] else "unknown"
        return label, score

    def short(self, path: Path) -> str:
        """The label of a file that the model is not asked about."""
        content = path.read_bytes()[: self.config["block_size"]]
        if not content:
            return "empty"
        try:
            content.decode()
        except UnicodeDecodeError:
            return "unknown"
        return "txt"

    def classify(self, path: Path, run: Classifier, seconds: float) -> Answer:
        """Ask ``run`` about one file; the time is the median of as many calls as fit into ``seconds``."""
        values = self.features(path)
        if values is None:
            return Answer(self.short(path), 1.0, float("nan"))
        batch = values[None]
        scores = run(batch)[0]
        times: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(times) < 3 or time.perf_counter() < deadline:
            start = time.perf_counter_ns()
            run(batch)
            times.append((time.perf_counter_ns() - start) / 1000)
        return Answer(*self.label(scores), statistics.median(times))


def compiled(artifact: Path, device: str | None = None, threads: int | None = None) -> Classifier:
    """The model as our runtime runs it."""
    import iree_vm

    main = iree_vm.load(artifact, device=device, threads=threads).main

    def run(batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(main(batch))

    return run


def onnxruntime(model: Path, threads: int | None = None) -> Classifier | None:
    """The model as onnxruntime runs it, or None where that is not installed."""
    try:
        import onnxruntime as ort
    except ImportError:
        return None
    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(session.run(None, {"bytes": batch})[0])

    return run


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first two to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    left = {i for i, title in enumerate(header) if title in ("file", "type", "onnxruntime")}

    def line(row: Sequence[str]) -> str:
        cells = (
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *(line(row) for row in rows)])


def cells(answer: Answer) -> list[str]:
    time_cell = "-" if answer.microseconds != answer.microseconds else f"{answer.microseconds:.0f}"
    return [answer.label, f"{answer.score:.3f}", time_cell]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--artifact", type=Path, help="the compiled model; left out: onnxruntime only")
    parser.add_argument("--magika", type=Path, required=True, help="the magika folder of the wheel")
    parser.add_argument("--device", help="the runtime driver (default: what the artefact was compiled for)")
    parser.add_argument("--threads", type=int, help="cap for both runtimes (default: all cores)")
    parser.add_argument("--seconds", type=float, default=0.1, help="spent on timing, per file and runtime")
    options = parser.parse_args(arguments)

    magika = Magika.open(options.magika)
    runs: dict[str, Classifier] = {}
    if options.artifact is not None:
        runs["iree"] = compiled(options.artifact, options.device, options.threads)
    peer = onnxruntime(magika.model, options.threads) if magika.model.exists() else None
    if peer is not None:
        runs["onnxruntime"] = peer
    if not runs:
        parser.error("nothing to run the model with: give --artifact")

    titles = {"iree": ["type", "score", "us/call"], "onnxruntime": ["onnxruntime", "score", "us/call"]}
    header = ["file", *(title for name in runs for title in titles[name])]
    rows, differing = [], []
    for path in sorted(p for p in options.files if p.is_file()):
        answers = [magika.classify(path, run, options.seconds) for run in runs.values()]
        rows.append([path.name, *(cell for answer in answers for cell in cells(answer))])
        if len({answer.label for answer in answers}) > 1 or np.ptp([a.score for a in answers]) > 1e-3:
            differing.append(path.name)
    print(table(header, rows))
    if differing:
        print(f"\nthe two runtimes disagree on: {', '.join(differing)}")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
