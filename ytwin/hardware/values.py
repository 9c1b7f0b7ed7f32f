"""The numbers of a profile by their paths: to read them, and to put others in their place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import UNITS, parts, quantity
from ytwin.hardware.forms import forms
from ytwin.hardware.model import HardwareProfile, Kind, Mark, Part, Quantity
from ytwin.resources.fields import nearest

AnyPart = TypeVar("AnyPart", bound=Part)
_NO_INTERVALS: Mapping[str, tuple[float, float]] = MappingProxyType({})


def numbers(profile: HardwareProfile) -> Mapping[str, Quantity]:
    """Every number of a profile by its path, such as `eswitch.packet_time` or `eswitch.crowding[0].slowdown`."""
    return MappingProxyType({path: value for path, value, _ in _numbers(profile, "")})


def drawn_between(profile: HardwareProfile, draw: Callable[[str, Quantity], float]) -> dict[str, float]:
    """Path -> a value inside of the interval of each number that has one; `draw` says how far, from 0 to 1. Cores, ports and
    threads are whole: each of those in the interval as often as the others."""
    found = {}
    for path, number, mark in _numbers(profile, ""):
        if number.low < number.high:
            span = number.high - number.low
            share = draw(path, number)
            found[path] = number.low + (math.floor(share * (span + 1)) if mark.whole else share * span)
    return found


def _numbers(part: Part, prefix: str) -> Iterator[tuple[str, Quantity, Mark]]:
    for form in forms(type(part)).values():
        value = getattr(part, form.name)
        if form.mark is not None:
            if value is not None:
                yield f"{prefix}{form.name}", value, form.mark
        elif isinstance(value, Part):
            yield from _numbers(value, f"{prefix}{form.name}.")
        elif form.many:
            for index, item in enumerate(value):
                yield from _numbers(item, f"{prefix}{form.name}[{index}].")


def in_unit(value: float, dimension: str, unit: str = "") -> str:
    """A number in base units as text that `core.units.quantity` reads back as exactly the same number.

    In the unit asked for if that is exact, else in the largest that is exact and keeps the number at 1 or more.

    >>> in_unit(1.5e3, "time"), in_unit(45e6, "rate", "Mpps")
    ('1.5 ns', '45 Mpps')
    """
    units = UNITS[dimension]
    if dimension == "count":
        return f"{_plain(value)} {unit}"
    fitting = sorted((u for u in units if abs(value) >= units[u]), key=lambda u: -units[u])
    for name in (*((unit,) if unit in units else ()), *fitting):
        number = _plain(value / units[name])
        if float(number) * units[name] == value:
            return f"{number} {name}"
    return f"{_plain(value)} {base_unit(dimension)}"


def base_unit(dimension: str) -> str:
    """The unit that `Quantity.value` is in; "" for a count, which has many names."""
    return next(unit for unit, factor in UNITS[dimension].items() if factor == 1) if dimension != "count" else ""


def _plain(number: float) -> str:
    number = float(number)
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def with_values(
    profile: HardwareProfile,
    values: Mapping[str, float],
    *,
    kind: Kind,
    source: str,
    conditions: str = "",
    intervals: Mapping[str, tuple[float, float]] = _NO_INTERVALS,
) -> HardwareProfile:
    """The profile with other numbers, in base units, at some of its paths; where no interval is given, it is the number itself.

    InvalidInput names a path that the profile does not have, and a number that is negative, endless, or outside its interval.
    """
    marks = {path: (old, mark) for path, old, mark in _numbers(profile, "")}
    problems: list[Problem] = []
    changed: dict[str, Quantity] = {}
    for path, value in values.items():
        here = Location(profile.name, path=path)
        if path not in marks:
            meant = nearest(path, marks, 0.8)
            hint = f"did you mean {meant}?" if meant else f"its numbers are {', '.join(marks)}"
            problems.append(Problem(here, "unknown-number", f"the profile {profile.name} has no such number", hint))
            continue
        old, mark = marks[path]
        low, high = intervals.get(path, (value, value))
        try:
            texts = [in_unit(x, mark.dimension, parts(old.text)[1]) for x in (value, low, high)]
            for text in texts:
                quantity(text, mark.dimension)
        except InvalidInput as error:
            problems += [Problem(here, p.code, p.message, p.hint) for p in error.problems]
            continue
        if mark.positive and not value:
            problems.append(Problem(here, "range", f"{texts[0]} cannot be", "give more than 0"))
        elif mark.whole and not all(float(x).is_integer() for x in (value, low, high)):
            problems.append(
                Problem(here, "range", f"{texts[0]} cannot be: there are only whole ones", "give a whole number")
            )
        elif not low <= value <= high:
            message = f"{texts[0]} lies outside of its interval {texts[1]} to {texts[2]}"
            problems.append(Problem(here, "interval", message, "give an interval that contains the number"))
        changed[path] = old.model_copy(
            update={"value": float(value), "low": float(low), "high": float(high), "text": texts[0]}
            | {"kind": kind, "source": source, "conditions": conditions}
        )
    if problems:
        raise InvalidInput(problems)
    return _replaced(profile, changed, "")


def _replaced(part: AnyPart, changed: Mapping[str, Quantity], prefix: str) -> AnyPart:
    update: dict[str, Any] = {}
    for form in forms(type(part)).values():
        path, value = f"{prefix}{form.name}", getattr(part, form.name)
        if form.mark is not None:
            if path in changed:
                update[form.name] = changed[path]
        elif isinstance(value, Part):
            update[form.name] = _replaced(value, changed, f"{path}.")
        elif form.many:
            update[form.name] = tuple(_replaced(item, changed, f"{path}[{i}].") for i, item in enumerate(value))
    return part.model_copy(update=update)
