"""What a router knows about the other ports of its switches: MACs for ARP_RESOLVE, and VIPs that other routers advertise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ytwin.logical.southbound import LogicalFlow
from ytwin.northd.addresses import Addresses, parse_net
from ytwin.northd.balancers import VipSet, flag
from ytwin.northd.collect import Flows
from ytwin.northd.datapaths import Model, Router, RouterPort, Switch, SwitchPort
from ytwin.northd.router import registers as reg
from ytwin.northd.router.ip_input import one_or_set
from ytwin.northd.router.routing import connected_route
from ytwin.northd.router.view import RouterView
from ytwin.northd.stages import Stage

RESOLVE = Stage.LR_IN_ARP_RESOLVE


def knows_routers(router: Router) -> bool:
    """Whether the router knows its fellow routers' MACs from the start, or (`dynamic_neigh_routers`) asks by ARP."""
    return not flag(router.row.options, "dynamic_neigh_routers")


def port_neighbor_flows(
    port: RouterPort, peer: SwitchPort, switch: Switch, with_routers: bool
) -> tuple[LogicalFlow, ...]:
    """ARP_RESOLVE for the workloads, and `with_routers` for the other routers, on the switch that `port` is connected to."""
    flows = Flows()
    for other in switch.ports:
        if not other.is_router:
            for workload in other.addresses:
                _workload(flows, port, workload, other.source)
        elif with_routers and other.peer is not None and other.peer is not port:
            _router(flows, port, other.peer.networks, peer.source)
    return flows.done()


def _workload(flows: Flows, port: RouterPort, workload: Addresses, source: str) -> None:
    """The MAC of a workload's addresses, as far as they lie in a network of the router port."""
    actions = f"eth.dst = {workload.mac}; next;"
    for version, nets, own in ((4, workload.v4, port.networks.v4), (6, workload.v6, port.networks.v6)):
        for net in nets:
            if any(mine.contains(net.value) for mine in own):
                match = f"outport == {port.json} && {reg.NEXT_HOP[version]} == {net.ip}"
                flows.add(port.where, RESOLVE, 100, match, actions, source)


def _router(flows: Flows, port: RouterPort, other: Addresses, source: str) -> None:
    """The MAC of another router's port."""
    for version, nets in ((4, other.v4), (6, other.v6)):
        if nets:
            match = f"outport == {port.json} && {reg.NEXT_HOP[version]} == {one_or_set(nets)}"
            flows.add(port.where, RESOLVE, 100, match, f"eth.dst = {other.mac}; next;", source)


def routable_vip_flows(model: Model, views: Mapping[str, RouterView]) -> Iterator[tuple[LogicalFlow, ...]]:
    """Load balancers with `add_route`: their VIPs behind a distributed gateway port are routes of the routers on its switch.

    IPv4 only, as in northd. northd lists several VIPs in the order of its hash table, the twin sorted.
    """
    routable = {name: every.vips.v4_routable for name, every in model.router_balancers.items() if _routable(every.vips)}
    for router in model.routers.values() if routable else ():
        ports = {port.name: port for port in views[router.row.name].ports}
        for port, peer in router.peers:
            flows = Flows()
            for other in model.switches[peer.row.switch].router_ports:
                gateway = other.peer
                if gateway is not None and gateway is not port and gateway.is_dgp and gateway.row.router in routable:
                    vips = routable[gateway.row.router]
                    for vip in vips if port.networks.v4 else ():
                        parsed = parse_net(vip)
                        assert parsed is not None, vip
                        route = connected_route(ports[port.name], 4, parsed[1], port.networks.v4[0].ip)
                        flows.add(port.where, *route)
                    if knows_routers(router) and (router.is_gateway or port.is_dgp):
                        match = f"outport == {port.json} && {reg.NEXT_HOP[4]} == {{{', '.join(vips)}}}"
                        flows.add(port.where, RESOLVE, 100, match, f"eth.dst = {gateway.networks.mac}; next;")
            yield flows.done()


def _routable(vips: VipSet) -> bool:
    """An IPv6 VIP alone makes northd emit an (empty) list of IPv4 ones, too."""
    return bool(vips.v4_routable or vips.v6_routable)
