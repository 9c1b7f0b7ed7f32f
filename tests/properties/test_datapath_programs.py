"""Laws of datapath programs, on topologies drawn from a seed: they are one truth with `stays`, and with the walk."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin import pipeline
from ytwin.datapath import programs, stays
from ytwin.datapath.program import Direction, Op, Phase, Program
from ytwin.generate import generate
from ytwin.resources.codec import dump
from ytwin.trace import Conversation, Tracer, Verdict, Walk, World
from ytwin.verify.expect import targets
from ytwin.verify.matrix import representatives

SEEDS = st.integers(min_value=0, max_value=200)
FEW = settings(max_examples=4, deadline=None)


@lru_cache(maxsize=16)
def asked(seed: int) -> tuple[World, tuple[Conversation, ...]]:
    twin = pipeline.build(pipeline.read({"generated.yaml": dump(generate(seed=seed, services=5))}))
    questions = [(c, t) for t in targets(twin.snapshot) for c in representatives(twin.world.hosts)]
    tracer = Tracer(twin.world)
    some = questions[:: max(1, len(questions) // 24)]
    return twin.world, tuple(tracer.converse(c, t.address, t.port, t.protocol) for c, t in some)


@lru_cache(maxsize=16)
def made(seed: int) -> tuple[tuple[Conversation, tuple[Program, ...]], ...]:
    world, conversations = asked(seed)
    return tuple((c, programs(c, world)) for c in conversations)


def counted(walk: Walk) -> list[tuple[object, ...]]:
    return [(s.chassis, s.entry, s.passes, s.lookups) for s in stays(walk)]


def told(program: Program) -> list[tuple[object, ...]]:
    return [(v.chassis, v.entry, len(v.passes), v.count(Op.CT)) for v in program.visits]


@given(SEEDS)
@FEW
def test_programs_take_the_passes_and_look_ups_that_stays_counts(seed: int) -> None:
    for conversation, found in made(seed):
        wanted = []
        for path in conversation.paths:
            if path.verdict is Verdict.DELIVERED:
                second = path.second or path.forward
                closing = 1 + (conversation.protocol in ("tcp", "sctp"))
                wanted += [(Direction.FORWARD, counted(path.forward))]
                wanted += [(Direction.FORWARD, counted(second))] * closing
                if path.reply is not None:
                    wanted += [(Direction.REPLY, counted(path.reply))] * (1 + closing)
        have = [(p.direction, told(p)) for p in found if p.phase is not Phase.IDLE]
        assert sorted(have, key=repr) == sorted(wanted, key=repr)


@given(SEEDS)
@FEW
def test_a_pass_is_one_look_up_and_what_follows(seed: int) -> None:
    for _, found in made(seed):
        for program in found:
            for visit in program.visits:
                assert visit.passes
                for number, each in enumerate(visit.passes):
                    ops = [o.op for o in each.operations]
                    assert ops.count(Op.LOOKUP) == int(program.phase is not Phase.IDLE)
                    if program.phase is Phase.IDLE:
                        assert set(ops) <= {Op.REMOVE}
                        assert not each.examined or number == 0
                        continue
                    assert ops[0] is Op.LOOKUP
                    missed = int(program.phase is Phase.FIRST)
                    assert (ops.count(Op.UPCALL), ops.count(Op.INSTALL)) == (missed, missed)
                    last = number == len(visit.passes) - 1
                    assert (Op.OUTPUT in ops) == (last and visit.exit not in ("drop", "controller"))
                    if not last:  # what recirculates is the last thing of a pass
                        assert ops[-1] in (Op.CT, Op.CT_COMMIT, Op.DP_HASH)


@given(SEEDS)
@FEW
def test_visits_hang_together(seed: int) -> None:
    for conversation, found in made(seed):
        for program in found:
            assert program.delivered
            assert (program.client, program.destination) == (conversation.client, conversation.destination)
            for before, after in zip(program.visits, program.visits[1:], strict=False):
                assert (before.exit == "tunnel") == (after.entry.value == "tunnel")
                if program.phase is not Phase.IDLE:
                    assert before.count(Op.TUNNEL_PUSH) == after.count(Op.TUNNEL_POP) == int(before.exit == "tunnel")
            assert program.visits[0].entry_kind
            assert program.visits[-1].exit_kind


@given(SEEDS)
@FEW
def test_everything_names_its_flow_and_what_is_examined_is_in_it(seed: int) -> None:
    """Only the datapath's own doings name none; a field's flow is of a table that the pass went through, and names the field."""
    own = {Op.LOOKUP, Op.UPCALL, Op.INSTALL, Op.TUNNEL_POP, Op.REMOVE}
    for _, found in made(seed):
        for program in found:
            for visit in program.visits:
                for each in visit.passes:
                    assert all((o.flow is not None) or o.op in own for o in each.operations)
                    assert len({(e.field, e.masked) for e in each.examined}) == len(each.examined)
                    for e in each.examined:
                        assert e.stage == e.flow.stage
                        if e.field.startswith("ct.") and e.field != "ct.trk":
                            assert e.field in e.flow.match


@given(SEEDS)
@FEW
def test_conntrack_entries_are_committed_once_and_removed_once(seed: int) -> None:
    for _, found in made(seed):
        paths: dict[tuple[str, str], dict[Phase, Program]] = defaultdict(dict)
        for p in found:
            if p.direction is Direction.FORWARD and p.phase not in paths[p.client, p.backend]:
                paths[p.client, p.backend][p.phase] = p
        for phases in paths.values():
            commits = {
                (v.chassis, o.detail) for v in phases[Phase.FIRST].visits for o in v.operations if o.op is Op.CT_COMMIT
            }
            for phase in phases.keys() & {Phase.CLOSE, Phase.IDLE}:
                removed = [
                    (v.chassis, o.detail.removeprefix("conntrack entry in "))
                    for v in phases[phase].visits
                    for o in v.operations
                    if o.op is Op.REMOVE and o.detail.startswith("conntrack")
                ]
                assert sorted(removed) == sorted(commits)


@given(SEEDS)
@FEW
def test_seeing_every_table_changes_no_walk(seed: int) -> None:
    """A Tracer that records every table says the same of the tables that the other one tells."""
    world, conversations = asked(seed)
    tracer = Tracer(world, every_table=True)
    hosts = {host.name: host for host in world.hosts}
    for c in conversations[:8]:
        for path in c.paths:
            address, _, port = c.destination.rpartition(":")
            whole = tracer.converse(hosts[c.client], address.strip("[]"), int(port), c.protocol)
            again = next(p for p in whole.paths if (p.backend, p.address) == (path.backend, path.address))
            assert again.verdict is path.verdict
            hops = iter(again.forward.hops)
            assert all(any(hop == other for other in hops) for hop in path.forward.hops)
            assert all(hop.seen for hop in again.forward.hops)


def test_a_conversation_of_another_world_is_refused() -> None:
    world, conversations = asked(1)
    other, _ = asked(2)
    delivered = next(c for c in conversations if c.verdict is Verdict.DELIVERED and c.paths)
    assert programs(delivered, world)
    with pytest.raises(ValueError, match="this world"):
        programs(delivered, other)
