"""Rows of the OVN_Southbound database that a packet's way depends on, with names instead of UUIDs.

Produced by `northd` from a Northbound, or read from a dump of any OVN version; `trace` works on either.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from frozendict import frozendict

EMPTY: frozendict[str, str] = frozendict()


class DatapathId(NamedTuple):
    """A logical datapath: `kind` is "switch" or "router"; names are unique within a kind."""

    kind: str
    name: str

    def __str__(self) -> str:
        return self.name


INGRESS = "ingress"
EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class LogicalFlow:
    """One Logical_Flow row; `datapaths` is its datapath or its datapath group, sorted."""

    datapaths: tuple[DatapathId, ...]
    pipeline: str
    table: int
    stage: str
    """Stage name, e.g. "ls_in_lb" (external_ids:stage-name)."""
    priority: int
    match: str
    actions: str
    source: str = ""
    """The Northbound row it comes from ("Load_Balancer/default/ysvc1/tcp"), or the stage hint of a dump; "" if none."""

    def __str__(self) -> str:
        return f"{self.stage} {self.priority} ({self.match}) -> {self.actions}"


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A Port_Binding. `type`: "", "patch", "l3gateway", "chassisredirect", "localnet", ...

    `chassis` is where ovn-controller has bound it ("" while unbound; patch ports are on every chassis). For a
    chassisredirect port it is the live gateway chassis of highest priority.
    """

    name: str
    datapath: DatapathId
    type: str = ""
    mac: tuple[str, ...] = ()
    port_security: tuple[str, ...] = ()
    options: frozendict[str, str] = EMPTY
    chassis: str = ""
    gateway_chassis: tuple[tuple[str, int], ...] = ()
    """(chassis, priority), highest first."""
    tunnel_key: int = 0


@dataclass(frozen=True, slots=True)
class MulticastGroup:
    """A Multicast_Group, e.g. `_MC_flood`; `ports` sorted."""

    datapath: DatapathId
    name: str
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SbLoadBalancer:
    """What chk_lb_hairpin() looks at."""

    name: str
    vips: frozendict[str, str]
    protocol: str
    options: frozendict[str, str]
    datapaths: tuple[DatapathId, ...]


@dataclass(frozen=True, slots=True)
class MacBinding:
    """A neighbour a router has learned (MAC_Binding), or was given (Static_MAC_Binding)."""

    port: str
    ip: str
    mac: str


@dataclass(frozen=True)
class Southbound:
    """Everything that the logical pipelines read."""

    flows: tuple[LogicalFlow, ...]
    datapaths: tuple[DatapathId, ...]
    ports: frozendict[str, PortBinding]
    multicast_groups: tuple[MulticastGroup, ...] = ()
    load_balancers: tuple[SbLoadBalancer, ...] = ()
    mac_bindings: tuple[MacBinding, ...] = ()
    address_sets: frozendict[str, tuple[str, ...]] = field(default_factory=frozendict)
    port_groups: frozendict[str, tuple[str, ...]] = field(default_factory=frozendict)
