"""Makes readable values (Hop, Walk, Packet) of the raw marks and ends of a run."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ytwin.logical.addresses import ip_text, mac_text
from ytwin.logical.state import ETH_ARP, ETH_IP, ETH_IPV6, ICMP, ICMPV6, ND_NA, ND_NS, SCTP, TCP, UDP, PacketState
from ytwin.trace.flight import Mark, snapshot
from ytwin.trace.types import Hop, Packet

_NAMES = {TCP: "tcp", UDP: "udp", SCTP: "sctp", ICMP: "icmp", ICMPV6: "icmp"}
_mac = lru_cache(maxsize=65536)(mac_text)
_ip = lru_cache(maxsize=65536)(ip_text)


@lru_cache(maxsize=65536)
def _packet(raw: tuple[Any, ...]) -> Packet:
    src, dst, kind, proto, src4, dst4, src6, dst6, tp_src, tp_dst, ttl, spa, tpa, icmp_type, target = raw
    if kind == ETH_ARP:
        return Packet(_mac(src), _mac(dst), _ip(spa, False), _ip(tpa, False), "arp", ttl=0)
    if kind == ETH_IP:
        source, target_ip = _ip(src4, False), _ip(dst4, False)
    elif kind == ETH_IPV6:
        source, target_ip = _ip(src6, True), _ip(dst6, True)
        if proto == ICMPV6 and icmp_type in (ND_NS, ND_NA):
            return Packet(_mac(src), _mac(dst), source, _ip(target, True), "nd", ttl=ttl)
    else:
        return Packet(_mac(src), _mac(dst), "", "", f"ethertype {kind:#06x}", ttl=0)
    ports = (tp_src, tp_dst) if proto in (TCP, UDP, SCTP) else (0, 0)
    name = _NAMES.get(proto, str(proto))
    return Packet(_mac(src), _mac(dst), source, target_ip, name, ports[0], ports[1], ttl)


def packet_of(state: PacketState) -> Packet:
    """The parts of a packet that a person asks about."""
    return _packet(snapshot(state))


def packet_from(raw: tuple[Any, ...]) -> Packet:
    """The same from a snapshot."""
    return _packet(raw)


def hops_of(trail: Mark | None) -> tuple[Hop, ...]:
    """The tables that a copy of the packet went through, first to last."""
    found: list[Hop] = []
    mark = trail
    while mark is not None:
        stage = mark.flow.stage if mark.flow is not None else ""
        found.append(
            Hop(
                mark.chassis,
                mark.datapath,
                mark.pipeline,
                mark.table,
                stage,
                mark.flow,
                _packet(mark.after),
                mark.note,
                mark.seen,
            )
        )
        mark = mark.before
    found.reverse()
    return tuple(found)
