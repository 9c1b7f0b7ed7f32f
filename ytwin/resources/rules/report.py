"""Where rules put what they find, and the look-ups that several of them need."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Protocol, TypeVar

from ytwin.core.errors import Location, Problem
from ytwin.resources.addresses import Address, AddressRange, Network, networks, split_dual
from ytwin.resources.fields import nearest
from ytwin.resources.model import Resource, Subnet
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.yamltree import Path, path_text, shorten

UNKNOWN_REFERENCE = "unknown-reference"
CONSEQUENCES = frozenset((UNKNOWN_REFERENCE, "no-subnet", "no-eip-gateway", "no-such-vnicip"))
"""Codes that a missing object causes elsewhere; silent when part of the input could not be read."""


T = TypeVar("T")


class Locator(Protocol):
    """Knows where the fields of one object stand in the input."""

    def at(self, path: Path) -> Location: ...


@dataclass(frozen=True, slots=True)
class SubnetFacts:
    """What a Subnet says about addresses, parsed once; only Subnets whose CIDRs can be read have them."""

    subnet: Subnet
    vpc: str
    networks: tuple[Network, ...]
    gateways: Mapping[int, Address]
    """By family."""
    reserved: tuple[AddressRange, ...]
    """`excludeIps` as far as they can be read."""

    @property
    def ranges(self) -> tuple[AddressRange, ...]:
        return tuple(AddressRange.of(network) for network in self.networks)


@dataclass(slots=True)
class Plan:
    """The cluster's own ranges."""

    service: list[AddressRange] = field(default_factory=list)
    join: list[AddressRange] = field(default_factory=list)
    transit: list[AddressRange] = field(default_factory=list)


class Report:
    """Collects problems of one Snapshot, and what the first rules parsed for the later ones."""

    def __init__(self, snapshot: Snapshot, where: Mapping[ObjectId, Locator]) -> None:
        self.snapshot = snapshot
        self.where = where
        self.problems: list[Problem] = []
        self.subnets: dict[str, SubnetFacts] = {}
        """By name; filled by the network rules."""
        self.plan = Plan()
        self._names: dict[tuple[str, str], list[str]] | None = None

    @cached_property
    def subnets_by_vpc(self) -> dict[str, list[SubnetFacts]]:
        """Readable Subnets per VPC; to be asked after the network rules."""
        found: dict[str, list[SubnetFacts]] = {}
        for facts in self.subnets.values():
            found.setdefault(facts.vpc, []).append(facts)
        return found

    @cached_property
    def _ranges(self) -> dict[tuple[str, int], list[tuple[int, int, SubnetFacts]]]:
        found: dict[tuple[str, int], list[tuple[int, int, SubnetFacts]]] = {}
        for facts in self.subnets.values():
            for item in facts.ranges:
                found.setdefault((facts.vpc, item.version), []).append((item.first, item.last, facts))
        for ranges in found.values():
            ranges.sort(key=lambda entry: entry[:2])
        return found

    def subnet_with(self, vpc: str, address: Address) -> SubnetFacts | None:
        """The Subnet of a VPC that an address lies in."""
        ranges = self._ranges.get((vpc, address.version), [])
        number = int(address)
        index = bisect_right(ranges, number, key=lambda entry: entry[0]) - 1
        return ranges[index][2] if index >= 0 and number <= ranges[index][1] else None

    def place(self, resource: Resource | ObjectId, path: Path = ()) -> Location:
        """Where a field stands; without a known file, the object's id and the path."""
        identity = resource if isinstance(resource, ObjectId) else id_of(resource)
        locator = self.where.get(identity)
        return locator.at(path) if locator is not None else Location(str(identity), 0, path_text(path))

    def add(self, resource: Resource | ObjectId, path: Path, code: str, message: str, hint: str) -> None:
        self.problems.append(Problem(self.place(resource, path), code, message, hint))

    def exists(self, kind: type[Resource], name: str, namespace: str = "") -> bool:
        """Whether an object is in the input, valid or not."""
        identity = ObjectId(kind.KIND, namespace, name)
        return identity in self.snapshot.objects or identity in self.where

    def refer(self, owner: Resource, path: Path, kind: type[Resource], name: str, namespace: str = "") -> bool:
        """Whether a reference leads somewhere; a problem if not."""
        found = self.exists(kind, name, namespace)
        if not found:
            place = f" in namespace {namespace}" if namespace else ""
            message = f"there is no {kind.KIND} {name}{place}"
            known = self._known(kind, namespace)
            meant = nearest(name, known, 0.75)
            article = "an" if kind.KIND[0] in "AEIO" else "a"
            hint = f"did you mean {meant}?" if meant else f"add {article} {kind.KIND} of that name"
            if known and not meant:
                hint += f", or use {any_of(known)}"
            self.add(owner, path, UNKNOWN_REFERENCE, message, hint)
        return found

    def _known(self, kind: type[Resource], namespace: str) -> list[str]:
        """Some names that a reference could have meant; not all, so that many dangling references cost little."""
        if self._names is None:
            self._names = {}
            for resource in self.snapshot.objects.values():
                names = self._names.setdefault((resource.KIND, resource.namespace), [])
                if len(names) < 200:
                    names.append(resource.name)
        return self._names.get((kind.KIND, namespace), [])

    def addresses(self, owner: Resource, path: Path, text: str) -> tuple[Address, ...]:
        """The addresses of "v4,v6"; problems for what is no address, and for two of one family."""
        found = self.address_list(owner, path, text)
        self.one_per_family(owner, path, [address.version for address in found])
        return found

    def address_list(self, owner: Resource, path: Path, text: str) -> tuple[Address, ...]:
        """The addresses of "a,b,...", of whatever families; problems for what is no address."""
        found: list[Address] = []
        for part in split_dual(text):
            try:
                if "%" in part:
                    raise ValueError
                found.append(ip_address(part))
            except ValueError:
                hint = "write an IPv4 or IPv6 address, or both as v4,v6"
                self.add(owner, path, "invalid-address", f'"{shorten(part)}" is no IP address', hint)
        return tuple(found)

    def networks(self, owner: Resource, path: Path, text: str) -> tuple[Network, ...]:
        """The networks of "v4,v6"; problems for what is no CIDR, has host bits set, and for two of one family."""
        parts = split_dual(text)
        found = [network for part in parts if (network := self.network(owner, path, part)) is not None]
        if not parts:
            self.add(owner, path, "invalid-cidr", "no CIDR is given", "write one CIDR, or two as v4,v6")
        self.one_per_family(owner, path, [network.version for network in found])
        return tuple(found)

    def network(self, owner: Resource, path: Path, text: str) -> Network | None:
        """One network, or None after a problem."""
        hint = "write a network and its length, like 10.0.0.0/24 or fd00::/64"
        try:
            length = text.partition("/")[2]
            if not (length.isascii() and length.isdigit()):
                raise ValueError
            network = ip_network(text, strict=False)
        except ValueError:
            self.add(owner, path, "invalid-cidr", f'"{shorten(text)}" is no CIDR', hint)
            return None
        if str(network.network_address) != str(ip_address(text.partition("/")[0])):
            message = f"{text} is an address in a network, not the network: bits behind /{network.prefixlen} are set"
            self.add(owner, path, "host-bits", message, f"write {network}")
            return None
        if network.prefixlen == 0 or network.is_multicast or network.is_loopback or network.is_link_local:
            self.add(owner, path, "invalid-cidr", f"{text} is not for hosts of a network", hint)
            return None
        return network

    def one_per_family(self, owner: Resource, path: Path, versions: list[int]) -> None:
        for version in {version for version in versions if versions.count(version) > 1}:
            message = f"two of IPv{version} are given"
            self.add(owner, path, "family-mismatch", message, "give at most one per family, as v4,v6")

    def range(self, owner: Resource, path: Path, text: str) -> AddressRange | None:
        """A range, CIDR or address, or None after a problem."""
        if "/" in text:
            network = self.network(owner, path, text)
            return AddressRange.of(network) if network is not None else None
        try:
            if "%" in text:
                raise ValueError
            return AddressRange.parse(text)
        except ValueError:
            message = f'"{shorten(text)}" is neither an address nor a range'
            self.add(
                owner,
                path,
                "invalid-address",
                message,
                "write an address, a CIDR, or first..last (first-last in pools)",
            )
            return None

    def same_families(self, owner: Resource, path: Path, given: Iterable[int], wanted: Iterable[int], of: str) -> None:
        """A problem if values given per family leave a family out or bring one more than `of` has. None given is fine."""
        has, needs = set(given), set(wanted)
        if has and needs and has != needs:
            shown, given_here = (" and ".join(f"IPv{v}" for v in sorted(versions)) for versions in (needs, has))
            message = f"{of} has {shown}, but {given_here} {'is' if len(has) == 1 else 'are'} given here"
            hint = f"give {' and '.join(f'one IPv{version} address' for version in sorted(needs))}"
            self.add(owner, path, "family-mismatch", message, hint)


def any_of(names: Sequence[str]) -> str:
    """Names to choose from, as a hint says them; not more than a person reads."""
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return shown if len(names) == 1 else f"one of {shown}"


def overlaps(items: Iterable[tuple[AddressRange, T]]) -> Iterator[tuple[T, T]]:
    """Pairs of owners whose ranges overlap: every owner that overlaps an earlier one is the second of some pair. One sweep, so
    that many ranges cost little."""
    widest: tuple[AddressRange, T] | None = None
    for item in sorted(items, key=lambda pair: (pair[0].version, pair[0].first, -pair[0].last)):
        if widest is not None and widest[0].overlaps(item[0]):
            yield widest[1], item[1]
        if widest is None or widest[0].version != item[0].version or item[0].last > widest[0].last:
            widest = item


def readable(text: str) -> tuple[Network, ...]:
    """The networks of "v4,v6", or none if they cannot be read (which is somebody else's problem)."""
    try:
        return networks(text)
    except ValueError:
        return ()
