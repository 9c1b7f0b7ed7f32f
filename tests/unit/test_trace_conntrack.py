"""The tracker: directions, translation, marks, related errors, zones."""

from __future__ import annotations

import pytest

from ytwin.logical.addresses import ip_int
from ytwin.logical.state import (
    CT_DNAT,
    CT_EST,
    CT_INV,
    CT_NEW,
    CT_REL,
    CT_RPL,
    CT_SNAT,
    CT_TRK,
    PacketState,
    echo,
    transport,
)
from ytwin.trace.conntrack import TCP_ACK, TCP_RST, TCP_SYN, Conntrack, Zone
from ytwin.trace.generated import icmp_error

ZONE, OTHER = Zone("n1", "port:a"), Zone("n1", "port:b")
MACS = ("00:00:00:00:00:01", "00:00:00:00:00:02")
CLIENT, VIP, BACKEND = "10.0.0.1", "10.96.0.1", "10.0.0.2"


def tcp(src: str, dst: str, ports: tuple[int, int] = (40000, 80), flags: int = TCP_SYN) -> PacketState:
    state = transport("tcp", "p", MACS, (src, dst), ports)
    state.tcp_flags = flags
    return state


def to_backend(tracker: Conntrack, zone: Zone = ZONE) -> PacketState:
    """A first packet that was load-balanced from VIP:80 to BACKEND:8080."""
    state = tcp(CLIENT, VIP)
    assert tracker.commit(state, zone, nat="dst", address=ip_int(BACKEND), port=8080) == "DNAT"
    return state


def test_unknown_packet_is_new_and_leaves_nothing() -> None:
    tracker = Conntrack()
    state = tcp(CLIENT, VIP)
    tracker.track(state, ZONE)
    assert state.ct_state == CT_TRK | CT_NEW
    assert not tracker.connections()


def test_commit_with_dnat_rewrites_and_is_found_by_both_tuples() -> None:
    tracker = Conntrack()
    state = to_backend(tracker)
    assert (state.ip4_dst, state.tp_dst) == (ip_int(BACKEND), 8080)
    assert state.ct_state == CT_TRK | CT_NEW | CT_DNAT
    reply = tcp(BACKEND, CLIENT, (8080, 40000), TCP_SYN | TCP_ACK)
    assert tracker.nat(reply, ZONE) == "translated back"
    assert (reply.ip4_src, reply.tp_src) == (ip_int(VIP), 80)
    assert reply.ct_state == CT_TRK | CT_EST | CT_RPL | CT_SNAT
    (connections,) = tracker.connections().values()
    assert len(connections) == 1
    assert connections[0].seen_reply


def test_second_packet_is_established_and_translated_only_after_a_reply() -> None:
    tracker = Conntrack()
    to_backend(tracker)
    again = tcp(CLIENT, VIP)
    assert tracker.nat(again, ZONE) == ""
    assert again.ct_state == CT_TRK | CT_NEW  # a retransmission: the Linux datapath translates only what is not new
    assert again.ip4_dst == ip_int(VIP)
    tracker.nat(tcp(BACKEND, CLIENT, (8080, 40000), TCP_SYN | TCP_ACK), ZONE)
    second = tcp(CLIENT, VIP, flags=TCP_ACK)
    assert tracker.nat(second, ZONE) == "DNAT"
    assert second.ct_state == CT_TRK | CT_EST | CT_DNAT
    assert second.ip4_dst == ip_int(BACKEND)


def test_retransmission_keeps_the_backend_it_was_given() -> None:
    tracker = Conntrack()
    to_backend(tracker)
    again = tcp(CLIENT, VIP)
    tracker.commit(again, ZONE, nat="dst", address=ip_int("10.0.0.99"), port=1)
    assert (again.ip4_dst, again.tp_dst) == (ip_int(BACKEND), 8080)


def test_another_zone_knows_nothing() -> None:
    tracker = Conntrack()
    to_backend(tracker)
    reply = tcp(BACKEND, CLIENT, (8080, 40000), TCP_ACK)
    assert tracker.nat(reply, OTHER) == ""
    assert reply.ct_state == CT_TRK | CT_NEW


def test_same_zone_twice_does_not_translate_twice() -> None:
    tracker = Conntrack()
    state = to_backend(tracker)
    before = state.key()
    assert tracker.nat(state, ZONE) == ""
    assert state.key() == before


def test_snat_and_way_back() -> None:
    tracker = Conntrack()
    state = tcp(CLIENT, BACKEND)
    assert tracker.commit(state, ZONE, nat="src", address=ip_int("100.88.0.2")) == "SNAT"
    assert state.ip4_src == ip_int("100.88.0.2")
    reply = tcp(BACKEND, "100.88.0.2", (80, 40000), TCP_ACK)
    assert tracker.nat(reply, ZONE) == "translated back"
    assert reply.ip4_dst == ip_int(CLIENT)
    assert reply.ct_state & CT_DNAT


def test_snat_of_two_clients_with_one_port_takes_another_port() -> None:
    tracker = Conntrack()
    first, second = tcp(CLIENT, BACKEND), tcp("10.0.0.7", BACKEND)
    for state in (first, second):
        tracker.commit(state, ZONE, nat="src", address=ip_int("100.88.0.2"))
    assert first.tp_src == 40000
    assert second.tp_src != first.tp_src
    reply = tcp(BACKEND, "100.88.0.2", (80, second.tp_src), TCP_ACK)
    tracker.nat(reply, ZONE)
    assert (reply.ip4_dst, reply.tp_dst) == (ip_int("10.0.0.7"), 40000)


@pytest.mark.parametrize("flags", [TCP_SYN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK])
def test_segments_that_cannot_start_a_connection_are_invalid(flags: int) -> None:
    state = tcp(CLIENT, VIP, flags=flags)
    Conntrack().track(state, ZONE)
    assert state.ct_state == CT_TRK | CT_INV


def test_invalid_packet_is_not_committed() -> None:
    tracker = Conntrack()
    tracker.commit(tcp(CLIENT, VIP, flags=TCP_RST), ZONE, nat="src")
    assert not tracker.connections()


@pytest.mark.parametrize(("src", "dst"), [(CLIENT, VIP), ("fd00::1", "fd00::2")])
def test_echo_and_its_reply(src: str, dst: str) -> None:
    tracker = Conntrack()
    tracker.commit(echo("p", MACS, (src, dst)), ZONE)
    reply = echo("p", MACS, (dst, src), reply=True)
    tracker.track(reply, ZONE)
    assert reply.ct_state == CT_TRK | CT_EST | CT_RPL
    stray = echo("p", MACS, (src, dst), reply=True)
    tracker.track(stray, OTHER)
    assert stray.ct_state == CT_TRK | CT_INV


def test_icmp_error_is_related_and_shows_the_vip() -> None:
    tracker = Conntrack()
    sent = to_backend(tracker)
    error, inner = icmp_error(sent, reject=True)
    assert tracker.nat(error, ZONE, inner) == "translated back"
    assert error.ct_state & (CT_REL | CT_RPL) == CT_REL | CT_RPL
    assert error.ip4_src == ip_int(VIP)
    stray, stray_inner = icmp_error(tcp("10.0.0.8", "10.0.0.9"), reject=True)
    tracker.track(stray, ZONE, stray_inner)
    assert stray.ct_state == CT_TRK | CT_INV


def test_marks_belong_to_the_connection() -> None:
    tracker = Conntrack()
    state = to_backend(tracker)
    tracker.mark(state, mark=2)
    reply = tcp(BACKEND, CLIENT, (8080, 40000), TCP_ACK)
    tracker.track(reply, ZONE)
    assert reply.ct_mark == 2
    unknown = tcp("10.0.0.8", VIP)
    tracker.track(unknown, ZONE)
    assert unknown.ct_mark == 0


def test_copy_is_independent_and_a_lost_chassis_takes_its_connections() -> None:
    tracker = Conntrack()
    to_backend(tracker)
    to_backend(tracker, Zone("n2", "port:c"))
    copy = tracker.copy()
    assert copy == tracker
    copy.commit(tcp("10.0.0.8", BACKEND), OTHER)
    assert copy != tracker
    assert set(tracker.without(frozenset({"n1"})).connections()) == {Zone("n2", "port:c")}


def test_families_do_not_meet() -> None:
    tracker = Conntrack()
    four = tcp("0.0.0.1", "0.0.0.2")
    six = tcp("::1", "::2")
    tracker.commit(four, ZONE)
    tracker.track(six, ZONE)
    assert six.ct_state & CT_NEW
    assert len(tracker.connections()[ZONE]) == 1


def test_destination_nat_cannot_share_a_reply_tuple() -> None:
    tracker = Conntrack()
    to_backend(tracker)
    other_vip = tcp(CLIENT, "10.96.0.2")
    assert tracker.commit(other_vip, ZONE, nat="dst", address=ip_int(BACKEND), port=8080) == "no translation is free"
    assert other_vip.ct_state == CT_TRK | CT_INV
    assert len(tracker.connections()[ZONE]) == 1
    free = tcp(CLIENT, "10.96.0.2", (40001, 80))
    assert tracker.commit(free, ZONE, nat="dst", address=ip_int(BACKEND), port=8080) == "DNAT"


def test_the_kernel_leaves_a_retransmission_to_its_commit_and_userspace_translates_it_at_once() -> None:
    for userspace, done, destination in ((frozenset[str](), "", VIP), (frozenset({"n1"}), "DNAT", BACKEND)):
        tracker = Conntrack(userspace)
        to_backend(tracker)
        again = tcp(CLIENT, VIP)
        assert tracker.copy().nat(again, ZONE) == done
        assert again.ct_state & CT_NEW
        assert again.ip4_dst == ip_int(destination)


def test_a_reset_begins_a_connection_in_userspace_only() -> None:
    for userspace, state_bits in ((frozenset({"n2"}), CT_INV), (frozenset({"n1"}), CT_NEW)):
        reset = tcp(CLIENT, VIP, flags=TCP_RST | TCP_ACK)
        Conntrack(userspace).track(reset, ZONE)
        assert reset.ct_state == CT_TRK | state_bits
