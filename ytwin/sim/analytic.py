"""Formulas: what the engines give in the long run, in microseconds of computing. Each says where it is from and where it holds.

Rates and services in one unit of time (any; in this project per picosecond and picoseconds, or per second and seconds).
W is waiting before service, without it; a load that cannot be carried is InvalidInput, not infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import brentq

from ytwin.core.units import require
from ytwin.sim.distributions import PerByte, Service
from ytwin.sim.model import Arrivals, Pipeline


def _stable(load: float, servers: int, what: str) -> None:
    require(load >= 0, what, f"a load of {load:.4g}", "give rates and services without signs")
    require(
        load < servers,
        what,
        f"{load:.4g} servers' work comes to {servers}: the queue grows for ever",
        "lower the rate or the service time, add servers, or simulate it with waiting places that end",
    )


def erlang_b(load: float, servers: int) -> float:
    """Part of the arrivals that is lost where nobody waits.

    M/G/c/c: Poisson arrivals, any service (Erlang 1917; Sevastyanov 1957).
    """
    require(load >= 0 and servers >= 0, "erlang_b", f"{load:.4g} on {servers}", "give numbers of at least 0")
    lost = 1.0
    for c in range(1, servers + 1):
        lost = load * lost / (c + load * lost)
    return lost


def erlang_c(load: float, servers: int) -> float:
    """Part of the arrivals that waits. M/M/c, load < c (Erlang 1917; Kleinrock, Queueing Systems I, 3.5)."""
    _stable(load, servers, "erlang_c")
    lost = erlang_b(load, servers)
    return lost / (1 - load / servers * (1 - lost))


def mmc_wait(rate: float, service: float, servers: int = 1) -> float:
    """Mean wait. M/M/c (M/M/1: rho s / (1 - rho)): Poisson arrivals, exponential service, FIFO (Kleinrock I, 3.2 and 3.5)."""
    load = rate * service
    return erlang_c(load, servers) * service / (servers - load)


def mmc_wait_percentile(rate: float, service: float, servers: int, percent: float) -> float:
    """A percentile of the wait. M/M/c, FIFO: P(W > t) = C exp(-(c - a) t / s) (Kleinrock I, 5.9)."""
    load = rate * service
    waits, rest = erlang_c(load, servers), 1 - percent / 100
    return 0.0 if rest >= waits else service / (servers - load) * math.log(waits / rest)


def mg1_wait(rate: float, service: float, scv: float) -> float:
    """Mean wait.

    M/G/1, any order that does not look at the service (Pollaczek 1930, Khinchine 1932): rho s (1 + scv) / (2 (1 - rho)).
    """
    load = rate * service
    _stable(load, 1, "mg1_wait")
    return load * service * (1 + scv) / (2 * (1 - load))


def md1_wait(rate: float, service: float) -> float:
    """Mean wait. M/D/1: M/G/1 with scv 0."""
    return mg1_wait(rate, service, 0.0)


def ggc_wait(rate: float, gap_scv: float, service: float, scv: float, servers: int = 1) -> float:
    """Mean wait, approximately. GI/G/c (Allen and Cunneen 1978; Kingman 1961 for c = 1): M/M/c's times (ca2 + cs2) / 2.

    Exact for M/M/c and M/G/1. Otherwise good (some per cent) for loads above 70 % and coefficients of 1 and below; for regular
    arrivals it is too high at small loads.
    """
    return mmc_wait(rate, service, servers) * (gap_scv + scv) / 2


def mmck(rate: float, service: float, servers: int, queue: int) -> tuple[float, float]:
    """(part lost, mean wait of those served).

    M/M/c with `queue` waiting places; any load (Kleinrock I, 3.6; Gross and Harris 2.5).
    """
    require(rate > 0 and service > 0, "mmck", f"rate {rate:.4g}, service {service:.4g}", "give numbers above 0")
    load = rate * service
    weights = [1.0]
    for n in range(1, servers + queue + 1):
        weights.append(weights[-1] * load / min(n, servers))
        if weights[-1] > 1e200:
            weights = [w / 1e200 for w in weights]
    total = sum(weights)
    lost = weights[-1] / total
    waiting = sum((n - servers) * w for n, w in enumerate(weights) if n > servers) / total
    return lost, waiting / (rate * (1 - lost))


def tandem_latency(rate: float, services: Sequence[float], servers: Sequence[int] | None = None) -> float:
    """Mean time through stages in a row: each is M/M/c on its own.

    Poisson arrivals, exponential services, no losses (Burke 1956; Jackson 1957).
    """
    counts = servers if servers is not None else [1] * len(services)
    return sum(mmc_wait(rate, s, c) + s for s, c in zip(services, counts, strict=True))


def bottleneck(demands: Sequence[float], servers: Sequence[int] | None = None) -> float:
    """Most jobs per unit of time that the resources can carry: min c / demand.

    Any distributions, no losses (utilisation law; Denning and Buzen 1978).
    """
    counts = servers if servers is not None else [1] * len(demands)
    return min((c / d for d, c in zip(demands, counts, strict=True) if d > 0), default=math.inf)


@dataclass(frozen=True, slots=True)
class ClosedLoad:
    """What a closed network gives: jobs per unit of time, and time from asking to the answer."""

    throughput: float
    response: float


def closed_mva(clients: int, demands: Sequence[float], servers: Sequence[int | None], think: float = 0.0) -> ClosedLoad:
    """Exact mean values of one class (Reiser and Lavenberg 1980), with several servers per station (load-dependent).

    Holds where the network has product form: FIFO stations with exponential service (the same for every visit), or delays
    (`servers` None) of any distribution; no losses. O(clients * stations); with several servers O(clients^2 * stations) in time
    and memory.
    """
    require(clients >= 1, "clients", f"{clients}", "give at least 1")
    if any((count or 1) > 1 for count in servers):
        return _closed_convolution(clients, demands, servers, think)
    return _recursion(1, clients, [0.0] * len(demands), demands, servers, think)


def _recursion(
    first: int, last: int, queues: list[float], demands: Sequence[float], servers: Sequence[int | None], think: float
) -> ClosedLoad:
    """From `first` clients, with the mean queues of one client fewer, to `last`."""
    throughput = response = 0.0
    for n in range(first, last + 1):
        times = [d if c is None else d * (1 + q) for d, c, q in zip(demands, servers, queues, strict=True)]
        response = sum(times)
        throughput = n / (think + response)
        queues = [throughput * time for time in times]
    return ClosedLoad(throughput, response)


LAST_STEPS: Final = 5000
"""Of `closed_many`. One takes some microseconds; what is wrong at their beginning is forgotten after about the square root of the
number of clients."""


def closed_many(
    clients: int, demands: Sequence[float], servers: Sequence[int | None], think: float = 0.0
) -> ClosedLoad:
    """`closed_mva` for any number of clients, with one server per station: exact up to `LAST_STEPS` clients.

    Beyond, the recursion begins that far below, from the queues of Bard's (1979) and Schweitzer's (1979) fixed point: who arrives
    sees (n - 1) / n of the mean queue. O(stations) more than `LAST_STEPS` of the recursion, however many clients there are.
    """
    require(clients >= 1, "clients", f"{clients}", "give at least 1")
    require(all(count in (1, None) for count in servers), "servers", "several", "use closed_mva, or take them apart")
    before = max(0, clients - LAST_STEPS)
    queues = _schweitzer(before, demands, servers, think) if before else [0.0] * len(demands)
    return _recursion(before + 1, clients, queues, demands, servers, think)


def _schweitzer(clients: int, demands: Sequence[float], servers: Sequence[int | None], think: float) -> list[float]:
    """Mean numbers at the stations. With a throughput X, q = X d (1 + q (n - 1) / n) at each, and all together are n."""
    part = (clients - 1) / clients
    narrow = max((d for d, c in zip(demands, servers, strict=True) if c), default=0.0)
    total = sum(demands) + think
    # Beyond by more than it is rounded to: both bounds may be the answer.
    high = (1 + 1e-12) * min(1 / (part * narrow) if part * narrow else math.inf, clients / total)

    def at(throughput: float) -> list[float]:
        return [
            throughput * d / (1 if c is None else max(1e-15, 1 - throughput * d * part))
            for d, c in zip(demands, servers, strict=True)
        ]

    return at(float(brentq(lambda x: x * think + sum(at(x)) - clients, 0.0, high, xtol=1e-18 * high, rtol=1e-14)))


def _closed_convolution(
    clients: int, demands: Sequence[float], servers: Sequence[int | None], think: float
) -> ClosedLoad:
    """From normalising constants (Buzen 1973), by their logarithms: the recursion for several servers takes differences of
    probabilities, and with tens of clients loses most of its digits."""
    jobs = np.arange(clients + 1)
    behind = jobs[:, None] - jobs[None, :]
    constants = np.where(jobs == 0, 0.0, -np.inf)
    delay = think + sum(d for d, c in zip(demands, servers, strict=True) if c is None)
    factors = [(delay, jobs)] + [
        (d, np.minimum(jobs, c)) for d, c in zip(demands, servers, strict=True) if c is not None
    ]
    for demand, busy in factors:
        if demand > 0:
            station = jobs * math.log(demand) - np.cumsum(np.log(np.maximum(busy, 1)))
            terms = np.where(behind >= 0, constants[None, :] + station[behind], -np.inf)
            constants = np.logaddexp.reduce(terms, axis=1)
    throughput = math.exp(constants[-2] - constants[-1])
    return ClosedLoad(throughput, clients / throughput - think)


def closed_bounds(
    clients: int, demands: Sequence[float], servers: Sequence[int | None], think: float = 0.0
) -> ClosedLoad:
    """Most throughput, and least response, of any closed network without losses (asymptotic bounds; Denning and Buzen 1978)."""
    total = sum(demands)
    limit = bottleneck([d for d, c in zip(demands, servers, strict=True) if c], [c for c in servers if c])
    throughput = min(limit, clients / (total + think) if total + think else math.inf)
    return ClosedLoad(throughput, max(total, clients / limit - think))


def table_entries(rate: float, lifetime: float, idle: float, sweep: float = 0.0) -> float:
    """Mean entries of a table that is never full: connections come at a rate, are used for `lifetime` and age.

    Little 1961: each stays from insertion to the first sweep after its idle time, on average half a sweep later. Holds
    where connections
    begin at any time against the sweeps, and are used more often than once per idle time.
    """
    require(min(rate, lifetime, idle, sweep) >= 0, "table_entries", "a number below 0", "give numbers without signs")
    return rate * (lifetime + idle + sweep / 2)


def lru_hit_ratio(popularity: Sequence[float], capacity: int) -> float:
    """Part of the jobs that finds its connection in a full LRU table.

    Che, Tung and Wang 2002: each connection stays for the same time T, with sum(1 - exp(-p_i T)) = capacity. Holds for jobs that
    choose their connection independently and for insertion without delay; the error is below 1 % from some tens of entries on.
    """
    weight = sum(popularity)
    parts = [p / weight for p in popularity if p > 0]
    if capacity >= len(parts):
        return 1.0
    if capacity <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while sum(-math.expm1(-p * high) for p in parts) < capacity:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if sum(-math.expm1(-p * middle) for p in parts) < capacity:
            low = middle
        else:
            high = middle
    return sum(p * -math.expm1(-p * high) for p in parts)


@dataclass(frozen=True, slots=True)
class StageForecast:
    """One stage of `forecast`, in picoseconds."""

    name: str
    utilisation: float
    wait_ps: float
    service_ps: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the formulas say of a pipeline; `limit_per_s` of its bottleneck."""

    stages: tuple[StageForecast, ...]
    limit_per_s: float
    bottleneck: str

    @property
    def latency_ps(self) -> float:
        """Mean, through all stages."""
        return sum(s.wait_ps + s.service_ps for s in self.stages)


def forecast(pipeline: Pipeline, arrivals: Arrivals) -> Forecast:
    """Utilisation, waits and limit of a pipeline without tables, in the parametric-decomposition way (Whitt, The Queueing
    Network Analyzer, 1983).

    Each stage is GI/G/c; what leaves it has scv 1 + (1 - rho^2)(ca2 - 1) + rho^2 (max(cs2, 0.2) - 1) / sqrt(c).
    Exact for exponential tandems; within some per cent for loads of 50 to 90 %, coefficients of 1 and below and no losses.
    Limits of queues are not looked at: it answers what the stages could do if nothing were lost.
    """
    rate = 1 / arrivals.gap_ps.mean
    flow_scv = arrivals.gap_ps.scv
    stages, limits = [], []
    for stage in pipeline.stages:
        require(
            stage.table is None,
            f"stage {stage.name}",
            "the formulas do not know tables",
            "simulate it, or leave the table out",
        )
        mean, scv = service_moments(stage.service_ps, arrivals)
        rho = rate * mean / stage.servers
        limits.append((1e12 * stage.servers / mean if mean else math.inf, stage.name))
        wait = ggc_wait(rate, flow_scv, mean, scv, stage.servers)
        stages.append(StageForecast(stage.name, rho, wait, mean))
        flow_scv = 1 + (1 - rho**2) * (flow_scv - 1) + rho**2 * (max(scv, 0.2) - 1) / math.sqrt(stage.servers)
    limit, name = min(limits)
    return Forecast(tuple(stages), limit, name)


def service_moments(service: Service, arrivals: Arrivals) -> tuple[float, float]:
    """Mean and scv of a service, through the sizes of the jobs where it depends on them."""
    if isinstance(service, PerByte):
        size = arrivals.size_bytes
        mean = service.fixed + service.per_byte * size.mean
        return mean, (service.per_byte * size.mean) ** 2 * size.scv / mean**2 if mean else 0.0
    return service.mean, service.scv
