"""The conformance run itself: it agrees on a small run, and it notices when something does not agree."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from deployer.sandbox import OvnSandbox
from experiments.conformance.__main__ import share
from experiments.conformance.judge import Judge
from experiments.conformance.packets import Draw, Places, microflow
from experiments.conformance.southbound import compare, load
from experiments.conformance.topology import draw, features
from experiments.conformance.work import run_topology
from ytwin.core.memo import Memo
from ytwin.northd import northd
from ytwin.northd.model import resolve
from ytwin.trace.ovntrace import parse_microflow

SEED = 20260101


@pytest.fixture(scope="module")
def ovn():
    with OvnSandbox() as sandbox:
        yield sandbox


@pytest.mark.ovn
@pytest.mark.parametrize("index", range(3))
def test_topologies_agree(ovn, index):
    tally = run_topology(ovn, SEED, index, 40)
    assert tally.good, "\n".join(tally.reports)
    assert tally.flows > 100
    assert tally.packets == 40


@pytest.mark.ovn
def test_a_wrong_flow_is_noticed(ovn):
    drawn = draw(SEED, 0)
    uuids = load(ovn, drawn.northbound, resolve(drawn.northbound, Memo()), 99)
    real, ours = ovn.southbound(), northd(drawn.northbound)
    assert not compare(real, ours, uuids).differing
    flow = ours.flows[0]
    for wrong in (replace(flow, priority=flow.priority + 1), replace(flow, actions="drop; /* wrong */")):
        damaged = replace(ours, flows=(wrong, *ours.flows[1:]))
        assert [line[0] for line in compare(real, damaged, uuids).differing] == ["-", "+"]
    assert [line[0] for line in compare(real, replace(ours, flows=ours.flows[1:]), uuids).differing] == ["-"]
    twice = replace(ours, flows=(*ours.flows, flow))
    assert "twice" in compare(real, twice, uuids).differing[0]
    name, port = next(iter(ours.ports.items()))
    moved = replace(ours, ports=ours.ports.set(name, replace(port, mac=("00:00:00:00:00:01",))))
    assert len(compare(real, moved, uuids).differing) == 2


@pytest.mark.ovn
def test_a_wrong_trace_is_noticed(ovn):
    """Damage our flows, not OVN's: packets that pass the damage must be reported."""
    drawn = draw(SEED, 1)
    load(ovn, drawn.northbound, resolve(drawn.northbound, Memo()), 100)
    ours = northd(drawn.northbound)
    damaged = replace(
        ours,
        flows=tuple(
            replace(flow, actions=flow.actions.replace("output;", "flags.loopback = 1; output;"))
            if flow.stage == "ls_in_l2_lkup"
            else flow
            for flow in ours.flows
        ),
    )
    source = Draw(Places(drawn.northbound), Random(SEED))
    packets = [source.packet() for _ in range(40)]
    with Judge(ovn, ours, Random(1)) as judge:
        sound = [judge.judge(packet) for packet in packets]
    with Judge(ovn, damaged, Random(1)) as judge:
        verdicts = [judge.judge(packet) for packet in packets]
    assert not any(verdict.difference for verdict in sound)
    assert any(verdict.difference for verdict in verdicts)


def test_microflow_says_the_whole_packet():
    """What ovn-trace is told and what our side is given are the same packet, for every kind."""
    kinds = set()
    for index in range(6):
        source = Draw(Places(draw(SEED, index).northbound), Random(index))
        for _ in range(150):
            packet = source.packet()
            kinds.add(packet.kind)
            assert parse_microflow(microflow(packet.state)) == packet.state, packet.microflow
    assert len(kinds) >= 20


def test_topologies_of_a_run_cover_the_features():
    seen = {feature for index in range(40) for feature in features(draw(SEED, index).northbound)}
    assert {
        "tcp load balancer",
        "udp load balancer",
        "sctp load balancer",
        "IPv4 VIP",
        "IPv6 VIP",
        "load balancer on a switch",
        "load balancer on a router",
        "router option chassis",
        "router option lb_force_snat_ip",
        "gateway port with several chassis",
        "VIP without backends",
        "dp_hash",
        "hash",
        "balancer option affinity_timeout",
        "balancer option reject",
    } <= seen


@pytest.mark.parametrize(("packets", "topologies"), [(20_000, 500), (7, 3), (2, 5), (0, 4)])
def test_shares_add_up(packets, topologies):
    shares = [share(packets, topologies, index) for index in range(topologies)]
    assert sum(shares) == packets
    assert max(shares) - min(shares) <= 1
