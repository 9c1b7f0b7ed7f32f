"""Actions: trees, prerequisites, what is refused."""

from __future__ import annotations

import pytest

from ytwin.core.errors import Unsupported
from ytwin.logical.actions import (
    Backend,
    CtCommit,
    CtLb,
    CtNat,
    DecTtl,
    Exchange,
    FieldRef,
    Load,
    Move,
    NeighborAction,
    Nested,
    Next,
    Opaque,
    Output,
    Result,
    Select,
    print_actions,
)
from ytwin.logical.fields import Form
from ytwin.logical.lexer import ParseError
from ytwin.logical.parse_actions import parse_actions, parse_flow
from ytwin.logical.prerequisites import prerequisites

REG0 = FieldRef("reg0", 0, 32)
PORT = FieldRef("inport", 0, 0)

TREES = {
    "drop;": (),
    "next;": (Next("ingress", 4),),
    "next(7);": (Next("ingress", 7),),
    "next(pipeline=egress, table=2);": (Next("egress", 2),),
    "output;": (Output(),),
    "reg0[2] = 1;": (Load(FieldRef("reg0", 2, 1), 1),),
    "reg0 = 10.0.0.1;": (Load(REG0, 0x0A000001, Form.IPV4),),
    'outport = "p";': (Load(FieldRef("outport", 0, 0), "p"),),
    'outport = "none";': (Load(FieldRef("outport", 0, 0), ""),),
    "reg0[0..3] = 0x1f;": (Load(FieldRef("reg0", 0, 4), 15),),
    "eth.dst <-> eth.src;": (Exchange(FieldRef("eth.dst", 0, 48), FieldRef("eth.src", 0, 48)),),
    "reg0 = ip4.dst;": (Move(REG0, FieldRef("ip4.dst", 0, 32)),),
    "ip.ttl--; next;": (DecTtl(), Next("ingress", 4)),
    "ct_commit { ct_mark.natted = 1; };": (CtCommit((Load(FieldRef("ct_mark.natted", 0, 1), 1),)),),
    "ct_commit {};": (CtCommit(),),
    "ct_snat(10.0.0.1,30-40);": (CtNat("ct_snat", "10.0.0.1", 30, 40),),
    "ct_commit_nat;": (CtNat("ct_commit_nat"),),
    "ct_lb_mark;": (CtLb("ct_lb_mark"),),
    "ct_lb_mark(backends=10.0.0.1:80,[fd00::1]:81; force_snat);": (
        CtLb("ct_lb_mark", (Backend("10.0.0.1", 80), Backend("fd00::1", 81)), (), "force_snat"),
    ),
    'ct_lb_mark(backends=fd00::1; hash_fields="ip_dst,ip_src");': (
        CtLb("ct_lb_mark", (Backend("fd00::1", 0),), ("ip_dst", "ip_src")),
    ),
    "reg0[16..31] = select(1, 2=7);": (Select(FieldRef("reg0", 16, 16), ((1, 100), (2, 7))),),
    "reg0[6] = chk_lb_hairpin();": (Result(FieldRef("reg0", 6, 1), "chk_lb_hairpin"),),
    "get_arp(inport, reg0);": (NeighborAction("get_arp", (PORT, REG0)),),
    "reg0[1] = lookup_arp_ip(inport, arp.spa);": (
        NeighborAction("lookup_arp_ip", (PORT, FieldRef("arp.spa", 0, 32)), FieldRef("reg0", 1, 1)),
    ),
    "clone { drop; }; next;": (Nested("clone", ()), Next("ingress", 4)),
    "reject { outport <-> inport; next(pipeline=egress,table=5); };": (
        Nested("reject", (Exchange(FieldRef("outport", 0, 0), PORT), Next("egress", 5))),
    ),
    'log(name="a;b", severity=info); next;': (Opaque("log", 'log(name="a;b", severity=info)'), Next("ingress", 4)),
    "mac_cache_use; next;": (Opaque("mac_cache_use", "mac_cache_use"), Next("ingress", 4)),
    "reg0[3] = put_dhcp_opts(offerip = 10.0.0.4, router = {10.0.0.1}); next;": (
        Opaque(
            "put_dhcp_opts", "reg0[3] = put_dhcp_opts(offerip = 10.0.0.4, router = {10.0.0.1})", FieldRef("reg0", 3, 1)
        ),
        Next("ingress", 4),
    ),
}


@pytest.mark.parametrize("text", TREES)
def test_trees_and_back(text: str) -> None:
    actions = parse_actions(text, "ingress", 3)
    assert actions == TREES[text]
    assert parse_actions(print_actions(actions, "ingress", 3), "ingress", 3) == actions
    assert parse_actions(" ".join(map(str, actions)) or "drop;", "egress", 9) == actions


PREREQUISITES = {
    "next;": "1",
    "ip.ttl--; ct_next;": "ip",
    "ip4.dst = 10.0.0.1; tcp.dst = 80;": "ip4 && tcp",
    "arp.op = 2; arp.tha = arp.sha;": "arp",
    "reg0 = ip4.dst; xxreg1 = ip6.dst;": "ip4 && ip6",
    "clone { ip4.dst = ip4.src; output; };": "ip4",
    "reject { ip4.dst = ip4.src; };": "ip4",
    "arp { arp.op = 1; output; };": "ip4",
    "nd_na { nd.target = ip6.src; };": "nd_ns",
    "vlan.vid = 5;": "vlan.present",
    "tcp_reset { output; };": "tcp",
    "reg0[4] = dns_lookup();": "udp",
    "put_nd(inport, ip6.src, nd.sll);": "ip6 && nd_ns",
    "icmp4 { icmp4.type = 3; };": "ip4",
    "ct_commit { ct_mark.blocked = 1; };": "ip",
    "push(ip4.src); pop(ip4.dst);": "ip4",
}


@pytest.mark.parametrize("text", PREREQUISITES)
def test_what_actions_ask_of_the_packet(text: str) -> None:
    assert str(prerequisites(parse_actions(text, "ingress", 0))) == PREREQUISITES[text]


REFUSED = {
    "next": "`;` is expected",
    "next; drop;": "not supported",
    "drop; next;": "`end` is expected",
    "frobnicate;": "`frobnicate` is not supported",
    "reg0 = frobnicate();": "single bit",
    "reg0 = get_fdb(eth.src, 5);": "`)` is expected",
    "reg0[0] = frobnicate();": "`frobnicate` is not supported",
    'fwd_group(liveness=true, childports="a");': "not supported",
    "ct_mark = 5;": "cannot be written",
    "ct_commit { reg0 = 5; };": "cannot be written",
    "ct_commit(ct_mark=1);": "not supported",
    "eth.type = 5;": "cannot be written",
    "ip4 = 1;": "stores nothing",
    "reg0 = 5/7;": "under a mask",
    "reg0 = 0x5/0x7;": "under a mask",
    "reg0 = 4294967296;": "does not fit",
    "reg0 = xreg4;": "differ in width",
    "inport = reg0;": "differ in width",
    "inport = 5;": "`string` is expected",
    'reg0 = "x";': "`number` is expected",
    "reg0[0..3] = select(1, 2);": "16 bits",
    "reg0 = select(1);": "two choices",
    "get_arp(inport, xxreg0);": "where 32 are needed",
    "ct_lb_mark(backends=10.0.0.1:70000);": "a port is expected",
    "ct_dnat(10.0.0.0/8);": "IP address is expected",
    "ct_snat(10.0.0.1,5-5);": "empty",
    'commit_lb_aff(vip = "x", backend = "y", timeout = 5);': "address and port",
    "next(pipeline=both);": "ingress",
    "next(99);": "a table",
    "clone { next;": "action is expected",
    "log(verdict=allow": "`;` is expected",
    "^action;": "template variable",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_a_reason_and_a_place(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_actions(text, "ingress", 0)
    assert caught.value.text == text
    assert REFUSED[text] in str(caught.value)


def test_a_flow_that_is_outside_the_language_is_named() -> None:
    match, actions = parse_flow("ip4", "ip.ttl--; next;", "ingress", 3)
    assert (str(match), actions) == ("ip4 && ip", (DecTtl(), Next("ingress", 4)))
    with pytest.raises(Unsupported, match=r"flow \(ip4\) -> mystery; in ingress table 3: action `mystery`"):
        parse_flow("ip4", "mystery;", "ingress", 3)


def test_constants_keep_the_form_they_were_written_in() -> None:
    text = "reg1 = 10.0.0.1; xxreg1 = fd00::1; reg2 = 0x50; reg3 = 80; xreg4[0..47] = 00:00:00:00:00:01; next;"
    assert print_actions(parse_actions(text, "ingress", 0), "ingress", 0) == text
