"""How long an engine runs, what of it is left out, and what that takes; what is said of runs that are short."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from ytwin.core.units import PS_PER_S, bad, require
from ytwin.performance.network import jobs_for, mean_ps, pipeline_of
from ytwin.sim import fast
from ytwin.sim.model import Closed, Network, Open

Engine = Literal["fast", "reference"]

WARMUP: Final = 0.25
"""What is left out at the beginning, as a part of what is measured."""
ROUND_TRIPS: Final = 100
"""Of every client of a closed load, measured if nothing else is said and that is no more than some 100,000 jobs."""
CONNECTIONS: Final = 10
"""Likewise, where connections come and go: all clients open their first one at once."""
FEW_JOBS: Final = 1_000
"""What fewer of them say is as much chance as path, so it is said how many there are."""
LONGEST_PS: Final = 10**17
"""Of a run's time, if nothing else is said: a bit more than a day."""
MOST_SWEEPS: Final = 10**6
"""Of a table, in such a run."""
CLOCK_PS: Final = 5 * 10**18
"""As long as a run with its warm-up and spare jobs can be in whole picoseconds: 58 days."""
MOST_STREAMED_BYTES: Final = 64 * 2**20
"""What a streamed run takes, whatever its length."""
MOST_KEPT: Final = 100_000
"""Jobs of a run that is not streamed where it can be."""
DRAWN_CONNECTION_BYTES: Final = 40
"""Its place, its use, its popularity."""
REFERENCE_JOB_BYTES: Final = 4000
"""simpy's process, events and resources of one job."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one prediction is going to simulate, and what that takes."""

    network: Network
    duration_ps: int
    """Measured; a run is longer by its warm-up."""
    jobs: Mapping[str, int]
    """By source, of one replication: at least as many as begin."""
    needs_bytes: int
    streamed: bool
    asking: bool
    """Whether a job is a request and its answer, those of a new connection with its handshake; else it is a packet."""

    @property
    def warmup_ps(self) -> int:
        """Left out at least: a part of the run, and what some jobs take on the empty network."""
        return _warmup_ps(self.network, self.duration_ps)

    @property
    def run_ps(self) -> int:
        """With warm-up."""
        return self.duration_ps + self.warmup_ps


def _warmup_ps(network: Network, duration_ps: int) -> int:
    longest = max(sum(mean_ps(step.service_ps, source) for step in source.steps) for source in network.sources)
    return max(round(WARMUP * duration_ps), round(5 * longest))


def planned(network: Network, duration_ps: int, engine: Engine, memory_bytes: int, asking: bool = False) -> Run:
    """How to simulate it within the memory; InvalidInput, before anything is drawn, where there is no way.

    Long runs of packets are streamed: that is faster, and needs the same memory however long they are.
    """
    require(duration_ps > 0, "duration", f"{duration_ps} ps", "give a time above 0, such as `10 ms`")
    whole = Run(
        network, duration_ps, jobs_for(network, duration_ps + _warmup_ps(network, duration_ps)), 0, False, asking
    )
    needs = needed_bytes(network, whole.jobs, engine)
    whole = replace(whole, needs_bytes=needs)
    pipeline = pipeline_of(network) if engine == "fast" else None
    long = needs > memory_bytes or sum(whole.jobs.values()) > MOST_KEPT
    least = max(MOST_STREAMED_BYTES, MOST_STREAMED_BYTES // 2 + _drawn_bytes(network))
    if long and pipeline is not None and memory_bytes >= least:
        return replace(whole, needs_bytes=least, streamed=True)
    if needs <= memory_bytes:
        return whole
    always = needed_bytes(network, jobs_for(network, _warmup_ps(network, 1)), engine)
    shorter = "simulate fewer clients or connections"
    if always < memory_bytes:
        fits_ps = 0.95 * duration_ps * (memory_bytes - always) / (needs - always)
        shorter = f"simulate a shorter time (--duration below {time_text(fits_ps)})"
    streamable = ""
    if pipeline is not None:
        streamable = f"give at least {size(least)} to have it streamed, "
    elif engine == "fast" and len(network.sources) > 1 and all(isinstance(s, Open) for s in network.sources):
        streamable = f"send packets to one backend only (--to pod/NAME: streamed, {size(MOST_STREAMED_BYTES)}), "
    others = "use --engine analytic" if engine == "fast" else "use --engine fast or analytic"
    raise bad(
        "memory",
        "memory",
        f"{sum(whole.jobs.values()):,} jobs in {time_text(duration_ps)} and its warm-up need {size(needs)}, "
        f"{size(memory_bytes)} are given",
        f"{shorter}, {streamable}give more memory, or {others}, which needs none",
    )


def needed_bytes(network: Network, jobs: Mapping[str, int], engine: Engine) -> int:
    """Memory of one replication: draws, state and results of every job, and tables by connection."""
    counts = [jobs[s.name] for s in network.sources]
    extra = sum(counts) * REFERENCE_JOB_BYTES if engine == "reference" else 0
    return fast.needed_bytes(network, counts) + _drawn_bytes(network) + extra


def _drawn_bytes(network: Network) -> int:
    return sum(s.connections for s in network.sources if isinstance(s, Open)) * DRAWN_CONNECTION_BYTES


def size(count: float) -> str:
    """Bytes, for people."""
    for unit, one in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= one:
            return f"{count / one:.3g} {unit}"
    return f"{count:.0f} B"


def time_text(time_ps: float) -> str:
    """A time, for people, as `--duration` reads it."""
    if time_ps >= 1e15:
        return f"{time_ps / 1e12:.0f} s"
    for unit, one in (("s", 1e12), ("ms", 1e9), ("us", 1e6), ("ns", 1e3)):
        if time_ps >= one:
            return f"{time_ps / one:.3g} {unit}"
    return f"{time_ps:.0f} ps"


def default_duration_ps(network: Network, engine: Engine, jobs_per_s: float = 0.0) -> int:
    """10 ms, or as long as 20,000 jobs take (the reference engine: 200 us and 1,000), but no longer than a day or so. Of closed
    loads: as many as there are if nobody waits.

    Clients of closed loads begin together, and it takes some of their round trips until they come at any time; a part of a round
    trip at either end counts little among `ROUND_TRIPS`, a part of a connection among `CONNECTIONS`. `jobs_per_s`: what to
    expect of closed loads, 0: not known.
    """
    least_ps, jobs, most = (10**10, 20_000, 200_000) if engine == "fast" else (2 * 10**8, 1_000, 10_000)
    needed = min(most, sum(s.clients * _least_requests(s) for s in network.sources if isinstance(s, Closed)))
    trips_ps = PS_PER_S * needed / jobs_per_s if jobs_per_s > 0 else 0.0
    # Little happens in a run of few jobs, however long it is; but the sweeps of its tables.
    longest_ps = min([LONGEST_PS, *(MOST_SWEEPS * t.sweep_ps for t in network.tables if t.sweep_ps is not None)])
    offered_ps = jobs / (_offered_per_ps(network) or _at_most_per_ps(network))
    return max(least_ps, min(round(offered_ps), longest_ps), math.ceil(trips_ps))


def _offered_per_ps(network: Network) -> float:
    """Jobs of all open sources, on average; those of closed ones wait for one another."""
    return sum(1 / source.gap_ps.mean for source in network.sources if isinstance(source, Open))


def _at_most_per_ps(network: Network) -> float:
    """Jobs of a network of closed sources, by the bounds of each."""
    return sum(jobs_for(network, 10**9).values()) / 10**9


def _least_requests(source: Closed) -> int:
    """Of each client, if there is time."""
    return max(ROUND_TRIPS, CONNECTIONS * (source.requests_per_connection or 0))


def _clients(network: Network) -> int:
    return sum(source.clients for source in network.sources if isinstance(source, Closed))


def few_round_trips(network: Network, duration_ps: int, jobs_per_s: float) -> tuple[str, ...]:
    """What a run says that is over before the clients come at any time."""
    clients = _clients(network)
    trips = jobs_per_s * duration_ps / PS_PER_S / clients if clients else math.inf
    if not 0 < trips < 0.99 * ROUND_TRIPS:
        return ()
    longer = time_text(duration_ps * ROUND_TRIPS / trips)
    return (
        f"{time_text(duration_ps)} are {trips:.2g} round trips of its {clients} clients, which begin together: rates may be "
        f"off by {min(1.0, 0.5 / trips):.1%}; --duration '{longer}' makes it {0.5 / ROUND_TRIPS:.1%}",
    )


def few_jobs(network: Network, duration_ps: int) -> tuple[str, ...]:
    """What a run says in which hardly anything comes."""
    comes = _offered_per_ps(network) * duration_ps
    if not 0 < comes < 0.99 * FEW_JOBS:
        return ()
    longer_ps = duration_ps * FEW_JOBS / comes
    hint = f"; --duration '{time_text(longer_ps)}' makes it {FEW_JOBS:,}" if longer_ps < CLOCK_PS else ""
    return (f"in {time_text(duration_ps)} come {comes:.0f} jobs, so values are much by chance{hint}",)
