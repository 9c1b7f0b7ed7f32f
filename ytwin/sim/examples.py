"""Random models that are small and tight, so that queues, losses, full tables and ties at one instant all happen. For checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from ytwin.sim.distributions import Constant, Distribution, Exponential, Gamma, PerByte, Service, Uniform
from ytwin.sim.model import Arrivals, Closed, Network, Open, Pipeline, Source, Stage, Station, Step, Table


class Chance(Protocol):
    """What is needed of a random generator."""

    def integers(self, low: int, high: int) -> int:
        """A whole number from low to high - 1."""
        ...


def _service(chance: Chance, mean: int) -> Service:
    kinds: tuple[Service, ...] = (
        Constant(mean),
        Exponential(mean),
        Uniform(0, 2 * mean),
        Gamma(mean, 3.0),
        PerByte(mean / 2, mean / 200),
    )
    return kinds[int(chance.integers(0, len(kinds)))]


def _gap(chance: Chance, mean: int) -> Distribution:
    kinds: tuple[Distribution, ...] = (Constant(mean), Exponential(mean), Gamma(mean, 4.0))
    return kinds[int(chance.integers(0, len(kinds)))]


def _maybe(chance: Chance, low: int, high: int) -> int | None:
    return None if int(chance.integers(0, 3)) == 0 else int(chance.integers(low, high))


def random_table(chance: Chance, name: str) -> Table:
    """A few entries, slow to insert, quick to age."""
    sweep_ps = _maybe(chance, 20, 500)
    return Table(
        name,
        capacity=int(chance.integers(0, 12)),
        insert_ps=int(chance.integers(1, 30)),
        backlog=_maybe(chance, 1, 5),
        install_after=int(chance.integers(1, 4)),
        when_full="lru" if int(chance.integers(0, 2)) else "refuse",
        idle_ps=None if sweep_ps is None else int(chance.integers(0, 400)),
        sweep_ps=sweep_ps,
    )


def random_pipeline(chance: Chance) -> tuple[Pipeline, Arrivals]:
    """One to five stages, about as fast as what arrives."""
    gap = int(chance.integers(2, 30))
    stages = []
    for i in range(int(chance.integers(1, 6))):
        servers = int(chance.integers(1, 5))
        mean = max(1, gap * servers * int(chance.integers(5, 13)) // 10)
        table = random_table(chance, f"table{i}") if int(chance.integers(0, 3)) == 0 else None
        stages.append(Stage(f"stage{i}", _service(chance, mean), servers, _maybe(chance, 0, 8), table))
    return Pipeline(tuple(stages)), Arrivals(
        _gap(chance, gap),
        connections=int(chance.integers(1, 30)),
        popularity=int(chance.integers(0, 3)) / 2,
        jobs_per_connection=_maybe(chance, 1, 20),
        size_bytes=Uniform(0, 200),
    )


def random_network(chance: Chance) -> tuple[Network, int | None]:
    """Open and closed sources over shared stations, with an instant from which nothing new begins, or none."""
    stations = tuple(
        Station(f"station{i}", _maybe(chance, 1, 4), _maybe(chance, 0, 6)) for i in range(int(chance.integers(1, 5)))
    )
    tables = tuple(random_table(chance, f"table{i}") for i in range(int(chance.integers(0, 3))))

    def route() -> tuple[Step, ...]:
        steps = []
        for _ in range(int(chance.integers(1, 6))):
            where = stations[int(chance.integers(0, len(stations)))].name
            table = tables[int(chance.integers(0, len(tables)))].name if tables and int(chance.integers(0, 2)) else ""
            service = _service(chance, int(chance.integers(1, 20)))
            steps.append(Step(where, service, table, opening=int(chance.integers(0, 4)) == 0))
        steps.append(Step(stations[0].name, _service(chance, 5)))
        return tuple(steps)

    sources: list[Source] = []
    for i in range(int(chance.integers(1, 4))):
        if int(chance.integers(0, 2)):
            gap = _gap(chance, int(chance.integers(5, 60)))
            sources.append(Open(f"open{i}", route(), gap, int(chance.integers(1, 20)), 0.0, _maybe(chance, 1, 9)))
        else:
            think = _gap(chance, int(chance.integers(0, 50)) + 1) if int(chance.integers(0, 3)) else Constant(0)
            clients, retry_ps = int(chance.integers(1, 9)), int(chance.integers(1, 60))
            admitted = (0.0, 0.5, 1.0, 1.0)[int(chance.integers(0, 4))]
            per = _maybe(chance, 1, 5)
            sources.append(Closed(f"closed{i}", route(), clients, think, per, retry_ps, admitted=admitted))
    stop_ps = _maybe(chance, 100, 4000)
    begun = (replace(s, under_way=not chance.integers(0, 3)) if isinstance(s, Open) else s for s in sources)
    return Network(stations, tuple(begun), tables), stop_ps
