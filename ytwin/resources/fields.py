"""Which fields an object may have: those the twin reads (the model), those it knows by name, and nothing else.

Lists: Kubernetes' core/v1 and discovery/v1 API, and kube-ovn's v1 CRDs, as of 2025.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from ytwin.resources import model
from ytwin.resources.model import Model, Resource


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


IGNORED: dict[type[Model], frozenset[str]] = {
    model.PodSpec: _names(
        """activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks
        ephemeralContainers hostAliases hostIPC hostPID hostUsers hostname hostnameOverride imagePullSecrets initContainers
        nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates resourceClaims resources
        restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName
        setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations
        topologySpreadConstraints volumes workloadRef"""
    ),
    model.ContainerPort: frozenset(("hostIP", "hostPort")),
    model.NodeSpec: _names("configSource externalID podCIDR podCIDRs providerID taints unschedulable"),
    model.ServiceSpec: _names(
        """allocateLoadBalancerNodePorts externalName externalTrafficPolicy healthCheckNodePort internalTrafficPolicy
        ipFamilies ipFamilyPolicy loadBalancerClass loadBalancerSourceRanges publishNotReadyAddresses
        trafficDistribution"""
    ),
    model.ServicePort: frozenset(("appProtocol",)),
    model.ObjectReference: frozenset(("apiVersion", "fieldPath", "resourceVersion", "uid")),
    model.EndpointAddress: frozenset(("hostname",)),
    model.EndpointPort: frozenset(("appProtocol",)),
    model.SlicePort: frozenset(("appProtocol",)),
    model.SliceEndpoint: frozenset(("hostname", "hints", "zone", "deprecatedTopology")),
    model.SliceConditions: frozenset(("serving", "terminating")),
}
"""Fields of Kubernetes' own kinds that the twin accepts and does not read."""

ANYTHING: frozenset[type[Model]] = frozenset(
    {
        model.Metadata,
        model.Container,
        model.PodStatus,
        model.PodIP,
        model.NodeStatus,
        model.NodeAddress,
        model.YusurServiceStatus,
        model.NetworkProbeStatus,
    }
)
"""Blocks written by the API server or with no effect on the network: unknown fields are accepted, except in `Metadata` and
`Container` those that look like a misspelt field that the twin reads."""
SPELLING_MATTERS: frozenset[type[Model]] = frozenset((model.Metadata, model.Container))

KEPT: dict[type[Model], frozenset[str]] = {
    model.VpcSpec: frozenset(model.VPC_EFFECTS),
    model.VpcStaticRoute: frozenset(model.ROUTE_EFFECTS),
    model.SubnetSpec: frozenset((*model.SUBNET_EFFECTS, *model.SUBNET_VALUES))
    | _names(
        """allowSubnets allowEWTraffic gatewayNode gatewayNodeSelectors policyRoutingPriority policyRoutingTableID
        disableGatewayCheck disableInterConnection enableDHCP dhcpV4Options dhcpV6Options enableIPv6RA ipv6RAConfigs
        u2oInterconnectionIP u2oFeatures u2oRouting enableEcmp enableMulticastSnoop nodeNetwork htbqos underlayGateway"""
    ),
}
"""kube-ovn's fields that the twin does not model, kept in `foreign`."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a model: its Python name, and the model inside it, if any, once or in a list."""

    name: str
    inner: type[Model] | None
    many: bool


@cache
def fields_of(kind: type[Model]) -> dict[str, Field]:
    """Outside name -> Field."""
    found = {}
    for name, info in kind.model_fields.items():
        if name != "foreign":
            inner, many = _inner(info.annotation)
            found[info.alias or name] = Field(name, inner, many)
    return found


def _inner(annotation: Any) -> tuple[type[Model] | None, bool]:
    """The model in `X`, `X | None`, `tuple[X, ...]` or an Annotated of one of them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _inner(arguments[0])
    if origin is tuple:
        return _inner(arguments[0])[0], True
    if origin in (Union, UnionType):
        return next((found for found in map(_inner, arguments) if found[0] is not None), (None, False))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False  # type: ignore[return-value]  # every model here derives from Model
    return None, False


def form_of(kind: type[Model], path: Sequence[str | int]) -> str:
    """What belongs at a path of an object, in a user's words: "a list", "a mapping", "text", "a number"."""
    inner: type[Model] | None = kind
    form = "a value"
    for part in path:
        if isinstance(part, str) and inner is not None and part in fields_of(inner):
            field = fields_of(inner)[part]
            annotation = inner.model_fields[field.name].annotation
            form = "a list" if field.many else _form(annotation) if field.inner is None else "a mapping"
            inner = field.inner
    return form


def _form(annotation: Any) -> str:
    forms = {str: "text", int: "a number", float: "a number", bool: "true or false"}
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return _form(get_args(annotation)[0])
    return forms.get(annotation, "text")


def is_accepted(kind: type[Model], name: str) -> bool:
    """Whether a field that the twin does not read may stand in a block of this kind."""
    if name in IGNORED.get(kind, ()) or (name == "status" and issubclass(kind, Resource)):
        return True
    return kind in ANYTHING and not (kind in SPELLING_MATTERS and nearest(name, fields_of(kind), 0.8))


def known_names(kind: type[Model]) -> list[str]:
    """All names that may stand in a block of this kind, for hints."""
    return sorted({*fields_of(kind), *IGNORED.get(kind, ()), *KEPT.get(kind, ())})


def nearest(name: str, candidates: Iterable[str], cutoff: float = 0.6) -> str:
    """The candidate that was probably meant, or ""."""
    if len(name) > 60:
        return ""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    flat = name.lower().replace("_", "").replace("-", "")
    found = difflib.get_close_matches(flat, by_lower, 1, cutoff)
    return by_lower[found[0]] if found else ""
