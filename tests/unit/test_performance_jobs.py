"""What a load asks of paths that are unlike one another: other chassis, protocols, and interfaces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.performance_cases import leg as by_hand
from tests.performance_cases import route
from tests.performance_programs import path
from ytwin import pipeline
from ytwin.cli.files import read_files
from ytwin.core.errors import InvalidInput
from ytwin.datapath import programs
from ytwin.datapath.offload_types import Outcome
from ytwin.datapath.program import Direction, Op, Operation, Pass, Phase, Program
from ytwin.hardware import HardwareProfile, Kind, shipped, with_values
from ytwin.performance import Metric, predict
from ytwin.performance.choice import make_case
from ytwin.performance.jobs import Loaded
from ytwin.performance.network import _shared_out
from ytwin.performance.routes import routes_of
from ytwin.sim.distributions import Constant, LogNormal
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

ROOT = Path(__file__).parents[2]


def card(**numbers: float) -> HardwareProfile:
    """A DPU with few places."""
    values = {"eswitch.conntrack_table": 1000.0, "eswitch.flow_table": 1e6}
    values |= {name.replace("__", "."): value for name, value in numbers.items()}
    return with_values(shipped()["yusur-dpu-2x100g"], values, kind=Kind.ASSUMED, source="test")


CARDS = {f"node{i}": card() for i in (1, 2, 3)}
TCP = path()


def on_node3(programs: tuple[Program, ...]) -> tuple[Program, ...]:
    """The same with the backend there."""
    return tuple(
        replace(
            p,
            backend="backend3",
            visits=tuple(replace(v, chassis="node3") if v.chassis == "node2" else v for v in p.visits),
        )
        for p in programs
    )


def udp(programs: tuple[Program, ...]) -> tuple[Program, ...]:
    """The same as datagrams: nothing closes them."""
    return tuple(replace(p, protocol="udp") for p in programs if p.phase is not Phase.CLOSE)


# --- chassis ------------------------------------------------------------------------------------------------------------------


def test_a_card_holds_the_connections_that_visit_it() -> None:
    """2,000 connections for 1,000 places at the client's card; each backend's has half of them, and room."""
    both = TCP + on_node3(TCP)
    load = PacketRate("many", 1e6, flows=2000)
    found = predict(both, (), CARDS, load, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    stay = [note for note in found.notes if "stay in software" in note]
    assert len(stay) == 1
    assert stay[0].startswith("node1: 50.0% of its connections stay in software: 2000 connections for 1000 places")
    states = Loaded(make_case(both, (), CARDS, assume=Outcome.FIRST_SOFTWARE), load, 2000, 10).states(100.0)
    assert states["node2"].connections == pytest.approx(states["node1"].connections / 2)


def zoned(programs: tuple[Program, ...], zones: tuple[str, ...]) -> tuple[Program, ...]:
    """First packets commit in these zones on every chassis."""
    commits = tuple(Operation(Op.CT_COMMIT, zone) for zone in zones)

    def committing(one: Pass) -> Pass:
        return replace(one, operations=(*(o for o in one.operations if o.op is not Op.CT_COMMIT), *commits))

    return tuple(
        replace(p, visits=tuple(replace(v, passes=tuple(map(committing, v.passes))) for v in p.visits))
        if p.phase is Phase.FIRST
        else p
        for p in programs
    )


def test_conntrack_counts_entries_of_the_connections_that_come_by() -> None:
    """1,500 connections with two entries each for 2,000 places at node1, on the backends' nodes 1,500 entries."""
    cards = {f"node{i}": card(slow_path__conntrack_limit=2000.0) for i in (1, 2, 3)}
    two = zoned(TCP, ("dnat:router/r", "port:p"))
    load = PacketRate("many", 1e5, flows=1500)
    found = predict(two + on_node3(two), (), cards, load, assume=Outcome.SOFTWARE, intervals=False)
    (note,) = found.notes
    assert note.startswith("node1: 33.3% of its connections fail: 3000 entries")
    assert note.endswith("the numbers here are of connections that do not fail")
    one = zoned(TCP, ("port:p", "port:p"))
    assert not predict(one, (), cards, load, assume=Outcome.SOFTWARE, intervals=False).notes


def test_the_engines_cards_have_the_same_share() -> None:
    case = make_case(TCP + on_node3(TCP), (), CARDS, assume=Outcome.FIRST_SOFTWARE)
    load = PacketRate("many", 1e6, flows=2000, jobs_per_flow=10)
    analytic = predict(TCP + on_node3(TCP), (), CARDS, load, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    tables = {table.chassis: table.part for one in routes_of(case, load, analytic) for table in one.tables}
    assert tables == {"node1": 1.0, "node2": 0.5, "node3": 0.5}


def test_clients_take_turns_among_equals() -> None:
    """Also where what is beyond a table stands between the paths."""
    one = route(by_hand([]))
    parts = [(replace(one, name=n), p) for n, p in (("a", 0.49), ("a'", 0.01), ("b", 0.49), ("b'", 0.01))]
    assert [_shared_out(parts, 1, turn)[0][0].name for turn in range(2)] == ["a", "b"]


# --- protocols ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.SOFTWARE, Outcome.FIRST_SOFTWARE])
def test_the_first_datagram_is_the_request(outcome: Outcome) -> None:
    """One round trip of first packets: UDP has no handshake."""
    load = ConnectRequestResponse("r", 1)
    case = make_case(udp(TCP), (), CARDS, assume=outcome)
    frame = 64 + 52 + 14
    trip_ps = sum(case.cost(Phase.FIRST, d, frame, request=0.5).latency_ps for d in Direction)
    found = predict(udp(TCP), (), CARDS, load, assume=outcome, intervals=False)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(1e12 / trip_ps, rel=1e-3)
    assert found[Metric.LATENCY].value == pytest.approx(trip_ps / 2e6, rel=1e-3)
    simulated = predict(udp(TCP), (), CARDS, load, "fast", assume=outcome, intervals=False)
    assert simulated[Metric.REQUEST_RATE].value == pytest.approx(1e12 / trip_ps, rel=0.015)
    assert simulated[Metric.LATENCY].value == pytest.approx(trip_ps / 2e6, rel=0.015)
    greeted = predict(TCP, (), CARDS, load, assume=outcome, intervals=False)
    assert greeted[Metric.REQUEST_RATE].value < 0.9 * found[Metric.REQUEST_RATE].value


def test_a_datagram_of_several_frames_begins_with_the_first_packet() -> None:
    loads = [ConnectRequestResponse("r", 1, size_bytes=Constant(size)) for size in (1000, 2600, 10_000)]
    rates = [
        predict(udp(TCP), (), CARDS, load, engine, assume=Outcome.SOFTWARE, intervals=False)[Metric.REQUEST_RATE].value
        for load in loads
        for engine in ("analytic", "fast")
    ]
    assert rates[0] > rates[2] > rates[4]
    assert rates[1] > rates[3] > rates[5]


@pytest.mark.parametrize(
    "load",
    [ConnectRequestResponse("r", 8), OpenRequests("o", Constant(1e8), Constant(64), requests_per_connection=2)],
)
def test_a_mix_of_tcp_and_udp_is_half_of_each(load: ConnectRequestResponse | OpenRequests) -> None:
    """Handshake and close are of TCP's half."""

    def works(programs: tuple[Program, ...]) -> dict[str, float]:
        per = 1 if isinstance(load, ConnectRequestResponse) else 2
        case = make_case(programs, (), CARDS, assume=Outcome.SOFTWARE)
        job = Loaded(case, load, 8, per).there_and_back(0.0)
        return {d.name: d.service_ps for d in job.total.demands} | {"trips": job.round_trips}

    tcp, datagrams, mix = works(TCP), works(udp(TCP)), works(TCP + udp(TCP))
    assert mix == pytest.approx({name: (tcp[name] + datagrams[name]) / 2 for name in tcp})
    assert datagrams["trips"] == 1


def test_bulk_is_tcp() -> None:
    with pytest.raises(InvalidInput, match="bulk is TCP's streams, but the path is UDP"):
        predict(udp(TCP), (), CARDS, BulkTcp("b", 1), assume=Outcome.SOFTWARE, intervals=False)


@pytest.mark.parametrize(("rate", "directions"), [(1e5, 1), (1e3, 2)])
def test_the_first_request_behind_a_handshake_goes_through_software(rate: float, directions: int) -> None:
    """Its answer too, where putting rules in takes longer than a round trip (20 us and 2 ms)."""
    cards = {name: card(eswitch__insertion_rate=rate, eswitch__deletion_rate=rate) for name in CARDS}
    case = make_case(TCP, (), cards, assume=Outcome.FIRST_SOFTWARE)

    def way_ps(phase: Phase, direction: Direction, frame: float = 60, software: bool = False) -> float:
        return case.cost(phase, direction, frame, request=0.5, software=software).latency_ps

    frame = 64 + 52 + 14
    opening_ps = sum(way_ps(Phase.FIRST, d) for d in Direction)
    ways = list(enumerate(Direction))
    first_ps = sum(way_ps(Phase.ESTABLISHED, d, frame, software=i < directions) for i, d in ways)
    later_ps = sum(way_ps(Phase.ESTABLISHED, d, frame) for _, d in ways)
    assert first_ps > 1.1 * later_ps
    for requests in (1, 2):
        load = ConnectRequestResponse("r", 1, requests)
        job = Loaded(case, load, 1, requests).there_and_back(0.0)
        assert job.total.latency_ps == pytest.approx((opening_ps + first_ps + (requests - 1) * later_ps) / requests)
        both = [
            predict(TCP, (), cards, load, engine, assume=Outcome.FIRST_SOFTWARE, intervals=False)
            for engine in ("analytic", "fast")
        ]
        assert both[0][Metric.REQUEST_RATE].value == pytest.approx(both[1][Metric.REQUEST_RATE].value, rel=0.02)


def test_open_requests_wait_for_their_handshake_too() -> None:
    """As a client that is alone does."""
    rare = OpenRequests("o", Constant(1e9), Constant(64), connections=4, requests_per_connection=2)
    alone = ConnectRequestResponse("r", 1, 2)
    cards = {name: card(eswitch__conntrack_table=1e6) for name in CARDS}
    found = [predict(TCP, (), cards, load, assume=Outcome.FIRST_SOFTWARE, intervals=False) for load in (rare, alone)]
    assert [one.round_trips for one in found] == [1.5, 1.5]
    assert found[0][Metric.LATENCY].value == pytest.approx(found[1][Metric.LATENCY].value, rel=0.01)


# --- kinds of jobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "outcome"),
    [
        (PacketRate("p", 1e4, 10, jobs_per_flow=3), Outcome.FIRST_SOFTWARE),
        (PacketRate("p", 1e4, 2000), Outcome.FIRST_SOFTWARE),
        (
            OpenRequests("o", Constant(1e8), Constant(64), connections=50, requests_per_connection=4),
            Outcome.FIRST_SOFTWARE,
        ),
        (ConnectRequestResponse("r", 1, 4), Outcome.SOFTWARE),
    ],
)
def test_percentiles_are_of_first_packets_software_and_card(
    load: PacketRate | OpenRequests | ConnectRequestResponse, outcome: Outcome
) -> None:
    formulas, measured = (
        predict(TCP, (), CARDS, load, engine, assume=outcome, intervals=False) for engine in ("analytic", "fast")
    )
    for metric in (Metric.LATENCY, Metric.LATENCY_P50, Metric.LATENCY_P99):
        assert formulas[metric].value == pytest.approx(measured[metric].value, rel=0.04)


@pytest.mark.parametrize("per", [1, 3, float("inf")])
def test_kinds_of_jobs_make_up_the_mean_job(per: float) -> None:
    """On paths of several kinds, with tables that hold a part."""
    both = TCP + udp(on_node3(TCP))
    case = make_case(both, (), CARDS, assume=Outcome.FIRST_SOFTWARE)
    loads = [PacketRate("p", 1e4), OpenRequests("o", Constant(1e8), Constant(64))]
    for load in loads:
        loaded = Loaded(case, load, 5000, per)
        job = loaded.one_way(1e4) if isinstance(load, PacketRate) else loaded.there_and_back(1e4)
        ways = loaded.ways(1e4)
        assert sum(share for share, _ in ways) == pytest.approx(1)
        mean_ps = sum(share * sum(way.latency_ps for way in parts) for share, parts in ways)
        assert mean_ps == pytest.approx(job.total.latency_ps)
        trips = sum(share * len(parts) for share, parts in ways) / (1 if job.reply is None else 2)
        assert trips == pytest.approx(job.round_trips)


# --- interfaces ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mtu_bytes", [576, 1000])
def test_what_a_subnet_says_bounds_segments(mtu_bytes: int) -> None:
    """The smaller of both ends' interfaces, if it is smaller than what the underlay carries."""
    small = tuple(replace(p, mtu_bytes=mtu_bytes) for p in TCP)
    for engine in ("analytic", "fast"):
        found = predict(small, (), CARDS, BulkTcp("b", 4, window_segments=None), engine, assume=Outcome.SOFTWARE)
        bits = 1e9 * found[Metric.BANDWIDTH].value / (1e6 * found[Metric.PACKET_RATE].value)
        assert bits == pytest.approx(8 * (mtu_bytes - 52))
    large = tuple(replace(p, mtu_bytes=9000) for p in TCP)
    loads = [BulkTcp("b", 4, window_segments=None), ConnectRequestResponse("r", 1, size_bytes=Constant(5000))]
    for load in loads:
        unlike = [predict(p, (), CARDS, load, assume=Outcome.SOFTWARE, intervals=False) for p in (TCP, large, small)]
        assert unlike[0].values == unlike[1].values != unlike[2].values
    note = predict(small, (), CARDS, PacketRate("p", 1e4, size_bytes=1200), assume=Outcome.SOFTWARE).notes[0]
    assert f"has {mtu_bytes + 18} B at most" in note


def test_one_small_interface_bounds_its_own_path_only() -> None:
    """Streams of both have equal rates of segments; a request waits for its own path's frames."""
    small = tuple(replace(p, mtu_bytes=600) for p in on_node3(TCP))

    def values(
        paths: tuple[Program, ...], load: BulkTcp | PacketRate | OpenRequests, engine: str
    ) -> dict[Metric, float]:
        found = predict(paths, (), CARDS, load, engine, assume=Outcome.SOFTWARE, intervals=False)
        return {v.metric: v.value for v in found.values}

    for streams in (64, 2):  # the slow path is the limit, or each stream's core
        load = BulkTcp("b", streams, window_segments=None)
        alone = [values(p, load, "analytic")[Metric.BANDWIDTH] for p in (TCP, small)]
        both = [values(TCP + small, load, engine)[Metric.BANDWIDTH] for engine in ("analytic", "fast")]
        assert both[0] == pytest.approx(both[1], rel=0.04)
        assert 1.1 * alone[1] < both[0] < 0.95 * alone[0] or alone[0] == pytest.approx(alone[1]) == pytest.approx(
            both[0]
        )
    asked = OpenRequests("o", Constant(1e9), Constant(2000), connections=100)
    alone = [values(p, asked, "analytic")[Metric.LATENCY] for p in (TCP, small)]
    assert values(TCP + small, asked, "analytic")[Metric.LATENCY] == pytest.approx(sum(alone) / 2, rel=1e-3)


def test_a_mix_of_families_does_not_depend_on_their_order() -> None:
    other = tuple(replace(p, destination="[fd00::1]:80") for p in TCP)
    for load in (
        BulkTcp("b", 16, window_segments=None),
        OpenRequests("o", Constant(1e9), Constant(2000), connections=9),
    ):
        found = [
            {v.metric: v.value for v in predict(p, (), CARDS, load, assume=Outcome.SOFTWARE, intervals=False).values}
            for p in (TCP + other, other + TCP)
        ]
        assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("subnet", ["10.10.1.0/24", "10.10.2.0/24"])
def test_the_mtu_of_a_subnet_reaches_its_paths(subnet: str) -> None:
    files = dict(read_files([str(ROOT / "topologies/article")]))
    changed = {
        name: text.replace(f"cidrBlock: {subnet}", f"cidrBlock: {subnet}\n  mtu: 576") for name, text in files.items()
    }
    assert changed != files
    found = []
    for texts in (files, changed):
        twin = pipeline.build(pipeline.decode(texts))
        host = next(h for h in twin.world.hosts if h.name == "Pod/default/client")
        found.append(programs(pipeline.converse(twin, host, "10.233.46.185", 5001, "tcp"), twin.world))
    assert {p.mtu_bytes for p in found[0]} == {0}
    assert 576 in {p.mtu_bytes for p in found[1]}


def test_paths_within_a_node_have_the_interfaces_mtu_too() -> None:
    """A CNI sets it once, whoever is talked to: 1500 B of the underlay less 100 B; kube-proxy without a tunnel has all of it."""
    twin = pipeline.build(pipeline.decode(read_files([str(ROOT / "topologies/article")])))
    host = next(h for h in twin.world.hosts if h.name == "Pod/default/client")
    beside = programs(pipeline.converse(twin, host, "10.10.1.66", 5001, "tcp"), twin.world)
    assert len({v.chassis for p in beside for v in p.visits}) == 1
    untunnelled = with_values(
        shipped()["kube-proxy-ipvs"], {"encapsulation.overhead": 0.0}, kind=Kind.ASSUMED, source="test"
    )
    segments = {}
    for profile in (shipped()["ovs-kernel"], shipped()["kube-proxy-ipvs"], untunnelled):
        cards = {v.chassis: profile for p in beside for v in p.visits}
        found = predict(beside, (), cards, BulkTcp("b", 4, window_segments=None), intervals=False)
        size = 1e3 * found[Metric.BANDWIDTH].value / found[Metric.PACKET_RATE].value / 8
        segments[profile.name, profile.encapsulation.overhead.value] = size
    assert segments == pytest.approx(
        {("ovs-kernel", 100): 1348, ("kube-proxy-ipvs", 100): 1348, ("kube-proxy-ipvs", 0): 1448}
    )


# --- notes --------------------------------------------------------------------------------------------------------------------


def test_connections_that_a_fin_ends_make_room_at_the_next_sweep() -> None:
    """64 clients that open 30,000 connections/s fill no table of 250,000; packets of flows without an end do."""
    cards = {name: card(eswitch__conntrack_table=250_000.0, eswitch__flow_table=1e6) for name in CARDS}
    closed = predict(
        TCP, (), cards, ConnectRequestResponse("r", 64, 30), assume=Outcome.FIRST_SOFTWARE, intervals=False
    )
    assert not [note for note in closed.notes if "stay in software: " in note and "places" in note]
    flows = PacketRate("p", 3e6, 64, jobs_per_flow=100)
    aged = predict(TCP, (), cards, flows, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    assert [note for note in aged.notes if "stay in software: " in note and "places" in note]


def test_connections_that_age_between_two_requests_are_told() -> None:
    rare = RequestResponse("r", 1, Constant(60e12))
    found = predict(TCP, (), CARDS, rare, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    assert sum("its rules go after 30 s without a packet" in note for note in found.notes) == 2
    often = predict(
        TCP, (), CARDS, replace(rare, think_ps=Constant(20e12)), assume=Outcome.FIRST_SOFTWARE, intervals=False
    )
    assert not often.notes


def test_what_formulas_and_engines_leave_out_is_told() -> None:
    """Of packets beside the limit, of sizes, and of tables that overflow unequally."""
    said = {
        engine: [
            " ".join(predict(TCP, (), cards, load, engine, assume=Outcome.FIRST_SOFTWARE, intervals=False).notes)
            for cards, load in (
                (CARDS, PacketRate("p", 1e8, 4000)),
                (CARDS, OpenRequests("o", Constant(1e8), LogNormal(20_000, 4.0), 50)),
                ({**CARDS, "node2": card(eswitch__conntrack_table=2000.0)}, PacketRate("p", 1e5, 4000)),
            )
        ]
        for engine in ("analytic", "fast")
    }
    assert "the formulas lose as many of the others" in said["analytic"][0]
    assert "lose as many" not in said["fast"][0]
    assert "one of the mean 20000 B" in said["analytic"][1]
    assert "small requests are too quick" in said["fast"][1]
    assert "by all cards of its path or by none: node2" in said["fast"][2]
    assert "by all cards" not in said["analytic"][2]
