"""What the input says and the twin does not model: its answers may differ from a cluster that acts on it."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.resources.ignored import DECISIVE
from ytwin.resources.model import Subnet, Vpc, effect_of
from ytwin.resources.workload import cluster_ips_of, unmanaged_services
from ytwin.verify.lints.context import LintContext
from ytwin.verify.report import Finding, Severity

_NAMED = 3
"""How many objects a message names before it only counts them."""


def unmodelled_fields(context: LintContext) -> Iterator[Finding]:
    """Fields of kube-ovn's objects that may change who reaches whom and that the twin accepts without modelling them."""
    specs = [(f"Vpc/{vpc.name}", vpc.unmodelled) for vpc in context.snapshot.all(Vpc)]
    specs += [(f"Subnet/{subnet.name}", subnet.unmodelled) for subnet in context.snapshot.all(Subnet)]
    for name, paths in specs:
        for path in paths:
            message = (
                f"{path} is not modelled: in kube-ovn it means that the {name.partition('/')[0]} {effect_of(path)}"
            )
            yield Finding("unmodelled-field", Severity.WARNING, name, message)


def unmanaged_service(context: LintContext) -> Iterator[Finding]:
    """Services that no YusurService stands behind."""
    for service in unmanaged_services(context.snapshot):
        none = "headless" if service.spec.cluster_ip == "None" else "no clusterIP given"
        at = ", ".join(cluster_ips_of(service)) or (none if service.spec.type != "ExternalName" else "ExternalName")
        message = f"{at}: not modelled, because no YusurService of this name says its VPC"
        yield Finding("unmanaged-service", Severity.INFO, f"Service/{service.namespace}/{service.name}", message)


def ignored_kinds(context: LintContext) -> Iterator[Finding]:
    """Kinds that the twin does not read: one warning for each that decides who reaches whom, one notice for all others."""
    by_kind: dict[str, list[str]] = {}
    for kind, namespace, name in context.snapshot.ignored:
        by_kind.setdefault(kind, []).append(f"{namespace}/{name}" if namespace else name)
    for kind in sorted(DECISIVE & by_kind.keys()):
        names = by_kind.pop(kind)
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        message = f"not modelled, though it may change who reaches whom: {', '.join(names[:_NAMED])}{rest}"
        yield Finding("ignored-kind", Severity.WARNING, kind, message)
    if by_kind:
        counts = ", ".join(f"{len(names)} {kind}" for kind, names in sorted(by_kind.items()))
        yield Finding(
            "ignored-kind", Severity.INFO, "input", f"not read, as the network does not follow from them: {counts}"
        )


LINTS = (unmodelled_fields, unmanaged_service, ignored_kinds)
