"""A reconciled Snapshot becomes a Northbound, table by table.

Three parts, by what makes them change: the *fabric* (Subnets, workloads, nodes, uplinks) follows from the network's objects
alone; the *passages* (transit switches) from which VPCs need which EipGateway; and each Service has its own load balancers.
With a Memo each part is made again only when what it follows from has changed, and rows equal to the last are the same objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import NamedTuple, TypeAlias

from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.core.memo import Memo
from ytwin.northbound import gateways, routers, switches
from ytwin.northbound.gateways import Demand
from ytwin.northbound.names import object_of, service_transit_switch, transit_switch, vpc_group
from ytwin.northbound.rows import (
    TABLES,
    LoadBalancer,
    LoadBalancerGroup,
    Northbound,
    Row,
    RowKey,
    StaticRoute,
    Strings,
)
from ytwin.northbound.services import ServiceRows, service_rows
from ytwin.resources.model import (
    BareMetal,
    ClusterNetwork,
    EipGateway,
    Endpoints,
    NetworkCard,
    Node,
    Pod,
    Resource,
    Service,
    Subnet,
    VirtualMachine,
    VNicIP,
    Vpc,
    YusurService,
)
from ytwin.resources.objects import Table
from ytwin.resources.snapshot import ObjectId, Snapshot
from ytwin.resources.workload import default_vpc

Rows: TypeAlias = dict[RowKey, Row]
Tables: TypeAlias = Mapping[str, Rows]

NETWORK_KINDS: tuple[type[Resource], ...] = (
    ClusterNetwork, Vpc, Subnet, EipGateway, NetworkCard, Node, Pod, VirtualMachine, BareMetal, VNicIP,
)  # fmt: skip
"""Kinds that the fabric follows from."""
SERVICE_KINDS: tuple[type[Resource], ...] = (YusurService, Service, Endpoints)
"""Kinds that a Service's rows follow from, besides its EipGateway and the name of the default VPC."""


@dataclass(frozen=True, eq=False)
class _Fabric:
    snapshot: Snapshot
    """The objects of NETWORK_KINDS only."""
    tables: Tables
    rows: Rows
    """All of `tables` in one."""


@dataclass(frozen=True, eq=False)
class _Passages:
    needed: Demand
    tables: Tables
    next_hops: Mapping[tuple[str, str], tuple[str, ...]]
    """(vpc, gateway), or ("", gateway) for its service router -> where an EIP is routed to, per family."""


class _EipRoute(NamedTuple):
    source: ServiceRows
    next_hop: str
    rows: tuple[Row, ...]
    """On the EipGateway towards the router that balances, and on that router for what it does not balance."""


@dataclass(slots=True)
class _Last:
    """What the last compilation with the same Memo read and made. It saves work and changes no result."""

    read: dict[str, Table] = field(default_factory=dict)
    rows: Mapping[RowKey, Row] = field(default_factory=dict)
    fabric: _Fabric | None = None
    passages: _Passages | None = None
    services: dict[ObjectId, ServiceRows] = field(default_factory=dict)
    routes: dict[tuple[str, str], _EipRoute] = field(default_factory=dict)

    def unchanged(self, snapshot: Snapshot, kinds: Iterable[type[Resource]]) -> bool:
        return all(self.read.get(kind.KIND) is snapshot.table(kind.KIND) for kind in kinds)

    def same(self, row: Row) -> Row:
        """`row`, or the last compilation's if that is equal."""
        old = self.rows.get(row.key)
        return old if old is not None and old == row else row


def compile_northbound(snapshot: Snapshot, memo: Memo | None = None) -> Northbound:
    """The Northbound of a reconciled Snapshot.

    With a Memo (whose generations the caller advances) the result is the same, and a small change costs little.
    Unsupported: what OVN 23.03 cannot do, with the object that asks for it.
    """
    last = memo.call(_Last) if memo is not None else _Last()
    fabric = last.fabric
    if fabric is None or not last.unchanged(snapshot, NETWORK_KINDS):
        fabric = _fabric(snapshot.only(kind.KIND for kind in NETWORK_KINDS), last)
    services = _services(snapshot, last)
    needed, passages = gateways.demand(services.values()), last.passages
    if passages is None or fabric is not last.fabric or passages.needed != needed:
        passages = _passages(fabric, needed, last)
    routes = _eip_routes(services.values(), passages, last)
    parts: tuple[Tables, ...] = (
        passages.tables,
        _by_table(_shared_rows(fabric.snapshot, needed, services.values()), last),
        {StaticRoute.table: {row.key: row for route in routes.values() for row in route.rows}},
        {LoadBalancer.table: dict(chain.from_iterable(map(attrgetter("rows"), services.values())))},
    )
    nb = _assemble(fabric, parts, _options(fabric.snapshot))
    last.read = {kind.KIND: snapshot.table(kind.KIND) for kind in NETWORK_KINDS + SERVICE_KINDS}
    last.rows, last.fabric, last.passages, last.services, last.routes = nb.rows, fabric, passages, services, routes
    return nb


def _by_table(rows: Iterable[Row], last: _Last) -> Tables:
    """Rows by table and key. Unsupported: two objects that want one row to differ."""
    tables: dict[str, Rows] = {}
    for made in rows:
        row = last.same(made)
        first = tables.setdefault(row.table, {}).setdefault(row.key, row)
        if first != row:
            raise Unsupported(f"{object_of(first)} and {object_of(row)} both ask for {row.key}, each in another way")
    return tables


def _assemble(fabric: _Fabric, parts: tuple[Tables, ...], options: Strings) -> Northbound:
    """One Northbound of disjoint parts. The fabric, most of the rows, is copied as a whole, which costs little."""
    rows = fabric.rows.copy()
    for part in parts:
        for table in part.values():
            rows.update(table)
    by_table = {
        kind.table: list(chain.from_iterable(part.get(kind.table, {}).values() for part in (fabric.tables, *parts)))
        for kind in TABLES
    }
    assert len(rows) == sum(map(len, by_table.values())), "two parts have a row of one key"
    return Northbound.assembled(rows, by_table, options)


def _fabric(snapshot: Snapshot, last: _Last) -> _Fabric:
    """Rows that no Service has a part in."""
    parts: tuple[Iterable[Row], ...] = (
        routers.subnet_router_ports(snapshot),
        routers.vpc_routes(snapshot),
        routers.vpc_policies(snapshot),
        gateways.uplink_rows(snapshot),
        switches.subnet_ports(snapshot),
        switches.workload_ports(snapshot),
        switches.node_ports(snapshot),
    )
    tables = _by_table((row for part in parts for row in part), last)
    return _Fabric(snapshot, tables, dict(chain.from_iterable(table.items() for table in tables.values())))


def _services(snapshot: Snapshot, last: _Last) -> dict[ObjectId, ServiceRows]:
    """Each YusurService's own rows; those of the last compilation where nothing they follow from has changed."""
    known: dict[ObjectId, ServiceRows] = {}
    if last.unchanged(snapshot, (ClusterNetwork, EipGateway)):
        known = last.services.copy()
        for kind in SERVICE_KINDS:
            for changed in _differences(snapshot.table(kind.KIND), last.read[kind.KIND]):
                known.pop(ObjectId(YusurService.KIND, changed.metadata.namespace, changed.metadata.name), None)
    by_name = {gateway.name: gateway for gateway in snapshot.all(EipGateway)}
    only = next(iter(by_name.values())) if len(by_name) == 1 else None
    default = default_vpc(snapshot)
    table = snapshot.table(YusurService.KIND)
    found = dict(zip(table.keys, map(known.get, table.keys), strict=True))
    for key in [key for key, rows in found.items() if rows is None]:
        yusur = snapshot.get(YusurService, key.name, key.namespace)
        service = snapshot.get(Service, key.name, key.namespace)
        if yusur is None or service is None:
            raise Unsupported(f"{key} has no Service yet: reconcile the snapshot first")
        endpoints = snapshot.get(Endpoints, key.name, key.namespace)
        gateway = by_name.get(yusur.spec.eip_gateway) if yusur.spec.eip_gateway else only
        found[key] = _kept(service_rows(yusur, service, endpoints, gateway, default), last)
    return {key: rows for key, rows in found.items() if rows is not None}


def _differences(table: Table, old: Table) -> list[Resource]:
    """Objects that only one of two tables has. As `Table.differences`, quicker where one object came or went among many."""
    if table is old:
        return []
    ours, theirs = set(map(id, table.values)), set(map(id, old.values))
    return [r for r in table.values if id(r) not in theirs] + [r for r in old.values if id(r) not in ours]


def _kept(made: ServiceRows, last: _Last) -> ServiceRows:
    """A Service's rows, with the last compilation's objects where they are equal."""
    if not last.rows:
        return made
    old = last.services.get(made.source)
    return old if old == made and old is not None else made.with_rows(last.same)


def _passages(fabric: _Fabric, needed: Demand, last: _Last) -> _Passages:
    """Rows between EipGateways and VPCs, and where EIPs are routed to."""
    snapshot = fabric.snapshot
    link_of = gateways.transit_links(snapshot, needed)
    rows = (*gateways.direct_rows(snapshot, needed, link_of), *gateways.spread_rows(snapshot, needed, link_of))
    tables = _by_table(rows, last)
    _refuse_second_default(fabric.tables.get(StaticRoute.table, {}), tables.get(StaticRoute.table, {}))
    hops = {(vpc, gateway): link_of[transit_switch(vpc, gateway)].far for vpc, gateway in needed.direct}
    hops |= {("", gateway): link_of[service_transit_switch(gateway)].far for gateway in needed.service_gateways}
    return _Passages(needed, tables, hops)


def _refuse_second_default(written: Rows, added: Rows) -> None:
    """A Vpc's own default route and the one to its EipGateway would share the replies between them."""
    taken = {
        (row.router, row.ip_prefix): row
        for row in written.values()
        if isinstance(row, StaticRoute) and row.policy == "dst-ip" and not row.route_table
    }
    for row in added.values():
        if isinstance(row, StaticRoute) and (row.router, row.ip_prefix) in taken:
            other = taken[row.router, row.ip_prefix]
            raise Unsupported(
                f"{object_of(other)} has a static route {other.ip_prefix} via {other.nexthop}, but its EIPs need that route "
                f"to go to {object_of(row)}: remove the route, or give it another prefix or policySrc"
            )


def _shared_rows(snapshot: Snapshot, needed: Demand, services: Iterable[ServiceRows]) -> Iterator[Row]:
    """Rows that list the load balancers of many Services: groups, the switches that use them, and routers."""
    groups: dict[str, list[str]] = {}
    on_vpc: dict[str, list[str]] = {}
    on_gateway: dict[str, list[str]] = {}
    for service in services:
        if service.cluster:
            groups.setdefault(service.vpcs[0], []).extend(service.cluster)
        if len(service.vpcs) == 1:
            on_vpc.setdefault(service.vpcs[0], []).extend(service.external)
        else:
            on_gateway.setdefault(service.gateway, []).extend(service.external)
    yield from routers.vpc_routers(snapshot, {vpc: tuple(names) for vpc, names in on_vpc.items()})
    yield from gateways.service_routers(snapshot, needed, {name: tuple(names) for name, names in on_gateway.items()})
    yield from switches.subnet_switches(snapshot, groups.keys())
    for vpc in sorted(groups):
        yield LoadBalancerGroup(name=vpc_group(vpc), load_balancer=tuple(groups[vpc]))


def _eip_routes(services: Iterable[ServiceRows], passages: _Passages, last: _Last) -> dict[tuple[str, str], _EipRoute]:
    """Routes by (gateway, EIP). Services may share an EIP on different ports, if they are balanced in the same place."""
    found: dict[tuple[str, str], _EipRoute] = {}
    for service in services:
        if not service.eips:
            continue
        next_hops = passages.next_hops[service.vpcs[0] if len(service.vpcs) == 1 else "", service.gateway]
        for eip in service.eips:
            place, hop = (service.gateway, eip), gateways.eip_next_hop(service, eip, next_hops)
            first = found.get(place)
            if first is not None and first.next_hop != hop:
                raise Unsupported(
                    f"{first.source.source} and {service.source} share EIP {eip}, but their backends are in different VPCs: "
                    "the EipGateway can route an EIP to one place only"
                )
            if first is None:
                old = last.routes.get(place)
                if old is None or old.source is not service or old.next_hop != hop:
                    rows = (gateways.eip_route(service, eip, hop), gateways.eip_sink(service, eip))
                    old = _EipRoute(service, hop, tuple(last.same(row) for row in rows))
                found[place] = old
    return found


def _options(snapshot: Snapshot) -> Strings:
    """NB_Global.options. Cards that take flows over may not match on ct_state +inv, so northd must not ask for it then.

    Not with the userspace datapath, from which no card takes flows over: invalid packets that pass on end the ovs-vswitchd of OVS
    3.1 (an assertion in conn_update_state() of its conntrack), as soon as workloads call an EIP of their own VPC.
    """
    offloads = any(card.spec.type != "none" and card.spec.hw_offload for card in snapshot.all(NetworkCard))
    wanted = offloads and snapshot.network.datapath == "system"
    return frozendict({"use_ct_inv_match": "false"}) if wanted else frozendict()
