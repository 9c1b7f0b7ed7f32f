"""Logical_Router rows of VPCs: their ports to Subnets, and the routes and policies that the Vpc object asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network

from ytwin.core.errors import Unsupported
from ytwin.logical.expr import parse_match
from ytwin.northbound.addressing import router_mac
from ytwin.northbound.names import owned_by, router_port
from ytwin.northbound.rows import LogicalRouter, LogicalRouterPort, RouterPolicy, StaticRoute
from ytwin.northbound.switches import source_of, switches_of
from ytwin.resources.addresses import canonical, canonical_dual, version_of
from ytwin.resources.model import Vpc
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.workload import cidrs_of, gateways_of, vpcs


def vpc_id(vpc: str) -> ObjectId:
    """The object behind a VPC's router; the default VPC may exist without being written."""
    return ObjectId(Vpc.KIND, "", vpc)


def vpc_routers(snapshot: Snapshot, load_balancers: Mapping[str, tuple[str, ...]]) -> Iterator[LogicalRouter]:
    """A router per VPC; `load_balancers` are the EIP rows that each balances itself."""
    for vpc in vpcs(snapshot):
        yield LogicalRouter(name=vpc, load_balancer=load_balancers.get(vpc, ()), external_ids=owned_by(vpc_id(vpc)))


def subnet_router_ports(snapshot: Snapshot) -> Iterator[LogicalRouterPort]:
    """Every VPC's port to each of its Subnets, with the Subnet's gateway addresses."""
    for vpc in vpcs(snapshot):
        for subnet in switches_of(snapshot, vpc):
            name = router_port(vpc, subnet.name)
            lengths = (cidr.partition("/")[2] for cidr in cidrs_of(subnet))
            yield LogicalRouterPort(
                name=name,
                router=vpc,
                mac=router_mac(name),
                networks=tuple(f"{ip}/{length}" for ip, length in zip(gateways_of(subnet), lengths, strict=True)),
                external_ids=owned_by(source_of(snapshot, subnet)),
            )


def vpc_routes(snapshot: Snapshot) -> Iterator[StaticRoute]:
    """`Vpc.spec.staticRoutes`. A route table other than "" is looked up for ports with `options:route_table` only."""
    for vpc in snapshot.all(Vpc):
        for route in vpc.spec.static_routes:
            yield StaticRoute(
                router=vpc.name,
                ip_prefix=str(ip_network(route.cidr, strict=False)),
                nexthop=canonical(route.next_hop_ip),
                policy="src-ip" if route.policy == "policySrc" else "dst-ip",
                route_table=route.route_table,
                external_ids=owned_by(id_of(vpc)),
            )


def vpc_policies(snapshot: Snapshot) -> Iterator[RouterPolicy]:
    """`Vpc.spec.policyRoutes`; several next hops are written "a,b"."""
    for vpc in snapshot.all(Vpc):
        seen: set[tuple[int, str]] = set()
        for index, policy in enumerate(vpc.spec.policy_routes):
            try:
                parse_match(policy.match)
            except Unsupported as error:
                # ovn-northd would take it, and every ovn-controller leave the flow out.
                raise Unsupported(f"{id_of(vpc)}: spec.policyRoutes[{index}].match: {error}") from None
            if (policy.priority, policy.match) in seen:
                raise Unsupported(
                    f"{id_of(vpc)} has two policy routes of priority {policy.priority} for {policy.match}"
                )
            seen.add((policy.priority, policy.match))
            hops = canonical_dual(policy.next_hop_ip) if policy.action == "reroute" else ()
            if len({version_of(hop) for hop in hops}) > 1:
                raise Unsupported(
                    f"{id_of(vpc)}: the policy route of priority {policy.priority} for {policy.match} has next hops of both "
                    "families, which OVN ignores: write one policy per family"
                )
            yield RouterPolicy(
                router=vpc.name,
                priority=policy.priority,
                match=policy.match,
                action=policy.action,
                nexthops=hops,
                external_ids=owned_by(id_of(vpc)),
            )
