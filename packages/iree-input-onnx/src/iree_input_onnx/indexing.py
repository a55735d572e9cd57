"""Shapes and axes as ONNX writes them: negative axes, broadcasting, reassociation of reshapes."""

from __future__ import annotations

from collections.abc import Sequence

from iree_input_onnx.dims import Dim, divide_exact, product

Groups = list[tuple[list[int], list[int]]]
"""Per group the source axes and the target axes that hold the same elements."""


def normalize_axis(axis: int, rank: int) -> int:
    """``axis`` counted from the front. Raises ValueError outside of ``[-rank, rank)``."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is out of range for rank {rank}")
    return axis % rank if rank else 0


def normalize_axes(axes: Sequence[int], rank: int) -> list[int]:
    """All axes counted from the front. Raises ValueError for a repeated one."""
    result = [normalize_axis(int(axis), rank) for axis in axes]
    if len(set(result)) != len(result):
        raise ValueError(f"axes {list(axes)} repeat")
    return result


def reshape_groups(source: Sequence[Dim], target: Sequence[Dim]) -> Groups:
    """How ``source`` splits into the smallest groups of adjacent axes with equal products in ``target``.

    What cannot be told apart (dims whose products are not provably equal) ends up in the last group.
    """
    groups: Groups = []
    i = j = 0
    while i < len(source) and j < len(target):
        start_i, start_j = i, j
        left, right = source[i], target[j]
        i, j = i + 1, j + 1
        while left != right:
            if i < len(source) and divide_exact(right, left) is not None:
                left, i = left * source[i], i + 1
            elif j < len(target) and divide_exact(left, right) is not None:
                right, j = right * target[j], j + 1
            elif i < len(source):
                left, i = left * source[i], i + 1
            elif j < len(target):
                right, j = right * target[j], j + 1
            else:
                break
        groups.append((list(range(start_i, i)), list(range(start_j, j))))
    if not groups:
        return [([*range(len(source))], [*range(len(target))])]
    groups[-1][0].extend(range(i, len(source)))
    groups[-1][1].extend(range(j, len(target)))
    return groups


def group_shape(shape: Sequence[Dim], groups: Sequence[Sequence[int]]) -> list[Dim]:
    """The product of each group."""
    return [product(shape[axis] for axis in group) for group in groups]
