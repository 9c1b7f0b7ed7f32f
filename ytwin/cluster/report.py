"""An answer in words, as tables, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ytwin.cluster.capacity import Capacity, notes
from ytwin.cluster.classes import PLACE
from ytwin.cluster.types import SOFT
from ytwin.performance.render import number

Json = dict[str, Any]

HEADER: Final = ("resource", "fullest node", "busy", "95 %", "median", "can grow", "")
LOSSES: Final = ("lost", "can grow", "then full", "busiest", "not served")
MOST_LISTED: Final = 10
NOTHING: Final = "nothing is carried"
SMALL: Final = 1e-4
"""Below, places after the point say nothing."""


@dataclass(frozen=True)
class Loss:
    """An answer after a loss."""

    what: str
    """e.g. "node17", "card of node17"."""
    found: Capacity


def words(found: Capacity) -> str:
    """The answer in one sentence."""
    served = f"{len(found.cluster.failures)} of {len(found.cluster.services)} Services are not served, or not wholly."
    if not found.limit:
        return (
            f"{NOTHING.capitalize()}: {served}" if found.cluster.failures else "This load asks nothing of the cluster."
        )
    others = f" (and of {found.alike - 1} more)" if found.alike > 1 else ""
    full = f"the first resource is full: {found.limit}{others}"
    if found.scale >= 1:
        text = f"This load can grow {number(found.scale)} times until {full}."
    else:
        part = number(found.scale) if found.scale >= SMALL else f"{found.scale:.3g}"
        text = f"This load does not fit. {part} of it does, until {full}."
    return f"{text} {served}" if found.cluster.failures else text


def rows(found: Capacity) -> list[tuple[str, ...]]:
    """One per resource that is asked for anything, the one with least room first, under `HEADER`."""
    listed = []
    for resource, scale in sorted(found.headroom.items(), key=lambda item: (item[0] in SOFT, item[1])):
        shares = found.now.shares[:, PLACE[resource]]
        fullest, most, median = int(shares.argmax()), *np.percentile(shares, (95, 50))
        mark = "the limit" if resource is found.resource else "beyond, software" if resource in SOFT else ""
        busy = (_percent(float(share)) for share in (shares.max(), most, median))
        listed.append((resource.value, found.cluster.nodes[fullest], *busy, f"{number(scale)} times", mark))
    return listed


def loss_rows(losses: Sequence[Loss]) -> list[tuple[str, ...]]:
    """One per loss, under `LOSSES`."""
    return [
        (
            loss.what,
            f"{number(loss.found.scale)} times" if math.isfinite(loss.found.scale) else NOTHING,
            loss.found.limit or "-",
            _percent(busiest(loss.found)),
            str(len(loss.found.cluster.failures)),
        )
        for loss in losses
    ]


def loss_notes(found: Capacity, losses: Sequence[Loss]) -> list[str]:
    """What is to be said of the load after a loss, and not before."""
    return [f"without {loss.what}: {note}" for loss in losses for note in loss.found.told if note not in found.told]


def busiest(found: Capacity) -> float:
    """How busy the fullest resource is at the load itself."""
    hard = [place for resource, place in PLACE.items() if resource not in SOFT]
    return float(found.now.shares[:, hard].max(initial=0.0))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if 0 < share < 10 else f"{number(round(100 * share))} %"


def what_of(found: Capacity) -> str:
    """What was asked, in one line."""
    cluster = found.cluster
    of_nodes = ", ".join(f"{int((cluster.profile == i).sum())} {p.name}" for i, p in enumerate(cluster.profiles))
    return (
        f"{len(cluster.nodes):,} nodes ({of_nodes}), {len(cluster.services):,} Services; load {found.load}: "
        f"{number(found.packets_per_s / 1e6)} Mpps, {number(found.new_per_s)} new connections/s, {number(found.alive)} alive"
    )


def to_json(title: str, found: Capacity, losses: Sequence[Loss] = (), told: Sequence[str] = ()) -> Json:
    """The documented JSON form; endless numbers are null. `told`: notes of the question, before those of the answer."""
    cluster = found.cluster
    resources = []
    for resource, scale in found.headroom.items():
        shares = found.now.shares[:, PLACE[resource]]
        resources.append(
            {
                "resource": resource.value,
                "limits": resource not in SOFT,
                "fullest_node": cluster.nodes[int(shares.argmax())],
                "busy": float(shares.max()),
                "busy_p95": float(np.percentile(shares, 95)),
                "busy_median": float(np.median(shares)),
                "can_grow": _finite(scale),
            }
        )
    return {
        "title": title,
        "nodes": len(cluster.nodes),
        "services": len(cluster.services),
        "load": found.load,
        "packets_per_s": found.packets_per_s,
        "new_connections_per_s": found.new_per_s,
        "connections": found.alive,
        "fits": found.fits,
        **_answer(found),
        "resources": resources,
        "software_share": found.software_share,
        "losses": [{"lost": loss.what, **_answer(loss.found), "notes": list(notes(loss.found))} for loss in losses],
        "notes": [*told, *notes(found)],
        "rests_on": list(found.rests_on),
    }


def _answer(found: Capacity) -> Json:
    failures = sorted(found.cluster.failures.items())
    return {
        "scale": _finite(found.scale),
        "limit": None
        if found.resource is None
        else {"resource": found.resource.value, "node": found.node, "nodes_alike": found.alike},
        "busiest": busiest(found),
        "unserved": [{"service": name, "reason": reason} for name, reason in failures],
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def unserved(found: Capacity) -> list[str]:
    """Services without a path, some of many."""
    failures = sorted(found.cluster.failures.items())
    listed = [f"{name}: {reason}" for name, reason in failures[:MOST_LISTED]]
    return listed + ([f"and {len(failures) - MOST_LISTED} more"] if len(failures) > MOST_LISTED else [])
