"""Routers' logical flows feature by feature against stock ovn-northd, on the smallest Northbound that shows the feature.

Each case also says which stages must hold more than their default flows, so that a case cannot pass by showing nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from frozendict import frozendict
from northd_oracle import compare
from northd_router_networks import balancer, link, localnet, router

from deployer.sandbox import OvnSandbox
from ytwin.northbound.rows import (
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    Row,
    StaticRoute,
)
from ytwin.northd import northd


@pytest.fixture(scope="module")
def ovn() -> Iterator[OvnSandbox]:
    with OvnSandbox() as sandbox:
        yield sandbox


DUAL = ("10.0.0.1/24", "fd00::1/64")
VIPS = {"200.0.0.100:5001": "10.0.0.5:80,10.0.0.6:80", "[2001:db8::100]:5001": "[fd00::5]:80"}
BASE: tuple[Row, ...] = (LogicalSwitch("s"), LogicalSwitch("t"), *link("r", "s", 1, DUAL))
SECOND: tuple[Row, ...] = tuple(link("r", "t", 2, ("10.0.1.1/24", "fd00:1::1/64")))
GATEWAY: tuple[Row, ...] = tuple(link("r", "t", 2, ("10.0.1.1/24", "fd00:1::1/64"), {}, ("c1", "c2")))
ON_GATEWAY_ROUTER = {"chassis": "c1"}


def route(prefix: str, nexthop: str, port: str = "", policy: str = "dst-ip", table: str = "", **options: str) -> Row:
    """A static route of router r."""
    return StaticRoute("r", prefix, nexthop, port, policy, table, frozendict(options))


def with_balancer(options: dict[str, str], lb_options: dict[str, str], vips: dict[str, str] = VIPS) -> list[Row]:
    """Router r with one load balancer."""
    return [router("r", options, ["lb"]), balancer("lb", vips, "tcp", lb_options)]


CASES: dict[str, tuple[Sequence[Row], set[str]]] = {
    "no port": ([router("r")], set()),
    "plain dual-stack port": ([router("r"), *BASE], {"lr_in_admission", "lr_in_ip_input", "lr_in_ip_routing"}),
    "port without peer": (
        [router("r"), LogicalRouterPort("p", "r", "0a:00:00:00:00:09", ("10.9.0.1/30",))],
        {"lr_out_delivery"},
    ),
    "unusable MAC": ([router("r"), LogicalRouterPort("p", "r", "none", ("10.9.0.1/30",))], set()),
    "several networks": (
        [router("r"), *BASE, *link("r", "t", 2, ("10.1.0.1/24", "10.1.1.1/24", "fd01::1/64", "fd02::1/64", "fe80::9/64"))],
        {"lr_in_ip_input"},
    ),
    "names that need quoting": (
        [router('r"1'), LogicalSwitch("s"), LogicalRouterPort('p"\\é', 'r"1', "0a:00:00:00:00:09", ("10.9.0.1/30",))],
        {"lr_out_delivery"},
    ),
    "gateway port": ([router("r"), *BASE, *GATEWAY, localnet("t", 12)], {"lr_in_gw_redirect"}),
    "gateway port, switch without localnet": ([router("r"), *BASE, *GATEWAY], {"lr_in_gw_redirect"}),
    "two gateway ports": (
        [router("r", {}, ["lb"]), LogicalSwitch("s"), LogicalSwitch("t"), *link("r", "s", 1, DUAL, {}, ("c1",)), *GATEWAY,
         balancer("lb", VIPS)],
        {"lr_out_undnat", "lr_in_dnat"},
    ),
    "gateway router": ([router("r", ON_GATEWAY_ROUTER), *BASE, *SECOND], {"lr_in_ip_input"}),
    "gateway chassis on a gateway router count for nothing": ([router("r", ON_GATEWAY_ROUTER), *BASE, *GATEWAY], set()),
    "learning": (
        [router("r", {"always_learn_from_arp_request": "false"}), *BASE, *GATEWAY],
        {"lr_in_lookup_neighbor", "lr_in_learn_neighbor"},
    ),
    "neighbors by ARP": (
        [router("r", {"dynamic_neigh_routers": "true"}), router("q"), *BASE, *link("q", "s", 3, ("10.0.0.3/24",))],
        {"lr_in_arp_resolve"},
    ),
    "fellow routers and workloads": (
        [router("r"), router("q"), *BASE, *link("q", "s", 3, ("10.0.0.3/24", "10.0.0.4/24", "fd00::3/64")),
         LogicalSwitchPort("vm", "s", "", ("0a:00:00:00:01:01 10.0.0.5 fd00::5 192.168.1.1", "unknown")),
         LogicalSwitchPort("vm2", "s", "", ("0A:00:00:00:01:02 10.0.0.6", "0a:00:00:00:01:03 10.0.0.7"))],
        {"lr_in_arp_resolve"},
    ),
    "reside-on-redirect-chassis": (
        [router("r"), LogicalSwitch("s"), LogicalSwitch("t"), localnet("s"), localnet("t"), *GATEWAY,
         *link("r", "s", 1, DUAL, {"reside-on-redirect-chassis": "true"})],
        {"lr_in_ip_input"},
    ),
    "redirect-type bridged": (
        [router("r"), *BASE, *link("r", "t", 2, ("10.0.1.1/24",), {"redirect-type": "bridged"}, ("c1",)), localnet("t")],
        {"lr_in_arp_resolve"},
    ),
    "gateway_mtu": (
        [router("r"), *BASE, localnet("t", 7),
         *link("r", "t", 2, ("10.0.1.1/24",), {"gateway_mtu": "1400", "gateway_mtu_bypass": "tcp"}, ("c1",))],
        {"lr_in_chk_pkt_len", "lr_in_larger_pkts"},
    ),
    "static routes": (
        [router("r"), *BASE, *SECOND, route("0.0.0.0/0", "10.0.0.9"), route("::/0", "fd00::9"),
         route("10.9.0.0/16", "10.0.1.9", "", "src-ip"), route("10.10.0.0/16", "discard"), route("fd99::/48", "discard"),
         route("10.11.3.4/16", "10.0.0.9"), route("200.0.0.1", "10.0.0.9"), route("fe80::/64", "fe80::9", "lrp_r_t")],
        {"lr_in_ip_routing", "lr_in_arp_request"},
    ),
    "routes by port": (
        [router("r"), *BASE, *SECOND, route("10.9.0.0/16", "192.168.0.1", "lrp_r_t"), route("fd99::/48", "fe80::5", "lrp_r_t"),
         route("10.8.0.0/16", "", "lrp_r_t"), route("10.7.0.0/16", "10.0.0.9", "nowhere"),
         route("10.6.0.0/16", "10.0.0.9", "lsp_t_r"), route("fd98::/48", "fe80::5")],
        {"lr_in_ip_routing", "lr_in_arp_request"},
    ),
    "routes that northd ignores": (
        [router("r"), *BASE, route("10.9.0.0/16", "fd00::9"), route("10.9.0.0/16", "192.168.0.1"), route("bad", "10.0.0.9"),
         route("10.9.0.0/16", "bad"), route("10.9.0.0/16", "10.0.0.9/24"), route("10.8.0.0/16", "10.0.0.9/32")],
        set(),
    ),
    "route tables": (
        [router("r"), LogicalSwitch("s"), LogicalSwitch("t"), *link("r", "s", 1, DUAL, {"route_table": "red"}), *SECOND,
         route("0.0.0.0/0", "10.0.0.9", "", "dst-ip", "blue"), route("0.0.0.0/0", "10.0.0.8", "", "dst-ip", "red"),
         route("0.0.0.0/0", "10.0.1.7"), route("10.9.0.0/16", "10.0.1.7", "", "src-ip", "red")],
        {"lr_in_ip_routing_pre"},
    ),
    "ECMP": (
        [router("r"), *BASE, *SECOND, route("0.0.0.0/0", "10.0.0.9"), route("0.0.0.0/0", "10.0.1.9"),
         route("0.0.0.0/0", "10.0.1.8"), route("::/0", "fd00::9"), route("::/0", "fd00::8"), route("::/0", "discard"),
         route("10.8.0.1/16", "10.0.0.9"), route("10.8.0.2/16", "10.0.0.8"),
         route("9.0.0.0/8", "10.0.0.9", "", "src-ip"), route("9.0.0.0/8", "10.0.1.9", "", "src-ip")],
        {"lr_in_ip_routing_ecmp"},
    ),
    "ECMP with symmetric replies": (
        [router("r", ON_GATEWAY_ROUTER), *BASE, *SECOND,
         *[route(p, h, "", "dst-ip", "", ecmp_symmetric_reply="true")
           for p, h in (("0.0.0.0/0", "10.0.0.9"), ("0.0.0.0/0", "10.0.1.9"), ("::/0", "fd00::9"), ("::/0", "fd00::8"))]],
        {"lr_in_ecmp_stateful", "lr_in_defrag", "lr_in_policy"},
    ),
    "policies": (
        [router("r"), *BASE, *SECOND,
         RouterPolicy("r", 10, "ip4.src == 10.0.0.5", "allow"), RouterPolicy("r", 11, "ip4.src == 10.0.0.6", "drop"),
         RouterPolicy("r", 12, "ip4", "reroute", ("10.0.1.9",), frozendict({"pkt_mark": "5"})),
         RouterPolicy("r", 13, "ip6", "reroute", ("fd00:1::9", "fd00::9"), frozendict({"pkt_mark": "5"})),
         RouterPolicy("r", 14, "ip4", "reroute", ("10.0.1.9", "10.0.0.9", "10.0.0.8")),
         RouterPolicy("r", 15, "ip4", "reroute", ("192.168.0.1",)), RouterPolicy("r", 16, "ip4", "reroute"),
         RouterPolicy("r", 17, "ip4", "reroute", ("10.0.0.7", "192.168.0.1")),
         RouterPolicy("r", 18, "ip4", "reroute", ("10.0.0.7", "fd00::9"))],
        {"lr_in_policy", "lr_in_policy_ecmp"},
    ),
    "balancer without gateway": ([*BASE, *with_balancer({}, {})], {"lr_in_defrag", "lr_in_dnat"}),
    "balancer on a gateway router": (
        [*BASE, *with_balancer(ON_GATEWAY_ROUTER, {})], {"lr_in_dnat", "lr_out_undnat", "lr_out_post_undnat"},
    ),
    "balancer on a gateway port": ([*BASE, *GATEWAY, *with_balancer({}, {})], {"lr_in_dnat", "lr_out_undnat"}),
    "balancer without port": (
        [*BASE, *GATEWAY, *with_balancer({}, {}, {"200.0.0.1": "10.0.0.5,10.0.0.6", "2001:db8::1": "fd00::5"})],
        {"lr_in_dnat", "lr_out_undnat"},
    ),
    "balancer with a hash of fields": (
        [*BASE, *GATEWAY, router("r", {}, ["lb"]), balancer("lb", VIPS, "sctp", {}, ("ip_dst", "ip_src", "tp_dst", "tp_src"))],
        {"lr_in_dnat"},
    ),
    "VIPs without backends": (
        [*BASE, *GATEWAY, router("r", {}, ["a", "b"]), balancer("a", {"200.0.0.1:80": ""}, "tcp", {"reject": "true"}),
         balancer("b", {"200.0.0.2:80": "", "[fd99::1]:80": ""}, "udp", {"affinity_timeout": "9"})],
        {"lr_in_dnat", "lr_in_lb_aff_check"},
    ),
    "events for VIPs without backends": (
        [*BASE, *GATEWAY, router("r", {}, ["a", "b"]),
         balancer("a", {"200.0.0.1:80": "", "[fd99::1]:80": ""}, "udp", {"event": "true"}),
         balancer("b", {"200.0.0.2:80": ""}, "tcp", {"event": "true", "reject": "true"})],
        {"lr_in_dnat"},
    ),
    "unusable VIPs and backends": (
        [*BASE, *with_balancer(ON_GATEWAY_ROUTER, {}, {"x": "10.0.0.5:80", "200.0.0.1:80": "10.0.0.5:80,10.0.0.6",
         "200.0.0.2:80": "10.0.0.5:80,[fd00::5]:80", "200.0.0.3": "10.0.0.5:80", "200.0.0.4:80": "10.0.0.9:1,"})],
        {"lr_in_dnat"},
    ),
    "balancers by groups": (
        [*BASE, router("r", ON_GATEWAY_ROUTER, ["a"], ["g", "h"]), router("q", {}, [], ["g"]), balancer("a", VIPS),
         balancer("b", {"200.0.0.2:80": "10.0.0.5:80"}), LoadBalancerGroup("g", ("a", "b")), LoadBalancerGroup("h", ("b",))],
        {"lr_in_dnat"},
    ),
    "no usable VIP at all": ([*BASE, *with_balancer(ON_GATEWAY_ROUTER, {}, {"x": "y"})], {"lr_in_dnat", "lr_out_undnat"}),
    "VIPs in a network of the router": (
        [*BASE, *GATEWAY, *with_balancer({}, {}, {"10.0.1.77:80": "10.0.0.5:80", "[fd00:1::77]:80": "[fd00::5]:80"})],
        {"lr_in_ip_input"},
    ),
    "VIPs that are the router's own addresses": (
        [*BASE, *GATEWAY, *with_balancer({}, {}, {"10.0.1.1:80": "10.0.0.5:80", "[fd00:1::1]:80": "[fd00::5]:80"})],
        {"lr_in_ip_input", "lr_in_arp_resolve"},
    ),
    "neighbor_responder all": ([*BASE, *GATEWAY, *with_balancer({}, {"neighbor_responder": "all"})], {"lr_in_ip_input"}),
    "neighbor_responder none": (
        [*BASE, *GATEWAY, *with_balancer({}, {"neighbor_responder": "none"}, {"10.0.1.77:80": "10.0.0.5:80"})],
        {"lr_in_dnat"},
    ),
    "route to another router's VIP": (
        [*BASE, *GATEWAY, *with_balancer({}, {"add_route": "true"}, {"200.0.0.1:80": "", "200.0.0.1:81": ""}),
         router("q", ON_GATEWAY_ROUTER), *link("q", "t", 3, ("10.0.1.3/24",))],
        {"lr_in_ip_routing", "lr_in_arp_resolve"},
    ),
    "force_snat to addresses needs a gateway router": (
        [*BASE, *with_balancer({"lb_force_snat_ip": "100.64.0.1 fd64::1"}, {})], {"lr_in_dnat"},
    ),
    "dnat_force_snat_ip": (
        [*BASE, *with_balancer({"chassis": "c1", "dnat_force_snat_ip": "10.0.0.1"}, {})], {"lr_in_unsnat", "lr_out_snat"},
    ),
}  # fmt: skip

for where, rows, router_options in (
    ("gateway router", (*BASE, *SECOND), ON_GATEWAY_ROUTER),
    ("gateway port", (*BASE, *GATEWAY), {}),
):
    for snat in ("", "router_ip", "100.64.0.1", "100.64.0.1 fd64::1", "10.0.0.1", "fd64::1 x", "x 10.0.0.1"):
        forced = {"lb_force_snat_ip": snat} if snat else {}
        for lb_options in ({}, {"skip_snat": "true"}, {"affinity_timeout": "10800"}):
            both = lb_options | ({"skip_snat": "true", "reject": "true"} if "affinity_timeout" in lb_options else {})
            name = f"{where}, lb_force_snat_ip={snat}, {' '.join(both) or 'no option'}"
            vips = VIPS | {"200.0.0.101:80": ""}
            CASES[name] = ([*rows, *with_balancer(router_options | forced, both, vips)], {"lr_in_dnat", "lr_in_defrag"})


@pytest.mark.ovn
def test_events_for_all_load_balancers(ovn: OvnSandbox) -> None:
    """NB_Global's deprecated controller_event does what the option of each load balancer does."""
    rows = [*BASE, *with_balancer(ON_GATEWAY_ROUTER, {}, {"200.0.0.1:80": ""})]
    northbound = Northbound.of(rows, frozendict({"controller_event": "true"}))
    assert compare(ovn, northbound) == []
    assert any("trigger_event" in flow.actions for flow in northd(northbound).flows)


@pytest.mark.ovn
@pytest.mark.parametrize("name", CASES)
def test_flows_are_northds(ovn: OvnSandbox, name: str) -> None:
    rows, stages = CASES[name]
    known = {row.name for row in rows if isinstance(row, LogicalRouter)}
    assert known, "a case without router shows nothing"
    northbound = Northbound.of(rows)
    assert compare(ovn, northbound) == []
    assert stages <= {flow.stage for flow in northd(northbound).flows if flow.match != "1"}
