"""A shared answer is the one that a trace of its own gives: whole cells are compared, with reasons, sources and overruns."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ytwin import pipeline
from ytwin.datapath import LIMITS, Limit, limits_of
from ytwin.generate import generate
from ytwin.resources.codec import dump
from ytwin.trace.types import Host
from ytwin.verify.answers import Answers
from ytwin.verify.matrix import (
    isolation_cell,
    isolation_questions,
    matrix,
    representatives,
    service_cell,
    service_questions,
)
from ytwin.verify.report import Cell


def _twin(seed: int, nodes: int = 3, services: int = 6) -> pipeline.Twin:
    objects = generate(nodes=nodes, vpcs=3, subnets=4, services=services, backends=3, seed=seed)
    return pipeline.build(pipeline.read({"generated.yaml": dump(objects)}))


def _cells(
    twin: pipeline.Twin, hosts: tuple[Host, ...], limits: dict[str, Limit], share: bool
) -> tuple[list[Cell], int]:
    answers = Answers(twin.world, limits, share)
    cells = [service_cell(twin.snapshot, answers, *q) for q in service_questions(twin.snapshot, hosts)]
    cells += [isolation_cell(answers, *q) for q in isolation_questions(twin.world)]
    return cells, answers.traced


@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from(["netdev", "system", "own", "none"]))
@settings(max_examples=10, deadline=None)
@example(2, 2, "netdev")  # overruns with the packet as it came in, which is the client's own
def test_a_shared_answer_is_that_of_an_own_trace(seed: int, nodes: int, datapath: str) -> None:
    twin = _twin(seed, nodes)
    limits = dict.fromkeys(twin.world.chassis, LIMITS[datapath]) if datapath in LIMITS else {}
    limits = dict(limits_of(twin.nodes)) if datapath == "own" else limits
    if datapath == "system":
        twin = replace(twin, world=replace(twin.world, userspace=frozenset()))
    hosts = tuple(twin.world.hosts)[::2]
    shared, _ = _cells(twin, hosts, limits, share=True)
    exhaustive, _ = _cells(twin, hosts, limits, share=False)
    for one, other in zip(shared, exhaustive, strict=True):
        assert one == other


@pytest.mark.parametrize("down", [(), ("node1",), ("node2", "node3")])
def test_lost_nodes_change_both_alike(down: tuple[str, ...]) -> None:
    built = _twin(11, nodes=5)
    twin = pipeline.build(built.snapshot, down=down)
    hosts = representatives(twin.world.hosts)
    assert _cells(twin, hosts, {}, share=True)[0] == _cells(twin, hosts, {}, share=False)[0]


def test_sharing_saves_most_of_the_work() -> None:
    twin = _twin(5, nodes=8, services=10)
    hosts = tuple(twin.world.hosts)
    (_, traced), (cells, _) = _cells(twin, hosts, {}, True), _cells(twin, hosts, {}, False)
    walked = sum(cell.verdict != "no-route" for cell in cells)
    without_route = len(cells) - walked
    assert traced - without_route < walked / 3


def test_all_clients_traces_every_question(monkeypatch: pytest.MonkeyPatch) -> None:
    twin = _twin(3)
    asked: list[bool] = []
    real = Answers.__init__

    def note(self: Answers, world: object, limits: object, share: bool = True) -> None:
        asked.append(share)
        real(self, world, limits, share)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(Answers, "__init__", note)
    matrix(twin.snapshot, twin.world, exhaustive=True)
    matrix(twin.snapshot, twin.world)
    assert asked == [False, True]
