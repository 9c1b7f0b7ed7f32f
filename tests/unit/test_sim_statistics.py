"""Intervals hold what they promise, and warm-up is found."""

from __future__ import annotations

import numpy as np
import pytest

from ytwin.core.errors import InvalidInput
from ytwin.sim import fast
from ytwin.sim.distributions import Exponential
from ytwin.sim.model import Arrivals, Pipeline, Stage
from ytwin.sim.statistics import (
    batch_means,
    compare,
    mean_of,
    percentile,
    replicate,
    warmup_mser,
    without_warmup,
)
from ytwin.sim.streams import Streams


def test_students_interval():
    found = mean_of([1.0, 2.0, 3.0, 4.0])
    assert found.value == 2.5
    assert found.half_width == pytest.approx(3.18245 * 1.29099 / 2, rel=1e-5)  # t(3, 0.975), s, sqrt(4)
    assert 2.5 in found
    assert 5 not in found


def test_intervals_hold_the_truth_as_often_as_they_say():
    chance = np.random.default_rng(1)
    samples = chance.exponential(1.0, (400, 200))
    means = sum(1.0 in mean_of(row, 0.9) for row in samples) / 400
    medians = sum(np.log(2) in percentile(row, 50, 0.9) for row in samples) / 400
    tails = sum(np.log(10) in percentile(row, 90, 0.9) for row in samples) / 400
    assert 0.85 < means < 0.94
    assert 0.87 < medians < 0.97
    assert 0.87 < tails < 0.97


def test_batch_means_of_a_correlated_series():
    """Single values would make the interval far too small."""
    chance, held, naive = np.random.default_rng(2), 0, 0
    for _ in range(100):
        noise = chance.normal(size=5000)
        series = np.empty(5000)
        level = chance.normal() / np.sqrt(1 - 0.9**2)
        for i, step in enumerate(noise):
            series[i] = level = 0.9 * level + step
        held += 0.0 in batch_means(series, 20, 0.9)
        naive += 0.0 in mean_of(series, 0.9)
    assert held > 80
    assert naive < 50


def test_mser_finds_the_end_of_the_warmup():
    chance = np.random.default_rng(3)
    series = np.concatenate([np.linspace(10, 0, 200), np.zeros(2000)]) + chance.normal(size=2200)
    assert 120 <= warmup_mser(series) <= 260
    assert warmup_mser(chance.normal(size=2000)) < 500
    assert len(without_warmup(np.arange(100), 0.25)) == 75


def test_replications_and_common_random_numbers():
    def latency(seed: int, service: float, replication: int) -> float:
        pipeline = Pipeline((Stage("a", Exponential(service)), Stage("b", Exponential(50_000))))
        return fast.stream(pipeline, Arrivals(Exponential(100_000)), Streams(seed, replication), 5000).latency_mean_ps

    found = replicate(lambda k: latency(1, 70_000, k), 12, 0.99)
    assert 70_000 / 0.3 + 100_000 in found
    first = [latency(1, 70_000, k) for k in range(12)]
    same = compare(first, [latency(1, 70_700, k) for k in range(12)])
    other = compare(first, [latency(2, 70_700, k) for k in range(12)])
    assert same.low > 0
    assert same.half_width < other.half_width / 5


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_of([1.0]),
        lambda: mean_of([1.0, 2.0], 1.0),
        lambda: compare([1.0, 2.0], [1.0]),
        lambda: batch_means([1.0], 2),
        lambda: batch_means([1.0], 1),
        lambda: warmup_mser([1.0]),
        lambda: percentile([1.0, 2.0], 99),
        lambda: percentile([1.0, 2.0], 100),
        lambda: without_warmup(np.arange(3), 1.0),
    ],
)
def test_what_cannot_be_said(call):
    with pytest.raises(InvalidInput) as caught:
        call()
    assert all(p.hint for p in caught.value.problems)


def test_how_many_samples_a_tail_needs():
    with pytest.raises(InvalidInput, match="give at least 368 samples"):
        percentile(np.arange(100), 99)
    assert percentile(np.arange(1000), 99).value == 989
