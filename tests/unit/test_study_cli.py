"""`ytwin study` as a user meets it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.browser_cases import opened
from tests.study_cases import ROOT
from ytwin.cli import main

STUDY = """
apiVersion: iaas.yusur.io/v1
kind: Study
metadata: {name: trial}
spec:
  question: How many packets go through?
  method: The article's path, at the highest rate.
  topology: {files: [TOPOLOGY]}
  path: {from: client, to: ysvc1}
  load: {kind: packets, rate: max, flows: 100}
  parameters:
  - {path: nodes.*.card, name: card, values: [ovs-kernel, yusur-dpu-2x100g]}
  - {path: load.size, name: size, values: [64 B, 512 B, 1500 B]}
  goal: {metrics: [packet_rate, traffic], best: highest, sensitivity: {of: packet_rate}}
"""
EXPECTED = """
kind: Expected
statements:
- say: offload carries more small packets
  of: {card: yusur-dpu-2x100g, size: 64 B}
  against: {card: ovs-kernel}
  metric: packet_rate
  ratio: [1.1, 50]
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "trial.yaml"
    file.write_text(STUDY.replace("TOPOLOGY", str(ROOT / "topologies/article")))
    return file


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["study", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_study_from_its_file_to_its_report(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = str(tmp_path / "out")
    code, said, _ = ask(capsys, "run", str(study), "--out", out, "--jobs", "1")
    assert code == 0
    assert said.startswith("How many packets go through?\n\n  Highest packet rate: ")
    assert "moves most with" in said
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir() if file.is_file()}
    assert {"report.html", "answer.csv", "results.csv", "results.parquet", "answer.json", "run.json"} <= set(before)

    code, said, error = ask(capsys, "run", str(study), "--out", out)
    assert (code, said) == (2, "")
    assert "--resume goes on" in error

    code, said, _ = ask(capsys, "run", str(study), "--out", out, "--jobs", "1", "--resume", "--json")
    assert code == 0
    answer = json.loads(said)
    assert answer["question"] == "How many packets go through?"
    assert len(answer["rows"]) == 6
    assert answer["sensitivity"]

    study.unlink()  # a run's folder is enough for its report
    (tmp_path / "out" / "report.html").unlink()
    code, said, _ = ask(capsys, "report", out)
    assert code == 0
    assert "0 computed" in said
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir() if file.is_file()} == before


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_in_a_browser(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], width: int):
    far = tmp_path / ("AFolderWhoseNameIsWiderThanATelephone" * 2)
    shutil.copytree(ROOT / "topologies/article", far)
    study.write_text(STUDY.replace("TOPOLOGY", str(far)))
    assert ask(capsys, "run", str(study), "--out", str(tmp_path / "out"), "--jobs", "1")[0] == 0
    page = (tmp_path / "out/report.html").read_text()
    assert page.index("Highest packet rate") < page.index("All variants")
    for part in ("<svg xmlns", "Pod/default/client", "assumed", "ytwin study run", "with seed 1"):
        assert part in page
    found = opened(page, width, tmp_path)
    assert found["problems"] == []
    assert found["sideways"] == 0
    assert found["over"] == 0
    assert found["cut"] == []
    assert len(found["plots"]) >= 3


def test_expectations_decide_the_exit_code(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    beside = tmp_path / "expected.yaml"
    beside.write_text(EXPECTED)
    code, said, _ = ask(capsys, "run", str(study), "--out", str(tmp_path / "out"), "--jobs", "1")
    assert code == 0
    assert "; as expected" in said
    beside.write_text(EXPECTED.replace("[1.1, 50]", "[1000, 2000]"))
    code, said, _ = ask(capsys, "report", str(tmp_path / "out"))
    assert code == 1
    assert "not as expected: offload carries more small packets" in said
    beside.write_text(EXPECTED.replace("say:", "says:"))
    code, _, error = ask(capsys, "report", str(tmp_path / "out"))
    assert code == 2
    assert "expected.yaml:4: statements[0]" in error


def test_a_seed_is_part_of_the_command(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, said, _ = ask(
        capsys, "run", str(study), "--out", str(tmp_path / "out"), "--jobs", "1", "--seed", "7", "--json"
    )
    assert code == 0
    assert json.loads(said)["seed"] == 7
    assert json.loads(said)["command"].endswith("--seed 7")


def test_another_twin_computes_afresh_and_the_old_report_stays(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """A change of code or of a shipped profile may change any number."""
    out = str(tmp_path / "out")
    assert ask(capsys, "run", str(study), "--out", out, "--jobs", "1")[0] == 0
    before = (tmp_path / "out/report.html").read_bytes()
    monkeypatch.setattr("ytwin.runs.workers.version", lambda: "another")
    assert "0 computed" in ask(capsys, "report", out)[1]
    assert (tmp_path / "out/report.html").read_bytes() == before
    assert "0 recorded before" in ask(capsys, "run", str(study), "--out", out, "--jobs", "1", "--resume")[1]


def test_what_a_user_can_do_wrong(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = str(tmp_path / "out")
    assert "no shipped study; there are" in ask(capsys, "run", "nothing")[2]
    assert "no study.yaml in this folder" in ask(capsys, "run", str(tmp_path))[2]
    assert "is no folder of a study's run" in ask(capsys, "report", str(tmp_path / "none"))[2]
    study.write_text(STUDY.replace("TOPOLOGY", "nowhere"))
    assert "nowhere" in ask(capsys, "run", str(study), "--out", out)[2]
    study.write_text(STUDY.replace("TOPOLOGY", str(ROOT / "topologies/article")).replace("rate: max", "rate: -1 Mpps"))
    code, _, error = ask(capsys, "run", str(study), "--out", out)
    assert code == 2
    assert "Mpps" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "it is no JSON object"),
        ("7", "it is no JSON object"),
        ("{", "is no folder of a study's run"),
        ("{}", "lacks 'command'"),
        ('{"study": 3}', "lacks 'command'"),
        ('{"topology": [1]}', "lacks 'command'"),
    ],
)
def test_a_damaged_description_is_said(content: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "run.json").write_text(content)
    code, _, error = ask(capsys, "report", str(tmp_path))
    assert code == 2
    assert words in error


@pytest.mark.parametrize("part", ["command", "seed", "study", "topology", "profiles"])
@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_a_damaged_part_of_a_description_is_said(
    part: str, value: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    about = {"command": "", "version": "", "seed": 1, "file": "f", "study": "", "topology": {}, "profiles": {}}
    (tmp_path / "run.json").write_text(json.dumps(about | {part: value}))
    code, _, error = ask(capsys, "report", str(tmp_path))
    assert code == 2
    assert "description is damaged" in error


def test_going_on_with_another_study_is_refused_and_with_a_changed_one_said(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = str(tmp_path / "out")
    text = study.read_text().replace(", sensitivity: {of: packet_rate}", "")
    study.write_text(text)
    assert "not used" not in ask(capsys, "run", str(study), "--out", out, "--jobs", "1")[1]
    study.write_text(text.replace("name: trial", "name: other"))
    code, _, error = ask(capsys, "run", str(study), "--out", out, "--jobs", "1", "--resume")
    assert code == 2
    assert "holds a run of the study trial, not of other" in error
    study.write_text(text.replace("512 B, 1500 B", "1500 B"))
    said = ask(capsys, "run", str(study), "--out", out, "--jobs", "1", "--resume")[1]
    assert "4 points: 0 computed, 4 recorded before; 2 recorded before are not of the study as it is now" in said


def test_shipped_studies_are_listed(capsys: pytest.CaptureFixture[str]):
    code, said, _ = ask(capsys, "list", "--json")
    assert code == 0
    found = {study["name"]: study["question"] for study in json.loads(said)["studies"]}
    assert {"connection-churn", "mtu", "packet-size", "service-count", "table-overflow"} <= set(found)
    assert all(question.endswith("?") for question in found.values())


def test_ctrl_c_ends_a_run_cleanly(study: Path, tmp_path: Path):
    """With worker processes: nothing but one line, exit code 130, and what came is recorded."""
    text = study.read_text().replace("values: [64 B, 512 B, 1500 B]", "logRange: {from: 64 B, to: 8000 B, steps: 2000}")
    study.write_text(text.replace(", sensitivity: {of: packet_rate}", ""))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ytwin", "study", "run", str(study), "--out", str(out), "--jobs", "2"]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=ROOT,
        env=os.environ,
    )
    deadline = time.monotonic() + 90
    while not list(out.glob("points/*.parquet")) and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    said, error = run.communicate(timeout=90)
    assert run.returncode == 130
    assert said == ""
    assert error.startswith("stopped: ")
    assert "--resume" in error
    assert error.count("\n") == 1
