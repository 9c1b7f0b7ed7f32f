"""Waits in front of resources, and percentiles of latency.

A path's latency is a constant plus a log-normal part with mean and variance of the stacks' latency (host.latency_scv) and the
waits. Paths of unlike latency (a backend on the client's own node, one on another) are a mixture: each packet takes one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

from scipy.optimize import brentq

from ytwin.core.units import PS_PER_S
from ytwin.datapath.program import Direction, Phase
from ytwin.performance.choice import Case
from ytwin.performance.jobs import Job, Loaded, Part, frame_bytes, slowness
from ytwin.performance.types import Demand, Metric, PathCost, Share
from ytwin.sim.analytic import erlang_c, ggc_wait
from ytwin.sim.workloads import PacketRate

Apart = Sequence[tuple[float, float, float]]
"""Of each path: its share, and by how much the constant and the varying part of its latency, one way, exceed the mean path's."""


@dataclass(frozen=True)
class Waits:
    """Of one job, in front of all resources."""

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


def open_waits(case: Case, job: Job, jobs_per_s: float, gap_scv: float, full: str) -> Waits | None:
    """Sum over the resources, the queue of one of which may be full; None if nothing says how long that one is. A wait is 0
    or about exponential: its variance follows from its mean and Erlang's C."""
    mean = variance = 0.0
    for d in job.total.demands:
        if d.share is Share.INSERTION:
            continue
        if d.name == full:
            chip, slow = case.cards[d.chassis].eswitch, case.cards[d.chassis].slow_path
            if d.share is Share.ESWITCH and chip is not None:
                mean += chip.queue.value * d.service_ps
            elif d.share is Share.SLOW_PATH:
                mean += slow.queue.value * slowness(d)
            else:
                return None
            continue
        rate = min(jobs_per_s / PS_PER_S, 0.999 * d.servers / d.service_ps)
        wait = ggc_wait(rate, gap_scv, d.service_ps, _variation(job.parts, d), d.servers)
        waits = erlang_c(rate * d.service_ps, d.servers)
        mean += wait
        variance += wait * (2 * wait / waits - wait) if wait > 0 else 0.0  # so that a chance of 1e-300 is none
    return Waits(mean, variance)


def stacks(case: Case, cost: PathCost) -> tuple[float, float]:
    """(mean, variance) of the stacks' latency of one way; host.latency_scv is that of host.latency as a whole."""
    found = [
        (p.time_ps, case.cards[p.chassis].host.latency_scv.value) for p in cost.latency if "host.latency" in p.rests_on
    ]
    mean = sum(t for t, _ in found)
    return mean, mean * sum(t * scv for t, scv in found)


def percentile(shares: Sequence[tuple[float, float, float, float]], percent: float) -> float:
    """Of a mixture of (share, constant, mean, variance): each a constant plus a log-normal part given by two moments (sums of
    such are nearly such: Fenton 1960)."""
    quantile = percent / 100
    ends = [_percentile(c, m, v, quantile) for _, c, m, v in shares]
    low, high = min(ends), max(ends)
    total = sum(share for share, *_ in shares)
    if low == high or total <= 0:
        return high
    return float(brentq(lambda x: sum(w * _below(x, c, m, v) for w, c, m, v in shares) / total - quantile, low, high))


def _percentile(constant: float, mean: float, variance: float, quantile: float) -> float:
    if mean <= 0 or variance <= 0:
        return constant + mean
    sigma2 = math.log1p(variance / mean**2)
    return constant + mean * math.exp(math.sqrt(sigma2) * NormalDist().inv_cdf(quantile) - sigma2 / 2)


def _below(x: float, constant: float, mean: float, variance: float) -> float:
    """Probability."""
    if mean <= 0 or variance <= 0:
        return float(x >= constant + mean)
    sigma2 = math.log1p(variance / mean**2)
    ratio = (x - constant) / mean
    return NormalDist().cdf((math.log(ratio) + sigma2 / 2) / math.sqrt(sigma2)) if ratio > 0 else 0.0


def latencies(
    case: Case, ways: list[PathCost], apart: Apart, waits: Waits | None, per: float, each: float = 1.0
) -> dict[Metric, float]:
    """Mean, median and tail of the sum over `ways`, each of which stands for `each` independent ones, divided by `per`, in
    microseconds; nothing where waits are not known. `apart`: how far a way of each path is from the mean way."""
    if waits is None:
        return {}
    found = [stacks(case, way) for way in ways]
    stack_mean = sum(m for m, _ in found)
    variance = sum(v for _, v in found) / each
    constant = sum(way.latency_ps for way in ways) - stack_mean
    mixed: dict[tuple[float, float, float], float] = defaultdict(float)
    for share, fixed, stack in apart:
        mean = max(0.0, stack_mean + per * stack)
        spread = variance * (mean / stack_mean) ** 2 if stack_mean else 0.0
        mixed[round(constant + per * fixed, 3), round(mean + waits.mean_ps, 3), spread + waits.variance] += share
    shares = [(share, *moments) for moments, share in mixed.items()]
    return {
        Metric.LATENCY: (constant + stack_mean + waits.mean_ps) / per / 1e6,
        Metric.LATENCY_P50: percentile(shares, 50) / per / 1e6,
        Metric.LATENCY_P99: percentile(shares, 99) / per / 1e6,
    }


def apart(loaded: Loaded) -> Apart:
    """Of established packets that the cards take if they may, one way, mean of both directions where there are both. A single
    connection that stays has one path, of which nothing is known: the mean one."""
    case, frame = loaded.case, frame_bytes(loaded.case, loaded.load)[0]
    single = loaded.connections == 1 and math.isinf(loaded.jobs_per_connection)
    if single or len({id(p) for p in case.of(Phase.ESTABLISHED, Direction.FORWARD)}) == 1:
        return ((1.0, 0.0, 0.0),)
    one_way = isinstance(loaded.load, PacketRate) or not case.has(Phase.ESTABLISHED, Direction.REPLY)
    directions = (Direction.FORWARD,) if one_way else tuple(Direction)
    found: dict[object, list[tuple[float, float, float]]] = defaultdict(list)
    for direction in directions:
        for way, (share, cost) in case.costs(Phase.ESTABLISHED, direction, frame, flows=loaded.connections).items():
            stack, _ = stacks(case, cost)
            found[way].append((share, cost.latency_ps - stack, stack))
    ways = [tuple(fmean(column) for column in zip(*parts, strict=True)) for parts in found.values()]
    total = sum(share for share, *_ in ways)
    fixed, stack = (sum(way[0] * way[i] for way in ways) / total for i in (1, 2))
    return tuple((share, c - fixed, m - stack) for share, c, m in ways)
