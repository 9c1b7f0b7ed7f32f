"""The model `neighbour`: what another call on the same nodes does to the study's own path.

The study's path and load (kind `packets`) are the neighbour; `model.from`, `model.to` and `model.protocol` say the other call
(the path's own where left out), `model.rate` how many packets per second it has, over connections that stay. Both share what is
on their way: work adds up, and a packet waits where both go. Waits are those of GI/G/c queues (Allen and Cunneen 1978), as for
one path.

| metric | meaning, of the neighbour |
| --- | --- |
| latency_us | of an established packet, one way, waits included |
| first_us | of a connection's first packet |
| capacity_mpps | packets per second until the first resource on its way is full |
| new_connections_per_s | connections that could be opened until then |
| loss_ratio, first_loss_ratio | packets lost on its way: established ones, first ones |
| other_cores | host cores that forward the other call |
| other_mpps | the other call's rate that gets through |

Texts `offload` and `reasons` are the neighbour's, `other` says what is offloaded of the other call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from frozendict import frozendict

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import PS_PER_S, UNITS
from ytwin.datapath.program import Direction, Phase
from ytwin.hardware.model import HardwareProfile
from ytwin.performance import predict
from ytwin.performance.choice import make_case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES, blend
from ytwin.performance.loads import Load
from ytwin.performance.types import Demand, PathCost, Share
from ytwin.sim.analytic import ggc_wait
from ytwin.sim.workloads import PacketRate
from ytwin.study.resting import resting

if TYPE_CHECKING:  # it imports this module
    from ytwin.study.evaluate import Scene

FULL: Final = 0.999
"""A resource that is asked for more than this has a full queue."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets of one kind on their way."""

    cost: PathCost
    per_s: float


def neighbour(scene: Scene, other: Scene, load: Load, other_per_s: float) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and texts. InvalidInput: another load."""
    if not isinstance(load, PacketRate) or math.isinf(load.rate_per_s) or load.jobs_per_flow is not None:
        hint = "write load: {kind: packets, rate: 1 Mpps, flows: 1000}"
        message = "a neighbour has packets at a rate on connections that stay"
        raise InvalidInput([Problem(Location(path="load"), "neighbour", message, hint)])
    own = Flow(_packet(scene, load), load.rate_per_s)
    others = Flow(_packet(other, replace(load, rate_per_s=max(other_per_s, 1.0))), other_per_s)
    opening = _opening(scene)
    together = _together((own, others))
    forwarded = sum(
        d.service_ps for d in others.cost.demands if d.share is Share.SLOW_PATH and _on_host(scene.cards, d)
    )
    others_pass = 1 - _lost(others.cost, together)
    return {
        "latency_us": _latency_us(own.cost, scene.cards, together),
        "first_us": _latency_us(opening, scene.cards, together),
        "capacity_mpps": _room(own.cost, others) / 1e6,
        "new_connections_per_s": _room(blend([(1.0, opening), (1.0, _opening(scene, Direction.REPLY))]), others),
        "loss_ratio": _lost(own.cost, together),
        "first_loss_ratio": _lost(opening, together),
        "other_cores": others_pass * other_per_s * forwarded / PS_PER_S,
        "other_mpps": others_pass * other_per_s / 1e6,
    }, {
        "limit": max(together, key=lambda name: together[name].busy),
        "offload": ", ".join(dict.fromkeys(str(v.outcome) for v in scene.verdicts)),
        "reasons": ", ".join(dict.fromkeys(r.code for v in scene.verdicts for r in v.reasons)),
        "other": ", ".join(dict.fromkeys(str(v.outcome) for v in other.verdicts)),
        "rests_on": resting(((own.cost, scene.cards), (opening, scene.cards), (others.cost, other.cards))),
    }


def _on_host(cards: Mapping[str, HardwareProfile], demand: Demand) -> bool:
    return cards[demand.chassis].slow_path.runs_on == "host"


def _packet(scene: Scene, load: PacketRate) -> PathCost:
    said = predict(scene.programs, scene.verdicts, scene.cards, load, services=scene.services, intervals=False)
    assert said.total is not None
    return said.total


def _opening(scene: Scene, direction: Direction = Direction.FORWARD) -> PathCost:
    case = make_case(scene.programs, scene.verdicts, scene.cards, scene.services)
    return case.cost(Phase.FIRST, direction, SMALLEST_FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Queue:
    """A resource that several kinds of packets use."""

    per_ps: float
    mean_ps: float
    scv: float
    servers: int

    @property
    def busy(self) -> float:
        """Work that is asked of it, of what it can do."""
        return self.per_ps * self.mean_ps / self.servers


def _together(flows: Sequence[Flow]) -> Mapping[str, Queue]:
    """Resource -> what all packets ask of it. Rules that come too late hold nobody up."""
    asked: dict[str, list[tuple[float, Demand]]] = {}
    for flow in flows:
        for d in flow.cost.demands:
            if d.share is not Share.INSERTION and flow.per_s > 0:
                asked.setdefault(d.name, []).append((flow.per_s / PS_PER_S, d))
    found = {}
    for name, parts in asked.items():
        rate = sum(r for r, _ in parts)
        mean = sum(r * d.service_ps for r, d in parts) / rate
        square = sum(r * d.service_ps**2 for r, d in parts) / rate
        found[name] = Queue(rate, mean, max(0.0, square / mean**2 - 1), max(d.servers for _, d in parts))
    return frozendict(found)


def _latency_us(cost: PathCost, cards: Mapping[str, HardwareProfile], together: Mapping[str, Queue]) -> float:
    waits = sum(_wait(d, cards[d.chassis], together) for d in cost.demands if d.share is not Share.INSERTION)
    return (cost.latency_ps + waits) / UNITS["time"]["us"]


def _wait(demand: Demand, card: HardwareProfile, together: Mapping[str, Queue]) -> float:
    """For a queue that is full, its length."""
    queue = together.get(demand.name)
    if queue is None:
        return 0.0
    if queue.busy < FULL:
        return ggc_wait(queue.per_ps, 1.0, queue.mean_ps, queue.scv, queue.servers)
    if demand.share is Share.ESWITCH and card.eswitch is not None:
        return card.eswitch.queue.value * queue.mean_ps
    return card.slow_path.queue.value * queue.mean_ps / queue.servers if demand.share is Share.SLOW_PATH else 0.0


def _lost(cost: PathCost, together: Mapping[str, Queue]) -> float:
    """At the resource that is asked for most; all packets that want it fare alike."""
    asked = max((together[d.name].busy for d in cost.demands if d.name in together), default=0.0)
    return max(0.0, 1 - 1 / asked) if asked else 0.0


def _room(cost: PathCost, others: Flow) -> float:
    """Per second, until the first resource on the way is full."""
    taken = {d.name: others.per_s * d.service_ps / d.servers / PS_PER_S for d in others.cost.demands}
    return min(
        max(0.0, 1 - taken.get(d.name, 0.0)) * d.servers / d.service_ps * PS_PER_S
        for d in cost.demands
        if d.share is not Share.INSERTION
    )
