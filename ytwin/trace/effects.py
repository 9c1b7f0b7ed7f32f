"""What conntrack actions, choices and look-ups do to a packet in flight: one function per action.

A handler returns True if the packet has gone elsewhere, so that the end of its actions is no drop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ytwin.core.errors import Unsupported
from ytwin.logical import actions as act
from ytwin.logical.addresses import ip_int
from ytwin.logical.state import CT_INV, CT_NEW, CT_REL, CT_RPL, ETH_IPV6
from ytwin.trace import hairpin, security
from ytwin.trace.conntrack import Answer, Zone
from ytwin.trace.flight import ABSORBED, End, Flight
from ytwin.trace.tables import UNREADABLE

if TYPE_CHECKING:
    from ytwin.trace.executor import Run

_SKIP_SNAT, _FORCE_SNAT = 1 << 2, 1 << 3
"""ct_mark bits of a load-balancing action's flag."""
_CONSUMING = frozenset(
    {"handle_svc_check", "igmp", "handle_dhcpv6_reply", "handle_bfd_msg", "trigger_event", "bind_vport"}
)
"""Actions that hand the packet to ovn-controller for good."""


def zone_of(flight: Flight, kind: str = "") -> Zone:
    """`kind`: "dnat", "snat", or "" for a switch's port zone and a router's DNAT zone."""
    if not kind:
        if flight.datapath.kind == "switch":
            return Zone(flight.chassis, flight.port_zone)
        kind = "dnat"
    return Zone(flight.chassis, f"{kind}:{flight.datapath.kind}/{flight.datapath.name}")


def _ct_next(run: Run, _action: act.CtNext, flight: Flight) -> bool:
    zone = zone_of(flight)
    run.memory.conntrack.track(flight.state, zone, flight.inner)
    _say_ct(flight, zone, "")
    return True


def _ct_commit(run: Run, action: act.CtCommit, flight: Flight) -> bool:
    state, tracker = flight.state, run.memory.conntrack
    before, answer, zone = (state.ct_state, state.ct_mark, state.ct_label), state.ct, zone_of(flight)
    tracker.commit(state, zone, nat="src", inner=flight.inner)
    if not state.ct_state & CT_INV and flight.inner is None:
        for operation in run.program.prepare(action.actions):
            operation(state)
        tracker.mark(state, mark=state.ct_mark, label=state.ct_label)
    # Without recirculation the packet in hand does not learn what the tracker now says.
    state.ct_state, state.ct_mark, state.ct_label = before
    if not (isinstance(answer, Answer) and answer.zone == zone):
        state.ct = answer
    return False


def _ct_nat(run: Run, action: act.CtNat, flight: Flight) -> bool:
    kind = {"ct_dnat": "dnat", "ct_snat": "snat", "ct_commit_nat": ""}.get(action.kind, "dnat")
    zone = zone_of(flight, kind)
    tracker, state = run.memory.conntrack, flight.state
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
    _say_ct(flight, zone, done)
    return True


def _ct_lb(run: Run, action: act.CtLb, flight: Flight) -> bool:
    zone = zone_of(flight)
    tracker, state = run.memory.conntrack, flight.state
    if not action.backends:
        _say_ct(flight, zone, tracker.nat(state, zone, flight.inner))
        return True
    ipv6 = state.eth_type == ETH_IPV6
    usable = [b for b in action.backends if (":" in b.address) == ipv6]
    if not usable:
        raise Unsupported(f"{action}: no backend of the packet's address family")
    backend = usable[run.choose(len(usable))] if len(usable) > 1 else usable[0]
    done = tracker.commit(state, zone, nat="dst", address=ip_int(backend.address), port=backend.port)
    bits = hairpin.NATTED | {"skip_snat": _SKIP_SNAT, "force_snat": _FORCE_SNAT}.get(action.flag, 0)
    if not state.ct_state & CT_INV:
        if action.kind == "ct_lb_mark":
            tracker.mark(state, mark=state.ct_mark | bits)
        else:
            tracker.mark(state, label=state.ct_label | bits)
    among = f", one of {len(usable)} backends" if len(usable) > 1 else ""
    _say_ct(flight, zone, f"{done}{among}" if done else "")
    return True


def _ct_snat_to_vip(run: Run, _action: act.CtSnatToVip, flight: Flight) -> bool:
    vip = run.fabric.hairpins.match(flight.state, backend=False)
    if vip is not None:
        zone = zone_of(flight, "snat")
        done = run.memory.conntrack.commit(flight.state, zone, nat="src", address=vip.snat)
        _say_ct(flight, zone, f"{done}: the client is its own backend" if done else "")
    return False


def _say_ct(flight: Flight, zone: Zone, done: str) -> None:
    if flight.trail is None:
        return
    state = flight.state.ct_state
    word = "new" if state & CT_NEW else "invalid" if state & CT_INV else "related" if state & CT_REL else "established"
    if state & CT_RPL:
        word += " reply"
    flight.trail.say(f"ct({zone.name or 'zone 0'}): {word}" + (f", {done}" if done else ""))


def _select(run: Run, action: act.Select, flight: Flight) -> bool:
    value, _ = action.choices[run.choose(len(action.choices))]
    flight.state.set(action.target, value)
    return True


def _result(run: Run, action: act.Result, flight: Flight) -> bool:
    state, tracker, function = flight.state, run.memory.conntrack, action.function
    if function == "check_in_port_sec":
        value = security.violates_in(state, run.fabric.ports[state.inport])
    elif function == "check_out_port_sec":
        value = security.violates_out(state, run.fabric.ports[state.outport])
    elif function == "chk_lb_hairpin":
        value = hairpin.check_hairpin(state, run.fabric.hairpins, tracker, flight.chassis, flight.datapath)
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


def _check_pkt_larger(_run: Run, action: act.CheckPktLarger, flight: Flight) -> bool:
    flight.state.set(action.target, int(flight.length_bytes > action.limit_bytes))
    return False


def _neighbor(run: Run, action: act.NeighborAction, flight: Flight) -> bool:
    state, known = flight.state, run.memory.neighbors
    port = run.fabric.distributed(str(state.get(action.args[0])))
    address = state.get_int(action.args[1])
    function = action.function
    if function.startswith("get_"):
        state.eth_dst = known.get((port, address), 0)
    elif function.startswith("put_"):
        known[port, address] = state.get_int(action.args[2])
    else:
        assert action.target is not None
        mac = known.get((port, address))
        hit = mac is not None if function.endswith("_ip") else mac == state.get_int(action.args[2])
        state.set(action.target, int(hit))
    return False


def _fdb(run: Run, action: act.FdbAction, flight: Flight) -> bool:
    state, known = flight.state, run.memory.fdb
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


def _commit_lb_aff(run: Run, action: act.CommitLbAff, flight: Flight) -> bool:
    hairpin.learn_affinity(
        flight.state,
        run.memory.conntrack,
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


def _opaque(run: Run, action: act.Opaque, flight: Flight) -> bool:
    if action.name == UNREADABLE:
        raise Unsupported(action.text)
    if action.target is not None:
        flight.state.set(action.target, 0)  # not a DHCP, DNS or similar request
        return False
    if action.name in _CONSUMING:
        run.ends.append(End(ABSORBED, flight, flight.state.inport, f"{action.name}: taken by ovn-controller"))
        return True
    return False


EFFECTS: dict[type, Callable[[Run, Any, Flight], bool]] = {
    act.CtNext: _ct_next,
    act.CtCommit: _ct_commit,
    act.CtNat: _ct_nat,
    act.CtLb: _ct_lb,
    act.CtSnatToVip: _ct_snat_to_vip,
    act.Select: _select,
    act.Result: _result,
    act.CheckPktLarger: _check_pkt_larger,
    act.NeighborAction: _neighbor,
    act.FdbAction: _fdb,
    act.CommitLbAff: _commit_lb_aff,
    act.Opaque: _opaque,
}
