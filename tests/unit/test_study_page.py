"""The report of a study: what its tables and sections say, also of what could not be computed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.study_cases import Measure, article_job, job_of, solve
from ytwin.core.errors import YtwinError
from ytwin.report import Table, Text
from ytwin.study.evaluate import Job, Memory, evaluate
from ytwin.study.page import Made, answer_table, page
from ytwin.study.points import Point

MADE = Made("ytwin study run test", "0", "", 1)


def refused(_job: Job, _point: Point, _memory: Memory) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Nothing can be computed."""
    raise YtwinError("no road to Rome")


def sections_of(body: str, measure: Measure, made: Made = MADE) -> dict[str, str]:
    """Section -> its intro, texts and tables as one text."""
    job = job_of(body)
    found, _ = solve(job, measure)
    made_page = page(job, found, made)
    assert made_page.html()
    told = {}
    for section in made_page.sections:
        parts = [section.intro]
        for block in section.blocks:
            parts += [block.text] if isinstance(block, Text) else []
            if isinstance(block, Table):
                parts += [str(cell) for line in (block.header, *block.rows) for cell in line]
        told[section.anchor] = "\n".join(parts)
    return told


def test_a_study_of_which_nothing_can_be_computed_has_a_report():
    body = "  parameters: [{path: load.flows, values: [1, 2]}]"
    found, _ = solve(job_of(body), refused)
    table = answer_table(found)
    assert table.header == ["load.flows", "error"]
    assert [list(row) for row in table.rows] == [[n, "failed: no road to Rome"] for n in ("1", "2")]
    assert "no road to Rome" in sections_of(body, refused)["table"]
    assert answer_table(solve(job_of(""), refused)[0]).header == ["error"]


@pytest.mark.parametrize(
    "more",
    [
        "  uncertainty: drawn\n  replications: {atLeast: 6}\n",
        "  goal: {metrics: [packet_rate], sensitivity: {of: packet_rate}}\n",
        "  goal: {limit: {parameter: load.rate, from: 1 kpps, to: 100 Mpps, while: [loss < 1 %], tolerance: 50 %}}\n",
        "  model: balance\n",
        "  model: neighbour\n",
    ],
    ids=["drawn", "sensitivity", "limit", "balance", "neighbour"],
)
def test_assumptions_are_told_of_every_kind_of_study(more: str):
    settings = "nodes.*.card: ovs-kernel" + (", model.rate: 1 kpps" if "neighbour" in more else "")
    load = "{kind: packets, rate: 1 Mpps, flows: 10}"
    job = article_job(f"  settings: {{{settings}}}\n{more}", load)
    found, _ = solve(job, evaluate, lambda _settings: ())
    section = next(s for s in page(job, found, MADE).sections if s.anchor == "assumptions")
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert {row[0] for row in table.rows} == {"ovs-kernel"}
    assert any(str(row[1]).startswith("slow_path.") for row in table.rows)
    assert {row[4] for row in table.rows} <= {"calibrated", "assumed"}
