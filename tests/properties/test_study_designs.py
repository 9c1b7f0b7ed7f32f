"""Laws of designs, points and searches."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.study_cases import job_of, queue, solve
from ytwin.runs.workers import compute
from ytwin.study.amounts import FINER, amount, ladder, written
from ytwin.study.designs import FINEST, quantile, variants
from ytwin.study.goals import LIMIT, answer
from ytwin.study.model import Distribution
from ytwin.study.points import Asking, Result

few = settings(max_examples=25, deadline=None)


@few
@given(
    kind=st.sampled_from(["random", "sobol"]),
    points=st.integers(1, 64),
    seed=st.integers(0, 2**32),
    low=st.floats(0.1, 10),
    factor=st.floats(1.5, 1000),
)
def test_drawn_points_lie_inside_and_a_seed_gives_the_same(
    kind: str, points: int, seed: int, low: float, factor: float
):
    body = f"""
  parameters:
  - {{path: load.rate, distribution: {{low: {low:.4f} kpps, high: {low * factor:.4f} kpps, log: true}}}}
  - {{path: load.flows, values: [1, 2, 3]}}
  design: {{kind: {kind}, points: {points}}}
  seed: {seed}
"""
    found = variants(job_of(body).study.spec)
    assert found == variants(job_of(body).study.spec)
    assert len(found) == points
    for variant in found:
        rate = amount(variant["load.rate"])
        assert rate is not None
        assert low * 999 <= rate.value <= low * factor * 1001
        assert variant["load.flows"] in (1, 2, 3)


@few
@given(exponent=st.integers(2, 6), seed=st.integers(0, 1000))
def test_sobol_points_fill_every_part_of_the_range_once(exponent: int, seed: int):
    """A power of two of a scrambled Sobol sequence has one point in each of so many equal parts, in every direction; those at an
    edge may be told as just beyond it."""
    count = 2**exponent
    body = f"""
  parameters:
  - {{path: load.rate, distribution: {{low: 0, high: 1}}}}
  - {{path: load.size, distribution: {{low: 0, high: 1}}}}
  design: {{kind: sobol, points: {count}}}
  seed: {seed}
"""
    found = variants(job_of(body).study.spec)
    for label in ("load.rate", "load.size"):
        for part, value in enumerate(sorted(float(v[label]) for v in found)):
            assert part / count - 0.5 / FINEST <= value <= (part + 1) / count + 0.5 / FINEST


@few
@given(
    low=st.floats(1e-3, 1e3),
    width=st.floats(1e-3, 1e3),
    mode=st.floats(0, 1),
    parts=st.lists(st.floats(0, 1), min_size=2),
)
def test_quantiles_rise_from_low_to_high(low: float, width: float, mode: float, parts: list[float]):
    high = low + width
    for shape in (Distribution(low=low, high=high), Distribution(low=low, high=high, mode=low + mode * width)):
        values = [float(quantile(shape, part)) for part in sorted(parts)]
        assert all(b >= a - 1e-9 * high for a, b in pairwise(values))
        assert low * (1 - 1e-8) <= values[0] <= values[-1] <= high * (1 + 1e-8)


@few
@given(start=st.floats(1e-6, 1e6), factor=st.floats(1.01, 1e6), steps=st.integers(2, 30), log=st.booleans())
def test_ladders_climb_evenly(start: float, factor: float, steps: int, log: bool):
    values = [float(v) for v in ladder(start, start * factor, steps, log, exact=True)]
    assert len(values) == steps
    climbs = np.diff(np.log(values) if log else values)
    assert np.allclose(climbs, climbs[0], rtol=1e-6, atol=1e-9 * max(map(abs, values)))
    said = [float(v) for v in ladder(start, start * factor, steps, log)]
    step = factor ** (1 / (steps - 1)) - 1 if log else start * (factor - 1) / (steps - 1)
    assert all(abs(a - b) <= (a * step if log else step) / FINER for a, b in zip(values, said, strict=True))
    assert all(a < b for a, b in pairwise(said))


@given(value=st.floats(1e-12, 1e15), dimension=st.sampled_from(["time", "rate", "bit rate", "size", "ratio", "count"]))
def test_written_amounts_come_back(value: float, dimension: str):
    found = amount(written(value, dimension))
    assert found is not None
    assert abs(found.value - value) <= 1e-11 * value


@few
@given(limit=st.floats(2e3, 9e8), tolerance=st.sampled_from([5.0, 1.0, 0.1]))
def test_a_search_brackets_any_limit(limit: float, tolerance: float):
    body = f"""
  goal:
    limit: {{parameter: load.rate, from: 1 kpps, to: 1000 Mpps, while: [loss < 1 %], tolerance: {tolerance} %}}
"""

    def step(_job: object, point: object, _memory: object) -> tuple[dict[str, float], dict[str, str]]:
        rate = amount(point["load.rate"])  # type: ignore[index]  # a Point
        assert rate is not None
        return {"loss_ratio": float(rate.value > limit)}, {}

    found, _ = solve(job_of(body), step)
    number = found.rows[0].numbers[LIMIT]
    assert number.low <= limit * (1 + 1e-8)
    assert number.high >= limit * (1 - 1e-8)
    assert number.high - number.low <= tolerance / 100 * number.high


@few
@given(random=st.randoms(use_true_random=False))
def test_interruptions_and_order_change_nothing(random: Random):
    """However results come, and wherever a run is cut, the same points are computed and the answer is the same."""
    body = """
  parameters: [{path: load.flows, values: [1, 2, 3]}]
  goal: {limit: {parameter: load.rate, from: 1 kpps, to: 9 Mpps, while: [latency_p99 < 1 ms]}}
"""
    job = job_of(body)
    whole, expected = solve(job, queue)
    results: dict[str, Result] = {}
    while True:
        asking = Asking(job.study, job.base, results)
        found = answer(asking, lambda _settings: ())
        if not asking.missing:
            break
        missing = list(asking.missing.values())
        random.shuffle(missing)
        for result in compute(job, missing[: random.randint(1, len(missing))], queue):
            assert result.id not in results
            results[result.id] = result
    assert set(results) == set(expected)
    assert [row.numbers for row in found.rows] == [row.numbers for row in whole.rows]


def test_a_point_keeps_its_name_when_the_study_grows():
    """What was computed before is found again after the grid got more values, and not after something else changed."""
    small = "  parameters: [{path: load.flows, values: [1, 2]}]\n  settings: {load.rate: 1 kpps}"
    _, before = solve(job_of(small), queue)
    _, after = solve(job_of(small.replace("[1, 2]", "[2, 1, 3]")), queue)
    assert set(before) < set(after)
    other = job_of(small)
    changed = other.study.model_copy(update={"spec": other.study.spec.model_copy(update={"load": {"kind": "bulk"}})})
    _, different = solve(type(other)(changed, other.inputs, other.version), queue)
    assert set(before).isdisjoint(different)
