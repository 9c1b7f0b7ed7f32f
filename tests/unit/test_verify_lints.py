"""Lints on hand-made rows and objects: each fires on its trap and stays silent beside it."""

from __future__ import annotations

import pytest
from frozendict import frozendict

from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    Row,
)
from ytwin.pipeline import compile_rows
from ytwin.resources.codec import decode
from ytwin.resources.snapshot import Snapshot
from ytwin.verify.lints import lint
from ytwin.verify.lints.context import LintContext
from ytwin.verify.lints.services import dp_hash_shares

LB = LoadBalancer("default/web/tcp/eip", frozendict({"200.0.0.1:80": "10.0.0.2:80"}))


def codes(rows: list[Row], snapshot: Snapshot | None = None) -> list[str]:
    return [f.code for f in lint(LintContext(snapshot or Snapshot(), Northbound.of(rows)))]


def router(name: str = "r", **options: str) -> LogicalRouter:
    return LogicalRouter(name, load_balancer=(LB.name,), options=frozendict(options))


def port(name: str, on: str = "r") -> LogicalRouterPort:
    return LogicalRouterPort(name, on, "02:00:00:00:00:01", ("10.0.0.1/24",))


def two(port_name: str) -> list[Row]:
    return [GatewayChassis(port_name, "node1", 20), GatewayChassis(port_name, "node2", 10)]


def test_router_load_balancer_without_gateway_is_found() -> None:
    assert codes([LB, router(), port("p")]) == ["router-lb-placement"]


def test_router_load_balancer_on_one_gateway_port_is_fine() -> None:
    assert codes([LB, router(), port("p"), *two("p")]) == []


def test_router_load_balancer_on_two_gateway_ports_is_found() -> None:
    assert codes([LB, router(), port("p"), port("q"), *two("p"), *two("q")]) == ["several-gateway-ports"]


def test_gateway_router_is_fine_but_bound_to_one_chassis() -> None:
    assert codes([LB, router(chassis="node1", lb_force_snat_ip="router_ip")]) == ["single-chassis"]


def test_force_snat_without_chassis_is_found() -> None:
    rows = [LB, router(lb_force_snat_ip="router_ip"), port("p"), *two("p")]
    assert codes(rows) == ["force-snat-ignored"]


def test_a_single_candidate_of_a_gateway_port_is_found() -> None:
    assert codes([LB, router(), port("p"), GatewayChassis("p", "node1", 1)]) == ["single-chassis"]


@pytest.mark.parametrize(("order", "expected"), [((20, 10), []), ((10, 20), ["gateway-chassis-differ"])])
def test_neighbouring_gateway_ports_must_share_their_chassis_order(order: tuple[int, int], expected: list[str]) -> None:
    def peer(switch: str, lrp: str) -> LogicalSwitchPort:
        return LogicalSwitchPort(f"lsp_{lrp}", switch, "router", ("router",), options=frozendict({"router-port": lrp}))

    rows: list[Row] = [
        LogicalRouter("edge"),
        LogicalRouter("vpc"),
        LogicalSwitch("outside"),
        LogicalSwitch("transit"),
        LogicalSwitchPort("localnet", "outside", "localnet", ("unknown",)),
        port("edge_outside", "edge"),
        port("edge_transit", "edge"),
        port("vpc_transit", "vpc"),
        peer("outside", "edge_outside"),
        peer("transit", "edge_transit"),
        peer("transit", "vpc_transit"),
        *two("edge_outside"),
        GatewayChassis("vpc_transit", "node1", order[0]),
        GatewayChassis("vpc_transit", "node2", order[1]),
    ]
    assert codes(rows) == expected


def test_an_option_of_another_version_is_found() -> None:
    row = LoadBalancer("lb", frozendict(), options=frozendict({"use_stateless_nat": "true", "reject": "true"}))
    assert codes([row]) == ["option-without-effect"]


@pytest.mark.parametrize(
    ("backends", "shares"),
    [(1, (16, 16)), (2, (8, 8)), (3, (6, 5)), (5, (4, 3)), (16, (1, 1)), (17, (2, 1)), (256, (1, 1)), (257, None)],
)
def test_dp_hash_shares(backends: int, shares: tuple[int, int] | None) -> None:
    assert dp_hash_shares(backends) == shares


def test_a_selector_that_matches_nothing_is_found() -> None:
    text = """
apiVersion: iaas.yusur.io/v1
kind: Subnet
metadata: {name: a}
spec: {cidrBlock: 10.1.0.0/24}
---
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: web}
spec: {ports: [{port: 80}], selector: {app: web}}
"""
    snapshot, northbound = compile_rows(decode({"t.yaml": text}))
    found = lint(LintContext(snapshot, northbound))
    assert [(f.code, f.object) for f in found] == [("no-backend", "YusurService/default/web")]


POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: web}, annotations: {ovn.kubernetes.io/ip_address: %s}}
spec: {nodeName: n, containers: [{ports: [%s]}]}
"""
TWO_PORTS = """
apiVersion: v1
kind: Node
metadata: {name: n}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: iaas.yusur.io/v1
kind: Subnet
metadata: {name: a}
spec: {cidrBlock: 10.1.0.0/24, default: true}
---
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: web}
spec:
  clusterIP: 10.96.0.1
  ports: [{name: http, port: 80, targetPort: http}, {name: dns, port: 53, targetPort: dns}, {name: ssh, port: 22}]
  selector: {app: web}
"""
HTTP, DNS = "{name: http, containerPort: 8080}", "{name: dns, containerPort: 53}"
DEAD = """
apiVersion: iaas.yusur.io/v1
kind: NetworkProbe
metadata: {name: probe}
spec: {service: web, target: {kind: Pod, name: b}, address: 10.1.0.6, port: 53}
status: {healthy: false}
"""


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([POD % ("a", "10.1.0.5", f"{HTTP}, {DNS}")], []),
        (
            [POD % ("a", "10.1.0.5", HTTP), POD % ("b", "10.1.0.6", DNS), DEAD],
            [("no-healthy-backend", "10.96.0.1 port 53/TCP: no healthy IPv4 backend; the probes of all of them fail")],
        ),
        (
            [POD % ("b", "10.1.0.6", f"{HTTP}, {DNS}"), DEAD],
            [("no-healthy-backend", "10.96.0.1: no healthy IPv4 backend; the probes of all of them fail")],
        ),
    ],
)
def test_every_port_needs_a_healthy_backend(documents: list[str], expected: list[tuple[str, str]]) -> None:
    text = "---".join([TWO_PORTS, *documents])
    found = lint(LintContext(*compile_rows(decode({"t.yaml": text}))))
    assert [(f.code, f.message) for f in found if f.code != "backend-left-out"] == expected


@pytest.mark.parametrize(
    ("protocol", "affinity", "found"), [("UDP", "ClientIP", True), ("TCP", "ClientIP", False), ("UDP", "None", False)]
)
def test_affinity_of_udp_loses_the_packet_that_teaches_it(protocol: str, affinity: str, found: bool) -> None:
    snapshot = decode(
        {
            "s.yaml": "{apiVersion: iaas.yusur.io/v1, kind: YusurService, metadata: {name: dns}, spec: "
            f"{{ports: [{{port: 53, protocol: {protocol}}}], selector: {{a: b}}, sessionAffinity: {affinity}}}}}\n---\n"
            "{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: s}, spec: {cidrBlock: 10.16.0.0/24, default: true}}"
        }
    )
    reconciled, rows = compile_rows(snapshot)
    findings = lint(LintContext(reconciled, rows))
    assert ("affinity-drops-udp" in {finding.code for finding in findings}) is found


def _found(text: str) -> list[tuple[str, str, str]]:
    snapshot, northbound = compile_rows(decode({"t.yaml": text}))
    return [(f.code, f.object, f.message) for f in lint(LintContext(snapshot, northbound))]


_NETWORK = """
{apiVersion: kubeovn.io/v1, kind: Vpc, metadata: {name: v}, spec: {staticRoutes: [
  {cidr: 192.0.2.0/24, nextHopIP: %s, policy: policyDst}]}}
---
{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: s}, spec: {vpc: v, cidrBlock: 10.7.0.0/24, gateway: 10.7.0.1}}
"""


def test_a_route_to_nowhere_is_found() -> None:
    assert [c for c, _, _ in _found(_NETWORK % "10.7.0.9")] == []
    ((code, where, message),) = _found(_NETWORK % "10.8.0.9")
    assert (code, where) == ("route-without-port", "Vpc/v")
    assert message.startswith("the route to 192.0.2.0/24 goes by 10.8.0.9,")


def test_backends_that_are_passed_over_are_found() -> None:
    objects = decode({"t.yaml": _BACKENDS})
    snapshot, northbound = compile_rows(objects)
    found = [f for f in lint(LintContext(snapshot, northbound)) if f.code == "backend-left-out"]
    assert [f.message.split(" ")[0] for f in found] == ["Pod/default/host", "Pod/default/nameless"]
    assert "node's network" in found[0].message
    assert "no port named web (TCP)" in found[1].message


def _pod(name: str, spec: str, port: str) -> str:
    return (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: default, labels: {{a: b}}}}, "
        f"spec: {{nodeName: n1{spec}, containers: [{{name: c, ports: [{{name: {port}, containerPort: 80}}]}}]}}}}"
    )


_BACKENDS = "\n---\n".join((
    "{apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}",
    "{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: ovn-default}, "
    "spec: {cidrBlock: 10.0.0.0/16, gateway: 10.0.0.1, default: true}}",
    _pod("host", ", hostNetwork: true", "web"),
    _pod("nameless", "", "other"),
    _pod("good", "", "web"),
    "{apiVersion: iaas.yusur.io/v1, kind: YusurService, metadata: {name: s, namespace: default}, "
    "spec: {selector: {a: b}, ports: [{port: 80, targetPort: web}]}}",
))  # fmt: skip
