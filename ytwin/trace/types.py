"""What a trace takes and gives. All frozen, all printable."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ytwin.logical.addresses import endpoint
from ytwin.logical.southbound import DatapathId, LogicalFlow, Southbound


@dataclass(frozen=True, slots=True)
class Route:
    prefix: str
    via: str
    """Next hop; "" for on-link."""


@dataclass(frozen=True, slots=True)
class Host:
    """Whatever owns addresses at the edge of the logical network: a workload, a node's internal port, the outside router."""

    name: str
    """e.g. "Pod/default/web-0", "Node/node1", "outside/eip-gw"."""
    kind: str
    """Pod, VirtualMachine, BareMetal, VNicIP, Node, outside."""
    port: str
    """Logical_Switch_Port it is plugged into; for outside: the localnet port."""
    chassis: str
    """"" for outside: its frames reach every chassis that maps the physical network."""
    mac: str
    addresses: tuple[str, ...]
    """"IP/LEN"."""
    routes: tuple[Route, ...]
    vpc: str = ""
    subnet: str = ""
    mtu: int = 0
    """Of its interface, as its Subnet says; 0: that says none."""


@dataclass(frozen=True)
class World:
    """Where packets move: bound Southbound, the hosts at its edge, and which chassis map which localnet."""

    southbound: Southbound
    hosts: tuple[Host, ...]
    localnet_chassis: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(localnet port name, chassis names)."""
    chassis: tuple[str, ...] = ()
    userspace: frozenset[str] = frozenset()
    """Chassis that run OVS's userspace datapath (datapath_type netdev), with its own connection tracker."""


class Verdict(Enum):
    """How a packet, or a whole conversation, ends."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    REJECTED = "rejected"
    UNANSWERED_ARP = "unanswered-arp"
    REPLY_LOST = "reply-lost"
    REPLY_NOT_TRANSLATED = "reply-not-translated"
    NO_ROUTE = "no-route"
    """The client's own routing table has nothing for the address."""


@dataclass(frozen=True, slots=True)
class Packet:
    """The parts of a packet that a person asks about; addresses in text."""

    eth_src: str
    eth_dst: str
    ip_src: str
    ip_dst: str
    protocol: str
    """tcp, udp, sctp, icmp, arp, nd, or a number."""
    src_port: int = 0
    dst_port: int = 0
    ttl: int = 64

    def __str__(self) -> str:
        source, destination = endpoint(self.ip_src, self.src_port), endpoint(self.ip_dst, self.dst_port)
        return f"{self.protocol} {source} -> {destination}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One logical table that did something (or dropped): where it ran, the flow that matched, what the packet is after it."""

    chassis: str
    datapath: DatapathId
    pipeline: str
    table: int
    stage: str
    flow: LogicalFlow | None
    """None: no flow matched, which drops."""
    packet: Packet
    note: str = ""
    """For people: "tunnel to node2", "ct(zone): new, DNAT to 10.0.1.5:80", "ARP answered by ..."."""
    seen: tuple[object, ...] = field(default=(), repr=False, compare=False)
    """`PacketState.key()` as the table met it; only from a Tracer that records every table."""


@dataclass(frozen=True, slots=True)
class Walk:
    """One packet, one direction, one choice of backend, from the sender to its end."""

    hops: tuple[Hop, ...]
    verdict: Verdict
    sent: Packet
    received: Packet | None
    """As the receiver sees it."""
    receiver: str
    """Host name, or "" if nobody got it."""
    port: str
    """Logical port it was delivered to."""
    reason: str
    """Why it ended so; for a drop: the flow and its Northbound row."""


@dataclass(frozen=True, slots=True)
class Path:
    """A conversation with one backend: first packet, reply, second packet (None: not reached)."""

    backend: str
    """Name of the host that answered, or of the backend address if nobody got the packet."""
    address: str
    """Backend "IP:PORT" ("" when no load balancer chose)."""
    verdict: Verdict
    forward: Walk
    reply: Walk | None
    second: Walk | None
    client_seen_as: str
    """Source the backend saw, "IP:PORT"."""
    reason: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that can happen when `client` calls `destination`."""

    client: str
    destination: str
    protocol: str
    verdict: Verdict
    """DELIVERED only if every path is."""
    paths: tuple[Path, ...]
    reason: str
