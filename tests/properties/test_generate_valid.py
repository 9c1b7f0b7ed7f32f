"""Whatever `generate` makes is valid, and over seeds it makes everything."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin.controllers import reconcile
from ytwin.core.errors import InvalidInput
from ytwin.generate import generate
from ytwin.pipeline import build, verify
from ytwin.resources.codec import decode, dump
from ytwin.resources.model import (
    BareMetal,
    EipGateway,
    Endpoints,
    NetworkCard,
    NetworkProbe,
    Pod,
    Service,
    Subnet,
    VirtualMachine,
    VNicIP,
    Vpc,
    YusurService,
)
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import vpcs_of_service
from ytwin.verify import Severity


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 6), st.integers(1, 5), st.integers(1, 8), st.integers(0, 8), st.integers(0, 6), st.integers(0, 2**32)
)
def test_it_decodes_and_reconciles_without_problems(
    nodes: int, vpcs: int, subnets: int, services: int, backends: int, seed: int
) -> None:
    objects = generate(nodes, vpcs, subnets, services, backends, seed)
    snapshot = decode({"made.yaml": dump(objects)})
    assert snapshot == Snapshot.of(objects)
    done = reconcile(snapshot)
    assert decode({"done.yaml": dump(done.objects.values())}) == done
    assert len(list(done.all(YusurService))) == services


def test_the_same_seed_makes_the_same_objects() -> None:
    assert generate(seed=7) == generate(seed=7) != generate(seed=8)


def test_numbers_out_of_range_are_refused_all_at_once() -> None:
    with pytest.raises(InvalidInput) as raised:
        generate(nodes=-1, services=10**9)
    assert len(raised.value.problems) == 2


def test_a_plain_topology_is_what_was_asked_for() -> None:
    done = reconcile(Snapshot.of(generate(nodes=4, vpcs=2, subnets=10, services=50, backends=7, plain=True)))
    assert len(list(done.all(Subnet))) == 10
    for endpoints in done.all(Endpoints):
        assert [(len(s.addresses), len(s.not_ready_addresses)) for s in endpoints.subsets] == [(7, 0)]
    assert all("," not in s.status.cluster_ip and not s.status.eip for s in done.all(YusurService))


def test_over_seeds_every_feature_appears() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        snapshot = reconcile(Snapshot.of(generate(4, 4, 6, 6, 3, seed)))
        raw = Snapshot.of(generate(4, 4, 6, 6, 3, seed))
        seen.update(_features(raw, snapshot))
    wanted = {
        *("v4 only", "v6 only", "dual", "gateway given", "excludeIps", "namespaces", "shared CIDR"),
        *("static route", "policy route", "route by source", "no gateway", "several gateways", "vlan", "range pool"),
        *("Pod", "VirtualMachine", "BareMetal", "VNicIP", "none", "SmartNIC", "DPU", "hostNetwork", "given address"),
        *("ClusterIP", "one VPC EIP", "several VPCs EIP", "scope cluster", "TCP", "UDP", "SCTP", "several ports"),
        *(
            "named port",
            "several subsets",
            "affinity",
            "timeout",
            "hash",
            "dpHash",
            "selection fields",
            "nearest",
            "reject",
        ),
        *("no backend", "no healthy backend", "some unhealthy", "clusterIP given", "eip given", "status given"),
        *("shared EIP", "Service given", "vnicIPs", "backend kinds", "default VPC", "default VPC written"),
    }
    assert wanted - seen.keys() == set()


def _features(raw: Snapshot, done: Snapshot) -> set[str]:
    found: set[str] = set()

    def note(name: str, holds: object) -> None:
        if holds:
            found.add(name)

    cidrs: Counter[str] = Counter()
    for subnet in raw.all(Subnet):
        spec = subnet.spec
        cidrs.update(spec.cidr_block.split(","))
        note("dual" if "," in spec.cidr_block else "v6 only" if ":" in spec.cidr_block else "v4 only", True)
        note("gateway given", spec.gateway)
        note("excludeIps", spec.exclude_ips)
        note("namespaces", spec.namespaces)
    note("shared CIDR", max(cidrs.values()) > 1)
    for vpc in raw.all(Vpc):
        note("static route", any(r.policy != "policySrc" for r in vpc.spec.static_routes))
        note("route by source", any(r.policy == "policySrc" for r in vpc.spec.static_routes))
        note("policy route", vpc.spec.policy_routes)
        note("default VPC written", vpc.name == "ovn-cluster")
    gateways = list(raw.all(EipGateway))
    note("no gateway", not gateways)
    note("several gateways", len(gateways) > 1)
    note("vlan", any(g.spec.vlan for g in gateways))
    note("range pool", any("-" in pool for g in gateways for pool in g.spec.pools))
    for kind in (Pod, VirtualMachine, BareMetal, VNicIP):
        note(kind.KIND, any(raw.all(kind)))
    note("hostNetwork", any(pod.spec.host_network for pod in raw.all(Pod)))
    note("given address", any(vm.spec.ip_address for vm in raw.all(VirtualMachine)))
    found.update(card.spec.type for card in raw.all(NetworkCard))
    note("some unhealthy", any(p.status.healthy is False for p in raw.all(NetworkProbe)))
    note("Service given", any(raw.all(Service)))
    eips = [service.status.eip for service in done.all(YusurService) if service.status.eip]
    note("shared EIP", len(eips) > len(set(eips)))
    for service in raw.all(YusurService):
        found.update(_of_service(raw, service))
        endpoints = done.get(Endpoints, service.name, service.namespace)
        assert endpoints is not None
        note("no backend", not endpoints.subsets)
        note("several subsets", len(endpoints.subsets) > 1)
        dead = endpoints.subsets and not any(s.addresses for s in endpoints.subsets)
        note("no healthy backend", dead)
    return found


def _of_service(raw: Snapshot, service: YusurService) -> set[str]:
    spec, members = service.spec, vpcs_of_service(raw, service)
    eip = "several VPCs EIP" if len(members) > 1 else "one VPC EIP"
    holds = {
        "default VPC": members == ("ovn-cluster",),
        "scope cluster": spec.scope == "cluster",
        "several ports": len(spec.ports) > 1,
        "named port": any(isinstance(p.target_port, str) for p in spec.ports),
        "affinity": spec.session_affinity == "ClientIP",
        "timeout": spec.session_affinity_config is not None,
        "selection fields": spec.balancing.selection_fields,
        "nearest": spec.balancing.on_unsupported == "nearest",
        "reject": spec.balancing.reject,
        "clusterIP given": spec.cluster_ip,
        "eip given": spec.eip,
        "status given": service.status.cluster_ip or service.status.eip,
        "vnicIPs": spec.vnic_ips,
        "backend kinds": len(spec.backend_kinds) < 4,
    }
    found = {name for name, value in holds.items() if value}
    found.update(p.protocol for p in spec.ports)
    return found | {spec.balancing.algorithm, "ClusterIP" if spec.type == "ClusterIP" else eip}


@pytest.mark.parametrize(
    ("nodes", "vpcs", "subnets", "services", "backends"),
    [(1, 1, 1, 0, 0), (1, 1, 1, 4, 0), (1, 3, 3, 10, 1), (3, 3, 4, 6, 2), (5, 1, 1, 0, 3), (2, 2, 2, 2, 20)],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_made_works_but_for_services_without_a_healthy_backend(
    nodes: int, vpcs: int, subnets: int, services: int, backends: int, seed: int
) -> None:
    twin = build(Snapshot.of(generate(nodes, vpcs, subnets, services, backends, seed)))
    report = verify(twin)
    meant = {f.object for f in report.findings if f.code in ("no-backend", "no-healthy-backend")}
    assert [cell for cell in report.failures if f"YusurService/{cell.service}" not in meant] == []
    assert [f for f in report.findings if f.severity is Severity.ERROR and f.object not in meant] == []
