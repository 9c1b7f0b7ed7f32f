"""Joining equal flows of several datapaths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ytwin.logical.southbound import DatapathId
from ytwin.northd.collect import Collector, Flows, group_of
from ytwin.northd.stages import Stage

A, B, C = (DatapathId("switch", name) for name in "abc")


def test_one_flow_keeps_its_group_object() -> None:
    group, collector = (A, B), Collector()
    collector.add(group, Stage.LS_IN_LB, 0, "1", "next;", "x")
    (flow,) = collector.done()
    assert flow.datapaths is group
    assert (flow.pipeline, flow.table, flow.stage, flow.source) == ("ingress", 12, "ls_in_lb", "x")


def test_equal_flows_are_joined_and_others_are_not() -> None:
    collector = Collector()
    collector.add((B,), Stage.LS_IN_LB, 0, "1", "next;", "first")
    collector.add((A, B), Stage.LS_IN_LB, 0, "1", "next;", "second")
    collector.add((C,), Stage.LS_IN_LB, 0, "1", "next;")
    for stage, priority, match, actions in (
        (Stage.LS_IN_STATEFUL, 0, "1", "next;"),
        (Stage.LS_IN_LB, 1, "1", "next;"),
        (Stage.LS_IN_LB, 0, "ip", "next;"),
        (Stage.LS_IN_LB, 0, "1", "drop;"),
    ):
        collector.add((A,), stage, priority, match, actions)
    first, *others = collector.done()
    assert first.datapaths == (A, B, C)
    assert first.source == "first"
    assert [flow.datapaths for flow in others] == [(A,)] * 4


def test_no_datapath_no_flow() -> None:
    flows = Flows()
    flows.add((), Stage.LS_IN_LB, 0, "1", "next;")
    assert flows.done() == ()


@given(st.lists(st.tuples(st.sets(st.sampled_from((A, B, C)), min_size=1), st.sampled_from(("1", "ip", "tcp")))))
def test_the_union_of_all(flows: list[tuple[set[DatapathId], str]]) -> None:
    collector = Collector()
    expected: dict[str, set[DatapathId]] = {}
    for where, match in flows:
        collector.add(group_of(where), Stage.LS_IN_LB, 0, match, "next;")
        expected.setdefault(match, set()).update(where)
    assert {flow.match: flow.datapaths for flow in collector.done()} == {m: group_of(w) for m, w in expected.items()}
    assert collector.done() == collector.done()
