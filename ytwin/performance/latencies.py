"""Waits in front of resources, and percentiles of latency.

A path's latency is a constant plus a log-normal part with mean and variance of the stacks' latency (host.latency_scv) and the
waits. Jobs of unlike latency are a mixture (`Loaded.ways`): by path (a backend on the client's own node, one on another), by
whether a card has the connection, and first ones of a connection.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from scipy.optimize import brentq

from ytwin.core.units import PS_PER_S
from ytwin.performance.choice import Case
from ytwin.performance.jobs import Job, Part, Ways, slowness
from ytwin.performance.types import Demand, Metric, PathCost, Share
from ytwin.sim.analytic import erlang_c, ggc_wait

_ROUNDING = 1e-9
"""Of a probability: well above what shares lose by rounding, well below what anybody asks for."""


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
    such are nearly such: Fenton 1960). The middle of a gap between two kinds of jobs that lies at just this percentage: every
    number in it would do, and rounding must not choose."""
    return (_quantile(shares, percent / 100 - _ROUNDING) + _quantile(shares, percent / 100 + _ROUNDING)) / 2


def _quantile(shares: Sequence[tuple[float, float, float, float]], quantile: float) -> float:
    def beyond(x: float) -> float:
        return sum(w * _below(x, c, m, v) for w, c, m, v in shares) / total - quantile

    ends = [_percentile(c, m, v, quantile) for _, c, m, v in shares]
    low, high = min(ends), max(ends)
    total = sum(share for share, *_ in shares)
    if low == high or total <= 0 or beyond(high) <= 0:
        return high
    if beyond(low) >= 0:  # jobs of one kind that all take the same time
        return low
    return float(brentq(beyond, low, high))


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


def latencies(case: Case, mean: PathCost, ways: Sequence[Ways], waits: Waits | None) -> dict[Metric, float]:
    """Mean, median and tail of one way, in microseconds; nothing where waits are not known. `mean`: of the mean job; `ways`:
    what jobs of each kind wait for. Of a job of several round trips each one counts, as long as their mean."""
    if waits is None:
        return {}
    per = sum(share * len(parts) for share, parts in ways)
    mixed: dict[tuple[float, float, float], float] = defaultdict(float)
    for share, parts in ways:
        found, count = [stacks(case, way) for way in parts], len(parts)
        varying = sum(m for m, _ in found)
        constant = sum(way.latency_ps for way in parts) - varying
        spread = sum(v for _, v in found) + waits.variance * count / per
        kind = round(constant / count, 3), round(varying / count + waits.mean_ps / per, 3), spread / count**2
        mixed[kind] += share * count
    shares = [(share, *moments) for moments, share in mixed.items()]
    return {
        Metric.LATENCY: (mean.latency_ps + waits.mean_ps) / per / 1e6,
        Metric.LATENCY_P50: percentile(shares, 50) / 1e6,
        Metric.LATENCY_P99: percentile(shares, 99) / 1e6,
    }


def order_ends(values: Mapping[Metric, float], bounds: dict[Metric, tuple[float, float]]) -> None:
    """Neither end of the 99th percentile's interval is below that of the median's, nor of a mean that it exceeds."""
    tail = Metric.LATENCY_P99
    for metric in (Metric.LATENCY, Metric.LATENCY_P50):
        if tail in values and metric in values and values[metric] <= values[tail]:
            bounds[tail] = (max(bounds[tail][0], bounds[metric][0]), max(bounds[tail][1], bounds[metric][1]))
