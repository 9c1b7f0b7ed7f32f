"""The analytic engine: what a load gives on a path, by formulas of `sim.analytic`, in milliseconds.

- Throughput: the bottleneck law, for resources and for the hosts' cores (slow path, requests' instructions and copying
  together); min over resources of servers / work per packet. Bulk TCP is bounded by its streams (a core's copying each)
  and windows too. Acknowledgements are not counted: they come in the other direction, merged.
- Waits of open loads: each resource is a GI/G/c queue (Allen and Cunneen) with the gaps of the load; work is constant
  per kind of packet, so its variation is that of the mix. Above the limit the queue in front of it is full, if its
  length is known.
- Closed loads: mean value analysis with the resources as queueing stations and all other latency as delay. One client's
  round trip is exactly the sum of the parts. MVA's exponential services make waits of many clients too long: engines do not.
- Tables: the state that goes with the rate (`tables.table_state`), found as a root, because the rate depends on the state.
- Percentiles: constant parts, plus a log-normal distribution with mean and variance of the stacks' latency
  (host.latency_scv) and the waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

from frozendict import frozendict
from scipy.optimize import brentq

from ytwin.core.units import PS_PER_S
from ytwin.datapath.program import Direction, Op, Phase
from ytwin.performance.choice import Case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES, blend, own_flow
from ytwin.performance.cpu import busy_cores, instructions
from ytwin.performance.tables import TableState, software_notes, table_state
from ytwin.performance.types import Demand, Metric, PathCost, Share
from ytwin.sim.analytic import closed_bounds, closed_mva, erlang_c, ggc_wait
from ytwin.sim.distributions import Distribution
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
EXACT_CLIENTS: Final = 64
"""Up to so many clients MVA is exact for stations with several servers; beyond, they are taken apart (Seidmann 1987)."""
RATE_TOLERANCE: Final = 1e-9
MOST_CLIENTS: Final = 5000
"""Beyond, asymptotic bounds stand for MVA, which takes a step per client: so many clients meet the bottleneck or nobody."""
SATURATED: Final = 0.98
"""A resource of a closed load that is busier than this is its limit."""

Part = tuple[float | Mapping[str, float], PathCost]


@dataclass(frozen=True)
class Answer:
    """Values at one set of profile numbers."""

    values: Mapping[Metric, float]
    limit: str
    forward: PathCost
    reply: PathCost | None
    total: PathCost
    """All that a packet or request asks, with its share of its connection's opening and end."""
    utilisation: frozendict[str, float]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Job:
    """What one packet or one request asks, at one state of the tables."""

    parts: tuple[Part, ...]
    """Kinds of jobs with their shares: those of an open load, for the variation of work."""
    total: PathCost
    forward: PathCost
    reply: PathCost | None
    round_trips: float
    """Latencies of forward and reply that the job waits for."""


def answer(case: Case, load: Load) -> Answer:
    """Values, limit and utilisation of a load on the case's paths."""
    match load:
        case BulkTcp():
            return _bulk(case, load)
        case PacketRate():
            return _packets(case, load)
        case OpenRequests():
            return _open_requests(case, load)
        case _:
            return _closed(case, load)


def inner_mtu_bytes(case: Case, load: BulkTcp) -> int:
    """What the sender's interface may send: the load's MTU, less if a tunnel has to fit into the underlay's."""
    underlay = case.underlay_mtu_bytes - case.overhead_bytes
    return int(min(load.mtu_bytes - load.encapsulation_bytes, underlay))


def frame_bytes(case: Case, load: Load) -> tuple[float, float]:
    """(bytes of a frame without check sequence, how many frames make up a packet or request).

    Packets are as long as their load says, check sequence included, as generators count; requests are payload over TCP.
    """
    if isinstance(load, BulkTcp):
        return inner_mtu_bytes(case, load) + ETHERNET_HEADER_BYTES, 1.0
    if isinstance(load, PacketRate):
        return max(load.size_bytes - FCS_BYTES, SMALLEST_FRAME_BYTES), 1.0
    mtu = case.underlay_mtu_bytes - case.overhead_bytes
    headers = IPV6_TCP_BYTES if is_ipv6(case) else IPV4_TCP_BYTES
    most, size = mss_bytes(int(mtu), 0, is_ipv6(case)), load.size_bytes.mean
    frames = max(1, math.ceil(size / most))
    return size / frames + headers + ETHERNET_HEADER_BYTES, float(frames)


def request_part(load: Load, frames: float) -> float:
    """What a packet of the load is of a request and its answer: 0 where there are no requests."""
    return 0.0 if isinstance(load, BulkTcp | PacketRate) else 0.5 / frames


def is_ipv6(case: Case) -> bool:
    """Whether the paths are."""
    return case.of(Phase.ESTABLISHED, Direction.FORWARD)[0].destination.count(":") > 1


# --- what a job asks, at a rate of new connections --------------------------------------------------------------------


@dataclass(frozen=True)
class _Loaded:
    """A case under a load."""

    case: Case
    load: Load
    connections: int
    jobs_per_connection: float
    """Endless where connections stay."""

    def states(self, jobs_per_s: float) -> dict[str, TableState]:
        new = 0.0 if math.isinf(self.jobs_per_connection) else jobs_per_s / self.jobs_per_connection
        found = {}
        for chassis in self.case.offloading():
            chip = self.case.cards[chassis].eswitch
            assert chip is not None
            found[chassis] = table_state(chip, self.connections, new)
        return found

    def _packets(self, direction: Direction, states: Mapping[str, TableState]) -> list[Part]:
        """Established packets: those of connections in the cards' tables, and the others."""
        frame, frames = frame_bytes(self.case, self.load)
        entries = {c: s.entries for c, s in states.items()}
        bulk = isinstance(self.load, BulkTcp)

        def cost(software: bool) -> PathCost:
            return several(
                self.case.cost(
                    Phase.ESTABLISHED,
                    direction,
                    frame,
                    bulk=bulk,
                    request=request_part(self.load, frames),
                    flows=self.connections,
                    entries=entries,
                    software=software,
                ),
                frames,
            )

        if all(s.share == 1 for s in states.values()):
            return [(1.0, cost(False))]
        chassis = {v.chassis for p in self.case.of(Phase.ESTABLISHED, direction) for v in p.visits}
        held = {c: states[c].share if c in states else 1.0 for c in chassis}
        return [(held, cost(False)), ({c: 1 - share for c, share in held.items()}, cost(True))]

    def _other(self, phase: Phase, direction: Direction, states: Mapping[str, TableState]) -> PathCost:
        frame, _ = frame_bytes(self.case, self.load)
        size = frame if isinstance(self.load, PacketRate | BulkTcp) else SMALLEST_FRAME_BYTES
        entries = {c: s.entries for c, s in states.items()}
        return self.case.cost(phase, direction, size, flows=self.connections, entries=entries)

    def one_way(self, jobs_per_s: float) -> _Job:
        """A packet of the forward direction; one in `jobs_per_connection` is a first one."""
        states = self.states(jobs_per_s)
        later = self._packets(Direction.FORWARD, states)
        first = 1 / self.jobs_per_connection
        parts = [(_scaled(w, 1 - first), cost) for w, cost in later]
        if first:
            parts.append((first, self._other(Phase.FIRST, Direction.FORWARD, states)))
        mean = blend(parts)
        return _Job(tuple(parts), mean, mean, None, 1.0)

    def there_and_back(self, jobs_per_s: float) -> _Job:
        """A request and its answer. A new connection's handshake comes before (TCP), and its end costs work that nobody
        waits for."""
        states = self.states(jobs_per_s)
        forward = self._packets(Direction.FORWARD, states)
        reply = self._packets(Direction.REPLY, states)
        parts = [*forward, *reply]
        first = 1 / self.jobs_per_connection
        if first:
            for direction in Direction:
                parts.append((first, self._other(Phase.FIRST, direction, states)))
        waited = blend(parts)
        if first:
            ends = [d for d in Direction if self.case.has(Phase.CLOSE, d)]
            closing = [(first, self._other(Phase.CLOSE, d, states)) for d in ends]
            work = blend([(1.0, waited), *closing])
            waited = replace(waited, demands=work.demands, software_passes=work.software_passes)
        return _Job(tuple(parts), waited, blend(forward), blend(reply), 1 + first)

    def notes(self, jobs_per_s: float) -> tuple[str, ...]:
        """Tables that are too small, rules that come too late."""
        found = []
        for chassis, state in sorted(self.states(jobs_per_s).items()):
            if state.why:
                found.append(f"{chassis}: {1 - state.share:.1%} of the connections stay in software: {state.why}")
        new = 0.0 if math.isinf(self.jobs_per_connection) else jobs_per_s / self.jobs_per_connection
        for chassis, flows in sorted(self._flows().items()):
            slow = self.case.cards[chassis].slow_path
            found += [f"{chassis}: {note}" for note in software_notes(slow, self.connections, new, flows)]
        return tuple(found)

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


def _scaled(weight: float | Mapping[str, float], factor: float) -> float | Mapping[str, float]:
    return {c: w * factor for c, w in weight.items()} if isinstance(weight, Mapping) else weight * factor


def several(cost: PathCost, frames: float) -> PathCost:
    """So many frames one behind the other: all the work; the last one waits for the others at the narrowest resource."""
    if frames == 1:
        return cost
    more = tuple(replace(d, service_ps=d.service_ps * frames) for d in cost.demands)
    narrow = max(cost.demands, key=_slowness)
    part = replace(cost.latency[0], stage=f"{frames:.0f} frames behind one another at {narrow.name}")
    part = replace(part, chassis=narrow.chassis, time_ps=(frames - 1) * _slowness(narrow), rests_on=narrow.rests_on)
    passes = frozendict({c: n * frames for c, n in cost.software_passes.items()})
    return replace(cost, demands=more, latency=(*cost.latency, part), software_passes=passes)


# --- throughput --------------------------------------------------------------------------------------------------------------


def _slowness(demand: Demand) -> float:
    return demand.service_ps / demand.servers


def _carrying(cost: PathCost) -> Demand:
    """The resource that carries least. Rules that come too late are no limit: their connections stay in software."""
    return max((d for d in cost.demands if d.share is not Share.INSERTION), key=_slowness)


def _carries(cost: PathCost) -> tuple[float, str]:
    """(jobs per second, the resource that is the limit)."""
    limit = _carrying(cost)
    return PS_PER_S / _slowness(limit), limit.name


def _busy(cost: PathCost, jobs_per_s: float) -> frozendict[str, float]:
    return frozendict({d.name: min(1.0, jobs_per_s * _slowness(d) / PS_PER_S) for d in cost.demands})


def _highest(loaded: _Loaded, most: float, given: Callable[[float], float]) -> float:
    """The largest rate up to `most` with given(rate) >= rate, where what can be given falls, or stays, as the rate rises."""
    free = given(0.0)
    if math.isinf(loaded.jobs_per_connection) or not loaded.case.offloading():
        return min(most, free)
    high = min(most, free)
    if given(high) >= high * (1 - RATE_TOLERANCE):
        return high
    return float(brentq(lambda x: given(x) - x, 0.0, high, xtol=RATE_TOLERANCE * high, rtol=RATE_TOLERANCE))


# --- waits and percentiles --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Waits:
    mean_ps: float
    variance: float


def _variation(parts: tuple[Part, ...], resource: Demand) -> float:
    """Squared coefficient of variation of the work that a resource gets per job of a mix."""
    mean = square = 0.0
    for weight, cost in parts:
        share = weight.get(resource.chassis, 0.0) if isinstance(weight, Mapping) else weight
        for d in cost.demands:
            if (d.share, d.chassis) == (resource.share, resource.chassis):
                mean += share * d.service_ps
                square += share * d.service_ps**2
    return max(0.0, square / mean**2 - 1) if mean else 0.0


def _open_waits(case: Case, job: _Job, jobs_per_s: float, gap_scv: float, full: str) -> _Waits:
    """Sum over the resources, the queue of one of which may be full. A wait is 0 or about exponential: its variance
    follows from its mean and Erlang's C."""
    mean = variance = 0.0
    for d in job.total.demands:
        if d.share is Share.INSERTION:
            continue
        if d.name == full:
            chip, slow = case.cards[d.chassis].eswitch, case.cards[d.chassis].slow_path
            if d.share is Share.ESWITCH and chip is not None:
                mean += chip.queue.value * d.service_ps
            elif d.share is Share.SLOW_PATH:
                mean += slow.queue.value * _slowness(d)
            continue
        rate = min(jobs_per_s / PS_PER_S, 0.999 * d.servers / d.service_ps)
        wait = ggc_wait(rate, gap_scv, d.service_ps, _variation(job.parts, d), d.servers)
        waits = erlang_c(rate * d.service_ps, d.servers)
        mean += wait
        variance += wait**2 * (2 / waits - 1) if waits > 0 else 0.0
    return _Waits(mean, variance)


def _stacks(case: Case, cost: PathCost) -> tuple[float, float]:
    """(mean, variance) of the stacks' latency of one way; host.latency_scv is that of host.latency as a whole."""
    found = [
        (p.time_ps, case.cards[p.chassis].host.latency_scv.value) for p in cost.latency if "host.latency" in p.rests_on
    ]
    mean = sum(t for t, _ in found)
    return mean, mean * sum(t * scv for t, scv in found)


def percentile(constant: float, mean: float, variance: float, percent: float) -> float:
    """Of a constant plus a log-normal part given by two moments (sums of such are nearly such: Fenton 1960)."""
    if mean <= 0 or variance <= 0:
        return constant + mean
    sigma2 = math.log1p(variance / mean**2)
    return constant + mean * math.exp(math.sqrt(sigma2) * NormalDist().inv_cdf(percent / 100) - sigma2 / 2)


def _latencies(case: Case, ways: list[PathCost], waits: _Waits, per: float, each: float = 1.0) -> dict[Metric, float]:
    """Mean, median and tail of the sum over `ways`, each of which stands for `each` independent ones, divided by `per`, in
    microseconds."""
    stacks = [_stacks(case, way) for way in ways]
    random_mean = sum(m for m, _ in stacks) + waits.mean_ps
    variance = sum(v for _, v in stacks) / each + waits.variance
    constant = sum(way.latency_ps for way in ways) - sum(m for m, _ in stacks)
    return {
        Metric.LATENCY: (constant + random_mean) / per / 1e6,
        Metric.LATENCY_P50: percentile(constant, random_mean, variance, 50) / per / 1e6,
        Metric.LATENCY_P99: percentile(constant, random_mean, variance, 99) / per / 1e6,
    }


# --- loads ------------------------------------------------------------------------------------------------------------


def payload_bits(case: Case, load: BulkTcp) -> float:
    """Of a full segment."""
    return 8.0 * mss_bytes(inner_mtu_bytes(case, load), 0, load.ipv6 or is_ipv6(case))


def _bulk(case: Case, load: BulkTcp) -> Answer:
    loaded = _Loaded(case, load, load.streams, math.inf)
    job = loaded.one_way(0.0)
    bits = payload_bits(case, load)
    bounds = [_carries(job.total)]
    for chassis, card in case.ends.items():
        # Each end of a stream has a core of its own, also where both are on one chassis.
        rate = load.streams * card.host.stream_rate.value / bits
        bounds.append((rate, f"{load.streams} streams on {chassis}"))
    if load.window_segments is not None and case.has(Phase.ESTABLISHED, Direction.REPLY):
        back = case.cost(Phase.ESTABLISHED, Direction.REPLY, SMALLEST_FRAME_BYTES, flows=load.streams)
        trip = (job.forward.latency_ps + back.latency_ps) / PS_PER_S
        bounds.append((load.streams * load.window_segments / trip, f"windows of {load.streams} streams"))
    rate, limit = min(bounds)
    cores = busy_cores(job.total, rate, case.cards)
    values = {
        Metric.BANDWIDTH: rate * bits / 1e9,
        Metric.PACKET_RATE: rate / 1e6,
        Metric.HOST_CORES: cores.host,
        Metric.CARD_CORES: cores.card,
    }
    return Answer(values, limit, job.forward, None, job.total, _busy(job.total, rate), loaded.notes(0.0))


def _packets(case: Case, load: PacketRate) -> Answer:
    per = math.inf if load.jobs_per_flow is None else load.jobs_per_flow
    loaded = _Loaded(case, load, load.flows, per)
    rate = _highest(loaded, load.rate_per_s, lambda x: _carries(loaded.one_way(x).total)[0])
    job = loaded.one_way(rate)
    limit = _carries(job.total)[1] if load.rate_per_s > rate else ""
    waits = _open_waits(case, job, rate, 1.0 if load.poisson else 0.0, limit)
    cores = busy_cores(job.total, rate, case.cards)
    values = {
        Metric.PACKET_RATE: rate / 1e6,
        **_latencies(case, [job.forward], waits, 1.0),
        Metric.HOST_CORES: cores.host,
        Metric.CARD_CORES: cores.card,
    }
    if math.isfinite(load.rate_per_s):
        values[Metric.LOSS] = max(0.0, 1 - rate / load.rate_per_s)
    return Answer(values, limit, job.forward, None, job.total, _busy(job.total, rate), loaded.notes(rate))


def _open_requests(case: Case, load: OpenRequests) -> Answer:
    per = math.inf if load.requests_per_connection is None else load.requests_per_connection
    loaded = _Loaded(case, load, load.connections, per)
    offered = PS_PER_S / load.gap_ps.mean
    rate = _highest(loaded, offered, lambda x: _carries(loaded.there_and_back(x).total)[0])
    job = loaded.there_and_back(rate)
    limit = _carries(job.total)[1] if offered > rate else ""
    waits = _open_waits(case, job, rate, load.gap_ps.scv, limit)
    ways = [job.forward] + ([job.reply] if job.reply else [])
    values = {
        Metric.REQUEST_RATE: rate,
        **_latencies(case, ways, waits, 2.0),
        Metric.LOSS: max(0.0, 1 - rate / offered),
        **_processors(loaded, job, rate),
    }
    return Answer(values, limit, job.forward, job.reply, job.total, _busy(job.total, rate), loaded.notes(rate))


def _closed(case: Case, load: RequestResponse | ConnectRequestResponse) -> Answer:
    asked = load.requests if isinstance(load, ConnectRequestResponse) else load.requests_per_connection
    loaded = _Loaded(case, load, load.clients, math.inf if asked is None else asked)

    def given(jobs_per_s: float) -> float:
        job = loaded.there_and_back(jobs_per_s)
        return min(_loop(job, load.clients, load.think_ps), _carries(job.total)[0])

    rate = _highest(loaded, math.inf, given)
    job = loaded.there_and_back(rate)
    # Little: clients = rate * (response + think).
    wait_ps = max(0.0, load.clients * PS_PER_S / rate - load.think_ps.mean - job.total.latency_ps)
    most, limit = _carries(job.total)
    waits = _Waits(wait_ps, _closed_variance(wait_ps, PS_PER_S / most, load.clients, min(1.0, rate / most)))
    trips = job.round_trips
    values = {
        Metric.REQUEST_RATE: rate,
        **_latencies(case, [job.total], waits, 2.0 * trips, 2.0 * trips),
        **_processors(loaded, job, rate),
    }
    limit = limit if rate >= SATURATED * most else ""
    return Answer(values, limit, job.forward, job.reply, job.total, _busy(job.total, rate), loaded.notes(rate))


def _loop(job: _Job, clients: int, think: Distribution) -> float:
    """Requests per second of so many clients. A station's work is part of the latency; what is left is delay."""
    stations = [d for d in job.total.demands if d.share is not Share.INSERTION]
    demands, servers = [d.service_ps for d in stations], [d.servers for d in stations]
    delay = max(0.0, job.total.latency_ps - sum(demands))
    counts: list[int | None] = [*servers]
    if clients > MOST_CLIENTS:
        return closed_bounds(clients, [*demands, delay], [*counts, None], think.mean).throughput * PS_PER_S
    if clients > EXACT_CLIENTS:
        delay += sum(d * (c - 1) / c for d, c in zip(demands, servers, strict=True))
        demands, counts = [d / c for d, c in zip(demands, servers, strict=True)], [1] * len(servers)
    return closed_mva(clients, [*demands, delay], [*counts, None], think.mean).throughput * PS_PER_S


def _closed_variance(wait_ps: float, step_ps: float, clients: int, busy: float) -> float:
    """Of a closed load's wait, all of it in front of the narrowest resource, which takes a job every `step_ps` and is `busy`.

    The number of those in front is geometric while few of the clients are there (as in an open queue), and certain when
    all are. Where the resource is always busy, each client comes back after clients * step, whatever happens elsewhere.
    """
    ahead = min(wait_ps / step_ps, clients - 1.0)
    return step_ps**2 * ahead * (1 + ahead) * (1 - ahead / (clients - 1)) * (1 - busy**2) if clients > 1 else 0.0


def _processors(loaded: _Loaded, job: _Job, requests_per_s: float) -> dict[Metric, float]:
    case = loaded.case
    cores = busy_cores(job.total, requests_per_s, case.cards)
    count = instructions(job.total, case.client, case.cards[case.client])
    return {
        Metric.INSTRUCTIONS: count.total,
        Metric.CPI: count.cpi,
        Metric.HOST_CORES: cores.host,
        Metric.CARD_CORES: cores.card,
    }
