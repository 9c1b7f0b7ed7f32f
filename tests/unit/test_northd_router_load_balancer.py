"""A load balancer on routers: what it does to new connections, replies and remembered clients, and which routers share it."""

from __future__ import annotations

import pytest
from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.core.memo import Memo
from ytwin.logical.southbound import LogicalFlow
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
from ytwin.northd.collect import Collector
from ytwin.northd.model import Model, resolve
from ytwin.northd.router import router_flows
from ytwin.northd.router.load_balancer import sites_of
from ytwin.northd.router.view import router_view

VIP = {"200.0.0.100:80": "10.0.0.5:8080,10.0.0.6:8080"}
NEW = "ct.new && !ct.rel && ip4 && ip4.dst == 200.0.0.100 && tcp && tcp.dst == 80"


def balancer(vips: dict[str, str], **options: str) -> LoadBalancer:
    return LoadBalancer("lb", frozendict(vips), "tcp", (), frozendict(options))


def lr(name: str, **options: str) -> LogicalRouter:
    return LogicalRouter(name, ("lb",), (), frozendict(options))


def gateway_port(router: str, number: int = 1) -> list[Row]:
    name = f"p{number}_{router}"
    port = LogicalRouterPort(name, router, f"0a:00:00:00:00:0{number}", (f"100.64.{number}.1/24",))
    return [port, GatewayChassis(name, "c1", 1)]


def model_of(*rows: Row) -> Model:
    return resolve(Northbound.of(rows), Memo())


def flows_of(*rows: Row) -> list[LogicalFlow]:
    collector = Collector()
    router_flows(model_of(*rows), collector)
    return [flow for flow in collector.done() if flow.source == "Load_Balancer/lb"]


def stage(flows: list[LogicalFlow], name: str) -> dict[str, str]:
    return {flow.match: flow.actions for flow in flows if flow.stage == name}


def test_a_gateway_router_balances_without_naming_a_port() -> None:
    flows = flows_of(lr("r", chassis="c1"), balancer(VIP))
    assert stage(flows, "lr_in_dnat") == {NEW: "ct_lb_mark(backends=10.0.0.5:8080,10.0.0.6:8080);"}
    assert stage(flows, "lr_in_defrag") == {"ip && ip4.dst == 200.0.0.100": "ct_dnat;"}
    assert stage(flows, "lr_out_undnat") == {}


def test_with_a_gateway_port_all_happens_on_its_chassis() -> None:
    flows = flows_of(lr("r"), *gateway_port("r"), balancer(VIP))
    resident = 'is_chassis_resident("cr-p1_r")'
    assert stage(flows, "lr_in_dnat").keys() == {f"{NEW} && {resident}"}
    (back,) = stage(flows, "lr_out_undnat").items()
    either = "(ip4.src == 10.0.0.5 && tcp.src == 8080) || (ip4.src == 10.0.0.6 && tcp.src == 8080)"
    assert back == (f'ip4 && ({either}) && outport == "p1_r" && {resident}', "ct_dnat_in_czone;")


def test_of_several_gateway_ports_the_first_row_counts() -> None:
    flows = flows_of(lr("r"), *gateway_port("r", 2), *gateway_port("r", 1), balancer(VIP))
    assert stage(flows, "lr_in_dnat").keys() == {f'{NEW} && is_chassis_resident("cr-p2_r")'}


@pytest.mark.parametrize(
    ("router", "options", "flag"),
    [
        ({}, {"skip_snat": "true"}, "skip_snat"),
        ({"lb_force_snat_ip": "10.0.0.1"}, {}, "force_snat"),
        ({"lb_force_snat_ip": "10.0.0.1"}, {"skip_snat": "true"}, "skip_snat"),
    ],
)
def test_a_snat_flag_removes_the_un_dnat_of_a_gateway_port(
    router: dict[str, str], options: dict[str, str], flag: str
) -> None:
    flows = flows_of(lr("r", **router), *gateway_port("r"), balancer(VIP, **options))
    (undnat,) = stage(flows, "lr_out_undnat").values()
    assert undnat == f"flags.{flag}_for_lb = 1; next;"
    (dnat,) = stage(flows, "lr_in_dnat").values()
    assert dnat == f"flags.{flag}_for_lb = 1; ct_lb_mark(backends={VIP['200.0.0.100:80']}; {flag});"


@pytest.mark.parametrize(("options", "word"), [({}, "drop;"), ({"reject": "true"}, "reject {")])
def test_without_backends(options: dict[str, str], word: str) -> None:
    flows = flows_of(lr("r"), *gateway_port("r"), balancer({"200.0.0.100:80": ""}, **options))
    ((match, actions),) = stage(flows, "lr_in_dnat").items()
    assert word in actions
    assert ("is_chassis_resident" in match) == (word == "drop;")  # a rejection is sent from wherever the packet is


def test_affinity_remembers_and_uses_each_backend() -> None:
    flows = flows_of(lr("r", chassis="c1"), balancer(VIP, affinity_timeout="70000"))
    assert len(stage(flows, "lr_in_lb_aff_learn")) == len(stage(flows, "lr_in_dnat")) - 1 == 2
    assert all("timeout = 65535" in actions for actions in stage(flows, "lr_in_lb_aff_learn").values())


def test_ipv6_backends_are_bracketed_where_a_port_follows() -> None:
    flows = flows_of(lr("r", chassis="c1"), balancer({"[2001:db8::1]:80": "[fd00::5]:8080"}, affinity_timeout="9"))
    (learn,) = stage(flows, "lr_in_lb_aff_learn").values()
    assert 'vip = "[2001:db8::1]:80", backend = "[fd00::5]:8080", proto = tcp' in learn


def test_routers_without_gateway_port_share_one_flow() -> None:
    model = model_of(
        lr("a"), lr("b", chassis="c1"), lr("c"), *gateway_port("c"), lr("d", lb_force_snat_ip="9.9.9.9"), balancer(VIP)
    )
    sites = sites_of(model.memo, [router_view(model, router) for router in model.routers.values()])
    assert [[datapath.name for datapath in site.where] for site in sites] == [["a", "b"], ["c"], ["d"]]


def test_one_more_balancer_leaves_most_others_and_the_neighbors_alone() -> None:
    many = [LoadBalancer(f"lb{n}", frozendict({f"200.0.{n // 256}.{n % 256}:80": "10.0.0.5:80"})) for n in range(1000)]
    more = LoadBalancer("more", frozendict({"201.0.0.101:80": "10.0.0.5:80"}))
    rest: list[Row] = [
        *gateway_port("r"),
        LogicalSwitch("s"),
        LogicalSwitchPort("lsp", "s", "router", ("router",), (), frozendict({"router-port": "p1_r"})),
        LogicalSwitchPort("vm", "s", "", ("0a:00:00:00:01:01 100.64.1.9",)),
    ]
    memo = Memo()

    def made(*balancers: LoadBalancer) -> dict[tuple[str, str], LogicalFlow]:
        collector = Collector()
        router = LogicalRouter("r", tuple(balancer.name for balancer in balancers))
        router_flows(resolve(Northbound.of([router, *balancers, *rest]), memo), collector)
        memo.advance()
        return {(flow.stage, flow.match): flow for flow in collector.done()}

    before = made(*many)
    after = made(*many, more)
    kept = [key for key, flow in after.items() if before.get(key) is flow]
    assert sum(key[0] == "lr_in_dnat" for key in kept) > len(many) / 2
    assert ("lr_in_arp_resolve", 'outport == "p1_r" && reg0 == 100.64.1.9') in kept


@pytest.mark.parametrize("value", ["10.0.0.1 10.0.0.2", "10.0.0.0/24", "fd00::1 fd00::2"])
def test_what_crashes_northd_is_refused(value: str) -> None:
    with pytest.raises(Unsupported, match="crash"):
        flows_of(lr("r", chassis="c1", lb_force_snat_ip=value), balancer(VIP))


def test_multicast_relay_is_refused() -> None:
    with pytest.raises(Unsupported, match="mcast_relay"):
        flows_of(lr("r", mcast_relay="true"), balancer(VIP))
