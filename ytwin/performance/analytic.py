"""The analytic engine: what a load gives on a path, by formulas of `sim.analytic`, in milliseconds.

- Throughput: the bottleneck law, for resources and for the hosts' cores (slow path, requests' instructions and copying
  together); min over resources of servers / work per packet. Bulk TCP is bounded by its streams (a core's copying each)
  and windows too; streams of unlike segments share a full resource segment by segment. Acknowledgements are not counted:
  they come in the other direction, merged.
- Waits of open loads: each resource is a GI/G/c queue (Allen and Cunneen) with the gaps of the load; work is constant
  per kind of packet, so its variation is that of the mix. Above the limit the queue in front of it is full; where its
  length is not known, latency is left out, as engines leave it out.
- Closed loads: mean value analysis with the resources as queueing stations and all other latency as delay. One client's
  round trip is exactly the path's latency. MVA's exponential services make waits of many clients too long: engines do not.
- Tables: the state that goes with the rate (`tables.table_state`), found as a root, because the rate depends on the state.
- Percentiles: of a mixture of kinds of jobs (`Loaded.ways`), each constant parts, plus a log-normal distribution with mean
  and variance of the stacks' latency (host.latency_scv) and the waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from frozendict import frozendict
from scipy.optimize import brentq

from ytwin.core.units import PS_PER_S
from ytwin.datapath.program import Direction, Phase
from ytwin.performance.choice import Case
from ytwin.performance.cost import SMALLEST_FRAME_BYTES
from ytwin.performance.cpu import busy_cores, instructions
from ytwin.performance.jobs import Job, Load, Loaded, mean_job, payload_bits, slowness
from ytwin.performance.latencies import Waits, latencies, open_waits
from ytwin.performance.types import Demand, Metric, PathCost, Share
from ytwin.sim.analytic import closed_many, closed_mva
from ytwin.sim.distributions import Constant, Distribution
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

EXACT_CLIENTS: Final = 64
"""Up to so many clients MVA is exact for stations with several servers; beyond, they are taken apart (Seidmann 1987)."""
RATE_TOLERANCE: Final = 1e-9
SATURATED: Final = 0.98
"""A resource of a closed load that is busier than this is its limit."""


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
    of_formulas: tuple[str, ...] = ()
    """Notes that hold for the formulas only: engines have no such fault."""
    round_trips: float = 0.0
    """Of a request, with its share of its connection's opening; 0: of other loads."""


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


# --- throughput --------------------------------------------------------------------------------------------------------------


def _carrying(cost: PathCost) -> Demand:
    """The resource that carries least. Rules that come too late are no limit: their connections stay in software."""
    return max((d for d in cost.demands if d.share is not Share.INSERTION), key=slowness)


def _carries(cost: PathCost) -> tuple[float, str]:
    """(jobs per second, the resource that is the limit)."""
    limit = _carrying(cost)
    return PS_PER_S / slowness(limit), limit.name


def _busy(cost: PathCost, jobs_per_s: float) -> frozendict[str, float]:
    return frozendict({d.name: min(1.0, jobs_per_s * slowness(d) / PS_PER_S) for d in cost.demands})


def _highest(loaded: Loaded, most: float, given: Callable[[float], float]) -> float:
    """The largest rate up to `most` with given(rate) >= rate, where what can be given falls, or stays, as the rate rises."""
    free = given(0.0)
    if math.isinf(loaded.jobs_per_connection) or not loaded.case.offloading():
        return min(most, free)
    high = min(most, free)
    if given(high) >= high * (1 - RATE_TOLERANCE):
        return high
    return float(brentq(lambda x: given(x) - x, 0.0, high, xtol=RATE_TOLERANCE * high, rtol=RATE_TOLERANCE))


# --- loads ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Streams:
    """Bulk streams on paths whose segments are alike."""

    share: float
    """Of all streams."""
    job: Job
    bits: float
    """Payload of a segment."""
    own: float
    """Segments per second that one stream brings along, whatever the others do."""
    why: str


def _bulk(case: Case, load: BulkTcp) -> Answer:
    loaded = Loaded.of(case, load)
    kinds = [_streams(share, one, load) for share, one in loaded.alike()]
    each, limit = _filled(kinds, load.streams)
    rate = load.streams * sum(kind.share * x for kind, x in zip(kinds, each, strict=True))
    parts = [(load.streams * kind.share * x / rate, kind) for kind, x in zip(kinds, each, strict=True)]
    job = mean_job([(part, kind.job) for part, kind in parts])
    cores = busy_cores(job.total, rate, case.cards)
    values = {
        Metric.BANDWIDTH: rate * sum(part * kind.bits for part, kind in parts) / 1e9,
        Metric.PACKET_RATE: rate / 1e6,
        Metric.HOST_CORES: cores.host,
        Metric.CARD_CORES: cores.card,
    }
    return Answer(values, limit, job.forward, None, job.total, _busy(job.total, rate), loaded.notes(0.0))


def _streams(share: float, loaded: Loaded, load: BulkTcp) -> _Streams:
    case = loaded.case
    job, bits = loaded.one_way(0.0), payload_bits(case, load)
    # Each end of a stream has a core of its own, also where both are on one chassis.
    bounds = [
        (card.host.stream_rate.value / bits, f"{load.streams} streams on {chassis}")
        for chassis, card in case.ends.items()
    ]
    if load.window_segments is not None and case.has(Phase.ESTABLISHED, Direction.REPLY):
        back = case.cost(Phase.ESTABLISHED, Direction.REPLY, SMALLEST_FRAME_BYTES, flows=load.streams)
        trip = (job.forward.latency_ps + back.latency_ps) / PS_PER_S
        bounds.append((load.window_segments / trip, f"windows of {load.streams} streams"))
    return _Streams(share, job, bits, *min(bounds, default=(math.inf, "")))


def _filled(kinds: Sequence[_Streams], streams: int) -> tuple[list[float], str]:
    """(segments per second of each kind's streams, what limits them). Streams at a full resource have equal rates of segments:
    windows are counted in these (RFC 5681). Those that bring less leave the rest to the others."""
    reached, limit = 0.0, ""
    for mark in sorted(kinds, key=lambda kind: kind.own):
        slope: dict[str, float] = {}
        fixed: dict[str, float] = {}
        for kind in kinds:
            into, times = (fixed, kind.own) if kind.own < mark.own else (slope, 1.0)
            for d in kind.job.total.demands:
                if d.share is not Share.INSERTION:
                    into[d.name] = into.get(d.name, 0.0) + times * streams * kind.share * slowness(d) / PS_PER_S
        room = {name: (1 - fixed.get(name, 0.0)) / each for name, each in slope.items()}
        limit = min(room, key=room.__getitem__)  # of equal ones the first on the way
        reached = room[limit]
        if (reached, limit) < (mark.own, mark.why):
            break
        reached, limit = mark.own, mark.why
    return [min(kind.own, reached) for kind in kinds], limit


def _packets(case: Case, load: PacketRate) -> Answer:
    loaded = Loaded.of(case, load)
    rate = _highest(loaded, load.rate_per_s, lambda x: _carries(loaded.one_way(x).total)[0])
    job = loaded.one_way(rate)
    limit = _carries(job.total)[1] if load.rate_per_s > rate else ""
    waits = open_waits(case, job, rate, 1.0 if load.poisson else 0.0, limit)
    cores = busy_cores(job.total, rate, case.cards)
    values = {
        Metric.PACKET_RATE: rate / 1e6,
        **latencies(case, job.total, loaded.ways(rate), waits),
        Metric.HOST_CORES: cores.host,
        Metric.CARD_CORES: cores.card,
    }
    if math.isfinite(load.rate_per_s):
        values[Metric.LOSS] = max(0.0, 1 - rate / load.rate_per_s)
    notes = (*loaded.notes(rate), *_withheld(waits, limit))
    return Answer(
        values, limit, job.forward, None, job.total, _busy(job.total, rate), notes, of_formulas=_lost_alike(job, limit)
    )


def _lost_alike(job: Job, limit: str) -> tuple[str, ...]:
    """Formulas carry as much of each kind of packets, also of those that do not pass what limits the others."""
    kinds = [(weight, any(d.name == limit for d in cost.demands)) for weight, cost in job.parts]
    beside = any(not passes and (max(w.values()) if isinstance(w, Mapping) else w) > 0 for w, passes in kinds)
    if not limit or not beside:
        return ()
    return (
        f"not all packets pass the {limit}: the formulas lose as many of the others, too; "
        "--engine fast loses only those that do",
    )


def _open_requests(case: Case, load: OpenRequests) -> Answer:
    loaded = Loaded.of(case, load)
    offered = PS_PER_S / load.gap_ps.mean
    rate = _highest(loaded, offered, lambda x: _carries(loaded.there_and_back(x).total)[0])
    job = loaded.there_and_back(rate)
    limit = _carries(job.total)[1] if offered > rate else ""
    waits = open_waits(case, job, rate, load.gap_ps.scv, limit)
    values = {
        Metric.REQUEST_RATE: rate,
        **latencies(case, job.total, loaded.ways(rate), waits),
        Metric.LOSS: max(0.0, 1 - rate / offered),
        **_processors(loaded, job, rate),
    }
    notes = (*loaded.notes(rate), *_withheld(waits, limit))
    busy, wasted = _busy(job.total, rate), _visited_twice(job, limit)
    told = (*wasted, *_mean_sized(load))
    return Answer(values, limit, job.forward, job.reply, job.total, busy, notes, told, job.round_trips)


def _withheld(waits: Waits | None, limit: str) -> tuple[str, ...]:
    """Why there is no latency."""
    if waits is not None:
        return ()
    return (
        f"more is offered than {limit} carries, and nothing says how long the queue there gets: no latency is given",
    )


def _mean_sized(load: RequestResponse | ConnectRequestResponse | OpenRequests) -> tuple[str, ...]:
    if isinstance(load.size_bytes, Constant):
        return ()
    return (
        f"sizes vary, and the formulas take each request as one of the mean {load.size_bytes.mean:.6g} B: their latencies, the "
        "99th percentile above all, lack that; --engine fast draws sizes",
    )


def _visited_twice(job: Job, limit: str) -> tuple[str, ...]:
    """A request that is lost on its way back has taken its first visit's work, which then served nobody."""
    ways = [way for way in (job.forward, job.reply) if way and any(d.name == limit for d in way.demands)]
    if len(ways) < 2:
        return ()
    return (
        f"requests/s are what {limit} carries if every request that it begins is answered; above the limit some are lost "
        "or left waiting on their way back, so fewer are answered: an engine says how many",
    )


def _closed(case: Case, load: RequestResponse | ConnectRequestResponse) -> Answer:
    loaded = Loaded.of(case, load)

    def given(jobs_per_s: float) -> float:
        job = loaded.there_and_back(jobs_per_s)
        return min(_loop(job, load.clients, load.think_ps), _carries(job.total)[0])

    rate = _highest(loaded, math.inf, given)
    job = loaded.there_and_back(rate)
    # Little: clients = rate * (response + think).
    wait_ps = max(0.0, load.clients * PS_PER_S / rate - load.think_ps.mean - job.total.latency_ps)
    most, limit = _carries(job.total)
    waits = Waits(wait_ps, _closed_variance(wait_ps, PS_PER_S / most, load.clients, min(1.0, rate / most)))
    trips = job.round_trips
    values = {
        Metric.REQUEST_RATE: rate,
        **latencies(case, job.total, loaded.ways(rate), waits),
        **_processors(loaded, job, rate),
    }
    limit = limit if rate >= SATURATED * most else ""
    busy, notes = _busy(job.total, rate), loaded.notes(rate)
    return Answer(values, limit, job.forward, job.reply, job.total, busy, notes, _mean_sized(load), trips)


def _loop(job: Job, clients: int, think: Distribution) -> float:
    """Requests per second of so many clients. A station's work is part of the latency; what is left is delay.

    Frames of one request are worked on side by side, so all its work may be more than its latency: then stations are taken, the
    narrowest first, as far as the latency goes. What one client meets is the latency in any case, and what many meet is the
    narrowest.
    """
    latency = job.total.latency_ps
    stations = [d for d in job.total.demands if d.share is not Share.INSERTION]
    demands = [d.service_ps for d in stations]
    if clients <= EXACT_CLIENTS and sum(demands) <= latency:
        counts: list[int | None] = [d.servers for d in stations]
        delay = latency - sum(demands)
        return closed_mva(clients, [*demands, delay], [*counts, None], think.mean).throughput * PS_PER_S
    queued, left = [], latency
    for narrow in sorted(map(slowness, stations), reverse=True):
        queued.append(min(narrow, left))
        left -= queued[-1]
    return closed_many(clients, [*queued, left], [*[1] * len(queued), None], think.mean).throughput * PS_PER_S


def _closed_variance(wait_ps: float, step_ps: float, clients: int, busy: float) -> float:
    """Of a closed load's wait, all of it in front of the narrowest resource, which takes a job every `step_ps` and is `busy`.

    The number of those in front is geometric while few of the clients are there (as in an open queue), and certain when
    all are. Where the resource is always busy, each client comes back after clients * step, whatever happens elsewhere.
    """
    ahead = min(wait_ps / step_ps, clients - 1.0)
    return step_ps**2 * ahead * (1 + ahead) * (1 - ahead / (clients - 1)) * (1 - busy**2) if clients > 1 else 0.0


def _processors(loaded: Loaded, job: Job, requests_per_s: float) -> dict[Metric, float]:
    case = loaded.case
    cores = busy_cores(job.total, requests_per_s, case.cards)
    count = instructions(job.total, case.client, case.cards[case.client])
    return {
        Metric.INSTRUCTIONS: count.total,
        Metric.CPI: count.cpi,
        Metric.HOST_CORES: cores.host,
        Metric.CARD_CORES: cores.card,
    }
