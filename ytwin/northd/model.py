"""The Northbound, resolved once for both halves of northd: datapaths, ports with their peers, load balancers where they apply.

Every object is frozen and made through the memo from the rows it depends on, so it is the same object as long as those rows
are, and flow functions can be remembered by their arguments. For that reason a switch or router does not hold its list of
load balancers (only whether it has any VIP): what depends on all of them is asked from the Model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ytwin.core.errors import Unsupported
from ytwin.core.memo import Memo
from ytwin.logical.southbound import DatapathId
from ytwin.northbound.rows import (
    GatewayChassis,
    LoadBalancer,
    LoadBalancerGroup,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    StaticRoute,
)
from ytwin.northd.addresses import Addresses, parse_addresses, router_addresses
from ytwin.northd.balancers import Balancer, VipSet, flag, resolve_balancer, vip_set
from ytwin.northd.collect import Group, group_of
from ytwin.northd.stages import ROUTER, SWITCH

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class RouterPort:
    """A Logical_Router_Port. With gateway chassis on a distributed router it is a distributed gateway port (DGP)."""

    row: LogicalRouterPort
    source: str
    name: str
    json: str
    """The name in quotes, as flows write it."""
    where: Group
    """Its router, as a group of one."""
    networks: Addresses
    """IPv6 ends with the link-local address made from the MAC."""
    gateway_chassis: tuple[GatewayChassis, ...]
    """Highest priority first."""
    is_dgp: bool
    cr_name: str
    """Its chassisredirect port, "" unless it is a DGP."""
    cr_json: str
    tunnel_key: int
    """Within the router; the chassisredirect port has the key after it."""


@dataclass(frozen=True, slots=True, eq=False)
class SwitchPort:
    """A Logical_Switch_Port. `peer` is the router port it connects to (type router), if there is one."""

    row: LogicalSwitchPort
    source: str
    name: str
    json: str
    where: Group
    """Its switch, as a group of one."""
    addresses: tuple[Addresses, ...]
    """With MAC; for `router` the peer's. Neither "unknown" nor "router" is in here."""
    n_own_addresses: int
    """How many of `addresses` are its own rather than the peer's (those come first)."""
    port_security: tuple[Addresses, ...]
    unknown: bool
    """Has the address "unknown"."""
    peer: RouterPort | None
    tunnel_key: int

    @property
    def is_router(self) -> bool:
        """Type router (with or without a peer)."""
        return self.row.type == "router"

    @property
    def is_localnet(self) -> bool:
        """Type localnet."""
        return self.row.type == "localnet"


@dataclass(frozen=True, slots=True, eq=False)
class Switch:
    """A Logical_Switch with its ports in row order."""

    row: LogicalSwitch
    source: str
    id: DatapathId
    where: Group
    ports: tuple[SwitchPort, ...]
    router_ports: tuple[SwitchPort, ...]
    """Those with a peer."""
    localnet_ports: tuple[SwitchPort, ...]
    has_vip: bool
    """Some load balancer on it has a VIP."""
    tunnel_key: int


@dataclass(frozen=True, slots=True, eq=False)
class Router:
    """A Logical_Router with its ports, routes and policies in row order."""

    row: LogicalRouter
    source: str
    id: DatapathId
    where: Group
    ports: tuple[RouterPort, ...]
    dgps: tuple[RouterPort, ...]
    peers: tuple[tuple[RouterPort, SwitchPort], ...]
    """(own port, switch port connected to it)."""
    routes: tuple[StaticRoute, ...]
    policies: tuple[RouterPolicy, ...]
    is_gateway: bool
    """A gateway router (options:chassis)."""
    has_vip: bool
    tunnel_key: int
    """Its number as a datapath; names its VIP address sets (`_rtr_lb_<key>_ip4`)."""


@dataclass(frozen=True, slots=True, eq=False)
class RouterBalancers:
    """Everything about a router's load balancers that depends on all of them."""

    balancers: tuple[Balancer, ...]
    vips: VipSet
    on_link: Mapping[str, tuple[tuple[int, str], ...]]
    """Port name -> (family, VIP) of those in its networks; absent if none."""


@dataclass(frozen=True, eq=False)
class Model:
    """The resolved Northbound; maps are in row order."""

    northbound: Northbound
    memo: Memo
    switches: Mapping[str, Switch]
    routers: Mapping[str, Router]
    switch_ports: Mapping[str, SwitchPort]
    router_ports: Mapping[str, RouterPort]
    peer_of: Mapping[str, SwitchPort]
    """Router port name -> the switch port connected to it."""
    balancers: Mapping[str, Balancer]
    balancer_switches: Mapping[str, Group]
    """Load balancer name -> switches it is applied to; absent if none."""
    balancer_routers: Mapping[str, tuple[Router, ...]]
    """Load balancer name -> routers it is applied to; absent if none. Equal sets are one object."""
    router_balancers: Mapping[str, RouterBalancers]
    """Router name -> its load balancers."""
    ct_inv: bool
    """NB_Global option use_ct_inv_match (default true)."""
    event: bool
    """NB_Global option controller_event (deprecated): events for all load balancers."""


def pack(*items: T) -> tuple[T, ...]:
    """A tuple; through the memo the same object for the same items."""
    return items


# NB_Global options that change flows in a way that is not modelled, with the only value that is.
_GLOBAL_UNSUPPORTED = {
    "ignore_lsp_down": "true",
    "default_acl_drop": "false",
    "debug_drop_domain_id": "",
    "debug_drop_collector_set": "",
}
_SWITCH_UNSUPPORTED = ("mcast_snoop", "interconn-ts", "vlan-passthru")
_SWITCH_PORT_UNSUPPORTED = (
    "arp_proxy",
    "mcast_flood",
    "mcast_flood_reports",
    "qos_max_rate",
    "qos_min_rate",
    "qos_burst",
    "vif-plug-type",
    "ethtype",
)


def _refuse(row: object, options: Mapping[str, str], names: tuple[str, ...]) -> None:
    for name in names:
        if options.get(name, "false").lower() != "false":
            raise Unsupported(f"{getattr(row, 'key', row)}: option {name}={options[name]} is not modelled")


def _key(number: int) -> str:
    """A number that the memo recognises (it compares by identity; equal interned strings are one object)."""
    return sys.intern(str(number))


def _where(kind: str, name: str) -> Group:
    """The group of one datapath; made from its (interned) name, so that it outlives a change of the row."""
    return (DatapathId(kind, name),)


def _router_port(
    row: LogicalRouterPort, where: Group, gateway: bool, key: str, chassis: tuple[GatewayChassis, ...]
) -> RouterPort | None:
    networks = router_addresses(row.mac, row.networks)
    if networks is None:
        return None
    dgp = bool(chassis) and not gateway
    cr_name = f"cr-{row.name}" if dgp else ""
    return RouterPort(
        row=row,
        source=str(row.key),
        name=row.name,
        json=quote(row.name),
        where=where,
        networks=networks,
        gateway_chassis=tuple(sorted(chassis, key=lambda c: (-c.priority, c.chassis_name))),
        is_dgp=dgp,
        cr_name=cr_name,
        cr_json=quote(cr_name) if dgp else "",
        tunnel_key=int(key),
    )


def quote(name: str) -> str:
    """A name as a string of OVN's expression language (JSON string)."""
    text = name.replace("\\", "\\\\").replace('"', '\\"')
    if any(ord(c) < 0x20 for c in text):
        raise Unsupported(f"name {name!r}: control characters in names are not modelled")
    return f'"{text}"'


def _switch_port(row: LogicalSwitchPort, where: Group, key: str, peer: RouterPort | None) -> SwitchPort:
    if row.type not in ("", "router", "localnet"):
        raise Unsupported(f"{row.key}: port type {row.type} is not modelled")
    _refuse(row, row.options, _SWITCH_PORT_UNSUPPORTED)
    own: list[Addresses] = []
    unknown = from_peer = False
    for text in sorted(set(row.addresses)):
        if text == "unknown":
            unknown = True
        elif text == "router":
            from_peer = True
        elif "dynamic" in text.split():
            raise Unsupported(f"{row.key}: dynamic addresses are not modelled")
        elif (parsed := parse_addresses(text)) is not None:
            own.append(parsed)
    own_and_peer = (*own, peer.networks) if from_peer and peer is not None else tuple(own)
    security = (parse_addresses(text) for text in sorted(set(row.port_security)))
    return SwitchPort(
        row=row,
        source=str(row.key),
        name=row.name,
        json=quote(row.name),
        where=where,
        addresses=own_and_peer,
        n_own_addresses=len(own),
        port_security=tuple(s for s in security if s is not None),
        unknown=unknown,
        peer=peer,
        tunnel_key=int(key),
    )


def _switch(row: LogicalSwitch, where: Group, key: str, ports: tuple[SwitchPort, ...], has_vip: bool) -> Switch:
    _refuse(row, row.other_config, _SWITCH_UNSUPPORTED)
    return Switch(
        row=row,
        source=str(row.key),
        id=where[0],
        where=where,
        ports=ports,
        router_ports=tuple(port for port in ports if port.peer is not None),
        localnet_ports=tuple(port for port in ports if port.is_localnet),
        has_vip=has_vip,
        tunnel_key=int(key),
    )


def _router(
    row: LogicalRouter,
    where: Group,
    key: str,
    ports: tuple[RouterPort, ...],
    peers: tuple[tuple[RouterPort, SwitchPort], ...],
    routes: tuple[StaticRoute, ...],
    policies: tuple[RouterPolicy, ...],
    has_vip: bool,
) -> Router:
    return Router(
        row=row,
        source=str(row.key),
        id=where[0],
        where=where,
        ports=ports,
        dgps=tuple(port for port in ports if port.is_dgp),
        peers=peers,
        routes=routes,
        policies=policies,
        is_gateway="chassis" in row.options,
        has_vip=has_vip,
        tunnel_key=int(key),
    )


def _router_balancers(balancers: tuple[Balancer, ...], ports: tuple[RouterPort, ...]) -> RouterBalancers:
    vips = vip_set(balancers, tuple(port.networks for port in ports))
    return RouterBalancers(balancers, vips, {port.name: on for port, on in zip(ports, vips.on_link, strict=True) if on})


def _by_parent(rows: Mapping[str, None], children: list[tuple[str, T]], what: str) -> dict[str, list[T]]:
    result: dict[str, list[T]] = {name: [] for name in rows}
    for parent, child in children:
        if parent not in result:
            raise Unsupported(f"{what} {parent!r}: no such row, but rows refer to it")
        result[parent].append(child)
    return result


class _Resolver:
    """Builds a Model step by step; each `_x` method fills the tables of the next."""

    def __init__(self, northbound: Northbound, memo: Memo) -> None:
        self.nb = northbound
        self.memo = memo
        for name, only in _GLOBAL_UNSUPPORTED.items():
            if northbound.options.get(name, only) != only:
                raise Unsupported(f"NB_Global option {name}={northbound.options[name]} is not modelled")
        self.switch_rows = {row.name: row for row in northbound.of_type(LogicalSwitch)}
        self.router_rows = {row.name: row for row in northbound.of_type(LogicalRouter)}
        self.groups = {row.name: row for row in northbound.of_type(LoadBalancerGroup)}
        call = memo.call
        self.balancers = {row.name: call(resolve_balancer, row) for row in northbound.of_type(LoadBalancer)}
        for rows in (self.groups, self.switch_rows, self.router_rows):
            for holder in rows.values():
                self._check(holder)
        self.groups_with_vip = {
            name
            for name, group in self.groups.items()
            if any(self.balancers[lb].row.vips for lb in group.load_balancer)
        }
        self.where: dict[tuple[str, str], Group] = {}
        for kind, rows in ((SWITCH, self.switch_rows), (ROUTER, self.router_rows)):
            for name in rows:
                self.where[kind, name] = call(_where, kind, sys.intern(name))

    def _tuple(self, items: list[T]) -> tuple[T, ...]:
        result: tuple[T, ...] = self.memo.call(pack, *items)
        return result

    def _check(self, row: LogicalSwitch | LogicalRouter | LoadBalancerGroup) -> None:
        """Refuse references to nothing (OVSDB would not hold them)."""
        for name in row.load_balancer:
            if name not in self.balancers:
                raise Unsupported(f"{row.key}: refers to Load_Balancer {name!r}, which does not exist")
        if not isinstance(row, LoadBalancerGroup):
            for name in row.load_balancer_group:
                if name not in self.groups:
                    raise Unsupported(f"{row.key}: refers to Load_Balancer_Group {name!r}, which does not exist")

    def _balancers_of(self, row: LogicalRouter) -> tuple[Balancer, ...]:
        """The load balancers of a router, each once."""
        names = dict.fromkeys(row.load_balancer)
        for group in row.load_balancer_group:
            names.update(dict.fromkeys(self.groups[group].load_balancer))
        return self._tuple([self.balancers[name] for name in names])

    def _has_vip(self, row: LogicalSwitch | LogicalRouter) -> bool:
        """Whether a load balancer of the row has any VIP, parsable or not (northd looks at the column only)."""
        direct = any(self.balancers[name].row.vips for name in row.load_balancer)
        return direct or any(group in self.groups_with_vip for group in row.load_balancer_group)

    def router_ports(self) -> dict[str, RouterPort]:
        chassis: dict[str, list[GatewayChassis]] = {}
        for candidate in self.nb.of_type(GatewayChassis):
            chassis.setdefault(candidate.port, []).append(candidate)
        keys: dict[str, int] = {}
        result: dict[str, RouterPort] = {}
        for row in self.nb.of_type(LogicalRouterPort):
            if row.router not in self.router_rows:
                raise Unsupported(f"{row.key}: its router {row.router!r} does not exist")
            key = keys.get(row.router, 0) + 1
            candidates = self._tuple(chassis.get(row.name, []))
            gateway = "chassis" in self.router_rows[row.router].options
            port = self.memo.call(_router_port, row, self.where[ROUTER, row.router], gateway, _key(key), candidates)
            keys[row.router] = key + (1 if candidates else 0)
            if port is not None:
                result[row.name] = port
        return result

    def switch_ports(self, router_ports: Mapping[str, RouterPort]) -> dict[str, SwitchPort]:
        keys: dict[str, int] = {}
        result: dict[str, SwitchPort] = {}
        taken: dict[str, str] = {}
        for row in self.nb.of_type(LogicalSwitchPort):
            if row.switch not in self.switch_rows:
                raise Unsupported(f"{row.key}: its switch {row.switch!r} does not exist")
            if row.name in router_ports:
                raise Unsupported(f"{row.key}: a router port has the same name")
            keys[row.switch] = keys.get(row.switch, 0) + 1
            peer = router_ports.get(row.options.get("router-port", "")) if row.type == "router" else None
            if peer is not None and taken.setdefault(peer.name, row.name) != row.name:
                raise Unsupported(f"{row.key}: {peer.name} is the peer of {taken[peer.name]} already")
            where = self.where[SWITCH, row.switch]
            result[row.name] = self.memo.call(_switch_port, row, where, _key(keys[row.switch]), peer)
        return result

    def build(self) -> Model:
        call = self.memo.call
        router_ports = self.router_ports()
        switch_ports = self.switch_ports(router_ports)
        peer_of = {port.peer.name: port for port in switch_ports.values() if port.peer is not None}

        switches: dict[str, Switch] = {}
        of_switch: dict[str, list[SwitchPort]] = {name: [] for name in self.switch_rows}
        for port in switch_ports.values():
            of_switch[port.row.switch].append(port)
        for number, (name, row) in enumerate(self.switch_rows.items(), start=1):
            ports = self._tuple(of_switch[name])
            switches[name] = call(_switch, row, self.where[SWITCH, name], _key(number), ports, self._has_vip(row))

        routers = self._routers(router_ports, peer_of, len(switches))
        router_members = {name: self._balancers_of(row) for name, row in self.router_rows.items()}
        return Model(
            northbound=self.nb,
            memo=self.memo,
            switches=switches,
            routers=routers,
            switch_ports=switch_ports,
            router_ports=router_ports,
            peer_of=peer_of,
            balancers=self.balancers,
            balancer_switches=self._balancer_switches(switches, routers),
            balancer_routers=self._balancer_routers(routers),
            router_balancers={
                name: call(_router_balancers, lbs, routers[name].ports) for name, lbs in router_members.items()
            },
            ct_inv=flag(self.nb.options, "use_ct_inv_match", default=True),
            event=flag(self.nb.options, "controller_event"),
        )

    def _routers(
        self, router_ports: Mapping[str, RouterPort], peer_of: Mapping[str, SwitchPort], n_switches: int
    ) -> dict[str, Router]:
        names = dict.fromkeys(self.router_rows)
        ports = _by_parent(names, [(p.row.router, p) for p in router_ports.values()], "Logical_Router")
        routes = _by_parent(names, [(r.router, r) for r in self.nb.of_type(StaticRoute)], "Logical_Router")
        policies = _by_parent(names, [(p.router, p) for p in self.nb.of_type(RouterPolicy)], "Logical_Router")
        result: dict[str, Router] = {}
        for number, (name, row) in enumerate(self.router_rows.items(), start=n_switches + 1):
            pairs = [self.memo.call(pack, port, peer_of[port.name]) for port in ports[name] if port.name in peer_of]
            result[name] = self.memo.call(
                _router,
                row,
                self.where[ROUTER, name],
                _key(number),
                self._tuple(ports[name]),
                self._tuple(pairs),
                self._tuple(routes[name]),
                self._tuple(policies[name]),
                self._has_vip(row),
            )
        return result

    def _applied(self, rows: Mapping[str, LogicalSwitch | LogicalRouter]) -> dict[str, tuple[str, ...]]:
        """Load balancer name -> names of the rows it is applied to; one tuple object per distinct way of being applied."""
        direct: dict[str, list[str]] = {}
        by_group: dict[str, list[str]] = {}
        for name, row in rows.items():
            for lb in row.load_balancer:
                direct.setdefault(lb, []).append(name)
            for group in row.load_balancer_group:
                by_group.setdefault(group, []).append(name)
        ways: dict[str, tuple[str, ...]] = {}
        for group in by_group:
            for lb in self.groups[group].load_balancer:
                ways[lb] = (*ways.get(lb, ()), group)
        joined: dict[tuple[str, ...], tuple[str, ...]] = {}
        result: dict[str, tuple[str, ...]] = {}
        for lb, way in ways.items():
            if way not in joined:
                joined[way] = tuple(dict.fromkeys(name for group in way for name in by_group[group]))
            result[lb] = joined[way]
        for lb, names in direct.items():
            result[lb] = tuple(dict.fromkeys([*result.get(lb, ()), *names]))
        return result

    def _balancer_switches(self, switches: Mapping[str, Switch], routers: Mapping[str, Router]) -> dict[str, Group]:
        applied = self._applied(self.switch_rows)
        if flag(self.nb.options, "install_ls_lb_from_router"):
            peers = {
                name: [port.row.switch for _, port in router.peers] for name, router in routers.items() if router.peers
            }
            for lb, names in self._applied(self.router_rows).items():
                more = [switch for name in names for switch in peers.get(name, ())]
                applied[lb] = tuple(dict.fromkeys([*applied.get(lb, ()), *more]))
        groups: dict[tuple[str, ...], Group] = {}
        result: dict[str, Group] = {}
        for lb, names in applied.items():
            if names and names not in groups:
                groups[names] = self._tuple(list(group_of(switches[name].id for name in names)))
            if names:
                result[lb] = groups[names]
        return result

    def _balancer_routers(self, routers: Mapping[str, Router]) -> dict[str, tuple[Router, ...]]:
        groups: dict[tuple[str, ...], tuple[Router, ...]] = {}
        result: dict[str, tuple[Router, ...]] = {}
        for lb, names in self._applied(self.router_rows).items():
            if names not in groups:
                groups[names] = self._tuple([routers[name] for name in routers if name in names])
            result[lb] = groups[names]
        return result


def resolve(northbound: Northbound, memo: Memo) -> Model:
    """The Model of a Northbound; raises Unsupported for what northd knows and the twin does not."""
    return _Resolver(northbound, memo).build()
