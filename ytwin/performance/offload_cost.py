"""What offload verdicts cost: the same paths as they are, as if the cards did everything, and as if they did nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ytwin.core.tables import format_table
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Program
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.predict import predict
from ytwin.performance.render import number
from ytwin.performance.types import Metric
from ytwin.sim.workloads import PacketRate, RequestResponse

SMALL_PACKET_BYTES: Final = 64
"""The smallest frame of Ethernet: at this size packet rates are compared."""
MANY_FLOWS: Final = 4096
"""So many that they reach all ports and cores."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a path gives, and takes at the rate that software would carry."""

    packet_rate_mpps: float
    """Small packets, many flows: what the limit carries."""
    limit: str
    latency_us: float
    """One way, unloaded, of established packets (half a round trip)."""
    first_us: float
    """One way, of a connection's first packet."""
    host_cores: float
    """Busy in slow paths and with upcalls, at `OffloadCost.at_mpps`."""
    card_cores: float


@dataclass(frozen=True, slots=True)
class OffloadCost:
    """Of one path."""

    client: str
    destination: str
    backend: str
    at_mpps: float
    """Rate at which cores are compared: the lowest packet rate of the three."""
    as_is: Figures
    everything: Figures
    """As if the cards took all packets, the first included. The same as `as_is` where no chassis has an eSwitch."""
    nothing: Figures
    """As if all packets went through software."""

    @property
    def lost_mpps(self) -> float:
        """Packet rate that is lost because not everything is offloaded."""
        return self.everything.packet_rate_mpps - self.as_is.packet_rate_mpps

    @property
    def added_us(self) -> float:
        """Latency, one way, added by what stays in software."""
        return self.as_is.latency_us - self.everything.latency_us

    @property
    def added_cores(self) -> float:
        """Cores of hosts and cards that it keeps busy at `at_mpps`."""
        spent, least = self.as_is, self.everything
        return spent.host_cores + spent.card_cores - least.host_cores - least.card_cores

    def __str__(self) -> str:
        rows = [
            (
                name,
                number(f.packet_rate_mpps),
                number(f.latency_us),
                number(f.first_us),
                number(f.host_cores),
                number(f.card_cores),
                f.limit,
            )
            for name, f in (("as it is", self.as_is), ("everything", self.everything), ("nothing", self.nothing))
        ]
        cores = f"at {number(self.at_mpps)} Mpps"
        header = ("offloaded", "Mpps", "us", "first us", f"host cores {cores}", f"card cores {cores}", "limit")
        return f"{self.client} to {self.destination}, backend {self.backend}\n{format_table(header, rows)}"


def offload_cost(
    programs: Iterable[Program],
    verdicts: Iterable[OffloadVerdict],
    cards: Mapping[str, HardwareProfile],
    services: int = 1,
) -> tuple[OffloadCost, ...]:
    """One per path (client, destination, backend), in the order of the programs; by formulas."""
    verdicts = tuple(verdicts)
    paths: dict[tuple[str, str, str, str], list[Program]] = {}
    for program in programs:
        paths.setdefault((program.client, program.destination, program.backend, program.protocol), []).append(program)
    found = []
    for (client, destination, backend, _), path in paths.items():

        def figures(assume: Outcome | None, at_mpps: float, path: list[Program] = path) -> Figures:
            return _figures(path, verdicts, cards, services, assume, at_mpps)

        outcomes = (None, Outcome.OFFLOADED, Outcome.SOFTWARE)
        rates = [figures(outcome, 0.0).packet_rate_mpps for outcome in outcomes]
        at_mpps = min(rates)
        found.append(OffloadCost(client, destination, backend, at_mpps, *(figures(o, at_mpps) for o in outcomes)))
    return tuple(found)


def _figures(
    path: list[Program],
    verdicts: tuple[OffloadVerdict, ...],
    cards: Mapping[str, HardwareProfile],
    services: int,
    assume: Outcome | None,
    at_mpps: float,
) -> Figures:
    def ask(load: PacketRate | RequestResponse) -> Mapping[Metric, float]:
        said = predict(path, verdicts, cards, load, services=services, assume=assume, intervals=False)
        return {v.metric: v.value for v in said.values}

    most = PacketRate("most", math.inf, MANY_FLOWS, SMALL_PACKET_BYTES)
    highest = predict(path, verdicts, cards, most, services=services, assume=assume, intervals=False)
    same = ask(PacketRate("same", at_mpps * 1e6, MANY_FLOWS, SMALL_PACKET_BYTES)) if at_mpps else {}
    new = ask(PacketRate("first", 1.0, 1, SMALL_PACKET_BYTES, jobs_per_flow=1))
    return Figures(
        highest[Metric.PACKET_RATE].value,
        highest.limit,
        ask(RequestResponse("one", 1))[Metric.LATENCY],
        new[Metric.LATENCY],
        same.get(Metric.HOST_CORES, 0.0),
        same.get(Metric.CARD_CORES, 0.0),
    )
