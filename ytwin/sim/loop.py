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


class Net(NamedTuple):
    """A lowered network. -1 stands for no limit and for none."""

    servers: Integers
    queue: Integers
    step_station: Integers
    step_table: Integers
    step_opening: Integers
    first_value: Integers
    """[step]: where its services and waits begin."""
    first_job: Integers
    first_step: Integers
    """[source], and one more for the end; so `first_job`."""
    clients: Integers
    """[source]: 0 for an open one."""
    per_connection: Integers
    retry_ps: Integers
    first_connection: Integers
    services_ps: Integers
    moments_ps: Integers
    given_connection: Integers


class Live(NamedTuple):
    """What changes while it runs."""

    busy: Integers
    waiting: Integers
    head: Integers
    tail: Integers
    busy_ps: Integers
    source: Integers
    step: Integers
    connection: Integers
    used: Integers
    following: Integers
    came_ps: Integers
    start_ps: Integers
    end_ps: Integers
    lost_at: Integers
    tries: Integers
    waits_ps: Integers
    seen: npt.NDArray[np.uint8]
    issued: Integers
    next_connection: Integers
    times: Integers
    keys: Integers
    size: Integers
    active: Integers


@jit_part
def key(phase: int, step: int, job: int) -> int:
    """`model.moment_key`, compiled."""
    return (phase << 60) | (step << 44) | job


@jit_part
def schedule(v: Live, time_ps: int, rank: int) -> None:
    """Put an event on the heap."""
    v.size[0] = push(v.times, v.keys, v.size[0], time_ps, rank)


@jit_part
def issue(net: Net, v: Live, source: int, before: int, now_ps: int, stop_ps: int) -> None:
    """A client begins to think about the next request; `before`: its last one, -1 none."""
    number = v.issued[source]
    first = net.first_job[source]
    if number >= net.first_job[source + 1] - first or now_ps >= stop_ps:
        v.active[0] -= 1
        return
    v.issued[source] += 1
    job = first + number
    if before < 0 or v.used[before] == net.per_connection[source]:
        v.connection[job] = net.first_connection[source] + v.next_connection[source]
        v.next_connection[source] += 1
        v.used[job] = 1
    else:
        v.connection[job] = v.connection[before]
        v.used[job] = v.used[before] + 1
    v.step[job] = -1
    schedule(v, now_ps + net.moments_ps[job], key(_SERVED, 0, job))


@jit_part
def schedule_arrival(net: Net, v: Live, source: int, stop_ps: int) -> None:
    """The open source's next job."""
    job = net.first_job[source] + v.issued[source]
    if job < net.first_job[source + 1] and net.moments_ps[job] < stop_ps:
        v.issued[source] += 1
        v.active[0] += 1
        schedule(v, net.moments_ps[job], key(_ARRIVED, 0, job))


@jit_part
def admit_open(net: Net, v: Live, job: int, source: int, now_ps: int, stop_ps: int) -> None:
    """An open job is there; `used` 1: the first of its connection."""
    v.start_ps[job] = now_ps
    connection = net.given_connection[job]
    v.connection[job] = connection
    v.used[job] = 1
    if connection >= 0:
        v.used[job] = 2 if v.seen[connection] else 1
        v.seen[connection] = 1
    schedule_arrival(net, v, source, stop_ps)


@jit_part
def start_service(net: Net, v: Live, job: int, now_ps: int) -> None:
    """A server is free for the job."""
    step = net.first_step[v.source[job]] + v.step[job]
    at = net.first_value[step] + job - net.first_job[v.source[job]]
    v.waits_ps[at] = now_ps - v.came_ps[job]
    schedule(v, now_ps + net.services_ps[at], key(_SERVED, 0, job))


@jit_part
def advance(net: Net, v: Live, job: int, now_ps: int, stop_ps: int) -> int:
    """On to the next step: the rank of the arrival there, 0 at the end of the route."""
    source = v.source[job]
    v.step[job] += 1
    if net.first_step[source] + v.step[job] < net.first_step[source + 1]:
        return key(_ARRIVED, v.step[job], job)
    v.end_ps[job] = now_ps
    if net.clients[source]:
        issue(net, v, source, job, now_ps, stop_ps)
    else:
        v.active[0] -= 1
    return 0


@jit_part
def arrive(net: Net, v: Live, stack: tables.State, job: int, now_ps: int, stop_ps: int) -> int:
    """At its step: skip, hit, lose, wait or start."""
    source = v.source[job]
    if v.step[job] <= 0:
        if not net.clients[source]:
            admit_open(net, v, job, source, now_ps, stop_ps)
        v.step[job] = 0
        v.tries[job] += 1
        if v.tries[job] > 1:
            for other in range(net.first_step[source], net.first_step[source + 1]):
                v.waits_ps[net.first_value[other] + job - net.first_job[source]] = -1
    step = net.first_step[source] + v.step[job]
    if net.step_opening[step] and v.used[job] != 1:
        return advance(net, v, job, now_ps, stop_ps)
    if net.step_table[step] >= 0 and tables.hit(tables.at(stack, net.step_table[step]), v.connection[job], now_ps):
        return advance(net, v, job, now_ps, stop_ps)
    station = net.step_station[step]
    v.came_ps[job] = now_ps
    limit = net.queue[station]
    free = net.servers[station] < 0 or v.busy[station] < net.servers[station]
    if not free and limit >= 0 and v.waiting[station] >= limit:
        if net.clients[source]:
            v.step[job] = -1
            schedule(v, now_ps + net.retry_ps[source], key(_SERVED, 0, job))
        else:
            v.lost_at[job] = v.step[job]
            v.active[0] -= 1
        return 0
    v.busy_ps[station] += net.services_ps[net.first_value[step] + job - net.first_job[source]]
    if free:
        v.busy[station] += 1
        start_service(net, v, job, now_ps)
        return 0
    v.following[job] = -1
    if v.waiting[station]:
        v.following[v.tail[station]] = job
    else:
        v.head[station] = job
    v.tail[station] = job
    v.waiting[station] += 1
    return 0


@jit_part
def served(net: Net, v: Live, stack: tables.State, job: int, now_ps: int, stop_ps: int) -> int:
    """Thinking or a service is done."""
    if v.step[job] < 0:
        if v.start_ps[job] < 0:
            v.start_ps[job] = now_ps
        return key(_ARRIVED, 0, job)
    step = net.first_step[v.source[job]] + v.step[job]
    station = net.step_station[step]
    if v.waiting[station]:
        following = v.head[station]
        v.head[station] = v.following[following]
        v.waiting[station] -= 1
        start_service(net, v, following, now_ps)
    else:
        v.busy[station] -= 1
    table = net.step_table[step]
    if table >= 0 and tables.served_slow(tables.at(stack, table), v.connection[job]):
        schedule(v, now_ps + tables.at(stack, table).rules[tables.INSERT_PS], key(_INSERTED, 0, table))
    return advance(net, v, job, now_ps, stop_ps)


@jit
def run(net: Net, v: Live, stack: tables.State, count: int, stop_ps: int) -> tuple[int, int]:
    """To the end, and through its instant: when that was, and how many events it took. `count`: of tables."""
    for source in range(len(net.clients)):
        if net.clients[source]:
            v.active[0] += net.clients[source]
            for _ in range(net.clients[source]):
                issue(net, v, source, -1, 0, stop_ps)
        else:
            schedule_arrival(net, v, source, stop_ps)
    for table in range(count):
        if tables.at(stack, table).rules[tables.SWEEP_PS] < 2**62:
            schedule(v, tables.at(stack, table).rules[tables.SWEEP_PS], key(_SWEPT, 0, table))
    now_ps = end_ps = events = 0
    rank = 0
    while True:
        if rank == 0 or (v.size[0] and v.times[0] == now_ps and v.keys[0] < rank):
            if rank:
                schedule(v, now_ps, rank)
            if v.size[0] == 0 or (v.active[0] == 0 and v.times[0] > end_ps):
                break
            now_ps, rank = v.times[0], v.keys[0]
            v.size[0] = drop_first(v.times, v.keys, v.size[0])
        events += 1
        phase, job = rank >> 60, rank & _MASK
        rank = 0
        if phase == _SERVED:
            rank = served(net, v, stack, job, now_ps, stop_ps)
            end_ps = now_ps
        elif phase == _ARRIVED:
            rank = arrive(net, v, stack, job, now_ps, stop_ps)
            end_ps = now_ps
        elif phase == _INSERTED:
            if tables.inserted(tables.at(stack, job), now_ps):
                schedule(v, now_ps + tables.at(stack, job).rules[tables.INSERT_PS], key(_INSERTED, 0, job))
        else:
            tables.sweep(tables.at(stack, job), now_ps)
            schedule(v, now_ps + tables.at(stack, job).rules[tables.SWEEP_PS], key(_SWEPT, 0, job))
    return end_ps, events
