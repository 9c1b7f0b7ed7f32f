"""What a chassis knows of load balancers beside the logical flows: hairpinned connections and session affinity.

A connection is hairpinned when the backend chosen is the client itself: it must then see the VIP as its peer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ytwin.logical.addresses import ip_int, split_endpoint
from ytwin.logical.southbound import DatapathId, SbLoadBalancer
from ytwin.logical.state import CT_DNAT, CT_TRK, ETH_IP, ETH_IPV6, PROTOCOLS, PacketState
from ytwin.trace.conntrack import Affinity, AffinityTarget, Answer, Conntrack, HairpinReply

NATTED = 1 << 1
"""ct_mark.natted: the connection went through a load balancer."""


class Vip(NamedTuple):
    """A VIP as hairpin detection sees it; `snat` is the address that the backend then sees."""

    ipv6: bool
    address: int
    port: int
    protocol: int
    snat: int
    by_register: bool
    """Compare with the VIP that northd saved in registers, not with conntrack's original tuple."""
    backends: frozenset[tuple[int, int]]
    datapaths: frozenset[DatapathId]


class Hairpins:
    """VIPs of all load balancers, by (family, VIP address)."""

    def __init__(self, balancers: Iterable[SbLoadBalancer]) -> None:
        self._balancers = tuple(balancers)
        self._index: dict[tuple[bool, int], list[SbLoadBalancer]] | None = None
        self._vips: dict[tuple[str, bool, int], list[Vip]] = {}

    def _of(self, ipv6: bool, address: int) -> list[Vip]:
        if self._index is None:
            index: dict[tuple[bool, int], list[SbLoadBalancer]] = defaultdict(list)
            for balancer in self._balancers:
                for vip in {split_endpoint(text)[0] for text in balancer.vips}:
                    index[":" in vip, ip_int(vip)].append(balancer)
            self._index = index
        found: list[Vip] = []
        for balancer in self._index.get((ipv6, address), ()):
            key = (balancer.name, ipv6, address)
            if key not in self._vips:
                self._vips[key] = [v for v in _parse(balancer) if (v.ipv6, v.address) == (ipv6, address)]
            found += self._vips[key]
        return found

    def match(self, state: PacketState, *, backend: bool) -> Vip | None:
        """The VIP that a load-balanced packet was sent to; with `backend`, only if its destination is a backend of it."""
        if state.eth_type not in (ETH_IP, ETH_IPV6):
            return None
        ipv6 = state.eth_type == ETH_IPV6
        here = (state.ip_dst, state.tp_dst)
        answer = (
            state.ct if isinstance(state.ct, Answer) and state.ct_state & CT_DNAT and state.ct_state & CT_TRK else None
        )
        original = answer.connection.original if answer and answer.connection else None
        saved = _saved_vip(state, ipv6)
        candidates = self._of(ipv6, saved[0])
        if original is not None and original.dst != saved[0]:
            candidates = candidates + self._of(ipv6, original.dst)
        for vip in candidates:
            if vip.port and vip.protocol != state.ip_proto:
                continue
            seen = saved if vip.by_register else (original.dst, original.dst_port) if original else None
            if seen is None or seen[0] != vip.address or (vip.port and seen[1] != vip.port):
                continue
            if backend and here not in vip.backends and (here[0], 0) not in vip.backends:
                continue
            return vip
        return None


def _saved_vip(state: PacketState, ipv6: bool) -> tuple[int, int]:
    """The VIP in the registers of the switch pipeline: reg1 or xxreg1, and reg2[0..15]."""
    wide = (state.reg4 << 96) | (state.reg5 << 64) | (state.reg6 << 32) | state.reg7
    return (wide if ipv6 else state.reg1), state.reg2 & 0xFFFF


def _parse(balancer: SbLoadBalancer) -> list[Vip]:
    snat = {":" in a: ip_int(a) for a in balancer.options.get("hairpin_snat_ip", "").split()}
    by_register = balancer.options.get("hairpin_orig_tuple", "false") == "true"
    vips = []
    for key, value in balancer.vips.items():
        address, port = split_endpoint(key)
        ipv6 = ":" in address
        number = ip_int(address)
        ends = [split_endpoint(b) for b in value.split(",") if b]
        vips.append(
            Vip(
                ipv6,
                number,
                port,
                PROTOCOLS.get(balancer.protocol or "tcp", 0),
                snat.get(ipv6, number),
                by_register,
                frozenset((ip_int(a), p) for a, p in ends),
                frozenset(balancer.datapaths),
            )
        )
    return vips


def check_hairpin(
    state: PacketState, hairpins: Hairpins, conntrack: Conntrack, chassis: str, datapath: DatapathId
) -> bool:
    """`chk_lb_hairpin()`; remembers what the reply will look like, as the chassis learns a flow for it."""
    if state.ip_src != state.ip_dst or not (state.ct_mark | state.ct_label) & NATTED:
        return False
    vip = hairpins.match(state, backend=True)
    if vip is None:
        return False
    reply = HairpinReply(chassis, datapath, vip.ipv6, state.ip_dst, vip.snat, state.ip_proto, state.tp_dst)
    conntrack.hairpin_replies |= {reply}
    return True


def check_hairpin_reply(state: PacketState, conntrack: Conntrack, chassis: str, datapath: DatapathId) -> bool:
    """`chk_lb_hairpin_reply()`."""
    if not conntrack.hairpin_replies or state.eth_type not in (ETH_IP, ETH_IPV6):
        return False
    ipv6 = state.eth_type == ETH_IPV6
    wanted = HairpinReply(chassis, datapath, ipv6, state.ip_src, state.ip_dst, state.ip_proto, state.tp_src)
    return wanted in conntrack.hairpin_replies


def check_affinity(state: PacketState, conntrack: Conntrack, chassis: str, datapath: DatapathId) -> bool:
    """`chk_lb_aff()`: if the client has a backend already, its address and port go to the registers northd compares."""
    if not conntrack.affinities or state.eth_type not in (ETH_IP, ETH_IPV6):
        return False
    with_port = Affinity(chassis, datapath, state.ip_src, state.ip_proto, state.ip_dst, state.tp_dst)
    found = conntrack.affinities.get(with_port)
    if found is None:
        found = conntrack.affinities.get(with_port._replace(protocol=0, vip_port=0))
    if found is None:
        return False
    if state.eth_type == ETH_IP:
        state.reg4 = found.backend
    else:
        words = tuple((found.backend >> shift) & 0xFFFFFFFF for shift in (96, 64, 32, 0))
        if datapath.kind == "switch":
            state.reg0, state.reg1, state.reg2, state.reg3 = words
        else:
            state.reg4, state.reg5, state.reg6, state.reg7 = words
    if found.backend_port:
        state.reg8 = (state.reg8 & ~0xFFFF) | found.backend_port
    return True


def learn_affinity(
    state: PacketState,
    conntrack: Conntrack,
    chassis: str,
    datapath: DatapathId,
    vip: str,
    backend: str,
    protocol: str,
    timeout_s: int,
) -> None:
    """`commit_lb_aff(...)`: the next connection of this client to the VIP goes to the same backend."""
    address, port = split_endpoint(vip)
    target, target_port = split_endpoint(backend)
    number = PROTOCOLS[protocol] if protocol else 0
    key = Affinity(chassis, datapath, state.ip_src, number, ip_int(address), port if protocol else 0)
    conntrack.affinities[key] = AffinityTarget(ip_int(target), target_port, timeout_s)
