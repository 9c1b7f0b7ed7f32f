"""A report says what it is about: what was asked, what was left out, and that nothing was there to ask about."""

from __future__ import annotations

import json

import pytest

from ytwin import pipeline
from ytwin.generate import generate
from ytwin.resources.codec import decode, dump
from ytwin.resources.model import NetworkProbe
from ytwin.verify.report import Severity

_SUBNET = (
    "{apiVersion: kubeovn.io/v1, kind: Subnet, metadata: {name: a}, spec: {cidrBlock: 10.0.0.0/16, default: true}}"
)


def test_what_was_asked_is_counted_from_the_cells() -> None:
    twin = pipeline.build(pipeline.read({"t.yaml": dump(generate(seed=4))}))
    some, everyone = pipeline.verify(twin), pipeline.verify(twin, exhaustive=True)
    for report in (some, everyone):
        services = [cell for cell in report.cells if not cell.service.startswith("isolation:")]
        assert report.asked.services == len({cell.service for cell in services}) > 0
        assert report.asked.isolation_pairs == len(report.cells) - len(services)
        assert len(services) == report.asked.addresses * len({cell.client for cell in services})
    assert everyone.asked.clients > some.asked.clients
    assert everyone.asked.left_out == ()
    (left,) = some.asked.left_out
    assert left.startswith(f"{everyone.asked.clients - some.asked.clients} clients ")
    assert json.loads(json.dumps(some.to_json()))["asked"]["left_out"] == [left]


def test_an_input_without_a_service_says_so_and_holds() -> None:
    report = pipeline.verify(pipeline.build(decode({"t.yaml": _SUBNET})))
    assert report.holds
    assert [(f.code, f.severity) for f in report.findings] == [("nothing-to-check", Severity.WARNING)]


@pytest.mark.parametrize(
    ("port", "template", "probed"),
    [("TCP", "", "TCP"), ("UDP", "", "UDP"), ("SCTP", "", "ICMP"), ("UDP", ", probe: {protocol: TCP}", "TCP")],
)
def test_a_probe_speaks_the_protocol_of_the_port(port: str, template: str, probed: str) -> None:
    text = f"""{_SUBNET}
---
{{apiVersion: v1, kind: Node, metadata: {{name: n1}}, status: {{addresses: [{{type: InternalIP, address: 192.168.0.1}}]}}}}
---
{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: default, labels: {{a: b}}}}, spec: {{nodeName: n1}}}}
---
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {{name: s, namespace: default}}
spec: {{selector: {{a: b}}, ports: [{{port: 80, protocol: {port}}}]{template}}}
"""
    snapshot, _ = pipeline.compile_rows(decode({"t.yaml": text}))
    assert [probe.spec.protocol for probe in snapshot.all(NetworkProbe)] == [probed]
