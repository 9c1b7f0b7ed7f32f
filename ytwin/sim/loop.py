"""The compiled event loop: any Network, with feedback. What it does is written down readably in `reference`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ytwin.sim import tables
from ytwin.sim.compiled import drop_first, jit, jit_part, push

Integers = npt.NDArray[np.int64]

_INSERTED, _SERVED, _SWEPT, _ARRIVED = 1, 2, 3, 4
_MASK = (1 << 44) - 1


class Map(NamedTuple):
    """Where in one array of integers each part begins. -1 in a part stands for no limit and for none.

    One array, because compiled code counts a reference per array and call. The first parts are the network and the numbers it
    runs on, the others change while it runs.
    """

    servers: int
    """By station; so `queue`."""
    queue: int
    step_station: int
    """By step, those of all sources in a row; so the next three."""
    step_table: int
    step_opening: int
    first_value: int
    """Where the step's services and waits begin."""
    first_job: int
    """By source, and one more for the end; so `first_step` and `first_connection`."""
    first_step: int
    first_connection: int
    clients: int
    """By source, 0 for an open one; so the next three."""
    per_connection: int
    retry_ps: int
    most_tries: int
    services_ps: int
    moments_ps: int
    """By job; so the next one."""
    given_connection: int
    busy: int
    """By station; so the next four. `head` and `tail` are of its queue."""
    waiting: int
    head: int
    tail: int
    busy_ps: int
    source: int
    """By job; so all up to `tries`. `used`: the job's number in its connection. `following`: the next in the queue."""
    step: int
    connection: int
    used: int
    following: int
    came_ps: int
    start_ps: int
    end_ps: int
    lost_at: int
    tries: int
    waits_ps: int
    """By value, as `services_ps`."""
    seen: int
    """By connection: an open job of it was there."""
    issued: int
    """By source; so the next one."""
    next_connection: int
    size: int
    """Of the heap of events, one number; so `active`: clients and jobs that are not at their end."""
    active: int
    tables: int
    """All tables, each as `tables.at` says."""
    sources: int
    """Not a place: how many there are; so `connections`."""
    connections: int


class Heap(NamedTuple):
    """Events by (instant, rank)."""

    times: Integers
    keys: Integers


@jit_part
def key(phase: int, step: int, job: int) -> int:
    """`model.moment_key`, compiled."""
    return (phase << 60) | (step << 44) | job


@jit_part
def schedule(m: Integers, o: Map, heap: Heap, time_ps: int, rank: int) -> None:
    """Put an event on the heap."""
    m[o.size] = push(heap.times, heap.keys, m[o.size], time_ps, rank)


@jit_part
def issue(m: Integers, o: Map, heap: Heap, source: int, before: int, now_ps: int, stop_ps: int) -> None:
    """A client begins to think about the next request; `before`: its last one, -1 none."""
    number = m[o.issued + source]
    first = m[o.first_job + source]
    if number >= m[o.first_job + source + 1] - first or now_ps >= stop_ps:
        m[o.active] -= 1
        return
    m[o.issued + source] += 1
    job = first + number
    if before < 0 or m[o.used + before] == m[o.per_connection + source]:
        m[o.connection + job] = m[o.first_connection + source] + m[o.next_connection + source]
        m[o.next_connection + source] += 1
        m[o.used + job] = 1
    else:
        m[o.connection + job] = m[o.connection + before]
        m[o.used + job] = m[o.used + before] + 1
    m[o.step + job] = -1
    schedule(m, o, heap, now_ps + m[o.moments_ps + job], key(_SERVED, 0, job))


@jit_part
def schedule_arrival(m: Integers, o: Map, heap: Heap, source: int, stop_ps: int) -> None:
    """The open source's next job."""
    job = m[o.first_job + source] + m[o.issued + source]
    if job < m[o.first_job + source + 1] and m[o.moments_ps + job] < stop_ps:
        m[o.issued + source] += 1
        m[o.active] += 1
        schedule(m, o, heap, m[o.moments_ps + job], key(_ARRIVED, 0, job))


@jit_part
def admit_open(m: Integers, o: Map, heap: Heap, job: int, source: int, now_ps: int, stop_ps: int) -> None:
    """An open job is there; `used` 1: the first of its connection."""
    m[o.start_ps + job] = now_ps
    connection = m[o.given_connection + job]
    m[o.connection + job] = connection
    m[o.used + job] = 1
    if connection >= 0:
        m[o.used + job] = 2 if m[o.seen + connection] else 1
        m[o.seen + connection] = 1
    schedule_arrival(m, o, heap, source, stop_ps)


@jit_part
def start_service(m: Integers, o: Map, heap: Heap, job: int, now_ps: int) -> None:
    """A server is free for the job."""
    step = m[o.first_step + m[o.source + job]] + m[o.step + job]
    at = m[o.first_value + step] + job - m[o.first_job + m[o.source + job]]
    m[o.waits_ps + at] = now_ps - m[o.came_ps + job]
    schedule(m, o, heap, now_ps + m[o.services_ps + at], key(_SERVED, 0, job))


@jit_part
def advance(m: Integers, o: Map, heap: Heap, job: int, now_ps: int, stop_ps: int) -> int:
    """On to the next step: the rank of the arrival there, 0 at the end of the route."""
    source = m[o.source + job]
    m[o.step + job] += 1
    if m[o.first_step + source] + m[o.step + job] < m[o.first_step + source + 1]:
        return key(_ARRIVED, m[o.step + job], job)
    m[o.end_ps + job] = now_ps
    if m[o.clients + source]:
        issue(m, o, heap, source, job, now_ps, stop_ps)
    else:
        m[o.active] -= 1
    return 0


@jit_part
def arrive(m: Integers, o: Map, heap: Heap, job: int, now_ps: int, stop_ps: int) -> int:
    """At its step: skip, hit, lose, wait or start."""
    source = m[o.source + job]
    if m[o.step + job] <= 0:
        if not m[o.clients + source]:
            admit_open(m, o, heap, job, source, now_ps, stop_ps)
        m[o.step + job] = 0
        m[o.tries + job] += 1
        if m[o.tries + job] > 1:
            for other in range(m[o.first_step + source], m[o.first_step + source + 1]):
                m[o.waits_ps + m[o.first_value + other] + job - m[o.first_job + source]] = -1
    step = m[o.first_step + source] + m[o.step + job]
    if m[o.step_opening + step] and m[o.used + job] != 1:
        return advance(m, o, heap, job, now_ps, stop_ps)
    if m[o.step_table + step] >= 0 and tables.hit(
        m, tables.at(o.tables, o.connections, m[o.step_table + step]), m[o.connection + job], now_ps
    ):
        return advance(m, o, heap, job, now_ps, stop_ps)
    station = m[o.step_station + step]
    m[o.came_ps + job] = now_ps
    limit = m[o.queue + station]
    free = m[o.servers + station] < 0 or m[o.busy + station] < m[o.servers + station]
    if not free and limit >= 0 and m[o.waiting + station] >= limit:
        if m[o.clients + source] and m[o.tries + job] < m[o.most_tries + source]:
            m[o.step + job] = -1
            schedule(m, o, heap, now_ps + m[o.retry_ps + source], key(_SERVED, 0, job))
            return 0
        m[o.lost_at + job] = m[o.step + job]
        if m[o.clients + source]:
            issue(m, o, heap, source, job, now_ps, stop_ps)
        else:
            m[o.active] -= 1
        return 0
    m[o.busy_ps + station] += m[o.services_ps + m[o.first_value + step] + job - m[o.first_job + source]]
    if free:
        m[o.busy + station] += 1
        start_service(m, o, heap, job, now_ps)
        return 0
    m[o.following + job] = -1
    if m[o.waiting + station]:
        m[o.following + m[o.tail + station]] = job
    else:
        m[o.head + station] = job
    m[o.tail + station] = job
    m[o.waiting + station] += 1
    return 0


@jit_part
def served(m: Integers, o: Map, heap: Heap, job: int, now_ps: int, stop_ps: int) -> int:
    """Thinking or a service is done."""
    if m[o.step + job] < 0:
        if m[o.start_ps + job] < 0:
            m[o.start_ps + job] = now_ps
        return key(_ARRIVED, 0, job)
    step = m[o.first_step + m[o.source + job]] + m[o.step + job]
    station = m[o.step_station + step]
    if m[o.waiting + station]:
        following = m[o.head + station]
        m[o.head + station] = m[o.following + following]
        m[o.waiting + station] -= 1
        start_service(m, o, heap, following, now_ps)
    else:
        m[o.busy + station] -= 1
    table = m[o.step_table + step]
    if table >= 0 and tables.served_slow(m, tables.at(o.tables, o.connections, table), m[o.connection + job]):
        schedule(
            m,
            o,
            heap,
            now_ps + m[tables.at(o.tables, o.connections, table).rules + tables.INSERT_PS],
            key(_INSERTED, 0, table),
        )
    return advance(m, o, heap, job, now_ps, stop_ps)


@jit
def run(m: Integers, o: Map, heap: Heap, count: int, stop_ps: int) -> tuple[int, int]:
    """To the end, and through its instant: when that was, and how many events it took. `count`: of tables."""
    for source in range(o.sources):
        if m[o.clients + source]:
            m[o.active] += m[o.clients + source]
            for _ in range(m[o.clients + source]):
                issue(m, o, heap, source, -1, 0, stop_ps)
        else:
            schedule_arrival(m, o, heap, source, stop_ps)
    for table in range(count):
        if m[tables.at(o.tables, o.connections, table).rules + tables.SWEEP_PS] < 2**62:
            schedule(
                m, o, heap, m[tables.at(o.tables, o.connections, table).rules + tables.SWEEP_PS], key(_SWEPT, 0, table)
            )
    now_ps = end_ps = events = 0
    rank = 0
    while True:
        if rank == 0 or (m[o.size] and heap.times[0] == now_ps and heap.keys[0] < rank):
            if rank:
                schedule(m, o, heap, now_ps, rank)
            if m[o.size] == 0 or (m[o.active] == 0 and heap.times[0] > end_ps):
                break
            now_ps, rank = heap.times[0], heap.keys[0]
            m[o.size] = drop_first(heap.times, heap.keys, m[o.size])
        events += 1
        phase, job = rank >> 60, rank & _MASK
        rank = 0
        if phase == _SERVED:
            rank = served(m, o, heap, job, now_ps, stop_ps)
            end_ps = now_ps
        elif phase == _ARRIVED:
            rank = arrive(m, o, heap, job, now_ps, stop_ps)
            end_ps = now_ps
        elif phase == _INSERTED:
            if tables.inserted(m, tables.at(o.tables, o.connections, job), now_ps):
                schedule(
                    m,
                    o,
                    heap,
                    now_ps + m[tables.at(o.tables, o.connections, job).rules + tables.INSERT_PS],
                    key(_INSERTED, 0, job),
                )
        else:
            tables.sweep(m, tables.at(o.tables, o.connections, job), now_ps)
            schedule(
                m,
                o,
                heap,
                now_ps + m[tables.at(o.tables, o.connections, job).rules + tables.SWEEP_PS],
                key(_SWEPT, 0, job),
            )
    return end_ps, events
