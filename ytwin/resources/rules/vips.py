"""The addresses of Services: in their ranges, in no Subnet, each belonging to one Service, and enough for all."""

from __future__ import annotations

from dataclasses import dataclass, field

from ytwin.resources.addresses import Address, AddressRange, hosts, split_dual, subtract
from ytwin.resources.model import EipGateway, Resource, Service, YusurService
from ytwin.resources.rules.report import Report, any_of, readable
from ytwin.resources.workload import eip_gateway_of, occupied_outside, pools_of, unmanaged_services, vpcs_of_service
from ytwin.resources.yamltree import Path

_TRANSIT_SIZE = 4
"""Addresses of one transit network: a /30 or /126."""


@dataclass(slots=True)
class _Vips:
    """What all Services have been given so far."""

    others: dict[Address, Service] = field(default_factory=dict)
    """ClusterIPs and external addresses of Services that are none of ours."""
    cluster: dict[tuple[Address, int, str], YusurService] = field(default_factory=dict)
    """(ClusterIP, port, protocol) -> Service."""
    eips: dict[tuple[Address, int, str], YusurService] = field(default_factory=dict)
    targets: dict[Address, tuple[str, YusurService]] = field(default_factory=dict)
    """EIP -> where its gateway must route it, and for whom."""
    gateway_of_vpc: dict[str, tuple[str, YusurService]] = field(default_factory=dict)
    """VPC -> the EipGateway of its single-VPC Services, and the first of them."""
    demand: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    """Pool ("" for the service CIDR) -> family -> distinct addresses given and owners that still need one."""
    transits: dict[str, set[int]] = field(default_factory=dict)
    """Transit switch -> its families."""


def check(report: Report) -> None:
    vips = _Vips()
    families = _families(report)
    for other in unmanaged_services(report.snapshot):
        _unmanaged(report, other, vips)
    for service in report.snapshot.all(YusurService):
        _service(report, service, vips, families)
    _capacities(report, vips)
    _pools_in_subnets(report, vips)


def _families(report: Report) -> dict[str, set[int]]:
    """VPC -> families of its Subnets."""
    found: dict[str, set[int]] = {}
    for facts in report.subnets.values():
        found.setdefault(facts.vpc, set()).update(network.version for network in facts.networks)
    return found


def _unmanaged(report: Report, service: Service, vips: _Vips) -> None:
    """It is not compiled, but what it has nobody else can have."""
    spec = service.spec
    said: list[tuple[Path, str]] = [(("spec", "clusterIPs", i), text) for i, text in enumerate(spec.cluster_ips)]
    said += [] if spec.cluster_ips else [(("spec", "clusterIP"), spec.cluster_ip)]
    said += [(("spec", "loadBalancerIP"), spec.load_balancer_ip)]
    said += [(("spec", "externalIPs", i), text) for i, text in enumerate(spec.external_ips)]
    for path, text in said:
        for address in report.addresses(service, path, text) if text != "None" else ():
            vips.others[address] = service
            if any(address in item for item in report.plan.service):
                _demand(vips, "", {address.version}, str(address))


def _service(report: Report, service: YusurService, vips: _Vips, families: dict[str, set[int]]) -> None:
    members = vpcs_of_service(report.snapshot, service)
    known = set().union(*(families.get(vpc, set()) for vpc in members)) or {4, 6}
    if service.spec.type == "ClusterIP" or len(members) == 1:
        _cluster_ip(report, service, vips, known)
    if service.spec.type == "LoadBalancer":
        gateway = eip_gateway_of(report.snapshot, service)
        if gateway is not None:
            _eip(report, service, gateway, vips, known)
            _one_gateway(report, service, gateway, members, vips)
            _transits(gateway, members, known, vips)


def _given(report: Report, service: YusurService, kind: str) -> tuple[Resource, Path, str]:
    """What says an address (`clusterIP` or `eip`): the spec, the Service object or the status; and its text ("": nothing)."""
    spec, status = service.spec, service.status
    stated, recorded = (spec.cluster_ip, status.cluster_ip) if kind == "clusterIP" else (spec.eip, status.eip)
    if stated:
        return service, ("spec", kind), stated
    child = report.snapshot.get(Service, service.name, service.namespace)
    if child is not None and kind == "clusterIP" and child.spec.cluster_ips:
        return child, ("spec", "clusterIPs"), ",".join(ip for ip in child.spec.cluster_ips if ip != "None")
    if child is not None and kind == "clusterIP" and child.spec.cluster_ip not in ("", "None"):
        return child, ("spec", "clusterIP"), child.spec.cluster_ip
    if child is not None and kind == "eip" and child.spec.load_balancer_ip:
        return child, ("spec", "loadBalancerIP"), child.spec.load_balancer_ip
    return service, ("status", kind), recorded


def _cluster_ip(report: Report, service: YusurService, vips: _Vips, known: set[int]) -> None:
    owner, path, text = _given(report, service, "clusterIP")
    if text == "None":
        hint = "leave clusterIP out, so that one is chosen; a headless Service needs no load balancer, so write it as a Service"
        report.add(owner, path, "invalid-address", "a YusurService cannot be headless", hint)
        return
    given = report.addresses(owner, path, text)
    ranges = report.plan.service
    if not split_dual(text):
        wanted = known & {item.version for item in ranges}
        if ranges and not wanted:
            hint = "add that family to ClusterNetwork.spec.serviceCIDR"
            message = f"its VPC has IPv{min(known)} only, and serviceCIDR has none"
            report.add(service, ("spec", "vpc"), "family-mismatch", message, hint)
        _demand(vips, "", wanted, str(id(service)))
    for address in given:
        if ranges and not any(address in item for item in ranges):
            shown = ", ".join(map(str, ranges))
            hint = "take an address of serviceCIDR, or leave it open"
            report.add(owner, path, "outside-service-cidr", f"ClusterIP {address} is not in {shown}", hint)
        _in_subnet(report, owner, path, address, service)
        _has_family(report, owner, path, address, known)
        _demand(vips, "", {address.version}, str(address))
        _once(report, service, owner, path, address, vips.cluster, vips.others)


def _eip(report: Report, service: YusurService, gateway: EipGateway, vips: _Vips, known: set[int]) -> None:
    owner, path, text = _given(report, service, "eip")
    given = report.addresses(owner, path, text)
    try:
        pools = pools_of(gateway)
    except ValueError:
        return  # its own problem
    if not split_dual(text):
        wanted = known & {item.version for item in pools}
        if not wanted:
            hint = f"add a pool of that family to EipGateway {gateway.name}"
            message = f"its VPCs have IPv{min(known)} only, and EipGateway {gateway.name} has no such pool"
            report.add(service, ("spec", "eipGateway"), "family-mismatch", message, hint)
        _demand(vips, gateway.name, wanted, str(id(service)))
    members = vpcs_of_service(report.snapshot, service)
    target = members[0] if len(members) == 1 else "the service-gateway"
    for address in given:
        if not any(address in item for item in pools):
            hint = f"take an address of {any_of(gateway.spec.pools)}, or leave it open"
            report.add(owner, path, "outside-pool", f"EIP {address} is in no pool of EipGateway {gateway.name}", hint)
        _in_subnet(report, owner, path, address, service)
        _has_family(report, owner, path, address, known)
        _demand(vips, gateway.name, {address.version}, str(address))
        _once(report, service, owner, path, address, vips.eips, vips.others)
        for item, what in occupied_outside(report.snapshot):
            if address in item:
                hint = "take another address of the pools, or leave it open"
                report.add(owner, path, "duplicate-address", f"EIP {address} is {what}", hint)
        route, first = vips.targets.setdefault(address, (target, service))
        if route != target:
            message = f"EIP {address} leads to {route} already, for YusurService {first.namespace}/{first.name}"
            report.add(owner, path, "eip-two-targets", message, "an EIP is routed to one place; take another EIP")


def _demand(vips: _Vips, pool: str, versions: set[int], owner: str) -> None:
    for version in versions:
        vips.demand.setdefault(pool, {}).setdefault(version, set()).add(owner)


def _in_subnet(report: Report, owner: Resource, path: Path, address: Address, service: YusurService) -> None:
    for vpc in vpcs_of_service(report.snapshot, service):
        facts = report.subnet_with(vpc, address)
        if facts is not None:
            message = f"{address} lies in Subnet {facts.subnet.name} ({facts.subnet.spec.cidr_block}) of VPC {vpc}"
            hint = (
                "clients there would ask for it by ARP, which nobody answers; take an address outside of every Subnet"
            )
            report.add(owner, path, "vip-in-subnet", message, hint)


def _has_family(report: Report, owner: Resource, path: Path, address: Address, known: set[int]) -> None:
    if address.version not in known:
        message = f"{address}, but the Service's VPCs have no IPv{address.version}"
        hint = f"add IPv{address.version} to a Subnet, or leave the address out"
        report.add(owner, path, "family-mismatch", message, hint)


def _once(
    report: Report,
    service: YusurService,
    owner: Resource,
    path: Path,
    address: Address,
    taken: dict[tuple[Address, int, str], YusurService],
    others: dict[Address, Service],
) -> None:
    if address in others:
        stranger = others[address]
        message = f"Service {stranger.namespace}/{stranger.name} has {address} already"
        report.add(owner, path, "duplicate-vip", message, "take another address, or leave it open")
    for port in service.spec.ports:
        other = taken.setdefault((address, port.port, port.protocol), service)
        if other is not service:
            message = (
                f"YusurService {other.namespace}/{other.name} serves {address} {port.protocol} port {port.port} already"
            )
            report.add(owner, path, "duplicate-vip", message, "take another address or another port")


def _one_gateway(
    report: Report,
    service: YusurService,
    gateway: EipGateway,
    members: tuple[str, ...],
    vips: _Vips,
) -> None:
    """A VPC's router translates replies on its one gateway port only, so it hangs on one EipGateway."""
    if len(members) != 1:
        return
    used, first = vips.gateway_of_vpc.setdefault(members[0], (gateway.name, service))
    if used != gateway.name:
        message = f"VPC {members[0]} uses EipGateway {used} already, for YusurService {first.namespace}/{first.name}"
        hint = f"use {used} here too; a router with several gateway ports translates on the first one only"
        report.add(service, ("spec", "eipGateway"), "two-gateways", message, hint)


def _transits(gateway: EipGateway, members: tuple[str, ...], known: set[int], vips: _Vips) -> None:
    """The networks between routers that this Service needs."""
    names = [f"{members[0]} {gateway.name}"]
    if len(members) > 1:
        names = [f" {gateway.name}", *(f"{vpc} service-gateway {gateway.name}" for vpc in members)]
    for name in names:
        vips.transits.setdefault(name, set()).update(known)


def _capacities(report: Report, vips: _Vips) -> None:
    snapshot = report.snapshot
    service_ranges = [hosts(n) for n in readable(snapshot.network.service_cidr)] if report.plan.service else []
    for version, owners in vips.demand.get("", {}).items():
        room = sum(item.size for item in service_ranges if item.version == version)
        if service_ranges and len(owners) > room:
            message = f"{len(owners)} Services need an IPv{version} ClusterIP, but serviceCIDR has room for {room}"
            place = next(snapshot.all(YusurService))
            report.add(place, ("spec", "clusterIP"), "exhausted", message, "enlarge ClusterNetwork.spec.serviceCIDR")
    for gateway in snapshot.all(EipGateway):
        if gateway.name in vips.demand:
            _pool_capacity(report, gateway, vips.demand[gateway.name])
    for item in report.plan.transit:
        needed = sum(item.version in versions for versions in vips.transits.values())
        if needed * _TRANSIT_SIZE > item.size:
            first = next(snapshot.all(EipGateway))
            message = (
                f"{needed} transit networks are needed, transitCIDR {item} has room for {item.size // _TRANSIT_SIZE}"
            )
            report.add(first, (), "exhausted", message, "enlarge ClusterNetwork.spec.transitCIDR")


def _pool_capacity(report: Report, gateway: EipGateway, demand: dict[int, set[str]]) -> None:
    try:
        pools = subtract(pools_of(gateway), [item for item, _ in occupied_outside(report.snapshot)])
    except ValueError:
        return
    for version, owners in demand.items():
        room = sum(item.size for item in pools if item.version == version)
        if len(owners) > room:
            message = (
                f"{len(owners)} Services need an IPv{version} EIP of EipGateway {gateway.name}, "
                f"but its pools have room for {room}"
            )
            report.add(
                gateway, ("spec", "pools"), "exhausted", message, "add a pool, or let Services share an EIP by ports"
            )


def _pools_in_subnets(report: Report, vips: _Vips) -> None:
    """A pool must not overlap a Subnet of a VPC that gets EIPs from it: an EIP chosen there would be a VIP in a Subnet."""
    for vpc, (name, _) in vips.gateway_of_vpc.items():
        gateway = report.snapshot.get(EipGateway, name)
        for index, text in enumerate(gateway.spec.pools if gateway is not None else ()):
            pool = _range(text)
            for facts in report.subnets_by_vpc.get(vpc, ()):
                if gateway is None or pool is None or not any(map(pool.overlaps, facts.ranges)):
                    continue
                message = f"{text} overlaps Subnet {facts.subnet.name} ({facts.subnet.spec.cidr_block}) of VPC {vpc}"
                hint = "an EIP must lie in no Subnet of the VPC that it leads to"
                report.add(gateway, ("spec", "pools", index), "vip-in-subnet", message, hint)


def _range(text: str) -> AddressRange | None:
    try:
        return AddressRange.parse(text)
    except ValueError:
        return None
