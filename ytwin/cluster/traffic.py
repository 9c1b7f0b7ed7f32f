"""What every Service of a cluster carries, as people write it: `packets=50 k/s,size=256 B,new=100 /s,lifetime=10 s,zipf=1`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ytwin.cluster.types import Cluster, Floats, Offered, Rate
from ytwin.core.errors import InvalidInput, Location, Problem
from ytwin.core.units import PS_PER_S, quantity, time_ps
from ytwin.hardware.model import HardwareProfile
from ytwin.performance.cost import SMALLEST_FRAME_BYTES
from ytwin.performance.jobs import ETHERNET_HEADER_BYTES, FCS_BYTES
from ytwin.resources.fields import nearest
from ytwin.sim.workloads import IPV4_TCP_BYTES, mss_bytes

FIELDS: Final[dict[str, str]] = {
    "packets": "packets per second from clients to backends, such as `50 k/s`",
    "replies": "packets that come back for each of them, such as `1`",
    "bandwidth": "payload of bulk TCP in full segments, such as `10 Gbit/s`; with size, bits of such packets",
    "size": "of a packet with its check sequence, such as `256 B`; of requests: request and answer, without headers",
    "requests": "requests per second over kept connections, such as `10 k/s`",
    "new": "new connections per second, such as `1 k/s`",
    "lifetime": "of such a connection, such as `10 s`",
    "connections": "connections at a time where none are opened, such as `1000`",
    "zipf": "exponent: the i-th Service carries in proportion to i^-zipf, such as `1`; 0: all alike",
}
SMALL_PACKET_BYTES: Final = 64
"""The smallest frame of Ethernet, which packet rates are told for."""


@dataclass(frozen=True)
class Traffic:
    """Of a Service in the mean: all of them together carry so much times their number. Rates are per second."""

    packets_per_s: float = 0.0
    replies: float = 1.0
    bandwidth_bit_per_s: float = 0.0
    size_bytes: float = 0.0
    """0: 64 B for packets and requests, full segments for bandwidth."""
    requests_per_s: float = 0.0
    new_per_s: float = 0.0
    lifetime_s: float = 0.0
    connections: float = 0.0
    zipf: float = 0.0
    text: str = ""
    """As it was written."""

    @property
    def bulk(self) -> bool:
        """Whether its packets are full segments of TCP."""
        return self.bandwidth_bit_per_s > 0 and not self.size_bytes


def parse_traffic(text: str, where: str = "--load") -> Traffic:
    """`FIELD=VALUE,...`; InvalidInput with every problem."""
    fields: dict[str, str] = {}
    problems = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or name in fields:
            message = f"{name} stands twice" if name in fields else f"{part!r} is no field"
            problems.append(Problem(Location(path=where), "load", message, "write FIELD=VALUE, separated by commas"))
        else:
            fields[name] = value
    if problems:
        raise InvalidInput(problems)
    return traffic_of(fields, where, text)


def traffic_of(fields: Mapping[str, Any], where: str = "load", text: str = "") -> Traffic:
    """Of the fields by name (`FIELDS`), each a text with its unit. InvalidInput with every problem."""
    problems: list[Problem] = []
    values: dict[str, float] = {}
    for name, given in fields.items():
        place = f"{where} {name}" if text else f"{where}.{name}"
        if name not in FIELDS:
            meant = nearest(name, FIELDS)
            hint = f"did you mean {meant}?" if meant else f"there are {', '.join(FIELDS)}"
            problems.append(Problem(Location(path=place), "unknown-field", f"a load has no {name!r}", hint))
            continue
        try:
            values[name] = _number(name, str(given), place)
        except InvalidInput as error:
            problems += error.problems
    problems += _together(values, where) if not problems else []
    if problems:
        raise InvalidInput(problems)
    said = text or ",".join(f"{name}={value}" for name, value in fields.items())
    return Traffic(
        values.get("packets", 0.0),
        values.get("replies", 1.0),
        values.get("bandwidth", 0.0),
        values.get("size", 0.0),
        values.get("requests", 0.0),
        values.get("new", 0.0),
        values.get("lifetime", 0.0),
        values.get("connections", 0.0),
        values.get("zipf", 0.0),
        said,
    )


def _number(name: str, text: str, where: str) -> float:
    match name:
        case "packets" | "requests" | "new":
            return quantity(text, "rate", where)
        case "bandwidth":
            return quantity(text, "bit rate", where)
        case "size":
            return quantity(text, "size", where)
        case "lifetime":
            return time_ps(text, where) / PS_PER_S
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        hint = f"write {FIELDS[name]}"
        raise InvalidInput([Problem(Location(path=where), "range", f"{text!r} is no number of at least 0", hint)])
    return value


def _together(values: Mapping[str, float], where: str) -> list[Problem]:
    """What the fields mean together."""
    found = []

    def wrong(message: str, hint: str) -> None:
        found.append(Problem(Location(path=where), "load", message, hint))

    kinds = [name for name in ("packets", "bandwidth", "requests") if name in values]
    if len(kinds) > 1:
        wrong(f"{' and '.join(kinds)} at once", "say one of them; flows from a file can be of any kind")
    if not any(values.get(name, 0.0) for name in ("packets", "bandwidth", "requests", "new")):
        wrong("it asks for nothing", "say packets, bandwidth, requests or new, such as packets=50 k/s")
    if values.get("new") and "connections" in values:
        wrong(
            "new and connections at once", "say how long connections live (lifetime), or how many there are at a time"
        )
    for kind in ("packets", "requests"):
        if 0 < values.get(kind, 0.0) < values.get("new", 0.0):
            message = f"{values['new']:g} new connections/s but {values[kind]:g} {kind}/s"
            wrong(message, f"each connection has one at least; raise {kind}, or leave them out")
    if "lifetime" in values and not values.get("new"):
        wrong("lifetime without new", "say how many connections are opened (new), or how many there are (connections)")
    if "size" in values and not values["size"] >= SMALL_PACKET_BYTES and "requests" not in values:
        wrong(f"no packet has {values['size']:g} B", f"say at least {SMALL_PACKET_BYTES} B")
    return found


def offered(cluster: Cluster, traffic: Traffic) -> Offered:
    """The traffic on all rows of a cluster: each has its portion of its Service's."""
    share = popularity(len(cluster.services), traffic.zipf)
    per_row = share[cluster.rows.service] * cluster.rows.portion
    rates = per_row[:, None] * rates_of(traffic, cluster.profiles)
    bulk = np.full(len(cluster.rows), traffic.bulk)
    sized = traffic.size_bytes if not traffic.requests_per_s else 0.0
    return Offered(rates, bulk, traffic.text, too_large({traffic.text: sized}, cluster.profiles))


def too_large(sizes: Mapping[str, float], profiles: Sequence[HardwareProfile]) -> tuple[str, ...]:
    """A note if some packets (name -> size with check sequence, in bytes) do not fit the frames of these profiles' underlay."""
    most = most_bytes(profiles) + ETHERNET_HEADER_BYTES + FCS_BYTES if profiles else math.inf
    over = [name for name, size in sizes.items() if size > most]
    if not over:
        return ()
    of = f" ({over[0]}{f' and {len(over) - 1} more' if len(over) > 1 else ''})" if len(sizes) > 1 else ""
    return (
        f"packets of {sizes[over[0]]:.0f} B{of} are counted whole, but a frame between nodes has {most:.0f} B at most "
        "(encapsulation.underlay_mtu, less what a tunnel adds): they would be fragmented, or dropped",
    )


def most_bytes(profiles: Iterable[HardwareProfile]) -> float:
    """The largest IP packet that fits a tunnel between nodes with these profiles, in bytes."""
    return min(p.encapsulation.underlay_mtu.value - p.encapsulation.overhead.value for p in profiles)


def popularity(services: int, zipf: float) -> Floats:
    """How many times the mean each Service carries."""
    weights = np.arange(1, services + 1, dtype=np.float64) ** -zipf
    return weights * (services / weights.sum()) if services else weights


def rates_of(traffic: Traffic, profiles: tuple[HardwareProfile, ...]) -> Floats:
    """[Rate] of one mean Service. Frames are as long as the smallest MTU of the profiles lets them be."""
    found = np.zeros(len(Rate))
    if not profiles:  # no node is left
        return found
    mtu = most_bytes(profiles)
    most = mss_bytes(int(mtu))
    size = traffic.size_bytes or SMALL_PACKET_BYTES
    frame, packets, replies = max(size - FCS_BYTES, SMALLEST_FRAME_BYTES), traffic.packets_per_s, traffic.replies
    if traffic.bulk:
        # Acknowledgements are not counted: one answers dozens of segments.
        frame, packets, replies = mtu + ETHERNET_HEADER_BYTES, traffic.bandwidth_bit_per_s / (8 * most), 0.0
    elif traffic.bandwidth_bit_per_s:
        packets = traffic.bandwidth_bit_per_s / (8 * size)
    elif traffic.requests_per_s:
        frames = max(1, math.ceil(size / most))
        frame, packets, replies = (
            size / frames + IPV4_TCP_BYTES + ETHERNET_HEADER_BYTES,
            traffic.requests_per_s * frames,
            1.0,
        )
    found[Rate.FORWARD], found[Rate.FORWARD_BYTES] = packets, packets * frame
    found[Rate.REPLY], found[Rate.REPLY_BYTES] = packets * replies, packets * replies * frame
    found[Rate.NEW], found[Rate.REQUESTS] = traffic.new_per_s, traffic.requests_per_s
    found[Rate.ALIVE] = traffic.new_per_s * traffic.lifetime_s if traffic.new_per_s else traffic.connections
    return found
