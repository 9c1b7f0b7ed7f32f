"""Symbol table of OVN's logical language, as data: fields, subfields and predicates with their prerequisites.

Facts from ovn-sb(5), table Logical_Flow, and OVN 23.03's symbol table. Three kinds of symbol:

- a *base field* is storage: a slot of `PacketState`, or registers side by side;
- a *subfield* is a run of bits of another field, and stores nothing itself;
- a *predicate* is a name for an expression.

The level says what comparisons a symbol allows: ordinal fields all, boolean ones `==` and `!=`, nominal ones only equality.
A field is ordinal exactly if OpenFlow can match it under any bit mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import NamedTuple

from frozendict import frozendict

from ytwin.logical.addresses import ipv4_text, ipv6_text, mac_text, prefix_length


class Level(Enum):
    """What a symbol can be compared with."""

    NOMINAL = "nominal"
    BOOLEAN = "Boolean"
    ORDINAL = "ordinal"


class Form(Enum):
    """How values of a field are written."""

    DECIMAL = "decimal"
    HEX = "hex"
    MAC = "mac"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    STRING = "string"


FORM_WIDTHS = {Form.IPV4: 32, Form.IPV6: 128, Form.MAC: 48, Form.DECIMAL: 64, Form.HEX: 128}
"""Bits that a number in that form can have."""


class Scope(Enum):
    """Where a field may be assigned to."""

    NEVER = "never"
    ACTIONS = "actions"
    CT_COMMIT = "ct_commit"
    ANYWHERE = "anywhere"


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A field or a slice of one: `reg0[2]` is ("reg0", 2, 1); `ip4.dst` is ("ip4.dst", 0, 32). `width` 0: a string field."""

    name: str
    low: int
    width: int

    def __str__(self) -> str:
        if self.width == SYMBOLS[self.name].width:
            return self.name
        if self.width == 1:
            return f"{self.name}[{self.low}]"
        return f"{self.name}[{self.low}..{self.low + self.width - 1}]"

    def form(self) -> Form:
        """How values of these bits are usually written: slices of a field in hex."""
        symbol = SYMBOLS[self.name]
        return symbol.form if self.width == symbol.width else Form.HEX


@dataclass(frozen=True, slots=True)
class Symbol:
    """One name of the language. `width` in bits, 0 for strings; `prerequisite` and `predicate` are expressions ("" none)."""

    name: str
    width: int
    level: Level = Level.ORDINAL
    prerequisite: str = ""
    form: Form = Form.HEX
    scope: Scope = Scope.ACTIONS
    parent: str = ""
    parent_low: int = 0
    """For a subfield: the lowest bit of the parent that it names."""
    predicate: str = ""
    slots: tuple[str, ...] = ()
    """For a base field: PacketState slots that hold it, most significant first, all equally wide."""
    newer: bool = False
    """OVN 23.03 does not know it; flows read from a newer Southbound may use it."""

    def ref(self) -> FieldRef:
        """Reference to all bits of the symbol."""
        return FieldRef(self.name, 0, self.width)


class Part(NamedTuple):
    """Bits [slot_low, slot_low + width) of a PacketState slot; they are bits [low, low + width) of what refers to them."""

    slot: str
    slot_low: int
    slot_width: int
    width: int
    low: int


REGISTERS = 10
"""reg0 .. reg9 are the logical registers; OVN keeps the others for itself."""


def _registers() -> Iterator[Symbol]:
    """xxreg, xreg and reg overlay each other; the lower-numbered register is the more significant one."""
    for quad in range(REGISTERS // 4):
        slots = tuple(f"reg{4 * quad + i}" for i in range(4))
        yield Symbol(f"xxreg{quad}", 128, slots=slots)
    for pair in range(REGISTERS // 2):
        if pair // 2 < REGISTERS // 4:
            yield Symbol(f"xreg{pair}", 64, parent=f"xxreg{pair // 2}", parent_low=64 * (1 - pair % 2))
        else:
            yield Symbol(f"xreg{pair}", 64, slots=(f"reg{2 * pair}", f"reg{2 * pair + 1}"))
    for i in range(REGISTERS):
        if i // 4 < REGISTERS // 4:
            yield Symbol(f"reg{i}", 32, parent=f"xxreg{i // 4}", parent_low=32 * (3 - i % 4))
        else:
            yield Symbol(f"reg{i}", 32, parent=f"xreg{i // 2}", parent_low=32 * (1 - i % 2))


def _field(
    name: str,
    width: int,
    slot: str,
    prerequisite: str = "",
    form: Form = Form.HEX,
    *,
    level: Level = Level.ORDINAL,
    scope: Scope = Scope.ACTIONS,
) -> Symbol:
    return Symbol(name, width, level, prerequisite, form, scope, slots=(slot,))


def _bits(parent: str, scope: Scope, bits: Mapping[str, tuple[int, int]], newer: bool = False) -> Iterator[Symbol]:
    """Subfields `parent.NAME` from (lowest bit, width)."""
    for name, (low, width) in bits.items():
        yield Symbol(f"{parent}.{name}", width, scope=scope, parent=parent, parent_low=low, newer=newer)


CT_STATE_BITS = frozendict({"new": 0, "est": 1, "rel": 2, "rpl": 3, "inv": 4, "trk": 5, "snat": 6, "dnat": 7})
"""Bit numbers of ct_state, shared with OVS."""

FLAG_BITS = frozendict(
    {"loopback": 0, "force_snat_for_dnat": 2, "force_snat_for_lb": 3, "skip_snat_for_lb": 9, "use_snat_zone": 11}
)
"""Bit numbers of `flags` that have a name."""


def _metadata() -> Iterator[Symbol]:
    for name in ("inport", "outport"):
        yield Symbol(name, 0, Level.NOMINAL, form=Form.STRING, slots=(name,))
    yield from _registers()
    yield _field("flags", 32, "flags")
    yield from _bits("flags", Scope.ACTIONS, {name: (bit, 1) for name, bit in FLAG_BITS.items()})
    verdicts = {"blocked": (0, 1), "natted": (1, 1), "skip_snat": (2, 1), "force_snat": (3, 1)}
    yield _field("ct_mark", 32, "ct_mark", scope=Scope.CT_COMMIT)
    yield from _bits("ct_mark", Scope.CT_COMMIT, verdicts | {"ecmp_reply_port": (16, 16)})
    yield _field("ct_label", 128, "ct_label", scope=Scope.CT_COMMIT)
    labels = {"ecmp_reply_eth": (32, 48), "ecmp_reply_port": (80, 16), "label": (96, 32)}
    yield from _bits("ct_label", Scope.CT_COMMIT, verdicts | labels)
    yield _field("ct_state", 32, "ct_state", scope=Scope.NEVER)
    for name, bit in CT_STATE_BITS.items():
        prerequisite = "" if name == "trk" else "ct.trk"
        yield Symbol(f"ct.{name}", 1, prerequisite=prerequisite, scope=Scope.NEVER, parent="ct_state", parent_low=bit)
    yield _field("pkt.mark", 32, "pkt_mark")


def _base_fields() -> Iterator[Symbol]:
    nominal = Level.NOMINAL
    yield _field("eth.src", 48, "eth_src", form=Form.MAC)
    yield _field("eth.dst", 48, "eth_dst", form=Form.MAC)
    yield _field("eth.type", 16, "eth_type", level=nominal, scope=Scope.NEVER)
    yield _field("vlan.tci", 16, "vlan_tci")
    yield _field("ip.proto", 8, "ip_proto", "ip", Form.DECIMAL, level=nominal, scope=Scope.NEVER)
    yield _field("ip.dscp", 6, "ip_dscp", "ip", Form.DECIMAL, level=nominal)
    yield _field("ip.ecn", 2, "ip_ecn", "ip", Form.DECIMAL, level=nominal)
    yield _field("ip.ttl", 8, "ip_ttl", "ip", Form.DECIMAL, level=nominal)
    yield _field("ip.frag", 2, "ip_frag", "ip", scope=Scope.NEVER)
    for end in ("src", "dst"):
        yield _field(f"ip4.{end}", 32, f"ip4_{end}", "ip4", Form.IPV4)
        yield _field(f"ip6.{end}", 128, f"ip6_{end}", "ip6", Form.IPV6)
        for transport in ("tcp", "udp", "sctp"):
            yield _field(f"{transport}.{end}", 16, f"tp_{end}", transport, Form.DECIMAL)
    yield _field("ip6.label", 20, "ip6_label", "ip6")
    yield _field("tcp.flags", 12, "tcp_flags", "tcp", scope=Scope.NEVER)
    for icmp in ("icmp4", "icmp6"):
        yield _field(f"{icmp}.type", 8, "icmp_type", icmp, Form.DECIMAL, level=nominal)
        yield _field(f"{icmp}.code", 8, "icmp_code", icmp, Form.DECIMAL, level=nominal)
    for arp in ("arp", "rarp"):
        yield _field(f"{arp}.op", 16, "arp_op", arp, Form.DECIMAL, level=nominal)
        for end in ("s", "t"):
            yield _field(f"{arp}.{end}pa", 32, f"arp_{end}pa", arp, Form.IPV4)
            yield _field(f"{arp}.{end}ha", 48, f"arp_{end}ha", arp, Form.MAC)
    yield _field("nd.target", 128, "nd_target", "nd", Form.IPV6)
    yield _field("nd.sll", 48, "nd_sll", "nd_ns", Form.MAC)
    yield _field("nd.tll", 48, "nd_tll", "nd_na", Form.MAC)
    # Written into ICMP errors only; no match can test them.
    for icmp, width in (("icmp4", 16), ("icmp6", 32)):
        yield _field(f"{icmp}.frag_mtu", width, "icmp_frag_mtu", "", Form.DECIMAL, level=nominal, scope=Scope.ANYWHERE)


def _subfields() -> Iterator[Symbol]:
    yield Symbol("eth.mcast", 1, parent="eth.dst", parent_low=40)
    yield Symbol("vlan.pcp", 3, prerequisite="vlan.present", form=Form.DECIMAL, parent="vlan.tci", parent_low=13)
    yield Symbol("vlan.vid", 12, prerequisite="vlan.present", form=Form.DECIMAL, parent="vlan.tci", parent_low=0)


_NOMINAL_PREDICATES = {
    "ip4": "eth.type == 0x800",
    "ip6": "eth.type == 0x86dd",
    "ip": "ip4 || ip6",
    "arp": "eth.type == 0x806",
    "rarp": "eth.type == 0x8035",
    "tcp": "ip.proto == 6",
    "udp": "ip.proto == 17",
    "sctp": "ip.proto == 132",
    "icmp4": "ip4 && ip.proto == 1",
    "icmp6": "ip6 && ip.proto == 58",
    "icmp": "icmp4 || icmp6",
    "igmp": "ip4 && ip.proto == 2",
    "nd": "icmp6.type == {135, 136} && icmp6.code == 0 && ip.ttl == 255",
    "nd_rs": "icmp6.type == 133 && icmp6.code == 0 && ip.ttl == 255",
    "nd_ra": "icmp6.type == 134 && icmp6.code == 0 && ip.ttl == 255",
    "nd_ns": "icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255",
    "nd_na": "icmp6.type == 136 && icmp6.code == 0 && ip.ttl == 255",
    "mldv1": "ip6.src == fe80::/10 && icmp6.type == {130, 131, 132}",
    "mldv2": "ip6.dst == ff02::16 && icmp6.type == 143",
}

_BOOLEAN_PREDICATES = {
    "eth.bcast": "eth.dst == ff:ff:ff:ff:ff:ff",
    "eth.mcastv6": "eth.dst[32..47] == 0x3333",
    "vlan.present": "vlan.tci[12]",
    "ip.is_frag": "ip.frag[0]",
    "ip.later_frag": "ip.frag[1]",
    "ip.first_frag": "ip.is_frag && !ip.later_frag",
    "ip4.src_mcast": "ip4.src[28..31] == 0xe",
    "ip4.mcast": "eth.mcast && ip4.dst[28..31] == 0xe",
    "ip6.mcast_rsvd": "ip6.dst[116..127] == 0xff0 && ip6.dst[0..111] == 0x0",
    "ip6.mcast_all_nodes": "ip6.dst == ff01::1 || ip6.dst == ff02::1",
    "ip6.mcast_all_rtrs": "ip6.dst == ff01::2 || ip6.dst == ff02::2 || ip6.dst == ff05::2",
    "ip6.mcast_sol_node": "ip6.dst == ff02::1:ff00:0/104",
    "ip6.mcast_flood": (
        "eth.mcastv6 && (ip6.mcast_rsvd || ip6.mcast_all_nodes || ip6.mcast_all_rtrs || ip6.mcast_sol_node)"
    ),
    "ip6.mcast": "eth.mcastv6 && ip6.dst[120..127] == 0xff",
}


def _newer() -> Iterator[Symbol]:
    """Symbols that releases after 23.03 have added."""
    bits = {
        "localnet": 15,
        "tunnel_rx": 16,
        "icmp_snat": 17,
        "from_ctrl": 19,
        "unsnat_new": 20,
        "unsnat_not_tracked": 21,
    }
    flags = {name: (bit, 1) for name, bit in bits.items()}
    yield from _bits("flags", Scope.ACTIONS, flags | {"network_id": (28, 4)}, newer=True)
    marks = {"obs_stage": (4, 2), "allow_established": (6, 1), "obs_collector_id": (16, 8)}
    yield from _bits("ct_mark", Scope.CT_COMMIT, marks, newer=True)
    yield from _bits("ct_label", Scope.CT_COMMIT, {"obs_unused": (0, 96), "obs_point_id": (96, 32)}, newer=True)
    solicitation = "ip6.mcast && icmp6.type == 135 && icmp6.code == 0 && ip.ttl == 255"
    yield Symbol("nd_ns_mcast", 1, Level.NOMINAL, scope=Scope.NEVER, predicate=solicitation, newer=True)


def _predicates() -> Iterator[Symbol]:
    for level, table in ((Level.NOMINAL, _NOMINAL_PREDICATES), (Level.BOOLEAN, _BOOLEAN_PREDICATES)):
        for name, predicate in table.items():
            yield Symbol(name, 1, level, scope=Scope.NEVER, predicate=predicate)


SYMBOLS: frozendict[str, Symbol] = frozendict(
    (symbol.name, symbol)
    for group in (_metadata(), _base_fields(), _subfields(), _predicates(), _newer())
    for symbol in group
)
"""Every symbol by name."""


@cache
def root(ref: FieldRef) -> FieldRef:
    """The same bits in terms of the base field: reg0[2] is xxreg0[98]. String fields and predicates are their own root."""
    symbol = SYMBOLS[ref.name]
    if not symbol.parent:
        return ref
    return root(FieldRef(symbol.parent, ref.low + symbol.parent_low, ref.width))


@cache
def parts(ref: FieldRef) -> tuple[Part, ...]:
    """Where the bits of a numeric reference are stored, lowest bits first. Predicates have no storage: KeyError."""
    base = root(ref)
    symbol = SYMBOLS[base.name]
    if not symbol.slots:
        raise KeyError(f"{ref.name} stores nothing")
    slot_width = symbol.width // len(symbol.slots)
    found: list[Part] = []
    for index, slot in enumerate(reversed(symbol.slots)):
        first = max(base.low, index * slot_width)
        last = min(base.low + base.width, (index + 1) * slot_width)
        if first < last:
            found.append(Part(slot, first - index * slot_width, slot_width, last - first, first - base.low))
    return tuple(found)


def quote(text: str) -> str:
    """A string constant with its quotation marks."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def number_text(value: int, form: Form) -> str:
    """A number in the given form; in hex if that form has no room for it."""
    if form is Form.DECIMAL and value < 1 << 64:
        return str(value)
    if form is Form.IPV4 and value < 1 << 32:
        return ipv4_text(value)
    if form is Form.IPV6:
        return ipv6_text(value)
    if form is Form.MAC and value < 1 << 48:
        return mac_text(value)
    return f"{value:#x}"


def masked_text(value: int, mask: int, form: Form) -> str:
    """`value/mask` in the given form (addresses with a prefix length if they can be), such that it parses back."""
    if form is Form.DECIMAL or max(value, mask) >> FORM_WIDTHS[form]:
        form = Form.HEX
    length = prefix_length(mask, FORM_WIDTHS[form]) if form in {Form.IPV4, Form.IPV6} else None
    return f"{number_text(value, form)}/{number_text(mask, form) if length is None else length}"
