"""The fast engines give what the simpy reference gives: every wait, end, loss, table counter; whatever the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ytwin.sim import fast, reference
from ytwin.sim.examples import random_network, random_pipeline
from ytwin.sim.model import as_network
from ytwin.sim.streams import SourceDraws, Streams, draw_network

# The first example compiles; the others take milliseconds.
_PROFILE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def seeds(draw: st.DrawFn) -> int:
    """One number decides a whole model: what fails is replayed by it."""
    return draw(st.integers(0, 2**32 - 1))


@_PROFILE
@given(seeds(), st.integers(1, 120), st.integers(1, 6))
def test_pipelines_are_equal(seed: int, jobs: int, pieces: int):
    pipeline, arrivals = random_pipeline(Streams(seed).generator("model"))
    network = as_network(pipeline, arrivals)
    draws = draw_network(network, Streams(seed), {"jobs": jobs})
    truth = reference.simulate(network, draws)
    assert not truth.differences(fast.simulate(network, draws))
    assert not truth.differences(fast.simulate_pipeline(pipeline, draws[0]))
    assert not truth.differences(fast.simulate_pipeline(pipeline, draws[0], pieces=min(pieces, jobs)))


@_PROFILE
@given(seeds(), st.integers(1, 80))
def test_networks_are_equal(seed: int, jobs: int):
    network, stop_ps = random_network(Streams(seed).generator("model"))
    draws = draw_network(network, Streams(seed), {s.name: jobs for s in network.sources})
    truth = reference.simulate(network, draws, stop_ps)
    assert not truth.differences(fast.simulate(network, draws, stop_ps))


@_PROFILE
@given(seeds())
def test_equal_in_arbitrary_numbers(seed: int):
    """Not from any distribution: tiny whole numbers, so that nearly everything happens at the same instants."""
    chance = np.random.default_rng(seed)
    pipeline, arrivals = random_pipeline(Streams(seed).generator("model"))
    jobs = 60
    draws = SourceDraws(
        np.cumsum(chance.integers(0, 3, jobs)),
        chance.integers(1, 4, (len(pipeline.stages), jobs)),
        chance.integers(-1, 6, jobs),
        np.zeros(jobs, np.int64),
    )
    truth = reference.simulate(as_network(pipeline, arrivals), [draws])
    assert not truth.differences(fast.simulate(as_network(pipeline, arrivals), [draws]))
    assert not truth.differences(fast.simulate_pipeline(pipeline, draws, pieces=4))


def test_the_random_models_meet_everything():
    """The properties above would hold of models in which nothing happens."""
    met: set[str] = set()
    for seed in range(60):
        pipeline, arrivals = random_pipeline(Streams(seed).generator("model"))
        result = fast.simulate_pipeline(
            pipeline, draw_network(as_network(pipeline, arrivals), Streams(seed), {"jobs": 150})[0]
        )
        network, stop_ps = random_network(Streams(seed).generator("model"))
        draws = draw_network(network, Streams(seed), {s.name: 150 for s in network.sources})
        other = fast.simulate(network, draws, stop_ps)
        if any(
            d.barred.any() and any(step.table for step in s.steps) for s, d in zip(network.sources, draws, strict=True)
        ):
            met.add("barred")
        for run in (result, other):
            met |= {
                n
                for t in run.tables
                for n in ("hits", "misses", "inserted", "refused", "overflowed", "evicted", "aged")
                if getattr(t, n)
            }
            met |= {"lost" for s in run.sources if (s.lost_at >= 0).any()}
            met |= {"tried again" for s in run.sources if (s.tries > 1).any()}
            met |= {"waited" for s in run.sources if (s.waits_ps > 0).any()}
            met |= {"overtaken" for s in run.sources if (np.diff(s.end_ps[s.done]) < 0).any()}
    assert met == {
        *("hits", "misses", "inserted", "refused", "overflowed", "evicted", "aged"),
        *("lost", "tried again", "waited", "overtaken", "barred"),
    }


def test_a_difference_is_found():
    pipeline, arrivals = random_pipeline(Streams(1).generator("model"))
    (draws,) = draw_network(as_network(pipeline, arrivals), Streams(1), {"jobs": 50})
    truth = fast.simulate_pipeline(pipeline, draws)
    other = SourceDraws(draws.moments_ps, draws.services_ps + 1, draws.connections, draws.sizes_bytes)
    assert truth.differences(fast.simulate_pipeline(pipeline, other))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_stream_counts_what_a_whole_run_counts(chunk: int):
    for seed in range(4):
        pipeline, arrivals = random_pipeline(Streams(seed).generator("model"))
        (draws,) = draw_network(as_network(pipeline, arrivals), Streams(seed), {"jobs": 300})
        whole = fast.simulate_pipeline(pipeline, draws)
        summary = fast.stream(pipeline, arrivals, Streams(seed), 300, warmup=0, chunk=chunk)
        jobs = whole["jobs"]
        assert summary.lost == int((jobs.lost_at >= 0).sum())
        assert summary.measured == len(jobs.latency_ps)
        assert summary.latency_sum_ps == jobs.latency_ps.sum()
        assert summary.tables == whole.tables
        assert summary.end_ps == whole.end_ps
        assert [s.busy_ps for s in summary.stages] == whole.busy_ps.tolist()
        waits = np.where(jobs.waits_ps > 0, jobs.waits_ps, 0).sum(axis=1)
        assert [s.wait_sum_ps for s in summary.stages] == pytest.approx(waits.tolist())
        if len(jobs.latency_ps):
            exact = float(np.quantile(jobs.latency_ps, 0.9, method="inverted_cdf"))
            assert summary.latency_ps(90) == pytest.approx(exact, rel=0.01, abs=1)
