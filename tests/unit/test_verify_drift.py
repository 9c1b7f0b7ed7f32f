"""A Southbound that differs from the compiled one: the finding and the failed cell name the flow and its row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from frozendict import frozendict

from ytwin.logical.southbound import DatapathId, LogicalFlow, Southbound
from ytwin.pipeline import Twin, build, converse, read, verify
from ytwin.resources.snapshot import Snapshot
from ytwin.trace import Verdict
from ytwin.verify.report import Finding

FOLDER = Path(__file__).parents[2] / "topologies" / "four-scenarios"
NEW = (
    "flow-missing",
    "flow-foreign",
    "port-missing",
    "port-elsewhere",
    "other-ovn-version",
    "balancer-differs",
    "group-differs",
)


@cache
def snapshot() -> Snapshot:
    return read({file.name: file.read_text() for file in sorted(FOLDER.glob("*.yaml"))})


@cache
def compiled() -> Southbound:
    return build(snapshot()).southbound


def observed(change: Callable[[LogicalFlow], LogicalFlow | None]) -> Twin:
    """The twin of a Southbound whose flows went through `change`; like a dump, they carry hints instead of rows."""
    flows = (change(flow) for flow in compiled().flows)
    hinted = tuple(replace(flow, source=flow.source and "0badcafe") for flow in flows if flow is not None)
    return build(snapshot(), replace(compiled(), flows=hinted))


def findings(twin: Twin) -> list[Finding]:
    return [finding for finding in verify(twin).findings if finding.code in NEW]


def test_no_drift() -> None:
    twin = observed(lambda flow: flow)
    assert findings(twin) == []
    assert verify(twin) == verify(build(snapshot()))
    assert twin.southbound.flows == compiled().flows  # rows instead of hints


def test_tunnel_keys_do_not_count() -> None:
    def other_keys(flow: LogicalFlow) -> LogicalFlow:
        return replace(flow, match=flow.match.replace("$rtr_lb_1_", "$rtr_lb_7_"))

    assert findings(observed(other_keys)) == []


def test_a_missing_flow_is_named_with_its_row() -> None:
    undnat = [f for f in compiled().flows if f.stage == "lr_out_undnat" and f.source.endswith("scenario3/tcp/eip")]
    assert undnat
    twin = observed(lambda flow: None if flow in undnat else flow)
    (finding,) = {f.object: f for f in findings(twin)}.values()
    assert (finding.code, finding.object) == ("flow-missing", "Load_Balancer/default/scenario3/tcp/eip")
    assert "router vpc1: lr_out_undnat 120" in finding.message
    failed = verify(twin).failures
    assert failed
    assert all("lacks it" in cell.reason and finding.object in cell.reason for cell in failed)


def test_a_missing_flow_that_only_the_first_packet_meets() -> None:
    """With affinity the packet that learns is lost, and the walk that is shown is the one after it."""
    place = ("ls_in_lb", 120, "ct.new && ip4.dst == 10.96.0.100 && tcp.dst == 5432")
    twin = observed(lambda flow: None if (flow.stage, flow.priority, flow.match) == place else flow)
    failed = verify(twin).failures
    assert failed
    assert all("should have ls_in_lb 120" in cell.reason for cell in failed)
    assert all("Load_Balancer/default/scenario1/tcp" in cell.reason for cell in failed)


def test_a_changed_flow_says_what_is_there_instead() -> None:
    def blackhole(flow: LogicalFlow) -> LogicalFlow:
        wrong = flow.stage == "lr_in_ip_routing" and "200.0.0.100/32" in flow.match and "eipgw" in flow.actions
        return replace(flow, actions="drop;") if wrong else flow

    twin = observed(blackhole)
    (finding,) = findings(twin)
    assert finding.code == "flow-missing"
    assert finding.object.startswith("Logical_Router_Static_Route/eipgw_")
    assert "it has drop; there" in finding.message
    outside = next(host for host in twin.world.hosts if host.kind == "outside")
    answer = converse(twin, outside, "200.0.0.100", 5432, "tcp")
    assert answer.verdict is not Verdict.DELIVERED
    assert "the Southbound does drop; there" in answer.reason


def test_a_foreign_flow_is_named() -> None:
    subnet = DatapathId("switch", "subnet1")
    acl = LogicalFlow((subnet,), "egress", 4, "ls_out_acl", 2000, "tcp.dst == 5432", "drop;")
    southbound = replace(compiled(), flows=(*compiled().flows, acl))
    twin = build(snapshot(), southbound)
    (finding,) = findings(twin)
    assert (finding.code, finding.object) == ("flow-foreign", "Logical_Switch/subnet1")
    failed = verify(twin).failures
    assert failed
    assert all("which nothing in the input makes" in cell.reason for cell in failed)


def test_a_missing_port() -> None:
    ports = frozendict({name: port for name, port in compiled().ports.items() if name != "db1.default"})
    codes = {(f.code, f.object) for f in findings(build(snapshot(), replace(compiled(), ports=ports)))}
    assert codes == {("port-missing", "Port_Binding/db1.default")}


def test_a_missing_balancer_breaks_hairpin_and_is_named() -> None:
    name = "default/scenario2/tcp"
    kept = tuple(lb for lb in compiled().load_balancers if lb.name != name)
    twin = build(snapshot(), replace(compiled(), load_balancers=kept))
    (finding,) = findings(twin)
    assert (finding.code, finding.object) == ("balancer-differs", f"Load_Balancer/{name}")
    assert {cell.service for cell in verify(twin).failures} == {"default/scenario2"}


def test_a_multicast_group_that_differs() -> None:
    group, *others = compiled().multicast_groups
    twin = build(snapshot(), replace(compiled(), multicast_groups=tuple(others)))
    (finding,) = findings(twin)
    assert finding.code == "group-differs"
    assert group.name in finding.message
    fewer = replace(group, ports=group.ports[1:])
    (finding,) = findings(build(snapshot(), replace(compiled(), multicast_groups=(fewer, *others))))
    assert finding.code == "group-differs"
    assert group.ports[0] in finding.message


def test_another_version_is_traced_and_not_compared() -> None:
    def later(flow: LogicalFlow) -> LogicalFlow:
        # One more table at the end: nothing that a walk depends on.
        return replace(flow, table=flow.table + 1) if flow.stage == "ls_in_l2_unknown" else flow

    codes = [finding.code for finding in findings(observed(later))]
    assert codes == ["other-ovn-version"]


def test_a_port_that_is_bound_elsewhere() -> None:
    bound = build(snapshot()).world.southbound
    assert findings(build(snapshot(), bound)) == []
    moved = replace(bound.ports["db1.default"], chassis="node3")
    twin = build(snapshot(), replace(bound, ports=frozendict({**bound.ports, "db1.default": moved})))
    (finding,) = findings(twin)
    assert (finding.code, finding.object) == ("port-elsewhere", "Port_Binding/db1.default")
    assert "node3" in finding.message
    assert "node1" in finding.message


def test_a_southbound_of_another_cluster_stays_readable() -> None:
    twin = build(snapshot(), replace(compiled(), flows=()))
    found = findings(twin)
    assert 20 < len(found) < 50
    assert any("more rows like these" in finding.message for finding in found)
