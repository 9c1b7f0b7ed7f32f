"""Formulas against the engines, inside the range that each formula names."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from ytwin.core.errors import InvalidInput
from ytwin.sim import analytic, fast
from ytwin.sim.distributions import Constant, Distribution, Exponential, Gamma
from ytwin.sim.model import Arrivals, Closed, Network, Open, Pipeline, Stage, Station, Step, Table
from ytwin.sim.streams import Streams, draw_network
from ytwin.sim.summary import Summary

JOBS = 400_000
S = 100_000.0


def run(*stages: Stage, load: float, jobs: int = JOBS, gap: Distribution | None = None) -> Summary:
    """Stages at a load of the first one."""
    first = stages[0]
    mean = first.service_ps.mean  # type: ignore[union-attr]  # no test here uses PerByte
    return fast.stream(Pipeline(stages), Arrivals(gap or Exponential(mean / first.servers / load)), Streams(7), jobs)


@pytest.mark.parametrize("load", [0.3, 0.7, 0.85])
@pytest.mark.parametrize(("scv", "name"), [(0.0, "D"), (0.5, "E2"), (1.0, "M"), (2.0, "H")])
def test_mg1(load: float, scv: float, name: str):
    service = {"D": Constant(S), "M": Exponential(S)}.get(name) or Gamma(S, scv)
    simulated = run(Stage("a", service), load=load).stages[0].wait_mean_ps
    assert simulated == pytest.approx(analytic.mg1_wait(load / S, S, scv), rel=0.05)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.8), (2, 0.8), (4, 0.8), (8, 0.9)])
def test_mmc(servers: int, load: float):
    simulated = run(Stage("a", Exponential(S), servers), load=load).stages[0].wait_mean_ps
    assert simulated == pytest.approx(analytic.mmc_wait(load * servers / S, S, servers), rel=0.08)


def test_special_cases_agree():
    assert analytic.mmc_wait(0.8, 1) == pytest.approx(0.8 / 0.2)
    assert analytic.mg1_wait(0.8, 1, 1) == pytest.approx(analytic.mmc_wait(0.8, 1))
    assert analytic.md1_wait(0.8, 1) == pytest.approx(analytic.mmc_wait(0.8, 1) / 2)
    assert analytic.ggc_wait(0.8, 1, 1, 1) == pytest.approx(analytic.mmc_wait(0.8, 1))
    assert analytic.mmck(3.0, 1.0, 5, 0)[0] == pytest.approx(analytic.erlang_b(3.0, 5))
    assert analytic.mmck(3.0, 1.0, 5, 4000)[1] == pytest.approx(analytic.mmc_wait(3.0, 1.0, 5))
    assert analytic.closed_mva(7, [1.0, 1.0], [1, 1]).throughput == pytest.approx(7 / 8)  # balanced: N / (N + K - 1)


@pytest.mark.parametrize(
    ("servers", "queue", "load"), [(1, 5, 0.9), (1, 3, 1.5), (4, 0, 1.0), (4, 8, 0.95), (3, 10, 2.0)]
)
def test_losses_of_waiting_places_that_end(servers: int, queue: int, load: float):
    stage = run(Stage("a", Exponential(S), servers, queue), load=load).stages[0]
    lost, wait = analytic.mmck(load * servers / S, S, servers, queue)
    assert stage.lost / stage.visits == pytest.approx(lost, rel=0.05)
    assert stage.wait_mean_ps == pytest.approx(wait, rel=0.05, abs=S * 1e-9)


@pytest.mark.parametrize("scv", [0.0, 1.0, 3.0])
def test_erlang_loss_does_not_care_for_the_distribution(scv: float):
    service = Constant(S) if scv == 0 else Gamma(S, scv)
    stage = run(Stage("a", service, 5, 0), load=0.8).stages[0]
    assert stage.lost / stage.visits == pytest.approx(analytic.erlang_b(4.0, 5), rel=0.04)


def test_percentiles_of_the_wait():
    load = 0.8
    draws = draw_network(
        Network((Station("a", 2),), (_open(S / 2 / load),)), Streams(3), {"o": 200_000}
    )  # fmt: skip
    result = fast.simulate(Network((Station("a", 2),), (_open(S / 2 / load),)), draws)
    waits = result["o"].waits_ps[0]
    for percent in (50, 90, 99):
        expected = analytic.mmc_wait_percentile(load * 2 / S, S, 2, percent)
        assert np.percentile(waits, percent) == pytest.approx(expected, rel=0.1)
    assert analytic.mmc_wait_percentile(0.1, 1.0, 4, 50) == 0


def _open(gap: float):
    return Open("o", (Step("a", Exponential(S)),), Exponential(gap))


def test_tandem():
    stages = [Stage(f"s{i}", Exponential(s), c) for i, (s, c) in enumerate([(80, 1), (150, 2), (60, 1)])]
    scaled = [Stage(s.name, Exponential(s.service_ps.mean * 1000), s.servers) for s in stages]  # type: ignore[union-attr]
    summary = run(*scaled, load=0.8)
    expected = analytic.tandem_latency(1 / 100_000, [80_000, 150_000, 60_000], [1, 2, 1])
    assert summary.latency_mean_ps == pytest.approx(expected, rel=0.04)
    forecast = analytic.forecast(Pipeline(tuple(scaled)), Arrivals(Exponential(100_000)))
    assert forecast.latency_ps == pytest.approx(expected)
    assert (forecast.bottleneck, forecast.limit_per_s) == ("s0", pytest.approx(1.25e7))


@pytest.mark.parametrize("load", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("scv", [0.25, 1.0])
def test_forecast_of_general_stages(load: float, scv: float):
    stages = (Stage("a", Gamma(S, scv)), Stage("b", Gamma(3.6 * S, scv), 4), Stage("c", Gamma(0.9 * S, scv)))
    arrivals = Arrivals(Exponential(S / load))
    expected = analytic.forecast(Pipeline(stages), arrivals).latency_ps
    assert fast.stream(Pipeline(stages), arrivals, Streams(1), JOBS).latency_mean_ps == pytest.approx(
        expected, rel=0.08
    )


def test_no_pipeline_carries_more_than_its_bottleneck():
    stages = (Stage("a", Constant(S), queue=10), Stage("b", Exponential(3 * S), 2, queue=10))
    summary = fast.stream(Pipeline(stages), Arrivals(Exponential(S / 2)), Streams(1), 100_000)
    limit = analytic.bottleneck([S, 3 * S], [1, 2]) * 1e12
    assert 0.9 * limit < summary.done_per_s <= limit * 1.001


@pytest.mark.parametrize(("clients", "servers"), [(1, 1), (4, 1), (12, 1), (12, 3), (30, 4)])
def test_closed_network(clients: int, servers: int):
    demands, counts, think = [S, 2.5 * S, 4 * S], [1, servers, None], 3 * S
    stations = tuple(Station(f"s{i}", c) for i, c in enumerate(counts))
    steps = tuple(Step(f"s{i}", Exponential(d)) for i, d in enumerate(demands))
    network = Network(stations, (Closed("c", steps, clients, Exponential(think)),))
    result = fast.simulate(network, draw_network(network, Streams(2), {"c": 60_000}))
    begin, end = result.end_ps // 20, result.end_ps // 20 * 19
    exact = analytic.closed_mva(clients, demands, counts, think)
    assert result["c"].throughput_per_s(begin, end) == pytest.approx(exact.throughput * 1e12, rel=0.03)
    assert result["c"].latency_ps.mean() == pytest.approx(exact.response, rel=0.04)
    bounds = analytic.closed_bounds(clients, demands, counts, think)
    assert exact.throughput <= bounds.throughput * (1 + 1e-9)
    assert exact.response >= bounds.response * (1 - 1e-9)


@pytest.mark.parametrize(
    ("clients", "servers", "think"), [(64, 32, 5), (64, 2, 40), (40, 39, 0), (300, 7, 30), (9, 1, 3)]
)
def test_many_clients_and_servers_in_exact_arithmetic(clients: int, servers: int, think: int):
    """The machine repairman: birth and death of jobs at one station, in whole numbers. `closed_mva` keeps nearly all digits."""
    work = 3
    weights, weight = [], Fraction(1)
    for n in range(clients + 1):
        weights.append(weight)
        come, go = Fraction(clients - n, think + 1), Fraction(min(n + 1, servers), work)
        weight = weight * come / go
    busy = sum(w * min(n, servers) for n, w in enumerate(weights)) / sum(weights)
    found = analytic.closed_mva(clients, [work, 1], [servers, None], think)
    assert found.throughput == pytest.approx(float(busy / work), rel=1e-11)


@pytest.mark.parametrize("think", [0.0, 3 * 8_000, 3 * 20_000, 3 * 100_000])
def test_any_number_of_clients_is_as_exact_recursion_says(think: float):
    """Below, at and above the number of clients (about think / 3) at which the narrowest station is just busy."""
    demands, counts = [3.0, 2.9, 1.0, 5.0], [1, 1, 1, None]
    for clients in (1, 5000, 5001, 9000, 20_000):
        exact = analytic.closed_mva(clients, demands, counts, think)
        found = analytic.closed_many(clients, demands, counts, think)
        assert found.throughput == pytest.approx(exact.throughput, rel=1e-6)
        assert found.response == pytest.approx(exact.response, rel=1e-3)
    assert analytic.closed_many(10**12, demands, counts, think).throughput == pytest.approx(1 / 3)
    assert analytic.closed_many(10**6, [0.0, 2.0], [1, None], 8.0).throughput == pytest.approx(10**5)


def test_entries_of_a_table_that_ages():
    """Connections of 8 jobs, 100 at a time: each lives for 8 * 100 gaps."""
    gap, idle, sweep = 1000, 4_000_000, 1_000_000
    table = Table("t", 10**6, idle_ps=idle, sweep_ps=sweep)
    pipeline = Pipeline((Stage("slow", Constant(10), table=table),))
    arrivals = Arrivals(Exponential(gap), 100, jobs_per_connection=8)
    (counts,) = fast.stream(pipeline, arrivals, Streams(1), 200_000).tables
    expected = analytic.table_entries(1 / (8 * gap), 7 * 100 * gap, idle, sweep)
    assert counts.peak == pytest.approx(expected, rel=0.2)
    assert counts.entries == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("capacity", "popularity"), [(50, 0.8), (200, 1.0), (50, 0.0)])
def test_hits_of_an_lru_table(capacity: int, popularity: float):
    table = Table("t", capacity, insert_ps=1, when_full="lru")
    pipeline = Pipeline((Stage("slow", Constant(1), table=table),))
    arrivals = Arrivals(Constant(10), connections=1000, popularity=popularity)
    (counts,) = fast.stream(pipeline, arrivals, Streams(1), 300_000).tables
    expected = analytic.lru_hit_ratio([i**-popularity for i in range(1, 1001)], capacity)
    assert counts.hits / (counts.hits + counts.misses) == pytest.approx(expected, rel=0.02)
    assert analytic.lru_hit_ratio([1, 1], 2) == 1
    assert analytic.lru_hit_ratio([1, 1], 0) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: analytic.mmc_wait(1.0, 1.0),
        lambda: analytic.mg1_wait(2.0, 1.0, 1.0),
        lambda: analytic.mmc_wait(-1.0, 1.0),
        lambda: analytic.mmck(0.0, 1.0, 1, 1),
        lambda: analytic.closed_mva(0, [1.0], [1]),
        lambda: analytic.closed_many(0, [1.0], [1]),
        lambda: analytic.closed_many(9, [1.0], [2]),
        lambda: analytic.table_entries(1.0, -1.0, 1.0),
        lambda: analytic.forecast(Pipeline((Stage("a", Constant(1), table=Table("t", 1)),)), Arrivals(Constant(2))),
    ],
)
def test_outside_its_range_a_formula_says_so(call):
    with pytest.raises(InvalidInput):
        call()


def test_bottleneck_of_nothing_is_no_limit():
    assert analytic.bottleneck([0.0]) == math.inf
