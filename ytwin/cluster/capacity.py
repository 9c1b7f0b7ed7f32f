"""How far the traffic of a cluster can grow, and what is full then.

All rates grow by one factor. What is asked of a resource grows with it; where cards' tables overflow, or get slower as they fill,
more than in proportion, so the factor is found by bisection on the whole cluster's state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from ytwin.cluster.classes import KINDS, PLACE
from ytwin.cluster.types import HARD, RESOURCES, SOFT, Cluster, Floats, Offered, Rate, Resource, Slot
from ytwin.cluster.work import Busy, OnNodes, Work, busy, on_nodes, work_of
from ytwin.hardware.model import Kind
from ytwin.hardware.values import numbers
from ytwin.performance.predict import TABLES

HALVINGS: Final = 60
MOST_SCALE: Final = 1e15
"""Beyond, nothing is asked for."""
ALIKE: Final = 0.01
"""Nodes within so much of the fullest are as full."""
OF_OPENING: Final = ("eswitch.insertion_rate", "eswitch.deletion_rate", "eswitch.ageing", "eswitch.teardown")
"""Of TABLES what matters to connections that come and go only."""
ALIKE_WORK: Final = 1e-9
"""Work that differs by less, relative, is the same but for rounding."""
_PACKETS: Final = np.bincount([kind.packets for kind in KINDS], minlength=len(Rate)).astype(np.float64)
"""[Rate] -> packets."""
_HARD: Final = [PLACE[resource] for resource in HARD]


@dataclass(frozen=True)
class Capacity:
    """The answer for one cluster under one load."""

    cluster: Cluster
    load: str
    scale: float
    """By what the load can grow until the first resource is full; endless if nothing is asked for."""
    resource: Resource | None
    """That is full then."""
    node: str
    """Where."""
    alike: int
    """Nodes where it is as full, this one among them."""
    now: Busy
    """At the load itself."""
    at_limit: Busy
    headroom: Mapping[Resource, float]
    """By what the load could grow until this resource is full on some node, if nothing else were. Of what is no limit: until
    software has to do the rest. Only what is asked for."""
    rests_on: tuple[str, ...]
    """Profile numbers of kind calibrated or assumed that the scale depends on: "card.path (kind)"."""
    packets_per_s: float
    """Of the load, both directions, each packet once; with those of handshakes and ends of connections that come besides."""
    new_per_s: float
    alive: float
    told: tuple[str, ...] = ()
    """Notes on the load itself."""

    @property
    def limit(self) -> str:
        """e.g. "eswitch of node17", "" if there is none."""
        return f"{self.resource} of {self.node}" if self.resource is not None else ""

    @property
    def fits(self) -> bool:
        """Whether the load is carried as it is, and all Services are served."""
        return self.scale >= 1 and not self.cluster.failures

    @property
    def software_share(self) -> float:
        """Of connections that cards could take over, the part that they do not, over all nodes."""
        tables = self.now.tables
        total = float(tables.alive.sum())
        return float(((1 - tables.share) * tables.alive).sum()) / total if total else 0.0


def capacity(cluster: Cluster, offered: Offered) -> Capacity:
    """How far it goes, and what stops it."""
    traffic = on_nodes(cluster, offered)
    work = work_of(cluster, traffic)
    scale = _scale(cluster, work, _HARD)
    known = math.isfinite(scale)
    at_limit = busy(cluster, work, scale if known else 1.0)
    resource, node, alike = None, -1, 0
    if known:
        shares = at_limit.shares[:, _HARD]
        node, place = (int(i) for i in np.unravel_index(np.argmax(shares), shares.shape))
        resource = HARD[place]
        alike = int((shares[:, place] >= (1 - ALIKE) * shares[node, place]).sum())
    now = busy(cluster, work)
    total = sum((slots[Slot.BACKEND].sum(axis=1) for slots in traffic.values()), start=np.zeros(len(Rate)))
    return Capacity(
        cluster,
        offered.text,
        scale,
        resource,
        cluster.nodes[node] if resource is not None else "",
        alike,
        now,
        at_limit,
        {r: _scale(cluster, work, [PLACE[r]]) for r in RESOURCES if now.shares[:, PLACE[r]].max(initial=0.0) > 0},
        _rests_on(cluster, traffic, work, at_limit, resource, node),
        float(total @ _PACKETS),
        float(total[Rate.NEW]),
        float(total[Rate.ALIVE]),
        offered.notes,
    )


def _scale(cluster: Cluster, work: Work, places: list[int]) -> float:
    """Where the fullest of these resources is full. What is asked never falls as the load grows, so bisection finds it."""

    def fullest(scale: float) -> float:
        return float(busy(cluster, work, scale).shares[:, places].max(initial=0.0))

    high = 1.0
    while fullest(high) < 1:
        high *= 2
        if high > MOST_SCALE:
            return math.inf
    low = high / 2
    while fullest(low) >= 1 and low > 1 / MOST_SCALE:
        low, high = low / 2, low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if fullest(middle) < 1 else (low, middle)
    return low


def _rests_on(
    cluster: Cluster, traffic: OnNodes, work: Work, at_limit: Busy, resource: Resource | None, node: int
) -> tuple[str, ...]:
    """Of the resource that limits, on the node where it does: what its work is made of, and the card's tables where they decide
    how much of it there is."""
    if resource is None:
        return ()
    profile, place = int(cluster.profile[node]), PLACE[resource]
    card = cluster.profiles[profile]
    paths: set[str] = set()
    for (number, _), slots in traffic.items():
        for rate in np.flatnonzero(slots[:, :, node].any(axis=0)):
            paths |= cluster.classes[number].rests_on.get((profile, Rate(int(rate)), resource), frozenset())
    if at_limit.tables.alive[node] > 0:
        crowded = resource is Resource.ESWITCH and card.eswitch is not None and card.eswitch.crowding
        if crowded or not math.isclose(work.held[node, place], work.software[node, place], rel_tol=ALIKE_WORK):
            paths |= {path for path in TABLES if path not in OF_OPENING or work.new[node] > 0}
        paths |= {path for path in numbers(card) if crowded and path.startswith("eswitch.crowding")}
    return tuple(
        f"{card.name}.{path} ({number.kind})"
        for path, number in numbers(card).items()
        if path in paths and number.kind in (Kind.CALIBRATED, Kind.ASSUMED)
    )


def measures(found: Capacity) -> tuple[dict[str, float], dict[str, str]]:
    """The answer as numbers and texts by name, as a study keeps them.

    `scale`; `busiest`, how busy the fullest resource is at the load itself; `headroom_X` and `busy_X` of each resource that is
    asked for anything (X: `eswitch`, `ports_in`, ...), the latter of its fullest node; `packets_per_s` that the cluster carries
    at its limit; `software_share`; `unserved`, Services. Texts: `limit`, `notes`, `rests_on`.
    """
    values = {
        "scale": found.scale,
        "busiest": float(found.now.shares[:, _HARD].max(initial=0.0)),
        "packets_per_s": found.packets_per_s * found.scale if math.isfinite(found.scale) else math.inf,
        "software_share": found.software_share,
        "unserved": float(len(found.cluster.failures)),
    }
    for resource, scale in found.headroom.items():
        values[f"headroom_{resource.name.lower()}"] = scale
        values[f"busy_{resource.name.lower()}"] = float(found.now.shares[:, PLACE[resource]].max())
    said = {"limit": found.limit, "notes": "; ".join(notes(found)), "rests_on": "; ".join(found.rests_on)}
    return values, {name: text for name, text in said.items() if text}


def notes(found: Capacity) -> tuple[str, ...]:
    """What else happens at the load itself: packets that do not fit, tables that are too small, rules that come too late,
    Services without a path."""
    said = list(found.told)
    for resource in SOFT:
        shares: Floats = found.now.shares[:, PLACE[resource]]
        over = np.flatnonzero(shares > 1)
        if len(over):
            worst = int(over[np.argmax(shares[over])])
            consequence = (
                "OVS stops putting flows in, and more packets than counted here go to ovs-vswitchd"
                if resource is Resource.FLOWS
                else f"{1 - found.now.tables.share[worst]:.1%} of {found.cluster.nodes[worst]}'s connections stay in software"
            )
            nodes = "1 node" if len(over) == 1 else f"{len(over)} nodes"
            said.append(
                f"{resource} on {nodes} is asked for up to {shares[worst]:.3g} times what there is: {consequence}"
            )
    failures = found.cluster.failures
    if failures:
        name, reason = next(iter(sorted(failures.items())))
        one = f"Service {name} is" if name in found.cluster.services else f"{name} is"
        services = one if len(failures) == 1 else f"{len(failures)} Services, such as {name}, are"
        said.append(f"{services} not served, or not wholly: {reason}")
    return tuple(sorted(said))
