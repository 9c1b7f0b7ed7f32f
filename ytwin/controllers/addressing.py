"""The addresses of Services: which are given, which families are still open, and the choice for those.

Given is, in this order: `spec.clusterIP` / `spec.eip` of the YusurService, what a Service object of its name tells, its status.
What is given is the whole of it: a Service that was given IPv4 only stays IPv4 only, as in Kubernetes. Otherwise a Service gets
every family that both the pool and at least one Subnet of its VPCs have; a VPC without Subnets does not limit it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ytwin.controllers.allocation import Exhausted, Pool, number_of, text_of
from ytwin.controllers.children import Addresses
from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.resources.addresses import canonical_dual, hosts, networks
from ytwin.resources.model import ClusterNetwork, EipGateway, Service, Subnet, Vpc, YusurService
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.workload import (
    cidrs_of,
    cluster_ips_of,
    eip_gateway_of,
    external_ips_of,
    occupied_outside,
    pools_of,
    subnets_of,
    vpcs,
    vpcs_of_service,
)


class Wish(NamedTuple):
    """An address still to be chosen."""

    pool: Pool
    start: int
    """Where in the pool the Service starts to look."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A Service's addresses as numbers, per kind of address."""

    cluster: tuple[int, ...] = ()
    eip: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """What one Service needs: the addresses it was given, and for each kind that it was not given what to choose from."""

    given: Addresses
    cluster_wishes: tuple[Wish, ...] = ()
    eip_wishes: tuple[Wish, ...] = ()
    numbers: Numbers = field(init=False)
    """Of the given addresses."""

    def __post_init__(self) -> None:
        cluster, eip = (tuple(number_of(a)[1] for a in texts) for texts in (self.given.cluster, self.given.eip))
        object.__setattr__(self, "numbers", Numbers(cluster, eip))

    def texts(self, chosen: Numbers) -> Addresses:
        """What the Service has once numbers were chosen for its wishes."""
        return Addresses(
            self.given.cluster or _texts(self.cluster_wishes, chosen.cluster),
            self.given.eip or _texts(self.eip_wishes, chosen.eip),
        )


def _texts(wishes: tuple[Wish, ...], numbers: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(text_of(wish.pool.version, number) for wish, number in zip(wishes, numbers, strict=True))


@dataclass(frozen=True, slots=True)
class Pools:
    """All pools of a snapshot by (EipGateway's name or "" for the service CIDR, family), and the families of every VPC."""

    pools: Mapping[tuple[str, int], Pool]
    families: Mapping[str, frozenset[int]]


def pools(snapshot: Snapshot) -> Pools:
    """The pools that `claim` and `assign` speak of."""
    return snapshot.once(_pools, Subnet.KIND, Vpc.KIND, ClusterNetwork.KIND, EipGateway.KIND)


def _pools(snapshot: Snapshot) -> Pools:
    found: dict[tuple[str, int], Pool] = {
        ("", n.version): Pool(n.version, [hosts(n)]) for n in networks(snapshot.network.service_cidr)
    }
    occupied = [item for item, _ in occupied_outside(snapshot)]
    for gateway in snapshot.all(EipGateway):
        ranges = pools_of(gateway)
        for version in {item.version for item in ranges}:
            found[gateway.name, version] = Pool(version, ranges, occupied)
    families = {
        vpc: frozenset(6 if ":" in cidr else 4 for subnet in subnets_of(snapshot, vpc) for cidr in cidrs_of(subnet))
        for vpc in vpcs(snapshot)
    }
    return Pools(found, families)


def claim(snapshot: Snapshot, service: YusurService, told: Service | None) -> Claim:
    """What the Service was given and what is open; `told` is the Service object of its name, if there is one."""
    spec, known = service.spec, pools(snapshot)
    members = vpcs_of_service(snapshot, service)
    families = frozenset().union(*(known.families.get(vpc, frozenset()) for vpc in members)) or frozenset((4, 6))
    cluster: tuple[str, ...] = ()
    eip: tuple[str, ...] = ()
    cluster_wishes: tuple[Wish, ...] = ()
    eip_wishes: tuple[Wish, ...] = ()
    if has_cluster_ip(service, members):
        told_ips = cluster_ips_of(told) if told is not None else ()
        cluster = canonical_dual(spec.cluster_ip) or told_ips or canonical_dual(service.status.cluster_ip)
        cluster_wishes = () if cluster else _wishes(known, "", families, service)
    if spec.type == "LoadBalancer":
        reported = told.spec.load_balancer_ip if told is not None else ""
        eip = canonical_dual(spec.eip) or canonical_dual(reported) or canonical_dual(service.status.eip)
        if not eip:
            gateway = eip_gateway_of(snapshot, service)
            eip_wishes = _wishes(known, gateway.name, families, service) if gateway is not None else ()
    return Claim(Addresses(cluster, eip), cluster_wishes, eip_wishes)


def has_cluster_ip(service: YusurService, members: tuple[str, ...]) -> bool:
    """All but LoadBalancers over several VPCs: those are reached through the service-gateway alone."""
    return service.spec.type == "ClusterIP" or len(members) == 1


def _wishes(known: Pools, name: str, families: frozenset[int], service: YusurService) -> tuple[Wish, ...]:
    owner = str(id_of(service))
    found = (known.pools[name, version] for version in (4, 6) if version in families and (name, version) in known.pools)
    return tuple(Wish(pool, pool.place_of(owner)) for pool in found)


def assign(claims: Mapping[ObjectId, Claim], others: Iterable[Service] = ()) -> dict[ObjectId, Numbers]:
    """Numbers for every claim with wishes; claims in the order of their ids. InvalidInput names every Service that gets none.

    What `others` have, Services that are none of the controller's, is nobody else's either.
    Numbers of both families share a set: an IPv6 address that is also an IPv4 number (::a.b.c.d) is in nobody's pool.
    """
    cluster: set[int] = set()
    eips: set[int] = set()
    for other in others:
        cluster.update(number_of(address)[1] for address in cluster_ips_of(other))
        eips.update(number_of(address)[1] for address in external_ips_of(other))
    wishing: list[tuple[ObjectId, Claim]] = []
    for key, item in claims.items():
        cluster.update(item.numbers.cluster)
        eips.update(item.numbers.eip)
        if item.cluster_wishes or item.eip_wishes:
            wishing.append((key, item))
    result: dict[ObjectId, Numbers] = {}
    problems: list[Problem] = []
    for key, item in wishing:
        try:
            result[key] = Numbers(
                item.numbers.cluster or _choose(item.cluster_wishes, cluster),
                item.numbers.eip or _choose(item.eip_wishes, eips),
            )
        except Exhausted:
            problems.append(_exhausted(key, item))
    if problems:
        raise InvalidInput(problems)
    return result


def _choose(wishes: tuple[Wish, ...], taken: set[int]) -> tuple[int, ...]:
    numbers = tuple([pool.choose(start, taken) for pool, start in wishes])
    taken.update(numbers)
    return numbers


def _exhausted(key: ObjectId, item: Claim) -> Problem:
    wanted = ["ClusterNetwork serviceCIDR"] * bool(item.cluster_wishes) + ["EipGateway pools"] * bool(item.eip_wishes)
    return Problem(
        Location(path=str(key)),
        "exhausted",
        f"no address is left for {key} in {' or '.join(wanted)}",
        "Enlarge serviceCIDR or the EipGateway's pools, or delete a Service.",
    )
