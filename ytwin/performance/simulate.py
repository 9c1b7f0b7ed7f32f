"""Predictions from an engine: the same network run several times on independent random streams, with intervals.

A run begins empty. A fifth of it, or more if MSER-5 says so, is left out (`sim.statistics.warmup_mser`); what is measured lasts
`duration_ps`. Replication k draws from `Streams(seed, k)`, so a prediction is replayed by its seed. Throughput is what
comes out within the measured time, so a path driven above its limit gives the limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from frozendict import frozendict
from scipy.special import ndtri

from ytwin.core.units import PS_PER_S, bad, require
from ytwin.performance.analytic import answer
from ytwin.performance.choice import Case
from ytwin.performance.jobs import Loaded
from ytwin.performance.loads import Load
from ytwin.performance.network import (
    DELAY,
    Route,
    build,
    connections,
    handshake_steps,
    jobs_for,
    mean_ps,
    per_connection,
    pipeline_of,
    queues,
    turns,
)
from ytwin.performance.routes import opened_per_s, routes_of
from ytwin.performance.types import Metric, Prediction, Value
from ytwin.sim import fast, reference
from ytwin.sim.distributions import Constant, LogNormal, Service
from ytwin.sim.model import Closed, Network, Open
from ytwin.sim.results import Result
from ytwin.sim.statistics import mean_of, warmup_mser
from ytwin.sim.streams import Streams, draw_network
from ytwin.sim.workloads import BulkTcp, OpenRequests, PacketRate

Engine = Literal["fast", "reference"]
Floats = npt.NDArray[np.float64]

REPLICATIONS: Final = 5
WARMUP: Final = 0.25
"""What is left out at the beginning, as a part of what is measured."""
ROUND_TRIPS: Final = 100
"""Of every client of a closed load, measured if nothing else is said and that is no more than some 100,000 jobs."""
CONNECTIONS: Final = 10
"""Likewise, where connections come and go: all clients open their first one at once."""
FEWEST_FOR_P99: Final = 100
FEW_JOBS: Final = 1_000
"""What fewer of them say is as much chance as path, so it is said how many there are."""
LONGEST_PS: Final = 10**17
"""Of a run's time, if nothing else is said: a bit more than a day."""
MOST_SWEEPS: Final = 10**6
"""Of a table, in such a run."""
CLOCK_PS: Final = 5 * 10**18
"""As long as a run with its warm-up and spare jobs can be in whole picoseconds: 58 days."""
MOST_STREAMED_BYTES: Final = 64 * 2**20
"""What a streamed run takes, whatever its length."""
MOST_KEPT: Final = 100_000
"""Jobs of a run that is not streamed where it can be."""
DRAWN_CONNECTION_BYTES: Final = 40
"""Its place, its use, its popularity."""
REFERENCE_JOB_BYTES: Final = 4000
"""simpy's process, events and resources of one job."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one prediction is going to simulate, and what that takes."""

    network: Network
    duration_ps: int
    """Measured; a run is longer by its warm-up."""
    jobs: Mapping[str, int]
    """By source, of one replication: at least as many as begin."""
    needs_bytes: int
    streamed: bool
    asking: bool
    """Whether a job is a request and its answer, those of a new connection with its handshake; else it is a packet."""

    @property
    def warmup_ps(self) -> int:
        """Left out at least: a part of the run, and what some jobs take on the empty network."""
        return _warmup_ps(self.network, self.duration_ps)

    @property
    def run_ps(self) -> int:
        """With warm-up."""
        return self.duration_ps + self.warmup_ps


def _warmup_ps(network: Network, duration_ps: int) -> int:
    longest = max(sum(mean_ps(step.service_ps, source) for step in source.steps) for source in network.sources)
    return max(round(WARMUP * duration_ps), round(5 * longest))


def planned(network: Network, duration_ps: int, engine: Engine, memory_bytes: int, asking: bool = False) -> Run:
    """How to simulate it within the memory; InvalidInput, before anything is drawn, where there is no way.

    Long runs of packets are streamed: that is faster, and needs the same memory however long they are.
    """
    require(duration_ps > 0, "duration", f"{duration_ps} ps", "give a time above 0, such as `10 ms`")
    whole = Run(
        network, duration_ps, jobs_for(network, duration_ps + _warmup_ps(network, duration_ps)), 0, False, asking
    )
    needs = needed_bytes(network, whole.jobs, engine)
    whole = replace(whole, needs_bytes=needs)
    pipeline = pipeline_of(network) if engine == "fast" else None
    long = needs > memory_bytes or sum(whole.jobs.values()) > MOST_KEPT
    least = max(MOST_STREAMED_BYTES, MOST_STREAMED_BYTES // 2 + _drawn_bytes(network))
    if long and pipeline is not None and memory_bytes >= least:
        return replace(whole, needs_bytes=least, streamed=True)
    if needs <= memory_bytes:
        return whole
    always = needed_bytes(network, jobs_for(network, _warmup_ps(network, 1)), engine)
    shorter = "simulate fewer clients or connections"
    if always < memory_bytes:
        fits_ps = 0.95 * duration_ps * (memory_bytes - always) / (needs - always)
        shorter = f"simulate a shorter time (--duration below {_time(fits_ps)})"
    streamable = ""
    if pipeline is not None:
        streamable = f"give at least {size(least)} to have it streamed, "
    elif engine == "fast" and len(network.sources) > 1 and all(isinstance(s, Open) for s in network.sources):
        streamable = f"send packets to one backend only (--to pod/NAME: streamed, {size(MOST_STREAMED_BYTES)}), "
    others = "use --engine analytic" if engine == "fast" else "use --engine fast or analytic"
    raise bad(
        "memory",
        "memory",
        f"{sum(whole.jobs.values()):,} jobs in {_time(duration_ps)} and its warm-up need {size(needs)}, "
        f"{size(memory_bytes)} are given",
        f"{shorter}, {streamable}give more memory, or {others}, which needs none",
    )


def needed_bytes(network: Network, jobs: Mapping[str, int], engine: Engine) -> int:
    """Memory of one replication: draws, state and results of every job, and tables by connection."""
    counts = [jobs[s.name] for s in network.sources]
    extra = sum(counts) * REFERENCE_JOB_BYTES if engine == "reference" else 0
    return fast.needed_bytes(network, counts) + _drawn_bytes(network) + extra


def _drawn_bytes(network: Network) -> int:
    return sum(s.connections for s in network.sources if isinstance(s, Open)) * DRAWN_CONNECTION_BYTES


def size(count: float) -> str:
    """Bytes, for people."""
    for unit, one in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count:.0f} B"


def _time(time_ps: float) -> str:
    if time_ps >= 1e15:
        return f"{time_ps / 1e12:.0f} s"
    for unit, one in (("s", 1e12), ("ms", 1e9), ("us", 1e6), ("ns", 1e3)):
        if time_ps >= one:
            return f"{time_ps / one:.3g} {unit}"
    return f"{time_ps:.0f} ps"


def default_duration_ps(network: Network, engine: Engine, jobs_per_s: float = 0.0) -> int:
    """10 ms, or as long as 20,000 jobs take (the reference engine: 200 us and 1,000), but no longer than a day or so. Of closed
    loads: as many as there are if nobody waits.

    Clients of closed loads begin together, and it takes some of their round trips until they come at any time; a part of a round
    trip at either end counts little among `ROUND_TRIPS`, a part of a connection among `CONNECTIONS`. `jobs_per_s`: what to
    expect of closed loads, 0: not known.
    """
    least_ps, jobs, most = (10**10, 20_000, 200_000) if engine == "fast" else (2 * 10**8, 1_000, 10_000)
    needed = min(most, sum(s.clients * _least_requests(s) for s in network.sources if isinstance(s, Closed)))
    trips_ps = PS_PER_S * needed / jobs_per_s if jobs_per_s > 0 else 0.0
    # Little happens in a run of few jobs, however long it is; but the sweeps of its tables.
    longest_ps = min([LONGEST_PS, *(MOST_SWEEPS * t.sweep_ps for t in network.tables if t.sweep_ps is not None)])
    offered_ps = jobs / (_offered_per_ps(network) or _at_most_per_ps(network))
    return max(least_ps, min(round(offered_ps), longest_ps), math.ceil(trips_ps))


def _offered_per_ps(network: Network) -> float:
    """Jobs of all open sources, on average; those of closed ones wait for one another."""
    return sum(1 / source.gap_ps.mean for source in network.sources if isinstance(source, Open))


def _at_most_per_ps(network: Network) -> float:
    """Jobs of a network of closed sources, by the bounds of each."""
    return sum(jobs_for(network, 10**9).values()) / 10**9


def _least_requests(source: Closed) -> int:
    """Of each client, if there is time."""
    return max(ROUND_TRIPS, CONNECTIONS * (source.requests_per_connection or 0))


def _clients(network: Network) -> int:
    return sum(source.clients for source in network.sources if isinstance(source, Closed))


def _expected_per_s(analytic: Prediction) -> float:
    """Jobs per second by formula; 0: none is known."""
    known = {v.metric: v.value for v in analytic.values}
    return known.get(Metric.REQUEST_RATE, 1e6 * known.get(Metric.PACKET_RATE, 0.0))


def _few_round_trips(network: Network, duration_ps: int, jobs_per_s: float) -> tuple[str, ...]:
    """What a run says that is over before the clients come at any time."""
    clients = _clients(network)
    trips = jobs_per_s * duration_ps / PS_PER_S / clients if clients else math.inf
    if not 0 < trips < 0.99 * ROUND_TRIPS:
        return ()
    longer = _time(duration_ps * ROUND_TRIPS / trips)
    return (
        f"{_time(duration_ps)} are {trips:.2g} round trips of its {clients} clients, which begin together: rates may be off by "
        f"{min(1.0, 0.5 / trips):.1%}; --duration '{longer}' makes it {0.5 / ROUND_TRIPS:.1%}",
    )


def _few_jobs(network: Network, duration_ps: int) -> tuple[str, ...]:
    """What a run says in which hardly anything comes."""
    comes = _offered_per_ps(network) * duration_ps
    if not 0 < comes < 0.99 * FEW_JOBS:
        return ()
    longer_ps = duration_ps * FEW_JOBS / comes
    hint = f"; --duration '{_time(longer_ps)}' makes it {FEW_JOBS:,}" if longer_ps < CLOCK_PS else ""
    return (f"in {_time(duration_ps)} come {comes:.0f} jobs, so values are much by chance{hint}",)


def simulate_network(run: Run, engine: Engine, streams: Streams) -> Outcome:
    """One replication."""
    if run.streamed:
        return _streamed(run, streams)
    draws = draw_network(run.network, streams, run.jobs)
    if engine == "fast":
        result = fast.simulate(run.network, draws, run.run_ps, 2**62)  # the memory was looked at before
    else:
        result = reference.simulate(run.network, draws, run.run_ps)
    return _outcome(run, result)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave, after its warm-up."""

    done_per_s: float
    loss: float
    """Part of the tries that was lost."""
    latency_ps: tuple[float, float, float] | None
    """One way, mean, median and 99th percentile of all round trips (packets: of the jobs); None if there were too few."""
    utilisation: Mapping[str, float]
    round_trips: float = 1.0
    """Of a job, mean: the first request of a connection waits for its handshake too."""
    bytes_per_s: float = 0.0
    """That jobs carry, by their mean size; bulk's segments: payload."""


def _mean(outcomes: Sequence[Outcome]) -> Outcome:
    """Of runs that share out the clients in different ways, each as likely. Latencies count by the round trips that have them,
    so that clients = rate * time of a request holds of the mean too (Little 1961)."""
    if len(outcomes) == 1:
        return outcomes[0]
    done = np.array([o.done_per_s for o in outcomes])
    trips = float(np.average([o.round_trips for o in outcomes], weights=done)) if done.any() else 1.0
    known = [(o.latency_ps, o.done_per_s * o.round_trips) for o in outcomes if o.latency_ps is not None]
    counts = [count for _, count in known]
    latency = [
        float(np.average([values[i] for values, _ in known], weights=counts)) if any(counts) else math.nan
        for i in range(3)
    ]
    names = sorted({name for o in outcomes for name in o.utilisation})
    return Outcome(
        float(np.mean([o.done_per_s for o in outcomes])),
        float(np.mean([o.loss for o in outcomes])),
        (latency[0], latency[1], latency[2]) if len(known) == len(outcomes) else None,
        {name: float(np.mean([o.utilisation.get(name, 0.0) for o in outcomes])) for name in names},
        trips,
        float(np.mean([o.bytes_per_s for o in outcomes])),
    )


def _outcome(run: Run, result: Result) -> Outcome:
    begin_ps, end_ps = run.warmup_ps, run.run_ps
    for source, one in zip(run.network.sources, result.sources, strict=True):
        began = one.start_ps[one.start_ps >= 0]
        if isinstance(source, Closed) and len(began) == len(one.start_ps):
            end_ps = min(end_ps, int(began.max()))  # all draws are used: what follows is a run that fades out
        begin_ps = max(begin_ps, _cut_ps(one.start_ps, one.end_ps, run.run_ps))
    if end_ps <= begin_ps:
        raise bad("duration", "duration", f"nothing is left of {_time(run.duration_ps)}", "simulate longer")
    rate, carried, latencies, tries, lost = 0.0, 0.0, [], 0, 0
    jobs = trips = 0
    for source, one in zip(run.network.sources, result.sources, strict=True):
        rate += one.throughput_per_s(begin_ps, end_ps)
        carried += one.throughput_per_s(begin_ps, end_ps) * source.size_bytes.mean
        measured = (one.start_ps >= begin_ps) & (one.start_ps < end_ps)
        told = measured & one.done
        own = np.ones(int(told.sum()), np.int64)
        if run.asking and (greeting := handshake_steps(source)):
            own += one.waits_ps[greeting - 1][told] >= 0
        # Each round trip counts, so that their mean is the mean time of a request over its mean number of them.
        one_way_ps = (one.end_ps - one.start_ps)[told] / own / (2 if run.asking else 1)
        latencies.append(np.repeat(one_way_ps, own))
        jobs, trips = jobs + len(own), trips + int(own.sum())
        tries += int(one.tries[measured].sum())
        lost += int((one.tries[measured] - one.done[measured]).sum())
    ends_ps = max(1, result.end_ps)
    busy = {
        station.name: float(result.busy_ps[i]) / station.servers / ends_ps
        for i, station in enumerate(run.network.stations)
        if station.servers is not None
    }
    each = trips / jobs if jobs else 1.0
    return Outcome(rate, lost / max(1, tries), _summary(np.concatenate(latencies)), busy, each, carried)


def _cut_ps(start_ps: npt.NDArray[np.int64], end_ps: npt.NDArray[np.int64], run_ps: int) -> int:
    """Where MSER-5 says that the warm-up ends, half of the run at most."""
    order = np.argsort(start_ps, kind="stable")
    order = order[(end_ps >= 0)[order]]
    if len(order) < 100:
        return 0
    series = (end_ps - start_ps)[order]
    return min(run_ps // 2, int(start_ps[order[warmup_mser(series)]]))


def _summary(latencies: Floats) -> tuple[float, float, float] | None:
    if not len(latencies):
        return None
    p99 = float(np.percentile(latencies, 99)) if len(latencies) >= FEWEST_FOR_P99 else math.nan
    return float(latencies.mean()), float(np.median(latencies)), p99


def _streamed(run: Run, streams: Streams) -> Outcome:
    parts = pipeline_of(run.network)
    assert parts is not None
    pipeline, arrivals, delays = parts
    jobs = max(1, round(run.run_ps / arrivals.gap_ps.mean))
    summary = fast.stream(pipeline, arrivals, streams, jobs, run.warmup_ps / run.run_ps)
    latency = None
    if summary.measured >= FEWEST_FOR_P99:
        mean, median, p99 = _with_delays(*summary.latencies_ps(), delays)
        ways = 2 if run.asking else 1
        latency = (mean / ways, median / ways, p99 / ways)
    busy = {stage.name: summary.utilisation(i) for i, stage in enumerate(pipeline.stages)}
    return Outcome(summary.done_per_s, summary.lost / jobs, latency, busy)


_POINTS: Final = 500_000
"""Of the distribution of a sum."""


def _with_delays(
    values: Floats, weights: npt.NDArray[np.int64], delays: Sequence[Service]
) -> tuple[float, float, float]:
    """Mean, median, 99th percentile of waiting and service in the stages plus delays, which do not depend on them."""
    shares = weights / weights.sum()
    for delay in delays:
        if isinstance(delay, LogNormal):
            variance = math.log1p(delay.scv)
            steps = max(100, min(20_000, _POINTS // len(values)))
            middle = ndtri((np.arange(steps) + 0.5) / steps)
            more = np.exp(math.log(delay.mean) - variance / 2 + math.sqrt(variance) * middle)
            values = (values[:, None] + more[None, :]).reshape(-1)
            shares = np.repeat(shares / steps, steps)
        else:
            assert isinstance(delay, Constant)
            values = values + delay.value
    order = np.argsort(values)
    reached = np.cumsum(shares[order])
    ranks = [min(len(order) - 1, int(np.searchsorted(reached, p))) for p in (0.5, 0.99)]
    median, p99 = (float(values[order[rank]]) for rank in ranks)
    return float((values * shares).sum()), median, p99


def simulate_routes(
    routes: Sequence[Route],
    load: Load,
    places: Mapping[str, int],
    analytic: Prediction,
    *,
    engine: Engine = "fast",
    seed: int = 0,
    duration_ps: int | None = None,
    memory_bytes: int = fast.MEMORY_BYTES,
    replications: int = REPLICATIONS,
    connections_per_s: float = 0.0,
    limit_per_s: float = math.inf,
) -> Prediction:
    """`analytic` with what the engine measures in place of what formulas say.

    Of metrics that are not measured (instructions, CPI) the formulas' values stay; cores go with the throughput.
    `limit_per_s` is the routes' by formula; a packet rate without end is driven above it.
    """
    require(
        replications >= 2, "replications", f"{replications}", "give at least 2: an interval comes from their difference"
    )
    networks = [
        build(routes, load, places, connections_per_s, limit_per_s, turn) for turn in range(turns(len(routes), load))
    ]
    expected = _expected_per_s(analytic)
    long_enough_ps = default_duration_ps(networks[0], engine, expected)
    duration = long_enough_ps if duration_ps is None else duration_ps
    asking = not isinstance(load, BulkTcp | PacketRate)
    runs = [planned(network, duration, engine, memory_bytes, asking) for network in networks]
    outcomes = [_mean([simulate_network(run, engine, Streams(seed, k)) for run in runs]) for k in range(replications)]
    if not any(outcome.done_per_s for outcome in outcomes):
        hint = f"simulate longer: --duration '{_time(max(long_enough_ps, 10 * duration))}'"
        raise bad("duration", "duration", f"not one job was done in {_time(duration)}: there is nothing to tell", hint)
    found = _measured(load, outcomes, _overloaded(load, analytic, limit_per_s))
    values = [
        found.pop(v.metric) if v.metric in found else _carried(v, analytic, outcomes, load)
        for v in analytic.values
        if v.metric in found or v.metric not in _MEASURED
    ]
    busy = {name: float(np.mean([o.utilisation[name] for o in outcomes])) for name in outcomes[0].utilisation}
    return replace(
        analytic,
        values=(*values, *found.values()),
        engine=engine,
        seed=seed,
        round_trips=float(np.mean([o.round_trips for o in outcomes])) if analytic.round_trips else 0.0,
        utilisation=frozendict({name: busy[name] for name in sorted(busy) if name != DELAY}),
        notes=(
            *analytic.notes,
            *_few_round_trips(networks[0], duration, expected),
            *_few_jobs(networks[0], duration),
            *_stored_whole(routes),
        ),
    )


def _stored_whole(routes: Sequence[Route]) -> tuple[str, ...]:
    """What engines take too long for: a request of many frames passes each resource whole before it goes on to the next, where
    frames really follow one another."""
    ways = [(route.weight, leg) for route in routes for leg in (route.forward, route.reply)]
    total = sum(weight for weight, _ in ways)
    path_ps = sum(weight * leg.cost.latency_ps for weight, leg in ways) / total
    more_ps = sum(weight * max(0.0, leg.worked_ps - leg.cost.latency_ps) for weight, leg in ways) / total
    if more_ps <= 0.01 * path_ps:
        return ()
    return (
        f"the engine has all frames of a request pass a resource before the first goes on: of latency, one way, up to "
        f"{_time(more_ps)} are too much (the formulas let frames follow one another)",
    )


def simulate(
    case: Case,
    load: Load,
    analytic: Prediction,
    *,
    engine: Engine = "fast",
    seed: int = 0,
    duration_ps: int | None = None,
    memory_bytes: int = fast.MEMORY_BYTES,
    replications: int = REPLICATIONS,
) -> Prediction:
    """`analytic`, which is of the same case and load, with what the engine measures in place of what formulas say."""
    limit_per_s = math.inf
    if isinstance(load, PacketRate):
        limit_per_s = answer(case, replace(load, rate_per_s=math.inf)).values[Metric.PACKET_RATE] * 1e6
    return simulate_routes(
        routes_of(case, load, analytic),
        load,
        queues(case.cards),
        replace(analytic, notes=_said_by_formulas(case, load, analytic)),
        engine=engine,
        seed=seed,
        duration_ps=duration_ps,
        memory_bytes=memory_bytes,
        replications=replications,
        connections_per_s=opened_per_s(load, analytic),
        limit_per_s=limit_per_s,
    )


def _said_by_formulas(case: Case, load: Load, analytic: Prediction) -> tuple[str, ...]:
    """The formulas' notes. Of tables whose state depends on the rate it is said that it is theirs: by it the engine shares out
    the places, and what it then measures may be another."""
    loaded = Loaded(case, load, connections(load), per_connection(load))
    theirs = set(loaded.notes(_expected_per_s(analytic))) - set(loaded.notes(0.0))
    return tuple(f"at the formulas' rate, {note}" if note in theirs else note for note in analytic.notes)


def _value(metric: Metric, samples: Sequence[float], most: float = math.inf) -> Value:
    estimate = mean_of(samples)
    return Value(metric, estimate.value, max(0.0, estimate.low), min(most, estimate.high))


def _overloaded(load: Load, analytic: Prediction, limit_per_s: float) -> float:
    """Jobs per second that are offered, if they are more than go through; 0: they are not. Latency then says only how long
    the run was, and packets that wait for ever are as good as lost."""
    if isinstance(load, PacketRate):
        return load.rate_per_s if load.rate_per_s > limit_per_s else 0.0
    lost = next((v.value for v in analytic.values if v.metric is Metric.LOSS), 0.0)
    return PS_PER_S / load.gap_ps.mean if isinstance(load, OpenRequests) and lost > 0 else 0.0


def _measured(load: Load, outcomes: Sequence[Outcome], offered_per_s: float) -> dict[Metric, Value]:
    rates = [o.done_per_s for o in outcomes]
    found = []
    if isinstance(load, BulkTcp):
        found.append(_value(Metric.BANDWIDTH, [o.bytes_per_s * 8 / 1e9 for o in outcomes]))
    if isinstance(load, BulkTcp | PacketRate):
        found.append(_value(Metric.PACKET_RATE, [r / 1e6 for r in rates]))
    else:
        found.append(_value(Metric.REQUEST_RATE, rates))
    if offered_per_s == 0:
        found.append(_value(Metric.LOSS, [o.loss for o in outcomes], 1.0))
    elif math.isfinite(offered_per_s):
        found.append(_value(Metric.LOSS, [max(0.0, 1 - r / offered_per_s) for r in rates], 1.0))
    known = [o.latency_ps for o in outcomes if o.latency_ps is not None]
    if not isinstance(load, BulkTcp) and offered_per_s == 0 and len(known) == len(outcomes):
        for i, metric in enumerate((Metric.LATENCY, Metric.LATENCY_P50, Metric.LATENCY_P99)):
            samples = [latencies[i] / 1e6 for latencies in known]
            if not any(math.isnan(sample) for sample in samples):
                found.append(_value(metric, samples))
    return _in_order({v.metric: v for v in found})


def _in_order(values: dict[Metric, Value]) -> dict[Metric, Value]:
    """No end of the 99th percentile's interval is below that of the median's, nor of a mean that it exceeds: few replications
    give each its own idea of how far they lie apart."""
    tail = values.get(Metric.LATENCY_P99)
    for metric in (Metric.LATENCY, Metric.LATENCY_P50):
        below = values.get(metric)
        if tail is not None and below is not None and below.value <= tail.value:
            tail = replace(tail, low=max(tail.low, below.low), high=max(tail.high, below.high))
    return values if tail is None else {**values, Metric.LATENCY_P99: tail}


_MEASURED: Final = (Metric.LATENCY, Metric.LATENCY_P50, Metric.LATENCY_P99, Metric.LOSS)
"""What formulas say of these is not taken over where the engine has nothing to say."""
_GOING_WITH_RATE: Final = (Metric.HOST_CORES, Metric.CARD_CORES)
_RATES: Final = (Metric.REQUEST_RATE, Metric.PACKET_RATE, Metric.BANDWIDTH)


def _carried(value: Value, analytic: Prediction, outcomes: Sequence[Outcome], load: Load) -> Value:
    """A value of the formulas: as it is, or in proportion to what really goes through."""
    if value.metric not in _GOING_WITH_RATE:
        return value
    wanted = {Metric.REQUEST_RATE: 1.0, Metric.PACKET_RATE: 1e6}
    if isinstance(load, BulkTcp | PacketRate):
        wanted.pop(Metric.REQUEST_RATE)
    for formula in analytic.values:
        if formula.metric in wanted and formula.value > 0:
            times = float(np.mean([o.done_per_s for o in outcomes])) / (formula.value * wanted[formula.metric])
            return Value(value.metric, value.value * times, value.low * times, value.high * times)
    return value
