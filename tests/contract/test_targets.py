"""What every target must do, whatever it deploys to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from deploy_places import FakePlace, LabPlace, OvsdbPlace, Place, topology, twin_of
from frozendict import frozendict

from deployer import plans
from deployer.sandbox import OvnSandbox, missing_binaries
from deployer.target import Target, desired
from ytwin.core.errors import StalePlan, YtwinError
from ytwin.core.plan import Change, Plan, diff
from ytwin.northbound.rows import (
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Row,
    RowKey,
)

THEIRS = frozendict({"owner": "them"})
SMALL, MORE = topology(), topology(pods=6, services=4, eips=2)
FOREIGN: tuple[Row, ...] = (
    LogicalSwitch("their-switch", load_balancer_group=("their-group",), other_config=frozendict(a="b")),
    LogicalSwitchPort("their-port", "their-switch", addresses=("0a:00:00:00:00:01 10.9.0.1",), external_ids=THEIRS),
    LogicalRouter("their-router", external_ids=THEIRS),
    LogicalRouterPort("their-router-port", "their-router", "0a:00:00:00:00:02", ("10.9.0.254/24",)),
    LoadBalancer("their-lb", frozendict({"10.9.9.9:80": "10.9.0.1:80"}), external_ids=THEIRS),
    LoadBalancerGroup("their-group", ("their-lb",)),
)


@contextmanager
def fake() -> Iterator[Place]:
    yield FakePlace()


@contextmanager
def ovsdb() -> Iterator[Place]:
    if missing_binaries() and not os.environ.get("YTWIN_REQUIRE_OVN"):
        pytest.skip(f"not installed: {', '.join(missing_binaries())}")
    with OvnSandbox() as ovn:
        place = OvsdbPlace(ovn)
        yield place
        place.close()


@contextmanager
def mininet() -> Iterator[Place]:
    why_not = _why_no_lab()
    if why_not and not os.environ.get("YTWIN_REQUIRE_LAB"):
        pytest.skip(why_not)
    place = LabPlace(f"contract-{os.getpid()}")
    try:
        yield place
    finally:
        place.close()


def _why_no_lab() -> str:
    try:
        from deployer.lab import why_no_lab  # noqa: PLC0415 - not every machine has Mininet
    except ImportError as error:
        return str(error)
    return why_no_lab()


PLACES: dict[str, Callable[[], AbstractContextManager[Place]]] = {"fake": fake, "ovsdb": ovsdb, "mininet": mininet}
MARKS = {"ovsdb": pytest.mark.ovn, "mininet": pytest.mark.lab}


SHARED = [pytest.param(name, marks=MARKS.get(name, ())) for name in ("fake", "ovsdb")]
"""Places that several deployments may share; a lab is one deployment's own."""


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, ())) for name in PLACES])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with PLACES[request.param]() as found:
        yield found


def deploy(target: Target, text: str) -> int:
    plan = plans.make_plan(target, desired(twin_of(text), target))
    target.apply(plan.changes)
    return len(plan.changes)


def test_after_apply_the_target_holds_what_is_desired(place: Place) -> None:
    target = place.open()
    for text in (SMALL, MORE, SMALL, topology(port=81), topology(pods=0, services=0, eips=0)):
        goal = desired(twin_of(text), target)
        assert deploy(target, text) > 0
        assert target.snapshot() == goal
        assert place.open().snapshot() == goal, "another process sees the same"


def test_applying_again_does_nothing(place: Place) -> None:
    target = place.open()
    deploy(target, SMALL)
    before = place.everything()
    assert deploy(target, SMALL) == 0
    assert place.everything() == before


def test_an_edit_is_just_that_edit(place: Place) -> None:
    target = place.open()
    deploy(target, SMALL)
    plan = plans.make_plan(target, desired(twin_of(topology(services=3, eips=0)), target))
    services = {key.name.split("/")[1] for key in (c.key for c in plan.changes) if key.table == "Load_Balancer"}
    assert services == {"svc-2"}  # from LoadBalancer to ClusterIP: its EIP's row, routes and references go


def test_destroy_leaves_what_was_before(place: Place) -> None:
    place.put_foreign(FOREIGN)
    before = place.everything()
    target = place.open()
    deploy(target, MORE)
    assert place.everything() != before
    target.destroy()
    assert target.snapshot() == {}
    target.destroy()
    assert target.snapshot() == {}
    if not place.ends:
        assert place.everything() == before


def test_rows_of_others_are_not_touched(place: Place) -> None:
    place.put_foreign(FOREIGN)
    before = place.of_others()
    assert len(before) == len(FOREIGN)
    target = place.open()
    for text in (SMALL, MORE, SMALL):
        deploy(target, text)
        assert place.of_others() == before


def test_a_switch_and_a_group_of_others_are_shared(place: Place) -> None:
    rows = (
        LogicalSwitch("s1", load_balancer_group=("vpc_vpc1",), external_ids=THEIRS),
        LogicalSwitchPort("their-port", "s1", external_ids=THEIRS),
        LoadBalancer("their-lb", frozendict({"10.9.9.9:80": "10.9.0.1:80"}), external_ids=THEIRS),
        LoadBalancerGroup("vpc_vpc1", ("their-lb",)),
        LogicalRouter("vpc1", external_ids=THEIRS),
    )
    place.put_foreign(rows)
    everything, others = place.everything(), place.of_others()
    target = place.open()
    goal = desired(twin_of(SMALL), target)
    plan = diff(target.snapshot(), goal)
    shared = ("Logical_Switch/s1", "Load_Balancer_Group/vpc_vpc1", "Logical_Router/vpc1")
    notes = target.notes(plan)
    assert len(notes) == 3
    assert {name for name in shared for note in notes if note.startswith(name) and "shared" in note} == set(shared)
    target.apply(plan)
    assert target.snapshot() == goal
    assert deploy(target, MORE) > 0
    assert deploy(target, MORE) == 0
    if "vpc_vpc1" not in str(others):  # a place whose view of others leaves shared groups out
        assert {k: v for k, v in place.of_others().items() if "Group" not in k} == others
    target.apply(diff(target.snapshot(), {}))
    assert place.everything() == everything


def test_what_others_put_into_ours_stays(place: Place) -> None:
    target = place.open()
    deploy(target, SMALL)
    ours = target.snapshot()[RowKey("Logical_Switch", "s1")]
    if isinstance(place, OvsdbPlace):
        place.nbctl("lsp-add", "s1", "guest", "--", "lb-add", "guest-lb", "10.9.9.9:80", "10.1.0.9:80")
        place.nbctl("ls-lb-add", "s1", "guest-lb")
    else:
        place.put_foreign([LogicalSwitchPort("guest", "s1")])
    assert target.snapshot()[RowKey("Logical_Switch", "s1")] == ours, "it is nothing of ours"
    assert deploy(target, SMALL) == 0
    deploy(target, MORE)
    notes = target.notes(diff(target.snapshot(), {}))
    assert [note for note in notes if note.startswith("Logical_Switch/s1 is used by others")]
    target.apply(diff(target.snapshot(), {}))
    assert target.snapshot() == {}
    assert "guest" in str(place.of_others())
    assert "s1" in str(place.of_others())
    assert "s2" not in str(place.of_others())


def test_a_name_that_others_have_is_refused_and_nothing_done(place: Place) -> None:
    place.put_foreign(
        [
            LogicalSwitch("elsewhere"),
            LogicalSwitchPort("web-0.default", "elsewhere"),
            LoadBalancer("default/svc-0/tcp", frozendict()),
        ]
    )
    before = place.everything()
    target = place.open()
    plan = diff(target.snapshot(), desired(twin_of(SMALL), target))
    for act in (target.notes, target.apply):
        with pytest.raises(YtwinError) as failure:
            act(plan)
        assert "Logical_Switch_Port/web-0.default" in str(failure.value)
        assert "Load_Balancer/default/svc-0/tcp" in str(failure.value)
    assert place.everything() == before


def test_settings_that_a_shared_row_lacks_are_refused(place: Place) -> None:
    place.put_foreign([LogicalRouter("gr", options=frozendict(chassis="other"))])
    target = place.open()
    wanted = LogicalRouter("gr", options=frozendict(chassis="node1"), external_ids=frozendict({"owner": "ytwin"}))
    with pytest.raises(YtwinError, match="chassis"):
        target.apply(Plan((Change(wanted.key, None, wanted),)))
    assert target.snapshot() == {}


@pytest.mark.parametrize("place", SHARED, indirect=True)
def test_deployments_side_by_side_do_not_see_each_other(place: Place) -> None:
    first, second = place.open("one"), place.open("two")
    deploy(first, SMALL)
    held = first.snapshot()
    other = desired(
        twin_of(SMALL.replace("s1", "t1").replace("s2", "t2").replace("vpc1", "vpc9").replace("svc-", "x-")), second
    )
    own = {
        k: v
        for k, v in other.items()
        if k not in held and k.table in ("Logical_Switch", "Load_Balancer", "Logical_Router")
    }
    own = {
        k: v
        for k, v in own.items()
        if not getattr(v, "load_balancer_group", ()) and not getattr(v, "load_balancer", ())
    }
    assert own
    second.apply(diff(second.snapshot(), own))
    assert (first.snapshot(), second.snapshot()) == (held, own)
    first.destroy()
    assert (first.snapshot(), second.snapshot()) == ({}, own)
    second.destroy()
    assert second.snapshot() == {}


def test_a_plan_is_refused_once_what_it_was_made_against_has_moved(place: Place) -> None:
    target = place.open()
    stale = plans.make_plan(target, desired(twin_of(SMALL), target))
    deploy(place.open(), MORE)
    before = place.everything()
    with pytest.raises(StalePlan):
        plans.apply_saved(target, stale)
    with pytest.raises(StalePlan):
        target.apply(stale.changes)
    assert place.everything() == before


def test_a_saved_plan_applies_exactly_and_once(place: Place) -> None:
    target = place.open()
    deploy(target, SMALL)
    goal = desired(twin_of(MORE), target)
    saved = plans.from_json(plans.make_plan(target, goal).to_json())
    assert plans.apply_saved(target, saved)
    assert target.snapshot() == goal
    assert not plans.apply_saved(target, saved), "the second time there is nothing to do"
    assert target.snapshot() == goal


def test_a_plan_whose_row_moved_after_the_snapshot_is_refused(place: Place) -> None:
    """Between a target's own snapshot and its apply somebody else applies: the target must notice by itself."""
    mine, theirs = place.open(), place.open()
    deploy(mine, SMALL)
    plan = diff(mine.snapshot(), desired(twin_of(MORE), mine))
    deploy(theirs, topology(port=90))
    held = theirs.snapshot()
    with pytest.raises(StalePlan):
        mine.apply(plan)
    assert theirs.snapshot() == held
