"""The protocol: one cell of the article to one number of the card's profile, one after the other; everything else stays as it is.

No number is fitted to two cells, none is added, and what the protocol does not name keeps the value of the shipped profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from ytwin.article.bench import Benches, Profiles, card_of, cell_load
from ytwin.article.tables import Calibration, Cell, Tables
from ytwin.hardware import Kind, Quantity, numbers, with_values
from ytwin.performance import Cell as Measured
from ytwin.performance import fit, predict
from ytwin.performance.types import Prediction

MET: Final = 1e-9
"""Ratio by which a prediction may miss a cell that it was fitted to."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A number of the profile, before and after."""

    number: str
    cell: str
    prior: Quantity
    """What the shipped profile says, from other sources than the article."""
    value: Quantity
    error: float
    """Of the cell afterwards, as a ratio: above 0 if something else limits there, so that the number cannot meet it."""

    @property
    def inside(self) -> bool:
        """Whether the prior's interval holds the fitted value."""
        return self.prior.low <= self.value.value <= self.prior.high


@dataclass(frozen=True)
class Calibrated:
    """Profiles after the protocol, and what it did."""

    profiles: Profiles
    fitted: tuple[Fitted, ...]


def formula(benches: Benches, profiles: Profiles, cell: Cell, origins: bool = False) -> Prediction:
    """What the formulas say of a cell; intervals are those of `errors.intervals`. `origins`: also what it rests on (slow)."""
    bench = benches[cell.mode]
    programs, verdicts = bench.programs[cell.client], bench.verdicts[cell.client]
    return predict(programs, verdicts, bench.cards(profiles), cell_load(cell), intervals=origins)


def value_of(benches: Benches, profiles: Profiles, cell: Cell) -> float:
    """The predicted cell, in its unit."""
    return formula(benches, profiles, cell)[cell.metric].value


def calibrate(
    benches: Benches,
    profiles: Profiles,
    tables: Tables,
    protocol: Iterable[Calibration] | None = None,
    instead: Mapping[str, float] | None = None,
    near: Profiles | None = None,
) -> Calibrated:
    """Fit the numbers of a protocol (None: the article's, CPU cells last) one by one; each meets its cell exactly if it can.

    `instead`: cell -> a value in place of the article's, to see what its noise does. `near`: profiles calibrated on something
    similar: the search begins there, which changes how long it takes and not where it ends.
    """
    name = card_of(benches, profiles)
    steps = (*tables.calibrate, *tables.fit) if protocol is None else tuple(protocol)
    priors, done = numbers(profiles[name]), []
    if near is not None:
        begin = {step.number: numbers(near[name])[step.number].value for step in steps}
        profiles = {
            **profiles,
            name: with_values(profiles[name], begin, kind=Kind.CALIBRATED, source="a similar calibration"),
        }
    for step in steps:
        cell = tables.cells[step.cell]
        target = (instead or {}).get(cell.name, cell.value)
        if near is None or abs(value_of(benches, profiles, cell) / target - 1) > MET:
            one = replace(measured(benches, cell, noise=0), measured=target)
            source = f"the article's {cell.name}, {target:g} {cell.unit}"
            profiles = fit([one], profiles, [(name, step.number)], source=source).profiles
        error = value_of(benches, profiles, cell) / target - 1
        done.append(Fitted(step.number, cell.name, priors[step.number], numbers(profiles[name])[step.number], error))
    return Calibrated(profiles, tuple(done))


def measured(benches: Benches, cell: Cell, noise: float) -> Measured:
    """A cell as `performance.fit` takes it; the noise is a ratio."""
    return Measured(cell.name, partial(_value, benches, cell), cell.value, noise)


def _value(benches: Benches, cell: Cell, profiles: Profiles) -> float:
    return value_of(benches, profiles, cell)
