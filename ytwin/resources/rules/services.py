"""One YusurService by itself and with the VPCs, workloads and gateways it names."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping

from ytwin.resources.addresses import canonical
from ytwin.resources.balancing import ALGORITHMS, LACKING, SELECTION_FIELDS, lacking
from ytwin.resources.fields import nearest
from ytwin.resources.model import MAX_AFFINITY_S, EipGateway, VNicIP, Vpc, YusurService
from ytwin.resources.rules.names import LABEL, check_port_name
from ytwin.resources.rules.report import Report, SubnetFacts, any_of, overlaps
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import Workload, default_vpc, eip_gateway_of, vpcs_of_service, workloads
from ytwin.resources.yamltree import Path, shorten


def check(report: Report) -> None:
    overlapping: dict[frozenset[str], tuple[SubnetFacts, SubnetFacts] | None] = {}
    backends = Backends(report.snapshot)
    for service in report.snapshot.all(YusurService):
        _vpcs(report, service, overlapping)
        _type(report, service)
        _ports(report, service, backends)
        _balancing(report, service)
        _times(report, service)
        _vnic_ips(report, service, backends)


class Backends:
    """Workloads by what a Service looks for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.by_label: dict[tuple[str, str, str], list[Workload]] = {}
        """(namespace, label, value)."""
        self.vnics: dict[str, set[str]] = {}
        """Address of a VNicIP -> VPCs."""
        self._selected: dict[tuple[Hashable, ...], list[Workload]] = {}
        for workload in workloads(snapshot):
            for label, value in workload.labels.items():
                self.by_label.setdefault((workload.namespace, label, value), []).append(workload)
            if workload.kind == VNicIP.KIND:
                for address in workload.addresses:
                    self.vnics.setdefault(address, set()).add(workload.vpc)

    def selected(self, service: YusurService, vpcs: Iterable[str]) -> list[Workload]:
        """Workloads of the Service's namespace, VPCs and kinds with all labels of its selector."""
        spec, members = service.spec, frozenset(vpcs)
        key = (service.namespace, spec.selector, members, spec.backend_kinds)
        if key not in self._selected:  # many Services select alike
            self._selected[key] = list(self._select(service.namespace, spec.selector, members, spec.backend_kinds))
        return self._selected[key]

    def _select(
        self, namespace: str, selector: Mapping[str, str], members: frozenset[str], kinds: tuple[str, ...]
    ) -> Iterator[Workload]:
        if selector:
            rarest = min((self.by_label.get((namespace, *pair), []) for pair in selector.items()), key=len)
            wanted = selector.items()
            yield from (w for w in rarest if w.vpc in members and w.kind in kinds and wanted <= w.labels.items())


def _vpcs(
    report: Report,
    service: YusurService,
    overlapping: dict[frozenset[str], tuple[SubnetFacts, SubnetFacts] | None],
) -> None:
    spec, snapshot = service.spec, report.snapshot
    default = default_vpc(snapshot)
    members = vpcs_of_service(snapshot, service)
    if spec.vpc and spec.vpc != default:
        report.refer(service, ("spec", "vpc"), Vpc, spec.vpc)
    for index, name in enumerate(spec.vpcs):
        if name != default:
            report.refer(service, ("spec", "vpcs", index), Vpc, name)
        if name in spec.vpcs[:index]:
            report.add(
                service, ("spec", "vpcs", index), "duplicate", f"VPC {name} is named twice", "name each VPC once"
            )
    if spec.vpc and spec.vpcs and spec.vpc not in spec.vpcs:
        hint = "name them all in vpcs, and leave vpc out"
        report.add(service, ("spec", "vpc"), "vpc-and-vpcs", f"vpc {spec.vpc} is not among vpcs", hint)
    if len(members) > 1 and spec.type == "ClusterIP":
        hint = "use type LoadBalancer (an EIP reaches several VPCs), or name one VPC"
        report.add(service, ("spec", "vpcs"), "several-vpcs", "a ClusterIP lives in one VPC", hint)
    if spec.scope == "cluster" and members != (default,):
        hint = f"use scope vpc, or vpc {default}: the nodes are connected to no other"
        message = f"scope cluster, but the backends are in {', '.join(members)}"
        report.add(service, ("spec", "scope"), "scope", message, hint)
    if len(members) > 1 and spec.type == "LoadBalancer":
        key = frozenset(members)
        if key not in overlapping:
            overlapping[key] = _overlap(report, key)
        pair = overlapping[key]
        if pair is not None:
            first, second = pair
            message = (
                f"Subnet {second.subnet.name} of VPC {second.vpc} ({second.subnet.spec.cidr_block}) overlaps "
                f"Subnet {first.subnet.name} of VPC {first.vpc} ({first.subnet.spec.cidr_block})"
            )
            hint = "the service-gateway routes to all VPCs of a Service, so their CIDRs must differ"
            report.add(service, ("spec", "vpcs"), "cidr-overlap", message, hint)


def _overlap(report: Report, members: frozenset[str]) -> tuple[SubnetFacts, SubnetFacts] | None:
    """Two overlapping Subnets of different VPCs among some."""
    ranges = [(item, facts) for facts in report.subnets.values() if facts.vpc in members for item in facts.ranges]
    return next(((first, second) for first, second in overlaps(ranges) if first.vpc != second.vpc), None)


def _type(report: Report, service: YusurService) -> None:
    """EIP and gateway go with type LoadBalancer, ClusterIP with a single VPC."""
    spec, snapshot = service.spec, report.snapshot
    if spec.type == "ClusterIP":
        for name, text in (("eip", spec.eip), ("eipGateway", spec.eip_gateway)):
            if text:
                hint = f"use type LoadBalancer, or leave {name} out"
                report.add(service, ("spec", name), "type", f"{name} has no meaning for type ClusterIP", hint)
        return
    if spec.cluster_ip and len(vpcs_of_service(snapshot, service)) > 1:
        hint = "leave clusterIP out; clients use the EIP"
        message = "a Service over several VPCs has no ClusterIP"
        report.add(service, ("spec", "clusterIP"), "several-vpcs", message, hint)
    path: Path = ("spec", "eipGateway")
    if spec.eip_gateway:
        report.refer(service, path, EipGateway, spec.eip_gateway)
    elif eip_gateway_of(snapshot, service) is None:
        known = [gateway.name for gateway in snapshot.all(EipGateway)]
        hint = f"name one in spec.eipGateway: {', '.join(known[:8])}" if known else "add an EipGateway"
        message = "several EipGateways could serve it" if known else "type LoadBalancer, but there is no EipGateway"
        code = "which-eip-gateway" if known else "no-eip-gateway"
        report.add(service, path, code, message, hint)


def _ports(report: Report, service: YusurService, backends: Backends) -> None:
    ports = service.spec.ports
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    targets: list[Workload] | None = None
    for index, port in enumerate(ports):
        at: Path = ("spec", "ports", index)
        if not port.name and len(ports) > 1:
            report.add(service, (*at, "name"), "port-name", "one of several ports has no name", "name every port")
        if port.name and (len(port.name) > 63 or not LABEL.fullmatch(port.name)):
            hint = "use lower-case letters, digits and '-', at most 63"
            report.add(service, (*at, "name"), "invalid-name", f'"{shorten(port.name)}" is no name of a port', hint)
        if port.name and port.name in names:
            report.add(
                service, (*at, "name"), "duplicate-port", f"port {port.name} is named twice", "rename one of them"
            )
        if (port.port, port.protocol) in numbers:
            message = f"{port.protocol} port {port.port} stands twice"
            report.add(service, (*at, "port"), "duplicate-port", message, "remove one of them")
        names.add(port.name)
        numbers.add((port.port, port.protocol))
        if port.node_port is not None:
            hint = "leave it out; nodes reach a Service of scope cluster by its ClusterIP"
            report.add(service, (*at, "nodePort"), "unsupported", "a YusurService opens no port on nodes", hint)
        if isinstance(port.target_port, str):
            if not check_port_name(report, service, (*at, "targetPort"), port.target_port):
                continue
            if targets is None:
                targets = backends.selected(service, vpcs_of_service(report.snapshot, service))
            wanted = (port.target_port, port.protocol)
            if targets and not any((p.name, p.protocol) == wanted for w in targets for p in w.ports):
                offered = sorted({f"{p.name} ({p.protocol})" for w in targets for p in w.ports if p.name})
                hint = f"use a number, or {any_of(offered)}" if offered else "use a number; no backend names a port"
                who = f"none of {len(targets)} backends has" if len(targets) > 1 else f"{targets[0].id} does not have"
                message = f"{who} a {port.protocol} port named {shorten(port.target_port)}"
                report.add(service, (*at, "targetPort"), "no-such-port", message, hint)


def _balancing(report: Report, service: YusurService) -> None:
    balancing = service.spec.balancing
    name = balancing.algorithm
    path: Path = ("spec", "balancing", "algorithm")
    missing = lacking(name)
    if name not in ALGORITHMS and missing and balancing.on_unsupported == "refuse":
        hint = "use hash (the nearest: an even spread) or dpHash, or say onUnsupported: nearest"
        report.add(service, path, "unknown-algorithm", f"OVN has no {shorten(name)}: {LACKING[missing]}", hint)
    elif name not in ALGORITHMS and not missing:
        meant = nearest(name, ALGORITHMS)
        hint = f"did you mean {meant}?" if meant else f"use {' or '.join(ALGORITHMS)}"
        report.add(service, path, "unknown-algorithm", f'"{shorten(name)}" is no balancing algorithm', hint)
    for index, field in enumerate(balancing.selection_fields):
        at: Path = ("spec", "balancing", "selectionFields", index)
        if field not in SELECTION_FIELDS:
            meant = nearest(field, SELECTION_FIELDS)
            hint = (f"did you mean {meant}? " if meant else "") + f"OVN 23.03 has {', '.join(SELECTION_FIELDS)}"
            report.add(service, at, "unknown-selection-field", f'OVN cannot hash "{shorten(field)}"', hint)
        elif field in balancing.selection_fields[:index]:
            report.add(service, at, "duplicate", f"{field} stands twice", "name each field once")
    if balancing.selection_fields and name == "dpHash":
        hint = "use algorithm hash, or leave selectionFields out"
        message = "selectionFields would switch dpHash off"
        report.add(service, ("spec", "balancing", "selectionFields"), "value", message, hint)


def _times(report: Report, service: YusurService) -> None:
    spec = service.spec
    path: Path
    if spec.session_affinity_config is not None and spec.session_affinity != "ClientIP":
        hint = "say sessionAffinity: ClientIP, or leave the config out"
        path = ("spec", "sessionAffinityConfig")
        report.add(service, path, "value", "a timeout without sessionAffinity: ClientIP", hint)
    timeout_s = (
        spec.session_affinity_config.client_ip.timeout_seconds if spec.session_affinity_config is not None else 0
    )
    if timeout_s > MAX_AFFINITY_S:
        path = ("spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds")
        message = f"OVN remembers a client for at most {MAX_AFFINITY_S} s, not for {timeout_s} s"
        report.add(service, path, "value", message, f"write at most {MAX_AFFINITY_S}")
    if spec.probe.timeout_seconds > spec.probe.period_seconds:
        message = (
            f"a probe waits {spec.probe.timeout_seconds} s but the next one starts after {spec.probe.period_seconds} s"
        )
        report.add(service, ("spec", "probe", "timeoutSeconds"), "value", message, "use a timeout up to periodSeconds")


def _vnic_ips(report: Report, service: YusurService, backends: Backends) -> None:
    members = vpcs_of_service(report.snapshot, service)
    seen: set[str] = set()
    for index, text in enumerate(service.spec.vnic_ips):
        path: Path = ("spec", "vnicIPs", index)
        given = report.addresses(service, path, text)
        if len(given) != 1:
            if not text.strip() or given:
                report.add(
                    service, path, "invalid-address", "one address belongs here", "write one IPv4 or IPv6 address"
                )
            continue
        address = canonical(text)
        vpcs = backends.vnics.get(address)
        if vpcs is None:
            hint = "add a VNicIP with this spec.ipAddress, or correct the address"
            report.add(service, path, "no-such-vnicip", f"no VNicIP has the address {address}", hint)
        elif not vpcs & set(members):
            hint = "name its VPC in spec.vpcs, or take a VNicIP of this one"
            message = f"the VNicIP with {address} is in VPC {', '.join(sorted(vpcs))}, not in {', '.join(members)}"
            report.add(service, path, "wrong-vpc", message, hint)
        if address in seen:
            report.add(service, path, "duplicate", f"{address} stands twice", "name each address once")
        seen.add(address)
