"""Laws of the Northbound, on drawn topologies: any number of nodes, VPCs, Subnets, gateways, workloads and Services."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ytwin.controllers import reconcile
from ytwin.core.memo import Memo
from ytwin.core.plan import apply, diff
from ytwin.nodes import node_configs
from ytwin.northbound import compile_northbound, object_of
from ytwin.northbound.jsonform import from_json, to_json
from ytwin.northbound.names import CLUSTER, object_of_port, rows_by_object
from ytwin.northbound.rows import (
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    StaticRoute,
)
from ytwin.resources.model import (
    Balancing,
    BareMetal,
    EipGateway,
    EipGatewaySpec,
    Metadata,
    Node,
    NodeAddress,
    NodeStatus,
    Resource,
    Subnet,
    SubnetSpec,
    VirtualMachine,
    VNicIP,
    Vpc,
    WorkloadSpec,
    YusurService,
    YusurServicePort,
    YusurServiceSpec,
)
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.workload import vpcs, workloads

DEFAULT = "ovn-cluster"
VPC_NAMES = (DEFAULT, "a", "svcgw", "a-b", "eipgw")
"""With names that could be mistaken for parts of ours."""
NAMESPACES = ("x", "y")
LAWS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def cidr(number: int, families: str) -> str:
    parts = {"4": f"10.{number}.0.0/24", "6": f"fd00:{number:x}::/112"}
    return ",".join(parts[family] for family in families)


@st.composite
def topologies(draw: st.DrawFn) -> list[Resource]:
    """Valid objects of the default VPC and others; each VPC takes its EIPs from one gateway."""
    nodes = [f"n{i}" for i in range(draw(st.integers(1, 4)))]
    names = draw(st.lists(st.sampled_from(VPC_NAMES), unique=True, min_size=1, max_size=4))
    families = {name: draw(st.sampled_from(["4", "6", "46"])) for name in names}
    found: list[Resource] = [
        Vpc(metadata=Metadata(name=name)) for name in names if name != DEFAULT or draw(st.booleans())
    ]
    found += [
        Node(
            metadata=Metadata(name=name),
            status=NodeStatus(addresses=(NodeAddress(type="InternalIP", address="192.0.2.1"),)),
        )
        for name in nodes
    ]
    subnets = []
    for number in range(draw(st.integers(1, 5))):
        vpc = draw(st.sampled_from(names))
        spec = SubnetSpec(vpc="" if vpc == DEFAULT else vpc, cidr_block=cidr(number, families[vpc]))
        subnets.append(Subnet(metadata=Metadata(name=f"s{number}"), spec=spec))
    gateways = [
        EipGateway(
            metadata=Metadata(name=f"g{number}"),
            spec=EipGatewaySpec(
                nodes=tuple(draw(st.permutations(nodes))),
                cidr_block=f"172.{number}.0.0/24,fd00:172:{number}::/64",
                uplink=f"172.{number}.0.2,fd00:172:{number}::2",
                gateway=f"172.{number}.0.1,fd00:172:{number}::1",
                pools=(f"200.{number}.0.0/24", f"fd00:200:{number}::/112"),
            ),
        )
        for number in range(draw(st.integers(0, 2)))
    ]
    found += [*subnets, *gateways]
    for number in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from([VirtualMachine, BareMetal, VNicIP]))
        metadata = Metadata(
            name=f"w{number}", namespace=draw(st.sampled_from(NAMESPACES)), labels={"app": draw(st.sampled_from("pq"))}
        )
        place = draw(st.sampled_from(subnets)).name
        found.append(kind(metadata=metadata, spec=WorkloadSpec(node=draw(st.sampled_from(nodes)), subnet=place)))
    served = sorted({subnet.spec.vpc or DEFAULT for subnet in subnets})
    gateway_of = {vpc: draw(st.sampled_from(gateways)).name for vpc in served if gateways}
    found += [draw(services(number, served, gateway_of)) for number in range(draw(st.integers(0, 4)))]
    return found


@st.composite
def services(draw: st.DrawFn, number: int, served: list[str], gateway_of: dict[str, str]) -> YusurService:
    kind = draw(st.sampled_from(["ClusterIP", "LoadBalancer"])) if gateway_of else "ClusterIP"
    members = draw(st.lists(st.sampled_from(served), unique=True, min_size=1, max_size=1 if kind == "ClusterIP" else 3))
    ports = draw(
        st.lists(
            st.tuples(st.sampled_from(["TCP", "UDP", "SCTP"]), st.integers(1, 9)), unique=True, min_size=1, max_size=3
        )
    )
    spec = YusurServiceSpec(
        type=kind,
        vpcs=tuple(members),
        eip_gateway=gateway_of[members[0]] if kind == "LoadBalancer" else "",
        ports=tuple(YusurServicePort(name=f"p{i}", protocol=p, port=n) for i, (p, n) in enumerate(ports)),
        selector={"app": draw(st.sampled_from("pq"))},
        balancing=Balancing(algorithm=draw(st.sampled_from(["hash", "dpHash"])), reject=draw(st.booleans())),
    )
    return YusurService(metadata=Metadata(name=f"y{number}", namespace=draw(st.sampled_from(NAMESPACES))), spec=spec)


@given(topologies(), st.randoms(use_true_random=False))
@LAWS
def test_arrival_order_is_irrelevant(objects: list[Resource], random: object) -> None:
    shuffled = list(objects)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis' Random
    one, two = reconcile(Snapshot.of(objects)), reconcile(Snapshot.of(shuffled))
    first, second = compile_northbound(one), compile_northbound(two)
    assert first == second
    assert list(first.rows) == list(second.rows)
    assert node_configs(one, first) == node_configs(two, second)


@given(topologies(), topologies())
@LAWS
def test_a_plan_leads_from_any_northbound_to_any_other(before: list[Resource], after: list[Resource]) -> None:
    one, two = (compile_northbound(reconcile(Snapshot.of(objects))) for objects in (before, after))
    assert apply(one.rows, diff(one.rows, two.rows)) == two.rows
    assert len(diff(two.rows, two.rows)) == 0
    assert len(diff(two.rows, compile_northbound(reconcile(Snapshot.of(after))).rows)) == 0


@given(topologies(), topologies())
@LAWS
def test_a_memo_of_any_other_topology_changes_nothing(before: list[Resource], after: list[Resource]) -> None:
    memo = Memo()
    compile_northbound(reconcile(Snapshot.of(before)), memo)
    memo.advance()
    snapshot = reconcile(Snapshot.of(after))
    fresh, kept = compile_northbound(snapshot), compile_northbound(snapshot, memo)
    assert kept == fresh
    assert list(kept.rows) == list(fresh.rows)
    assert all(tuple(kept.of_type(kind)) == tuple(fresh.of_type(kind)) for kind in (LogicalSwitchPort, StaticRoute))


@given(topologies())
@LAWS
def test_every_row_has_an_object_and_every_object_has_rows(objects: list[Resource]) -> None:
    snapshot = reconcile(Snapshot.of(objects))
    nb = compile_northbound(snapshot)
    known = {*snapshot.objects, CLUSTER, ObjectId("Vpc", "", DEFAULT)}
    assert {object_of(row) for row in nb.rows.values()} <= known
    owners = rows_by_object(nb)
    wanted = {ObjectId("Vpc", "", vpc) for vpc in vpcs(snapshot)} | {workload.id for workload in workloads(snapshot)}
    wanted |= {id_of(r) for kind in (Subnet, Node, EipGateway, YusurService) for r in snapshot.all(kind)}
    assert wanted <= owners.keys()
    for port in nb.of_type(LogicalSwitchPort):
        assert object_of_port(port.name) == (None if port.type else object_of(port))


@given(topologies())
@LAWS
def test_names_are_unique_and_references_lead_somewhere(objects: list[Resource]) -> None:
    nb = compile_northbound(reconcile(Snapshot.of(objects)))
    names = Counter((key.table, row.key.name) for key, row in nb.rows.items())
    assert set(names.values()) == {1}
    assert all(key == row.key for key, row in nb.rows.items())
    switches = {row.name for row in nb.of_type(LogicalSwitch)}
    routers = {row.name for row in nb.of_type(LogicalRouter)}
    ports = {row.name: row for row in nb.of_type(LogicalRouterPort)}
    assert not switches & routers
    for port in nb.of_type(LogicalSwitchPort):
        assert port.switch in switches
        if port.type == "router":
            assert ports.pop(port.options["router-port"]).router in routers
    assert not ports  # each router port is joined to one switch
    balancers = {key.name for key in nb.rows if key.table == "Load_Balancer"}
    placed = Counter(
        name for row in (*nb.of_type(LogicalRouter), *nb.of_type(LoadBalancerGroup)) for name in row.load_balancer
    )
    assert set(placed) == balancers
    assert set(placed.values()) <= {1}


@given(topologies())
@LAWS
def test_json_round_trip(objects: list[Resource]) -> None:
    nb = compile_northbound(reconcile(Snapshot.of(objects)))
    assert from_json(json.loads(json.dumps(to_json(nb)))) == nb
