"""A walk told in scenes: one per stay of the packet in a datapath on a chassis, with only the tables that did something.

Both the text and the picture are made of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ytwin.logical.addresses import endpoint
from ytwin.trace.types import Hop, Packet, Walk

OUTSIDE = "outside"
GAP = "gap"
_LONGEST, _HEAD, _TAIL = 30, 10, 4
_OUTPORT = 'outport = "'


@dataclass(frozen=True, slots=True)
class Event:
    """One table that did something. `what`: for people; `row`: the Northbound row behind it, "" if unknown."""

    stage: str
    priority: int
    what: str
    row: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """A stay in one datapath on one chassis: packet before and after."""

    chassis: str
    kind: str
    datapath: str
    events: tuple[Event, ...]
    before: Packet
    after: Packet
    tunnel: str = ""
    """Chassis that a tunnel takes the packet to at the end."""


def changes(before: Packet, after: Packet) -> str:
    """What became of a packet, e.g. "dst 10.96.0.10:80 => 10.0.1.5:8080, ttl 64 => 63"; "" if nothing visible."""
    if before.protocol != after.protocol:
        return f"becomes {after}"
    parts = []
    for side in ("src", "dst"):
        old = endpoint(getattr(before, f"ip_{side}"), getattr(before, f"{side}_port"))
        new = endpoint(getattr(after, f"ip_{side}"), getattr(after, f"{side}_port"))
        if old != new:
            parts.append(f"{side} {old} => {new}")
    for field, name in (("eth_src", "eth.src"), ("eth_dst", "eth.dst"), ("ttl", "ttl")):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            parts.append(f"{name} => {new}")
    return ", ".join(parts)


def _event(hop: Hop, before: Packet, last: bool, lost: bool) -> Event | None:
    flow = hop.flow
    notes = [part for part in (changes(before, hop.packet), hop.note) if part]
    if flow is None:
        return Event(hop.stage or f"table {hop.table}", 0, "no flow matches: dropped", "", True)
    if last and lost and not notes:
        notes.append("dropped")
    if "output;" in flow.actions and not (last and lost) and _chooses(flow.actions):
        notes.append(_chosen_port(flow.actions))
    if not notes and not last:
        return None
    what = "; ".join(part for part in notes if part) or "output"
    return Event(flow.stage, flow.priority, what, flow.source, last and lost)


def _chooses(actions: str) -> bool:
    return _OUTPORT in actions


def _chosen_port(actions: str) -> str:
    port = actions.split(_OUTPORT, 1)[1].partition('"')[0]
    return f"to {port}"


def scenes(walk: Walk) -> tuple[Scene, ...]:
    """The walk's scenes, first to last; the middle of a very long walk (a routing loop) is one scene of kind "gap"."""
    told = _all_scenes(walk)
    if len(told) <= _LONGEST:
        return told
    hidden = len(told) - _HEAD - _TAIL
    first, last = told[_HEAD - 1], told[-_TAIL]
    gap = Scene(last.chassis, GAP, f"... {hidden} more stays like these", (), first.after, last.before)
    return (*told[:_HEAD], gap, *told[-_TAIL:])


def _all_scenes(walk: Walk) -> tuple[Scene, ...]:
    found: list[Scene] = []
    lost = walk.received is None
    before = walk.sent
    start = 0
    hops = walk.hops
    while start < len(hops):
        end = start
        place = (hops[start].chassis, hops[start].datapath)
        while end < len(hops) and (hops[end].chassis, hops[end].datapath) == place:
            end += 1
        entered, events = before, []
        tunnel = ""
        for index in range(start, end):
            hop = hops[index]
            event = _event(hop, before, index == len(hops) - 1, lost)
            if event is not None:
                events.append(event)
            if "tunnel to " in hop.note:
                tunnel = hop.note.split("tunnel to ", 1)[1].split(";")[0]
            before = hop.packet
        chassis, datapath = place
        found.append(Scene(chassis, datapath.kind, datapath.name, tuple(events), entered, before, tunnel))
        start = end
    return tuple(found)
