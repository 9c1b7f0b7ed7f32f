"""Line charts as plotly dictionaries in the page's colours: one line per series, its interval as a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ytwin.report.plots import COLOURS, SOFT, interval, layout, log_axis

MOST_BANDS = 4
"""Series with intervals drawn; of more the bands would hide one another, and tables have them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series; x ascending."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def line_chart(
    series: Sequence[Line], x_title: str, unit: str, log_x: bool = False, log_y: bool = False, joined: bool = True
) -> dict[str, Any]:
    """Lines with markers over a common axis; `unit` is that of y. Values of 0 do not stand on a logarithmic axis.

    Not `joined` there are markers alone, each with its interval.
    """
    data: list[dict[str, Any]] = []
    bands = len(series) <= MOST_BANDS
    # More series than colours: the second round is dashed.
    for index, one in enumerate(series):
        colour = COLOURS[1 + index % (len(COLOURS) - 1)]
        dash = ("solid", "dash", "dot")[min(2, index // (len(COLOURS) - 1))]
        wide = bands and one.low is not None and one.high is not None and tuple(one.low) != tuple(one.high)
        if wide and joined:
            assert one.low is not None
            assert one.high is not None
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [*one.x, *reversed(one.x)],
                    "y": [*one.high, *reversed(one.low)],
                    "fill": "toself",
                    "fillcolor": colour,
                    "opacity": 0.1,
                    "line": {"width": 0},
                    "hoverinfo": "skip",
                    "showlegend": False,
                    "legendgroup": one.name,
                }
            )
        intervals: dict[str, Any] = {}
        if wide and not joined and one.low is not None and one.high is not None:
            intervals = {"error_y": interval(one.y, one.low, one.high) | {"color": colour, "thickness": 1, "width": 0}}
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if joined else "markers",
                "name": one.name,
                "x": list(one.x),
                "y": list(one.y),
                "line": {"color": colour, "width": 2.4, "dash": dash},
                "marker": {"color": colour, "size": 6, "symbol": index % 7},
                "legendgroup": one.name,
                "hovertemplate": f"%{{x:.5g}}: %{{y:.5g}} {unit}<extra>{one.name}</extra>",
                **intervals,
            }
        )
    figure: dict[str, Any] = {"data": data, "layout": layout(x_title)}
    figure["layout"]["margin"]["l"] = 12
    for axis, log in (("xaxis", log_x), ("yaxis", log_y)):
        figure["layout"][axis].pop("rangemode", None)
        values = [v for one in series for v in (one.x if axis == "xaxis" else one.y)]
        figure["layout"][axis] |= log_axis(values) if log else {"type": "linear"}
    if not log_y:
        figure["layout"]["yaxis"]["rangemode"] = "tozero"
    figure["layout"]["yaxis"]["title"] = {"text": unit, "font": {"color": SOFT, "size": 12}}
    figure["layout"]["showlegend"] = len(series) > 1
    return figure
