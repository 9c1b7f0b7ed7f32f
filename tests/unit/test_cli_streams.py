"""Exit codes when the output goes wrong, and names that do not exist: 1 means that something does not hold, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from ytwin.cli import main

FOUR = str(Path(__file__).parents[2] / "topologies" / "four-scenarios")


def test_a_reader_that_leaves_early_does_not_fail_the_check() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ytwin", "check", FOUR]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_leaves_early_does_not_hide_a_failing_check(tmp_path: Path) -> None:
    service = (
        "{apiVersion: iaas.yusur.io/v1, kind: YusurService, metadata: {name: s}, "
        "spec: {selector: {a: b}, ports: [{port: 80}]}}"
    )
    subnet = (
        "{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: ovn-default}, "
        "spec: {cidrBlock: 10.0.0.0/16, gateway: 10.0.0.1}}"
    )
    (tmp_path / "t.yaml").write_text(f"{service}\n---\n{subnet}\n")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ytwin", "check", str(tmp_path)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("options", [["flows"], ["flows", "--json"], ["check"]], ids=" ".join)
def test_a_full_disk_is_an_error_and_no_verdict(options: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "ytwin", *options, FOUR]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "cannot write the answer: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_closed_output_leaves_the_exit_code() -> None:
    command = f"{sys.executable} -m ytwin validate {FOUR} >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_standard_input_is_read_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "{apiVersion: kubeovn.io/v1, kind: Vpc, metadata: {name: v}}"
    monkeypatch.setattr(sys, "stdin", StringIO(text))
    assert main(["validate", "-", "-"]) == 0
    assert "1 Vpc" in capsys.readouterr().out
    assert main(["diff", "-", "-"]) == 2
    assert "not both" in capsys.readouterr().err


def test_a_usage_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json"]) == 2
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert "PATH" in document["error"]
    assert (document["problems"], printed.err) == ([], "")


def test_compile_shows_what_a_node_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", FOUR]) == 0
    text = capsys.readouterr().out
    assert "Node/node1: card DPU, OVS on the card" in text
    assert "frozendict" not in text


def test_validate_finds_what_no_row_can_say(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "vpc.yaml"
    file.write_text(
        "{apiVersion: kubeovn.io/v1, kind: Vpc, metadata: {name: v}, "
        "spec: {policyRoutes: [{priority: 1, match: ip4.dst = 10.0.0.1, action: drop}]}}"
    )
    assert main(["validate", str(file)]) == 2
    assert "Vpc/v: spec.policyRoutes[0].match" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", FOUR, "--down", "node9"], "--down node9: no such node; there are node1, node2, node3"),
        (["flows", FOUR, "--datapath", "subnet9"], "no datapath 'subnet9'"),
        (["flows", FOUR, "--stage", "ls_in_bl"], "no stage 'ls_in_bl'"),
    ],
    ids=["down", "datapath", "stage"],
)
def test_a_name_that_does_not_exist_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
