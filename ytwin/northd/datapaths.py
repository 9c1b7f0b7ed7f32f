"""Switches, routers and their ports as northd resolves them from their rows; frozen, compared by identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ytwin.core.memo import Memo
from ytwin.logical.southbound import DatapathId
from ytwin.northbound.rows import (
    GatewayChassis,
    LogicalRouter,
    LogicalRouterPort,
    LogicalSwitch,
    LogicalSwitchPort,
    Northbound,
    RouterPolicy,
    StaticRoute,
)
from ytwin.northd.addresses import Addresses
from ytwin.northd.balancers import Balancer, VipSet
from ytwin.northd.collect import Group


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
    cr_tunnel_key: int


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
    balancer_pieces: tuple[tuple[Group, tuple[Balancer, ...]], ...]
    """The same the other way round, in pieces of many load balancers each, to be remembered by piece."""
    balancer_routers: Mapping[str, tuple[Router, ...]]
    """Load balancer name -> routers it is applied to; absent if none. Equal sets are one object."""
    router_balancers: Mapping[str, RouterBalancers]
    """Router name -> its load balancers."""
    ct_inv: bool
    """NB_Global option use_ct_inv_match (default true)."""
    event: bool
    """NB_Global option controller_event (deprecated): events for all load balancers."""
