"""Predictions from an engine: the same network run several times on independent random streams, with intervals.

A run begins empty. A fifth of it, or more if MSER-5 says so, is left out (`sim.statistics.warmup_mser`); what is measured lasts
`duration_ps`. Replication k draws from `Streams(seed, k)`, so a prediction is replayed by its seed. Throughput is what
comes out within the measured time, so a path driven above its limit gives the limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from frozendict import frozendict
from scipy.special import ndtri

from ytwin.core.units import PS_PER_S, bad, require
from ytwin.performance.analytic import answer
from ytwin.performance.choice import Case
from ytwin.performance.jobs import Loaded, frame_bytes
from ytwin.performance.latencies import order_ends
from ytwin.performance.legs import Route
from ytwin.performance.lengths import (
    Engine,
    Run,
    default_duration_ps,
    few_jobs,
    few_round_trips,
    planned,
    time_text,
)
from ytwin.performance.loads import Load
from ytwin.performance.network import (
    DELAY,
    build,
    handshake_steps,
    pipeline_of,
    queues,
    turns,
)
from ytwin.performance.routes import opened_per_s, routes_of
from ytwin.performance.types import Metric, Prediction, Value
from ytwin.sim import fast, reference
from ytwin.sim.distributions import Constant, LogNormal, Service
from ytwin.sim.model import Closed, Network
from ytwin.sim.results import Result
from ytwin.sim.statistics import mean_of, warmup_mser
from ytwin.sim.streams import Streams, draw_network
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

Floats = npt.NDArray[np.float64]

REPLICATIONS: Final = 5
FEWEST_FOR_P99: Final = 100


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
        raise bad("duration", "duration", f"nothing is left of {time_text(run.duration_ps)}", "simulate longer")
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
    expected = analytic.jobs_per_s
    long_enough_ps = default_duration_ps(networks[0], engine, expected)
    duration = long_enough_ps if duration_ps is None else duration_ps
    asking = not isinstance(load, BulkTcp | PacketRate)
    runs = [planned(network, duration, engine, memory_bytes, asking) for network in networks]
    outcomes = [_mean([simulate_network(run, engine, Streams(seed, k)) for run in runs]) for k in range(replications)]
    if not any(outcome.done_per_s for outcome in outcomes):
        hint = f"simulate longer: --duration '{time_text(max(long_enough_ps, 10 * duration))}'"
        raise bad(
            "duration", "duration", f"not one job was done in {time_text(duration)}: there is nothing to tell", hint
        )
    found = _measured(load, outcomes, _overloaded(load, analytic, limit_per_s))
    trips = float(np.mean([o.round_trips for o in outcomes]))
    unfinished = _unfinished(load, found, trips, networks[0], duration)
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
        round_trips=trips if analytic.round_trips else 0.0,
        utilisation=frozendict({name: busy[name] for name in sorted(busy) if name != DELAY}),
        notes=(
            *analytic.notes,
            *few_round_trips(networks[0], duration, expected),
            *few_jobs(networks[0], duration),
            *unfinished,
            *_stored_whole(routes),
        ),
    )


def _unfinished(
    load: Load, found: Mapping[Metric, Value], trips: float, network: Network, duration_ps: int
) -> tuple[str, ...]:
    """What a run says that is too short for the requests of some clients, so that it tells of the others: clients = rate *
    (time of a request + think time) does not hold of it (Little 1961)."""
    if not isinstance(load, RequestResponse | ConnectRequestResponse) or Metric.LATENCY not in found:
        return ()
    took_s = 2 * trips * found[Metric.LATENCY].value / 1e6 + load.think_ps.mean / PS_PER_S
    counted = found[Metric.REQUEST_RATE].value * took_s
    if counted > 0.95 * load.clients:
        return ()
    again_ps = max(source.retry_ps for source in network.sources if isinstance(source, Closed))
    return (
        f"latency and loss are those of {counted:.0f} of {load.clients} clients: requests of the others did not end in "
        f"{time_text(duration_ps)} (what is lost is sent again after {time_text(again_ps)}); "
        f"--duration '{time_text(max(5 * again_ps, 2 * duration_ps))}' tells of more",
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
        f"{time_text(more_ps)} are too much (the formulas let frames follow one another)",
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
        replace(analytic, notes=(*_said_by_formulas(case, load, analytic), *_simplified(case, load, analytic))),
        engine=engine,
        seed=seed,
        duration_ps=duration_ps,
        memory_bytes=memory_bytes,
        replications=replications,
        connections_per_s=opened_per_s(load, analytic),
        limit_per_s=limit_per_s,
    )


def _simplified(case: Case, load: Load, analytic: Prediction) -> Iterator[str]:
    """Where an engine's model is coarser than the formulas'."""
    shares = {chassis: state.share for chassis, state in Loaded.of(case, load).states(analytic.jobs_per_s).items()}
    if shares and max(shares.values()) > 1.01 * min(shares.values()):
        fewest, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        yield (
            f"the engine takes a connection as held by all cards of its path or by none: {most} forwards more in software than "
            f"its own tables ask for, with what {fewest} has no place for"
        )
    if isinstance(load, BulkTcp | PacketRate) or isinstance(load.size_bytes, Constant):
        return
    if frame_bytes(case, load)[1] > 1:
        yield (
            "sizes vary around several frames: the engine takes all work in proportion to a request's size, and the time that is "
            "no work from one of the mean size, so that small requests are too quick (the median, above all)"
        )


def _said_by_formulas(case: Case, load: Load, analytic: Prediction) -> tuple[str, ...]:
    """The formulas' notes. Of tables whose state depends on the rate it is said that it is theirs: by it the engine shares out
    the places, and what it then measures may be another."""
    loaded = Loaded.of(case, load)
    theirs = set(loaded.notes(analytic.jobs_per_s)) - set(loaded.notes(0.0))
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
    bounds = {v.metric: (v.low, v.high) for v in found}
    # Few replications give each metric its own idea of how far they lie apart.
    order_ends({v.metric: v.value for v in found}, bounds)
    return {v.metric: Value(v.metric, v.value, *bounds[v.metric]) for v in found}


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
