"""Laws of offload verdicts, on random programs and rules, and on topologies drawn from a seed."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin import pipeline
from ytwin.datapath import Entry, limits_of
from ytwin.datapath.offload import judge_offload, worst
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Direction, Examined, Op, Operation, Pass, Phase, Program, Visit
from ytwin.datapath.rows import Rows
from ytwin.generate import generate
from ytwin.hardware import HardwareProfile, Kind, shipped
from ytwin.hardware.model import Condition, OffloadRule
from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.resources.codec import dump
from ytwin.verify import offload as room
from ytwin.verify import paths
from ytwin.verify.paths import promised

FIELDS = ("ct.inv", "ct_label.natted", "ct_label", "ct_nw_proto", "ip4.dst")
STATES = ("", "new", "established")
CHASSIS = ("node1", "node2")
RANK = {outcome: n for n, outcome in enumerate(Outcome)}

flows = st.builds(
    LogicalFlow,
    datapaths=st.just((DatapathId("switch", "s"),)),
    pipeline=st.just("ingress"),
    table=st.just(6),
    stage=st.sampled_from(["ls_in_lb", "ls_in_acl"]),
    priority=st.integers(1, 3),
    match=st.just("ip"),
    actions=st.just("next;"),
    source=st.sampled_from(["", "Load_Balancer/a"]),
)
operations = st.builds(
    Operation,
    op=st.sampled_from(list(Op)),
    stage=st.just("ls_in_lb"),
    datapath=st.just("s"),
    flow=st.none() | flows,
    ct_state=st.sampled_from(STATES),
)
examined = st.builds(Examined, st.sampled_from(FIELDS), st.booleans(), st.just("ls_in_acl"), st.just("s"), flows)
passes = st.builds(Pass, st.lists(operations, max_size=3).map(tuple), st.lists(examined, max_size=2).map(tuple))
visits = st.builds(
    Visit,
    chassis=st.sampled_from(CHASSIS),
    entry=st.just(Entry.PORT),
    exit=st.just("port"),
    entry_kind=st.sampled_from(["Pod", "Node", ""]),
    exit_kind=st.sampled_from(["Pod", "Node", ""]),
    passes=st.lists(passes, min_size=1, max_size=3).map(tuple),
)
programs = st.builds(
    Program,
    client=st.sampled_from(["a", "b"]),
    backend=st.just("c"),
    destination=st.sampled_from(["10.0.0.1:80", "[fd00::1]:80"]),
    protocol=st.sampled_from(["tcp", "udp", "sctp"]),
    phase=st.sampled_from(list(Phase)),
    direction=st.sampled_from(list(Direction)),
    visits=st.lists(visits, min_size=1, max_size=2).map(tuple),
    delivered=st.just(True),
)
conditions = st.builds(
    Condition,
    operation=st.sampled_from(["", *(op.value for op in Op)]),
    field=st.sampled_from(["", "ct_label", "ct.inv"]),
    masked=st.none() | st.booleans(),
    ct_state=st.sampled_from(STATES),
    protocols=st.sampled_from([(), ("tcp",), ("udp", "sctp")]),
    port_kind=st.sampled_from(["", "Node"]),
    port_side=st.sampled_from(["", "entry", "exit"]),
    address_family=st.sampled_from([None, 4, 6]),
    passes_over=st.none() | st.integers(0, 3),
    phase=st.sampled_from(["", "first", "established", "close"]),
    always=st.booleans(),
).filter(lambda c: c != Condition())
rules = st.builds(
    OffloadRule,
    code=st.sampled_from(["r1", "r2"]),
    effect=st.sampled_from(["first-packet", "software"]),
    when=conditions,
    text=st.text("ab", max_size=2),
    source=st.just("drawn"),
    kind=st.just(Kind.ASSUMED),
)


def cards(some: list[OffloadRule]) -> dict[str, HardwareProfile]:
    return dict.fromkeys(CHASSIS, shipped()["bluefield-2"].model_copy(update={"offload": tuple(some)}))


@given(st.lists(programs, max_size=5), st.lists(rules, max_size=4), rules, st.integers(0, 4))
@settings(max_examples=60, deadline=None)
def test_more_rules_never_make_an_outcome_better(
    some: list[Program], few: list[OffloadRule], more: OffloadRule, at: int
) -> None:
    before = judge_offload(some, cards(few))
    after = judge_offload(some, cards([*few[:at], more, *few[at:]]))
    for one, other in zip(before, after, strict=True):
        assert RANK[one.outcome] <= RANK[other.outcome]
        for chassis, outcome in one.by_chassis.items():
            assert RANK[outcome] <= RANK[other.by_chassis[chassis]]
        assert {r.code for r in one.reasons} <= {r.code for r in other.reasons}


@given(st.lists(programs, max_size=5), st.lists(rules, max_size=3), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_nothing_depends_on_the_order_of_programs(some: list[Program], few: list[OffloadRule], chance: object) -> None:
    mixed = list(some)
    chance.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis says no type
    assert judge_offload(some, cards(few)) == judge_offload(mixed, cards(few))


@given(st.lists(programs, max_size=4), st.lists(rules, max_size=3))
@settings(max_examples=60, deadline=None)
def test_outcome_and_reasons_agree(some: list[Program], few: list[OffloadRule]) -> None:
    for verdict in judge_offload(some, cards(few)):
        assert verdict.outcome is worst(verdict.by_chassis.values()) is worst(r.outcome for r in verdict.reasons)
        assert (verdict.reasons == ()) == (verdict.outcome is Outcome.OFFLOADED)
        ranks = [RANK[reason.outcome] for reason in verdict.reasons]
        assert ranks == sorted(ranks, reverse=True)


# --- what is walked once for many stands for each of them -----------------------------------------------------------------------


@cache
def drawn(seed: int) -> pipeline.Twin:
    objects = generate(nodes=3, vpcs=2, subnets=3, services=2, backends=2, seed=seed)
    return pipeline.build(pipeline.read({"generated.yaml": dump(objects)}))


def outcomes(
    twin: pipeline.Twin, found: tuple[paths.Delivered, ...], on: dict[str, HardwareProfile]
) -> dict[tuple[tuple[str, str, str], str], tuple[Outcome, frozenset[str]]]:
    """By question and direction: the worst outcome and the codes, over the backends."""
    said: dict[tuple[tuple[str, str, str], str], list[OffloadVerdict]] = {}
    for one in room.judged(room.compiled(found, twin.world), on, None):
        for question in one.questions:
            said.setdefault((question, one.verdict.direction), []).append(one.verdict)
    return {
        key: (worst(v.outcome for v in verdicts), frozenset(code for v in verdicts for code in room.codes(v)))
        for key, verdicts in said.items()
    }


@given(st.integers(0, 40), st.booleans())
@settings(max_examples=4, deadline=None)
def test_a_shared_walk_has_the_verdict_of_an_own_one(seed: int, many: bool) -> None:
    """Of many questions the outcome only: the ports of a Service share walks, and a client may be the backend of one of them."""
    twin = drawn(seed)
    profiles = shipped()
    names = ("connectx-6-dx", "bluefield-2", "yusur-dpu-2x100g")
    on = {chassis: profiles[names[n % 3]] for n, chassis in enumerate(sorted(twin.world.chassis))}
    unlike = {chassis: profile.name for chassis, profile in on.items()}
    limits = limits_of(twin.nodes)
    before = paths.MANY
    try:
        paths.MANY = 0 if many else 1 << 30
        shared = promised(twin.snapshot, twin.world, limits, unlike)
        paths.MANY = 1 << 30
        own = promised(twin.snapshot, twin.world, limits, {chassis: chassis for chassis in twin.world.chassis})
    finally:
        paths.MANY = before
    told, true = outcomes(twin, shared, on), outcomes(twin, own, on)
    assert {key: outcome for key, (outcome, _) in told.items()} == {key: outcome for key, (outcome, _) in true.items()}
    assert many or told == true


@given(st.integers(0, 40), st.sampled_from(["connectx-6-dx", "yusur-dpu-2x100g"]))
@settings(max_examples=4, deadline=None)
def test_every_flow_or_port_behind_a_reason_has_a_row(seed: int, card: str) -> None:
    twin = drawn(seed)
    names = {str(key) for key in twin.northbound.rows}
    on = dict.fromkeys(twin.world.chassis, shipped()[card])
    found = promised(twin.snapshot, twin.world, limits_of(twin.nodes), {})
    for one in room.judged(room.compiled(found, twin.world), on, Rows(twin.southbound)):
        for reason in one.verdict.reasons:
            assert set(reason.rows) <= names
            assert bool(reason.rows) == (reason.flow is not None or reason.rule.when.port_kind != "")


def test_the_shipped_rules_can_all_be_met() -> None:
    assert judge_offload([], dict(shipped())) == ()
    for profile in shipped().values():
        assert len({rule.code for rule in profile.offload}) == len(profile.offload) > 0
        assert any(rule.when.always for rule in profile.offload) == (profile.eswitch is None)
