"""How sure the predictions are: intervals from the article's noise and the profile's, leave-one-out, other choices of cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final

from ytwin.article.bench import Benches, Profiles, card_of
from ytwin.article.calibrate import Calibrated, calibrate, formula, measured, value_of
from ytwin.article.tables import Calibration, Cell, Role, Tables
from ytwin.hardware import numbers, with_values
from ytwin.performance import fit

Interval = tuple[float, float]
Run = Callable[[], Profiles]
HALVINGS: Final = 6
"""How often an end that the article refutes is pulled half way back."""


def error_of(value: float, target: float) -> float:
    """As a ratio of the target, signed."""
    return value / target - 1


def set_to(profiles: Profiles, name: str, number: str, value: float) -> Profiles:
    """The profiles with one number moved; what it is and where it is from stays as it was."""
    was = numbers(profiles[name])[number]
    return {**profiles, name: with_values(profiles[name], {number: value}, kind=was.kind, source=was.source)}


def intervals(
    benches: Benches,
    profiles: Profiles,
    tables: Tables,
    protocol: Sequence[Calibration] | None = None,
    cells: Iterable[Cell] | None = None,
) -> Mapping[str, Interval]:
    """Cell -> low and high. One source of error is moved at a time and everything is calibrated anew: each calibrated cell by the
    article's noise, each number that is not calibrated, and that a cell rests on, to the ends of its interval. The changes, those
    upwards and those downwards on their own, are the root of the sum of their squares: errors of several sources are independent.

    So a number that calibration makes up for (twice the cores, twice the time per pass) does not widen what it cannot change.
    """
    steps = (*tables.calibrate, *tables.fit) if protocol is None else tuple(protocol)
    shown = tuple(tables.cells.values() if cells is None else cells)
    near = calibrate(benches, profiles, tables, steps).profiles
    at = {cell.name: value_of(benches, near, cell) for cell in shown}
    down, up = dict.fromkeys(at, 0.0), dict.fromkeys(at, 0.0)
    for pair in _moves(benches, profiles, tables, steps, near, shown):
        moved = [run() for run in pair]
        for cell in shown:
            changes = [value_of(benches, other, cell) - at[cell.name] for other in moved]
            down[cell.name] += min(0.0, *changes) ** 2
            up[cell.name] += max(0.0, *changes) ** 2
    return {n: (v - math.sqrt(down[n]), v + math.sqrt(up[n])) for n, v in at.items()}


def _bearable(run: Callable[[float], Calibrated], value: float, end: float, noise: float) -> Profiles:
    """Calibrated with the number at its end, or as far towards it as the calibrated cells allow: what they refute is out."""
    for _ in range(HALVINGS):
        done = run(end)
        if all(abs(f.error) <= noise for f in done.fitted):
            return done.profiles
        end = (value + end) / 2
    return run(value).profiles


def _moves(
    benches: Benches,
    profiles: Profiles,
    tables: Tables,
    steps: Sequence[Calibration],
    near: Profiles,
    cells: Sequence[Cell],
) -> Iterator[tuple[Run, Run]]:
    used = rests_on(benches, near, cells)
    again = partial(_again, benches, tables, steps, near)
    for step in steps:
        if step.number in used:
            value = tables.cells[step.cell].value
            ends = (value * (1 - tables.noise), value * (1 + tables.noise))
            yield (
                partial(_noisy, again, profiles, step.cell, ends[0]),
                partial(_noisy, again, profiles, step.cell, ends[1]),
            )
    name = card_of(benches, profiles)
    known = numbers(profiles[name])
    for path in sorted(used - {step.number for step in steps}):
        number = known[path]
        if number.low < number.high:
            moved = partial(_moved, again, profiles, name, path)
            low, high = (
                partial(_bearable, moved, number.value, end, tables.noise) for end in (number.low, number.high)
            )
            yield low, high


def _again(
    benches: Benches,
    tables: Tables,
    steps: Sequence[Calibration],
    near: Profiles,
    profiles: Profiles,
    instead: Mapping[str, float],
) -> Calibrated:
    return calibrate(benches, profiles, tables, steps, instead, near)


Again = Callable[[Profiles, Mapping[str, float]], Calibrated]


def _noisy(again: Again, profiles: Profiles, cell: str, value: float) -> Profiles:
    return again(profiles, {cell: value}).profiles


def _moved(again: Again, profiles: Profiles, name: str, path: str, end: float) -> Calibrated:
    return again(set_to(profiles, name, path, end), {})


def rests_on(benches: Benches, profiles: Profiles, cells: Iterable[Cell]) -> frozenset[str]:
    """Numbers of the profile that some cell's prediction uses."""
    used: set[str] = set()
    for cell in cells:
        said = formula(benches, profiles, cell, origins=True)
        used.update(entry.partition(".")[2].rpartition(" ")[0] for entry in said.rests_on)
        for way in filter(None, (said.forward, said.reply)):
            used.update(path for demand in way.demands for path in demand.rests_on)
            used.update(path for part in way.latency for path in part.rests_on)
    return frozenset(used)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A calibrated cell, predicted without itself."""

    cell: str
    number: str
    value: float
    error: float
    low: float
    high: float
    """With the number at the ends of what is known of it, and all that are not calibrated at those of their intervals."""
    by: tuple[tuple[str, float], ...]
    """Cells that know the number, with their shares; empty: only its prior decides."""


@dataclass(frozen=True, slots=True)
class Sibling:
    """The same number calibrated on another cell instead."""

    cell: str
    sibling: str
    number: str
    value: float
    """The cell that is left out, predicted from the sibling."""
    error: float
    median: float
    """Of the absolute errors of all cells that this choice predicts."""
    worst: float
    worst_cell: str


def leave_one_out(benches: Benches, profiles: Profiles, tables: Tables) -> tuple[LeftOut, ...]:
    """Each calibrated cell in turn: all numbers of the protocol fitted to the other cells, which have the article's noise, and to
    the priors of the shipped profile; then the cell predicted."""
    name = card_of(benches, profiles)
    free = [(name, step.number) for step in tables.calibrate]
    found = []
    for left in tables.calibrate:
        cell = tables.cells[left.cell]
        others = [measured(benches, tables.cells[s.cell], tables.noise) for s in tables.calibrate if s is not left]
        done = fit(others, profiles, free, source="the article's calibrated cells but one")
        number = done[f"{name}.{left.number}"]
        value, known = value_of(benches, done.profiles, cell), numbers(done.profiles[name])
        open_ = rests_on(benches, done.profiles, [cell]) - {step.number for step in tables.calibrate}
        ends = {path: (known[path].low, known[path].high) for path in open_} | {left.number: (number.low, number.high)}
        down = up = 0.0
        for path, pair in ends.items():
            others_moved = (value_of(benches, set_to(done.profiles, name, path, end), cell) for end in pair)
            changes = [other - value for other in others_moved] if pair[0] < pair[1] else []
            down += min(0.0, *changes, 0.0) ** 2
            up += max(0.0, *changes, 0.0) ** 2
        low, high = value - math.sqrt(down), value + math.sqrt(up)
        by = number.by if number.determined else ()
        found.append(LeftOut(cell.name, left.number, value, error_of(value, cell.value), low, high, by))
    return tuple(found)


def sibling_choices(benches: Benches, profiles: Profiles, tables: Tables) -> tuple[Sibling, ...]:
    """For each calibrated cell and each cell that could have been used for its number instead: what would come out."""
    near = calibrate(benches, profiles, tables, tables.calibrate).profiles
    found = []
    for left in tables.calibrate:
        cell = tables.cells[left.cell]
        for sibling in left.siblings:
            steps = [s.model_copy(update={"cell": sibling}) if s is left else s for s in tables.calibrate]
            done = _again(benches, tables, steps, near, profiles, {}).profiles
            used = {step.cell for step in steps}
            errors = {
                n: abs(error_of(value_of(benches, done, c), c.value))
                for n, c in tables.cells.items()
                if n not in used and c.role is not Role.FITTED
            }
            worst = max(errors, key=errors.__getitem__)
            value = value_of(benches, done, cell)
            middle = median(errors.values())
            error = error_of(value, cell.value)
            found.append(Sibling(cell.name, sibling, left.number, value, error, middle, errors[worst], worst))
    return tuple(found)
