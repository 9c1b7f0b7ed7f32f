"""A lab's life: it comes up, is found again, changes, ends; and nothing of it stays, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from frozendict import frozendict
from lab_cases import deploy, leftovers, shipped

from deployer.lab import Lab, LabError, lab_names
from deployer.lab.state import LabState, start_time
from deployer.outside import outside_configs
from deployer.target import NODE, desired
from deployer.wire import Options, verify_wire
from ytwin.core.errors import StalePlan
from ytwin.core.plan import Change, Plan, diff
from ytwin.northbound.rows import RowKey

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("lab_root")]

UP_S, DOWN_S = 15.0, 3.0
_DEPLOYER = """
import sys
sys.path.insert(0, {tests!r})
from lab_cases import deploy, shipped
twin = shipped("four-scenarios")
print("begin", flush=True)
deploy(twin, "victim")
print("done", flush=True)
import time
time.sleep(600)
"""


def test_four_scenarios_are_up_and_down_in_time_and_leave_nothing(lab_root: Path) -> None:
    twin, before = shipped("four-scenarios"), leftovers(lab_root)
    begin = time.monotonic()
    target = deploy(twin, "four")
    up_s = time.monotonic() - begin
    during = leftovers(lab_root)
    assert during["links"] == before["links"], "a lab's devices are born in its own namespaces"
    assert during["named namespaces"] == before["named namespaces"]
    begin = time.monotonic()
    target.destroy()
    down_s = time.monotonic() - begin
    assert leftovers(lab_root) == before
    assert up_s < UP_S
    assert down_s < DOWN_S


def test_what_is_observed_is_what_was_desired_and_drift_shows() -> None:
    twin = shipped("four-scenarios")
    target = deploy(twin, "four")
    goal = desired(twin, target)
    assert target.snapshot() == goal
    assert not len(diff(target.snapshot(), goal))
    lab = Lab.open("four")
    node = lab.chassis("node2")
    node.run(
        "ovs-vsctl",
        f"--db=unix:{node.directory}/db.sock",
        "set",
        "Open_vSwitch",
        ".",
        "external_ids:ovn-encap-ip=9.9.9.9",
    )
    lab.central.run(
        "ovn-nbctl", f"--db={lab.northbound_remote}", "--no-leader-only", "lsp-set-addresses", "db1.default", "unknown"
    )
    found = {change.key: change for change in diff(goal, target.snapshot())}
    assert set(found) == {RowKey(NODE, "node2"), RowKey("Logical_Switch_Port", "db1.default")}
    deploy(twin, "four")
    assert target.snapshot() == goal


def test_a_node_a_workload_and_an_outside_come_and_go() -> None:
    twin = shipped("four-scenarios")
    target = deploy(twin, "four")
    goal = desired(twin, target)
    lab = Lab.open("four")
    node2 = next(config for config in twin.nodes if config.node == "node2")
    without = replace(
        node2, attachments=node2.attachments[:-1], external_ids=node2.external_ids.delete("ovn-bridge-mappings")
    )
    (outside,) = outside_configs(twin)
    processes = len(lab.state.processes())
    lab.apply_node(without)
    lab.remove_node("node3")
    lab.remove_outside(outside.name)
    now = target.snapshot()
    assert now[RowKey(NODE, "node2")] == without
    assert RowKey(NODE, "node3") not in now
    assert outside.key not in now
    chassis = {row["name"] for row in lab.central.select("OVN_Southbound", "Chassis", "name")}
    assert chassis == {"node1", "node2"}, "an orderly end takes the chassis out of the Southbound"
    deploy(twin, "four")
    assert target.snapshot() == goal
    assert len(Lab.open("four").state.processes()) == processes
    report = verify_wire(Lab.open("four"), twin)
    assert report.holds, str(report)


def test_a_plan_against_another_state_is_refused() -> None:
    twin = shipped("article")
    target = deploy(twin, "article")
    node = twin.nodes[0]
    imagined = replace(node, other_config=frozendict(imagined="true"))
    with pytest.raises(StalePlan):
        target.apply(Plan((Change(RowKey(NODE, node.node), imagined, node),)))


def test_two_labs_side_by_side_do_not_disturb_each_other(lab_root: Path) -> None:
    twin = shipped("four-scenarios")
    before = leftovers(lab_root)
    one, other = deploy(twin, "one"), deploy(twin, "other")
    assert lab_names() == ("one", "other")
    for name in ("one", "other"):
        report = verify_wire(Lab.open(name), twin)
        assert report.holds, f"{name}:\n{report}"
    one.destroy()
    assert other.snapshot() == desired(twin, other)
    report = verify_wire(Lab.open("other"), twin)
    assert report.holds, str(report)
    other.destroy()
    assert leftovers(lab_root) == before


def test_a_lab_that_exists_is_not_started_twice() -> None:
    deploy(shipped("article"), "article")
    with pytest.raises(LabError, match="exists"):
        Lab.create("article")
    with pytest.raises(LabError, match="article"):
        Lab.open("other")


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x", "x" * 80])
def test_odd_names_are_refused(name: str) -> None:
    with pytest.raises(LabError, match="name"):
        Lab.create(name)


def _run_deployer() -> subprocess.Popen[str]:
    tests = str(Path(__file__).parents[1])
    process = subprocess.Popen([sys.executable, "-c", _DEPLOYER.format(tests=tests)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


def _when_processes(count: int) -> None:
    """Return when the victim's lab has that many processes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if "victim" in lab_names() and len(LabState.open("victim").processes()) >= count:
            return
        time.sleep(0.002)
    raise AssertionError("the lab does not come up")


def _destroy_by_name() -> None:
    LabState.open("victim").destroy()


def _begin_anew() -> None:
    Lab.create("victim").destroy()


@pytest.mark.parametrize("cleaning", [_destroy_by_name, _begin_anew])
@pytest.mark.parametrize("processes", [1, 8, 20, 28])
def test_a_killed_deployer_leaves_what_can_be_destroyed(
    lab_root: Path, processes: int, cleaning: Callable[[], None]
) -> None:
    before = leftovers(lab_root)
    with _run_deployer() as deployer:
        _when_processes(processes)
        deployer.kill()
    state = LabState.open("victim")
    if cleaning is _begin_anew and state.complete:
        _destroy_by_name()
    else:
        cleaning()
    assert leftovers(lab_root) == before


def test_a_deployer_that_is_killed_when_it_was_done_leaves_a_running_lab() -> None:
    with _run_deployer() as deployer:
        assert deployer.stdout is not None
        assert deployer.stdout.readline() == "done\n"
        deployer.kill()
    report = verify_wire(Lab.open("victim"), shipped("four-scenarios"), Options(silence_s=1.2))
    assert report.holds, str(report)


@pytest.mark.parametrize("processes", [3, 15, 25])
def test_an_interrupt_in_the_middle_cleans_up(lab_root: Path, processes: int) -> None:
    before = leftovers(lab_root)
    with _run_deployer() as deployer:
        _when_processes(processes)
        deployer.send_signal(signal.SIGINT)
        deployer.wait(30)
    assert "victim" not in lab_names()
    assert leftovers(lab_root) == before


def test_pids_that_came_round_again_are_left_alone() -> None:
    lab = Lab.create("empty")
    with (lab.state.directory / "processes").open("a") as file:
        file.write(json.dumps({"what": "old", "pid": os.getpid(), "start": 1}) + '\n{"cut off')
    lab.destroy()
    assert start_time(os.getpid())
