"""Merges neighbouring loops of a step that run through all its memory as one.

``[96][80][40] + [96][1][1]`` needs two loops, not three: longer vectors, fewer tails. Two loops merge when
in every access one step of the outer one is as far as all steps of the inner one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from iree_codegen import dims as dim_ops
from iree_codegen import indexing
from iree_codegen.indexing import Affine, Var


def mentions(form: Affine, var: Var) -> bool:
    """True when ``var`` occurs in a quotient or remainder inside ``form``."""
    return any(
        own.definition is not None
        and (own.definition[1].coefficient(var) != 0 or mentions(own.definition[1], var))
        for own, _ in form.terms
    )


def can_merge(addresses: Sequence[Affine], outer: Var, inner: Var) -> bool:
    """True when ``outer, inner`` can be one loop for all ``addresses``."""
    assert inner.extent is not None
    for address in addresses:
        if mentions(address, outer) or mentions(address, inner):
            return False
        if address.coefficient(outer) != dim_ops.mul(address.coefficient(inner), inner.extent):
            return False
    return True


def repeats(addresses: Sequence[Affine], outer: Var, inner: Var, lanes: int) -> bool:
    """True when ``inner`` is a short loop that some accesses ignore: the same elements again and again, as in
    an enlarged image. Merged, a vector holds ``lanes / extent`` of them, each repeated."""
    extent = inner.extent
    if not isinstance(extent, int) or not 0 < extent < lanes or lanes % extent:
        return False
    for address in addresses:
        if mentions(address, outer) or mentions(address, inner):
            return False
        if address.coefficient(inner) == 0 and address.coefficient(outer) in (0, 1):
            continue
        if address.coefficient(outer) != dim_ops.mul(address.coefficient(inner), extent):
            return False
    return True


def merge(
    variables: Sequence[Var], addresses: Sequence[Affine], fixed: Collection[Var] = (), lanes: int = 1
) -> tuple[list[Var], dict[Var, Affine]]:
    """(the loops that remain, slowest first; forms of the merged variables).

    ``lanes``: a short last loop is merged too when vectors of so many lanes can repeat elements.
    """
    runs: list[list[Var]] = []
    for var in variables:
        last = runs[-1][-1] if runs else None
        if last is not None and last not in fixed and var not in fixed:
            short = var is variables[-1] and repeats(addresses, last, var, lanes)
            if short or can_merge(addresses, last, var):
                runs[-1].append(var)
                continue
        runs.append([var])
    loops: list[Var] = []
    replaced: dict[Var, Affine] = {}
    for run in runs:
        if len(run) == 1:
            loops.append(run[0])
            continue
        extents = tuple(v.extent for v in run)
        whole = Var("+".join(v.name for v in run), dim_ops.total(extents))  # type: ignore[arg-type]
        loops.append(whole)
        parts = indexing.delinearize(indexing.of(whole), extents)  # type: ignore[arg-type]
        replaced.update(zip(run, parts, strict=True))
    return loops, replaced
