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
    "packets": "packets per second from clients to backends, those that open connections among them, such as `50 k/s`",
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
    counts = {kind: values.get(kind, 0.0) for kind in ("packets", "requests")}
    if values.get("size"):
        counts["bandwidth"] = values.get("bandwidth", 0.0) / (8 * values["size"])
    for kind, count in counts.items():
        if 0 < count < values.get("new", 0.0):
            unit = "packets" if kind == "bandwidth" else kind
            message = f"{values['new']:g} new connections/s but {count:g} {unit}/s"
            wrong(message, f"each connection has one at least; raise {kind}, or leave it out")
    if "lifetime" in values and not values.get("new"):
        wrong("lifetime without new", "say how many connections are opened (new), or how many there are (connections)")
    if "size" in values and not values["size"] >= SMALL_PACKET_BYTES and "requests" not in values:
        wrong(f"no packet has {values['size']:g} B", f"say at least {SMALL_PACKET_BYTES} B")
    return found


def offered(cluster: Cluster, traffic: Traffic) -> Offered:
    """The traffic on all rows of a cluster: each has its portion of its Service's."""
    share = popularity(len(cluster.services), traffic.zipf)
    per_row = share[cluster.rows.service] * cluster.rows.portion
    handshake = np.array([path.handshake for path in cluster.classes], dtype=np.int64)
    rates = per_row[:, None] * rates_of(traffic, cluster.profiles)[handshake[cluster.rows.path_class]]
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
    """[handshake, Rate] of one mean Service, whose connections begin without a handshake or with one (`PathClass.handshake`).
    Frames are as long as the smallest MTU of the profiles lets them be."""
    return np.array([_rates(traffic, profiles, handshake) for handshake in (False, True)])


def _rates(traffic: Traffic, profiles: tuple[HardwareProfile, ...], handshake: bool) -> Floats:
    if not profiles:  # no node is left
        return np.zeros(len(Rate))
    mtu = most_bytes(profiles)
    most = mss_bytes(int(mtu))
    new = traffic.new_per_s
    size = traffic.size_bytes or SMALL_PACKET_BYTES
    if traffic.requests_per_s:
        frames = max(1, math.ceil(size / most))
        frame = max(size / frames + IPV4_TCP_BYTES + ETHERNET_HEADER_BYTES, SMALLEST_FRAME_BYTES)
        found = request_rates(traffic.requests_per_s, frames, frame, new, handshake)
    elif traffic.bulk:
        # Acknowledgements are not counted: one answers dozens of segments.
        segments, frame = traffic.bandwidth_bit_per_s / (8 * most), mtu + ETHERNET_HEADER_BYTES
        if handshake:  # payload is what was asked for, and a handshake carries none
            found = packet_rates(segments, frame, 0.0, frame, 0.0) + connection_rates(new, handshake)
        else:
            found = packet_rates(segments, frame, 0.0, frame, new)
    else:
        packets = traffic.packets_per_s or traffic.bandwidth_bit_per_s / (8 * size)
        frame = max(size - FCS_BYTES, SMALLEST_FRAME_BYTES)
        if packets:
            found = packet_rates(packets, frame, packets * traffic.replies, frame, new)
        else:
            found = connection_rates(new, handshake)
    found[Rate.ALIVE] = new * traffic.lifetime_s if new else traffic.connections
    return found


def packet_rates(packets: float, frame: float, replies: float, reply_frame: float, new: float) -> Floats:
    """[Rate] of packets of which `new` are their connection's first, and as many replies, if there are so many, answer those: all
    packets are counted in `packets` and `replies`, as `predict`'s packets are (`Loaded.one_way`), and as ports count. What ends a
    connection is one of them like any other. Frames in bytes, without check sequence; all else per second."""
    found = np.zeros(len(Rate))
    first, answer = min(new, packets), min(new, replies)
    for rate, octets, count, size in (
        (Rate.FORWARD, Rate.FORWARD_BYTES, packets - first, frame),
        (Rate.FIRST, Rate.FIRST_BYTES, first, frame),
        (Rate.REPLY, Rate.REPLY_BYTES, replies - answer, reply_frame),
        (Rate.ANSWER, Rate.ANSWER_BYTES, answer, reply_frame),
    ):
        found[rate], found[octets] = count, count * size
    found[Rate.NEW] = new
    return found


def request_rates(requests: float, frames: int, frame: float, new: float, handshake: bool) -> Floats:
    """[Rate] of requests and answers of so many frames each, `new` of which are their connection's first.

    As `predict` has them (`Loaded.there_and_back`): a handshake comes before the first, and the connection's end after the last;
    of UDP the first frames of request and answer are the connection's first packets. What follows these of the first request
    and its answer comes before cards have the connection.
    """
    found = connection_rates(new, handshake)
    if not handshake:
        found[[Rate.FIRST_BYTES, Rate.ANSWER_BYTES]] = new * frame
    early = new * (frames if handshake else frames - 1)
    later = max(0.0, requests - new) * frames
    found[[Rate.FORWARD, Rate.REPLY]], found[[Rate.FORWARD_BYTES, Rate.REPLY_BYTES]] = later, later * frame
    found[Rate.EARLY], found[Rate.EARLY_BYTES] = early, early * frame
    found[Rate.REQUESTS] = requests
    return found


def connection_rates(new: float, handshake: bool) -> Floats:
    """[Rate] of connections opened for nothing else: their first packet and its answer, and with a handshake their end, in the
    smallest frames."""
    found = packet_rates(new, SMALLEST_FRAME_BYTES, new, SMALLEST_FRAME_BYTES, new)
    found[Rate.CLOSE] = new * handshake
    return found
