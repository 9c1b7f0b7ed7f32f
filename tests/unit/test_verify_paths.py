"""Which questions share a walk: those whose paths cost the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from ytwin import pipeline
from ytwin.datapath import limits_of
from ytwin.verify import paths

ROOT = Path(__file__).parents[2]
SERVICE = """
---
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {{name: {name}}}
spec:
  type: ClusterIP
  scope: vpc
  vpc: vpc1
  ports: [{{port: 5001, name: iperf, protocol: TCP, targetPort: 5001}}]
  selector: {{{selector}}}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{label}}}, annotations: {{ovn.kubernetes.io/logical_switch: subnet1}}}}
spec: {{nodeName: node1}}
"""


def test_a_service_with_one_backend_shares_no_walk_with_one_that_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice by hash looks at the client's port, so every connection misses; with one backend none does."""
    files = {str(f): f.read_text() for f in sorted((ROOT / "topologies/article").glob("*.yaml"))}
    files["more.yaml"] = "".join(
        [
            SERVICE.format(name="single", selector="only: one"),
            SERVICE.format(name="double", selector="only: two"),
            POD.format(name="alone", label="only: one"),
            POD.format(name="left", label="only: two"),
            POD.format(name="right", label="only: two"),
        ]
    )
    twin = pipeline.build(pipeline.read(files))
    monkeypatch.setattr(paths, "MANY", 0)
    found = paths.promised(twin.snapshot, twin.world, limits_of(twin.nodes), {})
    together = [{target.service for _, target in one.questions} for one in found]
    assert {"default/single"} in together
    assert not any({"default/single", "default/double"} <= services for services in together)
