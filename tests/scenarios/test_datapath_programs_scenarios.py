"""Datapath programs in the article's topology and the four scenarios; tests/lab holds the same ones against real flows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from frozendict import frozendict

from ytwin.datapath import programs
from ytwin.datapath.program import Direction, Op, Phase, Program, Visit
from ytwin.pipeline import Twin, build, read
from ytwin.trace import Tracer, World

TOPOLOGIES = Path(__file__).parents[2] / "topologies"


@cache
def twin(name: str) -> Twin:
    return build(read({str(f): f.read_text() for f in sorted((TOPOLOGIES / name).rglob("*.yaml"))}))


def made(world: World, client: str, address: str, port: int, backend: str, protocol: str = "tcp") -> list[Program]:
    host = next(h for h in world.hosts if h.name == client)
    conversation = Tracer(world).converse(host, address, port, protocol)
    return [p for p in programs(conversation, world) if p.backend == backend]


def one(found: list[Program], phase: Phase, direction: Direction = Direction.FORWARD) -> Program:
    return next(p for p in found if (p.phase, p.direction) == (phase, direction))


def article() -> list[Program]:
    return made(twin("article").world, "Pod/default/client", "10.233.46.185", 5001, "Pod/default/svc1-ep2")


def numbers(visit: Visit) -> tuple[str, int, int, int]:
    return visit.chassis, len(visit.passes), visit.count(Op.CT), visit.count(Op.CT_COMMIT)


def test_the_articles_path() -> None:
    """Client chassis: choice in one more pass; backend chassis: tunnel, its own zone."""
    found = article()
    first, later = one(found, Phase.FIRST), one(found, Phase.ESTABLISHED)
    assert [numbers(v) for v in first.visits] == [("node1", 3, 2, 1), ("node2", 2, 2, 1)]
    assert [numbers(v) for v in later.visits] == [("node1", 2, 1, 0), ("node2", 2, 1, 0)]
    assert [(v.entry_kind, v.exit, v.exit_kind) for v in first.visits] == [("Pod", "tunnel", ""), ("", "port", "Pod")]
    assert [first.visits[n].count(op) for n in (0, 1) for op in (Op.TUNNEL_PUSH, Op.TUNNEL_POP)] == [1, 0, 0, 1]
    assert [o.detail.partition(":")[0] for o in first.visits[0].operations if o.op is Op.REWRITE] == ["eth", "ip"]
    assert [(v.count(Op.UPCALL), v.count(Op.INSTALL)) for v in first.visits] == [(3, 3), (2, 2)]
    assert not any(o.op in (Op.UPCALL, Op.INSTALL) for v in later.visits for o in v.operations)


def test_conntrack_says_new_then_established() -> None:
    found = article()
    states = {
        (p.phase, p.direction): {o.ct_state for v in p.visits for o in v.operations if o.op is Op.CT}
        for p in found
        if p.phase is not Phase.IDLE
    }
    assert states.pop((Phase.FIRST, Direction.FORWARD)) == {"new"}
    assert set(map(frozenset, states.values())) == {frozenset({"established"})}


def test_close_removes_entries_and_idle_removes_flows_too() -> None:
    found = article()

    def removed(program: Program) -> list[tuple[str, int, int]]:
        texts = [(v.chassis, [o.detail for o in v.operations if o.op is Op.REMOVE]) for v in program.visits]
        return [(c, sum(t.startswith("conntrack") for t in ts), ts.count("datapath flow")) for c, ts in texts]

    assert removed(one(found, Phase.CLOSE)) == [("node1", 1, 0), ("node2", 1, 0)]
    assert removed(one(found, Phase.CLOSE, Direction.REPLY)) == [("node2", 0, 0), ("node1", 0, 0)]
    # Of 3 and 2 passes of the first packet, the first of each is the second packet's as well.
    assert removed(one(found, Phase.IDLE)) == [("node1", 1, 4), ("node2", 1, 3)]
    assert removed(one(found, Phase.IDLE, Direction.REPLY)) == [("node2", 0, 2), ("node1", 0, 2)]
    assert one(found, Phase.IDLE).passes == 0


def test_datagrams_do_not_close() -> None:
    found = made(
        twin("four-scenarios").world, "Pod/default/vpc1-client", "10.96.244.218", 514, "Pod/default/db1", "udp"
    )
    assert {p.phase for p in found} == {Phase.FIRST, Phase.ESTABLISHED, Phase.IDLE}


def test_affinity_balances_with_the_datapaths_hash_and_the_choice_matches_it() -> None:
    found = made(
        twin("four-scenarios").world, "BareMetal/default/db3", "10.96.0.100", 5432, "VirtualMachine/default/db2"
    )
    first = one(found, Phase.FIRST).visits[0]
    (hashing,) = [n for n, p in enumerate(first.passes) if p.operations[-1].op is Op.DP_HASH]
    assert [(e.field, e.masked) for e in first.passes[hashing + 1].examined] == [("dp_hash", True)]
    assert one(found, Phase.ESTABLISHED).visits[0].count(Op.DP_HASH) == 0


def test_hashing_over_fields_makes_a_flow_per_connection() -> None:
    first = one(article(), Phase.FIRST).visits[0]
    choice = next(p for p in first.passes if any("nat(dst)" in o.detail for o in p.operations))
    exact = {e.field for e in choice.examined if not e.masked}
    assert {"ip4.src", "ip4.dst", "tcp.src", "tcp.dst"} <= exact


def test_a_scenario_4_path_translates_twice_and_commits_on_the_gateway() -> None:
    world = twin("four-scenarios").world
    found = made(world, "outside/eipgw", "200.0.0.57", 443, "Pod/default/api1")
    gateway = one(found, Phase.FIRST).visits[0]
    forms = [o.detail.partition(" ")[0] for o in gateway.operations if o.op is Op.CT]
    assert forms.count("ct(commit,nat(dst))") == 1
    assert "ct(commit,nat(src))" in forms
    assert gateway.entry_kind == "outside"
    back = one(found, Phase.ESTABLISHED, Direction.REPLY)
    assert (back.visits[-1].exit, back.visits[-1].exit_kind) == ("physical network", "outside")


def fields_of(found: list[Program]) -> dict[str, str]:
    """Examined field -> the stage to blame first."""
    return {e.field: e.stage for program in found for visit in program.visits for p in visit.passes for e in p.examined}


def test_ct_inv_is_examined_unless_the_option_forbids_it() -> None:
    """use_ct_inv_match is false for the kernel's datapath, which the article's nodes run, and not for the userspace one."""
    assert "ct.inv" not in fields_of(article())
    world = twin("broken/recirculation-limit").world
    assert "ct.inv" in fields_of(made(world, "outside/eipgw", "200.0.0.206", 80, "Pod/default/web1"))


def test_hairpin_detection_by_conntracks_tuple_examines_its_protocol() -> None:
    """As older OVN does it: the match that once kept all balanced traffic off the cards."""
    world = twin("article").world
    assert "ct_nw_proto" not in fields_of(article())
    balancers = tuple(replace(b, options=frozendict()) for b in world.southbound.load_balancers)
    older = replace(world, southbound=replace(world.southbound, load_balancers=balancers))
    found = made(older, "Pod/default/client", "10.233.46.185", 5001, "Pod/default/svc1-ep2")
    fields = fields_of(found)
    assert fields["ct_nw_proto"].startswith("ls_in_")
    assert {"ct.dnat", "ct.trk"} <= set(fields)
