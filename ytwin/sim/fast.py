"""The fast engine: `simulate` any network in a compiled event loop, a pipeline stage by stage, a long one in bounded memory.

On the same draws every function gives what `reference.simulate` gives, to the last picosecond and the last lost job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from ytwin.sim import loop, passes, tables
from ytwin.sim.model import Arrivals, Closed, Network, Pipeline, Source, as_source
from ytwin.sim.results import Result, SourceResult, TableCounts
from ytwin.sim.streams import SourceDraws, SourceStream, Streams
from ytwin.sim.summary import StageSummary, Summary
from ytwin.sim.units import require

Integers = npt.NDArray[np.int64]

MEMORY_BYTES: Final = 2 * 2**30
"""What a run may take unless the caller says otherwise."""
CHUNK: Final = 1 << 15
"""Jobs per piece of a long run: its arrays stay in the processor's cache."""


def needed_bytes(network: Network, jobs: Sequence[int]) -> int:
    """Memory of draws, state and result of a whole run."""
    total = 0
    connections = 0
    for source, count in zip(network.sources, jobs, strict=True):
        total += count * 8 * (2 * len(source.steps) + 16)
        connections += most_connections(source, count)
    return total + connections * (tables.BYTES_PER_CONNECTION * len(network.tables) + 1)


def most_connections(source: Source, jobs: int) -> int:
    """How many connections so many jobs can belong to."""
    if isinstance(source, Closed):
        per = source.requests_per_connection
        return source.clients + (jobs // per if per else 0)
    return source.connections + (jobs // source.jobs_per_connection if source.jobs_per_connection else 0)


def check_memory(network: Network, jobs: Sequence[int], memory_bytes: int = MEMORY_BYTES) -> None:
    """InvalidInput if a whole run needs more."""
    need = needed_bytes(network, jobs)
    require(
        need <= memory_bytes,
        "jobs",
        f"{sum(jobs):,} jobs need {need / 2**20:,.0f} MiB, {memory_bytes / 2**20:,.0f} MiB are given",
        "simulate a shorter time, give more memory, or stream a pipeline (`fast.stream`), which needs memory for a piece only",
    )


def _limit(value: int | None) -> int:
    return -1 if value is None else value


def simulate(
    network: Network, draws: Sequence[SourceDraws], stop_ps: int | None = None, memory_bytes: int = MEMORY_BYTES
) -> Result:
    """Run a network on given numbers; from `stop_ps` on nothing new begins."""
    jobs = [d.jobs for d in draws]
    check_memory(network, jobs, memory_bytes)
    first_job = np.cumsum([0, *jobs])
    sources = network.sources
    first_step = np.cumsum([0, *(len(s.steps) for s in sources)])
    connections = np.cumsum([0, *(_connections(s, d) for s, d in zip(sources, draws, strict=True))])
    net = _lower(network, draws, first_job, first_step, connections)
    stack = tables.stacked(network.tables, int(connections[-1]))
    live = _live(network, net, int(connections[-1]))
    end_ps, _ = loop.run(net, live, stack, len(network.tables), 2**62 if stop_ps is None else stop_ps)
    results = []
    for i, source in enumerate(sources):
        rows = slice(first_job[i], first_job[i + 1])
        begin, end = net.first_value[first_step[i]], net.first_value[first_step[i]] + len(source.steps) * jobs[i]
        waits = live.waits_ps[begin:end].reshape(len(source.steps), jobs[i])
        one = SourceResult(
            source.name, live.start_ps[rows], live.end_ps[rows], live.lost_at[rows], live.tries[rows], waits
        )
        results.append(one)
    counts = tuple(tables.counts_of(t.name, tables.at(stack, i)) for i, t in enumerate(network.tables))
    return Result(tuple(results), counts, live.busy_ps, int(end_ps))


def _connections(source: Source, draws: SourceDraws) -> int:
    if isinstance(source, Closed):
        return most_connections(source, draws.jobs)
    return int(draws.connections.max(initial=-1)) + 1


def _array(values: Sequence[int]) -> Integers:
    return np.array(values, np.int64)


def _lower(
    network: Network, draws: Sequence[SourceDraws], first_job: Integers, first_step: Integers, connections: Integers
) -> loop.Net:
    station = {s.name: i for i, s in enumerate(network.stations)}
    table = {t.name: i for i, t in enumerate(network.tables)} | {"": -1}
    steps = [(step, d.jobs) for s, d in zip(network.sources, draws, strict=True) for step in s.steps]
    values = np.cumsum([0, *(count for _, count in steps)])
    closed = [s if isinstance(s, Closed) else None for s in network.sources]
    given = [
        np.full(d.jobs, -1, np.int64) if c else np.where(d.connections >= 0, d.connections + connections[i], -1)
        for i, (c, d) in enumerate(zip(closed, draws, strict=True))
    ]
    return loop.Net(
        _array([_limit(s.servers) for s in network.stations]),
        _array([_limit(s.queue) for s in network.stations]),
        _array([station[step.station] for step, _ in steps]),
        _array([table[step.table] for step, _ in steps]),
        _array([int(step.opening) for step, _ in steps]),
        values,
        first_job,
        first_step,
        _array([c.clients if c else 0 for c in closed]),
        _array([_limit(c.requests_per_connection) if c else -1 for c in closed]),
        _array([c.retry_ps if c else -1 for c in closed]),
        connections,
        np.concatenate([d.services_ps.reshape(-1) for d in draws]),
        np.concatenate([d.moments_ps for d in draws]),
        np.concatenate(given),
    )


def _live(network: Network, net: loop.Net, connections: int) -> loop.Live:
    jobs, stations = int(net.first_job[-1]), len(network.stations)

    def zeros(count: int) -> Integers:
        return np.zeros(count, np.int64)

    def unset(count: int) -> Integers:
        return np.full(count, -1, np.int64)

    # At most one event per job, insertion and sweep per table.
    events = jobs + 2 * len(network.tables) + 1
    source = np.repeat(np.arange(len(network.sources)), np.diff(net.first_job))
    return loop.Live(
        zeros(stations), zeros(stations), zeros(stations), zeros(stations), zeros(stations),
        source, unset(jobs), unset(jobs), zeros(jobs), unset(jobs), zeros(jobs),
        unset(jobs), unset(jobs), unset(jobs), zeros(jobs), unset(len(net.services_ps)),
        np.zeros(connections + 1, np.uint8), zeros(len(network.sources)), zeros(len(network.sources)),
        zeros(events), zeros(events), zeros(1), zeros(1),
    )  # fmt: skip


class _StageRun:
    """State of one stage between pieces."""

    def __init__(self, pipeline: Pipeline, number: int) -> None:
        self.stage = stage = pipeline.stages[number]
        self.free_ps = np.full(stage.servers, passes.EARLIEST, np.int64)
        self.places = _limit(stage.queue)
        self.starts_ps = np.full(max(1, self.places), passes.EARLIEST, np.int64)
        self.counts = np.zeros(5, np.int64)
        self.wait_sum_ps = np.zeros(1)
        self.held: Integers = np.empty(0, np.int64)
        self.sorted = stage.servers == 1 and stage.table is None  # FIFO and one server: nobody overtakes
        if stage.table:
            self.table = tables.empty(stage.table, 1)
            sweep_ps = passes.NEVER if stage.table.sweep_ps is None else stage.table.sweep_ps
            state = _array([0, passes.NEVER, sweep_ps])
            self.slow = passes.SlowPath(np.empty(0, np.int64), np.empty(0, np.int64), state)

    def room(self, jobs: int, connections: int) -> None:
        """For so many jobs and connections; jobs held at earlier stages come to this one too."""
        if self.stage.table is None:
            return
        if connections > len(self.table.state):
            self.table = tables.grown(self.table, max(connections, 2 * len(self.table.state)))
        size = int(self.slow.state[0])
        if jobs > len(self.slow.times):
            grown = [np.concatenate([old[:size], np.empty(2 * jobs, np.int64)]) for old in self.slow[:2]]
            self.slow = passes.SlowPath(grown[0], grown[1], self.slow.state)

    def run(self, order: Integers, pool: _Pool, number: int) -> Integers:
        """The jobs that leave, by (instant, row); instants in the pool."""
        service, waits = pool.services_ps[number], pool.waits_ps[number] if len(pool.waits_ps) else pool.none
        count = len(order)
        if self.stage.table:
            count = passes.with_table(
                order, count, pool.time_ps, service, waits, pool.connections, self.free_ps, self.starts_ps, self.places,
                self.counts, self.wait_sum_ps, self.table, self.slow,
            )  # fmt: skip
        elif self.sorted and self.places < 0:
            passes.unlimited(order, count, pool.time_ps, service, waits, self.free_ps, self.counts, self.wait_sum_ps)
        else:
            one = self.sorted and self.places > 0
            count = (passes.limited_single if one else passes.limited)(
                order, count, pool.time_ps, service, waits, self.free_ps, self.starts_ps, self.places,
                self.counts, self.wait_sum_ps,
            )  # fmt: skip
        order = order[:count]
        if len(self.held):
            order = np.concatenate([self.held, order])
        if not self.sorted and not passes.settle(order, len(order), pool.time_ps):
            order.sort()
            order = order[np.argsort(pool.time_ps[order], kind="stable")]
        return order


class _Pool:
    """Jobs under way, one row each, in the order of their numbers."""

    def __init__(self, stages: int, record: bool) -> None:
        self.none: Integers = np.empty(0, np.int64)
        self.number = self.born_ps = self.time_ps = self.connections = self.none
        self.lost_at = self.none
        self.services_ps: Integers = np.empty((stages, 0), np.int64)
        self.waits_ps: Integers = np.empty((stages if record else 0, 0), np.int64)


class PipelineRun:
    """A pipeline whose jobs come in pieces. What a stage gives before the last arrival of a piece is final; the rest is held."""

    def __init__(self, pipeline: Pipeline, record: bool = False) -> None:
        self.stages = [_StageRun(pipeline, i) for i in range(len(pipeline.stages))]
        self.pool = _Pool(len(self.stages), record)
        self.record = record
        self.jobs = 0

    def feed(self, draws: SourceDraws, last: bool) -> Integers:
        """The next jobs; rows of the pool that leave the pipeline, in their order. `last`: none follow."""
        fresh = self._take(draws)
        pool = self.pool
        horizon_ps = passes.NEVER if last or not draws.jobs else int(draws.moments_ps[-1])
        order = fresh
        for number, stage in enumerate(self.stages):
            came = order.copy() if self.record else order
            order = stage.run(order, pool, number)
            if self.record:
                pool.lost_at[came[pool.time_ps[came] < 0]] = number
            if stage.stage.table and not last:
                passes.catch_up(stage.table, stage.slow, pool.connections, horizon_ps - 1)
            leaving = passes.before(order, len(order), pool.time_ps, horizon_ps)
            stage.held = order[leaving:].copy()
            order = order[:leaving].copy()
        return order

    def _take(self, draws: SourceDraws) -> Integers:
        """Forget who left, add who comes; the rows of the latter."""
        pool, count = self.pool, draws.jobs
        stay = np.sort(np.concatenate([s.held for s in self.stages]))
        for stage in self.stages:
            if stage.stage.table:
                stage.room(len(stay) + count, int(draws.connections.max(initial=-1)) + 1)
                size = int(stage.slow.state[0])
                stage.slow.rows[:size] = np.searchsorted(stay, stage.slow.rows[:size])
            stage.held = np.searchsorted(stay, stage.held)
        moments = draws.moments_ps
        pool.number = np.concatenate([pool.number[stay], np.arange(self.jobs, self.jobs + count)])
        pool.born_ps = np.concatenate([pool.born_ps[stay], moments])
        pool.time_ps = np.concatenate([pool.time_ps[stay], moments])
        pool.connections = np.concatenate([pool.connections[stay], draws.connections])
        if len(stay):
            pool.services_ps = np.concatenate([pool.services_ps[:, stay], draws.services_ps], axis=1)
        else:
            pool.services_ps = draws.services_ps
        if self.record:
            fresh = np.full((len(self.stages), count), -1, np.int64)
            pool.waits_ps = np.concatenate([pool.waits_ps[:, stay], fresh], axis=1)
            pool.lost_at = np.full(len(stay) + count, -1, np.int64)
        self.jobs += count
        return np.arange(len(stay), len(stay) + count)

    def table_counts(self) -> tuple[TableCounts, ...]:
        """Of the stages that have one."""
        return tuple(tables.counts_of(s.stage.table.name, s.table) for s in self.stages if s.stage.table)

    def finish(self, end_ps: int) -> None:
        """What the tables do until the end."""
        for stage in self.stages:
            if stage.stage.table:
                passes.catch_up(stage.table, stage.slow, self.pool.connections, end_ps)


def simulate_pipeline(
    pipeline: Pipeline, draws: SourceDraws, memory_bytes: int = MEMORY_BYTES, pieces: int = 1
) -> Result:
    """Run a pipeline on given numbers, with every job's waits. `pieces`: in how many it is fed; changes nothing."""
    jobs, stages = draws.jobs, len(pipeline.stages)
    need = jobs * 8 * (4 * stages + 12)
    require(
        need <= memory_bytes,
        "jobs",
        f"{jobs:,} jobs need {need / 2**20:,.0f} MiB, {memory_bytes / 2**20:,.0f} MiB are given",
        "simulate fewer jobs, give more memory, or use `fast.stream`, which needs memory for a piece only",
    )
    run = PipelineRun(pipeline, record=True)
    end, lost = np.full(jobs, -1, np.int64), np.full(jobs, -1, np.int64)
    waits = np.full((stages, jobs), -1, np.int64)
    end_ps = 0
    edges = np.linspace(0, jobs, pieces + 1).astype(np.int64)
    for i in range(pieces):
        part = slice(edges[i], edges[i + 1])
        moments, services = draws.moments_ps[part], draws.services_ps[:, part]
        piece = SourceDraws(moments, services, draws.connections[part], draws.sizes_bytes[part])
        leaving = run.feed(piece, last=i == pieces - 1)
        pool = run.pool
        end[pool.number[leaving]] = pool.time_ps[leaving]
        lost[pool.number] = pool.lost_at
        waits[:, pool.number] = pool.waits_ps
        gone_ps = np.where(pool.lost_at >= 0, -1 - pool.time_ps, pool.time_ps)
        end_ps = max(end_ps, int(gone_ps.max(initial=0)))
    run.finish(end_ps)
    result = SourceResult("jobs", draws.moments_ps.copy(), end, lost, np.ones(jobs, np.int64), waits)
    busy = _array([s.counts[passes.BUSY_PS] for s in run.stages])
    return Result((result,), run.table_counts(), busy, end_ps)


def _pieces(source: SourceStream, jobs: int, chunk: int) -> Iterator[tuple[int, SourceDraws]]:
    """First job and draws of each piece.

    The next one is drawn by another thread meanwhile (drawing takes as long as simulating).
    """
    sizes = [min(chunk, jobs - first) for first in range(0, jobs, chunk)]
    with ThreadPoolExecutor(1) as other:
        coming = other.submit(source.draw, sizes[0])
        for i in range(len(sizes)):
            draws = coming.result()
            if i + 1 < len(sizes):
                coming = other.submit(source.draw, sizes[i + 1])
            yield i * chunk, draws


def stream(
    pipeline: Pipeline, arrivals: Arrivals, streams: Streams, jobs: int, warmup: float = 0.1, chunk: int = CHUNK
) -> Summary:
    """Draw and run any number of jobs, a piece at a time: memory does not grow with their number (connections: 25 B each
    per table).

    Latencies of the first `warmup` (a fraction) of the jobs are left out; counts of stages are of all.
    """
    require(jobs >= 1, "jobs", f"{jobs}", "give at least 1")
    require(0 <= warmup < 1, "warmup", f"{warmup}", "give a fraction below 1")
    require(chunk >= 1, "chunk", f"{chunk}", "give at least 1")
    source = SourceStream(as_source(pipeline, arrivals), streams)
    run = PipelineRun(pipeline)
    bins, sums = np.zeros(passes.BINS, np.int64), np.zeros(4)
    end_ps = begin_ps = from_ps = 0
    cut = round(jobs * warmup)
    for first, draws in _pieces(source, jobs, chunk):
        if first <= cut < first + draws.jobs:
            from_ps = int(draws.moments_ps[cut - first])
        elif first < cut:
            from_ps = passes.NEVER
        begin_ps = int(draws.moments_ps[0]) if first == 0 else begin_ps
        leaving = run.feed(draws, last=first + draws.jobs >= jobs)
        passes.tally(leaving, len(leaving), run.pool.time_ps, run.pool.born_ps, bins, sums, from_ps)
        end_ps = max(end_ps, int(run.pool.time_ps.max()))
    run.finish(end_ps)
    stages = tuple(
        StageSummary(
            s.stage.name, s.stage.servers, int(s.counts[passes.VISITS]), int(s.counts[passes.LOST]),
            int(s.counts[passes.BUSY_PS]), float(s.wait_sum_ps[0]), int(s.counts[passes.MAX_WAIT_PS]),
        )
        for s in run.stages
    )  # fmt: skip
    return Summary(jobs, begin_ps, end_ps, stages, run.table_counts(), bins, *(float(v) for v in sums))
