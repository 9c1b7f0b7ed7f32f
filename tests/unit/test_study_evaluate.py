"""Points on the twin: settings reach topology, cards, numbers and load, whatever was computed before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.study_cases import HEAD, article_job, job_of
from ytwin.core.errors import YtwinError
from ytwin.generate import generate
from ytwin.resources.model import Pod, YusurService
from ytwin.study.designs import variants
from ytwin.study.evaluate import Job, Memory, check_inputs, evaluate, scene_of
from ytwin.study.points import Asking


def computed(job: Job, memory: Memory | None = None) -> list[tuple[dict[str, float], dict[str, str]]]:
    asking = Asking(job.study, job.base, {})
    points = [asking.point(dict(v.settings), 0, False) for v in variants(job.study.spec)]
    return [evaluate(job, point, memory or Memory()) for point in points]


def one(settings: str, load: str = "{kind: packets, rate: max, flows: 100}") -> dict[str, float]:
    return computed(article_job(f"  settings: {{{settings}}}", load))[0][0]


MANY = """
  parameters:
  - {path: nodes.*.card, name: card, values: [ovs-kernel, connectx-6-dx, kube-proxy-ipvs, yusur-dpu-2x100g]}
  - {path: nodes.*.offload, name: offload, values: [true, false]}
  - {path: services.count, values: [1, 3]}
"""


def test_what_was_computed_before_changes_nothing():
    job, memory = article_job(MANY), Memory()
    together = computed(job, memory)
    assert together == computed(job)
    assert together == computed(job, memory)


def test_cards_are_objects_of_the_topology_so_that_rows_follow_them():
    scene = scene_of(article_job(""), {"nodes.*.card": "ovs-kernel"})
    assert {card.name for card in scene.cards.values()} == {"ovs-kernel"}
    assert any("ct.inv" in flow.match for flow in scene.twin.southbound.flows)
    scene = scene_of(article_job(""), {"nodes.*.card": "connectx-6-dx"})
    assert not any("ct.inv" in flow.match for flow in scene.twin.southbound.flows)
    assert scene.cards["node1"].ports.count.value > 0


def test_offload_is_switched_per_node():
    slow, fast = one("nodes.*.offload: false"), one("nodes.*.offload: true")
    assert slow["packet_rate_mpps"] < fast["packet_rate_mpps"]
    mixed = scene_of(article_job(""), {"nodes.node2.offload": False})
    assert [c.spec.hw_offload for c in _cards(mixed)] == [True, False]


@pytest.mark.parametrize("pattern", ["*", "node?", "node[12]", "*1"])
def test_a_whole_name_counts_before_a_pattern(pattern: str):
    scene = scene_of(article_job(""), {f"nodes.{pattern}.card": "ovs-kernel", "nodes.node1.card": "connectx-6-dx"})
    assert scene.cards["node1"].name == "connectx-6-dx"
    assert scene.cards["node2"].name != "connectx-6-dx"


def test_a_whole_name_of_an_object_counts_before_a_pattern():
    dpus = "topology.NetworkCard.{}.spec.hwOffload"
    scene = scene_of(article_job(""), {dpus.format("node?-dpu"): False, dpus.format("node1-dpu"): True})
    assert [c.spec.hw_offload for c in _cards(scene)] == [True, False]


def test_of_patterns_the_one_with_more_letters_counts_and_equals_are_refused():
    scene = scene_of(article_job(""), {"nodes.node?.card": "ovs-kernel", "nodes.*.card": "connectx-6-dx"})
    assert scene.cards["node1"].name == "ovs-kernel"
    with pytest.raises(YtwinError, match="'nod\\?1' names node1, too, as exactly"):
        scene_of(article_job(""), {"nodes.node?.card": "ovs-kernel", "nodes.nod?1.card": "connectx-6-dx"})


def test_profiles_are_named_by_patterns():
    base = "nodes.*.card: ovs-kernel"
    assert one(f"{base}, cards.ovs-*.slow_path.pass_time: 100 us") == one(f"{base}, card.slowPath.passTime: 100 us")
    special = "cards.ovs-kernel.slow_path.pass_time: 100 us"
    assert one(f"{base}, cards.ovs-?erne?.slow_path.pass_time: 1 us, {special}") == one(f"{base}, {special}")
    with pytest.raises(YtwinError, match="no node has the profile 'dpdk-\\*'"):
        one(f"{base}, cards.dpdk-*.slow_path.pass_time: 1 us")


def _cards(scene: Any) -> list[Any]:
    return [r for k, r in scene.twin.snapshot.objects.items() if k.kind == "NetworkCard"]


def test_numbers_of_profiles_are_set():
    base = one("nodes.*.card: ovs-kernel")
    slower = one("nodes.*.card: ovs-kernel, card.slowPath.passTime: 100 us")
    only = one("nodes.*.card: ovs-kernel, cards.ovs-kernel.slow_path.pass_time: 100 us")
    assert slower["packet_rate_mpps"] < base["packet_rate_mpps"]
    assert only == slower


def test_mtu_and_overhead_decide_the_segment():
    def segments(settings: str) -> float:
        return one(f"nodes.*.card: ovs-kernel, {settings}", "{kind: bulk, streams: 500}")["bandwidth_gbit_per_s"]

    small = segments("card.encapsulation.underlayMtu: 1500 B")
    whole = segments("card.encapsulation.underlayMtu: 1600 B")
    # Packets per second are bound by software, so bandwidth is as the payload of a segment.
    assert whole / small == pytest.approx(1448 / 1348, rel=1e-3)


def test_services_are_added_and_each_costs_iptables():
    few, many = (
        one(f"services.count: {n}, nodes.*.card: kube-proxy-iptables", "{kind: crr, clients: 1}") for n in (1, 50)
    )
    assert many["latency_us"] > few["latency_us"]
    assert many["programming_ms"] == pytest.approx(50 * few["programming_ms"])
    scene = scene_of(article_job(""), {"services.count": 50})
    assert scene.services == 50


def test_fields_of_objects_are_set():
    scene = scene_of(article_job(""), {"topology.YusurService.ysvc1.spec.balancing.algorithm": "dpHash"})
    groups = [f.actions for f in scene.twin.southbound.flows if "ct_lb_mark(backends" in f.actions]
    assert groups
    assert all("hash_fields" not in actions for actions in groups)
    scene = scene_of(article_job(""), {"topology.YusurService.*.spec.ports[0].port": 7000, "path.to": "ysvc1:7000"})
    assert scene.destination == "ysvc1:7000"


def test_a_generated_topology():
    objects = generate(nodes=2, vpcs=1, subnets=1, services=4, backends=2, plain=True)
    client = [o.name for o in objects if isinstance(o, Pod)][-1]
    service = next(o.name for o in objects if isinstance(o, YusurService))
    head = HEAD.replace("files: [topology.yaml]", "generate: {nodes: 2, subnets: 1, backends: 2}")
    body = "  parameters: [{path: generate.services, values: [4, 5]}]\n"
    job = job_of(body, head.replace("client", client).replace("service}", f"{service}}}"))
    scenes = [scene_of(job, dict(v.settings)) for v in variants(job.study.spec)]
    assert [scene.services for scene in scenes] == [4, 5]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("nodes.*.card: nothing", "no profile 'nothing'"),
        ("nodes.node7.card: ovs-kernel", "no node is called 'node7'"),
        ("nodes.*.offload: maybe", "neither true nor false"),
        ("card.eswitch.speed: 1 ns", "has no such number"),
        ("card.eswitch.packetTime: 1 Mpps", "is no time"),
        ("card.eswitch.packetTime: 10", "is no time"),
        ("cards.ovs-netdev.host.cores: 1 cores", "no node has the profile"),
        ("services.count: 0", "but the topology has 1"),
        ("services.count: 1.5", "no whole number"),
        ("path.to: nobody", "nobody"),
        ("path.from: nobody", "nobody"),
        ("topology.Subnet.none.spec.mtu: 1400", "no Subnet is called 'none'"),
        ("topology.Subnet.*.spec.mtuu: 1400", "mtuu"),
        ('"topology.YusurService.*.spec.ports[7].port": 1', "nothing stands at 7"),
        ("load.speed: 1", "speed"),
        ("load.rate: 1 ms", "is a time, not a rate"),
    ],
)
def test_settings_that_cannot_be_are_said(settings: str, said: str):
    with pytest.raises(YtwinError) as caught:
        one(settings)
    assert said in str(caught.value)


def test_inputs_are_checked_before_anything_runs():
    check_inputs(article_job(""))
    with pytest.raises(YtwinError, match="no kind of load 'packts'"):
        check_inputs(article_job("", "{kind: packts}"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"generate.nodes": 0}, "generate.nodes: 0: input should be greater than or equal to 1"),
        ({"generate.backends": 1001}, "generate.backends: 1001: input should be less than or equal to 1000"),
        ({"generate.nodes": "1e999"}, "no whole number"),
        ({"generate.nodes": True}, "no whole number"),
        ({"generate.plain": 1}, "generate.plain: 1: input should be a valid boolean"),
    ],
)
def test_settings_of_generate_keep_its_bounds(settings: dict[str, Any], words: str):
    head = HEAD.replace("files: [topology.yaml]", "generate: {}")
    job = job_of("", head)
    with pytest.raises(YtwinError, match=words):
        scene_of(job, settings)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("topology.NetworkCard.node2-dpu.spec.ports", "banana"),
        ("topology.NetworkCard.node2-dpu.spec.node", "nowhere"),
    ],
)
def test_what_a_setting_makes_wrong_is_said_where_it_was_set(path: str, value: str):
    with pytest.raises(YtwinError, match=f"^{path}: .*{value}"):
        scene_of(article_job(""), {path: value})
