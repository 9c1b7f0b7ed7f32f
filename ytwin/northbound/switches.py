"""Logical_Switch and Logical_Switch_Port rows: Subnets, the join switch, and what is plugged into them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.northbound.addressing import join_addresses, workload_mac
from ytwin.northbound.names import CLUSTER, node_port, owned_by, router_port, switch_port, vpc_group, workload_port
from ytwin.northbound.rows import LogicalSwitch, LogicalSwitchPort, Strings
from ytwin.resources.addresses import canonical_dual
from ytwin.resources.model import Node, Subnet
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of
from ytwin.resources.workload import (
    IP_ADDRESS,
    JOIN,
    MAC_ADDRESS,
    Workload,
    cidrs_of,
    default_vpc,
    excluded_of,
    join_subnet,
    subnets_of,
    vpc_of,
    vpcs,
    workloads,
)


def switches_of(snapshot: Snapshot, vpc: str) -> tuple[Subnet, ...]:
    """The Subnets of a VPC and, for the default VPC of a cluster with nodes, the join network."""
    subnets = subnets_of(snapshot, vpc)
    if vpc != default_vpc(snapshot) or not has_join(snapshot):
        return subnets
    return (*subnets, join_subnet(snapshot))


def has_join(snapshot: Snapshot) -> bool:
    """Whether there is a join switch: kube-ovn's Subnet `join` was given, or there are nodes to plug into one."""
    given = snapshot.get(Subnet, JOIN)
    if given is not None and vpc_of(snapshot, given) != default_vpc(snapshot):
        raise Unsupported(
            f"Subnet/{JOIN} is in Vpc {vpc_of(snapshot, given)}, but the nodes' own network belongs to the default Vpc "
            f"{default_vpc(snapshot)}: rename the Subnet or move it"
        )
    return given is not None or next(snapshot.all(Node), None) is not None


def source_of(snapshot: Snapshot, subnet: Subnet) -> ObjectId:
    """The object behind a switch: the Subnet, or the cluster for a join network that nobody wrote."""
    return id_of(subnet) if snapshot.get(Subnet, subnet.name) is not None else CLUSTER


def subnet_switches(snapshot: Snapshot, balanced: Collection[str]) -> Iterator[LogicalSwitch]:
    """A switch per Subnet; those of the VPCs in `balanced` refer to their VPC's Load_Balancer_Group."""
    for vpc in vpcs(snapshot):
        groups = (vpc_group(vpc),) if vpc in balanced else ()
        for subnet in switches_of(snapshot, vpc):
            yield LogicalSwitch(
                name=subnet.name, load_balancer_group=groups, external_ids=owned_by(source_of(snapshot, subnet))
            )


def port_to_router(switch: str, router: str, external_ids: Strings) -> LogicalSwitchPort:
    """A switch's port to a router; its addresses are the router port's own."""
    return LogicalSwitchPort(
        name=switch_port(switch, router),
        switch=switch,
        type="router",
        addresses=("router",),
        options=frozendict({"router-port": router_port(router, switch)}),
        external_ids=external_ids,
    )


def subnet_ports(snapshot: Snapshot) -> Iterator[LogicalSwitchPort]:
    """Every Subnet's port to its VPC."""
    for vpc in vpcs(snapshot):
        for subnet in switches_of(snapshot, vpc):
            yield port_to_router(subnet.name, vpc, owned_by(source_of(snapshot, subnet)))


def workload_ports(snapshot: Snapshot) -> Iterator[LogicalSwitchPort]:
    """A port per workload. Port security stays off: the twin asks who can reach whom, not who can pretend to be whom."""
    for workload in workloads(snapshot):
        yield LogicalSwitchPort(
            name=workload_port(workload.id),
            switch=_subnet_of(workload),
            addresses=(" ".join((mac_of(workload), *workload.addresses)),),
            external_ids=owned_by(workload.id),
        )


def _subnet_of(workload: Workload) -> str:
    if not workload.subnet or not workload.addresses:
        raise Unsupported(
            f"{workload.id} has no {'address' if workload.subnet else 'Subnet'} yet: reconcile the snapshot first"
        )
    return workload.subnet


def mac_of(workload: Workload) -> str:
    """The MAC given to a workload, else the one derived from its address."""
    return workload.mac or workload_mac(workload.addresses)


def node_ports(snapshot: Snapshot) -> Iterator[LogicalSwitchPort]:
    """Every node's own port on the join switch, with kube-ovn's annotated address or a stable allocation."""
    nodes = {node.name: node for node in snapshot.all(Node)}
    if not nodes:
        return
    join = join_subnet(snapshot)
    taken = {ip for workload in workloads(snapshot) if workload.subnet == JOIN for ip in workload.addresses}
    taken.update(str(address) for excluded in excluded_of(join) for address in excluded)
    given = {name: canonical_dual(node.metadata.annotations.get(IP_ADDRESS, "")) for name, node in nodes.items()}
    for name, addresses in join_addresses(given, cidrs_of(join), taken).items():
        mac = nodes[name].metadata.annotations.get(MAC_ADDRESS, "").lower() or workload_mac(addresses)
        yield LogicalSwitchPort(
            name=node_port(name),
            switch=JOIN,
            addresses=(" ".join((mac, *addresses)),),
            external_ids=owned_by(id_of(nodes[name])),
        )
