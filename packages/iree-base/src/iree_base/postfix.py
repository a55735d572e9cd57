"""Numbers that may depend on what a kernel is called with, as artefacts store them.

A number is an integer, or tokens in postfix order: integers, ``"w3"`` (constant word 3 of the call), ``"d3"``
(words 3 and 4 as one, low half first) and the operators ``+ - * // /^ % min max``, where ``/^`` divides
rounding up. ``["d0", 4, "*"]`` is four times the 64-bit constant at word 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Number = int | list[int | str]

OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b,
    "/^": lambda a, b: -(-a // b),
    "%": lambda a, b: a % b,
    "min": min,
    "max": max,
}


def evaluate(number: Number, words: Sequence[int]) -> int | None:
    """The value of ``number`` for a call with the constants ``words``; None where it makes no sense (a word
    that is not there, a division by 0, tokens left over).
    """
    if isinstance(number, int):
        return number
    stack: list[int] = []
    try:
        for token in number:
            if isinstance(token, int):
                stack.append(token)
            elif token in OPERATORS:
                right = stack.pop()
                stack.append(OPERATORS[token](stack.pop(), right))
            else:
                stack.append(_word(token, words))
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return stack[0] if len(stack) == 1 else None


def _word(token: str, words: Sequence[int]) -> int:
    kind, place = token[:1], int(token[1:])
    if place < 0 or kind not in ("w", "d"):
        raise ValueError(token)
    value = words[place]
    return value if kind == "w" else value | words[place + 1] << 32
