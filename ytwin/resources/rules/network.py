"""Subnets, VPCs and the cluster's own ranges: what they say, and what must not overlap."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.resources.addresses import Address, AddressRange, Network, hosts
from ytwin.resources.model import ClusterNetwork, Metadata, Resource, Subnet, Vpc, VpcPolicyRoute
from ytwin.resources.rules.report import Report, SubnetFacts, overlaps
from ytwin.resources.workload import JOIN, default_vpc, vpc_of
from ytwin.resources.yamltree import Path

_PROTOCOL = {"IPv4": [4], "IPv6": [6], "Dual": [4, 6]}


def check(report: Report) -> None:
    _cluster(report)
    for subnet in report.snapshot.all(Subnet):
        _subnet(report, subnet)
    for vpc in report.snapshot.all(Vpc):
        _vpc(report, vpc)
    _one_default(report)
    _overlaps(report)


def _cluster(report: Report) -> None:
    """The service, join and transit ranges: readable, and apart from each other."""
    snapshot, plan = report.snapshot, report.plan
    owner: Resource = next(snapshot.all(ClusterNetwork), ClusterNetwork(metadata=Metadata(name="cluster")))
    spec = snapshot.network
    named: list[tuple[AddressRange, str]] = []
    for alias, text, ranges in (
        ("serviceCIDR", spec.service_cidr, plan.service),
        ("joinCIDR", spec.join_cidr, plan.join),
        ("transitCIDR", spec.transit_cidr, plan.transit),
    ):
        if alias == "joinCIDR" and snapshot.get(Subnet, JOIN) is not None:
            continue  # kube-ovn's own join Subnet says it
        networks = report.networks(owner, ("spec", alias), text)
        ranges.extend(AddressRange.of(network) for network in networks)
        named += ((item, alias) for item in ranges)
    for first, second in overlaps(named):
        if first != second:
            hint = "move one of them in ClusterNetwork.spec"
            report.add(owner, ("spec", second), "cidr-overlap", f"{second} overlaps {first}", hint)


def _subnet(report: Report, subnet: Subnet) -> None:
    spec = subnet.spec
    vpc = vpc_of(report.snapshot, subnet)
    if spec.vpc and spec.vpc != default_vpc(report.snapshot):
        report.refer(subnet, ("spec", "vpc"), Vpc, spec.vpc)
    if subnet.name == JOIN and vpc != default_vpc(report.snapshot):
        hint = "give it another name; the nodes' own ports sit in the Subnet join of the default VPC"
        report.add(subnet, ("metadata", "name"), "reserved-name", f"a Subnet join in VPC {vpc}", hint)
    networks = report.networks(subnet, ("spec", "cidrBlock"), spec.cidr_block)
    versions = [network.version for network in networks]
    if networks and spec.protocol and sorted(versions) != _PROTOCOL[spec.protocol]:
        shown = " and ".join(f"IPv{version}" for version in sorted(versions))
        message = f"protocol {spec.protocol}, but cidrBlock is {shown}"
        report.add(subnet, ("spec", "protocol"), "family-mismatch", message, "leave protocol out, or make them agree")
    if spec.mtu and not (1280 if 6 in versions else 576) <= spec.mtu <= 65535:
        hint = "use 576 to 65535 (from 1280 with IPv6), or leave it out"
        report.add(subnet, ("spec", "mtu"), "value", f"an MTU of {spec.mtu} is impossible", hint)
    if not networks or len(networks) != len(set(versions)):
        return
    gateways = _gateways(report, subnet, networks)
    reserved = _excluded(report, subnet, networks)
    report.subnets[subnet.name] = SubnetFacts(subnet, vpc, networks, gateways, reserved)


def _gateways(report: Report, subnet: Subnet, networks: tuple[Network, ...]) -> dict[int, Address]:
    path: Path = ("spec", "gateway")
    given = report.addresses(subnet, path, subnet.spec.gateway)
    report.same_families(subnet, path, (a.version for a in given), (n.version for n in networks), "cidrBlock")
    found: dict[int, Address] = {address.version: address for address in given}
    for network in networks:
        address = found.get(network.version)
        if address is None:
            found[network.version] = network[hosts(network).first - int(network.network_address)]
        elif address not in hosts(network):
            hint = "the gateway is a host address of cidrBlock"
            report.add(subnet, path, "outside-subnet", f"gateway {address} is no host of {network}", hint)
    return found


def _excluded(report: Report, subnet: Subnet, networks: tuple[Network, ...]) -> tuple[AddressRange, ...]:
    found = []
    for index, text in enumerate(subnet.spec.exclude_ips):
        path: Path = ("spec", "excludeIps", index)
        item = report.range(subnet, path, text)
        if item is None:
            continue
        found.append(item)
        if not any(AddressRange.of(network).overlaps(item) for network in networks):
            hint = "name addresses of the Subnet, or leave it out"
            report.add(subnet, path, "outside-subnet", f"{item} is not in {subnet.spec.cidr_block}", hint)
    return tuple(found)


def _vpc(report: Report, vpc: Vpc) -> None:
    spec = vpc.spec
    path: Path = ("spec", "defaultSubnet")
    if spec.default_subnet and report.refer(vpc, path, Subnet, spec.default_subnet):
        subnet = report.snapshot.get(Subnet, spec.default_subnet)
        if subnet is not None and vpc_of(report.snapshot, subnet) != vpc.name:
            message = f"Subnet {subnet.name} belongs to VPC {vpc_of(report.snapshot, subnet)}"
            report.add(vpc, path, "wrong-vpc", message, f"name a Subnet whose spec.vpc is {vpc.name}")
    for index, route in enumerate(spec.static_routes):
        at: Path = ("spec", "staticRoutes", index)
        hops = report.address_list(vpc, (*at, "nextHopIP"), route.next_hop_ip)
        target = _destination(report, vpc, (*at, "cidr"), route.cidr)
        if hops and target and hops[0].version != target:
            hint = "a route and its next hop are of one family"
            report.add(vpc, (*at, "nextHopIP"), "family-mismatch", f"{hops[0]} cannot be reached by IPv{target}", hint)
        if len(hops) > 1 or not route.next_hop_ip.strip():
            message = "several next hops are given" if hops else "no next hop is given"
            hint = "write one IP address; for several next hops write the route several times"
            report.add(vpc, (*at, "nextHopIP"), "invalid-address", message, hint)
    seen: dict[tuple[int, str], int] = {}
    for index, policy in enumerate(spec.policy_routes):
        at = ("spec", "policyRoutes", index)
        first = seen.setdefault((policy.priority, policy.match), index)
        if first != index:
            message = f"priority {policy.priority} with this match stands in spec.policyRoutes[{first}] already"
            report.add(
                vpc, at, "duplicate", message, "keep one of them; several next hops go into one nextHopIP, as a,b"
            )
        _next_hops(report, vpc, (*at, "nextHopIP"), policy)


def _next_hops(report: Report, vpc: Vpc, path: Path, policy: VpcPolicyRoute) -> None:
    """One next hop, or several of one family (OVN shares the flows out between them), as kube-ovn has it."""
    hops = report.address_list(vpc, path, policy.next_hop_ip)
    if (policy.action == "reroute") != bool(policy.next_hop_ip.strip()):
        hint = "nextHopIP goes with action reroute, and only with it"
        said = "without a nextHopIP" if policy.action == "reroute" else "with a nextHopIP"
        report.add(vpc, path, "value", f"action {policy.action} {said} does nothing", hint)
    if len({hop.version for hop in hops}) > 1:
        hint = "write one policy route per family"
        report.add(vpc, path, "family-mismatch", "next hops of both families, which OVN ignores", hint)


def _destination(report: Report, vpc: Vpc, path: Path, text: str) -> int:
    """Family of a route's destination (0 if unreadable); unlike a Subnet's, it may be everything or one address."""
    if text in ("0.0.0.0/0", "::/0"):
        return 6 if ":" in text else 4
    if "/" in text:
        network = report.network(vpc, path, text)
        return network.version if network is not None else 0
    found = report.addresses(vpc, path, text)
    if not text:
        report.add(vpc, path, "invalid-cidr", "no destination is given", "write a CIDR or an address")
    return found[0].version if found else 0


def _one_default(report: Report) -> None:
    defaults = [subnet for subnet in report.snapshot.all(Subnet) if subnet.spec.default]
    for subnet in defaults[1:]:
        message = f"Subnet {defaults[0].name} is the default already"
        report.add(subnet, ("spec", "default"), "two-defaults", message, "keep default: true on one Subnet")


def _overlaps(report: Report) -> None:
    """Subnets of one VPC lie apart, and away from the ranges that the VPC's router knows by other means."""
    path: Path = ("spec", "cidrBlock")
    if JOIN in report.subnets:
        report.plan.join.extend(report.subnets[JOIN].ranges)
    by_vpc: dict[str, list[tuple[AddressRange, SubnetFacts]]] = {}
    for facts in report.subnets.values():
        by_vpc.setdefault(facts.vpc, []).extend((item, facts) for item in facts.ranges)
    for vpc, own in by_vpc.items():
        for first, second in overlaps(own):
            message = (
                f"{second.subnet.spec.cidr_block} overlaps {first.subnet.spec.cidr_block} of Subnet {first.subnet.name}"
            )
            hint = f"Subnets of one VPC ({vpc}) need CIDRs of their own; two VPCs may share them"
            report.add(second.subnet, path, "cidr-overlap", message, hint)
    for facts in report.subnets.values():
        for alias, item in _cluster_ranges(report, facts):
            if any(part.overlaps(item) for part in facts.ranges):
                message = f"{facts.subnet.spec.cidr_block} overlaps {alias} {item}"
                hint = f"take another cidrBlock, or another {alias} in ClusterNetwork"
                report.add(facts.subnet, path, "cidr-overlap", message, hint)


def _cluster_ranges(report: Report, facts: SubnetFacts) -> Iterator[tuple[str, AddressRange]]:
    for item in report.plan.service:
        yield "serviceCIDR", item
    for item in report.plan.transit:
        yield "transitCIDR", item
    # Only the default VPC's router is on the join switch.
    if facts.vpc == default_vpc(report.snapshot) and facts.subnet.name != JOIN:
        for item in report.plan.join:
            yield "joinCIDR", item
