"""What the ovn-trace program would print for a packet: one world without chassis, no conntrack, no replies.

This is not how OVN forwards; it is how ovn-trace 23.03 simulates it, so that the two can be compared line by line. Known
differences to forwarding are ovn-trace's own: every port is resident, `ct()` answers what `--ct` says (else trk|est), nothing is
translated back, `ct_snat;` on a gateway router ends the trace, `flags` and registers survive patch ports, ICMP type and
transport port share storage.

Not judged (`Trace.unjudged` says why): a choice that ovn-trace makes at random, a VIP that several load balancers share in a
hairpin check, equal-priority flows that both match, and `nd_na_router`, at which ovn-trace 23.03 aborts (and its daemon with it:
trace here first, and send it only what is judged).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ytwin.core.errors import Unsupported
from ytwin.logical.addresses import ip_int
from ytwin.logical.compile import prepare
from ytwin.logical.expr import parse_match
from ytwin.logical.fields import CT_STATE_BITS
from ytwin.logical.southbound import INGRESS, DatapathId, Southbound
from ytwin.logical.state import CT_TRK, PacketState
from ytwin.trace.ovntrace_run import ImitationRun
from ytwin.trace.ovntrace_tree import PIPELINE, Node, Step, minimal, normalize, render
from ytwin.trace.tables import Program


@dataclass(frozen=True, slots=True)
class Trace:
    """`text` is `ovn-trace --detailed` without the `#` line, sources and UUIDs: compare it with `normalize(output)`."""

    text: str
    minimal: str
    """`ovn-trace --minimal`, without the `#` line."""
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    """Ports that the packet, or a copy of it, left the logical network by."""
    unjudged: str
    """Why ovn-trace's answer cannot be compared; "" if it can."""


def parse_microflow(text: str) -> PacketState:
    """A packet from an expression that says what it is: `inport == "p" && eth.src == ... && ip4.src == ... && tcp.dst == 80`."""
    prepared = prepare(parse_match(text))
    state = PacketState()
    for slot, value in prepared.keys().items():
        setattr(state, slot, value)
    for slot, mask, bits in prepared.masked():
        setattr(state, slot, (getattr(state, slot) & ~mask) | bits)
    if not prepared.matcher()(state, _EVERYWHERE):
        raise Unsupported(
            f"microflow `{text}` leaves something open: only conjunctions of equalities describe a packet"
        )
    return state


class _Everywhere:
    def resident(self, port: str) -> bool:  # noqa: ARG002 - a Residence
        return True


_EVERYWHERE = _Everywhere()


def ct_bits(text: str) -> int:
    """`new,est` and the like as ct_state bits; trk comes with every answer of the tracker."""
    bits = CT_TRK
    for word in re.split(r"[,|]", text):
        if word:
            bits |= 1 << CT_STATE_BITS[word]
    return bits


class Imitation:
    """ovn-trace over one Southbound. Keeps compiled tables between traces."""

    def __init__(self, southbound: Southbound, program: Program | None = None) -> None:
        self.southbound = southbound
        self.program = program if program is not None else Program(southbound)
        self.groups = {(g.datapath, g.name): g.ports for g in southbound.multicast_groups}
        self.neighbors = {(b.port, ip_int(b.ip)): b.mac for b in southbound.mac_bindings}
        self.peers: dict[str, str] = {}
        self.gateways: set[DatapathId] = set()
        for port in southbound.ports.values():
            peer = port.options.get("peer", "")
            if port.type in ("patch", "l3gateway") and peer in southbound.ports:
                self.peers[port.name] = peer
                self.peers[peer] = port.name
            if port.type == "l3gateway":
                self.gateways.add(port.datapath)

    def resident(self, port: str) -> bool:
        """Every port that exists is resident."""
        return not port or port in self.southbound.ports

    def trace(
        self,
        packet: str | PacketState,
        ct: Sequence[str] = (),
        lb_dst: str = "",
        backends: Sequence[str] = (),
    ) -> Trace:
        """Trace a microflow. `ct`: what each look-up answers, in order. `lb_dst`: `--lb-dst`, an address.

        `backends` ("IP:PORT" or "IP") are taken in order where ovn-trace would pick at random: what a real run has picked.
        """
        state = parse_microflow(packet) if isinstance(packet, str) else packet.copy()
        run = ImitationRun(self, [ct_bits(c) for c in ct], lb_dst, list(backends))
        port = self.southbound.ports.get(state.inport)
        if port is None:
            raise Unsupported(f"no port {state.inport!r} in the Southbound")
        root = Node(PIPELINE, f'ingress(dp="{port.datapath.name}", inport="{state.inport}")')
        run.go(port.datapath, state, 0, INGRESS, root.subs)
        return Trace(render([root]), minimal([root]), tuple(run.steps), tuple(run.outputs), run.unjudged)


def trace_like_ovn(
    southbound: Southbound,
    microflow: str | PacketState,
    ct_flags: Sequence[str] = (),
    lb_dst: str = "",
    backends: Sequence[str] = (),
) -> Trace:
    """One trace; use `Imitation` for many over one Southbound."""
    return Imitation(southbound).trace(microflow, ct_flags, lb_dst, backends)


__all__ = ["Imitation", "Step", "Trace", "ct_bits", "normalize", "parse_microflow", "trace_like_ovn"]
