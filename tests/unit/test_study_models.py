"""Models beside `path`: sizing against the cluster room, choice of backends against arithmetic, neighbours against one path."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tests.study_cases import article_job
from ytwin import pipeline
from ytwin.cluster import Resource, Size, capacity, offered, parse_traffic
from ytwin.cluster.types import RESOURCES
from ytwin.core.errors import InvalidInput, YtwinError
from ytwin.datapath.groups import slot_table
from ytwin.hardware import shipped
from ytwin.performance import predict
from ytwin.sim.streams import Streams
from ytwin.sim.workloads import PacketRate
from ytwin.study.balance import choice_of, moved
from ytwin.study.definition import decode_study
from ytwin.study.designs import variants
from ytwin.study.evaluate import Job, Memory, evaluate, scene_of
from ytwin.study.points import Asking, Inputs
from ytwin.study.sizing import Plan, sizing

CARD = "article-dpu-2x100g"
OPEN = "{kind: open, rate: 10 M/s, connections: 100000}"
PACKETS = "{kind: packets, rate: 1 Mpps, flows: 100, gaps: exponential}"


def computed(body: str, load: str) -> tuple[dict[str, float], dict[str, str]]:
    job = article_job(body, load)
    asking = Asking(job.study, job.base, {})
    return evaluate(job, asking.point(dict(variants(job.study.spec)[0].settings), 0, False), Memory())


def sized(settings: str = "", load: str = OPEN) -> tuple[dict[str, float], dict[str, str]]:
    return computed(f"  model: sizing\n  settings: {{nodes.*.card: {CARD}{settings}}}\n", load)


def test_a_sized_cluster_is_as_busy_as_the_cluster_room_says():
    nodes = int(sized()[0]["nodes"])
    whole = pipeline.generated_cluster(Size(nodes, services=200, backends=40), shipped()[CARD])
    found = capacity(whole, offered(whole, parse_traffic(f"requests={10_000 / 200} k/s,size=64 B,connections=500")))
    mean = float(found.now.shares[:, RESOURCES.index(Resource.CORES)].mean())
    # Sizing leaves out calls within a node, one in so many, and its number of nodes is a whole one.
    assert mean == pytest.approx(0.7, rel=2 / nodes)


def test_nodes_grow_with_the_rate_and_are_the_fewest():
    few, many = sized()[0], sized(load=OPEN.replace("10 M/s", "100 M/s"))[0]
    assert many["nodes"] / few["nodes"] == pytest.approx(10, rel=1 / few["nodes"])
    assert many["host_cores"] == pytest.approx(10 * few["host_cores"], rel=1e-3)
    # 64 cores per node, busy to 70 %.
    assert few["nodes"] == np.ceil(few["host_cores"] / (64 * 0.7))


def test_cores_and_money_follow_from_offload():
    fast, slow = sized(", model.cardPrice: 0.2")[0], sized(", model.cardPrice: 0.2, nodes.*.offload: false")[0]
    assert fast["forwarding_cores"] == 0
    assert slow["host_cores"] - slow["forwarding_cores"] == pytest.approx(fast["host_cores"])
    assert fast["nodes_in_software"] == slow["nodes"]
    assert fast["cost"] == pytest.approx(fast["nodes"] * 1.2)
    assert fast["nodes"] * (1 + fast["break_even"]) == pytest.approx(slow["nodes"])
    assert "break_even" not in slow
    # Instructions and cycles of the article's table: 237,869 against 289,674 cycles per request.
    assert fast["counted_cores"] / slow["counted_cores"] == pytest.approx(237_869 / 289_674, abs=0.02)


def test_a_card_that_is_not_there_costs_nothing():
    plain = computed(
        "  model: sizing\n  settings: {nodes.*.card: ovs-kernel, model.nodePrice: 2, model.cardPrice: 0.1}\n", OPEN
    )[0]
    assert plain["cost"] == pytest.approx(2 * plain["nodes"])
    idle = sized(", model.cardPrice: 0.1, nodes.*.offload: false")[0]
    assert idle["cost"] == pytest.approx(1.1 * idle["nodes"])


def test_where_fewer_nodes_would_do_the_path_is_the_limit():
    few, many = sized(load=OPEN.replace("10 M/s", "1 k/s")), sized()
    assert (few[0]["nodes"], few[1]["limit"]) == (2, "the path's own nodes")
    assert many[0]["nodes"] > 2
    assert many[1]["limit"] != "the path's own nodes"


@pytest.mark.parametrize(
    ("settings", "load", "words"),
    [
        ("", "{kind: packets, rate: 1 Mpps}", "requests at a rate"),
        (", model.busy: 0", OPEN, "0"),
        (", model.nodePrice: -1", OPEN, "below 0"),
        (", model.nodePrice: 3 us", OPEN, "no plain number"),
        (", model.keys: 3", OPEN, "no such field"),
        (", nodes.node2.card: bluefield-2", OPEN, "one kind of hardware"),
    ],
)
def test_what_sizing_cannot_use_is_refused(settings: str, load: str, words: str):
    with pytest.raises(InvalidInput, match=words):
        sized(settings, load)


def test_sizing_draws_are_of_numbers_too():
    job = article_job(f"  model: sizing\n  settings: {{nodes.*.card: {CARD}}}\n", OPEN)
    scene = scene_of(job, dict(variants(job.study.spec)[0].settings))
    with pytest.raises(InvalidInput, match="requests at a rate"):
        sizing(scene, PacketRate("p", 1e6), Plan())


def keys(count: int) -> npt.NDArray[np.uint32]:
    return Streams(1).generator("keys").integers(0, 1 << 32, count, dtype=np.uint32)


@pytest.mark.parametrize("backends", [2, 3, 5, 8, 20])
def test_a_hash_moves_what_renumbered_buckets_must(backends: int):
    # Places 0..n-1; the one at k leaves. Winners k < w < n - 1 keep their number, which another backend has now; the last
    # one's keys go to the next best number, evenly: its own backend has n - 2 now.
    n = backends
    each = [(n - 2 - k) / n + (1 - 1 / (n - 1)) / n for k in range(n - 1)]
    assert moved(n, n - 1, True, keys(40_000)) == pytest.approx(sum(each) / n, abs=0.01)


@pytest.mark.parametrize(("before", "after"), [(5, 4), (8, 7), (16, 17), (17, 16)])
def test_dp_hash_moves_what_its_tables_say(before: int, after: int):
    old, new = slot_table((1,) * before), slot_table((1,) * after)
    assert old is not None and new is not None  # noqa: PT018
    larger, slots = max(before, after), max(len(old), len(new))
    total = 0.0
    for place in range(larger):
        names = [[b for b in range(larger) if b != place or n == larger] for n in (before, after)]
        pairs = [(names[0][old[h % len(old)]], names[1][new[h % len(new)]]) for h in range(slots)]
        total += sum(a != b and place not in (a, b) for a, b in pairs) / slots
    assert moved(before, after, False, keys(40_000)) == pytest.approx(total / larger, abs=0.01)


BALANCED = """apiVersion: iaas.yusur.io/v1
kind: Study
metadata: {name: test}
spec:
  question: Does it work?
  topology: {generate: {nodes: 3, vpcs: 1, subnets: 1, services: 1, backends: 5}}
  path: {from: pod0, to: svc0}
  model: balance
  settings: {nodes.*.card: article-dpu-2x100g, MORE}
"""


def balanced(more: str) -> tuple[dict[str, float], dict[str, str]]:
    job = Job(decode_study("study.yaml", BALANCED.replace("MORE", more)), Inputs(), "0")
    asking = Asking(job.study, job.base, {})
    return evaluate(job, asking.point(dict(variants(job.study.spec)[0].settings), 0, False), Memory())


def test_the_choice_is_that_of_the_flow():
    of = "topology.YusurService.svc0.spec.balancing"
    slots, texts = balanced(f"{of}.algorithm: dpHash")
    assert texts["choice"] == "dp_hash, 16 slots"
    assert slots["busiest_share_ratio"] == pytest.approx(4 / 16 * 5, rel=0.03)
    assert slots["upcalls"] == 0
    fields, texts = balanced(f"{of}.algorithm: hash")
    assert texts["choice"] == "hash over ip_dst, ip_src, tcp_dst, tcp_src"
    assert fields["upcalls"] == 1
    assert fields["first_us"] > slots["first_us"]
    clients, texts = balanced(f'"{of}.selectionFields[0]": ipSrc')
    assert texts["choice"] == "hash over ip_src"
    assert clients["upcalls"] == 0  # of a client that has called before


def test_a_list_in_a_topology_grows_by_its_next_item_only():
    with pytest.raises(InvalidInput, match="0 items"):
        balanced('"topology.YusurService.svc0.spec.balancing.selectionFields[1]": ipSrc')


def test_a_path_without_a_choice_says_so():
    job = Job(decode_study("study.yaml", BALANCED.replace("MORE", "")), Inputs(), "0")
    scene = scene_of(job, {"nodes.*.card": CARD})
    with pytest.raises(YtwinError, match="nothing chooses a backend"):
        choice_of(tuple(p for p in scene.programs if p.phase.value != "first packet"))


def beside(settings: str, load: str = PACKETS) -> dict[str, float]:
    return computed(f"  model: neighbour\n  settings: {{nodes.*.card: {CARD}, {settings}}}\n", load)[0]


def test_nobody_beside_it_is_the_path_alone():
    found = beside("model.rate: 0 pps")
    job = article_job(f"  settings: {{nodes.*.card: {CARD}}}\n", PACKETS)
    scene = scene_of(job, {"nodes.*.card": CARD})
    alone = PacketRate("p", 1e6, 100, 64, poisson=True)
    said = {
        v.metric.value: v.value
        for v in predict(scene.programs, scene.verdicts, scene.cards, alone, intervals=False).values
    }
    most = predict(scene.programs, scene.verdicts, scene.cards, PacketRate("p", float("inf"), 100, 64), intervals=False)
    assert found["latency_us"] == pytest.approx(said["latency_us"], rel=1e-6)
    assert found["capacity_mpps"] == pytest.approx({v.metric.value: v.value for v in most.values}["packet_rate_mpps"])
    assert found["loss_ratio"] == found["other_cores"] == 0


def test_the_same_packets_beside_it_are_its_own():
    both, alone = beside("model.rate: 3 Mpps"), beside("model.rate: 0 pps", PACKETS.replace("1 Mpps", "4 Mpps"))
    assert both["latency_us"] == pytest.approx(alone["latency_us"])
    assert both["capacity_mpps"] == pytest.approx(alone["capacity_mpps"] - 3)
    assert both["other_mpps"] == pytest.approx(3)


def test_beyond_the_limit_packets_are_lost_and_cores_are_all_there_are():
    found = beside("nodes.*.offload: false, model.rate: 30 Mpps")
    assert found["capacity_mpps"] == found["new_connections_per_s"] == 0
    assert found["loss_ratio"] == pytest.approx(1 - found["other_mpps"] / 30)
    little = beside("nodes.*.offload: false, model.rate: 1 Mpps")
    assert little["loss_ratio"] == 0
    # Lost packets are not worked on, so cores are in proportion to what gets through, and no node has more than there are.
    assert found["other_cores"] == pytest.approx(little["other_cores"] * found["other_mpps"])
    assert found["other_cores"] < 2 * shipped()[CARD].slow_path.cores.value


@pytest.mark.parametrize(
    ("settings", "load", "words"),
    [
        ("model.rate: 3 us", PACKETS, "no rate of packets"),
        ("model.to: ysvc1", PACKETS, "no rate of packets"),
        ("model.rate: 1 Mpps", "{kind: packets, rate: max}", "packets at a rate"),
        ("model.rate: 1 Mpps", "{kind: rr, clients: 1}", "packets at a rate"),
    ],
)
def test_what_neighbours_cannot_use_is_refused(settings: str, load: str, words: str):
    with pytest.raises(InvalidInput, match=words):
        beside(settings, load)


def test_a_model_field_needs_a_model():
    with pytest.raises(InvalidInput, match="takes nothing"):
        article_job("  settings: {model.busy: 0.5}\n")
