"""Which hosts, and which addresses, a network cannot tell apart: read from its flows, so that one answer may serve for many.

A packet's way is decided by the flows of the datapaths that it visits, and a flow sees no more of an address than whether it is,
or lies in, what some flow names. Two addresses that lie in the same named networks of a datapath, and are named by none of its
flows, meet the same flows there. Two hosts of one Subnet whose own port, MAC and addresses occur in the same flows at the same
places, on chassis that host nothing that the flows tell apart, send and receive alike.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv6Address, ip_address, ip_network

from frozendict import frozendict

from ytwin.datapath import Limit
from ytwin.logical.addresses import ip_int
from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.trace.conversation import CLIENT_PORT
from ytwin.trace.types import Host, World

_IP = r"(?:\d+(?:\.\d+){3}|[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F.]*)"
_NETWORK = re.compile(rf"(?<![\w:.\"]){_IP}(?:/[\w.:]+)?")
_TOKEN = re.compile(rf"\"[^\"]*\"|{_IP}")
_BACKENDS = re.compile(r"backends=[^;)]*")
_AS_SERVER = re.compile(rf"ip[46]\.src == {_IP} && (?:tcp|udp|sctp)\.src == (?!{CLIENT_PORT}\b)\d+")
"""What a client's own packets never match, because they leave from another port: replies of a backend."""
_RESIDENT = re.compile(r'chassis_resident\("([^"]*)')
_SET = re.compile(r"[$@]([\w.-]+)")
_NEXT_HOP = re.compile(rf"\bx*reg0 = ({_IP})")
_BY_BITS = re.compile(r"[<>]|\bip[46]\.(?:src|dst)\[|\b0x[0-9a-fA-F]{6,}|\b\d{8,}\b")
"""Ways to look at an address other than comparing it with an address or a network."""
_ADDRESS_COPIED = re.compile(r"\b(x*reg\d+) = ip[46]\.(?:src|dst)\b")
_REGISTER_BITS = re.compile(r"\b(x*reg\d+)\[")
_ALWAYS = ("224.0.0.0/4", "255.255.255.255", "ff00::/8", "fe80::/10", "127.0.0.0/8", "::", "0.0.0.0")
"""Named by the language's own predicates (ip4.mcast, ...), and by what hosts do."""

Network = tuple[int, int, int]
"""IP version, prefix length, first address."""
Sight = tuple[Network, ...]
"""The named networks in which an address lies."""


def _network(text: str) -> Network | None:
    """None for what only looks like an address (a MAC address)."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        return None
    return found.version, found.prefixlen, int(found.network_address)


class _Named:
    """Networks and addresses that flows name."""

    def __init__(self) -> None:
        self.networks: set[Network] = {n for n in map(_network, _ALWAYS) if n is not None}
        self.by_bits = False
        """Some flow looks at single bits, so that every address is different."""

    @cached_property
    def lengths(self) -> dict[int, tuple[int, ...]]:
        return {version: tuple(sorted({n[1] for n in self.networks if n[0] == version})) for version in (4, 6)}

    def sight(self, version: int, address: int) -> Sight:
        bits = 32 if version == 4 else 128
        at = ((version, length, address >> (bits - length) << (bits - length)) for length in self.lengths[version])
        return tuple(network for network in at if network in self.networks)


class Likeness:
    """What a World's flows can tell apart. `limits` by chassis, as in `check`; `unlike`: what else tells chassis apart."""

    def __init__(
        self, world: World, limits: Mapping[str, Limit], unlike: Mapping[str, Hashable] = frozendict()
    ) -> None:
        self._world, self._limits, self._unlike = world, limits, unlike
        self._named: dict[DatapathId, _Named] = defaultdict(_Named)
        self._owners: dict[int, list[Host]] = defaultdict(list)
        for host in world.hosts:
            for address in host.addresses:
                self._owners[ip_int(address.partition("/")[0])].append(host)
        self._partners: dict[int, set[int]] = defaultdict(set)
        next_hops: set[int] = set()
        for flow in world.southbound.flows:
            next_hops.update(ip_int(found) for found in _NEXT_HOP.findall(flow.actions))
            self._read(flow)
        self._read_rows()
        self._whole = _Named()
        for named in self._named.values():
            self._whole.networks |= named.networks
            self._whole.by_bits |= named.by_bits
        self._anchors = frozenset(h for address in next_hops for h in self._owners.get(address, ()))
        self._sights: dict[tuple[DatapathId, int, int], Sight | None] = {}
        self._kinds: dict[Host, Hashable] = {}
        self._views: dict[tuple[Host, DatapathId], int] = {}
        self._numbers: dict[Hashable, int] = {}
        self._shapes_of: dict[Host, Mapping[DatapathId, tuple[str, ...]]] = {}
        self._places: dict[str, Mapping[DatapathId, tuple[str, ...]]] = {}

    # --- addresses -----------------------------------------------------------------------------------------------------

    def _read(self, flow: LogicalFlow) -> None:
        """Note which addresses a flow names, and which others it may put in their place."""
        southbound = self._world.southbound
        texts = [flow.match]
        for name in _SET.findall(flow.match):
            texts += southbound.address_sets.get(name, ())
        networks = {n for text in texts for n in map(_network, _NETWORK.findall(text)) if n is not None}
        copied, bits = _ADDRESS_COPIED.findall(flow.actions), _REGISTER_BITS.findall(flow.match)
        by_bits = bool(_BY_BITS.search(flow.match))
        for datapath in flow.datapaths:
            named = self._named[datapath]
            named.networks |= networks
            named.by_bits |= by_bits
            self._registers[datapath][0].update(copied)
            self._registers[datapath][1].update(bits)
        put = {n[2] for n in map(_network, _NETWORK.findall(flow.actions)) if n is not None}
        for _, length, address in networks if put else ():
            if length in (32, 128):
                self._partners[address] |= put

    @cached_property
    def _registers(self) -> dict[DatapathId, tuple[set[str], set[str]]]:
        """Registers that get an address, and registers of which single bits are looked at."""
        return defaultdict(lambda: (set(), set()))

    def _read_rows(self) -> None:
        """What the pipelines look up elsewhere: neighbours, and load balancers for hairpin traffic."""
        southbound = self._world.southbound
        for datapath, (addresses, bits) in self._registers.items():
            self._named[datapath].by_bits |= not addresses.isdisjoint(bits)
        for balancer in southbound.load_balancers:
            for vip, backends in balancer.vips.items():
                named = {
                    n for n in map(_network, _NETWORK.findall(f"{vip} {backends}".replace("[", " "))) if n is not None
                }
                for datapath in balancer.datapaths:
                    self._named[datapath].networks |= named
                for _, _, address in named:
                    self._partners[address] |= {n[2] for n in named}
        for binding in southbound.mac_bindings:
            port, network = southbound.ports.get(binding.port), _network(binding.ip)
            if port is not None and network is not None:
                self._named[port.datapath].networks.add(network)

    def sight(self, datapath: DatapathId, address: str) -> Sight | None:
        """What a datapath sees of an address; None if it can tell it from every other."""
        number, version = ip_int(address), 6 if ":" in address else 4
        key = (datapath, version, number)
        if key not in self._sights:
            named = self._named[datapath]
            seen = named.sight(version, number)
            alone = named.by_bits or number in self._owners or any(n[1] == (32 if version == 4 else 128) for n in seen)
            self._sights[key] = None if alone else seen
        return self._sights[key]

    def related(self, address: str) -> frozenset[Host]:
        """Hosts that own an address, or one that flows put in its place: whoever may answer a packet to it."""
        number = ip_int(address)
        return frozenset(h for n in (number, *self._partners.get(number, ())) for h in self._owners.get(n, ()))

    # --- hosts ---------------------------------------------------------------------------------------------------------

    def kind(self, host: Host) -> Hashable:
        """Equal for hosts that differ in what `view` tells only, and in names."""
        found = self._kinds.get(host)
        if found is None:
            found = self._kinds[host] = self._kind(host)
        return found

    def _kind(self, host: Host) -> Hashable:
        southbound = self._world.southbound
        binding = southbound.ports.get(host.port)
        if binding is None or host.kind == "outside" or self._whole.by_bits:
            return host.name
        own = _own_words(host)
        plain = replace(binding, chassis="", tunnel_key=0)
        lengths = tuple(address.partition("/")[2] for address in host.addresses)
        sights = tuple(self._networks_around(address.partition("/")[0]) for address in host.addresses)
        sets = tuple(name for name, members in southbound.address_sets.items() if not own.keys().isdisjoint(members))
        groups = tuple(name for name, members in southbound.port_groups.items() if host.port in members)
        floods = tuple(str(g) for g in self._floods.get(host.port, ()))
        beside = tuple(h.name for h in self._plugged.get(host.port, ()) if h is not host)
        living, userspace = host.chassis in self._world.chassis, host.chassis in self._world.userspace
        return (
            (host.vpc, host.subnet, lengths, host.routes, sights, sets, groups, floods, beside),
            (living, userspace, self._limits.get(host.chassis), self._unlike.get(host.chassis)),
            (_blank(repr(plain), own), tuple(h.name for h in self._anchors if h.chassis == host.chassis)),
        )

    def _networks_around(self, address: str) -> Sight:
        seen = self._whole.sight(6 if ":" in address else 4, ip_int(address))
        return tuple(n for n in seen if n[1] not in (32, 128))

    @cached_property
    def _plugged(self) -> dict[str, list[Host]]:
        found: dict[str, list[Host]] = defaultdict(list)
        for host in self._world.hosts:
            found[host.port].append(host)
        return found

    def view(self, host: Host, datapath: DatapathId) -> int:
        """Equal for hosts of one kind that a datapath cannot tell apart: by the flows that name them, or by their chassis."""
        key = (host, datapath)
        found = self._views.get(key)
        if found is None:
            seen = (self._shapes(host).get(datapath, ()), self._place(host.chassis).get(datapath, ()))
            found = self._views[key] = self._numbers.setdefault(seen, len(self._numbers))
        return found

    def _shapes(self, host: Host) -> Mapping[DatapathId, tuple[str, ...]]:
        """By datapath, the flows that name the host, without the host."""
        found = self._shapes_of.get(host)
        if found is None:
            own = _own_words(host)
            by_datapath: dict[DatapathId, list[str]] = defaultdict(list)
            for index in sorted({index for word in own for index in self._flows_by_word.get(word, ())}):
                flow = self._world.southbound.flows[index]
                match = _blank(_AS_SERVER.sub("", flow.match), own)
                text = f"{flow.pipeline} {flow.table} {flow.priority} {match} -> {_blank(flow.actions, own)}"
                for datapath in flow.datapaths:
                    by_datapath[datapath].append(text)
            found = self._shapes_of[host] = {d: tuple(sorted(texts)) for d, texts in by_datapath.items()}
        return found

    @cached_property
    def _flows_by_word(self) -> dict[str, list[int]]:
        wanted = {word for host in self._world.hosts for word in _own_words(host)}
        found: dict[str, list[int]] = defaultdict(list)
        for index, flow in enumerate(self._world.southbound.flows):
            text = f"{_AS_SERVER.sub('', flow.match)} {_BACKENDS.sub('', flow.actions)}"
            for word in {word.strip('"') for word in _TOKEN.findall(text)} & wanted:
                found[word].append(index)
        return found

    @cached_property
    def _floods(self) -> dict[str, list[tuple[DatapathId, str]]]:
        found: dict[str, list[tuple[DatapathId, str]]] = defaultdict(list)
        for group in self._world.southbound.multicast_groups:
            for port in group.ports:
                found[port].append((group.datapath, group.name))
        return found

    def _place(self, chassis: str) -> Mapping[DatapathId, tuple[str, ...]]:
        """By datapath, what a chassis has that decides anything there: gateway ports, physical networks, ports asked for."""
        found = self._places.get(chassis)
        if found is None:
            by_datapath: dict[DatapathId, list[str]] = defaultdict(list)
            ports = self._world.southbound.ports
            own = {host.port for host in self._world.hosts}
            for name, port in sorted(ports.items()):
                if port.chassis == chassis and (port.type != "" or name not in own):
                    by_datapath[port.datapath].append(name)
            for name, mapped in self._world.localnet_chassis:
                if chassis in mapped and name in ports:
                    by_datapath[ports[name].datapath].append(name)
            for name, datapaths in self._asked.items():
                if name in ports and ports[name].chassis == chassis:
                    for datapath in datapaths:
                        by_datapath[datapath].append(name)
            found = self._places[chassis] = {d: tuple(names) for d, names in by_datapath.items()}
        return found

    def placeless(self, places: Iterable[DatapathId]) -> bool:
        """Whether it decides nothing in these datapaths which hosts are on one chassis, besides what `view` tells of it."""
        return self._alike_chassis and self._placed.isdisjoint(places)

    @cached_property
    def _alike_chassis(self) -> bool:
        return not self._world.userspace or self._world.userspace.issuperset(self._world.chassis)

    @cached_property
    def _placed(self) -> frozenset[DatapathId]:
        """Datapaths with a physical network, or with hosts that routes lead to."""
        ports = self._world.southbound.ports
        found = {port.datapath for port in ports.values() if port.type in ("localnet", "l3gateway")}
        return frozenset(found | {ports[host.port].datapath for host in self._anchors if host.port in ports})

    @cached_property
    def _asked(self) -> dict[str, set[DatapathId]]:
        """Port -> the datapaths whose flows ask on which chassis it is."""
        found: dict[str, set[DatapathId]] = defaultdict(set)
        for flow in self._world.southbound.flows:
            for name in _RESIDENT.findall(flow.match):
                found[name].update(flow.datapaths)
        return found


def _own_words(host: Host) -> dict[str, str]:
    """Every word that stands for this host alone in a flow, and what to read in its place."""
    words = {host.port: "<port>", host.mac: "<mac>"}
    eui = IPv6Address(int(ip_address("fe80::")) | _eui64(host.mac))
    words[str(eui)] = "<link-local>"
    words[_solicited(eui)] = "<link-local solicited>"
    for index, address in enumerate(host.addresses):
        bare = ip_address(address.partition("/")[0])
        words[str(bare)] = f"<address {index}>"
        if isinstance(bare, IPv6Address):
            words[_solicited(bare)] = f"<solicited {index}>"
    return words


def _eui64(mac: str) -> int:
    number = int(mac.replace(":", ""), 16)
    return ((number >> 24) ^ 0x020000) << 40 | 0xFFFE << 24 | number & 0xFFFFFF


def _solicited(address: IPv6Address) -> str:
    return str(IPv6Address(int(ip_address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF))


def _blank(text: str, words: Mapping[str, str]) -> str:
    return rewritten(text, words)


def rewritten(text: str, words: Mapping[str, str]) -> str:
    """A text with whole words (names, addresses) put in place of others, all at once."""
    present: Iterable[str] = sorted((w for w in words if w and w in text), key=len, reverse=True)
    alternatives = "|".join(
        rf"(?<![\w.:]){re.escape(w)}(?![\w:]|\.\w)" if ":" in w else rf"(?<![\w.-]){re.escape(w)}(?![\w-]|\.\w)"
        for w in present
    )
    return re.sub(alternatives, lambda match: words[match[0]], text) if alternatives else text
