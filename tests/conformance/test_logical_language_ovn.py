"""The language against ovn-trace: does a match hold for a packet, what do assignments leave, what is refused, how is it printed.

Logical flows of our own are put into a Southbound that no northd touches. One trace runs through all tables of a datapath, so
it judges as many matches as there are tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import logical_random as rnd
import pytest

from deployer.sandbox import SB, OvnSandbox, TraceDaemon
from ytwin.core.errors import YtwinError
from ytwin.logical.actions import print_actions
from ytwin.logical.compile import prepare
from ytwin.logical.expr import Expr, Sets, conjunction, evaluate, parse_match
from ytwin.logical.lexer import ParseError
from ytwin.logical.parse_actions import parse_actions
from ytwin.logical.prerequisites import flow_match
from ytwin.logical.state import PacketState
from ytwin.trace.tables import prepare_actions

pytestmark = pytest.mark.ovn

TABLES = 28
"""Tables of one pipeline that a trace passes with `next;` in 23.03."""
DATAPATHS = 40
PACKETS = 40
SEED = 20230331


ADDRESS_SETS = {
    "v4": ("10.0.0.1", "192.168.0.0/16", "nonsense", "224.0.0.0/255.0.0.255"),
    "v6": ("fd00::/16", "ff02::16"),
    "macs": ("0a:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"),
    "empty": (),
}
PORT_GROUPS = {
    "1_mine": ("d0-p1", "d0-p3"),
    "mine": ("d0-p2",),
    "shared": ("d0-p2", "d0-p3"),
    "2_shared": ("d0-p1",),
    "nobody": (),
}
"""The Southbound has a group's ports on a datapath under the datapath's key and the group's name."""


class Everywhere:
    """ovn-trace takes every port that exists as resident."""

    def resident(self, port: str) -> bool:
        return port in rnd.LOGICAL_PORTS


EVERYWHERE = Everywhere()
_STEP = re.compile(r"^ *(\d+)\. .*?, priority (\d+), ", re.MULTILINE)


@dataclass
class Oracle:
    """A Southbound with one set of flows per datapath, and an ovn-trace daemon that has read it."""

    sandbox: OvnSandbox
    flows: list[tuple[str, int, int, str, str]] = field(default_factory=list)
    """(datapath, table, priority, match, actions)"""

    def write(self, datapaths: Sequence[str]) -> TraceDaemon:
        """Replace everything by the flows; every datapath has the ports p1, p2, p3, prefixed with its name."""
        tables = ("Logical_Flow", "Port_Binding", "Multicast_Group", "Datapath_Binding", "Address_Set", "Port_Group")
        operations: list[dict[str, object]] = [{"op": "delete", "table": table, "where": []} for table in tables]
        for key, name in enumerate(datapaths, 1):
            row = {"tunnel_key": key, "external_ids": ["map", [["name", name]]]}
            operations.append({"op": "insert", "table": "Datapath_Binding", "row": row, "uuid-name": name})
            for number, port in enumerate(rnd.LOGICAL_PORTS, 1):
                row = {"datapath": ["named-uuid", name], "logical_port": f"{name}-{port}", "tunnel_key": number}
                operations.append({"op": "insert", "table": "Port_Binding", "row": row})
        for datapath, table, priority, match, actions in self.flows:
            place = {"logical_datapath": ["named-uuid", datapath], "pipeline": "ingress", "table_id": table}
            ids = ["map", [["stage-name", f"t{table}"]]]
            row = {**place, "priority": priority, "match": match, "actions": actions, "external_ids": ids}
            operations.append({"op": "insert", "table": "Logical_Flow", "row": row})
        for name, addresses in ADDRESS_SETS.items():
            row = {"name": name, "addresses": ["set", list(addresses)]}
            operations.append({"op": "insert", "table": "Address_Set", "row": row})
        for name, ports in PORT_GROUPS.items():
            row = {"name": name, "ports": ["set", list(ports)]}
            operations.append({"op": "insert", "table": "Port_Group", "row": row})
        self.sandbox.transact(operations, SB)
        return self.sandbox.tracer()

    def refused(self, log: Path, packet: PacketState) -> dict[str, str]:
        """Texts that ovn-trace could not use, with its reasons; read from the log of a run of its own."""
        place = [f"--db={self.sandbox.sb_remote}", "--no-leader-only", f"--log-file={log}", "-vconsole:off"]
        self.sandbox.run("ovn-trace", *place, "d0", rnd.microflow(packet))
        found = {}
        for line in log.read_text().splitlines():
            for what in (": parsing expression failed", ": parsing actions failed"):
                text, _, reason = line.partition("|WARN|")[2].partition(what)
                if reason:
                    found[text] = reason
        return found


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with OvnSandbox() as sandbox:
        sandbox.northd_appctl("pause")  # or it would take our rows away
        yield Oracle(sandbox)


def _on(datapath: str, text: str) -> str:
    """Ports in the text as ports of the datapath."""
    return re.sub(r'"(p[0-9])"', rf'"{datapath}-\1"', text)


def _parse(text: str) -> Expr | None:
    try:
        return parse_match(text)
    except ParseError:
        return None


PASS = "push(reg0); next;"
"""Goes on and changes nothing; ovn-trace does not show tables whose flow matches everything and says `next;` only."""


def _steps(output: str) -> list[bool]:
    """For each table, whether it was the flow under test that matched and not the one for everything else."""
    assert f"{TABLES}. no match" in output, output
    used = {int(table): int(priority) for table, priority in _STEP.findall(output)}
    return [used.get(table, 1) >= 100 for table in range(TABLES)]


def test_matches_hold_for_the_same_packets(oracle: Oracle, tmp_path: Path) -> None:
    rng = Random(SEED)
    datapaths = [f"d{i}" for i in range(DATAPATHS)]
    texts = {name: [rnd.match(rng) for _ in range(TABLES)] for name in datapaths}
    oracle.flows = []
    for name, matches in texts.items():
        for table, text in enumerate(matches):
            oracle.flows += [(name, table, 100, _on(name, text), PASS), (name, table, 1, "1", "next;")]
    tracer = oracle.write(datapaths)
    refused = oracle.refused(tmp_path / "trace.log", rnd.packet(Random(1), "d0-p1"))
    judged = held = 0
    for name, matches in texts.items():
        trees = [_parse(text) for text in matches]
        for text, tree in zip(matches, trees, strict=True):
            assert (tree is None) == (_on(name, text) in refused), (text, refused.get(_on(name, text)))
        predicates = [None if tree is None else prepare(tree).matcher() for tree in trees]
        for _ in range(PACKETS):
            packet = rnd.packet(rng, "p1")
            flow = _on(name, rnd.microflow(packet))
            steps = _steps(tracer.trace(name, flow))
            for table, (text, tree, predicate) in enumerate(zip(matches, trees, predicates, strict=True)):
                if tree is None or predicate is None:
                    continue
                expected = evaluate(tree, packet, EVERYWHERE)
                assert steps[table] == expected, f"seed {SEED}: {text} on {flow}"
                assert predicate(packet, EVERYWHERE) == expected, f"seed {SEED}: compiled {text} on {packet}"
                judged += 1
                held += expected
    assert judged > 30_000
    assert 0.1 < held / judged < 0.9


SET_MATCHES = """
ip4.src == $v4 | ip4.src != $v4 | !(ip4.src == $v4) | ip4.src == {$v4, 10.0.0.2} | ip4.dst != {10.0.0.2, $v4} | ip4.src == $empty
ip4.src != $empty | !(ip4.src == $empty) | ip4.src == {$empty, 10.0.0.1} | ip6.src == $v6 | ip6.dst != $v6 | ip6.src == $v4
eth.src == $macs || eth.dst == $macs | eth.src != $macs | $v4 == ip4.src | reg0 == $v4 | ip4.src == $v6 | ip4.src == $unknown
inport == @mine | !(inport != @mine) | inport == {"p1", @mine} | inport == @shared | inport == @nobody | inport != @mine
inport == @unknown | ip4.src == @mine | inport == $v4
"""


def test_sets_hold_for_the_same_packets(oracle: Oracle, tmp_path: Path) -> None:
    texts = [text for line in SET_MATCHES.strip().splitlines() for text in line.split(" | ")]
    assert len(texts) < TABLES
    oracle.flows = [("d0", table, 100, _on("d0", text), PASS) for table, text in enumerate(texts)]
    oracle.flows += [("d0", table, 1, "1", "next;") for table in range(TABLES)]
    tracer = oracle.write(["d0"])
    refused = oracle.refused(tmp_path / "trace.log", rnd.packet(Random(1), "d0-p1"))
    sets = Sets(ADDRESS_SETS, PORT_GROUPS, datapath_key=1)
    rng = Random(SEED + 2)
    packets = [rnd.packet(rng, rng.choice(("d0-p1", "d0-p2", "d0-p3"))) for _ in range(150)]
    steps = [_steps(tracer.trace("d0", rnd.microflow(packet))) for packet in packets]
    held = 0
    for table, text in enumerate(texts):
        try:
            tree = parse_match(_on("d0", text))
            matcher = prepare(tree, sets).matcher()
        except YtwinError:
            assert _on("d0", text) in refused, text
            continue
        assert _on("d0", text) not in refused, (text, refused[_on("d0", text)])
        for packet, step in zip(packets, steps, strict=True):
            assert step[table] == matcher(packet, EVERYWHERE) == evaluate(tree, packet, EVERYWHERE, sets), (
                text,
                packet,
            )
            held += step[table]
    assert held > 200
    assert len(refused) == 6


def _fields_of(packet: PacketState) -> list[str]:
    """Terms that pin down what the packet is, as separate matches; IP fields only where the packet has them."""
    copy = packet.copy()
    copy.inport = packet.inport or "none"
    text = rnd.microflow(copy)
    return [term for term in text.split(" && ") if not term.startswith("pkt.mark")] + [f'outport == "{packet.outport}"']


def _run(text: str, packet: PacketState) -> tuple[Expr, PacketState]:
    actions = parse_actions(text, "ingress", 0)
    after = packet.copy()
    for step in prepare_actions(actions[:-1]):
        step(after)
    return flow_match(parse_match("1"), actions), after


def test_assignments_leave_the_same_packet(oracle: Oracle, tmp_path: Path) -> None:
    """Packet number i meets flow number i in table 0; tables 1 and on ask for each field that it should have then."""
    rng = Random(SEED + 1)
    oracle.flows = [("d0", table, 1, "1", "next;") for table in range(TABLES)]
    cases: list[tuple[PacketState, str, PacketState | None, list[str]]] = []
    while len(cases) < 400:
        packet = rnd.packet(rng, "p1")
        packet.pkt_mark = len(cases)
        packet.ip_frag &= 1  # later fragments have no transport header to write
        text = " ".join(rnd.assignment(rng) for _ in range(rng.choice((1, 2, 4)))) + " next;"
        needed, after = _run(text, packet)
        applies = evaluate(needed, packet, EVERYWHERE)
        if not applies and rng.random() < 0.8:
            continue
        terms = _fields_of(after) if applies else []
        oracle.flows.append(("d0", 0, 100, f"pkt.mark == {packet.pkt_mark}", _on("d0", text)))
        count = TABLES - 1
        for table in range(1, TABLES):
            some = terms[table - 1 :: count]
            if some:
                match = _on("d0", " && ".join([f"pkt.mark == {packet.pkt_mark}", *some]))
                oracle.flows.append(("d0", table, 100, match, PASS))
        cases.append((packet, text, after if applies else None, terms))
    tracer = oracle.write(["d0"])
    assert not oracle.refused(tmp_path / "trace.log", rnd.packet(Random(1), "d0-p1"))
    changed = 0
    for packet, text, after, terms in cases:
        steps = _steps(tracer.trace("d0", _on("d0", rnd.microflow(packet))))
        assert steps[0] == (after is not None), (text, packet)
        if after is None:
            continue
        changed += after != packet
        for table in range(1, min(TABLES, len(terms) + 1)):
            assert steps[table], f"{text} on {packet} should leave {terms[table - 1 :: TABLES - 1]}"
    assert changed > 200


ACTIONS = """
next; | next(7); | next(pipeline=ingress, table=7); | next(pipeline=egress,table=3); | output; | drop; | reg0=1;
reg0[3]=1; | reg1 = 10.0.0.1; | xxreg1 = fd00::1; | xxreg0 = 0x12; | xreg4[0..47] = 00:00:00:00:00:01; | reg2 = 0xff;
eth.dst<->eth.src; | ip4.dst = ip4.src; | reg5 <-> reg6; | push(reg0); pop(reg1); | outport = ""; | ip.ttl--; next;
clone {outport = "p2"; output;}; next; | ct_next; | ct_commit; | ct_commit { }; next; | ct_clear; next;
ct_commit { ct_mark.blocked = 1; ct_label.label = 7; }; next; | ct_commit { ct_mark = 5; ct_label[0..7] = 3; };
ct_dnat; | ct_snat; | ct_dnat(10.0.0.1); | ct_snat(fd00::1); | ct_dnat(10.0.0.1,80-90);
ct_snat_in_czone(1.2.3.4, 5); | ct_dnat_in_czone; | ct_commit_nat; | ct_lb; | ct_lb_mark;
ct_lb_mark(backends=10.0.0.1:80,10.0.0.2:80); | ct_lb_mark(backends=10.0.0.1, 10.0.0.2);
ct_lb(backends=[fd00::1]:80,[fd00::2]:80); | ct_lb_mark(backends=fd00::1,fd00::2);
ct_lb_mark(backends=10.0.0.1:80; hash_fields="ip_dst,ip_src,tcp_dst,tcp_src");
ct_lb_mark(backends=[fd00::1]; force_snat); | ct_lb_mark(backends=10.0.0.1:80; hash_fields="ip_dst"; skip_snat);
ct_lb_mark(backends=10.0.0.1:80; skip_snat); | reg8[16..31] = select(1, 2=7,3); | reg0[6] = chk_lb_hairpin();
reg0[12] = chk_lb_hairpin_reply(); | ct_snat_to_vip; next; | reg9[1] = check_pkt_larger(1414);
reg0[15] = check_in_port_sec(); | reg0[15] = check_out_port_sec(); | reg9[6] = chk_lb_aff();
get_arp(outport, reg0); next; | get_nd(outport, xxreg0); | put_arp(inport, arp.spa, arp.sha);
put_nd(inport, ip6.src, nd.sll); | reg9[2] = lookup_arp(inport, arp.spa, arp.sha);
reg9[3] = lookup_arp_ip(inport, arp.spa); | reg9[2] = lookup_nd(inport, ip6.src, nd.sll);
reg9[3] = lookup_nd_ip(inport, ip6.src); | outport = get_fdb(eth.dst); | put_fdb(inport, eth.src);
reg0[11] = lookup_fdb(inport, eth.src);
commit_lb_aff(vip = "10.0.0.1:80", backend = "10.0.1.5:8080", proto = tcp, timeout = 60);
commit_lb_aff(vip = "[fd00::1]:80", backend = "[fd01::5]:8080", proto = sctp, timeout = 1);
commit_lb_aff(vip = "10.0.0.1", backend = "10.0.1.5", timeout = 60);
arp { eth.dst = ff:ff:ff:ff:ff:ff; arp.spa = reg1; arp.tpa = reg0; arp.op = 1; output; };
nd_ns { nd.target = xxreg0; output; };
nd_na { eth.src = 00:00:00:00:00:01; nd.tll = 00:00:00:00:00:01; outport = inport; inport = ""; output; };
nd_na_router { ip6.src = fd00::1; output; }; | icmp4 { ip.ttl = 255; icmp4.type = 3; icmp4.code = 1; next; };
icmp4_error { icmp4.frag_mtu = 1500; output; }; | icmp6 { icmp6.type = 1; output; }; | tcp_reset { output; };
sctp_abort { output; }; | icmp6_error { icmp6.type = 2; next(pipeline=ingress, table=9); };
reject { outport <-> inport; next(pipeline=egress,table=5); }; | ct_mark = 5; | eth.type = 3; | ip.proto = 4;
tcp.flags = 2; | ct_state = 1; | reg0 = "x"; | outport = 5; | reg0 = fd00::1; | reg0; | next(pipeline=both);
next(99); | nosuch; | reg0[40] = 1; | reg8[0..3] = select(1, 2); | reg0 = select(1);
reg0 = select(1, 2=0); | ct_dnat(5); | ct_dnat(10.0.0.1; | ct_lb_mark(backends=x);
ct_lb_mark(backends=10.0.0.1:99999); | drop; next; | next; drop; | next | ; | reg0 = tcp; | reg0 = ip4.dst[0..7];
eth.src = ip4.src; | inport = reg0; | push(ip4); | get_arp(reg0, reg1); | put_arp(inport, reg0, reg1);
reg0 = chk_lb_aff(); | reg9[2] = lookup_arp(inport, ip6.src, eth.src); | clone { next; | ct_commit { reg0 = 1; };
ip4 = 1; | ct.new = 1;
"""
"""Actions of every kind in the subset, some with mistakes; `|` or a line's end between them."""

CRASHING = ("nd_na_router", "check_out_port_sec")
"""Actions that end ovn-trace 23.03 (the latter without an outport): judged by its parser only."""


def test_actions_are_refused_and_printed_alike(oracle: Oracle, tmp_path: Path) -> None:
    texts = [text.strip() for line in ACTIONS.strip().splitlines() for text in line.split(" | ")]
    oracle.flows = [("d0", 0, 100 + i, f"pkt.mark == {i}", _on("d0", text)) for i, text in enumerate(texts)]
    tracer = oracle.write(["d0"])
    packet = rnd.packet(Random(1), "d0-p1")
    refused = oracle.refused(tmp_path / "trace.log", packet)
    printed = 0
    for i, text in enumerate(texts):
        try:
            actions = parse_actions(_on("d0", text), "ingress", 0)
        except YtwinError:
            assert _on("d0", text) in refused, text
            continue
        assert _on("d0", text) not in refused, (text, refused.get(_on("d0", text)))
        if any(name in text for name in CRASHING):
            continue
        packet = _satisfying(conjunction((parse_match(f"pkt.mark == {i}"), flow_match(parse_match("1"), actions))), i)
        output = tracer.trace("d0", _on("d0", rnd.microflow(packet)))
        lines = [line.strip() for line in output.splitlines()]
        own = print_actions(actions, "ingress", 0)
        first = own if not actions else print_actions(actions[:1], "ingress", 0)
        assert first in lines, f"{text}: {own} is not in {output}"
        printed += 1
    assert printed > 70
    assert len(refused) > 25


def _satisfying(expr: Expr, mark: int) -> PacketState:
    """A packet that the match holds for."""
    rng = Random(mark)
    for _ in range(20_000):
        packet = rnd.packet(rng, "p1")
        packet.pkt_mark = mark
        if evaluate(expr, packet, EVERYWHERE):
            return packet
    raise AssertionError(f"no packet for {expr}")
