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


@dataclass(frozen=True, slots=True)
class Cores:
    """Busy cores of all chassis together."""

    host: float
    card: float


def datapath_cores(job: PathCost, jobs_per_s: float, cards: Mapping[str, HardwareProfile]) -> Cores:
    """Cores that slow paths and upcall threads keep busy at a rate (utilisation law: rate * work)."""
    busy = {"host": 0.0, "card": 0.0}
    for d in job.demands:
        if d.share in (Share.SLOW_PATH, Share.UPCALL):
            busy[cards[d.chassis].slow_path.runs_on] += min(jobs_per_s * d.service_ps / PS_PER_S, d.servers)
    return Cores(busy["host"], busy["card"])


def request_cores(ends: Mapping[str, HardwareProfile], requests_per_s: float) -> float:
    """Host cores that the stacks of the ends keep busy with requests."""
    return sum(
        requests_per_s * card.host.request_instructions.value * card.host.request_cpi.value / card.host.frequency.value
        for card in ends.values()
    )


def copying_cores(ends: Mapping[str, HardwareProfile], goodput_bit_per_s: float) -> float:
    """Host cores that the ends keep busy with bulk data: a core copies host.stream_rate (copy-bound, SIGCOMM'21 host
    stack study)."""
    return sum(goodput_bit_per_s / card.host.stream_rate.value for card in ends.values())
