"""IP_ROUTING_PRE, IP_ROUTING and IP_ROUTING_ECMP without static routes: defaults and connected networks.

Longest prefix first: priority is 3 * prefix length, plus 2 for connected and 1 for static dst-ip routes.
"""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northd.addresses import Net
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import DROP, Flow, default_drop, is_link_local
from ytwin.northd.router.view import PortView, RouterView
from ytwin.northd.stages import Stage

PREFIX_WEIGHT = 3
STATIC_OFFSET = 1
CONNECTED_OFFSET = 2


def ip_routing_flows(router: RouterView) -> Iterator[Flow]:
    """IP_ROUTING_PRE, IP_ROUTING and IP_ROUTING_ECMP of one router."""
    yield Flow(Stage.LR_IN_IP_ROUTING_PRE, 0, "1", f"{reg.ROUTE_TABLE_ID} = 0; next;")
    yield default_drop(Stage.LR_IN_IP_ROUTING_ECMP)
    yield default_drop(Stage.LR_IN_IP_ROUTING)
    yield Flow(Stage.LR_IN_IP_ROUTING_ECMP, 150, f"{reg.ECMP_GROUP_ID} == 0", "next;")
    yield Flow(Stage.LR_IN_IP_ROUTING, 10550, "nd_rs || nd_ra", DROP)
    for port in router.ports:
        for version, nets in ((4, port.v4), (6, port.v6)):
            for net in nets:
                yield connected_route(port, version, net, net.ip)


def connected_route(port: PortView, version: int, net: Net, source_ip: str) -> Flow:
    """The route to a network that is reached through `port` itself. IPv6 link-local ones exist on every port, so they name it."""
    inport = f"inport == {port.key} && " if is_link_local(version, net) else ""
    match = f"{inport}ip{version}.dst == {net.network}/{net.plen}"
    actions = f"ip.ttl--; {reg.ECMP_GROUP_ID} = 0; {towards(port, version, f'ip{version}.dst', source_ip)}"
    return Flow(Stage.LR_IN_IP_ROUTING, net.plen * PREFIX_WEIGHT + CONNECTED_OFFSET, match, actions, port.source)


def towards(port: PortView, version: int, nexthop: str, source_ip: str) -> str:
    """The actions that send a packet out of `port` to a next hop."""
    return (
        f"{reg.NEXT_HOP[version]} = {nexthop}; {reg.SRC[version]} = {source_ip}; eth.src = {port.mac}; "
        f"outport = {port.key}; flags.loopback = 1; next;"
    )
