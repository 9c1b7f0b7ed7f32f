"""The objects that one YusurService owns: its Service, its Endpoints and one NetworkProbe per backend.

Endpoints hold both families (Kubernetes would put the second one into EndpointSlices only). As in Kubernetes, backends that
resolve the Service's ports differently (named targetPorts) stand in subsets of their own, and one that lacks a named port is
left out for that port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from frozendict import frozendict

from ytwin.controllers.build import construct
from ytwin.controllers.selection import Backend
from ytwin.resources.model import (
    OWNER,
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Metadata,
    NetworkProbe,
    NetworkProbeSpec,
    NetworkProbeStatus,
    Resource,
    Service,
    ServicePort,
    ServiceSpec,
    YusurService,
    YusurServicePort,
)

MAX_NAME = 253
"""Longest Kubernetes object name (RFC 1123 subdomain)."""

_STATUS = {healthy: NetworkProbeStatus(healthy=healthy) for healthy in (True, False, None)}
_NO_ANNOTATIONS: frozendict[str, str] = frozendict()

Results = Mapping[str, bool]
"""Address -> healthy, for the addresses that a probe has a result about."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A Service's addresses, each tuple IPv4 before IPv6; () where it has none."""

    cluster: tuple[str, ...] = ()
    eip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Children:
    """What `reconcile` keeps for one YusurService."""

    service: Service
    endpoints: Endpoints
    probes: tuple[NetworkProbe, ...]

    def __iter__(self) -> Iterator[Resource]:
        yield self.service
        yield self.endpoints
        yield from self.probes


def children(owner: YusurService, addresses: Addresses, backends: tuple[Backend, ...], results: Results) -> Children:
    """All children, made anew: what they were before does not matter."""
    labels = frozendict({OWNER: owner.name})
    resolved = [(backend, _resolve(owner.spec.ports, backend)) for backend in backends]
    served = [(backend, ports) for backend, ports in resolved if ports]
    health = [_healthy(backend, results) if results else None for backend, _ in served]
    metadata = construct(
        Metadata, name=owner.name, namespace=owner.namespace, labels=labels, annotations=_NO_ANNOTATIONS
    )
    return Children(
        _service(owner, metadata, addresses),
        construct(Endpoints, metadata=metadata, subsets=_subsets(served, health)),
        tuple(
            _probe(owner, labels, backend, ports[0], healthy)
            for (backend, ports), healthy in zip(served, health, strict=True)
        ),
    )


def _service(owner: YusurService, metadata: Metadata, addresses: Addresses) -> Service:
    spec = owner.spec
    ports = tuple(
        construct(ServicePort, name=p.name, protocol=p.protocol, port=p.port, target_port=p.target_port, node_port=None)
        for p in spec.ports
    )
    return construct(
        Service,
        metadata=metadata,
        spec=construct(
            ServiceSpec,
            type=spec.type,
            cluster_ip=addresses.cluster[0] if addresses.cluster else "",
            cluster_ips=addresses.cluster,
            load_balancer_ip=",".join(addresses.eip),
            external_ips=(),
            ports=ports,
            selector=spec.selector,
            session_affinity=spec.session_affinity,
            session_affinity_config=spec.session_affinity_config,
        ),
    )


def _resolve(ports: tuple[YusurServicePort, ...], backend: Backend) -> tuple[EndpointPort, ...]:
    """The backend's own numbers for the Service's ports."""
    found = []
    for port in ports:
        target = port.target_port
        number: int | None
        if target is None:
            number = port.port
        elif isinstance(target, int):
            number = target
        else:
            number = next((p.number for p in backend.ports if p.name == target and p.protocol == port.protocol), None)
        if number is not None:
            found.append(construct(EndpointPort, name=port.name, port=number, protocol=port.protocol))
    return tuple(found)


def _subsets(
    served: list[tuple[Backend, tuple[EndpointPort, ...]]], health: list[bool | None]
) -> tuple[EndpointSubset, ...]:
    """Backends with the same ports together, subsets in the order of their ports, backends in the order they came."""
    groups: dict[tuple[tuple[str, int, str], ...], _Group] = {}
    for (backend, ports), healthy in zip(served, health, strict=True):
        key = tuple((p.name, p.port, p.protocol) for p in ports)
        group = groups.get(key)
        if group is None:
            group = groups[key] = _Group(ports)
        (group.not_ready if healthy is False else group.ready).extend(backend.addresses)
    return tuple(
        construct(EndpointSubset, addresses=tuple(g.ready), not_ready_addresses=tuple(g.not_ready), ports=g.ports)
        for _, g in sorted(groups.items(), key=lambda item: item[0])
    )


@dataclass(slots=True)
class _Group:
    """A subset being filled."""

    ports: tuple[EndpointPort, ...]
    ready: list[EndpointAddress] = field(default_factory=list)
    not_ready: list[EndpointAddress] = field(default_factory=list)


def _healthy(backend: Backend, results: Results) -> bool | None:
    """A result is about an address. Unhealthy on any of the backend's addresses is unhealthy; none: not known, which counts
    as healthy in Endpoints."""
    found = [results[a.ip] for a in backend.addresses if a.ip in results]
    return all(found) if found else None


_PROBED_BY = {"TCP": "TCP", "UDP": "UDP", "SCTP": "ICMP"}
"""How a port is probed unless the template says: no probe speaks SCTP, and whether the host answers says more than nothing."""


def _probe(
    owner: YusurService, labels: frozendict[str, str], backend: Backend, port: EndpointPort, healthy: bool | None
) -> NetworkProbe:
    template = owner.spec.probe
    return construct(
        NetworkProbe,
        metadata=construct(
            Metadata,
            name=probe_name(owner.name, backend.label),
            namespace=owner.namespace,
            labels=labels,
            annotations=_NO_ANNOTATIONS,
        ),
        spec=construct(
            NetworkProbeSpec,
            service=owner.name,
            target=backend.reference,
            address=backend.addresses[0].ip,
            port=port.port,
            protocol=template.protocol or _PROBED_BY[port.protocol],
            period_seconds=template.period_seconds,
            timeout_seconds=template.timeout_seconds,
            success_threshold=template.success_threshold,
            failure_threshold=template.failure_threshold,
        ),
        status=_STATUS[healthy],
    )


def probe_name(service: str, label: str) -> str:
    """`ysvc1.pod.ep1`: the dots make it unique, because neither a Service's name nor a kind contains one.

    A name longer than Kubernetes allows is cut and ends in a hash of all of it.
    """
    name = f"{service}.{label}"
    if len(name) <= MAX_NAME:
        return name
    digest = blake2b(name.encode(), digest_size=8).hexdigest()
    return f"{name[: MAX_NAME - 17].rstrip('-.')}-{digest}"
