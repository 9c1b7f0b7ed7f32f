"""`ytwin deploy` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy_places import topology

from deployer.sandbox import OvnSandbox, missing_binaries
from ytwin.cli import main

PLAN_SUMMARY = "to create, 0 to update, 0 to delete"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two topologies, and where things may be put."""
    for name, text in {"a.yaml": topology(), "b.yaml": topology(port=81)}.items():
        (tmp_path / name).write_text(text)
    return {name: str(tmp_path / name) for name in ("a.yaml", "b.yaml", "state.json", "plan.json")}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["deploy", *arguments])
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def test_plan_apply_drift_destroy(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    fake = ("--target", "fake", "--file", files["state.json"])
    code, text = run(capsys, "plan", files["a.yaml"], *fake, "--out", files["plan.json"])
    assert code == 1
    assert PLAN_SUMMARY in text
    assert not Path(files["state.json"]).exists(), "a plan changes nothing"
    assert run(capsys, "drift", files["a.yaml"], *fake)[0] == 1
    code, text = run(capsys, "apply", files["plan.json"], *fake)
    assert code == 0
    assert text.startswith("applied ")
    assert run(capsys, "apply", files["plan.json"], *fake) == (0, "nothing to do\n")
    assert run(capsys, "plan", files["a.yaml"], *fake)[0] == 0
    assert run(capsys, "drift", files["a.yaml"], *fake)[0] == 0
    code, text = run(capsys, "drift", files["b.yaml"], *fake)
    assert code == 1
    assert "Load_Balancer/default/svc-0/tcp" in text
    code, text = run(capsys, "status", *fake)
    assert code == 0
    assert "Node                         2" in text
    assert run(capsys, "destroy", *fake, "--yes")[0] == 0
    assert json.loads(Path(files["state.json"]).read_text())["deployments"] == {}


def test_a_stale_plan_is_refused(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    fake = ("--target", "fake", "--file", files["state.json"])
    run(capsys, "plan", files["a.yaml"], *fake, "--out", files["plan.json"])
    assert run(capsys, "apply", files["b.yaml"], *fake)[0] == 0
    before = Path(files["state.json"]).read_text()
    code, text = run(capsys, "apply", files["plan.json"], *fake)
    assert code == 2
    assert "has changed since the plan was made" in text
    assert Path(files["state.json"]).read_text() == before


def test_a_plan_for_another_place_is_refused(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    run(capsys, "plan", files["a.yaml"], "--target", "fake", "--file", files["state.json"], "--out", files["plan.json"])
    code, text = run(capsys, "apply", files["plan.json"], "--target", "fake", "--file", files["state.json"] + "2")
    assert code == 2
    assert "the plan is for fake" in text


def test_an_edited_plan_is_refused(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    fake = ("--target", "fake", "--file", files["state.json"])
    run(capsys, "plan", files["a.yaml"], *fake, "--out", files["plan.json"])
    plan = json.loads(Path(files["plan.json"]).read_text())
    plan["changes"].pop()
    Path(files["plan.json"]).write_text(json.dumps(plan))
    code, text = run(capsys, "apply", files["plan.json"], *fake)
    assert code == 2
    assert "was the file edited" in text
    assert not Path(files["state.json"]).exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 99}, "version 99"),
        ({"changes": [{"table": "Load_Balancer"}]}, "not a whole plan"),
        ({"changes": [{"table": "Nothing", "name": "x", "before": None, "after": {}}]}, "not an entry of Nothing"),
        ({"changes": [{"table": "Load_Balancer", "name": "x", "before": None, "after": {"weight": 1}}]}, "weight"),
    ],
)
def test_a_broken_plan_file_is_explained(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], change: dict[str, Any], words: str
) -> None:
    fake = ("--target", "fake", "--file", files["state.json"])
    run(capsys, "plan", files["a.yaml"], *fake, "--out", files["plan.json"])
    plan = json.loads(Path(files["plan.json"]).read_text())
    Path(files["plan.json"]).write_text(json.dumps(plan | change))
    code, text = run(capsys, "apply", files["plan.json"], *fake)
    assert code == 2
    assert words in text


def test_json_documents(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    fake = ("--target", "fake", "--file", files["state.json"], "--json")
    code, text = run(capsys, "plan", files["a.yaml"], *fake)
    plan = json.loads(text)
    assert (code, plan["target"], plan["summary"]["update"]) == (1, "fake", 0)
    assert {change["table"] for change in plan["changes"]} >= {"Load_Balancer", "Node", "Outside", "NB_Global"}
    code, text = run(capsys, "apply", files["a.yaml"], *fake)
    assert (code, json.loads(text)["applied"]) == (0, True)
    code, text = run(capsys, "apply", files["a.yaml"], *fake)
    assert (code, json.loads(text)["applied"]) == (0, False)
    code, text = run(capsys, "drift", files["b.yaml"], *fake)
    assert (code, json.loads(text)["drift"]) == (1, True)
    code, text = run(capsys, "status", *fake)
    assert json.loads(text)["entries"]["Node"] == 2
    code, text = run(capsys, "destroy", *fake, "--yes")
    assert (code, json.loads(text)["destroyed"]["Node"]) == (0, 2)
    code, text = run(capsys, "plan", files["a.yaml"], "--target", "ovsdb", "--json", "--db", "nonsense")
    assert (code, json.loads(text)["problems"]) == (2, [])


def test_what_cannot_be_done_says_why(capsys: pytest.CaptureFixture[str], files: dict[str, str]) -> None:
    assert run(capsys, "plan", files["a.yaml"], "--target", "elsewhere")[0] == 2
    code, text = run(capsys, "plan", files["a.yaml"], "--target", "ovsdb")
    assert (code, "needs --db" in text) == (2, True)
    code, text = run(capsys, "verify", files["a.yaml"], "--target", "fake")
    assert (code, "--target mininet" in text) == (2, True)
    code, text = run(capsys, "status", "--target", "fake", "--deployment", "No Name")
    assert (code, "--deployment" in text) == (2, True)
    Path(files["state.json"]).write_text("[]")
    code, text = run(capsys, "status", "--target", "fake", "--file", files["state.json"])
    assert (code, "not a file of the fake target" in text) == (2, True)
    code, text = run(capsys, "plan", files["a.yaml"], "--target", "fake", "--out", "/nowhere/plan.json")
    assert (code, "/nowhere/plan.json: No such file" in text) == (2, True)


def test_a_person_is_asked(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = ("--target", "fake", "--file", files["state.json"])
    asked: list[str] = []

    def answer(question: str, **_: Any) -> bool:
        asked.append(question)
        return len(asked) > 1

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", answer)
    assert run(capsys, "apply", files["a.yaml"], *fake)[0] == 1
    assert not Path(files["state.json"]).exists()
    assert run(capsys, "apply", files["a.yaml"], *fake)[0] == 0
    assert run(capsys, "destroy", *fake)[0] == 0
    assert asked == ["Apply this?", "Apply this?", "Destroy this?"]
    assert run(capsys, "destroy", *fake)[0] == 0
    assert len(asked) == 3, "nothing to destroy is no question"


def test_help_does_not_load_what_only_targets_need() -> None:
    """Each of them would cost every command a tenth of a second."""
    modules = "('ovs', 'ovsdbapp', 'mininet', 'deployer.targets.ovsdb')"
    code = f"import sys, ytwin.cli; print([m for m in {modules} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def ovn() -> Iterator[OvnSandbox]:
    with OvnSandbox() as sandbox:
        yield sandbox


@pytest.mark.ovn
@pytest.mark.skipif(bool(missing_binaries()), reason=f"not installed: {', '.join(missing_binaries())}")
def test_on_a_real_northbound(
    capsys: pytest.CaptureFixture[str], files: dict[str, str], ovn: OvnSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVN_NB_DB", ovn.nb_remote)
    ovn.nbctl("ls-add", "theirs")
    place = ("--target", "ovsdb", "--deployment", "mine")
    assert run(capsys, "apply", files["a.yaml"], *place)[0] == 0
    assert run(capsys, "drift", files["a.yaml"], *place)[0] == 0
    ovn.nbctl("lsp-set-addresses", "web-0.default", "unknown")
    code, text = run(capsys, "drift", files["a.yaml"], *place)
    assert code == 1
    assert "~ Logical_Switch_Port/web-0.default" in text
    assert "+ unknown" in text
    assert "0 to create, 1 to update, 0 to delete" in text
    code, text = run(capsys, "plan", files["b.yaml"], *place, "--out", files["plan.json"])
    assert code == 1
    assert "~ Load_Balancer/default/svc-0/tcp" in text
    assert run(capsys, "apply", files["plan.json"], *place)[0] == 0
    assert run(capsys, "plan", files["b.yaml"], *place)[0] == 0
    assert run(capsys, "status", "--target", "ovsdb")[1].count("Logical") == 0, "another deployment has nothing"
    assert run(capsys, "destroy", *place)[0] == 0
    assert ovn.nbctl("--bare", "--columns=name", "list", "Logical_Switch").split() == ["theirs"]
