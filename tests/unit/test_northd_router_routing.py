"""Routes and policies of a router: priorities, what northd ignores, and how groups are numbered."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from frozendict import frozendict
from hypothesis import given
from hypothesis import strategies as st

from ytwin.core.errors import Unsupported
from ytwin.core.memo import Memo
from ytwin.northbound.rows import LogicalRouter, LogicalRouterPort, Northbound, RouterPolicy, Row, StaticRoute
from ytwin.northd.model import resolve
from ytwin.northd.router.flow import Flow
from ytwin.northd.router.policy import policy_flows
from ytwin.northd.router.routing import ip_routing_flows
from ytwin.northd.router.view import RouterView, router_view
from ytwin.northd.stages import Stage

PORT = LogicalRouterPort("p", "r", "0a:00:00:00:00:01", ("10.0.0.1/24", "fd00::1/64"))


def view_of(*rows: Row) -> RouterView:
    model = resolve(Northbound.of([LogicalRouter("r"), PORT, *rows]), Memo())
    return router_view(model, model.routers["r"])


def route(prefix: str, nexthop: str, **columns: str) -> StaticRoute:
    return StaticRoute("r", prefix, nexthop, **columns)


def in_stage(flows: Iterable[Flow], stage: Stage) -> dict[str, Flow]:
    return {flow.match: flow for flow in flows if flow.stage is stage}


def routing(*rows: Row) -> dict[str, Flow]:
    return in_stage(ip_routing_flows(view_of(*rows)), Stage.LR_IN_IP_ROUTING)


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
    rows = [route("2.0.0.0/8", f"10.0.0.{n}") for n in (7, 8)] + [route("1.0.0.0/8", f"10.0.0.{n}") for n in (9, 2, 5)]
    flows = list(ip_routing_flows(view_of(*rows)))
    chosen = in_stage(flows, Stage.LR_IN_IP_ROUTING)
    assert "reg8[0..15] = 1; reg8[16..31] = select(1, 2);" in chosen["reg7 == 0 && ip4.dst == 2.0.0.0/8"].actions
    assert "reg8[0..15] = 2; reg8[16..31] = select(1, 2, 3);" in chosen["reg7 == 0 && ip4.dst == 1.0.0.0/8"].actions
    members = in_stage(flows, Stage.LR_IN_IP_ROUTING_ECMP)
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
    flows = list(
        policy_flows(
            view_of(
                RouterPolicy("r", 1, "ip4", "allow", (), mark),
                RouterPolicy("r", 2, "ip6", "drop"),
                RouterPolicy("r", 3, "tcp", "reroute", ("192.168.0.1",)),
                RouterPolicy("r", 4, "udp", "reroute", ("10.0.0.9", "10.0.0.8")),
            )
        )
    )
    policies = in_stage(flows, Stage.LR_IN_POLICY)
    assert policies["ip4"].actions == "pkt.mark = 3; reg8[0..15] = 0; next;"
    assert policies["ip6"].actions == "drop;"
    assert "tcp" not in policies  # no port leads to the next hop
    assert policies["udp"].actions == "reg8[0..15] = 1; reg8[16..31] = select(1, 2);"
    first = in_stage(flows, Stage.LR_IN_POLICY_ECMP)["reg8[0..15] == 1 && reg8[16..31] == 1"]
    assert first.actions.startswith("reg0 = 10.0.0.8;")  # OVSDB keeps sets sorted
