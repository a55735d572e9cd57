"""Compile worker: ``python -m iree_codegen.worker`` reads requests from stdin and answers on stdout.

A message is an 8-byte length and a pickle; both ends are the same installation. LLVM holds a global lock
and may abort the process for foreign targets, so parallel and cross compilation happen here.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import IO, Any

from iree_base.errors import IreeError


def send(stream: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message)
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message; None at the end of the stream."""
    head = stream.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "little")
    data = stream.read(size)
    return None if len(data) < size else pickle.loads(data)


def main() -> None:
    """Serve until stdin closes. Whatever else writes to stdout goes to stderr instead."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdin = open(os.devnull)  # noqa: SIM115
    while (message := receive(requests)) is not None:
        number, target, request = message
        try:
            send(answers, (number, target.compile_dispatch(request), None))
        except IreeError as error:
            send(answers, (number, None, error))
        except Exception:
            import traceback

            send(answers, (number, None, traceback.format_exc()))


if __name__ == "__main__":
    main()
