"""Memory planning: where buffers with lifetimes lie in one arena, sizes possibly symbolic.

A size is ``coefficient * product(factors)`` bytes, where factors are run-time dims. The plan is made for
*nominal* sizes, numbers that stand for the dims: buffers are placed by first fit in several orders, and the
tightest plan is taken. What holds for all sizes is not the offsets but who lies above whom: of two buffers
that live at one time, one lies below the other, and the upper begins where the highest of those below it
ends. So offsets are sums and maxima of sizes (:class:`Offset`): as tight as the nominal plan where sizes keep
their proportions, and never overlapping whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from iree_base.records import field, record

ALIGNMENT = 64
EXACT_BELOW = 64
"""A coefficient below so many alignments is rounded up together with its dims, a larger one before them: at
most one part in so many is lost."""

Term = tuple[int, tuple[Hashable, ...]]
"""(coefficient, factors). A coefficient that is no multiple of the alignment means the product rounded up."""


@record
class ArenaBuffer:
    """A temporary: live from time ``start`` to ``end``, both inclusive. ``nominal``: its bytes for the
    nominal dims; left out, the coefficient (right where there are no factors).
    """

    key: Hashable
    coefficient: int
    factors: tuple[Hashable, ...]
    start: int
    end: int
    nominal: int = -1
    place: int = 0
    """Where it begins for the nominal dims; set by ``plan``, as is ``offset``."""
    offset: Offset = field(default_factory=lambda: Offset())

    def overlaps(self, other: ArenaBuffer) -> bool:
        """Whether both live at one time."""
        return self.start <= other.end and other.start <= self.end


@record(frozen=True)
class Offset:
    """The largest of some sums of terms; 0 for none. ``sums`` maps terms to how often they are added."""

    sums: tuple[Mapping[Term, int], ...] = ()

    def plus(self, term: Term, alignment: int) -> Offset:
        """With ``term`` added; multiples of one product become one term."""
        return Offset(tuple(_added(s, term, alignment) for s in self.sums or ({},)))

    def value(self, dims: Mapping[Hashable, int], alignment: int) -> int:
        """In bytes, for given dims."""
        return max(
            (sum(n * term_bytes(term, dims, alignment) for term, n in s.items()) for s in self.sums),
            default=0,
        )


@record
class Plan:
    """``size`` is the arena's; the numbers are bytes for the nominal dims."""

    buffers: list[ArenaBuffer]
    size: Offset
    peak: int = 0
    lower_bound: int = 0
    total: int = 0

    def at_the_bound(self) -> list[ArenaBuffer]:
        """The buffers that live at the time with most bytes, largest first."""
        time = _fullest(self.buffers)[0]
        live = [b for b in self.buffers if b.start <= time <= b.end]
        return sorted(live, key=lambda b: -b.nominal)


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """``size`` rounded up to a multiple of ``alignment``."""
    return -(-size // alignment) * alignment


def term_bytes(term: Term, dims: Mapping[Hashable, int], alignment: int) -> int:
    """The size a term stands for."""
    size, factors = term
    for factor in factors:
        size *= dims[factor]
    return aligned(size, alignment)


def size_term(buffer: ArenaBuffer, alignment: int = ALIGNMENT) -> Term:
    """The size of ``buffer`` as it is reserved."""
    if not buffer.factors or buffer.coefficient >= EXACT_BELOW * alignment:
        return aligned(buffer.coefficient, alignment), buffer.factors
    return buffer.coefficient, buffer.factors


def plan(buffers: Sequence[ArenaBuffer], alignment: int = ALIGNMENT) -> Plan:
    """Place every buffer at a multiple of ``alignment``; sets their places and offsets."""
    for buffer in buffers:
        size = buffer.coefficient if buffer.nominal < 0 else buffer.nominal
        buffer.nominal = max(aligned(size, alignment), alignment) if buffer.coefficient else 0
    result = Plan(list(buffers), Offset())
    buffers = [b for b in buffers if b.coefficient]
    result.total = sum(b.nominal for b in buffers)
    result.lower_bound = _fullest(buffers)[1]
    result.peak = _place_best(buffers, result.lower_bound)
    _stack(buffers, alignment)
    ends = [b.offset.plus(size_term(b, alignment), alignment) for b in buffers]
    result.size = largest(ends)
    return result


# -- nominal placement -----------------------------------------------------------------------------------

_ORDERS: tuple[Callable[[ArenaBuffer], tuple[int, ...]], ...] = (
    lambda b: (-b.nominal, b.start),
    lambda b: (-b.nominal * (b.end - b.start + 1), b.start),
    lambda b: (b.start - b.end, -b.nominal),
    lambda b: (b.start, -b.nominal),
    lambda b: (-b.end, -b.nominal),
)
"""Orders to place buffers in; the first one mostly reaches the bound, and then it is the only one tried."""
CLOSE_ENOUGH = 1.02
"""A peak of so many times the bound is not worth more tries."""
MAX_TRIES = 40
"""How often an order is changed: what ended highest is placed first."""


def _place_best(buffers: Sequence[ArenaBuffer], bound: int) -> int:
    best = -1
    places: list[int] = []
    for order in _orders(buffers):
        peak = _place(order)
        if best < 0 or peak < best:
            best, places = peak, [b.place for b in buffers]
        if best <= bound * CLOSE_ENOUGH:
            break
    for buffer, place in zip(buffers, places, strict=True):
        buffer.place = place
    return max(best, 0)


def _orders(buffers: Sequence[ArenaBuffer]) -> Iterator[list[ArenaBuffer]]:
    """Orders to try. After each, the buffers are where it placed them."""
    for key in _ORDERS:
        yield sorted(buffers, key=key)
    for key in _ORDERS[:2]:
        order = sorted(buffers, key=key)
        for _ in range(MAX_TRIES):
            yield order
            top = max(b.place + b.nominal for b in buffers)
            first = [b for b in order if b.place + b.nominal == top]
            rest = [b for b in order if b.place + b.nominal != top]
            if order[: len(first)] == first:
                break
            order = first + rest


def _place(buffers: Sequence[ArenaBuffer]) -> int:
    """First fit in the given order: each where the lowest gap is that takes it. Gives the highest end."""
    live: dict[int, list[ArenaBuffer]] = {}
    peak = 0
    for buffer in buffers:
        place = 0
        for other in sorted(_neighbours(buffer, live), key=lambda b: b.place):
            if other.place - place >= buffer.nominal:
                break
            place = max(place, other.place + other.nominal)
        buffer.place = place
        peak = max(peak, place + buffer.nominal)
        for time in range(buffer.start, buffer.end + 1):
            live.setdefault(time, []).append(buffer)
    return peak


def _neighbours(buffer: ArenaBuffer, live: Mapping[int, list[ArenaBuffer]]) -> Iterable[ArenaBuffer]:
    """Those in ``live`` that live at some time that ``buffer`` lives at."""
    found: dict[int, ArenaBuffer] = {}
    for time in range(buffer.start, buffer.end + 1):
        for other in live.get(time, ()):
            found[id(other)] = other
    return found.values()


def _fullest(buffers: Sequence[ArenaBuffer]) -> tuple[int, int]:
    """The (first) time with most live bytes, and these bytes: no plan can be smaller."""
    events: dict[int, int] = {}
    for buffer in buffers:
        events[buffer.start] = events.get(buffer.start, 0) + buffer.nominal
        events[buffer.end + 1] = events.get(buffer.end + 1, 0) - buffer.nominal
    live = best = when = 0
    for time in sorted(events):
        live += events[time]
        if live > best:
            best, when = live, time
    return when, best


# -- symbolic offsets ------------------------------------------------------------------------------------


def _stack(buffers: Sequence[ArenaBuffer], alignment: int) -> None:
    """Give each buffer its offset: above all that lie below it in the nominal plan and live with it.

    Of two that are below it and live at one time the upper is enough, since it lies above the lower.
    """
    live: dict[int, list[ArenaBuffer]] = {}
    rank: dict[int, int] = {}
    for buffer in sorted(buffers, key=lambda b: b.place):
        rank[id(buffer)] = len(rank)
        below = sorted(_neighbours(buffer, live), key=lambda b: -rank[id(b)])
        needed = [b for i, b in enumerate(below) if not any(b.overlaps(upper) for upper in below[:i])]
        buffer.offset = largest(b.offset.plus(size_term(b, alignment), alignment) for b in needed)
        for time in range(buffer.start, buffer.end + 1):
            live.setdefault(time, []).append(buffer)


def largest(offsets: Iterable[Offset]) -> Offset:
    """The largest of ``offsets``, without sums that another is never smaller than."""
    kept: list[Mapping[Term, int]] = []
    for offset in offsets:
        for one in offset.sums:
            if any(_covers(other, one) for other in kept):
                continue
            kept = [other for other in kept if not _covers(one, other)]
            kept.append(one)
    return Offset(tuple(kept))


def _covers(large: Mapping[Term, int], small: Mapping[Term, int]) -> bool:
    """Whether ``large`` is at least ``small`` whatever the dims are: term by term, as often or with a larger
    coefficient.
    """
    for term, count in small.items():
        if large.get(term, 0) >= count:
            continue
        coefficient, factors = term
        if not any(f == factors and c >= coefficient and n >= count for (c, f), n in large.items()):
            return False
    same = [factors for _, factors in small]
    return len(same) == len(set(same)) or all(large.get(t, 0) >= n for t, n in small.items())


def _added(terms: Mapping[Term, int], term: Term, alignment: int) -> dict[Term, int]:
    result = dict(terms)
    coefficient, factors = term
    if coefficient % alignment:
        result[term] = result.get(term, 0) + 1
        return result
    for (other, same), count in terms.items():
        if same == factors and not other % alignment:
            del result[other, same]
            coefficient += other * count
    if coefficient:
        result[coefficient, factors] = 1
    return result


__all__ = ["ALIGNMENT", "ArenaBuffer", "Offset", "Plan", "aligned", "plan", "size_term", "term_bytes"]
