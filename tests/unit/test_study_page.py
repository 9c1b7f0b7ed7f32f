"""The report of a study: what its tables and sections say, also of what could not be computed."""

from __future__ import annotations

from collections.abc import Mapping

from tests.study_cases import Measure, job_of, solve
from ytwin.core.errors import YtwinError
from ytwin.report import Table, Text
from ytwin.study.evaluate import Job, Memory
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
