"""Compares the twin's passes through the datapath with those that packets really took in a running lab.

For every delivered cell of the matrix and every backend: all datapath flows and connections are forgotten, one connection is
made, and the flows that it left on each chassis are read and followed from recirc_id 0 to the output. The number of
recirculations and of conntrack look-ups must be the twin's, for the first packet, the reply and the second packet; so must be
what each pass does, and no flow may match a bit of conntrack's that the twin's program does not say was examined. Where the twin
says that a datapath drops a packet for too many of them, the connection must stay unanswered and that chassis count the drop.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from math import ceil, log
from typing import Any

from deployer.lab import Lab, LabError
from deployer.lab.chassis import INTEGRATION
from deployer.wire.dpflows import Chain, DatapathFlow, Kind, Trail, Tuple5, port_of_client, read_flows, trails
from deployer.wire.megaflows import MegaflowComparison, compare_megaflows
from deployer.wire.question import ANSWER, Outcome
from deployer.wire.traffic import Traffic, why_not
from ytwin.core.tables import format_table
from ytwin.datapath import LIMITS, Entry, Overrun, Stay, limited, overruns, programs, stays
from ytwin.datapath.program import Direction, Phase, Visit
from ytwin.logical.addresses import endpoint
from ytwin.pipeline import Twin
from ytwin.trace import Tracer
from ytwin.trace.conversation import CLIENT_PORT
from ytwin.trace.types import Conversation, Host, Packet, Path, Verdict
from ytwin.verify.expect import Target
from ytwin.verify.matrix import representatives, service_questions

Progress = Callable[[int, int], None]
DROP_COUNTER = "datapath_drop_recirc_error"
_ANSWER_S = 8.0
_SILENCE_S = 1.5
_PRIMER_S = 0.1
_PORTS = ("tp_src", "tcp_src", "udp_src", "sctp_src")
_PATIENCE = 3
"""Connections without an answer after which a cell that should answer is given up."""
_MISS = 1e-6
"""Probability with which a backend may stay unmeasured because no connection met it."""
_AFFINITY_TABLE = 78
"""OpenFlow table in which ovn-controller 23.03 lets affinities be learned: OFTABLE_CHK_LB_AFFINITY."""
_SETTLE, _SETTLE_S = 100, 0.01


@dataclass(frozen=True, slots=True)
class Comparison:
    """One stay of one walk: the twin's numbers, and the wire's (several if flows leave a choice, none if they end nowhere)."""

    cell: str
    backend: str
    walk: str
    chassis: str
    twin: tuple[int, int]
    """(recirculations, conntrack look-ups)."""
    wire: tuple[tuple[int, int], ...]

    @property
    def equal(self) -> bool:
        """Whether the wire leaves no doubt and says the same."""
        return self.wire == (self.twin,)


@dataclass(frozen=True, slots=True)
class PredictedDrop:
    """A path that the twin says a datapath drops."""

    cell: str
    chassis: str
    reason: str
    dropped: bool
    """No answer, and the chassis counted a packet that was recirculated too often."""


@dataclass(frozen=True)
class PassesReport:
    """The whole comparison."""

    comparisons: tuple[Comparison, ...]
    drops: tuple[PredictedDrop, ...]
    unmeasured: tuple[str, ...] = ()
    """Cells or backends that could not be measured, and why."""
    seconds: float = 0.0
    megaflows: tuple[MegaflowComparison, ...] = ()
    """Pass by pass, where the stays are equal."""

    @property
    def surprises(self) -> tuple[MegaflowComparison, ...]:
        """Passes whose flow matches what was not predicted, or does something else."""
        return tuple(m for m in self.megaflows if not m.holds)

    @property
    def differences(self) -> tuple[Comparison, ...]:
        """Where the wire says otherwise."""
        return tuple(c for c in self.comparisons if not c.equal)

    @property
    def holds(self) -> bool:
        """Everything measured is equal, and what should be dropped is."""
        return not self.differences and not self.surprises and all(d.dropped for d in self.drops)

    def to_json(self) -> dict[str, Any]:
        """`{"holds", "seconds", "comparisons": [...], "drops": [...], "unmeasured": [...], "megaflows": {...}}`.

        megaflows: {passes, matched, unpredicted, absent, headers, headers_unpredicted, headers_absent: {field: passes},
        surprises: [...]}.
        """
        return {
            "holds": self.holds,
            "seconds": self.seconds,
            "comparisons": [{**asdict(c), "equal": c.equal} for c in self.comparisons],
            "drops": [asdict(d) for d in self.drops],
            "unmeasured": list(self.unmeasured),
            "megaflows": {
                "passes": len(self.megaflows),
                **{name: _count(self.megaflows, name) for name in _COUNTED},
                "surprises": [asdict(m) for m in self.surprises],
            },
        }

    def __str__(self) -> str:
        parts = []
        if self.differences:
            rows = [(c.cell, c.backend, c.walk, c.chassis, c.twin, c.wire) for c in self.differences]
            parts.append(format_table(("cell", "backend", "walk", "chassis", "twin", "wire"), rows))
        if self.surprises:
            found = [(m.cell, m.walk, m.chassis, m.number, m.unpredicted, m.twin, m.wire) for m in self.surprises]
            header = ("cell", "walk", "chassis", "pass", "not predicted", "twin does", "wire does")
            parts.append(format_table(header, sorted(set(found))))
        parts += [
            f"{d.cell}: {'dropped' if d.dropped else 'NOT dropped'} on {d.chassis}: {d.reason}" for d in self.drops
        ]
        parts += [f"not measured: {text}" for text in self.unmeasured]
        cells = len({c.cell for c in self.comparisons})
        longest = max((c.twin[0] for c in self.comparisons), default=0)
        parts.append(
            f"{cells} delivered cells, {len(self.comparisons)} stays on a chassis compared, {len(self.differences)} differ; "
            f"at most {longest} recirculations; {len(self.drops)} drops predicted, "
            f"{sum(d.dropped for d in self.drops)} seen; {self.seconds:.0f} s"
        )
        parts += self._megaflow_lines()
        return "\n".join(parts)

    def _megaflow_lines(self) -> list[str]:
        other = sum(m.twin != m.wire for m in self.megaflows)
        lines = [f"{len(self.megaflows)} passes, {other} do something else"]
        for what, names in (("conntrack", _COUNTED[:3]), ("header", _COUNTED[3:])):
            hit, surprising, absent = (_count(self.megaflows, name) for name in names)
            lines.append(
                f"{what} fields matched: {hit.total()} as predicted, {surprising.total()} not predicted{_listed(surprising)}; "
                f"{absent.total()} predicted and not matched{_listed(absent)}"
            )
        return lines


_COUNTED = ("matched", "unpredicted", "absent", "headers", "headers_unpredicted", "headers_absent")


def _count(megaflows: Iterable[MegaflowComparison], name: str) -> Counter[str]:
    return Counter(field for each in megaflows for field in getattr(each, name))


def _listed(counts: Counter[str]) -> str:
    return f" ({', '.join(f'{name} {count}' for name, count in counts.most_common())})" if counts else ""


def compare_passes(lab: Lab, twin: Twin, progress: Progress | None = None) -> PassesReport:
    """Measure every cell that flows deliver. The lab must carry `twin`, be ready, and be used by nobody else meanwhile."""
    return asyncio.run(_Measurement(lab, twin).run(progress))


@dataclass
class _Cell:
    client: Host
    target: Target
    traced: Conversation
    drops: tuple[Overrun, ...]
    open: dict[str, list[Path]] = field(default_factory=dict)
    """Backends still to be measured: name -> its paths."""

    @property
    def name(self) -> str:
        at = endpoint(self.target.address, self.target.port)
        return f"{self.client.name} -> {self.target.service} {at}/{self.target.protocol}"

    @property
    def sticky(self) -> bool:
        """Whether the client keeps its backend: every hop that asks for an affinity belongs to a VIP with affinity."""
        return any("chk_lb_aff()" in text for text in self._actions)

    @property
    def _actions(self) -> set[str]:
        hops = (hop for path in self.traced.paths for hop in path.forward.hops)
        return {hop.flow.actions for hop in hops if hop.flow is not None}

    @property
    def keeps(self) -> bool:
        """Whether all of the client's connections go to one backend, because the load balancer hashes no port of its."""
        fields = re.findall(r'hash_fields="([^"]*)"', " ".join(self._actions))
        return bool(fields) and not any(field in _PORTS for text in fields for field in text.split(","))

    @property
    def tries(self) -> int:
        """Connections after which a backend is still unmeet with probability _MISS at most."""
        count = len(self.traced.paths)
        return 3 if count < 2 else ceil(log(_MISS / count) / log(1 - 1 / count))


class _Measurement:
    def __init__(self, lab: Lab, twin: Twin) -> None:
        self.lab = lab
        self.twin = twin
        self.limits = dict.fromkeys(twin.world.chassis, LIMITS[lab.datapath])
        self.chassis = {name: lab.chassis(name) for name in twin.world.chassis}
        pids = {host.name: lab.host(host.name).pid for host in twin.world.hosts}
        self.hosts = pids.keys()
        self.traffic = Traffic(pids.__getitem__)
        self.comparisons: list[Comparison] = []
        self.megaflows: list[MegaflowComparison] = []
        self.drops: list[PredictedDrop] = []
        self.unmeasured: list[str] = []

    def cells(self) -> Iterator[_Cell]:
        """Questions whose flows deliver on every path, as long as the datapath lets them."""
        tracer = Tracer(self.twin.world)
        for client, target in service_questions(self.twin.snapshot, representatives(self.twin.world.hosts)):
            traced = tracer.converse(client, target.address, target.port, target.protocol)
            if traced.verdict is not Verdict.DELIVERED or not traced.paths:
                continue
            cell = _Cell(client, target, traced, tuple(overruns(traced, self.limits)))
            for path, real in zip(traced.paths, limited(traced, self.limits).paths, strict=True):
                if real.verdict is Verdict.DELIVERED:
                    cell.open.setdefault(path.backend, []).append(path)
            yield cell

    async def run(self, progress: Progress | None) -> PassesReport:
        begin = time.monotonic()
        listed = list(self.cells())
        ports = {
            (c.target.protocol, int(p.address.rpartition(":")[2])) for c in listed for p in c.traced.paths if p.address
        }
        self.traffic.serve(self.hosts, ports)
        again: list[_Cell] = []
        try:
            for number, cell in enumerate(listed, 1):
                reason = why_not(cell.target.protocol)
                if reason:
                    self.unmeasured.append(f"{cell.name}: {reason}")
                elif not await self.measure(cell):
                    again.append(cell)
                if progress is not None:
                    progress(number, len(listed))
            for cell in again:  # what stayed silent while a lab was young or the machine busy may answer now
                if not await self.measure(cell):
                    self.unmeasured += [f"{cell.name}: {backend} never answered" for backend in cell.open]
        finally:
            await self.traffic.close()
        report = (tuple(self.comparisons), tuple(self.drops), tuple(self.unmeasured))
        return PassesReport(*report, time.monotonic() - begin, tuple(self.megaflows))

    async def measure(self, cell: _Cell) -> bool:
        """Connect until every backend was met; whether that came about. A cell with predicted drops is measured once."""
        await self.call(cell, _PRIMER_S if cell.sticky else 0.0)  # neighbours learn of each other
        undropped = {overrun.stay.chassis: overrun for overrun in cell.drops}
        silent = 0
        for _ in range(cell.tries):
            await self.forget(cell)
            before = {name: self.dropped(name) for name in undropped}
            outcome = await self.call(cell)
            if outcome.kind == ANSWER:
                paths = cell.open.pop(outcome.backend, [])
                self.comparisons += self.compare(cell, paths)
            for name in list(undropped):
                if outcome.kind != ANSWER and self.dropped(name) > before[name]:
                    self.drops.append(PredictedDrop(cell.name, name, undropped.pop(name).why, True))
            if not undropped and (not cell.open or (cell.keeps and outcome.kind == ANSWER)):
                return True
            silent += outcome.kind != ANSWER
            if silent == _PATIENCE and not cell.drops:
                break
        self.drops += [PredictedDrop(cell.name, name, o.why, False) for name, o in undropped.items()]
        if cell.drops:
            self.unmeasured += [f"{cell.name}: {backend} never answered" for backend in cell.open]
        return bool(cell.drops)

    async def call(self, cell: _Cell, wait_s: float = 0.0) -> Outcome:
        target = cell.target
        wait_s = wait_s or (_SILENCE_S if cell.drops else _ANSWER_S)
        return await self.traffic.call(cell.client.name, target.address, target.port, target.protocol, wait_s)

    async def forget(self, cell: _Cell) -> None:
        """Let every chassis forget connections, affinities and datapath flows, until nothing comes after.

        Where a client keeps its backend, a first connection teaches which: OVN 23.03 drops the packet that teaches, so that one
        is never answered on the userspace datapath, where retransmissions take the translation of the first.
        """
        if cell.sticky:
            for chassis in self.chassis.values():
                bridge = f"unix:{chassis.directory}/{INTEGRATION}.mgmt"
                chassis.run("ovs-ofctl", "del-flows", bridge, f"table={_AFFINITY_TABLE}")
            await self.call(cell, _PRIMER_S)
        for _ in range(_SETTLE):  # the reset that ended the last connection may still be on its way
            for chassis in self.chassis.values():
                chassis.control("dpctl/flush-conntrack")
                chassis.control("revalidator/purge")
            await asyncio.sleep(_SETTLE_S)
            if not any(self.flows().values()):
                return
        raise LabError("the lab is not quiet: packets of TCP, UDP or SCTP pass though nobody asks")

    def flows(self) -> dict[str, tuple[DatapathFlow, ...]]:
        """What every chassis's datapath has for TCP, UDP and SCTP packets of the logical network."""
        return {
            name: tuple(
                f for f in read_flows(c.control("dpctl/dump-flows", "-m", "--names")) if "tnl_pop" not in f.actions
            )
            for name, c in self.chassis.items()
        }

    def dropped(self, chassis: str) -> int:
        """Packets that the chassis dropped because they were recirculated too often."""
        return int(self.chassis[chassis].control("coverage/read-counter", DROP_COUNTER))

    def compare(self, cell: _Cell, paths: list[Path]) -> Iterator[Comparison]:
        """Hold the flows that the last connection left against what the twin says of its paths to that backend."""
        flows = self.flows()
        for path in paths[:1]:
            called = _tuple(path.forward.sent, 0)
            port = port_of_client(flows[stays(path.forward)[0].chassis], called)
            visits = self.visits(cell.traced, path)
            for kind, walk in ((Kind.FIRST, path.forward), (Kind.REPLY, path.reply), (Kind.SECOND, path.second)):
                for number, stay in enumerate(stays(walk) if walk is not None else ()):
                    tunnel = stay.entry is Entry.TUNNEL
                    found = trails(flows[stay.chassis], _tuple(stay.packet, port), kind, from_tunnel=tunnel)
                    where = (cell.name, path.backend, kind.name.lower(), stay.chassis)
                    compared = Comparison(*where, _numbers(stay), _distinct(chain for chain, _ in found))
                    yield compared
                    if compared.equal:
                        self.hold_passes(where, visits[kind][number], found)

    def visits(self, traced: Conversation, path: Path) -> dict[Kind, tuple[Visit, ...]]:
        """What the twin says that the path's chassis do."""
        kinds = {
            (Phase.FIRST, Direction.FORWARD): Kind.FIRST,
            (Phase.ESTABLISHED, Direction.REPLY): Kind.REPLY,
            (Phase.ESTABLISHED, Direction.FORWARD): Kind.SECOND,
        }
        found: dict[Kind, tuple[Visit, ...]] = {}
        for program in programs(traced, self.twin.world):
            kind = kinds.get((program.phase, program.direction))
            if kind is not None and (program.backend, program.address) == (path.backend, path.address):
                found.setdefault(kind, program.visits)
        return found

    def hold_passes(self, where: tuple[str, str, str, str], visit: Visit, found: tuple[Trail, ...]) -> None:
        """Every trail that leaves as the twin says; all of them, if flows leave a choice."""
        for _, passed in found:
            self.megaflows += compare_megaflows(where, visit.passes, passed)


def _numbers(stay: Stay) -> tuple[int, int]:
    return len(stay.recirculations), stay.lookups


def _distinct(found: Iterable[Chain]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({(chain.recirculations, chain.lookups) for chain in found}))


def _tuple(packet: Packet, client_port: int) -> Tuple5:
    """The client's port is the kernel's choice, not the twin's."""
    ports = [client_port if port == CLIENT_PORT else port for port in (packet.src_port, packet.dst_port)]
    return Tuple5(packet.protocol, packet.ip_src, ports[0], packet.ip_dst, ports[1])
