"""Nodes, their cards, and EipGateways."""

from __future__ import annotations

import re

from ytwin.resources.addresses import Address, AddressRange, canonical_dual, hosts, subtract
from ytwin.resources.model import EipGateway, NetworkCard, Node
from ytwin.resources.rules.report import Report, overlaps, readable
from ytwin.resources.workload import ENCAP_IP, encap_ip
from ytwin.resources.yamltree import Path, shorten

_NETWORK_NAME = re.compile(r"[^\s,:]{1,64}")
"""ovn-bridge-mappings is "name:bridge,name:bridge"."""


def check(report: Report) -> None:
    _nodes(report)
    _cards(report)
    used: dict[tuple[str, int | None, Address], EipGateway] = {}
    pools: list[tuple[AddressRange, tuple[EipGateway, int]]] = []
    for gateway in report.snapshot.all(EipGateway):
        _gateway_nodes(report, gateway)
        _outside(report, gateway, used)
        for index, text in enumerate(gateway.spec.pools):
            item = report.range(gateway, ("spec", "pools", index), text)
            if item is not None:
                pools.append((item, (gateway, index)))
    for (first, _), (second, index) in overlaps(pools):
        other = "another pool of it" if first is second else f"a pool of EipGateway {first.name}"
        path: Path = ("spec", "pools", index)
        message = f"{second.spec.pools[index]} overlaps {other}"
        report.add(second, path, "pool-overlap", message, "the outside can route an address to one gateway only")
    _pools_and_networks(report, pools)


def _nodes(report: Report) -> None:
    taken: dict[str, Node] = {}
    for node in report.snapshot.all(Node):
        address = encap_ip(node)
        path: Path = ("status", "addresses")
        if ENCAP_IP in node.metadata.annotations:
            path = ("metadata", "annotations", ENCAP_IP)
        if not address:
            hint = f"give it status.addresses with type InternalIP, or the annotation {ENCAP_IP}"
            report.add(node, (), "no-encap-ip", f"node {node.name} has no underlay address for tunnels", hint)
        elif len(report.addresses(node, path, address)) == 1 and address in taken:
            message = f"node {taken[address].name} has the underlay address {address} already"
            report.add(node, path, "duplicate-address", message, "every node needs its own")
        taken.setdefault(address, node)


def _cards(report: Report) -> None:
    by_node: dict[str, NetworkCard] = {}
    for card in report.snapshot.all(NetworkCard):
        path: Path = ("spec", "node")
        report.refer(card, path, Node, card.spec.node)
        if card.spec.node in by_node:
            message = f"node {card.spec.node} has the NetworkCard {by_node[card.spec.node].name} already"
            report.add(
                card, path, "two-cards", message, "one NetworkCard describes all of a node's ports; raise spec.ports"
            )
        by_node.setdefault(card.spec.node, card)


def _gateway_nodes(report: Report, gateway: EipGateway) -> None:
    seen: set[str] = set()
    for index, name in enumerate(gateway.spec.nodes):
        path: Path = ("spec", "nodes", index)
        report.refer(gateway, path, Node, name)
        if name in seen:
            report.add(
                gateway, path, "duplicate", f"node {name} is named twice", "name each node once, most preferred first"
            )
        seen.add(name)
    if not _NETWORK_NAME.fullmatch(gateway.spec.network_name):
        hint = "use 1 to 64 characters without blanks, ',' and ':'"
        message = f'"{shorten(gateway.spec.network_name)}" is no physical network name'
        report.add(gateway, ("spec", "networkName"), "invalid-name", message, hint)


def _outside(report: Report, gateway: EipGateway, used: dict[tuple[str, int | None, Address], EipGateway]) -> None:
    """cidrBlock, uplink and gateway of the network towards the outside."""
    spec = gateway.spec
    blocks = report.networks(gateway, ("spec", "cidrBlock"), spec.cidr_block)
    for name, text in (("uplink", spec.uplink), ("gateway", spec.gateway)):
        path: Path = ("spec", name)
        given = report.addresses(gateway, path, text)
        if not text.strip():
            report.add(
                gateway, path, "invalid-address", f"no {name} is given", "write one address per family of cidrBlock"
            )
        report.same_families(gateway, path, (a.version for a in given), (n.version for n in blocks), "cidrBlock")
        for address in given:
            if blocks and not any(address in hosts(block) for block in blocks):
                hint = "take a host address of cidrBlock"
                report.add(gateway, path, "outside-subnet", f"{name} {address} is not in {spec.cidr_block}", hint)
            key = (spec.network_name, spec.vlan, address)
            other = used.setdefault(key, gateway)
            # Two gateways may well share the outside router's address.
            if other is not gateway and name == "uplink":
                message = f"EipGateway {other.name} uses {address} on the same physical network"
                report.add(gateway, path, "duplicate-address", message, "every uplink needs its own address")
    if set(canonical_dual(spec.uplink)) & set(canonical_dual(spec.gateway)):
        hint = "uplink is the eipGateway's own address, gateway the outside router's"
        report.add(gateway, ("spec", "gateway"), "duplicate-address", "uplink and gateway are the same address", hint)


def _pools_and_networks(report: Report, pools: list[tuple[AddressRange, tuple[EipGateway, int]]]) -> None:
    """A pool is routed to the uplink, so it lies outside of every network that somebody is connected to.

    Inside its own uplink network it is legal, and common: what then happens to packets is for `check` to tell (eip-on-link).
    """
    outside: dict[str, list[AddressRange]] = {}
    for gateway in report.snapshot.all(EipGateway):
        outside[gateway.name] = [AddressRange.of(network) for network in readable(gateway.spec.cidr_block)]
    inside = [(item, "serviceCIDR") for item in report.plan.service]
    inside += ((item, "transitCIDR") for item in report.plan.transit)
    inside += ((item, "joinCIDR") for item in report.plan.join)
    for item, (gateway, index) in pools:
        path: Path = ("spec", "pools", index)
        for other, name in inside:
            if item.overlaps(other):
                message = f"{gateway.spec.pools[index]} overlaps {name} {other}"
                hint = f"take addresses that the cluster itself does not use, or another {name}"
                report.add(gateway, path, "pool-overlap", message, hint)
        foreign = subtract([item], outside[gateway.name])
        for name, networks in outside.items():
            if any(part.overlaps(network) for part in foreign for network in networks):
                message = f"{gateway.spec.pools[index]} overlaps cidrBlock of EipGateway {name}"
                hint = f"hosts there look for the address on their own network; take it out, or give the pool to {name}"
                report.add(gateway, path, "pool-overlap", message, hint)
