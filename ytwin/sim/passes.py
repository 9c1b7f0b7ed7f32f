"""Compiled passes: one stage of a pipeline, for many jobs at once.

A pass takes the jobs in their order of arrival (`order[:count]`, rows of the pool), each with its instant `time_ps[row]`, and
replaces the instant by that of departure; lost jobs get -1 - instant and leave `order`. State stays in arrays between
calls, so that the
jobs can come in pieces.

Single server: Lindley's recursion, D_n = max(A_n, D_{n-1}) + S_n (D. V. Lindley, The theory of queues with a single
server, 1952).
Several servers: the job starts when the first of them is free (Kiefer and Wolfowitz, 1955), found at the top of a heap.
Waiting places: starts are in the order of arrival (FIFO), so K places are full exactly if the K-th last start is still to come.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ytwin.sim import tables
from ytwin.sim.compiled import drop_first, jit, jit_part, push, replace_first

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

VISITS, LOST, BUSY_PS, MAX_WAIT_PS, TURN = range(5)
"""What `counts` of a stage holds; TURN: the oldest of `starts_ps`. The sum of waits is a float: it outgrows 63 bits."""
EARLIEST, NEVER = -(2**62), 2**62
BINS_PER_OCTAVE = 128
"""A bin of the histogram of latencies is at most 1/128 wide."""
BINS = 64 * BINS_PER_OCTAVE


@jit
def unlimited(
    order: Integers, count: int, time_ps: Integers, service_ps: Integers, waits_ps: Integers,
    free_ps: Integers, counts: Integers, wait_sum_ps: Floats,
) -> int:  # fmt: skip
    """One server, any number of waiting places."""
    free, busy, longest, total = free_ps[0], 0, counts[MAX_WAIT_PS], 0.0
    record = len(waits_ps) > 0
    for i in range(count):
        row = order[i]
        came = time_ps[row]
        wait = max(0, free - came)
        free = came + wait + service_ps[row]
        time_ps[row] = free
        busy += service_ps[row]
        longest = max(longest, wait)
        total += wait
        if record:
            waits_ps[row] = wait
    free_ps[0] = free
    counts[VISITS] += count
    counts[BUSY_PS] += busy
    counts[MAX_WAIT_PS] = longest
    wait_sum_ps[0] += total
    return count


@jit
def limited_single(
    order: Integers, count: int, time_ps: Integers, service_ps: Integers, waits_ps: Integers,
    free_ps: Integers, starts_ps: Integers, places: int, counts: Integers, wait_sum_ps: Floats,
) -> int:  # fmt: skip
    """`limited` for one server and some places, with its state in registers."""
    free, turn, busy, longest, total, kept = free_ps[0], counts[TURN], 0, counts[MAX_WAIT_PS], 0, 0
    record = len(waits_ps) > 0
    for i in range(count):
        row = order[i]
        came = time_ps[row]
        service = service_ps[row]
        start = max(came, free)
        if starts_ps[turn] > came:  # then start > came as well: starts ascend
            time_ps[row] = -1 - came
            continue
        starts_ps[turn] = start
        turn = turn + 1 if turn + 1 < places else 0
        free = start + service
        time_ps[row] = free
        busy += service
        wait = start - came
        longest = max(longest, wait)
        total += wait
        if record:
            waits_ps[row] = wait
        order[kept] = row
        kept += 1
    free_ps[0] = free
    counts[VISITS] += count
    counts[LOST] += count - kept
    counts[BUSY_PS] += busy
    counts[MAX_WAIT_PS] = longest
    counts[TURN] = turn
    wait_sum_ps[0] += float(total)
    return kept


@jit_part
def begin(came_ps: int, service_ps: int, free_ps: Integers, starts_ps: Integers, places: int, counts: Integers) -> int:
    """When the service of a job that comes now starts, -1 if it is sent away. `places` -1: no limit."""
    start = max(came_ps, free_ps[0])
    if places >= 0:
        turn = counts[TURN]
        if start > came_ps and (places == 0 or starts_ps[turn] > came_ps):
            return -1
        if places:
            starts_ps[turn] = start
            counts[TURN] = 0 if turn + 1 == places else turn + 1
    if len(free_ps) == 1:
        free_ps[0] = start + service_ps
    else:
        replace_first(free_ps, start + service_ps)
    return int(start)


@jit
def limited(
    order: Integers, count: int, time_ps: Integers, service_ps: Integers, waits_ps: Integers,
    free_ps: Integers, starts_ps: Integers, places: int, counts: Integers, wait_sum_ps: Floats,
) -> int:  # fmt: skip
    """Several servers, and waiting places with an end."""
    busy, longest, total, kept = 0, counts[MAX_WAIT_PS], 0.0, 0
    record = len(waits_ps) > 0
    for i in range(count):
        row = order[i]
        came = time_ps[row]
        start = begin(came, service_ps[row], free_ps, starts_ps, places, counts)
        if start < 0:
            time_ps[row] = -1 - came
            continue
        time_ps[row] = start + service_ps[row]
        busy += service_ps[row]
        longest = max(longest, start - came)
        total += start - came
        if record:
            waits_ps[row] = start - came
        order[kept] = row
        kept += 1
    counts[VISITS] += count
    counts[LOST] += count - kept
    counts[BUSY_PS] += busy
    counts[MAX_WAIT_PS] = longest
    wait_sum_ps[0] += total
    return kept


class SlowPath(NamedTuple):
    """Slow jobs of a table stage that are in service or waiting, as a heap of (instant of completion, row).

    `state`: size of the heap; instant at which the insertion in work is done; next sweep.
    """

    times: Integers
    rows: Integers
    state: Integers


@jit
def catch_up(m: Integers, t: tables.Layout, slow: SlowPath, connections: Integers, until_ps: int) -> None:
    """Everything of a table stage that happens up to an instant: insertions complete, slow jobs complete, sweeps.

    In this order.
    """
    while True:
        insertion, sweep = slow.state[1], slow.state[2]
        served = slow.times[0] if slow.state[0] else NEVER
        now = min(insertion, sweep, served)
        if now > until_ps or now >= NEVER:
            return
        if insertion == now:
            slow.state[1] = now + m[t.rules + tables.INSERT_PS] if tables.inserted(m, t, now) else NEVER
        elif served == now:
            row = slow.rows[0]
            slow.state[0] = drop_first(slow.times, slow.rows, slow.state[0])
            if tables.served_slow(m, t, connections[row]):
                slow.state[1] = now + m[t.rules + tables.INSERT_PS]
        else:
            tables.sweep(m, t, now)
            every = m[t.rules + tables.SWEEP_PS]
            slow.state[2] = now + every
            if m[t.ends + tables.SIZE] == 0:  # the sweeps until something can be inserted find nothing
                following = min(slow.state[1], slow.times[0] if slow.state[0] else NEVER, until_ps)
                slow.state[2] = max(now + every, (following + every - 1) // every * every)


@jit
def with_table(
    order: Integers, count: int, time_ps: Integers, service_ps: Integers, waits_ps: Integers, connections: Integers,
    free_ps: Integers, starts_ps: Integers, places: int, counts: Integers, wait_sum_ps: Floats,
    m: Integers, t: tables.Layout, slow: SlowPath,
) -> int:  # fmt: skip
    """Jobs whose connection is in the table pass at once; the others are served and may have it inserted."""
    kept = visits = 0
    record = len(waits_ps) > 0
    for i in range(count):
        row = order[i]
        came = time_ps[row]
        catch_up(m, t, slow, connections, came)
        if not tables.hit(m, t, connections[row], came):
            visits += 1
            start = begin(came, service_ps[row], free_ps, starts_ps, places, counts)
            if start < 0:
                time_ps[row] = -1 - came
                continue
            time_ps[row] = start + service_ps[row]
            slow.state[0] = push(slow.times, slow.rows, slow.state[0], time_ps[row], row)
            counts[BUSY_PS] += service_ps[row]
            counts[MAX_WAIT_PS] = max(counts[MAX_WAIT_PS], start - came)
            wait_sum_ps[0] += start - came
            if record:
                waits_ps[row] = start - came
        order[kept] = row
        kept += 1
    counts[VISITS] += visits
    counts[LOST] += count - kept
    return kept


@jit
def settle(order: Integers, count: int, time_ps: Integers) -> bool:
    """Sort nearly sorted jobs by (instant, row), in place.

    False (and some permutation) where that is too much for insertion sort.
    """
    moves = 0
    for i in range(1, count):
        row = order[i]
        now = time_ps[row]
        at = i
        while at > 0 and (time_ps[order[at - 1]] > now or (time_ps[order[at - 1]] == now and order[at - 1] > row)):
            order[at] = order[at - 1]
            at -= 1
        order[at] = row
        moves += i - at
        if moves > 16 * count + 1000:
            return False
    return True


@jit
def before(order: Integers, count: int, time_ps: Integers, horizon_ps: int) -> int:
    """How many of the sorted jobs leave before the horizon."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if time_ps[order[middle]] < horizon_ps:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def tally(
    order: Integers, count: int, time_ps: Integers, born_ps: Integers, bins: Integers, sums: Floats, from_ps: int
) -> None:
    """Latencies of jobs that arrived from `from_ps` on, into a histogram of BINS_PER_OCTAVE bins per doubling.

    sums: number, sum, sum of squares, maximum.
    """
    for i in range(count):
        row = order[i]
        if born_ps[row] < from_ps:
            continue
        latency = time_ps[row] - born_ps[row]
        octave, rest = 0, latency
        while rest >= 2 * BINS_PER_OCTAVE:
            rest >>= 1
            octave += 1
        bins[octave * BINS_PER_OCTAVE + rest] += 1
        sums[0] += 1
        sums[1] += latency
        sums[2] += float(latency) * float(latency)
        sums[3] = max(sums[3], latency)
