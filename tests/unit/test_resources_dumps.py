"""Dumps as a real API server prints them: everything is accepted, and what is not modelled is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from ytwin.controllers import OWNER, reconcile
from ytwin.core.errors import InvalidInput
from ytwin.core.memo import Memo
from ytwin.northbound.rows import LoadBalancer
from ytwin.pipeline import compile_rows
from ytwin.resources.codec import KINDS, decode, dump
from ytwin.resources.ignored import DECISIVE, IGNORED, is_ignored
from ytwin.resources.model import (
    Endpoints,
    NetworkProbe,
    Service,
    YusurService,
    YusurServicePort,
    YusurServiceSpec,
)
from ytwin.resources.snapshot import ObjectId, Snapshot
from ytwin.resources.workload import workloads
from ytwin.verify.lints import lint
from ytwin.verify.lints.context import LintContext
from ytwin.verify.report import Finding

FOLDER = Path(__file__).parent / "dumps"
EMPTY_CLUSTER = """
apiVersion: iaas.yusur.io/v1
kind: Subnet
metadata: {name: a}
spec: {cidrBlock: 10.1.0.0/24, default: true}
"""


def cluster(*more: str) -> Snapshot:
    files = {file.name: file.read_text() for file in sorted(FOLDER.glob("*.yaml"))}
    return decode({**files, **{f"more{i}": text for i, text in enumerate(more)}})


def findings(snapshot: Snapshot, code: str) -> list[Finding]:
    return [f for f in lint(LintContext(*compile_rows(snapshot))) if f.code == code]


def web(name: str = "site", **spec: object) -> YusurService:
    fields = {"vpc": "shop", "ports": (YusurServicePort(port=80, target_port="http"),), "selector": {"app": "web"}}
    return YusurService.model_validate(
        {"metadata": {"name": name, "namespace": "shop"}, "spec": YusurServiceSpec.model_validate({**fields, **spec})}
    )


def test_a_dump_of_a_whole_cluster_is_accepted_and_compiled() -> None:
    snapshot = cluster()
    assert {str(w.id): (w.vpc, w.subnet, w.addresses) for w in workloads(snapshot)} == {
        "Pod/kube-system/coredns-668d6bf9bc-7x2kq": ("ovn-cluster", "ovn-default", ("10.16.0.6",)),
        "Pod/shop/web-0": ("shop", "shop-a", ("10.20.0.5",)),
    }
    reconciled, northbound = compile_rows(snapshot)
    assert not list(northbound.of_type(LoadBalancer))
    assert len(list(reconciled.all(Service))) == 6
    assert decode({"again": dump(reconciled.objects.values())}).objects == reconciled.objects


def test_services_without_a_yusurservice_are_named_and_never_compiled() -> None:
    found = findings(cluster(dump([web()])), "unmanaged-service")
    assert {f.object for f in found} == {
        "Service/default/kubernetes",
        "Service/kube-system/kube-dns",
        "Service/shop/elsewhere",
        "Service/shop/front",
        "Service/shop/metallb",
        "Service/shop/web",
    }
    assert {f.severity.value for f in found} == {"info"}
    assert "VPC" in found[0].message


def test_a_service_of_the_same_name_as_a_yusurservice_tells_its_address() -> None:
    done = reconcile(cluster(dump([web("front")])))
    service = done.get(YusurService, "front", "shop")
    assert service is not None
    assert service.status.cluster_ip == "10.100.7.7"
    assert "Service/shop/front" not in {f.object for f in findings(done, "unmanaged-service")}


@pytest.mark.parametrize("memo", [None, Memo()])
def test_an_address_that_another_service_has_is_never_given_away(memo: Memo | None) -> None:
    """The service CIDR has two addresses left, and default/kubernetes has one of them."""
    parts = [
        EMPTY_CLUSTER,
        "apiVersion: iaas.yusur.io/v1\nkind: ClusterNetwork\nmetadata: {name: cluster}\nspec: {serviceCIDR: 10.96.0.0/30}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: kubernetes}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 443}]}",
        "apiVersion: iaas.yusur.io/v1\nkind: YusurService\nmetadata: {name: first}\nspec: {ports: [{port: 80}]}",
    ]
    service = reconcile(decode({"f": "\n---\n".join(parts)}), memo).get(YusurService, "first", "default")
    assert service is not None
    assert service.status.cluster_ip == "10.96.0.2"
    parts.append(parts[-1].replace("first", "second"))
    with pytest.raises(InvalidInput, match="3 Services need an IPv4 ClusterIP") as raised:
        decode({"f": "\n---\n".join(parts)})
    assert [p.code for p in raised.value.problems] == ["exhausted"]


def test_an_ip_that_turns_up_in_another_service_moves_only_what_was_never_written_back() -> None:
    memo = Memo()
    before = decode({"f": EMPTY_CLUSTER + "---\n" + dump([web("x", vpc="", selector={}, ports=[{"port": 80}])])})
    first = reconcile(before, memo).get(YusurService, "x", "shop")
    assert first is not None
    taken = first.status.cluster_ip.split(",")[0]
    stranger = f"apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{clusterIP: {taken}}}"
    with_stranger = before.with_objects(decode({"s": stranger}).all(Service))
    again = reconcile(with_stranger, memo)
    assert again == reconcile(with_stranger)
    moved = again.get(YusurService, "x", "shop")
    assert moved is not None
    assert moved.status.cluster_ip.split(",")[0] != taken


def test_leftovers_of_a_deleted_yusurservice_are_accepted_and_removed() -> None:
    full = reconcile(cluster(dump([web()])))
    assert [len(list(full.all(kind))) for kind in (Service, Endpoints, NetworkProbe)] == [7, 3, 1]
    left = [r for r in full.objects.values() if not isinstance(r, YusurService)]
    assert sum(OWNER in r.metadata.labels for r in left) == 3
    without_pod = [r for r in left if r.name != "web-0"]
    for objects in (left, without_pod):
        snapshot = decode({"left": dump(objects)})
        done = reconcile(snapshot)
        assert not [r for r in done.objects.values() if OWNER in r.metadata.labels]
        assert "Service/shop/site" not in {f.object for f in findings(snapshot, "unmanaged-service")}


def test_kinds_that_are_not_read_are_listed_and_said() -> None:
    snapshot = cluster()
    assert ObjectId("NetworkPolicy", "shop", "deny-all") in snapshot.ignored
    assert ObjectId("ClusterRole", "", "system:ovn") in snapshot.ignored
    assert len([key for key in snapshot.ignored if key.kind == "Event"]) == 1
    assert reconcile(snapshot).ignored == snapshot.ignored
    found = findings(snapshot, "ignored-kind")
    assert [(f.severity.value, f.object) for f in found] == [
        ("warning", "NetworkPolicy"),
        ("warning", "VpcNatGateway"),
        ("info", "input"),
    ]
    assert "shop/allow-web, shop/deny-all" in found[0].message
    assert "1 Deployment" in found[2].message


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("v1", "Deployment"),
        ("example.com/v1", "NetworkPolicy"),
        ("apps/", "Deployment"),
        ("v1", "Nothing"),
        ("", "Secret"),
    ],
)
def test_unknown_kinds_stay_problems(version: str, kind: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        decode({"f": f"apiVersion: {version!r}\nkind: {kind}\nmetadata: {{name: x}}\n"})
    assert [p.code for p in raised.value.problems] == ["kind"]


def test_every_decisive_kind_is_an_ignored_one() -> None:
    assert frozenset().union(*IGNORED.values()) >= DECISIVE
    assert is_ignored("apps/v1beta1", "Deployment")
    for cls in KINDS.values():
        assert not any(is_ignored(version, cls.KIND) for version in cls.API_VERSIONS)


def test_an_ignored_object_may_be_anything_inside() -> None:
    text = "{kind: Secret, apiVersion: v1, metadata: 5}\n---\n{kind: Event, apiVersion: v1, metadata: {name: 7}}"
    assert decode({"f": text}).ignored == (ObjectId("Event", "", ""), ObjectId("Secret", "", ""))


def test_what_kube_ovn_would_do_and_the_twin_does_not_is_a_warning() -> None:
    found = findings(cluster(), "unmodelled-field")
    assert {f.severity.value for f in found} == {"warning"}
    assert [(f.object, f.message.split()[0]) for f in found] == [
        ("Subnet/ovn-default", "spec.natOutgoing"),
        ("Subnet/shop-b", "spec.acls"),
        ("Subnet/shop-b", "spec.enableLb"),
        ("Subnet/shop-b", "spec.namespaceSelectors"),
        ("Subnet/shop-b", "spec.private"),
        ("Subnet/shop-b", "spec.vips"),
    ]


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ("natOutgoing: true, vpc: ovn-cluster", ["spec.natOutgoing"]),
        ("gatewayType: centralized, gatewayNode: n, enableEcmp: true", ["spec.gatewayType"]),
        ("gatewayType: distributed, private: false, allowSubnets: [10.9.0.0/24]", []),
        ("private: true, allowSubnets: [10.9.0.0/24]", ["spec.private"]),
        ("vlan: vlan1, logicalGateway: true", ["spec.vlan", "spec.logicalGateway"]),
        ("u2oInterconnection: true, u2oInterconnectionIP: 10.1.0.9", ["spec.u2oInterconnection"]),
        ("enableLb: true, disableGatewayCheck: true, enableDHCP: true", []),
        ("enableLb: false", ["spec.enableLb"]),
        ("provider: net1.default.ovn", ["spec.provider"]),
        ("externalEgressGateway: 10.1.0.9, policyRoutingTableID: 3", ["spec.externalEgressGateway"]),
        ("natOutgoingPolicyRules: [{action: nat, match: {srcIPs: 10.1.0.0/28}}]", ["spec.natOutgoingPolicyRules"]),
        ("routeTable: blue, enableExternalLBAddress: true", ["spec.routeTable", "spec.enableExternalLBAddress"]),
    ],
)
def test_which_fields_of_a_subnet_are_warned_of(fields: str, warned: list[str]) -> None:
    text = f"apiVersion: kubeovn.io/v1\nkind: Subnet\nmetadata: {{name: a}}\nspec: {{cidrBlock: 10.1.0.0/24, {fields}}}"
    assert sorted(f.message.split()[0] for f in findings(decode({"f": text}), "unmodelled-field")) == sorted(warned)
