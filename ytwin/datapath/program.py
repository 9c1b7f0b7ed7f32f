"""The datapath program of a traced path: what each chassis's datapath does to the packet, pass by pass, and for which flow.

It is the only thing about a path that the offload verdict and the cost model see. First packet, later packets, close of the
connection and idle time-out are different programs of one path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from ytwin.datapath.passes import Entry
from ytwin.logical.southbound import LogicalFlow


class Op(StrEnum):
    """What a datapath does. A pass is one LOOKUP and what follows it."""

    LOOKUP = "lookup"
    """Of the flow table (megaflow cache, hardware table)."""
    CT = "ct"
    """A `ct()`: one look-up; `detail` says what kind, zone, state found and NAT. As many as `Stay.lookups`."""
    CT_COMMIT = "ct_commit"
    """Behind the CT whose `ct()` commits: entry made or changed."""
    DP_HASH = "dp_hash"
    REWRITE = "rewrite"
    """Header fields set, TTL decremented."""
    TUNNEL_PUSH = "tunnel_push"
    TUNNEL_POP = "tunnel_pop"
    CHECK_LENGTH = "check_pkt_larger"
    LEARN = "learn"
    """OpenFlow learn (session affinity, hairpin): only in ovs-vswitchd."""
    METER = "meter"
    OUTPUT = "output"
    UPCALL = "upcall"
    """Miss: the packet goes to ovs-vswitchd."""
    INSTALL = "install"
    """A datapath flow, or a card's rule, is put in."""
    REMOVE = "remove"
    """A datapath flow or conntrack entry is taken out (close, idle time-out)."""
    CONTROLLER = "controller"
    """ovn-controller has to see the packet."""
    DROP = "drop"


class Phase(StrEnum):
    """When in a connection's life."""

    FIRST = "first packet"
    ESTABLISHED = "established"
    CLOSE = "close"
    IDLE = "idle time-out"


class Direction(StrEnum):
    FORWARD = "forward"
    REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing done, and the logical flow that asks for it (None: the datapath itself does it, e.g. tunnel_pop)."""

    op: Op
    detail: str = ""
    stage: str = ""
    datapath: str = ""
    """Logical switch or router."""
    flow: LogicalFlow | None = None
    ct_state: str = ""
    """With CT: what was found, "new", "established", "related", "invalid"; "" otherwise."""

    @property
    def source(self) -> str:
        """Northbound row of the flow, "" if there is none."""
        return self.flow.source if self.flow is not None else ""


@dataclass(frozen=True, slots=True)
class Examined:
    """A field that ends up in the datapath flow's match, because a flow that was compared with the packet looks at it."""

    field: str
    """OVN's name, e.g. "ct.inv", "ct_label.natted", "ip4.dst", "tcp.dst"."""
    masked: bool
    """Matched under a mask that is not all ones."""
    stage: str
    datapath: str
    flow: LogicalFlow
    """The first such flow, not necessarily the one that matched."""


@dataclass(frozen=True, slots=True)
class Pass:
    operations: tuple[Operation, ...]
    """The first is its LOOKUP (IDLE has none: there is no packet)."""
    examined: tuple[Examined, ...] = ()

    def of_one_connection(self, direction: Direction) -> Examined | None:
        """What makes the datapath flow of this pass one of a single connection: it looks at the client's port, as the choice
        of a backend by hash does, so no other connection's will do. None: connections share it."""
        port = "src" if direction is Direction.FORWARD else "dst"
        own = {f"{protocol}.{port}" for protocol in ("tcp", "udp", "sctp")}
        return next((e for e in self.examined if e.field in own and not e.masked), None)


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of the packet on one chassis."""

    chassis: str
    entry: Entry
    exit: str
    """"port", "tunnel", "physical network", "controller" or "drop"."""
    entry_kind: str
    """Kind of the host at the port of entry (Pod, Node, ...); "" if it is not a port; "outside" for a localnet."""
    exit_kind: str
    passes: tuple[Pass, ...]
    entry_port: str = field(default="", compare=False)
    """Logical_Switch_Port of entry; "" if it is not a port. Two visits are alike whatever their ports are called."""
    exit_port: str = field(default="", compare=False)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """Of all passes, in order."""
        return tuple(o for p in self.passes for o in p.operations)

    def count(self, op: Op) -> int:
        """How often it does this."""
        return sum(o.op is op for o in self.operations)


@dataclass(frozen=True, slots=True)
class Program:
    """What the datapaths do for one packet (or, for IDLE, for no packet) of one direction in one phase."""

    client: str
    backend: str
    destination: str
    protocol: str
    phase: Phase
    direction: Direction
    visits: tuple[Visit, ...]
    delivered: bool
    address: str = ""
    """Backend "IP:PORT", "" where no load balancer chose: a backend may be reached at several."""
    mtu_bytes: int = 0
    """The smaller MTU of the interfaces of client and backend, as their Subnets say; 0: they say none."""
    overlay: bool = False
    """The backend's interface is on the overlay: its MTU leaves room for a tunnel's header, whether this path has one or not."""

    @property
    def passes(self) -> int:
        """On all chassis; 0 for IDLE."""
        return sum(v.count(Op.LOOKUP) for v in self.visits)
