"""The fast engine: `simulate` any network in a compiled event loop, a pipeline stage by stage, a long one in bounded memory.

On the same draws every function gives what `reference.simulate` gives, to the last picosecond and the last lost job.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from ytwin.core.units import require
from ytwin.sim import loop, passes, tables
from ytwin.sim.model import Arrivals, Closed, Network, Open, Pipeline, Source, as_source, entries_at_start
from ytwin.sim.results import Result, SourceResult, TableCounts
from ytwin.sim.streams import SourceDraws, SourceStream, Streams
from ytwin.sim.summary import StageSummary, Summary

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
        total += count * 8 * (4 * len(source.steps) + 20)
        connections += most_connections(source, count)
    return total + connections * (tables.BYTES_PER_CONNECTION * 2 * len(network.tables) + 8)


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
    memory, places = _lower(network, draws)
    # At most one event per job, insertion and sweep per table.
    events = sum(jobs) + 2 * len(network.tables) + 1
    heap = loop.Heap(np.empty(events, np.int64), np.empty(events, np.int64))
    end_ps, _ = loop.run(memory, places, heap, len(network.tables), 2**62 if stop_ps is None else stop_ps)
    results, first_job, first_value = [], 0, 0
    for source, count in zip(network.sources, jobs, strict=True):
        steps = len(source.steps)
        start, end, lost, tries = (
            memory[at + first_job : at + first_job + count]
            for at in (places.start_ps, places.end_ps, places.lost_at, places.tries)
        )
        waits = memory[places.waits_ps + first_value : places.waits_ps + first_value + steps * count]
        results.append(SourceResult(source.name, start, end, lost, tries, waits.reshape(steps, count)))
        first_job, first_value = first_job + count, first_value + steps * count
    size = tables.BYTES_PER_CONNECTION // 8 * places.connections + tables.SCALARS
    blocks = (memory[places.tables + i * size : places.tables + (i + 1) * size] for i in range(len(network.tables)))
    counts = tuple(tables.counts_of(t.name, block) for t, block in zip(network.tables, blocks, strict=True))
    busy = memory[places.busy_ps : places.busy_ps + len(network.stations)]
    return Result(tuple(results), counts, busy, int(end_ps))


def _connections(source: Source, draws: SourceDraws) -> int:
    if isinstance(source, Closed):
        return most_connections(source, draws.jobs)
    return int(draws.connections.max(initial=-1)) + 1


def _array(values: Sequence[int]) -> Integers:
    return np.array(values, np.int64)


def _lower(network: Network, draws: Sequence[SourceDraws]) -> tuple[Integers, loop.Map]:
    """The network, its numbers and its first state in one array, and where in it what is."""
    sources = network.sources
    station = {s.name: i for i, s in enumerate(network.stations)}
    table = {t.name: i for i, t in enumerate(network.tables)} | {"": -1}
    steps = [(step, d.jobs) for s, d in zip(sources, draws, strict=True) for step in s.steps]
    closed = [s if isinstance(s, Closed) else None for s in sources]
    jobs = [d.jobs for d in draws]
    first_connection = np.cumsum([0, *(_connections(s, d) for s, d in zip(sources, draws, strict=True))])
    connections = int(first_connection[-1])
    given = [
        np.full(d.jobs, -1, np.int64) if c else np.where(d.connections >= 0, d.connections + first_connection[i], -1)
        for i, (c, d) in enumerate(zip(closed, draws, strict=True))
    ]
    # A part is its content, or (how many, of what).
    per_job, per_station = (sum(jobs), -1), (len(network.stations), 0)
    values = sum(count for _, count in steps)
    parts: dict[str, Integers | tuple[int, int]] = {
        "servers": _array([_limit(s.servers) for s in network.stations]),
        "queue": _array([_limit(s.queue) for s in network.stations]),
        "step_station": _array([station[step.station] for step, _ in steps]),
        "step_table": _array([table[step.table] for step, _ in steps]),
        "step_opening": _array([int(step.opening) for step, _ in steps]),
        "first_value": np.cumsum([0, *(count for _, count in steps)]),
        "first_job": np.cumsum([0, *jobs]),
        "first_step": np.cumsum([0, *(len(s.steps) for s in sources)]),
        "first_connection": first_connection,
        "clients": _array([c.clients if c else 0 for c in closed]),
        "per_connection": _array([_limit(c.requests_per_connection) if c else -1 for c in closed]),
        "retry_ps": _array([c.retry_ps if c else -1 for c in closed]),
        "most_tries": _array([c.most_tries if c else -1 for c in closed]),
        "services_ps": np.concatenate([d.services_ps.reshape(-1) for d in draws]),
        "moments_ps": np.concatenate([d.moments_ps for d in draws]),
        "given_connection": np.concatenate(given),
        **dict.fromkeys(("busy", "waiting", "head", "tail", "busy_ps"), per_station),
        "source": np.repeat(np.arange(len(sources)), jobs),
        **dict.fromkeys(("step", "connection", "used", "following", "came_ps", "start_ps", "end_ps", "lost_at"), per_job),
        "tries": (sum(jobs), 0),
        "waits_ps": (values, -1),
        "seen": _seen(sources, first_connection),
        "issued": (len(sources), 0),
        "next_connection": (len(sources), 0),
        "size": (1, 0),
        "active": (1, 0),
        "tables": _tables(network, first_connection, draws),
    }  # fmt: skip
    ends = np.cumsum([p[0] if isinstance(p, tuple) else len(p) for p in parts.values()]).tolist()
    begins = [0, *ends[:-1]]
    memory = np.empty(ends[-1], np.int64)
    for begin, end, part in zip(begins, ends, parts.values(), strict=True):
        memory[begin:end] = part[1] if isinstance(part, tuple) else part
    return memory, loop.Map(**dict(zip(parts, begins, strict=True)), sources=len(sources), connections=connections)


def _seen(sources: Sequence[Source], first_connection: Integers) -> Integers:
    """Whether a first job of the connection was there: of those that are under way from the beginning, it was."""
    seen = np.zeros(int(first_connection[-1]), np.int64)
    for source, first, end in zip(sources, first_connection, first_connection[1:], strict=False):
        if isinstance(source, Open) and source.under_way:
            seen[first : min(end, first + source.connections)] = 1
    return seen


def _tables(network: Network, first_connection: Integers, draws: Sequence[SourceDraws]) -> Integers:
    """All tables, with what is in them from the beginning, and what they never take."""
    barred = [first + np.flatnonzero(d.barred) for first, d in zip(first_connection, draws, strict=False)]
    held = entries_at_start(network, np.diff(first_connection).tolist())
    found = [np.empty(0, np.int64)]
    for table in network.tables:
        found.append(tables.empty(table, int(first_connection[-1])))
        tables.fill(found[-1], held[table.name])
        tables.bar(found[-1], np.concatenate(barred))
    return np.concatenate(found)


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
            self.layout = tables.at(0, 1, 0)
            sweep_ps = passes.NEVER if stage.table.sweep_ps is None else stage.table.sweep_ps
            state = _array([0, passes.NEVER, sweep_ps])
            self.slow = passes.SlowPath(np.empty(0, np.int64), np.empty(0, np.int64), state)

    def room(self, jobs: int, connections: int) -> None:
        """For so many jobs and connections; jobs held at earlier stages come to this one too."""
        if self.stage.table is None:
            return
        if connections > (old := tables.connections_of(self.table)):
            self.table = tables.grown(self.table, max(connections, 2 * old))
            self.layout = tables.at(0, max(connections, 2 * old), 0)
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
                self.counts, self.wait_sum_ps, self.table, self.layout, self.slow,
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
                passes.catch_up(stage.table, stage.layout, stage.slow, pool.connections, horizon_ps - 1)
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
                passes.catch_up(stage.table, stage.layout, stage.slow, self.pool.connections, end_ps)


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
