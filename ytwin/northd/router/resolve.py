"""ARP_RESOLVE, GW_REDIRECT and ARP_REQUEST: from the next hop's address to its MAC, to its chassis, or to an ARP request."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northd.addresses import net6, parse_net
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import Flow, default_drop
from ytwin.northd.router.ip_input import drop_own_destination
from ytwin.northd.router.view import RouterView
from ytwin.northd.stages import Stage

RESOLVE = Stage.LR_IN_ARP_RESOLVE


def arp_resolve_flows(router: RouterView) -> Iterator[Flow]:
    """ARP_RESOLVE without the neighbors of each port (see `neighbors`)."""
    yield Flow(RESOLVE, 500, "ip4.mcast || ip6.mcast", "next;")
    yield Flow(RESOLVE, 1, "ip4", f"get_arp(outport, {reg.NEXT_HOP[4]}); next;")
    yield Flow(RESOLVE, 1, "ip6", f"get_nd(outport, {reg.NEXT_HOP[6]}); next;")
    yield default_drop(RESOLVE)
    for port in router.ports:
        if port.cr_key and port.options.get("redirect-type", "").lower() == "bridged":
            match = f"outport == {port.key} && !is_chassis_resident({port.cr_key})"
            yield Flow(RESOLVE, 50, match, f"eth.dst = {port.mac}; next;", port.source)
        yield from drop_own_destination(router, port, RESOLVE, 2, translated=True)


def gw_redirect_flows(router: RouterView) -> Iterator[Flow]:
    """GW_REDIRECT: what leaves by a distributed gateway port goes to its chassisredirect port."""
    for port in router.gateway_ports:
        yield Flow(
            Stage.LR_IN_GW_REDIRECT, 50, f"outport == {port.key}", f"outport = {port.cr_key}; next;", port.source
        )
    yield Flow(Stage.LR_IN_GW_REDIRECT, 0, "1", "next;")


def arp_request_flows(router: RouterView) -> Iterator[Flow]:
    """ARP_REQUEST: ask for an unresolved next hop. IPv6 static next hops are asked for at their solicited-node address."""
    stage = Stage.LR_IN_ARP_REQUEST
    unknown = "eth.dst == 00:00:00:00:00:00"
    for row in {row.nexthop: row for row in reversed(router.static_routes) if ":" in row.nexthop}.values():
        parsed = parse_net(row.nexthop)
        if parsed is None or parsed[0] != 6 or parsed[1].plen != 128:
            continue
        hop = net6(parsed[1].value, 128)
        low = f"{hop.value & 0xFFFFFF:06x}"
        mac = f"33:33:ff:{low[:2]}:{low[2:4]}:{low[4:]}"
        match = f"{unknown} && ip6 && {reg.NEXT_HOP[6]} == {row.nexthop}"
        actions = f"nd_ns {{ eth.dst = {mac}; ip6.dst = {hop.solicited_node}; nd.target = {row.nexthop}; output; }};"
        yield Flow(stage, 200, match, actions, str(row.key))
    arp = f"arp {{ eth.dst = ff:ff:ff:ff:ff:ff; arp.spa = {reg.SRC[4]}; arp.tpa = {reg.NEXT_HOP[4]}; arp.op = 1; output; }};"
    yield Flow(stage, 100, f"{unknown} && ip4", arp)
    yield Flow(stage, 100, f"{unknown} && ip6", f"nd_ns {{ nd.target = {reg.NEXT_HOP[6]}; output; }};")
    yield Flow(stage, 0, "1", "output;")
