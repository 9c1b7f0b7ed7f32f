"""Exit codes when the output goes wrong, and names that do not exist: 1 means that something does not hold, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
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
