"""Names by which `get` knows the kinds, and the columns it shows: kubectl's habits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ytwin.logical.addresses import endpoint
from ytwin.resources import model
from ytwin.resources.model import Resource
from ytwin.resources.snapshot import Snapshot, id_of
from ytwin.resources.workload import workloads

KINDS: dict[str, type[Resource]] = {
    kind.KIND: kind
    for kind in (
        model.ClusterNetwork, model.Node, model.NetworkCard, model.Vpc, model.Subnet, model.EipGateway, model.Pod,
        model.VirtualMachine, model.BareMetal, model.VNicIP, model.YusurService, model.Service, model.Endpoints,
        model.EndpointSlice, model.NetworkProbe,
    )
}  # fmt: skip

SHORT_NAMES = {
    "ysvc": "YusurService", "svc": "Service", "ep": "Endpoints", "po": "Pod", "vm": "VirtualMachine", "bm": "BareMetal",
    "vnic": "VNicIP", "no": "Node", "card": "NetworkCard", "eipgw": "EipGateway", "probe": "NetworkProbe", "np": "NetworkProbe",
    "cn": "ClusterNetwork",
}  # fmt: skip


def kind_of(name: str) -> type[Resource] | None:
    """The kind that a user means by `Pod`, `pod`, `pods` or `po`; None if there is none."""
    wanted = name.lower()
    if wanted in SHORT_NAMES:
        return KINDS[SHORT_NAMES[wanted]]
    for kind, cls in KINDS.items():
        forms = {kind.lower(), kind.lower() + "s", kind.lower().removesuffix("y") + "ies", kind.lower() + "es"}
        if wanted in forms:
            return cls
    return None


def table_of(
    kind: type[Resource], snapshot: Snapshot, objects: Sequence[Resource]
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Header and one row per object, NAMESPACE and NAME first."""
    header, cells = COLUMNS.get(kind.KIND, ((), lambda _r, _s: ()))
    lead = ("namespace", "name") if kind.NAMESPACED else ("name",)
    rows = [((r.namespace, r.name) if kind.NAMESPACED else (r.name,)) + tuple(cells(r, snapshot)) for r in objects]
    return lead + tuple(header), rows


def _ports(ports: Sequence[Any]) -> str:
    return ",".join(f"{p.port}/{p.protocol}" for p in ports)


def _service(r: Any, _s: Snapshot) -> tuple[object, ...]:
    spec = r.spec
    vpc = ",".join(filter(None, (spec.vpc, *spec.vpcs)))
    return spec.type, spec.scope, vpc, r.status.cluster_ip or "<none>", r.status.eip or "<none>", _ports(spec.ports)


def _core_service(r: Any, _s: Snapshot) -> tuple[object, ...]:
    addresses = ",".join(r.spec.cluster_ips) or r.spec.cluster_ip or "None"
    return (
        r.spec.type,
        addresses,
        r.spec.load_balancer_ip or ",".join(r.spec.external_ips) or "<none>",
        _ports(r.spec.ports),
    )


def _endpoints(r: Any, _s: Snapshot) -> tuple[object, ...]:
    def listed(name: str) -> str:
        pairs = ((a.ip, p.port) for s in r.subsets for a in getattr(s, name) for p in s.ports)
        texts = dict.fromkeys(endpoint(ip, port) for ip, port in pairs)
        return ",".join(texts) or "<none>"

    return listed("addresses"), listed("not_ready_addresses")


def _probe(r: Any, _s: Snapshot) -> tuple[object, ...]:
    health = {None: "Unknown", True: "Healthy", False: "Unhealthy"}[r.status.healthy]
    target = r.spec.target
    return r.spec.service, f"{target.kind}/{target.name}", f"{r.spec.protocol} {r.spec.address}:{r.spec.port}", health


def _workload(r: Any, snapshot: Snapshot) -> tuple[object, ...]:
    found = {w.id: w for w in workloads(snapshot)}.get(id_of(r))
    if found is None:
        return ("<none>",) * 5
    return found.node, found.vpc, found.subnet, ",".join(found.addresses), found.mac


Columns = tuple[tuple[str, ...], Callable[[Any, Snapshot], tuple[object, ...]]]
_WORKLOAD: Columns = (("node", "vpc", "subnet", "address", "mac"), _workload)
COLUMNS: dict[str, Columns] = {
    "YusurService": (("type", "scope", "vpc", "cluster-ip", "eip", "ports"), _service),
    "Service": (("type", "cluster-ip", "external-ip", "ports"), _core_service),
    "Endpoints": (("endpoints", "not-ready"), _endpoints),
    "NetworkProbe": (("service", "target", "probe", "health"), _probe),
    "Pod": _WORKLOAD,
    "VirtualMachine": _WORKLOAD,
    "BareMetal": _WORKLOAD,
    "VNicIP": _WORKLOAD,
    "Subnet": (("vpc", "cidr"), lambda r, s: (r.spec.vpc or s.network.default_vpc, r.spec.cidr_block)),
    "EipGateway": (
        ("nodes", "uplink", "pools"),
        lambda r, _s: (",".join(r.spec.nodes), r.spec.uplink, ",".join(r.spec.pools)),
    ),
    "NetworkCard": (
        ("node", "type", "ports", "offload"),
        lambda r, _s: (r.spec.node, r.spec.type, f"{r.spec.ports}x{r.spec.port_speed_gbps:g}G", r.spec.hw_offload),
    ),
}
