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
Links = npt.NDArray[np.int32]

ABSENT, PENDING, LIVE = 0, 1, 2
HITS, MISSES, INSERTED, REFUSED, OVERFLOWED, EVICTED, AGED, PEAK = range(8)
NEWEST, OLDEST, SIZE, FIRST_PENDING, LAST_PENDING, PENDINGS = range(6)
CAPACITY, INSERT_PS, BACKLOG, AFTER, LRU, IDLE_PS, SWEEP_PS = range(7)

BYTES_PER_CONNECTION = 25


class State(NamedTuple):
    """One table. Arrays by connection, then scalars in arrays of their own."""

    state: npt.NDArray[np.uint8]
    used_ps: Integers
    newer: Links
    older: Links
    slow_jobs: Links
    next_pending: Links
    ends: Integers
    counts: Integers
    rules: Integers


def empty(table: Table, connections: int) -> State:
    """Nothing in it."""
    n = max(1, connections)
    links = [np.full(n, -1, np.int32) for _ in range(3)]
    limit = 2**62
    rules = [
        table.capacity,
        table.insert_ps,
        limit if table.backlog is None else table.backlog,
        table.install_after,
        int(table.when_full == "lru"),
        limit if table.idle_ps is None else table.idle_ps,
        limit if table.sweep_ps is None else table.sweep_ps,
    ]
    return State(
        np.zeros(n, np.uint8), np.zeros(n, np.int64), links[0], links[1], np.zeros(n, np.int32), links[2],
        np.array([-1, -1, 0, -1, -1, 0], np.int64), np.zeros(8, np.int64), np.array(rules, np.int64),
    )  # fmt: skip


def grown(state: State, connections: int) -> State:
    """The same table with room for more connections."""
    extra = connections - len(state.state)
    if extra <= 0:
        return state
    fresh, c = empty(Table("", 0), extra), np.concatenate
    return State(
        c([state.state, fresh.state]), c([state.used_ps, fresh.used_ps]), c([state.newer, fresh.newer]),
        c([state.older, fresh.older]), c([state.slow_jobs, fresh.slow_jobs]), c([state.next_pending, fresh.next_pending]),
        state.ends, state.counts, state.rules,
    )  # fmt: skip


def stacked(given: Sequence[Table], connections: int) -> State:
    """Several tables in one State whose arrays have a first dimension more."""
    states = [empty(t, connections) for t in given] or [empty(Table("", 0), 1)]
    return State(*(np.stack(arrays) for arrays in zip(*states, strict=True)))


@jit_part
def at(stack: State, table: int) -> State:
    """One of them; its arrays are views."""
    return State(
        stack.state[table], stack.used_ps[table], stack.newer[table], stack.older[table], stack.slow_jobs[table],
        stack.next_pending[table], stack.ends[table], stack.counts[table], stack.rules[table],
    )  # fmt: skip


def counts_of(name: str, state: State) -> TableCounts:
    """The counters by name."""
    return TableCounts(name, *(int(n) for n in state.counts))


@jit_part
def unlink(t: State, connection: int) -> None:
    """Take an entry out of the list of uses."""
    newer, older = t.newer[connection], t.older[connection]
    if newer >= 0:
        t.older[newer] = older
    else:
        t.ends[NEWEST] = older
    if older >= 0:
        t.newer[older] = newer
    else:
        t.ends[OLDEST] = newer


@jit_part
def link_newest(t: State, connection: int, now_ps: int) -> None:
    """An entry is used now."""
    t.used_ps[connection] = now_ps
    first = t.ends[NEWEST]
    t.newer[connection] = -1
    t.older[connection] = first
    if first >= 0:
        t.newer[first] = connection
    else:
        t.ends[OLDEST] = connection
    t.ends[NEWEST] = connection


@jit_part
def hit(t: State, connection: int, now_ps: int) -> bool:
    """Look up, and use what is found."""
    if connection < 0 or t.state[connection] != LIVE:
        t.counts[MISSES] += 1
        return False
    t.counts[HITS] += 1
    if t.ends[NEWEST] != connection:
        unlink(t, connection)
        link_newest(t, connection, now_ps)
    else:
        t.used_ps[connection] = now_ps
    return True


@jit_part
def drop_oldest(t: State) -> None:
    """Remove the least recently used entry."""
    oldest = t.ends[OLDEST]
    unlink(t, oldest)
    t.state[oldest] = ABSENT
    t.ends[SIZE] -= 1


@jit_part
def served_slow(t: State, connection: int) -> bool:
    """A slow job of the connection is done; True: its insertion begins now."""
    if connection < 0:
        return False
    t.slow_jobs[connection] += 1
    if t.slow_jobs[connection] < t.rules[AFTER] or t.state[connection] != ABSENT:
        return False
    if t.ends[PENDINGS] >= t.rules[BACKLOG]:
        t.counts[OVERFLOWED] += 1
        return False
    t.state[connection] = PENDING
    t.next_pending[connection] = -1
    t.ends[PENDINGS] += 1
    if t.ends[PENDINGS] == 1:
        t.ends[FIRST_PENDING] = connection
    else:
        t.next_pending[t.ends[LAST_PENDING]] = connection
    t.ends[LAST_PENDING] = connection
    return bool(t.ends[PENDINGS] == 1)


@jit_part
def inserted(t: State, now_ps: int) -> bool:
    """The insertion in work is done; True: another begins now."""
    connection = t.ends[FIRST_PENDING]
    t.ends[FIRST_PENDING] = t.next_pending[connection]
    t.ends[PENDINGS] -= 1
    t.state[connection] = ABSENT
    full = t.ends[SIZE] >= t.rules[CAPACITY]
    if full and (t.rules[LRU] == 0 or t.ends[SIZE] == 0):
        t.counts[REFUSED] += 1
        return bool(t.ends[PENDINGS] > 0)
    if full:
        drop_oldest(t)
        t.counts[EVICTED] += 1
    t.state[connection] = LIVE
    t.ends[SIZE] += 1
    link_newest(t, connection, now_ps)
    t.counts[INSERTED] += 1
    t.counts[PEAK] = max(t.counts[PEAK], t.ends[SIZE])
    return bool(t.ends[PENDINGS] > 0)


@jit_part
def sweep(t: State, now_ps: int) -> None:
    """Remove what was idle for too long."""
    while t.ends[SIZE] > 0 and now_ps - t.used_ps[t.ends[OLDEST]] > t.rules[IDLE_PS]:
        drop_oldest(t)
        t.counts[AGED] += 1
