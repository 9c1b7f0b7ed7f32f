"""Static routes: route tables, single routes, ECMP groups.

Numbers that northd hands out in the order of row UUIDs (route tables, ECMP groups and their members) follow the order of rows
in the Northbound. A router may have a route for each of thousands of addresses, so routes are remembered in pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ytwin.core.memo import Memo
from ytwin.logical.southbound import LogicalFlow
from ytwin.northbound.rows import StaticRoute
from ytwin.northd.addresses import Net, parse_ip, parse_net
from ytwin.northd.balancers import flag
from ytwin.northd.chunks import chunks
from ytwin.northd.collect import Group
from ytwin.northd.router import registers as reg
from ytwin.northd.router.ecmp_symmetric import symmetric_reply_flows
from ytwin.northd.router.flow import DROP, Flow, is_link_local, rows
from ytwin.northd.router.routing import CONNECTED_OFFSET, PREFIX_WEIGHT, STATIC_OFFSET, towards
from ytwin.northd.router.view import PortSet, PortView, RouterView
from ytwin.northd.stages import Stage

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


class Piece(NamedTuple):
    """Some of a router's static routes, each as it is when it is alone with its destination."""

    in_main_table: bool
    """Whether none of them has a route table."""
    destinations: tuple[Destination, ...]
    flows: tuple[LogicalFlow, ...]


def static_route_flows(memo: Memo, router: RouterView) -> Iterator[tuple[LogicalFlow, ...]]:
    """The flows of all static routes of a router."""
    named = ((row.ip_prefix, row) for row in router.static_routes)
    pieces: list[Piece] = [memo.call(_piece, router.where, router.port_set, *rows) for rows in chunks(named)]
    distinct: set[Destination] = set().union(*(piece.destinations for piece in pieces))
    unique = len(distinct) == sum(len(piece.destinations) for piece in pieces)
    if unique and all(piece.in_main_table for piece in pieces):
        yield from (piece.flows for piece in pieces)
        yield memo.call(_table_flows, router)
    else:
        yield memo.call(_grouped_flows, router)


def _piece(where: Group, port_set: PortSet, *routes: StaticRoute) -> Piece:
    parsed = list(_parse(port_set, routes, {}))
    flows = rows(where, map(_single_route, parsed))
    return Piece(not any(row.route_table for row in routes), tuple(route.destination for route in parsed), flows)


def _table_flows(router: RouterView) -> tuple[LogicalFlow, ...]:
    return rows(router.where, _port_tables(router, {}))


def _port_tables(router: RouterView, tables: dict[str, int]) -> Iterator[Flow]:
    """IP_ROUTING_PRE: the route table of packets that come in by a port."""
    for port in router.ports:
        name = port.options.get("route_table", "")
        if name:
            actions = f"{reg.ROUTE_TABLE_ID} = {_table_id(tables, name)}; next;"
            yield Flow(Stage.LR_IN_IP_ROUTING_PRE, 100, f"inport == {port.key}", actions, port.source)


def _grouped_flows(router: RouterView) -> tuple[LogicalFlow, ...]:
    """All routes at once: route tables are numbered, and routes to one destination form an ECMP group."""
    tables: dict[str, int] = {}
    flows = list(_port_tables(router, tables))
    alike: dict[Destination, list[ParsedRoute]] = {}
    group_ids: dict[Destination, int] = {}
    for route in _parse(router.port_set, router.static_routes, tables):
        members = alike.setdefault(route.destination, [])
        members.append(route)
        if len(members) == 2:  # a group is numbered when its second route is met
            group_ids[route.destination] = len(group_ids) + 1
    for destination, members in alike.items():
        if destination in group_ids:
            flows += _ecmp_flows(router, group_ids[destination], members)
        else:
            flows.append(_single_route(members[0]))
    return rows(router.where, flows)


def _table_id(tables: dict[str, int], name: str) -> int:
    """0 for the main table, else numbered from 1 in the order in which names are met: ports first, then routes."""
    return tables.setdefault(name, len(tables) + 1) if name else 0


def _parse(port_set: PortSet, routes: Iterable[StaticRoute], tables: dict[str, int]) -> Iterator[ParsedRoute]:
    """The static routes that northd accepts: good addresses of one family, a next hop that some port reaches (or discard)."""
    ways: dict[tuple[str, str, int], Way | None] = {}  # thousands of routes may share a few next hops
    for row in routes:
        parsed = parse_net(row.ip_prefix)
        if parsed is None:
            continue
        version, prefix = parsed
        hop = (row.nexthop, row.output_port, version)
        if hop not in ways:
            ways[hop] = _way(port_set, row, version)
        way = ways[hop]
        if way is not None:
            yield ParsedRoute(row, version, prefix, _table_id(tables, row.route_table), way)


def _way(port_set: PortSet, row: StaticRoute, version: int) -> Way | None:
    """Where the route leads, None if northd ignores it for its next hop."""
    discard = row.nexthop == "discard"
    if row.nexthop and not discard and _host_family(row.nexthop) != version:
        return None
    way = Way(*port_set.route_port(row, version))
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
    actions = f"ip.ttl--; {reg.ECMP_GROUP_ID} = 0; {towards(port, route.version, nexthop, source_ip)}"
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
