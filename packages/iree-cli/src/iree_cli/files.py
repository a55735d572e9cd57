"""Files that appear whole or not at all, and whose failures are coded."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from iree_cli.errors import CliError


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to read ``path`` into CliError 2."""
    try:
        yield
    except OSError as error:
        raise CliError(2, str(path), cause=error.strerror or str(error), hint=read_hint(error)) from error


def read_hint(error: OSError) -> str:
    """What to do about a file that cannot be read."""
    return "check its permissions" if isinstance(error, PermissionError) else "check the path"


def check_readable(path: Path) -> None:
    """Raise CliError 2 unless ``path`` is a file that can be opened."""
    with reading(path):
        path.open("rb").close()


def check_writable(path: Path) -> None:
    """Raise CliError 3 when ``path`` cannot be written, before any work is spent on what goes there."""
    folder = path.parent
    if not folder.is_dir():
        raise CliError(3, str(path), cause=f"there is no folder {folder}", hint=f"mkdir -p {folder}")
    if path.is_dir():
        raise CliError(3, str(path), cause="it is a folder", hint="give the name of a file in it")
    if path.exists() and not path.is_file():
        # Renaming would put a file in the place of a device.
        raise CliError(3, str(path), cause="it is a device or a pipe", hint="give the name of a file")
    if not os.access(folder, os.W_OK):
        raise CliError(3, str(path), cause=f"no permission to write in {folder}", hint="name another folder")


class Batch:
    """Several files that become visible together, after the last one is complete.

    Inside ``with Batch() as batch``, write to ``batch.temporary(path)``; leaving the block renames each
    to its place, leaving it by an error removes them all.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[Path, Path]] = []

    def __enter__(self) -> Batch:
        return self

    def temporary(self, path: Path) -> Path:
        """Where to write what shall be ``path``. Raises CliError 3."""
        check_writable(path)
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        except OSError as error:
            raise CliError(3, str(path), cause=error.strerror or str(error)) from error
        os.close(handle)
        self._pending.append((Path(name), path))
        return Path(name)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                for temporary, path in self._pending:
                    _usual_permissions(temporary)
                    temporary.replace(path)
            elif isinstance(error, OSError):
                place = self._pending[-1][1] if self._pending else Path("output")
                raise CliError(3, str(place), cause=error.strerror or str(error)) from error
        finally:
            for temporary, _ in self._pending:
                temporary.unlink(missing_ok=True)


def _usual_permissions(path: Path) -> None:
    """``mkstemp`` makes files private; give this one what ``open`` would have given it."""
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        path.chmod(0o666 & ~mask)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all. Raises CliError 3."""
    with Batch() as batch:
        batch.temporary(path).write_text(text, encoding="utf-8")
