"""Laws of the whole twin, on topologies drawn from a seed: isolation, symmetry of replies, promises kept, order irrelevant."""

from __future__ import annotations

from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin import pipeline
from ytwin.core.memo import Memo
from ytwin.core.plan import apply, diff
from ytwin.generate import generate
from ytwin.resources.codec import dump
from ytwin.trace import Tracer
from ytwin.trace.types import Verdict
from ytwin.verify.answers import Answers
from ytwin.verify.expect import expectation, targets
from ytwin.verify.matrix import isolation_cell, isolation_questions, representatives, service_cell

SEEDS = st.integers(min_value=0, max_value=10_000)
FEW = settings(max_examples=12, deadline=None)


@lru_cache(maxsize=64)
def twin_of(seed: int) -> pipeline.Twin:
    return pipeline.build(pipeline.read({"generated.yaml": dump(generate(seed=seed))}))


@given(SEEDS)
@FEW
def test_no_packet_crosses_vpcs_unless_a_service_says_so(seed: int) -> None:
    twin = twin_of(seed)
    answers = Answers(twin.world, {}, share=False)
    for client, victim, address in isolation_questions(twin.world):
        cell = isolation_cell(answers, client, victim, address)
        assert cell.holds, cell


@given(SEEDS)
@FEW
def test_every_promise_is_kept_and_nothing_else_answers(seed: int) -> None:
    twin = twin_of(seed)
    report = pipeline.verify(twin)
    explained = {
        finding.object.removeprefix("YusurService/")
        for finding in report.findings
        if finding.code in ("no-backend", "no-healthy-backend", "recirculation-limit", "affinity-drops-udp")
    }
    assert [cell for cell in report.failures if cell.service not in explained] == []


@given(SEEDS)
@FEW
def test_a_reply_comes_from_the_address_that_was_called(seed: int) -> None:
    twin = twin_of(seed)
    tracer = Tracer(twin.world)
    delivered = 0
    for client in representatives(twin.world.hosts)[:6]:
        for target in targets(twin.snapshot):
            for path in tracer.converse(client, target.address, target.port, target.protocol).paths:
                if path.verdict is Verdict.DELIVERED:
                    assert path.reply is not None
                    assert path.reply.received is not None
                    reply, sent = path.reply.received, path.forward.sent
                    assert (reply.ip_src, reply.src_port) == (target.address, target.port)
                    assert (reply.ip_dst, reply.dst_port) == (sent.ip_src, sent.src_port)
                    assert path.second is not None
                    assert path.second.receiver == path.forward.receiver
                    delivered += 1
    promised = any(
        expectation(twin.snapshot, client, target).reachable
        for client in representatives(twin.world.hosts)[:6]
        for target in targets(twin.snapshot)
    )
    assert delivered or not promised or pipeline.verify(twin).findings


@given(SEEDS, st.randoms(use_true_random=False))
@FEW
def test_the_order_of_arrival_is_irrelevant(seed: int, shuffler: object) -> None:
    objects = list(generate(seed=seed))
    one = pipeline.compile_flows(pipeline.read({"a.yaml": dump(objects)}))
    shuffler.shuffle(objects)  # type: ignore[attr-defined]  # hypothesis types its Random loosely
    other = pipeline.compile_flows(pipeline.read({"a.yaml": dump(objects)}))
    assert one[1].rows == other[1].rows
    assert set(one[2].flows) == set(other[2].flows)


@given(SEEDS, SEEDS)
@FEW
def test_a_plan_turns_one_northbound_into_another(before: int, after: int) -> None:
    old, new = twin_of(before).northbound.rows, twin_of(after).northbound.rows
    assert apply(old, diff(old, new)) == new
    assert len(diff(new, new)) == 0


@given(SEEDS, SEEDS)
@FEW
def test_memory_does_not_change_the_answer(first: int, second: int) -> None:
    memo = Memo()
    for seed in (first, second, first):
        snapshot = pipeline.read({"a.yaml": dump(generate(seed=seed))})
        remembered = pipeline.compile_flows(snapshot, memo)
        fresh = pipeline.compile_flows(snapshot)
        memo.advance()
        assert remembered[1].rows == fresh[1].rows
        assert set(remembered[2].flows) == set(fresh[2].flows)


def test_a_target_of_each_kind_is_asked() -> None:
    """The laws above would hold of nothing at all; these seeds have ClusterIPs and EIPs, one VPC and several."""
    kinds = {(t.kind, len(t.vpcs) > 1) for seed in range(8) for t in targets(twin_of(seed).snapshot)}
    assert {("ClusterIP", False), ("EIP", False), ("EIP", True)} <= kinds
    cells = [
        service_cell(twin_of(0).snapshot, Answers(twin_of(0).world, {}), client, target)
        for client in representatives(twin_of(0).world.hosts)
        for target in targets(twin_of(0).snapshot)
    ]
    assert {"reachable", "unreachable"} == {cell.expected for cell in cells}
