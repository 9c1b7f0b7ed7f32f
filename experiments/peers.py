"""The same pipelines in other people's simulators, where these are installed: salabim on the same numbers, ciw on its own.

Nothing of the project needs them. `pip install salabim ciw` adds their rows to `python -m experiments.engines`.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ytwin.core.units import PS_PER_S
from ytwin.sim.model import Arrivals, Pipeline
from ytwin.sim.streams import SourceDraws


@dataclass(frozen=True, slots=True)
class Peer:
    """What another simulator made of a pipeline."""

    packets_per_s: float
    latency_mean_ps: float
    lost: int
    same_numbers: bool
    """It ran on the given numbers, so latency and losses can be compared to the last packet."""


def peers(pipeline: Pipeline, arrivals: Arrivals, draws: SourceDraws) -> dict[str, Peer | str]:
    """Name -> result, or why there is none."""
    known: dict[str, tuple[str, Callable[[], Peer | str]]] = {
        "salabim": ("salabim", lambda: _salabim(pipeline, draws)),
        "ciw": ("ciw", lambda: _ciw(pipeline, arrivals, draws.jobs)),
        "ns-3": ("ns", lambda: "installed, but there is no adapter for it here"),
    }
    found: dict[str, Peer | str] = {}
    for name, (module, run) in known.items():
        try:
            found[name] = run() if importlib.util.find_spec(module) else "not installed"
        except ImportError as error:
            found[name] = f"cannot be imported: {error}"
    return found


def _salabim(pipeline: Pipeline, draws: SourceDraws) -> Peer:
    """A component per packet, a resource per stage; a packet that finds the waiting places taken is lost."""
    salabim: Any = import_module("salabim")
    salabim.yieldless(False)
    environment = salabim.Environment(trace=False)
    resources = [salabim.Resource(stage.name, capacity=stage.servers) for stage in pipeline.stages]
    moments, services = draws.moments_ps.tolist(), draws.services_ps.T.tolist()
    took: list[float] = []

    class Packet(salabim.Component):  # type: ignore[misc]  # the base has no types
        def setup(self, number: int) -> None:
            self.number = number

        def process(self) -> Any:
            begin = environment.now()
            for i, (stage, resource) in enumerate(zip(pipeline.stages, resources, strict=True)):
                taken = resource.claimed_quantity() >= stage.servers
                if taken and stage.queue is not None and len(resource.requesters()) >= stage.queue:
                    return
                yield self.request(resource)
                yield self.hold(services[self.number][i])
                self.release(resource)
            took.append(environment.now() - begin)

    class Source(salabim.Component):  # type: ignore[misc]
        def process(self) -> Any:
            for number, moment in enumerate(moments):
                yield self.hold(till=moment)
                Packet(name="", number=number)

    Source(name="source")
    begin_s = time.perf_counter()
    environment.run()
    taken_s = time.perf_counter() - begin_s
    return Peer(len(moments) / taken_s, sum(took) / len(took), len(moments) - len(took), True)


def _ciw(pipeline: Pipeline, arrivals: Arrivals, jobs: int) -> Peer | str:
    """On numbers of its own. Its full queues hold the packet back at the stage before instead of losing it."""
    if any(stage.queue is not None for stage in pipeline.stages):
        return "full queues block there; it cannot lose packets between stages"
    ciw: Any = import_module("ciw")
    count = len(pipeline.stages)
    mean_s = [getattr(stage.service_ps, "mean", 0.0) / PS_PER_S for stage in pipeline.stages]
    model = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(PS_PER_S / arrivals.gap_ps.mean), *[None] * (count - 1)],
        service_distributions=[ciw.dists.Exponential(1 / mean) for mean in mean_s],
        routing=[[1.0 if j == i + 1 else 0.0 for j in range(count)] for i in range(count)],
        number_of_servers=[stage.servers for stage in pipeline.stages],
    )
    ciw.seed(1)
    simulation = ciw.Simulation(model)
    begin_s = time.perf_counter()
    simulation.simulate_until_max_customers(jobs)
    taken_s = time.perf_counter() - begin_s
    begun: dict[int, float] = {}
    ended: dict[int, float] = {}
    for record in simulation.get_all_records():
        begun[record.id_number] = min(record.arrival_date, begun.get(record.id_number, record.arrival_date))
        if record.node == count:
            ended[record.id_number] = record.exit_date
    took = [(end - begun[number]) * PS_PER_S for number, end in ended.items()]
    return Peer(jobs / taken_s, sum(took) / len(took), 0, False)
