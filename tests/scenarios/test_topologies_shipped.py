"""The shipped topologies say what their README promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from ytwin.controllers import reconcile
from ytwin.core.errors import InvalidInput
from ytwin.pipeline import build, verify
from ytwin.resources.codec import decode
from ytwin.resources.model import Endpoints, NetworkCard, Service, Subnet, Vpc, YusurService
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import workloads
from ytwin.verify import Severity

ROOT = Path(__file__).parents[2] / "topologies"
INVALID = (
    "unknown-algorithm",
    "cidr-overlap",
    "vip-in-subnet",
    "duplicate-address",
    "exhausted",
    "duplicate-vip",
    "unknown-reference",
)
ARTICLE = """apiVersion: iaas.yusur.io/v1
kind: YusurService
metadata:
  name: ysvc1
spec:
  type: ClusterIP
  scope: vpc
  vpc: vpc1
  ports:
  - port: 5001
    name: iperf
    protocol: TCP
    targetPort: 5001
  selector:
    svc: svc1-ep
"""


def load(folder: str) -> Snapshot:
    files = sorted((ROOT / folder).glob("*.yaml"))
    assert files, f"{folder} is empty"
    return decode({str(file): file.read_text() for file in files})


def valid_folders() -> list[str]:
    broken = sorted(path.name for path in (ROOT / "broken").iterdir())
    return ["article", "four-scenarios", *(f"broken/{name}" for name in broken if name not in INVALID)]


def test_the_article_is_verbatim_and_keeps_its_cluster_ip() -> None:
    assert (ROOT / "article" / "ysvc1.yaml").read_text() == ARTICLE
    done = reconcile(load("article"))
    service = done.get(YusurService, "ysvc1", "default")
    endpoints = done.get(Endpoints, "ysvc1", "default")
    assert service is not None
    assert endpoints is not None
    assert service.status.cluster_ip == "10.233.46.185"
    assert [(len(s.addresses), [p.port for p in s.ports]) for s in endpoints.subsets] == [(2, [5001])]
    assert [(c.spec.type, c.spec.ports, c.spec.port_speed_gbps) for c in done.all(NetworkCard)] == [("DPU", 2, 100)] * 2


def test_four_scenarios_have_every_kind_of_backend_and_both_families() -> None:
    done = reconcile(load("four-scenarios"))
    assert {w.kind for w in workloads(done)} == {"Pod", "VirtualMachine", "BareMetal", "VNicIP"}
    assert len(list(done.all(Vpc))) == 3
    assert all("," in subnet.spec.cidr_block for subnet in done.all(Subnet))
    by_name = {service.name: service for service in done.all(YusurService)}
    for name, cluster_ip, eip in (
        ("scenario1", True, False),
        ("scenario2", True, False),
        ("scenario3", True, True),
        ("scenario4", False, True),
    ):
        status = by_name[name].status
        assert ("," in status.cluster_ip, "," in status.eip) == (cluster_ip, eip), name
    scenario4 = done.get(Endpoints, "scenario4", "default")
    assert scenario4 is not None
    targets = {a.target_ref.name for s in scenario4.subsets for a in s.addresses if a.target_ref}
    assert targets == {"api1", "api2", "api-nic"}
    scenario2 = done.get(Endpoints, "scenario2", "default")
    assert scenario2 is not None
    assert [s.ports[0].port for s in scenario2.subsets] == [8080, 8081]


@pytest.mark.parametrize("code", INVALID)
def test_a_broken_topology_is_refused_for_its_one_reason(code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        load(f"broken/{code}")
    assert {problem.code for problem in raised.value.problems} == {code}
    assert raised.value.problems[0].where.line > 0
    assert raised.value.problems[0].hint


@pytest.mark.parametrize("folder", valid_folders())
def test_every_other_topology_reconciles(folder: str) -> None:
    done = reconcile(load(folder))
    assert reconcile(done) == done
    assert len(list(done.all(Service))) == len(list(done.all(YusurService))) > 0


def test_the_readme_lists_every_folder_and_nothing_else() -> None:
    text = (ROOT / "README.md").read_text()
    listed = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")}
    broken = {path.name for path in (ROOT / "broken").iterdir()}
    assert listed == broken | {"article", "four-scenarios"}


def test_an_eip_on_the_uplink_network_is_asked_for_by_arp_and_nobody_answers() -> None:
    twin = build(load("broken/eip-on-link"))
    report = verify(twin)
    (cell,) = report.failures
    assert (cell.client, cell.verdict) == ("outside/eipgw", "unanswered-arp")
    assert "outside/eipgw asks for 192.0.2." in cell.reason
    assert "no router or host answers" in cell.reason
    assert [(f.code, f.severity) for f in report.findings] == [("eip-on-link", Severity.ERROR)]
