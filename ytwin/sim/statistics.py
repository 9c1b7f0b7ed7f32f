"""What runs say about a mean or a percentile, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, stdtrit

from ytwin.core.units import require

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64] | Sequence[float]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the interval that holds the true one with probability `confidence`."""

    value: float
    low: float
    high: float
    confidence: float
    samples: int

    @property
    def half_width(self) -> float:
        """Of the interval."""
        return (self.high - self.low) / 2

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{self.value:.6g} [{self.low:.6g}, {self.high:.6g}]"


def _check(confidence: float) -> None:
    require(0 < confidence < 1, "confidence", f"{confidence}", "give a probability between 0 and 1, such as 0.95")


def mean_of(samples: Numbers, confidence: float = 0.95) -> Estimate:
    """Mean of independent samples with Student's interval: mean +- t_{n-1} s / sqrt(n) (Student, 1908)."""
    _check(confidence)
    values = np.asarray(samples, np.float64)
    n = len(values)
    require(n >= 2, "samples", f"{n} samples", "an interval needs at least 2")
    mean = float(values.mean())
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, confidence, n)


def replicate(run: Callable[[int], float], replications: int, confidence: float = 0.95) -> Estimate:
    """Mean over independent replications; `run(k)` gives the value of replication k (use `Streams(seed, k)`)."""
    return mean_of([run(k) for k in range(replications)], confidence)


def compare(first: Numbers, second: Numbers, confidence: float = 0.95) -> Estimate:
    """Mean of second - first, by pairs: with common random numbers the noise they share cancels (paired t)."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    require(len(a) == len(b), "samples", f"{len(a)} and {len(b)} samples", "give pairs: the same replications of both")
    return mean_of(b - a, confidence)


def batch_means(series: Numbers, batches: int = 20, confidence: float = 0.95) -> Estimate:
    """Mean of a stationary, correlated series from the means of `batches` long pieces (Schmeiser 1982: 10 to 30 of them).

    Valid where a piece is much longer than the correlation; what does not fill a piece is left out at the beginning.
    """
    require(batches >= 2, "batches", f"{batches}", "give at least 2")
    values = np.asarray(series, np.float64)
    size = len(values) // batches
    require(size >= 1, "series", f"{len(values)} values for {batches} batches", "simulate longer or use fewer batches")
    return mean_of(values[len(values) - size * batches :].reshape(batches, size).mean(axis=1), confidence)


def warmup_mser(series: Numbers, batch: int = 5) -> int:
    """How many values at the beginning to leave out: MSER-5 (White, 1997).

    Means of 5; the cut d that minimises var(rest)/(number of rest), within the first half.
    """
    require(batch >= 1, "batch", f"{batch}", "give at least 1")
    values = np.asarray(series, np.float64)
    n = len(values) // batch
    require(n >= 4, "series", f"{len(values)} values", f"give at least {4 * batch}")
    means = values[: n * batch].reshape(n, batch).mean(axis=1)
    means = means - means.mean()  # small numbers: the sums of squares below would cancel
    rest = np.arange(n, 0, -1)
    sums, squares = np.cumsum(means[::-1])[::-1], np.cumsum(means[::-1] ** 2)[::-1]
    score = (squares - sums**2 / rest) / rest.astype(np.float64) ** 2
    return int(np.argmin(score[: n // 2])) * batch


def without_warmup(series: npt.NDArray[np.int64], fraction: float | None = None) -> npt.NDArray[np.int64]:
    """The series without its beginning: a fixed fraction, or what MSER-5 says."""
    if fraction is None:
        return series[warmup_mser(series) :]
    require(0 <= fraction < 1, "fraction", f"{fraction}", "give a fraction below 1")
    return series[round(len(series) * fraction) :]


def percentile(samples: Numbers, percent: float, confidence: float = 0.95) -> Estimate:
    """A percentile of independent samples, with an interval between two order statistics that needs no distribution.

    The number of samples below the true percentile is binomial (n, p): low and high are the samples of the ranks that it stays
    between with at least `confidence` (W. J. Conover, Practical Nonparametric Statistics, 3.2). Where the samples do not reach
    far enough into the tail that is impossible, and an error. Correlated samples: use `replicate` over runs' percentiles.
    """
    _check(confidence)
    require(0 < percent < 100, "percent", f"{percent}", "give more than 0 and less than 100")
    values = np.sort(np.asarray(samples, np.float64))
    n, p, tail = len(values), percent / 100, (1 - confidence) / 2
    below = bdtr(np.arange(n), n, p) if n else np.empty(0)
    low = int(np.searchsorted(below, tail, "right")) - 1  # largest r with P(B <= r) <= tail
    high = int(np.searchsorted(below, 1 - tail))  # smallest s with P(B <= s) >= 1 - tail
    require(
        low >= 0 and high < n,
        "samples",
        f"{n} samples say nothing about percentile {percent} with confidence {confidence}",
        f"give at least {math.ceil(math.log(tail) / math.log(max(p, 1 - p)))} samples",
    )
    at = min(n - 1, max(0, math.ceil(n * p) - 1))
    return Estimate(float(values[at]), float(values[low]), float(values[high]), confidence, n)
