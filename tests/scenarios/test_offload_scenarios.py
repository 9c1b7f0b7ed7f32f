"""Offload verdicts of the four scenarios on three cards, each reason traced to a row; and `ytwin offload` itself."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from frozendict import frozendict

from ytwin import pipeline
from ytwin.cli import main
from ytwin.datapath import limits_of
from ytwin.datapath.offload_types import OffloadVerdict, Outcome
from ytwin.datapath.program import Direction
from ytwin.datapath.rows import Rows
from ytwin.hardware import shipped
from ytwin.northd import northd
from ytwin.trace.world import build_world
from ytwin.verify import offload as room
from ytwin.verify.paths import promised

FOLDER = Path(__file__).parents[2] / "topologies" / "four-scenarios"
CARDS = ("yusur-dpu-2x100g", "connectx-6-dx", "bluefield-2")
TCP_CLIENTS = {
    "scenario1": "Pod/default/vpc1-client",
    "scenario2": "Node/node1",
    "scenario3": "outside/eipgw",
    "scenario4": "outside/eipgw",
}


@cache
def twin(old: str = "", new: str = "") -> pipeline.Twin:
    files = {str(file): file.read_text() for file in sorted(FOLDER.glob("*.yaml"))}
    assert not old or any(old in text for text in files.values())
    return pipeline.build(
        pipeline.read({name: text.replace(old, new) if old else text for name, text in files.items()})
    )


@cache
def walked(old: str = "", new: str = "") -> tuple[room.Compiled, ...]:
    here = twin(old, new)
    some = None if not old else lambda _client, target: target.service == "default/scenario1"
    return room.compiled(promised(here.snapshot, here.world, limits_of(here.nodes), {}, wanted=some), here.world)


def judged(card: str, old: str = "", new: str = "") -> tuple[room.Judged, ...]:
    here = twin(old, new)
    cards = dict.fromkeys(here.world.chassis, shipped()[card])
    return room.judged(walked(old, new), cards, Rows(here.southbound))


def of(found: tuple[room.Judged, ...], service: str, protocol: str = "tcp") -> list[OffloadVerdict]:
    return [j.verdict for j in found if j.service == f"default/{service}" and j.verdict.protocol == protocol]


@pytest.mark.parametrize(("service", "protocol"), [("scenario4", "tcp"), ("scenario3", "udp")])
def test_a_flow_of_several_load_balancers_names_the_one_called_first(service: str, protocol: str) -> None:
    """A router's defrag stage matches an EIP only, not protocol and port, so each of the EIP's load balancers makes the flow."""
    verdicts = of(judged("connectx-6-dx"), service, protocol)
    reasons = [r for v in verdicts for r in v.reasons if r.stage == "lr_in_defrag"]
    other = {"scenario4": "sctp", "scenario3": "tcp"}[service]
    assert reasons
    for reason in reasons:
        assert reason.rows == tuple(f"Load_Balancer/default/{service}/{p}/eip" for p in (protocol, other))


def test_a_flow_without_a_row_names_the_services_own_load_balancers_first() -> None:
    """From outside the EIP's load balancer is on the router; on the backend's switch any makes the flow."""
    for service, protocol in (("scenario3", "udp"), ("scenario3", "tcp")):
        found = [r for v in of(judged("bluefield-2"), service, protocol) for r in v.reasons if len(r.rows) > 1]
        assert found
        assert {r.rows[0].rsplit("/", 1)[0] for r in found if r.stage.startswith("ls_")} == {
            f"Load_Balancer/default/{service}"
        }
        assert {r.rows[0].rsplit("/", 1)[1] for r in found if r.stage.startswith("ls_")} == {protocol}


@pytest.mark.parametrize("card", CARDS)
def test_every_reason_of_a_flow_names_rows_that_exist(card: str) -> None:
    rows = {str(key) for key in twin().northbound.rows}
    flows = set(twin().southbound.flows)
    reasons = [reason for one in judged(card) for reason in one.verdict.reasons]
    by_flow = [(reason, reason.flow) for reason in reasons if reason.flow is not None]
    assert len(by_flow) > 1000
    for reason, flow in by_flow:
        assert reason.rows
        assert set(reason.rows) <= rows
        assert flow in flows
        assert reason.source in ("", *reason.rows)
        assert reason.stage == flow.stage
        assert reason.datapath in {d.name for d in flow.datapaths}
    # What no flow causes is the datapath's own doing, or that of the port.
    assert {r.code for r in reasons if r.flow is None} <= {"flow-miss", "internal-port"}
    for reason in reasons:
        if reason.code == "internal-port":
            (row,) = reason.rows
            assert row in rows
            assert row.startswith("Logical_Switch_Port/node_")


@pytest.mark.parametrize(("service", "hashed"), [("scenario1", False), ("scenario2", True), ("scenario3", True)])
def test_a_miss_of_every_connection_names_the_choice_by_hash(service: str, hashed: bool) -> None:
    """scenario1 has session affinity: dp_hash is no field of the match. Elsewhere the hash takes in the client's port."""
    verdicts = [v for v in of(judged("bluefield-2"), service) if v.direction is Direction.FORWARD]
    for verdict in verdicts:
        misses = [r for r in verdict.reasons if r.code == "flow-miss" and r.flow is not None]
        assert bool(misses) is hashed
        for reason in misses:
            assert "tcp.src is in its match" in reason.what
            assert any(row.startswith(f"Load_Balancer/default/{service}/tcp") for row in reason.rows)


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("scenario", sorted(TCP_CLIENTS))
def test_connections_of_the_four_scenarios_start_in_software(card: str, scenario: str) -> None:
    verdicts = [v for v in of(judged(card), scenario) if v.client == TCP_CLIENTS[scenario]]
    assert {v.direction for v in verdicts} == {Direction.FORWARD, Direction.REPLY}
    for verdict in verdicts:
        # A SmartNIC's node port is a port of the host's OVS: what enters there is software, what leaves is not.
        node = scenario == "scenario2" and card == "connectx-6-dx" and verdict.direction is Direction.FORWARD
        assert verdict.outcome is (Outcome.SOFTWARE if node else Outcome.FIRST_SOFTWARE)
        codes = room.codes(verdict)
        assert ("internal-port" in codes) == node
        assert ("ct-new" in codes) == (verdict.direction is Direction.FORWARD)
        assert ("ct-not-assured" in codes) == (verdict.direction is Direction.REPLY)
        assert {"flow-miss", "tcp-close"} <= set(codes)


@pytest.mark.parametrize("card", CARDS)
def test_udp_starts_in_software_and_sctp_stays_there(card: str) -> None:
    udp, sctp = of(judged(card), "scenario3", "udp"), of(judged(card), "scenario4", "sctp")
    assert {v.outcome for v in udp} == {Outcome.FIRST_SOFTWARE}
    assert any("ct-new-udp" in room.codes(v) for v in udp)
    assert not any("tcp-close" in room.codes(v) for v in udp)
    assert {v.outcome for v in sctp} == {Outcome.SOFTWARE}
    assert all(room.codes(v)[0] == "ct-protocol" for v in sctp)


@pytest.mark.parametrize("profile", ["ovs-kernel", "ovs-netdev", "kube-proxy-iptables", "kube-proxy-ipvs"])
def test_without_a_card_everything_is_software(profile: str) -> None:
    assert {(j.verdict.outcome, room.codes(j.verdict)) for j in judged(profile)} == {
        (Outcome.SOFTWARE, ("no-offload",))
    }


AFFINITY = "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 600}}\n"
DP_HASH = "  balancing: {algorithm: dpHash}\n"


@pytest.mark.parametrize(("new", "hashes"), [(AFFINITY, True), ("", False), (DP_HASH, True)])
def test_dp_hash_is_a_reason_of_dp_hash_and_affinity_only(new: str, hashes: bool) -> None:
    old = AFFINITY if new != AFFINITY else ""
    found = judged("bluefield-2", old, new if old else "")
    forward = [v for v in of(found, "scenario1") if v.direction is Direction.FORWARD]
    assert forward
    assert all(("dp-hash-group" in room.codes(v)) == hashes for v in forward)
    for verdict in forward if hashes else ():
        reason = next(r for r in verdict.reasons if r.code == "dp-hash-group")
        assert reason is room.decisive(verdict)
        assert (reason.stage, reason.rows) == ("ls_in_lb", ("Load_Balancer/default/scenario1/tcp",))
    assert not any("dp-hash-group" in room.codes(v) for v in of(found, "scenario2"))


@pytest.mark.parametrize("used", [True, False])
def test_a_match_on_ct_inv_is_a_reason_where_northd_writes_one(used: bool) -> None:
    here = twin()
    options = frozendict({"use_ct_inv_match": str(used).lower()})
    northbound = replace(here.northbound, options=options)
    southbound = northd(northbound)
    world = build_world(here.snapshot, northbound, here.nodes, southbound)
    wanted = promised(here.snapshot, world, limits_of(here.nodes), {}, wanted=lambda _c, t: t.service.endswith("1"))
    for card, knows in (("yusur-dpu-2x100g", False), ("connectx-6-dx", True)):
        cards = dict.fromkeys(world.chassis, shipped()[card])
        found = room.judged(room.compiled(wanted, world), cards, Rows(southbound))
        met = [one for one in found if "ct-inv-match" in room.codes(one.verdict)]
        assert len(met) == (len(found) if used and not knows else 0)
        for one in met:
            reason = next(r for r in one.verdict.reasons if r.code == "ct-inv-match")
            assert (one.verdict.outcome, reason.stage[3:]) in [
                (Outcome.SOFTWARE, "in_acl"),
                (Outcome.SOFTWARE, "out_acl"),
            ]
            assert all(row.startswith("Load_Balancer/") for row in reason.rows)


# --- the command ----------------------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["offload", str(FOLDER), *arguments])
    caught = capsys.readouterr()
    return code, caught.out + caught.err


def test_the_default_cards_are_those_of_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "--from", "node2", "--to", "scenario2")
    assert code == 0
    assert out.startswith("# as the NetworkCards say: node1 yusur-dpu-2x100g, node2 connectx-6-dx, node3 ovs-kernel\n")
    (line,) = (line for line in out.splitlines() if "Pod/default/web1" in line and "  forward  " in line)
    assert "software" in line
    assert "internal-port,ct-new,flow-miss,tcp-close" in line
    assert "host cores of node1 +1" in line
    assert "no-offload: software\n    Plain OVS in the kernel: every packet is software.\n" in out
    assert "    connectx-6-dx: OVS commit 608ff46aa" in out


def test_each_named_card_stands_in_every_node_and_says_whose_cores_work(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(
        capsys, "--card", "connectx-6-dx", "--card", "bluefield-2", "--to", "scenario2:80", "--from", "node1"
    )
    assert code == 0
    smart, dpu = out.split("# bluefield-2 in every node\n")
    assert "host cores of node1" in smart
    assert "card cores of" not in smart
    assert "card cores of node1" in dpu
    assert "asked 2 (a client, an address and port), by the worst of backends and directions: 2 software" in smart
    assert "directions: 2 first packet only in software" in dpu


def test_fail_on_is_for_ci(capsys: pytest.CaptureFixture[str]) -> None:
    two = ("--to", "scenario2", "--from", "default-client")
    assert run(capsys, *two, "--card", "bluefield-2", "--fail-on", "software")[0] == 0
    assert run(capsys, *two, "--card", "bluefield-2", "--fail-on", "first-packet")[0] == 1
    assert run(capsys, *two, "--card", "ovs-kernel", "--fail-on", "software")[0] == 1
    assert run(capsys, *two, "--card", "ovs-kernel")[0] == 0


def test_json_has_every_verdict_its_flows_rows_and_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "--json", "--card", "connectx-6-dx", "--to", "scenario1", "--from", "vpc1-client")
    (said,) = json.loads(out)["sets"]
    assert code == 0
    assert said["asked"] == {"offloaded": 0, "first packet only in software": 2, "software": 0}
    assert said["nodes"]["node1"] == {"profile": "connectx-6-dx", "card": "SmartNIC", "slow_path_on": "host"}
    assert len(said["verdicts"]) == 12
    first = said["verdicts"][0]
    assert (first["client"], first["direction"]) == ("Pod/default/vpc1-client", "forward")
    reason = first["reasons"][0]
    assert (reason["code"], reason["rows"]) == ("dp-hash-group", ["Load_Balancer/default/scenario1/tcp"])
    assert reason["flow"]["actions"].endswith("ct_lb_mark(backends=10.1.3.155:5432);")
    used = {(r["code"], one["cards"][r["chassis"]]) for one in said["verdicts"] for r in one["reasons"]}
    assert {(rule["code"], rule["profile"]) for rule in said["rules"]} == used
    assert all(rule["source"] and rule["text"] and rule["kind"] for rule in said["rules"])
    assert {(cost["client"], cost["lost_mpps"]) for cost in said["costs"]} == {("Pod/default/vpc1-client", 0.0)}


def test_each_path_has_a_row_if_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--to", "scenario2", "--from", "default-client", "--card", "bluefield-2")
    grouped, each = run(capsys, *few)[1], run(capsys, *few, "--each")[1]
    assert grouped.count("Pod/default/default-client") == 2
    assert each.count("Pod/default/default-client") == 8  # two backends, two families, two directions


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "nothing"), "--to nothing: no such Service or port; there are default/scenario1:5432,"),
        (("--to", "scenario1:80"), "no such Service or port; there are default/scenario1:5432"),
        (
            ("--card", "conectx-6-dx"),
            "--card conectx-6-dx: no profile and no file of this name; did you mean connectx-6-dx?",
        ),
        (("--from", "nobody"), "no client 'nobody'"),
        (("--fail-on", "rain"), "rain"),
    ],
)
def test_what_is_not_there_is_said(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    code, out = run(capsys, *arguments)
    assert code == 2
    assert said in " ".join(out.split())
    assert "Traceback" not in out


def test_a_card_without_a_profile_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for file in FOLDER.glob("*.yaml"):
        text = file.read_text().replace("{node: node1, type: DPU,", "{node: node1, type: DPU, model: Abacus-1,")
        (tmp_path / file.name).write_text(text)
    assert main(["offload", str(tmp_path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "NetworkCard/node1-card: spec.model: no hardware profile" in said
    assert "'Abacus-1'" in said
    assert "choose one for every node with --card" in said


def test_paths_to_lost_nodes_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--to", "scenario1", "--from", "db2", "--card", "bluefield-2", "--each")
    assert "Pod/default/db1 " in run(capsys, *few)[1]
    code, out = run(capsys, *few, "--down", "node1")
    assert code == 0
    assert "Pod/default/db1 " not in out
    assert "BareMetal/default/db3 " in out


def test_paths_that_a_datapath_drops_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    folder = FOLDER.parent / "broken" / "recirculation-limit"
    assert main(["offload", str(folder), "--to", "web", "--card", "bluefield-2", "--each"]) == 0
    out = capsys.readouterr().out
    table, told = out.split("\nasked ")
    assert "outside/eipgw" in table
    assert "Pod/default/near" not in table
    assert "note: Pod/default/near -> default/web (200.0.0.206:80): not delivered: dropped: recirculation limit" in told
    assert main(["offload", str(folder), "--to", "web", "--card", "bluefield-2", "--fail-on", "software"]) == 1


@pytest.mark.parametrize("options", [(), ("--fail-on", "first-packet")])
def test_nothing_delivered_is_a_failure_and_says_why(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    question = ("--from", "node1", "--to", "scenario1", *options)
    code, out = run(capsys, *question)
    assert code == 1
    assert "directions: none" in out
    assert (
        "note: Node/node1 -> default/scenario1 (10.96.0.100:5432 +1): not delivered: nodes reach ClusterIPs of" in out
    )
    code, out = run(capsys, *question, "--json")
    (said,) = json.loads(out)["sets"]
    assert [(m["client"], m["wholly"]) for m in said["missing"]] == [("Node/node1", True)] * 2
    assert code == 1


def test_nobody_who_asks_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    lost = [part for node in ("node1", "node2", "node3") for part in ("--down", node)]
    code, out = run(capsys, "--to", "scenario1", *lost, "--fail-on", "software")
    assert code == 1
    assert "nobody asks" in out


def test_backends_that_do_not_answer_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Their part of the connections fails, which no table of delivered paths says."""
    code, out = run(capsys, "--from", "db2", "--to", "scenario1", "--down", "node1", "--card", "bluefield-2")
    assert code == 0
    assert "1 of 3 backends does not answer" in out
    assert "not bound to a live chassis" in out


def test_supposed_cards_are_compiled_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`use_ct_inv_match` follows the NetworkCards, so a card that is supposed in plain nodes has other flows."""
    for file in FOLDER.glob("*.yaml"):
        text = file.read_text()
        for kind in ("DPU", "SmartNIC"):
            text = text.replace(f"type: {kind},", "type: none,")
        (tmp_path / file.name).write_text(text)
    few = ("--from", "vpc1-client", "--to", "scenario1", "--card", "connectx-6-dx", "--json")
    answers = []
    for folder in (FOLDER, tmp_path):
        assert main(["offload", str(folder), *few]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert "ct-inv-match" not in {rule["code"] for rule in answers[1]["sets"][0]["rules"]}
