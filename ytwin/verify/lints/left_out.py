"""What the input names and OVN, or the controllers, pass over without a word."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from typing import TypeVar

from ytwin.northbound.rows import LogicalRouterPort
from ytwin.resources.model import Pod, Vpc, YusurService
from ytwin.resources.workload import Workload, vpcs_of_service, workloads
from ytwin.verify.lints.context import LintContext
from ytwin.verify.report import Finding, Severity

T = TypeVar("T")
Label = tuple[str, str, str]
"""Namespace, name, value."""


def backend_left_out(context: LintContext) -> Iterator[Finding]:
    """A selector matches it, and yet it is no backend: it has no port in OVN, or lacks the port that targetPort names."""
    found = _by_label((w.namespace, w.labels, w) for w in workloads(context.snapshot))
    pods = (pod for pod in context.snapshot.all(Pod) if pod.spec.host_network)
    host_pods = _by_label((pod.namespace, pod.metadata.labels, pod) for pod in pods)
    for service in context.snapshot.all(YusurService):
        name, kinds = f"YusurService/{service.namespace}/{service.name}", service.spec.backend_kinds
        for pod in _matching(host_pods, service) if "Pod" in kinds else ():
            message = f"Pod/{pod.namespace}/{pod.name} matches the selector and is on its node's network: OVN has no port of it"
            yield Finding("backend-left-out", Severity.WARNING, name, message)
        if not any(isinstance(port.target_port, str) for port in service.spec.ports):
            continue
        vpcs = vpcs_of_service(context.snapshot, service)
        for workload in _matching(found, service):
            for port in _lacking(service, workload) if workload.kind in kinds and workload.vpc in vpcs else ():
                message = (
                    f"{workload.id} matches the selector and has no port named {port}: it gets no such connections"
                )
                yield Finding("backend-left-out", Severity.WARNING, name, message)


def _by_label(objects: Iterable[tuple[str, Mapping[str, str], T]]) -> Mapping[Label, list[tuple[Mapping[str, str], T]]]:
    found: dict[Label, list[tuple[Mapping[str, str], T]]] = {}
    for namespace, labels, thing in objects:
        for name, value in labels.items():
            found.setdefault((namespace, name, value), []).append((labels, thing))
    return found


def _matching(by_label: Mapping[Label, list[tuple[Mapping[str, str], T]]], service: YusurService) -> list[T]:
    """What a Service's selector matches in its namespace: the rarest label's, filtered by the others."""
    wanted = service.spec.selector.items()
    lists = [by_label.get((service.namespace, name, value), []) for name, value in wanted]
    return [thing for labels, thing in min(lists, key=len, default=[]) if wanted <= labels.items()]


def _lacking(service: YusurService, workload: Workload) -> Iterator[str]:
    """Ports that targetPort names, with their protocol, and the workload does not."""
    for port in service.spec.ports:
        named = any(p.name == port.target_port and p.protocol == port.protocol for p in workload.ports)
        if isinstance(port.target_port, str) and not named:
            yield f"{port.target_port} ({port.protocol})"


def route_without_port(context: LintContext) -> Iterator[Finding]:
    """northd logs "No path for static route" and goes on without the route (northd.c, find_static_route_outport)."""
    networks: dict[str, list[IPv4Network | IPv6Network]] = {}
    for port in context.northbound.of_type(LogicalRouterPort):
        networks.setdefault(port.router, []).extend(ip_interface(text).network for text in port.networks)
    for vpc in context.snapshot.all(Vpc):
        for route in vpc.spec.static_routes:
            hop = route.next_hop_ip
            if not any(ip_address(hop) in network for network in networks.get(vpc.name, ())):
                message = f"the route to {route.cidr} goes by {hop}, which is in no Subnet of the VPC: OVN ignores it"
                yield Finding("route-without-port", Severity.WARNING, f"Vpc/{vpc.name}", message)


LINTS = (backend_left_out, route_without_port)
