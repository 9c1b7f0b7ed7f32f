"""Which workloads are a YusurService's backends.

Like Kubernetes, a selector looks at the Service's own namespace; unlike it, at every kind of workload (`backendKinds`) and only
at those in the Service's VPCs, since no packet reaches another VPC's. `vnicIPs` are backends whatever their labels, namespace
and kind. Neither a selector nor `vnicIPs`: no backends.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from ytwin.controllers.build import construct
from ytwin.resources.addresses import canonical, version_of
from ytwin.resources.model import EndpointAddress, ObjectReference, YusurService, YusurServiceSpec
from ytwin.resources.snapshot import ObjectId, Snapshot
from ytwin.resources.workload import NamedPort, Workload, vpcs_of_service, workloads

SHORT = {"Pod": "pod", "VirtualMachine": "vm", "BareMetal": "bm", "VNicIP": "vnic", "": "ip"}
"""Kinds as they appear in the names of probes; "" is an address that belongs to no known workload."""

_ALL_KINDS = frozenset(YusurServiceSpec.model_fields["backend_kinds"].default)


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """A workload as seen by Services; one object per workload, so it is compared by identity."""

    id: ObjectId
    labels: frozenset[tuple[str, str]]
    ports: tuple[NamedPort, ...]
    reference: ObjectReference
    addresses: tuple[EndpointAddress, ...]
    label: str
    """`pod.ep1`: unique among the backends of a Service."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Every workload that has an address, by what Services look for."""

    everywhere: dict[tuple[str, str, str, str], list[Backend]]
    """(vpc, namespace, label, value) -> backends, sorted by id."""
    by_address: dict[tuple[str, str], Backend]
    """(vpc, address) -> backend."""


def backends_of(snapshot: Snapshot) -> Backends:
    """The index for a snapshot whose workloads have addresses."""
    return snapshot.once(_index)


def _index(snapshot: Snapshot) -> Backends:
    everywhere: dict[tuple[str, str, str, str], list[Backend]] = {}
    by_address: dict[tuple[str, str], Backend] = {}
    for workload in workloads(snapshot):
        if not workload.addresses or not workload.vpc:
            continue
        backend = _backend(workload)
        for address in workload.addresses:
            by_address[workload.vpc, address] = backend
        for label, value in workload.labels.items():
            everywhere.setdefault((workload.vpc, workload.namespace, label, value), []).append(backend)
    return Backends(everywhere, by_address)


def _backend(workload: Workload) -> Backend:
    reference = construct(ObjectReference, kind=workload.kind, namespace=workload.namespace, name=workload.name)
    return Backend(
        workload.id,
        frozenset(workload.labels.items()),
        workload.ports,
        reference,
        tuple(
            construct(EndpointAddress, ip=address, target_ref=reference, node_name=workload.node)
            for address in workload.addresses
        ),
        f"{SHORT[workload.kind]}.{workload.name}",
    )


def select(snapshot: Snapshot, backends: Backends, service: YusurService) -> tuple[Backend, ...]:
    """The Service's backends, sorted by id (kind, namespace, name)."""
    spec = service.spec
    vpcs = vpcs_of_service(snapshot, service)
    found: list[Backend] = []
    if spec.selector:
        for vpc in vpcs:
            found.extend(_selected(backends, vpc, service))
    if spec.vnic_ips:
        known = {backend.id for backend in found}
        found.extend(b for b in _explicit(backends, vpcs, spec.vnic_ips, service.namespace) if b.id not in known)
    if len(vpcs) > 1 or spec.vnic_ips:
        found.sort(key=lambda backend: backend.id)
    return tuple(found)


def _selected(backends: Backends, vpc: str, service: YusurService) -> list[Backend]:
    """Those of one VPC that carry every label of the selector: the rarest label's, filtered by the others."""
    pairs = list(service.spec.selector.items())
    lists = [backends.everywhere.get((vpc, service.namespace, label, value), []) for label, value in pairs]
    found = min(lists, key=len)
    if len(pairs) > 1:
        wanted = frozenset(pairs)
        found = [backend for backend in found if wanted.issubset(backend.labels)]
    kinds = frozenset(service.spec.backend_kinds)
    if kinds != _ALL_KINDS:
        found = [backend for backend in found if backend.id.kind in kinds]
    return found


def _explicit(backends: Backends, vpcs: tuple[str, ...], addresses: tuple[str, ...], namespace: str) -> list[Backend]:
    """Backends for `vnicIPs`: of a known workload, only the addresses that are named; of nobody, the bare address."""
    named: dict[ObjectId, tuple[Backend, set[str]]] = {}
    bare: list[Backend] = []
    for address in dict.fromkeys(map(canonical, addresses)):
        owner = next((b for vpc in vpcs if (b := backends.by_address.get((vpc, address)))), None)
        if owner is None:
            bare.append(_bare(address, namespace))
        else:
            named.setdefault(owner.id, (owner, set()))[1].add(address)
    return bare + [_limited(backend, wanted) for backend, wanted in named.values()]


def _limited(backend: Backend, wanted: set[str]) -> Backend:
    addresses = tuple(a for a in backend.addresses if a.ip in wanted)
    if len(addresses) == len(backend.addresses):
        return backend
    return Backend(backend.id, backend.labels, backend.ports, backend.reference, addresses, backend.label)


def _bare(address: str, namespace: str) -> Backend:
    """An address that no workload of the VPCs has; whether it answers is for the trace to find."""
    text = address.replace(".", "-")
    if version_of(address) == 6:
        text = IPv6Address(address).exploded.replace(
            ":", "-"
        )  # the short form could end in a dash, which is no valid name
    return Backend(
        ObjectId("", namespace, text),
        frozenset(),
        (),
        construct(ObjectReference, kind="", namespace="", name=""),
        (construct(EndpointAddress, ip=address, target_ref=None, node_name=""),),
        f"ip.{text}",
    )
