"""From paths to stations, and what a run needs before it starts."""

from __future__ import annotations

import math
import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from tests.performance_cases import cost, formulas, leg, route
from ytwin import pipeline
from ytwin.cli.files import read_files
from ytwin.core.errors import InvalidInput
from ytwin.core.units import time_ps
from ytwin.datapath import programs
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.passes import Entry
from ytwin.datapath.program import Direction, Phase, Program, Visit
from ytwin.hardware import HardwareProfile, Kind, shipped, with_values
from ytwin.performance import predict, simulate
from ytwin.performance.analytic import answer
from ytwin.performance.choice import make_case
from ytwin.performance.legs import CardTable, card_table
from ytwin.performance.legs import leg as sized_leg
from ytwin.performance.lengths import LONGEST_PS, MOST_STREAMED_BYTES, default_duration_ps, planned
from ytwin.performance.loads import Load, parse_load
from ytwin.performance.mix import mixed
from ytwin.performance.network import DELAY, build, jobs_for, pipeline_of, stretched
from ytwin.performance.routes import routes_of
from ytwin.performance.simulate import simulate_network, simulate_routes
from ytwin.performance.types import Metric, Share
from ytwin.sim import fast
from ytwin.sim.distributions import Constant, Empirical, Exponential, Gamma, LogNormal, PerByte, Uniform
from ytwin.sim.model import Closed, Network, Open, Table
from ytwin.sim.streams import Streams, draw_network
from ytwin.sim.workloads import (
    IPV4_TCP_BYTES,
    BulkTcp,
    ConnectRequestResponse,
    OpenRequests,
    PacketRate,
    RequestResponse,
)

ROOT = Path(__file__).parents[2]
US, MS, GIB = 10**6, 10**9, 2**30
THERE = leg(
    [(Share.HOST, "a", 20_000, 1), (Share.PORTS_OUT, "a", 10_000, 2), (Share.SLOW_PATH, "a", 30_000, 4)],
    3 * US,
    US,
    0.3,
)
BACK = leg([(Share.HOST, "a", 20_000, 1), (Share.PORTS_IN, "a", 10_000, 2)], 2 * US)
ONE = route(THERE, BACK)


def network(load: Load, **options: float) -> Network:
    return build([ONE], load, {"slow path of a": 7}, 0.0, 2.5e7, **options)


# --- stations -----------------------------------------------------------------------------------------------------------------


def test_one_station_per_resource_but_two_for_a_wire():
    made = {s.name: (s.servers, s.queue) for s in network(RequestResponse("r", 1)).stations}
    assert made == {
        DELAY: (None, None),
        "host stack of a": (1, None),
        "sending ports of a": (2, None),
        "receiving ports of a": (2, None),
        "slow path of a": (4, 7),
    }


def test_work_and_delay_together_are_the_latency():
    (source,) = network(RequestResponse("r", 1)).sources
    assert sum(s.service_ps.mean for s in source.steps) == pytest.approx(6 * US)
    laws = [s.service_ps for s in source.steps if s.station == DELAY]
    # 60 ns of work are in the rest of 1 us; the varying part is whole.
    assert laws == [Constant(US - 60_000), LogNormal(3 * US, 0.3), Constant(2 * US - 30_000)]


def test_work_that_exceeds_the_rest_is_taken_off_the_stacks_and_leaves_their_variance():
    (source,) = build([route(leg([(Share.HOST, "a", US, 1)], 2 * US, scv=0.1))], PacketRate("p", 1e5), {}).sources
    law = source.steps[-1].service_ps
    assert isinstance(law, LogNormal)
    assert (law.mean, law.mean**2 * law.scv) == pytest.approx((US, (2 * US) ** 2 * 0.1))


def test_rule_insertion_is_no_station():
    one = route(leg([(Share.HOST, "a", 1000, 1), (Share.INSERTION, "a", 10**9, 1)]))
    assert {s.name for s in build([one], PacketRate("p", 1e6), {}).stations} == {"host stack of a"}


def test_endless_rates_are_driven_above_the_limit_and_given_ones_as_given():
    gaps = [network(PacketRate("p", rate)).sources[0] for rate in (math.inf, 1e9, 1e6)]
    assert [1e12 / s.gap_ps.mean for s in gaps if isinstance(s, Open)] == pytest.approx([1.25 * 2.5e7, 1e9, 1e6])
    with pytest.raises(InvalidInput, match="rate without end"):
        build([ONE], PacketRate("p", math.inf), {})
    with pytest.raises(InvalidInput, match="nothing is delivered"):
        build([], PacketRate("p", 1e6), {})


def test_a_stream_copies_on_one_core():
    copied = replace(ONE, stream_ps=500_000)
    (source,) = build([copied], BulkTcp("b", 3, window_segments=5), {}).sources
    assert isinstance(source, Closed)
    assert (source.clients, source.steps[0].station, source.steps[0].service_ps) == (
        15,
        "copying of each stream",
        Constant(500_000),
    )


def test_an_open_window_holds_the_path_and_as_much_again_but_not_more_than_half_a_queue():
    """The host's 50 Mpps (two ports and four cores carry more) times 6 us are 300; half of 7 places more, or as many again."""
    (source,) = network(BulkTcp("b", 1, window_segments=None)).sources
    assert isinstance(source, Closed)
    assert source.clients == math.ceil(5e7 * 6e-6 + 3.5)
    (source,) = build([ONE], BulkTcp("b", 1, window_segments=None), {}).sources
    assert isinstance(source, Closed)
    assert source.clients == math.ceil(2 * 5e7 * 6e-6)


def test_clients_that_cannot_be_shared_out_take_turns():
    routes = [replace(ONE, name=name) for name in "xyz"]
    got = [{s.name: s.clients for s in build(routes, RequestResponse("r", 4), {}, turn=t).sources} for t in range(3)]  # type: ignore[union-attr]
    assert got == [{"x": 2, "y": 1, "z": 1}, {"x": 1, "y": 2, "z": 1}, {"x": 1, "y": 1, "z": 2}]


def test_one_client_meets_every_backend():
    near, far = leg([(Share.HOST, "a", 1000, 1)], 10 * US), leg([(Share.HOST, "a", 1000, 1)], 30 * US)
    routes = [replace(route(near), name="near"), replace(route(far), name="far")]
    found = simulate_routes(routes, RequestResponse("r", 1), {}, formulas(routes[0]), duration_ps=5 * MS)
    assert found[Metric.REQUEST_RATE].value == pytest.approx((1e5 + 1e12 / (30 * US)) / 2, rel=0.001)


def test_sizes_that_vary_make_work_that_varies():
    small, large = (cost([(Share.PORTS_OUT, "a", ps, 1), (Share.HOST, "a", 5, 1)]) for ps in (10_000, 110_000))
    one = sized_leg(small, 0.0, (small, 0, large, 1000))
    assert one.service(small.demands[0]) == PerByte(10_000, 100)
    assert one.service(small.demands[1]) == Constant(5)


@pytest.mark.parametrize(
    "law", [Constant(4), Exponential(4), Uniform(2, 6), Gamma(4, 2), LogNormal(4, 2), Empirical((3, 5))]
)
def test_stretched(law):
    assert stretched(law, 3).mean == pytest.approx(12)
    assert stretched(law, 3).scv == pytest.approx(law.scv)


def test_card_table_is_what_rules_leave():
    card = shipped()["connectx-6-dx"]
    chip = card.eswitch
    assert chip is not None
    table = card_table("a", card)
    assert table is not None
    rules = chip.rules_per_connection.value
    assert table.connections == min(chip.conntrack_table.value, chip.flow_table.value // rules)
    slower = min(chip.insertion_rate.value, chip.deletion_rate.value)
    assert table.insert_ps == round(1e12 * rules / slower)
    assert card_table("a", shipped()["ovs-kernel"]) is None


# --- memory -------------------------------------------------------------------------------------------------------------------

LOADS: list[Load] = [
    PacketRate("p", 1e7, poisson=True),
    RequestResponse("r", 8),
    ConnectRequestResponse("c", 8),
    OpenRequests("o", Exponential(1e5), Exponential(64), 10, requests_per_connection=3),
    BulkTcp("b", 4, window_segments=16),
]


@pytest.mark.parametrize("load", LOADS, ids=lambda load: type(load).__name__)
def test_a_run_takes_what_was_said_before(load: Load):
    run = planned(network(load), 3 * MS, "fast", GIB)
    simulate_network(run, "fast", Streams(0))
    tracemalloc.start()
    simulate_network(run, "fast", Streams(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0.5 * run.needs_bytes < peak < 1.1 * run.needs_bytes + 100_000


@pytest.mark.parametrize("load", LOADS, ids=lambda load: type(load).__name__)
def test_more_jobs_are_drawn_than_begin(load: Load):
    made = network(load)
    run = planned(made, 3 * MS, "fast", GIB)
    result = fast.simulate(made, draw_network(made, Streams(3), run.jobs), run.run_ps)
    begun = int((result.sources[0].start_ps >= 0).sum())
    assert 0.5 * sum(run.jobs.values()) < begun < sum(run.jobs.values())
    assert jobs_for(made, run.run_ps) == run.jobs


def test_numbers_are_drawn_for_those_who_miss_the_table_too():
    """Three quarters of many connections pass 2 us of one core: hardly more jobs than that carries are drawn."""
    slow = leg([(Share.UPCALL, "a", 2 * US, 1)], 3 * US)
    one = replace(ONE, tables=(CardTable("a", 10**6, 1, 10**12, 10**10, 1e12),), software=(slow, BACK), handshake=False)
    load = RequestResponse("r", 50, requests_per_connection=5)
    made = build([one], load, {}, 4e6)
    (source,) = made.sources
    assert isinstance(source, Closed)
    assert source.admitted == pytest.approx(0.25, abs=0.001)
    carries = 1e12 / (2 * US * 0.75)
    jobs = jobs_for(made, 20 * MS)["backend"]
    assert carries * 20e-3 < jobs < 1.5 * carries * 20e-3
    assert (
        fast.simulate(made, draw_network(made, Streams(1), {"backend": jobs}), 20 * MS)["backend"].start_ps < 0
    ).any()


def test_what_does_not_fit_is_said_before_anything_is_drawn():
    with pytest.raises(InvalidInput) as error:
        planned(network(RequestResponse("r", 10_000)), 10**12, "fast", 4 * GIB)
    (problem,) = error.value.problems
    assert (problem.code, problem.where.path) == ("memory", "memory")
    assert "GiB, 4 GiB are given" in problem.message
    assert "in 1 s and its warm-up" in problem.message
    assert "--duration below" in problem.hint
    assert "--engine analytic" in problem.hint
    assert "streamed" not in problem.hint


def test_the_time_that_is_named_fits():
    made, found = network(RequestResponse("r", 1000)), 10**12
    with pytest.raises(InvalidInput) as error:
        planned(made, found, "fast", GIB // 8)
    text = error.value.problems[0].hint.partition("below ")[2].partition(")")[0]
    planned(made, round(0.99 * time_ps(text)), "fast", GIB // 8)
    with pytest.raises(InvalidInput):
        planned(made, round(1.1 * time_ps(text)), "fast", GIB // 8)


def test_where_no_time_is_short_enough_it_is_not_named():
    with pytest.raises(InvalidInput, match="simulate fewer clients or connections, give more memory"):
        planned(network(RequestResponse("r", 10**9)), MS, "fast", GIB)


def test_a_streamed_run_takes_what_was_said_before():
    run = planned(network(PacketRate("p", 2e7, poisson=True)), 20 * MS, "fast", MOST_STREAMED_BYTES)
    assert run.streamed
    simulate_network(run, "fast", Streams(0))
    tracemalloc.start()
    simulate_network(run, "fast", Streams(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < run.needs_bytes


def test_flows_without_end_are_said_too():
    many = PacketRate("p", 1e6, flows=10**12, jobs_per_flow=5)
    with pytest.raises(InvalidInput, match="GiB, 1 GiB are given"):
        planned(network(many), MS, "fast", GIB)
    kept = replace(many, jobs_per_flow=None)  # nothing tells them apart
    assert planned(network(kept), MS, "fast", GIB).needs_bytes < GIB


def test_packets_are_streamed_where_they_do_not_fit():
    made = network(PacketRate("p", 1e7))
    assert not planned(made, MS, "fast", GIB).streamed
    assert planned(made, 100 * MS, "fast", GIB).streamed
    long = planned(made, 10**12, "fast", MOST_STREAMED_BYTES)
    assert (long.streamed, long.needs_bytes) == (True, MOST_STREAMED_BYTES)
    with pytest.raises(InvalidInput, match="give at least 64 MiB to have it streamed"):
        planned(made, 10**12, "fast", MOST_STREAMED_BYTES - 1)
    with pytest.raises(InvalidInput, match="use --engine fast or analytic"):
        planned(made, 10**12, "reference", GIB)


def test_streamed_runs_say_the_same():
    made = network(PacketRate("p", 1.8e7, poisson=True))
    assert pipeline_of(made) is not None
    whole, streamed = planned(made, 5 * MS, "fast", GIB), planned(made, 5 * MS, "fast", MOST_STREAMED_BYTES)
    whole = replace(whole, streamed=False)
    streamed = replace(streamed, streamed=True)
    a, b = (simulate_network(run, "fast", Streams(1)) for run in (whole, streamed))
    assert a.done_per_s == pytest.approx(b.done_per_s, rel=0.01)
    assert a.latency_ps == pytest.approx(b.latency_ps, rel=0.01)
    assert {n: u for n, u in a.utilisation.items() if n != DELAY} == pytest.approx(b.utilisation, rel=0.02)
    assert a.loss == b.loss == 0


def test_what_comes_back_cannot_be_streamed():
    for load in (RequestResponse("r", 2), PacketRate("p", 1e6, jobs_per_flow=3)):
        made = build([replace(ONE, first=(leg([(Share.UPCALL, "a", 1000, 1)], 9 * US), BACK))], load, {})
        assert pipeline_of(made) is None


@pytest.mark.parametrize("duration_ps", [0, -5])
def test_no_time(duration_ps: int):
    with pytest.raises(InvalidInput, match="give a time above 0"):
        planned(network(RequestResponse("r", 1)), duration_ps, "fast", GIB)


# --- programs, verdicts, profiles -------------------------------------------------------------------------------------------


@cache
def traced(client: str, address: str, port: int, topology: str = "article") -> tuple[Program, ...]:
    twin = pipeline.build(pipeline.read(read_files([str(ROOT / "topologies" / topology)])))
    host = next(h for h in twin.world.hosts if h.name == client)
    return programs(pipeline.converse(twin, host, address, port, "tcp"), twin.world)


def article(card: str) -> tuple[tuple[Program, ...], tuple[OffloadVerdict, ...], dict[str, HardwareProfile]]:
    found = traced("Pod/default/client", "10.233.46.185", 5001)
    cards = dict.fromkeys((v.chassis for p in found for v in p.visits), shipped()[card])
    return found, judge_offload(found, cards), cards


@pytest.mark.parametrize("card", ["yusur-dpu-2x100g", "connectx-6-dx", "bluefield-2", "ovs-kernel", "ovs-netdev"])
@pytest.mark.parametrize(
    ("text", "tolerance"),
    [
        ("packets:rate=100 kpps,flows=100", 0.01),
        ("rr:clients=1", 0.02),
        ("rr:clients=10", 0.01),
        ("open:rate=20 k/s,size=exponential 400 B,connections=20", 0.01),
    ],
)
def test_formulas_and_engine_agree_on_the_article(card: str, text: str, tolerance: float):
    """At low load, where formulas are exact: rate and mean latency within 1 % (one client: 2 %, it has one backend at a time).
    Median and p99 within 3 %, where one path is not much longer than the other."""
    found, verdicts, cards = article(card)
    load = parse_load(text).load
    should = predict(found, verdicts, cards, load, intervals=False)
    got = predict(found, verdicts, cards, load, engine="fast", seed=4, intervals=False)
    for metric in (Metric.PACKET_RATE, Metric.REQUEST_RATE, Metric.LATENCY):
        if any(v.metric is metric for v in should.values):
            rel = max(tolerance, 0.03 if isinstance(load, OpenRequests) and metric is Metric.REQUEST_RATE else 0)
            assert got[metric].value == pytest.approx(should[metric].value, rel=rel), metric
    assert got[Metric.LATENCY_P50].value == pytest.approx(should[Metric.LATENCY_P50].value, rel=0.03)
    assert got[Metric.LATENCY_P99].value == pytest.approx(should[Metric.LATENCY_P99].value, rel=0.03)
    assert got[Metric.LOSS].value == 0
    assert (got.engine, got.seed, got.limit, got.rests_on) == ("fast", 4, should.limit, should.rests_on)
    assert set(got.utilisation) <= {d.name for c in (got.forward, got.reply) if c is not None for d in c.demands}


@pytest.mark.parametrize(("card", "clients"), [("ovs-kernel", 64), ("yusur-dpu-2x100g", 400)])
def test_clients_that_begin_together_hardly_bend_a_run_of_default_length(card: str, clients: int):
    """Within 1.5 % of what a run that is ten times as long says."""
    found, verdicts, cards = article(card)
    load = parse_load(f"rr:clients={clients}").load
    short = predict(found, verdicts, cards, load, engine="fast", seed=4, intervals=False)
    rate = short[Metric.REQUEST_RATE].value
    long_ps = int(1000 * clients / rate * 1e12)
    long = predict(found, verdicts, cards, load, engine="fast", seed=5, duration_ps=long_ps, intervals=False)
    assert rate == pytest.approx(long[Metric.REQUEST_RATE].value, rel=0.015)
    assert not any("begin together" in note for note in (*short.notes, *long.notes))
    hasty = predict(found, verdicts, cards, load, engine="fast", duration_ps=long_ps // 100, intervals=False)
    assert any("round trips of its" in note for note in hasty.notes)


@pytest.mark.parametrize("text", ["open:rate=1 /s", "open:rate=40 /s", "packets:rate=3 pps,flows=4"])
def test_a_slow_load_is_watched_until_20_000_jobs_are_there(text: str):
    found, verdicts, cards = article("bluefield-2")
    load = parse_load(text).load
    made = build([ONE], load, {})
    (source,) = made.sources
    assert isinstance(source, Open)
    assert default_duration_ps(made, "fast") == pytest.approx(20_000 * source.gap_ps.mean)
    assert default_duration_ps(made, "reference") == pytest.approx(1_000 * source.gap_ps.mean)
    got = predict(found, verdicts, cards, load, engine="fast", intervals=False)
    metric = Metric.REQUEST_RATE if isinstance(load, OpenRequests) else Metric.PACKET_RATE
    assert got[metric].value == pytest.approx(answer(make_case(found, verdicts, cards), load).values[metric], rel=0.03)
    assert Metric.LATENCY_P99 in {v.metric for v in got.values}
    assert not any("by chance" in note for note in got.notes)


def test_a_run_of_few_jobs_says_how_many():
    found, verdicts, cards = article("bluefield-2")
    load = parse_load("open:rate=10 /s").load
    (note,) = predict(found, verdicts, cards, load, engine="fast", intervals=False, duration_ps=10**13).notes
    assert note == "in 10 s come 100 jobs, so values are much by chance; --duration '100 s' makes it 1,000"
    enough = predict(found, verdicts, cards, load, engine="fast", intervals=False, duration_ps=10**14)
    assert not enough.notes


def test_no_run_is_longer_than_a_day_and_a_clock():
    swept = Table("t", 1, idle_ps=1, sweep_ps=10**9)
    made = build([ONE], parse_load("open:rate=1 /s").load, {})
    assert default_duration_ps(replace(made, tables=(swept,)), "fast") == 10**15
    slow = build([ONE], parse_load("open:rate=0.000001 /s").load, {})
    assert default_duration_ps(slow, "fast") == LONGEST_PS
    found, verdicts, cards = article("bluefield-2")
    rare = parse_load("open:rate=0.0001 /s").load
    notes = predict(found, verdicts, cards, rare, engine="fast", intervals=False).notes
    (note,) = (note for note in notes if "jobs" in note)
    assert "10 jobs" in note
    assert sum(": a connection is used every 1e+04 s" in one for one in notes) == 2
    assert "--duration" not in note


def test_a_run_that_ends_before_what_is_lost_is_sent_again_says_of_whom_it_tells():
    """A hundred clients overflow a short queue, and most wait for TCP's retransmission, which is longer than a short run."""
    found, verdicts, cards = article("ovs-kernel")
    few = {"slow_path.queue": 8.0, "slow_path.cores": 1.0}
    narrow = {c: with_values(card, few, kind=Kind.ASSUMED, source="test") for c, card in cards.items()}
    load = parse_load("rr:clients=100").load
    notes = [
        predict(found, verdicts, on, load, engine="fast", duration_ps=20 * MS, intervals=False).notes
        for on in (narrow, cards)
    ]
    told = ["of 100 clients: requests of the others did not end in 20 ms" in " ".join(said) for said in notes]
    assert told == [True, False]
    assert any("sent again after 200 ms" in note for note in notes[0])


def test_a_run_in_which_nothing_is_done_is_no_answer():
    found, verdicts, cards = article("ovs-kernel")
    for text in ("rr:clients=3", "packets:rate=1 kpps,flows=4"):
        with pytest.raises(InvalidInput, match="not one job was done in 1 ps"):
            predict(found, verdicts, cards, parse_load(text).load, engine="fast", duration_ps=1, intervals=False)


def test_requests_of_many_frames_say_what_storing_them_whole_adds():
    found, verdicts, cards = article("ovs-kernel")
    notes = {}
    for size in ("64 B", "1 MB"):
        load = parse_load(f"open:rate=100 /s,size={size},connections=8").load
        notes[size] = predict(found, verdicts, cards, load, engine="fast", intervals=False).notes
    assert ["before the first goes on" in " ".join(said) for said in notes.values()] == [False, True]


@pytest.mark.parametrize("card", ["yusur-dpu-2x100g", "ovs-kernel"])
def test_one_backend_saturates_where_formulas_say(card: str):
    """Within 1 %: packets above the limit, and bulk TCP."""
    found, verdicts, cards = article(card)
    backend = found[-1].backend
    one = tuple(p for p in found if p.backend == backend)
    for text in ("packets:rate=max,flows=1000", "bulk:streams=16", "bulk:streams=1"):
        load = parse_load(text).load
        should = predict(one, verdicts, cards, load, intervals=False)
        got = predict(one, verdicts, cards, load, engine="fast", intervals=False, duration_ps=2 * MS)
        assert got[Metric.PACKET_RATE].value == pytest.approx(should[Metric.PACKET_RATE].value, rel=0.01), text
        assert got[Metric.HOST_CORES].value == pytest.approx(should[Metric.HOST_CORES].value, rel=0.01)


@pytest.mark.parametrize("gateway", [False, True])
def test_wires_carry_both_ways_at_once(gateway: bool):
    """Requests and answers of one size share no wire, unless a gateway has each packet both come and go."""
    found, verdicts, cards = article("ovs-kernel")
    one = tuple(p for p in found if p.backend == found[-1].backend)
    numbers = {"ports.rate": 1e9, "ports.count": 1}
    narrow = with_values(cards["node1"], numbers, kind=Kind.ASSUMED, source="test")
    cards = dict.fromkeys([*cards, "gw"], narrow)
    if gateway:
        through = Visit("gw", Entry.TUNNEL, "tunnel", "", "", one[-1].visits[-1].passes)
        one = tuple(replace(p, visits=(*p.visits[:1], through, *p.visits[1:])) for p in one)
    load = parse_load("rr:clients=1000,size=1100 B").load
    should = predict(one, verdicts, cards, load, intervals=False, assume=Outcome.SOFTWARE)
    got = predict(
        one, verdicts, cards, load, engine="fast", intervals=False, duration_ps=400 * MS, assume=Outcome.SOFTWARE
    )
    on_wire_bits = 8 * (1100 + IPV4_TCP_BYTES + 14 + 58 + 24)
    assert should[Metric.REQUEST_RATE].value == pytest.approx(1e9 / on_wire_bits / (2 if gateway else 1), rel=0.01)
    assert got[Metric.REQUEST_RATE].value == pytest.approx(should[Metric.REQUEST_RATE].value, rel=0.01)
    wires = {name for name in should.utilisation if "ports" in name and should.utilisation[name] > 0.98}
    ends = {
        f"{way} of {end}" for way in (Share.PORTS_IN, Share.PORTS_OUT) for end in ("node1", one[0].visits[-1].chassis)
    }
    assert wires == ({f"{way} of gw" for way in (Share.PORTS_IN, Share.PORTS_OUT)} if gateway else ends)


def test_formulas_take_any_number_of_clients():
    found, verdicts, cards = article("ovs-kernel")
    few, many = (
        predict(found, verdicts, cards, RequestResponse("r", clients), intervals=False)[Metric.REQUEST_RATE].value
        for clients in (5000, 10**9)
    )
    assert few == pytest.approx(many, rel=0.01)


def test_a_new_connection_is_in_software_until_its_rules_are_in():
    """Rules take longer than a round trip, so the request of a new connection is in software, handshake and all. The formulas'
    is the mean over both backends; of one client, the engine's counts the nearer one's more often."""
    found, verdicts, cards = article("yusur-dpu-2x100g")
    load = parse_load("crr:clients=1").load
    should = predict(found, verdicts, cards, load, intervals=False)[Metric.LATENCY].value
    software = answer(make_case(found, (), dict.fromkeys(cards, shipped()["ovs-kernel"])), load).values[Metric.LATENCY]
    got = predict(found, verdicts, cards, load, engine="fast", intervals=False)[Metric.LATENCY].value
    assert got == pytest.approx(should, rel=0.05)
    assert 0.9 * software < got < software * 1.01


@pytest.mark.parametrize("text", ["crr:clients=1,requests=2", "crr:clients=9,requests=3", "rr:clients=7"])
def test_rate_and_time_of_a_request_give_the_clients_back(text: str):
    """Little 1961: some requests wait for a handshake too, and the mean is that of all round trips."""
    found, verdicts, cards = article("yusur-dpu-2x100g")
    load = parse_load(text).load
    assert isinstance(load, RequestResponse | ConnectRequestResponse)
    got = predict(found, verdicts, cards, load, engine="fast", intervals=False, duration_ps=40 * MS)
    took_us = 2 * got.round_trips * got[Metric.LATENCY].value
    assert got[Metric.REQUEST_RATE].value * took_us / 1e6 == pytest.approx(load.clients, rel=0.005)
    assert got[Metric.LATENCY_P50].value < got[Metric.LATENCY_P99].value


def test_intervals_of_percentiles_are_in_order(monkeypatch: pytest.MonkeyPatch):
    """Replications that agree on the median and not on the tail."""
    tails = iter([(30e6, 20e6, p99 * 1e6) for p99 in (40, 41, 400)])
    monkeypatch.setattr(
        "ytwin.performance.simulate.simulate_network", lambda *_: simulate.Outcome(1e5, 0.0, next(tails), {DELAY: 0.0})
    )
    got = simulate_routes([ONE], PacketRate("p", 1e5), {}, formulas(ONE), limit_per_s=1e7, replications=3)
    mean, median, tail = (got[m] for m in (Metric.LATENCY, Metric.LATENCY_P50, Metric.LATENCY_P99))
    assert median.low <= mean.low <= tail.low <= tail.value <= tail.high
    assert tail.value == pytest.approx(481 / 3)


def test_notes_of_tables_say_whose_rate_they_are_of():
    found, verdicts, cards = article("bluefield-2")
    texts = {}
    for text in (
        "crr:clients=64",
        "open:rate=100 k/s,connections=600000",
        "packets:rate=1 Mpps,flows=10000,packetsPerFlow=2",
    ):
        load = parse_load(text).load
        case = make_case(found, verdicts, cards)
        analytic = replace(predict(found, verdicts, cards, load, intervals=False), notes=answer(case, load).notes)
        short = {"duration_ps": MS, "replications": 2}
        texts[text.partition(":")[0]] = simulate.simulate(case, load, analytic, **short).notes  # type: ignore[arg-type]
    for kind in ("crr", "packets"):
        assert [n for n in texts[kind] if n.startswith("at the formulas' rate, node1: ") and "stay in software" in n]
        assert [n for n in texts[kind] if n.startswith("at the formulas' rate, node1: OVS stops putting flows in")]
    # Connections that stay do so at any rate.
    assert [n for n in texts["open"] if n.startswith("node1: ") and "stay in software" in n]


def test_every_path_has_its_weight():
    found, verdicts, cards = article("yusur-dpu-2x100g")
    case = make_case(found, verdicts, cards)
    assert sorted(weight for _, weight in case.paths) == [1, 1]
    backends = sorted({p.backend for p in found})
    parts = [[p for p in found if p.backend == backend] for backend in backends]
    mix = mixed([(3, parts[0]), (1, parts[1])])
    case = make_case(mix, verdicts, cards)
    analytic = predict(mix, verdicts, cards, parse_load("rr:clients=8").load, intervals=False)
    routes = {r.name.rpartition(" ")[2]: r.weight for r in routes_of(case, parse_load("rr:clients=8").load, analytic)}
    assert routes == {backends[0]: 3.0, backends[1]: 1.0}
    assert len(mixed([(1.0, parts[0])])) == len(parts[0])
    thirds = mixed([(1 / 3, parts[0]), (2 / 3, parts[1])])
    forward = [p.backend for p in thirds if (p.phase, p.direction) == (Phase.ESTABLISHED, Direction.FORWARD)]
    assert (forward.count(backends[0]), forward.count(backends[1])) == (1, 2)
    with pytest.raises(InvalidInput, match="too far apart"):
        mixed([(1, parts[0]), (100_000, parts[1])])
    with pytest.raises(InvalidInput, match="too far apart"):
        mixed([(1e300, parts[0]), (1e-300, parts[1])])
    assert len(mixed([(1e308, parts[0]), (0.5e308, parts[1])])) > 0


def test_no_such_engine():
    found, verdicts, cards = article("ovs-kernel")
    with pytest.raises(InvalidInput, match="use one of analytic, fast, reference"):
        predict(found, verdicts, cards, parse_load("rr:clients=1").load, engine="slow")  # type: ignore[arg-type]
