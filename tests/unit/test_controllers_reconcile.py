"""What `reconcile` makes of one YusurService."""

from __future__ import annotations

import pytest
from controllers_cases import gateway, meta, pod, probe, service, small, subnet, vpc

from ytwin.controllers import OWNER, probe_name, reconcile
from ytwin.core.errors import InvalidInput
from ytwin.resources.codec import decode
from ytwin.resources.model import (
    ClusterNetwork,
    ClusterNetworkSpec,
    Endpoints,
    EndpointSubset,
    Metadata,
    NetworkProbe,
    Pod,
    Resource,
    Service,
    ServiceSpec,
    VirtualMachine,
    VNicIP,
    WorkloadSpec,
    YusurService,
    YusurServicePort,
    YusurServiceStatus,
)
from ytwin.resources.snapshot import ObjectId, Snapshot


def run(*resources: Resource) -> Snapshot:
    return reconcile(Snapshot.of(resources))


def endpoints(done: Snapshot, name: str = "web") -> Endpoints:
    found = done.get(Endpoints, name, "default")
    assert found is not None
    return found


def ready(done: Snapshot, name: str = "web") -> list[str]:
    return [a.ip for s in endpoints(done, name).subsets for a in s.addresses]


def owner(done: Snapshot, name: str = "web") -> YusurService:
    found = done.get(YusurService, name, "default")
    assert found is not None
    return found


def test_children_carry_the_owner_and_one_probe_per_backend() -> None:
    done = run(*small())
    child = done.get(Service, "web", "default")
    assert child is not None
    assert child.spec.cluster_ip == owner(done).status.cluster_ip
    assert ready(done) == ["10.1.1.11", "10.1.1.12"]
    probes = list(done.all(NetworkProbe))
    assert [(p.name, p.spec.address, p.spec.port) for p in probes] == [
        ("web.pod.web1", "10.1.1.11", 80),
        ("web.pod.web2", "10.1.1.12", 80),
    ]
    for item in (child, endpoints(done), *probes):
        assert item.metadata.labels[OWNER] == "web"


@pytest.mark.parametrize("healthy", [True, False, None])
def test_only_an_unhealthy_result_takes_a_backend_out(healthy: bool | None) -> None:
    done = run(*small(), probe("web", "10.1.1.12", healthy))
    subset = endpoints(done).subsets[0]
    assert ("10.1.1.12" in [a.ip for a in subset.addresses]) == (healthy is not False)
    assert ("10.1.1.12" in [a.ip for a in subset.not_ready_addresses]) == (healthy is False)
    kept = done.get(NetworkProbe, "web.pod.web2", "default")
    assert kept is not None
    assert kept.status.healthy is healthy
    assert done.get(NetworkProbe, "told", "default") is None


def test_a_result_about_an_address_that_the_backend_no_longer_has_says_nothing() -> None:
    assert ready(run(*small(), probe("web", "10.1.1.99", False))) == ["10.1.1.11", "10.1.1.12"]


def test_unhealthy_wins_where_two_results_disagree() -> None:
    said = [probe("web", "10.1.1.12", False, "a"), probe("web", "10.1.1.12", True, "b")]
    assert ready(run(*small(), *said)) == ["10.1.1.11"]


def test_a_selector_looks_at_its_namespace_vpc_and_kinds_and_not_at_host_network() -> None:
    elsewhere = Pod(
        metadata=Metadata(
            name="w4",
            namespace="other",
            labels={"app": "web"},
            annotations={"ovn.kubernetes.io/logical_switch": "subnet1"},
        ),
        spec=pod("w4").spec,
    )
    machine = VirtualMachine(metadata=meta("w5", app="web"), spec=WorkloadSpec(node="node1", subnet="subnet1"))
    others = [
        vpc("vpc2"),
        subnet("subnet2", "vpc2", "10.2.1.0/24"),
        pod("w1", subnet="subnet2"),
        pod("w2", host_network=True),
    ]
    done = run(*small(), *others, elsewhere, machine, service("pods", backend_kinds=("Pod",)))
    assert [p.name for p in done.all(NetworkProbe)] == [
        "pods.pod.web1",
        "pods.pod.web2",
        "web.pod.web1",
        "web.pod.web2",
        "web.vm.w5",
    ]


def test_nothing_selected_is_no_backend() -> None:
    done = run(*small(), service("empty", app=""))
    assert endpoints(done, "empty").subsets == ()


def test_all_labels_of_a_selector_must_match() -> None:
    assert ready(run(*small(), service("both", selector={"app": "web", "tier": "x"})), "both") == []


def test_explicit_addresses_are_backends_whatever_their_labels() -> None:
    nic = VNicIP(metadata=meta("nic"), spec=WorkloadSpec(node="node1", subnet="dual", ip_address="10.1.2.9,fd00::9"))
    dual = subnet("dual", cidr="10.1.2.0/24,fd00::/64")
    only = service("only", app="", vnic_ips=("fd00:0::9",))
    both = service("both", vnic_ips=("10.1.2.9", "fd00::9"))
    done = run(*small(), dual, nic, only, both)
    assert ready(done, "only") == ["fd00::9"]
    assert ready(done, "both") == ["10.1.1.11", "10.1.1.12", "10.1.2.9", "fd00::9"]
    assert done.get(NetworkProbe, "both.vnic.nic", "default") is not None


def test_an_explicit_address_that_nobody_has_is_a_backend_without_a_target() -> None:
    done = run(*small(), service("bare", app="", vnic_ips=("10.1.1.77", "fd00::")))
    subset = endpoints(done, "bare").subsets[0]
    assert [(a.ip, a.target_ref) for a in subset.addresses] == [("10.1.1.77", None), ("fd00::", None)]
    names = {p.name for p in done.all(NetworkProbe) if p.spec.service == "bare"}
    assert names == {"bare.ip.10-1-1-77", "bare.ip.fd00-0000-0000-0000-0000-0000-0000-0000"}


def test_a_named_port_is_the_backends_own_number() -> None:
    pods = [pod("a", "x", ports={"http": 8080}), pod("b", "x", ports={"http": 9090}), pod("c", "x", ports={"other": 1})]
    done = run(vpc(), subnet(), *pods, service("x", "x", target="http"))
    found = [
        ([p.port for p in s.ports], [a.target_ref.name for a in s.addresses if a.target_ref])
        for s in endpoints(done, "x").subsets
    ]
    assert found == [([8080], ["a"]), ([9090], ["b"])]
    assert [p.name for p in done.all(NetworkProbe)] == ["x.pod.a", "x.pod.b"]


def test_a_backend_without_one_of_the_named_ports_serves_the_others() -> None:
    ports = (YusurServicePort(name="a", port=80, target_port="http"), YusurServicePort(name="b", port=81))
    done = run(vpc(), subnet(), pod("p", ports={}), service(ports=ports))
    assert [[p.name for p in s.ports] for s in endpoints(done).subsets] == [["b"]]


def test_dual_stack_backends_stand_with_both_addresses() -> None:
    done = run(vpc(), subnet(cidr="10.1.1.0/24,fd00::/64"), pod("p", ip="10.1.1.5,fd00::5"), service())
    assert ready(done) == ["10.1.1.5", "fd00::5"]
    assert owner(done).status.cluster_ip.count(",") == 1


@pytest.mark.parametrize(
    ("cidr", "families"), [("10.1.1.0/24", [4]), ("fd00::/64", [6]), ("10.1.1.0/24,fd00::/64", [4, 6])]
)
def test_a_service_gets_the_families_of_its_vpc(cidr: str, families: list[int]) -> None:
    done = run(vpc(), subnet(cidr=cidr), gateway(), service(type="LoadBalancer"))
    for text in (owner(done).status.cluster_ip, owner(done).status.eip):
        assert [6 if ":" in part else 4 for part in text.split(",")] == families


def test_a_service_over_several_vpcs_has_an_eip_only() -> None:
    others = [vpc("vpc2"), subnet("subnet2", "vpc2", "10.2.1.0/24"), gateway()]
    done = run(*small()[:-1], *others, service(vpc="", vpcs=("vpc1", "vpc2"), type="LoadBalancer"))
    assert owner(done).status.cluster_ip == ""
    assert owner(done).status.eip.startswith("200.0.0.")


def test_given_addresses_win_in_order_spec_service_status() -> None:
    told = Service(metadata=meta("web"), spec=ServiceSpec(clusterIP="10.96.0.2", clusterIPs=("10.96.0.2",)))
    in_status = service().model_copy(update={"status": YusurServiceStatus(clusterIP="10.96.0.3")})
    in_spec = service(clusterIP="10.96.0.1").model_copy(update={"status": YusurServiceStatus(clusterIP="10.96.0.3")})
    assert owner(run(*small(), in_status)).status.cluster_ip == "10.96.0.3"
    assert owner(run(*small(), in_status, told)).status.cluster_ip == "10.96.0.2"
    assert owner(run(*small(), in_spec, told)).status.cluster_ip == "10.96.0.1"


def test_a_headless_service_tells_no_address() -> None:
    told = Service(metadata=meta("web"), spec=ServiceSpec(clusterIP="None"))
    assert owner(run(*small(), told)).status.cluster_ip.startswith("10.")


def test_a_given_load_balancer_ip_is_kept() -> None:
    told = Service(metadata=meta("web"), spec=ServiceSpec(type="LoadBalancer", loadBalancerIP="200.0.0.9"))
    done = run(*small()[:-1], gateway(), service(type="LoadBalancer"), told)
    assert owner(done).status.eip == "200.0.0.9"


def test_pods_get_annotations_and_others_their_spec() -> None:
    machine = VirtualMachine(metadata=meta("vm"), spec=WorkloadSpec(node="node1", subnet="subnet1"))
    done = run(vpc(), subnet(), pod("p"), machine)
    annotations = done.objects[ObjectId("Pod", "default", "p")].metadata.annotations
    address = annotations["ovn.kubernetes.io/ip_address"]
    assert annotations["ovn.kubernetes.io/mac_address"] == "0a:58:" + bytes(map(int, address.split("."))).hex(":")
    placed = done.get(VirtualMachine, "vm", "default")
    assert placed is not None
    assert placed.spec.ip_address.startswith("10.1.1.")
    assert placed.spec.mac_address.startswith("0a:58:0a:01:01:")


def test_workloads_never_get_gateway_excluded_or_given_addresses() -> None:
    tight = subnet(cidr="10.1.1.0/29", gateway="10.1.1.6", exclude_ips=("10.1.1.1..10.1.1.2",))
    done = run(vpc(), tight, pod("a", ip="10.1.1.4"), pod("b"), pod("c"))
    given = {p.metadata.annotations["ovn.kubernetes.io/ip_address"] for p in done.all(Pod)}
    assert given == {"10.1.1.3", "10.1.1.4", "10.1.1.5"}
    with pytest.raises(InvalidInput, match=r"subnet1 has no address left for 1 workloads"):
        run(vpc(), tight, pod("a", ip="10.1.1.4"), pod("b"), pod("c"), pod("d"))


def test_macs_of_ipv6_only_workloads_are_unique_in_their_subnet() -> None:
    done = run(vpc(), subnet(cidr="fd00::/64"), *(pod(f"p{i}") for i in range(50)))
    assert len({p.metadata.annotations["ovn.kubernetes.io/mac_address"] for p in done.all(Pod)}) == 50


def test_a_derived_mac_gives_way_to_a_given_one() -> None:
    squatter = pod("a", ip="10.1.1.9")
    annotations = {**squatter.metadata.annotations, "ovn.kubernetes.io/mac_address": "0A:58:0a:01:01:05"}
    squatter = squatter.model_copy(
        update={"metadata": Metadata(name="a", namespace="default", annotations=annotations)}
    )
    done = run(vpc(), subnet(), squatter, pod("b", ip="10.1.1.5"))
    macs = [p.metadata.annotations["ovn.kubernetes.io/mac_address"] for p in done.all(Pod)]
    assert macs == ["0A:58:0a:01:01:05", "0a:58:0a:01:01:06"]


def test_given_and_chosen_cluster_ips_share_a_small_range() -> None:
    tiny = ClusterNetwork(metadata=Metadata(name="cluster"), spec=ClusterNetworkSpec(service_cidr="10.96.0.0/28"))
    fixed = [service(f"fixed{i}", clusterIP=f"10.96.0.{i}") for i in range(1, 8)]
    done = run(tiny, vpc(), subnet(), *fixed, *(service(f"open{i}") for i in range(7)))
    assert {s.status.cluster_ip for s in done.all(YusurService)} == {f"10.96.0.{i}" for i in range(1, 15)}


def test_an_exhausted_pool_names_every_service_that_gets_nothing() -> None:
    tiny = ClusterNetwork(metadata=Metadata(name="cluster"), spec=ClusterNetworkSpec(service_cidr="10.96.0.0/30"))
    with pytest.raises(InvalidInput) as raised:
        run(tiny, vpc(), subnet(), *(service(f"s{i}") for i in range(4)))
    assert [p.code for p in raised.value.problems] == ["exhausted"] * 2


def test_stale_children_go_and_foreign_objects_stay() -> None:
    done = run(*small(), service("gone"))
    foreign = Endpoints(metadata=meta("by-hand"), subsets=(EndpointSubset(),))
    objects = [item for item in done.objects.values() if not (item.KIND == "YusurService" and item.name == "gone")]
    objects = [item for item in objects if item.name != "web2"]
    again = run(*objects, foreign)
    assert [s.name for s in again.all(Service)] == ["web"]
    assert [p.name for p in again.all(NetworkProbe)] == ["web.pod.web1"]
    assert again.get(Endpoints, "by-hand", "default") is foreign
    assert ready(again) == ["10.1.1.11"]


def test_probe_names_are_unique_and_short_enough() -> None:
    assert probe_name("a-pod-b", "pod.c") != probe_name("a", "pod.b-pod-c")
    long = [probe_name("svc", f"pod.{'x' * 249}{end}") for end in "ab"]
    assert len({*long}) == 2
    assert all(len(name) == 253 for name in long)


def test_an_on_link_pool_gives_away_no_address_that_somebody_on_that_network_has() -> None:
    """Ten Services drain a /28 but for the network and broadcast address, two uplinks and two outside routers' addresses."""
    text = """
apiVersion: iaas.yusur.io/v1
kind: Subnet
metadata: {name: a}
spec: {cidrBlock: 10.1.0.0/24, default: true}
---
apiVersion: v1
kind: Node
metadata: {name: n}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: iaas.yusur.io/v1
kind: EipGateway
metadata: {name: e}
spec: {nodes: [n], cidrBlock: 192.0.2.0/28, uplink: 192.0.2.2, gateway: 192.0.2.1, pools: [192.0.2.0/28]}
---
apiVersion: iaas.yusur.io/v1
kind: EipGateway
metadata: {name: other}
spec: {nodes: [n], cidrBlock: 192.0.2.0/28, uplink: 192.0.2.4, gateway: 192.0.2.3, pools: [198.51.100.0/30]}
"""
    service = "apiVersion: iaas.yusur.io/v1\nkind: YusurService\nmetadata: {{name: s{}}}\n"
    service += "spec: {{type: LoadBalancer, eipGateway: e, ports: [{{port: 80}}]}}"
    done = reconcile(decode({"f": "\n---\n".join([text, *(service.format(i) for i in range(10))])}))
    given = {service.status.eip for service in done.all(YusurService)}
    assert given == {f"192.0.2.{number}" for number in range(5, 15)}
    with pytest.raises(
        InvalidInput, match="11 Services need an IPv4 EIP of EipGateway e, but its pools have room for 10"
    ):
        decode({"f": "\n---\n".join([text, *(service.format(i) for i in range(11))])})
