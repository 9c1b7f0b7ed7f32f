"""From the programs of one path to a PathClass: `performance.cost`'s work, by the part that a chassis plays on the path.

A cost is a straight line in the frame's size, so two sizes give it whole. What a chassis's hardware is matters for the work of
that chassis only, so each profile is asked as if all chassis of the path had it. (Only whether a first answer finds its
connection in the card, `early_part`, is a matter of all of them: where cards differ that is an approximation.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from ytwin.cluster.types import RESOURCES, Floats, PathClass, Rate, Resource, Slot
from ytwin.core.units import PS_PER_S, bad
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.offload_types import Outcome
from ytwin.datapath.program import Direction, Op, Phase, Program
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.choice import UDP, Case, make_case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES, own_flow
from ytwin.performance.jobs import answered_in_software
from ytwin.performance.types import Share

SMALL_BYTES: Final = 100.0
LARGE_BYTES: Final = 1100.0
"""Two sizes of frames; any two give the same line."""
PLACE: Final = {resource: number for number, resource in enumerate(RESOURCES)}
_RESOURCE: Final[dict[Share, Resource]] = {
    share: Resource(share.value) for share in Share if share is not Share.INSERTION
}
"""Insertion is counted from the connections instead."""


@dataclass(frozen=True)
class Kind:
    """What packets of some columns of a traffic matrix are."""

    phase: Phase
    direction: Direction
    packets: Rate
    octets: Rate | None
    """None: the smallest frames."""
    early: bool = False
    """Whether cards that take connections over after their first packets do not have it yet."""


KINDS: Final = (
    Kind(Phase.ESTABLISHED, Direction.FORWARD, Rate.FORWARD, Rate.FORWARD_BYTES),
    Kind(Phase.ESTABLISHED, Direction.REPLY, Rate.REPLY, Rate.REPLY_BYTES),
    Kind(Phase.FIRST, Direction.FORWARD, Rate.FIRST, Rate.FIRST_BYTES),
    Kind(Phase.FIRST, Direction.REPLY, Rate.ANSWER, Rate.ANSWER_BYTES),
    Kind(Phase.ESTABLISHED, Direction.FORWARD, Rate.EARLY, Rate.EARLY_BYTES, early=True),
    Kind(Phase.ESTABLISHED, Direction.REPLY, Rate.EARLY, Rate.EARLY_BYTES, early=True),
    Kind(Phase.CLOSE, Direction.FORWARD, Rate.CLOSE, None),
    Kind(Phase.CLOSE, Direction.REPLY, Rate.CLOSE, None),
)

Priced = dict[tuple[int, Resource], float]
"""(slot, resource) -> share of the resource's time."""
Rests = dict[tuple[int, Rate, Resource], set[str]]
"""See PathClass."""


def slots_of(programs: Iterable[Program], client: str, backend: str) -> dict[str, int]:
    """Chassis -> the part it plays; gateways are numbered as the first programs meet them. `client` "": outside."""
    found = {backend: int(Slot.BACKEND)}
    if client:
        found.setdefault(client, int(Slot.CLIENT))
    further = int(Slot.FIRST_GATEWAY)
    for program in programs:
        for visit in program.visits:
            if visit.chassis not in found:
                found[visit.chassis] = further
                further += 1
    return found


def path_class(
    name: str,
    programs: Sequence[Program],
    slots: Mapping[str, int],
    profiles: Sequence[HardwareProfile],
    services: int = 1,
) -> PathClass:
    """`programs`: of one path, all phases and directions. `slots`: see `slots_of`. `services`: that kube-proxy has."""
    count = max((*slots.values(), int(Slot.BACKEND))) + 1
    shape = (2, count, len(profiles), len(Rate), len(RESOURCES))
    held, software = np.zeros(shape), np.zeros(shape)
    table = np.zeros((count, len(profiles)), dtype=np.bool_)
    rests_on: Rests = defaultdict(set)
    judged: dict[tuple[object, ...], Case] = {}
    for number, profile in enumerate(profiles):
        cards = dict.fromkeys(slots, profile)
        rules = (profile.eswitch is not None, profile.service_proxy is not None, profile.offload)
        known = judged.get(rules)
        if known is None:
            case = make_case(programs, judge_offload(programs, cards), cards, services)
            if profile.service_proxy is None:
                judged[rules] = case
        else:
            case = known.on(cards)
        priced = _Priced(case, slots, number, rests_on)
        for bulk in (0, 1):
            held[bulk, :, number] = priced.rates(bool(bulk), False, count)
            software[bulk, :, number] = priced.rates(bool(bulk), True, count)
        for outcomes in case.outcomes.values():
            for chassis, outcome in outcomes.items():
                table[slots[chassis], number] |= outcome is not Outcome.SOFTWARE
    frozen = {key: frozenset(paths) for key, paths in rests_on.items()}
    return PathClass(name, count, held, software, table, frozen, has_handshake(case))


class _Priced:
    """The costs of one path on one profile."""

    def __init__(self, case: Case, slots: Mapping[str, int], profile: int, rests_on: Rests) -> None:
        self.case, self.slots, self.profile, self.rests_on = case, slots, profile, rests_on

    def rates(self, bulk: bool, software: bool, count: int) -> Floats:
        """[slot, Rate, Resource]. Only established packets can be full segments of `bulk`."""
        found = np.zeros((count, len(Rate), len(RESOURCES)))
        for kind in KINDS:
            if not self.case.has(kind.phase, kind.direction):
                continue
            early = early_part(self.case, kind)
            for part, soft in ((early, True), (1 - early, software)):
                if part:
                    cost = partial(
                        self._cost,
                        kind.phase,
                        kind.direction,
                        bulk=bulk and kind.phase is Phase.ESTABLISHED and not kind.early,
                        software=soft,
                    )
                    self._line(found, kind, cost, part)
        self._states(found)
        return found

    @staticmethod
    def _line(found: Floats, kind: Kind, cost: Callable[..., Priced], part: float) -> None:
        """Adds what so much of a kind's packets cost, as a line in their sizes."""

        def put(rate: Rate, priced: Priced, times: float = 1.0) -> None:
            for (slot, resource), share in priced.items():
                found[slot, rate, PLACE[resource]] += part * times * share

        if kind.octets is None:
            put(kind.packets, cost(kind.packets, SMALLEST_FRAME_BYTES))
            return
        small, large = cost(kind.packets, SMALL_BYTES), cost(kind.packets, LARGE_BYTES)
        slope = {key: (large[key] - small.get(key, 0.0)) / (LARGE_BYTES - SMALL_BYTES) for key in large}
        put(kind.octets, slope)
        put(kind.packets, small)
        put(kind.packets, slope, -SMALL_BYTES)
        if kind.packets is Rate.FORWARD:
            asked = cost(Rate.REQUESTS, SMALL_BYTES, request=1.0)
            put(Rate.REQUESTS, {key: asked[key] - small.get(key, 0.0) for key in asked})

    def _cost(
        self,
        phase: Phase,
        direction: Direction,
        rate: Rate,
        frame_bytes: float,
        *,
        bulk: bool,
        software: bool,
        request: float = 0.0,
    ) -> Priced:
        """Of one packet; `rate` is the one that rests on its numbers."""
        cost = self.case.cost(phase, direction, frame_bytes, bulk=bulk, software=software, request=request)
        found: Priced = defaultdict(float)
        for demand in cost.demands:
            share = demand.service_ps / demand.servers / PS_PER_S
            resource = _RESOURCE.get(demand.share)
            if resource is not None:
                found[self.slots[demand.chassis], resource] += share
                self.rests_on[self.profile, rate, resource].update(demand.rests_on)
        return found

    def _states(self, found: Floats) -> None:
        """What a connection takes of the software datapath's tables: conntrack entries, one per zone that commits,
        and flows of its own."""
        entries: dict[str, set[str]] = defaultdict(set)
        flows: dict[str, int] = defaultdict(int)
        for direction in Direction:
            if not self.case.has(Phase.FIRST, direction):
                continue
            for program in self.case.of(Phase.FIRST, direction):
                for visit in program.visits:
                    entries[visit.chassis].update(o.detail for o in visit.operations if o.op is Op.CT_COMMIT)
                    own = [p for p in visit.passes if own_flow(p, direction)]
                    flows[visit.chassis] += sum(o.op is Op.INSTALL for p in own for o in p.operations)
        for chassis, slot in self.slots.items():
            slow = self.case.cards[chassis].slow_path
            if entries[chassis]:
                found[slot, Rate.ALIVE, PLACE[Resource.CONNTRACK]] += len(entries[chassis]) / slow.conntrack_limit.value
                self.rests_on[self.profile, Rate.ALIVE, Resource.CONNTRACK].add("slow_path.conntrack_limit")
            if flows[chassis] and slow.flow_limit.value:
                stay_s = slow.idle.value / PS_PER_S
                found[slot, Rate.NEW, PLACE[Resource.FLOWS]] += flows[chassis] * stay_s / slow.flow_limit.value
                numbers = "slow_path.flow_limit", "slow_path.idle"
                self.rests_on[self.profile, Rate.NEW, Resource.FLOWS].update(numbers)


def early_part(case: Case, kind: Kind) -> float:
    """Of a kind's packets the part that no card takes over for their coming early. What follows a first packet of UDP follows at
    once; an answer behind a handshake takes a request's time, in which a card may have got the connection."""
    if not kind.early or not case.first_in_software:
        return 0.0
    if kind.direction is Direction.FORWARD or not has_handshake(case):
        return 1.0
    card, soft = (
        [case.cost(Phase.ESTABLISHED, d, SMALL_BYTES, request=0.5, software=software) for d in Direction]
        for software in (False, True)
    )
    return answered_in_software(case, card, soft)


def has_handshake(case: Case) -> bool:
    """Whether the connections of a case of one path begin with one: a first packet of UDP carries data already."""
    return case.of(Phase.ESTABLISHED, Direction.FORWARD)[0].protocol != UDP


def check_profiles(profiles: Iterable[HardwareProfile]) -> None:
    """InvalidInput where some nodes run OVN and others kube-proxy: a path between them has no meaning."""
    listed = tuple(profiles)
    proxies = {p.name for p in listed if p.service_proxy is not None}
    if proxies and len(proxies) < len({p.name for p in listed}):
        names = ", ".join(sorted({p.name for p in listed}))
        raise bad(
            "profiles", "mixed", f"OVN on some nodes and kube-proxy on others: {names}", "give all nodes one kind"
        )
