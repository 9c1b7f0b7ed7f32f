"""The model `sizing`: how many nodes, cores and how much money a rate of requests takes.

The load (kind `open`) is that of a whole cluster: its rate, its connections. Clients and backends are spread evenly over all
nodes, each on another node than what it calls, so a node plays every part of the traced path equally often, and has as much to do
as the path's nodes on average. All nodes have one kind of hardware. The fewest nodes are sought on which no resource is busier
than `model.busy` (default 0.7 of it).

`model.nodePrice` (default 1) is a node's price without a card, `model.cardPrice` (default 0) what the card costs more, in any
currency; a card that offloads nothing is paid for, too, a plain NIC is part of the node. Fewer nodes than the path visits are not
tried: where those do, they are the limit.

| metric | meaning |
| --- | --- |
| nodes | that are needed |
| host_cores | busy at the rate, all nodes together, by the time that work takes |
| forwarding_cores | those of OVS among them |
| counted_cores | by instructions and cycles per instruction of both ends, as counters of processors count; waiting is in it |
| card_cores | the same of cards |
| cost | of nodes and their cards |
| nodes_in_software | that would be needed if nothing were offloaded |
| break_even | price of a card up to which it is not dearer than the nodes without one that it saves, if it offloads |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import PS_PER_S
from ytwin.datapath.offload_types import Outcome
from ytwin.performance import predict
from ytwin.performance.choice import make_case
from ytwin.performance.cpu import busy_cores, instructions
from ytwin.performance.loads import Load
from ytwin.performance.types import PathCost, Prediction, Share
from ytwin.sim.distributions import Exponential
from ytwin.sim.workloads import OpenRequests

if TYPE_CHECKING:  # it imports this module
    from ytwin.study.evaluate import Scene

MOST_NODES: Final = 1 << 24
PATH_NODES: Final = "the path's own nodes"
"""The limit where fewer nodes would do."""
SOFTWARE: Final = (Share.SLOW_PATH, Share.UPCALL)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is planned for."""

    busy: float = 0.7
    node_price: float = 1.0
    card_price: float = 0.0


@dataclass(frozen=True, slots=True)
class Sized:
    """A cluster that is large enough."""

    nodes: int
    limit: str
    """Kind of the resource that is busiest, or PATH_NODES."""
    said: Prediction
    """Of a path in it."""


def sizing(scene: Scene, load: Load, plan: Plan) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and texts. InvalidInput: another load, mixed hardware."""
    load = _checked(scene, load)
    found, software = (size(scene, load, plan.busy, assume) for assume in (None, Outcome.SOFTWARE))
    rate = PS_PER_S / load.gap_ps.mean
    total = _total(found.said)
    cores = busy_cores(total, rate, scene.cards)
    forwarding = sum(
        d.service_ps
        for d in total.demands
        if d.share in SOFTWARE and scene.cards[d.chassis].slow_path.runs_on == "host"
    )
    metrics = {
        "nodes": float(found.nodes),
        "host_cores": cores.host,
        "forwarding_cores": rate * forwarding / PS_PER_S,
        "counted_cores": rate * _counted_s(scene, total),
        "card_cores": cores.card,
        "cost": found.nodes * (plan.node_price + (plan.card_price if _has_cards(scene) else 0.0)),
        "nodes_in_software": float(software.nodes),
    }
    if any(verdict.outcome is not Outcome.SOFTWARE for verdict in scene.verdicts):
        metrics["break_even"] = (software.nodes / found.nodes - 1) * plan.node_price
    said = found.said
    return metrics, {"limit": found.limit, "notes": "; ".join(said.notes), "rests_on": "; ".join(said.rests_on)}


def size(scene: Scene, load: OpenRequests, busy: float, assume: Outcome | None = None) -> Sized:
    """The fewest nodes. What a node has to do falls as there are more, so halving finds it."""
    chassis = {v.chassis for program in scene.programs for v in program.visits}
    high = len(chassis)
    while not (found := _on(scene, load, high, len(chassis), assume))[0] <= busy:
        high *= 2
        if high > MOST_NODES:
            raise _wrong("load.rate", f"more than {MOST_NODES:,} nodes", "ask for less")
    low = high // 2
    while high - low > 1 and high > len(chassis):
        middle = (low + high) // 2
        tried = _on(scene, load, middle, len(chassis), assume)
        low, high, found = (low, middle, tried) if tried[0] <= busy else (middle, high, found)
    few = high == len(chassis) and (high == 1 or _on(scene, load, high - 1, len(chassis), assume)[0] <= busy)
    return Sized(high, PATH_NODES if few else found[1], found[2])


def _on(
    scene: Scene, load: OpenRequests, nodes: int, parts: int, assume: Outcome | None
) -> tuple[float, str, Prediction]:
    """How busy a node's fullest resource is, which one, and a path of the cluster: its nodes have what every node has."""
    share = parts / nodes
    connections = max(1, round(load.connections * share))
    here = replace(load, gap_ps=Exponential(load.gap_ps.mean / share), connections=connections)
    said = predict(
        scene.programs, scene.verdicts, scene.cards, here, services=scene.services, assume=assume, intervals=False
    )
    kinds: dict[Share, float] = {}
    for d in _total(said).demands:
        if d.share is not Share.INSERTION:  # rules that come too late leave their connections in software
            kinds[d.share] = kinds.get(d.share, 0.0) + d.service_ps / d.servers / here.gap_ps.mean / parts
    fullest = max(kinds, key=lambda kind: kinds[kind])
    return kinds[fullest], str(fullest), said


def _has_cards(scene: Scene) -> bool:
    """Whether the nodes have cards to pay for; all that the path visits have one kind of hardware."""
    return any(scene.cards[v.chassis].card != "none" for program in scene.programs for v in program.visits)


def _counted_s(scene: Scene, request: PathCost) -> float:
    """Seconds of a core that a request takes at both ends, by instructions."""
    ends = make_case(scene.programs, scene.verdicts, scene.cards, scene.services).ends
    # A backend's instructions count once, however many backends share the requests.
    spent = [instructions(request, chassis, card).cycles / card.host.frequency.value for chassis, card in ends.items()]
    return sum(spent) * 2 / len(spent)


def _total(said: Prediction) -> PathCost:
    assert said.total is not None
    return said.total


def _checked(scene: Scene, load: Load) -> OpenRequests:
    if not isinstance(load, OpenRequests):
        raise _wrong(
            "load", "sizing is for requests at a rate", "write load: {kind: open, rate: 1 M/s, connections: 10000}"
        )
    visited = {v.chassis for program in scene.programs for v in program.visits}
    names = sorted({scene.cards[chassis].name for chassis in visited})
    if len(names) > 1:
        raise _wrong(
            "cards", f"the path meets {' and '.join(names)}", "give all nodes one kind of hardware: nodes.*.card"
        )
    return load


def _wrong(path: str, message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(Location(path=path), "sizing", message, hint)])


def plan_of(fields: Mapping[str, float]) -> Plan:
    """From `model.FIELD`."""
    plan = Plan(fields.get("busy", 0.7), fields.get("nodePrice", 1.0), fields.get("cardPrice", 0.0))
    if not 0 < plan.busy <= 1:
        raise _wrong("model.busy", f"{plan.busy:g}", "write a part of 1, such as 0.7")
    if not all(math.isfinite(price) and price >= 0 for price in (plan.node_price, plan.card_price)):
        raise _wrong("model.nodePrice", "a price below 0", "write what a node and a card cost, in one currency")
    return plan
