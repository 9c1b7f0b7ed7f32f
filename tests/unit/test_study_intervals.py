"""What is sure in a comparison, and what is known of limits that lie outside what was searched."""

from __future__ import annotations

import json
import math

import pytest

from tests.study_cases import article_job, job_of, noisy, queue, solve
from tests.unit.test_study_page import MADE, sections_of
from ytwin.core.errors import InvalidInput, YtwinError
from ytwin.runs.export import answer_to_json
from ytwin.study.amounts import amount
from ytwin.study.evaluate import Job, Memory, evaluate
from ytwin.study.goals import LIMIT, Uncertain
from ytwin.study.intervals import Number, Order, ratios, spread
from ytwin.study.points import Point
from ytwin.study.words import sentences

FLOWS = "  parameters: [{path: load.flows, values: [1, 2]}]\n"
COMPARED = "compare: {parameter: load.flows, a: 1, b: 2}"


def limited(start: str, end: str, more: str = "") -> str:
    """The queue's limit is 0.995 Mpps with one flow and 1.995 Mpps with two."""
    limit = f"{{parameter: load.rate, from: {start}, to: {end}, while: [latency_p99 < 1 ms], tolerance: 0.1 %}}"
    return f"{FLOWS}{more}  goal: {{limit: {limit}, {COMPARED}}}\n"


def test_without_an_interval_nothing_is_sure():
    body = f"{FLOWS}  settings: {{load.rate: 0.5 Mpps}}\n  uncertainty: fixed\n  goal: {{{COMPARED}}}\n"
    found, _ = solve(job_of(body), queue)
    assert {c.order for c in found.comparisons} == {Order.LOWER, Order.EQUAL}
    assert not any(c.sure for c in found.comparisons)
    assert "by the nominal numbers" in sentences(found)[0]
    assert "nominal" in sections_of(body, queue)["comparison"]


def test_the_count_of_comparisons_says_that_nothing_is_sure():
    body = f"""
  parameters:
  - {{path: load.flows, values: [1, 2]}}
  - {{path: load.rate, values: [0.1 Mpps, 0.2 Mpps, 0.5 Mpps]}}
  uncertainty: fixed
  goal: {{{COMPARED}}}
"""
    first = sentences(solve(job_of(body), queue)[0])[0]
    assert "lower in 3" in first
    assert "surely" not in first
    assert "none of this is sure" in first


@pytest.mark.parametrize("count", [6, 12, 20, 100])
def test_what_is_told_of_draws_are_draws(count: int):
    """Four and a half nodes can nobody buy."""
    values = [float(2 + 3 * (i % 7)) for i in range(count)]
    found = spread(values)
    assert {found.low, found.high} <= set(values)
    assert found.value.is_integer()
    assert found.low <= found.value <= found.high
    assert sum(found.low <= value <= found.high for value in values) >= 0.95 * count


def test_overlapping_intervals_of_the_model_are_named():
    body = """
  parameters: [{path: card.slowPath.handoverLatency, name: handover, values: [1 us, 2 us]}]
  settings: {nodes.*.card: ovs-kernel}
  uncertainty: fixed
  goal: {metrics: [latency], compare: {parameter: handover, a: 1 us, b: 2 us}}
"""
    found, _ = solve(article_job(body, "{kind: packets, rate: 1 kpps}"), evaluate)
    assert found.comparisons[0].a.low < found.comparisons[0].a.high
    assert "by the nominal numbers, and their intervals overlap" in sentences(found)[0]


@pytest.mark.parametrize(
    ("how", "count"), [("engine: fast", 1), ("uncertainty: drawn", 1), ("uncertainty: drawn", 5)], ids=str
)
def test_a_comparison_needs_enough_runs(how: str, count: int):
    body = f"{FLOWS}  {how}\n  replications: {{atLeast: {count}}}\n  goal: {{{COMPARED}}}\n"
    with pytest.raises(InvalidInput, match="sure in a comparison"):
        job_of(body)
    job_of(body.replace(f"atLeast: {count}", "atLeast: 6"))


def test_runs_with_an_interval_are_sure():
    body = f"{FLOWS}  engine: fast\n  replications: {{atLeast: 4}}\n  goal: {{{COMPARED}}}\n"
    found, _ = solve(job_of(body), noisy)
    assert found.comparisons[0].sure
    assert "yes" in sections_of(body, noisy)["comparison"].splitlines()


def test_a_limit_beyond_the_search_is_at_least_so_much():
    body = limited("1 kpps", "1.5 Mpps", "  uncertainty: fixed\n")
    found, _ = solve(job_of(body), queue)
    said = " ".join(sentences(found))
    assert "load.flows 2: at least 1.5 Mpps" in said
    assert "at least +50." in said
    assert found.comparisons[0].order is Order.HIGHER
    told = answer_to_json(found, MADE)
    assert told["comparisons"][0]["ratio"]["value"] is None
    assert told["comparisons"][0]["ratio"]["high"] is None
    assert told["comparisons"][0]["ratio"]["low"] == pytest.approx(1.5 / 0.9954, rel=2e-3)
    assert json.dumps(told, allow_nan=False)


def test_two_limits_beyond_the_search_are_not_compared():
    found, _ = solve(job_of(limited("1 kpps", "2 kpps", "  uncertainty: fixed\n")), queue)
    said = " ".join(sentences(found))
    assert found.comparisons[0].order is Order.OPEN
    assert "the searches ended before it showed which is higher" in said
    assert "+0.0 %" not in said
    page = sections_of(limited("1 kpps", "2 kpps", "  uncertainty: fixed\n"), queue)
    assert "at least 2 kpps\nat least 2 kpps\n\nopen" in page["comparison"]
    assert "at least 2 kpps" in page["table"]


def test_a_limit_below_the_search_is_below_its_lower_end():
    found, _ = solve(job_of(limited("1.2 Mpps", "3 Mpps", "  uncertainty: fixed\n")), queue)
    said = " ".join(sentences(found))
    assert "with load.flows 1: below 1.2 Mpps" in said
    assert "at least +66" in said
    assert "0 /s" not in said
    none, _ = solve(job_of(limited("2.5 Mpps", "3 Mpps", "  uncertainty: fixed\n")), queue)
    assert none.comparisons[0].order is Order.OPEN


def drawn_queue(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """It holds up to 1 Mpps and flow; drawn, up to a tenth of it in one draw and ten times as much in the others."""
    rate, flows = amount(point["load.rate"]), amount(point["load.flows"])
    assert rate is not None
    assert flows is not None
    factor = (0.1 if point.replication == 0 else 10.0) if point.draws else 1.0
    return {"latency_p99_us": 1e6 if rate.value > factor * flows.value * 1e6 else 1.0}, {}


def test_draws_beyond_the_search_leave_the_upper_end_open():
    body = limited("0.5 Mpps", "5 Mpps", "  uncertainty: drawn\n  replications: {atLeast: 6}\n")
    found, _ = solve(job_of(body), drawn_queue)
    comparison = found.comparisons[0]
    assert comparison.interval
    assert comparison.order is Order.OPEN, "most draws are beyond on both sides"
    said = " ".join(sentences(found))
    assert "below 0.5 Mpps to at least 5 Mpps" in said
    assert "0 /s" not in said


def test_a_draw_that_fails_is_a_row_that_fails():
    def refusing(job: Job, point: Point, memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        if point.draws and point.replication == 2:
            raise YtwinError("no such card")
        return queue(job, point, memory)

    body = limited("1 kpps", "5 Mpps", "  uncertainty: drawn\n  replications: {atLeast: 6}\n")
    found, _ = solve(job_of(body), refusing)
    assert [row.error for row in found.rows] == ["with drawn profile numbers: no such card"] * 2
    assert found.comparisons == ()


def test_what_moves_a_limit_beyond_the_search_is_not_known():
    from ytwin.hardware import numbers, shipped  # noqa: PLC0415

    quantity = numbers(shipped()["ovs-kernel"])["host.latency_scv"]
    one = Uncertain("ovs-kernel", "host.latency_scv", quantity)
    limit = "limit: {parameter: load.rate, from: 1 pps, to: 2 kpps, while: [loss < 1 %]}"
    found, _ = solve(job_of(f"  goal: {{{limit}, sensitivity: {{of: limit}}}}"), queue, lambda _settings: (one,))
    assert found.swings[0].width == 0
    assert "moves highest load.rate into what was searched (1 pps to 2 kpps)" in " ".join(sentences(found))
    assert LIMIT in found.rows[0].numbers


def test_an_interval_below_95_percent_makes_nothing_sure():
    body = f"{FLOWS}  engine: fast\n  replications: {{atLeast: 4, confidence: 0.5}}\n  goal: {{{COMPARED}}}\n"
    found, _ = solve(job_of(body), noisy)
    assert found.comparisons[0].order is Order.HIGHER
    assert not found.comparisons[0].sure
    assert "by an interval of 50 %" in " ".join(sentences(found))
    assert "by 50 %" in sections_of(body, noisy)["comparison"]
    with pytest.raises(InvalidInput, match="drawn profile numbers have no confidence"):
        job_of(body.replace("engine: fast", "uncertainty: drawn").replace("atLeast: 4", "atLeast: 6"))


def by_draw(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """One flow loses nothing in the first two draws, and a hundredth in the others; two lose twice as much as others lose."""
    few = point.replication < 2
    loss = 0.02 if point["load.flows"] == 2 else 0.0 if few else 0.01
    return {"loss_ratio": loss}, {"limit": "the eswitch" if few else "the slow path"}


def test_what_most_draws_say_is_told():
    body = f"{FLOWS}  uncertainty: drawn\n  replications: {{atLeast: 7}}\n  goal: {{metrics: [loss], {COMPARED}}}\n"
    found, _ = solve(job_of(body), by_draw)
    assert {row.texts["limit"] for row in found.rows} == {"the slow path"}
    assert "What limits most often everywhere: the slow path." in sentences(found)


def test_a_change_from_nothing_is_endless():
    body = f"{FLOWS}  uncertainty: drawn\n  replications: {{atLeast: 7}}\n  goal: {{metrics: [loss], {COMPARED}}}\n"
    found, _ = solve(job_of(body), by_draw)
    assert found.comparisons[0].ratio == Number(2.0, 2.0, math.inf)
    assert "+100.0 % (at least +100.0 %)" in sentences(found)[0]
    assert answer_to_json(found, MADE)["comparisons"][0]["ratio"] == {"value": 2.0, "low": 2.0, "high": None}


def test_ratios_of_runs_with_nothing_are_of_their_means():
    spec = job_of(f"{FLOWS}  engine: fast\n  replications: {{atLeast: 3}}\n").study.spec
    assert ratios([0.0, 1.0, 2.0], [1.0, 2.0, 3.0], spec) == Number(2.0, 1.5, math.inf)
    assert ratios([0.0], [0.0], spec) == Number(1.0, 1.0, 1.0)


def test_a_limit_of_nothing_is_found():
    """It holds at 0 and at nothing above."""
    tried = []

    def at_zero(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        rate = amount(point["load.rate"])
        assert rate is not None
        tried.append(rate.value)
        return {"loss_ratio": rate.value / 3e6}, {}

    limit = "{parameter: load.rate, from: 0 pps, to: 3 Mpps, while: [loss <= 0]}"
    found, _ = solve(job_of(f"  goal: {{limit: {limit}}}\n"), at_zero)
    assert found.rows[0].numbers[LIMIT].value == 0
    assert len(tried) < 60


def test_a_search_ends_at_the_digits_that_it_tries():
    body = "  goal: {limit: {parameter: load.rate, from: 1 pps, to: 3 Mpps, while: [latency_p99 < 1 ms], tolerance: 0.00001 %}}\n"
    found, _ = solve(job_of(body), queue)
    assert found.rows[0].numbers[LIMIT].value == pytest.approx(1e6 - math.log(100) * 1e3, rel=1e-7)
    with pytest.raises(InvalidInput, match="finer than 1e-05 %"):
        job_of(body.replace("0.00001", "0.0000001"))


def test_a_bound_needs_the_unit_of_its_metric():
    body = "  goal: {limit: {parameter: load.rate, from: 1 pps, to: 3 Mpps, while: [latency_p99 < 50]}}\n"
    with pytest.raises(InvalidInput, match="50 has no unit, and latency_p99_us is a time"):
        solve(job_of(body), queue)


@pytest.mark.parametrize("path", ["card.host.latency", "cards.*.host.latency", "cards.ovs-kernel.host.latency"])
def test_the_searched_number_does_not_move_the_limit(path: str):
    from ytwin.hardware import numbers, shipped  # noqa: PLC0415

    known = numbers(shipped()["ovs-kernel"])
    ones = tuple(Uncertain("ovs-kernel", name, known[name]) for name in ("host.latency", "host.latency_scv"))

    def measure(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
        said = dict(point.settings)
        latency, scv = amount(said[path]), amount(said.get("cards.ovs-kernel.host.latency_scv", 0.044))
        assert latency is not None
        assert scv is not None
        return {"latency_us": latency.value / 1e6 * (1 + scv.value)}, {}

    limit = f"{{parameter: '{path}', from: 1 us, to: 1 ms, while: [latency < 100 us]}}"
    found, _ = solve(
        job_of(f"  goal: {{limit: {limit}, sensitivity: {{of: limit}}}}\n"), measure, lambda _settings: ones
    )
    assert [swing.uncertain.number for swing in found.swings] == ["host.latency_scv"]
