"""Which metrics the points of a study can have, so that a wrong name is said before anything is computed.

That a metric can be there does not mean that each point has it: no latency is given where more is offered than is carried, and
`break_even` belongs to cards that offload.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ytwin.performance.types import Metric
from ytwin.resources.fields import nearest
from ytwin.resources.yamltree import Path
from ytwin.study.amounts import condition, named, short
from ytwin.study.model import StudySpec

LATENCIES: Final = (Metric.LATENCY.value, Metric.LATENCY_P50.value, Metric.LATENCY_P99.value)
"""Left out where a resource has more to do than it can: nothing says how long the queue gets."""
_CORES: Final = (Metric.HOST_CORES.value, Metric.CARD_CORES.value)
_REQUESTS: Final = (
    Metric.REQUEST_RATE.value,
    *LATENCIES,
    Metric.INSTRUCTIONS.value,
    Metric.CPI.value,
    *_CORES,
    Metric.LOSS.value,
)
_OF_LOAD: Final[dict[str, tuple[str, ...]]] = {
    "bulk": (Metric.BANDWIDTH.value, Metric.PACKET_RATE.value, *_CORES, Metric.LOSS.value),
    "packets": (Metric.PACKET_RATE.value, "traffic_gbit_per_s", *LATENCIES, *_CORES, Metric.LOSS.value),
    "rr": _REQUESTS,
    "crr": _REQUESTS,
    "open": _REQUESTS,
}
"""Of the model `path`, by the kind of load, whatever computes it."""
_NO_LOSS: Final = ("bulk", "rr", "crr")
"""Loads that lose nothing as formulas have it; engines count what is dropped."""
_OF_MODEL: Final[dict[str, tuple[str, ...]]] = {
    "sizing": (
        "nodes",
        "host_cores",
        "forwarding_cores",
        "counted_cores",
        "card_cores",
        "cost",
        "nodes_in_software",
        "break_even",
    ),
    "balance": (
        "busiest_share_ratio",
        "idlest_share_ratio",
        "backends",
        "moved_by_removal_ratio",
        "moved_by_addition_ratio",
        "first_us",
        "upcalls",
        "new_connections_per_s",
    ),
    "neighbour": (
        "latency_us",
        "first_us",
        "capacity_mpps",
        "new_connections_per_s",
        "loss_ratio",
        "first_loss_ratio",
        "other_cores",
        "other_mpps",
    ),
}


def metrics_of(spec: StudySpec) -> tuple[str, ...]:
    """All that some point of the study may have; () if the study names a model or a load that is not there."""
    if spec.model != "path":
        return _OF_MODEL.get(spec.model, ())
    kinds = [str(kind) for kind in _kinds(spec)]
    if not kinds or any(kind not in _OF_LOAD for kind in kinds):
        return ()
    found = [m for kind in kinds for m in _OF_LOAD[kind] if not _never(m, kind, spec)]
    return (*dict.fromkeys(found), "programming_ms")


def columns_of(spec: StudySpec) -> frozenset[str]:
    """Columns of answer.csv beside those of parameters, as far as the study tells."""
    known = metrics_of(spec)
    asked = [metric for metric in known if not spec.goal.metrics or {metric, short(metric)} & set(spec.goal.metrics)]
    numbers = [*asked, *(("limit",) if spec.goal.limit is not None else ())]
    return frozenset(
        ("replications", "ending", "error", *(f"{n}{end}" for n in numbers for end in ("", ".low", ".high")))
    )


def _kinds(spec: StudySpec) -> list[object]:
    """Of the load: what the study varies, or else says."""
    path = "load.kind"
    varied = [value for p in spec.parameters if p.path == path for value in p.values or ()]
    varied += [given[path] for p in spec.parameters for given in (p.choices or {}).values() if path in given]
    said = [kind for kind in (spec.settings.get(path, spec.load.get("kind")),) if kind is not None]
    # A choice that says no kind has that of the load.
    return [*said, *varied]


def _never(metric: str, kind: str, spec: StudySpec) -> bool:
    return metric == Metric.LOSS.value and kind in _NO_LOSS and spec.engine == "analytic"


def problems_of_metrics(spec: StudySpec) -> Iterator[tuple[Path, str, str]]:
    """(place in the spec, what is wrong, what to do) of metrics that no point of the study can have."""
    known = metrics_of(spec)
    if not known:
        return  # what is wrong with model or load is said elsewhere
    goal = spec.goal
    asked: list[tuple[Path, str]] = [(("goal", "metrics", i), metric) for i, metric in enumerate(goal.metrics)]
    asked += [
        (("plots", i, "y"), plot.y) for i, plot in enumerate(spec.plots) if not (plot.y == "limit" and goal.limit)
    ]
    if goal.sensitivity is not None and goal.sensitivity.of != "limit":
        asked.append((("goal", "sensitivity", "of"), goal.sensitivity.of))
    if spec.replications is not None and spec.replications.metric:
        asked.append((("replications", "metric"), spec.replications.metric))
    for place, metric in asked:
        yield from _unknown(place, metric, known, spec)
    for index, text in enumerate(goal.limit.conditions if goal.limit is not None else ()):
        at: Path = ("goal", "limit", "while", index)
        one = condition(text)
        wrong = list(_unknown(at, one.metric, known, spec))
        yield from wrong
        if not wrong:
            try:
                one.holds(dict.fromkeys(known, 0.0))
            except ValueError as error:
                yield at, str(error), "give the bound in a unit of the metric"


def _unknown(place: Path, metric: str, known: tuple[str, ...], spec: StudySpec) -> Iterator[tuple[Path, str, str]]:
    try:
        named(metric, known)
    except KeyError:
        names = [short(name) for name in known]
        meant = nearest(metric, [*names, *known])
        hint = f"did you mean {meant}?" if meant else f"there are {', '.join(names)}"
        who = "this load" if spec.model == "path" else f"the model {spec.model}"
        yield place, f"{who} has no metric {metric!r}", hint
