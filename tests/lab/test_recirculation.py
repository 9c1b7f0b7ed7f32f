"""The twin's passes through the datapath, held against the recirc_ids of datapaths that carry real packets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ytwin.datapath import passes
from ytwin.datapath.costs import Cost
from ytwin.datapath.examined import Mask
from ytwin.logical.southbound import LogicalFlow
from ytwin.logical.state import CT_REL
from ytwin.trace.types import Hop

try:
    from deployer.lab import why_no_lab
    from experiments.recirculation import compare
except ImportError as error:
    _REASON = str(error)
else:
    _REASON = why_no_lab()

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(_REASON) and not os.environ.get("YTWIN_REQUIRE_LAB"), reason=f"no lab: {_REASON}"),
]
TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "cells", "paths"), [("article", 3, 6), ("four-scenarios", 42, 100)])
def test_every_delivered_cell_takes_the_passes_that_the_twin_counts(folder: str, cells: int, paths: int) -> None:
    report = compare(TOPOLOGIES / folder)
    assert not report.differences, str(report)
    assert not report.surprises, str(report)
    assert len(report.megaflows) >= len(report.comparisons)
    # Which it visits first, of subtables with the priority of the match, is OVS's own affair; the twin counts all of them.
    for here, absent in ("matched", "absent"), ("headers", "headers_absent"):
        told, too_much = (sum(len(getattr(m, name)) for m in report.megaflows) for name in (here, absent))
        assert too_much <= 0.03 * told, str(report)
    unexplained = {field for m in report.megaflows for field in m.headers_unpredicted}
    assert unexplained <= {"ip.proto", "ip4.dst", "udp.dst"}, str(report)  # see datapath.examined
    assert len({c.cell for c in report.comparisons}) >= cells
    assert len({(c.cell, c.backend) for c in report.comparisons}) >= paths
    assert [text for text in report.unmeasured if "SCTP" not in text] == []
    assert not report.drops


@pytest.mark.slow
def test_what_the_twin_says_is_too_deep_is_dropped_and_everything_else_arrives() -> None:
    report = compare(TOPOLOGIES / "broken" / "recirculation-limit")
    assert {(d.cell.partition(" ")[0], d.chassis, d.dropped) for d in report.drops} == {
        ("Pod/default/near", "node1", True),
        ("Pod/default/far", "node1", True),
    }, str(report)
    assert report.holds, str(report)
    assert max(c.twin[0] for c in report.comparisons) == 6


@pytest.mark.slow
def test_the_default_algorithm_arrives_on_the_same_topology(tmp_path: Path) -> None:
    for file in (TOPOLOGIES / "broken" / "recirculation-limit").glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text().replace("algorithm: dpHash", "algorithm: hash"))
    report = compare(tmp_path)
    assert report.holds, str(report)
    assert not report.drops
    assert not report.unmeasured
    called = {c.cell.partition(" ->")[0] for c in report.comparisons if "-> default/web " in c.cell}
    assert called == {"Pod/default/near", "Pod/default/far", "outside/eipgw"}


def test_a_field_that_was_not_predicted_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were ct.rel forgotten, every flow that matches it would be named, and the passes would still be equal."""
    honest = Mask._add

    def forgetful(self: Mask, slot: str, mask: int, flow: LogicalFlow, stage: str, datapath: str) -> None:
        honest(self, slot, mask & ~CT_REL if slot == "ct_state" else mask, flow, stage, datapath)

    monkeypatch.setattr(Mask, "_add", forgetful)
    report = compare(TOPOLOGIES / "article")
    assert not report.differences, str(report)
    assert {field for m in report.surprises for field in m.unpredicted} == {"ct.rel"}, str(report)
    assert not report.holds
    assert "ct.rel" in str(report)


def test_a_wrong_count_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were ct_snat not to recirculate, a hairpinned reply would take a pass less than it does."""
    honest = passes.cost_of

    def wrong(hop: Hop) -> Cost:
        cost = honest(hop)
        return replace(cost, recirculates=False) if cost.action == "ct_snat" else cost

    monkeypatch.setattr(
        passes, "cost_of", wrong
    )  # programs keep the honest one, and only equal stays are held against flows
    report = compare(TOPOLOGIES / "article")
    assert {(c.backend, c.walk) for c in report.differences} == {
        (f"Pod/default/svc1-ep{n}", walk) for n in (1, 2) for walk in ("reply", "second")
    }, str(report)
    assert all(c.cell.startswith(c.backend) for c in report.differences)
    assert all(c.wire == ((c.twin[0] + 1, c.twin[1]),) for c in report.differences)
    assert not report.holds
