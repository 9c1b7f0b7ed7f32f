"""What a cluster is after a loss.

A node: its backends' traffic goes to the Service's others, and gateways move to their next node. What a Service carries is a
load's to say, so the other clients ask for all of it (they are started elsewhere); of measured flows those from the node are
gone with its clients (`flows.without_clients`, before `lose`), which is said. A card: it hands everything on to the software
path, one pass each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ytwin.cluster.capacity import Capacity
from ytwin.cluster.types import HARD, RESOURCES, Cluster, Floats, PathClass


def lose(cluster: Cluster, node: str) -> Cluster:
    """Without a node. For clusters whose gateways know their next nodes (`generated`); survey a twin with the node down."""
    number = cluster.nodes.index(node)
    clients: Floats = cluster.clients.copy()
    clients[:, number] = 0.0
    left = clients.sum(axis=1, keepdims=True)
    clients = np.divide(clients, left, out=np.zeros_like(clients), where=left > 0)
    after = replace(cluster, clients=clients, lost=cluster.lost | {number})
    return replace(after, unserved={**cluster.failures, **_unserved(after)})


def _unserved(cluster: Cluster) -> dict[str, str]:
    rows = cluster.rows
    gone = np.isin(rows.node, list(cluster.lost))
    left = np.concatenate([[0], np.cumsum(~gone)])
    empty = left[rows.end] == left[rows.begin]
    dead = np.array([cluster.gateway(g) < 0 for g in range(len(cluster.gateways))], dtype=np.bool_)
    headless = np.zeros(len(rows), dtype=np.bool_)
    for column in rows.gateways.T:
        headless |= (column >= 0) & dead[column]
    alone = (rows.clients >= 0) & (cluster.clients.sum(axis=1)[rows.clients] == 0) if len(cluster.clients) else empty
    found = {cluster.services[s]: "all of its clients are lost" for s in np.unique(rows.service[alone])}
    found |= {cluster.services[s]: "all of its backends are lost" for s in np.unique(rows.service[empty])}
    found |= {
        cluster.services[s]: "its gateway is lost, and moves to no other node"
        for s in np.unique(rows.service[headless])
    }
    return found


def without_offload(cluster: Cluster, node: str) -> Cluster:
    """The node's card takes nothing over any more."""
    number = cluster.nodes.index(node)
    before = int(cluster.profile[number])
    card = cluster.profiles[before]
    profile = cluster.profile.copy()
    profile[number] = len(cluster.profiles)
    changed = card.model_copy(update={"name": f"{card.name} without offload"})
    classes = tuple(_with_software(path, before) for path in cluster.classes)
    return replace(cluster, profiles=(*cluster.profiles, changed), profile=profile, classes=classes)


def _with_software(path: PathClass, profile: int) -> PathClass:
    """With one more profile, which does as the software of another."""
    more = path.software[:, :, profile : profile + 1]
    last = path.software.shape[2]
    copied = {(last, rate, what): numbers for (p, rate, what), numbers in path.rests_on.items() if p == profile}
    return replace(
        path,
        held=np.concatenate([path.held, more], axis=2),
        software=np.concatenate([path.software, more], axis=2),
        table=np.concatenate([path.table, np.zeros((path.slots, 1), dtype=np.bool_)], axis=1),
        rests_on={**path.rests_on, **copied},
    )


def most_loaded(found: Capacity) -> dict[str, str]:
    """ "node", "card", "gateway" -> the node of that kind whose fullest resource is fullest. Without kinds that there are not."""
    cluster = found.cluster
    hard = [number for number, resource in enumerate(RESOURCES) if resource in HARD]
    fullest = np.where(
        [i in cluster.lost for i in range(len(cluster.nodes))], -1.0, found.now.shares[:, hard].max(axis=1)
    )
    has_card = np.array([profile.eswitch is not None for profile in cluster.profiles])[cluster.profile]
    used = np.unique(cluster.rows.gateways)
    gateways = np.isin(np.arange(len(cluster.nodes)), [cluster.gateway(g) for g in used if g >= 0])
    kinds = {"node": np.ones(len(cluster.nodes), dtype=np.bool_), "card": has_card, "gateway": gateways}
    return {
        kind: cluster.nodes[int(np.argmax(np.where(here, fullest, -1.0)))] for kind, here in kinds.items() if here.any()
    }
