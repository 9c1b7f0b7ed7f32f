"""YusurServices of a generated topology, each with the workloads it selects and what may be known about them already."""

from __future__ import annotations

from typing import Literal

from ytwin.generate.draw import DEFAULT_VPC, Draw, Gateway, Net, parts
from ytwin.generate.workloads import KINDS, Made, add_workload
from ytwin.resources.balancing import SELECTION_FIELDS
from ytwin.resources.model import (
    Balancing,
    ClientIPConfig,
    ClusterNetwork,
    ClusterNetworkSpec,
    ContainerPort,
    Metadata,
    NetworkProbe,
    NetworkProbeSpec,
    NetworkProbeStatus,
    ObjectReference,
    Service,
    ServicePort,
    ServiceSpec,
    SessionAffinityConfig,
    YusurService,
    YusurServicePort,
    YusurServiceSpec,
    YusurServiceStatus,
)

_PORTS: tuple[tuple[str, Literal["TCP", "UDP", "SCTP"], int, str], ...] = (
    ("iperf", "TCP", 5001, "iperf"),
    ("http", "TCP", 80, "web"),
    ("dns", "UDP", 53, "dns-udp"),
    ("dns-tcp", "TCP", 53, "dns"),
    ("diameter", "SCTP", 3868, "dia"),
    ("https", "TCP", 443, "web-tls"),
)
"""Name, protocol, port, and the name that backends give it."""


def add_services(draw: Draw, services: int, backends: int) -> None:
    """`services` YusurServices, svc0, svc1, ..., with about (in a plain topology exactly) `backends` backends each."""
    vpcs = list(draw.nets)
    for index in range(services):
        name = f"svc{index}"
        if draw.plain:
            _add_plain(draw, name, vpcs[index % len(vpcs)], backends)
        else:
            _add(draw, name, _members(draw, vpcs), backends)


def _add_plain(draw: Draw, name: str, vpc: str, backends: int) -> None:
    nets = draw.nets[vpc]
    for _ in range(backends):
        add_workload(draw, "Pod", nets[draw.next(f"net {vpc}") % len(nets)], {"svc": name})
    spec = YusurServiceSpec(vpc=vpc, ports=(YusurServicePort(port=80, target_port=8080),), selector={"svc": name})
    draw.objects.append(YusurService(metadata=Metadata(name=name, namespace="default"), spec=spec))


def _members(draw: Draw, vpcs: list[str]) -> list[str]:
    """The VPCs of a Service, several only if their CIDRs differ."""
    joinable = [vpc for vpc in vpcs if vpc not in draw.twins]
    if len(joinable) > 1 and draw.gateways and draw.chance(0.3):
        return draw.some(joinable, least=2)
    return [draw.pick(vpcs)]


def _gateway(draw: Draw, members: list[str]) -> Gateway | None:
    """An EipGateway that shares a family with the VPCs; a VPC keeps one for all its own Services."""
    families = frozenset().union(*(draw.families(vpc) for vpc in members))
    fitting = [gateway for gateway in draw.gateways if gateway.families & families]
    if len(members) == 1 and members[0] in draw.gateway_of_vpc:
        return draw.gateway_of_vpc[members[0]]
    if not fitting:
        return None
    gateway = draw.pick(fitting)
    if len(members) == 1:
        draw.gateway_of_vpc[members[0]] = gateway
    return gateway


def _add(draw: Draw, name: str, members: list[str], backends: int) -> None:
    """One Service with everything that it may say."""
    gateway = _gateway(draw, members) if len(members) > 1 or draw.chance(0.5) else None
    if gateway is None:
        members = members[:1]
    ports, offered = _ports(draw)
    made = _backends(draw, name, members, backends, offered, named=any(isinstance(p.target_port, str) for p in ports))
    selector = {"svc": name}
    if draw.chance(0.2):
        selector["tier"] = "front"
    vnics = _vnics(draw, members) if draw.chance(0.15) else ()
    if vnics and draw.chance(0.3) and not any(isinstance(p.target_port, str) for p in ports):
        selector = {}
    cluster_ip, eip = _given(draw, members, gateway)
    if gateway is not None and len(members) == 1:
        eip = _shared(draw, members[0], eip, {(p.port, p.protocol) for p in ports})
    say = draw.random.choice(("spec", "status", "service")) if not draw.plain else "spec"
    # The userspace datapath loses the connection that teaches an affinity, and over several VPCs a select group by dp_hash may
    # be one recirculation more than it allows.
    userspace = _network(draw).datapath == "netdev"
    tight = userspace and len(members) > 1
    affinity = draw.chance(0.3) and not userspace
    spec = YusurServiceSpec(
        type="LoadBalancer" if gateway is not None else "ClusterIP",
        scope="cluster" if members == [DEFAULT_VPC] and draw.chance(0.5) else "vpc",
        vpc=members[0] if len(members) == 1 and (members[0] != DEFAULT_VPC or draw.chance(0.5)) else "",
        vpcs=tuple(members) if len(members) > 1 else (),
        ports=ports,
        selector=selector,
        backend_kinds=("Pod", "VirtualMachine") if draw.chance(0.15) and _has_pod(made) else KINDS,
        vnic_ips=vnics,
        cluster_ip=cluster_ip if say == "spec" else "",
        eip=eip if say == "spec" else "",
        eip_gateway=gateway.name if gateway is not None and (len(draw.gateways) > 1 or draw.chance(0.5)) else "",
        session_affinity="ClientIP" if affinity else "None",
        session_affinity_config=_timeout(draw) if affinity and draw.chance(0.7) else None,
        balancing=_balancing(draw, tight),
    )
    status = YusurServiceStatus(cluster_ip=cluster_ip, eip=eip) if say == "status" else YusurServiceStatus()
    metadata = Metadata(name=name, namespace="default")
    draw.objects.append(YusurService(metadata=metadata, spec=spec, status=status))
    if say == "service" and (cluster_ip or eip):
        draw.objects.append(_observed(metadata, spec, cluster_ip, eip))
    _add_probes(draw, name, made, ports[0])


def _ports(draw: Draw) -> tuple[tuple[YusurServicePort, ...], tuple[ContainerPort, ...]]:
    """The Service's ports, and the ports that its backends name."""
    chosen = draw.some(_PORTS)[: draw.pick((1, 1, 2, 3))]
    ports: list[YusurServicePort] = []
    offered: list[ContainerPort] = []
    for name, protocol, number, target in chosen:
        where: int | str | None = draw.pick((None, number, number + 8000, target))
        ports.append(
            YusurServicePort(
                name=name if len(chosen) > 1 or draw.chance(0.5) else "",
                protocol=protocol,
                port=number,
                target_port=where,
            )
        )
        if isinstance(where, str):
            offered.append(ContainerPort(name=target, container_port=number + 9000, protocol=protocol))
    return tuple(ports), tuple(offered)


def _backends(
    draw: Draw, name: str, members: list[str], count: int, offered: tuple[ContainerPort, ...], named: bool
) -> list[Made]:
    """Workloads of the Service; sometimes none, never none that would leave a named port without anyone to name it."""
    if draw.chance(0.1) and not named:
        count = 0
    elif draw.chance(0.3):
        count = draw.random.randint(1, max(1, 2 * count))
    labels = {"svc": name, "tier": "front"}
    nets = [net for vpc in members for net in draw.nets[vpc]]
    made: list[Made] = []
    for index in range(max(count, 1 if named else 0)):
        kind = "Pod" if index == 0 or draw.chance(0.6) else draw.pick(KINDS)
        ports = offered
        if index and draw.chance(0.3):  # another number under the same name, so Endpoints have several subsets
            ports = tuple(p.model_copy(update={"container_port": p.container_port + 1}) for p in offered)
        elif index and draw.chance(0.1):
            ports = ()
        made.append(add_workload(draw, kind, draw.pick(nets), labels, ports))
    return made


def _has_pod(made: list[Made]) -> bool:
    return any(item.kind == "Pod" for item in made)


def _vnics(draw: Draw, members: list[str]) -> tuple[str, ...]:
    """Addresses of virtual NICs that no selector finds."""
    net: Net = draw.pick(draw.nets[draw.pick(members)])
    for _ in range(3):
        made = add_workload(draw, "VNicIP", net, {}, namespace=draw.pick(("default", "elsewhere")), given=1.0)
        if made.address:
            addresses = made.address.split(",")
            return tuple(addresses) if draw.chance(0.7) else (addresses[0],)
    return ()


def _timeout(draw: Draw) -> SessionAffinityConfig:
    return SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=draw.pick((1, 60, 10800, 65535))))


def _network(draw: Draw) -> ClusterNetworkSpec:
    return next(o for o in draw.objects if isinstance(o, ClusterNetwork)).spec


def _balancing(draw: Draw, tight: bool) -> Balancing:
    """Anything that OVN has; no dpHash where packets must save recirculations."""
    algorithm = "hash"
    fields: tuple[str, ...] = ()
    unsupported: Literal["refuse", "nearest"] = "refuse"
    if draw.chance(0.3):
        algorithm = "hash" if tight else "dpHash"
    elif draw.chance(0.1):
        algorithm, unsupported = draw.pick(("roundRobin", "leastConnections")), "nearest"
    elif draw.chance(0.4):
        fields = tuple(draw.some(tuple(SELECTION_FIELDS)))
    return Balancing(algorithm=algorithm, selection_fields=fields, on_unsupported=unsupported, reject=draw.chance(0.3))


def _given(draw: Draw, members: list[str], gateway: Gateway | None) -> tuple[str, str]:
    """A ClusterIP and an EIP that the Service has already, each sometimes; every family it can have."""
    families = frozenset().union(*(draw.families(vpc) for vpc in members))
    cluster_ip = eip = ""
    if len(members) == 1 and draw.chance(0.3):
        spec = _network(draw)
        number = draw.next("cluster ip", 200)
        cluster_ip = ",".join(str(n[number]) for n in parts(spec.service_cidr) if n.version in families)
    if gateway is not None and draw.chance(0.5):
        number = draw.next(f"eip {gateway.name}", 11)
        texts = {4: f"200.{gateway.name[-1]}.0.{number}", 6: f"2001:db8:e{gateway.name[-1]}::{number:x}"}
        if number < 60:
            eip = ",".join(texts[v] for v in (4, 6) if v in families & gateway.families)
    return cluster_ip, eip


def _shared(draw: Draw, vpc: str, eip: str, ports: set[tuple[int, str]]) -> str:
    """Often the EIP of another Service of the VPC with other ports, else the one given."""
    known = draw.eips.setdefault(vpc, [])
    for other, used in known:
        if not used & ports and draw.chance(0.7):
            used.update(ports)
            return other
    if eip:
        known.append((eip, set(ports)))
    return eip


def _observed(metadata: Metadata, spec: YusurServiceSpec, cluster_ip: str, eip: str) -> Service:
    """The Service object that a controller wrote before."""
    addresses = tuple(cluster_ip.split(",")) if cluster_ip else ()
    return Service(
        metadata=metadata,
        spec=ServiceSpec(
            type=spec.type,
            cluster_ip=addresses[0] if addresses else "",
            cluster_ips=addresses,
            load_balancer_ip=eip,
            ports=tuple(
                ServicePort(name=p.name, protocol=p.protocol, port=p.port, target_port=p.target_port)
                for p in spec.ports
            ),
        ),
    )


def _add_probes(draw: Draw, name: str, made: list[Made], port: YusurServicePort) -> None:
    """Results of probes for some backends with a known address; sometimes none of them is healthy."""
    healthy = draw.pick((None, True, False)) if draw.chance(0.4) else None
    for item in made:
        if not item.address or healthy is None:
            continue
        target = ObjectReference(kind=item.kind, namespace=item.namespace, name=item.name)
        number = port.target_port if isinstance(port.target_port, int) else port.port
        draw.objects.append(
            NetworkProbe(
                metadata=Metadata(name=f"{name}-{item.name}", namespace="default"),
                spec=NetworkProbeSpec(service=name, target=target, address=item.address.split(",")[0], port=number),
                status=NetworkProbeStatus(healthy=healthy if draw.chance(0.8) else not healthy),
            )
        )
