"""The microflow that logical flows read and write: one packet with its metadata, as plain numbers in slots.

Addresses are ints (network byte order read as a number), ports and types ints, inport and outport strings. TCP, UDP and
SCTP ports share `tp_src`/`tp_dst`, ICMP and ICMPv6 share `icmp_type`/`icmp_code`: which of them is there follows from
`eth_type` and `ip_proto`, and the prerequisites of a match look at those first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, cast

from ytwin.logical.addresses import ip_int, mac_int
from ytwin.logical.fields import CT_STATE_BITS, FieldRef, parts, root

ETH_IP = 0x0800
ETH_ARP = 0x0806
ETH_RARP = 0x8035
ETH_IPV6 = 0x86DD
ICMP, IGMP, TCP, UDP, ICMPV6, SCTP = 1, 2, 6, 17, 58, 132
PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP}
ARP_REQUEST, ARP_REPLY = 1, 2
ND_NS, ND_NA = 135, 136

CT_NEW, CT_EST, CT_REL, CT_RPL, CT_INV, CT_TRK, CT_SNAT, CT_DNAT = (1 << bit for bit in CT_STATE_BITS.values())
"""Bits of `ct_state`, in the order of CT_STATE_BITS."""

_STRING_SLOTS = ("inport", "outport")
_INT_SLOTS = (
    "eth_src",
    "eth_dst",
    "eth_type",
    "vlan_tci",
    "ip_proto",
    "ip_dscp",
    "ip_ecn",
    "ip_ttl",
    "ip_frag",
    "ip4_src",
    "ip4_dst",
    "ip6_src",
    "ip6_dst",
    "ip6_label",
    "tp_src",
    "tp_dst",
    "tcp_flags",
    "icmp_type",
    "icmp_code",
    "icmp_frag_mtu",
    "arp_op",
    "arp_spa",
    "arp_tpa",
    "arp_sha",
    "arp_tha",
    "nd_target",
    "nd_sll",
    "nd_tll",
    "reg0",
    "reg1",
    "reg2",
    "reg3",
    "reg4",
    "reg5",
    "reg6",
    "reg7",
    "reg8",
    "reg9",
    "flags",
    "ct_state",
    "ct_mark",
    "ct_label",
    "pkt_mark",
)
FIELD_SLOTS = _STRING_SLOTS + _INT_SLOTS
"""Slots that fields of the language live in."""

Value = int | str


class PacketState:
    """One packet and its metadata. Fields that a packet does not have are 0; `inport` and `outport` are "" when unset."""

    __slots__ = (*FIELD_SLOTS, "ct")

    inport: str
    outport: str
    eth_src: int
    eth_dst: int
    eth_type: int
    vlan_tci: int
    ip_proto: int
    ip_dscp: int
    ip_ecn: int
    ip_ttl: int
    ip_frag: int
    ip4_src: int
    ip4_dst: int
    ip6_src: int
    ip6_dst: int
    ip6_label: int
    tp_src: int
    tp_dst: int
    tcp_flags: int
    icmp_type: int
    icmp_code: int
    icmp_frag_mtu: int
    arp_op: int
    arp_spa: int
    arp_tpa: int
    arp_sha: int
    arp_tha: int
    nd_target: int
    nd_sll: int
    nd_tll: int
    reg0: int
    reg1: int
    reg2: int
    reg3: int
    reg4: int
    reg5: int
    reg6: int
    reg7: int
    reg8: int
    reg9: int
    flags: int
    ct_state: int
    ct_mark: int
    ct_label: int
    pkt_mark: int
    ct: object
    """What the connection tracker knows of the packet (its entry, zone, translations); the language never looks inside."""

    def __init__(self, **values: Any) -> None:
        """Everything zero, except the slots given by name."""
        _load(self, _ZERO)
        for slot, value in values.items():
            setattr(self, slot, value)

    def copy(self) -> PacketState:
        """An independent packet with the same content (`ct` is shared)."""
        other = PacketState.__new__(PacketState)
        _load(other, _store(self))
        return other

    def key(self) -> tuple[object, ...]:
        """All slots as one hashable value: equal keys, equal packets."""
        return _store(self)

    def get(self, ref: FieldRef) -> Value:
        """Value of a field or a slice of one: a str for inport and outport, else an int."""
        return reader(ref)(self)

    def get_int(self, ref: FieldRef) -> int:
        """Value of a numeric field or slice."""
        return cast(int, reader(ref)(self))

    def set(self, ref: FieldRef, value: Value) -> None:
        """Write a field or a slice of one; bits beyond the slice's width are cut off."""
        writer(ref)(self, value)

    def clear_registers(self) -> None:
        """Zero reg0 .. reg9, as when a packet crosses to another datapath."""
        self.reg0 = self.reg1 = self.reg2 = self.reg3 = self.reg4 = 0
        self.reg5 = self.reg6 = self.reg7 = self.reg8 = self.reg9 = 0

    def clear_ct(self) -> None:
        """`ct_clear`: forget what the connection tracker said."""
        self.ct_state = self.ct_mark = self.ct_label = 0
        self.ct = None

    @property
    def is_ipv6(self) -> bool:
        return self.eth_type == ETH_IPV6

    @property
    def ip_src(self) -> int:
        """Source address of an IPv4 or IPv6 packet."""
        return self.ip6_src if self.eth_type == ETH_IPV6 else self.ip4_src

    @property
    def ip_dst(self) -> int:
        """Destination address of an IPv4 or IPv6 packet."""
        return self.ip6_dst if self.eth_type == ETH_IPV6 else self.ip4_dst

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PacketState) and _store(self) == _store(other)

    __hash__ = None  # type: ignore[assignment]  # mutable: use key()

    def __repr__(self) -> str:
        shown = {slot: getattr(self, slot) for slot in FIELD_SLOTS}
        fields = ", ".join(f"{slot}={value!r}" for slot, value in shown.items() if value)
        return f"PacketState({fields})"


_store: Callable[[PacketState], tuple[object, ...]] = attrgetter(*FIELD_SLOTS, "ct")
_ZERO: tuple[object, ...] = ("",) * len(_STRING_SLOTS) + (0,) * len(_INT_SLOTS) + (None,)


def _make_load() -> Callable[[PacketState, tuple[object, ...]], None]:
    """A function that fills all slots from a tuple in one assignment: twice as fast as a loop, and copies are frequent."""
    targets = ", ".join(f"state.{slot}" for slot in (*FIELD_SLOTS, "ct"))
    scope: dict[str, Any] = {}
    exec(f"def load(state, values):\n    {targets} = values\n", scope)
    return cast(Callable[[PacketState, tuple[object, ...]], None], scope["load"])


_load = _make_load()


@cache
def reader(ref: FieldRef) -> Callable[[PacketState], Value]:
    """A function that reads the field or slice. Slices that lie in one slot take one shift and mask."""
    if not ref.width:
        return cast(Callable[[PacketState], Value], attrgetter(root(ref).name))
    pieces = parts(ref)
    if len(pieces) == 1 and pieces[0].width == pieces[0].slot_width:
        return cast(Callable[[PacketState], Value], attrgetter(pieces[0].slot))

    def read(state: PacketState) -> Value:
        value = 0
        for slot, slot_low, _, width, low in pieces:
            value |= ((getattr(state, slot) >> slot_low) & ((1 << width) - 1)) << low
        return value

    return read


@cache
def writer(ref: FieldRef) -> Callable[[PacketState, Value], None]:
    """A function that writes the field or slice and leaves all other bits."""
    if not ref.width:
        name = root(ref).name
        return lambda state, value: setattr(state, name, value)
    pieces = parts(ref)

    def write(state: PacketState, value: Value) -> None:
        number = cast(int, value)
        for slot, slot_low, slot_width, width, low in pieces:
            ones = (1 << width) - 1
            bits = (number >> low) & ones
            if width != slot_width:
                bits = (getattr(state, slot) & ~(ones << slot_low)) | (bits << slot_low)
            setattr(state, slot, bits)

    return write


Pair = tuple[str, str]
"""(source, destination) as text."""


def _ip(inport: str, eth: Pair, ip: Pair, ttl: int, proto: int) -> PacketState:
    state = PacketState(inport=inport, eth_src=mac_int(eth[0]), eth_dst=mac_int(eth[1]), ip_ttl=ttl, ip_proto=proto)
    if ":" in ip[1]:
        state.eth_type, state.ip6_src, state.ip6_dst = ETH_IPV6, ip_int(ip[0]), ip_int(ip[1])
    else:
        state.eth_type, state.ip4_src, state.ip4_dst = ETH_IP, ip_int(ip[0]), ip_int(ip[1])
    return state


def transport(protocol: str, inport: str, eth: Pair, ip: Pair, ports: tuple[int, int], *, ttl: int = 64) -> PacketState:
    """A tcp, udp or sctp packet over the IP family of `ip`; pairs are (source, destination)."""
    state = _ip(inport, eth, ip, ttl, PROTOCOLS[protocol])
    state.tp_src, state.tp_dst = ports
    return state


def echo(inport: str, eth: Pair, ip: Pair, ttl: int = 64, reply: bool = False) -> PacketState:
    """An ICMP or ICMPv6 echo request (or reply); pairs are (source, destination)."""
    ipv6 = ":" in ip[1]
    state = _ip(inport, eth, ip, ttl, ICMPV6 if ipv6 else ICMP)
    request_type, reply_type = (128, 129) if ipv6 else (8, 0)
    state.icmp_type = reply_type if reply else request_type
    return state


def arp_request(inport: str, mac: str, ip: str, target: str, eth_dst: str = "ff:ff:ff:ff:ff:ff") -> PacketState:
    """Who has `target`? Tell `ip` at `mac`."""
    return PacketState(
        inport=inport,
        eth_src=mac_int(mac),
        eth_dst=mac_int(eth_dst),
        eth_type=ETH_ARP,
        arp_op=ARP_REQUEST,
        arp_sha=mac_int(mac),
        arp_spa=ip_int(ip),
        arp_tpa=ip_int(target),
    )


def arp_reply(inport: str, eth: Pair, ip: Pair) -> PacketState:
    """`ip[0]` is at `eth[0]`, told to `ip[1]` at `eth[1]`."""
    state = arp_request(inport, eth[0], ip[0], ip[1], eth[1])
    state.arp_op, state.arp_tha = ARP_REPLY, state.eth_dst
    return state


SOLICITED_NODE = ip_int("ff02::1:ff00:0")
"""Multicast group of neighbour solicitations (RFC 4291, 2.7.1), without the target's low 24 bits."""


def neighbor_solicitation(inport: str, mac: str, ip: str, target: str) -> PacketState:
    """Neighbour Discovery's question for `target`, to its solicited-node group (RFC 4861)."""
    wanted = ip_int(target)
    state = _ip(inport, (mac, "33:33:ff:00:00:00"), (ip, target), 255, ICMPV6)
    state.eth_dst |= wanted & 0xFFFFFF
    state.ip6_dst = SOLICITED_NODE | (wanted & 0xFFFFFF)
    state.icmp_type, state.nd_target, state.nd_sll = ND_NS, wanted, state.eth_src
    return state


def neighbor_advertisement(inport: str, eth: Pair, ip: Pair) -> PacketState:
    """`ip[0]` is at `eth[0]`, told to `ip[1]` at `eth[1]`."""
    state = _ip(inport, eth, ip, 255, ICMPV6)
    state.icmp_type, state.nd_target, state.nd_tll = ND_NA, state.ip6_src, state.eth_src
    return state
