"""The connection trackers of all chassis, as one value that a walk is given and gives back.

Follows the Linux datapath (nf_conntrack as Open vSwitch uses it), which OVN was written for:

- a connection is found by its tuple in the direction of the first packet, or by the reversed tuple after translation;
- it stays `new` until a packet of the reply direction was seen;
- `nat` without a range translates only connections that are not new, by what was committed, in the right direction (Open
  vSwitch's userspace datapath also translates retransmissions, which are new; that is not modelled);
- state is per zone: a `ct()` in another zone forgets the answer of the one before, but not the rewritten addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from ytwin.logical.southbound import DatapathId
from ytwin.logical.state import (
    CT_DNAT,
    CT_EST,
    CT_INV,
    CT_NEW,
    CT_REL,
    CT_RPL,
    CT_SNAT,
    CT_TRK,
    ETH_IPV6,
    ICMP,
    ICMPV6,
    SCTP,
    TCP,
    UDP,
    PacketState,
)

TCP_SYN, TCP_RST, TCP_ACK = 2, 4, 16
"""Bits of tcp.flags (RFC 9293, 3.1)."""

_ECHO_REQUEST = {ICMP: 8, ICMPV6: 128}
_ECHO_REPLY = {ICMP: 0, ICMPV6: 129}
_FIRST_EPHEMERAL_PORT = 1024
"""Where the search for a free port starts when source NAT meets a tuple that is taken."""


class Zone(NamedTuple):
    """One conntrack zone of one chassis. `name`: "port:<LSP>", "dnat:<datapath>", "snat:<datapath>", "" for zone 0."""

    chassis: str
    name: str


class Tuple5(NamedTuple):
    """Addresses as numbers; for ICMP echo both ports are 0 (one conversation has one identifier)."""

    ipv6: bool
    protocol: int
    src: int
    src_port: int
    dst: int
    dst_port: int

    def reversed(self) -> Tuple5:
        return Tuple5(self.ipv6, self.protocol, self.dst, self.dst_port, self.src, self.src_port)


@dataclass(frozen=True, slots=True)
class Connection:
    """`original`: as its first packet came into the zone. `reply`: what answers look like before translation back."""

    original: Tuple5
    reply: Tuple5
    mark: int = 0
    label: int = 0
    seen_reply: bool = False
    nat: str = ""
    """"dst", "src" or ""."""


class Answer(NamedTuple):
    """What PacketState.ct holds after a ct(): `connection` None for a packet that started none (or is invalid)."""

    zone: Zone
    connection: Connection | None
    reply: bool


class Affinity(NamedTuple):
    """Key of a learned affinity (`commit_lb_aff`): what the next packet of that client to that VIP looks like."""

    chassis: str
    datapath: DatapathId
    client: int
    protocol: int
    vip: int
    vip_port: int


class AffinityTarget(NamedTuple):
    backend: int
    backend_port: int
    idle_timeout_s: int


class HairpinReply(NamedTuple):
    """A flow that chk_lb_hairpin() learns on a chassis: replies of a hairpinned connection look like this."""

    chassis: str
    datapath: DatapathId
    ipv6: bool
    src: int
    dst: int
    protocol: int
    src_port: int


def packet_tuple(state: PacketState) -> Tuple5:
    """The tuple of an IP packet as it is now."""
    ipv6 = state.eth_type == ETH_IPV6
    ports = (state.tp_src, state.tp_dst) if state.ip_proto in (TCP, UDP, SCTP) else (0, 0)
    if ipv6:
        return Tuple5(True, state.ip_proto, state.ip6_src, ports[0], state.ip6_dst, ports[1])
    return Tuple5(False, state.ip_proto, state.ip4_src, ports[0], state.ip4_dst, ports[1])


def _rewrite(state: PacketState, source: tuple[int, int] | None, destination: tuple[int, int] | None) -> None:
    ported = state.ip_proto in (TCP, UDP, SCTP)
    if source is not None:
        if state.eth_type == ETH_IPV6:
            state.ip6_src = source[0]
        else:
            state.ip4_src = source[0]
        if ported:
            state.tp_src = source[1]
    if destination is not None:
        if state.eth_type == ETH_IPV6:
            state.ip6_dst = destination[0]
        else:
            state.ip4_dst = destination[0]
        if ported:
            state.tp_dst = destination[1]


class Conntrack:
    """Connections, affinities and learned hairpin replies of all chassis. `copy()` before changing a value others hold.

    `userspace`: chassis whose tracker is OVS's own (datapath_type netdev) instead of the kernel's. It differs in two points, both
    in lib/conntrack*.c of OVS 3.1 and seen on the wire: it translates a retransmitted first packet without a commit (the kernel's
    translates new packets on commit only), and it takes a RST for the beginning of a connection.
    """

    __slots__ = ("_by_tuple", "affinities", "hairpin_replies", "userspace")

    def __init__(self, userspace: frozenset[str] = frozenset()) -> None:
        self.userspace = userspace
        self._by_tuple: dict[tuple[Zone, Tuple5], tuple[Connection, bool]] = {}
        self.affinities: dict[Affinity, AffinityTarget] = {}
        self.hairpin_replies: frozenset[HairpinReply] = frozenset()

    def copy(self) -> Conntrack:
        other = Conntrack(self.userspace)
        other._by_tuple = dict(self._by_tuple)
        other.affinities = dict(self.affinities)
        other.hairpin_replies = self.hairpin_replies
        return other

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Conntrack)
            and self._by_tuple == other._by_tuple
            and self.affinities == other.affinities
            and self.hairpin_replies == other.hairpin_replies
        )

    __hash__ = None  # type: ignore[assignment]  # changes in place

    def connections(self) -> Mapping[Zone, tuple[Connection, ...]]:
        """Every connection once, by zone."""
        zones: dict[Zone, list[Connection]] = {}
        for (zone, _), (connection, is_reply) in self._by_tuple.items():
            if not is_reply:
                zones.setdefault(zone, []).append(connection)
        return {zone: tuple(found) for zone, found in zones.items()}

    def without(self, chassis: frozenset[str]) -> Conntrack:
        """What is left when these chassis are lost."""
        other = Conntrack(self.userspace)
        other._by_tuple = {key: value for key, value in self._by_tuple.items() if key[0].chassis not in chassis}
        other.affinities = {key: value for key, value in self.affinities.items() if key.chassis not in chassis}
        other.hairpin_replies = frozenset(h for h in self.hairpin_replies if h.chassis not in chassis)
        return other

    # --- what ct() does ------------------------------------------------------------------------------------------------

    def track(self, state: PacketState, zone: Zone, inner: Tuple5 | None = None) -> Answer:
        """Look the packet up in `zone` and set its ct_state, ct_mark, ct_label and ct.

        `inner` is the tuple inside an ICMP error: such a packet is related to that connection, or invalid.
        """
        cached = state.ct
        if isinstance(cached, Answer) and cached.zone == zone and cached.connection is not None:
            return cached
        answer = self._related(state, zone, inner) if inner is not None else self._direct(state, zone)
        state.ct = answer
        state.ct_mark = answer.connection.mark if answer.connection else 0
        state.ct_label = answer.connection.label if answer.connection else 0
        return answer

    def _direct(self, state: PacketState, zone: Zone) -> Answer:
        found = self._by_tuple.get((zone, packet_tuple(state)))
        if found is None:
            state.ct_state = CT_TRK | (CT_NEW if _can_start(state, zone.chassis in self.userspace) else CT_INV)
            return Answer(zone, None, False)
        connection, is_reply = found
        if is_reply and not connection.seen_reply:
            connection = self._replace(zone, connection, replace(connection, seen_reply=True))
        if is_reply:
            state.ct_state = CT_TRK | CT_EST | CT_RPL
        else:
            state.ct_state = CT_TRK | (CT_EST if connection.seen_reply else CT_NEW)
        return Answer(zone, connection, is_reply)

    def _related(self, state: PacketState, zone: Zone, inner: Tuple5) -> Answer:
        found = self._by_tuple.get((zone, inner))
        reply = False
        if found is not None:  # an error about an original packet travels in the reply direction, and the reverse
            reply = not found[1]
        else:
            found = self._by_tuple.get((zone, inner.reversed()))
            if found is not None:
                reply = found[1]
        if found is None:
            state.ct_state = CT_TRK | CT_INV
            return Answer(zone, None, False)
        state.ct_state = CT_TRK | CT_REL | (CT_RPL if reply else 0)
        return Answer(zone, found[0], reply)

    def nat(self, state: PacketState, zone: Zone, inner: Tuple5 | None = None) -> str:
        """`ct(nat)`: track, and translate as it was committed. Returns what was done.

        Left alone without a commit: new connections (by the kernel's tracker), and ICMP errors in the original direction.
        """
        answer = self.track(state, zone, inner)
        if state.ct_state & CT_NEW and answer.connection is not None and zone.chassis in self.userspace:
            return self._translate(state, answer)
        if state.ct_state & CT_NEW or state.ct_state & (CT_REL | CT_RPL) == CT_REL:
            return ""
        return self._translate(state, answer)

    def commit(
        self,
        state: PacketState,
        zone: Zone,
        *,
        nat: str = "",
        address: int = 0,
        port: int = 0,
        inner: Tuple5 | None = None,
    ) -> str:
        """`ct(commit[, nat(src|dst=address[:port])])`: remember the connection and translate the packet.

        A connection that exists keeps the translation it was committed with. Returns what was done, for people.
        """
        answer = self.track(state, zone, inner)
        if state.ct_state & CT_INV or inner is not None:
            return self._translate(state, answer) if inner is not None else ""
        if answer.connection is None:
            original = packet_tuple(state)
            reply = self._reply_tuple(zone, original, nat, address, port)
            if reply is None:
                state.ct_state = CT_TRK | CT_INV
                return "no translation is free"
            connection = Connection(original, reply, nat=nat)
            self._by_tuple[zone, connection.original] = (connection, False)
            self._by_tuple[zone, connection.reply] = (connection, True)
            answer = Answer(zone, connection, False)
            state.ct = answer
        return self._translate(state, answer) if nat else ""

    def mark(self, state: PacketState, *, mark: int | None = None, label: int | None = None) -> None:
        """Set ct_mark and ct_label of the packet's connection (`exec()` of a commit)."""
        answer = state.ct
        assert isinstance(answer, Answer)
        if answer.connection is None:
            return
        new = replace(
            answer.connection,
            mark=answer.connection.mark if mark is None else mark,
            label=answer.connection.label if label is None else label,
        )
        self._replace(answer.zone, answer.connection, new)
        state.ct = answer._replace(connection=new)
        state.ct_mark, state.ct_label = new.mark, new.label

    # --- inside --------------------------------------------------------------------------------------------------------

    def _replace(self, zone: Zone, old: Connection, new: Connection) -> Connection:
        self._by_tuple[zone, old.original] = (new, False)
        self._by_tuple[zone, old.reply] = (new, True)
        return new

    def _reply_tuple(self, zone: Zone, original: Tuple5, nat: str, address: int, port: int) -> Tuple5 | None:
        """What replies will look like; None if another connection has that tuple and nothing else may be chosen."""
        reply = original.reversed()
        if nat == "dst":
            reply = reply._replace(src=address, src_port=port or reply.src_port)
        elif nat == "src" and address:
            reply = reply._replace(dst=address, dst_port=port or reply.dst_port)
        if (zone, reply) not in self._by_tuple:
            return reply
        if nat != "src" or original.protocol not in (TCP, UDP, SCTP):
            return None
        ports = range(_FIRST_EPHEMERAL_PORT, 0x10000)
        candidates = (reply._replace(dst_port=free) for free in ports)
        return next((other for other in candidates if (zone, other) not in self._by_tuple), None)

    @staticmethod
    def _translate(state: PacketState, answer: Answer) -> str:
        connection = answer.connection
        if connection is None or state.ct_state & (CT_SNAT | CT_DNAT):
            return ""
        original, reply = connection.original, connection.reply
        if answer.reply:
            if (reply.src, reply.src_port) != (original.dst, original.dst_port):
                _rewrite(state, (original.dst, original.dst_port), None)
                state.ct_state |= CT_SNAT
            if (reply.dst, reply.dst_port) != (original.src, original.src_port):
                _rewrite(state, None, (original.src, original.src_port))
                state.ct_state |= CT_DNAT
        else:
            if (reply.src, reply.src_port) != (original.dst, original.dst_port):
                _rewrite(state, None, (reply.src, reply.src_port))
                state.ct_state |= CT_DNAT
            if (reply.dst, reply.dst_port) != (original.src, original.src_port):
                _rewrite(state, (reply.dst, reply.dst_port), None)
                state.ct_state |= CT_SNAT
        if not state.ct_state & (CT_SNAT | CT_DNAT):
            return ""
        return "translated back" if answer.reply else ("DNAT" if state.ct_state & CT_DNAT else "SNAT")


def _can_start(state: PacketState, userspace: bool) -> bool:
    """Whether the tracker takes this packet as the first of a connection: no SYN+ACK, no RST, no echo reply or ICMP error."""
    protocol = state.ip_proto
    if protocol == TCP:
        syn_ack = state.tcp_flags & (TCP_SYN | TCP_ACK) == TCP_SYN | TCP_ACK
        return not syn_ack and (userspace or not state.tcp_flags & TCP_RST)
    if protocol in _ECHO_REQUEST:
        return state.icmp_type == _ECHO_REQUEST[protocol]
    return True


def is_echo_reply(state: PacketState) -> bool:
    """An ICMP or ICMPv6 echo reply."""
    return state.icmp_type == _ECHO_REPLY.get(state.ip_proto, -1)
