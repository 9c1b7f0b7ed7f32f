"""Percentiles of mixtures of jobs of unlike latency."""

from __future__ import annotations

import pytest

from ytwin.performance.latencies import percentile

QUICK, SLOW = (1.0, 0.0, 10.0, 1.0), (1.0, 100.0, 10.0, 1.0)


@pytest.mark.parametrize("scale", [1.0, 3.0, 0.1, 7e6])
@pytest.mark.parametrize(
    "shares", [(1.0, 1.0), (1 / 3, 1 / 3), (4 / 3, 4 / 3 * (1 + 1e-14)), (4 / 3, 4 / 3 * (1 - 1e-14))]
)
def test_the_median_of_two_equal_shares_is_the_middle_of_the_gap(shares: tuple[float, float], scale: float) -> None:
    """Rounding must not choose where in the gap it lies."""
    kinds = [
        (share, c * scale, m * scale, v * scale**2) for share, (_, c, m, v) in zip(shares, (QUICK, SLOW), strict=True)
    ]
    found = percentile(kinds, 50)
    assert found == pytest.approx(percentile(kinds[::-1], 50), rel=1e-4)
    assert found == pytest.approx(63 * scale, rel=0.05)


def test_a_median_beside_the_gap_belongs_to_the_larger_share() -> None:
    assert percentile([(0.49, *QUICK[1:]), (0.51, *SLOW[1:])], 50) > 100
    assert percentile([(0.51, *QUICK[1:]), (0.49, *SLOW[1:])], 50) < 20


def test_of_fixed_latencies_it_is_one_of_them_or_the_middle() -> None:
    fixed = [(1.0, 10.0, 0.0, 0.0), (1.0, 20.0, 0.0, 0.0)]
    assert percentile(fixed, 50) == pytest.approx(15)
    assert percentile(fixed, 49) == pytest.approx(10)
    assert percentile(fixed, 99) == pytest.approx(20)
    assert percentile(fixed[:1], 99) == 10
    assert percentile([(0.6, *fixed[0][1:]), (0.4, *fixed[1][1:])], 50) == 10
    assert percentile([(0.4, *fixed[0][1:]), (0.6, *fixed[1][1:])], 50) == pytest.approx(20)


def test_of_one_kind_it_is_the_log_normal_one() -> None:
    """Mean 10, squared coefficient of variation 0.01: exp(-ln(1.01) / 2) is the median's part of the mean."""
    assert percentile([(2.0, 5.0, 10.0, 1.0)], 50) == pytest.approx(5 + 10 / 1.01**0.5)
