"""The Southbound that real ovn-northd writes shows no drift, and a change by hand is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployer.sandbox import OvnSandbox
from ytwin.pipeline import build, read, verify
from ytwin.verify.report import Finding

pytestmark = pytest.mark.ovn
FOLDER = Path(__file__).parents[2] / "topologies" / "four-scenarios"
CODES = (
    "balancer-differs",
    "group-differs",
    "flow-missing",
    "flow-foreign",
    "port-missing",
    "port-elsewhere",
    "other-ovn-version",
)


def test_drift_of_a_real_southbound() -> None:
    snapshot = read({file.name: file.read_text() for file in sorted(FOLDER.glob("*.yaml"))})
    wanted = build(snapshot)

    def drift() -> list[Finding]:
        report = verify(build(snapshot, ovn.southbound()))
        failures.append(len(report.failures))
        return [finding for finding in report.findings if finding.code in CODES]

    failures: list[int] = []
    with OvnSandbox() as ovn:
        ovn.load(wanted.northbound)
        ovn.wait_northd()
        assert verify(build(snapshot, ovn.southbound())) == verify(wanted)
        ovn.nbctl("lb-del", "default/scenario1/tcp")
        ovn.wait_northd()
        row = "Load_Balancer/default/scenario1/tcp"
        assert {(f.code, f.object) for f in drift()} == {("flow-missing", row), ("balancer-differs", row)}
        ovn.nbctl("acl-add", "subnet2", "to-lport", "1000", "ip4", "drop")
        ovn.wait_northd()
        assert ("flow-foreign", "Logical_Switch/subnet2") in {(f.code, f.object) for f in drift()}
    assert 0 < failures[0] < failures[1]
