"""The report of a study: what its tables and sections say, also of what could not be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.study_cases import Measure, article_job, job_of, noisy, queue, solve
from ytwin.core.errors import YtwinError
from ytwin.report import Figure, Table, Text
from ytwin.report.plots import log_axis
from ytwin.runs.pictures import png
from ytwin.study.amounts import amount
from ytwin.study.charts import charts
from ytwin.study.evaluate import Job, Memory, evaluate, uncertain_numbers
from ytwin.study.goals import answer
from ytwin.study.page import Made, answer_table, page
from ytwin.study.points import Asking, Point
from ytwin.study.words import sentences

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


def flat(_job: Job, point: Point, _memory: Memory) -> tuple[dict[str, float], dict[str, str]]:
    """Few flows are all alike; of the last two the intervals overlap."""
    flows = amount(point["load.flows"])
    assert flows is not None
    value = max(5.0, flows.value)
    return {"latency_us": value, "latency_us.low": value - 0.6, "latency_us.high": value + 0.6}, {}


def test_variants_that_are_alike_are_named_together_and_overlaps_are_told():
    body = "  parameters: [{path: load.flows, values: [1, 2, 3, 4, 5, 8, 9]}]\n"
    first = sentences(solve(job_of(body), flat)[0])[0]
    assert "with load.flows 1 and with load.flows 2 and with load.flows 3 (and 2 more)" in first
    assert "The interval of 1 more reaches into the highest one's, so by these alone which is highest is open." in first
    lowest = sentences(solve(job_of(f"{body}  goal: {{best: lowest}}\n"), flat)[0])[0]
    assert lowest.startswith("Lowest latency")
    assert "open" not in lowest


def test_the_words_of_an_unfinished_run_say_so():
    job = job_of("  parameters: [{path: load.flows, values: [1, 2, 3]}]\n  settings: {load.rate: 1 kpps}")
    found, results = solve(job, queue)
    part = dict(list(results.items())[:2])
    asking = Asking(job.study, job.base, part)
    half = answer(asking, lambda _settings: ())
    assert sentences(half)[0].startswith("Not finished: 1 points are missing. What follows is of 2 of 3 variants only.")
    assert page(job, half, replace(MADE, missing=1)).answer.count("Not finished") == 1
    assert not any("Not finished" in sentence for sentence in sentences(found))


def test_brackets_are_explained_only_where_there_are_some():
    body = "  parameters: [{path: load.flows, values: [1, 9]}]\n"
    assert "In brackets" in sections_of(body, flat)["table"]
    assert "In brackets" not in sections_of(f"{body}  settings: {{load.rate: 1 kpps}}\n", queue)["table"]


def test_an_answer_that_stands_in_the_lead_leaves_no_empty_section():
    assert "answer" not in sections_of("  settings: {load.rate: 1 kpps}\n", queue)


@pytest.mark.parametrize(("low", "high"), [(10, 100), (2e3, 9e3), (1.1, 1.4), (3e6, 3.01e6), (7, 7), (0.01, 0.5)])
def test_labels_of_a_narrow_logarithmic_axis_are_whole_numbers(low: float, high: float):
    axis = log_axis([low, high, 0, None])
    inside = [t for v, t in zip(axis["tickvals"], axis["ticktext"], strict=True) if low <= v <= high]
    assert len(set(inside)) == len(inside) >= min(2, len({low, high}))
    assert log_axis([1, 1e4])["dtick"] == 1
    assert dict(zip(log_axis([1e5, 2e6])["tickvals"], log_axis([1e5, 2e6])["ticktext"], strict=True))[2e5] == "200k"


DRAWN = """
  parameters:
  - {path: load.rate, name: rate, distribution: {low: 1 kpps, high: 900 kpps}}
  - {path: load.flows, name: flows, values: [1, 2]}
  design: {kind: sobol, points: 4}
  goal: {metrics: [latency_p99], compare: {parameter: flows, a: 1, b: 2}}
"""


def test_a_drawn_design_has_markers_and_a_series_of_each_side():
    found, _ = solve(job_of(f"{DRAWN}  uncertainty: fixed\n"), queue)
    (chart,) = charts(found)
    assert not chart.joined
    assert [series.name for series in chart.series] == ["flows 1", "flows 2"]
    assert all(len(set(series.x)) == 4 for series in chart.series)
    figures = [b for s in page(job_of(DRAWN), found, MADE).sections for b in s.blocks if isinstance(b, Figure)]
    assert {trace["mode"] for trace in figures[0].plot["data"]} == {"markers"}
    assert png(chart)


def test_the_number_of_draws_is_that_of_the_rows_and_whose_they_are():
    until = "  uncertainty: drawn\n  replications: {atLeast: 6, atMost: 30, metric: latency, halfWidth: 1 %}\n"
    body = "  parameters: [{path: load.flows, values: [1, 9]}]\n" + until
    job = job_of(body.replace("1 %", "40 %"))
    found, _ = solve(job, noisy)
    few, *more = sorted(row.replications for row in found.rows)
    said = sections_of(body, noisy)["table"]
    assert "where at least 95 % of 30 draws lie" in said
    assert "30 (not tight)" in said
    assert "the same for all variants" in said
    assert few == 6
    assert more == [6]
    own = sections_of(f"{body}  commonRandomNumbers: false\n", noisy)["table"]
    assert "for each variant on its own" in own


def test_sides_with_chance_of_their_own_are_not_called_pairs():
    body = f"{DRAWN}  uncertainty: drawn\n  replications: {{atLeast: 6}}\n"
    assert "By pairs" in sections_of(body, queue)["comparison"]
    own = sections_of(f"{body}  commonRandomNumbers: false\n", queue)["comparison"]
    assert "By pairs" not in own
    assert "Each side has chance of its own" in own


def test_a_table_that_is_cut_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ytwin.study.page.MOST_ROWS", 3)
    said = sections_of(f"{DRAWN}  uncertainty: fixed\n", queue)
    assert "3 of 4 comparisons are shown; answer.json has all." in said["comparison"]
    assert "3 of 8 variants are shown" in said["table"]


def test_a_ranking_that_is_cut_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ytwin.study.page.MOST_ROWS", 3)
    job = article_job("  goal: {metrics: [packet_rate], sensitivity: {of: packet_rate}}\n")
    found, _ = solve(job, evaluate, lambda settings: uncertain_numbers(job, settings))
    (section,) = (s for s in page(job, found, MADE).sections if s.anchor == "sensitivity")
    assert any(isinstance(b, Text) and f"3 of {len(found.swings)} numbers are shown" in b.text for b in section.blocks)


def test_a_plot_of_which_there_is_nothing_to_draw_says_so():
    body = "  parameters: [{path: load.flows, values: [1, 2, 3]}]\n  plots: [{x: load.flows, y: latency_p50}]\n"
    assert "Latency_p50 by load.flows: no variant of it has latency_p50" in sections_of(body, flat)["plots"]
