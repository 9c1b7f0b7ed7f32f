"""Datapath flows as `ovs-appctl dpctl/dump-flows -m --names` prints them, and the chains of recirculations they form.

Reading is pure; `deployer.wire.recirc` gets the dumps from a running lab.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import TypeAlias

NEW, EST, RPL = 0x01, 0x02, 0x08
"""Bits of ct_state as ovs-dpctl prints them in hexadecimal."""
_PROTOCOLS = ("tcp", "udp", "sctp")
_ACTIONS = re.compile(r" actions:(.*?)(?:, dp-extra-info:.*)?$")
_NO_OUTPUT = frozenset({"drop", "ct_clear", "pop_vlan", "pop_eth", "dec_ttl"})
_LONGEST_CHAIN = 64


class Kind(Enum):
    """Which packet of a connection, by what conntrack says of it: (bits that are set, bits that are not)."""

    FIRST = (NEW, EST)
    SECOND = (EST, NEW | RPL)
    REPLY = (EST | RPL, NEW)


@dataclass(frozen=True, slots=True)
class Tuple5:
    """A packet's addresses in text, its protocol (tcp, udp, sctp) and ports; port 0 is any."""

    protocol: str
    src: str
    src_port: int
    dst: str
    dst_port: int


@dataclass(frozen=True, slots=True)
class DatapathFlow:
    """One megaflow: `keys` are what it matches, by name, with the text in parentheses."""

    keys: tuple[tuple[str, str], ...]
    actions: str
    packets: int

    def key(self, name: str) -> str:
        """The text of one key, "" if the flow has none."""
        return next((text for key, text in self.keys if key == name), "")

    @property
    def recirc_id(self) -> int:
        return int(self.key("recirc_id") or "0", 0)

    @property
    def in_port(self) -> str:
        return self.key("in_port").partition("/")[0]

    @property
    def from_tunnel(self) -> bool:
        return bool(self.key("tunnel"))

    def mask(self, name: str) -> int:
        """Bits of a conntrack field (ct_state, ct_mark, ct_label) that the flow matches; -1 for all."""
        text = self.key(name)
        _, slash, mask = text.partition("/")
        return int(mask, 0) if slash else -1 if text else 0

    def headers(self) -> Iterator[str]:
        """Names of the header fields that the flow matches, at least in part, as logical flows call them."""
        for key, fields in _HEADERS.items():
            found = _fields(self.key(key))
            for name, field in fields.items():
                _, slash, mask = found.get(name, "/0").partition("/")
                if not slash or mask.strip("0:.x"):
                    yield field
        _, slash, mask = self.key("dp_hash").partition("/")
        if slash and int(mask, 0):
            yield "dp_hash"

    @property
    def operations(self) -> tuple[str, ...]:
        """What it does, in the words of `deployer.wire.megaflows`: ct forms, hash, set headers, tunnel_push, output."""
        return tuple(_operations(self.actions))

    def permits(self, kind: Kind) -> bool:
        """Whether a packet of this kind, just looked up in conntrack, may match."""
        value, _, mask = self.key("ct_state").partition("/")
        relevant = int(mask, 0) if mask else NEW | EST | RPL if value else 0
        on, off = kind.value
        have = int(value or "0", 0) & relevant
        return have & off == 0 and have & on == on & relevant

    def matches(self, packet: Tuple5, *, exactly: bool = False) -> bool:
        """Whether a packet's addresses, protocol and ports match; `exactly`: whether it is such a packet that made the flow.

        The userspace datapath keeps the whole key of that packet beside the mask; the kernel's keeps what the mask leaves.
        """
        family = "ipv6" if ":" in packet.src else "ipv4"
        ends, ports = _fields(self.key(family)), _fields(self.key(packet.protocol))
        if not ends or not ports:
            return False
        if exactly:
            ends, ports = ({name: text.partition("/")[0] for name, text in found.items()} for found in (ends, ports))
        return (
            _address_in(packet.src, ends["src"])
            and _address_in(packet.dst, ends["dst"])
            and _port_in(packet.src_port, ports["src"])
            and _port_in(packet.dst_port, ports["dst"])
        )


def read_flows(text: str) -> tuple[DatapathFlow, ...]:
    """The flows of TCP, UDP and SCTP packets in a dump."""
    found = []
    for line in text.splitlines():
        actions = _ACTIONS.search(line)
        if actions is None:
            continue
        match, _, statistics = line[: actions.start()].partition(", packets:")
        keys = tuple(_keys(match))
        if any(name in _PROTOCOLS for name, _ in keys):
            found.append(DatapathFlow(keys, actions.group(1), int(statistics.partition(",")[0] or "0")))
    return tuple(found)


def port_of_client(flows: Iterable[DatapathFlow], packet: Tuple5) -> int:
    """The source port of the packet that made the flow which `packet` (with source port 0) meets first; 0 if none did."""
    for flow in flows:
        if not flow.recirc_id and flow.matches(packet, exactly=True):
            return int(_fields(flow.key(packet.protocol))["src"].partition("/")[0])
    return 0


def _keys(match: str) -> Iterator[tuple[str, str]]:
    for part in split(match):
        name, inside = _call(part.strip())
        if name == "encap":  # what is behind a VLAN tag
            yield from _keys(inside)
        elif inside:
            yield name, inside


@dataclass(frozen=True, slots=True, order=True)
class Chain:
    """What one packet did in the datapath, from its first look-up to its output."""

    recirculations: int
    lookups: int
    """ct() actions."""
    end: str
    """Port, or the tunnel's underlay port."""


def chains(flows: Iterable[DatapathFlow], packet: Tuple5, kind: Kind, *, from_tunnel: bool) -> frozenset[Chain]:
    """Every way that `packet` took from a look-up with recirc_id 0 to an output, as numbers; see `trails`."""
    return frozenset(chain for chain, _ in trails(flows, packet, kind, from_tunnel=from_tunnel))


def trails(flows: Iterable[DatapathFlow], packet: Tuple5, kind: Kind, *, from_tunnel: bool) -> tuple[Trail, ...]:
    """Every way that `packet` took from a look-up with recirc_id 0 to an output, and the flow that it met in each pass.

    The flows must be those of one connection and its replies: after the first look-up only conntrack's state tells the packets
    apart, because NAT changes the rest. Where no flow permits the kind (a zone that never sees replies keeps calling packets
    new), all flows with that recirc_id are followed.
    """
    following: Following = defaultdict(list)
    roots = []
    for flow in flows:
        if flow.recirc_id:
            following[flow.in_port, flow.recirc_id].append(flow)
        elif flow.from_tunnel == from_tunnel and flow.matches(packet):
            roots.append(flow)
    own = [flow for flow in roots if flow.matches(packet, exactly=True)]
    return tuple(trail for root in own or roots for trail in _follow(following, (root,), kind, 0))


Following: TypeAlias = dict[tuple[str, int], list[DatapathFlow]]
Trail: TypeAlias = tuple[Chain, tuple[DatapathFlow, ...]]


def _follow(following: Following, passed: tuple[DatapathFlow, ...], kind: Kind, lookups: int) -> Iterator[Trail]:
    flow = passed[-1]
    if len(passed) > _LONGEST_CHAIN:
        raise ValueError(f"recirculations without end at recirc_id {flow.recirc_id:#x}")
    for count, target, end in _ways(flow.actions):
        total = lookups + count
        if end:
            yield Chain(len(passed) - 1, total, end), passed
            continue
        possible = following.get((flow.in_port, target), [])
        for successor in [f for f in possible if f.permits(kind)] or possible:
            yield from _follow(following, (*passed, successor), kind, total)


def _ways(actions: str) -> list[tuple[int, int, str]]:
    """(ct look-ups before, recirc_id or 0, output or "") for every copy that goes on or out."""
    found: list[tuple[int, int, str]] = []
    lookups = 0
    for part in split(actions):
        name, inside = _call(part)
        if name == "ct":
            lookups += 1
        elif name == "recirc":
            found.append((lookups, int(inside, 0), ""))
        elif name in ("clone", "sample", "check_pkt_len", "actions", "gt", "le"):
            found += [(lookups + count, target, end) for count, target, end in _ways(inside)]
        elif not inside and "=" not in part and part not in _NO_OUTPUT:
            found.append((lookups, 0, part))
    return found


def _operations(actions: str) -> Iterator[str]:
    for part in split(actions):
        name, inside = _call(part)
        if name == "ct":
            yield _ct_form(inside)
        elif name in ("clone", "actions", "le"):
            yield from _operations(inside)
        elif name == "check_pkt_len":
            yield "check_pkt_larger"
            yield from (o for p in split(inside) if p.startswith("le(") for o in _operations(p))
        elif name == "set":
            yield f"set {_SET.get(_call(inside)[0], _call(inside)[0])}"
        elif name in _NAMED:
            yield _NAMED[name]
        elif not inside and "=" not in part and part not in _NO_OUTPUT:
            yield "output"


_HEADERS = {
    "eth": {"src": "eth.src", "dst": "eth.dst"},
    "ipv4": {"src": "ip4.src", "dst": "ip4.dst", "proto": "ip.proto", "ttl": "ip.ttl", "tos": "ip.ecn"},
    "ipv6": {"src": "ip6.src", "dst": "ip6.dst", "proto": "ip.proto", "hlimit": "ip.ttl", "tclass": "ip.ecn"},
    **{p: {"src": f"{p}.src", "dst": f"{p}.dst"} for p in _PROTOCOLS},
}
"""Keys of a datapath flow, their parts, and the logical names (of tos and tclass only ECN is ever matched here)."""
_SET = {"ipv4": "ip", "ipv6": "ip", "tcp": "ports", "udp": "ports", "sctp": "ports"}
_NAMED = {"hash": "dp_hash", "tnl_push": "tunnel_push", "userspace": "controller"}


def _ct_form(inside: str) -> str:
    """`commit,zone=3,mark=0x2/0x2,nat(dst=10.0.0.1:80)` as `ct(commit,nat(dst))`."""
    parts = split(inside)
    said = ["commit"] if "commit" in parts else []
    for part in parts:
        name, how = _call(part)
        if name == "nat":
            said.append(f"nat({how.partition('=')[0]})" if how else "nat")
    return f"ct({','.join(said)})" if said else "ct"


def split(text: str) -> list[str]:
    """Text at its commas, except those in parentheses or braces."""
    parts, depth, begin = [], 0, 0
    for index, char in enumerate(text):
        if char in "({":
            depth += 1
        elif char in ")}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[begin:index])
            begin = index + 1
    parts.append(text[begin:])
    return [part for part in parts if part]


def _call(part: str) -> tuple[str, str]:
    """ "name(inside)" as (name, inside); ("name", "") without parentheses."""
    name, bracket, rest = part.partition("(")
    return (name, rest.removesuffix(")")) if bracket else (part, "")


def _fields(text: str) -> dict[str, str]:
    return dict(field.split("=", 1) for field in split(text) if "=" in field)


def _address_in(address: str, pattern: str) -> bool:
    value, _, mask = pattern.partition("/")
    bits = int(ip_address(mask)) if mask else -1
    return int(ip_address(address)) & bits == int(ip_address(value)) & bits


def _port_in(port: int, pattern: str) -> bool:
    if not port:
        return True
    value, _, mask = pattern.partition("/")
    bits = int(mask, 0) if mask else 0xFFFF
    return port & bits == int(value, 0) & bits
