"""Runs one packet through the pipelines: what each action does to it, on which chassis it is, and where it goes next.

A run is deterministic. Where OVN would choose (a backend, an ECMP route), the run takes the choice it was told and notes
how many there were; `explore` in `walks` runs it again for each of the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ytwin.core.errors import Unsupported
from ytwin.logical import actions as act
from ytwin.logical.addresses import ip_int, ip_text, mac_text
from ytwin.logical.southbound import INGRESS, LogicalFlow
from ytwin.logical.state import CT_INV, CT_NEW, CT_REL, CT_RPL, ETH_IPV6, SCTP, TCP, PacketState
from ytwin.trace import generated, hairpin, security
from ytwin.trace.conntrack import Answer, Zone
from ytwin.trace.fabric import Fabric
from ytwin.trace.flight import ABSORBED, DROPPED, UNANSWERED, End, Flight, Mark, snapshot
from ytwin.trace.memory import Memory
from ytwin.trace.tables import Program

_SKIP_SNAT, _FORCE_SNAT = 1 << 2, 1 << 3
"""ct_mark bits of a load-balancing action's flag."""
_MAX_STEPS = 50_000
"""Tables that one run may pass. TTL ends loops long before; this guards against loops without routers."""


class Run:
    """One execution. `memory` is changed in place; `choices` says which alternative to take at the n-th choice (default 0)."""

    def __init__(self, program: Program, fabric: Fabric, memory: Memory, choices: tuple[int, ...] = ()) -> None:
        self.program = program
        self.fabric = fabric
        self.memory = memory
        self.choices = choices
        self.alternatives: list[int] = []
        """How many there were at each choice met."""
        self.ends: list[End] = []
        self._steps = 0
        self._waiting: deque[tuple[Flight, str, int]] = deque()
        self._do: dict[type, Callable[[Any, Flight, str, int], bool]] = {
            act.Output: self._output,
            act.Next: self._next,
            act.Nested: self._nested,
            act.CtNext: self._ct_next,
            act.CtCommit: self._ct_commit,
            act.CtNat: self._ct_nat,
            act.CtLb: self._ct_lb,
            act.CtSnatToVip: self._ct_snat_to_vip,
            act.Select: self._select,
            act.Result: self._result,
            act.CheckPktLarger: self._check_pkt_larger,
            act.NeighborAction: self._neighbor,
            act.FdbAction: self._fdb,
            act.CommitLbAff: self._commit_lb_aff,
            act.Opaque: self._opaque,
        }

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
            table = tables.skip(table)
            entry = tables.lookup(table, state, here)
            if entry is None:
                flight.trail = Mark(
                    flight.trail, flight.chassis, flight.datapath, pipeline, table, None, snapshot(state)
                )
                stage = tables.stage(table)
                self.drop(flight, f"no flow of {stage or f'table {table}'} of {flight.datapath} matches")
                return
            if entry.jump >= 0:  # nothing but `next;`
                table = entry.jump
                continue
            mark = Mark(flight.trail, flight.chassis, flight.datapath, pipeline, table, entry.flow, ())
            flight.trail = mark
            for operation in entry.simple:
                operation(state)
            mark.after = snapshot(state)
            if entry.then >= 0:  # simple actions and a final `next;`
                table = entry.then
                continue
            if not entry.rest:
                self.drop(flight, _drop_reason(entry.flow))
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
                    self._do[kind](action, flight, pipeline, table)
                    if mark is not None:
                        mark.after = snapshot(flight.state)
                    return table + 1
            if kind in _RECIRCULATING:  # the copy goes on; what follows sees the packet as it was
                copy = flight.fork()
                self._do[kind](action, copy, pipeline, table)
                self.go(copy, pipeline, table + 1)
                acted = True
                continue
            if callable(action):
                action(flight.state)
                continue
            if mark is not None and kind in _LEAVING:
                mark.after = snapshot(flight.state)
            acted |= self._do[kind](action, flight, pipeline, table)
        if not acted:
            flow = mark.flow if mark is not None else None
            learns = any(type(a) is act.CommitLbAff for a in actions)
            self.drop(flight, _drop_reason(flow), learned_affinity=learns)
        return None

    def drop(self, flight: Flight, reason: str, *, learned_affinity: bool = False) -> None:
        """This copy of the packet ends here."""
        self.ends.append(End(DROPPED, flight, flight.state.inport, reason, learned_affinity))

    def _choose(self, count: int) -> int:
        index = len(self.alternatives)
        self.alternatives.append(count)
        return self.choices[index] if index < len(self.choices) else 0

    # --- moving on -----------------------------------------------------------------------------------------------------

    def _next(self, action: act.Next, flight: Flight, pipeline: str, table: int) -> bool:
        self.go(flight.fork(), action.pipeline, action.table)
        return True

    def _output(self, action: act.Output, flight: Flight, pipeline: str, table: int) -> bool:
        # What follows an output acts on a packet that has left already, so the copy goes.
        if pipeline == INGRESS:
            self.fabric.leave_ingress(self, flight.fork())
        else:
            self.fabric.leave_egress(self, flight.fork())
        return True

    # --- packets that OVN makes ----------------------------------------------------------------------------------------

    def _nested(self, action: act.Nested, flight: Flight, pipeline: str, table: int) -> bool:
        kind = action.kind
        if kind in ("arp", "nd_ns"):
            self._ask_neighbor(action, flight, pipeline, table)
            return True
        copy = flight.fork()
        state = flight.state
        if kind in ("nd_na", "nd_na_router"):
            copy.state = generated.neighbor_advertisement(state)
        elif kind != "clone":
            if not self._complain(kind, copy):
                return True
        copy.origin = copy.origin if kind == "clone" else kind
        if kind != "clone" and copy.trail is not None:
            copy.trail.say(f"{kind}: OVN answers")
        self._sequence(action.actions, copy, pipeline, table)
        return True

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

    # --- conntrack -----------------------------------------------------------------------------------------------------

    def _zone(self, flight: Flight, kind: str = "") -> Zone:
        """`kind`: "dnat", "snat", or "" for a switch's port zone and a router's DNAT zone."""
        if not kind:
            if flight.datapath.kind == "switch":
                return Zone(flight.chassis, flight.port_zone)
            kind = "dnat"
        return Zone(flight.chassis, f"{kind}:{flight.datapath.kind}/{flight.datapath.name}")

    def _ct_next(self, action: act.CtNext, flight: Flight, pipeline: str, table: int) -> bool:
        zone = self._zone(flight)
        self.memory.conntrack.track(flight.state, zone, flight.inner)
        self._say_ct(flight, zone, "")
        return True

    def _ct_commit(self, action: act.CtCommit, flight: Flight, pipeline: str, table: int) -> bool:
        state, tracker = flight.state, self.memory.conntrack
        before, answer, zone = (state.ct_state, state.ct_mark, state.ct_label), state.ct, self._zone(flight)
        tracker.commit(state, zone, nat="src", inner=flight.inner)
        if not state.ct_state & CT_INV and flight.inner is None:
            for operation in self.program.prepare(action.actions):
                operation(state)
            tracker.mark(state, mark=state.ct_mark, label=state.ct_label)
        # Without recirculation the packet in hand does not learn what the tracker now says.
        state.ct_state, state.ct_mark, state.ct_label = before
        if not (isinstance(answer, Answer) and answer.zone == zone):
            state.ct = answer
        return False

    def _ct_nat(self, action: act.CtNat, flight: Flight, pipeline: str, table: int) -> bool:
        kind = {"ct_dnat": "dnat", "ct_snat": "snat", "ct_commit_nat": ""}.get(action.kind, "dnat")
        zone = self._zone(flight, kind)
        tracker, state = self.memory.conntrack, flight.state
        if action.kind == "ct_commit_nat":
            done = tracker.nat(state, zone, flight.inner)
            tracker.commit(state, zone, inner=flight.inner)
        elif action.address:
            side = "dst" if "dnat" in action.kind else "src"
            done = tracker.commit(
                state, zone, nat=side, address=ip_int(action.address), port=action.port_low, inner=flight.inner
            )
        else:
            done = tracker.nat(state, zone, flight.inner)
        self._say_ct(flight, zone, done)
        return True

    def _ct_lb(self, action: act.CtLb, flight: Flight, pipeline: str, table: int) -> bool:
        zone = self._zone(flight)
        tracker, state = self.memory.conntrack, flight.state
        if not action.backends:
            self._say_ct(flight, zone, tracker.nat(state, zone, flight.inner))
            return True
        ipv6 = state.eth_type == ETH_IPV6
        usable = [b for b in action.backends if (":" in b.address) == ipv6]
        if not usable:
            raise Unsupported(f"{action}: no backend of the packet's address family")
        backend = usable[self._choose(len(usable))] if len(usable) > 1 else usable[0]
        done = tracker.commit(state, zone, nat="dst", address=ip_int(backend.address), port=backend.port)
        bits = hairpin.NATTED | {"skip_snat": _SKIP_SNAT, "force_snat": _FORCE_SNAT}.get(action.flag, 0)
        if not state.ct_state & CT_INV:
            if action.kind == "ct_lb_mark":
                tracker.mark(state, mark=state.ct_mark | bits)
            else:
                tracker.mark(state, label=state.ct_label | bits)
        among = f", one of {len(usable)} backends" if len(usable) > 1 else ""
        self._say_ct(flight, zone, f"{done}{among}" if done else "")
        return True

    def _ct_snat_to_vip(self, action: act.CtSnatToVip, flight: Flight, pipeline: str, table: int) -> bool:
        vip = self.fabric.hairpins.match(flight.state, backend=False)
        if vip is not None:
            zone = self._zone(flight, "snat")
            done = self.memory.conntrack.commit(flight.state, zone, nat="src", address=vip.snat)
            self._say_ct(flight, zone, f"{done}: the client is its own backend" if done else "")
        return False

    def _say_ct(self, flight: Flight, zone: Zone, done: str) -> None:
        if flight.trail is None:
            return
        state = flight.state.ct_state
        word = "new" if state & CT_NEW else "invalid" if state & CT_INV else "related" if state & CT_REL else "established"
        if state & CT_RPL:
            word += " reply"
        flight.trail.say(f"ct({zone.name or 'zone 0'}): {word}" + (f", {done}" if done else ""))

    # --- choices and look-ups ------------------------------------------------------------------------------------------

    def _select(self, action: act.Select, flight: Flight, pipeline: str, table: int) -> bool:
        value, _ = action.choices[self._choose(len(action.choices))]
        flight.state.set(action.target, value)
        return True

    def _result(self, action: act.Result, flight: Flight, pipeline: str, table: int) -> bool:
        state, tracker, function = flight.state, self.memory.conntrack, action.function
        if function == "check_in_port_sec":
            value = security.violates_in(state, self.fabric.ports[state.inport])
        elif function == "check_out_port_sec":
            value = security.violates_out(state, self.fabric.ports[state.outport])
        elif function == "chk_lb_hairpin":
            value = hairpin.check_hairpin(state, self.fabric.hairpins, tracker, flight.chassis, flight.datapath)
        elif function == "chk_lb_hairpin_reply":
            value = hairpin.check_hairpin_reply(state, tracker, flight.chassis, flight.datapath)
        elif function == "chk_lb_aff":
            value = hairpin.check_affinity(state, tracker, flight.chassis, flight.datapath)
        elif function == "dns_lookup":
            value = False  # answers nothing: no DNS records in these topologies
        else:
            raise Unsupported(f"{function}() of {flight.datapath} is not modelled")
        state.set(action.target, int(value))
        return False

    def _check_pkt_larger(self, action: act.CheckPktLarger, flight: Flight, pipeline: str, table: int) -> bool:
        flight.state.set(action.target, int(flight.length_bytes > action.limit_bytes))
        return False

    def _neighbor(self, action: act.NeighborAction, flight: Flight, pipeline: str, table: int) -> bool:
        state, known = flight.state, self.memory.neighbors
        port = self.fabric.distributed(str(state.get(action.args[0])))
        address = state.get_int(action.args[1])
        function = action.function
        if function.startswith("get_"):
            state.eth_dst = known.get((port, address), 0)
        elif function.startswith("put_"):
            known[port, address] = state.get_int(action.args[2])
        else:
            assert action.target is not None
            mac = known.get((port, address))
            if function.endswith("_ip"):
                hit = mac is not None
            else:
                hit = mac == state.get_int(action.args[2])
            state.set(action.target, int(hit))
        return False

    def _fdb(self, action: act.FdbAction, flight: Flight, pipeline: str, table: int) -> bool:
        state, known = flight.state, self.memory.fdb
        where = str(flight.datapath)
        if action.function == "put_fdb":
            known[where, state.get_int(action.args[1])] = str(state.get(action.args[0]))
        elif action.function == "get_fdb":
            assert action.target is not None
            state.set(action.target, known.get((where, state.get_int(action.args[0])), ""))
        else:
            assert action.target is not None
            hit = known.get((where, state.get_int(action.args[1]))) == state.get(action.args[0])
            state.set(action.target, int(hit))
        return False

    def _commit_lb_aff(self, action: act.CommitLbAff, flight: Flight, pipeline: str, table: int) -> bool:
        hairpin.learn_affinity(
            flight.state,
            self.memory.conntrack,
            flight.chassis,
            flight.datapath,
            action.vip,
            action.backend,
            action.protocol,
            action.timeout_s,
        )
        if flight.trail is not None:
            flight.trail.say(f"affinity to {action.backend} learned for {action.timeout_s} s")
        return False

    def _opaque(self, action: act.Opaque, flight: Flight, pipeline: str, table: int) -> bool:
        if action.target is not None:
            flight.state.set(action.target, 0)  # not a DHCP, DNS or similar request
            return False
        if action.name in _CONSUMING:
            self.ends.append(End(ABSORBED, flight, flight.state.inport, f"{action.name}: taken by ovn-controller"))
            return True
        return False


_RECIRCULATING = frozenset({act.CtNext, act.CtNat, act.CtLb, act.Select})
_LEAVING = frozenset({act.Output, act.Next, act.Nested})
_CONSUMING = frozenset({"handle_svc_check", "igmp", "handle_dhcpv6_reply", "handle_bfd_msg", "trigger_event", "bind_vport"})


def _drop_reason(flow: LogicalFlow | None) -> str:
    if flow is None:
        return "no flow matches"
    return f"dropped by {flow}" + (f", from {flow.source}" if flow.source else "")


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
