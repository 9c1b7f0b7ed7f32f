"""What every node must be told, from the objects that name it and the Northbound's ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_network

from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.nodes.config import Attachment, HostRoute, NodeConfig
from ytwin.northbound.names import node_port, workload_port
from ytwin.northbound.rows import LogicalSwitchPort, Northbound, RowKey
from ytwin.resources.addresses import split_dual, version_of
from ytwin.resources.model import EipGateway, NetworkCard, NetworkCardSpec, Node, Subnet
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.workload import (
    JOIN,
    Workload,
    cidrs_of,
    default_vpc,
    encap_ip,
    gateways_of,
    join_subnet,
    subnets_of,
    workloads,
)

NODE_DEVICE = "ovn0"
"""The node's own OVS internal port on the join switch; kube-ovn's name."""
_IFNAME_CHARS = 15
"""What Linux allows in a device's name."""


def node_configs(snapshot: Snapshot, northbound: Northbound) -> tuple[NodeConfig, ...]:
    """One NodeConfig per Node, sorted by name. `northbound` is what the same reconciled snapshot compiles to."""
    cards = {card.spec.node: card.spec for card in snapshot.all(NetworkCard)}
    lans = {subnet.name: _lan(snapshot, subnet) for subnet in (*snapshot.all(Subnet), join_subnet(snapshot))}
    plugged: dict[str, list[Workload]] = {}
    for workload in workloads(snapshot):
        plugged.setdefault(workload.node, []).append(workload)
    routes, mappings = host_routes(snapshot), _mappings(snapshot)
    configs = []
    for node in snapshot.all(Node):
        card = cards.get(node.name, NetworkCardSpec(node=node.name))
        own = _attachment(northbound, id_of(node), node_port(node.name), lans[JOIN])
        others = (
            _attachment(northbound, w.id, workload_port(w.id), lans[w.subnet]) for w in plugged.get(node.name, ())
        )
        configs.append(
            NodeConfig(
                node=node.name,
                ovs_on="card" if card.type == "DPU" else "host",
                card=card.type,
                external_ids=_external_ids(snapshot, node, mappings.get(node.name, ())),
                other_config=frozendict({"hw-offload": "true"} if card.type != "none" and card.hw_offload else {}),
                attachments=(own, *others),
                routes=routes,
            )
        )
    return tuple(configs)


def bridge_of(network_name: str) -> str:
    """OVS bridge of a physical network: `br-<name>`, shortened with a hash where Linux would not take that as a device's name."""
    name = f"br-{network_name}"
    if len(name) <= _IFNAME_CHARS:
        return name
    digest = blake2b(network_name.encode(), digest_size=3).hexdigest()
    return f"{name[: _IFNAME_CHARS - len(digest) - 1]}-{digest}"


def host_routes(snapshot: Snapshot) -> tuple[HostRoute, ...]:
    """A node's routes to what its own port can reach: the Services and the Subnets of the default VPC."""
    join = join_subnet(snapshot)
    via = {version_of(gateway): gateway for gateway in gateways_of(join)}
    prefixes = [str(ip_network(part, strict=False)) for part in split_dual(snapshot.network.service_cidr)]
    prefixes += [cidr for subnet in subnets_of(snapshot, default_vpc(snapshot)) for cidr in cidrs_of(subnet)]
    return tuple(
        HostRoute(prefix, via[version_of(prefix)], NODE_DEVICE) for prefix in prefixes if version_of(prefix) in via
    )


def _mappings(snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
    """Node -> physical networks that its bridges must join: those of the EipGateways it may host."""
    found: dict[str, set[str]] = {}
    for gateway in snapshot.all(EipGateway):
        for node in gateway.spec.nodes:
            found.setdefault(node, set()).add(gateway.spec.network_name)
    return {node: tuple(sorted(names)) for node, names in found.items()}


def _external_ids(snapshot: Snapshot, node: Node, physical: tuple[str, ...]) -> frozendict[str, str]:
    address = encap_ip(node)
    if not address:
        raise Unsupported(f"Node/{node.name} has no InternalIP in status.addresses: tunnels to it need one")
    ids = {
        "system-id": node.name,
        "hostname": node.name,
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": address,
    }
    if physical:
        ids["ovn-bridge-mappings"] = ",".join(f"{name}:{bridge_of(name)}" for name in physical)
    if snapshot.network.datapath == "netdev":
        ids["ovn-bridge-datapath-type"] = "netdev"
    return frozendict(ids)


@dataclass(frozen=True, slots=True)
class _Lan:
    """What a Subnet tells everyone in it, by address family (4, 6)."""

    prefix_length: Mapping[int, str]
    gateway: Mapping[int, str]
    mtu: int


def _lan(snapshot: Snapshot, subnet: Subnet) -> _Lan:
    return _Lan(
        prefix_length={version_of(cidr): cidr.partition("/")[2] for cidr in cidrs_of(subnet)},
        gateway={version_of(gateway): gateway for gateway in gateways_of(subnet)},
        mtu=subnet.spec.mtu or snapshot.network.mtu,
    )


def _attachment(northbound: Northbound, owner: ObjectId, port: str, lan: _Lan) -> Attachment:
    row = northbound.rows.get(RowKey(LogicalSwitchPort.table, port))
    if not isinstance(row, LogicalSwitchPort):
        raise Unsupported(f"{owner} has no port {port} in the Northbound: it was compiled from another snapshot")
    mac, *addresses = row.addresses[0].split()
    own = [(version_of(address), address) for address in addresses]
    return Attachment(
        iface_id=port,
        kind=owner.kind,
        namespace=owner.namespace,
        name=owner.name,
        mac=mac,
        addresses=tuple(f"{address}/{lan.prefix_length[version]}" for version, address in own),
        gateways=() if owner.kind == Node.KIND else tuple(lan.gateway[version] for version, _ in own),
        mtu=lan.mtu,
    )
