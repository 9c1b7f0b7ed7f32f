"""Quantities as people write them, with their unit, to numbers in one base unit per dimension. Time is in picoseconds."""

from __future__ import annotations

import math
import re
from typing import Final

from ytwin.core.errors import InvalidInput, Location, Problem

PS_PER_S: Final = 1_000_000_000_000
"""Engines count time in whole picoseconds: sums are exact, so two engines that agree agree to the last digit."""

UNITS: Final[dict[str, dict[str, float]]] = {
    "time": {"ps": 1, "ns": 1e3, "us": 1e6, "ms": 1e9, "s": 1e12},  # picoseconds
    "rate": {"/s": 1, "k/s": 1e3, "M/s": 1e6, "pps": 1, "kpps": 1e3, "Mpps": 1e6},  # per second
    "bit rate": {"bit/s": 1, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9},  # bit per second
    "size": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},  # bytes
    "frequency": {"Hz": 1, "MHz": 1e6, "GHz": 1e9},  # cycles per second
    "count": dict.fromkeys(
        (
            *("cores", "threads", "ports", "packets", "entries", "connections", "rules", "tables", "passes", "hops"),
            "instructions",
        ),
        1.0,
    ),
    "CPI": {"cycles/instruction": 1},
    "ratio": {"times": 1, "%": 1e-2},
}
"""Dimension -> unit -> how many of the base unit (ps, 1/s, bit/s, B, Hz, one) it is."""

_NUMBER = re.compile(r"\s*([+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*?)?\s*")


def parts(text: str) -> tuple[str, str]:
    """Number and unit of a text, each "" if it is not there. The number is as it was written, without underscores.

    >>> parts("1_000ns")
    ('1000', 'ns')
    """
    found = _NUMBER.fullmatch(text)
    return (found[1].replace("_", ""), found[2] or "") if found is not None else ("", "")


LEAST, MOST = 1e-30, 1e30
"""In base units: products and ratios of a few such numbers still have a value."""


def quantity(text: str | float, dimension: str, where: str = "") -> float:
    """A number in the dimension's base unit; InvalidInput for a missing or unknown unit, for negative and endless numbers.

    >>> quantity("45 Mpps", "rate")
    45000000.0
    """
    units = UNITS[dimension]
    known = f"write a number and one of {', '.join(units)}, such as `3 {next(iter(units))}`"
    said, unit = parts(str(text))
    if not said:
        raise bad(where, "quantity", f"{text!r} is no {dimension}", known)
    number = float(said)
    if not unit:
        raise bad(where, "unit", f"{text!r} has no unit", known)
    if unit not in units:
        if others := [name for name, known_units in UNITS.items() if unit in known_units]:
            raise bad(where, "dimension", f"{text!r} is a {others[0]}, not a {dimension}", known)
        raise bad(where, "unit", f"{unit!r} is no unit of {dimension}", known)
    if not math.isfinite(number * units[unit]) or number < 0:
        raise bad(
            where, "range", f"{text!r} is not a finite number of at least 0", "write how much there is, without a sign"
        )
    if number and not LEAST <= number * units[unit] <= MOST:
        hint = f"write a number that makes sense, {LEAST / units[unit]:.3g} to {MOST / units[unit]:.3g} {unit}"
        raise bad(where, "range", f"{text!r} is beyond all that can be reckoned with", hint)
    return number * units[unit]


def time_ps(text: str | float, where: str = "") -> int:
    """A time such as `33 us`, in whole picoseconds."""
    return round(quantity(text, "time", where))


def bad(where: str, code: str, message: str, hint: str) -> InvalidInput:
    """An error that says what, where and what to do."""
    return InvalidInput([Problem(Location(path=where), code, message, hint)])


def require(holds: bool, where: str, message: str, hint: str) -> None:
    """Raise InvalidInput unless it holds."""
    if not holds:
        raise bad(where, "range", message, hint)
