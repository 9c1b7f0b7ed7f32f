"""The meaning of the model: simpy processes and resources, one process per job. Slow, and meant to be read.

`simulate(network, draws, stop_ps)` gives what `fast.simulate` gives, to the last picosecond.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy

from ytwin.sim.model import (
    ARRIVED,
    INSERTED,
    MAX_JOBS,
    SERVED,
    SWEPT,
    Closed,
    Network,
    Source,
    Station,
    Table,
    entries_at_start,
    moment_key,
)
from ytwin.sim.results import Result, SourceResult, TableCounts
from ytwin.sim.streams import SourceDraws

Process = Generator[simpy.Event, Any, None]


class Moment(simpy.Event):
    """Happens after `delay_ps`, ranked among the events of that instant (simpy's own order is that of scheduling)."""

    def __init__(self, env: simpy.Environment, delay_ps: int, phase: int, step: int, job: int) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        env.schedule(self, moment_key(phase, step, job), delay_ps)  # type: ignore[arg-type]  # any int ranks


class ConnectionTable:
    """Entries in the order of their last use."""

    def __init__(self, env: simpy.Environment, number: int, table: Table) -> None:
        self.env, self.number, self.table = env, number, table
        self.last_used_ps: OrderedDict[int, int] = OrderedDict()
        self.slow_jobs: dict[int, int] = {}
        self.pending: set[int] = set()
        self.barred: set[int] = set()
        self.inserter = simpy.Resource(env)
        self.count = dict.fromkeys(
            ("hits", "misses", "inserted", "refused", "overflowed", "evicted", "aged", "peak"), 0
        )
        if table.sweep_ps is not None:
            env.process(self.sweep(table.sweep_ps, table.idle_ps or 0))

    def hold(self, connections: Sequence[int]) -> None:
        """Entries of the beginning, the oldest first."""
        self.last_used_ps.update(dict.fromkeys(connections, 0))
        self.count["inserted"] = self.count["peak"] = len(connections)

    def hit(self, connection: int) -> bool:
        """Look a connection up, and use its entry."""
        found = connection in self.last_used_ps
        self.count["hits" if found else "misses"] += 1
        if found:
            self.last_used_ps[connection] = int(self.env.now)
            self.last_used_ps.move_to_end(connection)
        return found

    def served_slow(self, connection: int) -> None:
        """A job of the connection came through the slow path."""
        if connection < 0 or connection in self.barred:
            return
        self.slow_jobs[connection] = jobs = self.slow_jobs.get(connection, 0) + 1
        if jobs < self.table.install_after or connection in self.pending or connection in self.last_used_ps:
            return
        if self.table.backlog is not None and len(self.pending) >= self.table.backlog:
            self.count["overflowed"] += 1
            return
        self.pending.add(connection)
        self.env.process(self.insert(connection))

    def insert(self, connection: int) -> Process:
        """One at a time."""
        with self.inserter.request() as turn:
            yield turn
            yield Moment(self.env, self.table.insert_ps, INSERTED, 0, self.number)
        self.pending.remove(connection)
        if len(self.last_used_ps) >= self.table.capacity:
            if self.table.when_full == "refuse" or not self.last_used_ps:
                self.count["refused"] += 1
                return
            self.last_used_ps.popitem(last=False)
            self.count["evicted"] += 1
        self.last_used_ps[connection] = int(self.env.now)
        self.count["inserted"] += 1
        self.count["peak"] = max(self.count["peak"], len(self.last_used_ps))

    def sweep(self, every_ps: int, idle_ps: int) -> Process:
        """For ever."""
        while True:
            yield Moment(self.env, every_ps, SWEPT, 0, self.number)
            old = [c for c, used_ps in self.last_used_ps.items() if self.env.now - used_ps > idle_ps]
            for connection in old:
                del self.last_used_ps[connection]
            self.count["aged"] += len(old)


class Servers:
    """A station: a simpy Resource whose queue has an end."""

    def __init__(self, env: simpy.Environment, station: Station) -> None:
        self.env, self.station = env, station
        self.busy_ps = 0
        self.resource = simpy.Resource(env, station.servers) if station.servers is not None else None

    def full(self) -> bool:
        """Whether somebody who comes now is sent away."""
        if self.resource is None or self.station.queue is None:
            return False
        return self.resource.count >= self.resource.capacity and len(self.resource.queue) >= self.station.queue

    def serve(self, service_ps: int, job: int) -> Generator[simpy.Event, Any, int]:
        """Wait and be served; the waiting time."""
        self.busy_ps += service_ps
        if self.resource is None:
            yield Moment(self.env, service_ps, SERVED, 0, job)
            return 0
        came_ps = self.env.now
        with self.resource.request() as turn:
            yield turn
            wait_ps = self.env.now - came_ps
            yield Moment(self.env, service_ps, SERVED, 0, job)
        return int(wait_ps)


class Run:
    """One network in motion."""

    def __init__(self, network: Network, draws: Sequence[SourceDraws], stop_ps: int | None) -> None:
        self.env = simpy.Environment(initial_time=0)
        self.servers = {s.name: Servers(self.env, s) for s in network.stations}
        self.tables = {t.name: ConnectionTable(self.env, i, t) for i, t in enumerate(network.tables)}
        self.stop_ps = stop_ps
        self.processes: list[simpy.Process] = []
        self.sources = []
        first_job = first_connection = 0
        for source, drawn in zip(network.sources, draws, strict=True):
            run = SourceRun(self, source, drawn, first_job, first_connection)
            self.sources.append(run)
            for table in self.tables.values():
                table.barred.update((first_connection + np.flatnonzero(drawn.barred)).tolist())
            first_job += drawn.jobs
            first_connection += run.most_connections
        for name, held in entries_at_start(network, [s.most_connections for s in self.sources]).items():
            self.tables[name].hold(held)
        if first_job > MAX_JOBS:
            raise OverflowError("more jobs than ranks")

    def result(self) -> Result:
        """Run to the end, and through the instant of the end."""
        done = 0
        while done < len(self.processes):  # sources add a process per job while they run
            self.env.run(until=self.processes[done])
            done += 1
        end_ps = int(self.env.now)
        self.env.run(until=end_ps + 1)
        return Result(
            tuple(s.result for s in self.sources),
            tuple(TableCounts(name, **t.count) for name, t in self.tables.items()),
            np.array([s.busy_ps for s in self.servers.values()], np.int64),
            end_ps,
        )


class SourceRun:
    """One source and its jobs."""

    def __init__(self, run: Run, source: Source, draws: SourceDraws, first_job: int, first_connection: int) -> None:
        self.run, self.env, self.source, self.draws = run, run.env, source, draws
        self.first_job, self.first_connection = first_job, first_connection
        unset = [np.full(draws.jobs, -1, np.int64) for _ in range(3)]
        waits = np.full((len(source.steps), draws.jobs), -1, np.int64)
        self.result = SourceResult(source.name, unset[0], unset[1], unset[2], np.zeros(draws.jobs, np.int64), waits)
        self.issued = 0
        self.known: set[int] = set()
        self.next_connection = 0
        if isinstance(source, Closed):
            self.most_connections = source.clients + draws.jobs
            run.processes += [self.env.process(self.client(source)) for _ in range(source.clients)]
        else:
            self.most_connections = int(draws.connections.max(initial=-1)) + 1
            if source.under_way:
                self.known.update(range(source.connections))
            run.processes.append(self.env.process(self.arrivals()))

    def stopped(self) -> bool:
        """Whether nothing new begins."""
        return self.run.stop_ps is not None and self.env.now >= self.run.stop_ps

    def arrivals(self) -> Process:
        """Start a process for every job when it arrives."""
        for job, at_ps in enumerate(self.draws.moments_ps.tolist()):
            if self.run.stop_ps is not None and at_ps >= self.run.stop_ps:
                return
            yield Moment(self.env, at_ps - self.env.now, ARRIVED, 0, self.first_job + job)
            self.result.start_ps[job] = self.env.now
            connection = int(self.draws.connections[job])
            opening = connection not in self.known or connection < 0
            self.known.add(connection)
            connection += self.first_connection if connection >= 0 else 0
            self.run.processes.append(self.env.process(self.open_job(job, connection, opening)))

    def open_job(self, job: int, connection: int, opening: bool) -> Process:
        """From arrival to end or loss."""
        lost_at = yield from self.route(job, connection, opening)
        if lost_at is None:
            self.result.end_ps[job] = self.env.now
        else:
            self.result.lost_at[job] = lost_at

    def client(self, source: Closed) -> Process:
        """Think, ask, wait; until all requests are issued."""
        connection, used = -1, source.requests_per_connection
        while self.issued < self.draws.jobs and not self.stopped():
            job, self.issued = self.issued, self.issued + 1
            if connection < 0 or used == source.requests_per_connection is not None:
                connection, self.next_connection, used = self.next_connection, self.next_connection + 1, 0
            opening = used == 0
            used = 1 if used is None else used + 1
            yield Moment(self.env, int(self.draws.moments_ps[job]), SERVED, 0, self.first_job + job)
            self.result.start_ps[job] = self.env.now
            while True:
                yield Moment(self.env, 0, ARRIVED, 0, self.first_job + job)
                lost_at = yield from self.route(job, self.first_connection + connection, opening)
                if lost_at is None:
                    self.result.end_ps[job] = self.env.now
                    break
                if self.result.tries[job] == source.most_tries:
                    self.result.lost_at[job] = lost_at
                    break
                yield Moment(self.env, source.retry_ps, SERVED, 0, self.first_job + job)

    def route(self, job: int, connection: int, opening: bool) -> Generator[simpy.Event, Any, int | None]:
        """All steps; the step at which the job was lost, None at the end. Begins in the job's turn to arrive at step 0."""
        self.result.tries[job] += 1
        self.result.waits_ps[:, job] = -1
        for number, step in enumerate(self.source.steps):
            if number:
                yield Moment(self.env, 0, ARRIVED, number, self.first_job + job)
            if step.opening and not opening:
                continue
            table = self.run.tables[step.table] if step.table else None
            if table is not None and table.hit(connection):
                continue
            servers = self.run.servers[step.station]
            if servers.full():
                return number
            service_ps = int(self.draws.services_ps[number, job])
            self.result.waits_ps[number, job] = yield from servers.serve(service_ps, self.first_job + job)
            if table is not None:
                table.served_slow(connection)
        return None


def simulate(network: Network, draws: Sequence[SourceDraws], stop_ps: int | None = None) -> Result:
    """Run a network on given numbers; from `stop_ps` on nothing new begins."""
    return Run(network, draws, stop_ps).result()
