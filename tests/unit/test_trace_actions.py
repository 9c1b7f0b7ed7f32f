"""Each action, in a switch of a few flows: what it does to the packet and where it sends it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from frozendict import frozendict

from ytwin.core.errors import Unsupported
from ytwin.logical.addresses import ip_int, mac_int
from ytwin.logical.southbound import DatapathId, LogicalFlow, MulticastGroup, PortBinding, Southbound
from ytwin.logical.state import ARP_REPLY, ETH_ARP, PacketState, arp_request, transport
from ytwin.trace import Host, Memory, Outcome, Tracer, Verdict, World

LS, LR = DatapathId("switch", "s"), DatapathId("router", "r")
A = Host("Pod/a", "Pod", "a", "n1", "00:00:00:00:00:0a", ("10.0.0.1/24",), ())
B = Host("Pod/b", "Pod", "b", "n2", "00:00:00:00:00:0b", ("10.0.0.2/24",), ())
DELIVER = ('outport == "b"', "output;")


def world(*ingress: tuple[str, str], egress: Iterable[tuple[str, str]] = (("1", "output;"),)) -> World:
    """One switch with ports a (n1) and b (n2); table i of ingress is (match, actions)."""
    flows = [
        LogicalFlow((LS,), pipeline, table, f"ls_{pipeline}_{table}", 100, match, actions, f"row{table}")
        for pipeline, tables in (("ingress", ingress), ("egress", egress))
        for table, (match, actions) in enumerate(tables)
    ]
    ports = frozendict({h.port: PortBinding(h.port, LS, chassis=h.chassis) for h in (A, B)})
    group = MulticastGroup(LS, "_MC_flood", ("a", "b"))
    return World(Southbound(tuple(flows), (LS,), ports, (group,)), (A, B), (), ("n1", "n2"))


def packet(dst: str = "10.0.0.2", mac: str = B.mac, ttl: int = 64) -> PacketState:
    return transport("tcp", "a", (A.mac, mac), ("10.0.0.1", dst), (40000, 80), ttl=ttl)


def run(*ingress: tuple[str, str], state: PacketState | None = None, **kwargs: int) -> Outcome:
    (outcome,) = Tracer(world(*ingress)).send(A, state or packet(), **kwargs)
    return outcome


TO_B = ("1", 'outport = "b"; output;')


def test_output_over_a_tunnel_to_the_ports_chassis() -> None:
    walk = run(TO_B).walk
    assert walk.verdict is Verdict.DELIVERED
    assert walk.receiver == "Pod/b"
    assert [hop.chassis for hop in walk.hops] == ["n1", "n2"]
    assert "tunnel to n2" in walk.hops[0].note


def test_tunnel_and_egress_forget_registers_and_flags() -> None:
    clean = world(
        ("1", 'reg0 = 7; flags = 9; outport = "b"; output;'),
        egress=(("reg0 == 0 && flags == 0", "output;"),),
    )
    (outcome,) = Tracer(clean).send(A, packet())
    assert outcome.walk.verdict is Verdict.DELIVERED


def test_output_to_the_input_port_needs_the_loopback_flag() -> None:
    back = packet("10.0.0.1", A.mac)
    lost = run(("1", "outport = inport; output;"), state=back).walk
    assert lost.verdict is Verdict.DROPPED
    assert "flags.loopback" in lost.reason
    assert run(("1", "outport = inport; flags.loopback = 1; output;"), state=back).walk.receiver == "Pod/a"


def test_drop_names_the_flow_and_its_row() -> None:
    walk = run(("tcp.dst == 80", "drop;")).walk
    assert walk.verdict is Verdict.DROPPED
    assert "ls_ingress_0 100 (tcp.dst == 80) -> drop;" in walk.reason
    assert "from row0" in walk.reason


def test_no_match_drops() -> None:
    walk = run(("tcp.dst == 81", "next;")).walk
    assert walk.verdict is Verdict.DROPPED
    assert "no flow of ls_ingress_0" in walk.reason
    assert walk.hops[-1].flow is None


def test_loads_moves_exchange_ttl_and_jumps() -> None:
    outcome = run(
        ("1", "reg1 = 5; eth.src <-> eth.dst; reg2 = reg1; ip.ttl--; next(3);"),
        ("1", "drop;"),
        ("1", "drop;"),
        ("reg2 == 5", 'eth.src <-> eth.dst; outport = "b"; output;'),
    )
    assert outcome.walk.verdict is Verdict.DELIVERED
    assert outcome.arrived is not None
    assert outcome.arrived.ip_ttl == 63


def test_push_and_pop() -> None:
    outcome = run(
        ("1", "push(ip4.src); ip4.src = 9.9.9.9; pop(ip4.src); next;"),
        ("ip4.src == 10.0.0.1", 'outport = "b"; output;'),
    )
    assert outcome.walk.verdict is Verdict.DELIVERED


def test_clone_leaves_the_packet_as_it_was() -> None:
    outcome = run(("1", 'clone { ip4.dst = 10.0.0.9; outport = "b"; output; }; outport = "b"; output;'))
    assert outcome.walk.verdict is Verdict.DELIVERED
    assert outcome.arrived is not None
    assert outcome.arrived.ip4_dst == ip_int("10.0.0.2")


def test_multicast_reaches_all_but_the_sender() -> None:
    assert run(("1", 'outport = "_MC_flood"; output;')).walk.receiver == "Pod/b"


def test_ct_lb_takes_every_backend() -> None:
    flows = world(("ip", "ct_lb_mark(backends=10.0.0.2:8080,10.0.0.1:8080,10.0.0.2:8081);"), TO_B)
    outcomes = Tracer(flows).send(A, packet("10.96.0.1"))
    ends = [(o.walk.verdict.value, o.walk.received and o.walk.received.dst_port) for o in outcomes]
    assert sorted(ends, key=str) == [("delivered", 8080), ("delivered", 8081), ("dropped", 8080)]
    assert all("one of 3 backends" in o.walk.hops[0].note for o in outcomes)


def test_ct_lb_of_the_other_family_is_an_error() -> None:
    with pytest.raises(Unsupported, match="address family"):
        run(("ip", "ct_lb_mark(backends=[fd00::1]:80);"), TO_B)


def test_ct_commit_marks_the_connection_but_not_the_packet() -> None:
    outcome = run(
        ("ip", "ct_next;"),
        ("ct.new", "ct_commit { ct_mark.blocked = 1; }; next;"),
        ("ct.new && ct_mark.blocked == 0", 'outport = "b"; output;'),
    )
    assert outcome.walk.verdict is Verdict.DELIVERED
    ((zone, (connection,)),) = outcome.memory.conntrack.connections().items()
    assert (zone.chassis, zone.name, connection.mark) == ("n1", "port:a", 1)


def test_router_zones_are_apart() -> None:
    outcome = run(("ip", "ct_dnat(10.0.0.2);"), ("ip", "ct_snat(10.0.0.9);"), TO_B)
    names = {zone.name for zone in outcome.memory.conntrack.connections()}
    assert names == {"dnat:switch/s", "snat:switch/s"}
    assert outcome.walk.received is not None
    assert outcome.walk.received.ip_src == "10.0.0.9"


def test_select_takes_every_choice() -> None:
    flows = world(
        ("1", "reg8[16..31] = select(1=100, 2=100);"),
        ("reg8[16..31] == 2", 'outport = "b"; output;'),
    )
    verdicts = [o.walk.verdict for o in Tracer(flows).send(A, packet())]
    assert verdicts == [Verdict.DROPPED, Verdict.DELIVERED]


@pytest.mark.parametrize(
    ("actions", "kind"),
    [
        ("reject { outport <-> inport; flags.loopback = 1; output; };", "TCP reset"),
        (
            "tcp_reset { eth.dst <-> eth.src; ip4.dst <-> ip4.src; outport = inport; flags.loopback = 1; output; };",
            "TCP",
        ),
        ("icmp4 { eth.dst <-> eth.src; ip4.dst <-> ip4.src; outport = inport; flags.loopback = 1; output; };", "ICMP"),
    ],
)
def test_answers_are_walked_back_to_the_sender(actions: str, kind: str) -> None:
    walk = run(("ip4", actions.replace("outport <-> inport", "outport = inport"))).walk
    assert walk.verdict is Verdict.REJECTED
    assert kind in walk.reason
    assert "gets lost" not in walk.reason
    assert walk.received is not None
    assert walk.received.ip_dst == "10.0.0.1"


def test_a_lost_answer_is_told() -> None:
    assert "gets lost" in run(("ip4", "icmp4 { next(pipeline=egress, table=9); };")).walk.reason


def test_arp_is_walked_and_unanswered_where_nobody_learns() -> None:
    ingress = [
        ("ip4", 'outport = "a"; get_arp(outport, ip4.dst); next;'),
        (
            "eth.dst == 0",
            'arp { eth.dst = ff:ff:ff:ff:ff:ff; arp.spa = 10.0.0.1; arp.tpa = ip4.dst; outport = "b"; output; };',
        ),
    ]
    tracer = Tracer(world(*ingress))
    (outcome,) = tracer.send(A, packet())
    assert outcome.walk.verdict is Verdict.UNANSWERED_ARP  # b answers, but nothing learns from it
    assert outcome.walk.port == "a"
    known = Memory()
    known.neighbors["a", ip_int("10.0.0.2")] = mac_int(B.mac)
    (outcome,) = Tracer(world(ingress[0], ("eth.dst != 0", 'outport = "b"; output;'))).send(A, packet(), known)
    assert outcome.walk.verdict is Verdict.DELIVERED


def test_hosts_answer_arp_and_learn() -> None:
    tracer = Tracer(
        world(
            ("arp.op == 1", 'outport = "_MC_flood"; output;'),
            egress=(("1", "output;"),),
        )
    )
    memory = tracer.memory()
    mac, lost = tracer.resolve(A, "10.0.0.1", "10.0.0.2", memory)
    assert (mac, lost is None) == ("", False)  # the answer, an ARP reply, meets no flow
    both = Tracer(world(("arp", 'outport = "_MC_flood"; output;')))
    memory = both.memory()
    assert both.resolve(A, "10.0.0.1", "10.0.0.2", memory) == (B.mac, None)


def test_neighbor_lookups() -> None:
    memory = Memory()
    memory.neighbors["a", ip_int("10.0.0.1")] = mac_int(A.mac)
    tracer = Tracer(
        world(
            ("arp", "reg9[2] = lookup_arp(inport, arp.spa, arp.sha); reg9[3] = lookup_arp_ip(inport, arp.tpa); next;"),
            ("reg9[2] == 1 && reg9[3] == 0", 'outport = "b"; output;'),
        )
    )
    (outcome,) = tracer.send(A, arp_request("a", A.mac, "10.0.0.1", "10.0.0.2"), memory)
    assert "answered by Pod/b" in outcome.walk.reason


def test_fdb_learns_and_looks_up() -> None:
    outcome = run(
        ("1", "reg0[11] = lookup_fdb(inport, eth.src); next;"),
        ("reg0[11] == 0", "put_fdb(inport, eth.src); next;"),
        ("1", "reg0[11] = lookup_fdb(inport, eth.src); outport = get_fdb(eth.src); next;"),
        ('reg0[11] == 1 && outport == "a"', 'outport = "b"; output;'),
    )
    assert outcome.walk.verdict is Verdict.DELIVERED
    assert outcome.memory.fdb == {("s", mac_int(A.mac)): "a"}


def test_check_pkt_larger_looks_at_the_length_given() -> None:
    flows = (("1", "reg9[1] = check_pkt_larger(1500); next;"), ("reg9[1] == 1", 'outport = "b"; output;'))
    assert run(*flows, length_bytes=1501).walk.verdict is Verdict.DELIVERED
    assert run(*flows, length_bytes=1500).walk.verdict is Verdict.DROPPED


def test_affinity_is_learned_by_a_packet_that_is_dropped() -> None:
    learn = 'commit_lb_aff(vip = "10.96.0.1:80", backend = "10.0.0.2:80", proto = tcp, timeout = 60);'
    flows = world(
        ("1", "reg9[6] = chk_lb_aff(); next;"),
        ("reg9[6] == 1 && reg4 == 10.0.0.2 && reg8[0..15] == 80", "ip4.dst = 10.0.0.2; next;"),
        TO_B,
    )
    teach = world(("1", learn))
    (first,) = Tracer(teach).send(A, packet("10.96.0.1"))
    assert first.learned_affinity
    assert first.walk.verdict is Verdict.DROPPED
    (second,) = Tracer(flows).send(A, packet("10.96.0.1"), first.memory)
    assert second.walk.verdict is Verdict.DELIVERED
    (other,) = Tracer(flows).send(A, packet("10.96.0.2"), first.memory)
    assert other.walk.verdict is Verdict.DROPPED


def test_an_action_outside_the_model_names_its_flow() -> None:
    with pytest.raises(Unsupported, match="chk_ecmp_nh"):
        run(("1", "reg0[5] = chk_ecmp_nh(); next;"), TO_B)


def test_an_unreadable_match_names_its_flow() -> None:
    with pytest.raises(Unsupported, match="ls_ingress_0"):
        run(("nonsense == 1", "next;"))


def test_unreadable_actions_matter_only_to_the_packet_that_meets_them() -> None:
    bound = world(TO_B)
    odd = LogicalFlow((LS,), "ingress", 0, "ls_odd", 200, "tcp.dst == 81", "frobnicate();")
    southbound = Southbound((*bound.southbound.flows, odd), (LS,), bound.southbound.ports)
    tracer = Tracer(World(southbound, bound.hosts, (), bound.chassis))
    (outcome,) = tracer.send(A, packet())
    assert outcome.walk.verdict is Verdict.DELIVERED
    unlucky = packet()
    unlucky.tp_dst = 81
    with pytest.raises(Unsupported, match="ls_odd"):
        tracer.send(A, unlucky)


def test_a_flow_that_ovn_itself_refuses_is_not_there() -> None:
    bound = world(("1", "flags.loopback = 1; drop;"), TO_B)
    fallback = LogicalFlow((LS,), "ingress", 0, "ls_ingress_0", 0, "1", "next;")
    southbound = Southbound((*bound.southbound.flows, fallback), (LS,), bound.southbound.ports)
    (outcome,) = Tracer(World(southbound, bound.hosts, (), bound.chassis)).send(A, packet())
    assert outcome.walk.verdict is Verdict.DELIVERED


def test_a_loop_without_routers_ends() -> None:
    with pytest.raises(Unsupported, match="loops"):
        run(("1", "next(0);"))


def test_patch_ports_clear_conntrack_and_registers() -> None:
    ports = {
        "a": PortBinding("a", LS, chassis="n1"),
        "sr": PortBinding("sr", LS, "patch", options=frozendict({"peer": "rs"})),
        "rs": PortBinding("rs", LR, "patch", options=frozendict({"peer": "sr"})),
    }
    flows = (
        LogicalFlow((LS,), "ingress", 0, "i0", 1, "ip", "reg1 = 1; flags = 1; ct_next;"),
        LogicalFlow((LS,), "ingress", 1, "i1", 1, "ct.trk", 'outport = "sr"; output;'),
        LogicalFlow((LS,), "egress", 0, "e0", 1, "1", "reg2 = 2; output;"),
        LogicalFlow(
            (LR,), "ingress", 0, "r0", 1, "!ct.trk && reg1 == 0 && reg2 == 0 && flags == 0", "drop;", "reached"
        ),
    )
    southbound = Southbound(flows, (LS, LR), frozendict(ports))
    (outcome,) = Tracer(World(southbound, (A,), (), ("n1",))).send(A, packet())
    assert "reached" in outcome.walk.reason


def test_walk_enters_by_a_port_without_a_host() -> None:
    state = PacketState(eth_type=ETH_ARP, arp_op=ARP_REPLY, eth_dst=mac_int(B.mac))
    (outcome,) = Tracer(world(TO_B)).walk("a", state)
    assert outcome.walk.port == "b"


def test_ambiguous_flows_are_noted_when_asked() -> None:
    bound = world(("1", 'outport = "b"; output;'))
    rival = LogicalFlow((LS,), "ingress", 0, "ls_ingress_0", 100, "ip", "drop;")
    southbound = Southbound((*bound.southbound.flows, rival), (LS,), bound.southbound.ports)
    both = World(southbound, bound.hosts, (), bound.chassis)
    for watch in (False, True):
        (outcome,) = Tracer(both, watch_ambiguity=watch).send(A, packet())
        assert outcome.walk.verdict is Verdict.DELIVERED  # "1" comes before "ip"
        assert ("leaves open" in outcome.walk.hops[0].note) is watch


def test_protocols_that_are_none_are_refused() -> None:
    with pytest.raises(Unsupported, match="gre"):
        Tracer(world(TO_B)).converse(A, "10.0.0.2", 80, "gre")
