"""Answers: limits, comparisons, rankings, replications; in numbers and in words."""

from __future__ import annotations

import math

import pytest

from tests.study_cases import HEAD, article_job, failing, job_of, noisy, queue, solve
from ytwin.core.errors import InvalidInput
from ytwin.hardware.model import Kind, Quantity
from ytwin.study.amounts import amount
from ytwin.study.charts import charts
from ytwin.study.evaluate import Job, Memory, evaluate, uncertain_numbers
from ytwin.study.goals import LIMIT, Uncertain
from ytwin.study.points import Point
from ytwin.study.search import Ending
from ytwin.study.words import sentences

LIMITED = """
  parameters: [{path: load.flows, values: [1, 2]}]
  goal:
    limit: {parameter: load.rate, from: 1 kpps, to: 100 Mpps, while: ["latency_p99 < 1 ms", "loss < 0.01 %"], tolerance: 0.1 %}
"""


def test_the_search_finds_the_limit_that_the_formula_gives():
    found, results = solve(job_of(LIMITED), queue)
    for row, flows in zip(found.rows, (1, 2), strict=True):
        exact = 1e6 * flows - math.log(100) / 1e-3
        number = row.numbers[LIMIT]
        assert number.low <= exact <= number.high
        assert number.value == pytest.approx(exact, rel=1e-3)
        assert row.limit is not None
        assert row.limit.ending is Ending.FOUND
        assert row.limit.odd == ()
    assert len(results) < 60
    assert "load.rate can go up to 1.995 Mpps" in sentences(found)[0]
    assert "(the queue)" in sentences(found)[0]


@pytest.mark.parametrize(
    ("start", "end", "ending"), [("1 kpps", "2 kpps", Ending.BEYOND), ("2 Mpps", "3 Mpps", Ending.NEVER)]
)
def test_a_search_says_when_the_limit_is_not_inside(start: str, end: str, ending: Ending):
    body = f"  goal: {{limit: {{parameter: load.rate, from: {start}, to: {end}, while: [loss < 1 %]}}}}"
    found, _ = solve(job_of(body), queue)
    assert found.rows[0].limit is not None
    assert found.rows[0].limit.ending is ending
    assert sentences(found)


def test_a_search_notices_conditions_that_change_more_than_once():
    """They fail from 0.1 to 0.2 Mpps, hold again, and fail from 0.5 Mpps on."""

    def odd(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        rate = amount(point["load.rate"])
        assert rate is not None
        return {"loss_ratio": float(1e5 < rate.value < 2e5 or rate.value > 5e5)}, {}

    body = "  goal: {limit: {parameter: load.rate, from: 1 pps, to: 1 Mpps, while: [loss < 50 %]}}"
    found, _ = solve(job_of(body), odd)
    assert found.rows[0].limit is not None
    assert found.rows[0].limit.odd
    assert "the limit is one of several" in " ".join(sentences(found))


@pytest.mark.parametrize(
    ("low", "high", "ending", "said"),
    [
        ("2e4", "3e5", Ending.NEVER, "they hold higher up, at "),
        ("2e5", "1e7", Ending.NEVER, "they hold higher up, at "),
        ("-1", "3e5", Ending.FOUND, "no longer holds"),
        ("2e4", "9e5", Ending.NEVER, ""),
    ],
)
def test_conditions_that_hold_only_higher_up_are_told(low: str, high: str, ending: Ending, said: str):
    """Packets must not be too few either."""

    def window(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        rate = amount(point["load.rate"])
        assert rate is not None
        return {"loss_ratio": float(not float(low) < rate.value < float(high))}, {}

    body = "  goal: {limit: {parameter: load.rate, from: 1 kpps, to: 1 Mpps, while: [loss < 50 %]}}"
    found, _ = solve(job_of(body), window)
    assert found.rows[0].limit is not None
    assert found.rows[0].limit.ending is ending
    assert said in " ".join(sentences(found))
    assert sentences(found)[0][0].isupper() or sentences(found)[0].startswith("load.rate")


def test_a_limit_of_requests_is_told_per_second():
    head = HEAD.replace("kind: packets, rate: 1 Mpps, flows: 1", "kind: open, rate: 1 M/s, connections: 1")
    body = "  goal: {limit: {parameter: load.rate, from: 1 k/s, to: 100 M/s, while: [latency_p99 < 1 ms]}}"
    found, _ = solve(job_of(body, head), queue)
    assert "load.rate can go up to 99" in sentences(found)[0]
    assert " k/s;" in sentences(found)[0]


def test_a_limit_of_whole_things_is_whole():
    body = """
  settings: {load.rate: 0.5 Mpps}
  goal: {limit: {parameter: load.flows, from: 1, to: 1000, while: [latency_p99 > 3 us], whole: true}}
"""
    found, _ = solve(job_of(body), queue)
    number = found.rows[0].numbers[LIMIT]
    # ln(100) / (flows - 0.5) us > 3 us holds for flows up to 2.03.
    assert (number.value, number.high) == (2, 3)


def test_common_random_numbers_make_a_comparison_exact():
    body = """
  parameters: [{path: load.flows, values: [1, 2]}]
  replications: {atLeast: 8}
  engine: fast
  goal: {compare: {parameter: load.flows, a: 1, b: 2}}
"""
    together, _ = solve(job_of(body), noisy)
    alone, _ = solve(job_of(body + "  commonRandomNumbers: false"), noisy)
    assert together.comparisons[0].difference.value == pytest.approx(1)
    assert together.comparisons[0].difference.low == pytest.approx(1)
    assert alone.comparisons[0].difference.high - alone.comparisons[0].difference.low > 1
    assert "is open" in " ".join(sentences(alone))
    assert "is open" not in " ".join(sentences(together))


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_each_drawn_point_is_compared(kind: str):
    body = f"""
  parameters:
  - {{path: load.rate, distribution: {{low: 1 kpps, high: 900 kpps}}}}
  - {{path: load.flows, name: flows, values: [1, 2]}}
  design: {{kind: {kind}, points: 4}}
  uncertainty: fixed
  goal: {{metrics: [latency_p99], compare: {{parameter: flows, a: 1, b: 2}}}}
"""
    found, _ = solve(job_of(body), queue)
    assert len(found.rows) == 8
    assert len({row.variant["load.rate"] for row in found.rows}) == len(found.comparisons) == 4
    assert all(c.difference.value < 0 for c in found.comparisons)


def test_replications_go_on_until_the_interval_is_narrow():
    body = """
  parameters: [{path: load.flows, values: [1]}]
  engine: fast
  replications: {atLeast: 10, atMost: 500, metric: latency, halfWidth: 3 %}
"""
    found, results = solve(job_of(body), noisy)
    number = found.rows[0].numbers["latency_us"]
    assert 10 < len(results) < 500
    assert (number.high - number.low) / 2 <= 0.03 * number.value


def test_a_failed_point_is_reported_and_the_others_are_there():
    found, _ = solve(
        job_of("  parameters: [{path: load.flows, values: [1, 2, 3, 4]}]\n  settings: {load.rate: 1 kpps}"), failing
    )
    assert [bool(row.error) for row in found.rows] == [False, True, True, False]
    assert found.rows[1].error == "two flows cannot be"
    assert found.rows[2].error == "ZeroDivisionError: oh"
    assert "2 of 4 variants could not be computed" in sentences(found)[-1]


def test_an_unknown_metric_is_the_users_error():
    with pytest.raises(InvalidInput, match="no metric 'speed'"):
        solve(job_of("  settings: {load.rate: 1 kpps}\n  goal: {metrics: [speed]}"), queue)
    body = "  goal: {limit: {parameter: load.rate, from: 1 pps, to: 2 pps, while: [speed < 1]}}"
    with pytest.raises(InvalidInput, match="no metric 'speed'"):
        solve(job_of(body), queue)


def test_the_assumption_that_matters_is_ranked_first():
    body = """
  settings: {nodes.*.card: ovs-kernel}
  goal: {metrics: [packet_rate], sensitivity: {of: packet_rate}}
"""
    job = article_job(body, "{kind: packets, rate: max}")
    found, results = solve(job, evaluate, lambda settings: uncertain_numbers(job, settings))
    assert len(results) == 1 + 2 * len(found.swings)
    widths = [swing.width for swing in found.swings]
    assert widths == sorted(widths, reverse=True)
    assert found.swings[0].width > 0
    assert found.swings[0].uncertain.number.startswith("slow_path.")
    assert found.swings[0].low != found.swings[0].high
    # The tail of the host's latency moves no packet rate.
    assert next(s for s in found.swings if s.uncertain.number == "host.latency_scv").width == 0
    assert found.swings[0].uncertain.number in " ".join(sentences(found))
    assert charts(found)[-1].baseline is not None


def test_draws_of_profile_numbers_are_shared_by_what_is_compared():
    body = """
  parameters: [{path: card.slowPath.handoverLatency, name: handover, values: [1 us, 2 us]}]
  settings: {nodes.*.card: ovs-kernel}
  uncertainty: drawn
  replications: {atLeast: 12}
  goal: {metrics: [latency], compare: {parameter: handover, a: 1 us, b: 2 us}}
"""
    found, results = solve(article_job(body, "{kind: packets, rate: 1 kpps}"), evaluate)
    assert len(results) == 24
    comparison = found.comparisons[0]
    assert comparison.a.high - comparison.a.low > 5, "what is uncertain is wide"
    assert comparison.difference.low > 0, "but a slower handover is slower for sure"
    assert comparison.difference.high - comparison.difference.low < comparison.a.high - comparison.a.low


def crowded(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """A server of 1 Mpps, or as the card's number says; no latency where more comes."""
    rate, server = amount(point["load.rate"]), amount(dict(point.settings).get("cards.c.eswitch.rate", "1 Mpps"))
    assert rate is not None
    assert server is not None
    carried = {"packet_rate_mpps": min(rate.value, server.value) / 1e6, "loss_ratio": 0.0}
    if rate.value >= server.value:
        return carried, {}
    return {**carried, "latency_us": 1e6 / (server.value - rate.value)}, {}


def a_number(number: str, low: float, high: float) -> Uncertain:
    quantity = Quantity(
        value=1e6, dimension="rate", kind=Kind.ASSUMED, source="", low=low, high=high, text=f"{1e6:.0f} pps"
    )
    return Uncertain("c", number, quantity)


def test_a_number_that_leaves_no_latency_at_an_end_is_told_and_the_rest_stands():
    body = """
  parameters: [{path: load.rate, name: rate, values: [0.5 Mpps, 2 Mpps]}]
  goal: {metrics: [packet_rate, latency], sensitivity: {of: latency}}
"""
    numbers = (a_number("eswitch.rate", 4e5, 2e6), a_number("eswitch.other", 1e5, 2e6))
    found, _ = solve(job_of(body), crowded, lambda _settings: numbers)
    assert [(s.variant["rate"], s.uncertain.number) for s in found.swings] == [("0.5 Mpps", "eswitch.other")]
    assert [(u.variant["rate"], u.uncertain.number) for u in found.unknown] == [
        ("0.5 Mpps", "eswitch.rate"),
        ("2 Mpps", "eswitch.rate"),
        ("2 Mpps", "eswitch.other"),
    ]
    said = " ".join(sentences(found))
    assert "With rate 0.5 Mpps: at an end of its interval there is no latency: eswitch.rate of c" in said
    assert "With rate 2 Mpps: there is no latency with any number" in said


def test_a_metric_that_no_variant_has_so_far_is_no_error():
    """The one that is overloaded is answered first, while the other goes on until it is tight."""
    body = """
  parameters: [{path: load.rate, name: rate, values: [2 Mpps, 0.5 Mpps]}]
  uncertainty: drawn
  replications: {atLeast: 6, atMost: 9, metric: latency, halfWidth: 1 %}
  goal: {metrics: [packet_rate, latency]}
"""

    def wavering(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        metrics, texts = crowded(job, point, memory)
        noise = 1 + (point.seed % 100) / 100
        return {name: value * noise if name == "latency_us" else value for name, value in metrics.items()}, texts

    found, results = solve(job_of(body), wavering)
    assert found.metrics == ("packet_rate_mpps", "latency_us")
    assert [row.replications for row in found.rows] == [6, 9]
    assert len(results) == 15
    assert found.rows[0].half_width is None
    assert found.rows[1].half_width is not None
    assert found.rows[1].half_width > 0.01
    assert "Not tight in 1 of 2 variants after 9 replications: the mean of latency was to be known to 1 %" in " ".join(
        sentences(found)
    )


def test_all_probes_of_a_search_have_one_chance_each_variant_its_own():
    seeds: dict[tuple[object, int], set[int]] = {}

    def watched(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        if point.draws:
            seeds.setdefault((point["load.flows"], point.replication), set()).add(point.seed)
        return queue(job, point, memory)

    body = LIMITED.replace("0.1 %}", "10 %}") + (
        "  uncertainty: drawn\n  replications: {atLeast: 3}\n  commonRandomNumbers: false\n"
    )
    solve(job_of(body), watched)
    assert len(seeds) == 6
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set[int]().union(*seeds.values())) == 6
