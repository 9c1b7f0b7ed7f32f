"""Verification on the wire, without a wire: what is asked, when it is enough, what counts as a difference, how it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deployer.wire.judge import complete, difference
from deployer.wire.question import ANSWER, MISS, NOTHING, REFUSED, Outcome, Question, questions, server_ports
from deployer.wire.report import AGREE, DIFFER, UNJUDGED, WireCell, WireReport
from ytwin import pipeline
from ytwin.datapath import LIMITS

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
A, B = (Outcome(ANSWER, f"Pod/default/{name}", "10.0.0.9", "10.96.0.1") for name in "ab")
SILENCE = Outcome(NOTHING)
TWO = Question("Pod/default/c", "default/s", "10.96.0.1", 80, "tcp", "delivered", "", frozenset({A, B}), 2, False)


def twin_of(name: str) -> pipeline.Twin:
    files = {path.name: path.read_text() for path in sorted((TOPOLOGIES / name).glob("*.yaml"))}
    return pipeline.build(pipeline.read(files))


def test_all_that_was_forecast_and_nothing_else_agrees() -> None:
    assert difference(TWO, {A: 5, B: 3}) == ""


def test_a_backend_that_never_answers_differs_and_says_how_likely_that_is_chance() -> None:
    text = difference(TWO, {A: 21})
    assert "Pod/default/b" in text
    assert "1e-06" in text


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (SILENCE, "nothing was not forecast"),
        (Outcome(REFUSED), "refused was not forecast"),
        (replace(A, seen_as="10.0.0.8"), "sees 10.0.0.8, the twin said 10.0.0.9"),
        (replace(A, source="10.0.0.1"), "answers from 10.0.0.1, the twin said 10.96.0.1"),
        (replace(A, backend="Pod/default/z"), "Pod/default/z"),
    ],
)
def test_each_kind_of_surprise_differs(seen: Outcome, word: str) -> None:
    assert word in difference(TWO, {A: 5, B: 5, seen: 1})


def test_enough_is_when_all_was_seen_or_chance_is_excluded_or_a_surprise_came() -> None:
    assert not complete(TWO, {A: 4, B: 1})
    assert complete(TWO, {A: 6, B: 2})
    assert not complete(TWO, {A: TWO.at_most - 1})
    assert complete(TWO, {A: TWO.at_most})
    assert complete(TWO, {SILENCE: 1})


@pytest.mark.parametrize("paths", [2, 3, 10, 64])
def test_the_bound_on_chance_holds_at_the_last_connection_and_not_much_before(paths: int) -> None:
    question = replace(TWO, paths=paths)
    assert question.miss_probability(question.at_most) <= MISS
    assert question.miss_probability(question.at_most // 2) > MISS


def test_a_client_that_is_hashed_to_one_backend_must_stay_there() -> None:
    constant = replace(TWO, constant=True)
    assert difference(constant, {A: 8}) == ""
    assert "2 ways" in difference(constant, {A: 5, B: 3})


def test_questions_are_the_cells_of_check() -> None:
    twin = twin_of("four-scenarios")
    cells = pipeline.verify(twin).cells
    limits = dict.fromkeys(twin.world.chassis, LIMITS["netdev"])
    asked = questions(twin, limits)
    assert [(q.client, q.service, q.address, q.port) for q in asked] == [
        (c.client, c.service, c.address, c.port) for c in cells
    ]
    answered = {(q.client, q.address, q.port, q.protocol): q for q in asked}
    for cell in cells:
        forecast = answered[cell.client, cell.address, cell.port, cell.protocol].forecast
        if cell.verdict == "delivered":
            assert {outcome.backend for outcome in forecast} == {
                backend.name for backend in cell.backends
            } or not cell.backends
        elif cell.verdict in ("dropped", "no-route", "unanswered-arp"):
            assert SILENCE in forecast
    assert any(q.affinity for q in asked)
    assert {("tcp", 8080), ("tcp", 8081), ("udp", 514), ("tcp", 80)} <= server_ports(asked, twin)


def test_a_report_tells_everything_in_three_forms() -> None:
    cells = (
        WireCell(TWO, {A: 5, B: 3}, AGREE, ""),
        WireCell(TWO, {SILENCE: 1}, DIFFER, "nothing was not forecast", evidence="/somewhere"),
        WireCell(replace(TWO, protocol="sctp"), {}, UNJUDGED, "this kernel has no SCTP"),
    )
    report = WireReport(cells, 1.5, ("a note",))
    assert not report.holds
    assert report.connections == 9
    value = json.loads(json.dumps(report.to_json()))
    assert value["counts"] == {AGREE: 1, DIFFER: 1, UNJUDGED: 1}
    assert value["cells"][1]["wire"]["outcomes"] == [
        {"kind": NOTHING, "backend": "", "client_seen_as": "", "reply_source": "", "connections": 1}
    ]
    suite = ElementTree.fromstring(report.to_junit())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    text = str(report)
    for part in ("1 agree, 1 differ, 1 not judged", "/somewhere", "no SCTP", "a note", TWO.name):
        assert part in text
