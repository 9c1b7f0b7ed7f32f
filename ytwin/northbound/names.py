"""Names of rows, in both directions: from a Kubernetes object to its rows and from a row to its object.

Names never collide because Kubernetes names hold no underscore, so `_` always ends one part. `external_ids` say the object of
every row of a table that has that column; a Load_Balancer_Group, whose table has none, says its VPC by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from frozendict import frozendict

from ytwin.northbound.rows import LoadBalancerGroup, Northbound, Row, Strings
from ytwin.resources.snapshot import ObjectId

OWNER = "ytwin"
"""Value of `external_ids:owner`: what tells the twin's rows from other people's in one Northbound."""
CLUSTER = ObjectId("ClusterNetwork", "", "cluster")
"""Owner of rows that no single object asks for, such as the join switch; written or not."""

_PREFIX = {"Pod": "", "VirtualMachine": "vm_", "BareMetal": "bm_", "VNicIP": "vnic_"}


@lru_cache(maxsize=1 << 12)
def _cluster_scoped(kind: str, name: str) -> Strings:
    return frozendict({"owner": OWNER, "kind": kind, "namespace": "", "object": name})


def owned_by(source: ObjectId) -> Strings:
    """The `external_ids` of a row that comes from an object.

    Its name is under `object`, because northd copies a port's external_ids to the Southbound and OVN's tools print `name`
    there instead of the port's own name.
    """
    if not source.namespace:
        return _cluster_scoped(source.kind, source.name)
    return frozendict({"owner": OWNER, "kind": source.kind, "namespace": source.namespace, "object": source.name})


# --- ports of workloads and nodes --------------------------------------------------------------------------------------


def workload_port(workload: ObjectId) -> str:
    """Logical_Switch_Port of a workload: kube-ovn's `<name>.<namespace>`, with a prefix for kinds that are no Pod."""
    return f"{_PREFIX[workload.kind]}{workload.name}.{workload.namespace}"


def node_port(node: str) -> str:
    """Logical_Switch_Port of a node's own port on the join switch."""
    return f"node_{node}"


def object_of_port(port: str) -> ObjectId | None:
    """The workload or Node that a Logical_Switch_Port's name stands for; None for ports of routers and localnets."""
    if port.startswith("node_"):
        return ObjectId("Node", "", port.removeprefix("node_"))
    prefix, underscore, rest = port.rpartition("_")
    name, dot, namespace = rest.rpartition(".")  # a namespace holds no dot, a name may
    for kind, known in _PREFIX.items():
        if prefix + underscore == known and dot:
            return ObjectId(kind, namespace, name)
    return None


# --- routers, switches and what joins them -----------------------------------------------------------------------------


def router_port(router: str, switch: str) -> str:
    """Logical_Router_Port of `router` towards `switch`."""
    return f"lrp_{router}_{switch}"


def switch_port(switch: str, router: str) -> str:
    """Logical_Switch_Port of `switch` towards `router`."""
    return f"lsp_{switch}_{router}"


def eip_router(gateway: str) -> str:
    """Logical_Router of an EipGateway."""
    return f"eipgw_{gateway}"


def eip_switch(gateway: str) -> str:
    """Logical_Switch of the network between the outside and an EipGateway."""
    return f"eipnet_{gateway}"


def localnet_port(gateway: str) -> str:
    """Logical_Switch_Port that joins `eip_switch` with the physical network."""
    return f"localnet_{gateway}"


def service_router(gateway: str) -> str:
    """Logical_Router (gateway router) that balances EIPs over several VPCs."""
    return f"svcgw_{gateway}"


def transit_switch(vpc: str, gateway: str) -> str:
    """Logical_Switch between an EipGateway's router and a VPC."""
    return f"transit_{vpc}_{gateway}"


def service_transit_switch(gateway: str) -> str:
    """Logical_Switch between an EipGateway's router and its service router.

    Not `transit_svcgw_<gateway>`: that is the transit switch of a VPC named svcgw.
    """
    return f"svctransit_{gateway}"


def service_switch(vpc: str, gateway: str) -> str:
    """Logical_Switch between a service router and a VPC with backends."""
    return f"svc_{vpc}_{gateway}"


def vpc_group(vpc: str) -> str:
    """Load_Balancer_Group with the ClusterIPs of a VPC."""
    return f"vpc_{vpc}"


def load_balancer(namespace: str, service: str, protocol: str, *, eip: bool = False) -> str:
    """Load_Balancer of one Service and protocol, for its ClusterIPs or for its EIPs."""
    return f"{namespace}/{service}/{protocol.lower()}{'/eip' if eip else ''}"


# --- rows and objects --------------------------------------------------------------------------------------------------


def object_of(row: Row) -> ObjectId | None:
    """The Kubernetes object that a row comes from; None if the row is not the twin's."""
    if isinstance(row, LoadBalancerGroup):
        prefix, _, vpc = row.name.partition("_")
        return ObjectId("Vpc", "", vpc) if prefix == "vpc" and vpc else None
    ids = row.external_ids
    if ids.get("owner") != OWNER or not ids.get("kind"):
        return None
    return ObjectId(ids["kind"], ids.get("namespace", ""), ids.get("object", ""))


def rows_by_object(nb: Northbound) -> Mapping[ObjectId, tuple[Row, ...]]:
    """All rows of every object, in the order of the Northbound."""
    found: dict[ObjectId, list[Row]] = {}
    for row in nb.rows.values():
        source = object_of(row)
        if source is not None:
            found.setdefault(source, []).append(row)
    return {source: tuple(rows) for source, rows in found.items()}


def rows_of(nb: Northbound, source: ObjectId) -> tuple[Row, ...]:
    """The rows that come from one object. For many objects take `rows_by_object` once."""
    return tuple(_matching(nb, source))


def _matching(nb: Northbound, source: ObjectId) -> Iterator[Row]:
    return (row for row in nb.rows.values() if object_of(row) == source)
