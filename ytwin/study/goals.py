"""From results to an answer: a table of metrics or limits, a comparison, a ranking of assumptions.

`answer(asking, uncertain)` asks for what it needs; it is whole once nothing is missing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import UNITS
from ytwin.hardware.model import Quantity
from ytwin.study.amounts import named, short, unit_of, written
from ytwin.study.designs import Variant, variants
from ytwin.study.intervals import SURE, Comparison, Number, limit_of, limit_spread, limits_compared, ratios, summary
from ytwin.study.metrics import metrics_of
from ytwin.study.model import Scalar, StudySpec
from ytwin.study.paths import numbers_of
from ytwin.study.points import Asking, Sample, Settings, half_width
from ytwin.study.search import Ending, Found, search

LIMIT: Final = "limit"
"""Name of the answer of a search, beside the metrics."""


@dataclass(frozen=True)
class Row:
    """One variant's answer."""

    variant: Variant
    numbers: Mapping[str, Number]
    texts: Mapping[str, str]
    replications: int
    limit: Found | None = None
    error: str = ""
    limits: tuple[float, ...] = ()
    """With drawn profile numbers: the limit of each draw."""
    half_width: float | None = None
    """Where replications go on until an interval is tight: the half of it that was reached, as a part of the mean."""


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A profile number that is not known exactly."""

    profile: str
    number: str
    quantity: Quantity

    @property
    def path(self) -> str:
        """As a setting."""
        return f"cards.{self.profile}.{self.number}"


@dataclass(frozen=True)
class Swing:
    """What one uncertain number does to the answer of one variant."""

    variant: Variant
    uncertain: Uncertain
    base: float
    low: float
    """Answer with the number at the low end of its interval."""
    high: float

    @property
    def width(self) -> float:
        """How far the answer moves."""
        ends = (self.low, self.high, self.base)
        return max(ends) - min(ends)


@dataclass(frozen=True)
class Unknown:
    """An uncertain number of which it cannot be told what it does: the answer has no such metric with it at one of its ends.

    A latency has none where more is offered than is carried.
    """

    variant: Variant
    uncertain: Uncertain


@dataclass(frozen=True)
class Answer:
    """All that a study found."""

    spec: StudySpec
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    swings: tuple[Swing, ...] = ()
    metrics: tuple[str, ...] = ()
    """Columns that were asked for, with their units; `limit` first where there is one."""
    swing_metric: str = ""
    variants: int = 0
    """How many there are, those without an answer yet included."""
    missing: int = 0
    """Points that a whole answer needs as well, as far as they are known."""
    unknown: tuple[Unknown, ...] = ()
    """What `swings` leaves out."""

    @property
    def failed(self) -> tuple[Row, ...]:
        """Variants without an answer."""
        return tuple(row for row in self.rows if row.error)


UncertainOf = Callable[[Settings], tuple[Uncertain, ...]]
"""Which profile numbers with intervals a group of settings uses; () if they cannot be told."""


def answer(asking: Asking, uncertain_of: UncertainOf) -> Answer:
    """What is known by now. With points missing it is a part of the answer."""
    spec = asking.study.spec
    rows: list[Row] = []
    samples: list[tuple[Variant, Sample]] = []
    swings: list[Swing] = []
    unknown: list[Unknown] = []
    swing_metric = ""
    every = variants(spec)
    for variant in every:
        got = _row(asking, variant)
        if got is None:
            continue
        row, sample = got
        rows.append(row)
        if row.error:
            continue
        samples.append((variant, sample))
        if spec.goal.sensitivity is not None:
            swing_metric, found, left_out = _swings(asking, row, uncertain_of(dict(variant.settings)))
            swings += found
            unknown += left_out
    wanted = _columns(spec, [row for row in rows if not row.error])
    comparisons = _comparisons(spec, samples, rows, wanted) if spec.goal.compare is not None else ()
    missing = len(asking.missing)
    moved, silent = tuple(swings), tuple(unknown)
    return Answer(spec, tuple(rows), tuple(comparisons), moved, wanted, swing_metric, len(every), missing, silent)


def _row(asking: Asking, variant: Variant) -> tuple[Row, Sample] | None:
    settings, goal = dict(variant.settings), asking.study.spec.goal
    if goal.limit is None:
        sample = asking.sample(settings)
        if sample is None:
            return None
        count = len(sample.results)
        if sample.error:
            return Row(variant, {}, {}, count, error=sample.error), sample
        reached = half_width(sample, asking.study.spec.repeats)
        return Row(variant, _numbers(asking, sample), sample.texts, count, half_width=reached), sample
    found = search(asking, settings, goal.limit)
    if found is None:
        return None
    sample = found.sample
    if found.ending is Ending.FAILED:
        return Row(variant, {}, {}, len(sample.results), found, found.error), sample
    number, limits = limit_of(found, goal.limit), tuple[float, ...]()
    if asking.study.spec.draws:
        count = asking.study.spec.repeats.at_least
        draws = [search(asking, settings, goal.limit, draw) for draw in range(count)]
        whole = [one for one in draws if one is not None]
        if failed := next((one.error for one in whole if one.ending is Ending.FAILED), ""):
            return Row(variant, {}, {}, len(whole), found, f"with drawn profile numbers: {failed}"), sample
        if len(whole) < count:
            return None
        limits = tuple(limit_of(one, goal.limit).value for one in whole)
        number = limit_spread(limits, number.value, goal.limit)
    texts = (found.then or sample).texts
    numbers = {LIMIT: number, **_numbers(asking, sample)}
    reached = half_width(sample, asking.study.spec.repeats)
    return Row(variant, numbers, texts, max(1, len(limits)), found, limits=limits, half_width=reached), sample


def _numbers(asking: Asking, sample: Sample) -> dict[str, Number]:
    return {metric: _number(sample, metric, asking.study.spec) for metric in sample.names}


def _number(sample: Sample, metric: str, spec: StudySpec) -> Number:
    """Of one replication the model's own interval, if it gives one."""
    values = sample.series(metric)
    if len(values) > 1:
        return summary(values, spec)
    known, name = sample.results[0].metrics, named(metric, sample.names)
    return Number(values[0], known.get(f"{name}.low", values[0]), known.get(f"{name}.high", values[0]))


def _columns(spec: StudySpec, rows: Sequence[Row]) -> tuple[str, ...]:
    """Those that are asked for, whether some row has them already or not; all that rows have where none is asked for."""
    known = tuple(dict.fromkeys(name for row in rows for name in row.numbers if name != LIMIT))
    limit = (LIMIT,) if spec.goal.limit is not None else ()
    if not spec.goal.metrics:
        return (*limit, *known)
    known = tuple(dict.fromkeys((*known, *metrics_of(spec))))
    if not known:
        return (*limit, *spec.goal.metrics)
    return (*limit, *(_named(metric, known, "goal.metrics") for metric in spec.goal.metrics))


def _named(metric: str, known: tuple[str, ...], where: str) -> str:
    try:
        return named(metric, known)
    except KeyError:
        hint = f"the model gives {', '.join(map(short, known)) or 'none'}"
        message = f"this load has no metric {metric!r}"
        raise InvalidInput([Problem(Location(path=f"spec.{where}"), "metric", message, hint)]) from None


def _comparisons(
    spec: StudySpec, samples: Sequence[tuple[Variant, Sample]], rows: Sequence[Row], wanted: Sequence[str]
) -> list[Comparison]:
    compare = spec.goal.compare
    assert compare is not None
    sides: dict[tuple[tuple[str, Scalar], ...], dict[Scalar, tuple[Variant, Sample]]] = {}
    for variant, sample in samples:
        others = tuple((name, value) for name, value in variant.values if name != compare.parameter)
        sides.setdefault(others, {})[variant[compare.parameter]] = (variant, sample)
    limits = {row.variant: row for row in rows if LIMIT in row.numbers}
    found = []
    for others, side in sides.items():
        if compare.a not in side or compare.b not in side:
            continue
        (variant_a, a), (variant_b, b) = side[compare.a], side[compare.b]
        for metric in wanted:
            if metric == LIMIT:
                assert spec.goal.limit is not None
                rows_ab = (limits[variant_a], limits[variant_b])
                values = (rows_ab[0].numbers[LIMIT], rows_ab[1].numbers[LIMIT])
                draws = (rows_ab[0].limits, rows_ab[1].limits)
                found.append(limits_compared(others, LIMIT, values, draws, spec.goal.limit))
            elif metric in a.names and metric in b.names:
                found.append(_compared(others, metric, a, b, spec))
    return found


def _compared(others: tuple[tuple[str, Scalar], ...], metric: str, a: Sample, b: Sample, spec: StudySpec) -> Comparison:
    count = min(len(a.results), len(b.results))  # replications until an interval is tight may stop at different counts
    first, second = a.series(metric)[:count], b.series(metric)[:count]
    differences = [y - x for x, y in zip(first, second, strict=True)]
    alone = count == 1
    side_a, side_b = (_number(s, metric, spec) if alone else summary(v, spec) for s, v in ((a, first), (b, second)))
    by, times = summary(differences, spec), ratios(first, second, spec)
    confidence = SURE if spec.draws else spec.repeats.confidence
    return Comparison(others, metric, side_a, side_b, by, times, not alone, confidence)


def _swings(asking: Asking, row: Row, uncertain: Sequence[Uncertain]) -> tuple[str, list[Swing], list[Unknown]]:
    """The metric, what each number does to it, and the numbers of which that is not known."""
    spec = asking.study.spec
    assert spec.goal.sensitivity is not None
    settings, metric = dict(row.variant.settings), LIMIT
    if spec.goal.sensitivity.of != LIMIT:
        known = tuple(dict.fromkeys((*(n for n in row.numbers if n != LIMIT), *metrics_of(spec))))
        metric = _named(spec.goal.sensitivity.of, known, "goal.sensitivity.of")
    base = _alone(asking, settings, metric)
    swings, unknown = list[Swing](), list[Unknown]()
    searched = {spec.goal.limit.parameter: ""} if spec.goal.limit is not None else {}
    said = numbers_of({**settings, **searched})
    for one in uncertain:
        if any(one.number == of.number and fnmatchcase(one.profile, of.profile) for of in said):
            continue  # the study says what it is, or searches it
        low, high = (
            _alone(asking, {**settings, one.path: written(end, one.quantity.dimension, one.quantity.text)}, metric)
            for end in (one.quantity.low, one.quantity.high)
        )
        if low is None or high is None or base is None:
            continue  # a point is missing or failed
        if any(map(math.isnan, (base, low, high))):
            unknown.append(Unknown(row.variant, one))
        else:
            swings.append(Swing(row.variant, one, base, low, high))
    return metric, sorted(swings, key=lambda s: (-s.width, s.uncertain.path)), unknown


def _alone(asking: Asking, settings: Settings, metric: str) -> float | None:
    """A metric with the profile numbers as they are; None while points are missing, NaN where the answer has none."""
    if metric == LIMIT:
        limit = asking.study.spec.goal.limit
        assert limit is not None
        found = search(asking, settings, limit)
        return None if found is None or found.error else limit_of(found, limit).value
    sample = asking.sample(settings, draws=False)
    return None if sample is None or sample.error else sample.means().get(metric, math.nan)


def first_limits(rows: Sequence[Row]) -> Counter[str]:
    """How often each resource is the one that limits."""
    return Counter(row.texts["limit"] for row in rows if row.texts.get("limit"))


def base_value(value: float, metric: str) -> float:
    """A metric's number in the base unit of its dimension."""
    dimension, unit = unit_of(metric)
    return value * UNITS[dimension][unit] if dimension else value
