"""From the outside to the VPCs: EipGateways, the transit switches behind them and service routers.

One VPC (scenario 3):       outside - eipnet - eipgw - transit - VPC, which balances.
Several VPCs (scenario 4):  outside - eipnet - eipgw - svctransit - svcgw, which balances, - svc - each VPC.

Why so: OVN balances on a router only if that is a gateway router or has exactly one distributed gateway port, and a reply is
translated back only where it leaves through that port. So a VPC has one gateway port, on its transit switch, on the same
chassis in the same order as its EipGateway's; over several VPCs a gateway router takes the sender's place, to get the replies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.northbound.addressing import Link, links, router_mac
from ytwin.northbound.names import (
    eip_router,
    eip_switch,
    localnet_port,
    owned_by,
    router_port,
    service_router,
    service_switch,
    service_transit_switch,
    transit_switch,
)
from ytwin.northbound.rows import (
    GatewayChassis,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Row,
    StaticRoute,
    Strings,
)
from ytwin.northbound.services import ServiceRows
from ytwin.northbound.switches import port_to_router
from ytwin.resources.addresses import AddressRange, canonical_dual, networks, version_of
from ytwin.resources.model import EipGateway
from ytwin.resources.snapshot import Snapshot, id_of
from ytwin.resources.workload import cidrs_of, subnets_of

_FIRST_PRIORITY = 1000
"""Gateway_Chassis.priority of the most preferred node; the next ones count down."""
_ANY = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class Demand:
    """Which VPCs need which EipGateway, because Services say so."""

    direct: tuple[tuple[str, str], ...]
    """(vpc, gateway) of EIPs with backends in one VPC."""
    eip_versions: tuple[tuple[int, ...], ...]
    """Families (4, 6) of the EIPs of each pair in `direct`."""
    spread: tuple[tuple[str, str], ...]
    """(vpc, gateway) of EIPs with backends in several VPCs."""

    @property
    def service_gateways(self) -> tuple[str, ...]:
        """EipGateways that need a service router."""
        return tuple(dict.fromkeys(gateway for _, gateway in self.spread))


def demand(services: Iterable[ServiceRows]) -> Demand:
    """What Services need. Unsupported: one VPC behind two EipGateways, for it would need two distributed gateway ports."""
    direct: dict[tuple[str, str], set[int]] = {}
    spread: set[tuple[str, str]] = set()
    for service in services:
        if service.gateway and len(service.vpcs) == 1:
            direct.setdefault((service.vpcs[0], service.gateway), set()).update(map(version_of, service.eips))
        elif service.gateway:
            spread.update((vpc, service.gateway) for vpc in service.vpcs)
    first: dict[str, str] = {}
    for vpc, gateway in sorted(direct):
        if first.setdefault(vpc, gateway) != gateway:
            raise Unsupported(
                f"Vpc/{vpc} has EIPs of EipGateway {first[vpc]} and of {gateway}: OVN 23.03 balances only on a router with one "
                "distributed gateway port. Take the EIPs of one VPC from one EipGateway"
            )
    pairs = tuple(sorted(direct))
    return Demand(
        pairs,
        tuple(tuple(sorted(direct[pair])) for pair in pairs),
        tuple(sorted(spread, key=lambda pair: (pair[1], pair[0]))),
    )


def transit_links(snapshot: Snapshot, needed: Demand) -> dict[str, Link]:
    """The network of every switch between two routers.

    It has the families that both its sides have, and those of the EIPs that pass it: a VIP of a family in which its VPC has no
    backend is answered by the VPC like any VIP without one. Where that leaves none, it has the EipGateway's.
    """
    versions: dict[str, tuple[int, ...]] = {}
    for (vpc, gateway), eips in zip(needed.direct, needed.eip_versions, strict=True):
        versions[transit_switch(vpc, gateway)] = _common_versions(snapshot, vpc, gateway, eips)
    for gateway in needed.service_gateways:
        versions[service_transit_switch(gateway)] = _versions_of(snapshot, gateway)
    for vpc, gateway in needed.spread:
        versions[service_switch(vpc, gateway)] = _common_versions(snapshot, vpc, gateway)
    return links(versions, snapshot.network.transit_cidr)


def _versions_of(snapshot: Snapshot, gateway: str) -> tuple[int, ...]:
    return tuple(network.version for network in networks(_gateway(snapshot, gateway).spec.cidr_block))


def _common_versions(snapshot: Snapshot, vpc: str, gateway: str, eips: tuple[int, ...] = ()) -> tuple[int, ...]:
    theirs = {version_of(cidr) for subnet in subnets_of(snapshot, vpc) for cidr in cidrs_of(subnet)}.union(eips)
    ours = _versions_of(snapshot, gateway)
    return tuple(version for version in ours if version in theirs) or ours


def _gateway(snapshot: Snapshot, name: str) -> EipGateway:
    found = snapshot.get(EipGateway, name)
    assert found is not None, f"no EipGateway {name}"
    return found


# --- rows --------------------------------------------------------------------------------------------------------------


def uplink_rows(snapshot: Snapshot) -> Iterator[Row]:
    """Each EipGateway's router, its switch to the outside, and its default route."""
    for gateway in snapshot.all(EipGateway):
        spec, ids = gateway.spec, owned_by(id_of(gateway))
        router, switch = eip_router(gateway.name), eip_switch(gateway.name)
        length: dict[int, int] = {network.version: network.prefixlen for network in networks(spec.cidr_block)}
        uplinks = tuple(f"{ip}/{length[version_of(ip)]}" for ip in canonical_dual(spec.uplink))
        yield LogicalRouter(name=router, external_ids=ids)
        yield from _port(router, switch, uplinks, ids, spec.nodes)
        yield from _routes(router, _ANY, canonical_dual(spec.gateway), ids)
        yield LogicalSwitch(name=switch, external_ids=ids)
        yield LogicalSwitchPort(
            name=localnet_port(gateway.name),
            switch=switch,
            type="localnet",
            addresses=("unknown",),
            options=frozendict({"network_name": spec.network_name}),
            tag=spec.vlan,
            external_ids=ids,
        )


def direct_rows(snapshot: Snapshot, needed: Demand, link_of: Mapping[str, Link]) -> Iterator[Row]:
    """Transit switches between EipGateways and VPCs that balance for themselves."""
    for vpc, name in needed.direct:
        gateway = _gateway(snapshot, name)
        ids, link = owned_by(id_of(gateway)), link_of[transit_switch(vpc, name)]
        yield LogicalSwitch(name=link.switch, external_ids=ids)
        yield from _port(eip_router(name), link.switch, link.near_networks(), ids)
        yield from _port(vpc, link.switch, link.far_networks(), ids, gateway.spec.nodes)
        yield from _routes(vpc, _ANY, link.near, ids)


def service_routers(
    snapshot: Snapshot, needed: Demand, balancers: Mapping[str, tuple[str, ...]]
) -> Iterator[LogicalRouter]:
    """Gateway routers on the most preferred node; `balancers` are the Load_Balancers of each by EipGateway."""
    for name in needed.service_gateways:
        gateway = _gateway(snapshot, name)
        yield LogicalRouter(
            name=service_router(name),
            load_balancer=balancers.get(name, ()),
            options=frozendict({"chassis": gateway.spec.nodes[0], "lb_force_snat_ip": "router_ip"}),
            external_ids=owned_by(id_of(gateway)),
        )


def spread_rows(snapshot: Snapshot, needed: Demand, link_of: Mapping[str, Link]) -> Iterator[Row]:
    """What surrounds the service routers: the switch to the EipGateway, one to each VPC, and the routes."""
    for name in needed.service_gateways:
        ids, router = owned_by(id_of(_gateway(snapshot, name))), service_router(name)
        link = link_of[service_transit_switch(name)]
        yield LogicalSwitch(name=link.switch, external_ids=ids)
        yield from _port(eip_router(name), link.switch, link.near_networks(), ids)
        yield from _port(router, link.switch, link.far_networks(), ids)
        yield from _routes(router, _ANY, link.near, ids)
        vpcs = [vpc for vpc, owner in needed.spread if owner == name]
        _refuse_overlaps(snapshot, name, vpcs)
        for vpc in vpcs:
            yield from _service_switch(snapshot, router, vpc, link_of[service_switch(vpc, name)], ids)


def _service_switch(snapshot: Snapshot, router: str, vpc: str, link: Link, ids: Strings) -> Iterator[Row]:
    yield LogicalSwitch(name=link.switch, external_ids=ids)
    yield from _port(router, link.switch, link.near_networks(), ids)
    yield from _port(vpc, link.switch, link.far_networks(), ids)
    hops = link.far_by_version()
    for subnet in subnets_of(snapshot, vpc):
        for cidr in cidrs_of(subnet):
            if version_of(cidr) in hops:
                yield StaticRoute(
                    router=router, ip_prefix=cidr, nexthop=hops[version_of(cidr)], external_ids=owned_by(id_of(subnet))
                )


def _refuse_overlaps(snapshot: Snapshot, gateway: str, vpcs: Iterable[str]) -> None:
    """One router routes to all these VPCs, so an address may be in one of them only."""
    ranges = sorted(
        (AddressRange.of(network), vpc, network)
        for vpc in vpcs
        for subnet in subnets_of(snapshot, vpc)
        for network in networks(subnet.spec.cidr_block)
    )
    widest = (
        ranges[0] if ranges else None
    )  # two CIDRs are nested or apart: what overlaps an earlier one lies in the widest
    for item in ranges:
        assert widest is not None
        (wide, vpc, network), (low, other, second) = widest, item
        if vpc != other and wide.overlaps(low):
            raise Unsupported(
                f"EipGateway/{gateway} serves Services over Vpc {vpc} ({network}) and Vpc {other} ({second}), whose addresses "
                "overlap: their service router could not tell their backends apart"
            )
        if (low.version, low.last) > (wide.version, wide.last):
            widest = item


def eip_next_hop(service: ServiceRows, eip: str, next_hops: Iterable[str]) -> str:
    """Where an EIP is routed to: the one of `next_hops` (one per family) that has the EIP's family."""
    version = version_of(eip)
    for hop in next_hops:
        if version_of(hop) == version:
            return hop
    raise Unsupported(
        f"{service.source}: EIP {eip} is IPv{version}, but EipGateway {service.gateway} has no IPv{version} in its cidrBlock"
    )


def eip_route(service: ServiceRows, eip: str, next_hop: str) -> StaticRoute:
    """The EipGateway's route to an EIP. /32 or /128 wins over every connected network."""
    return StaticRoute(
        router=eip_router(service.gateway),
        ip_prefix=f"{eip}/{32 if version_of(eip) == 4 else 128}",
        nexthop=next_hop,
        external_ids=owned_by(service.source),
    )


def eip_sink(service: ServiceRows, eip: str) -> StaticRoute:
    """Where a packet to an EIP ends that no load balancer took: the router that balances discards it.

    Its own default route leads back to the EipGateway, which would return the packet, until its TTL is used up: a wrong port, and
    a VIP without backends on a service router, for which northd 23.03 writes a drop that ovn-controller cannot parse.
    """
    router = service.vpcs[0] if len(service.vpcs) == 1 else service_router(service.gateway)
    return StaticRoute(
        router=router,
        ip_prefix=f"{eip}/{32 if version_of(eip) == 4 else 128}",
        nexthop="discard",
        external_ids=owned_by(service.source),
    )


def _port(
    router: str, switch: str, addresses: tuple[str, ...], ids: Strings, chassis: tuple[str, ...] = ()
) -> Iterator[Row]:
    """A router's port to a switch and the switch's to the router; with `chassis` a distributed gateway port."""
    name = router_port(router, switch)
    yield LogicalRouterPort(name=name, router=router, mac=router_mac(name), networks=addresses, external_ids=ids)
    yield port_to_router(switch, router, ids)
    for position, node in enumerate(chassis):
        yield GatewayChassis(port=name, chassis_name=node, priority=_FIRST_PRIORITY - position, external_ids=ids)


def _routes(router: str, prefixes: Mapping[int, str], next_hops: Iterable[str], ids: Strings) -> Iterator[StaticRoute]:
    for hop in next_hops:
        yield StaticRoute(router=router, ip_prefix=prefixes[version_of(hop)], nexthop=hop, external_ids=ids)
