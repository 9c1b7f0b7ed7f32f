"""What each scenario compiles to, and what is refused because OVN 23.03 cannot do it."""

from __future__ import annotations

import pytest
from northbound_cases import (
    CARDS,
    CLUSTER_IP,
    EVERYTHING,
    GATEWAYS,
    NETWORK,
    NO_BACKEND,
    NODE_CLIENT,
    NODES,
    ONE_VPC_EIP,
    SECOND_GATEWAY,
    SEVERAL_VPCS_EIP,
    SIX_ONLY,
    VPCS,
    WORKLOADS,
    northbound_of,
    snapshot_of,
    unchecked_snapshot_of,
)

from ytwin.core.errors import Unsupported
from ytwin.northbound import Northbound, compile_northbound
from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    R,
    RouterPolicy,
    RowKey,
    StaticRoute,
)
from ytwin.resources.model import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Metadata,
    Subnet,
    YusurService,
)


def row(nb: Northbound, kind: type[R], name: str) -> R:
    found = nb.rows[RowKey(kind.table, name)]
    assert isinstance(found, kind)
    return found


def names(nb: Northbound, kind: type[R]) -> set[str]:
    return {r.key.name for r in nb.of_type(kind)}


def routes(nb: Northbound, router: str) -> dict[str, str]:
    return {r.ip_prefix: r.nexthop for r in nb.of_type(StaticRoute) if r.router == router}


def test_scenario_1_balances_on_every_switch_of_the_vpc_and_nowhere_else() -> None:
    nb = northbound_of(*NETWORK, CLUSTER_IP)
    groups = {s.name: s.load_balancer_group for s in nb.of_type(LogicalSwitch)}
    assert groups.pop("subnet1") == groups.pop("subnet2") == ("vpc_vpc1",)
    assert set(groups.values()) == {()}
    assert names(nb, LoadBalancerGroup) == {"vpc_vpc1"}
    assert row(nb, LoadBalancerGroup, "vpc_vpc1").load_balancer == ("one/web/tcp", "one/web/udp")
    assert all(not r.load_balancer for r in nb.of_type(LogicalRouter))
    assert names(nb, GatewayChassis) == set()


def test_several_ports_share_a_row_per_protocol_and_named_ports_differ_by_backend() -> None:
    nb = northbound_of(*NETWORK, CLUSTER_IP)
    assert row(nb, LoadBalancer, "one/web/tcp").vips == {
        "10.96.0.10:80": "10.1.0.5:8080,10.1.1.7:80",
        "10.96.0.10:81": "10.1.0.5:8080,10.1.1.7:80",
        "[fd00:10:96::10]:80": "[fd00:1::5]:8080",
        "[fd00:10:96::10]:81": "[fd00:1::5]:8080",
    }
    udp = row(nb, LoadBalancer, "one/web/udp")
    assert udp.protocol == "udp"
    assert udp.vips == {"10.96.0.10:9": "10.1.0.5:9,10.1.1.7:9", "[fd00:10:96::10]:9": "[fd00:1::5]:9"}


def test_scenario_2_puts_nodes_and_their_services_on_the_join_switch() -> None:
    nb = northbound_of(*NETWORK, NODE_CLIENT)
    assert row(nb, LogicalSwitch, "join").load_balancer_group == ("vpc_ovn-cluster",)
    assert row(nb, LogicalSwitch, "subnet0").load_balancer_group == ("vpc_ovn-cluster",)
    assert row(nb, LogicalRouterPort, "lrp_ovn-cluster_join").networks == ("100.64.0.1/16", "fd00:100:64::1/112")
    assert {p.name for p in nb.of_type(LogicalSwitchPort) if p.switch == "join" and not p.type} == {
        "node_node1",
        "node_node2",
        "node_node3",
    }
    assert row(nb, LoadBalancer, "default/sys/sctp").protocol == "sctp"


def test_scenario_3_balances_on_the_vpc_with_one_gateway_port_beside_the_eip_gateway() -> None:
    nb = northbound_of(*NETWORK, GATEWAYS, ONE_VPC_EIP)
    assert row(nb, LogicalRouter, "vpc1").load_balancer == ("one/pub/tcp/eip",)
    assert row(nb, LoadBalancerGroup, "vpc_vpc1").load_balancer == ("one/pub/tcp",)
    chassis = [(g.port, g.chassis_name, g.priority) for g in nb.of_type(GatewayChassis) if "gw1" in g.port]
    assert chassis == [
        ("lrp_eipgw_gw1_eipnet_gw1", "node2", 1000),
        ("lrp_eipgw_gw1_eipnet_gw1", "node1", 999),
        ("lrp_vpc1_transit_vpc1_gw1", "node2", 1000),
        ("lrp_vpc1_transit_vpc1_gw1", "node1", 999),
    ]
    near = row(nb, LogicalRouterPort, "lrp_eipgw_gw1_transit_vpc1_gw1").networks
    far = row(nb, LogicalRouterPort, "lrp_vpc1_transit_vpc1_gw1").networks
    assert [n.rpartition("/")[2] for n in near + far] == ["30", "126"] * 2
    hop, back = ([n.partition("/")[0] for n in networks] for networks in (far, near))
    assert routes(nb, "eipgw_gw1") == {
        "0.0.0.0/0": "172.18.0.1",
        "::/0": "fd00:18::1",
        "200.0.0.100/32": hop[0],
        "fd00:200::100/128": hop[1],
    }
    assert routes(nb, "vpc1") == {
        "0.0.0.0/0": back[0],
        "::/0": back[1],
        "200.0.0.100/32": "discard",
        "fd00:200::100/128": "discard",
    }
    local = row(nb, LogicalSwitchPort, "localnet_gw1")
    assert (local.type, local.addresses, local.tag) == ("localnet", ("unknown",), 100)
    assert local.options == {"network_name": "external"}


def test_scenario_4_balances_on_a_gateway_router_that_takes_the_senders_place() -> None:
    nb = northbound_of(*NETWORK, GATEWAYS, SEVERAL_VPCS_EIP)
    service_router = row(nb, LogicalRouter, "svcgw_gw1")
    assert service_router.options == {"chassis": "node2", "lb_force_snat_ip": "router_ip"}
    assert service_router.load_balancer == ("two/many/tcp/eip",)
    assert names(nb, LoadBalancerGroup) == set()
    assert row(nb, LoadBalancer, "two/many/tcp/eip").vips == {"200.0.0.101:5432": "10.1.1.8:80,10.2.0.9:80"}
    one = row(nb, LogicalRouterPort, "lrp_vpc1_svc_vpc1_gw1").networks
    two = row(nb, LogicalRouterPort, "lrp_vpc2_svc_vpc2_gw1").networks
    assert len(one) == 2
    assert len(two) == 1  # vpc2 has no IPv6
    up = row(nb, LogicalRouterPort, "lrp_eipgw_gw1_svctransit_gw1").networks
    assert routes(nb, "svcgw_gw1") == {
        "10.1.0.0/24": one[0].partition("/")[0],
        "10.1.1.0/24": one[0].partition("/")[0],
        "fd00:1::/112": one[1].partition("/")[0],
        "10.2.0.0/24": two[0].partition("/")[0],
        "0.0.0.0/0": up[0].partition("/")[0],
        "::/0": up[1].partition("/")[0],
        "200.0.0.101/32": "discard",
    }
    down = row(nb, LogicalRouterPort, "lrp_svcgw_gw1_svctransit_gw1").networks
    assert routes(nb, "eipgw_gw1")["200.0.0.101/32"] == down[0].partition("/")[0]
    assert routes(nb, "vpc1") == routes(nb, "vpc2") == {}
    assert {g.port for g in nb.of_type(GatewayChassis)} == {"lrp_eipgw_gw1_eipnet_gw1", "lrp_eipgw_gw2_eipnet_gw2"}


def test_everything_side_by_side_keeps_one_gateway_port_per_vpc() -> None:
    nb = northbound_of(*EVERYTHING)
    ports = {g.port for g in nb.of_type(GatewayChassis)}
    routers = [row(nb, LogicalRouterPort, port).router for port in ports]
    assert sorted(routers) == ["eipgw_gw1", "eipgw_gw2", "vpc1", "vpc2", "vpc6"]


def test_only_what_exists_gets_rows() -> None:
    assert [str(key) for key in northbound_of().rows] == ["Logical_Router/ovn-cluster"]
    nb = northbound_of(*NETWORK, GATEWAYS)
    assert not [s for s in names(nb, LogicalSwitch) if s.startswith(("transit", "svc"))]
    assert names(nb, LogicalRouter) == {"ovn-cluster", "vpc1", "vpc2", "vpc6", "eipgw_gw1", "eipgw_gw2"}


def test_ipv6_only_vpc_has_ipv6_everywhere_and_no_ipv4_route() -> None:
    nb = northbound_of(*NETWORK, GATEWAYS, SIX_ONLY)
    for port in ("lrp_vpc6_subnet6", "lrp_vpc6_transit_vpc6_gw1", "lrp_eipgw_gw1_transit_vpc6_gw1"):
        networks = row(nb, LogicalRouterPort, port).networks
        assert len(networks) == 1
        assert ":" in networks[0]
    assert set(routes(nb, "vpc6")) == {"::/0", "fd00:200::15/128"}


def test_an_eip_of_a_family_that_its_vpc_lacks_is_routed_to_a_vip_without_backend() -> None:
    text = ONE_VPC_EIP.replace("vpc: vpc1", "vpc: vpc2").replace(
        'clusterIP: "10.96.0.12,fd00:10:96::12"', "clusterIP: 10.96.0.12"
    )
    nb = compile_northbound(unchecked_snapshot_of(*NETWORK, GATEWAYS, text))
    assert row(nb, LoadBalancer, "one/pub/tcp/eip").vips["[fd00:200::100]:80"] == ""
    hop = row(nb, LogicalRouterPort, "lrp_vpc2_transit_vpc2_gw1").networks[1]
    assert routes(nb, "eipgw_gw1")["fd00:200::100/128"] == hop.partition("/")[0]


def test_vip_without_backend_stays_and_carries_the_options() -> None:
    balancer = row(northbound_of(*NETWORK, NO_BACKEND), LoadBalancer, "two/empty/tcp")
    assert balancer.vips == {"10.96.0.13:80": ""}
    assert balancer.options == {"reject": "true"}
    assert balancer.selection_fields == ()  # dpHash


@pytest.mark.parametrize(
    ("extra", "options", "fields"),
    [
        ("", {}, ("ip_dst", "ip_src", "tp_dst", "tp_src")),
        ("sessionAffinity: ClientIP", {"affinity_timeout": "10800"}, ("ip_dst", "ip_src", "tp_dst", "tp_src")),
        (
            "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}",
            {"affinity_timeout": "60"},
            ("ip_dst", "ip_src", "tp_dst", "tp_src"),
        ),
        ("balancing: {selectionFields: [tpSrc, ipSrc]}", {}, ("ip_src", "tp_src")),
        ("balancing: {algorithm: roundRobin, onUnsupported: nearest}", {}, ("ip_dst", "ip_src", "tp_dst", "tp_src")),
    ],
)
def test_balancing_options(extra: str, options: dict[str, str], fields: tuple[str, ...]) -> None:
    text = CLUSTER_IP.replace("vpc: vpc1,", f"vpc: vpc1, {extra}," if extra else "vpc: vpc1,")
    balancer = row(northbound_of(*NETWORK, text), LoadBalancer, "one/web/tcp")
    assert (balancer.options, balancer.selection_fields) == (options, fields)


def test_unhealthy_and_repeated_endpoints_are_left_out() -> None:
    snapshot = snapshot_of(*NETWORK, CLUSTER_IP)
    port = EndpointPort(name="http", port=8080)
    subsets = (
        EndpointSubset(
            addresses=(EndpointAddress(ip="10.1.0.6"), EndpointAddress(ip="10.1.0.5")),
            not_ready_addresses=(EndpointAddress(ip="10.1.0.7"),),
            ports=(port, EndpointPort(name="q", port=9, protocol="UDP")),
        ),
        EndpointSubset(addresses=(EndpointAddress(ip="10.1.0.5"), EndpointAddress(ip="FD00:1::5")), ports=(port,)),
    )
    endpoints = Endpoints(metadata=Metadata(name="web", namespace="one"), subsets=subsets)
    vips = row(compile_northbound(snapshot.with_objects([endpoints])), LoadBalancer, "one/web/tcp").vips
    assert vips["10.96.0.10:80"] == "10.1.0.5:8080,10.1.0.6:8080"
    assert vips["[fd00:10:96::10]:80"] == "[fd00:1::5]:8080"
    assert vips["10.96.0.10:81"] == ""


def test_routes_and_policies_of_a_vpc() -> None:
    text = """
{apiVersion: kubeovn.io/v1, kind: Vpc, metadata: {name: vpc9}, spec: {
  staticRoutes: [{cidr: 10.200.0.0/16, nextHopIP: 10.9.0.77},
    {cidr: 10.9.0.0/25, nextHopIP: 10.9.0.78, policy: policySrc, routeTable: t}],
  policyRoutes: [{priority: 30, match: ip4, action: reroute, nextHopIP: 10.9.0.77}, {priority: 10, match: ip6, action: drop}]}}
---
{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: s9}, spec: {vpc: vpc9, cidrBlock: 10.9.0.0/24}}
"""
    nb = northbound_of(text)
    assert {(r.policy, r.ip_prefix, r.nexthop, r.route_table) for r in nb.of_type(StaticRoute)} == {
        ("dst-ip", "10.200.0.0/16", "10.9.0.77", ""),
        ("src-ip", "10.9.0.0/25", "10.9.0.78", "t"),
    }
    assert {(p.priority, p.match, p.action, p.nexthops) for p in nb.of_type(RouterPolicy)} == {
        (30, "ip4", "reroute", ("10.9.0.77",)),
        (10, "ip6", "drop", ()),
    }


def test_a_policy_route_to_both_families_is_refused() -> None:
    policy = "{priority: 30, match: ip, action: reroute, nextHopIP: '10.9.0.7,fd00:9::7'}"
    text = f"{{apiVersion: kubeovn.io/v1, kind: Vpc, metadata: {{name: vpc9}}, spec: {{policyRoutes: [{policy}]}}}}"
    assert "one policy per family" in refused(text)


def test_a_policy_route_that_is_no_expression_is_refused() -> None:
    policies = "{priority: 3, match: ip4, action: drop}, {priority: 2, match: ip4.dst = 10.9.0.7, action: drop}"
    text = f"{{apiVersion: kubeovn.io/v1, kind: Vpc, metadata: {{name: vpc9}}, spec: {{policyRoutes: [{policies}]}}}}"
    assert "Vpc/vpc9: spec.policyRoutes[1].match: a relational operator is expected" in refused(text)


def test_given_join_subnet_and_given_node_address_are_kept() -> None:
    text = """
{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: join},
  spec: {vpc: ovn-cluster, cidrBlock: 100.70.0.0/24, gateway: 100.70.0.1}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1, annotations: {ovn.kubernetes.io/ip_address: 100.70.0.9,
  ovn.kubernetes.io/mac_address: "00:00:00:AA:00:01"}}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
"""
    nb = northbound_of(text)
    assert row(nb, LogicalSwitchPort, "node_n1").addresses == ("00:00:00:aa:00:01 100.70.0.9",)
    assert row(nb, LogicalRouterPort, "lrp_ovn-cluster_join").networks == ("100.70.0.1/24",)
    assert row(nb, LogicalSwitch, "join").external_ids["kind"] == Subnet.KIND


def test_offloading_cards_keep_ct_inv_out_of_the_flows() -> None:
    assert northbound_of(NODES, CARDS).options == {"use_ct_inv_match": "false"}
    assert northbound_of(NODES).options == {}
    assert (
        northbound_of(NODES, CARDS.replace("type: DPU", "type: none").replace("type: SmartNIC", "type: none")).options
        == {}
    )


def refused(*texts: str) -> str:
    snapshot = unchecked_snapshot_of(*texts)
    with pytest.raises(Unsupported) as caught:
        compile_northbound(snapshot)
    return str(caught.value)


def test_a_vpc_behind_two_eip_gateways_is_refused() -> None:
    other = SECOND_GATEWAY.replace("vpc: vpc2", "vpc: vpc1").replace("app: db", "app: web")
    message = refused(*NETWORK, GATEWAYS, ONE_VPC_EIP, other)
    assert "vpc1" in message
    assert "gw1" in message
    assert "gw2" in message


SHARING = (
    ONE_VPC_EIP.replace("name: pub", "name: also")
    .replace("port: 80", "port: 81")
    .replace("10.96.0.12,fd00:10:96::12", "")
)


def test_services_of_one_vpc_may_share_an_eip_on_different_ports() -> None:
    nb = northbound_of(*NETWORK, GATEWAYS, ONE_VPC_EIP, SHARING)
    assert row(nb, LogicalRouter, "vpc1").load_balancer == ("one/also/tcp/eip", "one/pub/tcp/eip")
    shared = [(r.router, r.nexthop == "discard") for r in nb.of_type(StaticRoute) if r.ip_prefix == "200.0.0.100/32"]
    assert sorted(shared) == [("eipgw_gw1", False), ("vpc1", True)]


def test_services_of_different_vpcs_cannot_share_an_eip() -> None:
    message = refused(*NETWORK, GATEWAYS, ONE_VPC_EIP, SHARING.replace("vpc: vpc1", "vpc: vpc2"))
    assert "share EIP 200.0.0.100" in message
    assert "one/also" in message
    assert "one/pub" in message


def test_overlapping_vpcs_cannot_share_a_service_router() -> None:
    vpcs = VPCS.replace("cidrBlock: 10.2.0.0/24", "cidrBlock: 10.1.0.0/16")
    message = refused(NODES, vpcs, WORKLOADS, GATEWAYS, SEVERAL_VPCS_EIP)
    assert "vpc1 (10.1.0.0/24)" in message
    assert "vpc2 (10.1.0.0/16)" in message


def test_an_overlap_hidden_behind_another_subnet_is_found() -> None:
    vpcs = VPCS.replace('"10.1.0.0/24,fd00:1::/112", gateway: "10.1.0.254,fd00:1::1"', "10.0.0.0/8").replace(
        "cidrBlock: 10.1.1.0/24", "cidrBlock: 10.1.0.0/16"
    )
    assert "vpc1 (10.0.0.0/8) and Vpc vpc2 (10.2.0.0/24)" in refused(NODES, vpcs, WORKLOADS, GATEWAYS, SEVERAL_VPCS_EIP)


def test_a_join_subnet_of_another_vpc_is_refused() -> None:
    text = (
        "{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: join}, spec: {vpc: vpc1, cidrBlock: 10.77.0.0/24}}"
    )
    assert "join is in Vpc vpc1" in refused(*NETWORK, text)


def test_an_algorithm_that_ovn_lacks_is_refused() -> None:
    assert "roundRobin" in refused(
        *NETWORK, CLUSTER_IP.replace("vpc: vpc1,", "vpc: vpc1, balancing: {algorithm: roundRobin},")
    )


def test_a_default_route_of_the_vpc_beside_its_eips_is_refused() -> None:
    vpcs = VPCS.replace(
        "{namespaces: [one]}", "{namespaces: [one], staticRoutes: [{cidr: 0.0.0.0/0, nextHopIP: 10.1.0.9}]}"
    )
    message = refused(NODES, vpcs, WORKLOADS, GATEWAYS, ONE_VPC_EIP)
    assert "0.0.0.0/0 via 10.1.0.9" in message
    assert "policySrc" in message


def test_a_transit_range_without_a_needed_family_is_refused() -> None:
    kind = "apiVersion: iaas.yusur.io/v1, kind: ClusterNetwork"
    network = f"{{{kind}, metadata: {{name: cluster}}, spec: {{transitCIDR: 100.88.0.0/16}}}}"
    assert "IPv6" in refused(network, *NETWORK, GATEWAYS, ONE_VPC_EIP)


def test_a_transit_range_that_is_too_small_is_refused() -> None:
    network = (
        "{apiVersion: iaas.yusur.io/v1, kind: ClusterNetwork, metadata: {name: cluster}, "
        'spec: {transitCIDR: "100.88.0.0/29,fd00:100:88::/125"}}'
    )
    assert "room for 2" in refused(network, *NETWORK, GATEWAYS, ONE_VPC_EIP, SEVERAL_VPCS_EIP)


def test_an_unreconciled_service_is_refused() -> None:
    snapshot = snapshot_of(*NETWORK, CLUSTER_IP)
    service = next(snapshot.all(YusurService))
    lonely = snapshot.only(kind for kind in ("YusurService",))
    with pytest.raises(Unsupported, match=f"{service.name} has no Service yet"):
        compile_northbound(lonely)
