"""The command line: exit codes, forms of output, errors without traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ytwin.cli import main

ROOT = Path(__file__).parents[2]
FOUR = str(ROOT / "topologies" / "four-scenarios")
ARTICLE = str(ROOT / "topologies" / "article")
BROKEN = ROOT / "topologies" / "broken"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code, out, _ = run(capsys, *arguments, "--json")
    return code, json.loads(out)


def test_check_holds_for_the_four_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    code, report = run_json(capsys, "check", FOUR)
    assert code == 0
    assert report["holds"] is True
    cells = report["cells"]
    assert isinstance(cells, list)
    assert {"client", "service", "address", "port", "protocol", "expected", "verdict", "backends", "reason"} <= set(
        cells[0]
    )
    kinds = {str(cell["client"]).split("/")[0] for cell in cells}
    assert kinds == {"Pod", "VirtualMachine", "BareMetal", "VNicIP", "Node", "outside"}
    reached = {cell["service"] for cell in cells if cell["verdict"] == "delivered"}
    assert {f"default/scenario{n}" for n in range(1, 5)} <= reached


@pytest.mark.parametrize(
    ("folder", "exit_code", "severity"),
    [
        ("no-backend", 1, "error"),
        ("no-healthy-backend", 1, "error"),
        ("affinity-to-dead-backend", 0, "warning"),
        ("stale-udp-conntrack", 0, "warning"),
        ("uneven-shares", 0, "info"),
        ("mtu-exceeds-tunnel", 0, "warning"),
    ],
)
def test_check_finds_what_a_broken_topology_shows(
    capsys: pytest.CaptureFixture[str], folder: str, exit_code: int, severity: str
) -> None:
    code, report = run_json(capsys, "check", str(BROKEN / folder))
    findings = report["findings"]
    assert isinstance(findings, list)
    assert (folder, severity) in {(f["code"], f["severity"]) for f in findings}
    assert code == exit_code


def test_invalid_input_names_file_line_and_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", str(BROKEN / "unknown-algorithm"))
    assert (code, out) == (2, "")
    assert "topology.yaml:" in err
    assert "[unknown-algorithm]" in err
    assert "Traceback" not in err


def test_invalid_input_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = run_json(capsys, "validate", str(BROKEN / "unknown-algorithm"))
    assert code == 2
    problems = answer["problems"]
    assert isinstance(problems, list)
    assert set(problems[0]) == {"file", "line", "path", "code", "message", "hint"}


def test_a_missing_file_is_a_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "validate", "no-such-file")[0] == 2


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "frobnicate")
    assert code == 2
    assert "frobnicate" in err


def test_trace_delivers_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "walk.svg"
    code, out, _ = run(capsys, "trace", FOUR, "--from", "outside", "--to", "scenario3", "--picture", str(picture))
    assert code == 0
    assert "delivered" in out
    assert picture.read_text().lstrip().startswith("<svg")


def test_trace_of_a_wrong_port_fails_with_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = run_json(capsys, "trace", ARTICLE, "--from", "client", "--to", "10.233.46.185:5002")
    assert code == 1
    assert answer["verdict"] != "delivered"
    assert answer["reason"]


@pytest.mark.parametrize(
    ("client", "to", "words"),
    [
        ("nobody", "ysvc1", "no client"),
        ("client", "nothing", "no YusurService"),
        ("client", "ysvc1:9", "no such address or port"),
        ("client", "10.0.0.1:x", "not a port"),
    ],
)
def test_trace_says_what_it_does_not_know(capsys: pytest.CaptureFixture[str], client: str, to: str, words: str) -> None:
    code, _, err = run(capsys, "trace", ARTICLE, "--from", client, "--to", to)
    assert code == 2
    assert words in err


def test_get_shows_the_given_cluster_ip(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "get", "ysvc/ysvc1", ARTICLE)
    assert code == 0
    assert "10.233.46.185" in out
    assert run(capsys, "get", "ysvc/other", ARTICLE)[0] == 2
    assert run(capsys, "get", "unicorn", ARTICLE)[0] == 2


def test_the_printed_cluster_is_its_own_input(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`get all -o yaml` is the record of given addresses: compiled again it gives the same rows."""
    _, listed, _ = run(capsys, "get", "all", FOUR, "-o", "yaml")
    (tmp_path / "all.yaml").write_text(listed)
    _, rows, _ = run(capsys, "compile", FOUR, "--json")
    code, again, _ = run(capsys, "compile", str(tmp_path / "all.yaml"), "--json")
    assert code == 0
    assert json.loads(again) == json.loads(rows)


def test_diff_shows_just_the_edit(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        for file in Path(ARTICLE).glob("*.yaml"):
            text = file.read_text()
            edited = (
                text.replace("port: 5001", "port: 5003", 1) if file.name == "ysvc1.yaml" and name == "after" else text
            )
            (tmp_path / name / file.name).write_text(edited)
    assert run(capsys, "diff", ARTICLE, ARTICLE)[0] == 0
    code, change = run_json(capsys, "diff", str(tmp_path / "before"), str(tmp_path / "after"))
    assert code == 1
    changes = change["changes"]
    assert isinstance(changes, list)
    assert [(c["verb"], c["table"]) for c in changes] == [("update", "Load_Balancer")]


def test_flows_name_their_rows(capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = run_json(capsys, "flows", ARTICLE, "--stage", "ls_in_lb")
    flows = answer["flows"]
    assert code == 0
    assert isinstance(flows, list)
    assert any(flow["source"] == "Load_Balancer/default/ysvc1/tcp" for flow in flows)


def test_generate_replays_by_seed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, one, _ = run(capsys, "generate", "--seed", "5")
    _, two, _ = run(capsys, "generate", "--seed", "5")
    _, other, _ = run(capsys, "generate", "--seed", "6")
    assert one == two != other
    (tmp_path / "g.yaml").write_text(one)
    assert run(capsys, "validate", str(tmp_path))[0] == 0


def test_a_closed_pipe_and_standard_input_are_fine() -> None:
    command = f"cat {ARTICLE}/*.yaml | {sys.executable} -m ytwin validate -"
    joined = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in joined.stderr
    closed = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m ytwin flows {FOUR} | head -1"], capture_output=True, text=True, check=False
    )
    assert closed.returncode == 0
    assert closed.stderr == ""


def test_validate_says_what_it_did_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "dump.yaml"
    file.write_text("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop}}")
    assert main(["validate", str(file)]) == 0
    assert capsys.readouterr().out == "valid: no objects\nnot read: 1 Deployment\n"
    assert main(["validate", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "objects": {}, "ignored": {"Deployment": 1}}
