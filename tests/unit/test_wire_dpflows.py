"""Reading datapath flows and following a packet through them; the dumps are of OVS 3.1.0's userspace datapath.

`eip_dp_hash`: one connection from outside (192.0.2.1) to an EIP with dp_hash, service-gateway and backend on the chassis.
`backend_behind_tunnel`: the backend's chassis of a connection that comes through a tunnel.
"""

from __future__ import annotations

from pathlib import Path

import pytest

dpflows = pytest.importorskip(
    "deployer.wire.dpflows", reason="the lab's packages are not installed", exc_type=ImportError
)
Chain, Kind, Tuple5 = dpflows.Chain, dpflows.Kind, dpflows.Tuple5
HERE = Path(__file__).parent / "dpflows"
EIP = (HERE / "eip_dp_hash.txt").read_text()
TUNNEL = (HERE / "backend_behind_tunnel.txt").read_text()


def chains(text: str, packet: tuple[str, str, int, str, int], kind: object, from_tunnel: bool = False) -> list[object]:
    return sorted(dpflows.chains(dpflows.read_flows(text), Tuple5(*packet), kind, from_tunnel=from_tunnel))


def test_a_connection_is_followed_through_every_recirculation() -> None:
    """ct, hash, ct(commit) of the choice, undnat, ct(commit) + SNAT, backend's port, and a commit there: six, seven look-ups."""
    called = ("tcp", "192.0.2.1", 0, "200.0.0.206", 80)
    (first,), (second,) = chains(EIP, called, Kind.FIRST), chains(EIP, called, Kind.SECOND)
    assert (first.recirculations, first.lookups) == (6, 7)
    assert (second.recirculations, second.lookups) == (4, 4)
    assert first.end == second.end
    gateway, backend = ("100.88.137.61", "10.2.1.89") if "10.2.1.89" in EIP else ("100.88.4.145", "10.1.1.141")
    port = dpflows.port_of_client(dpflows.read_flows(EIP), Tuple5(*called))
    assert port > 1024
    (reply,) = chains(EIP, ("tcp", backend, 80, gateway, port), Kind.REPLY)
    assert (reply.recirculations, reply.lookups) == (3, 3)
    assert reply.end != first.end


def test_a_packet_from_a_tunnel_starts_at_the_flow_of_the_tunnel() -> None:
    arrives = ("tcp", "10.1.1.154", 0, "10.1.1.141", 80)
    (first,), (second,) = (chains(TUNNEL, arrives, kind, True) for kind in (Kind.FIRST, Kind.SECOND))
    assert (first.recirculations, first.lookups, second.recirculations, second.lookups) == (1, 2, 1, 1)
    # As a packet of a port it would have made no flow; what is left is the reply's, whose mask is wide enough for it.
    assert first not in chains(TUNNEL, arrives, Kind.FIRST, False)
    port = dpflows.port_of_client(dpflows.read_flows(TUNNEL), Tuple5(*arrives))
    (reply,) = chains(TUNNEL, ("tcp", "10.1.1.141", 80, "10.1.1.154", port), Kind.REPLY)
    assert (reply.recirculations, reply.lookups) == (1, 1)
    assert reply.end  # out of the tunnel's underlay port


def test_the_underlays_own_packets_are_told_apart() -> None:
    (outer,) = [flow for flow in dpflows.read_flows(TUNNEL) if "tnl_pop" in flow.actions]
    assert not outer.from_tunnel
    assert outer.in_port == "underlay0"
    assert not outer.matches(Tuple5("tcp", "10.1.1.154", 0, "10.1.1.141", 80))


def line(actions: str, recirc: int = 0, ct_state: str = "0/0", more: str = "") -> str:
    return (
        f"ufid:1-2, recirc_id({recirc:#x}),{more}ct_state({ct_state}),in_port(a),eth_type(0x0800),"
        f"ipv4(src=10.0.0.1/0.0.0.0,dst=10.0.0.2,proto=6,frag=no),tcp(src=5/0,dst=80), packets:3, bytes:5, used:never, "
        f"dp:ovs, actions:{actions}, dp-extra-info:miniflow_bits(5,1)\n"
    )


PACKET = ("tcp", "10.0.0.1", 0, "10.0.0.2", 80)


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ("b", [(0, 0, "b")]),
        ("drop", []),
        ("userspace(pid=0,controller(reason=1,id=2))", []),
        ("ct_clear,set(eth(src=02:00:00:00:00:01)),pop_vlan,b", [(0, 0, "b")]),
        ("ct(commit,zone=3,nat(src=1.2.3.4)),b", [(0, 1, "b")]),
        ("clone(ct(zone=1),b),c", [(0, 0, "c"), (0, 1, "b")]),
        ("check_pkt_len(size=1414,gt(drop),le(ct(commit,zone=1),b))", [(0, 1, "b")]),
        ("tnl_push(tnl_port(g),header(size=58,type=5,eth(dst=00:00:00:00:00:01))),under", [(0, 0, "under")]),
    ],
)
def test_ways_out_of_one_flow(actions: str, expected: list[tuple[int, int, str]]) -> None:
    assert chains(line(actions), PACKET, Kind.FIRST) == [Chain(*found) for found in expected]


def test_conntracks_state_tells_first_second_and_reply_apart() -> None:
    text = line("ct(zone=1,nat),recirc(0x2)")
    text += line("new", 2, "0x21/0x23") + line("est", 2, "0x22/0x2b") + line("back", 2, "0x2a/0x2b")
    for kind, end in ((Kind.FIRST, "new"), (Kind.SECOND, "est"), (Kind.REPLY, "back")):
        assert chains(text, PACKET, kind) == [Chain(1, 1, end)]


def test_a_zone_that_sees_no_replies_keeps_calling_packets_new() -> None:
    text = line("ct(zone=1,nat),recirc(0x2)") + line("new", 2, "0x21/0x23")
    assert chains(text, PACKET, Kind.SECOND) == [Chain(1, 1, "new")]


def test_of_wide_flows_the_one_that_this_packet_made_is_taken() -> None:
    other = line("wrong").replace("src=10.0.0.1/", "src=10.9.9.9/")
    assert chains(other + line("right"), PACKET, Kind.FIRST) == [Chain(0, 0, "right")]
    assert chains(other, PACKET, Kind.FIRST) == [
        Chain(0, 0, "wrong")
    ]  # the kernel's datapath shows no more than the mask leaves


def test_a_loop_of_recirculations_ends_with_an_error() -> None:
    with pytest.raises(ValueError, match="without end"):
        chains(line("recirc(0x2)") + line("recirc(0x2)", 2), PACKET, Kind.FIRST)


def test_a_tagged_packet_is_read_behind_its_tag() -> None:
    begin, end = line("pop_vlan,b").split("eth_type(0x0800),")
    keys, actions = end.split(", packets:")
    tagged = f"{begin}eth_type(0x8100),vlan(vid=7,pcp=0),encap(eth_type(0x0800),{keys}), packets:{actions}"
    assert chains(tagged, PACKET, Kind.FIRST) == [Chain(0, 0, "b")]


def test_other_protocols_and_families_do_not_match() -> None:
    flows = dpflows.read_flows(line("b"))
    assert flows[0].packets == 3
    assert not flows[0].matches(Tuple5("udp", "10.0.0.1", 0, "10.0.0.2", 80))
    assert not flows[0].matches(Tuple5("tcp", "fd00::1", 0, "fd00::2", 80))
    assert not flows[0].matches(Tuple5("tcp", "10.0.0.1", 0, "10.0.0.3", 80))
    assert dpflows.port_of_client(flows, Tuple5(*PACKET)) == 5
    assert dpflows.port_of_client((), Tuple5(*PACKET)) == 0


def test_operations_of_a_flow_in_the_programs_words() -> None:
    actions = (
        "ct_clear,set(eth(src=02:00:00:00:00:01)),set(ipv4(ttl=62)),ct(commit,zone=1,mark=0xa/0xa,nat(dst=10.2.1.89:80)),"
        "hash(l4(0)),ct(zone=1,nat),ct(zone=2),ct(commit,zone=3,nat(src)),check_pkt_len(size=1414,gt(drop),le(a)),"
        "tnl_push(tnl_port(g),header(size=58)),under,userspace(pid=0,controller(reason=1)),recirc(0x2)"
    )
    assert dpflows.read_flows(line(actions))[0].operations == (
        "set eth",
        "set ip",
        "ct(commit,nat(dst))",
        "dp_hash",
        "ct(nat)",
        "ct",
        "ct(commit,nat(src))",
        "check_pkt_larger",
        "output",
        "tunnel_push",
        "output",
        "controller",
    )


def test_a_trail_has_the_flow_of_every_pass() -> None:
    called = Tuple5("tcp", "192.0.2.1", 0, "200.0.0.206", 80)
    ((chain, passed),) = dpflows.trails(dpflows.read_flows(EIP), called, Kind.FIRST, from_tunnel=False)
    assert len(passed) == chain.recirculations + 1
    assert [flow.recirc_id for flow in passed] == [0, 0x78, 0x79, 0x7A, 0x7B, 0x7C, 0x7D]
    assert [flow.operations[-1] for flow in passed][:3] == ["ct(nat)", "dp_hash", "ct(commit,nat(dst))"]
