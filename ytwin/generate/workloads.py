"""Pods, VMs, bare-metal servers and virtual NICs of a generated topology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.generate.draw import Draw, Net
from ytwin.resources.model import (
    BareMetal,
    Container,
    ContainerPort,
    Metadata,
    Pod,
    PodIP,
    PodSpec,
    PodStatus,
    Resource,
    VirtualMachine,
    VNicIP,
    WorkloadSpec,
)

_SUBNET = "ovn.kubernetes.io/logical_switch"
_ADDRESS = "ovn.kubernetes.io/ip_address"
_MAC = "ovn.kubernetes.io/mac_address"
KINDS = ("Pod", "VirtualMachine", "BareMetal", "VNicIP")
_MACHINES: dict[str, type[VirtualMachine] | type[BareMetal] | type[VNicIP]] = {
    "VirtualMachine": VirtualMachine,
    "BareMetal": BareMetal,
    "VNicIP": VNicIP,
}


@dataclass(frozen=True, slots=True)
class Made:
    """A generated workload; `address` is "" if it was left open."""

    kind: str
    name: str
    namespace: str
    net: Net
    address: str


def add_workload(
    draw: Draw,
    kind: str,
    net: Net,
    labels: Mapping[str, str],
    ports: tuple[ContainerPort, ...] = (),
    namespace: str = "default",
    given: float = 0.3,
) -> Made:
    """One more workload; `given` is the probability that it has an address already."""
    short = {"Pod": "pod", "VirtualMachine": "vm", "BareMetal": "bm", "VNicIP": "nic"}[kind]
    name = f"{short}{draw.next(short)}"
    number = draw.next(f"host {net.name}", 10)
    if number > min(network.num_addresses for network in net.networks) - 4:
        problem = Problem(Location(path=net.name), "value", "too many workloads for one Subnet", "ask for more Subnets")
        raise InvalidInput([problem])
    address = net.host(number) if number < 60 and draw.chance(given) else ""
    mac = f"02:00:{number >> 8:02x}:{number & 255:02x}:00:01" if draw.chance(0.1) else ""
    metadata = Metadata(name=name, namespace=namespace, labels=dict(labels))
    node = draw.pick(draw.nodes)
    if kind == "Pod":
        draw.objects.append(_pod(draw, metadata, net, node, address, mac, ports))
    else:
        spec = WorkloadSpec(node=node, subnet=net.name, ip_address=address, mac_address=mac, ports=ports)
        draw.objects.append(_MACHINES[kind](metadata=metadata, spec=spec))
    return Made(kind, name, namespace, net, address)


def _pod(
    draw: Draw, metadata: Metadata, net: Net, node: str, address: str, mac: str, ports: tuple[ContainerPort, ...]
) -> Resource:
    annotations: dict[str, str] = {}
    status = PodStatus()
    if metadata.namespace != f"team-{net.name}" or draw.chance(0.5):
        annotations[_SUBNET] = net.name
    if address and draw.chance(0.5):
        annotations[_ADDRESS] = address
    elif address:
        texts = address.split(",")
        status = PodStatus(pod_ip=texts[0], pod_ips=tuple(PodIP(ip=text) for text in texts))
    if mac:
        annotations[_MAC] = mac
    containers = (Container(name="main", ports=ports[:1]), Container(name="side", ports=ports[1:]))
    spec = PodSpec(node_name=node, containers=containers if ports else ())
    return Pod(
        metadata=Metadata(
            name=metadata.name, namespace=metadata.namespace, labels=metadata.labels, annotations=annotations
        ),
        spec=spec,
        status=status,
    )


def add_bystanders(draw: Draw) -> None:
    """A client in every VPC that is no backend, sometimes more of them; Pods that are no workload of any Subnet."""
    for nets in draw.nets.values():
        add_workload(draw, "Pod", draw.pick(nets), {"role": "client"})
        for kind in KINDS[1:]:
            if draw.chance(0.3):
                add_workload(draw, kind, draw.pick(nets), {"role": "client"})
        for net in nets:
            if draw.counters.get(f"namespace {net.name}"):
                add_workload(draw, "Pod", net, {"role": "client"}, namespace=f"team-{net.name}")
    if draw.chance(0.3):
        metadata = Metadata(name="on-the-host", namespace="default", labels={"svc": "svc0"})
        spec = PodSpec(node_name=draw.pick(draw.nodes), host_network=True)
        draw.objects.append(Pod(metadata=metadata, spec=spec))
    if draw.chance(0.3):
        net = draw.pick(next(iter(draw.nets.values())))
        metadata = Metadata(name="done", namespace="default", labels={"svc": "svc0"}, annotations={_SUBNET: net.name})
        spec = PodSpec(node_name=draw.pick(draw.nodes))
        draw.objects.append(Pod(metadata=metadata, spec=spec, status=PodStatus(phase="Succeeded")))
    if draw.chance(0.2):
        metadata = Metadata(name="waiting", namespace="default", labels={"svc": "svc0"})
        draw.objects.append(Pod(metadata=metadata, status=PodStatus(phase="Pending")))
