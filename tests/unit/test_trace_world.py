"""Binding of ports, hosts at the edge, localnets: what a World says of the NodeConfigs it is built from."""

from __future__ import annotations

from pathlib import Path

import pytest
from frozendict import frozendict

from ytwin.logical.southbound import DatapathId, PortBinding, Southbound
from ytwin.pipeline import build, read
from ytwin.trace import Tracer, World
from ytwin.trace.world import bind, outside_mac

YAML = (Path(__file__).parent.parent / "scenarios" / "trace" / "four.yaml").read_text()
LR = DatapathId("router", "r")


def world(down: tuple[str, ...] = ()) -> World:
    return build(read({"four.yaml": YAML}), down=down).world


def test_redirect_port_goes_to_the_best_live_chassis() -> None:
    port = PortBinding("cr-p", LR, "chassisredirect", gateway_chassis=(("n2", 10), ("n1", 20)))
    southbound = Southbound((), (LR,), frozendict({"cr-p": port}))
    assert bind(southbound, {}, ["n1", "n2"]).ports["cr-p"].chassis == "n1"
    assert bind(southbound, {}, ["n2"]).ports["cr-p"].chassis == "n2"
    assert bind(southbound, {}, []).ports["cr-p"].chassis == ""


def test_gateway_router_stays_where_it_is_told() -> None:
    port = PortBinding("g", LR, "l3gateway", options=frozendict({"l3gateway-chassis": "n1"}))
    southbound = Southbound((), (LR,), frozendict({"g": port}))
    assert bind(southbound, {}, ["n1", "n2"]).ports["g"].chassis == "n1"
    assert bind(southbound, {}, ["n2"]).ports["g"].chassis == ""


def test_everything_is_bound_and_owned() -> None:
    built = world()
    assert built.chassis == ("n1", "n2", "n3")
    assert built.localnet_chassis == (("localnet_gw", ("n1", "n2")),)
    kinds = {h.kind for h in built.hosts}
    assert kinds == {"Pod", "VirtualMachine", "BareMetal", "Node", "outside"}
    for host in built.hosts:
        assert host.port in built.southbound.ports
        if host.kind != "outside":
            assert built.southbound.ports[host.port].chassis == host.chassis
    node = next(h for h in built.hosts if h.name == "Node/n1")
    assert (node.vpc, node.subnet) == ("ovn-cluster", "join")
    vm = next(h for h in built.hosts if h.kind == "VirtualMachine")
    assert (vm.vpc, vm.subnet) == ("vpc2", "subnet3")


def test_a_lost_chassis_takes_everything_on_it() -> None:
    built = world(("n3",))
    assert built.chassis == ("n1", "n2")
    assert not [h for h in built.hosts if h.chassis == "n3"]
    assert not [p for p in built.southbound.ports.values() if p.chassis == "n3"]


def test_outside_routes_the_pools_to_the_uplink() -> None:
    outside = next(h for h in world().hosts if h.kind == "outside")
    assert {(r.prefix, r.via) for r in outside.routes} == {
        ("200.0.0.0/24", "192.0.2.2"),
        ("2001:db8:100::/112", "2001:db8:2::2"),
    }
    assert outside.addresses == ("192.0.2.1/24", "2001:db8:2::1/64")
    assert outside.mac == outside_mac("gw")
    assert int(outside.mac[:2], 16) & 3 == 2  # locally administered, not multicast


@pytest.mark.parametrize(
    ("name", "address", "expected"),
    [
        ("Pod/default/c", "10.1.2.9", "10.1.2.9"),
        ("Pod/default/c", "8.8.8.8", "10.1.2.1"),
        ("Node/n1", "10.96.3.4", "100.64.0.1"),
        ("Node/n1", "8.8.8.8", None),
        ("outside/gw", "200.0.0.9", "192.0.2.2"),
        ("outside/gw", "fd99::1", None),
    ],
)
def test_hosts_choose_their_next_hop(name: str, address: str, expected: str | None) -> None:
    tracer = Tracer(world())
    host = next(h for h in tracer.world.hosts if h.name == name)
    route = tracer.route(host, address)
    assert (route[1] if route else None) == expected
