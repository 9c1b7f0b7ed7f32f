"""IP_INPUT: what a router answers itself (ARP, ND, ping, TTL exceeded, port unreachable) and what it drops at the door."""

from __future__ import annotations

from collections.abc import Iterator

from ytwin.northd.addresses import Net
from ytwin.northd.balancers import flag
from ytwin.northd.router import registers as reg
from ytwin.northd.router.flow import DROP, Flow, is_link_local
from ytwin.northd.router.view import PortView, RouterView
from ytwin.northd.stages import Stage

STAGE = Stage.LR_IN_IP_INPUT


def one_or_set(nets: tuple[Net, ...]) -> str:
    """`A` for one address, `{A, B}` for several: how northd writes the addresses of a port in a match."""
    return nets[0].ip if len(nets) == 1 else "{" + ", ".join(net.ip for net in nets) + "}"


def misc_drop_flows() -> Iterator[Flow]:
    """What every router drops or lets pass, whatever its ports are (no multicast relay)."""
    yield Flow(
        STAGE,
        100,
        "ip4.src_mcast ||ip4.src == 255.255.255.255 || ip4.src == 127.0.0.0/8 || ip4.dst == 127.0.0.0/8 || "
        "ip4.src == 0.0.0.0/8 || ip4.dst == 0.0.0.0/8",
        DROP,
    )
    yield Flow(STAGE, 85, "arp || nd", DROP)
    yield Flow(STAGE, 84, "nd_rs || nd_ra", "next;")
    yield Flow(STAGE, 83, "ip6.mcast_rsvd", DROP)
    yield Flow(STAGE, 82, "ip4.mcast || ip6.mcast", DROP)
    yield Flow(STAGE, 50, "eth.bcast", DROP)
    yield Flow(STAGE, 32, "ip.ttl == {0, 1} && !ip.later_frag && (ip4.mcast || ip6.mcast)", DROP)
    yield Flow(STAGE, 30, "ip.ttl == {0, 1}", DROP)
    yield Flow(STAGE, 0, "1", "next;")


def ip_input_flows(router: RouterView) -> Iterator[Flow]:
    """IP_INPUT of every port, IPv4 and IPv6."""
    yield from misc_drop_flows()
    for port in router.ports:
        yield from _dhcpv6_reply(port)
        yield from _ipv6_input(router, port)
        yield from _ipv4_input(router, port)


def _dhcpv6_reply(port: PortView) -> Iterator[Flow]:
    for net in port.v6:
        match = f"ip6.dst == {net.ip} && udp.src == 547 && udp.dst == 546"
        yield Flow(STAGE, 100, match, "reg0 = 0; handle_dhcpv6_reply;")


def arp_reply(port: PortView, target: str, extra: str, source: str) -> Flow:
    """Answer ARP requests for `target` that arrive at `port`, if `extra` holds ("": always)."""
    match = f"inport == {port.key} && arp.op == 1 && arp.tpa == {target}" + (f" && {extra}" if extra else "")
    actions = (
        f"eth.dst = eth.src; eth.src = {reg.INPORT_ETH_ADDR}; arp.op = 2; /* ARP reply */ arp.tha = arp.sha; "
        f"arp.sha = {reg.INPORT_ETH_ADDR}; arp.tpa <-> arp.spa; outport = inport; flags.loopback = 1; output;"
    )
    return Flow(STAGE, 90, match, actions, source)


def nd_reply(port: PortView, target: str, solicited: str, action: str, extra: str, source: str) -> Flow:
    """Answer neighbor solicitations for `target`; with `solicited`, only those sent to it or to that multicast address."""
    to = f"ip6.dst == {{{target}, {solicited}}} && " if solicited else ""
    match = f"inport == {port.key} && {to}nd_ns && nd.target == {target}" + (f" && {extra}" if extra else "")
    actions = (
        f"{action} {{ eth.src = {reg.INPORT_ETH_ADDR}; ip6.src = nd.target; nd.tll = {reg.INPORT_ETH_ADDR}; "
        "outport = inport; flags.loopback = 1; output; };"
    )
    return Flow(STAGE, 90, match, actions, source)


def _ttl_exceeded(port: PortView, net: Net, version: int) -> Flow:
    """ICMP time exceeded. A gateway port swaps the addresses, so that the answer is translated like a reply."""
    if port.cr_key:
        swap = f"ip{version}.dst <-> ip{version}.src"
    else:
        swap = f"ip{version}.dst = ip{version}.src; ip{version}.src = {net.ip}"
    back = f"{swap} ; ip.ttl = 254; "
    type_code = (
        f"icmp{version}.type = {11 if version == 4 else 3}; /* Time exceeded */ "
        f"icmp{version}.code = 0; /* TTL exceeded in transit */ "
    )
    body = type_code + back if version == 4 else back + type_code
    near = "" if version == 4 else f"ip6.src == {net.network}/{net.plen} && "
    match = f"inport == {port.key} && ip{version} && {near}ip.ttl == {{0, 1}} && !ip.later_frag"
    actions = f"icmp{version} {{eth.dst <-> eth.src; {body}outport = {port.key}; flags.loopback = 1; output; }};"
    return Flow(STAGE, 31, match, actions, port.source)


def _unreachable(port: PortView, net: Net, version: int) -> Iterator[Flow]:
    """Nothing listens on a router: reset TCP, abort SCTP, ICMP for the rest. Not on routers with a gateway."""
    swap = f"eth.dst <-> eth.src; ip{version}.dst <-> ip{version}.src; "
    icmp_type, port_code, proto_code = (3, 3, 2) if version == 4 else (1, 4, 3)

    def icmp(code: int) -> str:
        return f"icmp{version} {{{swap}ip.ttl = 255; icmp{version}.type = {icmp_type}; icmp{version}.code = {code}; next; }};"

    match = f"ip{version} && ip{version}.dst == {net.ip} && !ip.later_frag"
    yield Flow(STAGE, 80, f"{match} && udp", icmp(port_code), port.source)
    yield Flow(STAGE, 80, f"{match} && tcp", f"tcp_reset {{{swap}next; }};", port.source)
    yield Flow(STAGE, 80, f"{match} && sctp", f"sctp_abort {{{swap}next; }};", port.source)
    yield Flow(STAGE, 70, match, icmp(proto_code), port.source)


def _ipv4_input(router: RouterView, port: PortView) -> Iterator[Flow]:
    if port.v4:
        own_and_broadcast = ", ".join(f"{net.ip}, {net.broadcast}" for net in port.v4)
        match = f"ip4.src == {{{own_and_broadcast}}} && {reg.EGRESS_LOOPBACK} == 0"
        yield Flow(STAGE, 100, match, DROP, port.source)
        match = f"ip4.dst == {one_or_set(port.v4)} && icmp4.type == 8 && icmp4.code == 0"
        echo = "ip4.dst <-> ip4.src; ip.ttl = 255; icmp4.type = 0; flags.loopback = 1; next; "
        yield Flow(STAGE, 90, match, echo, port.source)
    for net in port.v4:
        yield _ttl_exceeded(port, net, 4)
    resident = _arp_resident(router, port)
    for net in port.v4:
        yield arp_reply(port, net.ip, f"arp.spa == {net.network}/{net.plen}{resident}", port.source)
    yield from _vip_replies(router, port)
    if not router.is_gateway and not router.gateway_ports:
        for net in port.v4:
            yield from _unreachable(port, net, 4)
    if not router.force_snat_router_ip:
        yield from drop_own_destination(router, port, STAGE, 60, translated=False)


def _arp_resident(router: RouterView, port: PortView) -> str:
    """On which chassis ARP for the port's own address is answered, when its switch has a localnet port.

    A gateway port answers on its gateway chassis. Another port does so too (on the chassis of the router's only gateway
    port) with `reside-on-redirect-chassis`.
    """
    if not router.gateway_ports or not port.peer_has_localnet:
        return ""
    if port.cr_key:
        return f" && is_chassis_resident({port.cr_key})"
    if flag(port.options, "reside-on-redirect-chassis") and len(router.gateway_ports) == 1:
        return f" && is_chassis_resident({router.gateway_ports[0].cr_key})"
    return ""


def _vip_replies(router: RouterView, port: PortView) -> Iterator[Flow]:
    """ARP and ND for load balancer addresses: one flow per family, the addresses are an Address_Set of the router."""
    resident = f"is_chassis_resident({port.cr_key})" if port.cr_key else ""
    if router.has_reachable_vip(4):
        yield arp_reply(port, f"${router.vip_address_set(4)}", resident, "")
    if router.has_reachable_vip(6):
        yield nd_reply(port, f"${router.vip_address_set(6)}", "", "nd_na", resident, "")


def _ipv6_input(router: RouterView, port: PortView) -> Iterator[Flow]:
    if port.v6:
        match = f"ip6.dst == {one_or_set(port.v6)} && icmp6.type == 128 && icmp6.code == 0"
        echo = "ip6.dst <-> ip6.src; ip.ttl = 255; icmp6.type = 129; flags.loopback = 1; next; "
        yield Flow(STAGE, 90, match, echo, port.source)
    resident = f"is_chassis_resident({port.cr_key})" if port.cr_key else ""
    for net in port.v6:
        yield nd_reply(port, net.ip, net.solicited_node, "nd_na_router", resident, port.source)
    if not router.is_gateway and not router.gateway_ports:
        for net in port.v6:
            yield from _unreachable(port, net, 6)
    for net in port.v6:
        if not is_link_local(6, net):
            yield _ttl_exceeded(port, net, 6)


def drop_own_destination(
    router: RouterView, port: PortView, stage: Stage, priority: int, *, translated: bool
) -> Iterator[Flow]:
    """Drop IP traffic to the router's own addresses.

    Addresses that are also used for translation (forced SNAT, VIP) are dropped only after un-SNAT had its chance:
    those are the ones with `translated`.
    """
    for version, nets in ((4, port.v4), (6, port.v6)):
        mine = [net.ip for net in nets if router.is_translated(net.ip) == translated]
        if mine:
            yield Flow(stage, priority, f"ip{version}.dst == {{{', '.join(mine)}}}", DROP, port.source)
