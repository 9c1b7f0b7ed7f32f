"""Small objects for the tests of the controllers."""

from __future__ import annotations

from typing import Any

from ytwin.resources.model import (
    Container,
    ContainerPort,
    EipGateway,
    EipGatewaySpec,
    Metadata,
    NetworkProbe,
    NetworkProbeSpec,
    NetworkProbeStatus,
    ObjectReference,
    Pod,
    PodSpec,
    Resource,
    Subnet,
    SubnetSpec,
    Vpc,
    YusurService,
    YusurServicePort,
    YusurServiceSpec,
)


def meta(name: str, namespace: str = "default", **labels: str) -> Metadata:
    return Metadata(name=name, namespace=namespace, labels=labels)


def vpc(name: str = "vpc1") -> Vpc:
    return Vpc(metadata=Metadata(name=name))


def subnet(name: str = "subnet1", of: str = "vpc1", cidr: str = "10.1.1.0/24", **spec: Any) -> Subnet:
    return Subnet(metadata=Metadata(name=name), spec=SubnetSpec(vpc=of, cidr_block=cidr, **spec))


def pod(
    name: str, app: str = "web", subnet: str = "subnet1", ip: str = "", ports: dict[str, int] | None = None, **spec: Any
) -> Pod:
    annotations = {"ovn.kubernetes.io/logical_switch": subnet}
    if ip:
        annotations["ovn.kubernetes.io/ip_address"] = ip
    named = tuple(ContainerPort(name=key, container_port=number) for key, number in (ports or {}).items())
    return Pod(
        metadata=Metadata(name=name, namespace="default", labels={"app": app}, annotations=annotations),
        spec=PodSpec(**{"node_name": "node1", "containers": (Container(ports=named),), **spec}),
    )


def service(
    name: str = "web", app: str = "web", port: int = 80, target: int | str | None = None, **spec: Any
) -> YusurService:
    fields: dict[str, Any] = {
        "vpc": "vpc1",
        "ports": (YusurServicePort(port=port, target_port=target),),
        "selector": {"app": app} if app else {},
    }
    return YusurService(metadata=meta(name), spec=YusurServiceSpec(**{**fields, **spec}))


def gateway(name: str = "eipgw", *pools: str) -> EipGateway:
    spec = EipGatewaySpec(
        nodes=("node1",),
        cidr_block="192.0.2.0/24,2001:db8::/64",
        uplink="192.0.2.2,2001:db8::2",
        gateway="192.0.2.1,2001:db8::1",
        pools=pools or ("200.0.0.0/24", "2001:db8:e::/112"),
    )
    return EipGateway(metadata=Metadata(name=name), spec=spec)


def probe(owner: str, address: str, healthy: bool | None, name: str = "told") -> NetworkProbe:
    return NetworkProbe(
        metadata=meta(name),
        spec=NetworkProbeSpec(service=owner, target=ObjectReference(kind="Pod", name="web1"), address=address, port=80),
        status=NetworkProbeStatus(healthy=healthy),
    )


def small() -> list[Resource]:
    """vpc1 with a Subnet, two Pods with addresses and one Service over them."""
    return [vpc(), subnet(), pod("web1", ip="10.1.1.11"), pod("web2", ip="10.1.1.12"), service()]
