"""What lints look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    Northbound,
)
from ytwin.resources.snapshot import Snapshot


@dataclass(frozen=True)
class LintContext:
    """A reconciled Snapshot and the Northbound compiled from it."""

    snapshot: Snapshot
    northbound: Northbound

    @cached_property
    def gateway_ports(self) -> dict[str, list[LogicalRouterPort]]:
        """Router -> its distributed gateway ports, in row order."""
        dgps = {row.port for row in self.northbound.of_type(GatewayChassis)}
        found: dict[str, list[LogicalRouterPort]] = {}
        for port in self.northbound.of_type(LogicalRouterPort):
            if port.name in dgps:
                found.setdefault(port.router, []).append(port)
        return found

    @cached_property
    def gateway_chassis(self) -> dict[str, tuple[tuple[str, int], ...]]:
        """Distributed gateway port -> (chassis, priority), most preferred first."""
        found: dict[str, list[tuple[str, int]]] = {}
        for row in self.northbound.of_type(GatewayChassis):
            found.setdefault(row.port, []).append((row.chassis_name, row.priority))
        return {port: tuple(sorted(rows, key=lambda r: (-r[1], r[0]))) for port, rows in found.items()}

    @cached_property
    def load_balancers(self) -> dict[str, LoadBalancer]:
        """Load_Balancer rows by name."""
        return {row.name: row for row in self.northbound.of_type(LoadBalancer)}

    def balancers_of(self, router: LogicalRouter) -> tuple[LoadBalancer, ...]:
        """Load balancers applied to a router, directly or by a group."""
        groups = {group.name: group.load_balancer for group in self.northbound.of_type(LoadBalancerGroup)}
        names = [*router.load_balancer, *(name for g in router.load_balancer_group for name in groups.get(g, ()))]
        return tuple(self.load_balancers[name] for name in dict.fromkeys(names) if name in self.load_balancers)
