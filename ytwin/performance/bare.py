"""Programs of paths that pass no OVN: node to node, and kube-proxy's way of a Service."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ytwin.datapath.passes import Entry
from ytwin.datapath.program import Direction, Op, Operation, Pass, Phase, Program, Visit

OUTSIDE: Final = "outside"
"""Kind of a port that leads out of the cluster (a localnet)."""
PROXY: Final = "kube-proxy"
"""Detail of the look-up in which kube-proxy's rules translate the Service."""

_PHYSICAL: Final = "physical network"


def on_wire_in(visit: Visit) -> bool:
    """Whether the packet comes to this chassis through one of its network ports."""
    return visit.entry in (Entry.TUNNEL, Entry.PHYSICAL) or (visit.entry is Entry.PORT and visit.entry_kind == OUTSIDE)


def on_wire_out(visit: Visit) -> bool:
    """Whether it leaves through one."""
    return visit.exit in ("tunnel", _PHYSICAL) or (visit.exit == "port" and visit.exit_kind == OUTSIDE)


def inside(program: Program) -> bool:
    """Whether the packet stays on one chassis."""
    return not any(on_wire_in(visit) or on_wire_out(visit) for visit in program.visits)


def tunnelled(program: Program) -> bool:
    """Whether the packet has a tunnel header on some part of its way."""
    return any(v.entry is Entry.TUNNEL or v.exit == "tunnel" for v in program.visits)


def bare_programs(client: str, backend: str, protocol: str = "tcp") -> tuple[Program, ...]:
    """The baseline between two chassis, by name: from stack to stack through both cards, one pass each and no OVS."""
    return tuple(
        Program(client, backend, backend, protocol, phase, direction, _bare(client, backend, direction), True)
        for phase in (Phase.FIRST, Phase.ESTABLISHED, Phase.CLOSE)
        for direction in Direction
    )


def _bare(client: str, backend: str, direction: Direction) -> tuple[Visit, ...]:
    sender, receiver = (client, backend) if direction is Direction.FORWARD else (backend, client)
    if sender == receiver:
        return (Visit(sender, Entry.PORT, "port", "Node", "Node", ()),)
    return (
        Visit(sender, Entry.PORT, _PHYSICAL, "Node", "", ()),
        Visit(receiver, Entry.PHYSICAL, "port", "", "Node", ()),
    )


def proxied(program: Program, tunnel: bool = False) -> Program:
    """The same path as kube-proxy does it: the client's chassis translates in the stack (the gateway's, if the client is
    outside), the kernel forwards to the backend's; `tunnel`: the CNI encapsulates between nodes."""
    first, last = program.visits[0], program.visits[-1]
    translates = first if program.direction is Direction.FORWARD else last
    ends = (first,) if first.chassis == last.chassis else (first, last)
    visits = []
    for visit in ends:
        way_in = first.entry if visit is first else (Entry.TUNNEL if tunnel else Entry.PHYSICAL)
        way_out = last.exit if visit is ends[-1] else ("tunnel" if tunnel else _PHYSICAL)
        balances = visit.chassis == translates.chassis
        operations = [Operation(Op.LOOKUP, PROXY if balances else "")]
        operations += [Operation(Op.REWRITE)] * balances
        operations += [Operation(Op.TUNNEL_POP)] * (way_in is Entry.TUNNEL)
        operations += [Operation(Op.TUNNEL_PUSH)] * (way_out == "tunnel")
        passes = (Pass((*operations, Operation(Op.OUTPUT))),) if program.phase is not Phase.IDLE else ()
        exit_kind = last.exit_kind if visit is ends[-1] else ""
        entry_kind = first.entry_kind if visit is first else ""
        visits.append(Visit(visit.chassis, way_in, way_out, entry_kind, exit_kind, passes))
    return replace(program, visits=tuple(visits), overlay=tunnel)
