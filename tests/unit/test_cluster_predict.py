"""One path, one load: how busy `capacity` finds each resource is what `predict` says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from experiments.capacity import every_pair
from ytwin import cluster as room
from ytwin import pipeline
from ytwin.cli.cards import CardSet, sets_of_cards
from ytwin.cluster.classes import PLACE
from ytwin.cluster.types import RESOURCES, Offered, Rate, Resource
from ytwin.datapath import limits_of
from ytwin.datapath.offload import judge_offload
from ytwin.datapath.program import Program
from ytwin.performance import predict
from ytwin.performance.loads import parse_load

TOPOLOGY = Path(__file__).parents[2] / "experiments" / "offload-or-not" / "topology.yaml"
CARDS = ("ovs-kernel", "bluefield-2", "article-dpu-2x100g")
RATE = 10_000
NODES = ("node1", "node2")
FEW = 1000
"""Connections at a time: no table is full."""
HEADER = "src_node,service,packets_per_s,bytes_per_packet,new_connections_per_s,lifetime_s,replies\n"


@cache
def hardware(protocol: str, card: str) -> CardSet:
    """The topology as it is compiled for this card in both nodes."""
    text = TOPOLOGY.read_text(encoding="utf-8").replace("protocol: TCP", f"protocol: {protocol}")
    (found,) = sets_of_cards(pipeline.build(pipeline.read({"topology.yaml": text})), [card])
    return found


@cache
def path(protocol: str, card: str) -> tuple[Program, ...]:
    on = hardware(protocol, card)
    (pair,) = every_pair(on.twin, on.cards)
    return tuple(program for some in pair.case.programs.values() for program in some)


def predicted(protocol: str, card: str, load: str) -> dict[str, float]:
    cards, made = hardware(protocol, card).cards, path(protocol, card)
    found = predict(made, judge_offload(made, cards), cards, parse_load(load).load, intervals=False)
    return dict(found.utilisation)


def flat(cluster: room.Cluster, offered: Offered) -> dict[str, float]:
    now = room.capacity(cluster, offered).now.shares
    return {f"{what} of {node}": float(now[i, PLACE[what]]) for i, node in enumerate(NODES) for what in RESOURCES}


@cache
def surveyed(protocol: str, card: str) -> room.Cluster:
    on = hardware(protocol, card)
    return room.survey(on.twin.snapshot, on.twin.world, limits_of(on.twin.nodes), on.cards)


def by_load(protocol: str, card: str, load: str) -> dict[str, float]:
    cluster = surveyed(protocol, card)
    return flat(cluster, room.offered(cluster, room.parse_traffic(load)))


def by_flow(protocol: str, card: str, line: str) -> dict[str, float]:
    on = hardware(protocol, card)
    flows = room.decode_flows("flows.csv", f"{HEADER}{line}\n")
    return flat(*room.surveyed_flows(on.twin.snapshot, on.twin.world, limits_of(on.twin.nodes), on.cards, flows))


def same(found: dict[str, float], said: dict[str, float]) -> None:
    """Rules are put in and taken out: capacity asks which of the two comes too late, so its share is of the slower one."""
    rules = f"{Resource.INSERTION} of "
    assert said
    assert all(found[name] >= said[name] * (1 - 1e-9) for name in said if name.startswith(rules))
    held = {name: share for name, share in said.items() if not name.startswith(rules)}
    assert {name: found[name] for name in held} == pytest.approx(held, rel=0.02)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("each", [1, 2, 50, 1000])
def test_first_packets_are_packets_of_the_load(protocol: str, card: str, each: int) -> None:
    """Not more packets beside them: of `each` packets per connection one is the first, none is counted twice."""
    said = predicted(protocol, card, f"packets:rate={RATE} /s,size=300 B,flows={FEW},packetsPerFlow={each}")
    new = RATE / each
    life_s = FEW / new
    same(by_flow(protocol, card, f"node1,web,{RATE},300,{new},{life_s},0"), said)
    load = f"packets={RATE} /s,size=300 B,replies=0,new={new} /s,lifetime={life_s} s"
    same(by_load(protocol, card, load), said)


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("each", [1, 2, 50])
@pytest.mark.parametrize("size", ["64 B", "10 kB"])
def test_requests_begin_and_end_their_connections(protocol: str, card: str, each: int, size: str) -> None:
    """TCP: handshake and close besides; UDP: the first request is the first packet."""
    load = f"open:rate={RATE} /s,size={size},connections={FEW},requestsPerConnection={each}"
    new = RATE / each
    mine = f"requests={RATE} /s,size={size},new={new} /s,lifetime={FEW / new} s"
    same(by_load(protocol, card, mine), predicted(protocol, card, load))


def test_answers_are_replies_of_the_load() -> None:
    """One of them answers the first packet; where there are fewer replies than connections, all of them do."""
    offered = [
        room.decode_flows("flows.csv", f"{HEADER}node1,web,100,64,10,1,{replies}\n")[0].rates()
        for replies in (2, 0.05, 0)
    ]
    assert [(r[Rate.REPLY], r[Rate.ANSWER]) for r in offered] == [(190, 10), (0, 5), (0, 0)]
    assert all(r[Rate.FORWARD] + r[Rate.FIRST] == 100 and r[Rate.CLOSE] == 0 for r in offered)
