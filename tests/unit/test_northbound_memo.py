"""A Memo changes no result, and makes a small change cost little: what is equal is the same object."""

from __future__ import annotations

import pytest
from northbound_cases import CLUSTER_IP, EVERYTHING, GATEWAYS, NETWORK, ONE_VPC_EIP, snapshot_of

from ytwin.controllers import reconcile
from ytwin.core.memo import Memo
from ytwin.northbound import Northbound, compile_northbound, services
from ytwin.resources.codec import decode
from ytwin.resources.model import Metadata, VNicIP, WorkloadSpec, YusurService, YusurServicePort, YusurServiceSpec
from ytwin.resources.snapshot import ObjectId, Snapshot


def another(name: str) -> YusurService:
    spec = YusurServiceSpec(vpc="vpc1", ports=(YusurServicePort(port=80),), cluster_ip="10.96.1.1,fd00:10:96::1:1")
    return YusurService(metadata=Metadata(name=name, namespace="one"), spec=spec)


def new_rows(before: Northbound, after: Northbound) -> set[str]:
    return {str(key) for key, row in after.rows.items() if before.rows.get(key) is not row}


def test_one_more_service_makes_only_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    memo = Memo()
    snapshot = reconcile(snapshot_of(*EVERYTHING), memo)
    before = compile_northbound(snapshot, memo)
    made: list[str] = []
    real = services.service_rows

    def counting(yusur: YusurService, *others: object) -> services.ServiceRows:
        made.append(yusur.name)
        return real(yusur, *others)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr("ytwin.northbound.compile.service_rows", counting)
    memo.advance()
    after = compile_northbound(reconcile(snapshot.with_objects([another("zz")]), memo), memo)
    assert made == ["zz"]
    assert new_rows(before, after) == {"Load_Balancer/one/zz/tcp", "Load_Balancer_Group/vpc_vpc1"}


def test_equal_objects_read_again_give_the_same_rows() -> None:
    memo = Memo()
    before = compile_northbound(snapshot_of(*EVERYTHING), memo)
    memo.advance()
    assert new_rows(before, compile_northbound(snapshot_of(*EVERYTHING), memo)) == set()


def test_one_more_workload_adds_one_port() -> None:
    memo = Memo()
    snapshot = snapshot_of(*EVERYTHING)
    before = compile_northbound(snapshot, memo)
    memo.advance()
    nic = VNicIP(
        metadata=Metadata(name="new", namespace="two"),
        spec=WorkloadSpec(node="node1", subnet="subnet3", ip_address="10.2.0.77"),
    )
    after = compile_northbound(reconcile(snapshot.with_objects([nic])), memo)
    assert new_rows(before, after) == {"Logical_Switch_Port/vnic_new.two"}


@pytest.mark.parametrize("kind", ["YusurService", "EipGateway", "Subnet", "VirtualMachine", "Node", "NetworkCard"])
def test_any_removed_object_leaves_what_a_fresh_run_leaves(kind: str) -> None:
    """Also when the object does not matter to every row: nothing stale survives in the Memo."""
    memo = Memo()
    texts = (*NETWORK, GATEWAYS, CLUSTER_IP, ONE_VPC_EIP)
    whole = decode({f"{i}.yaml": text for i, text in enumerate(texts)})
    compile_northbound(reconcile(whole), memo)
    for key in [key for key in whole.objects if key.kind == kind]:
        rest = Snapshot.of(r for k, r in whole.objects.items() if k != key and not leans_on(k, key))
        memo.advance()
        reconciled = reconcile(rest)
        kept = compile_northbound(reconciled, memo)
        fresh = compile_northbound(reconciled)
        assert kept == fresh
        assert list(kept.rows) == list(fresh.rows)
        assert str(kept) == str(fresh)


def leans_on(other: ObjectId, removed: ObjectId) -> bool:
    """Objects that make no sense without the removed one."""
    if removed.kind == "EipGateway":
        return other.name == "pub"
    if removed.kind == "Subnet":
        return other.kind in ("Pod", "VirtualMachine", "BareMetal", "VNicIP")
    if removed.kind == "Node":
        return (
            other.kind in ("Pod", "VirtualMachine", "BareMetal", "VNicIP", "NetworkCard", "EipGateway")
            or other.name == "pub"
        )
    return False
