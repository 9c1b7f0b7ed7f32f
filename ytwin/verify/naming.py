"""What a user types for a client and a destination, resolved against the twin."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from ytwin.core.errors import YtwinError
from ytwin.logical.addresses import endpoint
from ytwin.resources.addresses import version_of
from ytwin.resources.snapshot import Snapshot
from ytwin.resources.workload import workloads
from ytwin.trace.types import Host, World
from ytwin.verify.expect import EIP, Target, targets


class Named(Protocol):
    """What knows the hosts and the Services by their names: a pipeline's Twin."""

    @property
    def snapshot(self) -> Snapshot:
        """Reconciled."""
        ...

    @property
    def world(self) -> World:
        """With the hosts."""
        ...


@dataclass(frozen=True, slots=True)
class Destination:
    """An address and port; `protocol` is tcp, udp, sctp or icmp."""

    address: str
    port: int
    protocol: str


def find_client(twin: Named, text: str) -> Host:
    """A Host by full name (`Pod/default/web-0`), by the end of it (`web-0`), or by kind for the only outside (`outside`)."""
    hosts = twin.world.hosts
    exact = [h for h in hosts if h.name == text]
    found = exact or [h for h in hosts if h.name.endswith(f"/{text}")] or [h for h in hosts if h.kind == text]
    if len(found) == 1:
        return found[0]
    if not found:
        names = ", ".join(sorted(h.name for h in hosts))
        raise YtwinError(f"no client {text!r}; there are {names or 'none'}")
    raise YtwinError(f"client {text!r} can be any of {', '.join(sorted(h.name for h in found))}; write it in full")


def find_destination(twin: Named, client: Host, text: str, protocol: str, want_ipv6: bool) -> Destination:
    """`10.0.0.1:80`, `[fd00::1]:80`, a bare address (ICMP echo), `pod/name[:port]`,
    or a Service as `[namespace/]name[:port]`. YtwinError: there is no such thing, or it has no IPv6 address if one is wanted.

    Of a Service's addresses the outside takes an EIP, everybody else the ClusterIP; IPv4 first unless `want_ipv6`.
    """
    address, port = split_port(text)
    try:
        ip_address(address)
    except ValueError:
        host = _named_host(twin, address)
        if host is not None:
            return _of_host(host, port, protocol, want_ipv6)
        return _of_service(twin, client, address, port, protocol, want_ipv6)
    if want_ipv6 and version_of(address) == 4:
        raise YtwinError(f"{text} is an IPv4 address, and -6 asks for an IPv6 one: leave one of them out")
    return Destination(str(ip_address(address)), port, (protocol or "tcp") if port else "icmp")


def find_served(twin: Named, client: Host, text: str, protocol: str, want_ipv6: bool) -> Destination:
    """As `find_destination`, but nobody is asked by ICMP: where no port is said, it is the first that the Service at the address,
    or else the workload, says it serves. YtwinError: none is known.
    """
    to = find_destination(twin, client, text, protocol, want_ipv6)
    if to.port:
        return to
    offered = [(t.port, t.protocol) for t in targets(twin.snapshot) if t.address == to.address]
    for workload in workloads(twin.snapshot) if not offered else ():
        if to.address in workload.addresses:
            offered += [(port.number, port.protocol.lower()) for port in workload.ports]
    for port, spoken in offered:
        if protocol in ("", spoken):
            return Destination(to.address, port, spoken)
    known = ", ".join(f"{port}/{spoken}" for port, spoken in offered)
    with_port = endpoint(to.address, 80) if text.strip("[]") == to.address else f"{text}:80"
    raise YtwinError(f"{text}: give a port{f'; it has {known}' if known else f', such as {with_port}'}")


def _named_host(twin: Named, text: str) -> Host | None:
    """The host called `KIND/name` or `KIND/namespace/name`, whatever the kind's case; a bare name is a Service's."""
    kind, _, name = text.partition("/")
    found = [h for h in twin.world.hosts if h.kind.lower() == kind.lower() and f"/{h.name}".endswith(f"/{name}")]
    if not name or not found:
        return None
    if len(found) > 1:
        raise YtwinError(f"{text!r} can be any of {', '.join(sorted(h.name for h in found))}; write it in full")
    return found[0]


def _of_host(host: Host, port: int, protocol: str, want_ipv6: bool) -> Destination:
    addresses = [address.partition("/")[0] for address in host.addresses]
    fitting = [a for a in addresses if not want_ipv6 or version_of(a) == 6]
    if not fitting:
        raise YtwinError(f"{host.name} has no IPv6 address; it has {', '.join(addresses)}")
    return Destination(
        min(fitting, key=version_of) if not want_ipv6 else fitting[0], port, (protocol or "tcp") if port else "icmp"
    )


def split_port(text: str) -> tuple[str, int]:
    """(what stands before the port, port or 0) of `name:80`, `10.0.0.1:80` or `[fd00::1]:80`. YtwinError: no port can be so."""
    address, colon, port = text, "", ""
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        colon, port = rest[:1], rest.removeprefix(":")
    elif text.count(":") == 1:
        address, colon, port = text.partition(":")
    if colon and not (colon == ":" and port.isdecimal() and 0 < int(port) < 65536):
        raise YtwinError(f"{text!r}: {port!r} is not a port")
    return address, int(port or 0)


def _of_service(twin: Named, client: Host, name: str, port: int, protocol: str, want_ipv6: bool) -> Destination:
    full = name if "/" in name else f"default/{name}"
    named = [t for t in targets(twin.snapshot) if t.service == full or t.service.endswith(f"/{name}")]
    if not named:
        known = sorted({t.service for t in targets(twin.snapshot)})
        raise YtwinError(f"{name!r} is no address and no YusurService; there are {', '.join(known) or 'none'}")
    fitting = [t for t in named if port in (0, t.port) and protocol in ("", t.protocol)]
    if want_ipv6:
        fitting = [t for t in fitting if version_of(t.address) == 6]
    if not fitting:
        offered = ", ".join(sorted({f"{t.address} port {t.port}/{t.protocol}" for t in named}))
        raise YtwinError(f"{full} has no such address or port; it has {offered}")

    def preference(target: Target) -> tuple[bool, bool]:
        return (target.kind == EIP) != (client.kind == "outside"), version_of(target.address) == 6

    best = min(fitting, key=preference)
    return Destination(best.address, best.port, best.protocol)
