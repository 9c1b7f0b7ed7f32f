"""Routes and policies of a router: priorities, what northd ignores, and how groups are numbered."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import pytest
from frozendict import frozendict
from hypothesis import given
from hypothesis import strategies as st

from ytwin.core.errors import Unsupported
from ytwin.core.memo import Memo
from ytwin.logical.southbound import LogicalFlow
from ytwin.northbound.rows import LogicalRouter, LogicalRouterPort, Northbound, RouterPolicy, Row, StaticRoute
from ytwin.northd.model import resolve
from ytwin.northd.router.flow import rows
from ytwin.northd.router.policy import policy_flows
from ytwin.northd.router.routing import ip_routing_flows
from ytwin.northd.router.static_routes import static_route_flows
from ytwin.northd.router.view import RouterView, router_view

PORT = LogicalRouterPort("p", "r", "0a:00:00:00:00:01", ("10.0.0.1/24", "fd00::1/64"))


def view_of(*rows: Row) -> RouterView:
    model = resolve(Northbound.of([LogicalRouter("r"), PORT, *rows]), Memo())
    return router_view(model, model.routers["r"])


def route(prefix: str, nexthop: str, **columns: str) -> StaticRoute:
    return StaticRoute("r", prefix, nexthop, **columns)


def in_stage(flows: Iterable[LogicalFlow], stage: str) -> dict[str, LogicalFlow]:
    return {flow.match: flow for flow in flows if flow.stage == stage}


def routing_flows(*northbound: Row) -> list[LogicalFlow]:
    view = view_of(*northbound)
    static = chain.from_iterable(static_route_flows(Memo(), view))
    return [*rows(view.where, ip_routing_flows(view)), *static]


def routing(*northbound: Row) -> dict[str, LogicalFlow]:
    return in_stage(routing_flows(*northbound), "lr_in_ip_routing")


def test_connected_beats_static_beats_source_at_one_length() -> None:
    flows = routing(
        route("10.0.0.0/24", "10.0.0.9"),
        route("10.0.0.0/24", "10.0.0.9", policy="src-ip"),
        route("10.0.0.9/32", "10.0.0.9"),
    )
    assert flows["ip4.dst == 10.0.0.0/24"].priority == 74
    assert flows["reg7 == 0 && ip4.dst == 10.0.0.0/24"].priority == 73
    assert flows["ip4.src == 10.0.0.0/24"].priority == 72
    assert flows["reg7 == 0 && ip4.dst == 10.0.0.9/32"].priority == 97


@given(st.integers(1, 32), st.sampled_from(["dst-ip", "src-ip"]), st.sampled_from(["dst-ip", "src-ip"]))
def test_a_longer_prefix_wins_whatever_its_kind(length: int, longer: str, shorter: str) -> None:
    flows = routing(
        route(f"192.168.0.0/{length}", "10.0.0.9", policy=longer),
        route(f"192.168.0.0/{length - 1}", "10.0.0.9", policy=shorter),
    )
    by_length = {flow.match.rsplit("/", 1)[1]: flow.priority for flow in flows.values() if "10.0.0.9" in flow.actions}
    assert by_length[str(length)] > by_length[str(length - 1)]


def test_a_link_local_route_names_its_port() -> None:
    assert any(match.startswith('inport == "p" && ip6.dst == fe80::/64') for match in routing())


@pytest.mark.parametrize(
    ("prefix", "nexthop", "port"),
    [
        ("10.9.0.0/16", "fd00::9", ""),
        ("10.9.0.0/16", "192.168.0.1", ""),
        ("10.9.0.0/16", "nonsense", ""),
        ("10.9.0.0/33", "10.0.0.9", ""),
        ("10.9.0.0/16", "10.0.0.9/24", ""),
        ("10.9.0.0/16", "10.0.0.9", "no-such-port"),
        ("10.9.0.0/16", "", ""),
    ],
)
def test_routes_that_northd_ignores(prefix: str, nexthop: str, port: str) -> None:
    assert routing(route(prefix, nexthop, output_port=port)).keys() == routing().keys()


def test_an_output_port_needs_no_network_of_the_next_hop() -> None:
    flow = routing(route("10.9.0.0/16", "192.168.0.1", output_port="p"))["reg7 == 0 && ip4.dst == 10.9.0.0/16"]
    assert "reg0 = 192.168.0.1; reg1 = 10.0.0.1;" in flow.actions
    assert flow.source == "Logical_Router_Static_Route/r||dst-ip|10.9.0.0/16|192.168.0.1|p"


def test_an_output_port_of_another_router_is_refused() -> None:
    other = LogicalRouterPort("q", "other", "0a:00:00:00:00:02", ("10.5.0.1/24",))
    with pytest.raises(Unsupported, match="output_port q"):
        routing(LogicalRouter("other"), other, route("10.9.0.0/16", "10.5.0.9", output_port="q"))


def test_groups_and_members_are_numbered_in_row_order() -> None:
    routes = [route("2.0.0.0/8", f"10.0.0.{n}") for n in (7, 8)] + [
        route("1.0.0.0/8", f"10.0.0.{n}") for n in (9, 2, 5)
    ]
    flows = routing_flows(*routes)
    chosen = in_stage(flows, "lr_in_ip_routing")
    assert "reg8[0..15] = 1; reg8[16..31] = select(1, 2);" in chosen["reg7 == 0 && ip4.dst == 2.0.0.0/8"].actions
    assert "reg8[0..15] = 2; reg8[16..31] = select(1, 2, 3);" in chosen["reg7 == 0 && ip4.dst == 1.0.0.0/8"].actions
    members = in_stage(flows, "lr_in_ip_routing_ecmp")
    assert "reg0 = 10.0.0.2;" in members["reg8[0..15] == 2 && reg8[16..31] == 2"].actions


def test_route_tables_are_numbered_as_they_are_met() -> None:
    flows = routing(
        route("2.0.0.0/8", "10.0.0.7", route_table="b"),
        route("3.0.0.0/8", "10.0.0.7", route_table="a"),
        route("4.0.0.0/8", "10.0.0.7", route_table="b"),
    )
    assert {"reg7 == 1 && ip4.dst == 2.0.0.0/8", "reg7 == 2 && ip4.dst == 3.0.0.0/8"} <= flows.keys()
    assert "reg7 == 1 && ip4.dst == 4.0.0.0/8" in flows


def test_policies() -> None:
    mark = frozendict({"pkt_mark": "3"})
    view = view_of(
        RouterPolicy("r", 1, "ip4", "allow", (), mark),
        RouterPolicy("r", 2, "ip6", "drop"),
        RouterPolicy("r", 3, "tcp", "reroute", ("192.168.0.1",)),
        RouterPolicy("r", 4, "udp", "reroute", ("10.0.0.9", "10.0.0.8")),
    )
    flows = rows(view.where, policy_flows(view))
    policies = in_stage(flows, "lr_in_policy")
    assert policies["ip4"].actions == "pkt.mark = 3; reg8[0..15] = 0; next;"
    assert policies["ip6"].actions == "drop;"
    assert "tcp" not in policies  # no port leads to the next hop
    assert policies["udp"].actions == "reg8[0..15] = 1; reg8[16..31] = select(1, 2);"
    first = in_stage(flows, "lr_in_policy_ecmp")["reg8[0..15] == 1 && reg8[16..31] == 1"]
    assert first.actions.startswith("reg0 = 10.0.0.8;")  # OVSDB keeps sets sorted


def test_one_more_route_leaves_the_others_as_they_are() -> None:
    """A router with a route per address must not be computed anew for each new address."""
    memo = Memo()
    routes = [route(f"200.0.{n // 256}.{n % 256}/32", "10.0.0.9") for n in range(2000)]

    def made(*more: Row) -> list[LogicalFlow]:
        model = resolve(Northbound.of([LogicalRouter("r"), PORT, *routes, *more]), memo)
        flows = list(chain.from_iterable(static_route_flows(memo, router_view(model, model.routers["r"]))))
        memo.advance()
        return flows

    before = {id(flow) for flow in made()}
    after = made(route("201.0.0.0/24", "10.0.0.9"))
    assert len(after) == len(before) + 1
    assert sum(id(flow) in before for flow in after) > len(before) / 2
    assert any("select" in flow.actions for flow in made(route("200.0.0.0/32", "10.0.0.8")))
