"""Load balancers as northd resolves them: VIPs, options, and which datapaths each is applied to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ytwin.core.errors import Unsupported
from ytwin.northbound.rows import LoadBalancer
from ytwin.northd.addresses import Addresses, Endpoint, Net, parse_endpoint
from ytwin.northd.names import quote


@dataclass(frozen=True, slots=True)
class Vip:
    """One VIP of a load balancer. `port` is "" if it has none; `backends_text` is the row's own text."""

    ip: str
    port: str
    family: int
    value: int
    backends_text: str
    has_backends: bool

    @property
    def text(self) -> str:
        """ "IP:PORT", "[IP6]:PORT" or the address alone."""
        if not self.port:
            return self.ip
        return f"{self.ip}:{self.port}" if self.family == 4 else f"[{self.ip}]:{self.port}"

    def backends(self) -> tuple[Endpoint, ...]:
        """The backends, in the row's order."""
        parsed = (parse_endpoint(token) for token in self.backends_text.split(",") if token)
        return tuple(backend for backend in parsed if backend is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Balancer:
    """A Load_Balancer row, resolved. Compared by identity: one row, one object."""

    row: LoadBalancer
    source: str
    vips: tuple[Vip, ...]
    """In the order of their keys; a VIP whose key or backends are bad is left out, as northd does with a warning."""
    protocol: str
    selection_fields: str
    """As in `hash_fields="..."`; "" for dp_hash."""
    event: bool
    reject: bool
    routable: bool
    """`add_route`."""
    skip_snat: bool
    neighbor_responder: str
    """reachable, all or none."""
    affinity_timeout: int
    """Seconds; 0: no affinity."""


@dataclass(frozen=True, slots=True, eq=False)
class VipSet:
    """Addresses of all VIPs applied to a router, each tuple sorted as text."""

    v4: tuple[str, ...] = ()
    v6: tuple[str, ...] = ()
    v4_routable: tuple[str, ...] = ()
    v6_routable: tuple[str, ...] = ()
    v4_reachable: tuple[str, ...] = ()
    """Those the router answers ARP for: in one of its networks, or neighbor_responder=all."""
    v6_reachable: tuple[str, ...] = ()
    on_link: tuple[tuple[tuple[int, str], ...], ...] = ()
    """For each port of the router: (family, VIP) of those in its networks."""


_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PORT = r"(?:6553[0-5]|655[0-2]\d|65[0-4]\d\d|6[0-4]\d{3}|[1-5]\d{4}|[1-9]\d{0,3})"
_ADDRESS = rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}"
_PLAIN = re.compile(rf"{_ADDRESS}:{_PORT}(?:,{_ADDRESS}:{_PORT})*", re.ASCII)
"""The usual backends, IPv4 with ports, checked at once: a Northbound may have 100,000 of them."""


def _usable(text: str, family: int, with_port: bool) -> bool:
    """Whether every backend has the VIP's family, and a port exactly if the VIP has one; northd drops the VIP otherwise."""
    if with_port and family == 4 and _PLAIN.fullmatch(text):
        return True
    parsed = [parse_endpoint(token) for token in text.split(",") if token]
    return all(b is not None and b.family == family and bool(b.port) == with_port for b in parsed)


def flag(options: Mapping[str, str], name: str, default: bool = False) -> bool:
    """A boolean option as smap_get_bool() reads it: only the other value's exact word (any case) changes the default."""
    value = options.get(name)
    if value is None:
        return default
    return value.lower() != "false" if default else value.lower() == "true"


def number(text: str | None, default: int = 0) -> int:
    """An unsigned option as smap_get_uint() reads it; the default if it is no number."""
    text = (text or "").strip()
    return int(text) if text.isascii() and text.isdigit() else default


def resolve_balancer(row: LoadBalancer) -> Balancer:
    """Parse a Load_Balancer row as northd does."""
    if flag(row.options, "template"):
        raise Unsupported(f"{row.key}: options:template (per-chassis load balancer templates) is not modelled")
    protocol = row.protocol if row.protocol in ("udp", "sctp") else "tcp"
    vips: list[Vip] = []
    for key in sorted(row.vips):
        end = parse_endpoint(key)
        if end is None:
            continue
        text = row.vips[key]
        port = str(end.port) if end.port else ""
        if _usable(text, end.family, bool(port)):
            vips.append(Vip(end.ip, port, end.family, end.value, text, bool(text.strip(","))))
    mode = row.options.get("neighbor_responder", "reachable")
    rename = {"tp_src": f"{row.protocol}_src", "tp_dst": f"{row.protocol}_dst"} if row.protocol else {}
    return Balancer(
        row=row,
        source=str(row.key),
        vips=tuple(vips),
        protocol=protocol,
        selection_fields=",".join(rename.get(field, field) for field in sorted(set(row.selection_fields))),
        event=flag(row.options, "event"),
        reject=flag(row.options, "reject"),
        routable=flag(row.options, "add_route"),
        skip_snat=flag(row.options, "skip_snat"),
        neighbor_responder=mode if mode in ("reachable", "all", "none") else "reachable",
        affinity_timeout=min(number(row.options.get("affinity_timeout")), 65535),
    )


def resolve_balancers(*rows: LoadBalancer) -> tuple[Balancer, ...]:
    """Each row resolved."""
    return tuple(map(resolve_balancer, rows))


def vip_set(balancers: tuple[Balancer, ...], networks: tuple[Addresses, ...]) -> VipSet:
    """The VIP addresses of a router with these balancers and these ports' networks."""
    every: dict[int, set[str]] = {4: set(), 6: set()}
    routable: dict[int, set[str]] = {4: set(), 6: set()}
    reachable: dict[int, set[str]] = {4: set(), 6: set()}
    inside: dict[int, set[tuple[int, str]]] = {}
    index = {4: _Networks([port.v4 for port in networks]), 6: _Networks([port.v6 for port in networks])}
    for balancer in balancers:
        mode = balancer.neighbor_responder
        for vip in balancer.vips:
            ip, family = vip.ip, vip.family
            if ip not in every[family]:
                every[family].add(ip)
                for port in index[family].holding(vip.value):
                    inside.setdefault(port, set()).add((family, ip))
            if balancer.routable:
                routable[family].add(ip)
            if mode == "all" or (mode == "reachable" and index[family].holding(vip.value)):
                reachable[family].add(ip)
    v4, v6 = (tuple(sorted(every[family])) for family in (4, 6))
    v4_routable, v6_routable = (tuple(sorted(routable[family])) for family in (4, 6))
    v4_reachable, v6_reachable = (tuple(sorted(reachable[family])) for family in (4, 6))
    on_link = tuple(tuple(sorted(inside.get(port, ()))) for port in range(len(networks)))
    return VipSet(v4, v6, v4_routable, v6_routable, v4_reachable, v6_reachable, on_link)


class _Networks:
    """Which of many ports have an address in their networks, without asking each."""

    def __init__(self, ports: list[tuple[Net, ...]]) -> None:
        self.by_mask: dict[int, dict[int, list[int]]] = {}
        for number, nets in enumerate(ports):
            for net in nets:
                self.by_mask.setdefault(net.mask, {}).setdefault(net.network_value, []).append(number)

    def holding(self, value: int) -> list[int]:
        """Numbers of the ports, perhaps more than once."""
        found: list[int] = []
        for mask, networks in self.by_mask.items():
            found += networks.get(value & mask, ())
        return found


def wants_event(lb: Balancer, vip: Vip, everywhere: bool) -> bool:
    """Whether traffic to the VIP is told to the controller; `everywhere`: NB_Global's controller_event."""
    return (lb.event or everywhere) and not vip.has_backends and not lb.reject


def empty_event(lb: Balancer, vip: Vip) -> tuple[str, str]:
    """Match and actions that tell the controller about traffic to a VIP without backends.

    OVN writes the row's UUID as `load_balancer`; a Northbound without UUIDs has the row's name in its place.
    """
    match = f"ip{vip.family}.dst == {vip.ip} && {lb.protocol}"
    if vip.port:
        match += f" && {lb.protocol}.dst == {vip.port}"
    actions = (
        f'trigger_event(event = "empty_lb_backends", vip = "{vip.text}", '
        f'protocol = "{lb.protocol}", load_balancer = {quote(lb.row.name)});'
    )
    return match, actions
