"""What the scenarios promise, from the Kubernetes objects alone: no row and no flow is looked at here.

Scenario 1: a ClusterIP answers clients of the Service's VPC. Scenario 2: one of the default VPC also answers the nodes.
Scenarios 3 and 4: an EIP answers the outside of its EipGateway. An EIP over several VPCs also answers a VPC on both sides of
the service-gateway: one that has a default route to the EipGateway (because it has an EIP of its own there), so that the
request gets there, and that backs such an EIP too, so that the service-gateway has a route for the reply. Nothing else is
promised, so nothing else may be reachable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ytwin.resources.addresses import canonical_dual, version_of
from ytwin.resources.model import YusurService
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import default_vpc, eip_gateway_of, vpcs_of_service
from ytwin.trace.types import Host

CLUSTER_IP = "ClusterIP"
EIP = "EIP"


@dataclass(frozen=True, slots=True)
class Target:
    """One address and port of a Service."""

    service: str
    """"namespace/name"."""
    kind: str
    """ClusterIP or EIP."""
    address: str
    port: int
    protocol: str
    """tcp, udp or sctp."""
    vpcs: tuple[str, ...]
    gateway: str
    """Name of the EipGateway; "" for a ClusterIP."""


@dataclass(frozen=True, slots=True)
class Expectation:
    reachable: bool
    why: str


def targets(snapshot: Snapshot) -> Iterator[Target]:
    """Every address x port of every YusurService of a reconciled Snapshot, ClusterIP first, IPv4 first."""
    for service in snapshot.all(YusurService):
        vpcs = vpcs_of_service(snapshot, service)
        gateway = eip_gateway_of(snapshot, service) if service.spec.type == "LoadBalancer" else None
        addresses = [(CLUSTER_IP, a) for a in canonical_dual(service.status.cluster_ip)]
        addresses += [(EIP, a) for a in canonical_dual(service.status.eip)]
        for kind, address in addresses:
            for port in service.spec.ports:
                yield Target(
                    service=f"{service.namespace}/{service.name}",
                    kind=kind,
                    address=address,
                    port=port.port,
                    protocol=port.protocol.lower(),
                    vpcs=vpcs,
                    gateway=gateway.name if gateway is not None and kind == EIP else "",
                )


def expectation(snapshot: Snapshot, client: Host, target: Target) -> Expectation:
    """Whether the scenario promises that `client` reaches `target`, and the sentence that says why."""
    family = version_of(target.address)
    if not any(version_of(address) == family for address in client.addresses):
        return Expectation(False, f"the client has no IPv{family} address")
    if target.kind == EIP:
        return _expect_eip(snapshot, client, target)
    if client.kind == "Node":
        default = default_vpc(snapshot)
        if default in target.vpcs:
            return Expectation(True, f"nodes reach ClusterIPs of the default VPC {default}")
        return Expectation(False, f"nodes reach ClusterIPs of the default VPC only, not of {', '.join(target.vpcs)}")
    if client.kind == "outside":
        return Expectation(False, "a ClusterIP is not routed outside the cluster")
    if client.vpc in target.vpcs:
        return Expectation(True, f"client and Service are in VPC {client.vpc}")
    return Expectation(False, f"VPC {client.vpc} is isolated from {', '.join(target.vpcs)}")


def _expect_eip(snapshot: Snapshot, client: Host, target: Target) -> Expectation:
    if client.kind == "outside":
        if client.name == f"outside/{target.gateway}":
            return Expectation(True, f"EipGateway {target.gateway} announces the EIP to this client")
        return Expectation(False, f"the EIP belongs to EipGateway {target.gateway}, another outside network")
    if client.kind == "Node":
        return Expectation(False, "nodes have no route to an EIP")
    sides = _eip_sides(snapshot, client.vpc, target.gateway)
    if len(target.vpcs) > 1 and sides == {"alone", "shared"}:
        return Expectation(
            True, f"VPC {client.vpc} stands on both sides of EipGateway {target.gateway}'s service-gateway"
        )
    return Expectation(False, "an EIP serves the outside; inside, the ClusterIP does")


def _eip_sides(snapshot: Snapshot, vpc: str, gateway: str) -> set[str]:
    """How a VPC backs EIPs of an EipGateway: "alone" gives it a default route there, "shared" a port of the service-gateway."""
    sides: set[str] = set()
    for service in snapshot.all(YusurService):
        vpcs = vpcs_of_service(snapshot, service)
        if service.spec.type == "LoadBalancer" and vpc in vpcs:
            found = eip_gateway_of(snapshot, service)
            if found is not None and found.name == gateway:
                sides.add("alone" if len(vpcs) == 1 else "shared")
    return sides
