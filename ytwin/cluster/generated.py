"""A cluster from numbers: 1,000 nodes with 10,000 Services and their backends, as arrays.

Each kind of path is traced once, on a small topology (`sample_files`) that whoever calls builds into a twin; nothing of the
large cluster is ever a Kubernetes object. Services of EIPs are spread over the EipGateways; an EipGateway moves to the next of
its two nodes when the first is lost, the service-gateway of a Service over several VPCs does not (OVN's gateway routers stay on
`options:chassis`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import yaml

from ytwin.cluster.flows import Flow, named, notes_on
from ytwin.cluster.survey import OUTSIDE, survey
from ytwin.cluster.types import Cluster, Floats, Integers, Mode, Offered, PathClass, Rate, Rows
from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import require
from ytwin.datapath import Limit
from ytwin.hardware.model import HardwareProfile
from ytwin.resources.snapshot import Snapshot
from ytwin.sim.streams import Streams
from ytwin.trace.types import World

INSIDE, EIP, SHARED = "inside", "eip", "shared"
"""Kinds of Services, by the names of their samples."""
MOST: Final = {"nodes": 5_000, "services": 1_000_000, "backends": 10_000}
BATCH: Final = 2_000_000
"""Random numbers drawn at a time for the places of backends."""


@dataclass(frozen=True)
class Size:
    """What a cluster is made of. Clients are on all nodes alike; a Service's backends are on different nodes, by chance."""

    nodes: int = 100
    services: int = 1000
    backends: int = 10
    """Of each Service."""
    outside: float = 0.0
    """Part of the Services that is an EIP for clients outside, with backends in one VPC (scenario 3)."""
    shared: float = 0.0
    """Part that is an EIP with backends in several VPCs (scenario 4)."""
    gateways: int = 2
    """EipGateways, on the first so many nodes; the next one stands by."""
    protocol: Literal["TCP", "UDP"] = "TCP"
    algorithm: Literal["hash", "dpHash"] = "hash"
    affinity: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in MOST.items():
            value = getattr(self, name)
            require(1 <= value <= most, name, f"{value} {name}", f"give 1 to {most:,}")
        for name in ("outside", "shared"):
            require(0 <= getattr(self, name) <= 1, name, f"{getattr(self, name)}", "give a part from 0 to 1")
        both = self.outside + self.shared
        require(both <= 1, "shared", f"{both:g} of the Services are EIPs", "let outside and shared come to at most 1")
        fits = 1 <= self.gateways <= self.nodes
        require(fits, "gateways", f"{self.gateways} gateways on {self.nodes} nodes", f"give 1 to {self.nodes}")


def sample_files(size: Size, profile: HardwareProfile) -> Mapping[str, str]:
    """A topology with one path of every kind that the cluster has, as `resources.codec.decode` takes it.

    Of the hardware it says what the compiler asks for: the datapath, and whether there are cards that take flows over.
    """
    nodes = ("gateway1", "gateway2", "client", "server")
    documents: list[Mapping[str, object]] = [
        _document("ClusterNetwork", "cluster", {"serviceCIDR": "10.96.0.0/16", "datapath": profile.slow_path.datapath})
    ]
    for number, node in enumerate(nodes):
        status = {"addresses": [{"type": "InternalIP", "address": f"192.168.10.{number + 11}"}]}
        documents.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "status": status})
        documents.append(_document("NetworkCard", f"{node}-card", {"node": node, "type": profile.card}))
    gateway = {
        "nodes": ["gateway1", "gateway2"],
        "cidrBlock": "192.0.2.0/24",
        "uplink": "192.0.2.2",
        "gateway": "192.0.2.1",
        "pools": ["200.0.0.0/24"],
    }
    documents.append(_document("EipGateway", "eipgw", gateway))
    for number, name in enumerate((INSIDE, EIP, f"{SHARED}1", f"{SHARED}2"), 1):
        documents.append(_document("Vpc", name, {}))
        for further in range(2):
            net = {"vpc": name, "cidrBlock": f"10.{number}.{further}.0/24"}
            documents.append(_document("Subnet", f"{name}-{further}", net))
    # Of one backend there is no choice, so its flows are others: then each sample Service has one, too.
    parts = ("near", "far") if size.backends == 1 else ("", "")
    pods = (
        ("caller", f"{INSIDE}-1", "client", ""),
        ("near", f"{INSIDE}-0", "client", f"{INSIDE}{parts[0]}"),
        ("far", f"{INSIDE}-0", "server", f"{INSIDE}{parts[1]}"),
        ("at-gateway", f"{EIP}-0", "gateway1", f"{EIP}{parts[0]}"),
        ("beyond", f"{EIP}-0", "server", f"{EIP}{parts[1]}"),
        ("shared-at-gateway", f"{SHARED}1-0", "gateway1", f"{SHARED}{parts[0]}"),
        ("shared-beyond", f"{SHARED}2-0", "server", f"{SHARED}{parts[1]}"),
    )
    documents += [_pod(*pod) for pod in pods]
    common: dict[str, object] = {"ports": [{"port": 80, "protocol": size.protocol}]}
    common["balancing"] = {"algorithm": size.algorithm}
    if size.affinity:
        common["sessionAffinity"] = "ClientIP"
    services: tuple[tuple[str, dict[str, object]], ...] = (
        (INSIDE, {"type": "ClusterIP", "vpc": INSIDE}),
        (EIP, {"type": "LoadBalancer", "vpc": EIP}),
        (SHARED, {"type": "LoadBalancer", "vpcs": [f"{SHARED}1", f"{SHARED}2"]}),
    )
    for name, spec in services:
        for part in dict.fromkeys(parts):
            chosen = {**spec, **common, "selector": {"app": f"{name}{part}"}}
            documents.append(_document("YusurService", f"{name}{part}", chosen))
    return {"sample.yaml": yaml.safe_dump_all(documents, sort_keys=False)}


def _document(kind: str, name: str, spec: Mapping[str, object]) -> Mapping[str, object]:
    return {"apiVersion": "iaas.yusur.io/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def _pod(name: str, subnet: str, node: str, app: str) -> Mapping[str, object]:
    metadata: dict[str, object] = {"name": name, "annotations": {"ovn.kubernetes.io/logical_switch": subnet}}
    if app:
        metadata["labels"] = {"app": app}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}}


def generated(
    size: Size, snapshot: Snapshot, world: World, limits: Mapping[str, Limit], profile: HardwareProfile
) -> Cluster:
    """`snapshot`, `world`, `limits`: of the twin of `sample_files`. `profile`: of every node."""
    sample = survey(snapshot, world, limits, dict.fromkeys(world.chassis, profile), size.services)
    if sample.failures:
        why = "; ".join(f"{name}: {reason}" for name, reason in sorted(sample.failures.items()))
        raise InvalidInput(
            [Problem(Location(path="sample"), "undelivered", why, "choose another algorithm or datapath")]
        )
    kinds = _kinds(size)
    classes, numbers = _classes(sample, [name for name in (INSIDE, EIP, SHARED) if name in set(kinds)])
    return Cluster(
        tuple(f"node{i}" for i in range(1, size.nodes + 1)),
        (profile,),
        np.zeros(size.nodes, dtype=np.int64),
        classes,
        tuple(f"svc-{i}" for i in range(1, size.services + 1)),
        _rows(size, kinds, numbers),
        np.full((1, size.nodes), 1 / size.nodes),
        _gateways(size),
    )


def _kinds(size: Size) -> tuple[str, ...]:
    """Of each Service; by chance which, not how many."""
    eips, shared = round(size.services * size.outside), round(size.services * size.shared)
    listed = [EIP] * eips + [SHARED] * min(shared, size.services - eips)
    listed += [INSIDE] * (size.services - len(listed))
    order = Streams(size.seed).generator("kinds").permutation(size.services)
    return tuple(listed[i] for i in order)


def _classes(sample: Cluster, wanted: Sequence[str]) -> tuple[tuple[PathClass, ...], dict[tuple[str, Mode], int]]:
    """The sample's classes by kind of Service, and by whether client (or gateway) and backend share a chassis."""
    found: dict[tuple[str, Mode], int] = {}
    kept: list[PathClass] = []
    rows = sample.rows
    for row in range(len(rows)):
        name = sample.services[rows.service[row]].partition("/")[2].removesuffix("near").removesuffix("far")
        path = sample.classes[rows.path_class[row]]
        mode = Mode(int(rows.mode[row]))
        if name in (EIP, SHARED):
            mode = Mode.REMOTE if (rows.gateways[row] >= 0).any() else Mode.LOCAL
        if name in wanted and (name, mode) not in found:
            found[name, mode] = len(kept)
            kept.append(replace(path, name=f"{name}, {mode.name.lower()}"))
    assert len(found) == 2 * len(wanted)
    return tuple(kept), found


def _gateways(size: Size) -> tuple[tuple[int, ...], ...]:
    """Of each EipGateway its nodes, and behind it the node of its service-gateway."""
    found: list[tuple[int, ...]] = []
    for number in range(size.gateways):
        second = (number + 1) % max(size.gateways, min(size.nodes, 2))
        found += [tuple(dict.fromkeys((number, second))), (number,)]
    return tuple(found)


def _rows(size: Size, kinds: Sequence[str], numbers: Mapping[tuple[str, Mode], int]) -> Rows:
    """Two per Service, which share its backends."""
    count = size.services
    service = np.tile(np.arange(count), 2)
    mode = np.repeat([int(Mode.REMOTE), int(Mode.LOCAL)], count)
    path = np.array([numbers[kind, one] for one in (Mode.REMOTE, Mode.LOCAL) for kind in kinds], dtype=np.int64)
    inside = np.array([kind == INSIDE for kind in kinds])
    shared = np.array([kind == SHARED for kind in kinds])
    gateway = np.where(inside, -1, 2 * (np.arange(count) % size.gateways) + shared)
    begin = np.arange(count, dtype=np.int64) * size.backends
    node = _places(size)
    return Rows(
        service,
        np.ones(2 * count),
        path,
        mode,
        np.tile(np.where(inside, 0, -1), 2),
        np.tile(gateway, 2)[:, None],
        np.tile(begin, 2),
        np.tile(begin + size.backends, 2),
        node,
        np.full(len(node), 1 / size.backends),
    )


def _places(size: Size) -> Integers:
    """Nodes of all backends: different ones for those of a Service, as far as there are so many."""
    chance = Streams(size.seed).generator("places")
    whole, further = divmod(size.backends, size.nodes)
    every = np.tile(np.arange(size.nodes), whole)
    found = np.empty((size.services, size.backends), dtype=np.int64)
    found[:, : len(every)] = every
    step = max(1, BATCH // size.nodes)
    for first in range(0, size.services if further else 0, step):
        draws: Floats = chance.random((min(step, size.services - first), size.nodes))
        chosen = np.argpartition(draws, further - 1, axis=1)[:, :further]
        found[first : first + step, len(every) :] = chosen
    return found.reshape(-1)


def generated_flows(cluster: Cluster, flows: Sequence[Flow]) -> tuple[Cluster, Offered]:
    """A generated cluster under measured flows, between its nodes (`node1`), or outside, and its Services (`svc-1`).

    InvalidInput: names that it does not have, each with file and line."""
    nodes = {name: number for number, name in enumerate(cluster.nodes)}
    services = {name: number for number, name in enumerate(cluster.services)}
    rows, chosen, sources, rates, bulk = cluster.rows, list[int](), list[int](), [], []
    of_service = np.argsort(rows.service, kind="stable")
    starts = np.searchsorted(rows.service[of_service], np.arange(len(services) + 1))
    used: dict[int, int] = {}
    problems = []

    def wrong(flow: Flow, column: str, message: str, hint: str) -> None:
        problems.append(Problem(Location(flow.where.file, flow.where.line, column), "name", message, hint))

    for flow in flows:
        name = flow.destination.removeprefix("default/").partition(":")[0]
        if name not in services:
            wrong(flow, "service", f"no Service {name!r}", f"there are {cluster.services[0]} to {cluster.services[-1]}")
            continue
        own = of_service[starts[services[name]] : starts[services[name] + 1]]
        outside = bool((rows.clients[own] < 0).all())
        if flow.source != OUTSIDE and flow.source not in nodes:
            hint = f"there are {cluster.nodes[0]} to {cluster.nodes[-1]}, and outside"
            wrong(flow, "src_node", f"no node {flow.source!r}", hint)
        elif outside != (flow.source == OUTSIDE):
            serves = "the outside" if outside else "clients on nodes"
            wrong(flow, "src_node", f"{name} serves {serves} only", "send it from there, or call another Service")
        else:
            chosen += own.tolist()
            source = -1 if outside else used.setdefault(nodes[flow.source], len(used))
            sources += [source] * len(own)
            handshakes = (cluster.classes[rows.path_class[row]].handshake for row in own)
            rates += [flow.rates(handshake) * rows.portion[row] for row, handshake in zip(own, handshakes, strict=True)]
            bulk += [flow.bulk] * len(own)
    if problems:
        raise InvalidInput(problems)
    clients = np.array(sources, dtype=np.int64)
    found = Rows(
        rows.service[chosen],
        rows.portion[chosen],
        rows.path_class[chosen],
        rows.mode[chosen],
        clients,
        rows.gateways[chosen],
        rows.begin[chosen],
        rows.end[chosen],
        rows.node,
        rows.part,
    )
    alone = np.zeros((len(used), len(cluster.nodes)))
    alone[list(used.values()), list(used)] = 1.0
    measured = replace(cluster, rows=found, clients=alone)
    shaped = np.array(rates).reshape(len(bulk), len(Rate))
    return measured, Offered(shaped, np.array(bulk, dtype=np.bool_), named(flows), notes_on(flows, cluster.profiles))
