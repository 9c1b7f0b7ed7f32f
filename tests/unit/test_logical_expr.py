"""Matches: what is accepted, how it prints, and when it holds."""

from __future__ import annotations

import pytest

from ytwin.core.errors import YtwinError
from ytwin.logical.compile import analyze, compile_match, prepare
from ytwin.logical.expr import And, Bool, Compare, Constant, Or, Resident, Sets, evaluate, parse_match
from ytwin.logical.fields import SYMBOLS, FieldRef, Level
from ytwin.logical.lexer import ParseError
from ytwin.logical.state import (
    CT_EST,
    CT_NEW,
    CT_TRK,
    PacketState,
    arp_request,
    echo,
    neighbor_solicitation,
    transport,
)

ETH = ("0a:00:00:00:00:01", "0a:00:00:00:00:02")
IP4 = ("10.0.0.1", "10.0.0.100")
IP6 = ("fd00::1", "fd00::100")


class Chassis:
    def resident(self, port: str) -> bool:
        return port == "here"


def tcp4() -> PacketState:
    state = transport("tcp", "p1", ETH, IP4, (40000, 80))
    state.ct_state = CT_TRK | CT_NEW
    state.reg0 = 0b100
    return state


PACKETS = {
    "tcp4": tcp4(),
    "udp6": transport("udp", "p2", ETH, IP6, (5353, 53)),
    "ping4": echo("p1", ETH, IP4),
    "ping6": echo("p1", ETH, IP6),
    "arp": arp_request("p1", ETH[0], IP4[0], IP4[1]),
    "ns": neighbor_solicitation("p1", ETH[0], IP6[0], IP6[1]),
}
ALL = set(PACKETS)

TRUTH = {
    "1": ALL,
    "0": set(),
    "ip4": {"tcp4", "ping4"},
    "ip": {"tcp4", "ping4", "udp6", "ping6", "ns"},
    "arp": {"arp"},
    "tcp": {"tcp4"},
    "icmp": {"ping4", "ping6", "ns"},
    "icmp6 && icmp6.type == 128": {"ping6"},
    "nd": {"ns"},
    "nd_ns && nd.target == fd00::100": {"ns"},
    "nd_na": set(),
    "nd_ns && ip6.dst == ff02::1:ff00:100": {"ns"},
    "eth.mcast": {"arp", "ns"},
    "!eth.mcast": ALL - {"arp", "ns"},
    "eth.bcast": {"arp"},
    "ip6.mcast": {"ns"},
    "tcp.dst == 80": {"tcp4"},
    "80 == tcp.dst": {"tcp4"},
    "tcp.dst == {22, 80 443}": {"tcp4"},
    # Prerequisites hold under negation too: a packet without TCP has no port that differs from 80.
    "tcp.dst != 80": set(),
    "!(tcp.dst == 80)": set(),
    "tcp.dst != 81": {"tcp4"},
    "!(tcp.dst == {80, 443})": set(),
    "0 < tcp.dst <= 80": {"tcp4"},
    "80 > tcp.dst > 0": set(),
    "tcp.dst >= 0": {"tcp4"},
    # A negated predicate negates its prerequisites as well.
    "!ip4.src_mcast": ALL,
    "!(ip4.src[28..31] == 0xe)": {"tcp4", "ping4"},
    "ip4.dst == 10.0.0.0/24": {"tcp4", "ping4"},
    "ip4.dst == 10.0.0.100/255.0.0.255": {"tcp4", "ping4"},
    "ip4.dst == 0.0.0.0/0": {"tcp4", "ping4"},
    "ip4.dst != 0.0.0.0/0": set(),
    "ip4.dst != 10.0.1.0/24": {"tcp4", "ping4"},
    "ip6.src == fd00::/8": {"udp6", "ping6", "ns"},
    "ip6.dst[0..15] == 0x100": {"udp6", "ping6", "ns"},
    "ip4.dst[0..7] == 100 && ip4.dst[8..31] == 0xa0000": {"tcp4", "ping4"},
    'inport == "p2"': {"udp6"},
    'inport == {"p1", "p2"}': ALL,
    '!(inport != "p2")': {"udp6"},
    'outport == "none" && outport == ""': ALL,
    "ip.ttl == {0, 1}": set(),
    "ip.ttl == 64": {"tcp4", "ping4", "udp6", "ping6"},
    "!(ip.ttl != 64)": {"tcp4", "ping4", "udp6", "ping6"},
    "ct.new": {"tcp4"},
    "!ct.est": {"tcp4"},
    "!ct.trk": ALL - {"tcp4"},
    "ct.trk && !ct.est && !ct.rel": {"tcp4"},
    "reg0[2]": {"tcp4"},
    "!reg0[2]": ALL - {"tcp4"},
    "!reg0": ALL - {"tcp4"},
    "xreg0 == 0x400000000": {"tcp4"},
    "xxreg0[98] && xxreg0 != 0": {"tcp4"},
    "reg0[0..7] == 0x104": {"tcp4"},
    "arp.op == 1 && arp.tpa == 10.0.0.100": {"arp"},
    "arp.sha == 0a:00:00:00:00:00/ff:ff:ff:ff:ff:00": {"arp"},
    'is_chassis_resident("here")': ALL,
    '!is_chassis_resident("here")': set(),
    'ip4 && (tcp || icmp4) && !is_chassis_resident("there")': {"tcp4", "ping4"},
    "ip4 /* both */ && tcp // that is it": {"tcp4"},
    "vlan.present || vlan.vid == 0": set(),
    "!vlan.present": ALL,
}


@pytest.mark.parametrize("text", TRUTH)
def test_truth(text: str) -> None:
    tree = parse_match(text)
    compiled = compile_match(tree)
    assert {name for name, state in PACKETS.items() if evaluate(tree, state, Chassis())} == TRUTH[text]
    assert {name for name, state in PACKETS.items() if compiled(state, Chassis())} == TRUTH[text]
    assert parse_match(str(tree)) == tree


REFUSED = {
    "": "constant is expected",
    "ip4 &&": "constant is expected",
    "ip4 & tcp": "no token",
    "ip4 && tcp || udp": "need parentheses",
    "!tcp": "tested positively",
    "tcp == 0": "tested positively",
    "!(!ip4 || arp)": "tested positively",
    "ip.proto != 6": "tested for equality",
    'inport != "p"': "tested for equality",
    "ip.ttl < 3": "only == and != go with nominal",
    "ip.is_frag > 0": "only == and != go with Boolean",
    "tcp.dst < {1, 2}": "go with sets",
    "ip4.src < 10.0.0.0/8": "masked constants",
    "reg0": "no truth value",
    "inport": "relational operator",
    "reg0 = 5": "relational operator",
    "nosuch == 1": "field name",
    "ip4.src == fd00::1": "does not fit",
    "tcp.dst == 65536": "does not fit",
    "tcp.dst == 10.0.0.1": "does not fit",
    'tcp.dst == "x"': "cannot be compared",
    "inport == 5": "cannot be compared",
    'inport == {"a", 5}': "strings and numbers",
    "tcp.dst[16] == 1": "do not exist",
    "tcp.dst[5..3] == 1": "do not exist",
    "ip.ttl[0..3] == 1": "no bits to select",
    "inport[0] == 1": "no bits to select",
    "!tcp.dst == 80": "needs parentheses",
    "1 < tcp.dst > 2": "a range has the form",
    "1 == tcp.dst == 2": "a range has the form",
    "tcp.dst == 080": "leading zeros",
    "tcp.dst == 0x": "hexadecimal digits",
    "ip4.src == 10.0.0.300": "no number",
    "ip4.src == 10.0.0.1/33": "do not go together",
    "xxreg0 == 99999999999999999999": "less than 2**64",
    'inport == "a': "no token",
    'inport == "\\x"': "bad string",
    "is_chassis_resident(5)": "`string` is expected",
    "other(5)": "is_chassis_resident",
    "(ip4": "`)` is expected",
    "ip4)": "operator or the end",
    "ip4.dst == ^vip": "template variable",
    "icmp4.frag_mtu == 5": "not tested",
    "(" * 101 + "ip4" + ")" * 101: "nested too deeply",
    "ip4.src == {}": "constant is expected",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_a_reason_and_a_place(text: str) -> None:
    with pytest.raises(ParseError, match="character") as caught:
        parse_match(text)
    assert REFUSED[text] in str(caught.value)
    assert caught.value.text == text
    assert 0 <= caught.value.position <= len(text)


def test_tree_pushes_negation_down_and_flattens() -> None:
    reg = FieldRef("reg0", 0, 32)
    equal, differ = Compare(reg, "==", (Constant(1, 0xFFFFFFFF),)), Compare(reg, "!=", (Constant(1, 0xFFFFFFFF),))
    loop = Compare(FieldRef("flags.loopback", 0, 1), "==", (Constant(0, 1),))
    assert parse_match("!(reg0 != 1 || flags.loopback)") == And((equal, loop))
    assert parse_match('!(reg0 == 1 && !is_chassis_resident("x") && 1)') == Or((differ, Resident("x"), Bool(False)))
    assert parse_match("(ip4 && (tcp && ct.new)) && 1") == parse_match("ip4 && tcp && ct.new && 1")


PRINTED = {
    "ip4&&tcp.dst=={80,443}": "ip4 && tcp.dst == {80, 443}",
    "!(ip4.src==10.0.0.0/255.255.0.0)": "ip4.src != 10.0.0.0/16",
    "reg1 == 10.0.0.1": "reg1 == 10.0.0.1",
    "ip4.src == 0xa000001": "ip4.src == 0xa000001",
    "reg0[2] == 0": "!reg0[2]",
    "reg0[2] != 0": "reg0[2]",
    "(((ip4)))": "ip4",
    "ip4 && (tcp || udp)": "ip4 && (tcp || udp)",
    '"p" == inport': 'inport == "p"',
    "ip6.src == FD00:0:0::1": "ip6.src == fd00::1",
    "tcp.dst == $ports": "tcp.dst == $ports",
}


@pytest.mark.parametrize("text", PRINTED)
def test_printed(text: str) -> None:
    assert str(parse_match(text)) == PRINTED[text]


def test_sets_are_looked_up_when_the_match_is_used() -> None:
    sets = Sets({"as": ("10.0.0.0/24", "x", "10.1.0.1")}, {"7_pg": ("p1",), "pg": ("p2",), "none": ()}, datapath_key=7)

    def matching(text: str, among: Sets) -> set[str]:
        tree = parse_match(text)
        compiled = compile_match(tree, among)
        found = {name for name, state in PACKETS.items() if compiled(state, Chassis())}
        assert found == {name for name, state in PACKETS.items() if evaluate(tree, state, Chassis(), among)}
        return found

    assert matching("ip4.dst == $as", sets) == {"tcp4", "ping4"}
    assert matching("ip4.dst == {10.0.0.100, $as}", sets) == {"tcp4", "ping4"}
    assert matching("ip4.dst != $as", sets) == set()
    assert matching("inport == @pg", sets) == ALL - {"udp6"}
    assert matching("inport == @pg", Sets(port_groups=sets.port_groups)) == {"udp6"}
    assert matching("inport == @none", sets) == set()
    for text in ("ip4.dst == $other", "inport == @other", "tcp.dst == $as"):
        with pytest.raises(YtwinError):
            compile_match(parse_match(text), sets)


def test_prerequisites_vanish_from_the_compiled_match() -> None:
    text = 'ct.new && ip4 && ip4.dst == 10.0.0.100 && tcp && tcp.dst == 80 && inport == "p1" && is_chassis_resident("here")'
    match = prepare(parse_match(text))
    assert match.keys() == {"eth_type": 0x800, "ip4_dst": 0x0A000064, "ip_proto": 6, "tp_dst": 80, "inport": "p1"}
    assert match.masked() == (("ct_state", CT_TRK | CT_NEW, CT_TRK | CT_NEW),)
    assert match.matcher()(PACKETS["tcp4"], Chassis())
    other = tcp4()
    other.tp_dst = 81
    assert not match.matcher()(other, Chassis())
    assert match.matcher(given={"tp_dst"})(other, Chassis())
    other.ct_state = CT_TRK | CT_EST
    assert not match.matcher(given={"tp_dst"})(other, Chassis())


def test_analysis() -> None:
    assert analyze(parse_match("1")).always
    assert analyze(parse_match("ip4 && ip6")).never
    assert analyze(parse_match("tcp && ip4 && udp.dst == 5")).never
    assert not analyze(parse_match("reg0 == 1 || reg0 != 1")).never
    choices = analyze(parse_match("ip4 && tcp.dst == {80, 443}")).choices
    assert choices["tp_dst"] == {80, 443}
    assert analyze(parse_match("ip4.dst == 10.0.0.0/24")).masked == (("ip4_dst", 0xFFFFFF00, 0x0A000000),)
    assert analyze(parse_match("xxreg0 == 5")).keys == {"reg0": 0, "reg1": 0, "reg2": 0, "reg3": 5}


def _level(name: str) -> Level:
    """Level of a predicate by OVN's rule: nominal if any comparison in its expansion is."""
    symbol = SYMBOLS[name]
    nominal = any(SYMBOLS[ref].level is Level.NOMINAL for ref in _fields(parse_match(symbol.predicate)))
    return Level.NOMINAL if nominal else Level.BOOLEAN


def _fields(tree: object) -> set[str]:
    if isinstance(tree, And | Or):
        return set().union(*(_fields(term) for term in tree.terms))
    return {tree.field.name} if isinstance(tree, Compare) else set()


@pytest.mark.parametrize("name", [name for name, symbol in SYMBOLS.items() if symbol.predicate])
def test_levels_of_predicates_follow_from_their_expansion(name: str) -> None:
    assert SYMBOLS[name].level is _level(name)
