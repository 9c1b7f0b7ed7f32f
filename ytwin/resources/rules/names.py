"""Names, labels and the fields that only Kubernetes' own syntax limits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ytwin.resources.model import (
    OWNER,
    BareMetal,
    ClusterNetwork,
    NetworkProbe,
    Pod,
    Resource,
    Service,
    VirtualMachine,
    VNicIP,
    YusurService,
)
from ytwin.resources.rules.report import Report
from ytwin.resources.yamltree import Path, shorten

LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")

_LABEL_NAMED = (Service, YusurService)
"""Kinds whose name becomes a DNS label."""

_WORKLOADS: dict[str, type[Resource]] = {
    "Pod": Pod,
    "VirtualMachine": VirtualMachine,
    "BareMetal": BareMetal,
    "VNicIP": VNicIP,
}


def check(report: Report) -> None:
    for resource in report.snapshot.objects.values():
        _check_name(report, resource)
        metadata = resource.metadata
        if metadata.labels:
            check_labels(report, resource, ("metadata", "labels"), metadata.labels)
        for key in metadata.annotations:
            if not is_label_key(key):
                hint = "use letters, digits, '-', '_' and '.', with an optional DNS prefix and '/'"
                message = f'"{shorten(key)}" is no annotation key'
                report.add(resource, ("metadata", "annotations", key), "invalid-label", message, hint)
        if isinstance(resource, YusurService) and resource.spec.selector:
            check_labels(report, resource, ("spec", "selector"), resource.spec.selector)
        if isinstance(resource, Service) and resource.spec.selector:
            check_labels(report, resource, ("spec", "selector"), resource.spec.selector)
    for network in report.snapshot.all(ClusterNetwork):
        if network.name != "cluster":
            message = "the one ClusterNetwork is called cluster"
            report.add(network, ("metadata", "name"), "invalid-name", message, "call it cluster, and keep only one")


def _check_name(report: Report, resource: Resource) -> None:
    name, namespace = resource.metadata.name, resource.metadata.namespace
    pattern, limit = (LABEL, 63) if isinstance(resource, _LABEL_NAMED) else (SUBDOMAIN, 253)
    if len(name) > limit or not pattern.fullmatch(name):
        dots = "" if limit == 63 else " and '.'"
        hint = f"use lower-case letters, digits, '-'{dots}, at most {limit}; start and end with a letter or digit"
        report.add(resource, ("metadata", "name"), "invalid-name", f'"{shorten(name)}" is no Kubernetes name', hint)
    if namespace and (len(namespace) > 63 or not LABEL.fullmatch(namespace)):
        hint = "use lower-case letters, digits and '-', at most 63; start and end with a letter or digit"
        message = f'"{shorten(namespace)}" is no namespace'
        report.add(resource, ("metadata", "namespace"), "invalid-name", message, hint)


def is_label_key(key: str) -> bool:
    """Whether Kubernetes accepts it as the key of a label or annotation."""
    prefix, slash, name = key.rpartition("/")
    if slash and not (len(prefix) <= 253 and SUBDOMAIN.fullmatch(prefix)):
        return False
    return len(name) <= 63 and QUALIFIED.fullmatch(name) is not None


def check_labels(report: Report, owner: Resource, path: Path, labels: Mapping[str, str]) -> None:
    """Keys and values of labels or of a selector."""
    for key, value in labels.items():
        if not is_label_key(key):
            hint = "use letters, digits, '-', '_' and '.', at most 63, with an optional DNS prefix and '/'"
            report.add(owner, (*path, key), "invalid-label", f'"{shorten(key)}" is no label key', hint)
        if value and not (len(value) <= 63 and QUALIFIED.fullmatch(value)):
            hint = "use letters, digits, '-', '_' and '.', at most 63; start and end with a letter or digit"
            report.add(owner, (*path, key), "invalid-label", f'"{shorten(value)}" is no label value', hint)


def check_port_name(report: Report, owner: Resource, path: Path, name: str) -> bool:
    """The name of a workload's port, or a targetPort that names one; whether it is one."""
    valid = len(name) <= 15 and PORT_NAME.fullmatch(name) is not None
    if not valid:
        hint = "use lower-case letters, digits and single '-', at most 15, with at least one letter"
        if name.isdigit():
            hint = "write the number without quotes"
        report.add(owner, path, "invalid-name", f'"{shorten(name)}" is no name of a port', hint)
    return valid


def check_references(report: Report) -> None:
    """NetworkProbes point at what they probe. Those that the controller wrote are its own business: it removes leftovers."""
    for probe in report.snapshot.all(NetworkProbe):
        if OWNER in probe.metadata.labels:
            report.addresses(probe, ("spec", "address"), probe.spec.address)
            continue
        report.refer(probe, ("spec", "service"), YusurService, probe.spec.service, probe.namespace)
        report.addresses(probe, ("spec", "address"), probe.spec.address)
        target = probe.spec.target
        if not target.kind and not target.name:
            continue  # an address of `vnicIPs` that belongs to nobody
        if target.kind not in _WORKLOADS:
            hint = f"use one of {', '.join(_WORKLOADS)}"
            message = f'"{shorten(target.kind)}" cannot be probed'
            report.add(probe, ("spec", "target", "kind"), "value", message, hint)
        else:
            namespace = target.namespace or probe.namespace
            report.refer(probe, ("spec", "target", "name"), _WORKLOADS[target.kind], target.name, namespace)
