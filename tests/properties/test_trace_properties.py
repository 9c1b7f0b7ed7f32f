"""Laws of the trace on generated topologies: VPCs are isolated, replies mirror requests, nothing depends on what went before."""

from __future__ import annotations

from functools import lru_cache

from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin.generate import generate
from ytwin.pipeline import Twin, build
from ytwin.resources.snapshot import Snapshot
from ytwin.trace import Conversation, Tracer, Verdict
from ytwin.verify.expect import targets

SEEDS = st.integers(0, 40)


@lru_cache(maxsize=8)
def topology(seed: int) -> tuple[Twin, Tracer]:
    twin = build(Snapshot.of(generate(nodes=3, vpcs=2, subnets=3, services=3, backends=2, seed=seed)))
    return twin, Tracer(twin.world)


def conversation(data: st.DataObject, seed: int) -> Conversation | None:
    twin, tracer = topology(seed)
    wanted = list(targets(twin.snapshot))
    if not wanted:
        return None
    target = data.draw(st.sampled_from(wanted))
    client = data.draw(st.sampled_from(twin.world.hosts))
    return tracer.converse(client, target.address, target.port, target.protocol)


@given(SEEDS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_reply_mirrors_what_the_client_sent(seed: int, data: st.DataObject) -> None:
    answer = conversation(data, seed)
    for path in answer.paths if answer is not None else ():
        if path.verdict is not Verdict.DELIVERED or path.reply is None:
            continue
        sent, got = path.forward.sent, path.reply.received
        assert got is not None
        assert (got.ip_src, got.src_port, got.ip_dst, got.dst_port) == (
            sent.ip_dst,
            sent.dst_port,
            sent.ip_src,
            sent.src_port,
        )
        assert path.second is not None
        assert path.second.receiver == path.forward.receiver
        assert path.second.received is not None
        assert path.forward.received is not None
        assert path.second.received.ip_src == path.forward.received.ip_src


@given(SEEDS, st.data())
@settings(max_examples=60, deadline=None)
def test_no_packet_gets_into_another_vpc_without_a_service(seed: int, data: st.DataObject) -> None:
    twin, tracer = topology(seed)
    inside = [h for h in twin.world.hosts if h.kind not in ("Node", "outside")]
    client, victim = data.draw(st.sampled_from(inside)), data.draw(st.sampled_from(inside))
    if client.vpc == victim.vpc:
        return
    own = {host.name: host.vpc for host in twin.world.hosts}
    for address in victim.addresses:
        answer = tracer.converse(client, address.split("/")[0], 80, "tcp")
        assert all(own.get(path.forward.receiver, client.vpc) == client.vpc for path in answer.paths)


@given(SEEDS, st.data())
@settings(max_examples=30, deadline=None)
def test_a_question_asked_twice_has_one_answer(seed: int, data: st.DataObject) -> None:
    twin, tracer = topology(seed)
    answer = conversation(data, seed)
    if answer is None:
        return
    client = next(h for h in twin.world.hosts if h.name == answer.client)
    address, port = answer.destination, 0
    if address.startswith("["):
        address, _, number = address[1:].partition("]:")
        port = int(number)
    elif address.count(":") == 1:
        address, _, number = address.partition(":")
        port = int(number)
    assert Tracer(twin.world).converse(client, address, port, answer.protocol) == answer
    assert tracer.converse(client, address, port, answer.protocol) == answer


@given(SEEDS, st.data())
@settings(max_examples=40, deadline=None)
def test_every_step_follows_from_the_flows_given(seed: int, data: st.DataObject) -> None:
    twin, _ = topology(seed)
    answer = conversation(data, seed)
    known = set(twin.southbound.flows)
    for path in answer.paths if answer is not None else ():
        for walk in (path.forward, path.reply, path.second):
            for hop in walk.hops if walk is not None else ():
                assert hop.flow is None or hop.flow in known
                assert hop.flow is None or (hop.datapath in hop.flow.datapaths and hop.flow.table == hop.table)
                assert hop.chassis in twin.world.chassis
