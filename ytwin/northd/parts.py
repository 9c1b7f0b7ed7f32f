"""Each switch, router and port from its own row and what was resolved before it."""

from __future__ import annotations

from collections.abc import Mapping

from ytwin.core.errors import Unsupported
from ytwin.northbound.rows import (
    GatewayChassis,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    RouterPolicy,
    StaticRoute,
)
from ytwin.northd.addresses import Addresses, parse_addresses, router_addresses
from ytwin.northd.collect import Group
from ytwin.northd.datapaths import Router, RouterPort, Switch, SwitchPort
from ytwin.northd.names import quote

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


def router_port(
    row: LogicalRouterPort,
    where: Group,
    gateway: bool,
    key: str,
    redirect_key: str,
    chassis: tuple[GatewayChassis, ...],
) -> RouterPort | None:
    """A router port; None if its MAC is bad. `gateway`: on a gateway router, where northd ignores gateway chassis."""
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
        cr_tunnel_key=int(redirect_key) if dgp else 0,
    )


def switch_port(row: LogicalSwitchPort, where: Group, key: str, peer: RouterPort | None) -> SwitchPort:
    """A switch port with its addresses in OVSDB's order, that is sorted."""
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


def switch(row: LogicalSwitch, where: Group, key: str, ports: tuple[SwitchPort, ...], has_vip: bool) -> Switch:
    """A switch of these ports."""
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


def router(
    row: LogicalRouter,
    where: Group,
    key: str,
    ports: tuple[RouterPort, ...],
    peers: tuple[tuple[RouterPort, SwitchPort], ...],
    routes: tuple[StaticRoute, ...],
    policies: tuple[RouterPolicy, ...],
    has_vip: bool,
) -> Router:
    """A router of these ports, routes and policies."""
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
