"""Random packets, matches and assignments for comparing the language with ovn-trace. Everything follows from the given Random."""

from __future__ import annotations

from random import Random

from ytwin.logical.addresses import ipv4_text, ipv6_int, ipv6_text, mac_text, prefix_mask
from ytwin.logical.fields import SYMBOLS, Form, Level, Scope, Symbol, root
from ytwin.logical.lexer import TokenStream
from ytwin.logical.parse_match import parse_field
from ytwin.logical.state import (
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ETH_RARP,
    ICMP,
    ICMPV6,
    IGMP,
    SCTP,
    TCP,
    UDP,
    PacketState,
)

MACS = (0x0A0000000001, 0x0A0000000002, 0xFFFFFFFFFFFF, 0x333300000001, 0x01005E000001, 0x0B0000000001)
IPV4 = (0x0A000001, 0x0A000002, 0x0A000102, 0xC0A80001, 0xE0000001, 0xFFFFFFFF, 0)
IPV6 = tuple(
    ipv6_int(t) for t in ("fd00::1", "fd00::2", "fe80::1", "ff02::1", "ff02::2", "ff02::16", "ff02::1:ff00:1", "::")
)
PORTS = (0, 1, 53, 80, 443, 8080, 65535)
PROTOCOLS = (TCP, UDP, SCTP, ICMP, ICMPV6, IGMP, 47)
ICMP_TYPES = (0, 3, 8, 11, 128, 130, 133, 134, 135, 136, 143)
NUMBERS = (0, 1, 2, 3, 5, 0xFF, 0x1234, 0xFFFF, 0x10000, 0x80000000, 0xFFFFFFFF)
CT_STATES = (0, 0x20, 0x21, 0x22, 0x2A, 0x24, 0x2C, 0x30, 0xA2, 0x61, 0x6A)
LOGICAL_PORTS = ("p1", "p2", "p3")
UNTESTED = {"icmp4.frag_mtu", "icmp6.frag_mtu"}
KNOWN = [symbol for symbol in SYMBOLS.values() if not symbol.newer]
"""What ovn-trace 23.03 knows."""

_POOLS = {Form.MAC: MACS, Form.IPV4: IPV4, Form.IPV6: IPV6}


def packet(rng: Random, inport: str) -> PacketState:
    """A packet that can exist, with random metadata."""
    state = PacketState(inport=inport, eth_src=rng.choice(MACS), eth_dst=rng.choice(MACS))
    state.eth_type = rng.choice((ETH_IP, ETH_IP, ETH_IPV6, ETH_IPV6, ETH_ARP, ETH_RARP, 0x88CC))
    state.vlan_tci = rng.choice((0, 0, 0x1000 | rng.getrandbits(12), 0x3064))
    if state.eth_type in {ETH_IP, ETH_IPV6}:
        _ip(rng, state)
    elif state.eth_type in {ETH_ARP, ETH_RARP}:
        state.arp_op = rng.choice((1, 2, 3))
        state.arp_spa, state.arp_tpa = rng.choice(IPV4), rng.choice(IPV4)
        state.arp_sha, state.arp_tha = rng.choice(MACS), rng.choice(MACS)
    for i in range(10):
        setattr(state, f"reg{i}", rng.choice(NUMBERS) if rng.random() < 0.5 else rng.getrandbits(32))
    state.flags = rng.choice((0, 1, 4, 8, 0x200, 0x801))
    state.ct_state = rng.choice(CT_STATES)
    state.ct_mark = rng.choice(NUMBERS)
    state.ct_label = rng.choice((0, 1, 2, rng.getrandbits(128)))
    state.pkt_mark = rng.choice(NUMBERS)
    return state


def _ip(rng: Random, state: PacketState) -> None:
    state.ip_ttl = rng.choice((1, 2, 64, 255))
    # ip.dscp and ip.ecn stay 0: ovn-trace ignores them in a microflow.
    state.ip_frag = rng.choice((0, 0, 0, 1, 3))
    if state.eth_type == ETH_IP:
        state.ip4_src, state.ip4_dst = rng.choice(IPV4), rng.choice(IPV4)
        state.ip_proto = rng.choice([p for p in PROTOCOLS if p != ICMPV6])
    else:
        state.ip6_src, state.ip6_dst = rng.choice(IPV6), rng.choice(IPV6)
        state.ip6_label = rng.choice((0, 5, 0xFFFFF))
        state.ip_proto = rng.choice([p for p in PROTOCOLS if p not in {ICMP, IGMP}])
    if state.ip_proto in {TCP, UDP, SCTP}:
        state.tp_src, state.tp_dst = rng.choice(PORTS), rng.choice(PORTS)
        state.tcp_flags = rng.choice((0, 2, 0x12)) if state.ip_proto == TCP else 0
    elif state.ip_proto in {ICMP, ICMPV6}:
        state.icmp_type, state.icmp_code = rng.choice(ICMP_TYPES), rng.choice((0, 0, 1))
        if state.ip_proto == ICMPV6 and state.icmp_type in {135, 136}:
            state.ip_ttl, state.icmp_code = 255, 0
            state.nd_target = rng.choice(IPV6)
            setattr(state, "nd_sll" if state.icmp_type == 135 else "nd_tll", rng.choice(MACS))


def microflow(state: PacketState) -> str:
    """The packet in the form that ovn-trace takes: a match that only this packet satisfies."""
    terms = [
        f'inport == "{state.inport}"',
        f"eth.src == {mac_text(state.eth_src)}",
        f"eth.dst == {mac_text(state.eth_dst)}",
    ]
    terms += [f"eth.type == {state.eth_type:#x}", f"vlan.tci == {state.vlan_tci:#x}"]
    terms += [f"reg{i} == {getattr(state, f'reg{i}'):#x}" for i in range(10)]
    terms += [f"flags == {state.flags:#x}", f"ct_state == {state.ct_state:#x}", f"ct_mark == {state.ct_mark:#x}"]
    terms += [f"ct_label == {state.ct_label:#x}", f"pkt.mark == {state.pkt_mark:#x}"]
    if state.outport:
        terms.append(f'outport == "{state.outport}"')
    if state.eth_type in {ETH_IP, ETH_IPV6}:
        terms += _ip_terms(state)
    elif state.eth_type in {ETH_ARP, ETH_RARP}:
        arp = "arp" if state.eth_type == ETH_ARP else "rarp"
        terms += [f"{arp}.op == {state.arp_op}", f"{arp}.spa == {ipv4_text(state.arp_spa)}"]
        terms += [f"{arp}.tpa == {ipv4_text(state.arp_tpa)}", f"{arp}.sha == {mac_text(state.arp_sha)}"]
        terms += [f"{arp}.tha == {mac_text(state.arp_tha)}"]
    return " && ".join(terms)


def _ip_terms(state: PacketState) -> list[str]:
    terms = [f"ip.proto == {state.ip_proto}", f"ip.ttl == {state.ip_ttl}", f"ip.frag == {state.ip_frag}"]
    terms += [f"ip.dscp == {state.ip_dscp}", f"ip.ecn == {state.ip_ecn}"]
    if state.eth_type == ETH_IP:
        terms += [f"ip4.src == {ipv4_text(state.ip4_src)}", f"ip4.dst == {ipv4_text(state.ip4_dst)}"]
    else:
        terms += [f"ip6.src == {ipv6_text(state.ip6_src)}", f"ip6.dst == {ipv6_text(state.ip6_dst)}"]
        terms += [f"ip6.label == {state.ip6_label:#x}"]
    transport = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}.get(state.ip_proto)
    if transport:
        terms += [f"{transport}.src == {state.tp_src}", f"{transport}.dst == {state.tp_dst}"]
        terms += [f"tcp.flags == {state.tcp_flags:#x}"] if transport == "tcp" else []
    if state.ip_proto in {ICMP, ICMPV6}:
        icmp = "icmp4" if state.ip_proto == ICMP else "icmp6"
        terms += [f"{icmp}.type == {state.icmp_type}", f"{icmp}.code == {state.icmp_code}"]
        if state.ip_proto == ICMPV6 and state.icmp_type in {135, 136} and (state.icmp_code, state.ip_ttl) == (0, 255):
            lladdr = (
                f"nd.sll == {mac_text(state.nd_sll)}"
                if state.icmp_type == 135
                else f"nd.tll == {mac_text(state.nd_tll)}"
            )
            terms += [f"nd.target == {ipv6_text(state.nd_target)}", lladdr]
    return terms


def _value(rng: Random, symbol: Symbol, width: int) -> int:
    """A value that the packets are likely to have."""
    if width == symbol.width and symbol.form in _POOLS:
        return rng.choice(_POOLS[symbol.form])
    if symbol.name.endswith((".src", ".dst")) and width == 16:
        return rng.choice(PORTS)
    fixed = {
        "eth.type": (ETH_IP, ETH_IPV6, ETH_ARP),
        "ip.proto": PROTOCOLS,
        "ip.ttl": (1, 2, 64, 255),
        "ip.dscp": (0, 10, 63),
        "ct_state": CT_STATES,
    }
    if symbol.name in fixed and width == symbol.width:
        return rng.choice(fixed[symbol.name])
    if symbol.name.endswith(".op"):
        return rng.choice((1, 2, 3))  # OVS keeps 8 bits of it
    if symbol.name.endswith(".type"):
        return rng.choice(ICMP_TYPES)
    value = rng.choice(NUMBERS) if rng.random() < 0.8 else rng.getrandbits(width)
    return value & ((1 << width) - 1)


def _number(rng: Random, value: int, form: Form) -> str:
    if form is Form.MAC:
        return mac_text(value)
    if form is Form.IPV4:
        return ipv4_text(value)
    if form is Form.IPV6:
        return ipv6_text(value)
    return str(value) if value < 1 << 64 and rng.random() < 0.5 else f"{value:#x}"


def constant(rng: Random, symbol: Symbol, width: int, *, masked: bool) -> str:
    """A number as text, now and then with a mask."""
    value = _value(rng, symbol, width)
    form = symbol.form if width == symbol.width else Form.HEX
    if not masked or rng.random() < 0.7:
        return _number(rng, value, form)
    if form in {Form.IPV4, Form.IPV6}:
        if rng.random() < 0.7:
            return f"{_number(rng, value, form)}/{rng.randrange(width + 1)}"
        return f"{_number(rng, value, form)}/{_number(rng, prefix_mask(rng.randrange(width), width) >> rng.randrange(8), form)}"
    mask = rng.getrandbits(width) & rng.getrandbits(width)
    if form is Form.MAC:
        return f"{mac_text(value)}/{mac_text(mask)}"
    return f"{value:#x}/{mask:#x}"


def _comparison(rng: Random, inside_not: bool) -> str:
    """One comparison; about one in ten is refused by OVN's rules for nominal fields, which is compared too."""
    symbol = rng.choice([s for s in KNOWN if s.name not in UNTESTED])
    if symbol.name in {"inport", "outport"}:
        ports = [f'"{rng.choice((*LOGICAL_PORTS, "none", ""))}"' for _ in range(rng.choice((1, 1, 2)))]
        op = "!=" if inside_not and rng.random() < 0.8 else "=="
        return f"{symbol.name} {op} {ports[0] if len(ports) == 1 else '{' + ', '.join(ports) + '}'}"
    if symbol.predicate or (symbol.width == 1 and rng.random() < 0.6):
        return rng.choice((symbol.name, symbol.name, symbol.name, f"!{symbol.name}", f"{symbol.name} == 1"))
    name, width = symbol.name, symbol.width
    if symbol.level is Level.ORDINAL and width > 1 and rng.random() < 0.35:
        low = rng.randrange(width)
        high = rng.randrange(low, min(width, low + rng.choice((1, 8, 16, 40))))
        name, width = f"{name}[{low}..{high}]" if high > low else f"{name}[{low}]", high - low + 1
    nominal = symbol.level is Level.NOMINAL
    equal = ("!=" if inside_not else "==") if nominal and rng.random() < 0.9 else rng.choice(("==", "!="))
    kind = rng.random()
    if kind < 0.55 or nominal:
        count = rng.choice((1, 1, 1, 2, 3))
        values = [constant(rng, symbol, width, masked=True) for _ in range(count)]
        return f"{name} {equal} {values[0] if count == 1 else '{' + ', '.join(values) + '}'}"
    if kind < 0.8:
        return f"{name} {rng.choice(('<', '<=', '>', '>='))} {constant(rng, symbol, width, masked=False)}"
    low_text, high_text = (constant(rng, symbol, width, masked=False) for _ in range(2))
    less = rng.random() < 0.5
    first, second = (rng.choice(("<", "<=")) if less else rng.choice((">", ">=")) for _ in range(2))
    return f"{low_text} {first} {name} {second} {high_text}"


def match(rng: Random, depth: int = 0, inside_not: bool = False) -> str:
    """A match in OVN's syntax, mostly well-formed."""
    choice = rng.random()
    if depth >= 3 or choice < 0.35:
        if rng.random() < 0.04:
            return rng.choice(("0", "1", 'is_chassis_resident("p1")', '!is_chassis_resident("p2")'))
        return _comparison(rng, inside_not)
    if choice < 0.5:
        return f"!({match(rng, depth + 1, not inside_not)})"
    operator = rng.choice((" && ", " || "))
    terms = []
    for _ in range(rng.choice((2, 2, 3))):
        term = match(rng, depth + 1, inside_not)
        compound = "&&" in term or "||" in term
        terms.append(f"({term})" if compound else term)
    return operator.join(terms)


def _slice(rng: Random, symbol: Symbol, width: int) -> str:
    if width == symbol.width:
        return symbol.name
    low = rng.randrange(symbol.width - width + 1)
    return f"{symbol.name}[{low}]" if width == 1 else f"{symbol.name}[{low}..{low + width - 1}]"


def _one_field(left: str, right: str) -> bool:
    """Whether both are bits of one field: ovn-trace exchanges those wrongly, which OVS's own push and pop do not."""
    first, second = (root(parse_field(TokenStream(text))) for text in (left, right))
    return first.name == second.name


def assignment(rng: Random) -> str:
    """One of: load, move, exchange, push and pop, ip.ttl--, ct_clear. pkt.mark is left alone: it names the packet."""
    if rng.random() < 0.1:
        return rng.choice(("ip.ttl--;", "ct_clear;", "reg0[1] = 3;", "reg1[4..7] = 0x1ff;"))
    stored = [s for s in KNOWN if s.scope is Scope.ACTIONS and not s.predicate and s.name != "pkt.mark"]
    target = rng.choice([s for s in stored if s.name.split(".")[0] not in {"eth", "ip6", "nd"} or rng.random() < 0.5])
    if not target.width:
        return rng.choice(
            ('outport = "p2";', "outport = inport;", "inport <-> outport;", 'inport = "";', 'outport = "none";')
        )
    ordinal = target.level is Level.ORDINAL
    width = rng.randrange(1, target.width + 1) if ordinal and rng.random() < 0.4 else target.width
    left = _slice(rng, target, width)
    kind = rng.random()
    if kind < 0.35 or target.name.endswith(".op"):
        return f"{left} = {constant(rng, target, width, masked=False)};"
    others = [s for s in stored if not s.name.endswith(".op")]
    others = [s for s in others if s.width == width or (s.width > width and s.level is Level.ORDINAL)]
    right = _slice(rng, rng.choice(others), width)
    if kind < 0.6:
        return f"{left} = {right};"
    if kind < 0.85 and not _one_field(left, right):
        return f"{left} <-> {right};"
    return f"push({right}); pop({left});"
