"""A Southbound that lacks something, as a broken cluster's does: the trace says what is not there and never fails."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from frozendict import frozendict

from ytwin.logical.southbound import Southbound
from ytwin.pipeline import Twin, build, read, verify
from ytwin.resources.snapshot import Snapshot
from ytwin.trace import Tracer, Verdict

FOLDER = Path(__file__).parents[2] / "topologies" / "four-scenarios"


@cache
def snapshot() -> Snapshot:
    return read({file.name: file.read_text() for file in sorted(FOLDER.glob("*.yaml"))})


@cache
def whole() -> Southbound:
    return build(snapshot()).southbound


def without_port(name: str) -> Twin:
    southbound = whole()
    assert name in southbound.ports
    ports = frozendict({key: port for key, port in southbound.ports.items() if key != name})
    return build(snapshot(), replace(southbound, ports=ports))


@pytest.mark.parametrize(
    "port",
    [
        "db1.default",
        "vm_db2.default",
        "localnet_eipgw",
        "lrp_vpc1_transit_vpc1_eipgw",
        "lsp_subnet1_vpc1",
        "node_node1",
    ],
)
def test_check_of_a_southbound_without_a_port(port: str) -> None:
    report = verify(without_port(port))
    assert not report.holds


def test_a_client_without_its_port_is_told_so() -> None:
    twin = without_port("db1.default")
    client = next(host for host in twin.world.hosts if host.name == "Pod/default/db1")
    answer = Tracer(twin.world).converse(client, "10.96.0.100", 5432, "tcp")
    assert answer.verdict is not Verdict.DELIVERED
    assert "port db1.default is not in the Southbound" in answer.reason
