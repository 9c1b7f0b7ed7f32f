"""Packets that OVN makes itself (pinctrl in ovn-controller): ARP and ND questions and answers, ICMP errors, resets.

Each function takes the packet that met the action and returns the new one, before the nested actions change it.
"""

from __future__ import annotations

from ytwin.core.errors import Unsupported
from ytwin.logical.state import (
    ARP_REQUEST,
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ICMP,
    ICMPV6,
    ND_NA,
    ND_NS,
    SCTP,
    SOLICITED_NODE,
    TCP,
    UDP,
    PacketState,
)
from ytwin.trace.conntrack import TCP_ACK, TCP_RST, Tuple5, packet_tuple

ICMP_ERROR_TYPES = {ICMP: frozenset({3, 4, 5, 11, 12}), ICMPV6: frozenset({1, 2, 3, 4})}
"""Types that carry a piece of the packet they complain about (RFC 792, RFC 4443)."""
MULTICAST_V6 = 0x3333_0000_0000
"""Ethernet prefix of IPv6 multicast (RFC 2464)."""
_ND_TTL = 255
_ERROR_TTL = 255
_RESET_TTL = 63
_PORT_UNREACHABLE_V4, _HOST_UNREACHABLE_V4 = 3, 1
_PORT_UNREACHABLE_V6, _ADMIN_PROHIBITED_V6 = 4, 1


def arp_request(state: PacketState) -> PacketState:
    """`arp {}`: asks for the IPv4 destination in the name of the packet's source."""
    new = state.copy()
    new.eth_type, new.arp_op = ETH_ARP, ARP_REQUEST
    new.arp_sha, new.arp_tha = state.eth_src, 0
    new.arp_spa, new.arp_tpa = state.ip4_src, state.ip4_dst
    _forget_ip(new)
    new.clear_ct()
    return new


def neighbor_solicitation(state: PacketState) -> PacketState:
    """`nd_ns {}`: asks for the IPv6 destination at its solicited-node group."""
    new = state.copy()
    low = state.ip6_dst & 0xFFFFFF
    new.eth_dst = MULTICAST_V6 | 0xFF00_0000 | low
    new.ip6_dst = SOLICITED_NODE | low
    _icmp6(new, ND_NS, 0)
    new.nd_target, new.nd_sll, new.nd_tll = state.ip6_dst, state.eth_src, 0
    new.clear_ct()
    return new


def neighbor_advertisement(state: PacketState) -> PacketState:
    """`nd_na {}`, `nd_na_router {}`: answers a solicitation."""
    new = state.copy()
    new.eth_src, new.eth_dst = state.eth_dst, state.eth_src
    new.ip6_src, new.ip6_dst = state.nd_target, state.ip6_src
    _icmp6(new, ND_NA, 0)
    new.nd_sll, new.nd_tll = 0, state.eth_dst
    new.clear_ct()
    return new


def _icmp6(state: PacketState, kind: int, code: int) -> None:
    state.eth_type, state.ip_proto, state.ip_ttl = ETH_IPV6, ICMPV6, _ND_TTL
    state.icmp_type, state.icmp_code = kind, code
    state.tp_src = state.tp_dst = state.tcp_flags = 0


def _forget_ip(state: PacketState) -> None:
    state.ip_proto = state.ip_ttl = state.ip_frag = state.ip_dscp = state.ip_ecn = 0
    state.ip4_src = state.ip4_dst = state.tp_src = state.tp_dst = state.tcp_flags = 0
    state.icmp_type = state.icmp_code = 0


def _turn_around(state: PacketState) -> None:
    state.eth_src, state.eth_dst = state.eth_dst, state.eth_src
    state.ip4_src, state.ip4_dst = state.ip4_dst, state.ip4_src
    state.ip6_src, state.ip6_dst = state.ip6_dst, state.ip6_src


def icmp_error(state: PacketState, *, reject: bool) -> tuple[PacketState, Tuple5]:
    """`icmp4 {}`, `icmp6 {}` and what `reject {}` makes of UDP: the error, and the tuple it carries inside."""
    new = state.copy()
    if reject:
        _turn_around(new)
    udp = state.ip_proto == UDP
    if state.eth_type == ETH_IPV6:
        new.ip_proto, new.icmp_type = ICMPV6, 1
        new.icmp_code = _PORT_UNREACHABLE_V6 if reject and udp else _ADMIN_PROHIBITED_V6
    else:
        new.ip_proto, new.icmp_type = ICMP, 3
        new.icmp_code = _PORT_UNREACHABLE_V4 if reject and udp else _HOST_UNREACHABLE_V4
    new.ip_ttl = _ERROR_TTL
    new.tp_src = new.tp_dst = new.tcp_flags = 0
    new.clear_ct()
    return new, packet_tuple(state)


def is_icmp_error(state: PacketState) -> bool:
    """Whether the packet is an ICMP or ICMPv6 error, about which no error may be sent."""
    return state.eth_type in (ETH_IP, ETH_IPV6) and state.icmp_type in ICMP_ERROR_TYPES.get(state.ip_proto, frozenset())


def reset(state: PacketState, kind: str, *, reject: bool) -> PacketState:
    """`tcp_reset {}` and `sctp_abort {}`; addresses turn around only in `reject {}`, ports always."""
    if state.ip_proto != (TCP if kind == "tcp_reset" else SCTP):
        raise Unsupported(f"{kind} of a packet that is no {kind.split('_', maxsplit=1)[0]}")
    new = state.copy()
    if reject:
        _turn_around(new)
    new.tp_src, new.tp_dst = state.tp_dst, state.tp_src
    new.tcp_flags = TCP_RST | TCP_ACK if kind == "tcp_reset" else 0
    new.ip_ttl = _RESET_TTL
    new.clear_ct()
    return new
