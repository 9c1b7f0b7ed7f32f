"""Counts a traced walk: one Stay per visit of a chassis, with its recirculations in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ytwin.datapath.costs import CT, DP_HASH, Cost, Recirculation, cost_of
from ytwin.datapath.limits import Limit
from ytwin.logical.southbound import EGRESS
from ytwin.trace.types import Hop, Packet, Walk


class Entry(StrEnum):
    """How the packet came into a chassis's datapath."""

    PORT = "port"
    """From a host, or from outside."""
    TUNNEL = "tunnel"
    PHYSICAL = "physical network"
    """From another chassis through a localnet."""
    CONTROLLER = "controller"
    """Made by ovn-controller (ICMP error, TCP reset, neighbour advertisement): a packet-out."""


@dataclass(frozen=True, slots=True)
class Stay:
    """One visit of a chassis. A packet that comes back to it later begins a new one."""

    chassis: str
    entry: Entry
    recirculations: tuple[Recirculation, ...]
    lookups: int
    """Of conntrack: `ct()` actions that the packet passed, with recirculation or without."""
    packet: Packet
    """As it came in."""

    @property
    def passes(self) -> int:
        """Look-ups of the datapath's flow table for the packet as it is inside (without tunnel header)."""
        return 1 + len(self.recirculations)

    def depth(self, limit: Limit) -> int:
        """What counts against the limit of the chassis's datapath."""
        decapsulated = limit.decapsulation_counts and self.entry is Entry.TUNNEL
        return len(self.recirculations) + int(decapsulated)


def stays(walk: Walk) -> tuple[Stay, ...]:
    """The walk's visits, in order.

    Counted as for a packet whose neighbours are known. The very first packet to an unknown neighbour waits in ovn-controller
    while OVN asks for the MAC, and is sent on as a new packet; every later one, and every retransmission, takes all its passes
    in one go.
    """
    found: list[Stay] = []
    packet = walk.sent
    for entry, hops in visits(walk.hops):
        found.append(_stay(entry, hops, packet))
        packet = hops[-1].packet
    return tuple(found)


def visits(hops: tuple[Hop, ...]) -> Iterator[tuple[Entry, list[Hop]]]:
    """The hops of each stay of a walk, and how the packet came to it."""
    entry, current = Entry.PORT, list[Hop]()
    for hop in hops:
        if current and hop.chassis != current[-1].chassis:
            yield entry, current
            # A tunnel ends in the egress pipeline of the datapath it began in; a frame from a localnet begins with ingress.
            entry, current = (Entry.TUNNEL if hop.pipeline == EGRESS else Entry.PHYSICAL), []
        elif current and cost_of(current[-1]).generates:
            yield entry, current
            entry, current = Entry.CONTROLLER, []
        current.append(hop)
    if current:
        yield entry, current


def _stay(entry: Entry, hops: list[Hop], packet: Packet) -> Stay:
    found: list[Recirculation] = []
    lookups, hashed = 0, False
    for hop in hops:
        cost = cost_of(hop)
        lookups += cost.lookups + int(cost.to_vip and "ct(" in hop.note)
        if cost.hashes and not hashed:
            found.append(_recirculation(DP_HASH, cost, hop))
            hashed = True
        if cost.recirculates:
            found.append(_recirculation(CT, cost, hop))
    return Stay(hops[0].chassis, entry, tuple(found), lookups, packet)


def _recirculation(cause: str, cost: Cost, hop: Hop) -> Recirculation:
    source = hop.flow.source if hop.flow is not None else ""
    return Recirculation(cause, cost.action, hop.stage, hop.datapath.name, source)
