"""What cannot be simulated is said, with what, where and what to do; streams are found by name; loads become sources."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ytwin.core.errors import InvalidInput
from ytwin.core.units import quantity, time_ps
from ytwin.sim import fast, reference
from ytwin.sim.compiled import COMPILED
from ytwin.sim.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    Gamma,
    LogNormal,
    PerByte,
    Uniform,
)
from ytwin.sim.examples import random_network, random_pipeline
from ytwin.sim.model import (
    Arrivals,
    Closed,
    Network,
    Open,
    Pipeline,
    Stage,
    Station,
    Step,
    Table,
    as_network,
)
from ytwin.sim.streams import SourceStream, Streams, draw, draw_network
from ytwin.sim.workloads import (
    BulkTcp,
    ConnectRequestResponse,
    OpenRequests,
    PacketRate,
    RequestResponse,
    mss_bytes,
    packet_mix,
)

ONE = (Step("core", Constant(10)),)
CORE = (Station("core"),)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: quantity("45", "rate", "load.rate"), ("load.rate", "no unit", "Mpps")),
        (lambda: quantity("-3 us", "time", "nic.delay"), ("nic.delay", "'-3 us'", "without a sign")),
        (lambda: Closed("c", ONE, 1, admitted=1.5), ("source c.admitted", "1.5", "0 to 1")),
        (lambda: quantity("3 parsec", "time"), ("'parsec'", "ns")),
        (lambda: quantity("fast", "rate"), ("'fast' is no rate",)),
        (lambda: quantity("1e999 s", "time"), ("finite",)),
        (lambda: quantity("1e300 B", "size", "--load size"), ("--load size", "'1e300 B' is beyond", "1e+30 B")),
        (lambda: quantity("1e-300 /s", "rate"), ("beyond", "1e-30 to")),
        (lambda: Arrivals.at_rate(-1), ("rate_per_s", "-1", "above 0")),
        (lambda: Arrivals.at_rate(math.nan), ("rate_per_s", "nan")),
        (lambda: Exponential(0), ("Exponential.mean", "above 0")),
        (lambda: Constant(math.inf), ("Constant.value", "finite")),
        (lambda: Uniform(3, 2), ("Uniform", "low below high")),
        (lambda: Gamma(1, 0), ("Gamma.scv", "Constant")),
        (lambda: LogNormal(1, -1), ("LogNormal.scv",)),
        (lambda: Empirical(()), ("Empirical.values",)),
        (lambda: PerByte(-1, 0), ("PerByte",)),
        (lambda: Stage("nic", Constant(1), servers=0), ("stage nic.servers", "at least 1")),
        (lambda: Stage("nic", Constant(1), queue=-1), ("stage nic.queue", "-1 waiting places")),
        (lambda: Pipeline(()), ("without stages",)),
        (lambda: Pipeline((Stage("a", Constant(1)), Stage("a", Constant(1)))), ("names twice", "own name")),
        (lambda: Table("flows", -1), ("table flows.capacity", "0 or more")),
        (lambda: Table("flows", 1, insert_ps=0), ("table flows.insert_ps",)),
        (lambda: Table("flows", 1, idle_ps=5), ("table flows.sweep_ps", "give both")),
        (lambda: Network(CORE, ()), ("nothing arrives",)),
        (lambda: Network(CORE, (Open("o", (Step("gpu", Constant(1)),), Constant(1)),)), ("no station 'gpu'", "core")),
        (lambda: Network(CORE, (Open("o", (Step("core", Constant(1), "t"),), Constant(1)),)), ("no table 't'",)),
        (lambda: Network(CORE, (Closed("c", (Step("core", Constant(1), opening=True),), 1),)), ("no time at all",)),
        (lambda: Closed("c", ONE, 0), ("source c.clients", "at least 1")),
        (lambda: Closed("c", ONE, 1, retry_ps=0), ("source c.retry_ps",)),
        (lambda: Open("o", ONE, Constant(0)), ("source o.gap_ps", "no time between")),
        (lambda: BulkTcp("b", 0), ("load b.streams",)),
        (lambda: BulkTcp("b", 1, mtu_bytes=100, encapsulation_bytes=100), ("MTU of 100 B", "larger MTU")),
        (lambda: PacketRate("p", -5).source(ONE), ("load p.rate_per_s", "-5")),
        (lambda: packet_mix(PacketRate("p", 5), [("a", 0, ONE)]), ("load p.shares",)),
        (lambda: Streams(-1), ("seed",)),
        (lambda: draw_network(Network(CORE, (Open("o", ONE, Constant(1)),)), Streams(1), {}), ("jobs", "['o']")),
    ],
)  # fmt: skip
def test_bad_values_say_what_where_and_what_to_do(make: Callable[[], object], words: tuple[str, ...]):
    with pytest.raises(InvalidInput) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
    assert all(problem.hint for problem in caught.value.problems)


def test_what_does_not_fit_in_memory_is_refused_before_it_is_tried():
    pipeline = Pipeline((Stage("a", Constant(1)),))
    network = as_network(pipeline, Arrivals(Constant(2)))
    with pytest.raises(InvalidInput, match=r"45,000,000 jobs need .* MiB, 100 MiB are given(.|\n)*stream"):
        fast.check_memory(network, [45_000_000], 100 * 2**20)
    draws = draw_network(network, Streams(1), {"jobs": 1000})
    for run in (
        lambda: fast.simulate(network, draws, memory_bytes=10_000),
        lambda: fast.simulate_pipeline(pipeline, draws[0], memory_bytes=10_000),
    ):
        with pytest.raises(InvalidInput, match="give more memory"):
            run()


def test_units():
    assert time_ps("33 us") == 33_000_000
    assert quantity("200 Gbit/s", "bit rate") == 200e9
    assert quantity("1_500 B", "size") == 1500
    assert quantity(".5 ms", "time") == 5e8


@pytest.mark.parametrize(
    "what",
    [
        Constant(500),
        Exponential(500),
        Uniform(200, 900),
        Gamma(500, 0.25),
        Gamma(500, 4),
        LogNormal(500, 2),
        Empirical((100, 500, 900)),
    ],
    ids=repr,
)
def test_draws_have_the_moments_that_the_distribution_says(what: Distribution):
    values = draw(Streams(5).generator("x"), what, 200_000, 0)
    assert values.mean() == pytest.approx(what.mean, rel=0.02)
    assert values.var() / values.mean() ** 2 == pytest.approx(what.scv, rel=0.1, abs=1e-9)


def test_pieces_and_the_rest_of_the_model_change_no_number():
    first, second = Stage("first", Gamma(90, 2)), Stage("second", LogNormal(80, 1))
    arrivals = Arrivals(Exponential(100), 50, 0.8, 7, Uniform(64, 1500))
    one = SourceStream(as_network(Pipeline((first, second)), arrivals).sources[0], Streams(3))
    two = SourceStream(
        as_network(Pipeline((first, Stage("new", Exponential(5)), second)), arrivals).sources[0], Streams(3)
    )
    whole, pieces = one.draw(500), [two.draw(n) for n in (1, 99, 0, 400)]
    assert np.array_equal(whole.moments_ps, np.concatenate([p.moments_ps for p in pieces]))
    assert np.array_equal(whole.connections, np.concatenate([p.connections for p in pieces]))
    assert np.array_equal(whole.sizes_bytes, np.concatenate([p.sizes_bytes for p in pieces]))
    assert np.array_equal(whole.services_ps, np.concatenate([p.services_ps[[0, 2]] for p in pieces], axis=1))
    again = SourceStream(as_network(Pipeline((first, second)), arrivals).sources[0], Streams(3, 1)).draw(500)
    assert not np.array_equal(whole.moments_ps, again.moments_ps)


def test_streams_replay_on_any_machine():
    """A seed in a report means these numbers for ever."""
    values = draw(Streams(2024).generator("jobs/gap"), Exponential(1e6), 4, 0)
    assert values.tolist() == [244442, 361464, 1813732, 2125261]


def test_connections_end_after_their_jobs():
    arrivals = Arrivals(Constant(1), connections=5, jobs_per_connection=3)
    draws = SourceStream(as_network(Pipeline((Stage("a", Constant(1)),)), arrivals).sources[0], Streams(1)).draw(1000)
    counts = np.bincount(draws.connections)
    assert counts.max() == 3
    assert (counts < 3).sum() <= 5
    assert len(counts) <= 5 + 1000 // 3


def test_some_connections_of_clients_find_no_place():
    """A coin each, that shifts no other number."""
    every = Closed("c", ONE, 50, requests_per_connection=4)
    some = replace(every, admitted=0.25)
    all_in, few_in, none_in = (
        SourceStream(one, Streams(3)).draw(20_000) for one in (every, some, replace(some, admitted=0.0))
    )
    assert len(all_in.barred) == 0
    assert len(few_in.barred) == 50 + 20_000 // 4
    assert few_in.barred.mean() == pytest.approx(0.75, abs=0.02)
    assert none_in.barred.all()
    assert (all_in.services_ps == few_in.services_ps).all()
    kept = SourceStream(Closed("c", ONE, 50, admitted=0.5), Streams(3)).draw(1000)
    assert len(kept.barred) == 50


@pytest.mark.parametrize("engine", [fast, reference])
def test_a_barred_connection_asks_for_no_place_and_misses_for_good(engine):
    table = Table("t", 100)
    slow = Step("core", Constant(10), "t")
    closed = Closed("c", (slow, *ONE), 1, requests_per_connection=5, admitted=0.0)
    network = Network(CORE, (closed,), (table,))
    counts = {}
    for admitted in (0.0, 1.0):
        one = replace(network, sources=(replace(closed, admitted=admitted),))
        counts[admitted] = engine.simulate(one, draw_network(one, Streams(0), {"c": 50})).tables[0]
    assert (counts[0.0].misses, counts[0.0].hits, counts[0.0].inserted) == (50, 0, 0)
    assert (counts[1.0].misses, counts[1.0].hits, counts[1.0].inserted) == (10, 40, 10)


def test_only_one_file_draws():
    room = Path(fast.__file__).parent
    users = {
        p.name for p in room.rglob("*.py") if re.search(r"np\.random|numpy\.random import|import random", p.read_text())
    }
    assert users == {"streams.py"}


def test_the_cache_knows_every_compiled_module():
    """A module that is missing there would run as it was before its last change."""
    room = Path(fast.__file__).parent
    users = {p.name for p in room.glob("*.py") if re.search(r"^@jit", p.read_text(), re.MULTILINE)}
    assert users == set(COMPILED)


def test_mss_follows_from_the_mtu():
    assert mss_bytes(1500) == 1448
    assert mss_bytes(1500, 100) == 1348
    assert BulkTcp("b", 1, 1500, 100).goodput_bit_per_s(14.07e6) == pytest.approx(151.7e9, rel=1e-3)


def test_bulk_tcp_is_limited_by_window_or_by_the_slowest_station():
    route = (Step("wire", Constant(10_000_000)), Step("nic", Constant(100_000)), Step("wire", Constant(10_000_000)))
    stations = (Station("wire", None), Station("nic"))
    for window, expected in ((10, 10 / 20.1e-6), (1000, 1 / 0.1e-6)):
        network = Network(stations, (BulkTcp("b", 1, window_segments=window).source(route),))
        result = fast.simulate(network, draw_network(network, Streams(1), {"b": 20_000}))
        assert result["b"].throughput_per_s(result.end_ps // 10, result.end_ps // 10 * 9) == pytest.approx(
            expected, rel=0.02
        )


def test_request_response_follows_from_its_latency():
    """Concurrency 1: requests per second = 1 / response time, whatever the stations."""
    route = (Step("wire", Constant(16_000_000)), Step("core", Constant(1_000_000)), Step("wire", Constant(16_000_000)))
    network = Network((Station("wire", None), Station("core")), (RequestResponse("rr", 1).source(route),))
    result = fast.simulate(network, draw_network(network, Streams(1), {"rr": 100}))
    assert set(result["rr"].latency_ps.tolist()) == {33_000_000}
    assert result.end_ps == 100 * 33_000_000


def test_a_new_connection_pays_its_handshake_and_the_slow_path():
    route = (Step("core", Constant(1000), "flows"), Step("wire", Constant(10)))
    stations, table = (Station("wire", None), Station("core")), Table("flows", 1000)
    load = ConnectRequestResponse("crr", 1, requests=4).source((Step("wire", Constant(100)),), route)
    network = Network(stations, (load,), (table,))
    result = fast.simulate(network, draw_network(network, Streams(1), {"crr": 12}))
    assert result["crr"].latency_ps.tolist() == [1110, 10, 10, 10] * 3
    assert result.tables[0].inserted == 3


def test_a_mix_shares_out_the_rate():
    sources = packet_mix(PacketRate("p", 1e6, flows=100), [("a", 3, ONE), ("b", 1, ONE)])
    assert [s.name for s in sources] == ["p/a", "p/b"]
    assert [1e12 / s.gap_ps.mean for s in sources if isinstance(s, Open)] == pytest.approx([750_000, 250_000])
    assert [s.connections for s in sources if isinstance(s, Open)] == [75, 25]


def test_open_requests_take_longer_the_larger_they_are():
    source = OpenRequests("o", Constant(1000), Empirical((0, 100))).source((Step("core", PerByte(5, 2)),))
    network = Network(CORE, (source,))
    (draws,) = draw_network(network, Streams(1), {"o": 50})
    result = fast.simulate(network, [draws])
    assert np.array_equal(result["o"].latency_ps, 5 + 2 * draws.sizes_bytes)
    assert set(draws.sizes_bytes.tolist()) == {0, 100}


def test_clients_that_keep_one_another_out_give_up():
    """Each holds what the other needs at the same instants, try after try: without an end this would run for ever."""
    seed = 33
    network, stop_ps = random_network(_after_pipeline(seed))
    draws = draw_network(network, Streams(1, seed), {s.name: 300 for s in network.sources})
    result = fast.simulate(network, draws, stop_ps)
    given_up = [(s.tries == 16) & (s.lost_at >= 0) for s in result.sources]
    assert any(g.any() for g in given_up)
    assert not result.differences(reference.simulate(network, draws, stop_ps))


def _after_pipeline(replication: int) -> np.random.Generator:
    generator = Streams(1, replication).generator("model")
    random_pipeline(generator)
    return generator


@pytest.mark.parametrize("engine", [fast.simulate, reference.simulate])
def test_connections_under_way_are_neither_new_nor_unknown(engine):
    """Of five old connections the table has room for three; none is opened, and each ends at an age of its own."""
    steps = (
        Step("cores", Constant(10), table="cache"),
        Step("cores", Constant(7), opening=True),
        Step("wire", Constant(1)),
    )
    table = Table("cache", capacity=3, insert_ps=10**9)
    old = Open("old", steps, Constant(1000), connections=5, under_way=True)
    stations = (Station("cores"), Station("wire"))
    draws = draw_network(Network(stations, (old,), (table,)), Streams(1), {"old": 200})
    result = engine(Network(stations, (old,), (table,)), draws)
    waits, connections = result["old"].waits_ps, draws[0].connections
    assert (waits[1] == -1).all()
    assert ((waits[0] == -1) == (connections < 3)).all()
    assert (result.tables[0].peak, result.tables[0].entries) == (3, 3)
    new = replace(old, under_way=False)
    assert (engine(Network(stations, (new,), (table,)), draws)["old"].waits_ps[1] >= 0).sum() == 5
    ending = replace(old, jobs_per_connection=50)
    firsts = draw_network(Network(stations, (ending,), (table,)), Streams(1), {"old": 40})[0].connections
    assert firsts.max() > 4  # some of the old ones end long before their 50th job
