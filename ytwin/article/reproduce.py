"""The article's section 3.2 beside the twin: every cell, its error and what that is worth, the claims, and how sure it all is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median

from ytwin.article.bench import Benches, Profiles, card_of, cell_load
from ytwin.article.calibrate import Calibrated, calibrate, formula, value_of
from ytwin.article.claims import Claim, Fact, judge_claims
from ytwin.article.errors import (
    LeftOut,
    Sibling,
    error_of,
    intervals,
    leave_one_out,
    set_to,
    sibling_choices,
)
from ytwin.article.tables import Assumption, Cell, Role, Tables, article_tables
from ytwin.core.units import quantity
from ytwin.hardware import Quantity, numbers
from ytwin.performance import predict
from ytwin.performance.types import Metric, Prediction, Value

SIMULATED = (Metric.BANDWIDTH, Metric.PACKET_RATE, Metric.LATENCY, Metric.REQUEST_RATE)
"""What engines measure; instructions come from the formulas whatever the engine."""
APART = 0.01
"""From this on, engine and formula are said to differ."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CellResult:
    """One cell of the article and what the twin says of it."""

    cell: Cell
    value: float
    low: float
    high: float
    """Interval, see `errors.intervals`."""
    prediction: Prediction
    simulated: Value | None
    """The engine's mean and 95 % interval; None for what engines do not measure, or if none was asked."""

    @property
    def error(self) -> float:
        """Ratio, signed."""
        return error_of(self.value, self.cell.value)

    @property
    def apart(self) -> float:
        """The engine's mean against the formula, a ratio; 0 where there is none."""
        return error_of(self.simulated.value, self.value) if self.simulated is not None else 0.0

    @property
    def beyond_stated(self) -> bool:
        """Whether the error is larger than the one stated in tables.yaml."""
        return self.cell.stated is not None and abs(self.error) > self.cell.stated


@dataclass(frozen=True, slots=True)
class AssumptionResult:
    """A cell, or a calibrated number, with an assumption and with something else in its place."""

    assumption: Assumption
    number: Quantity | None
    """What the profile says; None for a load."""
    source: str
    what: str
    """The cell, or the number's path."""
    article: float | None
    """None for a number."""
    value: float
    without: float
    """With `Assumption.like` or `Assumption.instead`, everything calibrated anew."""
    text: str
    """Value with its unit."""
    text_without: str


@dataclass(frozen=True)
class Reproduction:
    """All of it."""

    tables: Tables
    results: tuple[CellResult, ...]
    calibrated: Calibrated
    claims: tuple[Claim, ...]
    facts: tuple[Fact, ...]
    assumptions: tuple[AssumptionResult, ...]
    left_out: tuple[LeftOut, ...]
    siblings: tuple[Sibling, ...]
    card: str
    """Name of the profile of both nodes."""
    benches: Benches
    seed: int

    def of(self, role: Role) -> tuple[CellResult, ...]:
        """Cells of a role."""
        return tuple(r for r in self.results if r.cell.role is role)

    @property
    def predicted(self) -> tuple[CellResult, ...]:
        """Cells that agreement says something about."""
        return self.of(Role.PREDICTED)

    @property
    def earned(self) -> tuple[CellResult, ...]:
        """Predicted cells without those that only repeat another cell's measurement."""
        return tuple(r for r in self.predicted if not r.cell.repeats)

    @property
    def red(self) -> tuple[CellResult, ...]:
        """Predicted cells outside of the target."""
        return tuple(r for r in self.predicted if abs(r.error) > self.tables.target_each)

    @property
    def apart(self) -> tuple[CellResult, ...]:
        """Cells where the engine's mean and the formula differ noticeably."""
        return tuple(r for r in self.results if abs(r.apart) > APART)

    @property
    def beyond_stated(self) -> tuple[CellResult, ...]:
        """Cells whose error is larger than stated: something has changed."""
        return tuple(r for r in self.results if r.beyond_stated)

    @property
    def profile_numbers(self) -> Mapping[str, Quantity]:
        """Of the calibrated profile."""
        return numbers(self.calibrated.profiles[self.card])


def median_error(results: tuple[CellResult, ...]) -> float:
    """Of the absolute errors."""
    return median(abs(r.error) for r in results)


def reproduce(
    benches: Benches,
    profiles: Profiles,
    *,
    tables: Tables | None = None,
    seed: int = 0,
    simulate: bool = True,
    left_out: bool = True,
    progress: Progress | None = None,
) -> Reproduction:
    """Calibrate by the protocol, predict the rest. `profiles` are priors: nothing of the article is in them.

    `simulate`: also by the fast engine, from the seed. `left_out`: leave-one-out and the choices of other cells.
    """
    tables = tables or article_tables()
    done = calibrate(benches, profiles, tables)
    bounds = intervals(benches, profiles, tables)
    results = []
    for index, cell in enumerate(tables.cells.values()):
        if progress is not None:
            progress(index, len(tables.cells))
        said = formula(benches, done.profiles, cell, origins=True)
        measured = simulate and cell.metric in SIMULATED
        engine = simulated(benches, done.profiles, cell, tables, seed) if measured else None
        results.append(CellResult(cell, said[cell.metric].value, *bounds[cell.name], said, engine))
    values = {r.cell.name: r.value for r in results}
    claims, facts = judge_claims({n: c.value for n, c in tables.cells.items()}, values, tables.noise)
    return Reproduction(
        tables,
        tuple(results),
        done,
        claims,
        facts,
        _assumptions(benches, profiles, tables, done.profiles, values),
        leave_one_out(benches, profiles, tables) if left_out else (),
        sibling_choices(benches, profiles, tables) if left_out else (),
        card_of(benches, profiles),
        benches,
        seed,
    )


def simulated(benches: Benches, profiles: Profiles, cell: Cell, tables: Tables, seed: int) -> Value:
    """What the fast engine says of a cell: mean over its replications, and 95 % interval."""
    bench = benches[cell.mode]
    said = predict(
        bench.programs[cell.client],
        bench.verdicts[cell.client],
        bench.cards(profiles),
        cell_load(cell),
        engine="fast",
        seed=seed,
        intervals=False,
        duration_ps=tables.loads[cell.load].duration_ps,
    )
    return said[cell.metric]


def _assumptions(
    benches: Benches, profiles: Profiles, tables: Tables, done: Profiles, values: Mapping[str, float]
) -> tuple[AssumptionResult, ...]:
    name = card_of(benches, profiles)
    prior, found = numbers(profiles[name]), list[AssumptionResult]()
    for said in tables.assumptions:
        number, source = prior.get(said.number), tables.loads[said.load].why if said.load else prior[said.number].source
        moved, cells = _supposed(said, profiles, name, tables)
        other = calibrate(benches, moved, cells).profiles
        for path in said.decides:
            q, without = numbers(done[name])[path], numbers(other[name])[path]
            texts = (_in_words(q), _in_words(without))
            found.append(AssumptionResult(said, number, source, path, None, q.value, without.value, *texts))
        for cell in (cells.cells[c] for c in said.cells):
            value, changed = values[cell.name], value_of(benches, other, cell)
            texts = (f"{value:.4g} {cell.unit}", f"{changed:.4g} {cell.unit}")
            found.append(AssumptionResult(said, number, source, cell.name, cell.value, value, changed, *texts))
    return tuple(found)


def _supposed(said: Assumption, profiles: Profiles, name: str, tables: Tables) -> tuple[Profiles, Tables]:
    """Profiles and tables as if it were otherwise."""
    if said.load:
        changed = {n: replace(c, load_text=said.instead) if c.load == said.load else c for n, c in tables.cells.items()}
        return profiles, replace(tables, cells=changed)
    prior = numbers(profiles[name])
    value = prior[said.like].value if said.like else quantity(said.instead, prior[said.number].dimension, said.number)
    return set_to(profiles, name, said.number, value), tables


def _in_words(number: Quantity) -> str:
    figure, _, unit = number.text.partition(" ")
    return f"{float(figure):.4g} {unit}"
