"""What a streamed run keeps: counts, sums and a histogram instead of every job."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ytwin.core.tables import format_table
from ytwin.core.units import PS_PER_S, require
from ytwin.sim.passes import BINS_PER_OCTAVE
from ytwin.sim.results import TableCounts


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One stage; `visits` were served or lost here (jobs found in the stage's table are neither)."""

    name: str
    servers: int
    visits: int
    lost: int
    busy_ps: int
    wait_sum_ps: float
    wait_max_ps: int

    @property
    def wait_mean_ps(self) -> float:
        """Of those who were served."""
        served = self.visits - self.lost
        return self.wait_sum_ps / served if served else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One streamed run. Latencies are of the jobs after the warm-up that came to the end."""

    jobs: int
    begin_ps: int
    end_ps: int
    stages: tuple[StageSummary, ...]
    tables: tuple[TableCounts, ...]
    bins: npt.NDArray[np.int64]
    measured: float
    latency_sum_ps: float
    latency_squares: float
    latency_max_ps: float

    @property
    def lost(self) -> int:
        """At all stages together."""
        return sum(s.lost for s in self.stages)

    @property
    def duration_ps(self) -> int:
        """From the first arrival to the last job's end."""
        return self.end_ps - self.begin_ps

    @property
    def done_per_s(self) -> float:
        """Jobs that came to the end, per simulated second."""
        return (self.jobs - self.lost) * PS_PER_S / max(1, self.duration_ps)

    @property
    def latency_mean_ps(self) -> float:
        """Of the measured jobs; 0 if there are none."""
        return self.latency_sum_ps / self.measured if self.measured else 0.0

    def latency_ps(self, percent: float) -> float:
        """A percentile: middle of its bin, which is 1/128 wide at most (so the value is within 0.4 %)."""
        require(0 <= percent <= 100, "percent", f"{percent}", "give 0 to 100")
        require(self.measured > 0, "latency", "no job came to its end after the warm-up", "simulate more jobs")
        rank = min(self.measured, max(1.0, np.ceil(self.measured * percent / 100)))
        at = int(np.searchsorted(np.cumsum(self.bins), rank))
        octave, rest = max(0, at // BINS_PER_OCTAVE - 1), at
        rest = at - octave * BINS_PER_OCTAVE
        return min(self.latency_max_ps, (rest + 0.5) * 2.0**octave - 0.5)

    def latencies_ps(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """(middle, how many) of the bins that hold any."""
        held = np.flatnonzero(self.bins)
        octaves = np.maximum(0, held // BINS_PER_OCTAVE - 1)
        middles = (held - octaves * BINS_PER_OCTAVE + 0.5) * 2.0**octaves - 0.5
        return np.minimum(self.latency_max_ps, middles), self.bins[held]

    def utilisation(self, stage: int) -> float:
        """Share of the stage's servers that was busy."""
        one = self.stages[stage]
        return one.busy_ps / one.servers / max(1, self.duration_ps)

    def __str__(self) -> str:
        rows = [
            (
                s.name,
                s.servers,
                s.visits,
                s.lost,
                f"{self.utilisation(i):.3f}",
                f"{s.wait_mean_ps / 1e3:.1f}",
                f"{s.wait_max_ps / 1e3:.1f}",
            )
            for i, s in enumerate(self.stages)
        ]
        return format_table(("stage", "servers", "visits", "lost", "busy", "wait ns", "max wait ns"), rows)
