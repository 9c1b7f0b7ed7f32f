"""Metrics: wrong names are said with their line before anything runs; what is not given in overload stops no study."""

from __future__ import annotations

import math

import pytest

from tests.study_cases import HEAD, article_job, job_of, queue, solve
from tests.unit.test_study_definition import wrong
from ytwin.study.designs import variants
from ytwin.study.evaluate import Job, Memory, evaluate
from ytwin.study.goals import LIMIT
from ytwin.study.metrics import metrics_of
from ytwin.study.points import Asking, Point
from ytwin.study.search import Ending

OPEN = "{kind: open, rate: 1 k/s, connections: 10}"
PACKETS = "{kind: packets, rate: 1 kpps, flows: 10}"


@pytest.mark.parametrize(
    ("body", "load"),
    [
        ("", "{kind: bulk, streams: 2}"),
        ("", PACKETS),
        ("", "{kind: rr, clients: 2}"),
        ("", "{kind: crr, clients: 2}"),
        ("", OPEN),
        ("  engine: fast\n", "{kind: rr, clients: 2}"),
        ("  settings: {nodes.*.card: kube-proxy-ipvs}\n", OPEN),
        ("  model: sizing\n  settings: {nodes.*.card: article-dpu-2x100g}\n", OPEN),
        ("  model: balance\n", PACKETS),
        ("  model: neighbour\n  settings: {model.rate: 1 Mpps}\n", PACKETS),
    ],
)
def test_what_points_have_is_known_before(body: str, load: str):
    job = article_job(body, load)
    point = Asking(job.study, job.base, {}).point(dict(variants(job.study.spec)[0].settings), 0, False)
    found = {name for name in evaluate(job, point, Memory())[0] if not name.endswith((".low", ".high"))}
    known = metrics_of(job.study.spec)
    assert found <= set(known)
    assert found | {"programming_ms", "break_even", "loss_ratio"} >= set(known)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ("  goal: {metrics: [loss, latecy]}", "10 spec.goal.metrics[1]"),
        ("  goal: {sensitivity: {of: latecy}}", "10 spec.goal.sensitivity.of"),
        ("  engine: fast\n  replications: {atLeast: 2, atMost: 9, metric: latecy}", "11 spec.replications.metric"),
        (
            "  parameters: [{path: load.flows, values: [1, 2]}]\n  plots:\n  - x: load.flows\n    y: latecy",
            "13 spec.plots[0].y",
        ),
        (
            "  goal: {limit: {parameter: load.rate, from: 1, to: 2, while: [latecy < 1 ms]}}",
            "10 spec.goal.limit.while[0]",
        ),
    ],
)
def test_a_wrong_metric_is_said_with_its_line(body: str, place: str):
    assert wrong(body) == [f"{place}: this load has no metric 'latecy'"]


def test_a_metric_must_go_with_load_model_and_unit():
    assert (
        "no metric 'latency'"
        in wrong("  goal: {metrics: [latency]}", HEAD.replace("packets, rate: 1 Mpps, flows", "bulk, streams"))[0]
    )
    assert "sizing has no metric 'latency'" in wrong("  model: sizing\n  goal: {metrics: [latency]}")[0]
    limit = "  goal: {limit: {parameter: load.rate, from: 1, to: 2, while: [latency < 1 Mpps]}}"
    assert "is a time, not a rate" in wrong(limit)[0]
    two = "  parameters: [{path: load.kind, values: [packets, rr]}]\n  goal: {metrics: [requests, packet_rate]}"
    assert job_of(two).study.spec.goal.metrics == ("requests", "packet_rate")


def saturating(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """`queue`, which gives no latency where more comes than it can serve."""
    metrics, texts = queue(job, point, memory)
    return ({k: v for k, v in metrics.items() if k == "loss_ratio"} if metrics["loss_ratio"] else metrics), texts


def test_a_search_goes_on_where_overload_has_no_latency():
    body = '  goal: {limit: {parameter: load.rate, from: 1 kpps, to: 9 Mpps, while: ["latency_p99 < 1 ms"]}}'
    found, _ = solve(job_of(body), saturating)
    assert found.rows[0].numbers[LIMIT].value == pytest.approx(1e6 - math.log(100) / 1e-3, rel=0.01)
    found, _ = solve(job_of(body.replace("1 kpps", "8 Mpps")), saturating)
    assert found.rows[0].limit is not None
    assert found.rows[0].limit.ending is Ending.NEVER


def test_a_replication_without_latency_leaves_it_out_of_all():
    """With drawn numbers some draws may be in overload."""

    def some(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        metrics, texts = queue(job, point, memory)
        return ({"loss_ratio": 0.5} if point.replication == 3 else metrics), texts

    found, _ = solve(
        job_of("  settings: {load.rate: 1 kpps}\n  replications: {atLeast: 5}\n  uncertainty: drawn"), some
    )
    assert tuple(found.rows[0].numbers) == ("loss_ratio",)
