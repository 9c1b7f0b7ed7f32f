"""Workloads: where they hang, and that no two have one address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ytwin.resources.addresses import Address, AddressRange, hosts, merged, split_dual
from ytwin.resources.model import (
    BareMetal,
    ContainerPort,
    Endpoints,
    EndpointSlice,
    Node,
    Pod,
    Subnet,
    VirtualMachine,
    VNicIP,
)
from ytwin.resources.rules.names import check_port_name
from ytwin.resources.rules.report import Report, SubnetFacts
from ytwin.resources.workload import (
    IP_ADDRESS,
    LOGICAL_SWITCH,
    MAC_ADDRESS,
    Workload,
    default_subnets,
    is_attached,
    workloads,
)
from ytwin.resources.yamltree import Path, shorten

_MAC = re.compile(r"(?:[0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")


@dataclass(slots=True)
class _Seats:
    """What is taken in one Subnet."""

    addresses: dict[Address, Workload] = field(default_factory=dict)
    macs: dict[str, Workload] = field(default_factory=dict)
    count: int = 0
    last: Workload | None = None


def check(report: Report) -> None:
    snapshot = report.snapshot
    seats: dict[str, _Seats] = {}
    ambiguous = _ambiguous(report)
    for pod in snapshot.all(Pod):
        _pod(report, pod, ambiguous)
    for workload in workloads(snapshot):
        _workload(report, workload, seats.setdefault(workload.subnet, _Seats()))
    for name, seat in seats.items():
        if name in report.subnets and seat.last is not None:
            _capacity(report, report.subnets[name], seat.count, seat.last)
    _join_capacity(report)
    for pod in snapshot.all(Pod):
        for i, container in enumerate(pod.spec.containers):
            _ports(report, pod, ("spec", "containers", i, "ports"), container.ports)
    machines: list[VirtualMachine | BareMetal | VNicIP] = [*snapshot.all(VirtualMachine), *snapshot.all(BareMetal)]
    for machine in [*machines, *snapshot.all(VNicIP)]:
        _ports(report, machine, ("spec", "ports"), machine.spec.ports)
    _observed(report)


def _ambiguous(report: Report) -> Mapping[str, tuple[str, ...]]:
    """Namespaces that several Subnets claim: harmless until a Pod there names none."""
    claimed: dict[str, tuple[str, ...]] = {}
    for subnet in report.snapshot.all(Subnet):
        for namespace in set(subnet.spec.namespaces):
            claimed[namespace] = (*claimed.get(namespace, ()), subnet.name)
    return {namespace: names for namespace, names in claimed.items() if len(names) > 1}


def _pod(report: Report, pod: Pod, ambiguous: Mapping[str, tuple[str, ...]]) -> None:
    """What keeps a Pod from being attached at all."""
    if (
        not pod.spec.node_name
        and not pod.spec.host_network
        and pod.status.phase not in ("Pending", "Succeeded", "Failed")
    ):
        hint = "say spec.nodeName, or status.phase: Pending for a Pod that is not placed yet"
        report.add(pod, ("spec", "nodeName"), "no-node", f"Pod {pod.name} is on no node", hint)
    if pod.spec.node_name and (pod.spec.host_network or not is_attached(pod)):
        report.refer(pod, ("spec", "nodeName"), Node, pod.spec.node_name)
    if not is_attached(pod) or pod.metadata.annotations.get(LOGICAL_SWITCH):
        return
    if pod.namespace in ambiguous:
        hint = f"say which with the annotation {LOGICAL_SWITCH}"
        message = f"namespace {pod.namespace} is in several Subnets: {', '.join(ambiguous[pod.namespace])}"
        report.add(pod, ("metadata", "namespace"), "ambiguous-subnet", message, hint)
    elif not default_subnets(report.snapshot).of(pod.namespace):
        hint = (
            f"annotate the Pod with {LOGICAL_SWITCH}, name namespace {pod.namespace} in a Subnet's namespaces, "
            "or mark one Subnet default: true"
        )
        report.add(pod, (), "no-subnet", f"nothing says which Subnet Pod {pod.name} is in", hint)


def _paths(workload: Workload) -> dict[str, Path]:
    """Where a workload says what: node, subnet, address and MAC."""
    if workload.kind == "Pod":
        return {
            "node": ("spec", "nodeName"),
            "subnet": ("metadata", "annotations", LOGICAL_SWITCH),
            "address": ("metadata", "annotations", IP_ADDRESS),
            "mac": ("metadata", "annotations", MAC_ADDRESS),
        }
    return {
        "node": ("spec", "node"),
        "subnet": ("spec", "subnet"),
        "address": ("spec", "ipAddress"),
        "mac": ("spec", "macAddress"),
    }


def _workload(report: Report, workload: Workload, seat: _Seats) -> None:
    owner = report.snapshot.objects[workload.id]
    paths = _paths(workload)
    path = paths["address"]
    if isinstance(owner, Pod) and not owner.metadata.annotations.get(IP_ADDRESS):
        path = ("status", "podIPs") if owner.status.pod_ips else ("status", "podIP")
    report.refer(owner, paths["node"], Node, workload.node)
    if workload.subnet or not isinstance(owner, Pod):
        report.refer(owner, paths["subnet"], Subnet, workload.subnet)
    seat.count += 1
    seat.last = workload
    facts = report.subnets.get(workload.subnet)
    given = report.addresses(owner, path, ",".join(workload.addresses))
    if facts is not None:
        _in_subnet(report, workload, facts, given, path)
    for address in given:
        other = seat.addresses.setdefault(address, workload)
        if other is not workload:
            message = f"{other.id} has the address {address} in Subnet {workload.subnet} already"
            report.add(owner, path, "duplicate-address", message, "give each its own, or leave it open to be chosen")
    if workload.mac:
        _mac(report, workload, seat, paths["mac"])


def _in_subnet(report: Report, workload: Workload, facts: SubnetFacts, given: tuple[Address, ...], path: Path) -> None:
    owner = report.snapshot.objects[workload.id]
    cidr = facts.subnet.spec.cidr_block
    families = [network.version for network in facts.networks]
    report.same_families(owner, path, (a.version for a in given), families, f"Subnet {workload.subnet}")
    for address in given:
        network = next((n for n in facts.networks if n.version == address.version), None)
        if network is None:
            continue
        if address not in hosts(network):
            hint = f"take a host address of {cidr}, or leave it open"
            report.add(
                owner, path, "outside-subnet", f"{address} is no host of Subnet {workload.subnet} ({cidr})", hint
            )
        elif facts.gateways.get(address.version) == address:
            hint = "take another address, or leave it open"
            message = f"{address} is the gateway of Subnet {workload.subnet}"
            report.add(owner, path, "duplicate-address", message, hint)
        elif any(address in item for item in facts.reserved):
            hint = "take another address, or take it out of excludeIps"
            message = f"{address} is in excludeIps of Subnet {workload.subnet}"
            report.add(owner, path, "excluded-address", message, hint)


def _mac(report: Report, workload: Workload, seat: _Seats, path: Path) -> None:
    owner, mac = report.snapshot.objects[workload.id], workload.mac
    if not _MAC.fullmatch(mac) or mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1:
        hint = "write six bytes like 0a:58:0a:00:00:05, the first one even (no multicast)"
        report.add(owner, path, "invalid-mac", f'"{shorten(mac)}" is no MAC address of one interface', hint)
        return
    other = seat.macs.setdefault(mac, workload)
    if other is not workload:
        message = f"{other.id} has the MAC {mac} in Subnet {workload.subnet} already"
        report.add(owner, path, "duplicate-mac", message, "give each its own, or leave it open")


def _capacity(report: Report, facts: SubnetFacts, count: int, last: Workload) -> None:
    """Whether all workloads of a Subnet find an address, in each family."""
    for network in facts.networks:
        room = hosts(network)
        gateway = facts.gateways[network.version]
        taken = [*facts.reserved, AddressRange(gateway.version, int(gateway), int(gateway))]
        free = room.size - sum(_common(room, item) for item in merged(taken))
        if count > free:
            hint = "enlarge cidrBlock, or put workloads into another Subnet"
            plural = "" if count == 1 else "s"
            message = f"{count} workload{plural} (the last is {last.id}), but {network} has room for {max(free, 0)}"
            report.add(facts.subnet, ("spec", "cidrBlock"), "exhausted", message, hint)


def _common(first: AddressRange, second: AddressRange) -> int:
    if not first.overlaps(second):
        return 0
    return min(first.last, second.last) - max(first.first, second.first) + 1


def _join_capacity(report: Report) -> None:
    nodes = list(report.snapshot.all(Node))
    for item in report.plan.join:
        free = item.size - 3  # network, broadcast and gateway
        if len(nodes) > free:
            message = f"{len(nodes)} nodes, but the join network {item} has {max(free, 0)} addresses for them"
            report.add(nodes[-1], (), "exhausted", message, "enlarge joinCIDR (or the Subnet join)")


def _ports(
    report: Report,
    owner: Pod | VirtualMachine | BareMetal | VNicIP,
    path: Path,
    ports: tuple[ContainerPort, ...],
) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        if port.name:
            check_port_name(report, owner, (*path, i, "name"), port.name)
            if port.name in seen:
                hint = "a name stands for one number"
                report.add(owner, (*path, i, "name"), "duplicate-port", f"port {port.name} is named twice", hint)
            seen.add(port.name)


def _observed(report: Report) -> None:
    """Addresses in Endpoints and EndpointSlices, as far as they are read at all."""
    for endpoints in report.snapshot.all(Endpoints):
        for i, subset in enumerate(endpoints.subsets):
            for name, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
                for j, address in enumerate(addresses):
                    _one_address(report, endpoints, ("subsets", i, name, j, "ip"), address.ip)
    for item in report.snapshot.all(EndpointSlice):
        for i, endpoint in enumerate(item.endpoints):
            for j, text in enumerate(endpoint.addresses if item.address_type != "FQDN" else ()):
                _one_address(report, item, ("endpoints", i, "addresses", j), text)


def _one_address(report: Report, owner: Endpoints | EndpointSlice, path: Path, text: str) -> None:
    if len(report.addresses(owner, path, text)) != 1 and len(split_dual(text)) != 1:
        report.add(owner, path, "invalid-address", "one address belongs here", "write one IPv4 or IPv6 address")
