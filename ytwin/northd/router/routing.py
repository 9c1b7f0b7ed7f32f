"""IP_ROUTING and its neighbours: connected and static routes, route tables, ECMP groups.

Longest prefix first: priority is 3 * prefix length, plus 2 for connected and 1 for static dst-ip routes. Numbers that northd
hands out in the order of row UUIDs (route tables, ECMP groups and their members) follow the order of rows in the Northbound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ytwin.northbound.rows import StaticRoute
from ytwin.northd.addresses import Net, parse_ip, parse_net
from ytwin.northd.balancers import flag
from ytwin.northd.router import registers as reg
from ytwin.northd.router.ecmp_symmetric import symmetric_reply_flows
from ytwin.northd.router.flow import DROP, Flow, default_drop, is_link_local
from ytwin.northd.router.view import PortView, RouterView
from ytwin.northd.stages import Stage

PREFIX_WEIGHT = 3
STATIC_OFFSET = 1
CONNECTED_OFFSET = 2


Destination = tuple[int, int, int, bool, int]
"""Family, prefix value and length, whether it is a source route, route table: routes that agree in this form an ECMP group."""


class Way(NamedTuple):
    """Where a next hop leads: out of `port`, with `source_ip` for ARP. `port` is None if there is no way."""

    port: PortView | None
    source_ip: str


class ParsedRoute(NamedTuple):
    """A static route that northd accepts; its way has no port if it is a discard route (and nothing else)."""

    row: StaticRoute
    version: int
    prefix: Net
    table_id: int
    way: Way

    @property
    def destination(self) -> Destination:
        return self.version, self.prefix.value, self.prefix.plen, self.row.policy == "src-ip", self.table_id

    @property
    def offset(self) -> int:
        return CONNECTED_OFFSET if self.row.options.get("origin") == "connected" else STATIC_OFFSET


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
    yield from _static_route_flows(router)


def connected_route(port: PortView, version: int, net: Net, source_ip: str) -> Flow:
    """The route to a network that is reached through `port` itself. IPv6 link-local ones exist on every port, so they name it."""
    inport = f"inport == {port.key} && " if is_link_local(version, net) else ""
    match = f"{inport}ip{version}.dst == {net.network}/{net.plen}"
    actions = f"ip.ttl--; {reg.ECMP_GROUP_ID} = 0; {_towards(port, version, f'ip{version}.dst', source_ip)}"
    return Flow(Stage.LR_IN_IP_ROUTING, net.plen * PREFIX_WEIGHT + CONNECTED_OFFSET, match, actions, port.source)


def _towards(port: PortView, version: int, nexthop: str, source_ip: str) -> str:
    return (
        f"{reg.NEXT_HOP[version]} = {nexthop}; {reg.SRC[version]} = {source_ip}; eth.src = {port.mac}; "
        f"outport = {port.key}; flags.loopback = 1; next;"
    )


def _static_route_flows(router: RouterView) -> Iterator[Flow]:
    tables: dict[str, int] = {}
    for port in router.ports:
        name = port.options.get("route_table", "")
        if name:
            actions = f"{reg.ROUTE_TABLE_ID} = {_table_id(tables, name)}; next;"
            yield Flow(Stage.LR_IN_IP_ROUTING_PRE, 100, f"inport == {port.key}", actions, port.source)
    alike: dict[Destination, list[ParsedRoute]] = {}
    group_ids: dict[Destination, int] = {}
    for route in _parse(router, tables):
        members = alike.setdefault(route.destination, [])
        members.append(route)
        if len(members) == 2:  # a group is numbered when its second route is met
            group_ids[route.destination] = len(group_ids) + 1
    for destination, members in alike.items():
        if destination in group_ids:
            yield from _ecmp_flows(router, group_ids[destination], members)
        else:
            yield _single_route(members[0])


def _table_id(tables: dict[str, int], name: str) -> int:
    """0 for the main table, else numbered from 1 in the order in which names are met: ports first, then routes."""
    return tables.setdefault(name, len(tables) + 1) if name else 0


def _parse(router: RouterView, tables: dict[str, int]) -> Iterator[ParsedRoute]:
    """The static routes that northd accepts: good addresses of one family, a next hop that some port reaches (or discard)."""
    ways: dict[tuple[str, str, int], Way | None] = {}  # thousands of routes may share a few next hops
    for row in router.static_routes:
        parsed = parse_net(row.ip_prefix)
        if parsed is None:
            continue
        version, prefix = parsed
        hop = (row.nexthop, row.output_port, version)
        if hop not in ways:
            ways[hop] = _way(router, row, version)
        way = ways[hop]
        if way is not None:
            yield ParsedRoute(row, version, prefix, _table_id(tables, row.route_table), way)


def _way(router: RouterView, row: StaticRoute, version: int) -> Way | None:
    """Where the route leads, None if northd ignores it for its next hop."""
    discard = row.nexthop == "discard"
    if row.nexthop and not discard and _host_family(row.nexthop) != version:
        return None
    way = Way(*router.route_port(row, version))
    return way if way.port is not None or discard else None


def _host_family(text: str) -> int:
    """4 or 6 for a single address (a full prefix length is allowed), else 0."""
    plain = parse_ip(text)
    if plain is not None:
        return plain[0]
    parsed = parse_net(text)
    return parsed[0] if parsed is not None and parsed[1].plen == (32 if parsed[0] == 4 else 128) else 0


def _route_match(route: ParsedRoute) -> tuple[int, str]:
    """(priority, match). A src-ip route has no offset, and names the table only if it is not the main one."""
    by_source = route.row.policy == "src-ip"
    offset = 0 if by_source else route.offset
    table = f"{reg.ROUTE_TABLE_ID} == {route.table_id} && " if route.table_id or offset == STATIC_OFFSET else ""
    where = f"ip{route.version}.{'src' if by_source else 'dst'} == {route.prefix.network}/{route.prefix.plen}"
    return route.prefix.plen * PREFIX_WEIGHT + offset, table + where


def _single_route(route: ParsedRoute) -> Flow:
    priority, match = _route_match(route)
    source = str(route.row.key)
    port, source_ip = route.way
    if port is None or route.row.nexthop == "discard":
        return Flow(Stage.LR_IN_IP_ROUTING, priority, match, DROP, source)
    if is_link_local(route.version, route.prefix):
        match = f"inport == {port.key} && {match}"
    nexthop = route.row.nexthop or f"ip{route.version}.dst"
    actions = f"ip.ttl--; {reg.ECMP_GROUP_ID} = 0; {_towards(port, route.version, nexthop, source_ip)}"
    return Flow(Stage.LR_IN_IP_ROUTING, priority, match, actions, source)


def _ecmp_flows(router: RouterView, group_id: int, members: Sequence[ParsedRoute]) -> Iterator[Flow]:
    """One flow that selects a member, one per member that names its way. The first route's origin counts for all."""
    first = members[0]
    priority, match = _route_match(first)
    chosen = ", ".join(str(member) for member in range(1, len(members) + 1))
    actions = (
        f"ip.ttl--; flags.loopback = 1; {reg.ECMP_GROUP_ID} = {group_id}; {reg.ECMP_MEMBER_ID} = select({chosen});"
    )
    yield Flow(Stage.LR_IN_IP_ROUTING, priority, match, actions, str(first.row.key))
    symmetric: set[str] = set()
    for member, route in enumerate(members, 1):
        port, source_ip = route.way
        if port is None:
            continue
        wants = router.is_gateway and flag(route.row.options, "ecmp_symmetric_reply")
        if wants and port.name not in symmetric:  # one member per port is enough
            symmetric.add(port.name)
            yield from symmetric_reply_flows(route.row, route.version, route.prefix, port, source_ip, match)
        source = str(route.row.key)
        actions = (
            f"{reg.NEXT_HOP[route.version]} = {route.row.nexthop}; {reg.SRC[route.version]} = {source_ip}; "
            f"eth.src = {port.mac}; outport = {port.key}; next;"
        )
        where = f"{reg.ECMP_GROUP_ID} == {group_id} && {reg.ECMP_MEMBER_ID} == {member}"
        yield Flow(Stage.LR_IN_IP_ROUTING_ECMP, 100, where, actions, source)
