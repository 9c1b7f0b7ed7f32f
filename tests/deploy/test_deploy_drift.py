"""What was changed by hand is found, nothing else is, and applying again puts it right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deploy_places import OvsdbPlace, topology, twin_of

from deployer.sandbox import OvnSandbox, missing_binaries
from deployer.target import Item, State, desired
from deployer.targets.ovsdb import OvsdbTarget
from ytwin.core.plan import Change, diff
from ytwin.northbound.rows import LoadBalancer, LogicalSwitchPort, RowKey, StaticRoute

pytestmark = [
    pytest.mark.ovn,
    pytest.mark.skipif(bool(missing_binaries()), reason=f"not installed: {', '.join(missing_binaries())}"),
]
LB = RowKey("Load_Balancer", "default/svc-0/tcp")
PORT = RowKey("Logical_Switch_Port", "web-0.default")


@pytest.fixture(scope="module")
def place() -> Iterator[OvsdbPlace]:
    with OvnSandbox() as ovn:
        place = OvsdbPlace(ovn)
        yield place
        place.close()


@pytest.fixture
def target(place: OvsdbPlace) -> OvsdbTarget:
    opened = place.open()
    opened.apply(diff(opened.snapshot(), goal_of(opened)))
    return opened


def goal_of(target: OvsdbTarget) -> State:
    return desired(twin_of(topology()), target)


def drift(target: OvsdbTarget) -> dict[RowKey, Change[RowKey, Item]]:
    return {change.key: change for change in diff(goal_of(target), target.snapshot())}


def repaired(place: OvsdbPlace, target: OvsdbTarget) -> None:
    """Another apply puts everything right."""
    again = place.open()
    again.apply(diff(again.snapshot(), goal_of(again)))
    assert drift(target) == {}


def uuid_of(place: OvsdbPlace, key: RowKey) -> str:
    return place.ovn.nbctl("--bare", "--columns=_uuid", "find", key.table, f'name="{key.name}"').strip()


def test_what_northd_writes_is_no_drift(place: OvsdbPlace, target: OvsdbTarget) -> None:
    place.ovn.wait_northd()
    assert "mac_prefix" in place.ovn.nbctl("get", "NB_Global", ".", "options")
    place.ovn.nbctl("lsp-set-options", "web-0.default", "--", "set", "Logical_Switch_Port", "web-0.default", "up=true")
    assert drift(target) == {}


def test_what_others_note_in_external_ids_is_no_drift_and_stays(place: OvsdbPlace, target: OvsdbTarget) -> None:
    place.ovn.nbctl("set", "Logical_Switch_Port", "web-0.default", "external_ids:neighbour=hello")
    place.ovn.nbctl("set", "NB_Global", ".", "external_ids:mine=too", "options:northd_probe_interval=7000")
    assert drift(target) == {}
    other = desired(twin_of(topology(port=81)), target)
    target.apply(diff(target.snapshot(), other))
    assert "neighbour=hello" in place.ovn.nbctl("get", "Logical_Switch_Port", "web-0.default", "external_ids")
    repaired(place, target)
    target.destroy()
    assert place.ovn.nbctl("get", "NB_Global", ".", "external_ids").strip() == "{mine=too}"
    assert "northd_probe_interval" in place.ovn.nbctl("get", "NB_Global", ".", "options")
    assert "use_ct_inv_match" not in place.ovn.nbctl("get", "NB_Global", ".", "options")


def test_a_changed_vip(place: OvsdbPlace, target: OvsdbTarget) -> None:
    place.ovn.nbctl("set", "Load_Balancer", uuid_of(place, LB), 'vips:"10.9.9.9:1"="10.1.0.1:1"')
    found = drift(target)
    assert found.keys() == {LB}
    after = found[LB].after
    assert isinstance(after, LoadBalancer)
    assert "10.9.9.9:1" in after.vips
    repaired(place, target)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["lsp-set-addresses", "web-0.default", "0a:00:00:00:00:09 10.1.0.99"], {PORT}),
        (["lsp-set-port-security", "web-0.default", "0a:00:00:00:00:09"], {PORT}),
        (["lsp-del", "web-0.default"], {PORT}),
        (["set", "Logical_Switch", "s1", "other_config:mcast_snoop=true"], {RowKey("Logical_Switch", "s1")}),
        (["set", "Logical_Router", "vpc1", "options:chassis=node1"], {RowKey("Logical_Router", "vpc1")}),
        (
            ["set", "Logical_Router_Port", "lrp_vpc1_s1", "options:gateway_mtu=1200"],
            {RowKey("Logical_Router_Port", "lrp_vpc1_s1")},
        ),
        (["remove", "NB_Global", ".", "options", "use_ct_inv_match"], {RowKey("NB_Global", "use_ct_inv_match")}),
        (["set", "NB_Global", ".", "options:use_ct_inv_match=true"], {RowKey("NB_Global", "use_ct_inv_match")}),
        (["clear", "Load_Balancer_Group", "vpc_vpc1", "load_balancer"], {RowKey("Load_Balancer_Group", "vpc_vpc1")}),
        (["clear", "Logical_Switch", "s2", "load_balancer_group"], {RowKey("Logical_Switch", "s2")}),
    ],
)
def test_one_change_by_hand_is_one_change_found(
    place: OvsdbPlace, target: OvsdbTarget, command: list[str], expected: set[RowKey]
) -> None:
    place.ovn.nbctl(*command)
    assert drift(target).keys() == expected
    repaired(place, target)


def test_a_changed_route_is_one_gone_and_another_come(place: OvsdbPlace, target: OvsdbTarget) -> None:
    uuid = place.ovn.nbctl("--bare", "--columns=_uuid", "find", StaticRoute.table, "ip_prefix=10.200.0.0/16").strip()
    place.ovn.nbctl("set", StaticRoute.table, uuid, "nexthop=10.1.0.78")
    verbs = {key.name: change.verb for key, change in drift(target).items()}
    assert verbs == {
        "vpc1||dst-ip|10.200.0.0/16|10.1.0.77|": "delete",
        "vpc1||dst-ip|10.200.0.0/16|10.1.0.78|": "create",
    }
    repaired(place, target)


def test_a_switch_deleted_by_hand(place: OvsdbPlace, target: OvsdbTarget) -> None:
    place.ovn.nbctl("ls-del", "s1")
    found = drift(target)
    assert RowKey("Logical_Switch", "s1") in found
    assert PORT in found, "its ports went with it"
    assert all(change.after is None for change in found.values())
    repaired(place, target)


def test_a_renamed_switch(place: OvsdbPlace, target: OvsdbTarget) -> None:
    place.ovn.nbctl("set", "Logical_Switch", "s1", "name=renamed")
    found = drift(target)
    assert {RowKey("Logical_Switch", "s1"), RowKey("Logical_Switch", "renamed"), PORT} <= found.keys()
    repaired(place, target)
    assert "renamed" not in place.ovn.nbctl("ls-list")


def test_a_port_moved_into_somebody_elses_switch(place: OvsdbPlace, target: OvsdbTarget) -> None:
    place.ovn.nbctl("ls-add", "theirs")
    uuid = place.ovn.nbctl("get", "Logical_Switch_Port", "web-0.default", "_uuid").strip()
    place.ovn.nbctl(
        "add", "Logical_Switch", "theirs", "ports", uuid, "--", "remove", "Logical_Switch", "s1", "ports", uuid
    )
    found = drift(target)
    assert found.keys() == {PORT}
    after = found[PORT].after
    assert isinstance(after, LogicalSwitchPort)
    assert after.switch == "theirs"
    repaired(place, target)
    assert place.ovn.nbctl("lsp-list", "theirs") == ""
    assert "web-0.default" in place.ovn.nbctl("lsp-list", "s1")
    place.ovn.nbctl("ls-del", "theirs")


def test_a_row_that_somebody_copied(place: OvsdbPlace, target: OvsdbTarget) -> None:
    ids = "external_ids={owner=ytwin,ytwin-deployment=default,kind=YusurService,namespace=default,object=svc-0}"
    place.ovn.nbctl("create", "Load_Balancer", f'name="{LB.name}"', "protocol=tcp", ids)
    found = drift(target)
    assert RowKey(LB.table, f"{LB.name}#2") in found
    repaired(place, target)
    assert len(uuid_of(place, LB).split()) == 1


def test_a_switch_that_somebody_copied_with_a_port_of_ours(place: OvsdbPlace, target: OvsdbTarget) -> None:
    ids = "external_ids={owner=ytwin,ytwin-deployment=default,kind=Subnet,object=s1}"
    uuid = place.ovn.nbctl("get", "Logical_Switch_Port", "web-0.default", "_uuid").strip()
    place.ovn.nbctl("create", "Logical_Switch", "name=s1", ids, f"ports={uuid}", "--", "lsp-del", "web-2.default")
    assert len(drift(target)) >= 2
    repaired(place, target)
    assert place.ovn.nbctl("ls-list").count("(s1)") == 1
    assert "web-0.default" in place.ovn.nbctl("lsp-list", "s1")


def test_a_plan_after_an_edit_is_small(place: OvsdbPlace, target: OvsdbTarget) -> None:
    other = desired(twin_of(topology(services=3)), target)
    plan = diff(target.snapshot(), other)
    target.transactions.clear()
    target.apply(plan)
    assert {c.key.name for c in plan if c.key.table == "Load_Balancer"} >= {"default/svc-3/tcp"}
    assert len(target.transactions) == 1
    repaired(place, target)


def test_one_more_service_is_one_small_transaction(place: OvsdbPlace, target: OvsdbTarget) -> None:
    """However many there are in its group: what is sent does not grow with them."""
    sizes = []
    for services in (2, 60):
        target.apply(diff(target.snapshot(), desired(twin_of(topology(services=services, eips=0)), target)))
        plan = diff(target.snapshot(), desired(twin_of(topology(services=services + 1, eips=0)), target))
        assert len(plan) == 2  # its row and the group
        target.transactions.clear()
        target.apply(plan)
        sizes += target.transactions
    assert sizes[0] == sizes[1] <= 8
    repaired(place, target)
