"""Laws of counting passes, on topologies drawn from a seed."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin import pipeline
from ytwin.datapath import LIMITS, limited, stays
from ytwin.generate import generate
from ytwin.resources.codec import dump
from ytwin.trace import Conversation, Tracer, Verdict, Walk
from ytwin.trace.types import Host
from ytwin.verify.expect import Target, targets
from ytwin.verify.matrix import representatives

SEEDS = st.integers(min_value=0, max_value=200)
FEW = settings(max_examples=10, deadline=None)
NETDEV = LIMITS["netdev"]


@lru_cache(maxsize=32)
def twin_of(seed: int) -> pipeline.Twin:
    return pipeline.build(pipeline.read({"generated.yaml": dump(generate(seed=seed, services=5))}))


@lru_cache(maxsize=32)
def asked(seed: int) -> tuple[tuple[Host, Target], ...]:
    twin = twin_of(seed)
    found = [(c, t) for t in targets(twin.snapshot) for c in representatives(twin.world.hosts)]
    return tuple(found[:: max(1, len(found) // 40)])


def answer(tracer: Tracer, question: tuple[Host, Target]) -> Conversation:
    client, target = question
    return tracer.converse(client, target.address, target.port, target.protocol)


@lru_cache(maxsize=32)
def answers(seed: int) -> tuple[Conversation, ...]:
    tracer = Tracer(twin_of(seed).world)
    return tuple(answer(tracer, question) for question in asked(seed))


def walks(conversation: Conversation) -> list[Walk]:
    return [w for p in conversation.paths for w in (p.forward, p.reply, p.second) if w is not None]


def passes(conversation: Conversation) -> list[list[tuple[str, str, int, int]]]:
    return [[(s.chassis, s.entry.value, s.passes, s.lookups) for s in stays(walk)] for walk in walks(conversation)]


@given(SEEDS, st.randoms(use_true_random=False))
@FEW
def test_passes_do_not_depend_on_what_was_asked_before(seed: int, random: Random) -> None:
    """Neither on the order of packets of different connections, nor on the tracer that follows them."""
    order = list(range(len(asked(seed))))
    random.shuffle(order)
    tracer = Tracer(twin_of(seed).world)
    for index in order[:20]:
        assert passes(answer(tracer, asked(seed)[index])) == passes(answers(seed)[index])


@given(SEEDS)
@FEW
def test_every_recirculation_by_conntrack_is_a_look_up(seed: int) -> None:
    for conversation in answers(seed):
        for walk in walks(conversation):
            for stay in stays(walk):
                assert sum(r.cause == "ct" for r in stay.recirculations) <= stay.lookups
                assert sum(r.cause == "dp_hash" for r in stay.recirculations) <= 1
                assert stay.passes == 1 + len(stay.recirculations)


@given(SEEDS)
@FEW
def test_stays_follow_the_walk(seed: int) -> None:
    """Their chassis are the walk's, in order, and each begins with the packet that the one before sent."""
    for conversation in answers(seed):
        for walk in walks(conversation):
            visited = [stay.chassis for stay in stays(walk)]
            assert visited == [
                hop.chassis
                for before, hop in zip((None, *walk.hops), walk.hops, strict=False)
                if before is None or before.chassis != hop.chassis or "OVN answers" in before.note
            ]
            if visited:
                assert stays(walk)[0].packet == walk.sent


@given(SEEDS)
@FEW
def test_second_packets_never_need_more_than_first_ones(seed: int) -> None:
    """The choice of a backend is made once, so whatever the first packet survives the connection survives."""
    for conversation in answers(seed):
        for path in conversation.paths:
            if path.verdict is Verdict.DELIVERED and path.second is not None:
                first, second = stays(path.forward), stays(path.second)
                assert [s.chassis for s in first] == [s.chassis for s in second]
                assert all(a.passes >= b.passes for a, b in zip(first, second, strict=True))


@given(SEEDS, st.integers(min_value=0, max_value=7))
@FEW
def test_a_higher_limit_never_loses_a_path(seed: int, recirculations: int) -> None:
    chassis = twin_of(seed).world.chassis
    low = dict.fromkeys(chassis, replace(NETDEV, recirculations=recirculations))
    high = dict.fromkeys(chassis, replace(NETDEV, recirculations=recirculations + 1))
    for conversation in answers(seed):
        for tight, loose, free in zip(
            limited(conversation, low).paths, limited(conversation, high).paths, conversation.paths, strict=True
        ):
            assert tight.verdict is not Verdict.DELIVERED or loose.verdict is Verdict.DELIVERED
            assert loose.verdict is not Verdict.DELIVERED or free.verdict is Verdict.DELIVERED
        assert limited(conversation, {}) is conversation
