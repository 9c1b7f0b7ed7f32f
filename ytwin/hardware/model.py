"""A hardware profile: frozen, every number a Quantity that knows where it is from.

What each number *means* is said here, at its field; the model that uses it is `performance.cost`. A field that is None is a
part that the hardware does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ytwin.core.units import UNITS


class Kind(StrEnum):
    """Where a number is from. Only the first two are evidence from outside; a prediction names the others it rests on."""

    MEASURED = "measured"
    DATASHEET = "datasheet"
    CALIBRATED = "calibrated"
    """Fitted to a named measurement of the same system."""
    ASSUMED = "assumed"


class Part(BaseModel):
    """Strict: an unknown field is an error that says where it stands. camelCase outside."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Quantity(Part):
    """One number. `value`, `low` and `high` are in the base unit of `dimension` (`core.units.UNITS`: ps, 1/s, ...)."""

    value: float
    dimension: str
    kind: Kind
    source: str
    """Who says so: a page, a commit, a figure, or the reasoning."""
    conditions: str = ""
    low: float
    """Interval in which the truth is believed to lie; equal to value where nothing is known of it."""
    high: float
    text: str
    """The number as the file has it, with its unit."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Mark:
    """What a field's number must be: its dimension, which units make sense (none named: all), whether 0 does."""

    dimension: str
    units: tuple[str, ...] = ()
    positive: bool = False
    """A rate of 0 would be waited for without end."""
    whole: bool = False
    """Half a core serves nobody."""


def _of(dimension: str, *units: str, positive: bool = False, whole: bool = False) -> Mark:
    """Marks a field with what its number must be; the codec reads the mark."""
    assert set(units) <= set(UNITS[dimension])
    return Mark(dimension, units, positive, whole)


Time = Annotated[Quantity, _of("time")]
Duration = Annotated[Quantity, _of("time", positive=True)]
Rate = Annotated[Quantity, _of("rate", positive=True)]
BitRate = Annotated[Quantity, _of("bit rate", positive=True)]
Size = Annotated[Quantity, _of("size")]
Frequency = Annotated[Quantity, _of("frequency", positive=True)]
Cpi = Annotated[Quantity, _of("CPI", positive=True)]
Ratio = Annotated[Quantity, _of("ratio")]
PortCount = Annotated[Quantity, _of("count", "ports", positive=True, whole=True)]
Packets = Annotated[Quantity, _of("count", "packets", positive=True)]
Entries = Annotated[Quantity, _of("count", "entries")]
Connections = Annotated[Quantity, _of("count", "connections")]
Rules = Annotated[Quantity, _of("count", "rules")]
Cores = Annotated[Quantity, _of("count", "cores", positive=True, whole=True)]
Threads = Annotated[Quantity, _of("count", "threads", positive=True, whole=True)]
Hops = Annotated[Quantity, _of("count", "hops")]
Instructions = Annotated[Quantity, _of("count", "instructions")]


class Ports(Part):
    """The card's network ports together; flows are spread over them, one flow uses one."""

    count: PortCount
    rate: BitRate
    """Of one port, on the wire: a packet takes (frame + 24 B) * 8 / rate, with preamble, check sequence and gap."""


class Pcie(Part):
    rate: BitRate
    """Of payload-carrying DMA at full-size packets, one direction."""


class Crowding(Part):
    """With so many entries in the tables a pass takes `slowdown` times as long; between points it is interpolated linearly."""

    entries: Entries
    slowdown: Ratio


class ESwitch(Part):
    """The card's match-action hardware: one pipeline for all packets, and tables in front of the slow path."""

    packet_time: Duration
    """The card's time per packet of one pass (1 / packet rate), all ports together."""
    pass_time: Time
    """The card's time per further pass (recirculation, conntrack table): limits the packet rate."""
    packet_latency: Time
    """From port to port or host, unloaded, without passes."""
    pass_latency: Time
    """Added by each pass."""
    queue: Packets
    """Packets that can wait for it; more are lost."""
    crowding: tuple[Crowding, ...] = ()
    flow_table: Entries
    conntrack_table: Connections
    """Connections."""
    rules_per_connection: Rules
    insertion_rate: Rate
    """Rules per second, one queue."""
    deletion_rate: Rate
    ageing: Time
    """Idle time after which a connection's rules go."""
    teardown: Time | None = None
    """From a connection's FIN until its rules go; None: only ageing takes them out."""
    statistics_lag: Time


class SlowPath(Part):
    """Software OVS on host cores (SmartNIC, plain NIC) or on the card's cores (DPU). Times are of one core, per packet."""

    runs_on: Literal["host", "card"]
    datapath: Literal["system", "netdev"]
    cores: Cores
    packet_time: Time
    """Receiving and sending the packet once (driver, virtual device): per visit."""
    pass_time: Time
    """A look-up in the flow table and its actions: per pass."""
    conntrack_time: Time
    """Per conntrack look-up."""
    tunnel_time: Time
    """Pushing or popping a tunnel header."""
    hash_time: Time
    """dp_hash over the packet."""
    handover_latency: Time
    """Latency, not work: interrupt, softirq and wake-up wherever the packet is handed from one context to the next."""
    wakeup_time: Time | None = None
    """Work, and latency of every packet: waking the datapath's thread, and a round of its main loop, once for all packets that
    wait by then. For a userspace datapath whose thread sleeps; None: it polls, or it is a softirq."""
    workload_handovers: Hops
    """Handovers at the port of a workload (veth or VF representor)."""
    node_handovers: Hops
    """Handovers at the node's own port: the host's stack, then the internal port."""
    queue: Packets
    upcall_time: Time
    """First packet: out of the datapath, through the classifier, to the decision. On a core of `upcall_threads`."""
    install_time: Time
    """Putting the flow into the datapath, per flow."""
    upcall_threads: Threads
    flow_limit: Entries
    conntrack_limit: Connections
    conntrack_setup_rate: Rate
    """New connections per second, one core."""
    idle: Time
    """OVS's max-idle."""
    pass_instructions: Instructions
    """CPU instructions per pass."""
    cpi: Cpi


class Host(Part):
    """The two ends' network stacks."""

    segment_rate: Rate
    """Full segments per second that sender and receiver carry with as many streams as it takes."""
    stream_rate: BitRate
    """One stream: bound to one core's copying."""
    packet_rate: Rate
    """Small packets per second that a generator sends and a sink takes."""
    latency: Duration
    """Application to application, one way, two stacks, two cards and a wire; without OVS."""
    network_latency: Time
    """The part of `latency` that the two cards and the wire take: what a path that stays on one chassis leaves out. 0: all of it
    is software, as in a lab on one machine."""
    latency_scv: Ratio
    """Squared coefficient of variation of the stack's part: what makes the tail."""
    request_instructions: Instructions
    """Both directions of a request, at one end."""
    request_cpi: Cpi
    frequency: Frequency
    cores: Cores


class ServiceProxy(Part):
    """kube-proxy's part, for the baselines that the article argues against: balancing in the client node's stack, no OVS."""

    mode: Literal["iptables", "ipvs", "nftables"]
    first_packet_time: Time
    """Fixed part, per new connection."""
    service_time: Time
    """Further part per Service that the first packet is compared with; 0 where the look-up is a hash."""
    established_time: Time
    """Per packet of a known connection."""
    program_time: Time
    """Programming: per Service, per change of any."""


class Encapsulation(Part):
    underlay_mtu: Size
    overhead: Size
    """What the cluster takes off the MTU for the tunnel; 0: none."""
    header: Size
    """What the tunnel really adds to a packet on the wire."""


class Condition(Part):
    """What a rule looks for in a datapath program; all that is given must hold. See `datapath.offload` for how each is tested."""

    operation: str = ""
    """An `Op` of the program, e.g. "dp_hash", "ct", "controller"."""
    field: str = ""
    """A field that a pass examined, e.g. "ct.inv", "ct_label", "ct_nw_proto"."""
    masked: bool | None = None
    """With `field`: whether it is matched under a mask that is neither all nor nothing."""
    ct_state: Literal["", "new", "established"] = ""
    protocols: tuple[str, ...] = ()
    port_kind: str = ""
    """Of the port of entry or exit, e.g. "Node"."""
    port_side: Literal["", "entry", "exit"] = ""
    """With `port_kind`: which of the two; "": either."""
    address_family: Literal[4, 6] | None = None
    passes_over: Annotated[int, Field(ge=0)] | None = None
    phase: Literal["", "first", "established", "close"] = ""
    """When in the connection's life; "": whenever."""
    always: bool = False
    """Holds for every program (a card that offloads nothing)."""


class OffloadRule(Part):
    """One thing that the card or its driver cannot take over; of effect none: one that a card which it extends cannot."""

    code: str
    """Machine-readable, e.g. "dp-hash-group"."""
    effect: Literal["first-packet", "software", "none"]
    """first-packet: only the packets that meet the rule stay in software, so that a rule that established packets meet keeps the
    connection there all the same; software: the whole connection does, whichever of its packets meets the rule; none: no packet
    does, so that a profile can say who says that its card can what the one that it extends cannot."""
    when: Condition
    text: str
    """One sentence for people."""
    source: str
    kind: Kind
    remedy: str = ""


class HardwareProfile(Part):
    """Everything the performance model knows of one kind of node."""

    name: str
    """Of the document's metadata."""
    description: str = ""
    card: Literal["none", "SmartNIC", "DPU"]
    driver: str
    models: tuple[str, ...] = ()
    """Values of NetworkCard.spec.model that mean this profile; "" stands for a card that names none. `extends` leaves them."""
    ports: Ports
    pcie: Pcie
    eswitch: ESwitch | None = None
    slow_path: SlowPath
    host: Host
    service_proxy: ServiceProxy | None = None
    encapsulation: Encapsulation
    offload: tuple[OffloadRule, ...] = ()
