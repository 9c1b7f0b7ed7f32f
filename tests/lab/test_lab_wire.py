"""Real traffic against the twin's answers: no difference in any cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_cases import deploy, generated, shipped

from deployer.lab import Lab
from deployer.wire import Options, verify_wire
from ytwin.core.plan import diff
from ytwin.northbound.rows import LoadBalancer, RowKey
from ytwin.pipeline import Twin

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("lab_root")]


def holds(twin: Twin, lab: str, options: Options = Options()) -> None:  # noqa: B008 - frozen
    deploy(twin, lab)
    report = verify_wire(Lab.open(lab), twin, options)
    assert report.holds, str(report)
    assert report.connections > len(report.cells) / 2
    assert {cell.question.protocol for cell in report.cells if cell.state == "not judged"} <= {"sctp"}


@pytest.mark.parametrize("name", ["four-scenarios", "article"])
def test_shipped_topologies(name: str) -> None:
    holds(shipped(name), name)


@pytest.mark.parametrize(("seed", "nodes"), [(1, 3), (2, 4), (3, 5), (6, 4)])
def test_generated_topologies(seed: int, nodes: int) -> None:
    """Among them: one whose path is too long for the userspace datapath (2), and a reset that nobody hears (6)."""
    holds(generated(seed, nodes), f"g{seed}")


def test_every_host_of_the_article_asks() -> None:
    holds(shipped("article"), "article", Options(exhaustive=True))


def test_a_wrong_row_is_found_and_evidence_kept(tmp_path: Path) -> None:
    """The verification must be able to fail: one backend is taken out of one load balancer behind the twin's back."""
    twin = shipped("article")
    target = deploy(twin, "article")
    state = dict(target.snapshot())
    (row,) = (item for item in state.values() if isinstance(item, LoadBalancer))
    vip, backends = next(iter(row.vips.items()))
    lab = Lab.open("article")
    kept = backends.split(",")[0]
    lab.central.run(
        "ovn-nbctl",
        f"--db={lab.northbound_remote}",
        "--no-leader-only",
        "set",
        "Load_Balancer",
        row.name,
        f'vips:"{vip}"="{kept}"',
    )
    lab.wait_ready()
    assert [change.key for change in diff(state, target.snapshot())] == [RowKey(LoadBalancer.table, row.name)]
    report = verify_wire(lab, twin, Options(evidence=tmp_path, capture=True))
    assert len(report.mismatches) == 3, report
    for cell in report.mismatches:
        assert "was forecast and never happened" in cell.reason
        files = {path.name for path in Path(cell.evidence).iterdir()}
        assert {"cell.json", "node1-conntrack.txt", "node1-openflow.txt", "node2-datapath-flows.txt"} <= files
        assert any(name.endswith(".pcap") for name in files)
