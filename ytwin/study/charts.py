"""An answer as charts, before anybody decides how they are drawn: the page draws them with plotly, PNG files with matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ytwin.core.units import UNITS
from ytwin.study.amounts import amount, short, unit_of, written
from ytwin.study.designs import Variant, told
from ytwin.study.goals import LIMIT, Answer, Row, Swing
from ytwin.study.model import Plot
from ytwin.study.texts import interval_text, title_of

MOST_SERIES: Final = 12
"""In one chart; more cannot be told apart."""
MOST_BARS: Final = 16


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one group of bars."""

    name: str
    x: tuple[float, ...]
    """Numbers for a line; positions for bars."""
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def has_intervals(self) -> bool:
        """Whether any of them is wider than nothing."""
        return self.low != self.high


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture. With `names`, bars with these names (a name may have two lines); else lines."""

    title: str
    x_title: str
    y_title: str
    unit: str
    series: tuple[Series, ...]
    names: tuple[str, ...] = ()
    log_x: bool = False
    log_y: bool = False
    left_out: int = 0
    """Series or bars for which there was no room."""
    baseline: float | None = None
    """Of a chart of swings: the answer as it is."""
    joined: bool = True
    """Whether lines join the points. Neighbours of a drawn design differ in everything, so a line between them means nothing."""

    @property
    def alt(self) -> str:
        """What it shows, in words."""
        return f"{self.title}: {self.y_title} over {self.x_title}; {', '.join(s.name for s in self.series if s.name)}"


def charts(answer: Answer) -> tuple[Chart, ...]:
    """The study's own plots, or those that suggest themselves; then the ranking of assumptions."""
    rows = [row for row in answer.rows if not row.error]
    plots = answer.spec.plots or tuple(_suggested(answer))
    drawn = [chart for plot in plots if (chart := _chart(plot, rows, answer)) is not None]
    return (*drawn, *_tornados(answer))


def not_drawn(answer: Answer) -> tuple[str, ...]:
    """The study's plots of which there is nothing to draw, and why."""
    rows = [row for row in answer.rows if not row.error]
    empty = [plot for plot in answer.spec.plots if _chart(plot, rows, answer) is None]
    return tuple(
        f"{plot.title or f'{plot.y} by {plot.x}'}: no variant of it has {plot.y}, so there is no picture."
        for plot in empty
    )


def _suggested(answer: Answer) -> Iterator[Plot]:
    parameters = [p for p in answer.spec.parameters if p.choices is None]
    if not parameters or not answer.metrics:
        return
    values = {p.label: {v for row in answer.rows for v in (row.variant[p.label],)} for p in answer.spec.parameters}
    numeric = [
        p.label for p in parameters if all(amount(v) is not None for v in values[p.label]) and len(values[p.label]) > 2
    ]
    x = max(numeric, key=lambda label: len(values[label])) if numeric else parameters[0].label
    others = [p.label for p in answer.spec.parameters if p.label != x and len(values[p.label]) > 1]
    by = min(others, key=lambda label: len(values[label])) if others and answer.spec.design.kind == "grid" else ""
    chosen = next((p for p in parameters if p.label == x), None)
    log = chosen is not None and (
        chosen.log_range is not None or (chosen.distribution is not None and chosen.distribution.log)
    )
    for metric in answer.metrics[:4]:
        yield Plot(x=x, y=metric, by=by, log_x=log)


def _chart(plot: Plot, rows: Sequence[Row], answer: Answer) -> Chart | None:
    metric = LIMIT if plot.y == LIMIT else next((m for r in rows for m in r.numbers if plot.y in (m, short(m))), "")
    wanted = plot.only.items()
    known = [row for row in rows if metric in row.numbers and all(row.variant[k] == v for k, v in wanted)]
    if not known:
        return None
    scale, unit = _scale(metric, [row.numbers[metric].value for row in known], answer)
    title = plot.title or f"{title_of(metric, answer)} by {plot.x}" + (f" and {plot.by}" if plot.by else "")
    groups: dict[str, list[Row]] = {}
    # What neither stands on an axis nor is a series of its own makes further series, so that no line jumps back. Of a drawn
    # design that is what is compared: each point has both sides, at the same place of the axis.
    grid, compare = answer.spec.design.kind == "grid", answer.spec.goal.compare
    split = [p.label for p in answer.spec.parameters if grid or (compare is not None and p.label == compare.parameter)]
    rest = [label for label in split if label not in (plot.x, plot.by)]
    for row in known:
        names = [told(row.variant[plot.by])] if plot.by else []
        names += [f"{label} {told(row.variant[label])}" for label in rest if _varies(label, known)]
        groups.setdefault(", ".join(names), []).append(row)
    xs = [amount(row.variant[plot.x]) for row in known]
    left_out = max(0, len(groups) - MOST_SERIES)
    chosen = list(groups.items())[:MOST_SERIES]
    y_title = title_of(metric, answer)
    if any(x is None for x in xs):
        names = list(dict.fromkeys(told(row.variant[plot.x]) for row in known))[:MOST_BARS]
        series = tuple(_bars(name, group, plot.x, names, metric, scale) for name, group in chosen)
        return Chart(title, plot.x, y_title, unit, series, tuple(names), log_y=plot.log_y, left_out=left_out)
    written_as = str(known[0].variant[plot.x])
    x_scale, x_unit = _x_scale(
        [x.value for x in xs if x is not None], next(x.dimension for x in xs if x is not None), written_as
    )
    series = tuple(_line(name, group, plot.x, x_scale, metric, scale) for name, group in chosen)
    x_title = f"{plot.x}, {x_unit}" if x_unit else plot.x
    return Chart(title, x_title, y_title, unit, series, (), plot.log_x, plot.log_y, left_out, joined=grid)


def _varies(label: str, rows: Sequence[Row]) -> bool:
    return len({row.variant[label] for row in rows}) > 1


def _scale(metric: str, values: Sequence[float], answer: Answer) -> tuple[float, str]:
    """Factor and unit in which the numbers are drawn."""
    if metric == LIMIT:
        limit = answer.spec.goal.limit
        found = amount(limit.start) if limit is not None else None
        return _x_scale(values, found.dimension if found is not None else "", limit.start if limit is not None else "")
    dimension, unit = unit_of(metric)
    if dimension == "ratio":
        return 100.0, "%"
    if dimension in ("time", "rate", "bit rate"):
        base = UNITS[dimension][unit]
        factor, chosen = _x_scale([v * base for v in values], dimension, f"1 {unit}")
        return factor * base, chosen
    return 1.0, unit


def _x_scale(values: Sequence[float], dimension: str, like: object = "") -> tuple[float, str]:
    """The unit in which the middle of the values reads well; of rates, of packets or of others as in `like`."""
    if not dimension:
        return 1.0, ""
    ordered = sorted(v for v in values if v > 0) or [1.0]
    unit = str(written(ordered[len(ordered) // 2], dimension, like)).rpartition(" ")[2]
    return 1 / UNITS[dimension][unit], unit


def _numbers(rows: Sequence[Row], metric: str, scale: float) -> tuple[tuple[float, ...], ...]:
    numbers = [row.numbers[metric] for row in rows]
    return tuple(tuple(getattr(n, field) * scale for n in numbers) for field in ("value", "low", "high"))


def _line(name: str, rows: Sequence[Row], x: str, x_scale: float, metric: str, scale: float) -> Series:
    def at(row: Row) -> float:
        found = amount(row.variant[x])
        return found.value * x_scale if found is not None else 0.0

    ordered = sorted(rows, key=at)
    y, low, high = _numbers(ordered, metric, scale)
    return Series(name, tuple(map(at, ordered)), y, low, high)


def _bars(name: str, rows: Sequence[Row], x: str, names: Sequence[str], metric: str, scale: float) -> Series:
    by_name: dict[str, Row] = {told(row.variant[x]): row for row in rows}
    known = [(index, by_name[n]) for index, n in enumerate(names) if n in by_name]
    y, low, high = _numbers([row for _, row in known], metric, scale)
    return Series(name, tuple(float(index) for index, _ in known), y, low, high)


MOST_SWINGS: Final = 12


def _tornados(answer: Answer) -> Iterator[Chart]:
    """For each variant (three at most): the answer at both ends of each uncertain number, widest first."""
    by_variant: dict[Variant, list[Swing]] = {}
    for swing in answer.swings:
        if swing.width > 0:
            by_variant.setdefault(swing.variant, []).append(swing)
    for variant, swings in list(by_variant.items())[:3]:
        widest = swings[:MOST_SWINGS]
        metric = answer.swing_metric
        scale, unit = _scale(metric, [widest[0].base or widest[0].high], answer)
        names = tuple(_swing_name(s) for s in widest)
        positions = tuple(float(i) for i in range(len(widest)))
        ends = [("at its low end", "low"), ("at its high end", "high")]
        series = tuple(
            Series(name, positions, values, values, values)
            for name, field in ends
            for values in [tuple(getattr(s, field) * scale for s in widest)]
        )
        who = f" with {variant.text}" if variant.values else ""
        yield Chart(
            f"What moves {title_of(metric, answer)}{who}",
            "profile number",
            title_of(metric, answer),
            unit,
            series,
            names,
            left_out=len(swings) - len(widest),
            baseline=widest[0].base * scale,
        )


def _swing_name(swing: Swing) -> str:
    quantity = swing.uncertain.quantity
    return f"{swing.uncertain.number}\n{interval_text(quantity)}"
