"""Our northd against the real one, and against itself, on random Northbounds."""

from __future__ import annotations

import pytest
from northd_oracle import compare
from northd_random import random_northbound

from deployer.sandbox import OvnSandbox
from ytwin.core.memo import Memo
from ytwin.logical.southbound import LogicalFlow, Southbound
from ytwin.northbound.rows import Northbound
from ytwin.northd import northd


@pytest.mark.ovn
@pytest.mark.parametrize("block", range(4))
def test_same_southbound_as_the_real_northd(block: int) -> None:
    with OvnSandbox() as ovn:
        for seed in range(100 * block, 100 * block + 50):
            assert compare(ovn, random_northbound(seed)) == [], f"random_northbound({seed})"


def flows(sb: Southbound) -> set[LogicalFlow]:
    return set(sb.flows)


@pytest.mark.parametrize("seed", range(200, 230))
def test_a_memo_changes_nothing(seed: int) -> None:
    """Rows appear one by one, and some go again: with a memo the result is the same as without."""
    whole = random_northbound(seed)
    memo = Memo()
    halves = [
        whole,
        Northbound({key: row for key, row in whole.rows.items() if key.table != "Logical_Switch_Port"}, whole.options),
        whole,
        random_northbound(seed + 1000),
        Northbound(dict(random_northbound(seed).rows), whole.options),  # equal rows, other objects
    ]
    for nb in halves:
        memo.advance()
        remembered, fresh = northd(nb, memo), northd(nb)
        assert flows(remembered) == flows(fresh)
        assert remembered.ports == fresh.ports
        assert set(remembered.multicast_groups) == set(fresh.multicast_groups)
        assert set(remembered.load_balancers) == set(fresh.load_balancers)
        assert remembered.address_sets == fresh.address_sets


@pytest.mark.parametrize("seed", range(300, 320))
def test_unchanged_rows_give_the_same_objects(seed: int) -> None:
    """What makes the next run cheap: flows of switches are not made twice."""
    nb, memo = random_northbound(seed), Memo()
    first = northd(nb, memo)
    memo.advance()
    second = northd(Northbound(dict(nb.rows), nb.options), memo)
    single = {id(flow) for flow in first.flows}
    again = [flow for flow in second.flows if id(flow) not in single and flow.stage.startswith("ls_")]
    assert all(len(flow.datapaths) > 1 for flow in again), "only joined groups are made anew"


@pytest.mark.parametrize("seed", range(400, 420))
def test_flows_are_unique_and_grouped(seed: int) -> None:
    sb = northd(random_northbound(seed))
    keys = [(flow.stage, flow.priority, flow.match, flow.actions) for flow in sb.flows]
    assert len(keys) == len(set(keys))
    for flow in sb.flows:
        assert list(flow.datapaths) == sorted(set(flow.datapaths))
        assert {datapath.kind for datapath in flow.datapaths} == {
            "switch" if flow.stage.startswith("ls_") else "router"
        }
