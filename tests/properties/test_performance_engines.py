"""Predictions of the engines: fast and reference are equal, and both agree with formulas where these hold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.performance_cases import formulas, leg, number, route
from ytwin.performance.legs import CardTable, Route
from ytwin.performance.loads import Load
from ytwin.performance.simulate import simulate_routes
from ytwin.performance.types import Metric, Prediction, Share
from ytwin.sim.analytic import closed_mva, md1_wait, mmc_wait, mmc_wait_percentile
from ytwin.sim.distributions import Constant, Exponential
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

US = 10**6
MS = 10**9


def run(one: Route | list[Route], load: Load, **options: object) -> Prediction:
    routes = one if isinstance(one, list) else [one]
    places = options.pop("places", {})
    return simulate_routes(routes, load, places, formulas(routes[0]), **options)  # type: ignore[arg-type]


SERVER = route(leg([(Share.HOST, "a", 1000, 1)], per_byte=True))
"""1 ns per byte on one server, and nothing else: exponential sizes make it M/M/1."""


@pytest.mark.parametrize("load", [0.5, 0.65, 0.8])
def test_open_requests_wait_as_mm1(load: float):
    """Requests of 100 B on average: 100 ns of work, exponential. Mean within 3 %, median and p99 within 5 %."""
    requests = OpenRequests("r", Exponential(1e5 / load), Exponential(100))
    found = run(SERVER, requests, duration_ps=20 * MS, seed=3)
    mean_ps = 1e5 + mmc_wait(load / 1e5, 1e5)
    assert found[Metric.LATENCY].value * 2 * US == pytest.approx(mean_ps, rel=0.03)
    for metric, part in ((Metric.LATENCY_P50, 0.5), (Metric.LATENCY_P99, 0.99)):
        assert found[metric].value * 2 * US == pytest.approx(-math.log(1 - part) * mean_ps, rel=0.05)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(load * 1e7, rel=0.01)
    assert found.utilisation["host stack of a"] == pytest.approx(load, rel=0.02)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_work_is_the_same_for_every_packet_so_they_wait_as_md1(load: float):
    packets = PacketRate("p", load * 1e7, poisson=True)
    found = run(route(leg([(Share.ESWITCH, "a", 1e5, 1)])), packets, duration_ps=20 * MS, limit_per_s=1e7)
    assert found[Metric.LATENCY].value * US == pytest.approx(1e5 + md1_wait(load / 1e5, 1e5), rel=0.03)
    assert found[Metric.LOSS].value == 0


@pytest.mark.parametrize("servers", [2, 4])
def test_several_cores_wait_as_mmc(servers: int):
    rate = 0.8 * servers / 1e5
    one = route(leg([(Share.SLOW_PATH, "a", 1000, servers)], per_byte=True))
    found = run(one, OpenRequests("r", Exponential(1 / rate), Exponential(100)), duration_ps=20 * MS)
    assert found[Metric.LATENCY].value * 2 * US == pytest.approx(1e5 + mmc_wait(rate, 1e5, servers), rel=0.03)
    assert mmc_wait_percentile(rate, 1e5, servers, 99) < found[Metric.LATENCY_P99].value * 2 * US


WORKS = st.lists(
    st.tuples(st.sampled_from(list(Share)[:6]), st.sampled_from("ab"), st.integers(2_000, 200_000), st.integers(1, 4)),
    min_size=1,
    max_size=4,
    unique_by=lambda w: (w[0], w[1]),
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(WORKS, st.integers(0, 2**31), st.booleans())
def test_what_goes_through_is_the_bottleneck(works: list[tuple[Share, str, int, int]], seed: int, short: bool):
    """Driven above its limit, by packets or by bulk TCP: within 1 % of min servers / work."""
    one = route(leg(works, host_ps=2 * US, scv=0.05))
    limit = one.forward.cost.packets_per_s
    places = {d.name: 32 for d in one.forward.demands} if short else {}
    duration_ps = round(20_000 * 1e12 / limit)
    packets = run(
        one,
        PacketRate("p", math.inf),
        places=places,
        seed=seed,
        limit_per_s=limit,
        duration_ps=duration_ps,
        replications=2,
    )
    assert packets[Metric.PACKET_RATE].value * 1e6 == pytest.approx(limit, rel=0.01)
    assert Metric.LATENCY not in {v.metric for v in packets.values}
    segments = replace(one, segment_bytes=1000)
    bulk = run(segments, BulkTcp("b", 4, window_segments=None), seed=seed, duration_ps=duration_ps, replications=2)
    assert bulk[Metric.BANDWIDTH].value == pytest.approx(limit * 8000 / 1e9, rel=0.01)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(WORKS, st.floats(0.1, 0.95), st.floats(1.1, 3))
def test_loss_only_above_the_limit(works: list[tuple[Share, str, int, int]], below: float, above: float):
    """Regular arrivals and few waiting places: nothing below the limit, all that does not fit above it."""
    one = route(leg(works))
    limit = one.forward.cost.packets_per_s
    options = {"places": {d.name: 16 for d in one.forward.demands}, "limit_per_s": limit, "replications": 2}
    options["duration_ps"] = round(20_000 * 1e12 / limit)
    assert run(one, PacketRate("p", below * limit), **options)[Metric.LOSS].value == 0
    lost = run(one, PacketRate("p", above * limit), **options)[Metric.LOSS].value
    assert lost == pytest.approx(1 - 1 / above, abs=0.01)


@pytest.mark.parametrize("scv", [0.0, 0.3])
def test_one_client_takes_turns(scv: float):
    """1 / (there + back) within 1 %; the latency is half of it."""
    there = leg([(Share.HOST, "a", 20_000, 1), (Share.SLOW_PATH, "b", 3e6, 8)], 30 * US, 5 * US, scv)
    one = route(there, leg([(Share.HOST, "b", 20_000, 1)], 28 * US, scv=scv))
    found = run(one, RequestResponse("r", 1), seed=1, duration_ps=400 * MS)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(1e12 / (63 * US), rel=0.01)
    assert found[Metric.LATENCY].value == pytest.approx(31.5, rel=0.01)
    spread = found[Metric.LATENCY_P99].value / found[Metric.LATENCY_P50].value
    assert spread == pytest.approx(1, abs=1e-6) if scv == 0 else 1.2 < spread < 3


@pytest.mark.parametrize("clients", [4, 20, 60])
def test_many_clients_are_mean_value_analysis(clients: int):
    """Exponential work at two resources and a delay has product form: within 1 %."""
    there = leg([(Share.HOST, "a", 1000, 1), (Share.SLOW_PATH, "b", 2000, 4)], per_byte=True)
    load = RequestResponse("r", clients, think_ps=Constant(10**6), size_bytes=Exponential(100))
    found = run(route(there), load, duration_ps=40 * MS, seed=2)
    should = closed_mva(clients, [1e5, 2e5], [1, 4], 1e6)
    # Both works of a request follow from its one size, so they are not independent; what that does is below 1 %.
    assert found[Metric.REQUEST_RATE].value == pytest.approx(should.throughput * 1e12, rel=0.01)


def test_a_new_connection_per_request_pays_for_its_first_packets():
    """Handshake (first packet and answer), then request and answer, one at a time."""
    one = route(leg([(Share.HOST, "a", 10_000, 1)], 30 * US), leg([], 28 * US))
    first = leg([(Share.HOST, "a", 10_000, 1), (Share.UPCALL, "a", 9e6, 1)], 30 * US, 20 * US)
    found = run(replace(one, first=(first, one.reply)), ConnectRequestResponse("c", 1), duration_ps=100 * MS)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(1e12 / ((50 + 28 + 30 + 28) * US), rel=0.01)
    assert found.utilisation["upcall threads of a"] == pytest.approx(9 / 136, rel=0.01)


FAST = leg([(Share.ESWITCH, "a", 10_000, 1)], 10 * US)
SLOW = leg([(Share.ESWITCH, "a", 5_000, 1), (Share.SLOW_PATH, "a", 200_000, 2)], 10 * US, 3 * US)
CARD = CardTable("a", connections=1000, insert_ps=2 * US, ageing_ps=10**13, lag_ps=10**12, stay_ps=1e13)


def test_kept_connections_beyond_the_table_stay_in_software():
    """Of 4000 flows 1000 have a place. Three quarters of 1.6 Mpps need 0.2 us of two cores: 12 %."""
    one = replace(route(FAST, tables=(CARD,)), software=(SLOW, SLOW))
    found = run(one, PacketRate("p", 1.6e6, flows=4000), duration_ps=20 * MS, limit_per_s=1e8)
    assert found.utilisation["slow path of a"] == pytest.approx(0.75 * 1.6e6 * 0.2e-6 / 2, rel=0.02)
    few = run(one, PacketRate("p", 1.6e6, flows=900), duration_ps=20 * MS, limit_per_s=1e8)
    assert "slow path of a" not in few.utilisation


@pytest.mark.parametrize(
    "load",
    [
        RequestResponse("r", 8, requests_per_connection=20),
        ConnectRequestResponse("c", 8, requests=20),
    ],
    ids=lambda load: type(load).__name__,
)
@pytest.mark.parametrize("handshake", [True, False])
def test_clients_whose_connections_come_and_go_meet_the_card_and_software_in_turn(
    load: RequestResponse | ConnectRequestResponse, handshake: bool
):
    """A quarter of all connections has a place. A client is not one that is always in the card, and so asks twice as often: of
    8 clients who never wait, the rate is that of the mean time, 20 us in the card and 46.8 us in software."""
    free = leg([], 10 * US)
    fast, slow = leg([(Share.ESWITCH, "a", 10, 1)], 10 * US), leg([(Share.SLOW_PATH, "a", 10, 99)], 10 * US, 26.8 * US)
    card = replace(CARD, insert_ps=1)
    one = replace(route(fast, free, tables=(card,)), software=(slow, free), first=(fast, free), handshake=handshake)
    found = run(one, load, duration_ps=60 * MS, connections_per_s=399.2)
    # A connection that finds a place is in it as soon as its first request went through software.
    mean_us = 20 + 26.8 * 0.75 + (20 / 20 if handshake else 0)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(8e6 / mean_us, rel=0.02)


@pytest.mark.parametrize(("flows_per_s", "share"), [(100_000, 1.0), (1_000_000, 0.5)])
def test_new_connections_are_offloaded_as_fast_as_rules_go_in(flows_per_s: float, share: float):
    """2 us each: 500,000/s. At 100,000/s only a flow's first packet is early; at 1,000,000/s the queue outlives the flows."""
    card = replace(CARD, connections=10**8)
    one = replace(route(FAST, tables=(card,)), software=(SLOW, SLOW), first=(SLOW, SLOW))
    load = PacketRate("p", 10 * flows_per_s, flows=200, jobs_per_flow=10)
    found = run(one, load, duration_ps=10 * MS, limit_per_s=1e8, connections_per_s=flows_per_s)
    software = found.utilisation["slow path of a"] * 2 / 0.2e-6 / (10 * flows_per_s)
    # A flow lasts 10 * 200 / rate: at 100,000/s 2 ms, so only its first packet is slow.
    assert software == pytest.approx(0.1, abs=0.02) if share == 1.0 else software > 0.4


SHARED = [
    route(leg([(Share.HOST, "a", 30_000, 1), (Share.HOST, "b", 50_000, 1)], 5 * US, scv=0.2), name="b"),
    route(leg([(Share.HOST, "a", 30_000, 1), (Share.HOST, "c", 40_000, 1)], 5 * US, scv=0.2), name="c"),
]
LOADS: list[Load] = [
    BulkTcp("b", 2, window_segments=8),
    PacketRate("p", 5e6, flows=4, poisson=True),
    RequestResponse("r", 3, requests_per_connection=5),
    ConnectRequestResponse("c", 3),
    OpenRequests("o", Exponential(5e5), Exponential(64), 3, requests_per_connection=4),
]


@pytest.mark.parametrize("load", LOADS, ids=lambda load: type(load).__name__)
def test_reference_gives_the_same_to_the_last_digit(load: Load):
    tables = (CardTable("a", 5, 10_000, 10**8, 10**7, 1e8),)
    routes = [replace(r, tables=tables, software=(SLOW, SLOW), first=(SLOW, SLOW)) for r in SHARED]
    options = {
        "seed": 5,
        "duration_ps": 300 * US,
        "limit_per_s": 1e7,
        "replications": 3,
        "places": {"host stack of a": 4},
        # So that some connections find the table full; streams stay, and in software their work leaves nothing to chance.
        "connections_per_s": 0.0 if isinstance(load, BulkTcp) else 1e5,
    }
    found = run(routes, load, engine="fast", **options)
    truth = run(routes, load, engine="reference", **options)
    assert found.values == truth.values
    assert found.utilisation == truth.utilisation
    assert run(routes, load, engine="fast", **options) == found
    assert run(routes, load, engine="fast", **{**options, "seed": 6}).values != found.values


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(WORKS, WORKS, st.sampled_from(LOADS), st.integers(0, 2**31))
def test_reference_gives_the_same_on_random_paths(
    there: list[tuple[Share, str, int, int]], back: list[tuple[Share, str, int, int]], load: Load, seed: int
):
    one = route(leg(there, 3 * US, US, 0.5), leg(back, 2 * US, scv=0.1))
    options = {"seed": seed, "duration_ps": 100 * US, "limit_per_s": 4e6, "replications": 2}
    assert run(one, load, engine="fast", **options) == replace(
        run(one, load, engine="reference", **options), engine="fast"
    )


def test_intervals_hold_the_truth():
    """95 % of them, give or take what 60 tries allow."""
    requests = OpenRequests("r", Exponential(2e5), Exponential(100))
    held = [
        value.low <= 0.1 <= value.high
        for seed in range(60)
        for value in [run(SERVER, requests, duration_ps=MS, seed=seed)[Metric.LATENCY]]
    ]
    assert np.mean(held) >= 0.85


def test_cores_go_with_what_goes_through():
    one = route(leg([(Share.HOST, "a", 1e5, 1)]))
    analytic = formulas(one, number(Metric.PACKET_RATE, 5.0), number(Metric.HOST_CORES, 2.0), number(Metric.CPI, 1.5))
    found = simulate_routes([one], PacketRate("p", math.inf), {}, analytic, limit_per_s=1e7, duration_ps=5 * MS)
    assert found[Metric.HOST_CORES].value == pytest.approx(4.0, rel=0.01)
    assert found[Metric.CPI].value == 1.5


def test_a_run_begins_in_the_middle():
    """10,000 flows of 100 packets: each lasts a second, but a run of 10 ms sees the one packet in 100 that opens a flow, and all
    others in the table."""
    card = replace(CARD, connections=10**6)
    one = replace(route(FAST, tables=(card,)), software=(SLOW, SLOW), first=(SLOW, SLOW))
    load = PacketRate("p", 1e6, flows=10_000, jobs_per_flow=100)
    found = run(one, load, duration_ps=10 * MS, limit_per_s=1e8)
    software = found.utilisation["slow path of a"] * 2 / 0.2e-6 / 1e6
    assert software == pytest.approx(0.01, rel=0.2)
