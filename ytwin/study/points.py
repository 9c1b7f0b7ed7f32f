"""What a study runs: points with stable names, their results, and the asking that finds out which points are still missing.

An answer is computed by asking for samples. What is not there yet is noted as missing; running what is missing and asking again
until nothing is missing is the whole of a run, of a search and of a resumed run alike.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from frozendict import frozendict

from ytwin.sim.statistics import mean_of
from ytwin.study.amounts import named
from ytwin.study.model import Engine, Replications, Scalar, Study
from ytwin.study.paths import paths_varied

Settings = Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a study reads besides itself: file name -> text."""

    topology: frozendict[str, str] = frozendict()
    profiles: frozendict[str, str] = frozendict()


class Status(StrEnum):
    """How a point ended."""

    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to run. Points with equal ids are equal, whichever study, machine or day they come from."""

    id: str
    settings: tuple[tuple[str, Scalar], ...]
    replication: int
    seed: int
    """Of all chance in it."""
    draws: bool
    """Whether uncertain profile numbers are drawn from their intervals."""
    intervals: bool
    """Whether the model gives its own interval of each value, which takes longer."""
    engine: Engine

    def __getitem__(self, path: str) -> Scalar:
        """KeyError if the point does not set it."""
        for name, value in self.settings:
            if name == path:
                return value
        raise KeyError(path)


@dataclass(frozen=True, slots=True)
class Result:
    """What a point gave. `metrics` may hold `NAME.low` and `NAME.high`, the model's own interval of NAME."""

    id: str
    settings: tuple[tuple[str, Scalar], ...]
    replication: int
    status: Status
    metrics: frozendict[str, float] = frozendict()
    texts: frozendict[str, str] = frozendict()
    error: str = ""
    seconds: float = 0.0
    """Of computing."""


def digest(value: Any) -> str:
    """A name for a value that JSON can hold: the same on every machine."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def base_of(study: Study, inputs: Inputs, version: str) -> str:
    """Digest of all that evaluating a point reads besides the point itself; a new version of the twin may compute otherwise."""
    spec = study.spec
    told = {
        "model": spec.model,
        "load": dict(spec.load),
        "route": spec.route.model_dump() if spec.route is not None else None,
        "generate": spec.topology.generate.model_dump() if spec.topology.generate is not None else None,
        "cards": spec.cards,
        # Not their names: the same files may lie elsewhere.
        "topology": sorted(inputs.topology.values()),
        "profiles": sorted(inputs.profiles.values()),
        "version": version,
    }
    return digest(told)


@dataclass(frozen=True)
class Sample:
    """All replications of one group of settings."""

    settings: tuple[tuple[str, Scalar], ...]
    results: tuple[Result, ...]

    @property
    def error(self) -> str:
        """Of the first replication that failed, "" if none did."""
        return next((r.error for r in self.results if r.status is Status.FAILED), "")

    @property
    def texts(self) -> Mapping[str, str]:
        """What most replications say, of those said equally often the first; nothing where most say nothing."""
        every = dict.fromkeys(name for result in self.results for name in result.texts)
        said = {name: Counter(result.texts.get(name, "") for result in self.results) for name in every}
        return {name: text for name, counted in said.items() if (text := counted.most_common(1)[0][0])}

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that every replication has, in the model's order: some have no latency where more comes than is carried."""
        first, *others = (r.metrics for r in self.results)
        return tuple(
            name for name in first if not name.endswith((".low", ".high")) and all(name in other for other in others)
        )

    def series(self, metric: str) -> tuple[float, ...]:
        """One value per replication. KeyError if there is no such metric."""
        name = named(metric, self.names)
        return tuple(r.metrics[name] for r in self.results)

    def means(self) -> dict[str, float]:
        """Metric -> its mean over the replications."""
        return {name: sum(self.series(name)) / len(self.results) for name in self.names}


@dataclass
class Asking:
    """Known results, and what was asked for in vain."""

    study: Study
    base: str
    """From `base_of`."""
    results: Mapping[str, Result]
    missing: dict[str, Point] = field(default_factory=dict)
    asked: dict[str, Point] = field(default_factory=dict)
    """Everything, found or not, in the order of asking."""

    def point(self, settings: Settings, replication: int, draws: bool) -> Point:
        """The point with these settings."""
        spec = self.study.spec
        told = tuple(sorted(settings.items()))
        shared: list[Any] = [spec.seed, replication]
        if not spec.common_random_numbers:
            # Of a variant, not of what a search or a sensitivity changes in it: those look at one variant, with one chance.
            own = paths_varied(spec) - {spec.goal.limit.parameter if spec.goal.limit is not None else ""}
            shared.append(tuple(setting for setting in told if setting[0] in own))
        seed = int(digest(shared)[:8], 16)
        chance = seed if draws or spec.engine != "analytic" else 0
        goal = spec.goal
        intervals = not draws and spec.engine == "analytic" and goal.limit is None and goal.sensitivity is None
        name = digest([self.base, told, replication, chance, draws, intervals, spec.engine])[:20]
        return Point(name, told, replication, seed, draws, intervals, spec.engine)

    def one(self, settings: Settings, replication: int, draws: bool) -> Sample | None:
        """One replication alone; None if it is missing, which is noted."""
        point = self.point(settings, replication, draws)
        self.asked[point.id] = point
        if point.id not in self.results:
            self.missing[point.id] = point
            return None
        return Sample(point.settings, (self.results[point.id],))

    def sample(self, settings: Settings, draws: bool | None = None) -> Sample | None:
        """All replications of these settings; None while some are missing, which are noted."""
        spec = self.study.spec
        drawn = spec.draws if draws is None else draws
        # Without chance a repetition would be the same again.
        repeats = spec.repeats if drawn or spec.engine != "analytic" else Replications()
        count = repeats.at_least
        while True:
            found = self._replications(settings, count, drawn)
            if found is None:
                return None
            sample = Sample(tuple(sorted(settings.items())), found)
            if repeats.at_most is None or count >= repeats.at_most or sample.error or _tight(sample, repeats):
                return sample
            count = min(repeats.at_most, count + max(1, count // 2))

    def _replications(self, settings: Settings, count: int, draws: bool) -> tuple[Result, ...] | None:
        found = []
        for replication in range(count):
            point = self.point(settings, replication, draws)
            self.asked[point.id] = point
            if point.id in self.results:
                found.append(self.results[point.id])
            else:
                self.missing[point.id] = point
        return tuple(found) if len(found) == count else None


def half_width(sample: Sample, repeats: Replications) -> float | None:
    """Half of the interval that replications go on for, as a part of the mean; None where there is nothing to wait for.

    So it is without `atMost`, and where the model gives no such metric, however often it is asked.
    """
    try:
        values = sample.series(repeats.metric) if repeats.at_most is not None else ()
    except KeyError:
        return None
    if len(values) < 2:
        return None
    found = mean_of(values, repeats.confidence)
    if found.half_width == 0:
        return 0.0
    return found.half_width / abs(found.value) if found.value else math.inf


def _tight(sample: Sample, repeats: Replications) -> bool:
    """Whether the interval of the metric is narrow enough."""
    reached = half_width(sample, repeats)
    return reached is None or reached <= repeats.relative
