"""Texts of addresses as kube-ovn writes them: "v4,v6" pairs, CIDRs, ranges "a..b" and "a-b". Always IPv4 before IPv6."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def split_dual(text: str) -> tuple[str, ...]:
    """The parts of "v4,v6", IPv4 before IPv6; () of an empty text. Parts are not checked."""
    return tuple(sorted((part.strip() for part in text.split(",") if part.strip()), key=lambda part: ":" in part))


def version_of(text: str) -> int:
    """4 or 6, judged by the colon of IPv6; for an address, a CIDR or a range."""
    return 6 if ":" in text else 4


@lru_cache(maxsize=1 << 18)
def canonical(text: str) -> str:
    """An address in its one canonical spelling (IPv6 compressed, lower case); a text that is no address comes back as it is."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def canonical_dual(text: str) -> tuple[str, ...]:
    """`split_dual` with every part in its canonical spelling."""
    if not text:
        return ()
    if "," not in text and not text.isspace():
        return (canonical(text.strip()),)
    return tuple(canonical(part) for part in split_dual(text))


def networks(text: str) -> tuple[Network, ...]:
    """The networks of "v4,v6". ValueError for anything that is no CIDR or has host bits set."""
    return tuple(ip_network(part) for part in split_dual(text))


@dataclass(frozen=True, slots=True, order=True)
class AddressRange:
    """All addresses from `first` to `last`, both included, of one family."""

    version: int
    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> AddressRange:
        """An address, a CIDR (all of it), "a..b" (kube-ovn's excludeIps) or "a-b" (pools). ValueError for anything else."""
        text = text.strip()
        for separator in ("..", "-"):
            if separator in text:
                first, last = (ip_address(part.strip()) for part in text.split(separator, 1))
                if first.version != last.version or int(first) > int(last):
                    raise ValueError(f"{text!r} does not run from a lower to a higher address of one family")
                return cls(first.version, int(first), int(last))
        return cls.of(ip_network(text))

    @classmethod
    def of(cls, network: Network) -> AddressRange:
        """All addresses of a network."""
        return cls(network.version, int(network.network_address), int(network.broadcast_address))

    def __len__(self) -> int:
        return min(self.size, (1 << 63) - 1)

    @property
    def size(self) -> int:
        """How many addresses; exact, also where `len` cannot say it."""
        return self.last - self.first + 1

    def __contains__(self, address: object) -> bool:
        if isinstance(address, str):
            try:
                address = ip_address(address)
            except ValueError:
                return False
        if not isinstance(address, IPv4Address | IPv6Address):
            return False
        return address.version == self.version and self.first <= int(address) <= self.last

    def __iter__(self) -> Iterator[Address]:
        """Lazily, in ascending order."""
        make = IPv4Address if self.version == 4 else IPv6Address
        return (make(number) for number in range(self.first, self.last + 1))

    def overlaps(self, other: AddressRange) -> bool:
        return self.version == other.version and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        """An address, a CIDR if it is all of one, else "first-last"."""
        make = IPv4Address if self.version == 4 else IPv6Address
        if self.first == self.last:
            return str(make(self.first))
        if self.size & (self.size - 1) == 0 and self.first % self.size == 0:
            return f"{make(self.first)}/{make(0).max_prefixlen - self.size.bit_length() + 1}"
        return f"{make(self.first)}-{make(self.last)}"


def hosts(network: Network) -> AddressRange:
    """Addresses that a host may have: without network and broadcast address (IPv4) or subnet-router anycast (IPv6); all of a
    /31, /32, /127 or /128."""
    whole = AddressRange.of(network)
    if whole.size <= 2:
        return whole
    return AddressRange(whole.version, whole.first + 1, whole.last - (1 if whole.version == 4 else 0))


def merged(ranges: Iterable[AddressRange]) -> tuple[AddressRange, ...]:
    """The same addresses as disjoint ranges in ascending order."""
    result: list[AddressRange] = []
    for item in sorted(ranges):
        last = result[-1] if result else None
        if last is not None and last.version == item.version and item.first <= last.last + 1:
            result[-1] = AddressRange(last.version, last.first, max(last.last, item.last))
        else:
            result.append(item)
    return tuple(result)


def subtract(ranges: Sequence[AddressRange], excluded: Sequence[AddressRange]) -> tuple[AddressRange, ...]:
    """The addresses of `ranges` that are in none of `excluded`, as disjoint ranges in ascending order."""
    holes = merged(excluded)
    left: list[AddressRange] = []
    for whole in merged(ranges):
        first = whole.first
        for hole in holes:
            if hole.version != whole.version or hole.last < first or hole.first > whole.last:
                continue
            if hole.first > first:
                left.append(AddressRange(whole.version, first, hole.first - 1))
            first = hole.last + 1
        if first <= whole.last:
            left.append(AddressRange(whole.version, first, whole.last))
    return tuple(left)
