"""How far it goes: the highest value of one parameter for which all conditions hold, by bisection."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.study.amounts import Amount, Condition, amount, condition, short, written
from ytwin.study.metrics import LATENCIES
from ytwin.study.model import Limit
from ytwin.study.points import Asking, Sample, Settings

PROBES: Final = (0.25, 0.6)
"""Places between the limit and each end, as parts of the way, where it is checked that conditions hold below and fail above."""


NOTHING: Final = 1e-12
"""Of what is searched: a limit that is closer to 0 than this part of it is 0."""
DIGITS: Final = 9
"""Of the values that are tried."""


class Ending(StrEnum):
    """How a search ended."""

    FOUND = "found"
    BEYOND = "beyond"
    """They hold at the upper end too."""
    NEVER = "never"
    """One fails at the lower end already."""
    FAILED = "failed"
    """A point could not be computed."""


@dataclass(frozen=True)
class Found:
    """A search's result."""

    ending: Ending
    holds: Amount | None
    """Highest value seen that holds."""
    fails: Amount | None
    """Lowest value seen that does not."""
    sample: Sample
    """At `holds`; at the lower end if nothing holds."""
    broken: tuple[Condition, ...] = ()
    """Conditions that fail at `fails`."""
    then: Sample | None = None
    """At `fails`: what limits there."""
    odd: tuple[Amount, ...] = ()
    """Values that contradict: conditions fail below the limit or hold above it."""
    error: str = ""


def search(asking: Asking, settings: Settings, limit: Limit, draw: int | None = None) -> Found | None:
    """The limit of one variant; None while points are missing. `draw`: with this draw's profile numbers, else as they are."""
    start, end = amount(limit.start), amount(limit.end)
    assert start is not None  # the model has checked it
    assert end is not None
    return _Search(asking, settings, limit, start, end, draw).run()


@dataclass
class _Search:
    asking: Asking
    settings: Settings
    limit: Limit
    start: Amount
    end: Amount
    draw: int | None

    def run(self) -> Found | None:
        low, high = self.start.value, self.end.value
        at_low, at_high = self.at(low), self.at(high)
        if at_low is None or at_high is None:
            return None
        for end in (at_low, at_high):
            if end.error:
                return Found(Ending.FAILED, None, None, end, error=end.error)
        if broken := self.broken(at_low):
            odd = self.contradictions(low, low)
            if odd is None:
                return None
            odd = odd if self.broken(at_high) else (*odd, self.end)
            return Found(Ending.NEVER, None, self.start, at_low, broken, at_low, odd)
        if not (broken := self.broken(at_high)):
            odd = self.contradictions(high, high)
            return None if odd is None else Found(Ending.BEYOND, self.end, None, at_high, odd=odd)
        while (middle := self.between(low, high)) is not None:
            sample = self.at(middle)
            if sample is None:
                return None
            if sample.error:
                return Found(Ending.FAILED, self.amount(low), self.amount(high), at_low, error=sample.error)
            if found := self.broken(sample):
                high, at_high, broken = middle, sample, found
            else:
                low, at_low = middle, sample
        odd = self.contradictions(low, high)
        if odd is None:
            return None
        return Found(Ending.FOUND, self.amount(low), self.amount(high), at_low, broken, at_high, odd)

    def amount(self, value: float) -> Amount:
        return Amount(value, self.start.dimension)

    def at(self, value: float) -> Sample | None:
        settings = {**self.settings, self.limit.parameter: written(value, self.start.dimension, self.limit.start)}
        if self.draw is not None:
            return self.asking.one(settings, self.draw, draws=True)
        return self.asking.sample(settings, draws=False)

    def broken(self, sample: Sample) -> tuple[Condition, ...]:
        """Conditions that do not hold. One on a latency does not where none is given: more is offered than is carried."""
        means = sample.means()
        broken = []
        for one in map(condition, self.limit.conditions):
            try:
                if not one.holds(means):
                    broken.append(one)
            except KeyError:
                if not _is_latency(one.metric):
                    hint = f"the model gives {', '.join(map(short, means)) or 'none'}"
                    raise _wrong(f"this load has no metric {one.metric!r}", hint) from None
                broken.append(one)
            except ValueError as error:
                raise _wrong(str(error), "give the bound in a unit of the metric") from None
        return tuple(broken)

    def between(self, low: float, high: float) -> float | None:
        """Where to look next; None where the bracket is narrow enough."""
        if self.limit.whole:
            at = math.floor(math.sqrt(low * high) if low > 0 and high > 4 * low else (low + high) / 2)
            at = min(max(at, math.floor(low) + 1), math.ceil(high) - 1)
            return None if high - low <= 1 or high - low <= self.limit.relative * low else float(at)
        enough = max(self.limit.relative * max(abs(low), abs(high)), NOTHING * (self.end.value - self.start.value))
        if high - low <= enough:
            return None
        middle = math.sqrt(low * high) if low > 0 and high > 4 * low else (low + high) / 2
        middle = float(f"{middle:.{DIGITS}g}")
        return middle if low < middle < high else None

    def contradictions(self, low: float, high: float) -> tuple[Amount, ...] | None:
        """Values between the ends and the limit where it is not as the search supposes; None while points are missing.

        Of a draw nothing is looked at: the search with the numbers as they are tells.
        """
        odd, waiting = list[Amount](), False
        for place, holds in self.probes(low, high) if self.draw is None else ():
            sample = self.at(place)
            waiting |= sample is None
            if sample is not None and not sample.error and bool(self.broken(sample)) is holds:
                odd.append(self.amount(place))
        return None if waiting else tuple(sorted(odd, key=lambda a: a.value))

    def probes(self, low: float, high: float) -> list[tuple[float, bool]]:
        """(value, whether all should hold there): between the ends and a limit that lies between `low` and `high`.

        Where these are one end, nothing was seen between the ends yet, and it is looked at more places.
        """
        found = dict[float, bool]()
        for a, b, holds in ((self.start.value, low, True), (high, self.end.value, False)):
            values = [a + (b - a) * part for part in PROBES]
            if low == high and 0 < a < b:
                values += [a * (b / a) ** part for part in PROBES]
            places = (float(math.floor(v)) if self.limit.whole else float(f"{v:.9g}") for v in values)
            found.update((place, holds) for place in places if a < place < b)
        return list(found.items())


def _is_latency(metric: str) -> bool:
    return metric in (*LATENCIES, *map(short, LATENCIES))


def _wrong(message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(Location(path="spec.goal.limit.while"), "condition", message, hint)])
