"""Runs one packet through the pipelines: what each action does to it, on which chassis it is, and where it goes next.

A run is deterministic. Where OVN would choose (a backend, an ECMP route), the run takes the choice it was told and notes
how many there were; `explore` in `walks` runs it again for each of the others.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ytwin.core.errors import Unsupported
from ytwin.logical import actions as act
from ytwin.logical.addresses import ip_text, mac_text
from ytwin.logical.southbound import INGRESS, LogicalFlow
from ytwin.logical.state import SCTP, TCP, PacketState
from ytwin.trace import generated
from ytwin.trace.effects import EFFECTS
from ytwin.trace.fabric import Fabric
from ytwin.trace.flight import DROPPED, UNANSWERED, End, Flight, Mark, snapshot
from ytwin.trace.memory import Memory
from ytwin.trace.tables import Program

_MAX_STEPS = 50_000
"""Tables that one run may pass. TTL ends loops long before; this guards against loops without routers."""


class Run:
    """One execution. `memory` is changed in place; `choices` says which alternative to take at the n-th choice (default 0)."""

    def __init__(self, program: Program, fabric: Fabric, memory: Memory, choices: tuple[int, ...] = ()) -> None:
        self.program = program
        self.fabric = fabric
        self.memory = memory
        self.choices = choices
        self.watch, self.every = program.watch_ambiguity, program.every_table
        self.alternatives: list[int] = []
        """How many there were at each choice met."""
        self.ends: list[End] = []
        self._steps = 0
        self._waiting: deque[tuple[Flight, str, int]] = deque()

    # --- tables --------------------------------------------------------------------------------------------------------

    def go(self, flight: Flight, pipeline: str, table: int) -> None:
        """Let the packet enter a pipeline at this table, after those that wait already."""
        self._waiting.append((flight, pipeline, table))

    def finish(self) -> None:
        """Walk everything that waits, and what comes of it."""
        while self._waiting:
            self._pipeline(*self._waiting.popleft())

    def _pipeline(self, flight: Flight, pipeline: str, table: int) -> None:
        """From this table on, until the packet is gone from the pipeline."""
        state = flight.state
        tables = self.program.pipeline(flight.datapath, pipeline)
        here = self.fabric.residence(flight.chassis)
        while True:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise Unsupported(f"a packet loops: it passed {_MAX_STEPS} tables, last in {flight.datapath}")
            if not self.every:
                table = tables.skip(table)
            seen = state.key() if self.every else ()
            entry = tables.lookup(table, state, here)
            if entry is None:
                flight.trail = Mark(
                    flight.trail, flight.chassis, flight.datapath, pipeline, table, None, snapshot(state)
                )
                flight.trail.seen = seen
                stage = tables.stage(table)
                self.drop(flight, f"no flow of {stage or f'table {table}'} of {flight.datapath} matches")
                return
            doubt = self.watch and tables.table(table).ambiguous(state, here, entry.flow)
            if entry.jump >= 0 and not doubt and not self.every:  # nothing but `next;`
                table = entry.jump
                continue
            mark = Mark(flight.trail, flight.chassis, flight.datapath, pipeline, table, entry.flow, ())
            flight.trail, mark.seen = mark, seen
            if doubt:
                mark.say(f"another flow of priority {entry.flow.priority} matches too: OVN leaves open which one acts")
            for operation in entry.simple:
                operation(state)
            mark.after = snapshot(state)
            if entry.then >= 0 or entry.jump >= 0:  # simple actions and a final `next;`
                table = max(entry.then, entry.jump)
                continue
            if not entry.rest:
                self.drop(flight, _drop_reason(flight, entry.flow))
                return
            following = self._actions(entry.rest, flight, pipeline, table)
            if following is None:
                return
            table = following

    def _actions(self, actions: tuple[Any, ...], flight: Flight, pipeline: str, table: int) -> int | None:
        """Run actions; returns the table to go on with, or None when this packet needs nothing more."""
        mark = flight.trail
        last = len(actions) - 1
        acted = False
        for index, action in enumerate(actions):
            kind = type(action)
            if index == last:
                if kind is act.Next and action.pipeline == pipeline:
                    if mark is not None:
                        mark.after = snapshot(flight.state)
                    return int(action.table)
                if kind in _RECIRCULATING:
                    EFFECTS[kind](self, action, flight)
                    if mark is not None:
                        mark.after = snapshot(flight.state)
                    return table + 1
            if kind in _RECIRCULATING:  # the copy goes on; what follows sees the packet as it was
                copy = flight.fork()
                EFFECTS[kind](self, action, copy)
                self.go(copy, pipeline, table + 1)
                acted = True
                continue
            if callable(action):
                action(flight.state)
                continue
            if mark is not None and kind in _LEAVING:
                mark.after = snapshot(flight.state)
            if kind is act.Output:
                acted = True
                self._output(flight, pipeline)
            elif kind is act.Next:
                acted = True
                self.go(flight.fork(), action.pipeline, action.table)
            elif kind is act.Nested:
                acted = True
                self._nested(action, flight, pipeline, table)
            else:
                acted |= EFFECTS[kind](self, action, flight)
        if not acted:
            flow = mark.flow if mark is not None else None
            learns = any(type(a) is act.CommitLbAff for a in actions)
            self.drop(flight, _drop_reason(flight, flow), learned_affinity=learns)
        return None

    def drop(self, flight: Flight, reason: str, *, learned_affinity: bool = False) -> None:
        """This copy of the packet ends here."""
        self.ends.append(End(DROPPED, flight, flight.state.inport, reason, learned_affinity))

    def choose(self, count: int) -> int:
        index = len(self.alternatives)
        self.alternatives.append(count)
        return self.choices[index] if index < len(self.choices) else 0

    # --- moving on -----------------------------------------------------------------------------------------------------

    def _output(self, flight: Flight, pipeline: str) -> None:
        # What follows an output acts on a packet that has left already, so the copy goes.
        if pipeline == INGRESS:
            self.fabric.leave_ingress(self, flight.fork())
        else:
            self.fabric.leave_egress(self, flight.fork())

    # --- packets that OVN makes ----------------------------------------------------------------------------------------

    def _nested(self, action: act.Nested, flight: Flight, pipeline: str, table: int) -> None:
        kind = action.kind
        if kind in ("arp", "nd_ns"):
            self._ask_neighbor(action, flight, pipeline, table)
            return
        copy = flight.fork()
        if kind in ("nd_na", "nd_na_router"):
            copy.state = generated.neighbor_advertisement(flight.state)
        elif kind != "clone" and not self._complain(kind, copy):
            return
        if kind != "clone":
            copy.origin = kind
            if copy.trail is not None:
                copy.trail.say(f"{kind}: OVN answers")
        self._sequence(action.actions, copy, pipeline, table)

    def _sequence(self, actions: tuple[act.Action, ...], flight: Flight, pipeline: str, table: int) -> None:
        following = self._actions(self.program.prepare(actions), flight, pipeline, table)
        if following is not None:
            self.go(flight, pipeline, following)

    def _complain(self, kind: str, copy: Flight) -> bool:
        """Turn `copy` into an ICMP error or a reset. False if none may be sent about this packet."""
        state = copy.state
        reject = kind == "reject"
        if reject:
            kind = {TCP: "tcp_reset", SCTP: "sctp_abort"}.get(state.ip_proto, "icmp4")
        if kind in ("tcp_reset", "sctp_abort"):
            copy.state = generated.reset(state, kind, reject=reject)
            return True
        if generated.is_icmp_error(state):
            self.drop(copy, "no ICMP error is sent about an ICMP error")
            return False
        copy.state, copy.inner = generated.icmp_error(state, reject=reject)
        return True

    def _ask_neighbor(self, action: act.Nested, flight: Flight, pipeline: str, table: int) -> None:
        """`arp {}` and `nd_ns {}`: walk the question; once the router has learned, the packet kept back goes on."""
        ask = flight.fork()
        ask.trail = None
        ask.origin = action.kind
        arp = action.kind == "arp"
        ask.state = generated.arp_request(flight.state) if arp else generated.neighbor_solicitation(flight.state)
        ask.inner = None
        probe = Run(self.program, self.fabric, self.memory)
        probe._steps = self._steps
        probe._sequence(action.actions, ask, pipeline, table)
        probe.finish()
        self._steps = probe._steps
        port = self.fabric.distributed(flight.state.outport)
        wanted = _asked_for(action, flight.state, arp)
        mac = self.memory.neighbors.get((port, wanted))
        address = ip_text(wanted, not arp)
        if mac is None:
            lost = next((end.reason for end in probe.ends if end.kind == DROPPED), "it reaches no owner")
            what = "ARP" if arp else "Neighbour Discovery"
            reason = f"{what} for {address} on router port {port} stays unanswered: {lost}"
            self.ends.append(End(UNANSWERED, flight, port, reason))
            return
        if flight.trail is not None:
            flight.trail.say(f"{'ARP' if arp else 'ND'}: {address} is at {mac_text(mac)}")
        kept = flight.fork()
        kept.state.eth_dst = mac
        if kept.trail is not None:
            kept.trail.after = snapshot(kept.state)
        self.fabric.leave_ingress(self, kept)


_RECIRCULATING = frozenset({act.CtNext, act.CtNat, act.CtLb, act.Select})
_LEAVING = frozenset({act.Output, act.Next, act.Nested})


def _drop_reason(flight: Flight, flow: LogicalFlow | None) -> str:
    place = f"{flight.datapath.kind} {flight.datapath.name} on {flight.chassis}"
    if flow is None:
        return f"{place}: no flow matches"
    return f"{place}: dropped by {flow}" + (f", from {flow.source}" if flow.source else "")


def _asked_for(action: act.Nested, state: PacketState, arp: bool) -> int:
    """The address that the nested actions ask for (arp.tpa, nd.target), else the packet's destination."""
    wanted = state.ip4_dst if arp else state.ip6_dst
    field = "arp.tpa" if arp else "nd.target"
    for nested in action.actions:
        if isinstance(nested, act.Load) and nested.target.name == field:
            wanted = int(nested.value)
        elif isinstance(nested, act.Move) and nested.target.name == field:
            wanted = state.get_int(nested.source)
    return wanted
