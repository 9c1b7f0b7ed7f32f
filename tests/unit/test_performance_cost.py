"""Work and latency of single packets against arithmetic by hand, on profiles with round numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.performance_programs import path, program
from ytwin.core.errors import InvalidInput
from ytwin.datapath.offload_types import Outcome
from ytwin.datapath.passes import Entry
from ytwin.datapath.program import Direction, Examined, Op, Operation, Pass, Phase, Program, Visit
from ytwin.hardware import HardwareProfile, Kind, shipped, with_values
from ytwin.logical.southbound import LogicalFlow
from ytwin.performance import Metric, bare_programs, path_cost, predict, proxied
from ytwin.performance.cost import crowding, own_flow
from ytwin.performance.tables import software_notes, table_state
from ytwin.performance.types import PathCost, Share
from ytwin.sim.distributions import Constant, Exponential
from ytwin.sim.workloads import BulkTcp, ConnectRequestResponse, OpenRequests, PacketRate, RequestResponse

NS, US = 1e3, 1e6
ROUND = {
    "ports.count": 2,
    "ports.rate": 100e9,
    "pcie.rate": 200e9,
    "eswitch.packet_time": 10 * NS,
    "eswitch.pass_time": 20 * NS,
    "eswitch.packet_latency": 2 * US,
    "eswitch.pass_latency": 0.5 * US,
    "eswitch.conntrack_table": 1000,
    "eswitch.flow_table": 4000,
    "eswitch.rules_per_connection": 2,
    "eswitch.insertion_rate": 100e3,
    "eswitch.deletion_rate": 100e3,
    "eswitch.ageing": 1e12,
    "eswitch.queue": 100,
    "slow_path.cores": 8,
    "slow_path.packet_time": 100 * NS,
    "slow_path.pass_time": 200 * NS,
    "slow_path.conntrack_time": 300 * NS,
    "slow_path.tunnel_time": 50 * NS,
    "slow_path.hash_time": 70 * NS,
    "slow_path.handover_latency": 4 * US,
    "slow_path.workload_handovers": 1,
    "slow_path.node_handovers": 2,
    "slow_path.upcall_time": 7 * US,
    "slow_path.install_time": 3 * US,
    "slow_path.upcall_threads": 4,
    "slow_path.conntrack_setup_rate": 1e6,
    "slow_path.pass_instructions": 1000,
    "slow_path.cpi": 2,
    "slow_path.queue": 100,
    "host.segment_rate": 10e6,
    "host.packet_rate": 40e6,
    "host.stream_rate": 40e9,
    "host.latency": 20 * US,
    "host.latency_scv": 0.04,
    "host.network_latency": 6 * US,
    "host.request_instructions": 30000,
    "host.request_cpi": 1,
    "host.frequency": 3e9,
    "encapsulation.overhead": 100,
    "encapsulation.header": 58,
    "encapsulation.underlay_mtu": 1500,
}


def rounded(name: str = "yusur-dpu-2x100g", **other: float) -> HardwareProfile:
    """A shipped profile with the round numbers, and others: `eswitch__pass_time=5.0`."""
    values = {**ROUND, **{path.replace("__", "."): value for path, value in other.items()}}
    profile = shipped()[name]
    if profile.eswitch is None:
        values = {p: v for p, v in values.items() if not p.startswith("eswitch.")}
    else:
        profile = profile.model_copy(update={"eswitch": profile.eswitch.model_copy(update={"crowding": ()})})
    return with_values(profile, values, kind=Kind.ASSUMED, source="test")


CARD = rounded()
CARDS = {"node1": CARD, "node2": CARD}
BOTH = {"node1": True, "node2": True}
NONE = {"node1": False, "node2": False}
EST = program(Phase.ESTABLISHED, Direction.FORWARD)
MOST = PacketRate("most", float("inf"), flows=64)
ONE = RequestResponse("one", 1)


def works(cost: PathCost, chassis: str = "node1") -> dict[Share, float]:
    """Work per resource of one chassis, in nanoseconds."""
    return {d.share: round(d.service_ps / NS, 6) for d in cost.demands if d.chassis == chassis}


def test_offloaded_packet() -> None:
    cost = path_cost(EST, CARDS, BOTH, 60)
    wire = (60 + 58 + 24) * 8 / 100  # ns at 100 Gbit/s
    assert works(cost) == {Share.HOST: 25, Share.PORTS_OUT: wire, Share.PCIE_OUT: 60 * 8 / 200, Share.ESWITCH: 30}
    assert works(cost, "node2").keys() == {Share.HOST, Share.PORTS_IN, Share.PCIE_IN, Share.ESWITCH}
    assert cost.latency_ps == 20 * US + 2 * 0.5 * US  # one further pass at each end
    assert cost.limit.share is Share.ESWITCH
    assert cost.packets_per_s == pytest.approx(1e9 / 30)
    assert cost.software_passes == {}


def test_software_packet() -> None:
    cost = path_cost(EST, CARDS, NONE, 60)
    slow = 100 + 2 * 200 + 300 + 50
    assert works(cost)[Share.SLOW_PATH] == slow
    assert works(cost)[Share.ESWITCH] == 10
    assert works(cost)[Share.PCIE_OUT] == pytest.approx((60 + 58) * 8 / 200)  # OVS on the host sees the tunnel
    assert cost.latency_ps == pytest.approx(20 * US + 2 * slow * NS + 2 * 4 * US)
    assert cost.packets_per_s == pytest.approx(8 * 1e9 / slow)
    assert cost.software_passes == {"node1": 2, "node2": 2}


def test_node_client_has_another_hop() -> None:
    pod = path_cost(EST, CARDS, NONE, 60)
    node = path_cost(program(Phase.ESTABLISHED, Direction.FORWARD, "Node"), CARDS, NONE, 60)
    assert node.latency_ps - pod.latency_ps == pytest.approx(4 * US)
    assert node.demands == pod.demands
    assert path_cost(program(Phase.ESTABLISHED, Direction.FORWARD, "Node"), CARDS, BOTH, 60).latency_ps == 21 * US


def test_first_packet() -> None:
    cost = path_cost(program(Phase.FIRST, Direction.FORWARD), CARDS, NONE, 60, installs=["node1"])
    assert works(cost)[Share.SLOW_PATH] == 100 + 3 * 200 + 2 * 300 + 50 + 1000
    assert works(cost)[Share.UPCALL] == 3 * (7000 + 3000)
    assert works(cost)[Share.INSERTION] == 2 * 10_000
    assert Share.INSERTION not in works(cost, "node2")
    assert cost.latency_ps == pytest.approx((20 + 2.35 + 2.15 + 30 + 20 + 8) * US)


def test_warm_datapath_misses_flows_of_the_connection_only() -> None:
    """As northd's flows have it: the pass that chooses a backend looks at the client's port, others do not."""
    flow = LogicalFlow((), "ingress", 0, "", 0, "", "")

    def examining(one: Pass, *fields: tuple[str, bool]) -> Pass:
        return replace(one, examined=tuple(Examined(field, masked, "", "", flow) for field, masked in fields))

    cold = program(Phase.FIRST, Direction.FORWARD)
    near, far = cold.visits
    seen = [examining(p, ("ip4.dst", False), ("tcp.dst", False), ("tcp.src", True)) for p in near.passes]
    seen[1] = examining(near.passes[1], ("tcp.src", False))
    shared = tuple(examining(p, ("eth.dst", False)) for p in far.passes)
    known = replace(cold, visits=(replace(near, passes=tuple(seen)), replace(far, passes=shared)))
    assert works(path_cost(known, CARDS, NONE, 60))[Share.UPCALL] == 3 * 10_000
    warm = path_cost(known, CARDS, NONE, 60, warm=True)
    assert works(warm)[Share.UPCALL] == 10_000
    assert Share.UPCALL not in works(warm, "node2")
    back = examining(near.passes[0], ("tcp.src", False))
    assert own_flow(back, Direction.FORWARD)
    assert not own_flow(back, Direction.REPLY)


def test_hash_costs() -> None:
    hashing = Pass((Operation(Op.LOOKUP), Operation(Op.DP_HASH)))
    visits = (replace(EST.visits[0], passes=(hashing, *EST.visits[0].passes)), EST.visits[1])
    more = path_cost(replace(EST, visits=visits), CARDS, NONE, 60)
    assert works(more)[Share.SLOW_PATH] - works(path_cost(EST, CARDS, NONE, 60))[Share.SLOW_PATH] == 200 + 70


def test_baseline_is_host_latency_and_one_pass() -> None:
    forward = bare_programs("node1", "node2")[2]
    assert (forward.phase, forward.direction) == (Phase.ESTABLISHED, Direction.FORWARD)
    cost = path_cost(forward, CARDS, {}, 60)
    assert cost.latency_ps == 20 * US
    assert works(cost) == {Share.HOST: 25, Share.PORTS_OUT: (60 + 24) * 8 / 100, Share.PCIE_OUT: 2.4, Share.ESWITCH: 10}


def test_gateway_adds_its_card() -> None:
    through = Visit("gw", Entry.TUNNEL, "tunnel", "", "", EST.visits[1].passes)
    middle = replace(EST, visits=(EST.visits[0], through, EST.visits[1]))
    cards = {**CARDS, "gw": CARD}
    cost = path_cost(middle, cards, {**BOTH, "gw": True}, 60)
    assert cost.latency_ps == 21 * US + 2 * US + 2 * 0.5 * US
    assert Share.HOST not in works(cost, "gw")
    assert {Share.PCIE_IN, Share.PCIE_OUT}.isdisjoint(works(cost, "gw"))
    wire = (60 + 58 + 24) * 8 / 100
    assert [works(cost, "gw")[way] for way in (Share.PORTS_IN, Share.PORTS_OUT)] == [wire, wire]
    slow = works(path_cost(middle, cards, {**NONE, "gw": False}, 60), "gw")
    assert [slow[way] for way in (Share.PCIE_IN, Share.PCIE_OUT)] == [pytest.approx((60 + 58) * 8 / 200)] * 2


def test_one_chassis_has_one_card_and_no_wire() -> None:
    near = Visit("node1", Entry.PORT, "port", "Pod", "Pod", EST.visits[0].passes)
    program = replace(EST, visits=(near,))
    offloaded = path_cost(program, CARDS, BOTH, 60)
    assert offloaded.latency_ps == (20 - 6) * US + 2 * US + 2 * 0.5 * US
    assert {Share.PORTS_IN, Share.PORTS_OUT}.isdisjoint(works(offloaded))
    assert [works(offloaded)[way] for way in (Share.PCIE_OUT, Share.PCIE_IN)] == [2.4, 2.4]  # to the card and back
    assert works(offloaded)[Share.HOST] == 2 * 25
    assert not any("wire" in part.stage for part in offloaded.latency)
    slow = path_cost(program, CARDS, NONE, 60)
    slow_ns = works(slow)[Share.SLOW_PATH]
    assert slow.latency_ps == pytest.approx((20 - 6 + 2 + 0.5 + 2 * 4) * US + slow_ns * NS)  # through representors
    plain = path_cost(program, {"node1": rounded("ovs-kernel")}, {}, 60)
    assert plain.latency_ps == pytest.approx((20 - 6 + 2 * 4) * US + slow_ns * NS)
    tiny = path_cost(program, {"node1": rounded("ovs-kernel", host__latency=5 * US)}, {}, 60)
    assert tiny.latency_ps == pytest.approx(2 * 4 * US + slow_ns * NS)


def test_one_chassis_with_a_client_outside_has_a_wire() -> None:
    visit = Visit("node1", Entry.PORT, "port", "outside", "Pod", EST.visits[0].passes)
    cost = path_cost(replace(EST, visits=(visit,)), CARDS, BOTH, 60)
    assert cost.latency_ps == 20 * US + 0.5 * US
    assert works(cost)[Share.PORTS_IN] == (60 + 24) * 8 / 100
    assert works(cost)[Share.PCIE_IN] == 2.4
    assert {Share.PORTS_OUT, Share.PCIE_OUT}.isdisjoint(works(cost))


def test_client_outside() -> None:
    outside = Visit("node1", Entry.PORT, "tunnel", "outside", "", EST.visits[0].passes)
    cost = path_cost(replace(EST, visits=(outside, EST.visits[1])), CARDS, BOTH, 60)
    assert Share.HOST not in works(cost, "node1")
    assert sum(p.time_ps for p in cost.latency if "host.latency" in p.rests_on) == 20 * US
    assert works(cost)[Share.PORTS_IN] == (60 + 24) * 8 / 100
    assert works(cost)[Share.PORTS_OUT] == (60 + 58 + 24) * 8 / 100
    # host.latency has the cards of the two ends; the gateway's own comes on top, whichever way the packet goes.
    assert cost.latency_ps == 20 * US + (2 + 2 * 0.5) * US + 0.5 * US
    back = Visit("node1", Entry.TUNNEL, "port", "", "outside", EST.visits[0].passes)
    near = Visit("node2", Entry.PORT, "tunnel", "Pod", "", EST.visits[1].passes)
    assert path_cost(replace(EST, visits=(near, back)), CARDS, BOTH, 60).latency_ps == cost.latency_ps
    plain = {"node1": rounded("ovs-kernel"), "node2": rounded("ovs-kernel")}
    slow = path_cost(replace(EST, visits=(outside, EST.visits[1])), plain, {}, 60)
    slow_ns = works(slow)[Share.SLOW_PATH] + works(slow, "node2")[Share.SLOW_PATH]
    assert slow.latency_ps == pytest.approx((20 + 6 + 4) * US + slow_ns * NS)


def test_few_flows_use_few_cores() -> None:
    for flows in (1, 3, 100):
        slow = next(d for d in path_cost(EST, CARDS, NONE, 60, flows=flows).demands if d.share is Share.SLOW_PATH)
        assert slow.servers == min(flows, 8)


def test_crowding_is_linear_between_points() -> None:
    chip = shipped()["yusur-dpu-2x100g"].eswitch
    assert chip is not None
    points = [(c.entries.value, c.slowdown.value) for c in chip.crowding]
    assert [crowding(chip, e) for e, _ in points] == [s for _, s in points]
    (a, x), (b, y) = points
    assert crowding(chip, (a + b) / 2) == pytest.approx((x + y) / 2)
    assert crowding(chip, 0) == 1
    assert crowding(chip, 10 * b) == y


def test_tables() -> None:
    chip = CARD.eswitch
    assert chip is not None
    assert table_state(chip, 1000, 0).share == 1
    assert table_state(chip, 4000, 0).share == 0.25
    assert table_state(chip, 4000, 0).entries == 2000
    assert table_state(chip, 0, 1000).connections == 1000  # one second of ageing
    assert table_state(chip, 0, 1000, closed=1.0).connections == 500  # half a second until a sweep finds the FIN
    assert table_state(chip, 0, 1000, closed=0.5).connections == 750
    assert table_state(chip.model_copy(update={"teardown": None}), 0, 1000, closed=1.0).connections == 1000
    slow = rounded(eswitch__insertion_rate=1000.0).eswitch
    assert slow is not None
    assert table_state(slow, 0, 700).share == pytest.approx(1000 / 1400)
    assert "put in" in table_state(slow, 0, 700).why


def test_software_has_limits_too() -> None:
    slow = CARD.slow_path
    room = slow.conntrack_limit.value
    assert software_notes(slow, room, 0, 5) == ()
    assert "50.0% of its connections fail" in software_notes(slow, 2 * room, 0, 5)[0]
    new = slow.flow_limit.value / 5 / (slow.idle.value / 1e12)
    assert software_notes(slow, 1, 0.99 * new, 5) == ()
    assert "OVS stops putting flows in" in software_notes(slow, 1, 1.01 * new, 5)[0]
    flows = PacketRate("many", 1e6, flows=int(4 * room))
    found = predict(path(), (), CARDS, flows, assume=Outcome.SOFTWARE, intervals=False)
    assert [note.split(":")[0] for note in found.notes] == ["node1", "node2"]


def test_host_cores_are_a_limit() -> None:
    few = rounded(host__cores=2.0, slow_path__cores=2.0)
    cards = {"node1": few, "node2": few}
    offloaded = predict(path(), (), cards, RequestResponse("many", 500), assume=Outcome.OFFLOADED, intervals=False)
    assert offloaded.limit == "host cores of node1"
    assert offloaded[Metric.REQUEST_RATE].value == pytest.approx(2 / 10e-6, rel=0.01)  # 30,000 cycles at 3 GHz each
    software = predict(path(), (), cards, RequestResponse("many", 500), assume=Outcome.SOFTWARE, intervals=False)
    assert software[Metric.REQUEST_RATE].value == pytest.approx(2 / (10e-6 + 2 * 0.85e-6), rel=0.01)
    assert software[Metric.HOST_CORES].value == pytest.approx(4, rel=0.01)


def test_connections_beyond_the_table_take_software() -> None:
    flows = PacketRate("many", float("inf"), flows=4000)
    found = predict(path(), (), CARDS, flows, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    slow = 100 + 2 * 200 + 300 + 50
    assert found[Metric.PACKET_RATE].value == pytest.approx(8e3 / (0.75 * slow))
    assert found.limit == "slow path of node1"
    assert "75.0% of its connections stay in software" in found.notes[0]


def test_bulk_tcp() -> None:
    many = BulkTcp("bulk", 64, window_segments=None)
    base = predict(bare_programs("node1", "node2"), (), CARDS, many, intervals=False)
    assert base[Metric.BANDWIDTH].value == pytest.approx(10e6 * 1448 * 8 / 1e9)
    tunnel = predict(path(), (), CARDS, many, assume=Outcome.OFFLOADED, intervals=False)
    assert tunnel[Metric.BANDWIDTH].value == pytest.approx(10e6 * 1348 * 8 / 1e9)
    assert tunnel.limit == "host stack of node1"
    one = predict(path(), (), CARDS, replace(many, streams=1), assume=Outcome.OFFLOADED, intervals=False)
    assert one[Metric.BANDWIDTH].value == pytest.approx(40)
    assert one.limit == "1 streams on node1"
    window = BulkTcp("bulk", 1, window_segments=4)
    small = predict(path(), (), CARDS, window, assume=Outcome.OFFLOADED, intervals=False)
    assert small[Metric.PACKET_RATE].value == pytest.approx(4 / 42)
    assert small.limit == "windows of 1 streams"


def test_jumbo_underlay_takes_nothing_off() -> None:
    jumbo = rounded(encapsulation__underlay_mtu=9000.0)
    many = BulkTcp("bulk", 64, window_segments=None)
    cards = {"node1": jumbo, "node2": jumbo}
    found = predict(path(), (), cards, replace(many, mtu_bytes=1500), assume=Outcome.OFFLOADED, intervals=False)
    assert found[Metric.BANDWIDTH].value == pytest.approx(10e6 * 1448 * 8 / 1e9)
    # The interfaces follow the underlay, if nobody says another MTU: 160 Gbit/s of PCIe's 200 are what a card's ports carry.
    found = predict(path(), (), cards, many, assume=Outcome.OFFLOADED, intervals=False)
    segment, frame = 8900 - 52, 8900 + 14
    assert found.limit.startswith("sending ports") or found.limit.startswith("PCIe")
    assert found[Metric.PACKET_RATE].value * 1e6 * 8 * (frame + 24) < 200e9
    assert found[Metric.BANDWIDTH].value == pytest.approx(found[Metric.PACKET_RATE].value * 8e-3 * segment)


def test_requests_of_one_client_are_the_inverse_of_the_round_trip() -> None:
    found = predict(path(), (), CARDS, ONE, assume=Outcome.SOFTWARE, intervals=False)
    assert found.reply is not None
    trip = found.forward.latency_ps + found.reply.latency_ps
    assert found[Metric.REQUEST_RATE].value == pytest.approx(1e12 / trip)
    assert found[Metric.LATENCY].value == pytest.approx(trip / 2 / US)
    assert found[Metric.LATENCY_P50].value < found[Metric.LATENCY].value < found[Metric.LATENCY_P99].value
    assert found.limit == ""
    assert found[Metric.INSTRUCTIONS].value == 30000 + 4 * 1000
    assert found[Metric.CPI].value == pytest.approx((30000 + 4 * 2000) / 34000)


def test_many_clients_reach_the_limit() -> None:
    found = predict(path(), (), CARDS, RequestResponse("many", 2000), assume=Outcome.SOFTWARE, intervals=False)
    both_ways = 2 * (100 + 2 * 200 + 300 + 50)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(8e9 / both_ways, rel=0.02)
    assert found.limit == "slow path of node1"
    assert found[Metric.HOST_CORES].value == pytest.approx(
        16 + 2 * found[Metric.REQUEST_RATE].value * 30000 / 3e9, rel=0.03
    )


def test_card_cores_are_a_dpus() -> None:
    dpu = rounded("bluefield-2")
    assert dpu.slow_path.runs_on == "card"
    cards = {"node1": dpu, "node2": dpu}
    found = predict(path(), (), cards, MOST, assume=Outcome.SOFTWARE, intervals=False)
    assert (found[Metric.HOST_CORES].value, found[Metric.CARD_CORES].value) == pytest.approx((0, 16))
    asked = predict(path(), (), cards, ONE, assume=Outcome.SOFTWARE, intervals=False)
    assert asked[Metric.INSTRUCTIONS].value == 30000


def test_new_connection_per_request_pays_the_handshake() -> None:
    roomy = rounded(eswitch__conntrack_table=1e6, eswitch__flow_table=4e6)
    cards = {"node1": roomy, "node2": roomy}
    kept = predict(path(), (), cards, ONE, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    load = ConnectRequestResponse("new", 1)
    new = predict(path(), (), cards, load, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    small = predict(path(), (), CARDS, load, assume=Outcome.FIRST_SOFTWARE, intervals=False)
    first = [path_cost(program(Phase.FIRST, d), CARDS, NONE, 60, installs=list(CARDS)).latency_ps for d in Direction]
    trip = 1e12 / kept[Metric.REQUEST_RATE].value
    # The first request goes through software; its answer finds the rules, which take 20 us to be put in.
    later = path_cost(EST, CARDS, NONE, 60).latency_ps - path_cost(EST, CARDS, BOTH, 60).latency_ps
    assert 1e12 / new[Metric.REQUEST_RATE].value == pytest.approx(trip + later + sum(first))
    assert small[Metric.REQUEST_RATE].value < new[Metric.REQUEST_RATE].value  # old connections fill the table
    assert "places in its tables" in small.notes[0]


def test_waits_of_poisson_packets_are_those_of_md1() -> None:
    quiet = rounded(host__packet_rate=1e12, ports__rate=1e15, pcie__rate=1e15, host__latency_scv=0.0)
    cards = {"node1": quiet, "node2": quiet}
    rate = 0.6 / 30e-9
    load = PacketRate("poisson", rate, flows=64, poisson=True)
    found = predict(path(), (), cards, load, assume=Outcome.OFFLOADED, intervals=False)
    wait = 0.6 * 30e-3 / (2 * 0.4)
    assert found[Metric.LATENCY].value == pytest.approx(21 + 2 * wait, rel=1e-3)
    assert found.utilisation["eswitch of node1"] == pytest.approx(0.6)
    even = predict(path(), (), cards, replace(load, poisson=False), assume=Outcome.OFFLOADED, intervals=False)
    assert even[Metric.LATENCY].value == pytest.approx(21)


def test_overload_loses_what_the_limit_does_not_carry() -> None:
    load = PacketRate("too many", 2 * 1e9 / 30, flows=64)
    found = predict(path(), (), CARDS, load, assume=Outcome.OFFLOADED, intervals=False)
    assert found[Metric.LOSS].value == pytest.approx(0.5)
    assert found.limit == "eswitch of node1"
    assert found[Metric.LATENCY].value == pytest.approx(21 + 100 * 0.03)  # a full queue


@pytest.mark.parametrize("frames", [2, 10, 700])
def test_one_client_waits_for_the_path_however_many_frames_its_request_has(frames: int) -> None:
    """Frames follow one another: the work of all resources together is more than what one request takes."""
    one = RequestResponse("large", 1, size_bytes=Constant(frames * 1348))
    found = predict(path(), (), CARDS, one, assume=Outcome.OFFLOADED, intervals=False)
    assert found.reply is not None
    trip_ps = found.forward.latency_ps + found.reply.latency_ps
    assert found[Metric.REQUEST_RATE].value == pytest.approx(1e12 / trip_ps)
    assert found[Metric.LATENCY].value == pytest.approx(trip_ps / 2 / US)
    more = [
        predict(path(), (), CARDS, replace(one, clients=n), assume=Outcome.OFFLOADED, intervals=False)
        for n in (2, 20, 64, 500, 900)
    ]
    rates = [each[Metric.REQUEST_RATE].value for each in more]
    assert rates == sorted(rates)
    total = more[-1].total  # a single connection has one port of two
    assert total is not None
    most = min(1e12 * d.servers / d.service_ps for d in total.demands)
    assert 0.98 * most < rates[-1] <= most


def test_one_client_more_makes_little_difference() -> None:
    """Where the narrowest resource is just busy, which is where an approximation is worst; 5000 are the steps of a recursion."""
    card = rounded(host__packet_rate=1e6)
    found = [
        predict(
            path(),
            (),
            {"node1": card, "node2": card},
            RequestResponse("r", clients, Constant(10e9)),
            assume=Outcome.OFFLOADED,
            intervals=False,
        )[Metric.LATENCY].value
        for clients in (4999, 5000, 5001, 5002)
    ]
    steps = [after - before for before, after in pairwise(found)]
    assert steps == pytest.approx([steps[0]] * 3, rel=0.03)


def test_overload_has_a_latency_only_where_the_full_queue_has_an_end() -> None:
    """The host's queue has none: nothing says how long it gets, whatever one packet takes."""
    narrow = rounded(host__packet_rate=1e6)
    cards = {"node1": narrow, "node2": narrow}
    few, many = (PacketRate("p", rate, flows=64, poisson=True) for rate in (0.999e6, 1.001e6))
    below = predict(path(), (), cards, few, assume=Outcome.OFFLOADED, intervals=False)
    above = predict(path(), (), cards, many, assume=Outcome.OFFLOADED, intervals=False)
    assert below[Metric.LATENCY].value > 400
    assert above.limit.startswith(Share.HOST)
    assert not {v.metric for v in above.values} & {Metric.LATENCY, Metric.LATENCY_P50, Metric.LATENCY_P99}
    assert above[Metric.LOSS].value == pytest.approx(0.001, rel=0.01)
    assert any("no latency is given" in note for note in above.notes)


def test_overloaded_requests_say_that_fewer_are_answered() -> None:
    load = OpenRequests("open", Exponential(1e12 / 1e8), Constant(64), connections=10)
    found = predict(path(), (), CARDS, load, assume=Outcome.OFFLOADED, intervals=False)
    assert found.limit
    assert any("fewer are answered" in note for note in found.notes)
    calm = replace(load, gap_ps=Exponential(1e12 / 1e3))
    assert predict(path(), (), CARDS, calm, assume=Outcome.OFFLOADED, intervals=False).notes == ()


def test_open_requests() -> None:
    load = OpenRequests("open", Exponential(1e12 / 1000), Constant(64), connections=10)
    found = predict(path(), (), CARDS, load, assume=Outcome.OFFLOADED, intervals=False)
    assert found[Metric.REQUEST_RATE].value == pytest.approx(1000)
    assert found[Metric.LATENCY].value == pytest.approx(21, rel=1e-3)
    large = predict(
        path(), (), CARDS, replace(load, size_bytes=Constant(10 * 1348)), assume=Outcome.OFFLOADED, intervals=False
    )
    wire = (1348 + 52 + 14 + 58 + 24) * 8 / 100e3  # us; the limit here, on one of two ports per frame
    assert large[Metric.LATENCY].value == pytest.approx(21 + 9 * max(wire / 2, 1414 * 8 / 200e3), rel=1e-3)


def test_kube_proxy() -> None:
    name = "kube-proxy-iptables"
    card = with_values(
        rounded(name),
        {
            "service_proxy.first_packet_time": 2 * US,
            "service_proxy.service_time": 0.01 * US,
            "service_proxy.established_time": 0.5 * US,
            "encapsulation.overhead": 0,
        },
        kind=Kind.ASSUMED,
        source="test",
    )
    cards = {"node1": card, "node2": card}
    later = path_cost(proxied(EST), cards, {}, 60)
    assert works(later)[Share.SLOW_PATH] == 100 + 500
    assert works(later, "node2")[Share.SLOW_PATH] == 100
    first = path_cost(proxied(program(Phase.FIRST, Direction.FORWARD)), cards, {}, 60, services=1000)
    assert works(first)[Share.SLOW_PATH] == 100 + 2000 + 10_000
    answer = path_cost(proxied(program(Phase.FIRST, Direction.REPLY)), cards, {}, 60, services=1000)
    assert works(answer)[Share.SLOW_PATH] == 100 + 500
    found = predict(path(), (), cards, BulkTcp("bulk", 64, window_segments=None), intervals=False)
    assert found[Metric.BANDWIDTH].value == pytest.approx(10e6 * 1448 * 8 / 1e9)
    with pytest.raises(InvalidInput, match="runs no OVS"):
        path_cost(EST, cards, {}, 60)


def test_backends_share_the_load() -> None:
    def to(backend: str, chassis: str, one: Program) -> Program:
        visits = tuple(replace(v, chassis=chassis if v.chassis == "node2" else v.chassis) for v in one.visits)
        return replace(one, backend=backend, visits=visits)

    slow = rounded(slow_path__cores=2.0)
    both = [to("a", "node2", p) for p in path()] + [to("b", "node3", p) for p in path()]
    cards = {**CARDS, "node3": slow}
    found = predict(both, (), cards, MOST, assume=Outcome.SOFTWARE, intervals=False)
    assert found[Metric.PACKET_RATE].value == pytest.approx(2 * 2e3 / 850)  # half of it goes to node3
    assert found.limit == "slow path of node3"


def test_percentiles_are_of_a_mixture_of_paths() -> None:
    near = Visit("node1", Entry.PORT, "port", "Pod", "Pod", EST.visits[0].passes)
    local = [replace(p, backend="near", visits=(near,)) for p in path() if p.phase is Phase.ESTABLISHED]
    remote = [p for p in path() if p.phase is Phase.ESTABLISHED]
    cards = {name: rounded("ovs-kernel", host__latency_scv=0.0) for name in ("node1", "node2")}
    slow = 2 * 850 * NS  # of the two nodes; the near path pays it once
    far_us, near_us = (20 * US + slow + 8 * US) / US, (14 * US + slow / 2 + 8 * US) / US
    found = predict([*remote, *local], (), cards, RequestResponse("few", 2), intervals=False)
    assert found[Metric.LATENCY].value == pytest.approx((far_us + near_us) / 2, rel=1e-3)
    assert found[Metric.LATENCY_P99].value == pytest.approx(far_us, rel=3e-3)  # the two meet now and then
    one = predict([*remote, *local], (), cards, RequestResponse("one", 1), intervals=False)
    assert one[Metric.LATENCY_P99].value == pytest.approx((far_us + near_us) / 2, rel=1e-6)


def test_intervals_come_from_the_numbers() -> None:
    span = {"host.latency": (18 * US, 26 * US), "eswitch.pass_latency": (0.5 * US, 0.5 * US)}
    values = {path: ROUND[path] for path in span}
    card = with_values(CARD, values, kind=Kind.CALIBRATED, source="test", intervals=span)
    found = predict(path(), (), {"node1": card, "node2": card}, ONE, assume=Outcome.OFFLOADED)
    latency = found[Metric.LATENCY]
    assert (latency.low, latency.value, latency.high) == pytest.approx((19, 21, 27))
    assert f"{card.name}.host.latency (calibrated)" in found.rests_on
    assert not any("slow_path" in number for number in found.rests_on)


def test_intervals_end_at_what_is_offered() -> None:
    """Of a load near the limit, whose numbers' errors add up to more than there is."""
    card = shipped()["ovs-kernel"]
    for rate in (8e6, 30e6):
        found = predict(path(), (), {"node1": card, "node2": card}, PacketRate("some", rate, flows=1000))
        assert found[Metric.PACKET_RATE].high <= rate / 1e6
        assert found[Metric.LOSS].high <= 1


@pytest.mark.parametrize("rate", [0.3e6, 0.99e6, 1.5e6])
def test_intervals_of_latencies_do_not_contradict_each_other(rate: float) -> None:
    """A wait that one number takes away whole, a second one cannot take away again; near the limit there is no upper end."""
    span = {"host.packet_rate": (0.8e6, 3e6), "host.latency": (18 * US, 26 * US), "pcie.rate": (0.5e9, 200e9)}
    values = {"host.packet_rate": 1e6, "host.latency": 20 * US, "pcie.rate": 0.9e9}
    card = with_values(CARD, values, kind=Kind.CALIBRATED, source="test", intervals=span)
    for load in (PacketRate("p", rate, 64, poisson=True), RequestResponse("r", 3000)):
        found = predict(path(), (), {"node1": card, "node2": card}, load, assume=Outcome.OFFLOADED)
        known = {v.metric: v for v in found.values}
        if Metric.LATENCY not in known:
            continue
        mean, median, tail = (known[m] for m in (Metric.LATENCY, Metric.LATENCY_P50, Metric.LATENCY_P99))
        assert tail.low >= max(mean.low, median.low)
        assert tail.high >= max(mean.high, median.high)
        assert mean.low >= 18 + 1  # unloaded, with the stacks at their lower end
        assert all(v.low <= v.value <= v.high for v in found.values)
        if rate == 0.99e6 and isinstance(load, PacketRate):
            assert any("without end" in note for note in found.notes)


def test_nodes_of_one_profile_keep_what_is_their_own() -> None:
    span = {"host.segment_rate": (9e6, 11e6), "host.latency": (18 * US, 26 * US)}
    values = {path: ROUND[path] for path in span}
    fast = with_values(CARD, values, kind=Kind.ASSUMED, source="test", intervals=span)
    for one in ("node1", "node2"):
        narrow = with_values(fast, {"ports.count": 1, "ports.rate": 25e9}, kind=Kind.DATASHEET, source="test")
        cards = {"node1": fast, "node2": fast, one: narrow}
        found = predict(path(), (), cards, BulkTcp("bulk", 64, window_segments=None), assume=Outcome.OFFLOADED)
        assert found.limit == f"{Share.PORTS_OUT if one == 'node1' else Share.PORTS_IN} of {one}"
        bandwidth = found[Metric.BANDWIDTH]
        assert bandwidth.low == bandwidth.value == bandwidth.high


def test_prints_itself() -> None:
    text = str(predict(path(), (), CARDS, ONE, assume=Outcome.SOFTWARE))
    for part in (
        "requests",
        "slow path of node1",
        "handover at the Pod port of node2",
        "2 passes, 1 conntrack look-up",
    ):
        assert part in text
    assert "host.latency (assumed)" in text


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: predict(path(), (), {"node1": CARD}, ONE), "no hardware profile"),
        (lambda: predict(path(), (), CARDS, ONE), "no offload verdict for node1"),
        (lambda: predict([EST], (), CARDS, ONE, assume=Outcome.SOFTWARE), "no program for established reply"),
        (lambda: predict([], (), CARDS, ONE), "no program"),
        (lambda: predict([replace(EST, delivered=False)], (), CARDS, ONE), "does not arrive"),
        (
            lambda: path_cost(EST, {c: rounded("ovs-kernel") for c in CARDS}, BOTH, 60),
            "has no eSwitch",
        ),
        (
            lambda: predict(path(), (), {"node1": CARD, "node2": shipped()["kube-proxy-ipvs"]}, ONE),
            "kube-proxy on others",
        ),
    ],
)
def test_says_what_is_wrong(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        make()


def test_so_many_ports_that_hardly_any_packet_waits() -> None:
    """Erlang's C of 45 servers at 1e-5 of one is far below what a square of it can say."""
    card = with_values(CARD, {"ports.count": 45}, kind=Kind.ASSUMED, source="test")
    load = OpenRequests("seldom", Exponential(1e10), Constant(64), 44)
    found = predict(path(), (), {"node1": card, "node2": card}, load, assume=Outcome.OFFLOADED, intervals=False)
    assert found[Metric.LATENCY_P50].value <= found[Metric.LATENCY_P99].value < 1.5 * found[Metric.LATENCY].value
