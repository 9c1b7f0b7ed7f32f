"""The state of one generation: the random stream, the objects so far, and which addresses are used up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from random import Random
from typing import TypeVar

from ytwin.resources.model import Resource

T = TypeVar("T")

DEFAULT_VPC = "ovn-cluster"


@dataclass(frozen=True, slots=True)
class Net:
    """A Subnet of the plan. Host addresses below .10 are for gateways and routes, .10 to .59 for addresses given to workloads."""

    name: str
    vpc: str
    networks: tuple[IPv4Network | IPv6Network, ...]

    def host(self, number: int) -> str:
        """The n-th address of each family, "v4,v6"."""
        return ",".join(str(network[number]) for network in self.networks)

    @property
    def families(self) -> frozenset[int]:
        return frozenset(network.version for network in self.networks)


@dataclass(frozen=True, slots=True)
class Gateway:
    """An EipGateway of the plan."""

    name: str
    families: frozenset[int]


@dataclass(slots=True)
class Draw:
    """What the parts of the generator share."""

    random: Random
    plain: bool
    nodes: tuple[str, ...]
    objects: list[Resource] = field(default_factory=list)
    nets: dict[str, list[Net]] = field(default_factory=dict)
    """By VPC."""
    twins: set[str] = field(default_factory=set)
    """VPCs that share CIDRs with another: no Service may join them."""
    gateways: list[Gateway] = field(default_factory=list)
    gateway_of_vpc: dict[str, Gateway] = field(default_factory=dict)
    eips: dict[str, list[tuple[str, set[tuple[int, str]]]]] = field(default_factory=dict)
    """VPC -> EIPs given to its Services, each with the ports that are taken on it."""
    counters: dict[str, int] = field(default_factory=dict)

    def chance(self, probability: float) -> bool:
        """True with the probability, never in a plain topology."""
        return not self.plain and self.random.random() < probability

    def pick(self, items: Sequence[T]) -> T:
        return items[self.random.randrange(len(items))]

    def some(self, items: Sequence[T], least: int = 1) -> list[T]:
        """At least `least` of the items, in their order."""
        count = self.random.randint(min(least, len(items)), len(items))
        chosen = sorted(self.random.sample(range(len(items)), count))
        return [items[i] for i in chosen]

    def next(self, name: str, start: int = 0) -> int:
        """A counter: start, start + 1, ..."""
        value = self.counters.get(name, start)
        self.counters[name] = value + 1
        return value

    def families(self, vpc: str) -> frozenset[int]:
        return frozenset().union(*(net.families for net in self.nets[vpc]))


_FIRST, _LAST = int(IPv4Address("10.16.0.0")), int(IPv4Address("10.95.255.255"))
"""IPv4 addresses that Subnets are cut from: below the default serviceCIDR."""


def prefix_for(hosts: int, subnets: int) -> int:
    """The longest IPv4 prefix, /16 to /24, with room for the hosts; a longer one where that many Subnets would not fit."""
    wanted = min(24, 32 - (hosts + 3).bit_length())
    fitting = next(p for p in range(16, 25) if subnets << (32 - p) <= _LAST - _FIRST + 1)
    return max(wanted, fitting)


def subnet_networks(index: int, families: frozenset[int], prefix: int) -> tuple[IPv4Network | IPv6Network, ...]:
    """The CIDRs of the index-th Subnet; different indexes do not overlap. `prefix` is the IPv4 one."""
    made: list[IPv4Network | IPv6Network] = []
    if 4 in families:
        made.append(IPv4Network((_FIRST + (index << (32 - prefix)), prefix)))
    if 6 in families:
        made.append(IPv6Network(f"fd10:{index:x}::/64"))
    return tuple(made)


def parts(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of "v4,v6"."""
    return tuple(ip_network(part) for part in text.split(","))
