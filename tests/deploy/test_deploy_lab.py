"""A running lab: an edit's plan shows just that edit, and drift finds what was changed by hand, in every kind of database."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy_places import topology

from ytwin.cli import main

try:
    from deployer.lab import Lab, why_no_lab
except ImportError as error:
    _REASON = str(error)
else:
    _REASON = why_no_lab()

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(_REASON) and not os.environ.get("YTWIN_REQUIRE_LAB"), reason=f"no lab: {_REASON}"),
]
NAME = f"drift-{os.getpid()}"
PLACE = ("--target", "mininet", "--lab", NAME)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A deployed topology; the lab ends with the module."""
    path = tmp_path_factory.mktemp("lab") / "t.yaml"
    path.write_text(topology())
    try:
        assert main(["deploy", "apply", str(path), *PLACE, "--yes"]) == 0
        yield str(path)
    finally:
        main(["deploy", "destroy", *PLACE, "--yes"])


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["deploy", *arguments, *PLACE])
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def test_plan_of_an_edit_shows_just_that_edit(capsys: pytest.CaptureFixture[str], file: str, tmp_path: Path) -> None:
    assert run(capsys, "plan", file)[0] == 0
    edited = tmp_path / "edited.yaml"
    edited.write_text(Path(file).read_text().replace("name: web-0", "name: other"))
    code, text = run(capsys, "plan", str(edited), "--out", str(tmp_path / "plan.json"))
    heads = {line for line in text.splitlines() if line[:2] in ("+ ", "~ ", "- ")}
    assert code == 1
    assert {head for head in heads if "Load_Balancer/" not in head} == {
        "+ Logical_Switch_Port/other.default  (Pod/default/other)",
        "- Logical_Switch_Port/web-0.default  (Pod/default/web-0)",
        "~ Node/node1",
    }
    assert run(capsys, "apply", str(tmp_path / "plan.json"))[0] == 0
    assert run(capsys, "drift", str(edited))[0] == 0
    assert run(capsys, "apply", file, "--yes")[0] == 0
    assert run(capsys, "drift", file)[0] == 0


def test_a_row_changed_with_nbctl(capsys: pytest.CaptureFixture[str], file: str) -> None:
    remote = Lab.open(NAME).northbound_remote
    change = ["lsp-set-addresses", "web-0.default", "0a:00:00:00:00:09 10.1.0.99"]
    subprocess.run(["ovn-nbctl", f"--db={remote}", *change], check=True)
    code, text = run(capsys, "drift", file)
    assert code == 1
    assert "~ Logical_Switch_Port/web-0.default" in text
    assert "+ 0a:00:00:00:00:09 10.1.0.99" in text
    assert "0 to create, 1 to update, 0 to delete" in text
    assert run(capsys, "apply", file, "--yes")[0] == 0
    assert run(capsys, "drift", file)[0] == 0


@pytest.mark.parametrize(
    ("column", "key", "value"),
    [("external_ids", "ovn-encap-ip", "192.168.1.99"), ("other_config", "hw-offload", "false")],
)
def test_a_key_changed_in_a_nodes_open_vswitch(
    capsys: pytest.CaptureFixture[str], file: str, column: str, key: str, value: str
) -> None:
    database = f"unix:{Lab.open(NAME).chassis('node2').directory}/db.sock"

    def vsctl(*arguments: str) -> str:
        command = ["ovs-vsctl", f"--db={database}", "--no-wait", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    before = vsctl("get", "Open_vSwitch", ".", f"{column}:{key}")
    vsctl("set", "Open_vSwitch", ".", f"{column}:{key}={value}")
    code, text = run(capsys, "drift", file)
    assert code == 1
    assert "~ Node/node2" in text
    assert f"~ {key}={before.strip(chr(34))} -> {value}" in text
    assert "0 to create, 1 to update, 0 to delete" in text
    assert run(capsys, "apply", file, "--yes")[0] == 0
    assert run(capsys, "drift", file)[0] == 0
    assert vsctl("get", "Open_vSwitch", ".", f"{column}:{key}") == before
