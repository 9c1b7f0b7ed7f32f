"""Distributions of times and sizes, as values. They know their mean and variance; `streams` draws from them.

The unit is that of the field in which a distribution stands (`service_ps`: picoseconds, `size_bytes`: bytes).
Draws are whole numbers: a time is at least 1 ps where something is served and at least 0 between events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ytwin.core.units import require

_MEAN = "give a finite mean above 0"


def _positive(value: float, where: str) -> None:
    require(math.isfinite(value) and value > 0, where, f"{value!r} is not above 0", _MEAN)


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same."""

    value: float

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.value) and self.value >= 0,
            "Constant.value",
            f"{self.value!r} is not a finite number of at least 0",
            "give how long it takes, 0 for nothing",
        )

    @property
    def mean(self) -> float:
        """The value itself."""
        return self.value

    @property
    def scv(self) -> float:
        """Squared coefficient of variation: variance / mean^2."""
        return 0.0


@dataclass(frozen=True, slots=True)
class Exponential:
    """Memoryless: gaps of Poisson arrivals, the M of M/M/1."""

    mean: float

    def __post_init__(self) -> None:
        _positive(self.mean, "Exponential.mean")

    @property
    def scv(self) -> float:
        """1 by definition."""
        return 1.0


@dataclass(frozen=True, slots=True)
class Uniform:
    """Between low and high."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.high) and 0 <= self.low < self.high,
            "Uniform",
            f"{self.low!r} to {self.high!r} is no interval of numbers of at least 0",
            "give low below high, both at least 0",
        )

    @property
    def mean(self) -> float:
        """Middle of the interval."""
        return (self.low + self.high) / 2

    @property
    def scv(self) -> float:
        """Variance (high-low)^2/12 over mean^2."""
        return (self.high - self.low) ** 2 / 12 / self.mean**2


@dataclass(frozen=True, slots=True)
class Gamma:
    """Given mean and squared coefficient of variation; 1/k gives Erlang-k, above 1 something burstier than Poisson."""

    mean: float
    scv: float

    def __post_init__(self) -> None:
        _positive(self.mean, "Gamma.mean")
        require(
            math.isfinite(self.scv) and self.scv > 0, "Gamma.scv", f"{self.scv!r} is not above 0", "use Constant for 0"
        )


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Given mean and squared coefficient of variation: sizes and service times with a long tail."""

    mean: float
    scv: float

    def __post_init__(self) -> None:
        _positive(self.mean, "LogNormal.mean")
        require(
            math.isfinite(self.scv) and self.scv > 0,
            "LogNormal.scv",
            f"{self.scv!r} is not above 0",
            "use Constant for 0",
        )


@dataclass(frozen=True, slots=True)
class Empirical:
    """One of the given values, each as likely: what was measured."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        require(
            bool(self.values) and all(math.isfinite(v) and v >= 0 for v in self.values),
            "Empirical.values",
            "there must be values, all finite and at least 0",
            "give the measured values, without signs",
        )

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return sum(self.values) / len(self.values)

    @property
    def scv(self) -> float:
        """Variance of the values (they are the whole population) over mean^2."""
        mean = self.mean
        return sum((v - mean) ** 2 for v in self.values) / len(self.values) / mean**2 if mean else 0.0


@dataclass(frozen=True, slots=True)
class PerByte:
    """A fixed part and a part for every byte of the job: copying, DMA, a wire."""

    fixed: float
    per_byte: float

    def __post_init__(self) -> None:
        require(
            all(math.isfinite(v) and v >= 0 for v in (self.fixed, self.per_byte)),
            "PerByte",
            f"{self.fixed!r} + {self.per_byte!r}/B is not at least 0",
            "give both parts without signs",
        )


Distribution = Constant | Exponential | Uniform | Gamma | LogNormal | Empirical
Service = Distribution | PerByte
