"""Random packets at random ports of a Northbound: those that arrive, those that must not, and the questions in between.

Everything is drawn from the `random.Random` that is given, so a seed replays a run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network
from random import Random

from ytwin.logical.addresses import ip_text, ipv4_text, ipv6_text, mac_int, mac_text
from ytwin.logical.state import (
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ICMP,
    ICMPV6,
    SCTP,
    TCP,
    UDP,
    PacketState,
    arp_reply,
    arp_request,
    echo,
    neighbor_advertisement,
    neighbor_solicitation,
    transport,
)
from ytwin.northbound.rows import LoadBalancer, LogicalRouterPort, LogicalSwitchPort, Northbound

BROADCAST = "ff:ff:ff:ff:ff:ff"
NOBODY = "0a:58:de:ad:be:ef"
OUTSIDERS = {4: ("198.51.100.7", "203.0.113.99"), 6: ("2001:db8:ffff::7", "2001:db8:eeee::99")}
_IGMP, _GRE = 2, 47
_VLAN_PRESENT = 0x1000
_PORTS = (22, 53, 80, 443, 5001, 6081, 8080, 33333)


@dataclass(frozen=True)
class Packet:
    """What is put into a port, and of which kind it is."""

    kind: str
    state: PacketState

    @property
    def microflow(self) -> str:
        """The packet as ovn-trace takes it."""
        return microflow(self.state)


@dataclass(frozen=True)
class Station:
    """An address at a switch port: a workload, a node, or what stands beyond a localnet port."""

    port: str
    switch: str
    mac: str
    ip: dict[int, str]


@dataclass(frozen=True)
class Gateway:
    """A router port, by the switch it stands on."""

    port: str
    router: str
    switch: str
    mac: str
    networks: tuple[str, ...]

    def address(self, family: int) -> str:
        """Its address of that family, "" if it has none."""
        return next((str(i.ip) for i in map(ip_interface, self.networks) if i.version == family), "")


@dataclass(frozen=True)
class Vip:
    """One VIP of a load balancer."""

    ip: str
    port: int
    protocol: str
    backends: tuple[tuple[str, int], ...]

    @property
    def family(self) -> int:
        return ip_address(self.ip).version


class Places:
    """Who and what is in a Northbound, for choosing packets."""

    def __init__(self, northbound: Northbound) -> None:
        switch_ports = list(northbound.of_type(LogicalSwitchPort))
        router_ports = {port.name: port for port in northbound.of_type(LogicalRouterPort)}
        self.gateways = [
            Gateway(peer.name, peer.router, port.switch, peer.mac, peer.networks)
            for port in switch_ports
            if port.type == "router" and (peer := router_ports.get(port.options.get("router-port", ""))) is not None
        ]
        self.at: dict[str, list[Gateway]] = {}
        for gateway in self.gateways:
            self.at.setdefault(gateway.switch, []).append(gateway)
        self.stations = [station for port in switch_ports if port.type == "" for station in _stations(port)]
        self.localnets = [port for port in switch_ports if port.type == "localnet"]
        self.vips = [vip for lb in northbound.of_type(LoadBalancer) for vip in _vips(lb)]

    def outside(self, random: Random) -> Station | None:
        """Someone beyond a localnet port, on its network or behind its gateway."""
        if not self.localnets:
            return None
        port = random.choice(self.localnets)
        ip: dict[int, str] = {}
        for gateway in self.at.get(port.switch, ()):
            for interface in map(ip_interface, gateway.networks):
                hosts = (str(interface.network[1]), str(interface.network[-2]), *OUTSIDERS[interface.version])
                ip[interface.version] = random.choice(hosts)
        return Station(port.name, port.switch, "02:00:5e:00:00:fe", ip or {4: OUTSIDERS[4][0]})


def _stations(port: LogicalSwitchPort) -> list[Station]:
    result = []
    for text in port.addresses:
        mac, *addresses = text.split()
        if mac in ("unknown", "router", "dynamic"):
            continue
        result.append(Station(port.name, port.switch, mac, {ip_address(a).version: a for a in addresses}))
    return result


def _endpoint(text: str) -> tuple[str, int]:
    ip, _, port = text.rpartition(":")
    return ip.strip("[]"), int(port)


def _vips(lb: LoadBalancer) -> list[Vip]:
    result = []
    for vip, backends in lb.vips.items():
        chosen = tuple(_endpoint(b) for b in backends.split(",") if b)
        result.append(Vip(*_endpoint(vip), lb.protocol, chosen))
    return result


class Draw:
    """Draws packets. `kinds` counts nothing: it is the table of what can be drawn, with weights."""

    def __init__(self, places: Places, random: Random) -> None:
        self.places = places
        self.random = random
        self.kinds: list[tuple[int, str, Callable[[], PacketState | None]]] = [
            (26, "service", self._service),
            (5, "service, wrong port", lambda: self._service(wrong_port=True)),
            (4, "service, wrong protocol", lambda: self._service(wrong_protocol=True)),
            (10, "service from outside", lambda: self._service(outside=True)),
            (4, "service from outside, wrong port", lambda: self._service(outside=True, wrong_port=True)),
            (8, "backend to client", self._backend_reply),
            (10, "workload to workload", self._unicast),
            (4, "outside to workload", lambda: self._unicast(outside=True)),
            (4, "ICMP to a service", self._ping_vip),
            (5, "ICMP to a router", self._ping_router),
            (4, "ICMP to a workload", self._ping_workload),
            (2, "ICMP error", self._icmp_error),
            (8, "ARP request", self._arp_request),
            (3, "ARP reply", self._arp_reply),
            (7, "neighbour solicitation", self._solicitation),
            (3, "neighbour advertisement", self._advertisement),
            (2, "IPv6 housekeeping", self._housekeeping),
            (5, "wrong MAC", self._wrong_mac),
            (2, "broadcast or multicast", self._multicast),
            (3, "TTL runs out", self._short_ttl),
            (2, "other IP protocol", self._other_protocol),
            (2, "fragment", self._fragment),
            (2, "not IP", self._not_ip),
            (6, "at a router port", self._at_router),
        ]
        self._weights = [weight for weight, _, _ in self.kinds]

    def packet(self) -> Packet:
        """The next one. Kinds that this Northbound has no place for are passed over."""
        while True:
            _, kind, make = self.random.choices(self.kinds, self._weights)[0]
            state = make()
            if state is not None:
                return Packet(kind, state)

    # -- who, whom, by which way ---------------------------------------------------------------------------------------

    def _sender(self, outside: bool = False) -> Station | None:
        if outside:
            return self.places.outside(self.random)
        return self.random.choice(self.places.stations) if self.places.stations else None

    def _family(self, *stations: Station) -> int | None:
        common = set.intersection(*(set(s.ip) for s in stations))
        return self.random.choice(sorted(common)) if common else None

    def _next_hop(self, sender: Station) -> str:
        gateways = self.places.at.get(sender.switch, ())
        return self.random.choice(gateways).mac if gateways else NOBODY

    def _mac_towards(self, sender: Station, target: Station) -> str:
        return target.mac if target.switch == sender.switch else self._next_hop(sender)

    def _ports(self, wanted: int = 0) -> tuple[int, int]:
        return self.random.randrange(1024, 65536), wanted or self.random.choice(_PORTS)

    def _transport(self, sender: Station, mac: str, ip: tuple[str, str], protocol: str, port: int = 0) -> PacketState:
        state = transport(protocol, sender.port, (sender.mac, mac), ip, self._ports(port))
        if protocol == "tcp":
            state.tcp_flags = self.random.choice((0x02, 0x02, 0x10, 0x12, 0x11, 0x04))
        return state

    # -- kinds ---------------------------------------------------------------------------------------------------------

    def _service(
        self, outside: bool = False, wrong_port: bool = False, wrong_protocol: bool = False
    ) -> PacketState | None:
        sender = self._sender(outside)
        vips = [v for v in self.places.vips if sender is not None and v.family in sender.ip]
        if sender is None or not vips:
            return None
        vip = self.random.choice(vips)
        others = [p for p in ("tcp", "udp", "sctp") if p != vip.protocol]
        protocol = self.random.choice(others) if wrong_protocol else vip.protocol
        port = vip.port + self.random.choice((1, 1000)) if wrong_port else vip.port
        return self._transport(sender, self._next_hop(sender), (sender.ip[vip.family], vip.ip), protocol, port & 0xFFFF)

    def _backend_reply(self) -> PacketState | None:
        vips = [v for v in self.places.vips if v.backends]
        client = self._sender(outside=self.random.random() < 0.3)
        if not vips or client is None:
            return None
        vip = self.random.choice(vips)
        address, port = self.random.choice(vip.backends)
        backend = next((s for s in self.places.stations if address in s.ip.values()), None)
        if backend is None or vip.family not in client.ip:
            return None
        mac = self._mac_towards(backend, client)
        state = transport(
            vip.protocol, backend.port, (backend.mac, mac), (address, client.ip[vip.family]), (port, self._ports()[0])
        )
        state.tcp_flags = 0x12 if vip.protocol == "tcp" else 0
        return state

    def _unicast(self, outside: bool = False) -> PacketState | None:
        sender, target = self._sender(outside), self._sender()
        if sender is None or target is None or (family := self._family(sender, target)) is None:
            return None
        protocol = self.random.choice(("tcp", "udp", "sctp"))
        ip = (sender.ip[family], target.ip[family])
        return self._transport(sender, self._mac_towards(sender, target), ip, protocol)

    def _ping_vip(self) -> PacketState | None:
        sender = self._sender(outside=self.random.random() < 0.3)
        vips = [v for v in self.places.vips if sender is not None and v.family in sender.ip]
        if sender is None or not vips:
            return None
        vip = self.random.choice(vips)
        return echo(sender.port, (sender.mac, self._next_hop(sender)), (sender.ip[vip.family], vip.ip))

    def _ping_router(self) -> PacketState | None:
        sender = self._sender(outside=self.random.random() < 0.3)
        if sender is None:
            return None
        family = self.random.choice(sorted(sender.ip))
        near = self.places.at.get(sender.switch, [])
        gateways = [g for g in (near if self.random.random() < 0.6 else self.places.gateways) if g.address(family)]
        if not gateways:
            return None
        ip = (sender.ip[family], self.random.choice(gateways).address(family))
        reply = self.random.random() < 0.2
        return echo(sender.port, (sender.mac, self._next_hop(sender)), ip, self.random.choice((1, 64)), reply)

    def _ping_workload(self) -> PacketState | None:
        sender, target = self._sender(self.random.random() < 0.2), self._sender()
        if sender is None or target is None or (family := self._family(sender, target)) is None:
            return None
        mac = self._mac_towards(sender, target)
        reply = self.random.random() < 0.4
        return echo(sender.port, (sender.mac, mac), (sender.ip[family], target.ip[family]), reply=reply)

    def _icmp_error(self) -> PacketState | None:
        state = self._ping_workload()
        if state is not None:
            four, six = ((3, 1), (3, 4), (11, 0)), ((1, 4), (2, 0), (3, 0))
            state.icmp_type, state.icmp_code = self.random.choice(six if state.is_ipv6 else four)
        return state

    def _asked(self, sender: Station, family: int) -> str:
        """An address to ask for: the gateway, a neighbour, oneself, a VIP, someone elsewhere, nobody."""
        near = [g.address(family) for g in self.places.at.get(sender.switch, ()) if g.address(family)]
        beside = [s.ip[family] for s in self.places.stations if s.switch == sender.switch and family in s.ip]
        far = [s.ip[family] for s in self.places.stations if family in s.ip]
        vips = [v.ip for v in self.places.vips if v.family == family]
        pools = [p for p in (near, near, beside, far, vips, [sender.ip[family]], [OUTSIDERS[family][0]]) if p]
        return self.random.choice(self.random.choice(pools))

    def _arp_request(self) -> PacketState | None:
        sender = self._sender(outside=self.random.random() < 0.3)
        if sender is None or 4 not in sender.ip:
            return None
        to = self.random.choice((BROADCAST, BROADCAST, self._next_hop(sender)))
        return arp_request(sender.port, sender.mac, sender.ip[4], self._asked(sender, 4), to)

    def _arp_reply(self) -> PacketState | None:
        sender = self._sender(outside=self.random.random() < 0.4)
        if sender is None or 4 not in sender.ip:
            return None
        near = [g for g in self.places.at.get(sender.switch, ()) if g.address(4)]
        if not near:
            return None
        gateway = self.random.choice(near)
        to = self.random.choice((gateway.mac, gateway.mac, BROADCAST))
        return arp_reply(sender.port, (sender.mac, to), (sender.ip[4], gateway.address(4)))

    def _solicitation(self) -> PacketState | None:
        sender = self._sender(outside=self.random.random() < 0.3)
        if sender is None or 6 not in sender.ip:
            return None
        state = neighbor_solicitation(sender.port, sender.mac, sender.ip[6], self._asked(sender, 6))
        if self.random.random() < 0.25:  # a unicast probe
            state.eth_dst, state.ip6_dst = mac_int(self._next_hop(sender)), state.nd_target
        return state

    def _advertisement(self) -> PacketState | None:
        sender = self._sender(outside=self.random.random() < 0.4)
        if sender is None or 6 not in sender.ip:
            return None
        near = [g for g in self.places.at.get(sender.switch, ()) if g.address(6)]
        if not near:
            return None
        gateway = self.random.choice(near)
        return neighbor_advertisement(sender.port, (sender.mac, gateway.mac), (sender.ip[6], gateway.address(6)))

    def _housekeeping(self) -> PacketState | None:
        """Router solicitation, router advertisement, MLD report."""
        sender = self._sender()
        if sender is None or 6 not in sender.ip:
            return None
        kind, group, ttl = self.random.choice(((133, "ff02::2", 255), (134, "ff02::1", 255), (143, "ff02::16", 1)))
        mac = "33:33:00:00:00:" + f"{int(group.rpartition(':')[2], 16):02x}"
        state = echo(sender.port, (sender.mac, mac), (sender.ip[6], group), ttl)
        state.icmp_type = kind
        return state

    def _wrong_mac(self) -> PacketState | None:
        state = self._service() or self._unicast()
        if state is not None:
            wrong = self.random.choice((NOBODY, "00:00:00:00:00:00", self._any_mac()))
            if self.random.random() < 0.6:
                state.eth_dst = mac_int(wrong)
            else:
                state.eth_src = mac_int(self.random.choice((wrong, "01:00:5e:00:00:01")))
        return state

    def _any_mac(self) -> str:
        macs = [s.mac for s in self.places.stations] + [g.mac for g in self.places.gateways]
        return self.random.choice(macs) if macs else NOBODY

    def _multicast(self) -> PacketState | None:
        sender = self._sender(self.random.random() < 0.3)
        if sender is None:
            return None
        groups = {4: ((BROADCAST, "255.255.255.255"), ("01:00:5e:00:00:fb", "224.0.0.251"))}
        groups[6] = (("33:33:00:00:00:01", "ff02::1"), ("33:33:00:00:00:fb", "ff02::fb"))
        family = self.random.choice(sorted(sender.ip))
        mac, target = self.random.choice(groups[family])
        return self._transport(sender, mac, (sender.ip[family], target), "udp")

    def _short_ttl(self) -> PacketState | None:
        state = self._service() or self._unicast()
        if state is not None:
            state.ip_ttl = self.random.choice((0, 1, 1, 2, 3))
        return state

    def _other_protocol(self) -> PacketState | None:
        state = self._ping_workload()
        if state is not None:
            state.ip_proto = self.random.choice((_IGMP, _GRE, 50))
            state.icmp_type = state.icmp_code = 0
        return state

    def _fragment(self) -> PacketState | None:
        state = self._service() or self._unicast()
        if state is not None:
            state.ip_frag = self.random.choice((1, 3))
            if state.ip_frag == 3:  # not the first one, so there is no transport header in it
                state.tp_src = state.tp_dst = state.tcp_flags = 0
        return state

    def _not_ip(self) -> PacketState | None:
        sender = self._sender()
        if sender is None:
            return None
        mac = self.random.choice((BROADCAST, self._any_mac()))
        state = PacketState(inport=sender.port, eth_src=mac_int(sender.mac), eth_dst=mac_int(mac))
        state.eth_type = self.random.choice((0x88CC, 0x8847))
        if self.random.random() < 0.5:
            other = self._service() or self._unicast()
            if other is not None:
                other.vlan_tci = _VLAN_PRESENT | self.random.randrange(1, 4095)
                return other
        return state

    def _at_router(self) -> PacketState | None:
        """Straight into a router port, from within its networks or from afar."""
        if not self.places.gateways:
            return None
        gateway = self.random.choice(self.places.gateways)
        ip: dict[int, str] = {}
        for interface in map(ip_interface, gateway.networks):
            ip[interface.version] = str(_host(interface.network, self.random))
        sender = Station(gateway.port, gateway.switch, self._any_mac(), ip)
        family = self.random.choice(sorted(ip))
        source = self.random.choice((ip[family], OUTSIDERS[family][0]))
        mac = self.random.choice((gateway.mac, gateway.mac, gateway.mac, BROADCAST, NOBODY))
        targets = [s.ip[family] for s in self.places.stations if family in s.ip]
        vips = [(v.ip, v.port, v.protocol) for v in self.places.vips if v.family == family]
        if vips and self.random.random() < 0.6:
            target, port, protocol = self.random.choice(vips)
            return self._transport(sender, mac, (source, target), protocol, port)
        target = self.random.choice([*targets, OUTSIDERS[family][1]])
        return self._transport(sender, mac, (source, target), self.random.choice(("tcp", "udp", "sctp")))


def _host(network: object, random: Random) -> object:
    """A host of a network, which may be a single address."""
    chosen = ip_network(str(network))
    return chosen[random.randrange(min(chosen.num_addresses, 256))]


# -- the packet in words ------------------------------------------------------------------------------------------------


def microflow(state: PacketState) -> str:
    """A packet as the conjunction of equalities that ovn-trace takes."""
    terms = [
        f'inport == "{state.inport}"',
        f"eth.src == {mac_text(state.eth_src)}",
        f"eth.dst == {mac_text(state.eth_dst)}",
    ]
    if state.vlan_tci:
        terms.append(f"vlan.tci == {state.vlan_tci:#x}")
    if state.eth_type == ETH_ARP:
        terms += [f"arp.op == {state.arp_op}", f"arp.sha == {mac_text(state.arp_sha)}"]
        terms += [f"arp.spa == {ipv4_text(state.arp_spa)}", f"arp.tpa == {ipv4_text(state.arp_tpa)}"]
        terms.append(f"arp.tha == {mac_text(state.arp_tha)}")
    elif state.eth_type in (ETH_IP, ETH_IPV6):
        terms += _ip_terms(state)
    else:
        terms.append(f"eth.type == {state.eth_type:#x}")
    return " && ".join(terms)


def _ip_terms(state: PacketState) -> list[str]:
    ipv6 = state.is_ipv6
    family = "ip6" if ipv6 else "ip4"
    terms = [f"{family}.src == {ip_text(state.ip_src, ipv6)}", f"{family}.dst == {ip_text(state.ip_dst, ipv6)}"]
    terms.append(f"ip.ttl == {state.ip_ttl}")
    if state.ip_frag:
        terms.append(f"ip.frag == {state.ip_frag}")
    name = {TCP: "tcp", UDP: "udp", SCTP: "sctp"}.get(state.ip_proto)
    if name:
        terms += [f"{name}.src == {state.tp_src}", f"{name}.dst == {state.tp_dst}"]
        terms += [f"tcp.flags == {state.tcp_flags}"] if state.tcp_flags else []
    elif state.ip_proto == (ICMPV6 if ipv6 else ICMP):
        icmp = "icmp6" if ipv6 else "icmp4"
        terms += [f"{icmp}.type == {state.icmp_type}", f"{icmp}.code == {state.icmp_code}"]
    else:
        terms.append(f"ip.proto == {state.ip_proto}")
    if state.nd_target:
        terms.append(f"nd.target == {ipv6_text(state.nd_target)}")
    if state.nd_sll:
        terms.append(f"nd.sll == {mac_text(state.nd_sll)}")
    if state.nd_tll:
        terms.append(f"nd.tll == {mac_text(state.nd_tll)}")
    return terms
