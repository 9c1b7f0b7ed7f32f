"""Plotly figures as plain dictionaries in the page's colours (`var(--c1)` is replaced by the theme's, light or dark).

Bars lie: their names need no turning, so that they can be read on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INK, SOFT, GRID, CARD = "var(--ink)", "var(--soft)", "var(--grid)", "var(--card)"
COLOURS = tuple(f"var(--c{i})" for i in range(8))
"""c0 is the quiet one: what others are compared with."""


@dataclass(frozen=True, slots=True)
class Bars:
    """One series: a value per name, with an interval where it has one."""

    name: str
    values: Sequence[float | None]
    colour: int
    low: Sequence[float | None] | None = None
    high: Sequence[float | None] | None = None
    labels: Sequence[str] | None = None


def grouped_bars(names: Sequence[str], series: Sequence[Bars], unit: str) -> dict[str, Any]:
    """Series beside each other, first name on top; labels stand inside the bars, where intervals do not cross them."""
    data = []
    for one in series:
        trace: dict[str, Any] = {
            "type": "bar",
            "orientation": "h",
            "name": one.name,
            "y": list(names),
            "x": list(one.values),
            "marker": {"color": COLOURS[one.colour % len(COLOURS)]},
            "hovertemplate": f"{one.name}: %{{x:.5g}} {unit}<extra>%{{y}}</extra>",
        }
        if one.labels is not None:
            colour = "var(--on0)" if one.colour == 0 else "var(--on1)"
            trace |= {
                "text": list(one.labels),
                "textposition": "inside",
                "insidetextanchor": "start",
                "insidetextfont": {"color": colour},
                "outsidetextfont": {"color": INK},
                "textangle": 0,
            }
        if one.low is not None and one.high is not None:
            trace["error_x"] = interval(one.values, one.low, one.high)
        data.append(trace)
    figure: dict[str, Any] = {"data": data, "layout": layout(unit)}
    figure["layout"] |= {"barmode": "group", "bargap": 0.25, "bargroupgap": 0.06}
    figure["layout"]["yaxis"] |= {"autorange": "reversed"}
    return figure


ABOVE_PX = 18
"""Height of a bar whose name stands above it."""
LONGEST_NAME = 44
"""Characters of a name above its bar that a telephone shows on one line."""


def names_above(figure: dict[str, Any], names: Sequence[tuple[str, str]]) -> int:
    """Put names (what, and a word more) above their bars instead of beside them, where long ones leave no room for the bars.

    Returns the height in px that a bar with its name takes.
    """
    lines = [": ".join(filter(None, name)) for name in names]
    broken = any(len(line) > LONGEST_NAME for line in lines)
    slot = ABOVE_PX + (42 if broken else 27)
    common = {"xref": "paper", "x": 0, "xanchor": "left", "align": "left", "yref": "y", "yanchor": "bottom"}
    layout = figure["layout"]
    layout["annotations"] = [
        {
            **common,
            "y": index,
            "yshift": ABOVE_PX // 2,
            "text": "<br>".join(filter(None, name)) if broken else line,
            "showarrow": False,
            "font": {"size": 12, "color": INK},
        }
        for index, (name, line) in enumerate(zip(names, lines, strict=True))
    ]
    layout["bargap"] = 1 - ABOVE_PX / slot
    layout["yaxis"] |= {"showticklabels": False, "ticks": "", "showgrid": False, "autorange": False}
    layout["yaxis"]["range"] = [len(names) - 0.6, -0.9]
    return slot


def interval(
    values: Sequence[float | None], low: Sequence[float | None], high: Sequence[float | None]
) -> dict[str, Any]:
    """Plotly's bars of errors."""

    def beyond(ends: Sequence[float | None], sign: int) -> list[float | None]:
        pairs = zip(values, ends, strict=True)
        return [None if v is None or e is None else max(0.0, sign * (e - v)) for v, e in pairs]

    return {
        "type": "data",
        "symmetric": False,
        "array": beyond(high, 1),
        "arrayminus": beyond(low, -1),
        "color": INK,
        "thickness": 1.4,
        "width": 3,
    }


def stacked_bars(names: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str) -> dict[str, Any]:
    """Parts of a whole one after another, the same order and colour in every bar; a part that is nowhere is left out."""
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": part,
            "y": list(names),
            "x": list(values),
            "marker": {"color": COLOURS[i % len(COLOURS)], "line": {"color": CARD, "width": 1}},
            "hovertemplate": f"{part}: %{{x:.4g}} {unit}<extra>%{{y}}</extra>",
        }
        for i, (part, values) in enumerate((p, v) for p, v in parts.items() if any(v))
    ]
    figure: dict[str, Any] = {"data": data, "layout": layout(unit)}
    figure["layout"] |= {"barmode": "stack", "bargap": 0.35}
    figure["layout"]["yaxis"] |= {"autorange": "reversed"}
    figure["layout"]["legend"] |= {"traceorder": "normal"}
    return figure


MOST_WRITTEN = 100.0
"""Over more than this factor a logarithmic axis has labels at powers of ten only."""


def log_axis(values: Iterable[float | None]) -> dict[str, Any]:
    """A logarithmic axis for these values: labels at powers of ten; over two decades or less between them too, written whole
    (plotly's own would be a bare 2 and 5)."""
    known = [v for v in values if v is not None and v > 0]
    if not known or max(known) > MOST_WRITTEN * min(known):
        return {"type": "log", "dtick": 1, "exponentformat": "SI"}
    low, high = min(known), max(known)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), range(1, 10), (x / 10 for x in range(10, 100))):
        places = [digit * 10.0**decade for decade in decades for digit in digits]
        if sum(low <= place <= high for place in places) > 1:
            break
    else:
        places = [low, high] if low < high else [low]
    return {"type": "log", "tickmode": "array", "tickvals": places, "ticktext": [_short(place) for place in places]}


def _short(value: float) -> str:
    """As plotly writes numbers: 200k, 5M."""
    for power, sign in ((12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""), (-3, "m"), (-6, "µ"), (-9, "n")):
        if value >= 0.9995 * 10.0**power:
            return f"{value / 10.0**power:.3g}{sign}"
    return f"{value:.3g}"


def layout(unit: str) -> dict[str, Any]:
    """Transparent, legend above, axis title with the unit; margins grow with the names."""
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True, "fixedrange": True}
    return {
        "uniformtext": {"minsize": 10, "mode": "show"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": INK, "size": 12, "family": "system-ui, 'DejaVu Sans', sans-serif"},
        "margin": {"l": 8, "r": 14, "t": 8, "b": 36},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "font": {"size": 12}},
        "xaxis": {**axis, "title": {"text": unit, "font": {"color": SOFT, "size": 12}}, "rangemode": "tozero"},
        "yaxis": {**axis, "ticklabelstandoff": 4},
        "hoverlabel": {"bgcolor": CARD, "bordercolor": GRID, "font": {"color": INK}},
    }
