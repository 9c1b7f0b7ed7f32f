"""What the performance model takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from frozendict import frozendict

from ytwin.hardware.model import HardwareProfile

Cards = frozendict[str, HardwareProfile]
"""Chassis -> its hardware profile."""


class Share(StrEnum):
    """Kinds of resource. A resource is one of these on one chassis. Ports and PCIe carry both ways at once, so each way is
    a resource of its own."""

    PORTS_IN = "receiving ports"
    PORTS_OUT = "sending ports"
    PCIE_IN = "PCIe to the host"
    PCIE_OUT = "PCIe from the host"
    ESWITCH = "eswitch"
    SLOW_PATH = "slow path"
    UPCALL = "upcall threads"
    HOST = "host stack"
    CORES = "host cores"
    """All that runs on the host's cores, shared out evenly: one server that is as fast as all of them. So packets wait
    behind one another that would run side by side; it shows where a single one asks for very much (the first of a
    connection through kube-proxy's iptables with 10,000 Services: an engine says 10 % less than the formulas for 10
    clients, 19 % for 20)."""
    INSERTION = "rule insertion"


@dataclass(frozen=True, slots=True)
class Demand:
    """Work that one packet asks of one resource."""

    share: Share
    chassis: str
    service_ps: float
    servers: int
    """So the resource carries servers / service_ps packets per picosecond."""
    why: str
    """For people: "2 passes, 1 conntrack look-up"."""
    rests_on: tuple[str, ...]
    """Paths of the profile numbers used, e.g. "eswitch.packet_time"."""

    @property
    def name(self) -> str:
        """e.g. "eswitch of node1"."""
        return f"{self.share} of {self.chassis}"


@dataclass(frozen=True, slots=True)
class LatencyPart:
    """Time that an unloaded packet spends somewhere."""

    stage: str
    """e.g. "two stacks and wire", "slow path of node1", "handover at Node port of node1"."""
    chassis: str
    time_ps: float
    rests_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PathCost:
    """One packet of one program, on given hardware."""

    demands: tuple[Demand, ...]
    """One per resource; the same resource visited twice is one demand with the sum."""
    latency: tuple[LatencyPart, ...]
    offloaded: frozendict[str, bool]
    """Chassis -> whether this packet stays out of software there."""
    software_passes: frozendict[str, float] = frozendict()
    """Chassis -> passes through its slow path: what instructions are counted by."""

    @property
    def limit(self) -> Demand:
        """The resource that carries least packets."""
        return max(self.demands, key=lambda d: d.service_ps / d.servers)

    @property
    def packets_per_s(self) -> float:
        """What the limit carries."""
        return 1e12 * self.limit.servers / self.limit.service_ps

    @property
    def latency_ps(self) -> float:
        """Unloaded, one way."""
        return sum(part.time_ps for part in self.latency)


class Metric(StrEnum):
    """What is predicted, with its unit."""

    BANDWIDTH = "bandwidth_gbit_per_s"
    PACKET_RATE = "packet_rate_mpps"
    LATENCY = "latency_us"
    """One way, half a round trip where there is one; mean, which is what 1 / requests per second is made of."""
    LATENCY_P50 = "latency_p50_us"
    LATENCY_P99 = "latency_p99_us"
    REQUEST_RATE = "requests_per_s"
    INSTRUCTIONS = "instructions_per_request"
    """On the host's cores at the client's end (the backend's, if the client is outside)."""
    CPI = "cycles_per_instruction"
    """Of these."""
    HOST_CORES = "host_cores"
    """Busy under the load, on all hosts of the path together."""
    CARD_CORES = "card_cores"
    LOSS = "loss_ratio"


@dataclass(frozen=True, slots=True)
class Value:
    """A predicted number, and how far off it may be.

    From formulas: what it would be at the ends of the intervals of the profile numbers it rests on. From an engine: the
    interval that holds the mean over replications with 95 %.
    """

    metric: Metric
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a path gives under a load."""

    values: tuple[Value, ...]
    limit: str
    """Name of the resource that limits, "" where nothing does (closed loop: latency)."""
    forward: PathCost
    reply: PathCost | None
    engine: str
    """"analytic", "fast" or "reference"."""
    seed: int | None = None
    rests_on: tuple[str, ...] = ()
    """Profile numbers of kind calibrated or assumed that the values depend on: "card.path (kind)"."""
    utilisation: frozendict[str, float] = frozendict()
    """Resource -> share of its servers that is busy."""
    load: str = ""
    """For people."""
    notes: tuple[str, ...] = ()
    """What else happens: tables that are too small, rules that come too late."""
    total: PathCost | None = None
    """All that a packet or a request asks: both directions, and its share of its connection's opening and end."""
    round_trips: float = 0.0
    """How many a request waits for, with its share of its connection's opening: latency * 2 * this is the time
    that it takes. 0: of other loads."""

    def __getitem__(self, metric: Metric) -> Value:
        """KeyError if this load does not give the metric."""
        for value in self.values:
            if value.metric is metric:
                return value
        raise KeyError(metric)

    @property
    def jobs_per_s(self) -> float:
        """Requests per second, or packets where there are no requests; 0: neither is known."""
        known = {v.metric: v.value for v in self.values}
        return known.get(Metric.REQUEST_RATE, 1e6 * known.get(Metric.PACKET_RATE, 0.0))

    def __str__(self) -> str:
        from ytwin.performance.render import render  # noqa: PLC0415 (it prints this type, so it imports this module)

        return render(self)
