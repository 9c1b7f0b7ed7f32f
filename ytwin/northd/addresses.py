"""Addresses as northd reads and prints them: MACs, IPs with prefix, a port's address lines, "IP:PORT" of load balancers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_NET_LIKE = re.compile(r"[0-9a-fA-F.:]+(?:/[0-9.]+)?")
"""The longest beginning of a word that could be an address with prefix."""
_MAC = re.compile(r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2}){5}")


@dataclass(frozen=True, slots=True)
class Net:
    """An address with its prefix, in the texts that flows use."""

    ip: str
    plen: int
    network: str
    """Network address, without the prefix length."""
    broadcast: str
    """IPv4 only, else ""."""
    solicited_node: str
    """Solicited-node multicast address, IPv6 only, else ""."""
    value: int
    """The address as a number."""
    network_value: int
    mask: int

    def contains(self, value: int) -> bool:
        """Whether the address of that number (same family) lies in this network."""
        return value & self.mask == self.network_value


@dataclass(frozen=True, slots=True)
class Addresses:
    """A MAC with its IPs (one element of a port's addresses or port_security, or a router port's networks)."""

    mac: str
    v4: tuple[Net, ...] = ()
    v6: tuple[Net, ...] = ()


def parse_mac(text: str) -> str | None:
    """Canonical MAC, or None."""
    if not _MAC.fullmatch(text):
        return None
    return ":".join(f"{int(part, 16):02x}" for part in text.split(":"))


def ip6_text(value: int) -> str:
    """An IPv6 address as inet_ntop(3) prints it: as RFC 5952, and IPv4-mapped and IPv4-compatible ones with dots."""
    if value >> 32 == 0xFFFF:
        return f"::ffff:{IPv4Address(value & 0xFFFFFFFF)}"
    if value >> 32 == 0 and value >> 16:
        return f"::{IPv4Address(value)}"
    return str(IPv6Address(value))


@lru_cache(maxsize=65536)
def parse_ip(text: str) -> tuple[int, int] | None:
    """(family 4 or 6, value) of an address, or None."""
    try:
        if ":" not in text:
            return 4, int(IPv4Address(text))
        if "%" in text:
            return None
        return 6, int(IPv6Address(text))
    except AddressValueError:
        return None


def ip4_text(value: int) -> str:
    """An IPv4 address in dots; ten thousands of them are printed, and ipaddress takes three times as long."""
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def net4(value: int, plen: int) -> Net:
    """An IPv4 address with its prefix."""
    mask = (0xFFFFFFFF << (32 - plen)) & 0xFFFFFFFF
    network = value & mask
    broadcast = value | (mask ^ 0xFFFFFFFF)
    return Net(ip4_text(value), plen, ip4_text(network), ip4_text(broadcast), "", value, network, mask)


def net6(value: int, plen: int) -> Net:
    """An IPv6 address with its prefix; the solicited-node address is RFC 4291's ff02::1:ffXX:XXXX."""
    full = (1 << 128) - 1
    mask = (full << (128 - plen)) & full
    network = value & mask
    solicited = (0xFF02 << 112) | (1 << 32) | 0xFF000000 | (value & 0xFFFFFF)
    return Net(ip6_text(value), plen, ip6_text(network), "", ip6_text(solicited), value, network, mask)


def parse_net(text: str) -> tuple[int, Net] | None:
    """(family, Net) of "IP" or "IP/LEN" (or "IP/MASK" for IPv4), or None."""
    address, slash, prefix = text.partition("/")
    parsed = parse_ip(address)
    if parsed is None:
        return None
    family, value = parsed
    bits = 32 if family == 4 else 128
    plen = bits if not slash else _prefix_length(prefix, bits)
    if plen is None:
        return None
    return family, (net4 if family == 4 else net6)(value, plen)


def _prefix_length(text: str, bits: int) -> int | None:
    if text.isascii() and text.isdigit():
        plen = int(text)
        return plen if plen <= bits else None
    parsed = parse_ip(text)
    if parsed is None or parsed[0] != (4 if bits == 32 else 6):
        return None
    ones = f"{parsed[1]:0{bits}b}"
    return ones.count("1") if "01" not in ones else None


def link_local(mac: str) -> int:
    """RFC 4291 link-local address of a MAC (modified EUI-64) as a number."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 0x02
    eui = [*octets[:3], 0xFF, 0xFE, *octets[3:]]
    return (0xFE80 << 112) | int.from_bytes(bytes(eui), "big")


def parse_addresses(text: str) -> Addresses | None:
    """ "MAC [IP ...]"; None without a MAC. Reading ends, as in northd, at the first thing that is no address."""
    words = text.split()
    mac = parse_mac(words[0]) if words else None
    if mac is None:
        return None
    v4: list[Net] = []
    v6: list[Net] = []
    for word in words[1:]:
        start = _NET_LIKE.match(word)
        parsed = parse_net(start[0]) if start is not None else None
        if parsed is None or start is None:
            break
        (v4 if parsed[0] == 4 else v6).append(parsed[1])
        if start[0] != word:
            break
    return Addresses(mac, tuple(v4), tuple(v6))


def router_addresses(mac: str, networks: tuple[str, ...]) -> Addresses | None:
    """A router port's addresses: its networks in OVSDB's order (sorted), then the IPv6 link-local one; None if the MAC is bad."""
    canonical = parse_mac(mac)
    if canonical is None:
        return None
    v4: list[Net] = []
    v6: list[Net] = []
    for text in sorted(set(networks)):
        parsed = parse_net(text)
        if parsed is None or (parsed[0] == 4 and parsed[1].value == 0):
            continue
        (v4 if parsed[0] == 4 else v6).append(parsed[1])
    v6.append(net6(link_local(canonical), 64))
    return Addresses(canonical, tuple(v4), tuple(v6))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address with a port (0: none), canonical."""

    ip: str
    port: int
    family: int
    value: int


def parse_endpoint(text: str) -> Endpoint | None:
    """ "IP", "IP:PORT", "IP6", "[IP6]" or "[IP6]:PORT" as in Load_Balancer.vips; None if it is none of these."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return None
        port = rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if port and not (port.isascii() and port.isdigit() and int(port) <= 65535):
        return None
    parsed = parse_ip(host)
    if parsed is None:
        return None
    family, value = parsed
    if family == 6 and value >> 32 == 0xFFFF:
        return None  # northd takes an IPv4-mapped address for IPv4 in some places only
    return Endpoint(str(IPv4Address(value)) if family == 4 else ip6_text(value), int(port or 0), family, value)
