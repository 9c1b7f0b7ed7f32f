"""What a Service asks for, held against what OVN and the cards do with it."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.resources.addresses import canonical_dual, version_of
from ytwin.resources.model import Endpoints, NetworkCard, Subnet, YusurService
from ytwin.resources.workload import vpcs_of_service
from ytwin.verify.lints.context import LintContext
from ytwin.verify.report import Finding, Severity

DP_HASH_MIN_SLOTS = 16
DP_HASH_MAX_SLOTS = 256


def _name(service: YusurService) -> str:
    return f"YusurService/{service.namespace}/{service.name}"


def _ready(context: LintContext, service: YusurService) -> dict[int, list[str]]:
    """Healthy backend addresses by IP version."""
    found: dict[int, set[str]] = {4: set(), 6: set()}
    for (_, version), (healthy, _) in _backends(context, service).items():
        found[version].update(healthy)
    return {version: sorted(ips) for version, ips in found.items()}


def _not_ready(context: LintContext, service: YusurService) -> list[str]:
    return sorted({ip for _, dead in _backends(context, service).values() for ip in dead})


def _backends(context: LintContext, service: YusurService) -> dict[tuple[str, int], tuple[list[str], list[str]]]:
    """(port name, IP version) -> addresses of healthy and of unhealthy backends."""
    found: dict[tuple[str, int], tuple[list[str], list[str]]] = {}
    endpoints = context.snapshot.get(Endpoints, service.name, service.namespace)
    for subset in endpoints.subsets if endpoints is not None else ():
        for port in subset.ports:
            for place, addresses in enumerate((subset.addresses, subset.not_ready_addresses)):
                for address in addresses:
                    key = (port.name, version_of(address.ip))
                    found.setdefault(key, ([], []))[place].append(address.ip)
    return found


def no_backend(context: LintContext) -> Iterator[Finding]:
    """An address and port that nobody stands behind: dropped by lr/ls lb flows, or rejected."""
    for service in context.snapshot.all(YusurService):
        backends = _backends(context, service)
        for address in (*canonical_dual(service.status.cluster_ip), *canonical_dual(service.status.eip)):
            version = version_of(address)
            missing = [port for port in service.spec.ports if not backends.get((port.name, version), ([], []))[0]]
            if not missing:
                continue
            whole = len(missing) == len(service.spec.ports)
            at = address if whole else f"{address} port {', '.join(f'{p.port}/{p.protocol}' for p in missing)}"
            if any((port.name, version) in backends for port in missing):
                message = f"{at}: no healthy IPv{version} backend; the probes of all of them fail"
                yield Finding("no-healthy-backend", Severity.ERROR, _name(service), message)
            elif any(family == version for _, family in backends):
                message = f"{at}: no IPv{version} backend names the port that targetPort says"
                yield Finding("no-backend", Severity.ERROR, _name(service), message)
            else:
                vpcs = ", ".join(vpcs_of_service(context.snapshot, service))
                message = f"{at}: the selector matches no IPv{version} backend in {vpcs}"
                yield Finding("no-backend", Severity.ERROR, _name(service), message)


def dp_hash_shares(backends: int) -> tuple[int, int] | None:
    """(largest, smallest) number of slots a backend gets in a select group with dp_hash; None if OVS does not use dp_hash.

    OVS takes the next power of two of the number of equally weighted buckets, at least 16 slots, and shares them out
    by Webster's method, so they differ by at most one; over 256 it falls back to hashing (ofproto-dpif.c,
    group_setup_dp_hash_table).
    """
    assert backends > 0
    slots = max(DP_HASH_MIN_SLOTS, 1 << (backends - 1).bit_length())
    return (-(-slots // backends), slots // backends) if slots <= DP_HASH_MAX_SLOTS else None


def dp_hash(context: LintContext) -> Iterator[Finding]:
    """kube-ovn #5479, OVN #112 and #191: uneven shares, and cards that cannot offload the group."""
    cards = sorted(
        c.spec.node for c in context.snapshot.all(NetworkCard) if c.spec.type != "none" and c.spec.hw_offload
    )
    for service in context.snapshot.all(YusurService):
        if service.spec.balancing.algorithm != "dpHash":
            continue
        if cards:
            message = (
                "dp_hash groups are not offloaded by known cards: "
                f"first packets of connections stay in software on {', '.join(cards)}"
            )
            yield Finding("dp-hash-not-offloaded", Severity.WARNING, _name(service), message)
        for version, ips in _ready(context, service).items():
            shares = dp_hash_shares(len(ips)) if ips else None
            if shares is not None and shares[0] != shares[1]:
                message = f"{len(ips)} IPv{version} backends share dp_hash's slots unevenly: {shares[0]} to {shares[1]}"
                yield Finding("uneven-shares", Severity.INFO, _name(service), message)


def affinity_to_dead_backend(context: LintContext) -> Iterator[Finding]:
    """kube-ovn #7364, #6029: a learned affinity flow points at its backend until it has been idle for the whole timeout."""
    for service in context.snapshot.all(YusurService):
        dead = _not_ready(context, service)
        if service.spec.session_affinity != "ClientIP" or not dead:
            continue
        config = service.spec.session_affinity_config
        timeout_s = config.client_ip.timeout_seconds if config is not None else 10800
        message = f"clients bound to {', '.join(dead)} keep being sent there until they are silent for {timeout_s} s"
        yield Finding("affinity-to-dead-backend", Severity.WARNING, _name(service), message)


def affinity_drops_udp(context: LintContext) -> Iterator[Finding]:
    """northd 23.03 writes `commit_lb_aff(...); /* drop */`: the packet that teaches the affinity goes no further."""
    for service in context.snapshot.all(YusurService):
        ports = [str(port.port) for port in service.spec.ports if port.protocol == "UDP"]
        if service.spec.session_affinity == "ClientIP" and ports:
            message = (
                f"port {', '.join(ports)}/UDP: OVN 23.03 drops the packet that teaches a client's affinity, "
                "and a UDP client may never send it again"
            )
            yield Finding("affinity-drops-udp", Severity.WARNING, _name(service), message)


def stale_udp(context: LintContext) -> Iterator[Finding]:
    """kube-ovn #5149, ovn-kubernetes #5526: an established UDP flow outlives its backend; nothing resets it."""
    for service in context.snapshot.all(YusurService):
        dead = _not_ready(context, service)
        if dead and any(port.protocol == "UDP" for port in service.spec.ports):
            message = f"UDP flows established to {', '.join(dead)} stay in conntrack and keep going there"
            yield Finding("stale-udp-conntrack", Severity.WARNING, _name(service), message)


def client_address_lost(context: LintContext) -> Iterator[Finding]:
    """Scenario 4 rewrites the source to the service-gateway's address."""
    for service in context.snapshot.all(YusurService):
        if len(vpcs_of_service(context.snapshot, service)) > 1:
            message = "backends see the service-gateway's address instead of the client's"
            yield Finding("client-address-lost", Severity.INFO, _name(service), message)


def mtu_exceeds_tunnel(context: LintContext) -> Iterator[Finding]:
    """submariner #1022, OVN #78: a packet that fits the Subnet and not the tunnel is lost without a word."""
    limit = context.snapshot.network.mtu
    for subnet in context.snapshot.all(Subnet):
        if subnet.spec.mtu > limit:
            message = f"mtu {subnet.spec.mtu} is more than the {limit} that fit into the tunnel (ClusterNetwork mtu)"
            yield Finding("mtu-exceeds-tunnel", Severity.WARNING, f"Subnet/{subnet.name}", message)


LINTS = (
    no_backend,
    dp_hash,
    affinity_to_dead_backend,
    affinity_drops_udp,
    stale_udp,
    client_address_lost,
    mtu_exceeds_tunnel,
)
