"""The kinds a topology is written in: Kubernetes-shaped, frozen, camelCase on the outside.

`iaas.yusur.io/v1` is the article's group; where kube-ovn has the same thing its field names are used. Only what the twin
reads is modelled; which further fields of core kinds are accepted and ignored is decided in `codec`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from frozendict import frozendict
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, Strict
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

YUSUR = "iaas.yusur.io/v1"
KUBE_OVN = "kubeovn.io/v1"
CORE = "v1"
DISCOVERY = "discovery.k8s.io/v1"

OWNER = "iaas.yusur.io/yusurservice"
"""Label of everything a YusurService owns; its value is the YusurService's name, the namespace is the same."""
MAX_AFFINITY_S = 65535
"""The longest that OVN's affinity_timeout can be, in seconds; Kubernetes allows a day."""

Protocol = Literal["TCP", "UDP", "SCTP"]
Integer = Annotated[int, Strict()]
"""A number as Kubernetes wants it: neither "80" nor true nor 80.0."""
Boolean = Annotated[bool, Strict()]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]


class _TextMap:
    """Makes pydantic check a map's keys and values one by one, and freeze it."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = core_schema.dict_schema(core_schema.str_schema(strict=True), core_schema.str_schema(strict=True))
        return core_schema.no_info_after_validator_function(frozendict, checked)


Labels = Annotated[frozendict[str, str], _TextMap()]


def freeze(value: Any) -> Any:
    """A tree of dicts and lists as one of frozendicts and tuples."""
    if isinstance(value, dict):
        return frozendict({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


Foreign = Annotated[frozendict[str, Any], BeforeValidator(freeze)]
"""kube-ovn's fields that the twin knows by name only: kept as written, so that nothing is lost on the way out and `check` can
tell of those that would change what reaches what (`Vpc.unmodelled`, `Subnet.unmodelled`)."""


class Model(BaseModel):
    """Strict: a field that is not named here is an error that says where it stands."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        arbitrary_types_allowed=True,
    )


class Metadata(Model):
    name: str
    namespace: str = ""
    labels: Labels = frozendict()
    annotations: Labels = frozendict()


class Resource(Model):
    """`KIND`, `API_VERSIONS` and `NAMESPACED` are the class's own; the codec registers subclasses by them."""

    KIND: ClassVar[str]
    API_VERSIONS: ClassVar[tuple[str, ...]] = (YUSUR,)
    NAMESPACED: ClassVar[bool] = False

    metadata: Metadata

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace


# --- network -----------------------------------------------------------------------------------------------------------


class VpcStaticRoute(Model):
    """kube-ovn's: `policy` is policyDst (default) or policySrc."""

    cidr: str
    next_hop_ip: Annotated[str, Field(alias="nextHopIP")]
    policy: Literal["policyDst", "policySrc", ""] = "policyDst"
    route_table: str = ""
    foreign: Foreign = frozendict()


class VpcPolicyRoute(Model):
    """kube-ovn's: `match` in OVN's language; `nextHopIP` with action reroute."""

    priority: Annotated[int, Strict(), Field(ge=0, le=32767)] = 0
    match: str
    action: Literal["allow", "drop", "reroute"]
    next_hop_ip: Annotated[str, Field(alias="nextHopIP")] = ""


VPC_EFFECTS = {
    "vpcPeerings": "joins this VPC's router with another VPC's",
    "enableExternal": "connects this VPC's router to the external Subnet",
    "extraExternalSubnets": "connects this VPC's router to further external Subnets",
    "bfdPort": "takes routes away whose next hop stops answering BFD",
    "enableBfd": "takes routes away whose next hop stops answering BFD",
    "dynamicRouting": "announces and learns routes by a routing protocol",
}
ROUTE_EFFECTS = {
    "ecmpMode": "makes replies return by the next hop that the request came from",
    "bfdId": "takes the route away when its next hop stops answering BFD",
}
SUBNET_EFFECTS = {
    "private": "lets nobody in but the nodes, the Subnet itself and allowSubnets",
    "acls": "drops what its rules say",
    "vlan": "is an underlay: the physical network's router stands where the VPC's would",
    "logicalGateway": "keeps the VPC's router as the gateway of an underlay Subnet",
    "u2oInterconnection": "routes between an underlay Subnet and the VPC",
    "externalEgressGateway": "sends what leaves the cluster to a router of its own",
    "natOutgoingPolicyRules": "translates the source of some of what leaves the cluster",
    "routeTable": "routes what comes from here by a table of its own",
    "namespaceSelectors": "takes Pods of every namespace with these labels",
    "enableExternalLBAddress": "answers for Services' external addresses",
    "vips": "has addresses that move between Pods",
}
SUBNET_VALUES = {
    "enableLb": "has no load balancer, so its clients reach no ClusterIP",
    "provider": "is no network of OVN, or carries further interfaces of its Pods",
    "natOutgoing": "translates the source of what leaves the cluster, on the nodes",
    "gatewayType": "sends what leaves the cluster through gatewayNode",
}
"""What kube-ovn's fields do that change who reaches whom, where they are in use; the last ones for certain values only."""


def effect_of(path: str) -> str:
    """What the field at a path of `Vpc.unmodelled` or `Subnet.unmodelled` does in kube-ovn."""
    name = path.rpartition(".")[2]
    return {**VPC_EFFECTS, **ROUTE_EFFECTS, **SUBNET_EFFECTS, **SUBNET_VALUES}[name]


def _in_use(value: Any) -> bool:
    """Whether a foreign value asks for something: not empty, not false, not a block that says `enabled: false`."""
    if isinstance(value, frozendict) and "enabled" in value:
        return bool(value["enabled"])
    return bool(value)


class VpcSpec(Model):
    namespaces: tuple[str, ...] = ()
    """Namespaces whose Pods live here when they name no Subnet."""
    default_subnet: str = ""
    static_routes: tuple[VpcStaticRoute, ...] = ()
    policy_routes: tuple[VpcPolicyRoute, ...] = ()
    foreign: Foreign = frozendict()


class Vpc(Resource):
    """An isolated network: one logical router. The default VPC (ClusterNetwork.defaultVpc) exists even if not written."""

    KIND = "Vpc"
    API_VERSIONS = (YUSUR, KUBE_OVN)
    spec: VpcSpec = VpcSpec()

    @property
    def unmodelled(self) -> tuple[str, ...]:
        """Paths of fields in use that change what reaches what in kube-ovn, and that the twin does not model."""
        found = [f"spec.{name}" for name in VPC_EFFECTS if _in_use(self.spec.foreign.get(name))]
        for index, route in enumerate(self.spec.static_routes):
            found += [f"spec.staticRoutes[{index}].{name}" for name, value in route.foreign.items() if _in_use(value)]
        return tuple(found)


class SubnetSpec(Model):
    vpc: str = ""
    """Empty: the default VPC."""
    protocol: Literal["IPv4", "IPv6", "Dual", ""] = ""
    cidr_block: str
    """One CIDR, or "v4,v6" for dual stack."""
    gateway: str = ""
    """One address per CIDR, "v4,v6"; empty: the first host address."""
    exclude_ips: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    default: Boolean = False
    mtu: Integer = 0
    """Of the workloads' interfaces; 0: ClusterNetwork's."""
    foreign: Foreign = frozendict()


class Subnet(Resource):
    """One logical switch of a Vpc."""

    KIND = "Subnet"
    API_VERSIONS = (YUSUR, KUBE_OVN)
    spec: SubnetSpec

    @property
    def unmodelled(self) -> tuple[str, ...]:
        """Paths of fields in use that change what reaches what in kube-ovn, and that the twin does not model."""
        foreign = self.spec.foreign
        found = [f"spec.{name}" for name in SUBNET_EFFECTS if _in_use(foreign.get(name))]
        if foreign.get("enableLb") is False:
            found.append("spec.enableLb")
        if foreign.get("provider", "ovn") not in ("", "ovn"):
            found.append("spec.provider")
        # What leaves the cluster passes the nodes from kube-ovn's default VPC only.
        if self.spec.vpc in ("", "ovn-cluster"):
            if foreign.get("natOutgoing"):
                found.append("spec.natOutgoing")
            if foreign.get("gatewayType") == "centralized":
                found.append("spec.gatewayType")
        return tuple(found)


class ClusterNetworkSpec(Model):
    """What is said once for the whole cluster. CIDRs: "v4" or "v4,v6"."""

    service_cidr: Annotated[str, Field(alias="serviceCIDR")] = "10.96.0.0/12,fd00:10:96::/112"
    join_cidr: Annotated[str, Field(alias="joinCIDR")] = "100.64.0.0/16,fd00:100:64::/112"
    transit_cidr: Annotated[str, Field(alias="transitCIDR")] = "100.88.0.0/16,fd00:100:88::/96"
    """Where transit switches take their networks from."""
    default_vpc: str = "ovn-cluster"
    mtu: Annotated[int, Strict(), Field(ge=576, le=65535)] = 1400
    """Of workload interfaces: the underlay's 1500 less 100 for Geneve, kube-ovn's constant."""
    datapath: Literal["netdev", "system"] = "system"
    """OVS datapath type of every node that does not say otherwise."""


class ClusterNetwork(Resource):
    """At most one, named "cluster"."""

    KIND = "ClusterNetwork"
    spec: ClusterNetworkSpec = ClusterNetworkSpec()


class EipGatewaySpec(Model):
    """The article's eipGateway: a router between the outside and the EIPs.

    The outside must route every pool to the uplink address (`uplink`), and `gateway` is the outside's own address on that
    network. `nodes` are the gateway chassis, most preferred first.
    """

    nodes: Annotated[tuple[str, ...], Field(min_length=1)]
    network_name: str = "external"
    """Physical network name: localnet and ovn-bridge-mappings."""
    vlan: Annotated[int, Strict(), Field(ge=1, le=4094)] | None = None
    cidr_block: str
    """Of the network between outside and eipGateway; "v4" or "v4,v6"."""
    uplink: str
    """eipGateway's own addresses there, one per CIDR."""
    gateway: str
    """The outside router's addresses there, one per CIDR; the `outside` client of checks sits there."""
    pools: tuple[str, ...]
    """CIDRs or ranges "a-b" to take EIPs from; both families in one list."""


class EipGateway(Resource):
    KIND = "EipGateway"
    spec: EipGatewaySpec


class NetworkCardSpec(Model):
    node: str
    type: Literal["none", "SmartNIC", "DPU"] = "none"
    """none: a plain NIC; SmartNIC: OVS on the host, flows offloaded; DPU: OVS on the card's own cores."""
    model: str = ""
    ports: Annotated[int, Strict(), Field(ge=1, le=64)] = 1
    port_speed_gbps: Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)] = 25.0
    hw_offload: Boolean = True


class NetworkCard(Resource):
    """What sits in a node; a node without one has type none."""

    KIND = "NetworkCard"
    spec: NetworkCardSpec


# --- core kinds --------------------------------------------------------------------------------------------------------


class NodeAddress(Model):
    type: str
    address: str


class NodeStatus(Model):
    addresses: tuple[NodeAddress, ...] = ()


class NodeSpec(Model):
    """Nothing of it is read."""


class Node(Resource):
    """A chassis. Its underlay address is status.addresses[InternalIP], or annotation `iaas.yusur.io/encap-ip`."""

    KIND = "Node"
    API_VERSIONS = (CORE,)
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class ContainerPort(Model):
    name: str = ""
    container_port: Port
    protocol: Protocol = "TCP"


class Container(Model):
    name: str = ""
    ports: tuple[ContainerPort, ...] = ()


class PodSpec(Model):
    node_name: str = ""
    host_network: Boolean = False
    containers: tuple[Container, ...] = ()


class PodIP(Model):
    ip: str


class PodStatus(Model):
    pod_ip: Annotated[str, Field(alias="podIP")] = ""
    pod_ips: Annotated[tuple[PodIP, ...], Field(alias="podIPs")] = ()
    phase: str = ""
    """Succeeded and Failed Pods hold no address any more; Pending ones may be on no node yet."""


class Pod(Resource):
    """Subnet and address: kube-ovn's annotations `ovn.kubernetes.io/{logical_switch,ip_address,mac_address}`,
    else status.podIPs, else the namespace's Subnet and a stable allocation."""

    KIND = "Pod"
    API_VERSIONS = (CORE,)
    NAMESPACED = True
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ServicePort(Model):
    name: str = ""
    protocol: Protocol = "TCP"
    port: Port
    target_port: Port | str | None = None
    """Number, or a named port of the backend; none: the same as `port`."""
    node_port: Port | None = None


class ClientIPConfig(Model):
    timeout_seconds: Annotated[int, Strict(), Field(ge=1, le=86400)] = 10800
    """Of a YusurService, at most MAX_AFFINITY_S."""


class SessionAffinityConfig(Model):
    client_ip: Annotated[ClientIPConfig, Field(alias="clientIP")] = ClientIPConfig()


class ServiceSpec(Model):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    cluster_ip: Annotated[str, Field(alias="clusterIP")] = ""
    """"None": headless."""
    cluster_ips: Annotated[tuple[str, ...], Field(alias="clusterIPs")] = ()
    load_balancer_ip: Annotated[str, Field(alias="loadBalancerIP")] = ""
    external_ips: Annotated[tuple[str, ...], Field(alias="externalIPs")] = ()
    ports: tuple[ServicePort, ...] = ()
    selector: Labels = frozendict()
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None


class Service(Resource):
    """What the yusurService-controller writes for the ycloud-controller. A Service of the input with the name of a YusurService
    tells the addresses already given to it. One without (default/kubernetes, kube-dns) keeps its addresses from being given to
    anybody else and is compiled to nothing, because its VPC is not said; `check` names it."""

    KIND = "Service"
    API_VERSIONS = (CORE,)
    NAMESPACED = True
    spec: ServiceSpec = ServiceSpec()


class ObjectReference(Model):
    kind: str = ""
    namespace: str = ""
    name: str = ""


class EndpointAddress(Model):
    ip: str
    target_ref: ObjectReference | None = None
    node_name: str = ""


class EndpointPort(Model):
    name: str = ""
    port: Port
    protocol: Protocol = "TCP"


class EndpointSubset(Model):
    addresses: tuple[EndpointAddress, ...] = ()
    not_ready_addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Resource):
    KIND = "Endpoints"
    API_VERSIONS = (CORE,)
    NAMESPACED = True
    subsets: tuple[EndpointSubset, ...] = ()


class SlicePort(Model):
    """Unlike a port of Endpoints, it may be every port: `port` is empty then."""

    name: str = ""
    port: Port | None = None
    protocol: Protocol = "TCP"


class SliceConditions(Model):
    ready: Boolean | None = None


class SliceEndpoint(Model):
    addresses: tuple[str, ...]
    conditions: SliceConditions = SliceConditions()
    target_ref: ObjectReference | None = None
    node_name: str = ""


class EndpointSlice(Resource):
    """Accepted as an observation; label `kubernetes.io/service-name` names its Service."""

    KIND = "EndpointSlice"
    API_VERSIONS = (DISCOVERY,)
    NAMESPACED = True
    address_type: Literal["IPv4", "IPv6", "FQDN"] = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()


# --- workloads of the IaaS ---------------------------------------------------------------------------------------------


class WorkloadSpec(Model):
    """Where a VM, bare-metal server or virtual NIC is attached."""

    node: str
    """The chassis whose card it hangs on."""
    subnet: str
    ip_address: str = ""
    """"v4" or "v4,v6"; empty: a stable allocation."""
    mac_address: str = ""
    ports: tuple[ContainerPort, ...] = ()
    """Named ports, for a Service's named targetPort."""


class VirtualMachine(Resource):
    KIND = "VirtualMachine"
    NAMESPACED = True
    spec: WorkloadSpec


class BareMetal(Resource):
    KIND = "BareMetal"
    NAMESPACED = True
    spec: WorkloadSpec


class VNicIP(Resource):
    KIND = "VNicIP"
    NAMESPACED = True
    spec: WorkloadSpec


# --- the Service -------------------------------------------------------------------------------------------------------

BackendKind = Literal["Pod", "VirtualMachine", "BareMetal", "VNicIP"]


class YusurServicePort(ServicePort):
    """A ServicePort; `name` is required when there are several."""


class Balancing(Model):
    """What OVN really has. `dpHash`: a group with dp_hash, shares predictable, one more recirculation per new connection.
    `hash`: deterministic over `selectionFields` (the default, over ipSrc, ipDst, tpSrc, tpDst: see ARCHITECTURE.md)."""

    algorithm: str = "hash"
    selection_fields: tuple[str, ...] = ()
    on_unsupported: Literal["refuse", "nearest"] = "refuse"
    """What to do with an algorithm OVN lacks (roundRobin, leastConnections, ...)."""
    reject: Boolean = False
    """Answer with TCP RST / ICMP unreachable when no backend is healthy, instead of dropping."""


class ProbeTemplate(Model):
    """What every backend's NetworkProbe is made from."""

    protocol: Literal["TCP", "UDP", "ICMP", ""] = ""
    """Empty: that of the port; ICMP for SCTP."""
    period_seconds: Annotated[int, Strict(), Field(ge=1)] = 5
    timeout_seconds: Annotated[int, Strict(), Field(ge=1)] = 3
    success_threshold: Annotated[int, Strict(), Field(ge=1)] = 1
    failure_threshold: Annotated[int, Strict(), Field(ge=1)] = 3


class YusurServiceSpec(Model):
    type: Literal["ClusterIP", "LoadBalancer"] = "ClusterIP"
    scope: Literal["vpc", "cluster"] = "vpc"
    """vpc: clients of the VPC. cluster: also clients on the nodes; the default VPC only (scenario 2)."""
    vpc: str = ""
    vpcs: tuple[str, ...] = ()
    """Several VPCs: scenario 4, type LoadBalancer only. Empty vpc and vpcs: the default VPC."""
    ports: Annotated[tuple[YusurServicePort, ...], Field(min_length=1)]
    selector: Labels = frozendict()
    backend_kinds: tuple[BackendKind, ...] = ("Pod", "VirtualMachine", "BareMetal", "VNicIP")
    vnic_ips: Annotated[tuple[str, ...], Field(alias="vnicIPs")] = ()
    """Addresses of virtual NICs that are backends whatever their labels."""
    cluster_ip: Annotated[str, Field(alias="clusterIP")] = ""
    """"v4" or "v4,v6"; empty: allocated."""
    eip: str = ""
    """"v4" or "v4,v6"; empty: allocated for type LoadBalancer."""
    eip_gateway: str = ""
    """Empty: the only EipGateway."""
    session_affinity: Literal["None", "ClientIP"] = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    balancing: Balancing = Balancing()
    probe: ProbeTemplate = ProbeTemplate()


class YusurServiceStatus(Model):
    """Addresses already given; they never move."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)
    cluster_ip: Annotated[str, Field(alias="clusterIP")] = ""
    eip: str = ""


class YusurService(Resource):
    KIND = "YusurService"
    NAMESPACED = True
    spec: YusurServiceSpec
    status: YusurServiceStatus = YusurServiceStatus()


class NetworkProbeSpec(Model):
    service: str
    """Name of the YusurService, same namespace."""
    target: ObjectReference
    address: str
    port: Port
    protocol: Literal["TCP", "UDP", "ICMP"] = "TCP"
    period_seconds: Annotated[int, Strict(), Field(ge=1)] = 5
    timeout_seconds: Annotated[int, Strict(), Field(ge=1)] = 3
    success_threshold: Annotated[int, Strict(), Field(ge=1)] = 1
    failure_threshold: Annotated[int, Strict(), Field(ge=1)] = 3


class NetworkProbeStatus(Model):
    """`healthy` absent: no result yet, which counts as healthy (OVN's own monitor fails open the same way)."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)
    healthy: Boolean | None = None


class NetworkProbe(Resource):
    KIND = "NetworkProbe"
    NAMESPACED = True
    spec: NetworkProbeSpec
    status: NetworkProbeStatus = NetworkProbeStatus()
