"""Instructions, cycles and cores, from what a path asks of processors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ytwin.core.units import PS_PER_S
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.types import PathCost, Share


@dataclass(frozen=True, slots=True)
class Instructions:
    """Per request, on the host's cores of one end. The slow path's count where they run on the host."""

    stack: float
    slow_path: float
    cycles: float

    @property
    def total(self) -> float:
        """Of both."""
        return self.stack + self.slow_path

    @property
    def cpi(self) -> float:
        """Cycles per instruction of the mix: each kind of instruction keeps its own."""
        return self.cycles / self.total if self.total else 0.0


def instructions(request: PathCost, chassis: str, card: HardwareProfile) -> Instructions:
    """Of one request (`request`: its packets in both directions together) at the end on this chassis.

    Two kinds of instructions: host.request_instructions at host.request_cpi, and slow_path.pass_instructions per
    software pass on this chassis at slow_path.cpi. With that few numbers any two measured (instructions, CPI) pairs can
    be met: they are fitted.
    """
    host, slow = card.host, card.slow_path
    passes = request.software_passes.get(chassis, 0.0) if slow.runs_on == "host" else 0.0
    stack, path = host.request_instructions.value, passes * slow.pass_instructions.value
    return Instructions(stack, path, stack * host.request_cpi.value + path * slow.cpi.value)


def request_work_ps(card: HardwareProfile) -> float:
    """A host core's time for a request at one end, both directions."""
    host = card.host
    return PS_PER_S * host.request_instructions.value * host.request_cpi.value / host.frequency.value


@dataclass(frozen=True, slots=True)
class Cores:
    """Busy ones, of all chassis together."""

    host: float
    card: float


def busy_cores(job: PathCost, jobs_per_s: float, cards: Mapping[str, HardwareProfile]) -> Cores:
    """At a rate of jobs (utilisation law: rate * work). Of a packet generator's own cores nothing is known: they are not
    counted."""
    host_ps = card_ps = 0.0
    for d in job.demands:
        if d.share is Share.CORES:
            host_ps += d.service_ps * cards[d.chassis].host.cores.value
        elif d.share in (Share.SLOW_PATH, Share.UPCALL) and cards[d.chassis].slow_path.runs_on == "card":
            card_ps += d.service_ps
    return Cores(jobs_per_s * host_ps / PS_PER_S, jobs_per_s * card_ps / PS_PER_S)
