"""`check_in_port_sec()` and `check_out_port_sec()`: does a packet keep to the addresses its port may use?"""

from __future__ import annotations

from functools import cache
from ipaddress import ip_interface
from typing import NamedTuple

from ytwin.logical.addresses import mac_int
from ytwin.logical.southbound import PortBinding
from ytwin.logical.state import ETH_ARP, ETH_IP, ETH_IPV6, ICMPV6, ND_NA, ND_NS, UDP, PacketState

_BROADCAST_V4 = 0xFFFFFFFF
_MULTICAST_V4 = 0xE  # first four bits of 224.0.0.0/4
_MULTICAST_V6 = 0xFF  # first eight bits of ff00::/8


class Allowed(NamedTuple):
    """One entry of port_security: a MAC and the addresses it may use (none of a family: see the callers)."""

    mac: int
    ipv4: tuple[int, ...]
    ipv6: tuple[int, ...]

    @property
    def link_local(self) -> int:
        """The address that the MAC makes (RFC 4291, modified EUI-64)."""
        return link_local(self.mac)


def link_local(mac: int) -> int:
    """fe80::/64 address of a MAC (modified EUI-64)."""
    eui = ((mac >> 24) << 40) | (0xFFFE << 24) | (mac & 0xFFFFFF)
    return (0xFE80 << 112) | (eui ^ (0x02 << 56))


@cache
def _parse(entries: tuple[str, ...]) -> tuple[Allowed, ...]:
    found = []
    for entry in entries:
        mac, *addresses = entry.split()
        parsed = [ip_interface(a).ip for a in addresses]
        found.append(
            Allowed(
                mac_int(mac),
                tuple(int(a) for a in parsed if a.version == 4),
                tuple(int(a) for a in parsed if a.version == 6),
            )
        )
    return tuple(found)


def violates_in(state: PacketState, port: PortBinding) -> bool:
    """True if what came in by `port` uses a MAC or address that it may not use."""
    if not port.port_security:
        return False
    for allowed in _parse(port.port_security):
        if allowed.mac != state.eth_src:
            continue
        if state.eth_type == ETH_ARP:
            ok = state.arp_sha == allowed.mac and (not allowed.ipv4 or state.arp_spa in allowed.ipv4)
        elif state.eth_type == ETH_IP:
            ok = _in_ipv4(state, allowed)
        elif state.eth_type == ETH_IPV6:
            ok = _in_ipv6(state, allowed)
        else:
            ok = True
        return not ok
    return True


def _in_ipv4(state: PacketState, allowed: Allowed) -> bool:
    if (not allowed.ipv4 and not allowed.ipv6) or state.ip4_src in allowed.ipv4:
        return True
    dhcp = state.ip_proto == UDP and (state.tp_src, state.tp_dst) == (68, 67)
    return dhcp and state.ip4_src == 0 and state.ip4_dst == _BROADCAST_V4


def _in_ipv6(state: PacketState, allowed: Allowed) -> bool:
    if not allowed.ipv4 and not allowed.ipv6:
        return True
    local = allowed.link_local
    if state.ip6_src not in allowed.ipv6 and state.ip6_src != local:
        return False
    if state.ip_proto != ICMPV6:
        return True
    if state.icmp_type == ND_NS:
        return state.nd_sll in (0, allowed.mac)
    if state.icmp_type == ND_NA:
        if state.nd_tll not in (0, allowed.mac):
            return False
        return not allowed.ipv6 or state.nd_target in allowed.ipv6 or state.nd_target == local
    return True


def violates_out(state: PacketState, port: PortBinding) -> bool:
    """True if what would go out by `port` is not addressed to a MAC and address of it."""
    if not port.port_security:
        return False
    for allowed in _parse(port.port_security):
        if allowed.mac != state.eth_dst:
            continue
        if not allowed.ipv4 and not allowed.ipv6:
            return False
        if state.eth_type == ETH_IP:
            dst = state.ip4_dst
            known = dst in allowed.ipv4 or dst == _BROADCAST_V4 or dst >> 28 == _MULTICAST_V4
            return not allowed.ipv4 or not known
        if state.eth_type == ETH_IPV6:
            dst = state.ip6_dst
            known = dst in allowed.ipv6 or dst == allowed.link_local or dst >> 120 == _MULTICAST_V6
            return not allowed.ipv6 or not known
        return False
    return True
