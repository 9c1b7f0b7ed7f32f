"""IP_ROUTING and its neighbours: connected and static routes, route tables, ECMP groups.

Longest prefix first: priority is 3 * prefix length, plus 2 for connected and 1 for static dst-ip routes. Numbers that northd
hands out in the order of row UUIDs (route tables, ECMP groups and their members) follow the order of rows in the Northbound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ParsedRoute:
    """A static route that northd accepts; `port` and `source_ip` are None for a discard route (and nothing else)."""

    row: StaticRoute
    version: int
    prefix: Net
    table_id: int
    discard: bool
    port: PortView | None
    source_ip: str

    @property
    def same_destination(self) -> tuple[int, int, int, bool, int]:
        """Routes that agree in this form one ECMP group."""
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
    alike: dict[tuple[int, int, int, bool, int], list[ParsedRoute]] = {}
    group_ids: dict[tuple[int, int, int, bool, int], int] = {}
    for row in router.static_routes:
        route = _parse(router, row, tables)
        if route is None:
            continue
        members = alike.setdefault(route.same_destination, [])
        members.append(route)
        if len(members) == 2:  # a group is numbered when its second route is met
            group_ids[route.same_destination] = len(group_ids) + 1
    for destination, members in alike.items():
        if destination in group_ids:
            yield from _ecmp_flows(router, group_ids[destination], members)
        else:
            yield _single_route(members[0])


def _table_id(tables: dict[str, int], name: str) -> int:
    """0 for the main table, else numbered from 1 in the order in which names are met: ports first, then routes."""
    return tables.setdefault(name, len(tables) + 1) if name else 0


def _parse(router: RouterView, row: StaticRoute, tables: dict[str, int]) -> ParsedRoute | None:
    """The route, or None where northd ignores it: bad address, families that differ, next hop that no port reaches."""
    parsed = parse_net(row.ip_prefix)
    if parsed is None:
        return None
    version, prefix = parsed
    discard = row.nexthop == "discard"
    if row.nexthop and not discard and _host_family(row.nexthop) != version:
        return None
    port, source_ip = router.route_port(row, version)
    if port is None and not discard:
        return None
    return ParsedRoute(row, version, prefix, _table_id(tables, row.route_table), discard, port, source_ip)


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
    if route.discard or route.port is None:
        return Flow(Stage.LR_IN_IP_ROUTING, priority, match, DROP, source)
    if is_link_local(route.version, route.prefix):
        match = f"inport == {route.port.key} && {match}"
    nexthop = route.row.nexthop or f"ip{route.version}.dst"
    actions = f"ip.ttl--; {reg.ECMP_GROUP_ID} = 0; {_towards(route.port, route.version, nexthop, route.source_ip)}"
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
        port = route.port
        if port is None:
            continue
        wants = router.is_gateway and flag(route.row.options, "ecmp_symmetric_reply")
        if wants and port.name not in symmetric:  # one member per port is enough
            symmetric.add(port.name)
            yield from symmetric_reply_flows(route.row, route.version, route.prefix, port, route.source_ip, match)
        source = str(route.row.key)
        actions = (
            f"{reg.NEXT_HOP[route.version]} = {route.row.nexthop}; {reg.SRC[route.version]} = {route.source_ip}; "
            f"eth.src = {port.mac}; outport = {port.key}; next;"
        )
        where = f"{reg.ECMP_GROUP_ID} == {group_id} && {reg.ECMP_MEMBER_ID} == {member}"
        yield Flow(Stage.LR_IN_IP_ROUTING_ECMP, 100, where, actions, source)
