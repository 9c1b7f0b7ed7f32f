"""Each rule on a valid topology with one thing broken: the code and the place of what is found, and nothing else."""

from __future__ import annotations

import time

import pytest

from ytwin.core.errors import InvalidInput, Problem
from ytwin.northbound.rows import RouterPolicy
from ytwin.pipeline import compile_rows
from ytwin.resources.codec import decode
from ytwin.resources.model import Metadata, Pod, PodSpec
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.validate import validate

API = "apiVersion: iaas.yusur.io/v1"
PARTS: dict[str, str] = {
    "cluster": f"{API}\nkind: ClusterNetwork\nmetadata: {{name: cluster}}\nspec: {{serviceCIDR: '10.96.0.0/24,fd00:96::/120'}}",
    "node1": "apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n"
    "status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}",
    "node2": "apiVersion: v1\nkind: Node\nmetadata: {name: node2}\n"
    "status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}",
    "card": f"{API}\nkind: NetworkCard\nmetadata: {{name: card}}\nspec: {{node: node1, type: DPU}}",
    "vpc1": f"{API}\nkind: Vpc\nmetadata: {{name: vpc1}}\nspec: {{defaultSubnet: s1}}",
    "vpc2": f"{API}\nkind: Vpc\nmetadata: {{name: vpc2}}",
    "s0": f"{API}\nkind: Subnet\nmetadata: {{name: s0}}\nspec: {{cidrBlock: 10.16.0.0/24, default: true}}",
    "s1": (
        f"{API}\nkind: Subnet\nmetadata: {{name: s1}}\nspec:\n  vpc: vpc1\n  cidrBlock: 10.1.0.0/24,fd00:1::/64\n"
        "  gateway: 10.1.0.1,fd00:1::1\n  excludeIps: [10.1.0.200..10.1.0.210]"
    ),
    "s2": f"{API}\nkind: Subnet\nmetadata: {{name: s2}}\nspec: {{vpc: vpc2, cidrBlock: 10.2.0.0/24}}",
    "edge": (
        f"{API}\nkind: EipGateway\nmetadata: {{name: edge}}\nspec:\n  nodes: [node1, node2]\n  cidrBlock: 203.0.113.0/24\n"
        "  uplink: 203.0.113.2\n  gateway: 203.0.113.1\n  pools: [200.0.0.0/30]"
    ),
    "vm": (
        f"{API}\nkind: VirtualMachine\nmetadata: {{name: vm, labels: {{app: web}}}}\nspec:\n  node: node1\n  subnet: s1\n"
        "  ipAddress: 10.1.0.5,fd00:1::5\n  macAddress: 02:00:00:00:00:05\n  ports: [{name: http, containerPort: 80}]"
    ),
    "bm": f"{API}\nkind: BareMetal\nmetadata: {{name: bm}}\nspec: {{node: node2, subnet: s1, ipAddress: '10.1.0.6,fd00:1::6'}}",
    "nic": f"{API}\nkind: VNicIP\nmetadata: {{name: nic}}\nspec: {{node: node2, subnet: s2, ipAddress: 10.2.0.7}}",
    "pod": "apiVersion: v1\nkind: Pod\nmetadata: {name: pod, annotations: {ovn.kubernetes.io/logical_switch: s1}}\n"
    "spec: {nodeName: node1}",
    "svc": (
        f"{API}\nkind: YusurService\nmetadata: {{name: svc}}\nspec:\n  vpc: vpc1\n  clusterIP: 10.96.0.9\n"
        "  ports: [{port: 80, targetPort: http}]\n  selector: {app: web}"
    ),
    "lb": (
        f"{API}\nkind: YusurService\nmetadata: {{name: lb}}\nspec:\n  type: LoadBalancer\n  vpc: vpc1\n  eip: 200.0.0.1\n"
        "  ports: [{port: 80}]\n  selector: {app: web}"
    ),
    "multi": (
        f"{API}\nkind: YusurService\nmetadata: {{name: multi}}\nspec:\n  type: LoadBalancer\n  vpcs: [vpc1, vpc2]\n"
        "  eip: 200.0.0.2\n"
        "  ports: [{port: 80}]\n  selector: {app: web}\n  vnicIPs: [10.2.0.7]"
    ),
}
FAR = (
    PARTS["edge"].replace("name: edge", "name: far").replace("203.0.113", "203.0.114").replace("200.0.0.0", "201.0.0.0")
)
"""A second EipGateway on another network."""
SVC = f"{API}\nkind: YusurService\nmetadata: {{name: more}}\nspec: "
WORK = (
    "{API}\nkind: BareMetal\nmetadata: {{name: more}}\n"
    "spec: {{node: node1, subnet: {subnet}, ipAddress: '{address}', macAddress: '{mac}'}}"
)
PROBE = (
    API + "\nkind: NetworkProbe\nmetadata: {{name: x}}\n"
    "spec: {{service: {service}, target: {{kind: Pod, name: {target}}}, address: 10.1.0.5, port: 1}}"
)
PLAIN = "apiVersion: v1\nkind: Service\nmetadata: {{name: alone}}\nspec: {spec}"
LONG_AFFINITY = "vpc: vpc1\n  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 70000}}"
AFFINITY = "vpc: vpc1\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}"


def files(**changes: str) -> dict[str, str]:
    return {f"{name}.yaml": text for name, text in {**PARTS, **changes}.items()}


def found(texts: dict[str, str]) -> list[Problem]:
    try:
        decode(texts)
    except InvalidInput as error:
        return list(error.problems)
    return []


def swap(part: str, old: str, new: str) -> dict[str, str]:
    assert old in PARTS[part], f"{old!r} is not in {part}"
    return files(**{part: PARTS[part].replace(old, new)})


def workload(address: str = "", subnet: str = "s1", mac: str = "") -> dict[str, str]:
    return files(more=WORK.format(API=API, subnet=subnet, address=address, mac=mac))


def vpc1(routes: str, times: int = 1, **fields: str) -> dict[str, str]:
    """The base with routes in vpc1; policy routes get a match."""
    fields = {**({"match": "ip4"} if routes == "policyRoutes" else {}), **fields}
    route = "{" + ", ".join(f"{name}: '{value}'" for name, value in fields.items()) + "}"
    return swap("vpc1", "defaultSubnet: s1", f"defaultSubnet: s1, {routes}: [{', '.join([route] * times)}]")


def test_the_base_is_valid() -> None:
    assert found(files()) == []


CASES: list[tuple[dict[str, str], str, str, str]] = [
    # references
    (swap("s2", "vpc: vpc2", "vpc: vpc3"), "s2", "spec.vpc", "unknown-reference"),
    (swap("vpc1", "s1", "nope"), "vpc1", "spec.defaultSubnet", "unknown-reference"),
    (swap("vpc1", "s1", "s2"), "vpc1", "spec.defaultSubnet", "wrong-vpc"),
    (swap("vm", "node: node1", "node: nope"), "vm", "spec.node", "unknown-reference"),
    (swap("pod", "s1", "nope"), "pod", "metadata.annotations[ovn.kubernetes.io/logical_switch]", "unknown-reference"),
    (swap("pod", "nodeName: node1", "nodeName: nope"), "pod", "spec.nodeName", "unknown-reference"),
    (swap("pod", "{nodeName: node1}", "{}"), "pod", "spec.nodeName", "no-node"),
    (swap("edge", "[node1, node2]", "[node1, nope]"), "edge", "spec.nodes[1]", "unknown-reference"),
    (swap("edge", "[node1, node2]", "[node1, node1]"), "edge", "spec.nodes[1]", "duplicate"),
    (swap("card", "node: node1", "node: nope"), "card", "spec.node", "unknown-reference"),
    (files(card2=PARTS["card"].replace("name: card", "name: card2")), "card2", "spec.node", "two-cards"),
    (swap("lb", "eip: 200.0.0.1", "eipGateway: nope"), "lb", "spec.eipGateway", "unknown-reference"),
    (swap("node2", "192.168.0.2", "192.168.0.1"), "node2", "status.addresses", "duplicate-address"),
    (swap("node2", "InternalIP", "Hostname"), "node2", "", "no-encap-ip"),
    # CIDRs
    (swap("s2", "10.2.0.0/24", "10.2.0.1/24"), "s2", "spec.cidrBlock", "host-bits"),
    (swap("s2", "10.2.0.0/24", "10.2.0/24"), "s2", "spec.cidrBlock", "invalid-cidr"),
    (swap("s0", "10.16.0.0/24", "10.96.0.0/16"), "s0", "spec.cidrBlock", "cidr-overlap"),
    (swap("s0", "10.16.0.0/24", "100.64.1.0/24"), "s0", "spec.cidrBlock", "cidr-overlap"),
    (swap("s0", "10.16.0.0/24", "100.88.1.0/24"), "s0", "spec.cidrBlock", "cidr-overlap"),
    (files(x=PARTS["s1"].replace("name: s1", "name: x")), "x", "spec.cidrBlock", "cidr-overlap"),
    (
        files(x=PARTS["s0"].replace("name: s0", "name: x").replace("10.16", "10.17")),
        "x",
        "spec.default",
        "two-defaults",
    ),
    (swap("s0", "default", "protocol: IPv6, default"), "s0", "spec.protocol", "family-mismatch"),
    (swap("s1", "gateway: 10.1.0.1,fd00:1::1", "gateway: 10.1.0.1"), "s1", "spec.gateway", "family-mismatch"),
    (swap("s1", "gateway: 10.1.0.1", "gateway: 10.9.0.1"), "s1", "spec.gateway", "outside-subnet"),
    (swap("s1", "gateway: 10.1.0.1", "gateway: 10.1.0.255"), "s1", "spec.gateway", "outside-subnet"),
    (swap("s1", "10.1.0.200..10.1.0.210", "10.1.0.9..10.1.0.2"), "s1", "spec.excludeIps[0]", "invalid-address"),
    (swap("s1", "10.1.0.200..10.1.0.210", "10.9.0.1"), "s1", "spec.excludeIps[0]", "outside-subnet"),
    (swap("cluster", "10.96.0.0/24", "100.64.0.0/24"), "cluster", "spec.serviceCIDR", "cidr-overlap"),
    (
        files(x=PARTS["s2"].replace("name: s2", "name: join").replace("10.2", "10.3")),
        "x",
        "metadata.name",
        "reserved-name",
    ),
    # gateways
    (swap("edge", "uplink: 203.0.113.2", "uplink: 203.0.114.2"), "edge", "spec.uplink", "outside-subnet"),
    (swap("edge", "uplink: 203.0.113.2", "uplink: 203.0.113.1"), "edge", "spec.gateway", "duplicate-address"),
    (swap("edge", "203.0.113.0/24", "203.0.113.0/24,fd00:9::/64"), "edge", "spec.uplink", "family-mismatch"),
    (swap("edge", "[200.0.0.0/30]", "[200.0.0.0/30, 200.0.0.3-200.0.0.9]"), "edge", "spec.pools[1]", "pool-overlap"),
    (swap("edge", "[200.0.0.0/30]", "[200.0.0.0/30, 10.96.0.128/26]"), "edge", "spec.pools[1]", "pool-overlap"),
    (swap("edge", "[200.0.0.0/30]", "[200.0.0.0/30, 100.64.3.0/24]"), "edge", "spec.pools[1]", "pool-overlap"),
    (swap("edge", "[200.0.0.0/30]", "[200.0.0.0/30, 100.88.3.0/24]"), "edge", "spec.pools[1]", "pool-overlap"),
    (files(far=FAR.replace("201.0.0.0/30", "203.0.113.64/30")), "far", "spec.pools[0]", "pool-overlap"),
    (swap("edge", "[200.0.0.0/30]", "[200.0.0.0/30, 10.1.0.64/30]"), "edge", "spec.pools[1]", "vip-in-subnet"),
    # workloads
    (workload("10.1.0.5,fd00:1::9"), "vm", "spec.ipAddress", "duplicate-address"),
    (workload("10.1.0.1,fd00:1::9"), "more", "spec.ipAddress", "duplicate-address"),
    (workload("10.1.0.205,fd00:1::9"), "more", "spec.ipAddress", "excluded-address"),
    (workload("10.9.0.5,fd00:1::9"), "more", "spec.ipAddress", "outside-subnet"),
    (workload("10.1.0.255,fd00:1::9"), "more", "spec.ipAddress", "outside-subnet"),
    (workload("10.1.0.9"), "more", "spec.ipAddress", "family-mismatch"),
    (workload("10.2.0.9,fd00::1", "s2"), "more", "spec.ipAddress", "family-mismatch"),
    (workload("10.2.0.9.1", "s2"), "more", "spec.ipAddress", "invalid-address"),
    (workload("10.2.0.9", "s2", "01:00:00:00:00:01"), "more", "spec.macAddress", "invalid-mac"),
    (workload("10.2.0.9", "s2", "00:00:00:00:00"), "more", "spec.macAddress", "invalid-mac"),
    (workload("", "s1", "02:00:00:00:00:05"), "vm", "spec.macAddress", "duplicate-mac"),
    (swap("s2", "10.2.0.0/24", "10.2.0.7/32"), "s2", "spec.cidrBlock", "exhausted"),
    (swap("vm", "name: http", "name: HTTP"), "vm", "spec.ports[0].name", "invalid-name"),
    # services
    (swap("svc", "vpc: vpc1", "vpc: nope"), "svc", "spec.vpc", "unknown-reference"),
    (swap("svc", "vpc: vpc1", "vpcs: [vpc1, vpc2]\n  scope: vpc"), "svc", "spec.vpcs", "several-vpcs"),
    (swap("svc", "vpc: vpc1", "vpc: vpc1\n  scope: cluster"), "svc", "spec.scope", "scope"),
    (swap("svc", "vpc: vpc1", "vpc: vpc1\n  eip: 200.0.0.1"), "svc", "spec.eip", "type"),
    (swap("multi", "vpcs:", "vpc: ovn-cluster\n  vpcs:"), "multi", "spec.vpc", "vpc-and-vpcs"),
    (swap("multi", "eip:", "clusterIP: 10.96.0.77\n  eip:"), "multi", "spec.clusterIP", "several-vpcs"),
    (swap("svc", "10.96.0.9", "10.97.0.9"), "svc", "spec.clusterIP", "outside-service-cidr"),
    (swap("svc", "10.96.0.9", "10.1.0.99"), "svc", "spec.clusterIP", "vip-in-subnet"),
    (swap("svc", "10.96.0.9", "nonsense"), "svc", "spec.clusterIP", "invalid-address"),
    (swap("lb", "200.0.0.1", "200.0.1.1"), "lb", "spec.eip", "outside-pool"),
    (swap("lb", "200.0.0.1", "200.0.0.2"), "multi", "spec.eip", "eip-two-targets"),
    (
        files(more=SVC + "{vpc: vpc1, clusterIP: 10.96.0.9, ports: [{port: 80}]}"),
        "svc",
        "spec.clusterIP",
        "duplicate-vip",
    ),
    (swap("svc", "targetPort: http", "targetPort: nope"), "svc", "spec.ports[0].targetPort", "no-such-port"),
    (swap("svc", "targetPort: http", "targetPort: '80'"), "svc", "spec.ports[0].targetPort", "invalid-name"),
    (swap("svc", "[{port: 80", "[{port: 81}, {port: 80, name: a"), "svc", "spec.ports[0].name", "port-name"),
    (
        swap("svc", "[{port: 80", "[{port: 80, name: b}, {port: 80, name: a"),
        "svc",
        "spec.ports[1].port",
        "duplicate-port",
    ),
    (
        swap("svc", "[{port: 80", "[{port: 81, name: a}, {port: 80, name: a"),
        "svc",
        "spec.ports[1].name",
        "duplicate-port",
    ),
    (swap("svc", "[{port: 80", "[{nodePort: 30080, port: 80"), "svc", "spec.ports[0].nodePort", "unsupported"),
    (swap("multi", "[10.2.0.7]", "[10.2.0.8]"), "multi", "spec.vnicIPs[0]", "no-such-vnicip"),
    (swap("lb", "selector", "vnicIPs: [10.2.0.7]\n  selector"), "lb", "spec.vnicIPs[0]", "wrong-vpc"),
    (
        swap("svc", "vpc: vpc1", AFFINITY),
        "svc",
        "spec.sessionAffinityConfig",
        "value",
    ),
    (swap("svc", "vpc: vpc1", "vpc: vpc1\n  probe: {timeoutSeconds: 9}"), "svc", "spec.probe.timeoutSeconds", "value"),
    (swap("svc", "app: web", "app: -web"), "svc", "spec.selector.app", "invalid-label"),
    (swap("svc", "name: svc", "name: Svc_1"), "svc", "metadata.name", "invalid-name"),
    (files(x=PLAIN.format(spec="{clusterIP: 10.96.0.300}")), "x", "spec.clusterIP", "invalid-address"),
    (files(x=PLAIN.format(spec="{clusterIPs: [10.96.0.9]}")), "svc", "spec.clusterIP", "duplicate-vip"),
    (files(x=PLAIN.format(spec="{loadBalancerIP: 200.0.0.1}")), "lb", "spec.eip", "duplicate-vip"),
    (
        swap("svc", "vpc: vpc1", LONG_AFFINITY),
        "svc",
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        "value",
    ),
    # routes of a Vpc
    (vpc1("policyRoutes", action="allow", nextHopIP="10.1.0.9"), "vpc1", "spec.policyRoutes[0].nextHopIP", "value"),
    (vpc1("policyRoutes", action="reroute"), "vpc1", "spec.policyRoutes[0].nextHopIP", "value"),
    (
        vpc1("policyRoutes", action="reroute", nextHopIP="10.1.0.9,fd00:1::9"),
        "vpc1",
        "spec.policyRoutes[0].nextHopIP",
        "family-mismatch",
    ),
    (
        vpc1("policyRoutes", action="reroute", nextHopIP="10.1.0.9,10.1.0"),
        "vpc1",
        "spec.policyRoutes[0].nextHopIP",
        "invalid-address",
    ),
    (vpc1("policyRoutes", 2, action="drop"), "vpc1", "spec.policyRoutes[1]", "duplicate"),
    (
        vpc1("staticRoutes", cidr="9.0.0.0/8", nextHopIP="10.1.0.9,10.1.0.8"),
        "vpc1",
        "spec.staticRoutes[0].nextHopIP",
        "invalid-address",
    ),
    (
        vpc1("staticRoutes", cidr="9.0.0.0/8", nextHopIP=""),
        "vpc1",
        "spec.staticRoutes[0].nextHopIP",
        "invalid-address",
    ),
    (
        files(x=PROBE.format(service="nope", target="pod")),
        "x",
        "spec.service",
        "unknown-reference",
    ),
    (
        files(x=PROBE.format(service="svc", target="nope")),
        "x",
        "spec.target.name",
        "unknown-reference",
    ),
]


@pytest.mark.parametrize(
    ("texts", "file", "path", "code"), CASES, ids=[f"{c[3]}-{c[1]}-{i}" for i, c in enumerate(CASES)]
)
def test_one_broken_thing_is_found_in_its_place(texts: dict[str, str], file: str, path: str, code: str) -> None:
    problems = found(texts)
    assert (f"{file}.yaml", path, code) in [(p.where.file, p.where.path, p.code) for p in problems], problems
    for problem in problems:
        assert problem.where.line > 0
        assert problem.hint
    assert len(problems) <= 3, problems


@pytest.mark.parametrize("name", ["roundRobin", "round-robin", "leastConnections", "rr", "maglev", "random"])
def test_an_algorithm_that_ovn_lacks_is_refused_with_the_reason_or_mapped(name: str) -> None:
    (problem,) = found(swap("svc", "vpc: vpc1", f"vpc: vpc1\n  balancing: {{algorithm: {name}}}"))
    assert problem.code == "unknown-algorithm"
    assert "OVN" in problem.message
    assert "nearest" in problem.hint
    assert (
        found(swap("svc", "vpc: vpc1", f"vpc: vpc1\n  balancing: {{algorithm: {name}, onUnsupported: nearest}}")) == []
    )


def test_a_misspelt_algorithm_is_never_mapped() -> None:
    (problem,) = found(swap("svc", "vpc: vpc1", "vpc: vpc1\n  balancing: {algorithm: hsah, onUnsupported: nearest}"))
    assert problem.hint == "did you mean hash?"


@pytest.mark.parametrize("field", ["ipv6Src", "ip_src", "port"])
def test_selection_fields_are_those_of_ovn_in_camel_case(field: str) -> None:
    (problem,) = found(swap("svc", "vpc: vpc1", f"vpc: vpc1\n  balancing: {{selectionFields: [ipSrc, {field}]}}"))
    assert (problem.code, problem.where.path) == ("unknown-selection-field", "spec.balancing.selectionFields[1]")


def test_several_next_hops_of_one_family_are_accepted_as_the_compiler_does() -> None:
    texts = vpc1("policyRoutes", action="reroute", nextHopIP="10.1.0.9, 10.1.0.10")
    assert found(texts) == []
    _, northbound = compile_rows(decode(texts))
    (policy,) = northbound.of_type(RouterPolicy)
    assert policy.nexthops == ("10.1.0.9", "10.1.0.10")


@pytest.mark.parametrize(
    ("eip", "code"),
    [
        ("203.0.113.9", ""),
        ("203.0.113.1", "duplicate-address"),
        ("203.0.113.2", "duplicate-address"),
        ("203.0.113.0", "duplicate-address"),
        ("203.0.113.255", "duplicate-address"),
    ],
)
def test_an_on_link_pool_is_legal_but_not_the_addresses_in_use_there(eip: str, code: str) -> None:
    on_link = PARTS["edge"].replace("200.0.0.0/30", "200.0.0.0/30, 203.0.113.0/24")
    problems = found(files(edge=on_link, lb=PARTS["lb"].replace("200.0.0.1", eip)))
    assert [(p.where.path, p.code) for p in problems] == ([("spec.eip", code)] if code else [])


def test_addresses_in_use_in_an_on_link_pool_are_no_room_for_services() -> None:
    edge = PARTS["edge"].replace("200.0.0.0/30", "203.0.113.0-203.0.113.2")
    lb = PARTS["lb"].replace("eip: 200.0.0.1", "eip: ''")
    without = {name: text for name, text in files(edge=edge, lb=lb).items() if name != "multi.yaml"}
    assert [(p.where.path, p.code) for p in found(without)] == [("spec.pools", "exhausted")]


@pytest.mark.parametrize(
    ("texts", "message", "hint"),
    [
        (swap("s2", "10.2.0.0/24", "10.2.0.1/24"), "not the network", "write 10.2.0.0/24"),
        (workload("10.1.0.9"), "IPv4 is given", "give one IPv4 address and one IPv6 address"),
        (
            swap("lb", "eip: 200.0.0.1", "eipGateway: nope"),
            "no EipGateway nope",
            "add an EipGateway of that name, or use edge",
        ),
        (swap("s0", "10.16.0.0/24", "100.64.1.0/24"), "overlaps joinCIDR 100.64.0.0/16", "another joinCIDR"),
        (swap("lb", "200.0.0.1", "200.0.1.1"), "in no pool", "take an address of 200.0.0.0/30, or leave it open"),
        (swap("svc", "10.96.0.9", "None"), "headless", "write it as a Service"),
        (swap("svc", "targetPort: http", "targetPort: '80'"), "no name of a port", "without quotes"),
        (swap("svc", "targetPort: http", "targetPort: x"), "VirtualMachine/default/vm does not have", "or http (TCP)"),
    ],
)
def test_a_problem_says_what_and_what_to_do(texts: dict[str, str], message: str, hint: str) -> None:
    (problem,) = found(texts)
    assert message in problem.message
    assert hint in problem.hint


def test_vpcs_may_share_cidrs_unless_one_service_joins_them() -> None:
    shared = PARTS["s2"].replace("name: s2", "name: s3").replace("10.2.0.0", "10.1.0.0")
    apart = {name: text for name, text in files(s3=shared).items() if name != "multi.yaml"}
    assert found(apart) == []
    assert [(p.where.path, p.code) for p in found(files(s3=shared))] == [("spec.vpcs", "cidr-overlap")]


def test_a_vpc_hangs_on_one_eip_gateway() -> None:
    lb = PARTS["lb"].replace("vpc: vpc1", "vpc: vpc1\n  eipGateway: edge")
    multi = PARTS["multi"].replace("vpcs:", "eipGateway: edge\n  vpcs:")
    other = (
        PARTS["lb"]
        .replace("name: lb", "name: other")
        .replace("200.0.0.1", "201.0.0.1")
        .replace("vpc: vpc1", "vpc: vpc1\n  eipGateway: far")
    )
    assert [p.code for p in found(files(edge2=FAR, lb=lb, multi=multi, other=other))] == ["two-gateways"]
    assert {p.code for p in found(files(edge2=FAR, multi=multi))} == {"which-eip-gateway"}


def test_exhausted_pools_are_told_before_anything_is_given() -> None:
    more = {
        f"more{i}": SVC.replace("more", f"more{i}") + "{type: LoadBalancer, vpc: vpc1, ports: [{port: 1}]}"
        for i in range(3)
    }
    assert [(p.where.file, p.where.path, p.code) for p in found(files(**more))] == [
        ("edge.yaml", "spec.pools", "exhausted")
    ]
    small = PARTS["cluster"].replace("10.96.0.0/24", "10.96.0.8/30")
    assert ("spec.clusterIP", "exhausted") in [(p.where.path, p.code) for p in found(files(cluster=small, **more))]


def test_a_pod_gets_its_subnet_from_its_namespace_or_says_which() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: ns}\nspec: {nodeName: node1}"
    without = PARTS["s0"].replace("default: true", "mtu: 1400")
    assert [p.code for p in found(files(s0=without, x=pod))] == ["no-subnet"]
    claimed = {name: PARTS[name].replace("cidrBlock", "namespaces: [ns]\n  cidrBlock") for name in ("s1",)}
    claimed["s0"] = PARTS["s0"].replace("default", "namespaces: [ns], default")
    assert [p.code for p in found(files(**claimed, x=pod))] == ["ambiguous-subnet"]
    assert found(files(s1=claimed["s1"], s0=without, x=pod)) == []


def test_all_problems_come_together() -> None:
    broken = files(
        s2=PARTS["s2"].replace("10.2.0.0/24", "10.2.0.1/24"),
        svc=PARTS["svc"].replace("targetPort: http", "targetPort: nope").replace("10.96.0.9", "10.97.0.9"),
        card=PARTS["card"].replace("node1", "nope"),
    )
    assert {p.code for p in found(broken)} >= {"host-bits", "no-such-port", "outside-service-cidr", "unknown-reference"}


def test_objects_without_a_file_are_named() -> None:
    pod = Pod(metadata=Metadata(name="p", namespace="n"), spec=PodSpec(node_name="nowhere"))
    texts = {str(problem.where) for problem in validate(Snapshot.of([pod]), {})}
    assert texts == {"Pod/n/p: spec.nodeName", "Pod/n/p"}


def test_ten_thousand_services_are_read_in_seconds() -> None:
    labels = [f"a{i}" for i in range(200)]
    parts = [PARTS["node1"], PARTS["vpc1"], PARTS["s1"]]
    parts.append(PARTS["cluster"].replace("10.96.0.0/24", "10.96.0.0/16"))
    parts += [
        f"{API}\nkind: BareMetal\nmetadata: {{name: b{i}, labels: {{app: {label}}}}}\nspec: {{node: node1, subnet: s1}}"
        for i, label in enumerate(labels)
    ]
    parts += [
        f"{API}\nkind: YusurService\nmetadata: {{name: y{i}}}\n"
        f"spec: {{vpc: vpc1, clusterIP: 10.96.{i // 250}.{i % 250 + 1}, ports: [{{port: 80}}], "
        f"selector: {{app: {labels[i % 200]}}}}}"
        for i in range(10_000)
    ]
    started = time.process_time()
    snapshot = decode({"big.yaml": "\n---\n".join(parts)})
    assert len(snapshot.objects) > 10_000
    assert time.process_time() - started < 20
