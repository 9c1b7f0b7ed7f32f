"""Laws of the capacity of a cluster: sharing, sums, growth and losses."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.capacity import busy_by_pairs, every_pair
from ytwin import cluster as room
from ytwin import pipeline
from ytwin.cluster.classes import PLACE
from ytwin.cluster.traffic import rates_of
from ytwin.cluster.types import HARD, Cluster, Mode, Offered, PathClass, Rate, Resource, Rows, Slot
from ytwin.cluster.work import busy, on_nodes, tables_of, work_of
from ytwin.datapath import limits_of
from ytwin.generate import generate
from ytwin.hardware import shipped
from ytwin.performance.tables import table_state
from ytwin.resources.snapshot import Snapshot
from ytwin.trace.world import chassis_name

CARDS = ("yusur-dpu-2x100g", "connectx-6-dx", "bluefield-2", "ovs-kernel", "ovs-netdev")
LOAD = "packets=1 M/s,size=300 B,new=20 k/s,lifetime=20 s"
amounts = st.just(0.0) | st.floats(1e-3, 1e7)
QUEUED = tuple(r for r in HARD if r is not Resource.CONNTRACK)


# --- sharing -------------------------------------------------------------------------------------------------------------


@settings(max_examples=3, deadline=None)
@given(st.integers(0, 100_000))
def test_shared_paths_cost_what_every_pair_costs(seed: int) -> None:
    """Random topologies with other hardware in every node: classes, arrays and one representative each, against no sharing."""
    numbers = {"nodes": 2 + seed % 3, "vpcs": 1 + seed % 2, "subnets": 2 + seed % 2, "services": 3, "backends": 2}
    twin = pipeline.build(Snapshot.of(generate(**numbers, seed=seed)))
    names = [chassis_name(config) for config in twin.nodes]
    cards = {name: shipped()[CARDS[(seed + i) % len(CARDS)]] for i, name in enumerate(names)}
    cluster = room.survey(twin.snapshot, twin.world, limits_of(twin.nodes), cards)
    traffic = room.parse_traffic(LOAD)
    found = room.capacity(cluster, room.offered(cluster, traffic))
    pairs = every_pair(twin, cards)
    serving_themselves = {cluster.services[s] for s in cluster.rows.service} - {pair.service for pair in pairs}
    if serving_themselves:
        return  # a client that is its own backend is a neighbour here, by definition
    summed = busy_by_pairs(pairs, rates_of(traffic, cluster.profiles))
    for number, node in enumerate(cluster.nodes):
        for resource in QUEUED:
            share = float(found.now.shares[number, PLACE[resource]])
            assert share == pytest.approx(summed.get((resource, node), 0.0), rel=1e-9, abs=1e-12), (resource, node)


@cache
def small(card: str = "yusur-dpu-2x100g", **numbers: Any) -> tuple[Cluster, pipeline.Twin]:
    """A generated cluster, and the same Services and places as Kubernetes objects."""
    size = room.Size(**numbers)
    cluster = pipeline.generated_cluster(size, shipped()[card])
    return cluster, pipeline.build(pipeline.read({"same.yaml": yaml.safe_dump_all(list(_objects(cluster)))}))


def _objects(cluster: Cluster) -> list[dict[str, Any]]:
    def made(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "iaas.yusur.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}

    def pod(name: str, subnet: str, node: str, app: str) -> dict[str, Any]:
        metadata = {"name": name, "annotations": {"ovn.kubernetes.io/logical_switch": subnet}, "labels": {"app": app}}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}}

    found = [made("ClusterNetwork", "cluster", {"serviceCIDR": "10.96.0.0/16"})]
    for i, node in enumerate(cluster.nodes):
        status = {"addresses": [{"type": "InternalIP", "address": f"192.168.10.{i + 11}"}]}
        found.append({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}, "status": status})
        found.append(made("NetworkCard", f"{node}-card", {"node": node, "type": "DPU"}))
    gateway = {"cidrBlock": "192.0.2.0/24", "uplink": "192.0.2.2", "gateway": "192.0.2.1", "pools": ["200.0.0.0/24"]}
    found.append(made("EipGateway", "eipgw", {"nodes": list(cluster.nodes[:2]), **gateway}))
    rows = cluster.rows
    for row in np.flatnonzero(rows.mode == Mode.REMOTE):
        # A VPC each: who calls a Service are the callers then, not the backends of others.
        name, number = cluster.services[rows.service[row]], int(rows.service[row])
        found.append(made("Vpc", name, {}))
        nets = ({"vpc": name, "cidrBlock": f"10.{number}.{further}.0/24"} for further in range(2))
        found += [made("Subnet", f"{name}-{further}", net) for further, net in enumerate(nets)]
        kind = "ClusterIP" if rows.clients[row] >= 0 else "LoadBalancer"
        spec = {"type": kind, "vpc": name, "ports": [{"port": 80}], "selector": {"app": name}}
        found.append(made("YusurService", name, spec))
        for i, node in enumerate(rows.node[rows.begin[row] : rows.end[row]]):
            found.append(pod(f"{name}-{i}", f"{name}-0", cluster.nodes[node], name))
        if kind == "ClusterIP":
            found += [pod(f"{name}-caller-{node}", f"{name}-1", node, "caller") for node in cluster.nodes]
    return found


def shares_by_node(found: room.Capacity) -> dict[tuple[str, Resource], float]:
    return {
        (node, resource): float(found.now.shares[i, PLACE[resource]])
        for i, node in enumerate(found.cluster.nodes)
        for resource in Resource
    }


@pytest.mark.parametrize("backends", [1, 2])
def test_a_generated_cluster_is_what_its_objects_are(backends: int) -> None:
    """Also without a node that is a gateway: it moves, and the others take over backends and clients."""
    cluster, twin = small(nodes=3, services=5, backends=backends, outside=0.4, gateways=1, seed=3)
    traffic = room.parse_traffic(LOAD)
    cards = dict.fromkeys(cluster.nodes, cluster.profiles[0])
    for lost in ("", "node1"):
        generated = room.lose(cluster, lost) if lost else cluster
        there = pipeline.build(twin.snapshot, down=[lost] if lost else ())
        surveyed = room.survey(there.snapshot, there.world, limits_of(there.nodes), cards)
        one = room.capacity(generated, room.offered(generated, traffic))
        other = room.capacity(surveyed, room.offered(surveyed, traffic))
        ours, theirs = shares_by_node(one), shares_by_node(other)
        assert {name.rpartition("/")[2] for name in surveyed.failures} == set(generated.failures)
        assert all(share == pytest.approx(theirs.get(key, 0.0), rel=1e-9, abs=1e-12) for key, share in ours.items())
        assert one.scale == pytest.approx(other.scale)
        assert one.packets_per_s == pytest.approx(other.packets_per_s)


# --- sums ----------------------------------------------------------------------------------------------------------------


def _class(slots: int) -> PathClass:
    shape = (2, slots, 1, len(Rate), len(Resource))
    return PathClass("drawn", slots, np.zeros(shape), np.zeros(shape), np.zeros((slots, 1), dtype=np.bool_), {})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_arrays_sum_up_what_loops_do(seed: int) -> None:
    """Remote clients, remote backends, those that serve themselves, and gateways, over random rows."""
    chance = np.random.default_rng(seed)
    n, count, distributions = int(chance.integers(1, 6)), int(chance.integers(1, 8)), 2
    clients = chance.dirichlet(np.ones(n), distributions)
    each = int(chance.integers(1, 4))
    source = chance.integers(-1, distributions, count)
    path = chance.integers(0, 2, count)
    gateways = np.where((path == 1) | (source < 0), chance.integers(0, n, count), -1)[:, None]
    rows = Rows(
        np.zeros(count, dtype=np.int64),
        np.ones(count),
        path,
        chance.integers(0, 2, count),
        source,
        gateways,
        np.arange(count) * each,
        np.arange(1, count + 1) * each,
        chance.integers(0, n, count * each),
        chance.dirichlet(np.ones(each), count).reshape(-1),
    )
    names = tuple(f"node{i}" for i in range(n))
    profiles, which = (shipped()["ovs-kernel"],), np.zeros(n, dtype=np.int64)
    cluster = Cluster(
        names, profiles, which, (_class(2), _class(3)), ("a",), rows, clients, tuple((i,) for i in range(n))
    )
    rates = chance.random((count, len(Rate)))
    bulk = chance.random(count) < 0.5
    expected: dict[tuple[int, bool], np.ndarray] = defaultdict(lambda: np.zeros((3, len(Rate), n)))
    for row in range(count):
        table = expected[int(path[row]), bool(bulk[row])]
        for entry in range(rows.begin[row], rows.end[row]):
            server = rows.node[entry]
            for caller in range(n):
                weight = clients[source[row], caller] if source[row] >= 0 else float(caller == gateways[row, 0])
                local = caller == server
                if local != (rows.mode[row] == Mode.LOCAL):
                    continue
                flow = rates[row] * rows.part[entry] * weight
                table[Slot.BACKEND, :, server] += flow
                if source[row] >= 0 and not local:
                    table[Slot.CLIENT, :, caller] += flow
                if path[row] == 1:
                    table[Slot.FIRST_GATEWAY, :, gateways[row, 0]] += flow
    found = on_nodes(cluster, Offered(rates, bulk, ""))
    for key, slots in found.items():
        assert slots == pytest.approx(expected[key][: len(slots)], abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(amounts, amounts, st.floats(0, 1), st.integers(0, len(CARDS) - 1)), min_size=1, max_size=8))
def test_tables_of_many_are_those_of_each(states: list[tuple[float, float, float, int]]) -> None:
    cluster = replace(
        small(nodes=3, services=5, backends=2, outside=0.4, gateways=1, seed=3)[0],
        nodes=tuple(f"n{i}" for i in range(len(states))),
        profiles=tuple(shipped()[name] for name in CARDS),
        profile=np.array([card for *_, card in states]),
    )
    alive, new, closed = (np.array([state[i] for state in states]) for i in range(3))
    found = tables_of(cluster, alive, new, new * closed)
    for i, (connections, opened, part, card) in enumerate(states):
        chip = cluster.profiles[card].eswitch
        if chip is None:
            continue
        one = table_state(chip, connections, opened, part)
        assert found.share[i] == pytest.approx(one.share)
        assert found.entries[i] == pytest.approx(one.entries)


# --- growth --------------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(CARDS), st.floats(0.05, 20), st.sampled_from(("packets=100 k/s", LOAD, "bandwidth=1 Gbit/s")))
def test_twice_the_load_grows_half_as_far(card: str, times: float, load: str) -> None:
    cluster = small(card, nodes=3, services=5, backends=2, outside=0.4, gateways=1, seed=3)[0]
    offered = room.offered(cluster, room.parse_traffic(load))
    found = room.capacity(cluster, offered)
    more = room.capacity(cluster, replace(offered, rates=offered.rates * times))
    assert more.scale == pytest.approx(found.scale / times, rel=1e-6)
    full = [PLACE[r] for r in HARD]
    assert found.at_limit.shares[:, full].max() == pytest.approx(1, rel=1e-6)
    assert min(found.headroom[r] for r in HARD if r in found.headroom) == pytest.approx(found.scale)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.01, 50), st.floats(1.001, 3))
def test_what_is_asked_never_falls_as_the_load_grows(scale: float, times: float) -> None:
    """Where tables overflow, and cards get slower as they fill, too: bisection rests on it."""
    cluster = small(nodes=3, services=5, backends=2, outside=0.4, gateways=1, seed=3)[0]
    work = work_of(cluster, on_nodes(cluster, room.offered(cluster, room.parse_traffic(LOAD))))
    hard = [PLACE[r] for r in HARD]
    less, more = (busy(cluster, work, x).shares[:, hard] for x in (scale, scale * times))
    assert (more >= less * (1 - 1e-12)).all()


# --- losses --------------------------------------------------------------------------------------------------------------


def _total(cluster: Cluster, offered: Offered) -> float:
    return sum(float(slots[Slot.BACKEND, Rate.FORWARD].sum()) for slots in on_nodes(cluster, offered).values())


def test_what_a_lost_node_served_is_served_by_others() -> None:
    cluster = pipeline.generated_cluster(room.Size(nodes=6, services=40, backends=3, outside=0.3, shared=0.2), _card())
    traffic = room.parse_traffic("packets=10 k/s")
    before = _total(cluster, room.offered(cluster, traffic))
    after = room.lose(cluster, "node4")
    offered = room.offered(after, traffic)
    assert not after.failures
    assert before == pytest.approx(40 * 10_000)
    assert _total(after, offered) == pytest.approx(before)
    found = room.capacity(after, offered)
    assert (found.now.shares[3] == 0).all()


def test_a_service_gateway_does_not_move_and_an_eip_gateway_does() -> None:
    size = room.Size(nodes=4, services=40, backends=2, outside=0.5, shared=0.5, gateways=1)
    cluster = pipeline.generated_cluster(size, _card())
    after = room.lose(cluster, "node1")
    assert len(after.failures) == 20
    assert set(after.failures.values()) == {"its gateway is lost, and moves to no other node"}
    found = room.capacity(after, room.offered(after, room.parse_traffic("packets=10 k/s")))
    assert room.most_loaded(found)["gateway"] == "node2"
    assert not found.fits


def _card() -> Any:
    return shipped()["yusur-dpu-2x100g"]


def test_without_its_card_a_node_works_as_one_whose_card_is_full() -> None:
    """So it does as much as with a table without a place, but for what is opened: that is in software either way."""
    cluster = small(nodes=3, services=5, backends=2, outside=0.4, gateways=1, seed=3)[0]
    offered = room.offered(cluster, room.parse_traffic("packets=1 M/s"))
    found = room.capacity(cluster, offered)
    after = room.capacity(room.without_offload(cluster, "node2"), offered)
    slow, cards = PLACE[Resource.SLOW_PATH], PLACE[Resource.CARD_CONNECTIONS]
    assert after.now.shares[1, slow] > 2 * found.now.shares[1, slow]
    assert after.now.shares[1, cards] == 0
    assert after.now.shares[[0, 2]] == pytest.approx(found.now.shares[[0, 2]])
    assert after.cluster.profiles[-1].name == "yusur-dpu-2x100g without offload"


def test_kube_proxy_looks_through_all_services_of_the_cluster() -> None:
    """Of the sample there are three."""
    few, many = (
        pipeline.generated_cluster(room.Size(nodes=3, services=count), shipped()["kube-proxy-iptables"])
        for count in (10, 10_000)
    )
    new = [float(one.classes[0].software[0, Slot.BACKEND, 0, Rate.FIRST].sum()) for one in (few, many)]
    assert new[1] > new[0]
