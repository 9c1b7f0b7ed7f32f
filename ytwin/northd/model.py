"""The Northbound, resolved once for both halves of northd: datapaths, ports with their peers, load balancers where they apply.

Every object is frozen and made through the memo from the rows it depends on, so it is the same object as long as those rows
are, and flow functions can be remembered by their arguments. For that reason a switch or router does not hold its list of
load balancers (only whether it has any VIP): what depends on all of them is asked from the Model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import count
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
from ytwin.northd.balancers import Balancer, flag, number, resolve_balancers, vip_set
from ytwin.northd.chunks import chunks
from ytwin.northd.collect import Group, group_of
from ytwin.northd.datapaths import Model, Router, RouterBalancers, RouterPort, Switch, SwitchPort
from ytwin.northd.parts import router, router_port, switch, switch_port
from ytwin.northd.stages import ROUTER, SWITCH

__all__ = ["Model", "Router", "RouterBalancers", "RouterPort", "Switch", "SwitchPort", "pack", "resolve"]

T = TypeVar("T")


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


_TUNNEL_KEY = "requested-tnl-key"
K = TypeVar("K")


def _keys(wanted: Mapping[K, str | None]) -> dict[K, str]:
    """Tunnel keys: what is asked for (first come, first served), the rest the lowest free ones in order.

    As interned text, because the memo compares by identity and equal interned strings are one object.
    """
    result: dict[K, int] = {}
    used: set[int] = set()
    for name, text in wanted.items():
        key = number(text)
        if key and key not in used:
            used.add(key)
            result[name] = key
    free = (key for key in count(1) if key not in used)
    return {name: sys.intern(str(result[name] if name in result else next(free))) for name in wanted}


def _where(kind: str, name: str) -> Group:
    """The group of one datapath; made from its (interned) name, so that it outlives a change of the row."""
    return (DatapathId(kind, name),)


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
    """Builds a Model: load balancers, then router ports, switch ports (which need their peers), switches, routers."""

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
        named = ((row.name, row) for row in northbound.of_type(LoadBalancer))
        pieces = [call(resolve_balancers, *rows) for rows in chunks(named)]
        self.balancers = {lb.row.name: lb for piece in pieces for lb in piece}
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
        """All that northd takes in (a bad MAC leaves a port out)."""
        chassis: dict[str, list[GatewayChassis]] = {}
        for candidate in self.nb.of_type(GatewayChassis):
            chassis.setdefault(candidate.port, []).append(candidate)
        wanted: dict[str, dict[str, str | None]] = {name: {} for name in self.router_rows}
        for row in self.nb.of_type(LogicalRouterPort):
            if row.router not in self.router_rows:
                raise Unsupported(f"{row.key}: its router {row.router!r} does not exist")
            wanted[row.router][row.name] = row.options.get(_TUNNEL_KEY)
            wanted[row.router][f"cr-{row.name}"] = None
        keys = {name: _keys(wants) for name, wants in wanted.items()}
        result: dict[str, RouterPort] = {}
        for row in self.nb.of_type(LogicalRouterPort):
            candidates = self._tuple(chassis.get(row.name, []))
            gateway = "chassis" in self.router_rows[row.router].options
            own, redirect = (keys[row.router][name] for name in (row.name, f"cr-{row.name}"))
            where = self.where[ROUTER, row.router]
            port = self.memo.call(router_port, row, where, gateway, own, redirect, candidates)
            if port is not None:
                result[row.name] = port
        return result

    def switch_ports(self, router_ports: Mapping[str, RouterPort]) -> dict[str, SwitchPort]:
        """All, with their peers; refuses names and peers that are taken."""
        wanted: dict[str, dict[str, str | None]] = {name: {} for name in self.switch_rows}
        for row in self.nb.of_type(LogicalSwitchPort):
            if row.switch not in self.switch_rows:
                raise Unsupported(f"{row.key}: its switch {row.switch!r} does not exist")
            if row.name in router_ports:
                raise Unsupported(f"{row.key}: a router port has the same name")
            wanted[row.switch][row.name] = row.options.get(_TUNNEL_KEY)
        keys = {name: _keys(wants) for name, wants in wanted.items()}
        result: dict[str, SwitchPort] = {}
        taken: dict[str, str] = {}
        for row in self.nb.of_type(LogicalSwitchPort):
            peer = router_ports.get(row.options.get("router-port", "")) if row.type == "router" else None
            if peer is not None and taken.setdefault(peer.name, row.name) != row.name:
                raise Unsupported(f"{row.key}: {peer.name} is the peer of {taken[peer.name]} already")
            where = self.where[SWITCH, row.switch]
            result[row.name] = self.memo.call(switch_port, row, where, keys[row.switch][row.name], peer)
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
        keys = self._datapath_keys()
        for name, row in self.switch_rows.items():
            ports = self._tuple(of_switch[name])
            where, has_vip = self.where[SWITCH, name], self._has_vip(row)
            switches[name] = call(switch, row, where, keys[SWITCH, name], ports, has_vip)
        routers = self._routers(router_ports, peer_of, keys)
        balancer_switches = self._balancer_switches(switches, routers)
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
            balancer_switches=balancer_switches,
            balancer_pieces=self._pieces(balancer_switches),
            balancer_routers=self._balancer_routers(routers),
            router_balancers={
                name: call(_router_balancers, lbs, routers[name].ports) for name, lbs in router_members.items()
            },
            ct_inv=flag(self.nb.options, "use_ct_inv_match", default=True),
            event=flag(self.nb.options, "controller_event"),
        )

    def _datapath_keys(self) -> dict[tuple[str, str], str]:
        wanted: dict[tuple[str, str], str | None] = {}
        for name, row in self.switch_rows.items():
            wanted[SWITCH, name] = row.other_config.get(_TUNNEL_KEY)
        for name, router_row in self.router_rows.items():
            wanted[ROUTER, name] = router_row.options.get(_TUNNEL_KEY)
        return _keys(wanted)

    def _routers(
        self,
        router_ports: Mapping[str, RouterPort],
        peer_of: Mapping[str, SwitchPort],
        keys: Mapping[tuple[str, str], str],
    ) -> dict[str, Router]:
        names = dict.fromkeys(self.router_rows)
        ports = _by_parent(names, [(p.row.router, p) for p in router_ports.values()], "Logical_Router")
        routes = _by_parent(names, [(r.router, r) for r in self.nb.of_type(StaticRoute)], "Logical_Router")
        policies = _by_parent(names, [(p.router, p) for p in self.nb.of_type(RouterPolicy)], "Logical_Router")
        result: dict[str, Router] = {}
        for name, row in self.router_rows.items():
            pairs = [self.memo.call(pack, port, peer_of[port.name]) for port in ports[name] if port.name in peer_of]
            result[name] = self.memo.call(
                router,
                row,
                self.where[ROUTER, name],
                keys[ROUTER, name],
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
        seen: dict[int, Group] = {}  # most load balancers share one tuple of names; hashing it each time would be slow
        result: dict[str, Group] = {}
        for lb, names in applied.items():
            if names and id(names) not in seen:
                if names not in groups:
                    groups[names] = self._tuple(list(group_of(switches[name].id for name in names)))
                seen[id(names)] = groups[names]
            if names:
                result[lb] = seen[id(names)]
        return result

    def _pieces(self, applied: Mapping[str, Group]) -> tuple[tuple[Group, tuple[Balancer, ...]], ...]:
        by_group: dict[int, tuple[Group, list[tuple[str, Balancer]]]] = {}
        for name, where in applied.items():
            entry = by_group.get(id(where)) or by_group.setdefault(id(where), (where, []))
            entry[1].append((name, self.balancers[name]))
        return tuple((where, self._tuple(piece)) for where, named in by_group.values() for piece in chunks(named))

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
