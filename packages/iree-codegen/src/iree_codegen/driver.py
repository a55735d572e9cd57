"""Compiles all dispatches of a module: through the cache, in this process and in workers.

Results do not depend on how many workers there are: a dispatch is compiled from its text and description
alone.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from iree_base.errors import IreeError
from iree_codegen.cache import CompileCache
from iree_codegen.errors import WORKER_CRASHED, WORKER_FAILED, CodegenError
from iree_codegen.worker import receive, send
from iree_core_ir.target import DispatchRequest, ExecutableObject, Target

Progress = Callable[[int, int, str], None]
"""``progress(done, total, name)``."""

WORTH_A_WORKER = 12
"""Dispatches per worker below which starting it (half a second of imports) costs more than it saves."""


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compile_all(
    target: Target,
    requests: Sequence[DispatchRequest],
    jobs: int | None = None,
    cache: bool | CompileCache = True,
    progress: Progress | None = None,
) -> list[ExecutableObject]:
    """One object per request, in order. Raises the first request's error (in request order).

    ``jobs``: processes that compile at once, this one included; None: one per core.
    """
    store = cache if isinstance(cache, CompileCache) else CompileCache() if cache else None
    results: list[ExecutableObject | None] = [None] * len(requests)
    done = 0
    keys = [""] * len(requests)
    missing: list[int] = []
    if store is not None:
        involved = [
            "iree-base",
            "iree-codegen",
            "iree-core-ir",
            "iree-hal",
            *getattr(target, "distributions", ()),
        ]
        for i, request in enumerate(requests):
            keys[i] = store.key(request, involved)
            found = store.get(keys[i])
            if found is None:
                missing.append(i)
                continue
            results[i] = replace(found, report={**found.report, "cached": True})
            done += 1
            if progress is not None:
                progress(done, len(requests), request.name)
    else:
        missing = list(range(len(requests)))
    if not missing:
        return [r for r in results if r is not None]

    def finished(i: int, compiled: ExecutableObject) -> None:
        nonlocal done
        results[i] = compiled
        done += 1
        if store is not None:
            store.put(keys[i], compiled)
        if progress is not None:
            progress(done, len(requests), requests[i].name)

    isolated = bool(
        getattr(target, "needs_worker", lambda description: False)(requests[missing[0]].description)
    )
    n = available_cores() if jobs is None else jobs
    n_workers = min(n - 1, len(missing) // WORTH_A_WORKER)
    if isolated:
        n_workers = max(1, min(n, len(missing)))
    _Compilation(target, requests, missing, finished).run(n_workers, own=not isolated)
    if store is not None:
        store.trim()
    return [r for r in results if r is not None]


class _Compilation:
    """Shares the missing requests between this process and workers."""

    def __init__(
        self,
        target: Target,
        requests: Sequence[DispatchRequest],
        missing: Sequence[int],
        finished: Callable[[int, ExecutableObject], None],
    ) -> None:
        self.target = target
        self.requests = requests
        # Long ones first would need a cost model; text length is a good one.
        self.queue = sorted(missing, key=lambda i: (len(requests[i].text), -i))
        self.finished = finished
        self.lock = threading.Lock()
        self.errors: dict[int, Exception] = {}

    def run(self, n_workers: int, *, own: bool) -> None:
        threads = [threading.Thread(target=self._serve_worker, daemon=True) for _ in range(n_workers)]
        for thread in threads:
            thread.start()
        if own:
            while (i := self._next()) is not None:
                try:
                    compiled = self.target.compile_dispatch(self.requests[i])
                except IreeError as error:
                    self._fail(i, error)
                else:
                    with self.lock:
                        self.finished(i, compiled)
        for thread in threads:
            thread.join()
        if self.errors:
            raise self.errors[min(self.errors)]

    def _next(self) -> int | None:
        with self.lock:
            return self.queue.pop() if self.queue and not self.errors else None

    def _fail(self, i: int, error: Exception) -> None:
        with self.lock:
            self.errors[i] = error

    def _serve_worker(self) -> None:
        first = self._next()
        if first is None:
            return
        import subprocess

        worker = subprocess.Popen(
            [sys.executable, "-m", "iree_codegen.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        noise: list[bytes] = []
        assert worker.stdin is not None and worker.stdout is not None and worker.stderr is not None
        reader = threading.Thread(target=_drain, args=(worker.stderr, noise), daemon=True)
        reader.start()
        i: int | None = first
        try:
            while i is not None:
                answer = self._ask(worker, i)
                if answer is None:
                    worker.wait()
                    reader.join(1.0)
                    self._fail(i, self._crash(i, worker.returncode, b"".join(noise)))
                    return
                _, compiled, error = answer
                if isinstance(error, Exception):
                    self._fail(i, error)
                elif error is not None:
                    self._fail(
                        i, CodegenError(WORKER_FAILED, self.requests[i].name, cause=str(error).strip())
                    )
                else:
                    with self.lock:
                        self.finished(i, compiled)
                i = self._next()
        finally:
            worker.stdin.close()
            worker.wait()
            worker.stdout.close()
            reader.join(1.0)
            worker.stderr.close()

    def _ask(self, worker: Any, i: int) -> Any:
        try:
            send(worker.stdin, (i, self.target, self.requests[i]))
            return receive(worker.stdout)
        except OSError:
            return None

    def _crash(self, i: int, code: int, noise: bytes) -> CodegenError:
        lines = noise.decode(errors="replace").strip().splitlines()
        cause = lines[0] if lines else f"exit status {code}"
        return CodegenError(
            WORKER_CRASHED,
            f"'{self.requests[i].name}'",
            cause=cause,
            hint="report it with the dispatch's IR (IREE_DEBUG=3)",
        )


def _drain(stream: Any, into: list[bytes]) -> None:
    while chunk := stream.read(4096):
        into.append(chunk)
        del into[:-16]
