"""Pages of reports: self-contained, escaped, and readable on a telephone as on a desk, light and dark.

The last part opens the page in Chromium, where there is one; YTWIN_REQUIRE_BROWSER=1 makes it fail where there is none.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import plotly.graph_objects as go
import pytest
from browser_cases import opened

from ytwin.report import Figure, Page, Section, Style, Table, Text
from ytwin.report.page import held
from ytwin.report.plots import Bars, grouped_bars, names_above, stacked_bars

NAMES = ["bare metal, offload", "node to Service, software", "Pod"]
BARS = grouped_bars(
    NAMES,
    [
        Bars("article", [163, 130, None], 0, [160, 128, None], [166, 133, None], ["163", "130", ""]),
        Bars("twin", [163, 131.6, 5], 1, [159, 129, 4], [167, 134, 6]),
    ],
    "Gbit/s",
)
STACK = stacked_bars(NAMES, {"wire": [1, 2, 3], "nothing": [0, 0, 0], "slow path": [0, 2, 0]}, "us")


def page(*blocks: object) -> Page:
    shown = blocks or (
        Table(
            ["cell", *(f"column {i}" for i in range(9))],
            [["bandwidth.node.offload", *(f"{i} Gbit/s and a good deal more to say" for i in range(9))]],
            {(0, 1): Style.BAD},
            frozenset({2}),
            "a wide table",
        ),
        Figure(BARS, "Bandwidth", "article 163, twin 163"),
        Figure(STACK, "Latency", "wire 1, slow path 2", wide=True),
        Text("A remark.", Style.DIM),
    )
    return Page(
        "Title <b>",
        "It holds by 5 %.",
        Style.GOOD,
        [Section("First", shown, "what it is")],
        "ytwin x",
        7,
        [("5 %", "m")],
    )


@pytest.mark.parametrize("figure", [BARS, STACK])
def test_figures_are_what_plotly_knows(figure):
    """Colours are the page's variables until it is opened; all else plotly checks."""
    text = re.sub(r"var\(--\w+\)", "#123456", json.dumps(figure))
    go.Figure(json.loads(text))


def test_intervals_reach_from_low_to_high():
    error = BARS["data"][0]["error_x"]
    assert (error["arrayminus"], error["array"]) == ([3, 2, None], [3, 3, None])


def test_parts_that_are_nowhere_are_left_out():
    assert [trace["name"] for trace in STACK["data"]] == ["wire", "slow path"]


def test_page_needs_nothing_from_elsewhere():
    text = page().html()
    outside_scripts = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "http" not in outside_scripts
    assert "src=" not in outside_scripts
    assert "<link" not in outside_scripts.replace('<link rel="icon" href="data:,">', "")


def test_page_without_figures_has_no_script():
    text = page(Text("only words")).html()
    assert "<script" not in text
    assert len(text) < 20_000


def test_texts_are_escaped():
    evil = "</script><script>alert(1)</script>"
    text = page(Text(evil), Table([evil], [[evil]]), Figure({"data": [], "layout": {"title": evil}}, evil, evil)).html()
    assert "<title>Title &lt;b&gt;</title>" in text
    assert evil not in text
    assert text.count("<script>") == 2


def test_numbers_stay_with_their_units():
    assert held("5 % of 12 us, 3 Mpps and 4 words; 15 requests/s") == (
        "5\u00a0% of 12\u00a0us, 3\u00a0Mpps and 4 words; 15 requests/s"
    )


def test_sections_are_linked():
    text = page().html()
    for target in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{target}"' in text


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
def test_page_opens_without_errors_and_fits(width: int, tmp_path: Path):
    found = opened(page().html(), width, tmp_path)
    assert found["problems"] == []
    assert found["width"] == width
    assert found["sideways"] == 0, "the page scrolls sideways"
    assert found["over"] == 0
    assert found["plots"] == [6, 6], "bars are drawn"


def test_figures_follow_the_theme(tmp_path: Path):
    light = opened(page().html(), 800, tmp_path)
    dark = opened(page().html(), 800, tmp_path, "--force-dark-mode")
    assert light["back"] != dark["back"]
    assert set(light["ink"]).isdisjoint(dark["ink"])  # type: ignore[call-overload]


def test_long_names_stand_above_their_bars_on_a_telephone(tmp_path: Path):
    """Beside them they were cut at the left."""
    what = ["host.request_instructions_of_some_kind", "b"]
    plot = grouped_bars(what, [Bars("x", [3, 2], 1)], "Gbit/s")
    height = 100 + 2 * names_above(plot, [(what[0], "0.8 cycles/instruction to 3 instructions"), ("b", "")])
    found = opened(page(Figure(plot, "Ranking", "3 and 2", height)).html(), 390, tmp_path)
    assert (found["cut"], found["over"], found["problems"]) == ([], 0, [])
    assert found["plots"] == [2]
