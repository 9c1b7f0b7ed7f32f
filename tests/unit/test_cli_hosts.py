"""A workload as a destination of `trace`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ytwin.cli import main

ARTICLE = str(Path(__file__).parents[2] / "topologies" / "article")


@pytest.mark.parametrize("name", ["pod/svc1-ep1:5001", "Pod/default/svc1-ep1:5001"])
def test_a_pod_is_a_destination(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", ARTICLE, "--from", "client", "--to", name, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "delivered"
    assert "svc1-ep1" in found["reason"]
