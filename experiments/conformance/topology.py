"""Topologies for a conformance run: drawn from a seed, compiled, and what features they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from ytwin.controllers import reconcile
from ytwin.generate import generate
from ytwin.northbound import compile_northbound
from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    StaticRoute,
)
from ytwin.resources.snapshot import Snapshot


@dataclass(frozen=True)
class Drawn:
    """One topology of a run. `command` makes the same objects as YAML."""

    snapshot: Snapshot
    northbound: Northbound
    command: str


def draw(seed: int, index: int) -> Drawn:
    """Topology `index` of the run with `seed`: small ones and larger ones, with few and many of everything."""
    random = Random(f"topology {seed} {index}")
    vpcs = random.randint(1, 4)
    nodes, subnets = random.randint(1, 5), vpcs + random.randint(0, 5)
    services, backends = random.choice((0, 1, 2, 4, 6, 8, 12)), random.choice((0, 1, 2, 3, 3, 5))
    number = random.randrange(1 << 32)
    snapshot = reconcile(Snapshot.of(generate(nodes, vpcs, subnets, services, backends, number)))
    command = (
        f"ytwin generate --nodes {nodes} --vpcs {vpcs} --subnets {subnets} --services {services} "
        f"--backends {backends} --seed {number}"
    )
    return Drawn(snapshot, compile_northbound(snapshot), command)


def features(nb: Northbound) -> Iterator[str]:
    """What this Northbound has that not every one has; each at most once."""
    yield from sorted(set(_features(nb)))


def _features(nb: Northbound) -> Iterator[str]:
    balancers = {lb.name: lb for lb in nb.of_type(LoadBalancer)}
    for lb in balancers.values():
        yield f"{lb.protocol} load balancer"
        yield "dp_hash" if not lb.selection_fields else "hash"
        yield from (f"balancer option {name}" for name in lb.options)
        for vip, backends in lb.vips.items():
            yield "IPv6 VIP" if vip.startswith("[") else "IPv4 VIP"
            count = len(backends.split(",")) if backends else 0
            yield "VIP without backends" if not count else "VIP with one backend" if count == 1 else "VIP with several"
        if len(lb.vips) > 2:
            yield "several VIPs in one balancer"
    for switch in nb.of_type(LogicalSwitch):
        yield from ("load balancer on a switch" for _ in (*switch.load_balancer, *switch.load_balancer_group))
    for router in nb.of_type(LogicalRouter):
        yield from (f"router option {name}" for name in router.options)
        yield from ("load balancer on a router" for _ in (*router.load_balancer, *router.load_balancer_group))
    for port in nb.of_type(LogicalSwitchPort):
        yield from (f"port type {port.type}" for _ in [port.type] if port.type)
        yield from ("port security" for _ in port.port_security[:1])
        yield from ("VLAN tag" for _ in [port.tag] if port.tag is not None)
    gateways: dict[str, int] = {}
    for chassis in nb.of_type(GatewayChassis):
        gateways[chassis.port] = gateways.get(chassis.port, 0) + 1
    yield from (f"gateway port with {'one' if n == 1 else 'several'} chassis" for n in gateways.values())
    for router_port in nb.of_type(LogicalRouterPort):
        versions = {":" in network for network in router_port.networks}
        yield "dual-stack network" if len(versions) == 2 else "IPv6 network" if True in versions else "IPv4 network"
    for route in nb.of_type(StaticRoute):
        yield f"static route {route.policy}"
        yield from ("static route in a table of its own" for _ in [route.route_table] if route.route_table)
    for policy in nb.of_type(RouterPolicy):
        yield f"policy {policy.action}"
