"""Addresses that no one writes: MACs of ports, the nodes' places on the join switch, networks of transit switches.

All are functions of names, so that two runs agree, and adding one thing leaves the others where they are. Only where two names
hash to one place does the later name (in sorted order) move on to the next free one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Address, ip_address

from ytwin.core.errors import Unsupported
from ytwin.resources.addresses import Network, hosts, networks, version_of

_LINK_BITS = 2
"""A transit network has four addresses: /30 or /126, whose hosts 1 and 2 are the two routers."""


def _hash(text: str, size: int = 8) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=size).digest(), "big")


def _mac(prefix: str, number: int, size: int) -> str:
    return ":".join((prefix, *(f"{byte:02x}" for byte in number.to_bytes(size, "big"))))


def router_mac(port: str) -> str:
    """MAC of a router port: locally administered, from its name."""
    return _mac("02", _hash(port, 5), 5)


def workload_mac(addresses: Iterable[str]) -> str:
    """MAC where none was given: 0a:58 and the IPv4 address, as ovn-kubernetes does, or a hash of the IPv6 address."""
    first = ip_address(next(iter(addresses)))
    number = int(first) if isinstance(first, IPv4Address) else _hash(str(first), 4)
    return _mac("0a:58", number, 4)


@dataclass(frozen=True, slots=True)
class Link:
    """The network of a switch between two routers. `near` is on the side of the outside, `far` on the side of the backends."""

    switch: str
    near: tuple[str, ...]
    """One address per family, IPv4 before IPv6."""
    far: tuple[str, ...]
    prefix_lengths: tuple[int, ...]

    def near_networks(self) -> tuple[str, ...]:
        """`near` as "IP/LEN"."""
        return tuple(f"{ip}/{length}" for ip, length in zip(self.near, self.prefix_lengths, strict=True))

    def far_networks(self) -> tuple[str, ...]:
        """`far` as "IP/LEN"."""
        return tuple(f"{ip}/{length}" for ip, length in zip(self.far, self.prefix_lengths, strict=True))

    def far_by_version(self) -> dict[int, str]:
        """4 and 6 to `far`'s address of that family."""
        return {version_of(ip): ip for ip in self.far}


def place(names: Iterable[str], size: int, taken: Collection[int] = ()) -> dict[str, int]:
    """A number in range(size) for each name, none twice, none of `taken`: by hash, probing linearly in the order of names."""
    used = {position for position in taken if 0 <= position < size}
    places: dict[str, int] = {}
    for name in sorted(names):
        if len(used) >= size:
            raise Unsupported(f"no free place for {name}: all {size} are taken")
        position = _hash(name) % size
        while position in used:
            position = (position + 1) % size
        used.add(position)
        places[name] = position
    return places


def links(versions: Mapping[str, tuple[int, ...]], transit_cidr: str) -> dict[str, Link]:
    """The network of each switch, cut from `transit_cidr`; `versions` says which families (4, 6) each switch needs.

    Unsupported if the range lacks a family or is too small.
    """
    if not versions:
        return {}
    ranges: dict[int, Network] = {network.version: network for network in networks(transit_cidr)}
    for switch, families in versions.items():
        for version in families:
            if version not in ranges:
                raise Unsupported(
                    f"switch {switch} needs an IPv{version} network, but ClusterNetwork.spec.transitCIDR {transit_cidr} has none"
                )
    size = min(1 << max(net.max_prefixlen - _LINK_BITS - net.prefixlen, 0) for net in ranges.values())
    if len(versions) > size:
        raise Unsupported(
            f"ClusterNetwork.spec.transitCIDR {transit_cidr} has room for {size} transit networks, {len(versions)} are needed"
        )
    places = place(versions, size)
    return {switch: _link(switch, places[switch], [ranges[v] for v in versions[switch]]) for switch in versions}


def _link(switch: str, position: int, ranges: Iterable[Network]) -> Link:
    near, far, lengths = [], [], []
    for network in ranges:
        base = position << _LINK_BITS
        near.append(str(network[base + 1]))
        far.append(str(network[base + 2]))
        lengths.append(network.max_prefixlen - _LINK_BITS)
    return Link(switch, tuple(near), tuple(far), tuple(lengths))


def join_addresses(
    nodes: Mapping[str, tuple[str, ...]], cidrs: Iterable[str], taken: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Each node's addresses on the join switch, one per CIDR; `nodes` maps a name to the addresses already given to it."""
    result: dict[str, tuple[str, ...]] = dict.fromkeys(nodes, ())
    for network in (net for cidr in cidrs for net in networks(cidr)):
        room = hosts(network)
        fixed = {
            name: int(ip_address(ip))
            for name, given in nodes.items()
            for ip in given
            if version_of(ip) == network.version and ip in room
        }
        busy = {int(ip_address(ip)) for ip in taken if ip in room} | set(fixed.values())
        size = min(room.size, 1 << 32)
        try:
            places = place(nodes.keys() - fixed.keys(), size, {number - room.first for number in busy})
        except Unsupported as error:
            raise Unsupported(f"the join network {network} is too small for {len(nodes)} nodes: {error}") from error
        base = int(network.network_address)
        for name in nodes:
            number = fixed.get(name) or room.first + places[name]
            result[name] = (*result[name], str(network[number - base]))
    return result
