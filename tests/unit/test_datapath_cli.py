"""Passes through the datapath on the command line: `trace` prints them, `check` fails by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ytwin.cli import main

FOLDER = str(Path(__file__).parents[2] / "topologies" / "broken" / "recirculation-limit")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(list(arguments))
    return code, capsys.readouterr().out


def test_trace_says_where_the_datapath_drops_what_the_flows_deliver(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "trace", FOLDER, "--from", "near", "--to", "web")
    assert code == 1
    assert "dropped: recirculation limit: first packet needs 7 recirculations on node1" in out
    assert "first packet   node1: 8 (7 of 6 recirculations with dp_hash, 9 ct look-ups) !" in out
    code, out = run(capsys, "trace", FOLDER, "--from", "outside", "--to", "web")
    assert code == 0
    assert "reply          node1: 4 (3 of 6 recirculations, 3 ct look-ups)" in out


def test_trace_has_the_counts_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "trace", FOLDER, "--from", "far", "--to", "web", "--json")
    form = json.loads(out)
    assert (code, form["verdict"]) == (1, "dropped")
    walks = {walk["walk"]: walk["stays"] for walk in form["datapath"]["paths"][0]["walks"]}
    assert [(s["chassis"], s["entry"], s["depth"], s["limit"]) for s in walks["first packet"]] == [
        ("node2", "port", 1, 6),
        ("node1", "tunnel", 7, 6),
    ]


def test_check_fails_before_anything_is_deployed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "check", FOLDER, "--json")
    report = json.loads(out)
    assert (code, report["holds"]) == (1, False)
    assert {f["object"] for f in report["findings"] if f["code"] == "recirculation-limit"} == {
        "YusurService/default/web"
    }
    assert {c["client"] for c in report["cells"] if not c["holds"]} == {"Pod/default/near", "Pod/default/far"}


def test_trace_tells_the_programs_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    article = str(Path(FOLDER).parents[1] / "article")
    code, out = run(capsys, "trace", article, "--from", "client", "--to", "ysvc1", "--json")
    assert code == 0
    told = json.loads(out)["programs"]
    assert {(p["phase"], p["direction"]) for p in told} == {
        (phase, direction)
        for phase in ("first packet", "established", "close", "idle time-out")
        for direction in ("forward", "reply")
    }
    first = next(p for p in told if p["backend"].endswith("svc1-ep2"))
    near, far = first["visits"]
    assert (near["entry"], near["entry_kind"], near["exit"], far["entry"], far["exit_kind"]) == (
        "port",
        "Pod",
        "tunnel",
        "tunnel",
        "Pod",
    )
    assert [len(v["passes"]) for v in first["visits"]] == [3, 2]
    chosen = next(o for p in near["passes"] for o in p["operations"] if o["detail"].startswith("ct(commit,nat(dst))"))
    assert chosen["flow"]["source"] == "Load_Balancer/default/ysvc1/tcp"
    assert chosen["ct_state"] == "new"
    fields = {e["field"] for p in near["passes"] for e in p["examined"]}
    assert {"ct.new", "ct.est", "ct_mark.natted", "ip4.dst", "tcp.dst"} <= fields
