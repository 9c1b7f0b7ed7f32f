"""What a userspace datapath does otherwise than a kernel's: seen on the wire, forecast by the twin."""

from __future__ import annotations

from pathlib import Path

import pytest

from ytwin import pipeline
from ytwin.trace import Tracer
from ytwin.trace.types import Verdict

FOUR = Path(__file__).parents[2] / "topologies" / "four-scenarios"


def twin(datapath: str, more: str = "") -> pipeline.Twin:
    files = {path.name: path.read_text() for path in sorted(FOUR.glob("*.yaml"))}
    first = min(files)
    files[first] = files[first].replace("spec:\n  serviceCIDR", f"spec:\n  datapath: {datapath}\n  serviceCIDR", 1)
    return pipeline.build(pipeline.read({**files, "more.yaml": more}))


@pytest.mark.parametrize(("datapath", "verdict"), [("system", Verdict.DELIVERED), ("netdev", Verdict.DROPPED)])
def test_the_connection_that_teaches_an_affinity_hangs_in_userspace(datapath: str, verdict: Verdict) -> None:
    made = twin(datapath)
    client = next(host for host in made.world.hosts if host.name == "Pod/default/vpc1-client")
    answer = Tracer(made.world).converse(client, "10.96.0.100", 5432, "tcp")
    assert answer.verdict is verdict
    if datapath == "netdev":
        assert "the client's next one does" in answer.reason


def test_a_host_that_reaches_itself_answers_itself_over_ipv6_only() -> None:
    made = twin("system")
    client = next(host for host in made.world.hosts if host.name == "Pod/default/db1")
    for address, verdict in (("200.0.0.100", Verdict.REPLY_LOST), ("2001:db8:e::100", Verdict.REPLY_NOT_TRANSLATED)):
        paths = Tracer(made.world).converse(client, address, 514, "udp").paths
        own = next(path for path in paths if path.backend == client.name)
        assert own.verdict is verdict


SECOND_SERVICE = """
---
apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata: {name: nobody}
spec:
  type: LoadBalancer
  vpcs: [vpc2, vpc3]
  eip: "2001:db8:e::77"
  ports: [{port: 9}]
  selector: {app: nobody}
  balancing: {reject: true}
"""


@pytest.mark.parametrize(("datapath", "verdict"), [("system", Verdict.REJECTED), ("netdev", Verdict.DROPPED)])
def test_a_reset_that_userspace_translates_is_not_heard(datapath: str, verdict: Verdict) -> None:
    made = twin(datapath, SECOND_SERVICE)
    outside = next(host for host in made.world.hosts if host.kind == "outside")
    answer = Tracer(made.world).converse(outside, "2001:db8:e::77", 9, "tcp")
    assert answer.verdict is verdict, answer.reason
    assert "TCP reset" in answer.reason
    assert ("ignores" in answer.reason) is (datapath == "netdev")


@pytest.mark.parametrize(("datapath", "options"), [("system", {"use_ct_inv_match": "false"}), ("netdev", {})])
def test_invalid_packets_are_not_let_through_where_they_end_the_switch(datapath: str, options: dict[str, str]) -> None:
    assert dict(twin(datapath).northbound.options) == options
