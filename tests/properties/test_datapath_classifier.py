"""The law that a megaflow's match stands for: packets that agree in what was looked at meet the same flow."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ytwin.datapath.classifier import METADATA, POSITION, WIDTHS, Classifier, conjunctions
from ytwin.logical.compile import compile_match, prepare
from ytwin.logical.expr import parse_match
from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.logical.state import CT_EST, CT_NEW, CT_RPL, CT_TRK, ETH_IP, ETH_IPV6, TCP, UDP, PacketState

DATAPATHS = (DatapathId("switch", "a"), DatapathId("router", "b"))
TERMS = (
    "ct.new && !ct.est",
    "ct.est && ct_mark.natted == 1",
    "!ct.trk",
    "ct.trk && !ct.rpl",
    "ct_mark.blocked",
    "ip4.dst == 10.0.0.0/8",
    "ip4.dst == 10.0.0.5",
    "ip4.dst == {10.0.0.4, 10.128.0.0/9}",
    "ip4.src == 10.0.1.0/24",
    "ip4.src != 10.0.1.7",
    "tcp.dst == 80",
    "tcp.dst == {80, 8080}",
    "udp.dst == 80",
    "tcp",
    "ip.ttl == {0, 1} && !ip.later_frag",
    "ip6",
    "ip6.dst == fd00::/64",
    "eth.mcast",
    "eth.dst == 02:00:00:00:00:01",
    "reg0[1] == 1",
    'inport == "p"',
    "tcp.dst > 1024",
    'is_chassis_resident("here")',
    'is_chassis_resident("there")',
)


class Here:
    def resident(self, port: str) -> bool:
        return port == "here"


@st.composite
def tables(draw: st.DrawFn) -> list[LogicalFlow]:
    """Flows of distinct priorities, each a conjunction or a disjunction of two or three terms."""
    count = draw(st.integers(1, 12))
    flows = []
    for priority in range(count, 0, -1):
        terms = draw(st.lists(st.sampled_from(TERMS), min_size=1, max_size=3, unique=True))
        joined = draw(st.sampled_from([" && ", " || "])).join(f"({term})" for term in terms)
        datapaths = draw(st.sampled_from([DATAPATHS[:1], DATAPATHS[1:], DATAPATHS]))
        flows.append(LogicalFlow(datapaths, "ingress", 0, "s", priority, joined, "next;"))
    return flows


@st.composite
def packets(draw: st.DrawFn) -> PacketState:
    addresses = [
        int(ip_address(a)) for a in ("10.0.0.5", "10.0.0.4", "10.200.0.1", "192.0.2.1", "10.0.1.7", "10.0.1.8")
    ]
    state = PacketState(
        inport=draw(st.sampled_from(["p", "q"])),
        eth_dst=draw(st.sampled_from([0x020000000001, 0x010000000001, 0x020000000003])),
        eth_type=draw(st.sampled_from([ETH_IP, ETH_IP, ETH_IPV6])),
        ip_proto=draw(st.sampled_from([TCP, UDP])),
        ip_ttl=draw(st.sampled_from([1, 64])),
        tp_dst=draw(st.sampled_from([80, 81, 8080, 40000])),
        reg0=draw(st.sampled_from([0, 2])),
        ct_state=draw(st.sampled_from([0, CT_TRK | CT_NEW, CT_TRK | CT_EST, CT_TRK | CT_EST | CT_RPL])),
        ct_mark=draw(st.sampled_from([0, 1, 2, 3])),
    )
    if state.eth_type == ETH_IP:
        state.ip4_src, state.ip4_dst = draw(st.sampled_from(addresses)), draw(st.sampled_from(addresses))
    else:
        state.ip6_dst = draw(st.sampled_from([int(ip_address("fd00::1")), int(ip_address("fd00:1::1"))]))
    return state


def classifier(flows: list[LogicalFlow]) -> Classifier:
    here = Here()
    return Classifier((f, f.datapaths, conjunctions(prepare(parse_match(f.match)).term, here)) for f in flows)


def winner(flows: list[LogicalFlow], state: PacketState, datapath: DatapathId) -> LogicalFlow | None:
    here = Here()
    mine = (f for f in flows if datapath in f.datapaths)
    return next((f for f in mine if compile_match(parse_match(f.match))(state, here)), None)


def looked_at(flows: list[LogicalFlow], state: PacketState, datapath: DatapathId) -> dict[str, int]:
    won = winner(flows, state, datapath)
    values = (*state.key()[:-1], datapath)
    wild: dict[str, int] = {}
    for slot, mask, flow in classifier(flows).look_up(values, won.priority if won is not None else -1):
        assert won is None or flow.priority >= won.priority
        wild[slot] = wild.get(slot, 0) | mask
    return wild


def same(slot: str, mask: int, one: Any, other: Any) -> bool:
    if not WIDTHS.get(slot):
        return bool(one == other)
    return one & mask == other & mask


@given(tables(), packets(), st.lists(packets(), min_size=1, max_size=30), st.sampled_from(DATAPATHS))
@settings(max_examples=100, deadline=None)
def test_packets_that_agree_in_what_was_looked_at_meet_the_same_flow(
    flows: list[LogicalFlow], first: PacketState, others: list[PacketState], datapath: DatapathId
) -> None:
    wild = looked_at(flows, first, datapath)
    won = winner(flows, first, datapath)
    for other in others:
        agree = all(
            slot == METADATA or same(slot, mask, getattr(first, slot), getattr(other, slot))
            for slot, mask in wild.items()
        )
        if agree:
            assert winner(flows, other, datapath) is won


@given(tables(), packets(), st.data(), st.sampled_from(DATAPATHS))
@settings(max_examples=100, deadline=None)
def test_bits_that_were_not_looked_at_may_change(
    flows: list[LogicalFlow], state: PacketState, data: st.DataObject, datapath: DatapathId
) -> None:
    """Of the Ethernet type OVS always knows whatever it is, so that stays."""
    wild = looked_at(flows, state, datapath)
    won = winner(flows, state, datapath)
    changed = state.copy()
    for slot in ("eth_dst", "ip4_src", "ip4_dst", "ip_ttl", "tp_dst", "reg0", "ct_mark", "ip_proto"):
        free = ((1 << WIDTHS[slot]) - 1) & ~wild.get(slot, 0)
        noise = data.draw(st.integers(0, (1 << WIDTHS[slot]) - 1))
        setattr(changed, slot, getattr(state, slot) ^ (noise & free))
    assert winner(flows, changed, datapath) is won


def test_conntracks_fields_of_other_datapaths_are_looked_at_and_their_headers_are_not() -> None:
    other = LogicalFlow(DATAPATHS[1:], "ingress", 0, "s", 9, "ct.inv && ip4.dst == 10.0.0.5", "drop;")
    own = LogicalFlow(DATAPATHS[:1], "ingress", 0, "s", 1, "1", "next;")
    below = LogicalFlow(DATAPATHS[1:], "ingress", 0, "s", 0, "ct.rel", "drop;")
    state = PacketState(eth_type=ETH_IP, ip4_dst=int(ip_address("10.0.0.5")))
    wild = looked_at([other, own, below], state, DATAPATHS[0])
    assert set(wild) == {METADATA, "ct_state"}
    assert wild["ct_state"] == 0x30  # +inv+trk; ct.rel is below the match
    assert set(looked_at([other], state, DATAPATHS[1])) == {METADATA, "ct_state"}


def test_only_as_many_bits_of_an_address_as_tell_prefixes_apart() -> None:
    flows = [
        LogicalFlow(DATAPATHS, "ingress", 0, "s", 9, "ip4.dst == 10.1.2.3", "drop;"),
        LogicalFlow(DATAPATHS, "ingress", 0, "s", 1, "1", "next;"),
    ]
    near = looked_at(flows, PacketState(eth_type=ETH_IP, ip4_dst=int(ip_address("10.1.2.4"))), DATAPATHS[0])
    far = looked_at(flows, PacketState(eth_type=ETH_IP, ip4_dst=int(ip_address("200.0.0.1"))), DATAPATHS[0])
    hit = looked_at(flows, PacketState(eth_type=ETH_IP, ip4_dst=int(ip_address("10.1.2.3"))), DATAPATHS[0])
    assert (far["ip4_dst"], near["ip4_dst"], hit["ip4_dst"]) == (1 << 31, 0xFFFFFFFC, 0xFFFFFFFF)
    assert "ip4_dst" not in looked_at(flows, PacketState(eth_type=ETH_IPV6), DATAPATHS[0])
    assert POSITION[METADATA] == len(POSITION) - 1
