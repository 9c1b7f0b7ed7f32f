"""Addresses and MACs for workloads that have none yet.

The result is written where the ycloud-cni would write it: Pods get kube-ovn's annotations, other kinds `spec.ipAddress` and
`spec.macAddress`. Once written they are given, and this module never touches them again. A workload that was given one family
of a dual-stack Subnet keeps just that: what is given is the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
    changed = list(_changed(snapshot, present, pools, taken, short))
    if short:
        raise InvalidInput(_exhausted(subnet, left_over) for subnet, left_over in short.items())
    return snapshot.changed(changed)


def _pools(subnet: Subnet) -> tuple[Pool, ...]:
    """One Pool per family of the Subnet: host addresses without the gateway and `excludeIps`."""
    excluded = excluded_of(subnet)
    return tuple(Pool(n.version, [hosts(n)], excluded) for n in networks(subnet.spec.cidr_block))


def _changed(
    snapshot: Snapshot,
    present: tuple[Workload, ...],
    pools: dict[str, tuple[Pool, ...]],
    taken: dict[str, _Taken],
    short: dict[str, list[Workload]],
) -> Iterator[Resource]:
    objects = snapshot.objects
    for workload in present:
        if workload.subnet not in pools:
            continue
        seat = taken[workload.subnet]
        addresses = workload.addresses
        if not addresses:
            try:
                addresses = tuple(_address(pool, workload, seat) for pool in pools[workload.subnet])
            except Exhausted:
                short.setdefault(workload.subnet, []).append(workload)
                continue
        mac = workload.mac or _mac(addresses, workload, seat)
        written = _written(objects[workload.id], workload.subnet, addresses, mac)
        if written is not None:
            yield written


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


def _written(resource: Resource, subnet: str, addresses: tuple[str, ...], mac: str) -> Resource | None:
    """The object with what it lacks; None if it lacks nothing. What it says already keeps its spelling."""
    if isinstance(resource, Pod):
        metadata = resource.metadata
        found = metadata.annotations
        wanted = {LOGICAL_SWITCH: subnet, IP_ADDRESS: ",".join(addresses), MAC_ADDRESS: mac}
        if all(found.get(key) for key in wanted):
            return None
        merged = frozendict({**wanted, **{key: value for key, value in found.items() if value or key not in wanted}})
        return replaced(resource, metadata=replaced(metadata, annotations=merged))
    if isinstance(resource, VirtualMachine | BareMetal | VNicIP):
        spec = resource.spec
        if spec.ip_address and spec.mac_address:
            return None
        filled = replaced(spec, ip_address=spec.ip_address or ",".join(addresses), mac_address=spec.mac_address or mac)
        return replaced(resource, spec=filled)
    raise TypeError(f"{type(resource).__name__} is no workload")


def _exhausted(subnet: str, left_over: list[Workload]) -> Problem:
    return Problem(
        Location(path=f"{Subnet.KIND}/{subnet}"),
        "exhausted",
        f"Subnet {subnet} has no address left for {len(left_over)} workloads, the first of them {left_over[0].id}",
        "enlarge cidrBlock, or take addresses out of excludeIps",
    )
