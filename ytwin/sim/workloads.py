"""Loads as users know them, turned into sources of a Network.

A route (`Step`s) says what one packet or request meets; the load says how they come. Rates of TCP and packets are those of
the wire: bits of payload per second = packets per second * MSS * 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ytwin.core.units import PS_PER_S, require
from ytwin.sim.distributions import Constant, Distribution
from ytwin.sim.model import Closed, Open, Source, Step, poisson_gap

IPV4_TCP_BYTES: Final = 20 + 20 + 12
"""IPv4 and TCP headers with the timestamps option, which Linux sends by default (RFC 9293, RFC 7323): MTU 1500 gives MSS 1448."""
IPV6_TCP_BYTES: Final = 40 + 20 + 12
ETHERNET_MTU_BYTES: Final = 1500
"""IEEE 802.3: the largest payload of a frame."""
ETHERNET_BYTES: Final = 14 + 4 + 8 + 12
"""Header, check sequence, preamble, gap between frames (IEEE 802.3): what a packet takes on the wire besides itself."""


def mss_bytes(mtu_bytes: int, encapsulation_bytes: int = 0, ipv6: bool = False) -> int:
    """Payload of a full TCP segment."""
    mss = mtu_bytes - encapsulation_bytes - (IPV6_TCP_BYTES if ipv6 else IPV4_TCP_BYTES)
    require(mss > 0, "mtu_bytes", f"an MTU of {mtu_bytes} B leaves {mss} B of payload", "give a larger MTU")
    return mss


@dataclass(frozen=True, slots=True)
class BulkTcp:
    """Streams that always have something to send. Each keeps `window_segments` full segments under way (a fixed window: no
    losses are expected in the model; a lost segment is sent again after the retransmission time-out). None: whoever knows the
    path decides, as autotuning does. Likewise an MTU of None is what the path takes; where none is known, Ethernet's.
    """

    name: str
    streams: int
    mtu_bytes: int | None = None
    encapsulation_bytes: int = 0
    ipv6: bool = False
    window_segments: int | None = 64
    retransmit_ps: int = PS_PER_S // 5

    def __post_init__(self) -> None:
        where = f"load {self.name}"
        require(self.streams >= 1, f"{where}.streams", f"{self.streams} streams", "give at least 1")
        window = self.window_segments
        require(window is None or window >= 1, f"{where}.window_segments", f"{window}", "give at least 1")
        require(
            self.encapsulation_bytes >= 0,
            f"{where}.encapsulation_bytes",
            f"{self.encapsulation_bytes}",
            "give 0 or more",
        )
        mss_bytes(self._mtu_bytes, self.encapsulation_bytes, self.ipv6)

    @property
    def _mtu_bytes(self) -> int:
        return ETHERNET_MTU_BYTES if self.mtu_bytes is None else self.mtu_bytes

    @property
    def mss_bytes(self) -> int:
        """Payload of a segment."""
        return mss_bytes(self._mtu_bytes, self.encapsulation_bytes, self.ipv6)

    def goodput_bit_per_s(self, segments_per_s: float) -> float:
        """Payload that so many segments carry."""
        return segments_per_s * self.mss_bytes * 8

    def source(self, route: Sequence[Step]) -> Closed:
        """Every place of every window is a client that sends its next segment when the last one is acknowledged."""
        size = Constant(self._mtu_bytes - self.encapsulation_bytes)
        where = f"load {self.name}.window_segments"
        require(self.window_segments is not None, where, "no window", "say how many segments a stream has under way")
        clients = self.streams * (self.window_segments or 1)
        return Closed(self.name, tuple(route), clients, retry_ps=self.retransmit_ps, size_bytes=size)


@dataclass(frozen=True, slots=True)
class PacketRate:
    """Packets at a rate, evenly spaced as a generator sends them (`poisson`: by chance), over some flows."""

    name: str
    rate_per_s: float
    flows: int = 1
    size_bytes: int = 64
    poisson: bool = False
    jobs_per_flow: int | None = None

    def source(self, route: Sequence[Step]) -> Open:
        """One job per packet, one connection per flow."""
        gap: Distribution = poisson_gap(self.rate_per_s, f"load {self.name}.rate_per_s")
        if not self.poisson:
            gap = Constant(gap.mean)
        return Open(
            self.name,
            tuple(route),
            gap,
            self.flows,
            jobs_per_connection=self.jobs_per_flow,
            size_bytes=Constant(self.size_bytes),
        )


@dataclass(frozen=True, slots=True)
class RequestResponse:
    """Clients that ask over a kept connection, wait for the answer, and think (netperf's TCP_RR with no thinking)."""

    name: str
    clients: int
    think_ps: Distribution = field(default_factory=lambda: Constant(0))
    requests_per_connection: int | None = None
    timeout_ps: int = PS_PER_S // 5
    size_bytes: Distribution = field(default_factory=lambda: Constant(64))

    def source(self, route: Sequence[Step]) -> Closed:
        """One job per request; the route leads there and back."""
        return Closed(
            self.name,
            tuple(route),
            self.clients,
            self.think_ps,
            self.requests_per_connection,
            self.timeout_ps,
            size_bytes=self.size_bytes,
        )


@dataclass(frozen=True, slots=True)
class ConnectRequestResponse:
    """A new connection for every `requests` requests (netperf's TCP_CRR.

    1): the handshake's route comes before the first of them.
    """

    name: str
    clients: int
    requests: int = 1
    think_ps: Distribution = field(default_factory=lambda: Constant(0))
    timeout_ps: int = PS_PER_S
    size_bytes: Distribution = field(default_factory=lambda: Constant(64))

    def source(self, handshake: Sequence[Step], route: Sequence[Step]) -> Closed:
        """One job per request; the first one of a connection has both routes."""
        steps = (*(replace(step, opening=True) for step in handshake), *route)
        return Closed(
            self.name, steps, self.clients, self.think_ps, self.requests, self.timeout_ps, size_bytes=self.size_bytes
        )


@dataclass(frozen=True, slots=True)
class OpenRequests:
    """Requests that come whatever happens to earlier ones, with any distribution of gaps and sizes."""

    name: str
    gap_ps: Distribution
    size_bytes: Distribution
    connections: int = 1
    popularity: float = 0.0
    requests_per_connection: int | None = None

    def source(self, route: Sequence[Step]) -> Open:
        """One job per request."""
        return Open(
            self.name,
            tuple(route),
            self.gap_ps,
            self.connections,
            self.popularity,
            self.requests_per_connection,
            self.size_bytes,
        )


def packet_mix(load: PacketRate, routes: Sequence[tuple[str, float, Sequence[Step]]]) -> tuple[Source, ...]:
    """A rate over many Services: (Service, share, route) each; shares are weights.

    One source per Service, flows shared out likewise.
    """
    where = f"load {load.name}.shares"
    total = sum(share for _, share, _ in routes)
    require(
        bool(routes) and all(s > 0 for _, s, _ in routes),
        where,
        "no shares, or one not above 0",
        "give each a weight above 0",
    )
    parts = []
    for name, share, route in routes:
        part = share / total
        flows = max(1, round(load.flows * part))
        one = replace(load, name=f"{load.name}/{name}", rate_per_s=load.rate_per_s * part, flows=flows, poisson=True)
        parts.append(one.source(route))
    return tuple(parts)
