"""From programs, verdicts and profiles to what the engines simulate: one Route per path, each backend with its own
resources."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ytwin.core.units import PS_PER_S
from ytwin.datapath.program import Direction, Phase
from ytwin.performance.choice import Case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES
from ytwin.performance.jobs import (
    behind,
    closed_part,
    connections,
    frame_bytes,
    inner_mtu_bytes,
    per_connection,
    request_part,
    several,
)
from ytwin.performance.legs import Leg, Route, card_table, leg
from ytwin.performance.loads import Load
from ytwin.performance.tables import table_state
from ytwin.performance.types import PathCost, Prediction
from ytwin.sim.distributions import Constant
from ytwin.sim.workloads import BulkTcp, PacketRate, mss_bytes


def opened_per_s(load: Load, analytic: Prediction) -> float:
    """New connections, by what the formulas say of the rate."""
    return analytic.jobs_per_s / per_connection(load)


@dataclass(frozen=True)
class _Path:
    """One backend's case under the load."""

    case: Case
    load: Load
    entries: Mapping[str, float]

    def leg(self, phase: Phase, direction: Direction, software: bool = False) -> Leg:
        """A packet of an established connection carries the load; others are as small as can be, unless the load is packets."""
        if phase is Phase.ESTABLISHED and not (isinstance(self.load, BulkTcp) and direction is Direction.REPLY):
            cost, sized = self._loaded(direction, software)
        elif phase is Phase.FIRST and not self.case.handshake and not isinstance(self.load, PacketRate):
            cost, sized = self._beginning(direction), None
        else:
            packet = isinstance(self.load, PacketRate)
            frame = frame_bytes(self.case, self.load)[0] if packet else SMALLEST_FRAME_BYTES
            cost, sized = self._cost(phase, direction, frame, software), None
        return leg(cost, self._scv(cost), sized)

    def _cost(self, phase: Phase, direction: Direction, frame: float, software: bool) -> PathCost:
        bulk = isinstance(self.load, BulkTcp) and direction is Direction.FORWARD
        _, frames = frame_bytes(self.case, self.load)
        return self.case.cost(
            phase,
            direction,
            frame,
            bulk=bulk,
            request=request_part(self.load, frames) if phase is Phase.ESTABLISHED or not self.case.handshake else 0.0,
            flows=connections(self.load),
            entries=self.entries,
            software=software,
        )

    def _beginning(self, direction: Direction) -> PathCost:
        frame, frames = frame_bytes(self.case, self.load)
        first = self._cost(Phase.FIRST, direction, frame, False)
        return behind(first, self._cost(Phase.ESTABLISHED, direction, frame, True), frames) if frames > 1 else first

    def _loaded(
        self, direction: Direction, software: bool
    ) -> tuple[PathCost, tuple[PathCost, float, PathCost, float] | None]:
        frame, frames = frame_bytes(self.case, self.load)
        mean = several(self._cost(Phase.ESTABLISHED, direction, frame, software), frames)
        if isinstance(self.load, BulkTcp | PacketRate) or isinstance(self.load.size_bytes, Constant):
            return mean, None
        # Sizes vary: work is a line through a packet without payload and a full one, or all of it in proportion to the size
        # where a request is several full ones.
        most = mss_bytes(int(self.case.mtu_bytes), 0, self.case.ipv6)
        headers = frame - self.load.size_bytes.mean / frames
        full = self._cost(Phase.ESTABLISHED, direction, headers + most, software)
        if frames > 1:
            return mean, (several(full, 0.0), 0.0, full, float(most))
        return mean, (self._cost(Phase.ESTABLISHED, direction, headers, software), 0.0, full, float(most))

    def _scv(self, cost: PathCost) -> float:
        """Of the stacks' part, so that its variance is the sum of what its ends say."""
        parts = [
            (p.time_ps, self.case.cards[p.chassis].host.latency_scv.value)
            for p in cost.latency
            if "host.latency" in p.rests_on
        ]
        mean = sum(time_ps for time_ps, _ in parts)
        return sum(time_ps * scv for time_ps, scv in parts) / mean if mean else 0.0


def routes_of(case: Case, load: Load, analytic: Prediction) -> tuple[Route, ...]:
    """Every path with its share of the load; those of a Service's backends are equal, as OVN's hash gives them."""
    opened, closed = opened_per_s(load, analytic), closed_part(case, load)
    entries, seen = {}, case.connections_on_cards
    for chassis, part in seen.items():
        chip = case.cards[chassis].eswitch
        if chip is not None:
            entries[chassis] = table_state(chip, connections(load) * part, opened * part, closed).entries
    found = []
    for one, weight in case.paths:
        path = _Path(one, load, entries)
        program = one.of(Phase.ESTABLISHED, Direction.FORWARD)[0]
        both = {direction: one.has(Phase.ESTABLISHED, direction) for direction in Direction}
        ways = [direction if both[direction] else Direction.FORWARD for direction in Direction]
        first = [Phase.FIRST if one.has(Phase.FIRST, d) else Phase.ESTABLISHED for d in ways]
        visited = {v.chassis for v in program.visits}
        tables = tuple(
            table
            for chassis in sorted(visited & one.offloading())
            if (table := card_table(chassis, one.cards[chassis], seen[chassis], closed)) is not None
        )
        found.append(
            Route(
                f"{program.client} to {program.destination} ({program.protocol}) at {program.backend}",
                float(weight),
                path.leg(Phase.ESTABLISHED, ways[0]),
                path.leg(Phase.ESTABLISHED, ways[1]),
                (path.leg(first[0], ways[0]), path.leg(first[1], ways[1])),
                (path.leg(Phase.ESTABLISHED, ways[0], True), path.leg(Phase.ESTABLISHED, ways[1], True)),
                tuple(path.leg(Phase.CLOSE, d) for d in Direction if one.has(Phase.CLOSE, d)),
                tables,
                one.handshake,
                *(segment(one, load) if isinstance(load, BulkTcp) else ()),
            )
        )
    return tuple(found)


def segment(case: Case, load: BulkTcp) -> tuple[float, float]:
    """(payload of a segment in bytes, one stream's own time for it in ps: the slower end's core copies it)."""
    payload = mss_bytes(inner_mtu_bytes(case, load), 0, load.ipv6 or case.ipv6)
    rates = [card.host.stream_rate.value for card in case.ends.values()]
    return float(payload), PS_PER_S * 8 * payload / min(rates, default=math.inf)
