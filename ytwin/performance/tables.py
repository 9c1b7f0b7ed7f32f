"""How many connections a card's tables hold under a load, and which part of them has its rules there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ytwin.core.units import PS_PER_S
from ytwin.hardware.model import ESwitch, SlowPath
from ytwin.sim.analytic import table_entries


@dataclass(frozen=True, slots=True)
class TableState:
    """Of one card, in the long run."""

    connections: float
    """Alive, or not yet aged or swept."""
    entries: float
    """Rules in the tables."""
    share: float
    """Of the connections that could be offloaded: those that are."""
    why: str = ""
    """What keeps the others out, "" if nothing does."""


def places(chip: ESwitch) -> float:
    """Connections that its tables have room for."""
    rules = chip.rules_per_connection.value
    return min(chip.conntrack_table.value, chip.flow_table.value / rules if rules else math.inf)


def stay_ps(chip: ESwitch, closed: float) -> float:
    """How long a connection's rules stay after its last packet, where this part of the connections ends with a FIN."""
    if chip.teardown is None:
        return chip.ageing.value
    return (1 - closed) * chip.ageing.value + closed * min(chip.teardown.value, chip.ageing.value)


def table_state(chip: ESwitch, connections: float, new_per_s: float, closed: float = 0.0) -> TableState:
    """State of the tables with so many connections alive at a time and so many new ones per second.

    A connection stays until it was idle for the ageing time, or was closed by a FIN, as this part of them is, which the card
    sweeps away (Little 1961; `sim.analytic.table_entries`). Who finds the
    table full stays in software: table size / connections have a place, if none is preferred. Who comes faster than
    rules can be put in, or taken out, does so too: of rate * rules per connection that many can be done per second.
    """
    stay_s = stay_ps(chip, closed) / PS_PER_S
    lifetime_s = connections / new_per_s if new_per_s > 0 else 0.0
    alive = table_entries(new_per_s, lifetime_s, stay_s) if new_per_s > 0 else connections
    rules = chip.rules_per_connection.value
    room = places(chip)
    asked = new_per_s * rules
    bounds = [(1.0, "")]
    if alive > room:
        bounds.append((room / alive, f"{alive:.0f} connections for {room:.0f} places in its tables"))
    for rate, what in ((chip.insertion_rate.value, "put in"), (chip.deletion_rate.value, "taken out")):
        if asked > rate:
            bounds.append((rate / asked, f"{asked:.0f} rules/s to be {what}, {rate:.0f} can be"))
    share, why = min(bounds)
    return TableState(alive, share * alive * rules, share, why)


def software_notes(slow: SlowPath, entries: float, new_per_s: float, flows_per_connection: float) -> tuple[str, ...]:
    """What happens in software with so many conntrack entries, and new connections that each put in so many datapath flows.

    Linux counts entries, of which a connection has one per zone that it is committed in; beyond conntrack_limit it finds no
    place and fails. OVS takes a flow out after its idle time; if more would
    be there by then than flow_limit allows, it waits 100 ms only, and puts no more in (ofproto-dpif-upcall.c): every
    packet that needs one goes to ovs-vswitchd.
    """
    found = []
    limit = slow.conntrack_limit.value
    if entries > limit:
        found.append(
            f"{1 - limit / entries:.1%} of its connections fail: {entries:.0f} entries, one per zone of each, for {limit:.0f} "
            "places in conntrack; the numbers here are of connections that do not fail"
        )
    flows = new_per_s * flows_per_connection * slow.idle.value / PS_PER_S
    if flows > slow.flow_limit.value:
        text = f"{flows:.0f} datapath flows would be there, {slow.flow_limit.value:.0f} are allowed"
        found.append(f"OVS stops putting flows in: {text}; more packets than counted here go to ovs-vswitchd")
    return tuple(found)
