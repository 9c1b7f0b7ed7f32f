"""Faults: the twin with the same fault forecasts what the wire still does."""

from __future__ import annotations

import pytest
from lab_cases import deploy, shipped

from deployer.lab import Lab
from deployer.wire import verify_wire

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.usefixtures("lab_root")]


@pytest.mark.parametrize("node", ["node1", "node2", "node3"])
def test_a_node_is_lost_and_comes_back(node: str) -> None:
    """node1 is the gateway of both routers and carries the service-gateway, node2 takes over, node3 has only workloads."""
    twin = shipped("four-scenarios")
    deploy(twin, "four")
    lab = Lab.open("four")
    lab.kill_node(node)
    assert lab.dead_nodes() == (node,)
    lab.wait_ready()
    report = verify_wire(lab, shipped("four-scenarios", (node,)))
    assert report.holds, str(report)
    lab.restart_node(node)
    lab.wait_ready()
    report = verify_wire(lab, twin)
    assert report.holds, str(report)


def test_central_is_restarted_under_a_running_network() -> None:
    twin = shipped("four-scenarios")
    deploy(twin, "four")
    lab = Lab.open("four")
    # What stands outside is learned into the Southbound (MAC_Binding): without one, only what was met before can be answered.
    report = verify_wire(lab, twin)
    assert report.holds, str(report)
    lab.central.stop_all()
    report = verify_wire(lab, twin)
    died = [note for note in report.notes if " died " in note]
    if died and not report.holds:
        pytest.skip(f"without a Southbound a node that died has nobody who gives it flows again: {died[0]}")
    assert report.holds, f"without any database the flows stay:\n{report}"
    lab.restart_central()
    lab.wait_ready()
    report = verify_wire(lab, twin)
    assert report.holds, str(report)
