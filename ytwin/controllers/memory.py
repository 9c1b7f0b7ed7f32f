"""Carrying given addresses from an earlier state into a newer description of the same cluster.

A running cluster remembers by itself: what reconcile wrote is still there when an object is added. Two files beside each other
(`ytwin diff A B`) do not, so the memory of A is copied into B before B is reconciled.
"""

from __future__ import annotations

from collections.abc import Iterator

from frozendict import frozendict

from ytwin.controllers.build import replaced
from ytwin.resources.model import BareMetal, Pod, Resource, VirtualMachine, VNicIP, YusurService
from ytwin.resources.snapshot import ObjectId, Snapshot
from ytwin.resources.workload import IP_ADDRESS, LOGICAL_SWITCH, MAC_ADDRESS, Workload, addresses_of_pod, workloads


def remember(earlier: Snapshot, later: Snapshot) -> Snapshot:
    """`later` with the addresses that the same objects have in `earlier` (reconciled), where `later` leaves them open.

    A workload that moved to another Subnet forgets its address.
    """
    before = {w.id: w for w in workloads(earlier)}
    return later.changed(list(_remembered(earlier, before, later)))


def _remembered(earlier: Snapshot, before: dict[ObjectId, Workload], later: Snapshot) -> Iterator[Resource]:
    for service in later.all(YusurService):
        known = earlier.get(YusurService, service.name, service.namespace)
        if known is not None and not service.status.cluster_ip and not service.status.eip:
            yield replaced(service, status=known.status)
    for workload in workloads(later):
        old = before.get(workload.id)
        if old is not None and old.subnet == workload.subnet:
            filled = _filled(later.objects[workload.id], old)
            if filled is not None:
                yield filled


def _filled(resource: Resource, old: Workload) -> Resource | None:
    if isinstance(resource, Pod) and not addresses_of_pod(resource):
        wanted = {LOGICAL_SWITCH: old.subnet, IP_ADDRESS: ",".join(old.addresses), MAC_ADDRESS: old.mac}
        annotations = frozendict({**wanted, **resource.metadata.annotations})
        return replaced(resource, metadata=replaced(resource.metadata, annotations=annotations))
    if isinstance(resource, VirtualMachine | BareMetal | VNicIP) and not resource.spec.ip_address:
        spec = replaced(
            resource.spec, ip_address=",".join(old.addresses), mac_address=resource.spec.mac_address or old.mac
        )
        return replaced(resource, spec=spec)
    return None
