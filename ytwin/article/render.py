"""A Reproduction as text tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ytwin.article.claims import ClaimVerdict
from ytwin.article.errors import rests_on
from ytwin.article.reproduce import APART, CellResult, Reproduction, median_error
from ytwin.article.tables import Role
from ytwin.hardware import Quantity, numbers

ROWS = {"baseline": "bare metal", "node": "node", "pod": "Pod"}
"""The article's rows: node to node without Service, and who calls the Service."""
NARROW = 1e-6
"""Of its value: an interval that only comes from arithmetic."""
DIFFERENCE = "+%"
"""Unit of a fact that says how much more (or less) than another number it is."""
OUTSIDE = "OUTSIDE"
"""Mark of a predicted cell that misses the target."""


@dataclass(frozen=True)
class Listing:
    """A table with a title; `bad` are rows that must catch the eye."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    bad: frozenset[int] = frozenset()
    numeric: frozenset[int] = frozenset()
    note: str = ""


def shown(value: float) -> str:
    """Four digits, more where there are more before the point.

    >>> shown(0.69), shown(151.743), shown(122613.0)
    ('0.69', '151.7', '122,613')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def percent(ratio: float, sign: bool = True) -> str:
    """A ratio in per cent, with one decimal; no "-0.0"."""
    rounded = round(100 * ratio, 1) + 0.0
    return f"{rounded:+.1f} %" if sign and rounded else f"{rounded:.1f} %"


def target(ratio: float) -> str:
    """A ratio that somebody has set, in per cent as it was written."""
    return f"{100 * ratio:.3g} %"


INTERVAL = (
    "Interval: the article's noise in the calibrated cells, and the intervals of the profile's other numbers, calibrated anew "
    "for each. Simulated: the fast engine against the formula."
)


def value_text(number: Quantity) -> str:
    """A profile's number with its unit, in four digits."""
    figure, _, unit = number.text.partition(" ")
    return f"{shown(float(figure))} {unit}"


def interval_text(number: Quantity) -> str:
    """Its interval in its own unit, "" where there is none."""
    if number.high - number.low <= NARROW * number.value:
        return ""
    unit = number.text.partition(" ")[2]
    scale = float(number.text.partition(" ")[0]) / number.value if number.value else 0.0
    return f"{shown(number.low * scale)} to {shown(number.high * scale)} {unit}"


def summary(r: Reproduction) -> str:
    """The answer in a few sentences."""
    cells, earned, t = r.predicted, r.earned, r.tables
    inside = len(cells) - len(r.red)
    inside_earned = sum(abs(x.error) <= t.target_each for x in earned)
    told = [
        f"{inside} of {len(cells)} predicted cells are within {target(t.target_each)} of the article, median error "
        f"{percent(median_error(cells), False)} (target {target(t.target_median)}; the article's own noise is about "
        f"{target(t.noise)}).",
        f"{len(cells) - len(earned)} of them only repeat a baseline that was measured twice; without these it is "
        f"{inside_earned} of {len(earned)}, median {percent(median_error(earned), False)}.",
        f"{len(r.of(Role.CALIBRATED))} cells were calibrated on and {len(r.of(Role.FITTED))} CPU cells fitted: "
        "those agree by construction.",
    ]
    if r.red:
        told.append(f"Outside: {', '.join(f'{x.cell.name} {percent(x.error)}' for x in r.red)}.")
    if r.beyond_stated:
        told.append(f"More than the stated error: {', '.join(x.cell.name for x in r.beyond_stated)}.")
    return " ".join(told)


def worth(x: CellResult) -> str:
    """What agreement is worth: the role, and whether it is the same measurement again."""
    return f"{x.cell.role.value}, a repeat" if x.cell.repeats else x.cell.role.value


def span(x: CellResult) -> str:
    """Its interval."""
    return f"{shown(x.low)} to {shown(x.high)}"


def mark(x: CellResult, r: Reproduction) -> str:
    """Set where a predicted cell misses the target."""
    return OUTSIDE if x in r.red else ""


def limit(x: CellResult) -> str:
    """What sets the value."""
    return "" if x.cell.role is Role.FITTED else x.prediction.limit or "latency"


def apart(x: CellResult) -> str:
    """The engine against the formula."""
    return "" if x.simulated is None else f"{percent(x.apart)}{' DIFFERS' if abs(x.apart) > APART else ''}"


def cells(r: Reproduction) -> Listing:
    """Every cell."""
    header = ["table", "row", "mode", "article", "twin", "unit", "error", "interval", "", "role", "limit", "simulated"]
    rows = []
    for x in r.results:
        c = x.cell
        figures = (shown(c.value), shown(x.value), c.unit, percent(x.error), span(x), mark(x, r))
        rows.append((c.table, ROWS[c.row], c.mode.value, *figures, worth(x), limit(x), apart(x)))
    bad = frozenset(i for i, x in enumerate(r.results) if x in r.red or x.beyond_stated)
    return Listing("Cells", header, rows, bad, frozenset({3, 4, 6, 7, 11}), INTERVAL)


def calibration(r: Reproduction) -> Listing:
    """Every number that was fitted."""
    rows = []
    for f in r.calibrated.fitted:
        role = r.tables.cells[f.cell].role.value
        inside = "" if f.inside else "outside of its prior"
        prior = f"{value_text(f.prior)} ({interval_text(f.prior)})"
        rows.append((f.number, f.cell, role, prior, value_text(f.value), percent(f.error), inside))
    header = ("number", "cell", "role", "before", "after", "error", "")
    note = (
        "Outside of its prior's interval a number stands for something else as well."
        if any(r[-1] for r in rows)
        else ""
    )
    return Listing("Calibration: one cell, one number", header, rows, numeric=frozenset({5}), note=note)


def left_out(r: Reproduction) -> Listing:
    """Leave-one-out."""
    rows = []
    for x in r.left_out:
        article = r.tables.cells[x.cell].value
        decides = ", ".join(f"{cell} {share:.0%}" for cell, share in x.by) or "the prior alone"
        inside = "inside" if x.low <= article <= x.high else "outside"
        reach = f"{shown(x.low)} to {shown(x.high)}"
        rows.append((x.cell, x.number, shown(article), shown(x.value), percent(x.error), reach, inside, decides))
    header = ("left out", "number", "article", "twin", "error", "interval", "the article is", "decided by")
    return Listing(
        "Leave-one-out: each calibrated cell predicted without itself",
        header,
        rows,
        numeric=frozenset({2, 3, 4, 5}),
        note="All seven numbers are fitted again to the six other cells (with the article's noise) and to their priors, which "
        "come from other sources than the article. The protocol gives each number one cell, so mostly the prior alone decides.",
    )


def siblings(r: Reproduction) -> Listing:
    """Other choices of cells."""
    rows = [
        (
            x.cell,
            x.sibling,
            shown(r.tables.cells[x.cell].value),
            shown(x.value),
            percent(x.error),
            percent(x.median, False),
            percent(x.worst, False),
            x.worst_cell,
        )
        for x in r.siblings
    ]
    header = ("left out", "calibrated on", "article", "twin", "error", "median", "worst", "of")
    bad = frozenset(i for i, x in enumerate(r.siblings) if x.worst > r.tables.target_each)
    return Listing(
        "What if another cell had been calibrated on",
        header,
        rows,
        bad,
        frozenset({2, 3, 4, 5, 6}),
        "The number of the cell that is left out is calibrated on the other; median and worst: of all cells that this predicts.",
    )


def assumptions(r: Reproduction) -> Listing:
    """What no cell calibrates and cells hang on, each with something else that it might be."""
    rows = [
        (
            f"{a.assumption.number} = {a.number.text}"
            if a.number is not None
            else r.tables.loads[a.assumption.load].load,
            a.number.kind.value if a.number is not None else "not stated",
            a.assumption.instead or f"as {a.assumption.like}",
            a.what,
            shown(a.article) if a.article is not None else "",
            a.text + (f" ({percent(a.value / a.article - 1)})" if a.article is not None else ""),
            a.text_without + (f" ({percent(a.without / a.article - 1)})" if a.article is not None else ""),
            a.source if i == 0 or a.assumption is not r.assumptions[i - 1].assumption else "",
        )
        for i, a in enumerate(r.assumptions)
    ]
    header = ("assumption", "kind", "if instead", "cell or number", "article", "twin", "would be", "source")
    note = "Would be: with what stands under `if instead`, and everything calibrated anew. A number is what calibration makes."
    return Listing("Assumptions that cells rest on", header, rows, numeric=frozenset({4}), note=note)


def claims(r: Reproduction) -> Listing:
    """The article's sentences."""
    rows = []
    for c in r.claims:
        times = "times" in (c.said.about or c.said.more_than)
        value, low, high, twin = (
            f"{v:.3f} times" if times else percent(v, False) for v in (c.article, c.low, c.high, c.twin)
        )
        sentence = f"{c.said.text} ({c.said.row})"
        rows.append((sentence, c.verdict.value, value, f"{low} to {high}", twin, c.twin_verdict.value, c.said.section))
    header = ("claim", "verdict", "article's cells", "within noise", "twin's cells", "on these", "section")
    bad = frozenset(i for i, c in enumerate(r.claims) if c.verdict is ClaimVerdict.NOT)
    return Listing("The article's claims and what follows from its tables", header, rows, bad, frozenset({2, 3, 4}))


def _fact(value: float, unit: str) -> str:
    if unit in ("%", DIFFERENCE):
        return percent(value, unit == DIFFERENCE)
    return f"{shown(value)} {unit}"


def facts(r: Reproduction) -> Listing:
    """What else follows from the tables."""
    rows = []
    for f in r.facts:
        values = [_fact(v, f.said.unit) for v in (f.article, f.twin)]
        rows.append((f.said.text, *values, f.said.follows))
    return Listing(
        "What else follows from the tables",
        ("item", "article", "twin", "so"),
        rows,
        numeric=frozenset({1, 2}),
    )


def listings(r: Reproduction) -> tuple[Listing, ...]:
    """All of them, as a person reads them."""
    parts = [cells(r), calibration(r), assumptions(r)]
    if r.left_out:
        parts += [left_out(r), siblings(r)]
    return (*parts, claims(r), facts(r))


def used_numbers(r: Reproduction) -> tuple[tuple[str, Quantity], ...]:
    """Every number of the profile that some cell rests on, after calibration."""
    known = numbers(r.calibrated.profiles[r.card])
    used = rests_on(r.benches, r.calibrated.profiles, r.tables.cells.values())
    return tuple((path, known[path]) for path in known if path in used)


def _number_json(number: Quantity) -> dict[str, Any]:
    return number.model_dump(mode="json")


def to_json(r: Reproduction) -> dict[str, Any]:
    """The documented JSON form: ratios as numbers (0.05 is 5 %), values in each cell's unit."""
    t = r.tables
    return {
        "article": {"title": t.title, "section": t.section, "date": t.date, "noise": t.noise},
        "seed": r.seed,
        "profile": r.card,
        "summary": {
            "text": summary(r),
            "predicted": len(r.predicted),
            "within_target": len(r.predicted) - len(r.red),
            "target": t.target_each,
            "median_error": median_error(r.predicted),
            "target_median": t.target_median,
            "without_repeats": {"predicted": len(r.earned), "median_error": median_error(r.earned)},
            "outside": [x.cell.name for x in r.red],
            "beyond_stated": [x.cell.name for x in r.beyond_stated],
            "engine_apart": [x.cell.name for x in r.apart],
        },
        "cells": [_cell_json(x) for x in r.results],
        "calibration": [
            {
                "number": f.number,
                "cell": f.cell,
                "prior": _number_json(f.prior),
                "value": _number_json(f.value),
                "inside_prior": f.inside,
                "error": f.error,
            }
            for f in r.calibrated.fitted
        ],
        "assumptions": [
            {
                "number": a.assumption.number,
                "value": _number_json(a.number) if a.number is not None else None,
                "like": a.assumption.like,
                "load": r.tables.loads[a.assumption.load].load if a.assumption.load else "",
                "instead": a.assumption.instead,
                "source": a.source,
                "cell": a.what if a.article is not None else "",
                "decides": a.what if a.article is None else "",
                "article": a.article,
                "twin": a.value,
                "without": a.without,
            }
            for a in r.assumptions
        ],
        "leave_one_out": [asdict(x) for x in r.left_out],
        "siblings": [asdict(x) for x in r.siblings],
        "claims": [
            {
                **c.said.model_dump(mode="json"),
                "claimed": c.said.claimed,
                "article": c.article,
                "interval": [c.low, c.high],
                "verdict": c.verdict.value,
                "twin": c.twin,
                "twin_verdict": c.twin_verdict.value,
            }
            for c in r.claims
        ],
        "facts": [{**f.said.model_dump(mode="json"), "article": f.article, "twin": f.twin} for f in r.facts],
    }


def _cell_json(x: CellResult) -> dict[str, Any]:
    c, engine = x.cell, x.simulated
    return {
        "cell": c.name,
        "table": c.table,
        "row": c.row,
        "mode": c.mode.value,
        "unit": c.unit,
        "article": c.value,
        "twin": x.value,
        "error": x.error,
        "interval": [x.low, x.high],
        "stated_error": c.stated,
        "role": c.role.value,
        "number": c.number or None,
        "repeats": c.repeats or None,
        "limit": x.prediction.limit or None,
        "simulated": None
        if engine is None
        else {"mean": engine.value, "interval": [engine.low, engine.high], "apart": x.apart},
        "rests_on": list(x.prediction.rests_on),
    }
