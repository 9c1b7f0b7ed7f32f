"""Connection tables as arrays, with compiled operations; what they mean is `reference.ConnectionTable`.

Entries are a list doubly linked through arrays, from the newest to the oldest use, so the least recently used one and the idle
ones are at its end. Insertions that wait are a singly linked list; its first one is in work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ytwin.sim.compiled import jit_part
from ytwin.sim.model import Table
from ytwin.sim.results import TableCounts

Integers = npt.NDArray[np.int64]

ABSENT, PENDING, LIVE, BARRED = 0, 1, 2, 3
HITS, MISSES, INSERTED, REFUSED, OVERFLOWED, EVICTED, AGED, PEAK = range(8)
NEWEST, OLDEST, SIZE, FIRST_PENDING, LAST_PENDING, PENDINGS = range(6)
CAPACITY, INSERT_PS, BACKLOG, AFTER, LRU, IDLE_PS, SWEEP_PS = range(7)

_PER_CONNECTION, SCALARS = 6, 6 + 8 + 7
BYTES_PER_CONNECTION = 8 * _PER_CONNECTION


class Layout(NamedTuple):
    """Where in one array of integers a table's parts begin: six by connection, then scalars.

    One array, because compiled code counts a reference per array and call.
    """

    state: int
    used_ps: int
    newer: int
    older: int
    slow_jobs: int
    next_pending: int
    ends: int
    counts: int
    rules: int


@jit_part
def at(first: int, connections: int, table: int) -> Layout:
    """The layout of a table among several for so many connections that begin at `first`."""
    n = connections
    f = first + table * (n * _PER_CONNECTION + SCALARS)
    return Layout(f, f + n, f + 2 * n, f + 3 * n, f + 4 * n, f + 5 * n, f + 6 * n, f + 6 * n + 6, f + 6 * n + 14)


def empty(table: Table, connections: int) -> Integers:
    """The array of a table with nothing in it."""
    n, limit = connections, 2**62
    rules = [
        table.capacity,
        table.insert_ps,
        limit if table.backlog is None else table.backlog,
        table.install_after,
        int(table.when_full == "lru"),
        limit if table.idle_ps is None else table.idle_ps,
        limit if table.sweep_ps is None else table.sweep_ps,
    ]
    parts = [np.full(n, fill, np.int64) for fill in (ABSENT, 0, -1, -1, 0, -1)]
    return np.concatenate([*parts, np.array([-1, -1, 0, -1, -1, 0, *([0] * 8), *rules], np.int64)])


def fill(memory: Integers, connections: Sequence[int]) -> None:
    """Put connections into an empty table, as if they had been inserted before the beginning, the first one first."""
    if not len(connections):
        return
    t, ids = at(0, connections_of(memory), 0), np.array(connections, np.int64)
    memory[t.state + ids] = LIVE
    memory[t.newer + ids[:-1]] = ids[1:]
    memory[t.older + ids[1:]] = ids[:-1]
    memory[t.ends + NEWEST], memory[t.ends + OLDEST], memory[t.ends + SIZE] = ids[-1], ids[0], len(ids)
    memory[t.counts + INSERTED] = memory[t.counts + PEAK] = len(ids)


def bar(memory: Integers, connections: Integers) -> None:
    """Never take these connections: they are not absent, so nothing asks for their insertion, and not live, so they miss."""
    memory[at(0, connections_of(memory), 0).state + connections] = BARRED


def connections_of(memory: Integers) -> int:
    """For how many connections a table's array has room."""
    return (len(memory) - SCALARS) // _PER_CONNECTION


def grown(memory: Integers, connections: int) -> Integers:
    """The same table with room for more connections."""
    old = connections_of(memory)
    fresh = empty(Table("", 0), connections)
    for part in range(_PER_CONNECTION):
        fresh[part * connections : part * connections + old] = memory[part * old : (part + 1) * old]
    fresh[_PER_CONNECTION * connections :] = memory[_PER_CONNECTION * old :]
    return fresh


def counts_of(name: str, memory: Integers) -> TableCounts:
    """The counters by name."""
    return TableCounts(name, *(int(n) for n in memory[len(memory) - 15 : len(memory) - 7]))


@jit_part
def unlink(m: Integers, t: Layout, connection: int) -> None:
    """Take an entry out of the list of uses."""
    newer, older = m[t.newer + connection], m[t.older + connection]
    if newer >= 0:
        m[t.older + newer] = older
    else:
        m[t.ends + NEWEST] = older
    if older >= 0:
        m[t.newer + older] = newer
    else:
        m[t.ends + OLDEST] = newer


@jit_part
def link_newest(m: Integers, t: Layout, connection: int, now_ps: int) -> None:
    """An entry is used now."""
    m[t.used_ps + connection] = now_ps
    first = m[t.ends + NEWEST]
    m[t.newer + connection] = -1
    m[t.older + connection] = first
    if first >= 0:
        m[t.newer + first] = connection
    else:
        m[t.ends + OLDEST] = connection
    m[t.ends + NEWEST] = connection


@jit_part
def hit(m: Integers, t: Layout, connection: int, now_ps: int) -> bool:
    """Look up, and use what is found."""
    if connection < 0 or m[t.state + connection] != LIVE:
        m[t.counts + MISSES] += 1
        return False
    m[t.counts + HITS] += 1
    if m[t.ends + NEWEST] != connection:
        unlink(m, t, connection)
        link_newest(m, t, connection, now_ps)
    else:
        m[t.used_ps + connection] = now_ps
    return True


@jit_part
def drop_oldest(m: Integers, t: Layout) -> None:
    """Remove the least recently used entry."""
    oldest = m[t.ends + OLDEST]
    unlink(m, t, oldest)
    m[t.state + oldest] = ABSENT
    m[t.ends + SIZE] -= 1


@jit_part
def served_slow(m: Integers, t: Layout, connection: int) -> bool:
    """A slow job of the connection is done; True: its insertion begins now."""
    if connection < 0:
        return False
    m[t.slow_jobs + connection] += 1
    if m[t.slow_jobs + connection] < m[t.rules + AFTER] or m[t.state + connection] != ABSENT:
        return False
    if m[t.ends + PENDINGS] >= m[t.rules + BACKLOG]:
        m[t.counts + OVERFLOWED] += 1
        return False
    m[t.state + connection] = PENDING
    m[t.next_pending + connection] = -1
    m[t.ends + PENDINGS] += 1
    if m[t.ends + PENDINGS] == 1:
        m[t.ends + FIRST_PENDING] = connection
    else:
        m[t.next_pending + m[t.ends + LAST_PENDING]] = connection
    m[t.ends + LAST_PENDING] = connection
    return bool(m[t.ends + PENDINGS] == 1)


@jit_part
def inserted(m: Integers, t: Layout, now_ps: int) -> bool:
    """The insertion in work is done; True: another begins now."""
    connection = m[t.ends + FIRST_PENDING]
    m[t.ends + FIRST_PENDING] = m[t.next_pending + connection]
    m[t.ends + PENDINGS] -= 1
    m[t.state + connection] = ABSENT
    full = m[t.ends + SIZE] >= m[t.rules + CAPACITY]
    if full and (m[t.rules + LRU] == 0 or m[t.ends + SIZE] == 0):
        m[t.counts + REFUSED] += 1
        return bool(m[t.ends + PENDINGS] > 0)
    if full:
        drop_oldest(m, t)
        m[t.counts + EVICTED] += 1
    m[t.state + connection] = LIVE
    m[t.ends + SIZE] += 1
    link_newest(m, t, connection, now_ps)
    m[t.counts + INSERTED] += 1
    m[t.counts + PEAK] = max(m[t.counts + PEAK], m[t.ends + SIZE])
    return bool(m[t.ends + PENDINGS] > 0)


@jit_part
def sweep(m: Integers, t: Layout, now_ps: int) -> None:
    """Remove what was idle for too long."""
    while m[t.ends + SIZE] > 0 and now_ps - m[t.used_ps + m[t.ends + OLDEST]] > m[t.rules + IDLE_PS]:
        drop_oldest(m, t)
        m[t.counts + AGED] += 1
