"""Numbers with units in a study: values of parameters, metrics by their names, conditions on them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from ytwin.core.units import UNITS, parts

_AMOUNT = re.compile(r"\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*?)?\s*")

SUFFIXES: Final = {
    "_gbit_per_s": ("bit rate", "Gbit/s"),
    "_mpps": ("rate", "Mpps"),
    "_per_s": ("rate", "/s"),
    "_ps": ("time", "ps"),
    "_us": ("time", "us"),
    "_ms": ("time", "ms"),
    "_s": ("time", "s"),
    "_ratio": ("ratio", "times"),
    "_bytes": ("size", "B"),
}
"""End of a metric's name -> dimension and unit of its numbers. A name with none of them is a plain count."""

UNITLESS: Final = frozenset({"", "count", "ratio", "CPI"})
"""Dimensions in which a number without a unit says all; of others only 0 does."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number in the base unit of its dimension; "" for a plain number."""

    value: float
    dimension: str

    def __str__(self) -> str:
        return str(written(self.value, self.dimension))

    def measures(self, dimension: str) -> bool:
        """Whether it is of this dimension ("": a plain number), by its unit or since it needs none."""
        if self.dimension:
            return self.dimension == (dimension or "count")
        return dimension in UNITLESS or not self.value


def amount(value: object) -> Amount | None:
    """A number, or a text such as `1.5 kpps`; None if it is neither (the name of a card, true)."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return Amount(float(value), "")
    found = _AMOUNT.fullmatch(str(value))
    if found is None:
        return None
    number = float(found[1].replace("_", ""))
    if found[2] is None:
        return Amount(number, "")
    for dimension, units in UNITS.items():
        if found[2] in units:
            return Amount(number * units[found[2]], dimension)
    return None


def same_value(one: object, other: object) -> bool:
    """Whether two texts or numbers say the same: 64 B is 64B and 0.064 kB."""
    a, b = amount(one), amount(other)
    if a is None or b is None:
        return type(one) is type(other) and one == other
    return a.dimension == b.dimension and math.isclose(a.value, b.value, rel_tol=1e-12)


def written(value: float, dimension: str, like: object = "") -> str | int | float:
    """A base value as a person would write it: in the unit in which it is 1 to 1000, where there is one.

    `like` is a text with a unit of the same kind where a dimension has several: connections are no cores, requests no packets.
    """
    if not dimension:
        return int(value) if value == int(value) and abs(value) < 1e15 else value
    units, model = UNITS[dimension], parts(str(like))[1]
    if dimension == "rate":
        per_s = model.endswith("/s")
        units = {name: factor for name, factor in units.items() if name.endswith("/s") is per_s}
    if dimension in ("count", "CPI", "ratio", "size"):
        unit = model if dimension == "count" and model in units else next(iter(units))
    else:
        fitting = [name for name, factor in units.items() if factor <= abs(value) < 1000 * factor]
        unit = fitting[-1] if fitting else max(units, key=lambda name: units[name] if units[name] <= value else 0)
        if unit not in fitting and abs(value) < min(units.values()):
            unit = next(iter(units))
    return f"{value / units[unit]:.12g} {unit}"


def distinct(value: float, step: float) -> float:
    """With four digits, or as many as tell it from another value that is `step` away."""
    if not value or not math.isfinite(value):
        return value
    digits = math.floor(math.log10(abs(value))) - math.floor(math.log10(step)) + 1 if step > 0 else 4
    return float(f"{value:.{min(15, max(4, digits))}g}")


FINER: Final = 10
"""A value of a ladder is told to this part of a step."""


def ladder(
    start: object, end: object, steps: int, log: bool, may_be_equal: bool = False, exact: bool = False
) -> tuple[str | int | float, ...]:
    """`steps` values from start to end, evenly or by equal factors, in the unit of people. ValueError says what is wrong.

    Those between the ends have as few digits as tell them apart, unless they are to be `exact`.
    """
    low, high = amount(start), amount(end)
    for text, found in ((start, low), (end, high)):
        if found is None:
            raise ValueError(f"{text!r} is no number with a known unit")
    assert low is not None
    assert high is not None
    if low.dimension != high.dimension:
        raise ValueError(f"{start!r} and {end!r} are not of one dimension")
    if high.value < low.value or (high.value == low.value and not may_be_equal):
        raise ValueError(f"{start!r} is not below {end!r}")
    if log and low.value <= 0:
        raise ValueError(f"{start!r} is not above 0, which a logarithmic range needs")
    width, factor = high.value - low.value, (high.value / low.value) ** (1 / (steps - 1)) if log else 1.0
    values = [low.value]
    for step in range(1, steps - 1):
        value = low.value * factor**step if log else low.value + width * step / (steps - 1)
        gap = value * (factor - 1) if log else width / (steps - 1)
        values.append(float(f"{value:.12g}") if exact else distinct(value, gap / FINER))
    return tuple(written(value, low.dimension, start) for value in (*values, high.value))


def unit_of(metric: str) -> tuple[str, str]:
    """Dimension and unit of a metric's numbers, by the end of its name; ("", "") for a plain number."""
    for suffix, unit in SUFFIXES.items():
        if metric.endswith(suffix):
            return unit
    return "", ""


def short(metric: str) -> str:
    """The name without its unit: `latency_p99_us` is `latency_p99`."""
    for suffix in SUFFIXES:
        if metric.endswith(suffix):
            return metric.removesuffix(suffix)
    return metric


def named(wanted: str, known: tuple[str, ...]) -> str:
    """The metric that a person means: its whole name, or the one without unit. KeyError if it is none of them."""
    for metric in known:
        if wanted in (metric, short(metric)):
            return metric
    raise KeyError(wanted)


def shown(value: float, metric: str) -> str:
    """A metric's number with four digits and its unit."""
    if metric.endswith("_ratio"):
        return f"{100 * value:.4g} %"
    text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    unit = unit_of(metric)[1]
    return f"{text} {unit}" if unit else text


_CONDITION = re.compile(r"\s*([A-Za-z][\w.]*)\s*(<=|>=|<|>)\s*(\S.*?)\s*")


@dataclass(frozen=True, slots=True)
class Condition:
    """`metric operator bound`."""

    metric: str
    operator: str
    bound: Amount
    text: str

    def holds(self, metrics: dict[str, float]) -> bool:
        """KeyError if the metric is not there."""
        metric = named(self.metric, tuple(metrics))
        dimension, unit = unit_of(metric)
        value = metrics[metric] * (UNITS[dimension][unit] if dimension else 1.0)
        if not self.bound.measures(dimension):
            if not self.bound.dimension:
                raise ValueError(f"{self.text!r}: {self.bound.value:g} has no unit, and {metric} is a {dimension}")
            raise ValueError(
                f"{self.text!r}: {metric} is a {dimension or 'plain number'}, not a {self.bound.dimension}"
            )
        bound = self.bound.value
        match self.operator:
            case "<":
                return value < bound
            case "<=":
                return value <= bound
            case ">":
                return value > bound
            case _:
                return value >= bound

    def __str__(self) -> str:
        return self.text


def condition(text: str) -> Condition:
    """`latency_p99 < 1 ms` as a value. ValueError says what is wrong."""
    found = _CONDITION.fullmatch(text)
    bound = amount(found[3]) if found else None
    if found is None or bound is None:
        raise ValueError(f"{text!r} is no condition; write metric, one of < <= > >=, and a number with its unit")
    return Condition(found[1], found[2], bound, text)
