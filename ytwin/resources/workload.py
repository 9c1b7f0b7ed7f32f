"""One uniform view of everything that is plugged into a Subnet, and the network questions that every room asks.

All functions take unreconciled Snapshots too: an address that is not given yet is simply absent. What does not resolve
(a Pod without any Subnet, a Subnet of an unknown Vpc) comes back as "" here and is a problem in `validate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from frozendict import frozendict

from ytwin.resources.addresses import (
    AddressRange,
    canonical,
    canonical_dual,
    hosts,
    networks,
    split_dual,
    subtract,
    version_of,
)
from ytwin.resources.model import (
    OWNER,
    BareMetal,
    ClusterNetwork,
    ContainerPort,
    EipGateway,
    Metadata,
    Node,
    Pod,
    Resource,
    Service,
    Subnet,
    SubnetSpec,
    VirtualMachine,
    VNicIP,
    Vpc,
    WorkloadSpec,
    YusurService,
)
from ytwin.resources.snapshot import ObjectId, Snapshot, id_of

LOGICAL_SWITCH = "ovn.kubernetes.io/logical_switch"
IP_ADDRESS = "ovn.kubernetes.io/ip_address"
MAC_ADDRESS = "ovn.kubernetes.io/mac_address"
ENCAP_IP = "iaas.yusur.io/encap-ip"
JOIN = "join"
"""Name of the Subnet that the nodes' own ports sit in: the article's subnet0, kube-ovn's `join`."""

_NETWORK = (Subnet.KIND, Vpc.KIND, ClusterNetwork.KIND)
_PLACED = (*_NETWORK, Pod.KIND, VirtualMachine.KIND, BareMetal.KIND, VNicIP.KIND)


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A port that a workload says it serves; `name` may be ""."""

    name: str
    number: int
    protocol: str
    """TCP, UDP or SCTP."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A Pod, VirtualMachine, BareMetal or VNicIP where it hangs."""

    id: ObjectId
    kind: str
    namespace: str
    name: str
    labels: frozendict[str, str]
    node: str
    subnet: str
    """"" if nothing says it."""
    vpc: str
    """"" if the Subnet is unknown."""
    addresses: tuple[str, ...]
    """Canonical, IPv4 before IPv6; () while open."""
    mac: str
    """Lower case; "" while open."""
    ports: tuple[NamedPort, ...]


def default_vpc(snapshot: Snapshot) -> str:
    """Name of the default VPC, whose clients include the nodes."""
    return snapshot.network.default_vpc


def vpcs(snapshot: Snapshot) -> tuple[str, ...]:
    """Names of all VPCs, sorted; the default VPC exists even if no object says so."""
    return tuple(sorted({default_vpc(snapshot), *(vpc.name for vpc in snapshot.all(Vpc))}))


def vpc_of(snapshot: Snapshot, subnet: Subnet) -> str:
    """Name of a Subnet's VPC."""
    return subnet.spec.vpc or default_vpc(snapshot)


def join_subnet(snapshot: Snapshot) -> Subnet:
    """The Subnet of the nodes' own ports: kube-ovn's if it is in the input, else one made from ClusterNetwork.joinCIDR."""
    given = snapshot.get(Subnet, JOIN)
    if given is not None:
        return given
    network = snapshot.network
    return Subnet(metadata=Metadata(name=JOIN), spec=SubnetSpec(vpc=network.default_vpc, cidr_block=network.join_cidr))


def subnets_of(snapshot: Snapshot, vpc: str) -> tuple[Subnet, ...]:
    """Subnets of a VPC, sorted by name, without `join` (see `join_subnet`)."""
    return snapshot.once(_subnets_by_vpc, *_NETWORK).get(vpc, ())


def _subnets_by_vpc(snapshot: Snapshot) -> dict[str, tuple[Subnet, ...]]:
    found: dict[str, tuple[Subnet, ...]] = {}
    for subnet in snapshot.all(Subnet):
        if subnet.name != JOIN:
            vpc = vpc_of(snapshot, subnet)
            found[vpc] = (*found.get(vpc, ()), subnet)
    return found


def cidrs_of(subnet: Subnet) -> tuple[str, ...]:
    """One CIDR per family, IPv4 before IPv6, canonical."""
    return tuple(str(ip_network(part)) for part in split_dual(subnet.spec.cidr_block))


def gateways_of(subnet: Subnet) -> tuple[str, ...]:
    """The router's address per family of the Subnet, in the order of `cidrs_of`: the given one, else the first host address."""
    given = {version_of(address): address for address in canonical_dual(subnet.spec.gateway)}
    found = []
    for network in networks(subnet.spec.cidr_block):
        first = hosts(network).first
        found.append(given.get(network.version) or str(network[first - int(network.network_address)]))
    return tuple(found)


def excluded_of(subnet: Subnet) -> tuple[AddressRange, ...]:
    """What no workload may be given: `excludeIps` and the gateways."""
    return tuple(AddressRange.parse(text) for text in (*subnet.spec.exclude_ips, *gateways_of(subnet)))


def pools_of(gateway: EipGateway) -> tuple[AddressRange, ...]:
    """An EipGateway's pools in the order written. Each address can be an EIP, but for those in `occupied_outside`."""
    return tuple(AddressRange.parse(text) for text in gateway.spec.pools)


def occupied_outside(snapshot: Snapshot) -> tuple[tuple[AddressRange, str], ...]:
    """Addresses that nobody gets as an EIP though a pool holds them, and what they are: EipGateways' own, their outside routers',
    and what is no host address of the network between the two. What cannot be read is left out."""
    return snapshot.once(_occupied_outside, EipGateway.KIND)


def _occupied_outside(snapshot: Snapshot) -> tuple[tuple[AddressRange, str], ...]:
    found: list[tuple[AddressRange, str]] = []
    for gateway in snapshot.all(EipGateway):
        spec, of = gateway.spec, f"of EipGateway {gateway.name}"
        said = [(text, f"the uplink {of}") for text in split_dual(spec.uplink)]
        said += [(text, f"the gateway {of}, the outside router's own address") for text in split_dual(spec.gateway)]
        try:
            found += [(AddressRange.parse(text), what) for text, what in said]
            whole = [(AddressRange.of(network), hosts(network)) for network in networks(spec.cidr_block)]
        except ValueError:
            continue
        for all_, usable in whole:
            for gap in subtract([all_], [usable]):
                found.append((gap, f"no host address of the uplink network {of}"))
    return tuple(found)


def vpcs_of_service(snapshot: Snapshot, service: YusurService) -> tuple[str, ...]:
    """VPCs whose workloads may be backends, in the order written; the default VPC if none is named."""
    named = dict.fromkeys(name for name in (service.spec.vpc, *service.spec.vpcs) if name)
    return tuple(named) or (default_vpc(snapshot),)


def unmanaged_services(snapshot: Snapshot) -> tuple[Service, ...]:
    """Services that nobody compiles, because no YusurService of their name says a VPC, and nobody removes, because they carry no
    owner label: default/kubernetes, kube-dns and the like."""
    return snapshot.once(_unmanaged_services, Service.KIND, YusurService.KIND)


def _unmanaged_services(snapshot: Snapshot) -> tuple[Service, ...]:
    return tuple(
        service
        for service in snapshot.all(Service)
        if OWNER not in service.metadata.labels and snapshot.get(YusurService, service.name, service.namespace) is None
    )


def cluster_ips_of(service: Service) -> tuple[str, ...]:
    """A Service's ClusterIPs, canonical, IPv4 first; () of a headless one."""
    texts = service.spec.cluster_ips or split_dual(service.spec.cluster_ip)
    return canonical_dual(",".join(text for text in texts if text != "None"))


def external_ips_of(service: Service) -> tuple[str, ...]:
    """The addresses at which a Service answers from outside the cluster, canonical."""
    return tuple(
        dict.fromkeys((*canonical_dual(service.spec.load_balancer_ip), *map(canonical, service.spec.external_ips)))
    )


def eip_gateway_of(snapshot: Snapshot, service: YusurService) -> EipGateway | None:
    """The EipGateway that a Service of type LoadBalancer uses: the named one, else the only one."""
    if service.spec.eip_gateway:
        return snapshot.get(EipGateway, service.spec.eip_gateway)
    gateways = list(snapshot.all(EipGateway))
    return gateways[0] if len(gateways) == 1 else None


def encap_ip(node: Node) -> str:
    """The node's underlay address: the annotation `iaas.yusur.io/encap-ip`, else the first InternalIP, else ""."""
    given = node.metadata.annotations.get(ENCAP_IP, "")
    if given:
        return canonical(given)
    return next((canonical(a.address) for a in node.status.addresses if a.type == "InternalIP"), "")


@dataclass(frozen=True, slots=True)
class DefaultSubnets:
    """Which Subnet a Pod gets that names none."""

    by_namespace: Mapping[str, str]
    fallback: str
    """Name of the Subnet with `default: true`, or ""."""

    def of(self, namespace: str) -> str:
        """Name of the Subnet, or "" if nothing says one."""
        return self.by_namespace.get(namespace, self.fallback)


def default_subnets(snapshot: Snapshot) -> DefaultSubnets:
    """A Subnet's `namespaces` win over the `defaultSubnet` of a Vpc with `namespaces`, which wins over `default: true`."""
    return snapshot.once(_default_subnets, *_NETWORK)


def _default_subnets(snapshot: Snapshot) -> DefaultSubnets:
    by_namespace: dict[str, str] = {}
    fallback = ""
    for subnet in snapshot.all(Subnet):
        for namespace in subnet.spec.namespaces:
            by_namespace.setdefault(namespace, subnet.name)
        if subnet.spec.default:
            fallback = fallback or subnet.name
    for vpc in snapshot.all(Vpc):
        if vpc.spec.default_subnet:
            for namespace in vpc.spec.namespaces:
                by_namespace.setdefault(namespace, vpc.spec.default_subnet)
    return DefaultSubnets(by_namespace, fallback)


def is_attached(pod: Pod) -> bool:
    """Whether a Pod has a port of its own: not on the host's network, placed, not finished (its address is released then)."""
    finished = pod.status.phase in ("Succeeded", "Failed")
    return bool(not pod.spec.host_network and not finished and pod.spec.node_name)


def subnet_of_pod(snapshot: Snapshot, pod: Pod) -> str:
    """Name of a Pod's Subnet: kube-ovn's annotation, else its namespace's (`default_subnets`), else ""."""
    return pod.metadata.annotations.get(LOGICAL_SWITCH, "") or default_subnets(snapshot).of(pod.namespace)


def workloads(snapshot: Snapshot) -> tuple[Workload, ...]:
    """Every workload with a port of its own, sorted by id."""
    return snapshot.once(_workloads, *_PLACED)


def knowing_workloads(snapshot: Snapshot, found: Iterable[Workload]) -> Snapshot:
    """The snapshot, told what `workloads` would find in it; for whoever placed them."""
    return snapshot.knowing(_workloads, tuple(found), *_PLACED)


def workloads_by_address(snapshot: Snapshot) -> Mapping[tuple[str, str], Workload]:
    """(vpc, address) -> workload, for the addresses that are given."""
    return snapshot.once(_workloads_by_address, *_PLACED)


def _workloads_by_address(snapshot: Snapshot) -> dict[tuple[str, str], Workload]:
    return {(w.vpc, address): w for w in workloads(snapshot) for address in w.addresses}


def _workloads(snapshot: Snapshot) -> tuple[Workload, ...]:
    vpc_by_subnet = {subnet.name: vpc_of(snapshot, subnet) for subnet in snapshot.all(Subnet)}
    return tuple(sorted(_views(snapshot, vpc_by_subnet), key=lambda w: w.id))


def _views(snapshot: Snapshot, vpc_by_subnet: Mapping[str, str]) -> Iterator[Workload]:
    defaults = default_subnets(snapshot)
    for key, pod in snapshot.items(Pod):
        if is_attached(pod):
            metadata = pod.metadata
            subnet = metadata.annotations.get(LOGICAL_SWITCH, "") or defaults.of(key.namespace)
            yield Workload(
                id=key,
                kind=key.kind,
                namespace=key.namespace,
                name=key.name,
                labels=metadata.labels,
                node=pod.spec.node_name,
                subnet=subnet,
                vpc=vpc_by_subnet.get(subnet, ""),
                addresses=addresses_of_pod(pod),
                mac=metadata.annotations.get(MAC_ADDRESS, "").lower(),
                ports=tuple([_port(port) for container in pod.spec.containers for port in container.ports]),
            )
    for vm in snapshot.all(VirtualMachine):
        yield _view(vm, vm.spec, vpc_by_subnet)
    for server in snapshot.all(BareMetal):
        yield _view(server, server.spec, vpc_by_subnet)
    for nic in snapshot.all(VNicIP):
        yield _view(nic, nic.spec, vpc_by_subnet)


def _view(resource: Resource, spec: WorkloadSpec, vpc_by_subnet: Mapping[str, str]) -> Workload:
    return Workload(
        id=id_of(resource),
        kind=resource.KIND,
        namespace=resource.namespace,
        name=resource.name,
        labels=resource.metadata.labels,
        node=spec.node,
        subnet=spec.subnet,
        vpc=vpc_by_subnet.get(spec.subnet, ""),
        addresses=canonical_dual(spec.ip_address),
        mac=spec.mac_address.lower(),
        ports=tuple(_port(port) for port in spec.ports),
    )


def _port(port: ContainerPort) -> NamedPort:
    return NamedPort(port.name, port.container_port, port.protocol)


def addresses_of_pod(pod: Pod) -> tuple[str, ...]:
    """The annotation wins over status.podIPs, that over status.podIP; () while nothing is given."""
    given = pod.metadata.annotations.get(IP_ADDRESS, "")
    if given:
        return canonical_dual(given)
    reported = ",".join(item.ip for item in pod.status.pod_ips) or pod.status.pod_ip
    return canonical_dual(reported)
