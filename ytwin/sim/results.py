"""What a run gives, the same values from every engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ytwin.core.units import PS_PER_S

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SourceResult:
    """The jobs of one source. -1 stands for "did not happen"."""

    name: str
    start_ps: Integers
    """Arrival, or when the client first asked."""
    end_ps: Integers
    """When the route was done."""
    lost_at: Integers
    """Step at which a job was lost; of a client's request: in its last try."""
    tries: Integers
    """How often the job began its route; above 1 only for clients whose request was lost."""
    waits_ps: Integers
    """[step, job]: waiting before service, of the last try; -1 where the job was not served."""

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Which jobs came to their end."""
        return self.end_ps >= 0

    @property
    def latency_ps(self) -> Integers:
        """Of the jobs that came to their end, in their order."""
        done = self.done
        return self.end_ps[done] - self.start_ps[done]

    def throughput_per_s(self, begin_ps: int, end_ps: int) -> float:
        """Jobs done per second within [begin, end)."""
        inside = (self.end_ps >= begin_ps) & (self.end_ps < end_ps)
        return float(np.count_nonzero(inside)) * PS_PER_S / (end_ps - begin_ps)


@dataclass(frozen=True, slots=True)
class TableCounts:
    """What a table saw."""

    name: str
    hits: int = 0
    misses: int = 0
    inserted: int = 0
    refused: int = 0
    """Insertions that found the table full."""
    overflowed: int = 0
    """Insertions that found the backlog full."""
    evicted: int = 0
    aged: int = 0
    peak: int = 0
    """Most entries at a time."""

    @property
    def entries(self) -> int:
        """At the end."""
        return self.inserted - self.evicted - self.aged


@dataclass(frozen=True, slots=True)
class Result:
    """One run of a network. `busy_ps` [station]: service given, summed over its servers."""

    sources: tuple[SourceResult, ...]
    tables: tuple[TableCounts, ...]
    busy_ps: Integers
    end_ps: int
    """When the last job was done or lost."""

    def __getitem__(self, source: str) -> SourceResult:
        return next(s for s in self.sources if s.name == source)

    def differences(self, other: Result) -> list[str]:
        """Everything in which two runs differ, to the last picosecond and the last job; empty if they are equal."""
        found = [
            f"{mine.name}.{field}: {int(np.count_nonzero(a != b))} of {a.size} differ"
            for mine, theirs in zip(self.sources, other.sources, strict=True)
            for field in ("start_ps", "end_ps", "lost_at", "tries", "waits_ps")
            if not np.array_equal(a := getattr(mine, field), b := getattr(theirs, field))
        ]
        found += [f"{a} is not {b}" for a, b in zip(self.tables, other.tables, strict=True) if a != b]
        if not np.array_equal(self.busy_ps, other.busy_ps):
            found.append(f"busy_ps: {self.busy_ps.tolist()} is not {other.busy_ps.tolist()}")
        if self.end_ps != other.end_ps:
            found.append(f"end_ps: {self.end_ps} is not {other.end_ps}")
        return found
