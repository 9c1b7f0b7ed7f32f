"""Which paths of a topology can be measured, and the datapath programs of each. Pure.

Measuring programs need ports of their own, so every Service gets them in addition to those it has; nothing else of the topology
changes. A path is a client, an address (a Service's, or a backend's own) and the one backend behind it. Of paths that
look alike (the same kinds of ends, the same work on every chassis, with and without Service) the first is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from ytwin.core.errors import YtwinError
from ytwin.datapath import programs
from ytwin.datapath.passes import Entry
from ytwin.datapath.program import Direction, Op, Operation, Pass, Phase, Program, Visit
from ytwin.pipeline import Twin
from ytwin.resources.model import YusurService, YusurServicePort
from ytwin.resources.snapshot import Snapshot
from ytwin.trace import Tracer
from ytwin.trace.types import Host, Verdict
from ytwin.verify.expect import targets
from ytwin.verify.matrix import representatives

CONNECTIONS: Final = 8
"""How many "many connections" are, for requests."""
BULK_PORT: Final = 5201
CONTROL_PORT: Final = 5000
"""qperf talks about a measurement on one port, ..."""
DATA_PORT: Final = 5100
"""... and measures on another; a server serves one client, so there are CONNECTIONS of each, counted up from here."""
PORTS: Final = (BULK_PORT, *(first + i for first in (CONTROL_PORT, DATA_PORT) for i in range(CONNECTIONS)))
FABRIC: Final = "fabric"
"""The lab's switch of physical networks: Open vSwitch too, one look-up per packet, no chassis of OVN."""
_OUTSIDE: Final = "outside"


@dataclass(frozen=True, slots=True)
class MeasuredPath:
    """One path, with the programs of its established packets."""

    name: str
    """e.g. "Pod/default/client -> default/far"."""
    client: str
    address: str
    backend: str
    forward: Program
    reply: Program

    @property
    def chassis(self) -> tuple[str, ...]:
        """Every switch on the way, in order."""
        return tuple(dict.fromkeys(v.chassis for p in (self.forward, self.reply) for v in p.visits))

    @property
    def work(self) -> str:
        """For people: what both directions ask of the switches."""
        visits = [v for p in (self.forward, self.reply) for v in p.visits]
        counts = {
            "visit": len(visits),
            "pass": sum(len(v.passes) for v in visits),
            "ct": sum(v.count(Op.CT) for v in visits),
            "tunnel": sum(_headers(v) for v in visits),
        }
        return " ".join(f"{n} {what}" for what, n in counts.items() if n)


def with_ports(snapshot: Snapshot) -> Snapshot:
    """The topology with the measuring ports on every YusurService. YtwinError if one has such a port already."""
    changed = []
    for service in snapshot.all(YusurService):
        taken = {p.port for p in service.spec.ports if p.protocol == "TCP"} & set(PORTS)
        if taken:
            raise YtwinError(
                f"YusurService {service.metadata.name} has port {min(taken)}, which measuring needs "
                f"({min(PORTS)} to {max(PORTS)}): give it another"
            )
        named = tuple(p if p.name else p.model_copy(update={"name": f"port-{p.port}"}) for p in service.spec.ports)
        more = tuple(YusurServicePort(name=f"measure-{port}", port=port) for port in PORTS)
        spec = service.spec.model_copy(update={"ports": (*named, *more)})
        changed.append(service.model_copy(update={"spec": spec}))
    return snapshot.with_objects(changed)


def measured_paths(twin: Twin) -> tuple[MeasuredPath, ...]:
    """All that differ. YtwinError if there is none."""
    found: dict[object, MeasuredPath] = {}
    for name, client, address, direct in _questions(twin):
        talk = Tracer(twin.world).converse(client, address, BULK_PORT, "tcp")
        backends = {path.backend for path in talk.paths}
        if talk.verdict is not Verdict.DELIVERED or len(backends) != 1 or client.name in backends:
            continue
        established = [p for p in programs(talk, twin.world) if p.phase is Phase.ESTABLISHED]
        both = {p.direction: _through_fabric(p) for p in established}
        forward, reply = both[Direction.FORWARD], both[Direction.REPLY]
        path = MeasuredPath(name, client.name, address, next(iter(backends)), forward, reply)
        found.setdefault((direct, client.kind, _shape(forward), _shape(reply)), path)
    if not found:
        hint = "a Service with one TCP backend, and a client of its VPC (or an EIP)"
        raise YtwinError(f"the topology has no path that can be measured; it needs {hint}")
    return tuple(found.values())


def _questions(twin: Twin) -> Iterator[tuple[str, Host, str, bool]]:
    """(name, client, address, whether it is the backend's own): every kind of client to every Service and workload."""
    clients = representatives(twin.world.hosts)
    vips = [t for t in targets(twin.snapshot) if t.port == BULK_PORT and ":" not in t.address]
    for client in clients:
        for vip in vips:
            yield f"{client.name} -> {vip.service}", client, vip.address, False
        for host in twin.world.hosts:
            own = [a.partition("/")[0] for a in host.addresses if ":" not in a]
            if own and host.kind not in ("Node", _OUTSIDE) and host.vpc == client.vpc:
                yield f"{client.name} -> {host.name}", client, own[0], True


def _shape(program: Program) -> tuple[object, ...]:
    return tuple(
        (v.entry, v.exit, v.entry_kind, v.exit_kind, len(v.passes), v.count(Op.CT), _headers(v), v.count(Op.DP_HASH))
        for v in program.visits
    )


def _headers(visit: Visit) -> int:
    return visit.count(Op.TUNNEL_PUSH) + visit.count(Op.TUNNEL_POP)


def _through_fabric(program: Program) -> Program:
    """In the lab the outside is a host behind one more switch, whose work counts like any other's."""
    first, *_ = program.visits
    last = program.visits[-1]
    visits = list(program.visits)
    if first.entry_kind == _OUTSIDE:
        visits[0] = replace(first, entry=Entry.PHYSICAL, entry_kind="")
        visits.insert(0, _fabric(Entry.PORT, "physical network", _OUTSIDE_HOST, ""))
    if last.exit_kind == _OUTSIDE:
        visits[-1] = replace(visits[-1], exit="physical network", exit_kind="")
        visits.append(_fabric(Entry.PHYSICAL, "port", "", _OUTSIDE_HOST))
    return replace(program, visits=tuple(visits))


_OUTSIDE_HOST: Final = "BareMetal"
"""A host on a port, to the cost model: for one outside it counts no stack."""


def _fabric(entry: Entry, leaving: str, entry_kind: str, exit_kind: str) -> Visit:
    one = Pass((Operation(Op.LOOKUP), Operation(Op.OUTPUT)))
    return Visit(FABRIC, entry, leaving, entry_kind, exit_kind, (one,))
