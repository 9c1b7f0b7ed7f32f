"""Puts a Southbound into a place: which chassis are alive, what is bound where, and which hosts sit at the edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address, ip_network, summarize_address_range

from frozendict import frozendict

from ytwin.logical.southbound import PortBinding, Southbound
from ytwin.nodes.config import Attachment, NodeConfig
from ytwin.northbound.names import localnet_port, object_of
from ytwin.northbound.rows import LogicalSwitchPort, Northbound
from ytwin.resources.addresses import networks, split_dual, version_of
from ytwin.resources.model import EipGateway, Subnet
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.workload import default_vpc, pools_of, workloads
from ytwin.trace.types import Host, Route, World

DATAPATH_TYPE = "ovn-bridge-datapath-type"
ANY = {4: "0.0.0.0/0", 6: "::/0"}


def build_world(
    snapshot: Snapshot,
    northbound: Northbound,
    configs: Iterable[NodeConfig],
    southbound: Southbound,
    down: Iterable[str] = (),
) -> World:
    """Bind ports as ovn-controller would with these NodeConfigs; `down` names chassis that are lost with all that is on them.

    A distributed gateway port is on its live gateway chassis of highest priority. A gateway router stays where
    `options:chassis` says, so it is lost with that chassis.
    """
    lost = frozenset(down)
    living = tuple(c for c in configs if c.node not in lost and chassis_name(c) not in lost)
    chassis = tuple(chassis_name(c) for c in living)
    attached = {a.iface_id: chassis_name(c) for c in living for a in c.attachments}
    bound = bind(southbound, attached, chassis)
    localnets = _localnets(bound, living)
    hosts = (*_edge_hosts(snapshot, northbound, living), *_outside_hosts(snapshot, northbound))
    userspace = frozenset(chassis_name(c) for c in living if c.external_ids.get(DATAPATH_TYPE) == "netdev")
    return World(bound, hosts, localnets, chassis, userspace)


def chassis_name(config: NodeConfig) -> str:
    """The name under which a node's ovn-controller registers: its system-id."""
    return config.external_ids.get("system-id", config.node)


def bind(southbound: Southbound, attached: Mapping[str, str], chassis: Iterable[str]) -> Southbound:
    """The Southbound with every Port_Binding's chassis as the living chassis would claim them."""
    alive = frozenset(chassis)

    def place(port: PortBinding) -> str:
        if port.type == "chassisredirect":
            ranked = sorted(port.gateway_chassis, key=lambda entry: -entry[1])
            return next((name for name, _ in ranked if name in alive), "")
        if port.type == "l3gateway":
            wanted = port.options.get("l3gateway-chassis", "")
            return wanted if wanted in alive else ""
        if port.type == "":
            return attached.get(port.name, "")
        return ""

    ports = frozendict((name, replace(port, chassis=place(port))) for name, port in southbound.ports.items())
    return replace(southbound, ports=ports)


def _localnets(southbound: Southbound, configs: tuple[NodeConfig, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Localnet ports, and the chassis whose ovn-bridge-mappings know their physical network."""
    mapped: dict[str, list[str]] = {}
    for config in configs:
        for mapping in config.external_ids.get("ovn-bridge-mappings", "").split(","):
            network = mapping.partition(":")[0]
            if network:
                mapped.setdefault(network, []).append(chassis_name(config))
    return tuple(
        (name, tuple(mapped.get(port.options.get("network_name", ""), ())))
        for name, port in sorted(southbound.ports.items())
        if port.type == "localnet"
    )


def _edge_hosts(snapshot: Snapshot, northbound: Northbound, configs: tuple[NodeConfig, ...]) -> tuple[Host, ...]:
    by_id = {w.id: w for w in workloads(snapshot)}
    switch_of = {row.name: row.switch for row in northbound.of_type(LogicalSwitchPort)}
    mtus = {subnet.name: subnet.spec.mtu for subnet in snapshot.all(Subnet)}
    hosts = []
    for config in configs:
        for attachment in config.attachments:
            workload = by_id.get(ObjectId(attachment.kind, attachment.namespace, attachment.name))
            vpc = workload.vpc if workload is not None else default_vpc(snapshot)
            subnet = switch_of.get(attachment.iface_id, workload.subnet if workload is not None else "")
            hosts.append(
                Host(
                    name=str(ObjectId(attachment.kind, attachment.namespace, attachment.name)),
                    kind=attachment.kind,
                    port=attachment.iface_id,
                    chassis=chassis_name(config),
                    mac=attachment.mac,
                    addresses=attachment.addresses,
                    routes=_routes(config, attachment),
                    vpc=vpc,
                    subnet=subnet,
                    mtu=mtus.get(subnet, 0),
                )
            )
    return tuple(hosts)


def _routes(config: NodeConfig, attachment: Attachment) -> tuple[Route, ...]:
    if attachment.kind == "Node":
        return tuple(Route(route.prefix, route.via) for route in config.routes)
    return tuple(Route(ANY[version_of(gateway)], gateway) for gateway in attachment.gateways)


def _outside_hosts(snapshot: Snapshot, northbound: Northbound) -> tuple[Host, ...]:
    """The router beyond each EipGateway: it owns `spec.gateway` and routes every pool to `spec.uplink`."""
    localnet_of = {object_of(row): row.name for row in northbound.of_type(LogicalSwitchPort) if row.type == "localnet"}
    hosts = []
    for gateway in snapshot.all(EipGateway):
        port = localnet_of.get(id_of(gateway), localnet_port(gateway.name))
        lengths: dict[int, int] = {n.version: n.prefixlen for n in networks(gateway.spec.cidr_block)}
        own = tuple(f"{a}/{lengths[version_of(a)]}" for a in split_dual(gateway.spec.gateway))
        hosts.append(
            Host(
                name=f"outside/{gateway.name}",
                kind="outside",
                port=port,
                chassis="",
                mac=outside_mac(gateway.name),
                addresses=own,
                routes=_pool_routes(gateway),
            )
        )
    return tuple(hosts)


def _pool_routes(gateway: EipGateway) -> tuple[Route, ...]:
    """Pools that lie in the uplink network are on-link for the outside, and need no route."""
    uplinks = {version_of(a): a for a in split_dual(gateway.spec.uplink)}
    connected = networks(gateway.spec.cidr_block)
    routes = []
    for pool in pools_of(gateway):
        kind = ip_address("0.0.0.0" if pool.version == 4 else "::").__class__
        for network in summarize_address_range(kind(pool.first), kind(pool.last)):
            inside = any(n.version == network.version and ip_network(network).subnet_of(n) for n in connected)  # type: ignore[arg-type]  # same version
            if pool.version in uplinks and not inside:
                routes.append(Route(str(network), uplinks[pool.version]))
    return tuple(routes)


def outside_mac(name: str) -> str:
    """A stable, locally administered MAC for the router beyond an EipGateway."""
    digest = sha256(f"outside/{name}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))
