"""What one packet or one request of a load asks of the resources of a case's paths, with the tables in the state that goes with
the rate of new connections."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Final

from frozendict import frozendict

from ytwin.core.units import PS_PER_S, bad
from ytwin.datapath.program import Direction, Op, Phase
from ytwin.performance.bare import PROXY
from ytwin.performance.choice import Case, path_key
from ytwin.performance.cost import SMALLEST_FRAME_BYTES, blend, own_flow
from ytwin.performance.tables import TableState, software_notes, table_state
from ytwin.performance.types import Demand, PathCost
from ytwin.sim.workloads import (
    IPV4_TCP_BYTES,
    IPV6_TCP_BYTES,
    BulkTcp,
    ConnectRequestResponse,
    OpenRequests,
    PacketRate,
    RequestResponse,
    mss_bytes,
)

Load = BulkTcp | PacketRate | RequestResponse | ConnectRequestResponse | OpenRequests

FCS_BYTES: Final = 4
ETHERNET_HEADER_BYTES: Final = 14
Part = tuple[float | Mapping[str, float], PathCost]
Ways = tuple[float, tuple[PathCost, ...]]
"""A share of all jobs, and the ways that each of them waits for, one after another."""


@dataclass(frozen=True)
class Job:
    """What one packet or one request asks, at one state of the tables."""

    parts: tuple[Part, ...]
    """Kinds of jobs with their shares: those of an open load, for the variation of work."""
    total: PathCost
    forward: PathCost
    reply: PathCost | None
    round_trips: float
    """Latencies of forward and reply that the job waits for."""


def inner_mtu_bytes(case: Case, load: BulkTcp) -> int:
    """What the sender's interface may send: as much as the path takes (the underlay's MTU less what a tunnel adds, and what the
    Subnets say), unless the load says less."""
    said = math.inf if load.mtu_bytes is None else load.mtu_bytes - load.encapsulation_bytes
    return int(min(said, case.mtu_bytes))


def frame_bytes(case: Case, load: Load) -> tuple[float, float]:
    """(bytes of a frame without check sequence, how many frames make up a packet or request), of paths that are alike.

    Packets are as long as their load says, check sequence included, as generators count; requests are payload over TCP.
    """
    if isinstance(load, BulkTcp):
        return inner_mtu_bytes(case, load) + ETHERNET_HEADER_BYTES, 1.0
    if isinstance(load, PacketRate):
        return max(load.size_bytes - FCS_BYTES, SMALLEST_FRAME_BYTES), 1.0
    headers = IPV6_TCP_BYTES if case.ipv6 else IPV4_TCP_BYTES
    most, size = mss_bytes(int(case.mtu_bytes), 0, case.ipv6), load.size_bytes.mean
    frames = max(1, math.ceil(size / most))
    return size / frames + headers + ETHERNET_HEADER_BYTES, float(frames)


def payload_bits(case: Case, load: BulkTcp) -> float:
    """Of a full segment, of paths that are alike."""
    return 8.0 * mss_bytes(inner_mtu_bytes(case, load), 0, load.ipv6 or case.ipv6)


def connections(load: Load) -> int:
    """How many there are at a time."""
    match load:
        case BulkTcp():
            return load.streams
        case PacketRate():
            return load.flows
        case RequestResponse() | ConnectRequestResponse():
            return load.clients
        case OpenRequests():
            return load.connections


def per_connection(load: Load) -> float:
    """Jobs of a connection; endless where it stays."""
    match load:
        case BulkTcp():
            given = None
        case PacketRate():
            given = load.jobs_per_flow
        case RequestResponse() | OpenRequests():
            given = load.requests_per_connection
        case ConnectRequestResponse():
            given = load.requests
    return math.inf if given is None else given


def closed_part(case: Case, load: Load) -> float:
    """Of the connections that end: those that do so with a FIN, which packets of a generator do not."""
    return 0.0 if isinstance(load, BulkTcp | PacketRate) else case.part(Phase.CLOSE, Direction.FORWARD)


def request_part(load: Load, frames: float) -> float:
    """What a packet of the load is of a request and its answer: 0 where there are no requests."""
    return 0.0 if isinstance(load, BulkTcp | PacketRate) else 0.5 / frames


@dataclass(frozen=True)
class Loaded:
    """A case under a load."""

    case: Case
    load: Load
    connections: int
    jobs_per_connection: float
    """Endless where connections stay."""

    @classmethod
    def of(cls, case: Case, load: Load) -> Loaded:
        """With as many connections as the load says."""
        return cls(case, load, connections(load), per_connection(load))

    def __post_init__(self) -> None:
        if isinstance(self.load, BulkTcp):
            others = {p.protocol for p in self.case.of(Phase.ESTABLISHED, Direction.FORWARD)} - {"tcp"}
            for protocol in sorted(others):
                hint = "choose a TCP port, or a load of kind packets or open"
                raise bad("load", "protocol", f"bulk is TCP's streams, but the path is {protocol.upper()}", hint)

    def states(self, jobs_per_s: float) -> dict[str, TableState]:
        new = 0.0 if math.isinf(self.jobs_per_connection) else jobs_per_s / self.jobs_per_connection
        closed = closed_part(self.case, self.load)
        found = {}
        for chassis, part in self.case.connections_on_cards.items():
            chip = self.case.cards[chassis].eswitch
            assert chip is not None
            found[chassis] = table_state(chip, self.connections * part, new * part, closed)
        return found

    def _packets(self, direction: Direction, states: Mapping[str, TableState]) -> list[Part]:
        """Established packets: those of connections in the cards' tables, and the others."""
        card = self._established(direction, states)
        if all(s.share == 1 for s in states.values()):
            return [(1.0, card)]
        return _held(card, self._established(direction, states, software=True), states)

    def _established(self, direction: Direction, states: Mapping[str, TableState], software: bool = False) -> PathCost:
        frame, frames = frame_bytes(self.case, self.load)
        cost = self.case.cost(
            Phase.ESTABLISHED,
            direction,
            frame,
            bulk=isinstance(self.load, BulkTcp),
            request=request_part(self.load, frames),
            flows=self.connections,
            entries={c: s.entries for c, s in states.items()},
            software=software,
        )
        return several(cost, frames)

    def _other(self, phase: Phase, direction: Direction, states: Mapping[str, TableState]) -> PathCost:
        frame, _ = frame_bytes(self.case, self.load)
        size = frame if isinstance(self.load, PacketRate | BulkTcp) else SMALLEST_FRAME_BYTES
        entries = {c: s.entries for c, s in states.items()}
        return self.case.cost(phase, direction, size, flows=self.connections, entries=entries)

    def alike(self) -> list[tuple[float, Loaded]]:
        """(share of the load, paths) whose packets are alike; what tables hold is of all paths together (`states`)."""
        return [(share, self if case is self.case else replace(self, case=case)) for share, case in self.case.alike]

    def one_way(self, jobs_per_s: float) -> Job:
        """A packet of the forward direction; one in `jobs_per_connection` is a first one."""
        states = self.states(jobs_per_s)
        return mean_job([(share, one._packet(states)) for share, one in self.alike()])

    def _packet(self, states: Mapping[str, TableState]) -> Job:
        later = self._packets(Direction.FORWARD, states)
        first = 1 / self.jobs_per_connection
        parts = [(_scaled(w, 1 - first), cost) for w, cost in later]
        if first:
            parts.append((first, self._other(Phase.FIRST, Direction.FORWARD, states)))
        mean = blend(parts)
        return Job(tuple(parts), mean, mean, None, 1.0)

    def there_and_back(self, jobs_per_s: float) -> Job:
        """A request and its answer. A new connection's handshake comes before (TCP, SCTP), and its end costs work that nobody
        waits for; of UDP the first request and its answer are the first packets. Unlike paths: their mean."""
        states = self.states(jobs_per_s)
        return mean_job([(share, one._exchange(states)) for share, one in self.alike()])

    def _exchange(self, states: Mapping[str, TableState]) -> Job:
        first, greeted = 1 / self.jobs_per_connection, self.case.handshake
        ways = [self._packets(direction, states) for direction in Direction]
        if first:
            begin = self._first_exchange(states)
            ways = [
                [*((_scaled(w, 1 - first), cost) for w, cost in way), (first, one)]
                for way, one in zip(ways, begin, strict=True)
            ]
        forward, reply = ways
        parts = [*forward, *reply]
        if first and greeted:
            parts += [(first, cost) for cost in self._greeting(states)]
        waited = blend(parts)
        closing = [
            (first * self.case.part(Phase.CLOSE, d), self._other(Phase.CLOSE, d, states))
            for d in Direction
            if first and self.case.has(Phase.CLOSE, d)
        ]
        if closing:
            work = blend([(1.0, waited), *closing])
            waited = replace(waited, demands=work.demands, software_passes=work.software_passes)
        return Job(tuple(parts), waited, blend(forward), blend(reply), 1 + first * greeted)

    def ways(self, jobs_per_s: float) -> list[Ways]:
        """What jobs wait for, with shares that come to 1: of each path those whose connection the cards have, or only some of
        them, or none, and those that begin one. A single connection that stays has one path, of which nothing is known: the
        mean one."""
        states = self.states(jobs_per_s)
        if self.connections == 1 and math.isinf(self.jobs_per_connection):
            one_way = isinstance(self.load, PacketRate)
            job = self.one_way(jobs_per_s) if one_way else self.there_and_back(jobs_per_s)
            return [(1.0, (job.forward,) if job.reply is None else (job.forward, job.reply))]
        total = sum(count for _, count in self.case.paths)
        return [
            (share * count / total, ways)
            for case, count in self.case.paths
            for share, ways in replace(self, case=case)._ways(states)
        ]

    def _ways(self, states: Mapping[str, TableState]) -> Iterator[Ways]:
        """Of one path."""
        first, one_way = 1 / self.jobs_per_connection, isinstance(self.load, PacketRate)
        if first and one_way:
            yield first, (self._other(Phase.FIRST, Direction.FORWARD, states),)
        elif first:
            greeting = self._greeting(states) if self.case.handshake else ()
            yield first, (*greeting, *self._first_exchange(states))
        later = [self._packets(d, states) for d in ([Direction.FORWARD] if one_way else Direction)]
        held = [parts[0][0] for parts in later]
        shares = {share for one in held if isinstance(one, Mapping) for share in one.values()}
        # Who is in the smaller table is taken to be in the larger one too.
        for low, high in pairwise(sorted({0.0, 1.0, *shares})) if first < 1 else ():
            yield (1 - first) * (high - low), tuple(_where(parts, low) for parts in later)

    def _greeting(self, states: Mapping[str, TableState]) -> tuple[PathCost, ...]:
        return tuple(self._other(Phase.FIRST, direction, states) for direction in Direction)

    def _first_exchange(self, states: Mapping[str, TableState]) -> tuple[PathCost, PathCost]:
        """A connection's first request and its answer.

        Behind a handshake a first request follows at once (clients think before they connect), and goes through software. It
        has the connection put into the cards (as engines have it: one connection after another, at the rate of the slower of
        putting rules in and taking them out), and its answer, a way back later, goes through software as far as that takes
        longer.
        """
        there, back = Direction
        if not self.case.handshake:
            return self._beginning(there, states), self._beginning(back, states)
        if not self.case.first_in_software:
            return blend(self._packets(there, states)), blend(self._packets(back, states))
        card, soft = ([self._established(d, states, software=s) for d in Direction] for s in (False, True))
        answered = answered_in_software(self.case, card, soft)
        request, answer = (blend(_held(card[i], soft[i], states, part)) for i, part in enumerate((1.0, answered)))
        return request, answer

    def _beginning(self, direction: Direction, states: Mapping[str, TableState]) -> PathCost:
        """A request, or its answer, that begins a connection: its first frame is the connection's first packet, others come
        behind it before the cards have the connection."""
        frame, frames = frame_bytes(self.case, self.load)
        cost = partial(
            self.case.cost,
            direction=direction,
            frame_bytes=frame,
            request=request_part(self.load, frames),
            flows=self.connections,
            entries={c: s.entries for c, s in states.items()},
        )
        first = cost(Phase.FIRST)
        return behind(first, cost(Phase.ESTABLISHED, software=True), frames) if frames > 1 else first

    def notes(self, jobs_per_s: float) -> tuple[str, ...]:
        """Packets that are too large, tables that are too small, rules that come too late."""
        found = []
        most = self.case.mtu_bytes + ETHERNET_HEADER_BYTES + FCS_BYTES
        if isinstance(self.load, PacketRate) and self.load.size_bytes > most:
            found.append(
                f"packets of {self.load.size_bytes} B are counted whole, but a frame on this path has {most:.0f} B at most "
                "(encapsulation.underlay_mtu less what a tunnel adds, or its Subnets' mtu): they would be fragmented, or dropped"
            )
        for chassis, state in sorted(self.states(jobs_per_s).items()):
            if state.why:
                found.append(f"{chassis}: {1 - state.share:.1%} of its connections stay in software: {state.why}")
        found += self._aged(jobs_per_s)
        new = 0.0 if math.isinf(self.jobs_per_connection) else jobs_per_s / self.jobs_per_connection
        entries = self._conntrack_entries()
        for chassis, flows in sorted(self._flows().items()):
            slow, places = self.case.cards[chassis].slow_path, self.connections * entries.get(chassis, 0.0)
            found += [f"{chassis}: {note}" for note in software_notes(slow, places, new, flows)]
        return tuple(found)

    def _aged(self, jobs_per_s: float) -> Iterator[str]:
        """Cards that forget a connection between two of its packets; what follows from that is not counted."""
        pause_s = self.connections / jobs_per_s if jobs_per_s > 0 else 0.0
        for chassis in sorted(self.case.connections_on_cards):
            chip = self.case.cards[chassis].eswitch
            if chip is not None and pause_s > chip.ageing.value / PS_PER_S:
                yield (
                    f"{chassis}: a connection is used every {pause_s:.3g} s, and its rules go after "
                    f"{chip.ageing.value / PS_PER_S:.3g} s without a packet: each time it is a first packet, in software, and "
                    "it holds no place in the tables in between; the numbers here count it as offloaded, if there is a place"
                )

    def _conntrack_entries(self) -> dict[str, float]:
        """Chassis -> entries of the mean connection there: one per zone that it is committed in by its first packet or the
        answer to that (kube-proxy's node: one)."""
        first = self.case.programs.get((Phase.FIRST, Direction.FORWARD), ())
        answers = {(path_key(p)[:4], p.address): p for p in self.case.programs.get((Phase.FIRST, Direction.REPLY), ())}
        found: dict[str, float] = {}
        times = Counter(map(id, first))
        for program in {id(p): p for p in first}.values():
            both = (program, answers.get((path_key(program)[:4], program.address)))
            zones = {
                (visit.chassis, op.detail)
                for one in both
                if one is not None
                for visit in one.visits
                for op in visit.operations
                if op.op is Op.CT_COMMIT or op.detail == PROXY
            }
            for chassis, _ in zones:
                found[chassis] = found.get(chassis, 0.0) + times[id(program)] / len(first)
        return found

    def _flows(self) -> dict[str, float]:
        """Chassis with OVS -> datapath flows that each new connection puts in for itself."""
        found: dict[str, float] = {}
        for direction in Direction:
            programs = self.case.programs.get((Phase.FIRST, direction), ())
            for program in programs:
                for visit in program.visits:
                    if visit.count(Op.LOOKUP):
                        own = [p for p in visit.passes if own_flow(p, direction)]
                        flows = sum(o.op is Op.INSTALL for p in own for o in p.operations)
                        found[visit.chassis] = found.get(visit.chassis, 0.0) + flows / len(programs)
        return found


def _held(card: PathCost, software: PathCost, states: Mapping[str, TableState], early: float = 0.0) -> list[Part]:
    """Packets of connections that the cards have, and others; `early`: so many come before any card can have theirs."""
    chassis = card.offloaded.keys() | software.offloaded.keys()
    held = {c: (1 - early) * (states[c].share if c in states else 1.0) for c in chassis}
    return [(held, card), ({c: 1 - share for c, share in held.items()}, software)]


def _where(parts: Sequence[Part], above: float) -> PathCost:
    """A packet whose connection is on the chassis that have a larger part of all than `above`."""
    (held, card), *others = parts
    if not others or not isinstance(held, Mapping):
        return card
    inside = {c: float(share > above) for c, share in held.items()}
    return blend([(inside, card), ({c: 1 - there for c, there in inside.items()}, others[0][1])])


def _scaled(weight: float | Mapping[str, float], factor: float) -> float | Mapping[str, float]:
    return {c: w * factor for c, w in weight.items()} if isinstance(weight, Mapping) else weight * factor


def answered_in_software(case: Case, card: Sequence[PathCost], soft: Sequence[PathCost]) -> float:
    """Part of the first answers behind a handshake that come before cards have the connection (`Loaded._first_exchange`). `card`,
    `soft`: a request and an answer where cards have it, and where none takes anything over."""
    later = [s.latency_ps - c.latency_ps for s, c in zip(soft, card, strict=True)]
    inserting_ps = max((_inserting_ps(case, c) for c in case.offloading() if c in card[0].offloaded), default=0.0)
    lacks_ps = inserting_ps - later[0] - card[1].latency_ps
    return min(1.0, max(0.0, lacks_ps / later[1])) if later[1] > 0 else 0.0


def _inserting_ps(case: Case, chassis: str) -> float:
    """How long its card takes for the rules of a connection."""
    chip = case.cards[chassis].eswitch
    assert chip is not None
    return PS_PER_S * chip.rules_per_connection.value / min(chip.insertion_rate.value, chip.deletion_rate.value)


def several(cost: PathCost, frames: float) -> PathCost:
    """So many frames one behind the other: all the work; the last one waits for the others at the narrowest resource."""
    if frames == 1:
        return cost
    more = tuple(replace(d, service_ps=d.service_ps * frames) for d in cost.demands)
    narrow = max(cost.demands, key=slowness)
    part = replace(cost.latency[0], stage=f"{frames:.0f} frames behind one another at {narrow.name}")
    part = replace(part, chassis=narrow.chassis, time_ps=(frames - 1) * slowness(narrow), rests_on=narrow.rests_on)
    passes = frozendict({c: n * frames for c, n in cost.software_passes.items()})
    return replace(cost, demands=more, latency=(*cost.latency, part), software_passes=passes)


def behind(first: PathCost, later: PathCost, frames: float) -> PathCost:
    """A packet, and other frames right behind it: the last one waits for them at the narrowest resource (`several`)."""
    others = several(later, frames - 1) if frames > 2 else later
    return blend([(1.0, first), (1.0, replace(others, latency=several(later, frames).latency[-1:]))])


def mean_job(jobs: Sequence[tuple[float, Job]]) -> Job:
    """Of jobs of several kinds, with their shares."""
    if len(jobs) == 1:
        return jobs[0][1]

    def mixed(costs: Iterable[PathCost | None]) -> PathCost:
        return blend([(part, cost) for (part, _), cost in zip(jobs, costs, strict=True) if cost is not None])

    return Job(
        tuple((_scaled(weight, part), cost) for part, job in jobs for weight, cost in job.parts),
        mixed(job.total for _, job in jobs),
        mixed(job.forward for _, job in jobs),
        mixed(job.reply for _, job in jobs) if jobs[0][1].reply is not None else None,
        sum(part * job.round_trips for part, job in jobs),
    )


def slowness(demand: Demand) -> float:
    """Time per job when all servers of a resource are busy."""
    return demand.service_ps / demand.servers
