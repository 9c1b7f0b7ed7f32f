"""Packets that ovn-trace makes for nested actions, its slips included: they are what its next tables see."""

from __future__ import annotations

from ytwin.logical.addresses import ip_text, mac_text
from ytwin.logical.fields import FieldRef, Form
from ytwin.logical.state import (
    ARP_REQUEST,
    ETH_ARP,
    ICMP,
    ICMPV6,
    ND_NA,
    ND_NS,
    SCTP,
    SOLICITED_NODE,
    TCP,
    PacketState,
)
from ytwin.trace.conntrack import TCP_RST
from ytwin.trace.generated import MULTICAST_V6
from ytwin.trace.ovntrace_tree import MODIFY, Node

_UNREACHABLE = 3


def storage(state: PacketState) -> tuple[int, int]:
    """tp_src and tp_dst as the program stores them: ICMP type and code sit there too."""
    if state.ip_proto in (ICMP, ICMPV6):
        return state.icmp_type, state.icmp_code
    return state.tp_src, state.tp_dst


def generate(kind: str, state: PacketState) -> tuple[str, PacketState] | None:
    """Title and packet of a nested action; None where the program does nothing, against loops."""
    copy = state.copy()
    if kind == "clone":
        return "clone", copy
    if kind == "arp":
        copy.ip_frag = copy.ip_dscp = copy.ip_ecn = copy.ip_ttl = copy.tcp_flags = 0
        copy.eth_type, copy.arp_op, copy.ip_proto = ETH_ARP, ARP_REQUEST, 0
        copy.arp_sha, copy.arp_tha = state.eth_src, 0
        copy.arp_spa, copy.arp_tpa = state.ip4_src, state.ip4_dst
        return "arp", copy
    if kind in ("nd_na", "nd_na_router"):
        copy.eth_src, copy.eth_dst = state.eth_dst, state.eth_src
        copy.ip6_dst, copy.ip6_src = state.ip6_src, state.nd_target
        copy.icmp_type, copy.nd_sll, copy.nd_tll = ND_NA, 0, state.eth_dst
        return "nd_na", copy
    if kind == "nd_ns":
        group = SOLICITED_NODE | (state.ip6_dst & 0xFFFFFF)
        copy.eth_dst = MULTICAST_V6 | (group & 0xFFFFFFFF)
        if state.ip_proto == ICMPV6:
            copy.icmp_type = ND_NS
        else:
            copy.tp_src = ND_NS
        copy.nd_sll, copy.nd_tll = 0, state.eth_dst
        return "nd_ns", copy
    return _complaint(kind, state, copy)


def _complaint(kind: str, state: PacketState, copy: PacketState) -> tuple[str, PacketState] | None:
    loopback = kind == "reject"
    if loopback:
        fallback = "icmp6" if state.is_ipv6 else "icmp4"
        kind = {TCP: "tcp_reset", SCTP: "sctp_abort"}.get(state.ip_proto, fallback)
    if kind in ("tcp_reset", "sctp_abort"):
        if loopback and state.tcp_flags == TCP_RST:
            return None
        copy.tcp_flags = TCP_RST
        proto = TCP if kind == "tcp_reset" or state.is_ipv6 else SCTP  # sic: an SCTP abort over IPv6 becomes TCP there
    else:
        if loopback and storage(state)[0] == _UNREACHABLE - 2 * int(state.is_ipv6):
            return None
        kind = kind.removesuffix("_error")
        proto = ICMPV6 if kind == "icmp6" else ICMP
        copy.icmp_type, copy.icmp_code = (1, 1) if kind == "icmp6" else (_UNREACHABLE, 1)
    if loopback:
        copy.eth_src, copy.eth_dst = state.eth_dst, state.eth_src
        copy.ip4_src, copy.ip4_dst = state.ip4_dst, state.ip4_src
        copy.ip6_src, copy.ip6_dst = state.ip6_dst, state.ip6_src
    copy.ip_proto, copy.ip_ttl = proto, 255
    return kind, copy


def is_register(ref: FieldRef) -> bool:
    """Assignments to metadata are not shown in the short forms."""
    return ref.name.startswith(("reg", "xreg", "xxreg", "flags")) or ref.name in ("inport", "outport")


def note_move(target: FieldRef, source: FieldRef, state: PacketState, into: list[Node]) -> None:
    """The value as the program prints it: in the form of the source where all of it is copied, in hex else."""
    if is_register(target):
        return
    value = state.get_int(source)
    form = source.form()
    if form is Form.MAC:
        text = mac_text(value)
    elif form in (Form.IPV4, Form.IPV6):
        text = ip_text(value, form is Form.IPV6)
    elif is_register(source) or form is Form.HEX:
        text = f"{value:#x}"
    else:
        text = str(value)
    into.append(Node(MODIFY, f"{target} = {text}"))
