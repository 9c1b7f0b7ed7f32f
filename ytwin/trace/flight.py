"""A packet on its way, the marks it leaves behind, and how it ends. Raw and quick; `result` makes them readable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ytwin.logical.southbound import DatapathId, LogicalFlow
from ytwin.logical.state import PacketState
from ytwin.trace.conntrack import Tuple5

snapshot: Callable[[PacketState], tuple[Any, ...]] = attrgetter(
    "eth_src",
    "eth_dst",
    "eth_type",
    "ip_proto",
    "ip4_src",
    "ip4_dst",
    "ip6_src",
    "ip6_dst",
    "tp_src",
    "tp_dst",
    "ip_ttl",
    "arp_spa",
    "arp_tpa",
    "icmp_type",
    "nd_target",
)
"""What `types.Packet` is made from, in one read."""


class Mark:
    """One flow that matched, linked to the one before it on the packet's way."""

    __slots__ = ("after", "before", "chassis", "datapath", "flow", "note", "pipeline", "seen", "table")

    def __init__(
        self,
        before: Mark | None,
        chassis: str,
        datapath: DatapathId,
        pipeline: str,
        table: int,
        flow: LogicalFlow | None,
        after: tuple[Any, ...],
    ) -> None:
        self.before = before
        self.chassis = chassis
        self.datapath = datapath
        self.pipeline = pipeline
        self.table = table
        self.flow = flow
        self.after = after
        self.note = ""
        self.seen: tuple[object, ...] = ()

    def say(self, text: str) -> None:
        """Add a note for people."""
        self.note = f"{self.note}; {text}" if self.note else text


class Flight:
    """A packet at a place. `port_zone` is the conntrack zone that ovn-controller has put into reg13 ("" is zone 0)."""

    __slots__ = ("chassis", "datapath", "inner", "length_bytes", "origin", "port_zone", "state", "trail")

    def __init__(self, state: PacketState, chassis: str, datapath: DatapathId, port_zone: str) -> None:
        self.state = state
        self.chassis = chassis
        self.datapath = datapath
        self.port_zone = port_zone
        self.inner: Tuple5 | None = None
        """Tuple inside an ICMP error."""
        self.length_bytes = 0
        """Size of the IP packet; 0: small enough for every link."""
        self.trail: Mark | None = None
        self.origin = ""
        """Kind of action that generated the packet; "" for the packet that was sent."""

    def fork(self) -> Flight:
        """An independent copy that shares the trail so far."""
        other = Flight(self.state.copy(), self.chassis, self.datapath, self.port_zone)
        other.inner, other.length_bytes = self.inner, self.length_bytes
        other.trail, other.origin = self.trail, self.origin
        return other


DELIVERED, DROPPED, UNANSWERED, ABSORBED = "delivered", "dropped", "unanswered", "absorbed"


@dataclass(slots=True)
class End:
    """How one copy of the packet ended. `port`: the logical port it left by, or the router port whose ARP went unanswered."""

    kind: str
    flight: Flight
    port: str
    reason: str
    learned_affinity: bool = False
    """A drop by `commit_lb_aff`: OVN 23.03 drops the packet that learns, and the sender's retransmission passes."""
