"""Numbers and texts of MAC, IPv4 and IPv6 addresses as OVN writes them. The language computes with the numbers."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

MAC_FORM = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}\Z")


def mac_int(text: str) -> int:
    """`0a:58:0a:00:00:01` as a 48-bit number. ValueError if it is none."""
    if not MAC_FORM.match(text):
        raise ValueError(f"{text!r} is not a MAC address")
    return int(text.replace(":", ""), 16)


def mac_text(value: int) -> str:
    """The 48-bit number in colon form, lower case."""
    digits = f"{value:012x}"
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def ipv4_int(text: str) -> int:
    """Dotted quad as a 32-bit number. ValueError if it is none."""
    return int(IPv4Address(text))


def ipv4_text(value: int) -> str:
    """The 32-bit number as a dotted quad."""
    return str(IPv4Address(value))


def ipv6_int(text: str) -> int:
    """IPv6 address as a 128-bit number. ValueError if it is none (zones are refused, as OVN does)."""
    if "%" in text:
        raise AddressValueError(f"{text!r} has a zone")
    return int(IPv6Address(text))


def ipv6_text(value: int) -> str:
    """The 128-bit number in the compressed form of RFC 5952."""
    return str(IPv6Address(value))


def ip_int(text: str) -> int:
    """IPv4 (32 bits) or IPv6 (128 bits) address as a number. ValueError if it is neither."""
    return ipv6_int(text) if ":" in text else ipv4_int(text)


def ip_text(value: int, ipv6: bool) -> str:
    """Text of an address of the given family."""
    return ipv6_text(value) if ipv6 else ipv4_text(value)


def prefix_mask(length: int, width: int) -> int:
    """Network mask of a prefix of `length` bits in an address of `width` bits."""
    return ((1 << length) - 1) << (width - length)


def prefix_length(mask: int, width: int) -> int | None:
    """Length of the prefix that `mask` is, or None if its ones are not all in front."""
    length = mask.bit_count()
    return length if mask == prefix_mask(length, width) else None


def endpoint(address: str, port: int) -> str:
    """ "IP:PORT", "[IP6]:PORT", or the address alone without a port."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def split_endpoint(text: str) -> tuple[str, int]:
    """ "10.0.0.1:80" or "[fd00::1]:80" as (address, port); without a port, port 0."""
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        return address, int(rest[1:]) if rest else 0
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, int(port)
    return text, 0
