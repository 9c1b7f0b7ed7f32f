"""The model `balance`: how new connections fall on a Service's backends, what their first packets cost, and who moves.

The choice is that of the flow which the traced first packet meets: its backends, and the fields that it hashes. `model.keys`
(default 100,000) is how many different hashes there are: connections, or clients where only addresses are hashed.

| metric | meaning |
| --- | --- |
| busiest_share_ratio, idlest_share_ratio | the share of the backend with most and with fewest keys, of a fair share |
| moved_by_removal_ratio | keys whose backend stays but changes when another one leaves; mean over which one leaves |
| moved_by_addition_ratio | keys that change to a backend that was there before when one is added; mean over its place |
| first_us | unloaded latency of a connection's first packet, one way, with all flows that connections share in place |
| upcalls | that this packet needs |
| new_connections_per_s | that software can open: first packets of both directions. The card's rules may come later |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import numpy as np

from ytwin.core.errors import YtwinError
from ytwin.core.units import PS_PER_S, UNITS
from ytwin.datapath.costs import uses_dp_hash
from ytwin.datapath.groups import Indexes, Words, by_score, by_slots, slot_table
from ytwin.datapath.program import Direction, Op, Phase, Program
from ytwin.logical import actions as act
from ytwin.logical.parse_actions import parse_actions
from ytwin.performance.choice import make_case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES, blend, own_flow
from ytwin.performance.types import Share
from ytwin.sim.streams import Streams
from ytwin.study.resting import resting

if TYPE_CHECKING:  # it imports this module
    from ytwin.study.evaluate import Scene

KEYS: Final = 100_000
MOST_MOVED: Final = 20_000
"""Keys that are looked at for who moves: a part of them is asked for, which so many tell within a third of a per cent."""
Choose = Callable[[int, Words], Indexes]


def balance(scene: Scene, keys: int, seed: int) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and texts. YtwinError: a path without a choice of backends."""
    choice = choice_of(scene.programs)
    count = len(choice.backends)
    hashes = Streams(seed).generator("keys").integers(0, 1 << 32, keys, dtype=np.uint32)
    by_fields, some = bool(choice.hash_fields), hashes[:MOST_MOVED]
    got = np.bincount(_choose(count, by_fields)(count, hashes), minlength=count) * count / keys
    metrics = {
        "busiest_share_ratio": float(got.max()),
        "idlest_share_ratio": float(got.min()),
        "backends": float(count),
    }
    metrics["moved_by_removal_ratio"] = moved(count, count - 1, by_fields, some) if count > 1 else 0.0
    metrics["moved_by_addition_ratio"] = moved(count, count + 1, by_fields, some)
    table = None if by_fields else slot_table((1,) * count)
    how = f"hash over {', '.join(choice.hash_fields)}" if by_fields else "a hash in ovs-vswitchd"
    texts = {"choice": how if table is None else f"dp_hash, {len(table)} slots"}
    opening, more = _opening(scene)
    return {**metrics, **opening}, {**texts, **more}


def choice_of(programs: tuple[Program, ...]) -> act.CtLb:
    """The choice that a connection's first packet meets."""
    for program in programs:
        if (program.phase, program.direction) != (Phase.FIRST, Direction.FORWARD):
            continue
        for operation in (o for visit in program.visits for o in visit.operations):
            flow = operation.flow
            if flow is None:
                continue
            for action in parse_actions(flow.actions, flow.pipeline, flow.table):
                if isinstance(action, act.CtLb) and action.backends:
                    return action
    raise YtwinError("nothing chooses a backend on this path; let path.to be a Service's address")


def _choose(backends: int, by_fields: bool) -> Choose:
    return by_slots if not by_fields and uses_dp_hash((1,) * backends) else by_score


def moved(before: int, after: int, by_fields: bool, hashes: Words) -> float:
    """Part of the hashes whose backend is in both lists, but not the same; one more or one less, mean over its place."""
    old, new = (_choose(n, by_fields)(n, hashes) for n in (before, after))
    larger = max(before, after)
    most, least = (old, new) if before > after else (new, old)
    total = 0.0
    for place in range(larger):
        # In the larger list the odd one stands at `place`; those behind it are one further.
        there = least + (least >= place)
        total += float(np.mean((most != place) & (there != most)))
    return total / larger


def _opening(scene: Scene) -> tuple[dict[str, float], dict[str, str]]:
    """What a new connection takes, what limits how many there can be, and what both rest on."""
    case = make_case(scene.programs, scene.verdicts, scene.cards, scene.services)
    both = [case.cost(Phase.FIRST, direction, SMALLEST_FRAME_BYTES) for direction in Direction]
    whole = blend([(1.0, cost) for cost in both])
    limit = max((d for d in whole.demands if d.share is not Share.INSERTION), key=lambda d: d.service_ps / d.servers)
    first = case.of(Phase.FIRST, Direction.FORWARD)
    missing = sum(
        o.op is Op.UPCALL
        for p in first
        for v in p.visits
        for one in v.passes
        if own_flow(one, p.direction)
        for o in one.operations
    )
    return {
        "first_us": both[0].latency_ps / UNITS["time"]["us"],
        "upcalls": missing / len(first),
        "new_connections_per_s": PS_PER_S * limit.servers / limit.service_ps,
    }, {"limit": limit.name, "rests_on": resting((cost, scene.cards) for cost in both)}
