"""Addresses and MACs for workloads that have none yet.

The result is written where the ycloud-cni would write it: Pods get kube-ovn's annotations, other kinds `spec.ipAddress` and
`spec.macAddress`. Once written they are given, and this module never touches them again. A workload that was given one family
of a dual-stack Subnet keeps just that: what is given is the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from frozendict import frozendict

from ytwin.controllers.allocation import Exhausted, Pool, number_of, stable_hash, text_of
from ytwin.controllers.build import replaced
from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.resources.addresses import hosts, networks
from ytwin.resources.model import BareMetal, Pod, Resource, Subnet, VirtualMachine, VNicIP
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import (
    IP_ADDRESS,
    LOGICAL_SWITCH,
    MAC_ADDRESS,
    Workload,
    excluded_of,
    knowing_workloads,
    workloads,
)

MAC_PREFIX = "0a:58:"


@dataclass(slots=True)
class _Taken:
    """What the workloads of one Subnet have been given so far."""

    addresses: dict[int, set[int]] = field(default_factory=lambda: {4: set(), 6: set()})
    macs: set[str] = field(default_factory=set)


def place(snapshot: Snapshot) -> Snapshot:
    """The snapshot with an address and a MAC for every workload. InvalidInput if a Subnet has too few addresses.

    A workload without a known Subnet is left as it is; that is a problem of validation.
    """
    present = workloads(snapshot)
    taken: dict[str, _Taken] = {}
    for workload in present:
        seat = taken.setdefault(workload.subnet, _Taken())
        for address in workload.addresses:
            version, number = number_of(address)
            seat.addresses[version].add(number)
        if workload.mac:
            seat.macs.add(workload.mac)
    pools = {subnet.name: _pools(subnet) for subnet in snapshot.all(Subnet) if subnet.name in taken}
    short: dict[str, list[Workload]] = {}
    placed = [_placed(workload, pools.get(workload.subnet), taken[workload.subnet], short) for workload in present]
    if short:
        raise InvalidInput(_exhausted(subnet, left_over) for subnet, left_over in short.items())
    objects = snapshot.objects
    written = (
        _written(objects[before.id], after)
        for before, after in zip(present, placed, strict=True)
        if after is not before or before.kind == Pod.KIND  # a Pod may lack an annotation that its status makes up for
    )
    return knowing_workloads(snapshot.changed(item for item in written if item is not None), placed)


def _pools(subnet: Subnet) -> tuple[Pool, ...]:
    """One Pool per family of the Subnet: host addresses without the gateway and `excludeIps`."""
    excluded = excluded_of(subnet)
    return tuple(Pool(n.version, [hosts(n)], excluded) for n in networks(subnet.spec.cidr_block))


def _placed(
    workload: Workload, pools: tuple[Pool, ...] | None, seat: _Taken, short: dict[str, list[Workload]]
) -> Workload:
    """The workload with address and MAC: itself if it has both, or if its Subnet is unknown (None) or full (noted in `short`)."""
    if pools is None or (workload.addresses and workload.mac):
        return workload
    addresses = workload.addresses
    if not addresses:
        try:
            addresses = tuple([_address(pool, workload, seat) for pool in pools])
        except Exhausted:
            short.setdefault(workload.subnet, []).append(workload)
            return workload
    return replace(workload, addresses=addresses, mac=workload.mac or _mac(addresses, workload, seat))


def _address(pool: Pool, workload: Workload, seat: _Taken) -> str:
    used = seat.addresses[pool.version]
    number = pool.choose(pool.place_of(f"{workload.subnet} {workload.id}"), used)
    used.add(number)
    return text_of(pool.version, number)


def _mac(addresses: tuple[str, ...], workload: Workload, seat: _Taken) -> str:
    """0a:58 and the bytes of the IPv4 address, as ovn-kubernetes does; without one, bytes of a hash. Unique in the Subnet."""
    four = next((address for address in addresses if ":" not in address), "")
    low = number_of(four)[1] if four else stable_hash(f"mac {workload.id}")
    while True:
        mac = MAC_PREFIX + (low & 0xFFFFFFFF).to_bytes(4, "big").hex(":")
        if mac not in seat.macs:
            seat.macs.add(mac)
            return mac
        low += 1


def _written(resource: Resource, workload: Workload) -> Resource | None:
    """The object with what it lacks; None if it lacks nothing. What it says already keeps its spelling."""
    address = ",".join(workload.addresses)
    if isinstance(resource, Pod):
        metadata = resource.metadata
        found = metadata.annotations
        wanted = {LOGICAL_SWITCH: workload.subnet, IP_ADDRESS: address, MAC_ADDRESS: workload.mac}
        lacking = {key: value for key, value in wanted.items() if value and not found.get(key)}
        if not lacking:
            return None
        return replaced(resource, metadata=replaced(metadata, annotations=frozendict({**found, **lacking})))
    if isinstance(resource, VirtualMachine | BareMetal | VNicIP):
        spec = resource.spec
        filled = replaced(spec, ip_address=spec.ip_address or address, mac_address=spec.mac_address or workload.mac)
        return replaced(resource, spec=filled)
    raise TypeError(f"{type(resource).__name__} is no workload")


def _exhausted(subnet: str, left_over: list[Workload]) -> Problem:
    return Problem(
        Location(path=f"{Subnet.KIND}/{subnet}"),
        "exhausted",
        f"Subnet {subnet} has no address left for {len(left_over)} workloads, the first of them {left_over[0].id}",
        "enlarge cidrBlock, or take addresses out of excludeIps",
    )
