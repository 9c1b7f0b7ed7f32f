"""Datapath programs by hand: the paths of the article's clients, with as many passes and look-ups as asked for."""

from __future__ import annotations

from ytwin.datapath.passes import Entry
from ytwin.datapath.program import Direction, Op, Operation, Pass, Phase, Program, Visit

ENDS = ("node1", "node2")


def visit(
    chassis: str,
    entry: Entry,
    way_out: str,
    entry_kind: str,
    exit_kind: str,
    passes: int = 2,
    lookups: int = 1,
    first: bool = False,
) -> Visit:
    """A stay with conntrack look-ups in its first passes; as a connection's first packet with upcalls and a commit."""
    found = []
    for i in range(passes):
        operations = [Operation(Op.LOOKUP)]
        if first:
            operations += [Operation(Op.UPCALL), Operation(Op.INSTALL)]
        operations += [Operation(Op.TUNNEL_POP)] * (i == 0 and entry is Entry.TUNNEL)
        operations += [Operation(Op.CT, ct_state="new" if first else "established")] * (i < lookups)
        operations += [Operation(Op.CT_COMMIT)] * (first and i == 0)
        operations += [Operation(Op.TUNNEL_PUSH)] * (i == passes - 1 and way_out == "tunnel")
        found.append(Pass(tuple(operations)))
    return Visit(chassis, entry, way_out, entry_kind, exit_kind, tuple(found))


def program(
    phase: Phase,
    direction: Direction,
    client: str = "Pod",
    passes: tuple[int, int] = (2, 2),
    lookups: tuple[int, int] = (1, 1),
) -> Program:
    """From node1 to a Pod on node2, or back; `passes` and `lookups` at the client's and the backend's chassis."""
    first = phase is Phase.FIRST
    near = (ENDS[0], client, passes[0] + first, lookups[0] + first)
    far = (ENDS[1], "Pod", passes[1], lookups[1] + first)
    sender, receiver = (near, far) if direction is Direction.FORWARD else (far, near)
    visits = (
        visit(sender[0], Entry.PORT, "tunnel", sender[1], "", sender[2], sender[3], first),
        visit(receiver[0], Entry.TUNNEL, "port", "", receiver[1], receiver[2], receiver[3], first),
    )
    return Program("client", "backend", "10.0.0.1:80", "tcp", phase, direction, visits, True)


def path(
    client: str = "Pod", passes: tuple[int, int] = (2, 2), lookups: tuple[int, int] = (1, 1)
) -> tuple[Program, ...]:
    """All phases and directions of one path."""
    return tuple(
        program(phase, direction, client, passes, lookups)
        for phase in (Phase.FIRST, Phase.ESTABLISHED, Phase.CLOSE)
        for direction in Direction
    )
