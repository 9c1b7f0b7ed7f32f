"""Predictions as text tables."""

from __future__ import annotations

from typing import Final

from ytwin.core.tables import format_table
from ytwin.performance.types import Metric, PathCost, Prediction

TEXTS: Final[dict[Metric, tuple[str, str]]] = {
    Metric.BANDWIDTH: ("bandwidth", "Gbit/s"),
    Metric.PACKET_RATE: ("packet rate", "Mpps"),
    Metric.LATENCY: ("latency, mean", "us"),
    Metric.LATENCY_P50: ("latency, median", "us"),
    Metric.LATENCY_P99: ("latency, 99 %", "us"),
    Metric.REQUEST_RATE: ("requests", "/s"),
    Metric.INSTRUCTIONS: ("instructions", "/request"),
    Metric.CPI: ("cycles", "/instruction"),
    Metric.HOST_CORES: ("host cores busy", "cores"),
    Metric.CARD_CORES: ("card cores busy", "cores"),
    Metric.LOSS: ("loss", "of all"),
}
"""Name and unit for people."""


MANY: Final = 1e15


def number(value: float) -> str:
    """Four digits, more for what has more before the point; an exponent only where nobody counts digits.

    >>> number(15151.515), number(0.04567), number(24.5), number(1.5e20)
    ('15152', '0.04567', '24.5', '1.5e+20')
    """
    if abs(value) >= MANY:
        return f"{value:.4g}"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    text = f"{value:.4g}"
    return f"{value:.6f}" if "e" in text else text


def render(prediction: Prediction) -> str:
    """Values, limit, latency by stage, work by resource, what it rests on, notes."""
    by = prediction.engine if prediction.seed is None else f"{prediction.engine}, seed {prediction.seed}"
    limit = prediction.limit or "no resource: latency, or the load itself"
    parts = [
        f"{prediction.load or 'load'} ({by}); limit: {limit}",
        "\n".join([render_values(prediction), *what_latency_is(prediction)]),
        render_latency(prediction),
        render_work(prediction),
    ]
    if prediction.rests_on:
        parts.append("rests on\n" + "\n".join(f"  {one}" for one in prediction.rests_on))
    if prediction.notes:
        parts.append("\n".join(f"note: {one}" for one in prediction.notes))
    return "\n\n".join(parts)


def render_values(prediction: Prediction) -> str:
    """One row per metric."""
    rows = []
    for v in prediction.values:
        name, unit = TEXTS[v.metric]
        span = f"{number(v.low)} to {number(v.high)}" if v.low < v.high else "-"
        rows.append((name, number(v.value), unit, span))
    return format_table(("value", "", "unit", "low to high"), rows)


def what_latency_is(prediction: Prediction) -> list[str]:
    """A line, where there is a latency: one way of what, and how long a request takes."""
    known = {v.metric: v.value for v in prediction.values}
    if Metric.LATENCY not in known:
        return []
    if prediction.reply is None:
        return ["latency is one way, of a packet"]
    trips = prediction.round_trips
    took = f"{number(2 * trips * known[Metric.LATENCY])} us"
    if trips == 1:
        return [f"latency is one way: a request is one round trip, {took}"]
    return [
        f"latency is one way: a request and its share of its connection's opening are {number(trips)} round trips, {took}"
    ]


def render_latency(prediction: Prediction) -> str:
    """One row per stage and direction, of an unloaded packet, with the sum."""
    rows = []
    for direction, cost in _ways(prediction):
        total = cost.latency_ps
        for part in cost.latency:
            rows.append(
                (
                    direction,
                    part.stage,
                    f"{part.time_ps / 1e6:.3f}",
                    f"{part.time_ps / total:.1%}",
                    ", ".join(part.rests_on),
                )
            )
        rows.append((direction, "sum, unloaded", f"{total / 1e6:.3f}", "", ""))
    return format_table(("latency", "stage", "us", "share", "numbers"), rows)


def render_work(prediction: Prediction) -> str:
    """One row per resource: work per packet or request, how many it carries, how busy it is."""
    job, scale = ("request", 1e12) if prediction.reply is not None else ("packet", 1e6)
    rows: list[tuple[object, ...]] = []
    total = prediction.total if prediction.total is not None else prediction.forward
    for d in total.demands:
        busy = prediction.utilisation.get(d.name)
        share = "-" if busy is None else f"{busy:.1%}"
        carries = number(scale * d.servers / d.service_ps)
        rows.append((d.name, f"{d.service_ps / 1e3:.2f}", d.servers, carries, share, d.why))
    known = {d.name for d in total.demands}
    rows += [
        (name, "", "", "", f"{busy:.1%}", "") for name, busy in prediction.utilisation.items() if name not in known
    ]
    unit = "carries /s" if job == "request" else "carries Mpps"
    return format_table(("resource", f"ns/{job}", "servers", unit, "busy", "of what"), rows)


def _ways(prediction: Prediction) -> list[tuple[str, PathCost]]:
    ways = [("forward", prediction.forward)]
    return [*ways, ("reply", prediction.reply)] if prediction.reply is not None else ways
