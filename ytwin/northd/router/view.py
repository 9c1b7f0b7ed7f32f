"""What the flows of one router depend on, in one value each: the router and its ports with what matters of their peers.

Deliberately less than the whole model: a workload that comes or goes, or one more load balancer, leaves these values as they
are, and with them all flows that are remembered by them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ytwin.core.errors import Unsupported
from ytwin.northbound.rows import RouterPolicy, StaticRoute
from ytwin.northd.addresses import Net, parse_ip, parse_net
from ytwin.northd.balancers import VipSet, flag
from ytwin.northd.collect import Group
from ytwin.northd.datapaths import Model, Router, RouterPort

NO_PEER, PEER, PEER_LOCALNET = "none", "plain", "localnet"
"""What a port is connected to: nothing, a switch, a switch with a localnet port."""

_UNSUPPORTED_ROUTER = ("mcast_relay",)
_UNSUPPORTED_PORT = ("mcast_flood",)


@dataclass(frozen=True, slots=True, eq=False)
class PortView:
    """A router port. `key` and `cr_key` are names in quotes; `cr_key` is "" unless it is a distributed gateway port."""

    name: str
    key: str
    cr_key: str
    source: str
    mac: str
    v4: tuple[Net, ...]
    v6: tuple[Net, ...]
    """The last one is the link-local address."""
    options: Mapping[str, str]
    tunnel_key: int
    has_peer: bool
    peer_has_localnet: bool

    def source_ip(self, version: int, value: int) -> str:
        """The port's address in the first of its networks that holds the address `value`; "" if none does."""
        nets = self.v4 if version == 4 else self.v6
        return next((net.ip for net in nets if net.contains(value)), "")

    def first_ip(self, version: int) -> str:
        """The port's first address of a family, or ""."""
        nets = self.v4 if version == 4 else self.v6
        return nets[0].ip if nets else ""


@dataclass(frozen=True, slots=True, eq=False)
class PortSet:
    """A router's ports as far as routes and policies ask for them; the same object while they stay the same."""

    ports: tuple[PortView, ...]
    foreign: frozenset[str]
    """Names of other routers' ports that static routes of this router name as their output port."""

    def port_towards(self, nexthop: str) -> tuple[PortView | None, str]:
        """The first port with a network that holds `nexthop` (plain address text), and its address there."""
        parsed = parse_ip(nexthop)
        if parsed is not None and (parsed[0] == 4) == ("." in nexthop):
            for port in self.ports:
                source_ip = port.source_ip(*parsed)
                if source_ip:
                    return port, source_ip
        return None, ""

    def route_port(self, row: StaticRoute, version: int) -> tuple[PortView | None, str]:
        """Port and source address of a static route: `output_port` if it is given, else the port on the next hop's network."""
        if not row.output_port:
            return self.port_towards(row.nexthop)
        if row.output_port in self.foreign:
            raise Unsupported(f"{row.key}: output_port {row.output_port} belongs to another router")
        for port in self.ports:
            if port.name == row.output_port:
                parsed = parse_ip(row.nexthop)
                source_ip = port.source_ip(*parsed) if parsed is not None else ""
                source_ip = source_ip or port.first_ip(version)
                return (port, source_ip) if source_ip else (None, "")
        return None, ""


@dataclass(frozen=True, slots=True, eq=False)
class RouterView:
    """A router. Everything that one of its base flows may depend on is in here."""

    name: str
    where: Group
    port_set: PortSet
    gateway_ports: tuple[PortView, ...]
    """Distributed gateway ports; load balancers use the first only."""
    options: Mapping[str, str]
    static_routes: tuple[StaticRoute, ...]
    policies: tuple[RouterPolicy, ...]
    is_gateway: bool
    has_vip: bool
    tunnel_key: int
    reachable_vip: tuple[bool, bool]
    """Whether the router answers ARP, and ND, for some VIP."""
    own_vips: frozenset[str]
    """Own addresses that are VIPs, too."""
    force_snat_router_ip: bool
    dnat_force_snat: tuple[tuple[int, str], ...]
    """(family, address), at most one of each family."""
    lb_force_snat: tuple[tuple[int, str], ...]

    @property
    def ports(self) -> tuple[PortView, ...]:
        """All ports."""
        return self.port_set.ports

    def is_translated(self, ip: str) -> bool:
        """Whether traffic to this own address may be translated instead of ending here (VIP, or address of forced SNAT)."""
        return ip in self.own_vips or any(ip == forced for _, forced in self.dnat_force_snat + self.lb_force_snat)

    def has_reachable_vip(self, version: int) -> bool:
        """Whether the router answers ARP (4) or ND (6) for some VIP."""
        return self.reachable_vip[0 if version == 4 else 1]

    def vip_address_set(self, version: int) -> str:
        """Name of the Address_Set with those VIPs."""
        return f"_rtr_lb_{self.tunnel_key}_ip{version}"


def _forced(router: Router, name: str) -> tuple[tuple[int, str], ...]:
    """`lb_force_snat_ip` or `dnat_force_snat_ip`: one address, or one of each family; no address at all counts as not given."""
    found: list[tuple[int, str]] = []
    for word in router.row.options.get(name, "").split():
        parsed = parse_net(word)
        if parsed is None:
            break
        family, net = parsed
        if net.plen != (32 if family == 4 else 128) or any(family == other for other, _ in found):
            # northd frees what it has parsed and then goes on using it.
            raise Unsupported(
                f"{router.source}: options:{name}={router.row.options[name]} makes ovn-northd 23.03 crash"
            )
        found.append((family, net.ip))
    return tuple(sorted(found))


def _port_view(port: RouterPort, peer: str) -> PortView:
    for name in _UNSUPPORTED_PORT:
        if flag(port.row.options, name):
            raise Unsupported(f"{port.source}: option {name} is not modelled")
    return PortView(
        name=port.name,
        key=port.json,
        cr_key=port.cr_json,
        source=port.source,
        mac=port.networks.mac,
        v4=port.networks.v4,
        v6=port.networks.v6,
        options=port.row.options,
        tunnel_key=port.tunnel_key,
        has_peer=peer != NO_PEER,
        peer_has_localnet=peer == PEER_LOCALNET,
    )


def _router_view(
    router: Router,
    port_set: PortSet,
    reachable: tuple[bool, bool],
    own_vips: tuple[str, ...],
) -> RouterView:
    options = router.row.options
    for name in _UNSUPPORTED_ROUTER:
        if flag(options, name):
            raise Unsupported(f"{router.source}: option {name} is not modelled")
    router_ip = router.is_gateway and options.get("lb_force_snat_ip") == "router_ip"
    return RouterView(
        name=router.row.name,
        where=router.where,
        port_set=port_set,
        gateway_ports=tuple(port for port in port_set.ports if port.cr_key),
        options=options,
        static_routes=router.routes,
        policies=router.policies,
        is_gateway=router.is_gateway,
        has_vip=router.has_vip,
        tunnel_key=router.tunnel_key,
        reachable_vip=reachable,
        own_vips=frozenset(own_vips),
        force_snat_router_ip=router_ip,
        dnat_force_snat=_forced(router, "dnat_force_snat_ip"),
        lb_force_snat=() if router_ip else _forced(router, "lb_force_snat_ip"),
    )


def _port_set(foreign: tuple[str, ...], *ports: PortView) -> PortSet:
    return PortSet(ports, frozenset(foreign))


def _strings(model: Model, items: list[str]) -> tuple[str, ...]:
    """The same tuple object for the same texts, as the memo wants it."""
    result: tuple[str, ...] = model.memo.call(_tuple, *map(sys.intern, items))
    return result


def _tuple(*items: str) -> tuple[str, ...]:
    return items


def _pair(first: bool, second: bool) -> tuple[bool, bool]:
    return first, second


def _peer_kind(model: Model, port: RouterPort) -> str:
    peer = model.peer_of.get(port.name)
    if peer is None:
        return NO_PEER
    return PEER_LOCALNET if model.switches[peer.row.switch].localnet_ports else PEER


def router_view(model: Model, router: Router) -> RouterView:
    """The view of a router; the same object as long as nothing in it changes."""
    vips: VipSet = model.router_balancers[router.row.name].vips
    own = [net.ip for port in router.ports for net in (*port.networks.v4, *port.networks.v6)]
    every = {*vips.v4, *vips.v6} if own else set()
    names = {port.name for port in router.ports}
    foreign = {
        r.output_port for r in router.routes if r.output_port in model.router_ports and r.output_port not in names
    }
    ports = [model.memo.call(_port_view, port, _peer_kind(model, port)) for port in router.ports]
    view: RouterView = model.memo.call(
        _router_view,
        router,
        model.memo.call(_port_set, _strings(model, sorted(foreign)), *ports),
        model.memo.call(_pair, bool(vips.v4_reachable), bool(vips.v6_reachable)),
        _strings(model, sorted(every.intersection(own))),
    )
    return view
