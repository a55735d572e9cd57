"""Processes of ``engines.py`` as ``peers.py`` holds them: one an engine, stopped in the turns of others."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 160
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "IREE_DEBUG", "IREE_VERIFY", "PYTHONDONTWRITEBYTECODE")
"""Settings that slow one side down: an installed package has its bytecode beside it, a checkout too after a
first import that may write it."""
SCRIPT = Path(__file__).with_name("engines.py")


class Failure(Exception):
    """Why an engine has no figures, in one line that fits a table."""

    def __init__(self, text: str) -> None:
        words = " ".join(text.split())
        super().__init__(words if len(words) <= LONGEST else words[: LONGEST - 3] + "...")


def environment(threads: int, cache: Path) -> dict[str, str]:
    """The caller's, with what would slow one side down taken out and pools of the right size."""
    result = dict(os.environ)
    for name in UNWANTED:
        result.pop(name, None)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        result[name] = str(threads)
    result["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "inductor")
    return result


class Watch:
    """Sums what a process and its children hold resident, until it ends."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self.peak_bytes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        page = resource.getpagesize()
        while not self._ended.wait(0.005):
            held = 0
            for pid in (self._pid, *children(self._pid)):
                try:
                    held += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                except (OSError, IndexError):
                    continue
            self.peak_bytes = max(self.peak_bytes, held * page)

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return self.peak_bytes


def children(pid: int) -> list[int]:
    """The processes that ``pid`` started, those they started not among them."""
    found = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        pass
    return found


@dataclass(frozen=True)
class Finished:
    """What a process took, those it waited for included, and what it printed."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], settings: Mapping[str, str]) -> Finished:
    """Run ``command`` in the environment ``settings``. Raises Failure with the last line of its errors."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=settings)
        watch = Watch(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        peak = watch.end()  # not ru_maxrss, in which what started the process counts
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - start
        if process.returncode:
            errors.seek(0)
            raise Failure(_last_line(errors.read(), process.returncode))
        output.seek(0)
        return Finished(usage.ru_utime + usage.ru_stime, wall, peak, output.read())


@dataclass(frozen=True)
class Build:
    """What compiling ahead of time took: CPU seconds and peak bytes, worker processes included."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    artifact_bytes: int


def build(
    engine: str, onnx: Path, artifact: Path, cache: Path, shapes: Mapping[str, Sequence[int]] | None = None
) -> Build:
    """Compile ``onnx`` in a process of its own. Raises Failure with the last line it printed."""
    command = [
        sys.executable,
        str(SCRIPT),
        "build",
        engine,
        str(onnx),
        str(artifact),
        json.dumps(shapes or {}),
    ]
    done = run(command, environment(1, cache))
    return Build(done.cpu_s, done.wall_s, done.peak_bytes, artifact.stat().st_size)


def _last_line(text: str, code: int) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return lines[-1] if lines else f"exit status {code}"


class Worker:
    """A process that answers requests, one line each; a context manager that ends it."""

    def __init__(self, arguments: Sequence[str], threads: int, cache: Path, patience: float = 900) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            env=environment(threads, cache),
        )
        try:
            self.first = self.receive(patience)
        except BaseException:
            self.close()
            raise
        self.cold_s = self.first["ready"] - self._started

    @classmethod
    def serving(cls, engine: str, settings: Mapping[str, Any], patience: float = 900) -> Worker:
        """One that has loaded a model and run it once."""
        arguments = ["serve", engine, json.dumps(settings)]
        return cls(arguments, int(settings["threads"]), Path(settings["cache"]), patience)

    def ask(self, request: str, patience: float = 300) -> dict[str, Any]:
        """Send one request, return the answer. Raises Failure."""
        self.send(request)
        return self.receive(patience)

    def send(self, request: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request + "\n")
        except BrokenPipeError:
            raise Failure(self._why()) from None

    def receive(self, patience: float = 300) -> dict[str, Any]:
        """The next answer. Raises Failure."""
        output = self._process.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            if not selector.select(patience):
                raise Failure(f"no answer in {patience:.0f} s")
        line = output.readline()
        if not line:
            raise Failure(self._why())
        answer: dict[str, Any] = json.loads(line)
        if "failure" in answer:
            raise Failure(answer["failure"])
        return answer

    def _why(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        return _last_line(self._errors.read(), code)

    def pause(self) -> None:
        """Keep its threads from spinning while others are measured."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def tasks(self) -> list[int]:
        """The numbers of its threads."""
        return [int(name) for name in os.listdir(f"/proc/{self._process.pid}/task")]

    def move(self, core: int) -> None:
        """Have all its threads run on ``core``."""
        for task in self.tasks():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, {core})

    def close(self) -> None:
        self.resume()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Quiet:
    """Spin probes on cores: says whether the machine was this process's alone.

    All cores count, and are probed at once. With ``shared`` one counts, which everybody measured shares:
    ``core``, the fastest when it was chosen.
    """

    def __init__(
        self, cores: Sequence[int], cache: Path, shared: bool = False, milliseconds: float = 10
    ) -> None:
        self.shared = shared
        self.core: int | None = None
        self.best = [0.0] * (1 if shared else len(cores))
        self._milliseconds = milliseconds
        self._workers = {core: Worker(["spin", str(core)], 1, cache) for core in cores}

    def rates(self, choose: bool = True) -> list[float]:
        """Of what counts; remembers the best. ``choose``: a shared core is chosen anew."""
        if self.shared:
            # One after the other: two cores may be halves of one.
            if choose or self.core is None:
                by_core = {core: self._probe([core])[0] for core in self._workers}
                self.core = max(by_core, key=lambda core: by_core[core])
                found = [by_core[self.core]]
            else:
                found = self._probe([self.core])
        else:
            found = self._probe(list(self._workers))
        self.best = [max(pair) for pair in zip(self.best, found, strict=True)]
        return found

    def _probe(self, cores: Sequence[int]) -> list[float]:
        for core in cores:
            self._workers[core].send(f"spin {self._milliseconds}")
        return [float(self._workers[core].receive()["rate"]) for core in cores]

    def reached(self, rates: Sequence[float], share: float = 0.95) -> bool:
        """Whether each of ``rates`` is at least ``share`` of its best until now."""
        return all(rate >= share * best for rate, best in zip(rates, self.best, strict=True))

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
