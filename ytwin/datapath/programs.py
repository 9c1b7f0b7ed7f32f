"""Makes datapath programs of a conversation: what each chassis does to the packets of its paths, phase by phase.

The walk is followed as `passes.stays` follows it, with the same costs per flow, so both give the same passes and look-ups:

- one `ct()` is one CT, and a CT_COMMIT behind it where it commits; CTs of a visit are `Stay.lookups`;
- a REWRITE stands where OVS really sets a header: before a `ct()`, a hash or an output, if it differs by then, once per header;
- TUNNEL_POP stands behind the LOOKUP of the first pass, though the header is gone by then;
- neighbours count as known (see `stays`), so that `arp {}` is no CONTROLLER.

Phases. FIRST: no flow is there yet, so every pass misses: UPCALL, INSTALL. ESTABLISHED: flows and connection are there; the
forward packet is the second of the conversation. CLOSE (TCP and SCTP only): the packet with FIN takes the passes of an
established one; an entry of conntrack serves both directions and is removed once, in the forward program. IDLE: no packet, so
its passes have no LOOKUP; each direction loses its datapath flows, the forward one the connection's entries as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest

from ytwin.datapath.examined import Examiner
from ytwin.datapath.passes import Entry, visits
from ytwin.datapath.program import Direction, Op, Operation, Pass, Phase, Program, Visit
from ytwin.datapath.steps import Stepper
from ytwin.logical.addresses import split_endpoint
from ytwin.trace.tracer import Tracer
from ytwin.trace.types import Conversation, Hop, Host, Path, Verdict, Walk, World

OUTSIDE = "outside"
CLOSING = frozenset({"tcp", "sctp"})
"""Protocols whose connections end with a packet that conntrack understands."""


@dataclass(frozen=True, slots=True)
class _Same:
    """Compares by identity: a World is large."""

    world: World

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.world is other.world

    def __hash__(self) -> int:
        return id(self.world)


def programs(conversation: Conversation, world: World) -> tuple[Program, ...]:
    """Every delivered path in every phase and direction, in this order. ValueError: a conversation that is not of this world.

    The conversation is walked once more, to see the tables that its walks leave out. What that needs of a World is kept for the
    next call with the same one.
    """
    return _compiler(_Same(world)).programs(conversation)


@lru_cache(maxsize=2)
def _compiler(same: _Same) -> _Compiler:
    return _Compiler(same.world)


class _Compiler:
    def __init__(self, world: World) -> None:
        self._tracer = Tracer(world, every_table=True)
        self._examiner = Examiner(world, self._tracer.program, self._tracer.fabric)
        self._hosts = {host.name: host for host in world.hosts}

    def programs(self, conversation: Conversation) -> tuple[Program, ...]:
        if all(path.verdict is not Verdict.DELIVERED for path in conversation.paths):
            return ()
        found: list[Program] = []
        for path, whole in zip(conversation.paths, self._whole(conversation), strict=True):
            if path.verdict is Verdict.DELIVERED:
                found += self._path(conversation, whole)
        return tuple(found)

    def _whole(self, conversation: Conversation) -> tuple[Path, ...]:
        """The paths again, with every table."""
        client = self._hosts.get(conversation.client)
        if client is None:
            raise ValueError(f"this world has no {conversation.client}")
        address, port = split_endpoint(conversation.destination)
        again = self._tracer.converse(client, address, port, conversation.protocol)
        if [(p.backend, p.address) for p in again.paths] != [(p.backend, p.address) for p in conversation.paths]:
            raise ValueError(f"{client.name} to {conversation.destination}: this world gives other paths")
        return again.paths

    def _path(self, conversation: Conversation, path: Path) -> Iterator[Program]:
        client, backend = self._hosts[conversation.client], self._hosts.get(path.backend)
        second = path.second if path.second is not None else path.forward
        first = self._visits(path.forward, client)
        later = self._visits(second, client)
        entries = _entries(first)
        back = self._visits(path.reply, backend) if path.reply is not None else ()
        mtu = min((host.mtu for host in (client, backend) if host is not None and host.mtu), default=0)

        def program(phase: Phase, visits: tuple[Visit, ...], walk: Walk) -> Program:
            direction = Direction.REPLY if walk is path.reply else Direction.FORWARD
            delivered = walk.verdict is Verdict.DELIVERED
            ends = (conversation.client, path.backend, conversation.destination, conversation.protocol)
            return Program(*ends, phase, direction, visits, delivered, path.address, mtu, overlay=True)

        closes = conversation.protocol in CLOSING
        yield program(Phase.FIRST, _missing(first), path.forward)
        if path.reply is not None:
            yield program(Phase.FIRST, _missing(back), path.reply)
        yield program(Phase.ESTABLISHED, later, second)
        if path.reply is not None:
            yield program(Phase.ESTABLISHED, back, path.reply)
        if closes:
            yield program(Phase.CLOSE, _removing(_closing(later), entries), second)
        if closes and path.reply is not None:
            yield program(Phase.CLOSE, _closing(back), path.reply)
        yield program(Phase.IDLE, _idle(first, later, entries), second)
        if path.reply is not None:
            yield program(Phase.IDLE, _idle(back, (), {}), path.reply)

    # --- one walk ------------------------------------------------------------------------------------------------------

    def _visits(self, walk: Walk, sender: Host | None) -> tuple[Visit, ...]:
        found = []
        packet = walk.sent
        stays = list(visits(walk.hops))
        for number, (entry, hops) in enumerate(stays):
            following = stays[number + 1][0] if number + 1 < len(stays) else None
            way_out, exit_kind = self._exit(walk, following)
            kind = {Entry.PORT: sender.kind if sender is not None else "", Entry.PHYSICAL: OUTSIDE}.get(entry, "")
            # What ovn-controller makes is a packet of its own, not a rewritten one.
            steps = Stepper(self._examiner, hops[0].packet if entry is Entry.CONTROLLER else packet)
            steps.enter(entry)
            for hop, after in zip_longest(hops, hops[1:]):
                steps.step(hop, after)
            steps.leave(way_out, hops[-1], self._target(walk, way_out, stays, number))
            ports = (self._entry_port(entry, sender), walk.port if following is None else "")
            found.append(Visit(hops[0].chassis, entry, way_out, kind, exit_kind, steps.done(), *ports))
            packet = hops[-1].packet
        return tuple(found)

    @staticmethod
    def _entry_port(entry: Entry, sender: Host | None) -> str:
        return sender.port if sender is not None and entry is Entry.PORT else ""

    def _exit(self, walk: Walk, following: Entry | None) -> tuple[str, str]:
        """(how the packet leaves, kind of what is there)."""
        if following is not None:
            return {Entry.TUNNEL: "tunnel", Entry.CONTROLLER: "controller"}.get(following, "physical network"), (
                OUTSIDE if following is Entry.PHYSICAL else ""
            )
        if walk.verdict is not Verdict.DELIVERED:
            return "drop", ""
        receiver = self._hosts.get(walk.receiver)
        kind = receiver.kind if receiver is not None else ""
        return ("physical network" if kind == OUTSIDE else "port"), kind

    @staticmethod
    def _target(walk: Walk, way_out: str, stays: list[tuple[Entry, list[Hop]]], number: int) -> str:
        if number + 1 < len(stays):
            return stays[number + 1][1][0].chassis if way_out in ("tunnel", "physical network") else ""
        return walk.port


# --- phases ------------------------------------------------------------------------------------------------------------


def _missing(visits: tuple[Visit, ...]) -> tuple[Visit, ...]:
    """Every pass with UPCALL and INSTALL behind its LOOKUP."""

    def missed(each: Pass) -> Pass:
        upcall = (Operation(Op.UPCALL, "no datapath flow"), Operation(Op.INSTALL, "datapath flow"))
        return replace(each, operations=(each.operations[0], *upcall, *each.operations[1:]))

    return tuple(replace(visit, passes=tuple(map(missed, visit.passes))) for visit in visits)


def _entries(visits: tuple[Visit, ...]) -> dict[str, tuple[Operation, ...]]:
    """The commits of a first packet by chassis, one per zone."""
    found: dict[str, dict[str, Operation]] = {}
    for visit in visits:
        for operation in visit.operations:
            if operation.op is Op.CT_COMMIT:
                found.setdefault(visit.chassis, {}).setdefault(operation.detail, operation)
    return {chassis: tuple(zones.values()) for chassis, zones in found.items()}


def _closing(visits: tuple[Visit, ...]) -> tuple[Visit, ...]:
    """Conntrack sees the FIN (SHUTDOWN of SCTP) wherever it is asked."""

    def closing(operation: Operation) -> Operation:
        if operation.op is not Op.CT:
            return operation
        return replace(operation, detail=f"{operation.detail}; the entry closes")

    return tuple(
        replace(v, passes=tuple(replace(p, operations=tuple(map(closing, p.operations))) for p in v.passes))
        for v in visits
    )


def _removals(visit: Visit, entries: dict[str, tuple[Operation, ...]], taken: set[str]) -> tuple[Operation, ...]:
    """Of the entries of a visit's chassis, unless an earlier visit has taken them."""
    if visit.chassis in taken:
        return ()
    taken.add(visit.chassis)
    made = entries.get(visit.chassis, ())
    return tuple(replace(c, op=Op.REMOVE, detail=f"conntrack entry in {c.detail}", ct_state="") for c in made)


def _removing(visits: tuple[Visit, ...], entries: dict[str, tuple[Operation, ...]]) -> tuple[Visit, ...]:
    """With REMOVE of the chassis's entries behind all else."""
    found = []
    taken: set[str] = set()
    for visit in visits:
        removals = _removals(visit, entries, taken)
        last = replace(visit.passes[-1], operations=(*visit.passes[-1].operations, *removals))
        found.append(replace(visit, passes=(*visit.passes[:-1], last)))
    return tuple(found)


def _idle(
    first: tuple[Visit, ...], later: tuple[Visit, ...], entries: dict[str, tuple[Operation, ...]]
) -> tuple[Visit, ...]:
    """REMOVE of every datapath flow that these packets made, and of the entries."""
    found = []
    taken: set[str] = set()
    for number, visit in enumerate(first):
        other = later[number].passes if number < len(later) else ()
        kinds = {*_flow_kinds(visit.passes), *_flow_kinds(other)}
        flows = tuple(Operation(Op.REMOVE, "datapath flow") for _ in kinds)
        found.append(replace(visit, passes=(Pass((*flows, *_removals(visit, entries, taken))),)))
    return tuple(found)


def _flow_kinds(passes: tuple[Pass, ...]) -> Iterator[tuple[object, ...]]:
    """Passes of one kind share a datapath flow: they do the same, and, if that was looked at, conntrack had said the same."""
    said = ""
    for number, each in enumerate(passes):
        looked = any(e.field.startswith("ct") for e in each.examined)
        does = tuple((o.op, o.stage, o.datapath, o.flow) for o in each.operations)
        yield number, said if looked else "", does
        said = next((o.ct_state for o in reversed(each.operations) if o.op is Op.CT), said)
