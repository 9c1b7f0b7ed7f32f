"""Charts as PNG files, drawn with matplotlib; the page has the same ones for a browser."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from ytwin.report.lines import MOST_BANDS
from ytwin.study.charts import Chart, Series
from ytwin.study.texts import cap

COLOURS = ("#2563a8", "#b4590f", "#2f7d4f", "#8455a8", "#a8841c", "#3c8c96", "#ad4468")
"""The page's, in daylight."""
MARKERS = "osD^vPX"


def png(chart: Chart) -> bytes:
    """One chart."""
    import matplotlib  # noqa: PLC0415 - slow to load, and only reports need it

    matplotlib.use("Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415

    bars = len(chart.names) * max(1, len(chart.series))
    figure = Figure(figsize=(9, max(4.2, 1.4 + 0.26 * bars) if chart.names else 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    if chart.names:
        _bars(axes, chart)
    else:
        for index, series in enumerate(chart.series):
            _line(axes, series, index, bands=len(chart.series) <= MOST_BANDS, joined=chart.joined)
        axes.set_xscale("log" if chart.log_x else "linear")
        axes.set_yscale("log" if chart.log_y else "linear")
        axes.set_xlabel(chart.x_title)
        axes.set_ylabel(_with_unit(chart))
        if not chart.log_y:
            axes.set_ylim(bottom=0)
    axes.set_title(cap(chart.title), loc="left", fontsize=11)
    axes.grid(True, color="#e6e9ed")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if len(chart.series) > 1:
        figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _with_unit(chart: Chart) -> str:
    return f"{chart.y_title}, {chart.unit}" if chart.unit else chart.y_title


def _line(axes: Any, series: Series, index: int, bands: bool, joined: bool) -> None:
    colour, dash = COLOURS[index % len(COLOURS)], ("-", "--", ":")[min(2, index // len(COLOURS))]
    marker = MARKERS[index % len(MARKERS)]
    style = dash if joined else "none"
    axes.plot(series.x, series.y, linestyle=style, color=colour, marker=marker, markersize=4, label=series.name or None)
    if bands and series.has_intervals and joined:
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.14, linewidth=0)
    elif bands and series.has_intervals:
        axes.errorbar(series.x, series.y, yerr=_ends(series), fmt="none", ecolor=colour, linewidth=0.8, alpha=0.6)


def _ends(series: Series) -> tuple[list[float], list[float]]:
    """How far the interval reaches below and above each value."""
    below = [max(0.0, y - low) for y, low in zip(series.y, series.low, strict=True)]
    return below, [max(0.0, high - y) for y, high in zip(series.y, series.high, strict=True)]


def _bars(axes: Any, chart: Chart) -> None:
    tornado = chart.baseline is not None
    height = 0.8 if tornado else 0.8 / max(1, len(chart.series))
    for index, series in enumerate(chart.series):
        shift = 0.0 if tornado else (index - (len(chart.series) - 1) / 2) * height
        places = [x + shift for x in series.x]
        start = chart.baseline if chart.baseline is not None else 0.0
        widths = [y - start for y in series.y]
        colour = COLOURS[index % len(COLOURS)]
        axes.barh(places, widths, height * 0.9, left=start, color=colour, label=series.name or None)
        if series.has_intervals:
            ends = _ends(series)
            axes.errorbar(series.y, places, xerr=ends, fmt="none", ecolor="#1c232b", capsize=3, linewidth=1.2)
    axes.set_yticks(range(len(chart.names)), chart.names)
    axes.invert_yaxis()
    axes.set_xlabel(_with_unit(chart))
    if chart.log_y:
        axes.set_xscale("log")
    if chart.baseline is not None:
        axes.axvline(chart.baseline, color="#1c232b", linewidth=1.2)
