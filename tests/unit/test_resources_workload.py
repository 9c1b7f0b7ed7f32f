"""The uniform view of workloads and Subnets, and the texts of addresses."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from ytwin.resources.addresses import AddressRange, canonical_dual, hosts, merged, split_dual
from ytwin.resources.balancing import ALGORITHMS, LACKING, effective_algorithm, lacking
from ytwin.resources.codec import decode
from ytwin.resources.model import Balancing, ClusterNetwork, ClusterNetworkSpec, Metadata, Pod, Subnet, SubnetSpec
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import (
    cidrs_of,
    excluded_of,
    gateways_of,
    is_attached,
    join_subnet,
    subnet_of_pod,
    subnets_of,
    vpcs,
    workloads,
    workloads_by_address,
)

NETWORK = """
{apiVersion: v1, kind: Node, metadata: {name: n}, status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}}
---
{apiVersion: iaas.yusur.io/v1, kind: Vpc, metadata: {name: v}, spec: {namespaces: [b, c], defaultSubnet: vs}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: vs}, spec: {vpc: v, cidrBlock: "fd00:5::/64,10.5.0.0/24"}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: bs}, spec: {cidrBlock: 10.6.0.0/24, namespaces: [b]}}
---
{apiVersion: iaas.yusur.io/v1, kind: Subnet, metadata: {name: ds}, spec: {cidrBlock: 10.7.0.0/24, default: true}}
"""


def pod(name: str, namespace: str, annotations: str = "{}", spec: str = "{nodeName: n}", status: str = "{}") -> str:
    metadata = f"{{name: {name}, namespace: {namespace}, annotations: {annotations}}}"
    return f"{{apiVersion: v1, kind: Pod, metadata: {metadata}, spec: {spec}, status: {status}}}"


def snapshot_of(*texts: str) -> Snapshot:
    return decode({"net": NETWORK, **{str(i): text for i, text in enumerate(texts)}})


def test_a_pods_subnet_is_its_own_then_its_namespaces_then_its_vpcs_then_the_default() -> None:
    snapshot = snapshot_of(
        pod("own", "b", "{ovn.kubernetes.io/logical_switch: ds}"), pod("ns", "b"), pod("vpc", "c"), pod("other", "d")
    )
    found = {p.name: subnet_of_pod(snapshot, p) for p in snapshot.all(Pod)}
    assert found == {"own": "ds", "ns": "bs", "vpc": "vs", "other": "ds"}
    assert {w.name: w.vpc for w in workloads(snapshot)} == {
        "own": "ovn-cluster",
        "ns": "ovn-cluster",
        "vpc": "v",
        "other": "ovn-cluster",
    }


def test_pods_without_a_port_of_their_own_are_no_workloads() -> None:
    snapshot = snapshot_of(
        pod("host", "d", spec="{nodeName: n, hostNetwork: true}"),
        pod("done", "d", status="{phase: Succeeded, podIP: 10.7.0.9}"),
        pod("pending", "d", spec="{}", status="{phase: Pending}"),
        pod("here", "d", status="{phase: Running, podIP: 10.7.0.9}"),
    )
    assert [w.name for w in workloads(snapshot)] == ["here"]
    assert [p.name for p in snapshot.all(Pod) if is_attached(p)] == ["here"]


def test_addresses_of_a_pod_annotation_first_and_canonical() -> None:
    annotated = (
        '{ovn.kubernetes.io/ip_address: "FD00:5:0::7,10.5.0.7", ovn.kubernetes.io/mac_address: 0A:58:00:00:00:01}'
    )
    snapshot = snapshot_of(pod("a", "c", annotated, status="{podIP: 10.5.0.8}"))
    (workload,) = workloads(snapshot)
    assert workload.addresses == ("10.5.0.7", "fd00:5::7")
    assert workload.mac == "0a:58:00:00:00:01"
    assert workloads_by_address(snapshot)["v", "fd00:5::7"] is workload


def test_subnets_of_a_vpc_leave_join_out_and_join_always_exists() -> None:
    snapshot = snapshot_of()
    assert vpcs(snapshot) == ("ovn-cluster", "v")
    assert [s.name for s in subnets_of(snapshot, "ovn-cluster")] == ["bs", "ds"]
    assert cidrs_of(join_subnet(snapshot)) == ("100.64.0.0/16", "fd00:100:64::/112")
    own = Subnet(metadata=Metadata(name="join"), spec=SubnetSpec(cidr_block="100.65.0.0/16"))
    with_join = snapshot.with_objects([own])
    assert join_subnet(with_join) is own
    assert [s.name for s in subnets_of(with_join, "ovn-cluster")] == ["bs", "ds"]
    named = ClusterNetwork(metadata=Metadata(name="cluster"), spec=ClusterNetworkSpec(default_vpc="main"))
    assert vpcs(snapshot.with_objects([named])) == ("main", "v")


def test_gateways_follow_the_cidrs_and_default_to_the_first_host() -> None:
    spec = SubnetSpec(cidr_block="fd00:5::/64,10.5.0.0/24", gateway="10.5.0.254", exclude_ips=("10.5.0.9..10.5.0.12",))
    subnet = Subnet(metadata=Metadata(name="s"), spec=spec)
    assert cidrs_of(subnet) == ("10.5.0.0/24", "fd00:5::/64")
    assert gateways_of(subnet) == ("10.5.0.254", "fd00:5::1")
    assert [str(item) for item in excluded_of(subnet)] == ["10.5.0.9-10.5.0.12", "10.5.0.254", "fd00:5::1"]


def test_texts_of_addresses() -> None:
    assert split_dual(" fd00::1 , 10.0.0.1,") == ("10.0.0.1", "fd00::1")
    assert canonical_dual("FD00:0::1,nonsense") == ("nonsense", "fd00::1")
    assert AddressRange.parse("10.0.0.0/30").size == 4
    assert "10.0.0.7" in AddressRange.parse("10.0.0.5-10.0.0.9")
    assert "fd00::1" not in AddressRange.parse("10.0.0.5")
    assert hosts(ip_network("10.0.0.0/31")).size == 2
    assert [str(r) for r in merged(map(AddressRange.parse, ("10.0.0.4", "10.0.0.0/30", "fd00::/126", "10.0.0.9")))] == [
        "10.0.0.0-10.0.0.4",
        "10.0.0.9",
        "fd00::/126",
    ]


@pytest.mark.parametrize("text", ["10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1", "x", "", "10.0.0.1/24"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        AddressRange.parse(text)


def test_balancing_knows_what_ovn_has_and_lacks() -> None:
    assert not set(ALGORITHMS) & set(LACKING)
    assert (lacking("Round_Robin"), lacking("wlc"), lacking("hash")) == ("roundRobin", "weightedLeastConnections", "")
    assert effective_algorithm(Balancing(algorithm="maglev", on_unsupported="nearest")) == "hash"
    assert effective_algorithm(Balancing(algorithm="dpHash")) == "dpHash"
