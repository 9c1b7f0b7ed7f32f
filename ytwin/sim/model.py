"""What is simulated, as frozen values. `reference` is its meaning, `fast` the same in less time.

Two forms:
- `Pipeline`: jobs pass stages in one order and never come back. Fast stage by stage.
- `Network`: stations shared by the routes of several sources, open (jobs arrive) and closed (clients that wait for an answer).

Time is in whole picoseconds. What happens at the same instant happens in this order:
insertions complete, services and thinking complete (by job), tables are swept, jobs arrive (by step of their route, then by job).
So a place that a job leaves at an instant is free for one that arrives then, and nothing depends on an engine's own order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from ytwin.core.units import PS_PER_S, require
from ytwin.sim.distributions import Constant, Distribution, Exponential, Service

INSERTED, SERVED, SWEPT, ARRIVED = 1, 2, 3, 4
"""Phases of one instant, in their order."""

_PHASE_BITS: Final = 60
_STEP_BITS: Final = 44
MAX_STEPS: Final = 1 << 12
MAX_JOBS: Final = 1 << _STEP_BITS


def moment_key(phase: int, step: int, job: int) -> int:
    """Rank of an event among those of the same instant; every engine sorts by it. (Compiled copy: `loop`.)"""
    return (phase << _PHASE_BITS) | (step << _STEP_BITS) | job


def _counted(servers: int | None, queue: int | None, where: str) -> None:
    require(
        servers is None or servers >= 1,
        f"{where}.servers",
        f"{servers} servers",
        "give at least 1, or None for no limit",
    )
    require(
        queue is None or queue >= 0, f"{where}.queue", f"{queue} waiting places", "give 0 or more, or None for no limit"
    )


@dataclass(frozen=True, slots=True)
class Table:
    """A cache of connections in front of a slow path: flow table of a card, megaflow cache, conntrack.

    A connection is slow until it is installed: after `install_after` of its jobs went the slow way an insertion is asked for;
    one insertion at a time takes `insert_ps`; at most `backlog` wait or are in work, what comes then is not asked for (the
    connection's next slow job tries again). A full table refuses, or drops what was not used for longest. Every `sweep_ps`
    all entries
    that were not used for more than `idle_ps` go.
    """

    name: str
    capacity: int
    insert_ps: int = 1
    backlog: int | None = None
    install_after: int = 1
    when_full: Literal["refuse", "lru"] = "refuse"
    idle_ps: int | None = None
    sweep_ps: int | None = None

    def __post_init__(self) -> None:
        where = f"table {self.name}"
        require(self.capacity >= 0, f"{where}.capacity", f"{self.capacity} entries", "give 0 or more")
        require(self.insert_ps >= 1, f"{where}.insert_ps", f"{self.insert_ps} ps", "an insertion takes at least 1 ps")
        require(
            self.backlog is None or self.backlog >= 1,
            f"{where}.backlog",
            f"{self.backlog} insertions",
            "give 1 or more, or None for no limit",
        )
        require(self.install_after >= 1, f"{where}.install_after", f"{self.install_after} jobs", "give 1 or more")
        require(self.when_full in ("refuse", "lru"), f"{where}.when_full", f"{self.when_full!r}", "say refuse or lru")
        require(
            (self.idle_ps is None) == (self.sweep_ps is None),
            f"{where}.sweep_ps",
            "ageing needs both idle_ps and sweep_ps",
            "give both, or neither for entries that never age",
        )
        require(self.idle_ps is None or self.idle_ps >= 0, f"{where}.idle_ps", f"{self.idle_ps} ps", "give 0 or more")
        require(
            self.sweep_ps is None or self.sweep_ps >= 1, f"{where}.sweep_ps", f"{self.sweep_ps} ps", "give 1 or more"
        )


@dataclass(frozen=True, slots=True)
class Stage:
    """Servers with one FIFO queue; a job that finds `queue` others waiting and no free server is lost.

    With a `table` only jobs of connections that are not in it are served here; the others pass at once.
    """

    name: str
    service_ps: Service
    servers: int = 1
    queue: int | None = None
    table: Table | None = None

    def __post_init__(self) -> None:
        _counted(self.servers, self.queue, f"stage {self.name}")


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages in the order in which every job passes them."""

    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        require(bool(self.stages), "pipeline.stages", "a pipeline without stages", "give at least one stage")
        require(len(self.stages) < MAX_STEPS, "pipeline.stages", "too many stages", f"give less than {MAX_STEPS}")
        names = [s.name for s in self.stages]
        require(
            len(set(names)) == len(names), "pipeline.stages", f"names twice in {names}", "give every stage its own name"
        )
        tables = [s.table.name for s in self.stages if s.table]
        require(
            len(set(tables)) == len(tables),
            "pipeline.stages",
            f"tables twice in {tables}",
            "give every table its own name",
        )


@dataclass(frozen=True, slots=True)
class Station:
    """Servers that several steps may share (cores). `servers` None: nobody ever waits (a wire's delay)."""

    name: str
    servers: int | None = 1
    queue: int | None = None

    def __post_init__(self) -> None:
        _counted(self.servers, self.queue, f"station {self.name}")


@dataclass(frozen=True, slots=True)
class Step:
    """One visit of a station. With `table`: only if the connection is not in it. `opening`: only in a connection's first job."""

    station: str
    service_ps: Service
    table: str = ""
    opening: bool = False


@dataclass(frozen=True, slots=True)
class Open:
    """Jobs arrive whatever happens to earlier ones; a lost job is lost."""

    name: str
    steps: tuple[Step, ...]
    gap_ps: Distribution
    connections: int = 1
    """How many connections there are at a time; each job belongs to one of them by chance."""
    popularity: float = 0.0
    """Zipf exponent: the i-th connection is chosen in proportion to i^-popularity; 0: all alike."""
    jobs_per_connection: int | None = None
    """After so many jobs a connection ends and a new one stands in its place; None: never."""
    size_bytes: Distribution = field(default_factory=lambda: Constant(0))
    under_way: bool = False
    """The connections of the beginning are old ones: of any age, no job of theirs is a first one, and their tables have them, as
    many as there is room for. So a run shows at once what one that begins empty comes to when all of these have ended."""

    def __post_init__(self) -> None:
        where, per = f"source {self.name}", self.jobs_per_connection
        require(self.gap_ps.mean > 0, f"{where}.gap_ps", "no time between arrivals", "give a rate that is not endless")
        require(self.connections >= 1, f"{where}.connections", f"{self.connections}", "give at least 1")
        require(0 <= self.popularity < 10, f"{where}.popularity", f"{self.popularity}", "give 0 (all alike) to 10")
        require(
            per is None or per >= 1, f"{where}.jobs_per_connection", f"{per}", "give at least 1, or None for no end"
        )

    @classmethod
    def at_rate(cls, name: str, steps: tuple[Step, ...], rate_per_s: float, connections: int = 1) -> Open:
        """Poisson arrivals."""
        return cls(name, steps, poisson_gap(rate_per_s, f"source {name}.rate_per_s"), connections)


@dataclass(frozen=True, slots=True)
class Closed:
    """Clients that think, ask, and wait for the end of the route.

    A lost job is tried again from the first step after `retry_ps`.
    """

    name: str
    steps: tuple[Step, ...]
    clients: int
    think_ps: Distribution = field(default_factory=lambda: Constant(0))
    requests_per_connection: int | None = None
    """None: one connection for ever."""
    retry_ps: int = PS_PER_S // 5
    most_tries: int = 16
    """Then the request is given up (Linux: tcp_retries2, 15 after the first).

    Without an end, clients could keep one another out for ever.
    """
    size_bytes: Distribution = field(default_factory=lambda: Constant(0))
    admitted: float = 1.0
    """Of its connections: those that tables may take, each by chance. The others miss for good, as if tables were full of entries
    of somebody who is not in the model."""

    def __post_init__(self) -> None:
        where = f"source {self.name}"
        require(0 <= self.admitted <= 1, f"{where}.admitted", f"{self.admitted}", "give a part: 0 to 1")
        require(self.clients >= 1, f"{where}.clients", f"{self.clients} clients", "give at least 1")
        per = self.requests_per_connection
        require(
            per is None or per >= 1, f"{where}.requests_per_connection", f"{per}", "give at least 1, or None for no end"
        )
        require(self.most_tries >= 1, f"{where}.most_tries", f"{self.most_tries} tries", "give at least 1")
        require(
            self.retry_ps >= 1, f"{where}.retry_ps", f"{self.retry_ps} ps", "give at least 1: the others go on then"
        )


Source = Open | Closed


@dataclass(frozen=True, slots=True)
class Network:
    """Stations and tables, and the sources whose routes lead through them."""

    stations: tuple[Station, ...]
    sources: tuple[Source, ...]
    tables: tuple[Table, ...] = ()

    def __post_init__(self) -> None:
        _check_names([s.name for s in self.stations], "stations")
        _check_names([t.name for t in self.tables], "tables")
        _check_names([s.name for s in self.sources], "sources")
        require(bool(self.sources), "network.sources", "nothing arrives", "give at least one source")
        stations, tables = {s.name for s in self.stations}, {t.name for t in self.tables}
        for source in self.sources:
            where = f"source {source.name}.steps"
            require(
                0 < len(source.steps) < MAX_STEPS, where, f"{len(source.steps)} steps", f"give 1 to {MAX_STEPS - 1}"
            )
            for step in source.steps:
                require(
                    step.station in stations,
                    where,
                    f"no station {step.station!r}",
                    f"one of {sorted(stations)}, or add it",
                )
                require(
                    not step.table or step.table in tables,
                    where,
                    f"no table {step.table!r}",
                    f"one of {sorted(tables)}, or add it",
                )
            require(
                isinstance(source, Open) or any(not step.table and not step.opening for step in source.steps),
                where,
                "a request could take no time at all, so that a client asks for ever at one instant",
                "give at least one step that every request makes",
            )


def entries_at_start(network: Network, met: Sequence[int]) -> dict[str, list[int]]:
    """Table -> connections that are in it from the beginning, numbered over all sources; `met`: how many each source has."""
    found: dict[str, list[int]] = {table.name: [] for table in network.tables}
    first = 0
    for source, count in zip(network.sources, met, strict=True):
        if isinstance(source, Open) and source.under_way:
            for name in sorted({step.table for step in source.steps if step.table}):
                found[name] += range(first, first + min(source.connections, count))
        first += count
    return {table.name: found[table.name][: table.capacity] for table in network.tables}


def _check_names(names: Sequence[str], what: str) -> None:
    require(
        len(set(names)) == len(names), f"network.{what}", f"names twice in {sorted(names)}", "give each its own name"
    )


def poisson_gap(rate_per_s: float, where: str = "rate_per_s") -> Exponential:
    """Gaps of Poisson arrivals at a rate; InvalidInput unless the rate is above 0."""
    require(0 < rate_per_s < math.inf, where, f"{rate_per_s!r} is not a rate", "give jobs per second, above 0")
    return Exponential(PS_PER_S / rate_per_s)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What comes to a pipeline: like `Open`, without a route."""

    gap_ps: Distribution
    connections: int = 1
    popularity: float = 0.0
    jobs_per_connection: int | None = None
    size_bytes: Distribution = field(default_factory=lambda: Constant(0))

    @classmethod
    def at_rate(cls, rate_per_s: float, connections: int = 1) -> Arrivals:
        """Poisson arrivals."""
        return cls(poisson_gap(rate_per_s), connections)


def as_source(pipeline: Pipeline, arrivals: Arrivals) -> Open:
    """The pipeline's jobs as an open source whose route is its stages."""
    steps = tuple(Step(s.name, s.service_ps, s.table.name if s.table else "") for s in pipeline.stages)
    a = arrivals
    return Open("jobs", steps, a.gap_ps, a.connections, a.popularity, a.jobs_per_connection, a.size_bytes)


def as_network(pipeline: Pipeline, arrivals: Arrivals) -> Network:
    """The pipeline as a Network, for the engines that know networks only."""
    stations = tuple(Station(s.name, s.servers, s.queue) for s in pipeline.stages)
    return Network(stations, (as_source(pipeline, arrivals),), tuple(s.table for s in pipeline.stages if s.table))
