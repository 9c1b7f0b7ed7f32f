"""Calibration: profile numbers from measurements.

Numbers and measurements are compared by their logarithms, so all of them are ratios. The result is the most probable set
(maximum a posteriori): measurements are normally distributed around predictions with their noise, numbers around the
profile's with its interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.tables import format_table
from ytwin.hardware.model import HardwareProfile, Kind, Quantity
from ytwin.hardware.values import in_unit, numbers, with_values

Floats = npt.NDArray[np.float64]
Profiles = Mapping[str, HardwareProfile]

NORMAL_95: Final = 1.959964
UNKNOWN: Final = math.log(10)
"""Standard deviation of a number of whose interval nothing is said: a factor of ten."""
LEAST_NOISE: Final = 1e-6
"""Of measurements that claim to have less."""
SUSPECT: Final = 3.0
"""Standard deviations: a cell farther off makes the search look elsewhere for a better start."""
SCAN: Final = np.linspace(-math.log(100), math.log(100), 21)
DETERMINED: Final = 0.5
"""Of a number's prior standard deviation less than this must be left, to say that the cells determine it."""
TIED: Final = 0.9
"""Correlation from which two numbers are said to be known together only."""


@dataclass(frozen=True)
class Cell:
    """One measurement, and how to predict it."""

    name: str
    predict: Callable[[Profiles], float]
    """From profiles by the names that `fit` was given."""
    measured: float
    noise: float
    """Standard deviation of the measurement, as a ratio: 0.02 is 2 %."""


@dataclass(frozen=True, slots=True)
class FittedNumber:
    """One profile number after the fit."""

    profile: str
    path: str
    value: float
    low: float
    """95 % interval from the Jacobian at the solution, the prior included."""
    high: float
    prior: Quantity
    left: float
    """Standard deviation after, of that before (logarithms): 1 if the cells say nothing of it, 0 if they say all."""
    by: tuple[tuple[str, float], ...]
    """Cells that determine it with their shares, largest first; those below 1 % left out."""
    together: tuple[str, ...]
    """Numbers that it is known together with only: others fit as well if those move too."""

    @property
    def determined(self) -> bool:
        """Whether the cells say more of it than the profile's interval did; else it stands at, or near, the profile's
        number."""
        return self.left < DETERMINED

    @property
    def surprising(self) -> bool:
        """Whether it lies outside of the interval that the profile believed in: then the number stands for something
        else as well."""
        return self.prior.low < self.prior.high and not self.prior.low <= self.value <= self.prior.high

    @property
    def name(self) -> str:
        """e.g. "ovs-kernel.slow_path.pass_time"."""
        return f"{self.profile}.{self.path}"

    def text(self, value: float) -> str:
        """A value of this number in the unit of the profile's text."""
        unit = self.prior.text.split()[-1]
        number, _, unit = in_unit(value, self.prior.dimension, unit).partition(" ")
        return f"{float(number):.4g} {unit}"


@dataclass(frozen=True, slots=True)
class FittedCell:
    """One measurement after the fit."""

    name: str
    measured: float
    predicted: float
    noise: float

    @property
    def error(self) -> float:
        """Ratio by which the prediction is too high."""
        return self.predicted / self.measured - 1


@dataclass(frozen=True)
class Fit:
    """What `fit` found."""

    profiles: Profiles
    """With the fitted numbers of kind calibrated; undetermined ones too, at their most probable value."""
    numbers: tuple[FittedNumber, ...]
    cells: tuple[FittedCell, ...]

    def __getitem__(self, name: str) -> FittedNumber:
        """By `profile.path`; KeyError if it was not free."""
        return {n.name: n for n in self.numbers}[name]

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Names of the numbers that these cells do not determine."""
        return tuple(n.name for n in self.numbers if not n.determined)

    def __str__(self) -> str:
        rows = [
            (
                n.name,
                _interval(n.prior),
                n.text(n.value) + (" (outside)" if n.surprising else ""),
                f"{n.text(n.low)} to {n.text(n.high)}",
                ", ".join(f"{cell} {share:.0%}" for cell, share in n.by) if n.determined else "not determined",
                ", ".join(n.together),
            )
            for n in self.numbers
        ]
        cells = [(c.name, f"{c.measured:.6g}", f"{c.predicted:.6g}", f"{c.error:+.1%}") for c in self.cells]
        table = format_table(("number", "before", "fitted", "95 %", "determined by", "only together with"), rows)
        return f"{table}\n\n{format_table(('cell', 'measured', 'predicted', 'error'), cells)}"


def _interval(q: Quantity) -> str:
    if q.low == q.high:
        return q.text
    low, high = (in_unit(x, q.dimension, q.text.split()[-1]).split()[0] for x in (q.low, q.high))
    return f"{q.text} ({float(low):.4g} to {float(high):.4g})"


def fit(
    cells: Iterable[Cell],
    profiles: Profiles,
    free: Iterable[tuple[str, str]],
    *,
    source: str = "fitted to measurements",
) -> Fit:
    """The numbers `free`, (name of a profile, path) each, that explain the cells best.

    A number's prior is the profile's value, with a standard deviation of a quarter of the logarithm of high / low (the interval
    holds 95 %); a factor of ten where the interval says nothing. Found by scipy's least squares (trust region), from the
    profile's values; if cells stay off by more than three times their noise, again from the best point of a search along
    each number, because a number that is not the limit at the start has no slope there. With noise near 0, numbers that
    the cells determine are found exactly. InvalidInput: a number that is unknown or 0, a measurement that is not above 0.
    """
    problem = _Problem(tuple(cells), profiles, tuple(free))
    start = np.zeros(len(problem.free))
    best = _solve(problem, start)
    if np.any(np.abs(problem.misfits(best)) > SUSPECT):
        other = _solve(problem, _scan(problem, best))
        best = min((best, other), key=problem.cost)
    return _result(problem, best, source)


class _Problem:
    """Offsets x of the free numbers' logarithms from the profile's values, in and residuals out."""

    def __init__(self, cells: tuple[Cell, ...], profiles: Profiles, free: tuple[tuple[str, str], ...]) -> None:
        self.cells, self.profiles, self.free = cells, profiles, free
        self.priors = [_prior(profiles, name, path) for name, path in free]
        self.spread = np.array([_spread(q) for q in self.priors])
        problems = [
            Problem(Location(path=f"cell {c.name}"), "range", f"measured {c.measured:g}, noise {c.noise:g}", _POSITIVE)
            for c in cells
            if not (math.isfinite(c.measured) and c.measured > 0 and math.isfinite(c.noise) and c.noise >= 0)
        ]
        if not free:
            problems.append(Problem(Location(path="fit"), "free", "no number may move", "name some"))
        if problems:
            raise InvalidInput(problems)
        self.noise = np.array([max(c.noise, LEAST_NOISE) for c in cells])
        self.measured = np.log([c.measured for c in cells])

    def values(self, x: Floats) -> list[float]:
        return [q.value * math.exp(d) for q, d in zip(self.priors, x, strict=True)]

    def moved(self, x: Floats, kind: Kind = Kind.CALIBRATED, source: str = "") -> dict[str, HardwareProfile]:
        changes: dict[str, dict[str, float]] = {}
        for (name, path), value in zip(self.free, self.values(x), strict=True):
            changes.setdefault(name, {})[path] = value
        found = dict(self.profiles)
        for name, values in changes.items():
            found[name] = with_values(found[name], values, kind=kind, source=source)
        return found

    def predicted(self, x: Floats) -> list[float]:
        profiles = self.moved(x)
        return [c.predict(profiles) for c in self.cells]

    def misfits(self, x: Floats) -> Floats:
        """In standard deviations of the measurements."""
        logs = [math.log(p) if p > 0 else -1e3 for p in self.predicted(x)]
        return np.asarray((np.array(logs) - self.measured) / self.noise)

    def residuals(self, x: Floats) -> Floats:
        return np.concatenate([self.misfits(x), x / self.spread])

    def cost(self, x: Floats) -> float:
        return float(np.sum(self.residuals(x) ** 2))


_POSITIVE: Final = "give a measurement above 0, and its noise as a ratio of at least 0"


def _prior(profiles: Profiles, name: str, path: str) -> Quantity:
    where, known = Location(path=f"{name}.{path}"), profiles.get(name)
    if known is None:
        hint = f"there are {', '.join(sorted(profiles))}"
        raise InvalidInput([Problem(where, "unknown-profile", f"no profile {name!r} is given", hint)])
    found = numbers(known)
    if path not in found:
        hint = f"its numbers are {', '.join(found)}"
        raise InvalidInput([Problem(where, "unknown-number", "the profile has no such number", hint)])
    if found[path].value <= 0:
        hint = "only numbers above 0 can be fitted: give it a small value"
        raise InvalidInput([Problem(where, "range", "it is 0", hint)])
    return found[path]


def _spread(q: Quantity) -> float:
    if q.low == q.high:
        return UNKNOWN
    above = math.log(q.high / q.value)
    below = math.log(q.value / q.low) if q.low > 0 else UNKNOWN
    return max((above + below) / 4, 1e-3)


def _solve(problem: _Problem, start: Floats) -> Floats:
    found = least_squares(
        problem.residuals,
        start,
        x_scale=problem.spread,
        ftol=1e-14,
        xtol=1e-14,
        gtol=1e-14,
        max_nfev=200,
    )
    return np.asarray(found.x)


def _scan(problem: _Problem, start: Floats) -> Floats:
    """Along one number after the other, the best of some values; until no number moves."""
    x, best = start.copy(), problem.cost(start)
    for _ in range(3):
        before = best
        for i in range(len(x)):
            for offset in SCAN:
                trial = x.copy()
                trial[i] = offset
                cost = problem.cost(trial)
                if cost < best:
                    x, best = trial, cost
        if best == before:
            break
    return x


def _result(problem: _Problem, x: Floats, source: str) -> Fit:
    slopes = _slopes(problem, x)
    precision = slopes.T @ slopes + np.diag(problem.spread**-2)
    covariance = np.linalg.inv(precision)
    deviation = np.sqrt(np.diag(covariance))
    gains = (covariance @ slopes.T) ** 2
    correlation = covariance / np.outer(deviation, deviation)
    values = problem.values(x)
    found = []
    for i, (name, path) in enumerate(problem.free):
        tied = [j for j in range(len(x)) if j != i and abs(correlation[i, j]) > TIED]
        found.append(
            FittedNumber(
                name,
                path,
                values[i],
                values[i] * math.exp(-NORMAL_95 * deviation[i]),
                values[i] * math.exp(NORMAL_95 * deviation[i]),
                problem.priors[i],
                float(deviation[i] / problem.spread[i]),
                _shares(gains[i], problem.cells),
                tuple(f"{problem.free[j][0]}.{problem.free[j][1]}" for j in tied),
            )
        )
    profiles = dict(problem.profiles)
    for n in found:
        span = {n.path: (n.low, n.high)}
        profiles[n.profile] = with_values(
            profiles[n.profile], {n.path: n.value}, kind=Kind.CALIBRATED, source=source, intervals=span
        )
    predicted = problem.predicted(x)
    cells = tuple(FittedCell(c.name, c.measured, p, c.noise) for c, p in zip(problem.cells, predicted, strict=True))
    return Fit(profiles, tuple(found), cells)


def _slopes(problem: _Problem, x: Floats, step: float = 1e-5) -> Floats:
    """Central differences of the misfits."""
    columns = []
    for i in range(len(x)):
        move = np.zeros(len(x))
        move[i] = step
        columns.append((problem.misfits(x + move) - problem.misfits(x - move)) / (2 * step))
    return np.array(columns).T.reshape(len(problem.cells), len(x))


def _shares(gains: Floats, cells: Sequence[Cell]) -> tuple[tuple[str, float], ...]:
    total = float(gains.sum())
    if total <= 0:
        return ()
    shares = [(c.name, float(g) / total) for c, g in zip(cells, gains, strict=True)]
    return tuple(sorted((s for s in shares if s[1] >= 0.01), key=lambda s: (-s[1], s[0])))
