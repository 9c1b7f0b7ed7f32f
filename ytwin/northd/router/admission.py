"""First stages of a router: ADMISSION (is the frame for us), LOOKUP_NEIGHBOR and LEARN_NEIGHBOR (what ARP and ND teach)."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northd.balancers import flag
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import DROP, Flow, default_drop
from ytwin.northd.router.pkt_len import gateway_mtu_flows
from ytwin.northd.router.view import PortView, RouterView
from ytwin.northd.stages import Stage


def admission_flows(router: RouterView) -> Iterator[Flow]:
    """ADMISSION: no VLAN, no multicast source; per port, multicast or the port's own MAC.

    The MAC of a distributed gateway port is answered on its gateway chassis only.
    """
    yield Flow(Stage.LR_IN_ADMISSION, 100, "vlan.present || eth.src[40]", DROP)
    yield default_drop(Stage.LR_IN_ADMISSION)
    for port in router.ports:
        own = f"eth.dst == {port.mac} && inport == {port.key}"
        if port.cr_key:
            own += f" && is_chassis_resident({port.cr_key})"
        actions = f"{reg.INPORT_ETH_ADDR} = {port.mac}; next;"
        for match in (f"eth.mcast && inport == {port.key}", own):
            yield from gateway_mtu_flows(port, Stage.LR_IN_ADMISSION, match, actions)


def neighbor_flows(router: RouterView) -> Iterator[Flow]:
    """LOOKUP_NEIGHBOR and LEARN_NEIGHBOR.

    With `always_learn_from_arp_request=false` a second bit tells whether the sender is worth learning: it answered us, it
    asked for one of our addresses, or it is known already.
    """
    learn_always = flag(router.options, "always_learn_from_arp_request", default=True)
    lookup, learn = Stage.LR_IN_LOOKUP_NEIGHBOR, Stage.LR_IN_LEARN_NEIGHBOR
    result, ip_result = reg.LOOKUP_NEIGHBOR_RESULT, reg.LOOKUP_NEIGHBOR_IP_RESULT
    known = "" if learn_always else f"{ip_result} = 1; "
    known_nd = "" if learn_always else f"{ip_result} = lookup_nd_ip(inport, ip6.src); "

    yield Flow(lookup, 100, "arp.op == 2", f"{result} = lookup_arp(inport, arp.spa, arp.sha); {known}next;")
    yield Flow(lookup, 100, "nd_na", f"{result} = lookup_nd(inport, nd.target, nd.tll); {known}next;")
    if not learn_always:
        yield Flow(
            lookup,
            110,
            "nd_na && ip6.src == fe80::/10 && ip6.dst == ff00::/8",
            f"{result} = lookup_nd(inport, ip6.src, nd.tll); {ip_result} = lookup_nd_ip(inport, ip6.src); next;",
        )
    yield Flow(lookup, 100, "nd_ns", f"{result} = lookup_nd(inport, ip6.src, nd.sll); {known_nd}next;")
    yield Flow(lookup, 0, "1", f"{result} = 1; next;")

    skip = f"{result} == 1" + ("" if learn_always else f" || {ip_result} == 0")
    yield Flow(learn, 100, skip, "next;")
    yield Flow(learn, 90, "arp", "put_arp(inport, arp.spa, arp.sha); next;")
    yield Flow(learn, 95, "nd_ns && (ip6.src == 0 || nd.sll == 0)", "next;")
    yield Flow(learn, 95, "nd_na && nd.tll == 0", "put_nd(inport, nd.target, eth.src); next;")
    yield Flow(learn, 90, "nd_na", "put_nd(inport, nd.target, nd.tll); next;")
    yield Flow(learn, 90, "nd_ns", "put_nd(inport, ip6.src, nd.sll); next;")
    yield default_drop(learn)

    for port in router.ports:
        yield from _arp_request_lookup(port, learn_always)


def _arp_request_lookup(port: PortView, learn_always: bool) -> Iterator[Flow]:
    """LOOKUP_NEIGHBOR for ARP requests from the port's own networks (gateway port: on its chassis only)."""
    result, ip_result = reg.LOOKUP_NEIGHBOR_RESULT, reg.LOOKUP_NEIGHBOR_IP_RESULT
    resident = f" && is_chassis_resident({port.cr_key})" if port.cr_key else ""
    found = f"{result} = lookup_arp(inport, arp.spa, arp.sha); "
    known = "" if learn_always else f"{ip_result} = lookup_arp_ip(inport, arp.spa); "
    for net in port.v4:
        base = f"inport == {port.key} && arp.spa == {net.network}/{net.plen} && "
        if not learn_always:
            match = f"{base}arp.tpa == {net.ip} && arp.op == 1{resident}"
            yield Flow(Stage.LR_IN_LOOKUP_NEIGHBOR, 110, match, f"{found}{ip_result} = 1; next;", port.source)
        yield Flow(
            Stage.LR_IN_LOOKUP_NEIGHBOR, 100, f"{base}arp.op == 1{resident}", f"{found}{known}next;", port.source
        )
