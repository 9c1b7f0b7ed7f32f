"""Resolving a Northbound for northd: peers, gateway ports, tunnel keys, and what is refused."""

from __future__ import annotations

import pytest
from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.core.memo import Memo
from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    Row,
    StaticRoute,
)
from ytwin.northd import northd
from ytwin.northd.model import Model, resolve
from ytwin.northd.stages import Stage


def model(*rows: Row, **options: str) -> Model:
    return resolve(Northbound.of(rows, frozendict(options)), Memo())


def router_port(name: str, router: str = "r", **options: str) -> LogicalRouterPort:
    return LogicalRouterPort(name, router, "02:00:00:00:00:01", ("10.0.0.1/24",), frozendict(options))


def lsp(name: str, peer: str, switch: str = "s") -> LogicalSwitchPort:
    return LogicalSwitchPort(name, switch, "router", ("router",), options=frozendict({"router-port": peer}))


S, R = LogicalSwitch("s"), LogicalRouter("r")


def test_peers_and_addresses() -> None:
    m = model(S, R, router_port("a"), lsp("x", "a"), lsp("y", "nowhere"), router_port("b"))
    assert m.switch_ports["x"].peer is m.router_ports["a"]
    assert m.switch_ports["y"].peer is None
    assert m.peer_of == {"a": m.switch_ports["x"]}
    assert m.routers["r"].peers == ((m.router_ports["a"], m.switch_ports["x"]),)
    assert [net.ip for a in m.switch_ports["x"].addresses for net in (*a.v4, *a.v6)] == ["10.0.0.1", "fe80::ff:fe00:1"]
    assert m.switches["s"].router_ports == (m.switch_ports["x"],)


def test_gateway_ports() -> None:
    chassis = (GatewayChassis("a", "c1", 1), GatewayChassis("a", "c2", 2))
    port = model(S, R, router_port("a"), *chassis).router_ports["a"]
    assert port.is_dgp
    assert port.cr_name == "cr-a"
    assert [c.chassis_name for c in port.gateway_chassis] == ["c2", "c1"]
    gateway = LogicalRouter("r", options=frozendict(chassis="c1"))
    m = model(gateway, router_port("a"), *chassis)
    assert not m.router_ports["a"].is_dgp
    assert m.routers["r"].is_gateway
    assert m.routers["r"].dgps == ()


def test_balancers_directly_and_by_group() -> None:
    lbs = [LoadBalancer(name, frozendict({"10.0.0.9:80": ""})) for name in ("p", "q", "unused")]
    groups = [LoadBalancerGroup("g", ("p",)), LoadBalancerGroup("h", ("p", "q"))]
    switches = [LogicalSwitch("s1", ("p",)), LogicalSwitch("s2", (), ("g", "h")), LogicalSwitch("s3", ("q",), ("g",))]
    m = model(*lbs, *groups, *switches, LogicalSwitch("s4"), LogicalRouter("r", ("q",), ("g",)))
    names = {lb: [where.name for where in group] for lb, group in m.balancer_switches.items()}
    assert names == {"p": ["s1", "s2", "s3"], "q": ["s2", "s3"]}
    assert {lb: [r.id.name for r in routers] for lb, routers in m.balancer_routers.items()} == {"p": ["r"], "q": ["r"]}
    assert [switch.has_vip for switch in m.switches.values()] == [True, True, True, False]
    assert m.router_balancers["r"].vips.v4 == ("10.0.0.9",)


def test_a_balancer_without_vips_is_none() -> None:
    m = model(LogicalSwitch("s", ("lb",), ("g",)), LoadBalancer("lb", frozendict()), LoadBalancerGroup("g", ("lb",)))
    assert not m.switches["s"].has_vip


def test_requested_tunnel_keys_come_first() -> None:
    wants = frozendict({"requested-tnl-key": "2"})
    m = model(S, R, LogicalSwitch("t", other_config=wants), LogicalSwitch("u", other_config=wants))
    keys = [m.switches[name].tunnel_key for name in "stu"] + [m.routers["r"].tunnel_key]
    assert keys == [1, 2, 3, 4]
    m = model(R, router_port("a"), GatewayChassis("a", "c", 1), router_port("b", **wants))
    assert (m.router_ports["a"].tunnel_key, m.router_ports["a"].cr_tunnel_key, m.router_ports["b"].tunnel_key) == (
        1,
        3,
        2,
    )


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([LogicalSwitchPort("p", "gone")], "gone"),
        ([router_port("a", "gone")], "gone"),
        ([StaticRoute("gone", "0.0.0.0/0", "10.0.0.2")], "gone"),
        ([LogicalSwitch("s", ("gone",))], "gone"),
        ([LogicalRouter("r", (), ("gone",))], "gone"),
        ([LoadBalancerGroup("g", ("gone",))], "gone"),
        ([S, R, router_port("a"), lsp("x", "a"), lsp("y", "a")], "a is the peer of x"),
        ([S, R, router_port("a"), LogicalSwitchPort("a", "s")], "same name"),
        ([S, LogicalSwitchPort("p", "s", "vtep")], "vtep"),
        ([S, LogicalSwitchPort("p", "s", addresses=("dynamic",))], "dynamic"),
        ([S, LogicalSwitchPort("p", "s", addresses=("0a:00:00:00:00:01 dynamic",))], "dynamic"),
        ([S, LogicalSwitchPort("p", "s", options=frozendict(arp_proxy="10.0.0.1"))], "arp_proxy"),
        ([LogicalSwitch("s", other_config=frozendict(mcast_snoop="true"))], "mcast_snoop"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(rows: list[Row], named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        northd(Northbound.of(rows))


def test_global_options() -> None:
    assert model().ct_inv
    assert not model(use_ct_inv_match="false").ct_inv
    assert model(controller_event="true").event
    with pytest.raises(Unsupported, match="ignore_lsp_down"):
        model(ignore_lsp_down="false")


def test_the_stage_table() -> None:
    seen: dict[tuple[str, str], list[int]] = {}
    for stage in Stage:
        seen.setdefault((stage.kind, stage.pipeline), []).append(stage.table)
        assert stage.label == stage.name.lower()
        assert stage.label.startswith(f"l{stage.kind[0]}_{'in' if stage.pipeline == 'ingress' else 'out'}_")
    assert all(tables == list(range(len(tables))) for tables in seen.values())
    assert {pair: len(tables) for pair, tables in seen.items()} == {
        ("switch", "ingress"): 27,
        ("switch", "egress"): 10,
        ("router", "ingress"): 22,
        ("router", "egress"): 7,
    }


def test_the_articles_case_in_flows() -> None:
    """A VIP on two switches is one row for both, and hints at its Load_Balancer."""
    lb = LoadBalancer(
        "default/ysvc1/tcp", frozendict({"10.233.46.185:5001": "10.0.1.5:5001"}), "tcp", ("ip_dst", "ip_src")
    )
    switches = [LogicalSwitch(name, load_balancer_group=("vpc_vpc1",)) for name in ("subnet3", "subnet1")]
    sb = northd(Northbound.of([lb, LoadBalancerGroup("vpc_vpc1", (lb.name,)), *switches]))
    (flow,) = [flow for flow in sb.flows if flow.stage == "ls_in_lb" and flow.priority == 120]
    assert [datapath.name for datapath in flow.datapaths] == ["subnet1", "subnet3"]
    assert flow.match == "ct.new && ip4.dst == 10.233.46.185 && tcp.dst == 5001"
    assert flow.actions == 'reg0[1] = 0; ct_lb_mark(backends=10.0.1.5:5001; hash_fields="ip_dst,ip_src");'
    assert flow.source == "Load_Balancer/default/ysvc1/tcp"
