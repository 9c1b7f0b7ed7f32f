"""Where load balancers and gateways stand: what northd accepts silently and does not implement."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_interface

from ytwin.northbound.rows import LogicalRouter, LogicalRouterPort, LogicalSwitchPort, Row
from ytwin.resources.addresses import canonical_dual, version_of
from ytwin.resources.model import EipGateway, YusurService
from ytwin.resources.workload import eip_gateway_of
from ytwin.verify.lints.context import LintContext
from ytwin.verify.report import Finding, Severity


def router_lb_placement(context: LintContext) -> Iterator[Finding]:
    """OVN #200: without a chassis and without a gateway port northd never emits the un-DNAT of replies."""
    for router in context.northbound.of_type(LogicalRouter):
        dgps = context.gateway_ports.get(router.name, [])
        if not context.balancers_of(router) or "chassis" in router.options or len(dgps) == 1:
            continue
        if dgps:
            message = f"{len(dgps)} distributed gateway ports; northd honours only the first ({dgps[0].name}) for load balancing"
            yield Finding("several-gateway-ports", Severity.ERROR, str(router.key), message)
        else:
            message = (
                "a load balancer needs options:chassis or exactly one distributed gateway port, "
                "else replies keep the backend's address"
            )
            yield Finding("router-lb-placement", Severity.ERROR, str(router.key), message)


def force_snat_ignored(context: LintContext) -> Iterator[Finding]:
    """OVN #144: lb_force_snat_ip is a feature of gateway routers."""
    for router in context.northbound.of_type(LogicalRouter):
        if "lb_force_snat_ip" in router.options and "chassis" not in router.options:
            message = "lb_force_snat_ip has no effect without options:chassis; the client's address reaches the backend"
            yield Finding("force-snat-ignored", Severity.ERROR, str(router.key), message)


def gateway_chassis_differ(context: LintContext) -> Iterator[Finding]:
    """A gateway port towards a switch without localnet admits packets on its own chassis only, so it must be where its
    neighbour's gateway port is: on the same chassis, with the same order."""
    localnet = {row.switch for row in context.northbound.of_type(LogicalSwitchPort) if row.type == "localnet"}
    peer_switch = {
        row.options.get("router-port", ""): row.switch
        for row in context.northbound.of_type(LogicalSwitchPort)
        if row.type == "router"
    }
    routers_on: dict[str, list[LogicalRouterPort]] = {}
    for port in context.northbound.of_type(LogicalRouterPort):
        routers_on.setdefault(peer_switch.get(port.name, ""), []).append(port)
    for port_name, chassis in context.gateway_chassis.items():
        switch = peer_switch.get(port_name, "")
        if switch in localnet:
            continue
        for neighbour in routers_on.get(switch, ()):
            for other in context.gateway_ports.get(neighbour.router, ()):
                theirs = context.gateway_chassis[other.name]
                if other.name != port_name and peer_switch.get(other.name, "") in localnet and theirs != chassis:
                    message = f"its gateway chassis {_order(chassis)} differ from {_order(theirs)} of {other.name}"
                    yield Finding("gateway-chassis-differ", Severity.ERROR, f"Logical_Router_Port/{port_name}", message)


def _order(chassis: tuple[tuple[str, int], ...]) -> str:
    return " > ".join(name for name, _ in chassis)


def eip_on_link(context: LintContext) -> Iterator[Finding]:
    """OVN #190: northd's ARP responder for router VIPs is on the router that owns the load balancer, not on eipGateway."""
    for service in context.snapshot.all(YusurService):
        gateway = eip_gateway_of(context.snapshot, service)
        if gateway is None or service.spec.type != "LoadBalancer":
            continue
        uplinks = [ip_interface(text).network for text in _uplink_networks(gateway)]
        for eip in canonical_dual(service.status.eip):
            if any(ip_address(eip) in network for network in uplinks):
                message = (
                    f"EIP {eip} lies in the uplink network of EipGateway {gateway.name}: outside/{gateway.name} asks for it "
                    f"by {'Neighbour Discovery' if version_of(eip) == 6 else 'ARP'} instead of sending to the uplink, and no "
                    "router answers; use a pool outside of that network, routed to the uplink address"
                )
                yield Finding(
                    "eip-on-link", Severity.ERROR, f"YusurService/{service.namespace}/{service.name}", message
                )


def _uplink_networks(gateway: EipGateway) -> tuple[str, ...]:
    return tuple(part.strip() for part in gateway.spec.cidr_block.split(",") if part.strip())


def single_gateway_chassis(context: LintContext) -> Iterator[Finding]:
    """A gateway router is bound to one chassis for good; a gateway port with one candidate has nowhere to go."""
    for router in context.northbound.of_type(LogicalRouter):
        if "chassis" in router.options:
            chassis = router.options["chassis"]
            message = f"gateway router lives on {chassis} only; if that node is lost, options:chassis must be rewritten"
            yield Finding("single-chassis", Severity.INFO, str(router.key), message)
    for port, candidates in context.gateway_chassis.items():
        if len(candidates) == 1:
            message = f"only {candidates[0][0]} can host this gateway port; name a second node in EipGateway.spec.nodes"
            yield Finding("single-chassis", Severity.WARNING, f"Logical_Router_Port/{port}", message)


OPTIONS_23_03: dict[str, frozenset[str]] = {
    "Load_Balancer": frozenset({
        "add_route", "address-family", "affinity_timeout", "ct_flush", "event", "hairpin_snat_ip", "neighbor_responder",
        "reject", "skip_snat", "template",
    }),
    "Logical_Router": frozenset({
        "always_learn_from_arp_request", "chassis", "dnat_force_snat_ip", "dynamic_neigh_routers", "lb_force_snat_ip",
        "mac_binding_age_threshold", "mcast_relay", "requested-tnl-key", "snat-ct-zone",
    }),
    "Logical_Router_Port": frozenset({
        "gateway_mtu", "gateway_mtu_bypass", "mcast_flood", "prefix", "prefix_delegation", "redirect-type",
        "requested-tnl-key", "reside-on-redirect-chassis", "route_table",
    }),
}  # fmt: skip
"""Keys of `options` that ovn-northd 23.03 reads, by table (ovn-nb(5))."""


def option_without_effect(context: LintContext) -> Iterator[Finding]:
    """northd ignores an option that its version does not know, and says nothing."""
    row: Row
    for row in context.northbound.rows.values():
        known = OPTIONS_23_03.get(row.table)
        for option in getattr(row, "options", ()):
            if known is not None and option not in known:
                message = f"option {option} has no effect in OVN 23.03"
                yield Finding("option-without-effect", Severity.WARNING, str(row.key), message)


LINTS = (
    router_lb_placement,
    force_snat_ignored,
    gateway_chassis_differ,
    eip_on_link,
    single_gateway_chassis,
    option_without_effect,
)
