"""Coded errors: every failure a user can meet has a code, a place, a cause and a next step.

A package declares one subclass with its table of codes; raising takes the number::

    class HalError(IreeError):
        package = "HAL"
        exit_code = 3
        table = {1: "the driver is not installed"}

    raise HalError(1, "driver 'vulkan'", hint="pip install iree-target-vulkan")

prints as ``IREE-HAL-001: the driver is not installed: driver 'vulkan'; next: pip install ...``.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_COMPILE = 1
EXIT_USAGE = 2
EXIT_RUNTIME = 3
EXIT_ARTIFACT = 4


class IreeError(Exception):
    """Base of all coded errors.

    Attributes: ``number`` (key of ``table``), ``detail`` (this occurrence), ``source`` (the
    user's place: node name or file:line), ``cause`` (why), ``hint`` (the next step).
    """

    package: ClassVar[str] = "BASE"
    exit_code: ClassVar[int] = EXIT_COMPILE
    table: ClassVar[dict[int, str]] = {}
    exit_codes: ClassVar[dict[int, int]] = {}
    """Numbers whose exit code differs from the class's."""

    def __init__(
        self,
        number: int,
        detail: str = "",
        *,
        source: str | None = None,
        cause: str | None = None,
        hint: str | None = None,
    ) -> None:
        if number not in self.table:
            raise KeyError(f"{type(self).__name__} has no code {number}")
        self.number = number
        self.detail = detail
        self.source = source
        self.cause = cause
        self.hint = hint
        super().__init__(number, detail)

    @property
    def code(self) -> str:
        return f"IREE-{self.package}-{self.number:03d}"

    @property
    def status(self) -> int:
        """The process exit code for this error."""
        return self.exit_codes.get(self.number, self.exit_code)

    @property
    def summary(self) -> str:
        return self.table[self.number]

    def __str__(self) -> str:
        text = f"{self.code}: {self.summary}"
        if self.detail:
            text += f": {self.detail}"
        if self.source:
            text += f" [at {self.source}]"
        if self.cause:
            text += f"; cause: {self.cause}"
        if self.hint:
            text += f"; next: {self.hint}"
        return text

    def to_json(self) -> dict[str, str | None]:
        """The same facts as a flat mapping, for ``--json``."""
        return {
            "code": self.code,
            "summary": self.summary,
            "detail": self.detail or None,
            "source": self.source,
            "cause": self.cause,
            "hint": self.hint,
        }

    def __reduce__(self) -> tuple[object, ...]:
        """Copies cross processes whatever a subclass's constructor takes; live objects stay behind."""
        state = {key: value for key, value in vars(self).items() if _is_plain(value)}
        return _rebuild, (type(self), self.number, self.detail, state)


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bytes))


def _rebuild(cls: type[IreeError], number: int, detail: str, state: dict[str, object]) -> IreeError:
    error = cls.__new__(cls, number, detail)
    Exception.__init__(error, number, detail)
    vars(error).update(state)
    return error


class PluginError(IreeError):
    """A plugin could not be found, loaded or trusted."""

    package = "BASE"
    exit_code = EXIT_USAGE
    table = {
        1: "a requested plugin failed to load",
        2: "two plugins own the same name",
        3: "no installed plugin provides this name",
        4: "a plugin was built for another plugin contract",
        5: "unknown element type",
        6: "invalid debug setting",
    }


__all__ = ["EXIT_ARTIFACT", "EXIT_COMPILE", "EXIT_RUNTIME", "EXIT_USAGE", "IreeError", "PluginError"]
