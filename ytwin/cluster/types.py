"""What a cluster is to the capacity model: arrays over nodes, Services and classes of paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from ytwin.hardware.model import HardwareProfile

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Resource(StrEnum):
    """What can be full on a node. A packet's work is `performance.cost`'s; network ports and PCIe carry both directions at once,
    so each direction is a resource of its own."""

    PORTS_IN = "receiving ports"
    PORTS_OUT = "sending ports"
    PCIE_IN = "PCIe to the host"
    PCIE_OUT = "PCIe from the host"
    ESWITCH = "eswitch"
    SLOW_PATH = "slow path"
    UPCALL = "upcall threads"
    HOST = "host stack"
    CORES = "host cores"
    CONNTRACK = "conntrack table"
    """Of the software datapath, `slow_path.conntrack_limit`; a connection that the card has taken over keeps its entries there
    (Linux, net/sched/act_ct.c works on nf_conntrack's)."""
    INSERTION = "rule insertion"
    CARD_CONNECTIONS = "card's conntrack table"
    CARD_RULES = "card's flow table"
    FLOWS = "datapath flow table"
    """Of OVS, `slow_path.flow_limit`."""


RESOURCES: Final = tuple(Resource)
SOFT: Final = frozenset({Resource.INSERTION, Resource.CARD_CONNECTIONS, Resource.CARD_RULES, Resource.FLOWS})
"""What lies beyond them is done in software, or by ovs-vswitchd: they are full without being a limit of the load."""
HARD: Final = tuple(r for r in Resource if r not in SOFT)


class Rate(IntEnum):
    """Columns of a traffic matrix; all per second but ALIVE. A packet is counted in one column of packets only, and what a
    connection begins with is what `predict` says (`performance.jobs`): see `traffic.packet_rates` and `traffic.request_rates`."""

    FORWARD = 0
    """Packets of established connections, client to backend: all but FIRST and EARLY."""
    FORWARD_BYTES = 1
    """Their frames, without check sequence and tunnel header."""
    REPLY = 2
    """Packets of established connections, backend to client: all but ANSWER and EARLY."""
    REPLY_BYTES = 3
    FIRST = 4
    """Packets that are their connection's first."""
    FIRST_BYTES = 5
    ANSWER = 6
    """Packets that are the first in reply."""
    ANSWER_BYTES = 7
    EARLY = 8
    """Packets in each direction that follow so soon that no card has their connection yet."""
    EARLY_BYTES = 9
    """Of one direction."""
    CLOSE = 10
    """Connections whose end is a packet in each direction besides those counted above."""
    NEW = 11
    """Connections that are opened, for the tables. Their packets are FIRST and ANSWER."""
    REQUESTS = 12
    """Requests with their answers, for the instructions at both ends."""
    ALIVE = 13
    """Connections at a time."""


class Slot(IntEnum):
    """Which part a chassis plays on a path. Further ones (gateways) follow."""

    CLIENT = 0
    BACKEND = 1
    """Also of a path that stays on one chassis, and of a gateway that is the backend's chassis."""
    FIRST_GATEWAY = 2


class Mode(IntEnum):
    """Of which pairs of a row's clients and backends a row speaks. An outside client counts as one on the first gateway."""

    REMOTE = 0
    """On different chassis."""
    LOCAL = 1


@dataclass(frozen=True)
class PathClass:
    """Paths that cost the same. Costs are shares of a resource's time: a rate times one is the resource's utilisation."""

    name: str
    """For people: whose path it is."""
    slots: int
    """CLIENT, BACKEND and the gateways."""
    held: Floats
    """[bulk, slot, profile, Rate, Resource]: where connections have their rules in the cards that take them over."""
    software: Floats
    """The same where no card takes anything over."""
    table: npt.NDArray[np.bool_]
    """[slot, profile]: whether a card keeps rules for the connection."""
    rests_on: Mapping[tuple[int, Rate, Resource], frozenset[str]]
    """(profile, rate, resource) -> paths of the profile's numbers."""
    handshake: bool = True
    """Whether connections begin with one: a first packet of UDP carries data already."""


@dataclass(frozen=True)
class Rows:
    """A row: a part of a Service's traffic that takes one class of paths. Backends of a row are one stretch of `node`, `part`."""

    service: Integers
    portion: Floats
    """Of the Service's traffic, before `mode` chooses pairs."""
    path_class: Integers
    mode: Integers
    clients: Integers
    """Row of `Cluster.clients`; -1: outside."""
    gateways: Integers
    """[row, gateway of the class] -> `Cluster.gateways`; -1: none."""
    begin: Integers
    end: Integers
    node: Integers
    """Of each backend."""
    part: Floats
    """Of the row's traffic that it gets; those of a row come to 1."""

    def __len__(self) -> int:
        return len(self.service)


@dataclass(frozen=True)
class Cluster:
    """Who can talk to whom, and what that costs where."""

    nodes: tuple[str, ...]
    profiles: tuple[HardwareProfile, ...]
    profile: Integers
    """Of each node."""
    classes: tuple[PathClass, ...]
    services: tuple[str, ...]
    rows: Rows
    clients: Floats
    """[distribution, node]: shares of the clients; each comes to 1, or to 0 where all are lost."""
    gateways: tuple[tuple[int, ...], ...]
    """Nodes that can be this gateway, the most preferred first."""
    lost: frozenset[int] = frozenset()
    unserved: Mapping[str, str] | None = None
    """Service -> why some or all of its traffic gets nowhere."""

    @property
    def failures(self) -> Mapping[str, str]:
        """`unserved`, empty if all is served."""
        return self.unserved or {}

    def gateway(self, number: int) -> int:
        """The node that is this gateway now; -1: all of its nodes are lost."""
        return next((node for node in self.gateways[number] if node not in self.lost), -1)


@dataclass(frozen=True)
class Offered:
    """Traffic on a cluster's rows."""

    rates: Floats
    """[row, Rate], of the row's whole portion."""
    bulk: npt.NDArray[np.bool_]
    """[row]: full segments of TCP, for which host stacks have another rate."""
    text: str
    """For people."""
    notes: tuple[str, ...] = ()
    """What is wrong with it."""
