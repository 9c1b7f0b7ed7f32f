"""Named random streams from one seed: the only place of this room that draws, and the only one that knows `numpy.random`.

A stream is found by its name, so the numbers behind `jobs/gap` are the same whatever else a model contains: two variants that are
compared see the same arrivals and services (common random numbers). Job n of a source has its services drawn whether it
needs them or not, so a loss or a cache hit does not shift the numbers of later jobs. Drawing in pieces gives the same numbers
as drawing at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ytwin.core.units import bad, require
from ytwin.sim.compiled import renew
from ytwin.sim.distributions import Constant, Distribution, Empirical, Exponential, Gamma, LogNormal, PerByte, Uniform
from ytwin.sim.model import Closed, Network, Open, Source

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Streams:
    """All streams of one seed; `replication` 0, 1, ... are independent repetitions."""

    seed: int
    replication: int = 0

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", f"{self.seed}", "give a whole number of at least 0")
        require(self.replication >= 0, "replication", f"{self.replication}", "give a whole number of at least 0")

    def generator(self, name: str) -> np.random.Generator:
        """The stream of that name, at its beginning."""
        words = np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4").tolist()
        sequence = np.random.SeedSequence(self.seed, spawn_key=(self.replication, *words))
        return np.random.Generator(np.random.SFC64(sequence))


def draw(generator: np.random.Generator, what: Distribution, count: int, least: int) -> Integers:
    """`count` whole numbers of a distribution, each at least `least`."""
    match what:
        case Constant(value):
            return np.full(count, max(least, round(value)), np.int64)
        case Exponential(mean):
            values = generator.standard_exponential(count)
            values *= mean
        case Uniform(low, high):
            values = generator.random(count)
            values *= high - low
            values += low
        case Gamma(mean, scv):
            values = generator.standard_gamma(1 / scv, count)
            values *= mean * scv
        case LogNormal(mean, scv):
            variance = np.log1p(scv)
            values = generator.standard_normal(count)
            values *= np.sqrt(variance)
            values += np.log(mean) - variance / 2
            np.exp(values, out=values)
        case Empirical(given):
            values = np.asarray(given, np.float64)[(generator.random(count) * len(given)).astype(np.int64)]
    values += 0.5  # astype cuts; half-up is the nearest
    whole: Integers = values.astype(np.int64)
    np.maximum(whole, least, out=whole)
    return whole


@dataclass(frozen=True, slots=True)
class SourceDraws:
    """Everything that chance decides about the jobs of one source; row n belongs to job n."""

    moments_ps: Integers
    """Open: instants of arrival, ascending. Closed: thinking time before request n."""
    services_ps: Integers
    """[step, job]."""
    connections: Integers
    """Open: connection of each job, numbered from 0; -1: one that no table takes. Closed: empty."""
    sizes_bytes: Integers
    barred: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    """Closed: by connection, in the order of their opening, whether tables do not take it; empty: they take all."""

    @property
    def jobs(self) -> int:
        """How many."""
        return len(self.moments_ps)


class SourceStream:
    """Draws one source's jobs, piece by piece."""

    def __init__(self, source: Source, streams: Streams) -> None:
        self._source = source
        names, seen = [], dict[str, int]()
        for step in source.steps:  # by name and visit: another station in between changes nothing here
            seen[step.station] = visit = seen.get(step.station, 0) + 1
            names.append(f"{source.name}/service/{step.station}/{visit}")
        self._services = [streams.generator(name) for name in names]
        self._moments = streams.generator(f"{source.name}/{'gap' if isinstance(source, Open) else 'think'}")
        self._sizes = streams.generator(f"{source.name}/size")
        self._picks = streams.generator(f"{source.name}/connection")
        self._admissions = streams.generator(f"{source.name}/admitted")
        self._clock_ps = 0
        if isinstance(source, Open):
            self._slots = np.arange(source.connections, dtype=np.int64)
            self._used = np.zeros(source.connections, np.int64)
            if source.under_way and source.jobs_per_connection is not None:
                ages = streams.generator(f"{source.name}/age")
                self._used = ages.integers(1, source.jobs_per_connection + 1, source.connections, np.int64)
            weights = np.arange(1, source.connections + 1, dtype=np.float64) ** -source.popularity
            self._cumulated = np.cumsum(weights) / weights.sum()
            self._next_connection = np.array([source.connections], np.int64)

    @property
    def connections(self) -> int:
        """How many were met so far."""
        return int(self._next_connection[0]) if isinstance(self._source, Open) else 0

    def draw(self, count: int) -> SourceDraws:
        """The next `count` jobs."""
        source = self._source
        sizes = draw(self._sizes, source.size_bytes, count, 0)
        services = np.empty((len(source.steps), count), np.int64)
        for row, (step, generator) in enumerate(zip(source.steps, self._services, strict=True)):
            if isinstance(step.service_ps, PerByte):
                exact = step.service_ps.fixed + step.service_ps.per_byte * sizes
                services[row] = np.maximum(1, np.floor(exact + 0.5))
            else:
                services[row] = draw(generator, step.service_ps, count, 1)
        if not isinstance(source, Open):
            thinking = draw(self._moments, source.think_ps, count, 0)
            return SourceDraws(thinking, services, np.empty(0, np.int64), sizes, self._barred(source, count))
        moments = draw(self._moments, source.gap_ps, count, 0)
        if count:
            moments[0] += self._clock_ps
            np.cumsum(moments, out=moments)
            self._clock_ps = int(moments[-1])
        if self._clock_ps < 0:
            raise bad(
                f"source {source.name}", "range", "the last arrival is more than 106 days away", "simulate fewer jobs"
            )
        return SourceDraws(moments, services, self._pick(source, count), sizes)

    def _barred(self, source: Closed, count: int) -> npt.NDArray[np.bool_]:
        """A coin for each connection that so many jobs can open."""
        if source.admitted == 1:
            return np.empty(0, np.bool_)
        per = source.requests_per_connection
        return self._admissions.random(source.clients + (count // per if per else 0)) >= source.admitted

    def _pick(self, source: Open, count: int) -> Integers:
        if source.connections == 1 and source.jobs_per_connection is None:
            return np.zeros(count, np.int64)
        chance = self._picks.random(count)
        if source.popularity:
            slots: Integers = np.minimum(np.searchsorted(self._cumulated, chance, "right"), source.connections - 1)
        else:
            slots = (chance * source.connections).astype(np.int64)
        if source.jobs_per_connection is not None:
            renew(slots, self._slots, self._used, self._next_connection, source.jobs_per_connection)
        return slots


def draw_network(network: Network, streams: Streams, jobs: Mapping[str, int]) -> tuple[SourceDraws, ...]:
    """So many jobs of every source, by its name."""
    names = {s.name for s in network.sources}
    require(set(jobs) == names, "jobs", f"given for {sorted(jobs)}", f"say how many for each of {sorted(names)}")
    for name, count in jobs.items():
        require(count >= 1, f"jobs.{name}", f"{count} jobs", "give at least 1")
    return tuple(SourceStream(source, streams).draw(jobs[source.name]) for source in network.sources)
