"""Rules against hand-made programs: what meets a condition, what it makes of the path, which rows stand behind a flow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frozendict import frozendict

from ytwin.core.errors import InvalidInput, YtwinError
from ytwin.datapath import Entry
from ytwin.datapath.offload import judge_offload, worst
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Direction, Examined, Op, Operation, Pass, Phase, Program, Visit
from ytwin.datapath.rows import Rows
from ytwin.hardware import HardwareProfile, Kind, shipped
from ytwin.hardware.model import Condition, OffloadRule
from ytwin.logical.southbound import DatapathId, LogicalFlow, SbLoadBalancer, Southbound

SWITCH = DatapathId("switch", "subnet1")
LB_FLOW = LogicalFlow(
    (SWITCH,), "ingress", 12, "ls_in_lb", 120, "ct.new", "ct_lb_mark;", "Load_Balancer/default/web/tcp"
)
PLAIN = LogicalFlow((SWITCH,), "ingress", 6, "ls_in_pre_stateful", 110, "reg0[2] == 1", "ct_lb_mark;")


def rule(code: str = "r", effect: str = "first-packet", **when: object) -> OffloadRule:
    condition = Condition.model_validate(when)
    return OffloadRule.model_validate(
        {"code": code, "effect": effect, "when": condition, "text": code, "source": "here", "kind": Kind.ASSUMED}
    )


def card(*rules: OffloadRule) -> HardwareProfile:
    return shipped()["connectx-6-dx"].model_copy(update={"offload": rules})


def ct(state: str, flow: LogicalFlow = LB_FLOW) -> Operation:
    return Operation(Op.CT, "zone port:a", flow.stage, "subnet1", flow, state)


def visit(
    *operations: Operation, chassis: str = "node1", kinds: tuple[str, str] = ("Pod", ""), passes: int = 1
) -> Visit:
    lookup = Operation(Op.LOOKUP)
    made = (Pass((lookup, *operations)), *(Pass((lookup,)) for _ in range(passes - 1)))
    return Visit(chassis, Entry.PORT, "tunnel", kinds[0], kinds[1], made)


def program(
    *visits: Visit, phase: Phase = Phase.FIRST, protocol: str = "tcp", destination: str = "10.96.0.1:80"
) -> Program:
    return Program("Pod/default/a", "Pod/default/b", destination, protocol, phase, Direction.FORWARD, visits, True)


def judge(*programs: Program, rules: tuple[OffloadRule, ...]) -> OffloadVerdict:
    chassis = {v.chassis for p in programs for v in p.visits}
    (verdict,) = judge_offload(programs, dict.fromkeys(chassis, card(*rules)))
    return verdict


def test_without_rules_all_is_offloaded() -> None:
    verdict = judge(program(visit(ct("new"))), rules=())
    assert (verdict.outcome, verdict.reasons) == (Outcome.OFFLOADED, ())
    assert verdict.by_chassis == {"node1": Outcome.OFFLOADED}
    assert verdict.cards == {"node1": "connectx-6-dx"}


def test_a_first_packet_rule_keeps_the_connection_in_software_where_established_packets_meet_it() -> None:
    new = rule(operation="ct", ct_state="new")
    first, later = program(visit(ct("new"))), program(visit(ct("established")), phase=Phase.ESTABLISHED)
    assert judge(first, later, rules=(new,)).outcome is Outcome.FIRST_SOFTWARE
    always_new = program(visit(ct("new")), phase=Phase.ESTABLISHED)
    assert judge(first, always_new, rules=(new,)).outcome is Outcome.SOFTWARE


def test_a_software_rule_keeps_the_connection_whichever_packet_meets_it() -> None:
    stop = rule(effect="software", operation="ct", protocols=("sctp",))
    assert judge(program(visit(ct("new")), protocol="sctp"), rules=(stop,)).outcome is Outcome.SOFTWARE
    assert judge(program(visit(ct("new"))), rules=(stop,)).outcome is Outcome.OFFLOADED


def test_the_close_of_a_connection_is_no_worse_than_its_begin() -> None:
    close = rule(operation="ct", phase="close")
    verdict = judge(program(visit(ct("established")), phase=Phase.CLOSE), rules=(close,))
    assert verdict.outcome is Outcome.FIRST_SOFTWARE
    assert judge(program(visit(ct("established"))), rules=(close,)).outcome is Outcome.OFFLOADED


def test_idle_has_no_packet() -> None:
    assert judge(program(visit(ct("new")), phase=Phase.IDLE), rules=(rule(always=True),)).outcome is Outcome.OFFLOADED


def test_examined_fields_are_met_by_name_part_and_mask() -> None:
    seen = Examined("ct_label.natted", True, "ls_in_acl", "subnet1", LB_FLOW)
    base = visit()
    looked = replace(base, passes=(replace(base.passes[0], examined=(seen,)),))
    path = program(looked, phase=Phase.ESTABLISHED)

    def outcome(**when: object) -> Outcome:
        return judge(path, rules=(rule(effect="software", **when),)).outcome

    assert outcome(field="ct_label", masked=True) is Outcome.SOFTWARE
    assert outcome(field="ct_label.natted") is Outcome.SOFTWARE
    assert outcome(field="ct_label", masked=False) is Outcome.OFFLOADED
    assert outcome(field="ct") is Outcome.OFFLOADED
    assert outcome(field="ct_lab") is Outcome.OFFLOADED
    (reason,) = judge(path, rules=(rule(effect="software", field="ct_label"),)).reasons
    assert (reason.what, reason.stage, reason.flow) == ("masked match on ct_label.natted", "ls_in_acl", LB_FLOW)


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ({"port_kind": "Node"}, True),
        ({"port_kind": "Node", "port_side": "entry"}, True),
        ({"port_kind": "Node", "port_side": "exit"}, False),
        ({"port_kind": "Pod", "port_side": "exit"}, True),
        ({"port_kind": "VNicIP"}, False),
        ({"passes_over": 2}, True),
        ({"passes_over": 3}, False),
        ({"address_family": 4}, True),
        ({"address_family": 6}, False),
        ({"protocols": ("TCP",)}, True),
        ({"operation": "ct", "passes_over": 2}, False),
        ({"always": True}, True),
    ],
)
def test_conditions_on_the_whole_visit(when: dict[str, object], met: bool) -> None:
    verdict = judge(program(visit(kinds=("Node", "Pod"), passes=3)), rules=(rule(effect="software", **when),))
    assert (verdict.outcome is Outcome.SOFTWARE) == met
    assert all(reason.flow is None and reason.what for reason in verdict.reasons)


def test_the_family_is_that_of_the_address_called() -> None:
    six = program(visit(), destination="[fd00::1]:80")
    assert judge(six, rules=(rule(address_family=6),)).outcome is Outcome.FIRST_SOFTWARE


def test_the_worst_chassis_decides_and_each_has_its_own_outcome() -> None:
    path = program(visit(ct("new")), visit(chassis="node2"))
    cards = {"node1": card(), "node2": card(rule(effect="software", always=True))}
    (verdict,) = judge_offload([path], cards)
    assert verdict.outcome is Outcome.SOFTWARE
    assert verdict.by_chassis == {"node1": Outcome.OFFLOADED, "node2": Outcome.SOFTWARE}


def test_reasons_come_worst_first_then_in_the_profiles_order_and_once() -> None:
    rules = (rule("b", operation="ct"), rule("a", operation="ct"), rule("c", effect="software", always=True))
    phases = [program(visit(ct("new")), phase=phase) for phase in (Phase.CLOSE, Phase.FIRST)]
    verdict = judge(*phases, rules=rules)
    assert [(r.code, r.phase) for r in verdict.reasons] == [("c", Phase.FIRST), ("b", Phase.FIRST), ("a", Phase.FIRST)]


def test_a_chassis_without_profile_is_named() -> None:
    with pytest.raises(YtwinError, match="chassis node1 has no hardware profile; there are profiles for node9"):
        judge_offload([program(visit())], {"node9": card()})


@pytest.mark.parametrize(("when", "code"), [({"operation": "dphash"}, "unknown-operation"), ({}, "empty-condition")])
def test_rules_that_no_packet_or_every_packet_meets_by_mistake_are_refused(when: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        judge(program(visit()), rules=(rule(), rule(**when)) if when else (rule(**when),))
    assert code in {problem.code for problem in raised.value.problems}
    assert all("spec.offload[" in problem.where.path and problem.hint for problem in raised.value.problems)


def test_worst_of_none_is_offloaded() -> None:
    assert worst(()) is Outcome.OFFLOADED


# --- rows ----------------------------------------------------------------------------------------------------------------------


def rows(*flows: LogicalFlow) -> Rows:
    balancers = tuple(
        SbLoadBalancer(name, frozendict({vip: "10.0.0.2:80"}), "tcp", frozendict(), (SWITCH,))
        for name, vip in (("default/a/tcp", "10.96.0.1:80"), ("default/b/tcp", "10.96.0.2:80"))
    )
    return Rows(Southbound(flows, (SWITCH,), frozendict(), load_balancers=balancers))


def test_a_flow_that_names_its_row_has_that_row() -> None:
    assert rows().behind(LB_FLOW, "subnet1") == ("Load_Balancer/default/web/tcp",)


def test_conntrack_on_a_switch_is_there_for_its_load_balancers_the_one_called_first() -> None:
    assert rows().behind(PLAIN, "subnet1") == ("Load_Balancer/default/a/tcp", "Load_Balancer/default/b/tcp")
    assert rows().behind(PLAIN, "subnet1", "10.96.0.2:80")[0] == "Load_Balancer/default/b/tcp"


def test_a_flow_of_an_address_is_there_for_all_its_load_balancers_the_one_called_first() -> None:
    router = DatapathId("router", "vpc1")
    new = "ct.new && !ct.rel && ip4 && ip4.dst == 10.96.0.1 && {0} && {0}.dst == {1}"
    one, other = "Load_Balancer/default/a/sctp", "Load_Balancer/default/a/tcp"
    taking = replace(LB_FLOW, stage="lr_in_defrag", match="ip && ip4.dst == 10.96.0.1", source=one, datapaths=(router,))
    flows = (
        taking,
        replace(taking, stage="lr_in_dnat", match=new.format("sctp", 80)),
        replace(taking, stage="lr_in_dnat", match=new.format("tcp", 80), source=other),
        replace(
            taking, stage="lr_in_dnat", match=new.format("tcp", 81).replace("0.1", "0.2"), source="Load_Balancer/x"
        ),
    )
    assert rows(*flows).behind(taking, "vpc1", "10.96.0.1:80", "tcp") == (other, one)
    assert rows(*flows).behind(taking, "vpc1", "10.96.0.1:80", "sctp") == (one, other)
    assert rows(*flows).behind(taking, "vpc2", "10.96.0.1:80", "tcp") == (one,)


def test_sources_of_other_flows_of_the_datapath_count_too() -> None:
    acl = replace(LB_FLOW, stage="ls_in_acl", source="ACL/subnet1|1|ip")
    assert "ACL/subnet1|1|ip" in rows(acl).behind(PLAIN, "subnet1")


@pytest.mark.parametrize(
    ("stage", "match", "datapath", "row"),
    [
        ("ls_in_l2_lkup", "1", "subnet1", "Logical_Switch/subnet1"),
        ("ls_in_pre_stateful", "1", "subnet2", "Logical_Switch/subnet2"),
        ("lr_out_snat", "flags.force_snat_for_lb == 1", "vpc1", "Logical_Router/vpc1"),
        ("lr_in_unsnat", "ip4.dst == 10.0.0.1", "vpc1", "Logical_Router/vpc1"),
        ("lr_in_dnat", "ct.est", "vpc1", "Logical_Router/vpc1"),
    ],
)
def test_other_stages_are_there_for_their_datapath(stage: str, match: str, datapath: str, row: str) -> None:
    assert rows().behind(replace(PLAIN, stage=stage, match=match), datapath) == (row,)


def test_reasons_carry_the_rows() -> None:
    path = program(visit(ct("new", PLAIN)), destination="10.96.0.2:80")
    (verdict,) = judge_offload([path], {"node1": card(rule(operation="ct"))}, rows())
    assert verdict.reasons[0].rows[0] == "Load_Balancer/default/b/tcp"
    (verdict,) = judge_offload([path], {"node1": card(rule(operation="ct"))})
    assert verdict.reasons[0].rows == ()
