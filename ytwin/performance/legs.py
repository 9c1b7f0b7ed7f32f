"""Paths under load, as engines take them: what a packet of each way and phase asks, and the tables that connections need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ytwin.core.units import PS_PER_S
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.tables import places, stay_ps
from ytwin.performance.types import Demand, PathCost, Share
from ytwin.sim.distributions import Constant, PerByte, Service

HOST_LATENCY: Final = "host.latency"


@dataclass(frozen=True, slots=True)
class Leg:
    """One packet's way in one direction."""

    cost: PathCost
    services: Mapping[str, Service]
    """Resource -> its work, where that depends on the packet's size; else the demand says it."""
    scv: float
    """Of the host stacks' part of the latency."""

    @property
    def demands(self) -> tuple[Demand, ...]:
        """Those at which packets wait."""
        return tuple(d for d in self.cost.demands if d.share is not Share.INSERTION and d.service_ps > 0)

    def service(self, demand: Demand) -> Service:
        """Work at one resource."""
        return self.services.get(demand.name, Constant(demand.service_ps))

    @property
    def varying_ps(self) -> float:
        """Mean of the host stacks' part."""
        return sum(part.time_ps for part in self.cost.latency if HOST_LATENCY in part.rests_on)

    @property
    def worked_ps(self) -> float:
        """All work, where nothing of it is done side by side."""
        return sum(d.service_ps for d in self.demands)

    @property
    def delays_ps(self) -> tuple[float, float]:
        """(constant, varying) mean time beyond work; together with the work it is the cost's latency."""
        rest = self.cost.latency_ps - self.varying_ps - self.worked_ps
        return max(0.0, rest), max(0.0, self.varying_ps + min(0.0, rest))


@dataclass(frozen=True, slots=True)
class CardTable:
    """What a card does with connections; from `ESwitch`."""

    chassis: str
    connections: int
    insert_ps: int
    ageing_ps: int
    lag_ps: int
    stay_ps: float
    """How long rules stay after a connection's last packet, on average: some are closed, others age."""
    part: float = 1.0
    """Of all connections: those that ask for a place in it."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path under load. Established packets are `forward` and `reply`."""

    name: str
    weight: float
    forward: Leg
    reply: Leg
    first: tuple[Leg, Leg]
    """A connection's first packet and its answer."""
    software: tuple[Leg, Leg]
    """Established packets of a connection that is in no card's table."""
    close: tuple[Leg, ...]
    """A connection's last packets."""
    tables: tuple[CardTable, ...]
    """Of the chassis where established packets are offloaded and first ones are not."""
    handshake: bool = True
    """Whether a connection's first packets come before its first request (TCP, SCTP), or are it and its answer (UDP)."""
    segment_bytes: float = 0.0
    """Payload of a full one; 0: no bulk."""
    stream_ps: float = 0.0
    """One TCP stream's own time for a segment, on one core."""
    admitted: float = 1.0
    """Of connections that clients open one after another: those for which there is room in the tables."""


def leg(cost: PathCost, scv: float, sized: tuple[PathCost, float, PathCost, float] | None = None) -> Leg:
    """`sized`: costs of a small and a large packet with their sizes in bytes, where sizes vary; work is a line through them."""
    services: dict[str, Service] = {}
    if sized is not None:
        small, least, large, most = sized
        large_ps = {d.name: d.service_ps for d in large.demands}
        for demand in small.demands:
            slope = (large_ps[demand.name] - demand.service_ps) / (most - least)
            if slope > 0:
                services[demand.name] = PerByte(max(0.0, demand.service_ps - slope * least), slope)
    return Leg(cost, services, scv)


def card_table(chassis: str, profile: HardwareProfile, part: float = 1.0, closed: float = 0.0) -> CardTable | None:
    """`part`: of all connections, those that visit it; `closed`: of those that end, with a FIN. None: there is no card."""
    card = profile.eswitch
    if card is None:
        return None
    rules = card.rules_per_connection.value
    # In the long run a rule goes out for every one that comes in.
    insert_ps = PS_PER_S * rules / min(card.insertion_rate.value, card.deletion_rate.value)
    ageing_ps, lag_ps = round(card.ageing.value), max(1, round(card.statistics_lag.value))
    stay = stay_ps(card, closed)
    return CardTable(chassis, math.floor(places(card)), max(1, round(insert_ps)), ageing_ps, lag_ps, stay, part)
