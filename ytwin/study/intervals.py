"""What is known of a number: its interval, of a limit how the search ended, and what two of them say of each other.

A search looks between `from` and `to` only. A limit that lies beyond is kept as `to`, one that lies below as 0 (just under a
`from` of 0), so that a number alone tells which it is: see `beyond` and `under`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

from ytwin.resources.yamltree import Path
from ytwin.sim.statistics import mean_of
from ytwin.study.amounts import amount
from ytwin.study.model import Limit, Scalar, StudySpec
from ytwin.study.search import Ending, Found

SPREAD: Final = (2.5, 97.5)
"""Percentiles between which 95 % of draws lie."""
SURE: Final = 0.95
"""What an interval must hold for a comparison to be called sure."""
FEWEST_DRAWS: Final = 6
"""Of a comparison: of 5, all fall on one side by chance alone more often than in 5 of 100 cases (2 / 2^5; sign test)."""
FEWEST_RUNS: Final = 2
"""Of an engine's comparison: one run has no interval."""


@dataclass(frozen=True, slots=True)
class Number:
    """A value with its interval: of the mean over runs, of the draws of profile numbers, or the model's own."""

    value: float
    low: float
    high: float


class Order(StrEnum):
    """How b stands to a."""

    HIGHER = "higher"
    LOWER = "lower"
    EQUAL = "equal"
    OPEN = "open"


@dataclass(frozen=True)
class Comparison:
    """One metric, everything but the compared parameter equal."""

    others: tuple[tuple[str, Scalar], ...]
    metric: str
    a: Number
    b: Number
    difference: Number
    """b - a, by pairs. An end may be infinite: of limits that lie outside what was searched."""
    ratio: Number
    """b / a, by pairs; infinite where a alone is 0."""
    interval: bool
    """Whether that of the difference comes from chance or from drawn numbers; else it is a point, or a search's tolerance."""
    confidence: float = SURE
    """Of the interval."""
    known: bool = True
    """Whether both values are: a limit outside what was searched is not, and the ratio's ends alone count."""

    @property
    def order(self) -> Order:
        """By the interval of the difference where there is one, else by the values."""
        if self.difference.low > 0:
            return Order.HIGHER
        if self.difference.high < 0:
            return Order.LOWER
        same = self.known and self.difference.value == 0
        if same and (not self.interval or self.difference.low == self.difference.high):
            return Order.EQUAL
        return Order.OPEN

    @property
    def sure(self) -> bool:
        """Whether which is higher is so for 95 of 100."""
        return self.interval and self.confidence >= SURE and self.order in (Order.HIGHER, Order.LOWER)


def problems_of_comparison(spec: StudySpec) -> Iterator[tuple[Path, str, str]]:
    """(place in the spec, what is wrong, what to do) of a comparison with too few runs to tell what is sure."""
    if spec.goal.compare is None:
        return
    found = spec.repeats.at_least
    if spec.draws and spec.replications is not None and "confidence" in spec.replications.model_fields_set:
        message = "drawn profile numbers have no confidence: their intervals hold 95 % of the draws"
        yield ("replications", "confidence"), message, "leave it out, or write uncertainty: fixed"
    if spec.draws and found < FEWEST_DRAWS:
        hint = f"write atLeast: {FEWEST_DRAWS} or more (20 is usual), or uncertainty: fixed"
        yield ("replications", "atLeast"), f"{found} draws do not tell what is sure in a comparison", hint
    elif spec.engine != "analytic" and spec.goal.limit is None and found < FEWEST_RUNS:
        hint = f"write atLeast: {FEWEST_RUNS} or more (5 is usual)"
        yield ("replications", "atLeast"), "one run of an engine does not tell what is sure in a comparison", hint


def spread(values: Sequence[float]) -> Number:
    """Of draws: the median and between which draws 95 % of them lie, at least. Of whole things the median is whole (up), too."""
    middle = median(values)
    if all(float(value).is_integer() for value in values):
        middle = float(math.ceil(middle))
    return Number(middle, _drawn(values, SPREAD[0]), _drawn(values, SPREAD[1]))


def _drawn(values: Sequence[float], part: float) -> float:
    """The draw at this percentile, outwards: between two draws lies nothing that was seen, and one of them may be infinite."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * part / 100
    return ordered[math.floor(place) if part <= 50 else math.ceil(place)]


def summary(values: Sequence[float], spec: StudySpec) -> Number:
    """Of one value per replication: where draws lie, or the interval of the mean; of one alone the value."""
    if len(values) == 1:
        return Number(values[0], values[0], values[0])
    if spec.draws:
        return spread(values)
    found = mean_of(values, spec.repeats.confidence)
    return Number(found.value, found.low, found.high)


def ends_of(limit: Limit) -> tuple[float, float]:
    """From where to where was searched, in the base unit."""
    start, end = amount(limit.start), amount(limit.end)
    assert start is not None  # the model has checked it
    assert end is not None
    return start.value, end.value


def beyond(value: float, limit: Limit) -> bool:
    """Whether a limit is this or more: the conditions hold where the search ended."""
    return value >= ends_of(limit)[1]


def under(value: float, limit: Limit) -> bool:
    """Whether a limit is below all that was searched."""
    return value < ends_of(limit)[0]


def limit_of(found: Found, limit: Limit) -> Number:
    """A search's limit; low and high are the last value that holds and the first that does not."""
    start, _ = ends_of(limit)
    if found.ending is Ending.NEVER:
        nothing = 0.0 if start > 0 else math.nextafter(start, -math.inf)
        return Number(nothing, nothing, start)
    assert found.holds is not None
    holds = found.holds.value
    return Number(holds, holds, found.fails.value if found.fails is not None else holds)


def limit_spread(limits: Sequence[float], nominal: float, limit: Limit) -> Number:
    """Of the limits of all draws; the value is that of the numbers as they are. One outside the search mixes with no other."""
    lowest = _drawn([-math.inf if under(one, limit) else one for one in limits], SPREAD[0])
    highest = _drawn([math.inf if beyond(one, limit) else one for one in limits], SPREAD[1])
    return Number(nominal, min(nominal, max(lowest, min(limits))), max(nominal, min(highest, max(limits))))


def _possible(number: Number, limit: Limit) -> tuple[float, float]:
    """Between what the limit lies, as far as it was searched."""
    start, _ = ends_of(limit)
    low = (0.0 if start >= 0 else -math.inf) if under(number.low, limit) else number.low
    if beyond(number.high, limit):
        return low, math.inf
    return low, start if under(number.high, limit) else number.high


def limits_compared(
    others: tuple[tuple[str, Scalar], ...],
    metric: str,
    sides: tuple[Number, Number],
    draws: tuple[Sequence[float], Sequence[float]],
    limit: Limit,
) -> Comparison:
    """Limit b against limit a, by pairs of draws; without draws the interval is that of the two brackets."""
    a, b = sides
    drawn = bool(draws[0] and draws[1])
    pairs = [(Number(x, x, x), Number(y, y, y)) for x, y in zip(*draws, strict=True)] if drawn else [(a, b)]
    possible = [(_possible(x, limit), _possible(y, limit)) for x, y in pairs]
    known = not any(test(n.value, limit) for n in sides for test in (beyond, under))
    by = Number(
        b.value - a.value,
        _drawn([y[0] - x[1] for x, y in possible], SPREAD[0]),
        _drawn([y[1] - x[0] for x, y in possible], SPREAD[1]),
    )
    low = _drawn([_parts(y[0], x[1]) for x, y in possible], SPREAD[0])
    high = _drawn([_parts(y[1], x[0]) for x, y in possible], SPREAD[1])
    middle = ratio(b.value, a.value)
    if not known:
        middle = low if math.isinf(high) else high
    return Comparison(others, metric, a, b, by, Number(middle, low, high), drawn, known=known)


def ratio(b: float, a: float) -> float:
    """b / a; infinite where a alone is 0, and no change where both are."""
    return b / a if a else 1.0 if b == a else math.inf


def ratios(first: Sequence[float], second: Sequence[float], spec: StudySpec) -> Number:
    """Of second to first, by pairs. Of runs that have no mean since some first is 0: of the means, up to infinite."""
    every = [ratio(b, a) for a, b in zip(first, second, strict=True)]
    if spec.draws or len(every) == 1 or not any(map(math.isinf, every)):
        return summary(every, spec)
    return Number(ratio(sum(second), sum(first)), min(every), math.inf)


def _parts(b: float, a: float) -> float:
    """b / a of ends that may be 0 or infinite."""
    if math.isinf(a):
        return 0.0
    return b / a if a else math.inf
